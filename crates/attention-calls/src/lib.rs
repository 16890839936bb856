//! The calls that both bindings of [`ruvector_attention`] share.
//!
//! A call is an operation's number, a header, a JSON text of options, and arrays. Bindings only convert; an operation that is
//! added to the table here is available in both. Objects, such as layers and caches, live between calls under a number.

mod call;
mod error;
mod json;
mod object;
mod operations;
mod options;
mod parts;
mod state;
mod table;

pub use call::Slots;
pub use error::to_json;
pub use object::{describe, free, hold, load_state, read_state, state_entries};
pub use parts::{Lengths, Outside};
pub use table::{Pending, WORDS_IN_PARTS, call, call_in_parts, create, operations};

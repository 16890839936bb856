//! The calls shared by both bindings of [`ruvector_attention`].
//!
//! A call consists of an operation's number, its [`CallMemory`], a JSON text of options, and the arrays that are too
//! large for that memory. Bindings only convert: an operation added to the table here is available in both. Objects,
//! such as layers and caches, live between calls and are identified by number.

mod builder;
mod call;
mod error;
mod json;
mod memory;
mod object;
mod operations;
mod options;
mod parts;
mod state;
#[cfg(feature = "training")]
mod step;
mod table;
#[cfg(feature = "training")]
mod tensors;

pub use builder::{Builder, number};
pub use call::Outside;
pub use error::to_json;
pub use memory::{
    Array, ArrayMut, BYTES, CallMemory, Element, FLOATS, HEADER, INTEGERS, Owned, OwnedArray, RESULTS, Results,
};
pub use object::{bytes_of, describe, free, hold, load_state, read_state, state_entries, take_growth};
pub use operations::{Input, OPERATIONS, Operation, Role};
pub use parts::{Distant, PARTS_FROM, call_in_parts};
#[cfg(feature = "training")]
pub use step::{Gradient, Parameter, Remote, step};
pub use table::{Pending, call, divisible, elements_outside};

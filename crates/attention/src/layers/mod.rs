//! Layers with parameters: multi-head attention and encoder layers, with loading of their state dicts.

mod attention_state;
pub mod encoder;
mod entries;
mod feed_forward;
pub mod multi_head;
mod parameters;

pub use attention_state::AttentionState;
pub use entries::{Entry, LoadOptions};
pub use parameters::Part;

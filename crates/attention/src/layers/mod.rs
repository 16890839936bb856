//! Layers with parameters: multi-head attention, encoder layers, and the state dicts that they load.

mod attention_state;
pub mod encoder;
mod entries;
pub mod multi_head;

pub use attention_state::AttentionState;
pub use entries::{Entry, LoadOptions};

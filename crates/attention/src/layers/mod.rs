//! Layers with parameters: attention, encoder and decoder layers, linear layers and embeddings, with loading of their
//! state dicts.

mod attention_state;
mod cached;
pub mod decoder;
pub mod dense;
pub mod encoder;
pub(crate) mod entries;
mod extra_keys;
mod feed_forward;
pub mod latent;
mod matrix;
pub mod multi_head;
pub(crate) mod parameters;
mod relative_bias;
mod sublayer;
pub mod transformer_decoder;

pub use attention_state::AttentionState;
pub use entries::{Entry, LoadOptions, StoredEntry, TypedEntry};
pub use parameters::Part;

//! Gradients of messages along edges, of the softmax over edges, and of attention over them.
//!
//! Work items own the rows of targets or of sources, and no message is stored. What a graph's edges need is computed
//! again from the rows of their ends.

pub mod attention;
pub mod messages;

//! Gradients, one operation for each function or mechanism. The gradient of the result is the
//! first input, followed by what the forward call was given.

mod attention;
mod functions;
mod graph;
mod hyperbolic;
mod sequences;

pub(super) use attention::{attention_backward, attention_mask_backward, rotary_backward};
pub(super) use functions::{
    activation, activation_backward, dropout, embedding_backward, linear_backward, mean_pool_backward, norm_backward,
    softmax_backward, sum_to,
};
pub(super) use graph::{edge_attention, edge_attention_backward, edge_softmax_backward, propagate_backward};
pub(super) use hyperbolic::{
    hyperbolic_attention_backward, hyperbolic_distances_backward, hyperbolic_function_backward,
    hyperbolic_midpoint_backward,
};
pub(super) use sequences::{causal_convolution_backward, linear_attention_backward, linear_feature_map_backward};

//! The operations and the kinds of objects, one file per family.

mod attention;
mod cache;
mod functions;
mod graph;
mod hyperbolic;
mod layers;
mod linear;

use std::sync::Arc;

use ruvector_attention::graph::options::{ConvolutionConfig, GraphAttentionConfig, GraphTransformerConfig, SageConfig};
use ruvector_attention::{Code, Error, Result};

use crate::call::Call;
use crate::object::Object;

/// Takes tensors, options and outputs from a call, and hands them to a mechanism.
pub(crate) type Operation = fn(&mut Call<'_>) -> Result<()>;

/// Every operation under its name; its number is its index.
pub(crate) const OPERATIONS: &[(&str, Operation)] = &[
    ("scaledDotProductAttention", attention::scaled_dot_product_attention),
    ("attentionWeights", attention::attention_weights),
    ("scaledDotProductOptions", attention::check_scaled_dot_product),
    ("flashOptions", attention::check_flash),
    ("flashAttention", attention::flash_attention),
    ("mergeAttention", attention::merge_attention),
    ("rotaryEmbedding", attention::rotary_embedding),
    ("kvCacheAppend", cache::append),
    ("kvCacheAttend", cache::attend),
    ("kvCacheTruncate", cache::truncate),
    ("softmax", functions::softmax),
    ("linear", functions::linear),
    ("multiHeadAttention", layers::multi_head_attention),
    ("stats", functions::stats),
    ("normalize", functions::normalize),
    ("propagate", graph::propagate),
    ("edgeSoftmax", graph::edge_softmax),
    ("inDegrees", graph::in_degrees),
    ("graphLayer", graph::forward),
    ("linearAttention", linear::forward),
    ("linearFeatureMap", linear::feature_map),
    ("linearStreamStep", linear::step),
    ("linearStreamReset", linear::reset),
    ("hyperbolicAttention", hyperbolic::forward),
    ("hyperbolicFunction", hyperbolic::function),
    ("hyperbolicDistances", hyperbolic::distances),
    ("hyperbolicMidpoint", hyperbolic::midpoint),
    ("layerNorm", functions::layer_norm),
    ("rmsNorm", functions::rms_norm),
    ("gelu", functions::gelu),
    ("silu", functions::silu),
    ("meanPool", functions::mean_pool),
    ("transformerEncoderLayer", layers::transformer_encoder_layer),
    // Test hook: panics on purpose.
    ("provokePanic", |call| panic!("{}", call.options.unwrap_or_default())),
];

/// Makes an object of a kind from its configuration, a JSON object.
pub(crate) fn make(kind: &str, config: &str, integers: [Option<&[i32]>; 2]) -> Result<Arc<dyn Object>> {
    let config = Some(config);
    match kind {
        "multi-head" | "self" | "cross" => layers::make_attention(kind, config),
        "encoder-layer" => layers::make_encoder(config),
        "kv-cache" => cache::make(config),
        "linear" => linear::make(config),
        "linear-stream" => linear::make_stream(config),
        "hyperbolic" => hyperbolic::make(config),
        "graph" => graph::make(config, integers),
        "graph-convolution" => graph::make_layer::<ConvolutionConfig>(config),
        "graph-sage" => graph::make_layer::<SageConfig>(config),
        "graph-attention" => graph::make_layer::<GraphAttentionConfig>(config),
        "graph-transformer" => graph::make_layer::<GraphTransformerConfig>(config),
        _ => Err(Error::new(Code::Internal, "kind", "a kind of object", kind)),
    }
}

//! The operations, one file per family. Adding an operation adds a row to this table, and changes neither binding.

mod attention;
mod cache;
mod convolution;
mod functions;
mod graph;
mod hyperbolic;
mod layers;
mod linear;
#[cfg(feature = "training")]
mod training;

use ruvector_attention::graph::options::{ConvolutionConfig, GraphAttentionConfig, GraphTransformerConfig, SageConfig};
use ruvector_attention::math::activation::Activation;
use ruvector_attention::math::broadcast::Combine;
use ruvector_attention::{Code, Error, Result};

use crate::call::Call;
use crate::memory::Element;
#[cfg(feature = "training")]
use crate::tensors;

/// Takes inputs, options and output memory from a call, and passes them to a mechanism.
pub(crate) type Run = fn(&mut Call<'_>) -> Result<()>;

/// An operation and its signature, from which the calls of lib/ and the inputs of the fuzzers are derived.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The name that lib/ uses.
    pub name: &'static str,
    /// The inputs in order.
    pub inputs: &'static [Input],
    /// The results in order, including a returned object.
    pub results: &'static [&'static str],
    /// True if the caller may supply memory for the first result, as the option `out`.
    pub takes_out: bool,
    pub(crate) run: Run,
    /// The cost, in scalar operations, of a call that can be split into parts whose results are joined row by row, or 0
    /// if it cannot be split. The function sees only the shapes of the inputs.
    pub(crate) divisible: Option<fn(&mut Call<'_>) -> Result<u64>>,
}

/// An input of an operation.
#[derive(Clone, Copy)]
pub struct Input {
    /// The name in the public interface.
    pub name: &'static str,
    /// The accepted element types.
    pub elements: &'static [Element],
    /// The way a caller passes the input.
    pub role: Role,
}

/// The way a caller passes an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// As an argument.
    Argument,
    /// As an argument that may be omitted.
    OptionalArgument,
    /// As an option.
    Option,
}

impl Input {
    /// Returns true if the input may be absent.
    pub fn is_optional(&self) -> bool {
        self.role != Role::Argument
    }
}

const fn input(name: &'static str, elements: &'static [Element], role: Role) -> Input {
    Input { name, elements, role }
}

/// A tensor of floats.
const fn tensor(name: &'static str) -> Input {
    input(name, &[Element::F32], Role::Argument)
}

/// A tensor of floats that may be absent.
const fn optional(name: &'static str) -> Input {
    input(name, &[Element::F32], Role::OptionalArgument)
}

/// An option that is a tensor of floats.
const fn option(name: &'static str) -> Input {
    input(name, &[Element::F32], Role::Option)
}

/// Weights of any type, which [`SCALES`] follow.
const fn weight(name: &'static str) -> Input {
    input(name, &[Element::F32, Element::U16, Element::I8], Role::Argument)
}

/// Weights of any type that may be absent, which [`SCALES`] follow.
#[cfg(feature = "training")]
const fn optional_weight(name: &'static str) -> Input {
    input(name, &[Element::F32, Element::U16, Element::I8], Role::OptionalArgument)
}

/// The scales of weights of 8 bits.
const SCALES: Input = input("scales", &[Element::U16], Role::OptionalArgument);

/// Integers.
const fn integers(name: &'static str) -> Input {
    input(name, &[Element::I32], Role::Argument)
}

/// Integers that may be absent.
const fn optional_integers(name: &'static str) -> Input {
    input(name, &[Element::I32], Role::OptionalArgument)
}

/// An option that is an array of integers.
const fn integer_option(name: &'static str) -> Input {
    input(name, &[Element::I32], Role::Option)
}

const MASK: Input = input("mask", &[Element::U8, Element::F32], Role::Option);
const QUERY_OFFSET: Input = integer_option("queryOffset");
const KV_LENGTHS: Input = integer_option("kvLengths");
const RELATIVE_BIAS: Input = option("relativeBias");
const CU_SEQLENS: Input = integer_option("cuSeqlens");
const CU_SEQLENS_KEYS: Input = integer_option("cuSeqlensKeys");
const SINKS: Input = option("sinks");
const POSITIONS: Input = integer_option("positions");
/// Doubles, as pairs of integers with their bits.
const FREQUENCIES: Input = optional_integers("frequencies");

const fn operation(
    name: &'static str,
    inputs: &'static [Input],
    results: &'static [&'static str],
    run: Run,
) -> Operation {
    Operation { name, inputs, results, takes_out: false, run, divisible: None }
}

impl Operation {
    const fn with_out(self) -> Self {
        Self { takes_out: true, ..self }
    }

    const fn divisible(self, operations: fn(&mut Call<'_>) -> Result<u64>) -> Self {
        Self { divisible: Some(operations), ..self }
    }
}

/// The gradient of attention's output, the inputs of the forward call, and its results.
#[cfg(feature = "training")]
#[rustfmt::skip]
const ATTENTION_BACKWARD: &[Input] = &[tensor("gradient"), tensor("q"), tensor("k"), tensor("v"), tensor("output"), tensor("logSumExp"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, SINKS];

const NOTHING: &[&str] = &[];
const OUTPUT: &[&str] = &["output"];
const OBJECT: &[&str] = &["object"];
const ATTENTION: &[&str] = &["output", "weights", "logSumExp", "topWeights.values", "topWeights.indices"];
const WEIGHTED: &[&str] = &["output", "weights"];
const SAMPLE: &[&str] = &["nodes", "edges", "source", "target"];
const STATEFUL: &[&str] = &["output", "state"];

const GRAPH: bool = cfg!(feature = "graph");
const LINEAR: bool = cfg!(feature = "linear");
const HYPERBOLIC: bool = cfg!(feature = "hyperbolic");

/// Returns an operation, or in builds without its feature one that fails, so that all others keep their numbers. The
/// linker drops the code of operations that no table refers to.
const fn only(is_included: bool, included: Operation) -> Operation {
    if is_included { included } else { operation("", &[], NOTHING, absent) }
}

fn absent(_: &mut Call<'_>) -> Result<()> {
    Err(Error::new(Code::Internal, "operation", "an operation of this build", ""))
}

/// Every operation; an operation's number is its index.
#[rustfmt::skip]
pub const OPERATIONS: &[Operation] = &[
    operation("scaledDotProductAttention", &[tensor("q"), tensor("k"), tensor("v"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, SINKS], ATTENTION, attention::scaled_dot_product_attention).with_out().divisible(attention::divisible),
    operation("flashAttention", &[tensor("q"), tensor("k"), tensor("v"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, SINKS], ATTENTION, attention::flash_attention).with_out().divisible(attention::divisible),
    operation("attentionWeights", &[tensor("q"), tensor("k"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, SINKS], OUTPUT, attention::attention_weights).with_out(),
    operation("scaledDotProductOptions", &[], NOTHING, attention::check_scaled_dot_product),
    operation("flashOptions", &[], NOTHING, attention::check_flash),
    operation("mergeAttention", &[tensor("parts"), tensor("parts")], &["output", "logSumExp"], attention::merge_attention),
    operation("rotaryEmbedding", &[tensor("x"), POSITIONS, FREQUENCIES], OUTPUT, attention::rotary_embedding),

    operation("createKVCache", &[], OBJECT, cache::create),
    operation("kvCacheAppend", &[tensor("k"), tensor("v"), integer_option("lengths")], NOTHING, cache::append),
    operation("kvCacheAttend", &[tensor("q"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, SINKS], ATTENTION, cache::attend).with_out(),
    operation("kvCacheTruncate", &[optional_integers("length")], NOTHING, cache::truncate),
    operation("kvCacheLengths", &[], &["lengths"], cache::lengths),
    operation("kvCacheReorder", &[integers("entries")], NOTHING, cache::reorder),
    operation("kvCacheCopy", &[], NOTHING, cache::copy),
    operation("kvCacheRead", &[], &["keys", "values", "starts"], cache::read),

    operation("createMultiHeadAttention", &[], OBJECT, layers::create_multi_head_attention),
    operation("createSelfAttention", &[], OBJECT, layers::create_self_attention),
    operation("createCrossAttention", &[], OBJECT, layers::create_cross_attention),
    operation("multiHeadAttention", &[tensor("q"), optional("k"), optional("v"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, POSITIONS, FREQUENCIES], WEIGHTED, layers::multi_head_attention).with_out().divisible(layers::divisible_attention),
    operation("createTransformerEncoderLayer", &[], OBJECT, layers::create_encoder_layer),
    operation("transformerEncoderLayer", &[tensor("x"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, POSITIONS, FREQUENCIES], WEIGHTED, layers::transformer_encoder_layer).with_out().divisible(layers::divisible_encoder),
    operation("createTransformerDecoderLayer", &[], OBJECT, layers::create_transformer_decoder_layer),
    operation("transformerDecoderLayer", &[tensor("x"), optional("context"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, integer_option("contextLengths"), POSITIONS, FREQUENCIES], WEIGHTED, layers::transformer_decoder_layer).with_out(),
    operation("createLatentAttention", &[], OBJECT, layers::create_latent_attention),
    operation("latentAttention", &[tensor("x"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, POSITIONS, FREQUENCIES], WEIGHTED, layers::latent_attention).with_out(),
    operation("createDecoderLayer", &[], OBJECT, layers::create_decoder_layer),
    operation("decoderLayer", &[tensor("x"), MASK, QUERY_OFFSET, KV_LENGTHS, RELATIVE_BIAS, CU_SEQLENS, CU_SEQLENS_KEYS, POSITIONS, FREQUENCIES], WEIGHTED, layers::decoder_layer).with_out().divisible(layers::divisible_decoder),
    operation("createLinear", &[], OBJECT, layers::create_linear),
    operation("linearLayer", &[tensor("x")], OUTPUT, layers::linear_layer),
    operation("createEmbedding", &[], OBJECT, layers::create_embedding),
    operation("embeddingLayer", &[integers("ids")], OUTPUT, layers::embedding_layer),

    operation("softmax", &[tensor("x")], OUTPUT, functions::softmax),
    operation("linear", &[tensor("x"), weight("weight"), SCALES, optional("bias")], OUTPUT, functions::linear),
    operation("layerNorm", &[tensor("x"), option("weight"), option("bias")], OUTPUT, functions::layer_norm),
    operation("rmsNorm", &[tensor("x"), option("weight")], OUTPUT, functions::rms_norm),
    operation("gelu", &[tensor("x")], OUTPUT, functions::gelu),
    operation("silu", &[tensor("x")], OUTPUT, |call| functions::activate(call, Activation::Silu)),
    operation("relu", &[tensor("x")], OUTPUT, |call| functions::activate(call, Activation::Relu)),
    operation("tanh", &[tensor("x")], OUTPUT, |call| functions::activate(call, Activation::Tanh)),
    operation("sigmoid", &[tensor("x")], OUTPUT, |call| functions::activate(call, Activation::Sigmoid)),
    operation("elu", &[tensor("x")], OUTPUT, |call| functions::activate(call, Activation::Elu)),
    operation("add", &[tensor("a"), tensor("b")], OUTPUT, |call| functions::combine(call, Combine::Add)),
    operation("multiply", &[tensor("a"), tensor("b")], OUTPUT, |call| functions::combine(call, Combine::Multiply)),
    operation("topK", &[tensor("queries"), weight("vectors"), SCALES], &["values", "indices"], functions::top_k),
    operation("meanPool", &[tensor("x"), integer_option("lengths"), CU_SEQLENS], OUTPUT, functions::mean_pool),
    operation("stats", &[tensor("tensor")], &["mean, std, min, max"], functions::stats),
    operation("normalize", &[tensor("tensor")], OUTPUT, functions::normalize),

    only(GRAPH, operation("createGraph", &[integers("source"), integers("target")], OBJECT, graph::create)),
    only(GRAPH, operation("inDegrees", &[], OUTPUT, graph::in_degrees)),
    only(GRAPH, operation("sampleNeighbors", &[integers("nodes"), integers("fanouts"), integers("call")], SAMPLE, graph::sample)),
    only(GRAPH, operation("propagate", &[tensor("x"), option("edgeWeight")], OUTPUT, graph::propagate)),
    only(GRAPH, operation("edgeSoftmax", &[tensor("scores")], OUTPUT, graph::edge_softmax)),
    only(GRAPH, operation("createGraphConvolution", &[], OBJECT, graph::create_layer::<ConvolutionConfig>)),
    only(GRAPH, operation("createGraphSage", &[], OBJECT, graph::create_layer::<SageConfig>)),
    only(GRAPH, operation("createGraphAttention", &[], OBJECT, graph::create_layer::<GraphAttentionConfig>)),
    only(GRAPH, operation("createGraphTransformer", &[], OBJECT, graph::create_layer::<GraphTransformerConfig>)),
    only(GRAPH, operation("graphLayer", &[tensor("x"), optional("xTarget"), option("edgeAttr"), option("edgeWeight")], WEIGHTED, graph::forward)),

    only(LINEAR, operation("createLinearAttention", &[], OBJECT, linear::create)),
    only(LINEAR, operation("linearAttention", &[tensor("q"), tensor("k"), tensor("v"), KV_LENGTHS, option("decay"), option("beta"), option("state")], STATEFUL, linear::forward).with_out()),
    only(LINEAR, operation("linearFeatureMap", &[tensor("x")], OUTPUT, linear::feature_map)),
    only(LINEAR, operation("createLinearStream", &[], OBJECT, linear::create_stream)),
    only(LINEAR, operation("linearStreamStep", &[tensor("q"), tensor("k"), tensor("v"), option("decay"), option("beta"), option("state")], STATEFUL, linear::step)),
    only(LINEAR, operation("linearStreamReset", &[], NOTHING, linear::reset)),

    operation("causalConvolution", &[tensor("x"), tensor("weight"), option("bias"), option("state")], STATEFUL, convolution::causal_convolution),

    only(HYPERBOLIC, operation("createHyperbolicAttention", &[], OBJECT, hyperbolic::create)),
    only(HYPERBOLIC, operation("hyperbolicAttention", &[tensor("q"), tensor("k"), tensor("v"), MASK, QUERY_OFFSET, KV_LENGTHS], WEIGHTED, hyperbolic::forward).with_out()),
    only(HYPERBOLIC, operation("hyperbolicFunction", &[tensor("first"), optional("second"), optional("third")], OUTPUT, hyperbolic::function)),
    only(HYPERBOLIC, operation("hyperbolicDistances", &[tensor("a"), tensor("b")], OUTPUT, hyperbolic::distances)),
    only(HYPERBOLIC, operation("hyperbolicMidpoint", &[tensor("points"), optional("weights")], OUTPUT, hyperbolic::midpoint)),

    // Behind all others, which keep their numbers without them.
    #[cfg(feature = "training")]
    operation("linearBackward", &[tensor("gradient"), optional("x"), optional_weight("weight"), SCALES], &["x", "weight", "bias"], training::linear_backward),
    #[cfg(feature = "training")]
    operation("normBackward", &[tensor("gradient"), tensor("x"), option("weight")], &["x", "weight", "bias"], training::norm_backward),
    #[cfg(feature = "training")]
    operation("activation", &[tensor("x")], OUTPUT, training::activation),
    #[cfg(feature = "training")]
    operation("activationBackward", &[tensor("gradient"), tensor("x"), optional("factor")], &["x", "factor"], training::activation_backward),
    #[cfg(feature = "training")]
    operation("softmaxBackward", &[tensor("gradient"), tensor("output")], &["x"], training::softmax_backward),
    #[cfg(feature = "training")]
    operation("sumTo", &[tensor("x"), integers("shape")], OUTPUT, training::sum_to),
    #[cfg(feature = "training")]
    operation("embeddingBackward", &[tensor("gradient"), integers("ids")], &["weight"], training::embedding_backward),
    #[cfg(feature = "training")]
    operation("meanPoolBackward", &[tensor("gradient"), tensor("x"), integer_option("lengths"), CU_SEQLENS], &["x"], training::mean_pool_backward),
    #[cfg(feature = "training")]
    operation("rotaryEmbeddingBackward", &[tensor("gradient"), POSITIONS, FREQUENCIES], &["x"], training::rotary_backward),
    #[cfg(feature = "training")]
    operation("dropout", &[tensor("x"), CU_SEQLENS], OUTPUT, training::dropout),
    #[cfg(feature = "training")]
    operation("attentionBackward", ATTENTION_BACKWARD, &["q", "k", "v", "relativeBias", "sinks"], training::attention_backward),
    #[cfg(feature = "training")]
    operation("attentionMaskBackward", ATTENTION_BACKWARD, &["mask"], training::attention_mask_backward),
    #[cfg(feature = "training")]
    operation("linearAttentionBackward", &[tensor("gradient"), tensor("q"), tensor("k"), tensor("v"), KV_LENGTHS, option("decay"), option("beta"), option("state"), option("stateGradient")], &["q", "k", "v", "decay", "beta", "state"], training::linear_attention_backward),
    #[cfg(feature = "training")]
    operation("linearFeatureMapBackward", &[tensor("gradient"), tensor("x")], &["x"], training::linear_feature_map_backward),
    #[cfg(feature = "training")]
    operation("causalConvolutionBackward", &[tensor("gradient"), tensor("x"), tensor("weight"), option("bias"), option("state"), option("stateGradient")], &["x", "weight", "bias", "state"], training::causal_convolution_backward),
    #[cfg(feature = "training")]
    operation("hyperbolicAttentionBackward", &[tensor("gradient"), tensor("q"), tensor("k"), tensor("v"), MASK, QUERY_OFFSET, KV_LENGTHS], &["q", "k", "v"], training::hyperbolic_attention_backward),
    #[cfg(feature = "training")]
    operation("hyperbolicFunctionBackward", &[tensor("gradient"), tensor("first"), optional("second")], &["first", "second"], training::hyperbolic_function_backward),
    #[cfg(feature = "training")]
    operation("hyperbolicDistancesBackward", &[tensor("gradient"), tensor("a"), tensor("b")], &["a", "b"], training::hyperbolic_distances_backward),
    #[cfg(feature = "training")]
    operation("hyperbolicMidpointBackward", &[tensor("gradient"), tensor("points"), optional("weights")], &["points", "weights"], training::hyperbolic_midpoint_backward),
    #[cfg(feature = "training")]
    operation("createTensors", &[], OBJECT, tensors::create),
    #[cfg(feature = "training")]
    operation("propagateBackward", &[tensor("gradient"), tensor("x"), option("edgeWeight")], &["x", "edgeWeight"], training::propagate_backward),
    #[cfg(feature = "training")]
    operation("edgeSoftmaxBackward", &[tensor("gradient"), tensor("output")], &["scores"], training::edge_softmax_backward),
    #[cfg(feature = "training")]
    operation("edgeAttention", &[tensor("values"), optional("sources"), tensor("targets"), optional("attention"), optional("edges"), optional("projection")], OUTPUT, training::edge_attention),
    #[cfg(feature = "training")]
    operation("edgeAttentionBackward", &[tensor("gradient"), tensor("values"), optional("sources"), tensor("targets"), optional("attention"), optional("edges"), optional("projection")], &["values", "sources", "targets", "attention", "edges", "projection"], training::edge_attention_backward),

    // Last, so that all other operations keep their numbers without it.
    #[cfg(feature = "faults")]
    operation("provokePanic", &[], NOTHING, |call| panic!("{}", call.json.unwrap_or_default())),
];

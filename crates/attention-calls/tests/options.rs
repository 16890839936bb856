//! Options passed as JSON through the bindings, and as Rust types: the same checks reject both with the same error
//! texts.

#![allow(missing_docs, reason = "test names are sentences")]

use ruvector_attention::attention::cache::{CacheConfig, KvCache};
use ruvector_attention::attention::rotary::{Rotary, RotaryArrays, RotaryOptions, rotary_embedding};
use ruvector_attention::attention::{Arrays, Outputs, attention_weights, scaled_dot_product_attention};
use ruvector_attention::graph::Graph;
use ruvector_attention::graph::layer::{GraphLayer, Inputs as GraphInputs};
use ruvector_attention::graph::options::{
    ConvolutionConfig, GraphAttentionConfig, GraphConfig, GraphOptions, GraphTransformerConfig, InFeatures, SageConfig,
};
use ruvector_attention::hyperbolic::functions::{Function, FunctionOptions};
use ruvector_attention::hyperbolic::{HyperbolicAttention, HyperbolicConfig, HyperbolicOptions};
use ruvector_attention::layers::encoder::{EncoderConfig, TransformerEncoderLayer};
use ruvector_attention::layers::multi_head::{Inputs, MultiHeadAttention};
use ruvector_attention::linear::stream::{Stream, StreamConfig};
use ruvector_attention::linear::{FeatureMap, LinearAttention, LinearConfig};
use ruvector_attention::math::norm::{layer_norm, rms_norm};
use ruvector_attention::math::stats::normalize;
use ruvector_attention::options::{AttentionConfig, AttentionOptions, LayerKind, LayerOptions, Stage};
use ruvector_attention::{Context, Error, Result, Tensor};
use ruvector_attention_calls::{self as calls, Array, Builder};

/// Returns code, argument, expectation and actual value as the bindings throw them.
fn told(error: &Error) -> [String; 4] {
    let json: serde_json::Value = serde_json::from_str(&calls::to_json(error)).unwrap();
    ["code", "argument", "expected", "actual"].map(|name| json[name].as_str().unwrap().into())
}

/// Runs an operation on equal tensors.
fn call(operation: &str, objects: &[u32], inputs: &[&[usize]], options: &str) -> Result<()> {
    let data: Vec<Vec<f32>> = inputs.iter().map(|shape| vec![0.25; shape.iter().product()]).collect();
    let mut call = Builder::new(1, objects);
    for (data, shape) in data.iter().zip(inputs) {
        call.add(Array::F32(data), shape);
    }
    call.run(operation, Some(options)).map(drop)
}

fn create(operation: &str, config: &str) -> Result<u32> {
    let mut call = Builder::new(1, &[]);
    if operation == "createGraph" {
        (0..2).for_each(|_| call.add(Array::I32(&[]), &[0]));
    }
    call.create(operation, config)
}

/// Replaces the list of known options in expected errors.
const KNOWN: &str = "one of …";

const VALUES: [f32; 64] = [0.25; 64];

fn tensor<'a>(dims: &[usize]) -> Tensor<'a> {
    Tensor::new("x", &VALUES[..dims.iter().product()], dims).unwrap()
}

#[track_caller]
fn same<T>(json: &str, through_json: Result<T>, through_types: Result<T>) {
    let (a, b) = (through_json.err().expect(json), through_types.err().expect(json));
    assert_eq!(told(&a), told(&b), "{json}");
    assert_eq!(a.code, ruvector_attention::Code::Option, "{json}");
}

#[test]
fn configurations_are_rejected_alike_as_json_and_as_types() {
    let attention = |kind: &str, json: &str, config: AttentionConfig| {
        let kind_of = match kind {
            "createSelfAttention" => LayerKind::SelfAttention,
            "createCrossAttention" => LayerKind::CrossAttention,
            _ => LayerKind::MultiHead,
        };
        let made = MultiHeadAttention::new(AttentionConfig { kind: kind_of, ..config });
        same(json, create(kind, json).map(drop), made.map(drop));
    };
    let base = AttentionConfig { num_heads: 6, head_dim: 8, ..AttentionConfig::default() };
    let rotary = |rotary| AttentionConfig { rotary: Some(rotary), ..base.clone() };
    for (kind, json, config) in [
        ("createMultiHeadAttention", r#"{"numHeads":0,"headDim":8}"#, AttentionConfig { num_heads: 0, ..base.clone() }),
        ("createMultiHeadAttention", r#"{"numHeads":6,"headDim":0}"#, AttentionConfig { head_dim: 0, ..base.clone() }),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"kvHeads":4}"#,
            AttentionConfig { kv_heads: Some(4), ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"kvHeads":0}"#,
            AttentionConfig { kv_heads: Some(0), ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"modelDim":0}"#,
            AttentionConfig { model_dim: Some(0), ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"kDim":0}"#,
            AttentionConfig { k_dim: Some(0), ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"vDim":0}"#,
            AttentionConfig { v_dim: Some(0), ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"dropout":1}"#,
            AttentionConfig { dropout: Some(1.0), ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"dropout":"NaN"}"#,
            AttentionConfig { dropout: Some(f32::NAN), ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"seed":9007199254740992}"#,
            AttentionConfig { seed: Some(1 << 53), ..base.clone() },
        ),
        (
            "createSelfAttention",
            r#"{"numHeads":6,"headDim":8,"kDim":9}"#,
            AttentionConfig { k_dim: Some(9), ..base.clone() },
        ),
        (
            "createSelfAttention",
            r#"{"numHeads":6,"headDim":8,"vDim":9}"#,
            AttentionConfig { v_dim: Some(9), ..base.clone() },
        ),
        (
            "createCrossAttention",
            r#"{"numHeads":6,"headDim":8,"kDim":9,"vDim":7}"#,
            AttentionConfig { k_dim: Some(9), v_dim: Some(7), ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":60000,"headDim":60000}"#,
            AttentionConfig { num_heads: 60_000, head_dim: 60_000, ..base.clone() },
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"rotary":{"dim":5}}"#,
            rotary(Rotary { dim: Some(5), ..Rotary::default() }),
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"rotary":{"dim":10}}"#,
            rotary(Rotary { dim: Some(10), ..Rotary::default() }),
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"rotary":{"base":0.5}}"#,
            rotary(Rotary { base: 0.5, ..Rotary::default() }),
        ),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":7,"rotary":{}}"#,
            AttentionConfig { head_dim: 7, ..rotary(Rotary::default()) },
        ),
    ] {
        attention(kind, json, config);
    }
    let base = EncoderConfig { model_dim: 8, num_heads: 2, ..EncoderConfig::default() };
    for (json, config) in [
        (r#"{"modelDim":0,"numHeads":2}"#, EncoderConfig { model_dim: 0, ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":0}"#, EncoderConfig { num_heads: 0, ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":3}"#, EncoderConfig { num_heads: 3, ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":2,"feedForwardDim":0}"#, EncoderConfig { feed_forward_dim: 0, ..base.clone() }),
        (
            r#"{"modelDim":8,"numHeads":2,"feedForwardDim":9007199254740991}"#,
            EncoderConfig { feed_forward_dim: (1 << 53) - 1, ..base.clone() },
        ),
        (r#"{"modelDim":8,"numHeads":2,"epsilon":-1}"#, EncoderConfig { epsilon: -1.0, ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":2,"dropout":1}"#, EncoderConfig { dropout: 1.0, ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":2,"seed":9007199254740992}"#, EncoderConfig { seed: 1 << 53, ..base.clone() }),
        (r#"{"modelDim":40000,"numHeads":2}"#, EncoderConfig { model_dim: 40_000, ..base.clone() }),
    ] {
        same(
            json,
            create("createTransformerEncoderLayer", json).map(drop),
            TransformerEncoderLayer::new(config).map(drop),
        );
    }
    let base = CacheConfig { kv_heads: 2, head_dim: 3, capacity: 5, ..CacheConfig::default() };
    for (json, config) in [
        (r#"{"kvHeads":0,"headDim":3,"capacity":5}"#, CacheConfig { kv_heads: 0, ..base.clone() }),
        (r#"{"kvHeads":2,"headDim":0,"capacity":5}"#, CacheConfig { head_dim: 0, ..base.clone() }),
        (r#"{"kvHeads":2,"headDim":3,"capacity":0}"#, CacheConfig { capacity: 0, ..base.clone() }),
        (r#"{"kvHeads":2,"headDim":3,"capacity":5,"batch":0}"#, CacheConfig { batch: 0, ..base.clone() }),
        (r#"{"kvHeads":2,"headDim":3,"capacity":5,"valueDim":0}"#, CacheConfig { value_dim: Some(0), ..base.clone() }),
        (r#"{"kvHeads":2,"headDim":3,"capacity":5,"window":0}"#, CacheConfig { window: Some(0), ..base.clone() }),
    ] {
        same(json, create("createKVCache", json).map(drop), KvCache::new(config).map(drop));
    }
    let base = LinearConfig { model_dim: 8, num_heads: 2, ..LinearConfig::default() };
    let feature_map = FeatureMap::FavorPlus;
    for (json, config) in [
        (r#"{"modelDim":0}"#, LinearConfig { model_dim: 0, ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":0}"#, LinearConfig { num_heads: 0, ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":3}"#, LinearConfig { num_heads: 3, ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":2,"featureDim":0}"#, LinearConfig { feature_dim: Some(0), ..base.clone() }),
        (r#"{"modelDim":8,"numHeads":2,"featureDim":8}"#, LinearConfig { feature_dim: Some(8), ..base.clone() }),
        (
            r#"{"modelDim":8,"numHeads":2,"featureMap":"favor+","featureDim":1000000000}"#,
            LinearConfig { feature_map: Some(feature_map), feature_dim: Some(1_000_000_000), ..base.clone() },
        ),
        (r#"{"modelDim":8,"seed":9007199254740992}"#, LinearConfig { seed: 1 << 53, ..base.clone() }),
    ] {
        same(json, create("createLinearAttention", json).map(drop), LinearAttention::new(config).map(drop));
    }
    for (json, config) in [
        (r#"{"batch":0}"#, StreamConfig { batch: 0, ..StreamConfig::default() }),
        (r#"{"valueDim":0}"#, StreamConfig { value_dim: Some(0), ..StreamConfig::default() }),
    ] {
        same(json, create("createLinearStream", json).map(drop), Stream::new(config).map(drop));
    }
    let base = HyperbolicConfig { curvature: -1.0, ..HyperbolicConfig::default() };
    for (json, config) in [
        (r#"{"curvature":0}"#, HyperbolicConfig { curvature: 0.0, ..base }),
        (r#"{"curvature":1}"#, HyperbolicConfig { curvature: 1.0, ..base }),
        (r#"{"curvature":-1e300}"#, HyperbolicConfig { curvature: -1e300, ..base }),
        (r#"{"curvature":"-Infinity"}"#, HyperbolicConfig { curvature: f64::NEG_INFINITY, ..base }),
        (r#"{"curvature":-1,"numHeads":0}"#, HyperbolicConfig { num_heads: 0, ..base }),
        (r#"{"curvature":-1,"temperature":0}"#, HyperbolicConfig { temperature: 0.0, ..base }),
        (r#"{"curvature":-1,"temperature":"Infinity"}"#, HyperbolicConfig { temperature: f64::INFINITY, ..base }),
    ] {
        same(json, create("createHyperbolicAttention", json).map(drop), HyperbolicAttention::new(config).map(drop));
    }
}

#[test]
fn graph_layer_configurations_are_rejected_alike_as_json_and_as_types() {
    fn check(kind: &str, json: &str, config: impl Into<GraphConfig>) {
        same(json, create(kind, json).map(drop), GraphLayer::new(config).map(drop));
    }
    let base = ConvolutionConfig { in_features: 3, out_features: 4, ..ConvolutionConfig::default() };
    check(
        "createGraphConvolution",
        r#"{"inFeatures":0,"outFeatures":4}"#,
        ConvolutionConfig { in_features: 0, ..base },
    );
    check(
        "createGraphConvolution",
        r#"{"inFeatures":3,"outFeatures":0}"#,
        ConvolutionConfig { out_features: 0, ..base },
    );
    let json = r#"{"inFeatures":3,"outFeatures":4,"seed":9007199254740992}"#;
    check("createGraphConvolution", json, ConvolutionConfig { seed: 1 << 53, ..base });
    let json = r#"{"inFeatures":65536,"outFeatures":65536}"#;
    check("createGraphConvolution", json, ConvolutionConfig { in_features: 65_536, out_features: 65_536, ..base });
    let json = r#"{"inFeatures":3,"outFeatures":4,"normalize":false,"addSelfLoops":true}"#;
    let config = ConvolutionConfig { normalize: false, add_self_loops: Some(true), ..base };
    check("createGraphConvolution", json, config);
    let base = SageConfig { in_features: 3.into(), out_features: 4, ..SageConfig::default() };
    for (features, in_features) in [("0", 0.into()), ("[3,0]", [3, 0].into()), ("[0,3]", InFeatures::Pair([0, 3]))] {
        let json = format!(r#"{{"inFeatures":{features},"outFeatures":4}}"#);
        check("createGraphSage", &json, SageConfig { in_features, ..base });
    }
    let json = r#"{"inFeatures":65536,"outFeatures":4,"project":true}"#;
    check("createGraphSage", json, SageConfig { in_features: 65_536.into(), project: true, ..base });
    let base = GraphAttentionConfig { in_features: 3.into(), out_features: 4, ..GraphAttentionConfig::default() };
    for (json, config) in [
        (r#"{"inFeatures":3,"outFeatures":4,"numHeads":0}"#, GraphAttentionConfig { num_heads: 0, ..base }),
        (
            r#"{"inFeatures":3,"outFeatures":4,"edgeFeatures":0}"#,
            GraphAttentionConfig { edge_features: Some(0), ..base },
        ),
        (r#"{"inFeatures":3,"outFeatures":4,"version":3}"#, GraphAttentionConfig { version: 3, ..base }),
        (
            r#"{"inFeatures":3,"outFeatures":4,"negativeSlope":1.1}"#,
            GraphAttentionConfig { negative_slope: 1.1, ..base },
        ),
        (
            r#"{"inFeatures":3,"outFeatures":4,"fillValue":"Infinity"}"#,
            GraphAttentionConfig { fill_value: Some(f32::INFINITY), ..base },
        ),
        (r#"{"inFeatures":3,"outFeatures":4,"dropout":1}"#, GraphAttentionConfig { dropout: 1.0, ..base }),
    ] {
        check("createGraphAttention", json, config);
    }
    let base = GraphTransformerConfig { in_features: 3.into(), out_features: 4, ..GraphTransformerConfig::default() };
    for (json, config) in [
        (r#"{"inFeatures":3,"outFeatures":4,"numHeads":0}"#, GraphTransformerConfig { num_heads: 0, ..base }),
        (
            r#"{"inFeatures":3,"outFeatures":4,"edgeFeatures":0}"#,
            GraphTransformerConfig { edge_features: Some(0), ..base },
        ),
        (r#"{"inFeatures":3,"outFeatures":4,"dropout":-0.5}"#, GraphTransformerConfig { dropout: -0.5, ..base }),
    ] {
        check("createGraphTransformer", json, config);
    }
}

/// Returns values out of range for each option that all attention has.
fn invalid_options() -> Vec<(&'static str, AttentionOptions)> {
    let base = AttentionOptions::default();
    vec![
        (r#"{"queryOffset":2147483648}"#, AttentionOptions { query_offset: Some(1 << 31), ..base.clone() }),
        (r#"{"scale":"NaN"}"#, AttentionOptions { scale: Some(f32::NAN), ..base.clone() }),
        (r#"{"scale":"-Infinity"}"#, AttentionOptions { scale: Some(f32::NEG_INFINITY), ..base.clone() }),
        (r#"{"softcap":-0.5}"#, AttentionOptions { softcap: -0.5, ..base.clone() }),
        (r#"{"softcap":"Infinity"}"#, AttentionOptions { softcap: f32::INFINITY, ..base.clone() }),
        (r#"{"dropout":1}"#, AttentionOptions { dropout: 1.0, ..base.clone() }),
        (r#"{"dropout":-0.25}"#, AttentionOptions { dropout: -0.25, ..base.clone() }),
        (r#"{"seed":9007199254740992}"#, AttentionOptions { seed: 1 << 53, ..base.clone() }),
        (r#"{"topWeights":0}"#, AttentionOptions { top_weights: Some(0), ..base }),
    ]
}

const X: &[usize] = &[1, 1, 2, 2];

#[test]
fn attention_options_are_rejected_alike_as_json_and_as_types() {
    let x = tensor(X);
    let run = |options: &AttentionOptions| {
        let mut output = [0.0; 4];
        let outputs = Outputs { output: &mut output, ..Outputs::default() };
        scaled_dot_product_attention(Context::default(), x, x, x, options, Arrays::default(), outputs)
    };
    let cache = KvCache::new(CacheConfig { kv_heads: 1, head_dim: 2, capacity: 4, ..CacheConfig::default() }).unwrap();
    cache.append(x, x).unwrap();
    let attend = |options: &AttentionOptions| {
        let mut output = [0.0; 4];
        let outputs = Outputs { output: &mut output, ..Outputs::default() };
        cache.attend(Context::default(), x, options, Arrays::default(), outputs)
    };
    let id = create("createKVCache", r#"{"kvHeads":1,"headDim":2,"capacity":4}"#).unwrap();
    call("kvCacheAppend", &[id], &[X, X], "{}").unwrap();
    let weights = |options: &AttentionOptions| {
        attention_weights(Context::default(), x, x, options, Arrays::default(), &mut [0.0; 4])
    };
    for (json, options) in invalid_options() {
        same(json, call("scaledDotProductAttention", &[], &[X; 3], json), run(&options));
        same(json, call("flashAttention", &[], &[X; 3], json), run(&options));
        same(json, call("kvCacheAttend", &[id], &[X], json), attend(&options));
        same(json, call("attentionWeights", &[], &[X; 2], json), weights(&options));
    }
    let base = AttentionOptions::default();
    let options = AttentionOptions { block_size: Some(0), ..base.clone() };
    let json = r#"{"blockSize":0}"#;
    same(json, call("flashAttention", &[], &[X; 3], json), run(&options));
    same(json, call("flashOptions", &[], &[X], r#"{"headDim":4,"blockSize":0}"#), run(&options));
    assert!(attend(&options).is_err());
    let json = r#"{"queryOffset":3}"#;
    let options = AttentionOptions { query_offset: Some(3), ..base.clone() };
    same(json, call("kvCacheAttend", &[id], &[X], json), attend(&options));
    let json = r#"{"stage":"scores"}"#;
    let options = AttentionOptions { stage: Some(Stage::Scores), ..base.clone() };
    same(json, call("flashAttention", &[], &[X; 3], json), run(&options));
    assert_eq!(attend(&options).unwrap_err().argument, "stage");
    for (json, options) in [
        (r#"{"weights":true}"#, AttentionOptions { weights: true, ..base.clone() }),
        (r#"{"topWeights":1}"#, AttentionOptions { top_weights: Some(1), ..base.clone() }),
        (r#"{"logSumExp":true}"#, AttentionOptions { log_sum_exp: true, ..base.clone() }),
    ] {
        same(json, call("attentionWeights", &[], &[X; 2], json), weights(&options));
        // A requested result needs an output.
        let [code, argument, ..] = told(&run(&options).unwrap_err());
        assert_eq!((code.as_str(), Some(argument.as_str())), ("SHAPE", json.split('"').nth(1)));
    }
    let options = AttentionOptions { window: Some([1, -2]), ..base };
    let json = r#"{"window":[1, -2]}"#;
    same(json, call("scaledDotProductAttention", &[], &[X; 3], json), run(&options));
}

#[test]
fn options_of_other_calls_are_rejected_alike_as_json_and_as_types() {
    let x = tensor(&[1, 2, 2]);
    let dims: &[usize] = &[1, 2, 2];
    let context = Context::default();
    let id = create("createSelfAttention", r#"{"numHeads":1,"headDim":2}"#).unwrap();
    let layer = MultiHeadAttention::new(AttentionConfig { num_heads: 1, head_dim: 2, ..Default::default() }).unwrap();
    let encoder_id = create("createTransformerEncoderLayer", r#"{"modelDim":2,"numHeads":1}"#).unwrap();
    let encoder =
        TransformerEncoderLayer::new(EncoderConfig { model_dim: 2, num_heads: 1, ..Default::default() }).unwrap();
    for (json, options) in [
        (r#"{"queryOffset":-2147483649}"#, LayerOptions { query_offset: Some(-(1 << 31) - 1), ..Default::default() }),
        (r#"{"window":[-2, 0]}"#, LayerOptions { window: Some([-2, 0]), ..Default::default() }),
        (r#"{"scale":"NaN"}"#, LayerOptions { scale: Some(f32::NAN), ..Default::default() }),
        (r#"{"softcap":-1}"#, LayerOptions { softcap: Some(-1.0), ..Default::default() }),
        (r#"{"seed":9007199254740992}"#, LayerOptions { seed: Some(1 << 53), ..Default::default() }),
    ] {
        let inputs = Inputs::from(x);
        let found = layer.forward(context, inputs, &options, Arrays::default(), false, &mut [0.0; 4], None);
        same(json, call("multiHeadAttention", &[id], &[dims], json), found);
        let found = encoder.forward(context, x, &options, Arrays::default(), false, &mut [0.0; 4], None);
        same(json, call("transformerEncoderLayer", &[encoder_id], &[dims], json), found);
    }
    let id = create("createHyperbolicAttention", r#"{"curvature":-1}"#).unwrap();
    let space = HyperbolicAttention::new(HyperbolicConfig { curvature: -1.0, ..Default::default() }).unwrap();
    for (json, options) in [
        (r#"{"queryOffset":2147483648}"#, HyperbolicOptions { query_offset: Some(1 << 31), ..Default::default() }),
        (r#"{"window":[0, -2]}"#, HyperbolicOptions { window: Some([0, -2]), ..Default::default() }),
    ] {
        let found = space.forward(context, [x; 3], &options, Arrays::default(), &mut [0.0; 4], None);
        same(json, call("hyperbolicAttention", &[id], &[dims; 3], json), found);
    }
    let options = FunctionOptions { function: Function::MobiusScale, factor: f64::INFINITY };
    let json = r#"{"function":"mobiusScale","factor":"Infinity"}"#;
    let found = space.apply(context, &options, [Some(x), None, None], &mut [0.0; 4]);
    same(json, call("hyperbolicFunction", &[id], &[dims], json), found);
    for (json, options) in [
        (r#"{"dim":3}"#, RotaryOptions { dim: Some(3), ..Default::default() }),
        (r#"{"dim":4}"#, RotaryOptions { dim: Some(4), ..Default::default() }),
        (r#"{"base":1e15}"#, RotaryOptions { base: 1e15, ..Default::default() }),
        (r#"{"scale":-0.5}"#, RotaryOptions { scale: -0.5, ..Default::default() }),
    ] {
        let found = rotary_embedding(context, x, options, RotaryArrays::default(), &mut [0.0; 4]);
        // The maximum base, which is rejected, is formatted as plain digits.
        let json = if json.contains("1e15") { r#"{"base":1000000000000000}"# } else { json };
        same(json, call("rotaryEmbedding", &[], &[dims], json), found);
    }
    let json = r#"{"epsilon":-1}"#;
    let weight = None;
    same(json, call("layerNorm", &[], &[dims], json), layer_norm(context, x, weight, None, -1.0, &mut [0.0; 4]));
    same(json, call("rmsNorm", &[], &[dims], json), rms_norm(context, x, weight, -1.0, &mut [0.0; 4]));
    same(json, call("normalize", &[], &[dims], json), normalize(x, -1.0, &mut [0.0; 4]));
    let ends = [0, 1];
    let mut edges = Builder::new(1, &[]);
    (0..2).for_each(|_| edges.add(Array::I32(&ends), &[ends.len()]));
    let graph_id = edges.create("createGraph", r#"{"numNodes":2}"#).unwrap();
    let id = create("createGraphAttention", r#"{"inFeatures":2,"outFeatures":2}"#).unwrap();
    let graph = Graph::from_edges(2, &ends, &ends).unwrap();
    let config = GraphAttentionConfig { in_features: 2.into(), out_features: 2, ..Default::default() };
    let layer = GraphLayer::new(config).unwrap();
    let inputs = GraphInputs { x: tensor(&[2, 2]), x_target: None, edge_attr: None, edge_weight: None };
    let options = GraphOptions { seed: Some(1 << 53), ..Default::default() };
    let found = layer.forward(context, &graph, inputs, &options, false, &mut [0.0; 4], None);
    let json = r#"{"seed":9007199254740992}"#;
    same(json, call("graphLayer", &[id, graph_id], &[&[2, 2]], json), found);
}

/// Returns argument, expectation and actual value of an error.
#[track_caller]
fn fault<T>(result: Result<T>) -> [String; 3] {
    let [code, argument, expected, actual] = told(&result.err().expect("a fault"));
    assert_eq!(code, "OPTION");
    let is_list = expected.starts_with("one of ") && actual == "an unknown name";
    [argument, if is_list { KNOWN.into() } else { expected }, actual]
}

#[test]
fn an_invalid_value_is_reported_as_written_with_the_expectation() {
    const INTEGER: &str = "an integer of at least 1";
    const SHARE: &str = "a number of at least 0 and less than 1";
    const SEED: &str = "an integer from 0 to 2^53 - 1";
    const OFFSET: &str = "an integer of 32 bits or an Int32Array";
    for (json, argument, expected, actual) in [
        (r#"{"causal":1}"#, "causal", "a boolean", "1"),
        (r#"{"weights":"yes"}"#, "weights", "a boolean", "\"yes\""),
        (r#"{"layout":"bldh"}"#, "layout", "'bhld' or 'blhd'", "\"bldh\""),
        (r#"{"layout":4}"#, "layout", "'bhld' or 'blhd'", "4"),
        (r#"{"scale":"NaN"}"#, "scale", "a finite number", "NaN"),
        (r#"{"scale":[1]}"#, "scale", "a finite number", "[1]"),
        (r#"{"scale":1e300}"#, "scale", "a finite number", "1e300"),
        (r#"{"softcap":"Infinity"}"#, "softcap", "a finite number of at least 0", "Infinity"),
        (r#"{"softcap":true}"#, "softcap", "a finite number of at least 0", "true"),
        (r#"{"dropout":1}"#, "dropout", SHARE, "1"),
        (r#"{"dropout":"NaN"}"#, "dropout", SHARE, "NaN"),
        (r#"{"dropout":{}}"#, "dropout", SHARE, "{}"),
        (r#"{"seed":0.5}"#, "seed", SEED, "0.5"),
        (r#"{"seed":-1}"#, "seed", SEED, "-1"),
        (r#"{"seed":"one"}"#, "seed", SEED, "\"one\""),
        (r#"{"topWeights":0}"#, "topWeights", INTEGER, "0"),
        (r#"{"topWeights":true}"#, "topWeights", INTEGER, "true"),
        (r#"{"topWeights":-2}"#, "topWeights", INTEGER, "-2"),
        (r#"{"topWeights":2.5}"#, "topWeights", INTEGER, "2.5"),
        (r#"{"queryOffset":2147483648}"#, "queryOffset", OFFSET, "2147483648"),
        (r#"{"queryOffset":[1]}"#, "queryOffset", OFFSET, "[1]"),
    ] {
        let found = fault(call("scaledDotProductAttention", &[], &[X; 3], json));
        assert_eq!(found, [argument, expected, actual], "{json}");
    }
    for window in ["[1]", "[1,2,3]", "[1,-2]", "[0.5,1]", "[null,1]", "3", r#"[1,"Infinity"]"#, r#"{"left":1}"#] {
        let found = fault(call("scaledDotProductAttention", &[], &[X; 3], &format!(r#"{{"window":{window}}}"#)));
        assert_eq!(found, ["window", "two integers of at least -1, where -1 leaves a side open", window]);
    }
    for (kind, json, argument, expected, actual) in [
        ("createMultiHeadAttention", r#"{"headDim":8}"#, "numHeads", INTEGER, "nothing"),
        ("createMultiHeadAttention", r#"{"numHeads":8,"headDim":null}"#, "headDim", INTEGER, "nothing"),
        ("createMultiHeadAttention", r#"{"numHeads":2.5,"headDim":8}"#, "numHeads", INTEGER, "2.5"),
        (
            "createMultiHeadAttention",
            r#"{"numHeads":6,"headDim":8,"useBias":0}"#,
            "useBias",
            "a boolean or an object { query, key, value, output }",
            "0",
        ),
        (
            "createSelfAttention",
            r#"{"numHeads":2,"headDim":6,"rotary":{"dim":8}}"#,
            "rotary.dim",
            "an even integer from 2 to the head size 6",
            "8",
        ),
        (
            "createSelfAttention",
            r#"{"numHeads":2,"headDim":6,"rotary":{"dim":0}}"#,
            "rotary.dim",
            "an even integer of at least 2",
            "0",
        ),
        (
            "createSelfAttention",
            r#"{"numHeads":2,"headDim":6,"rotary":{"bas":5}}"#,
            "rotary.bas",
            KNOWN,
            "an unknown name",
        ),
        (
            "createSelfAttention",
            r#"{"numHeads":2,"headDim":6,"rotary":true}"#,
            "rotary",
            "an object { base, interleaved, dim, scale, factor, sections }",
            "true",
        ),
        ("createTransformerEncoderLayer", r#"{"numHeads":2}"#, "modelDim", INTEGER, "nothing"),
        ("createTransformerEncoderLayer", r#"{"modelDim":8}"#, "numHeads", INTEGER, "nothing"),
        (
            "createTransformerEncoderLayer",
            r#"{"modelDim":8,"numHeads":2,"activation":"tanh"}"#,
            "activation",
            "'relu', 'gelu', 'gelu-tanh', 'quick-gelu' or 'silu'",
            "\"tanh\"",
        ),
        (
            "createTransformerEncoderLayer",
            r#"{"modelDim":8,"numHeads":2,"normFirst":1}"#,
            "normFirst",
            "a boolean",
            "1",
        ),
        ("createTransformerEncoderLayer", r#"{"modelDim":8,"nhead":2}"#, "nhead", KNOWN, "an unknown name"),
        ("createKVCache", r#"{"headDim":2,"capacity":5}"#, "kvHeads", INTEGER, "nothing"),
        ("createKVCache", r#"{"kvHeads":2,"headDim":5,"capacity":5,"size":1}"#, "size", KNOWN, "an unknown name"),
        ("createHyperbolicAttention", "{}", "curvature", "a number below 0, from -1e30 to -1e-30", "nothing"),
        (
            "createHyperbolicAttention",
            r#"{"curvature":-1,"manifold":"sphere"}"#,
            "manifold",
            "'poincare', 'lorentz' or 'hyperboloid'",
            "\"sphere\"",
        ),
        (
            "createHyperbolicAttention",
            r#"{"curvature":-1,"inputs":"euclidean"}"#,
            "inputs",
            "'manifold' or 'tangent'",
            "\"euclidean\"",
        ),
        (
            "createLinearAttention",
            r#"{"modelDim":8,"featureMap":"softmax"}"#,
            "featureMap",
            "'elu', 'relu' or 'favor+'",
            "\"softmax\"",
        ),
        ("createGraphSage", r#"{"outFeatures":4}"#, "inFeatures", INTEGER, "nothing"),
        ("createGraphSage", r#"{"inFeatures":4}"#, "outFeatures", INTEGER, "nothing"),
        ("createGraphSage", r#"{"reduce":"median"}"#, "reduce", "'sum', 'mean', 'max' or 'min'", "\"median\""),
        ("createGraphSage", r#"{"numHeads":2}"#, "numHeads", KNOWN, "an unknown name"),
        ("createGraphAttention", r#"{"version":3}"#, "version", "1 or 2", "3"),
        ("createGraphAttention", r#"{"negativeSlope":1.5}"#, "negativeSlope", "a number from 0 to 1", "1.5"),
        ("createGraph", "{}", "numNodes", "an integer from 0 to 2147483647", "nothing"),
        ("createGraph", r#"{"numNodes":2147483648}"#, "numNodes", "an integer from 0 to 2147483647", "2147483648"),
    ] {
        assert_eq!(fault(create(kind, json)), [argument, expected, actual], "{json}");
    }
    let id = create("createKVCache", r#"{"kvHeads":1,"headDim":2,"capacity":4}"#).unwrap();
    for (json, actual) in [("{}", "nothing"), (r#"{"length":-1}"#, "-1"), (r#"{"length":0.5}"#, "0.5")] {
        let found = fault(call("kvCacheTruncate", &[id], &[], json));
        assert_eq!(found, ["length", "an integer of at least 0", actual], "{json}");
    }
    for (operation, objects, json, argument, expected, actual) in [
        (
            "flashAttention",
            &[][..],
            r#"{"weights":true}"#,
            "weights",
            "no request for the weights, which are as many as tiles save: scaledDotProductAttention has them",
            "true",
        ),
        (
            "attentionWeights",
            &[],
            r#"{"stage":"logits"}"#,
            "stage",
            "'scores', 'softcapped', 'biased' or 'weights'",
            "\"logits\"",
        ),
        ("multiHeadAttention", &[], r#"{"averageWeight":true}"#, "averageWeight", KNOWN, "an unknown name"),
        ("gelu", &[], r#"{"approximate":"erf"}"#, "approximate", "'none' or 'tanh'", "\"erf\""),
        ("propagate", &[], r#"{"reduce":"mul"}"#, "reduce", "'sum', 'mean', 'max' or 'min'", "\"mul\""),
        ("graphLayer", &[], r#"{"edgeAttribute":1}"#, "edgeAttribute", KNOWN, "an unknown name"),
        ("linearAttention", &[], r#"{"mask":{}}"#, "mask", KNOWN, "an unknown name"),
        ("scaledDotProductOptions", &[], r#"{"dropout":1}"#, "dropout", SHARE, "1"),
        ("scaledDotProductOptions", &[], r#"{"scale":1}"#, "headDim", INTEGER, "nothing"),
        ("flashOptions", &[], "{}", "headDim", INTEGER, "nothing"),
    ] {
        assert_eq!(fault(call(operation, objects, &[X; 3], json)), [argument, expected, actual], "{json}");
    }
}

#[test]
fn configurations_are_described_with_every_default_filled_in() {
    for (kind, given, expected) in [
        (
            "createMultiHeadAttention",
            r#"{"numHeads":4,"headDim":8}"#,
            r#"{"numHeads":4,"headDim":8,"modelDim":32,"kvHeads":4,"kDim":32,"vDim":32,"useBias":true,"dropout":0,"seed":0}"#,
        ),
        (
            "createTransformerEncoderLayer",
            r#"{"modelDim":8,"numHeads":2}"#,
            r#"{"modelDim":8,"numHeads":2,"feedForwardDim":2048,"activation":"relu","normFirst":false,"epsilon":0.00001,"dropout":0.1,"seed":0}"#,
        ),
        (
            "createKVCache",
            r#"{"kvHeads":1,"headDim":2,"capacity":3}"#,
            r#"{"batch":1,"kvHeads":1,"headDim":2,"valueDim":2,"capacity":3}"#,
        ),
        ("createLinearStream", "{}", r#"{"batch":1}"#),
        (
            "createLinearAttention",
            r#"{"modelDim":8,"featureMap":"favor+"}"#,
            r#"{"modelDim":8,"numHeads":1,"featureDim":24,"featureMap":"favor+","rule":"kernel","seed":0}"#,
        ),
        (
            "createLinearAttention",
            r#"{"modelDim":8,"numHeads":2,"rule":"gated_delta"}"#,
            r#"{"modelDim":8,"numHeads":2,"rule":"gated_delta","kvHeads":2,"seed":0}"#,
        ),
        (
            "createHyperbolicAttention",
            r#"{"curvature":-0.3,"manifold":"hyperboloid"}"#,
            r#"{"curvature":-0.3,"numHeads":1,"manifold":"hyperboloid","temperature":1,"inputs":"manifold"}"#,
        ),
        (
            "createGraphConvolution",
            r#"{"inFeatures":3,"outFeatures":4}"#,
            r#"{"inFeatures":3,"outFeatures":4,"normalize":true,"addSelfLoops":true,"improved":false,"useBias":true,"seed":0}"#,
        ),
        (
            "createGraphSage",
            r#"{"inFeatures":3,"outFeatures":4,"reduce":"max"}"#,
            r#"{"inFeatures":3,"outFeatures":4,"reduce":"max","rootWeight":true,"project":false,"normalize":false,"useBias":true,"seed":0}"#,
        ),
        (
            "createGraphAttention",
            r#"{"inFeatures":3,"outFeatures":4,"dropout":0.5,"version":1,"negativeSlope":1}"#,
            r#"{"inFeatures":3,"outFeatures":4,"numHeads":1,"concat":true,"edgeFeatures":null,"version":1,"negativeSlope":1,"addSelfLoops":true,"fillValue":"mean","residual":false,"useBias":true,"dropout":0.5,"seed":0}"#,
        ),
        (
            "createGraphTransformer",
            r#"{"inFeatures":3,"outFeatures":4,"edgeFeatures":2,"numHeads":5,"concat":false}"#,
            r#"{"inFeatures":3,"outFeatures":4,"numHeads":5,"concat":false,"edgeFeatures":2,"beta":false,"useBias":true,"dropout":0,"seed":0}"#,
        ),
    ] {
        let described = calls::describe(create(kind, given).unwrap()).unwrap();
        assert_eq!(described, expected);
        assert_eq!(calls::describe(create(kind, &described).unwrap()).unwrap(), expected);
    }
}

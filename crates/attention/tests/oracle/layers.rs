//! Layers and row-wise functions against the oracle.

use proptest::prelude::*;
use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::layers::TypedEntry;
use ruvector_attention::layers::multi_head::{Inputs, MultiHeadAttention};
use ruvector_attention::math::linear::linear;
use ruvector_attention::math::softmax::softmax;
use ruvector_attention::math::weight::Weights;
use ruvector_attention::options::LayerOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle as reference;

use crate::support::{Random, assert_near, contexts, from_json};

/// A call of a layer: its configuration, the inputs given, and the options.
#[derive(Debug, Clone)]
struct Call {
    config: String,
    batch: usize,
    queries: usize,
    keys: usize,
    inputs: usize,
    training: bool,
    options: LayerOptions,
    lengths: bool,
    float_mask: bool,
    seed: u64,
}

fn call() -> impl Strategy<Value = Call> {
    let config = (1usize..=4, 1usize..=3, 1usize..=17, 1usize..=40, 1usize..=40, 1usize..=40, any::<[bool; 3]>());
    let shape = (1usize..=3, 0usize..=70, 0usize..=90, 1usize..=3);
    let flags = (any::<[bool; 5]>(), prop::sample::select(vec![0.0f32, 8.0]), any::<u64>(), settings());
    (config, shape, flags).prop_map(|(config, (batch, queries, keys, inputs), (flags, softcap, seed, settings))| {
        let (kv_heads, group, head_dim, model_dim, k_dim, v_dim, [own_model, own_k, own_v]) = config;
        let heads = kv_heads * group;
        let model_dim = if own_model { model_dim } else { heads * head_dim };
        // If fewer inputs are given, they share a size.
        let k_dim = if inputs == 1 || !own_k { model_dim } else { k_dim };
        let v_dim = if inputs < 3 || !own_v { k_dim } else { v_dim };
        let [causal, training, average_weights, lengths, float_mask] = flags;
        // Near 0, a norm over few values is a step, which multiplies the rounding of the product before it by a
        // thousand.
        let settings = match head_dim {
            0..4 => settings
                .replace(r#""qkNorm":"head""#, r#""qkNorm":{"over":"head","epsilon":0.1}"#)
                .replace(r#""qkNorm":"model""#, r#""qkNorm":{"over":"model","epsilon":0.1}"#)
                .replace(r#""kind":"layer"}"#, r#""kind":"layer","epsilon":0.1}"#),
            _ => settings,
        };
        Call {
            config: format!(
                r#"{{"numHeads":{heads},"headDim":{head_dim},"kvHeads":{kv_heads},"modelDim":{model_dim},"kDim":{k_dim},
                "vDim":{v_dim},"dropout":0.2,"seed":{}{settings}}}"#,
                seed >> 11
            ),
            batch,
            queries,
            keys: if inputs == 1 { queries } else { keys },
            inputs,
            training,
            options: LayerOptions {
                causal: causal.then_some(causal),
                softcap: (softcap > 0.0).then_some(softcap),
                weights: true,
                average_weights,
                ..LayerOptions::default()
            },
            lengths,
            float_mask,
            seed,
        }
    })
}

/// Further members of a configuration.
fn settings() -> impl Strategy<Value = String> {
    let choices = |choices: &[&'static str]| prop::sample::select(choices.to_vec());
    let norms = choices(&[
        "",
        r#","qkNorm":"head""#,
        r#","qkNorm":"model""#,
        r#","qkNorm":{"over":"head","epsilon":0.1,"weightOffset":1}"#,
        r#","qkNorm":{"over":"model","kind":"layer"}"#,
        r#","outputGate":true"#,
        r#","outputGate":true,"qkNorm":"head""#,
    ]);
    let biases = choices(&[
        "",
        r#","useBias":false"#,
        r#","useBias":{"key":false}"#,
        r#","useBias":{"query":false,"output":false}"#,
    ]);
    let calls = choices(&["", r#","causal":true,"window":[3,2]"#, r#","scale":0.3,"softcap":4"#]);
    let extra = choices(&[
        "",
        r#","addZeroAttn":true"#,
        r#","addBiasKv":true,"sinks":true"#,
        r#","addBiasKv":true,"addZeroAttn":true"#,
        r#","sinks":true"#,
        r#","sinks":true,"relativeBias":{"buckets":8,"maxDistance":20}"#,
        r#","relativeBias":{"buckets":6,"maxDistance":9,"bidirectional":false}"#,
    ]);
    (norms, biases, calls, extra).prop_map(|(norm, biases, calls, extra)| format!("{norm}{biases}{calls}{extra}"))
}

/// Creates a layer without zeros among its parameters. Each matrix is scaled so that results keep the magnitude of the
/// input: larger scores would need more digits than f32 has.
fn layer(config: &str, random: &mut Random) -> MultiHeadAttention {
    let mut layer = MultiHeadAttention::new(from_json(config)).unwrap();
    let parameters: Vec<(String, Vec<usize>, Vec<f32>)> = layer
        .state()
        .entries()
        .iter()
        .map(|entry| {
            let width = 1.0 / (entry.shape.last().copied().unwrap_or(1) as f32).sqrt();
            let data = random.normals(entry.elements()).iter().map(|value| value * width).collect();
            (entry.name.to_string(), entry.shape.clone(), data)
        })
        .collect();
    let entries: Vec<TypedEntry<'_>> = parameters
        .iter()
        .map(|(name, shape, data)| TypedEntry {
            name: name.as_str().into(),
            shape: shape.clone(),
            data: Weights::F32(data),
        })
        .collect();
    layer.load(&entries, "").unwrap();
    layer
}

fn check(call: &Call) {
    let mut random = Random::new(call.seed);
    let layer = layer(&call.config, &mut random);
    let config = layer.config();
    let Call { batch, queries, keys, .. } = *call;
    let q = random.normals(batch * queries * config.model_dim());
    let k = random.normals(batch * keys * config.k_dim());
    let v = random.normals(batch * keys * config.v_dim());
    let query = Tensor::new("q", &q, &[batch, queries, config.model_dim()]).unwrap();
    let key = Tensor::new("k", &k, &[batch, keys, config.k_dim()]).unwrap();
    let value = Tensor::new("v", &v, &[batch, keys, config.v_dim()]).unwrap();
    let inputs = Inputs::new(query, (call.inputs > 1).then_some(key), (call.inputs > 2).then_some(value));
    let mask = random.normals(config.num_heads * keys);
    let mask = Tensor::new("mask", &mask, &[config.num_heads, 1, keys]).unwrap();
    let lengths: Vec<i32> = (0..batch).map(|_| random.below(keys + 1) as i32).collect();
    let arrays = Arrays {
        mask: call.float_mask.then_some(Mask::Float(mask)),
        kv_lengths: call.lengths.then_some(&lengths),
        ..Arrays::default()
    };
    let key = inputs.key.unwrap_or(query);
    let expected = reference::multi_head(
        layer.state(),
        [query, key, inputs.value.unwrap_or(key)],
        call.training,
        &call.options,
        arrays,
    );
    let mean = call.options.average_weights;
    let expected_weights = if mean { mean_over_heads(&expected) } else { expected.weights };
    for context in contexts() {
        let mut output = vec![f32::NAN; batch * queries * config.model_dim()];
        let mut weights = vec![f32::NAN; expected_weights.len()];
        layer.forward(context, inputs, &call.options, arrays, call.training, &mut output, Some(&mut weights)).unwrap();
        assert_near(&output, &expected.output, 1e-5, &format!("{} output", context.level.name()));
        assert_near(&weights, &expected_weights, 5e-6, &format!("{} weights", context.level.name()));
    }
}

fn mean_over_heads(expected: &reference::Attention) -> Vec<f64> {
    let [batch, heads, queries, keys] = expected.shape;
    let map = queries * keys;
    let mean = |b: usize, at: usize| {
        (0..heads).map(|h| expected.weights[(b * heads + h) * map + at]).sum::<f64>() / heads as f64
    };
    (0..batch).flat_map(|b| (0..map).map(move |at| (b, at))).map(|(b, at)| mean(b, at)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn multi_head_attention_matches_the_oracle(call in call()) {
        check(&call);
    }

    #[test]
    fn linear_matches_the_oracle(
        rows in 0usize..=80, inputs in 1usize..=300, outputs in 1usize..=150, biased in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let (x, weight) = (random.normals(rows * inputs), random.normals(outputs * inputs));
        let bias = biased.then(|| random.normals(outputs));
        let doubles: Vec<f64> = x.iter().map(|&value| f64::from(value)).collect();
        let expected = reference::linear(&doubles, inputs, &weight, bias.as_deref());
        let norms = |data: &[f32]| -> Vec<f64> {
            let rows = data.chunks_exact(inputs);
            rows.map(|row| row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()).collect()
        };
        let (row_norms, weight_norms) = (norms(&x), norms(&weight));
        let x = Tensor::new("x", &x, &[rows, inputs]).unwrap();
        let weight = Tensor::new("weight", &weight, &[outputs, inputs]).unwrap();
        let bias = bias.as_deref().map(|bias| Tensor::new("bias", bias, &[outputs]).unwrap());
        for context in contexts() {
            let mut found = vec![f32::NAN; rows * outputs];
            linear(context, x, weight, bias, &mut found).unwrap();
            for (at, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
                let (row, output) = (at / outputs, at % outputs);
                // Partial sums walk as far as the product of the norms, and each is rounded.
                let magnitude = row_norms[row] * weight_norms[output] + bias.map_or(0.0, |bias| bias.data[output].abs().into());
                let error = (f64::from(found) - expected).abs();
                prop_assert!(
                    error <= 8.0 * f64::from(f32::EPSILON) / 2.0 * magnitude,
                    "{} [{row}, {output}]: {found} instead of {expected}",
                    context.level.name()
                );
            }
        }
    }

    #[test]
    fn softmax_matches_the_oracle(
        rows in 0usize..=20, columns in 1usize..=300, scale in 0.0f32..50.0, hidden in 0.0f64..=1.0, seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let mut x = random.normals(rows * columns);
        x.iter_mut().for_each(|value| *value *= scale);
        x.iter_mut().filter(|_| random.uniform() < hidden).for_each(|value| *value = f32::NEG_INFINITY);
        // A row of only −∞ has no softmax. In attention a mask gives zeros then, but this is not a mask.
        x.chunks_mut(columns).for_each(|row| row[0] = row[0].max(-100.0));
        let row = |row: &[f32]| reference::softmax(&row.iter().map(|&value| f64::from(value)).collect::<Vec<_>>()).0;
        let expected: Vec<f64> = x.chunks(columns).flat_map(row).collect();
        let x = Tensor::new("x", &x, &[rows, columns]).unwrap();
        for context in contexts() {
            let mut found = vec![f32::NAN; rows * columns];
            softmax(context, x, &mut found).unwrap();
            assert_near(&found, &expected, 1e-6, context.level.name());
        }
    }
}

#[test]
fn a_layer_computes_the_same_for_every_number_of_threads() {
    let mut random = Random::new(3);
    let layer = layer(r#"{"numHeads":4,"headDim":64,"kvHeads":2}"#, &mut random);
    let x = random.normals(2 * 200 * 256);
    let query = Tensor::new("x", &x, &[2, 200, 256]).unwrap();
    let inputs = Inputs::from(query);
    let options = LayerOptions { causal: Some(true), weights: true, average_weights: true, ..LayerOptions::default() };
    let run = |context| {
        let mut output = vec![f32::NAN; x.len()];
        let mut weights = vec![f32::NAN; 2 * 200 * 200];
        layer.forward(context, inputs, &options, Arrays::default(), true, &mut output, Some(&mut weights)).unwrap();
        (output, weights)
    };
    for level in Level::available() {
        let alone = run(Context::new(level, 1));
        for threads in [2, 3, 5] {
            assert!(run(Context::new(level, threads)) == alone, "{} on {threads} threads", level.name());
        }
    }
}

#[test]
fn a_layer_rejects_invalid_inputs_and_then_still_works() {
    let mut random = Random::new(4);
    let layer = layer(r#"{"numHeads":2,"headDim":4,"kDim":6,"vDim":5}"#, &mut random);
    let values = random.normals(2 * 3 * 8);
    let tensor = |dims: &[usize]| Tensor::new("x", &values[..dims.iter().product()], dims).unwrap();
    let run = |query: &[usize], key: Option<&[usize]>, value: Option<&[usize]>, elements: usize| {
        let inputs = Inputs::new(tensor(query), key.map(tensor), value.map(tensor));
        let mut output = vec![7.0; elements];
        let options = LayerOptions::default();
        let result = layer.forward(Context::default(), inputs, &options, Arrays::default(), false, &mut output, None);
        result.map_err(|error| {
            assert!(output.iter().all(|&value| value == 7.0));
            (error.code, error.argument.clone())
        })
    };
    let fault = |argument: &str| Err((Code::Shape, argument.to_owned()));
    let (key, value): (Option<&[usize]>, Option<&[usize]>) = (Some(&[2, 3, 6]), Some(&[2, 3, 5]));
    assert_eq!(run(&[2, 3, 8], key, value, 48), Ok(()));
    assert_eq!(run(&[2, 3, 7], key, value, 48), fault("q"));
    assert_eq!(run(&[3, 8], key, value, 48), fault("q"));
    assert_eq!(run(&[2, 3, 8], None, None, 48), fault("k"));
    assert_eq!(run(&[2, 3, 8], key, None, 48), fault("v"));
    assert_eq!(run(&[2, 3, 8], Some(&[1, 3, 6]), Some(&[1, 3, 5]), 48), fault("k"));
    assert_eq!(run(&[2, 3, 8], key, Some(&[2, 2, 5]), 48), fault("v"));
    assert_eq!(run(&[2, 3, 8], key, value, 47), fault("out"));
    assert_eq!(run(&[2, 3, 8], key, value, 48), Ok(()));
}

#[test]
fn a_state_dict_that_does_not_fit_changes_nothing() {
    let mut random = Random::new(5);
    let mut layer = layer(r#"{"numHeads":2,"headDim":4}"#, &mut random);
    let before = layer.clone();
    let data = vec![0.0; 24 * 8];
    let entry = |name: &'static str, shape: &[usize], data| TypedEntry {
        name: name.into(),
        shape: shape.to_vec(),
        data: Weights::F32(data),
    };
    let good = entry("in_proj_weight", &[24, 8], &data);
    let short = entry("out_proj.weight", &[4, 8], &data[..32]);
    assert!(layer.load(&[good, short], "").is_err());
    assert_eq!(layer.state(), before.state());
}

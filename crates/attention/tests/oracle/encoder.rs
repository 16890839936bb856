//! Encoder layers, norms, activations and mean pooling against the oracle.

use proptest::prelude::*;
use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::layers::encoder::TransformerEncoderLayer;
use ruvector_attention::layers::{StoredEntry, TypedEntry};
use ruvector_attention::math::activation::{Activation, activate};
use ruvector_attention::math::norm::{layer_norm, rms_norm};
use ruvector_attention::math::pool::{Pooled, mean_pool};
use ruvector_attention::math::weight::Weights;
use ruvector_attention::options::LayerOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle::encoder as reference;

use crate::support::{Random, assert_near, contexts, from_json};

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

const ALL_ACTIVATIONS: [Activation; 5] =
    [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Silu];

/// Owned entries of a state dict.
type State = Vec<(String, Vec<usize>, Vec<f32>)>;

fn borrowed(state: &State) -> Vec<TypedEntry<'_>> {
    let entries = state.iter().map(|(name, shape, data)| TypedEntry {
        name: name.into(),
        shape: shape.clone(),
        data: Weights::F32(data),
    });
    entries.collect()
}

/// Draws parameters for a layer, none of them 0 or 1, each matrix scaled so that values keep their magnitude.
fn state_of(layer: &TransformerEncoderLayer, random: &mut Random) -> State {
    let draw = |entry: &StoredEntry<'_>| {
        let width = 1.0 / (if entry.shape.len() == 2 { entry.shape[1] as f32 } else { 4.0 }).sqrt();
        let data = random.normals(entry.elements()).iter().map(|value| value * width).collect();
        (entry.name.to_string(), entry.shape.clone(), data)
    };
    layer.state().entries().iter().map(draw).collect()
}

fn layer(config: &str, random: &mut Random) -> TransformerEncoderLayer {
    let mut layer = TransformerEncoderLayer::new(from_json(config)).unwrap();
    let state = state_of(&layer, random);
    layer.load(&borrowed(&state), "").unwrap();
    layer
}

#[derive(Debug, Clone)]
struct Call {
    config: String,
    shape: [usize; 3],
    heads: usize,
    training: bool,
    options: LayerOptions,
    lengths: bool,
    float_mask: bool,
    seed: u64,
}

fn call() -> impl Strategy<Value = Call> {
    let activations = vec!["relu", "gelu", "gelu-tanh", "quick-gelu", "silu"];
    let choices = (any::<bool>(), prop::sample::select(activations), prop::sample::select(vec!["0.1", "1e-5"]));
    let settings = vec![
        "",
        r#","useBias":false,"norm":"rms","gated":true"#,
        r#","norm":"rms","attentionNorm":false"#,
        r#","gated":true,"attention":{"headDim":5,"useBias":false,"qkNorm":"head","outputGate":true,"dropout":0}"#,
        r#","useBias":false,"attention":{"causal":true,"rotary":{"dim":2},"headDim":4,"kvHeads":1,"scale":1}"#,
    ];
    let config = (1usize..=4, 1usize..=12, 1usize..=70, choices, prop::sample::select(settings));
    let rest = (1usize..=3, 0usize..=40, any::<[bool; 5]>(), prop::sample::select(vec![0.0f32, 8.0]), any::<u64>());
    (config, rest).prop_map(|(config, (batch, length, flags, softcap, seed))| {
        let (heads, head_dim, inner, (norm_first, activation, epsilon), settings) = config;
        let size = heads * head_dim;
        let [causal, training, average_weights, lengths, float_mask] = flags;
        Call {
            config: format!(
                r#"{{"modelDim":{size},"numHeads":{heads},"feedForwardDim":{inner},"activation":"{activation}",
                "normFirst":{norm_first},"epsilon":{epsilon},"dropout":0.2,"seed":{}{settings}}}"#,
                seed >> 11
            ),
            shape: [batch, length, size],
            heads,
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

fn check(call: &Call) {
    let mut random = Random::new(call.seed);
    let layer = layer(&call.config, &mut random);
    let [batch, length, size] = call.shape;
    let data = random.normals(batch * length * size);
    let x = Tensor::new("x", &data, &call.shape).unwrap();
    let mask = random.normals(call.heads * length);
    let mask = Tensor::new("mask", &mask, &[call.heads, 1, length]).unwrap();
    let lengths: Vec<i32> = (0..batch).map(|_| random.below(length + 1) as i32).collect();
    let arrays = Arrays {
        mask: call.float_mask.then_some(Mask::Float(mask)),
        kv_lengths: call.lengths.then_some(&lengths),
        ..Arrays::default()
    };
    let (expected, weights) = reference::encoder_layer(layer.state(), x, call.training, &call.options, arrays);
    let maps = if call.options.average_weights { 1 } else { call.heads };
    let map = length * length;
    let expected_weights: Vec<f64> = (0..batch * maps * map)
        .map(|at| {
            let (b, at) = (at / (maps * map), at % (maps * map));
            let heads = if call.options.average_weights { 0..call.heads } else { at / map..at / map + 1 };
            let count = heads.len() as f64;
            heads.map(|h| weights[(b * call.heads + h) * map + at % map]).sum::<f64>() / count
        })
        .collect();
    for context in contexts() {
        let mut output = vec![f32::NAN; data.len()];
        let mut weights = vec![f32::NAN; expected_weights.len()];
        layer.forward(context, x, &call.options, arrays, call.training, &mut output, Some(&mut weights)).unwrap();
        // A norm over a few nearly equal values divides by almost nothing, which amplifies rounding errors.
        let tolerance = if size < 8 { 1e-3 } else { 3e-5 };
        assert_near(&output, &expected, tolerance, &format!("{} output", context.level.name()));
        let tolerance = if size < 8 { 1e-3 } else { 1e-5 };
        assert_near(&weights, &expected_weights, tolerance, &format!("{} weights", context.level.name()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_encoder_layer_matches_the_oracle(call in call()) {
        check(&call);
    }

    #[test]
    fn norms_match_the_oracle(
        rows in 0usize..=20, columns in 1usize..=300, given in any::<[bool; 2]>(), mean in -100.0f32..100.0, seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let data: Vec<f32> = random.normals(rows * columns).iter().map(|value| value + mean).collect();
        let (weight, bias) = (random.normals(columns), random.normals(columns));
        let [weight, bias] = [(given[0], &weight), (given[1], &bias)].map(|(given, values)| given.then_some(&values[..]));
        let x = Tensor::new("x", &data, &[rows, columns]).unwrap();
        let vector = |values| Tensor::new("vector", values, &[columns]).unwrap();
        let centred = reference::norm(&doubles(&data), columns, true, weight, bias, 1e-3);
        let plain = reference::norm(&doubles(&data), columns, false, weight, None, 1e-3);
        for context in contexts() {
            let mut found = vec![f32::NAN; data.len()];
            layer_norm(context, x, weight.map(vector), bias.map(vector), 1e-3, &mut found).unwrap();
            assert_near(&found, &centred, 5e-6, context.level.name());
            rms_norm(context, x, weight.map(vector), 1e-3, &mut found).unwrap();
            assert_near(&found, &plain, 2e-6, context.level.name());
        }
    }

    #[test]
    fn activations_match_the_oracle(values in prop::collection::vec(-30.0f32..30.0, 0..70)) {
        let x = Tensor::new("x", &values, &[values.len()]).unwrap();
        for activation in ALL_ACTIVATIONS {
            let expected: Vec<f64> =
                values.iter().map(|&x| reference::activation(activation, f64::from(x))).collect();
            for context in contexts() {
                let mut found = vec![f32::NAN; values.len()];
                activate(context, activation, x, &mut found).unwrap();
                assert_near(&found, &expected, 5e-7, &format!("{activation:?} {}", context.level.name()));
            }
        }
    }

    #[test]
    fn means_over_rows_match_the_oracle(
        batch in 0usize..=3, rows in 0usize..=90, columns in 0usize..=80, flags in any::<[bool; 2]>(), seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let mut data = random.normals(batch * rows * columns);
        let lengths: Vec<i32> = (0..batch).map(|_| random.below(rows + 1) as i32).collect();
        let [has_lengths, normalize] = flags;
        let expected = {
            let x = Tensor::new("x", &data, &[batch, rows, columns]).unwrap();
            reference::mean_pool(x, has_lengths.then_some(&lengths), normalize)
        };
        if has_lengths {
            // Rows beyond the length must never be read.
            for (b, &length) in lengths.iter().enumerate() {
                data[(b * rows + length as usize) * columns..(b + 1) * rows * columns].fill(f32::NAN);
            }
        }
        let x = Tensor::new("x", &data, &[batch, rows, columns]).unwrap();
        for context in contexts() {
            let mut found = vec![f32::NAN; batch * columns];
            let pooled = if has_lengths { Pooled::Lengths(&lengths) } else { Pooled::All };
            mean_pool(context, x, pooled, normalize, &mut found).unwrap();
            assert_near(&found, &expected, 2e-6, context.level.name());
        }
    }
}

#[test]
fn means_of_packed_sequences_are_those_of_each_alone() {
    let data = Random::new(3).normals(20 * 5);
    let offsets = [0, 7, 7, 8, 20];
    let pool = |x: &[f32], rows: usize, pooled: Pooled<'_>, output: &mut [f32]| {
        mean_pool(Context::default(), Tensor::new("x", x, &[rows, 5]).unwrap(), pooled, true, output)
            .map_err(|error| (error.code, error.argument.clone()))
    };
    let mut found = [f32::NAN; 20];
    pool(&data, 20, Pooled::CuSeqlens(&offsets), &mut found).unwrap();
    for (pair, found) in offsets.windows(2).zip(found.chunks(5)) {
        let (rows, mut alone) = (pair[0] as usize..pair[1] as usize, [f32::NAN; 5]);
        let x = Tensor::new("x", &data[rows.start * 5..rows.end * 5], &[1, rows.len(), 5]).unwrap();
        mean_pool(Context::default(), x, Pooled::All, true, &mut alone).unwrap();
        assert_eq!(found, alone);
    }
    for (offsets, code) in [(&[0, 19][..], Code::Option), (&[0, 9, 8, 20], Code::Option), (&[], Code::Shape)] {
        let found = pool(&data, 20, Pooled::CuSeqlens(offsets), &mut [0.0; 5]);
        assert_eq!(found, Err((code, "cu_seqlens".into())));
    }
}

#[test]
fn a_norm_far_from_zero_keeps_its_digits() {
    let mut random = Random::new(8);
    // Multiples of 1/64 around 10,000, which f32 represents exactly.
    let data: Vec<f32> = random.normals(4 * 333).iter().map(|value| 10_000.0 + (value * 64.0).round() / 64.0).collect();
    let expected = reference::norm(&doubles(&data), 333, true, None, None, 1e-5);
    for context in contexts() {
        let mut found = vec![f32::NAN; data.len()];
        layer_norm(context, Tensor::new("x", &data, &[4, 333]).unwrap(), None, None, 1e-5, &mut found).unwrap();
        assert_near(&found, &expected, 3e-6, context.level.name());
    }
}

#[test]
fn a_nan_spoils_only_its_own_row() {
    let mut data = vec![1.5; 3 * 20];
    data[25] = f32::NAN;
    data[3] = -1.0;
    let x = Tensor::new("x", &data, &[3, 20]).unwrap();
    for context in contexts() {
        for centred in [false, true] {
            let mut found = vec![0.0; 60];
            match centred {
                true => layer_norm(context, x, None, None, 1e-5, &mut found),
                false => rms_norm(context, x, None, 1e-5, &mut found),
            }
            .unwrap();
            assert!(found[20..40].iter().all(|value| value.is_nan()));
            assert!(found[..20].iter().chain(&found[40..]).all(|value| value.is_finite()));
        }
    }
}

#[test]
fn results_are_the_same_for_every_number_of_threads() {
    let mut random = Random::new(3);
    for norm_first in [false, true] {
        let config = format!(
            r#"{{"modelDim":128,"numHeads":4,"feedForwardDim":300,"activation":"gelu","normFirst":{norm_first},"dropout":0.3}}"#
        );
        let layer = layer(&config, &mut random);
        let data = random.normals(2 * 150 * 128);
        let x = Tensor::new("x", &data, &[2, 150, 128]).unwrap();
        let options = LayerOptions { causal: Some(true), ..LayerOptions::default() };
        let run = |context| {
            let mut output = vec![f32::NAN; data.len()];
            layer.forward(context, x, &options, Arrays::default(), true, &mut output, None).unwrap();
            let mut results = vec![output];
            let long = Tensor::new("x", &data, &[300, 128]).unwrap();
            let mut output = vec![f32::NAN; data.len()];
            layer_norm(context, long, None, None, 1e-5, &mut output).unwrap();
            results.push(output.clone());
            activate(context, Activation::Gelu, long, &mut output).unwrap();
            results.push(output);
            let mut output = vec![f32::NAN; 2 * 128];
            mean_pool(context, x, Pooled::All, true, &mut output).unwrap();
            results.push(output);
            results
        };
        for level in Level::available() {
            let alone = run(Context::new(level, 1));
            for threads in [2, 3, 5] {
                assert!(run(Context::new(level, threads)) == alone, "{} on {threads} threads", level.name());
            }
        }
    }
}

#[test]
fn dropout_depends_only_on_the_position_and_the_seed() {
    let config = r#"{"modelDim":16,"numHeads":2,"feedForwardDim":40,"dropout":0.4,"seed":9}"#;
    let mut random = Random::new(6);
    let layer = layer(config, &mut random);
    // Whole tiles of rows at every instruction set: in a partial tile, the order of summation depends on the number of
    // rows.
    const LENGTH: usize = 32;
    let data = random.normals(3 * LENGTH * 16);
    let run = |data: &[f32], batch: usize, training, seed| {
        let x = Tensor::new("x", data, &[batch, LENGTH, 16]).unwrap();
        let options = LayerOptions { seed, ..LayerOptions::default() };
        let mut output = vec![f32::NAN; data.len()];
        layer.forward(Context::default(), x, &options, Arrays::default(), training, &mut output, None).unwrap();
        output
    };
    let trained = run(&data, 3, true, None);
    assert_eq!(run(&data, 3, true, Some(9)), trained);
    assert_ne!(run(&data, 3, true, Some(10)), trained);
    assert_ne!(run(&data, 3, false, None), trained);
    let fewer = run(&data[..2 * LENGTH * 16], 2, true, None);
    assert_eq!(fewer, trained[..fewer.len()], "other batch entries change nothing");
}

#[test]
fn initial_parameters_match_torch_bit_for_bit() {
    // torch.manual_seed(42); torch.nn.TransformerEncoderLayer(8, 2, 12).state_dict(): the bits of each first and last
    // number.
    let layer = TransformerEncoderLayer::new(from_json(r#"{"modelDim":8,"numHeads":2,"feedForwardDim":12,"seed":42}"#))
        .unwrap();
    let expected: [(&str, &[usize], u32, u32); 12] = [
        ("self_attn.in_proj_weight", &[24, 8], 0x3ed5_5559, 0xbe51_9ed5),
        ("self_attn.in_proj_bias", &[24], 0, 0),
        ("self_attn.out_proj.weight", &[8, 8], 0x3e8a_6571, 0xbdf9_5c02),
        ("self_attn.out_proj.bias", &[8], 0, 0),
        ("linear1.weight", &[12, 8], 0x3e06_5766, 0x3eac_92ac),
        ("linear1.bias", &[12], 0xbe07_699c, 0x3e50_de2a),
        ("linear2.weight", &[8, 12], 0xbe2c_1c42, 0xbe21_75f3),
        ("linear2.bias", &[8], 0x3e8e_8a93, 0x3e13_b33d),
        ("norm1.weight", &[8], 0x3f80_0000, 0x3f80_0000),
        ("norm1.bias", &[8], 0, 0),
        ("norm2.weight", &[8], 0x3f80_0000, 0x3f80_0000),
        ("norm2.bias", &[8], 0, 0),
    ];
    let entries = layer.state().entries();
    assert_eq!(entries.len(), expected.len());
    for (entry, (name, shape, first, last)) in entries.iter().zip(expected) {
        let data = entry.floats().unwrap();
        let ends = [data[0], data[data.len() - 1]].map(f32::to_bits);
        assert_eq!((&*entry.name, &*entry.shape, ends), (name, shape, [first, last]));
    }
}

/// Maps PyTorch's names to those of a BERT layer, new or old.
fn bert_names(name: &str, is_old: bool) -> Option<String> {
    let (weight, bias) = if is_old { ("gamma", "beta") } else { ("weight", "bias") };
    let kind = if name.ends_with("weight") { weight } else { bias };
    let renamed = match name.rsplit_once('.')?.0 {
        "linear1" => name.replace("linear1", "intermediate.dense"),
        "linear2" => name.replace("linear2", "output.dense"),
        "norm1" => format!("attention.output.LayerNorm.{kind}"),
        "norm2" => format!("output.LayerNorm.{kind}"),
        "self_attn.out_proj" => name.replace("self_attn.out_proj", "attention.output.dense"),
        _ => return None,
    };
    Some(renamed)
}

/// Renames a state dict to a BERT layer's names, each below `prefix`.
fn as_bert(state: &State, prefix: &str, is_old: bool) -> State {
    let mut renamed = State::new();
    for (name, shape, data) in state {
        match (&**name, bert_names(name, is_old)) {
            (_, Some(name)) => renamed.push((format!("{prefix}{name}"), shape.clone(), data.clone())),
            (packed, None) => {
                let kind = if packed.ends_with("weight") { "weight" } else { "bias" };
                let mut shape = shape.clone();
                shape[0] /= 3;
                for (part, data) in ["query", "key", "value"].iter().zip(data.chunks(data.len() / 3)) {
                    renamed.push((format!("{prefix}attention.self.{part}.{kind}"), shape.clone(), data.to_vec()));
                }
            }
        }
    }
    renamed
}

const SMALL: &str = r#"{"modelDim":4,"numHeads":2,"feedForwardDim":6}"#;

#[test]
fn a_bert_layer_fills_the_same_parts() {
    let mut random = Random::new(12);
    let mut expected = TransformerEncoderLayer::new(from_json(SMALL)).unwrap();
    let state = state_of(&expected, &mut random);
    expected.load(&borrowed(&state), "").unwrap();
    for is_old in [false, true] {
        for (prefix, given) in [("", ""), ("encoder.layer.3.", "encoder.layer.3"), ("a.", "a.")] {
            let mut found = TransformerEncoderLayer::new(from_json(SMALL)).unwrap();
            let mut renamed = as_bert(&state, prefix, is_old);
            if !prefix.is_empty() {
                // An entry outside the prefix.
                renamed.push(("embeddings.weight".into(), vec![1], vec![0.0]));
            }
            found.load(&borrowed(&renamed), given).unwrap();
            assert_eq!(found.state().entries(), expected.state().entries());
        }
    }
}

#[test]
fn a_state_dict_that_does_not_fit_is_reported_by_name_and_changes_nothing() {
    let mut random = Random::new(13);
    let mut layer = TransformerEncoderLayer::new(from_json(SMALL)).unwrap();
    let state = state_of(&layer, &mut random);
    let before = layer.clone();
    let mut fault = |state: &State, prefix: &str| {
        let error = layer.load(&borrowed(state), prefix).unwrap_err();
        assert_eq!(layer.state().entries(), before.state().entries(), "{error}");
        (error.code, error.argument.clone(), error.expected.clone(), error.actual.clone())
    };
    let format = |argument: &str, expected: &str, actual: &str| {
        (Code::Format, argument.to_owned(), expected.to_owned(), actual.to_owned())
    };
    let bert = as_bert(&state, "layer.", false);
    for missing in 0..state.len() {
        let mut state = state.clone();
        let (name, ..) = state.remove(missing);
        let (code, argument, ..) = fault(&state, "");
        assert_eq!((code, argument), (Code::Format, name));
    }
    for missing in 0..bert.len() {
        let mut bert = bert.clone();
        let (name, ..) = bert.remove(missing);
        let (code, argument, ..) = fault(&bert, "layer");
        assert_eq!((code, argument), (Code::Format, name));
    }
    assert_eq!(fault(&state, "other").1, "other.self_attn.in_proj_weight");

    let mut shaped = state.clone();
    shaped[4].1 = vec![4, 6];
    let expected = (Code::Shape, "linear1.weight".to_owned(), "[6, 4]".to_owned(), "[4, 6]".to_owned());
    assert_eq!(fault(&shaped, ""), expected);

    let mut further = state.clone();
    further.push(("norm3.weight".into(), vec![4], vec![1.0; 4]));
    let known = "one of 'linear1.weight', 'linear1.bias', 'linear2.weight', 'linear2.bias', 'norm1.weight', 'norm1.bias', \
        'norm2.weight' or 'norm2.bias'";
    assert_eq!(fault(&further, ""), format("norm3.weight", known, "an entry that is no parameter of this layer"));
    let mut further = bert.clone();
    further.push(("layer.crossattention.self.query.weight".into(), vec![4, 4], vec![1.0; 16]));
    assert_eq!(fault(&further, "layer").1, "layer.crossattention.self.query.weight");
    let mut further = bert.clone();
    further.push(("layer.attention.self.distance.weight".into(), vec![4, 4], vec![1.0; 16]));
    assert_eq!(fault(&further, "layer").1, "layer.attention.self.distance.weight");

    let mut twice = bert.clone();
    twice.push(("layer.output.LayerNorm.gamma".into(), vec![4], vec![1.0; 4]));
    let doubled = format("layer.output.LayerNorm.gamma", "one entry of a name", "two");
    assert_eq!(fault(&twice, "layer"), doubled);

    let mut mixed = as_bert(&state, "", false);
    mixed.extend(state.clone());
    assert_eq!(fault(&mixed, "").0, Code::Format);
}

#[test]
fn invalid_shapes_are_reported_before_any_work() {
    let mut random = Random::new(14);
    for norm_first in [false, true] {
        let config = format!(r#"{{"modelDim":8,"numHeads":2,"feedForwardDim":6,"normFirst":{norm_first}}}"#);
        let layer = layer(&config, &mut random);
        let data = random.normals(2 * 3 * 8);
        let run = |dims: &[usize], lengths: Option<&[i32]>, elements: usize, weights: Option<usize>| {
            let x = Tensor::new("x", &data[..dims.iter().product()], dims).unwrap();
            let mut output = vec![7.0; elements];
            let arrays = Arrays { kv_lengths: lengths, ..Arrays::default() };
            let mut weights = weights.map(|length| vec![7.0; length]);
            let options = LayerOptions::default();
            layer.forward(Context::default(), x, &options, arrays, false, &mut output, weights.as_deref_mut()).map_err(
                |error| {
                    assert!(output.iter().all(|&value| value == 7.0));
                    (error.code, error.argument.clone())
                },
            )
        };
        let fault = |code, argument: &str| Err((code, argument.to_owned()));
        assert_eq!(run(&[2, 3, 8], Some(&[3, 0]), 48, Some(36)), Ok(()));
        assert_eq!(run(&[2, 3, 7], None, 42, None), fault(Code::Shape, "x"));
        assert_eq!(run(&[6, 8], None, 48, None), fault(Code::Shape, "x"));
        assert_eq!(run(&[2, 3, 8], None, 47, None), fault(Code::Shape, "out"));
        assert_eq!(run(&[2, 3, 8], None, 48, Some(35)), fault(Code::Shape, "weights"));
        assert_eq!(run(&[2, 3, 8], Some(&[3]), 48, None), fault(Code::Shape, "kv_lengths"));
        assert_eq!(run(&[2, 3, 8], Some(&[3, 4]), 48, None), fault(Code::Option, "kv_lengths"));
        assert_eq!(run(&[0, 3, 8], None, 0, None), Ok(()));
        assert_eq!(run(&[2, 0, 8], None, 0, None), Ok(()));
    }
}

#[test]
fn functions_reject_arguments_that_do_not_fit() {
    let values = [1.0; 24];
    let tensor = |dims: &[usize]| Tensor::new("x", &values[..dims.iter().product()], dims).unwrap();
    let context = Context::default();
    let mut output = [7.0; 24];
    let mut norm = |x: &[usize], weight: Option<&[usize]>, bias: Option<&[usize]>, elements: usize| {
        let (weight, bias) = (weight.map(tensor), bias.map(tensor));
        let found = layer_norm(context, tensor(x), weight, bias, 1e-5, &mut output[..elements]);
        found.map_err(|error| error.argument.clone())
    };
    assert_eq!(norm(&[4, 6], Some(&[6]), Some(&[6]), 24), Ok(()));
    assert_eq!(norm(&[], None, None, 1), Err("x".into()));
    assert_eq!(norm(&[4, 6], Some(&[5]), None, 24), Err("weight".into()));
    assert_eq!(norm(&[4, 6], None, Some(&[1, 6]), 24), Err("bias".into()));
    assert_eq!(norm(&[4, 6], None, None, 23), Err("output".into()));
    assert_eq!(norm(&[4, 0], None, None, 0), Ok(()));
    let mut pool = |x: &[usize], lengths: Option<&[i32]>, elements: usize| {
        let found =
            mean_pool(context, tensor(x), lengths.map_or(Pooled::All, Pooled::Lengths), false, &mut output[..elements]);
        found.map_err(|error| (error.code, error.argument.clone()))
    };
    assert_eq!(pool(&[2, 3, 4], Some(&[0, 3]), 8), Ok(()));
    assert_eq!(pool(&[6, 4], None, 24), Err((Code::Shape, "x".into())));
    assert_eq!(pool(&[2, 3, 4], Some(&[1]), 8), Err((Code::Shape, "lengths".into())));
    assert_eq!(pool(&[2, 3, 4], Some(&[1, 4]), 8), Err((Code::Option, "lengths".into())));
    assert_eq!(pool(&[2, 3, 4], Some(&[-1, 2]), 8), Err((Code::Option, "lengths".into())));
    assert_eq!(pool(&[2, 3, 4], None, 7), Err((Code::Shape, "output".into())));
    assert!(activate(context, Activation::Silu, tensor(&[4, 6]), &mut output[..5]).is_err());
}

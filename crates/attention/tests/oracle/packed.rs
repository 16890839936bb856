//! Packed sequences: against the oracle, and to the bit against one call for each sequence.

use std::ops::Range;

use proptest::prelude::*;
use ruvector_attention::attention::{Arrays, Outputs, attention_weights, scaled_dot_product_attention};
use ruvector_attention::layers::encoder::{EncoderConfig, TransformerEncoderLayer};
use ruvector_attention::layers::multi_head::{Inputs, MultiHeadAttention};
use ruvector_attention::options::{AttentionOptions, LayerOptions, Layout};
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Tensor};

use crate::support::{Case, Problem, Random, Results, assert_near, contexts, from_json, packed};

/// Selects rows of `[1, heads, length, size]` data in either layout.
fn select(case: &Case, data: &[f32], heads: usize, length: usize, rows: Range<usize>) -> Vec<f32> {
    let is_blhd = case.options.layout == Layout::Blhd && !case.three_dimensions;
    let size = data.len().checked_div(heads * length).unwrap_or(0);
    if is_blhd {
        return data[rows.start * heads * size..rows.end * heads * size].to_vec();
    }
    (0..heads).flat_map(|h| data[(h * length + rows.start) * size..(h * length + rows.end) * size].to_vec()).collect()
}

/// Returns the problem of one sequence alone.
fn alone(problem: &Problem, sequence: usize) -> Problem {
    let case = &problem.case;
    let [rows, keys] = case
        .cu_seqlens
        .as_ref()
        .unwrap()
        .each_ref()
        .map(|offsets| offsets[sequence] as usize..offsets[sequence + 1] as usize);
    let [longest, longest_keys] = case.longest();
    let length = (longest + longest_keys).saturating_sub(1);
    let own = (rows.len() + keys.len()).saturating_sub(1);
    let start = longest - rows.len();
    let bias = problem.relative_bias.chunks(length.max(1));
    Problem {
        q: select(case, &problem.q, case.heads(), case.queries, rows.clone()),
        k: select(case, &problem.k, case.kv_heads, case.keys, keys.clone()),
        v: select(case, &problem.v, case.kv_heads, case.keys, keys.clone()),
        relative_bias: bias.flat_map(|bias| bias.get(start..start + own).unwrap_or_default().to_vec()).collect(),
        case: Case {
            queries: rows.len(),
            keys: keys.len(),
            query_offset: case.query_offset.as_ref().map(|offsets| vec![offsets[sequence]]),
            cu_seqlens: None,
            options: AttentionOptions {
                top_weights: case.options.top_weights.map(|count| count.min(keys.len())).filter(|&count| count > 0),
                ..case.options.clone()
            },
            ..case.clone()
        },
        ..problem.clone()
    }
}

/// Asserts that a sequence's part of the results has the bits of a call of its own.
fn assert_same_bits(problem: &Problem, found: &Results, sequence: usize, context: Context<'_>) {
    let (case, single) = (&problem.case, alone(problem, sequence));
    let start = case.cu_seqlens.as_ref().unwrap()[0][sequence] as usize;
    let rows = start..start + single.case.queries;
    let expected = single.run(context);
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let output = select(case, &found.output, case.heads(), case.queries, rows.clone());
    assert_eq!(bits(&output), bits(&expected.output), "{} sequence {sequence}", context.level.name());
    let by_head = Case { options: AttentionOptions { layout: Layout::Bhld, ..case.options.clone() }, ..case.clone() };
    let of_rows = |values: &[f32]| select(&by_head, values, case.heads(), case.queries, rows.clone());
    assert_eq!(bits(&of_rows(&found.log_sum_exp)), bits(&expected.log_sum_exp));
    let Some(count) = case.options.top_weights else { return };
    let keys: Vec<f32> = found.top_keys.iter().map(|&key| key as f32).collect();
    let held = single.case.options.top_weights.unwrap_or(0);
    let (values, keys) = (of_rows(&found.top_values), of_rows(&keys));
    for (row, (values, keys)) in values.chunks(count).zip(keys.chunks(count)).enumerate() {
        assert_eq!(bits(&values[..held]), bits(&expected.top_values[row * held..][..held]));
        let expected = expected.top_keys[row * held..][..held].iter().map(|&key| key as f32);
        assert!(keys[..held].iter().copied().eq(expected), "{} sequence {sequence}", context.level.name());
        // A row with too few keys ends with the index −1.
        assert!(keys[held..].iter().all(|&key| key == -1.0) && values[held..].iter().all(|&value| value == 0.0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packed_sequences_match_the_oracle(problem in packed()) {
        let expected = problem.expected();
        for context in contexts() {
            let found = problem.run(context);
            let kept = 1.0 - f64::from(problem.case.options.dropout);
            assert_near(&found.output, &expected.output, 5e-6 / kept, "output");
            if problem.case.options.log_sum_exp {
                assert_near(&found.log_sum_exp, &expected.log_sum_exp, 3e-6, "log_sum_exp");
            }
        }
    }

    #[test]
    fn a_packed_sequence_has_the_bits_of_a_call_of_its_own(problem in packed()) {
        for context in contexts() {
            let found = problem.run(context);
            for sequence in 0..problem.case.cu_seqlens.as_ref().unwrap()[0].len() - 1 {
                assert_same_bits(&problem, &found, sequence, context);
            }
        }
    }
}

#[test]
fn long_keys_of_a_packed_sequence_are_split_as_in_a_call_of_its_own() {
    let options = AttentionOptions { log_sum_exp: true, ..AttentionOptions::default() };
    let problem = Case {
        queries: 9,
        keys: 9700,
        group: 2,
        kv_heads: 2,
        sinks: true,
        relative_heads: Some(4),
        cu_seqlens: Some([vec![0, 2, 2, 6, 9], vec![0, 4500, 4500, 5200, 9700]]),
        options,
        ..Case::default()
    }
    .problem();
    for level in Level::available() {
        let found = problem.run(Context::new(level, 1));
        (0..4).for_each(|sequence| assert_same_bits(&problem, &found, sequence, Context::new(level, 1)));
        assert!(problem.run(Context::new(level, 3)).bits() == found.bits());
    }
}

#[test]
fn a_neighbor_with_nan_leaves_a_packed_sequence_as_it_is() {
    let options = AttentionOptions { log_sum_exp: true, ..AttentionOptions::default() };
    let rows = vec![0, 13, 40, 45];
    let case = Case { queries: 45, keys: 45, cu_seqlens: Some([rows.clone(), rows]), options, ..Case::default() };
    let clean = case.problem();
    let mut spoiled = clean.clone();
    for data in [&mut spoiled.q, &mut spoiled.k, &mut spoiled.v] {
        data[13 * 8..40 * 8].fill(f32::NAN);
    }
    for context in contexts() {
        let (clean, spoiled) = (clean.run(context), spoiled.run(context));
        for rows in [0..13, 40..45] {
            assert_eq!(clean.output[rows.start * 8..rows.end * 8], spoiled.output[rows.start * 8..rows.end * 8]);
            assert_eq!(clean.log_sum_exp[rows.clone()], spoiled.log_sum_exp[rows]);
        }
        assert!(spoiled.output[13 * 8..40 * 8].iter().all(|value| value.is_nan()));
    }
}

#[test]
fn packed_results_are_the_same_for_every_number_of_threads() {
    let offsets: Vec<i32> = (0..40).scan(0, |end, n| Some(std::mem::replace(end, *end + (n * 37) % 120))).collect();
    let length = *offsets.last().unwrap() as usize;
    let options =
        AttentionOptions { causal: true, log_sum_exp: true, top_weights: Some(3), ..AttentionOptions::default() };
    let cu_seqlens = Some([offsets.clone(), offsets]);
    let problem = Case { queries: length, keys: length, kv_heads: 2, group: 2, cu_seqlens, options, ..Case::default() };
    let problem = problem.problem();
    for level in Level::available() {
        let expected = problem.run(Context::new(level, 1)).bits();
        for threads in [2, 3, 5] {
            assert!(problem.run(Context::new(level, threads)).bits() == expected, "{}", level.name());
        }
    }
}

#[test]
fn offsets_that_do_not_fit_are_rejected() {
    let data = [1.0; 64];
    let options = AttentionOptions::default();
    let fault = |batch: usize, options: &AttentionOptions, arrays: Arrays<'_>| {
        let x = Tensor::new("x", &data[..batch * 24], &[batch, 2, 4, 3]).unwrap();
        let mut output = vec![7.0; batch * 24];
        let outputs = Outputs { output: &mut output, ..Outputs::default() };
        let error = scaled_dot_product_attention(Context::default(), x, x, x, options, arrays, outputs).unwrap_err();
        assert!(output.iter().all(|&value| value == 7.0));
        (error.code, error.argument.clone())
    };
    let packed = |offsets| Arrays { cu_seqlens: Some(offsets), ..Arrays::default() };
    for offsets in [&[0, 3][..], &[0, 5], &[1, 4], &[0, 3, 2, 4], &[0, -1, 4], &[0], &[4]] {
        assert_eq!(fault(1, &options, packed(offsets)), (Code::Option, "cu_seqlens".into()), "{offsets:?}");
    }
    assert_eq!(fault(1, &options, packed(&[])), (Code::Shape, "cu_seqlens".into()));
    assert_eq!(fault(2, &options, packed(&[0, 4])), (Code::Shape, "cu_seqlens".into()));
    let keys = |offsets| Arrays { cu_seqlens_keys: Some(offsets), ..packed(&[0, 4]) };
    assert_eq!(fault(1, &options, keys(&[0, 3])), (Code::Option, "cu_seqlens_keys".into()));
    assert_eq!(fault(1, &options, keys(&[0, 3, 4])), (Code::Shape, "cu_seqlens_keys".into()));
    let without = Arrays { cu_seqlens_keys: Some(&[0, 4]), ..Arrays::default() };
    assert_eq!(fault(1, &options, without), (Code::Option, "cu_seqlens_keys".into()));
    let lengths = Arrays { kv_lengths: Some(&[4]), ..packed(&[0, 4]) };
    assert_eq!(fault(1, &options, lengths), (Code::Option, "kv_lengths".into()));
    let offsets = Arrays { query_offset: Some(&[4]), ..packed(&[0, 2, 4]) };
    assert_eq!(fault(1, &options, offsets), (Code::Shape, "query_offset".into()));
    let weights = AttentionOptions { weights: true, ..options.clone() };
    assert_eq!(fault(1, &weights, packed(&[0, 4])), (Code::Option, "weights".into()));
    let top = AttentionOptions { top_weights: Some(3), ..options.clone() };
    assert_eq!(fault(1, &top, packed(&[0, 2, 4])), (Code::Option, "top_weights".into()));
    let x = Tensor::new("x", &data[..24], &[1, 2, 4, 3]).unwrap();
    let error = attention_weights(Context::default(), x, x, &options, packed(&[0, 4]), &mut [0.0; 32]).unwrap_err();
    assert_eq!((error.code, error.argument.as_str()), (Code::Option, "cu_seqlens"));
}

/// Runs rows of an input with 16 features through a layer, packed by these offsets, or as one plain sequence.
type Forward<'a> = &'a dyn Fn(Context<'_>, Tensor<'_>, Arrays<'_>, &mut [f32]);

fn assert_layer_is_packed(forward: Forward<'_>, rows: usize, offsets: &[i32]) {
    let data = Random::new(5).normals(rows * 16);
    for context in contexts() {
        let run = |data: &[f32], arrays: Arrays<'_>| {
            let mut output = vec![f32::NAN; data.len()];
            let x = Tensor::new("x", data, &[1, data.len() / 16, 16]).unwrap();
            forward(context, x, arrays, &mut output);
            output
        };
        let packed = run(&data, Arrays { cu_seqlens: Some(offsets), ..Arrays::default() });
        for pair in offsets.windows(2) {
            let part = pair[0] as usize * 16..pair[1] as usize * 16;
            let end = [0, pair[1] - pair[0]];
            let alone = run(&data[part.clone()], Arrays { cu_seqlens: Some(&end), ..Arrays::default() });
            assert_eq!(packed[part.clone()], alone, "{} {pair:?}", context.level.name());
            let plain = run(&data[part], Arrays::default());
            assert_near(&alone, &plain.iter().map(|&value| f64::from(value)).collect::<Vec<_>>(), 3e-6, "plain");
        }
        let threaded = Context { threads: 3, ..context };
        let mut output = vec![f32::NAN; data.len()];
        let arrays = Arrays { cu_seqlens: Some(offsets), ..Arrays::default() };
        forward(threaded, Tensor::new("x", &data, &[1, rows, 16]).unwrap(), arrays, &mut output);
        assert_eq!(output, packed);
    }
}

const OFFSETS: [i32; 8] = [0, 1, 14, 14, 79, 82, 200, 203];

#[test]
fn layers_give_a_packed_sequence_the_bits_that_it_has_alone() {
    for (config, training) in [
        (r#"{"numHeads":4,"headDim":4,"kvHeads":2,"rotary":{},"seed":1}"#, false),
        (r#"{"numHeads":2,"headDim":8,"dropout":0.3,"seed":2}"#, true),
    ] {
        let layer = MultiHeadAttention::new(from_json(config)).unwrap();
        for options in [r#"{}"#, r#"{"causal":true,"queryOffset":3}"#, r#"{"window":[4,2]}"#] {
            let options: LayerOptions = from_json(options);
            let forward: Forward<'_> = &|context, x, arrays, output| {
                let inputs = Inputs::from(x);
                layer.forward(context, inputs, &options, arrays, training, output, None).unwrap();
            };
            assert_layer_is_packed(forward, 203, &OFFSETS);
        }
    }
}

#[test]
fn encoder_layers_give_a_packed_sequence_the_bits_that_it_has_alone() {
    for (norm_first, dropout, training) in [(false, 0.0, false), (true, 0.25, true), (false, 0.5, true)] {
        let config = EncoderConfig {
            model_dim: 16,
            num_heads: 2,
            feed_forward_dim: 40,
            norm_first,
            dropout,
            ..EncoderConfig::default()
        };
        let layer = TransformerEncoderLayer::new(config).unwrap();
        let forward: Forward<'_> = &|context, x, arrays, output| {
            layer.forward(context, x, &LayerOptions::default(), arrays, training, output, None).unwrap();
        };
        assert_layer_is_packed(forward, 203, &OFFSETS);
    }
}

#[test]
fn layers_refuse_weights_of_packed_sequences() {
    let layer = MultiHeadAttention::new(from_json(r#"{"numHeads":2,"headDim":8}"#)).unwrap();
    let data = [0.5; 64];
    let query = Tensor::new("x", &data, &[1, 4, 16]).unwrap();
    let arrays = Arrays { cu_seqlens: Some(&[0, 4]), ..Arrays::default() };
    for (options, argument) in [(r#"{"weights":true}"#, "weights"), (r#"{"averageWeights":true}"#, "average_weights")] {
        let (options, mut output) = (from_json(options), [0.0; 64]);
        let inputs = Inputs::from(query);
        let error = layer.forward(Context::default(), inputs, &options, arrays, false, &mut output, None).unwrap_err();
        assert_eq!((error.code, error.argument.as_str()), (Code::Option, argument));
    }
}

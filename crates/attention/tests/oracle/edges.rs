//! Edge cases promised by the semantics, one sentence per test.

use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::{Arrays, attention_weights};
use ruvector_attention::options::{AttentionOptions, Layout};
use ruvector_attention::simd::Level;
use ruvector_attention::{Context, Tensor};

use crate::support::{Case, MaskCase, Problem, assert_near, contexts};

fn all_outputs() -> AttentionOptions {
    AttentionOptions { weights: true, log_sum_exp: true, top_weights: Some(1), ..AttentionOptions::default() }
}

#[test]
fn every_head_size_and_value_size_is_exact() {
    for size in 0..=130 {
        let value_dim = (size * 37 + 5) % 131;
        Case { head_dim: size, value_dim, queries: 6, keys: 19, seed: size as u64, ..Case::default() }
            .problem()
            .check();
    }
}

#[test]
fn every_length_up_to_a_few_tiles_is_exact() {
    for length in 1..=140 {
        let options = AttentionOptions { causal: length % 2 == 0, ..all_outputs() };
        let case = Case { head_dim: 5, value_dim: 3, options, seed: length as u64, ..Case::default() };
        Case { queries: length, keys: 3 + length / 3, ..case.clone() }.problem().check();
        Case { queries: 1 + length / 7, keys: length, ..case }.problem().check();
    }
}

#[test]
fn one_query_over_many_keys_is_exact() {
    for (queries, group, keys) in [(1, 1, 4096), (1, 8, 1000), (2, 1, 777), (1, 4, 65), (3, 2, 513)] {
        let options =
            AttentionOptions { causal: true, query_offset: Some(keys as i64 - queries as i64), ..all_outputs() };
        Case { queries, keys, group, kv_heads: 2, head_dim: 64, value_dim: 64, options, ..Case::default() }
            .problem()
            .check();
    }
}

#[test]
fn keys_in_several_parts_are_merged_exactly_for_every_number_of_threads() {
    let shown = |boolean, dims: &[usize]| Some(MaskCase { boolean, dims: dims.to_vec(), shown: 0.7 });
    for (queries, group, options, kv_lengths, mask) in [
        (1, 1, AttentionOptions { log_sum_exp: true, ..AttentionOptions::default() }, None, None),
        (2, 1, AttentionOptions { window: Some([5000, 10]), query_offset: Some(8500), ..all_outputs() }, None, None),
        (5, 2, AttentionOptions { causal: true, query_offset: Some(4094), ..AttentionOptions::default() }, None, None),
        (3, 1, AttentionOptions { log_sum_exp: true, softcap: 5.0, ..AttentionOptions::default() }, Some(4000), None),
        (1, 2, AttentionOptions { log_sum_exp: true, ..AttentionOptions::default() }, Some(0), None),
        (1, 1, AttentionOptions::default(), None, shown(true, &[9000])),
        (4, 1, AttentionOptions { dropout: 0.3, ..all_outputs() }, None, shown(false, &[4, 9000])),
    ] {
        let problem = Case {
            queries,
            keys: 9000,
            group,
            kv_heads: 2,
            head_dim: 16,
            value_dim: 20,
            kv_lengths: kv_lengths.map(|length| vec![length]),
            mask,
            options,
            ..Case::default()
        }
        .problem();
        problem.check();
        for level in Level::available() {
            let alone = problem.run(Context::new(level, 1)).bits();
            for threads in [2, 3] {
                let found = problem.run(Context::new(level, threads)).bits();
                assert!(found == alone, "{} on {threads} threads", level.name());
            }
        }
    }
}

#[test]
fn grouped_heads_read_the_key_of_their_group() {
    let grouped = Case { kv_heads: 2, group: 3, options: all_outputs(), ..Case::default() }.problem();
    let (case, size) = (&grouped.case, grouped.case.keys * grouped.case.head_dim);
    let repeat = |data: &[f32]| data.chunks(size).flat_map(|head| head.repeat(case.group)).collect();
    let repeated = Problem {
        case: Case { kv_heads: 6, group: 1, ..case.clone() },
        k: repeat(&grouped.k),
        v: repeat(&grouped.v),
        ..grouped.clone()
    };
    let expected = repeated.expected();
    for context in contexts() {
        grouped.compare(&expected, &grouped.run(context), context.level.name());
    }
}

#[test]
fn the_layout_changes_only_the_order_of_the_values() {
    let (heads, queries, keys, size) = (4, 21, 35, 8);
    let bhld = Case { kv_heads: heads, queries, keys, options: all_outputs(), ..Case::default() }.problem();
    let moved = |data: &[f32], length: usize| {
        let mut moved = vec![0.0; data.len()];
        for h in 0..heads {
            for i in 0..length {
                let (from, to) = ((h * length + i) * size, (i * heads + h) * size);
                moved[to..to + size].copy_from_slice(&data[from..from + size]);
            }
        }
        moved
    };
    let mut blhd = bhld.clone();
    blhd.case.options.layout = Layout::Blhd;
    (blhd.q, blhd.k, blhd.v) = (moved(&bhld.q, queries), moved(&bhld.k, keys), moved(&bhld.v, keys));
    for context in contexts() {
        let (mut expected, found) = (bhld.run(context), blhd.run(context));
        expected.output = moved(&expected.output, queries);
        assert_eq!(found, expected);
    }
}

#[test]
fn three_dimensions_are_one_head() {
    let four = Case { batch: 2, options: all_outputs(), ..Case::default() }.problem();
    let mut three = four.clone();
    three.case.three_dimensions = true;
    for context in contexts() {
        assert_eq!(three.run(context), four.run(context));
    }
}

#[test]
fn a_call_with_an_offset_returns_the_last_rows_of_the_whole_call() {
    let options = AttentionOptions { causal: true, window: Some([20, -1]), ..AttentionOptions::default() };
    let whole = Case { queries: 50, keys: 50, options, ..Case::default() }.problem();
    let expected = whole.expected();
    for past in [0, 1, 17, 49] {
        let mut last = whole.clone();
        last.q.drain(..past * whole.case.head_dim);
        last.case.queries -= past;
        last.case.options.query_offset = Some(past as i64);
        for context in contexts() {
            let found = last.run(context).output;
            assert_near(&found, &expected.output[past * whole.case.value_dim..], 5e-6, context.level.name());
        }
    }
}

#[test]
fn lengths_of_zero_give_empty_outputs_or_zeros() {
    let empty = [(0, 2, 3, 4, 5, 6), (2, 0, 3, 4, 5, 6), (2, 2, 0, 4, 5, 6), (2, 2, 3, 4, 5, 0), (2, 2, 3, 4, 0, 6)];
    for (batch, kv_heads, queries, keys, head_dim, value_dim) in empty {
        Case { batch, kv_heads, queries, keys, head_dim, value_dim, options: all_outputs(), ..Case::default() }
            .problem()
            .check();
    }
    let options = AttentionOptions { weights: true, log_sum_exp: true, ..AttentionOptions::default() };
    let without_keys = Case { keys: 0, options, ..Case::default() }.problem();
    for context in contexts() {
        let found = without_keys.run(context);
        assert_eq!(found.output, [0.0; 40]);
        assert_eq!(found.log_sum_exp, [f32::NEG_INFINITY; 5]);
    }
}

#[test]
fn a_row_without_visible_keys_is_zeros_in_every_pass() {
    let hidden = |boolean| Some(MaskCase { boolean, dims: vec![7], shown: 0.0 });
    let options = |causal, query_offset, window| AttentionOptions { causal, query_offset, window, ..all_outputs() };
    for queries in [1, 5, 40] {
        for case in [
            Case { mask: hidden(true), ..Case::default() },
            Case { mask: hidden(false), ..Case::default() },
            Case { kv_lengths: Some(vec![0]), ..Case::default() },
            Case { options: options(true, Some(-100), None), ..Case::default() },
            Case { options: options(false, Some(100), Some([2, 2])), ..Case::default() },
            Case { options: options(false, Some(-100), Some([2, 2])), ..Case::default() },
        ] {
            let options = AttentionOptions { weights: true, log_sum_exp: true, top_weights: Some(3), ..case.options };
            let mut problem = Case { queries, options, ..case }.problem();
            problem.k.fill(f32::NAN);
            problem.v.fill(f32::INFINITY);
            for context in contexts() {
                let found = problem.run(context);
                assert_eq!(found.output, vec![0.0; queries * 8]);
                assert_eq!(found.weights, vec![0.0; queries * 7], "{} {:?}", context.level.name(), problem.case);
                assert_eq!(found.log_sum_exp, vec![f32::NEG_INFINITY; queries]);
                assert_eq!(found.top_values, vec![0.0; queries * 3]);
                assert_eq!(found.top_keys, [0, 1, 2].repeat(queries));
            }
        }
    }
}

#[test]
fn scores_of_ten_thousand_neither_overflow_nor_lose_the_row() {
    for (queries, sign) in [(1, 1.0), (1, -1.0), (9, 1.0), (40, -1.0)] {
        let options = AttentionOptions { scale: Some(1.0), ..all_outputs() };
        let mut problem = Case { queries, head_dim: 1, options, ..Case::default() }.problem();
        problem.q.fill(100.0 * sign);
        problem.k = [-100.0, -50.0, 0.0, 99.9, 100.0, 100.0, 1.0].to_vec();
        problem.check();
    }
}

#[test]
fn scores_of_ten_thousand_that_are_exact_keep_their_differences() {
    // Scores are integers, so the weights of 1 over e⁰, e¹, … are the same for large scores as near 0.
    for (queries, mask) in [(1, false), (5, false), (40, false), (40, true)] {
        for level in Level::available() {
            let (q, mut k) = (vec![1.0; queries], vec![0.0; 70]);
            for (key, value) in k.iter_mut().enumerate() {
                *value = 11_397.0 - (key * 31 % 70) as f32;
            }
            let bias = vec![1.0; 70];
            let mut output = vec![f32::NAN; queries * 70];
            let arrays = Arrays {
                mask: mask.then(|| Mask::Float(Tensor::new("mask", &bias, &[70]).unwrap())),
                ..Arrays::default()
            };
            attention_weights(
                Context::new(level, 1),
                Tensor::new("q", &q, &[1, queries, 1]).unwrap(),
                Tensor::new("k", &k, &[1, 70, 1]).unwrap(),
                &AttentionOptions { scale: Some(1.0), ..AttentionOptions::default() },
                arrays,
                &mut output,
            )
            .unwrap();
            let sum: f64 = (0..70).map(|below| f64::from(-below).exp()).sum();
            for (index, &weight) in output.iter().enumerate() {
                let expected = f64::from(-((index % 70 * 31 % 70) as i32)).exp() / sum;
                assert!(
                    (f64::from(weight) - expected).abs() < 2e-7,
                    "{level:?} {queries} {index}: {weight} {expected}"
                );
            }
        }
    }
}

#[test]
fn only_minus_infinity_hides_a_key_not_a_huge_negative_bias() {
    for queries in [1, 20] {
        let mask = Some(MaskCase { boolean: false, dims: vec![1, 7], shown: 1.0 });
        let mut problem = Case { queries, mask, options: all_outputs(), ..Case::default() }.problem();
        for huge in [f32::MIN, -3.4e38, -1e38, -1e30] {
            problem.float_mask.fill(huge);
            for context in contexts() {
                let found = problem.run(context).weights;
                assert_near(&found, &vec![1.0 / 7.0; queries * 7], 1e-6, context.level.name());
            }
            problem.float_mask[2] = f32::NEG_INFINITY;
            for context in contexts() {
                let row = [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0].map(|weight: f64| weight / 6.0);
                let found = problem.run(context);
                assert_near(&found.weights, &row.repeat(queries), 1e-6, context.level.name());
                assert!(found.weights.chunks(7).all(|row| row[2] == 0.0));
            }
        }
    }
}

#[test]
fn tiny_values_are_not_flushed_to_zero() {
    for queries in [1, 33] {
        let mut problem = Case { queries, keys: 1, ..Case::default() }.problem();
        problem.v.fill(1e-40);
        for context in contexts() {
            assert_eq!(problem.run(context).output, vec![1e-40; queries * 8], "{}", context.level.name());
        }
    }
}

#[test]
fn dropout_drops_the_same_weights_however_they_are_computed() {
    let options = AttentionOptions { dropout: 0.4, seed: 77, weights: true, ..AttentionOptions::default() };
    let case = Case { group: 2, queries: 70, keys: 150, options, ..Case::default() };
    let whole = case.problem();
    let dropped = |weights: &[f32]| weights.iter().map(|&weight| weight == 0.0).collect::<Vec<_>>();
    let expected = dropped(&whole.run(Context::new(Level::lowest(), 1)).weights);
    let share = expected.iter().filter(|&&dropped| dropped).count() as f64 / expected.len() as f64;
    assert!((share - 0.4).abs() < 0.02, "{share}");
    for context in contexts() {
        assert_eq!(dropped(&whole.run(context).weights), expected, "{}", context.level.name());
        // The first row alone is computed by the decoding pass.
        let mut first = whole.clone();
        first.case.queries = 1;
        first.q = whole.q.chunks(70 * 8).flat_map(|head| head[..8].to_vec()).collect();
        let found = dropped(&first.run(context).weights);
        assert_eq!(found[..150], expected[..150]);
        assert_eq!(found[150..], expected[70 * 150..71 * 150]);
    }
}

//! Sinks and relative biases: against forms of the same calls that need neither.

use proptest::prelude::*;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::{Arrays, Outputs, scaled_dot_product_attention};
use ruvector_attention::options::{AttentionOptions, Stage};
use ruvector_attention::{Code, Context, Tensor};

use crate::support::{Case, Problem, assert_near, case, contexts};

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Returns the relative bias as a mask `[1, H, L, S]`.
fn dense(problem: &Problem) -> Vec<f32> {
    let case = &problem.case;
    let length = case.queries + case.keys - 1;
    let bias = |h: usize, i: usize, j: usize| {
        let head = if case.relative_heads == Some(1) { 0 } else { h };
        problem.relative_bias[head * length + j + case.queries - 1 - i]
    };
    let rows = (0..case.heads()).flat_map(|h| (0..case.queries).map(move |i| (h, i)));
    rows.flat_map(|(h, i)| (0..case.keys).map(move |j| bias(h, i, j))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_relative_bias_equals_the_mask_that_it_describes(case in case(), shared in any::<bool>()) {
        let heads = if shared { 1 } else { case.heads() };
        let case = Case { relative_heads: Some(heads), mask: None, ..case };
        prop_assume!(case.queries > 0 && case.keys > 0);
        let problem = case.problem();
        let mask = dense(&problem);
        let dims = [1, case.heads(), case.queries, case.keys];
        let mask = Mask::Float(Tensor::new("mask", &mask, &dims).unwrap());
        let masked = Problem { case: Case { relative_heads: None, ..case.clone() }, ..problem.clone() };
        for context in contexts() {
            let found = problem.run(context);
            let expected = masked.run_with(context, Arrays { mask: Some(mask), ..masked.arrays() });
            let kept = 1.0 - f64::from(case.options.dropout);
            assert_near(&found.output, &doubles(&expected.output), 5e-6 / kept, "output");
            assert_near(&found.weights, &doubles(&expected.weights), 3e-6 / kept, "weights");
            assert_near(&found.log_sum_exp, &doubles(&expected.log_sum_exp), 3e-6, "log_sum_exp");
        }
    }

    #[test]
    fn a_sink_equals_a_key_without_a_value(seed in any::<u64>(), queries in 1usize..=40, keys in 1usize..=90, group in 1usize..=2) {
        // The further key has the score 0 for every query.
        let case = Case { queries, keys, group, kv_heads: 2, seed, ..Case::default() };
        let options = AttentionOptions { weights: true, log_sum_exp: true, top_weights: Some(1), ..AttentionOptions::default() };
        let problem = Case { sinks: true, options: options.clone(), ..case }.problem();
        let sinks = vec![0.0; problem.case.heads()];
        let problem = Problem { sinks, ..problem };
        let more = |data: &[f32]| data.chunks(keys * 8).flat_map(|head| [head, &[0.0; 8][..]].concat()).collect();
        let longer = Problem { case: Case { keys: keys + 1, sinks: false, ..problem.case.clone() }, k: more(&problem.k), v: more(&problem.v), ..problem.clone() };
        for context in contexts() {
            let (found, expected) = (problem.run(context), longer.run(context));
            assert_near(&found.output, &doubles(&expected.output), 2e-6, "output");
            assert_near(&found.log_sum_exp, &doubles(&expected.log_sum_exp), 2e-6, "log_sum_exp");
            let weights: Vec<f32> = expected.weights.chunks(keys + 1).flat_map(|row| row[..keys].to_vec()).collect();
            assert_near(&found.weights, &doubles(&weights), 2e-6, "weights");
        }
    }
}

#[test]
fn a_row_without_visible_keys_has_its_sink_as_logarithm() {
    let options = AttentionOptions { causal: true, query_offset: Some(-100), ..AttentionOptions::default() };
    for (queries, keys, weights) in [(5, 7, true), (5, 7, false), (40, 33, false), (2, 9000, false), (3, 0, false)] {
        let options = AttentionOptions { weights, log_sum_exp: true, query_offset: Some(-9100), ..options.clone() };
        let problem = Case { queries, keys, kv_heads: 3, sinks: true, options, ..Case::default() }.problem();
        for context in contexts() {
            let found = problem.run(context);
            assert!(found.output.iter().chain(&found.weights).all(|&value| value == 0.0));
            for (logarithms, &sink) in found.log_sum_exp.chunks(queries).zip(&problem.sinks) {
                assert!(logarithms.iter().all(|&value| value == sink), "{queries} {keys}");
            }
        }
    }
}

#[test]
fn sinks_and_relative_biases_of_split_keys_are_exact() {
    for (queries, group, sinks, heads) in [(1, 1, true, None), (2, 2, true, Some(4)), (5, 2, false, Some(1))] {
        let options = AttentionOptions { log_sum_exp: true, ..AttentionOptions::default() };
        let case =
            Case { queries, keys: 9000, group, kv_heads: 2, sinks, relative_heads: heads, options, ..Case::default() };
        case.problem().check();
    }
}

#[test]
fn a_sink_of_minus_infinity_and_a_huge_one_do_no_harm() {
    let options = AttentionOptions { weights: true, log_sum_exp: true, ..AttentionOptions::default() };
    for (queries, sink) in [(3, f32::NEG_INFINITY), (40, f32::NEG_INFINITY), (3, 1e30), (40, 1e30), (3, -1e30)] {
        let with = Case { queries, sinks: true, options: options.clone(), ..Case::default() }.problem();
        let with = Problem { sinks: vec![sink], ..with };
        let without = Problem { case: Case { sinks: false, ..with.case.clone() }, ..with.clone() };
        for context in contexts() {
            let (found, plain) = (with.run(context), without.run(context));
            if sink > 0.0 {
                assert!(
                    found.output.iter().all(|&value| value == 0.0)
                        && found.log_sum_exp.iter().all(|&value| value == sink)
                );
            } else {
                assert_near(&found.output, &doubles(&plain.output), 1e-6, "output");
                assert_near(&found.log_sum_exp, &doubles(&plain.log_sum_exp), 1e-6, "log_sum_exp");
            }
        }
    }
}

#[test]
fn the_stage_after_the_masks_has_the_relative_bias() {
    let options = AttentionOptions { softcap: 3.0, causal: true, ..AttentionOptions::default() };
    let case = Case { queries: 20, keys: 30, group: 2, relative_heads: Some(2), options, ..Case::default() };
    let problem = case.problem();
    let expected = problem.expected();
    for context in contexts() {
        assert_near(&problem.run_stage(context, Stage::Softcapped), &expected.softcapped, 3e-6, "softcapped");
        assert_near(&problem.run_stage(context, Stage::Biased), &expected.biased, 3e-6, "biased");
    }
}

#[test]
fn biases_and_sinks_of_the_wrong_length_are_rejected() {
    let data = [1.0; 64];
    let x = Tensor::new("x", &data[..24], &[1, 2, 4, 3]).unwrap();
    let fault = |arrays: Arrays<'_>| {
        let mut output = [0.0; 24];
        let outputs = Outputs { output: &mut output, ..Outputs::default() };
        let options = AttentionOptions::default();
        let error = scaled_dot_product_attention(Context::default(), x, x, x, &options, arrays, outputs).unwrap_err();
        (error.code, error.argument.clone())
    };
    for dims in [&[7][..], &[2, 6], &[2, 8], &[3, 7], &[1, 2, 7], &[]] {
        let bias = Tensor::new("relative_bias", &data[..dims.iter().product()], dims).unwrap();
        let arrays = Arrays { relative_bias: Some(bias), ..Arrays::default() };
        assert_eq!(fault(arrays), (Code::Shape, "relative_bias".into()), "{dims:?}");
    }
    for sinks in [&data[..0], &data[..1], &data[..3]] {
        let arrays = Arrays { sinks: Some(sinks), ..Arrays::default() };
        assert_eq!(fault(arrays), (Code::Shape, "sinks".into()));
    }
}

#[test]
fn a_single_query_without_keys_has_no_relative_bias() {
    for group in 1..=4 {
        for relative_heads in [Some(1), Some(group)] {
            Case { queries: 1, keys: 0, group, relative_heads, sinks: true, ..Case::default() }.problem().check();
        }
    }
}

//! Arbitrary attention problems against the oracle.

use proptest::prelude::*;
use ruvector_attention::Context;
use ruvector_attention::options::{AttentionOptions, Stage};
use ruvector_attention::simd::Level;

use crate::support::{Case, Problem, Random, assert_near, case, contexts};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn every_option_matches_the_oracle(case in case()) {
        case.problem().check();
    }
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn every_stage_matches_the_oracle(case in case()) {
        let problem = case.problem();
        let expected = problem.expected();
        let kept = 1.0 - f64::from(case.options.dropout);
        for context in contexts() {
            for (stage, expected, tolerance) in [
                (Stage::Scores, &expected.scores, 3e-6),
                (Stage::Softcapped, &expected.softcapped, 3e-6),
                (Stage::Biased, &expected.biased, 3e-6),
                (Stage::Weights, &expected.weights, 3e-6 / kept),
            ] {
                let found = problem.run_stage(context, stage);
                assert_near(&found, expected, tolerance, &format!("{} {stage:?}", context.level.name()));
            }
        }
    }

    #[test]
    fn a_nan_spoils_the_rows_that_see_it_and_no_others(case in case(), seed in any::<u64>()) {
        // A dropped weight times NaN may be 0 or NaN.
        let case = Case { options: AttentionOptions { dropout: 0.0, ..case.options.clone() }, ..case };
        let mut problem = case.problem();
        // A vanishing weight may hide a NaN value, so remove biases that low.
        problem.float_mask.iter_mut().filter(|bias| **bias == -1e30).for_each(|bias| *bias = 0.0);
        let mut random = Random::new(seed);
        for data in [&mut problem.q, &mut problem.k, &mut problem.v] {
            if !data.is_empty() && random.below(2) == 0 {
                let index = random.below(data.len());
                data[index] = f32::NAN;
            }
        }
        problem.check();
    }

    #[test]
    fn the_contents_of_hidden_keys_and_values_do_not_matter(case in case(), seed in any::<u64>()) {
        let problem = case.problem();
        let expected = problem.expected();
        let poisoned = poison(&problem, &expected.biased, seed);
        for context in contexts() {
            let found = poisoned.run(context);
            problem.compare(&expected, &found, context.level.name());
        }
    }

    #[test]
    fn results_are_the_same_from_run_to_run(case in case()) {
        let problem = case.problem();
        for context in contexts() {
            prop_assert_eq!(problem.run(context).bits(), problem.run(context).bits());
        }
    }
}

/// Returns the problem with NaN and infinities in every key and value that is hidden from all rows of its heads.
fn poison(problem: &Problem, biased: &[f64], seed: u64) -> Problem {
    use ruvector_attention::options::Layout;
    let case = &problem.case;
    let mut poisoned = problem.clone();
    let mut random = Random::new(seed);
    for b in 0..case.batch {
        for g in 0..case.kv_heads {
            for j in 0..case.keys {
                let heads = g * case.group..(g + 1) * case.group;
                let seen = heads.flat_map(|h| (0..case.queries).map(move |i| (h, i))).any(|(h, i)| {
                    let row = (b * case.heads() + h) * case.queries + i;
                    biased[row * case.keys + j] != f64::NEG_INFINITY
                });
                if seen {
                    continue;
                }
                let row = match case.options.layout {
                    Layout::Blhd if !case.three_dimensions => (b * case.keys + j) * case.kv_heads + g,
                    _ => (b * case.kv_heads + g) * case.keys + j,
                };
                for (data, size) in [(&mut poisoned.k, case.head_dim), (&mut poisoned.v, case.value_dim)] {
                    for value in &mut data[row * size..(row + 1) * size] {
                        *value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX][random.below(4)];
                    }
                }
            }
        }
    }
    poisoned
}

#[test]
fn results_are_the_same_for_every_number_of_threads() {
    for (causal, softcap, dropout, group) in [(false, 0.0, 0.0, 1), (true, 20.0, 0.0, 4), (true, 0.0, 0.2, 2)] {
        let problem = Case {
            batch: 2,
            kv_heads: 2,
            group,
            queries: 200,
            keys: 333,
            head_dim: 64,
            value_dim: 48,
            options: AttentionOptions {
                causal,
                softcap,
                dropout,
                weights: true,
                log_sum_exp: true,
                top_weights: Some(3),
                ..AttentionOptions::default()
            },
            ..Case::default()
        }
        .problem();
        for level in Level::available() {
            let alone = problem.run(Context::new(level, 1)).bits();
            for threads in [2, 3, 5] {
                let found = problem.run(Context::new(level, threads)).bits();
                assert!(found == alone, "{} on {threads} threads", level.name());
            }
        }
    }
}

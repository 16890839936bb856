//! Gradients of attention: against the oracle's, and the oracle's against differences.

use proptest::prelude::*;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::training::attention::{
    AttentionGradients, AttentionTensors, attention_backward, mask_backward,
};
use ruvector_attention::{Code, Context, Error, Tensor};
use ruvector_attention_oracle::training::attention_gradients;

use crate::support::{Case, MaskCase, Problem, Random, case, contexts, packed};
use crate::{assert_gradient, assert_gradient_of, largest};

/// The gradients of q, k, v, a float mask, the relative bias and the sinks.
type Gradients = [Vec<f32>; 6];

const NAMES: [&str; 6] = ["q", "k", "v", "mask", "relative bias", "sinks"];

/// Returns the problem with the options that gradients need.
fn differentiable(problem: Problem) -> Problem {
    let options =
        AttentionOptions { weights: false, top_weights: None, log_sum_exp: true, ..problem.case.options.clone() };
    Problem { case: Case { options, ..problem.case.clone() }, ..problem }
}

fn output_gradient(problem: &Problem) -> Vec<f32> {
    Random::new(problem.case.seed ^ 0x6a09).normals(problem.case.rows() * problem.case.value_dim)
}

/// Runs the forward and the backward pass.
fn try_backward(problem: &Problem, context: Context<'_>, gradient: &[f32]) -> Result<Gradients, Error> {
    let (case, forward, [q, k, v]) = (&problem.case, problem.run(context), problem.tensors());
    let shape = q.shape.with_last(case.value_dim);
    let heads = if case.three_dimensions { 1 } else { case.heads() };
    let tensors = AttentionTensors {
        gradient: Tensor::new("gradient", gradient, shape.dims())?,
        q,
        k,
        v,
        output: Tensor::new("output", &forward.output, shape.dims())?,
        log_sum_exp: Tensor::new("log_sum_exp", &forward.log_sum_exp, &[case.batch, heads, case.queries])?,
    };
    let (arrays, empty) = (problem.arrays(), |len: usize| vec![f32::NAN; len]);
    let mask = if let Some(Mask::Float(mask)) = arrays.mask { mask.data.len() } else { 0 };
    let mut found = [
        empty(q.data.len()),
        empty(k.data.len()),
        empty(v.data.len()),
        empty(mask),
        vec![0.0; arrays.relative_bias.map_or(0, |bias| bias.data.len())],
        empty(arrays.sinks.map_or(0, <[f32]>::len)),
    ];
    let [q, k, v, mask, relative_bias, sinks] = &mut found;
    let gradients = AttentionGradients {
        q,
        k,
        v,
        relative_bias: arrays.relative_bias.is_some().then_some(&mut relative_bias[..]),
        sinks: arrays.sinks.is_some().then_some(&mut sinks[..]),
    };
    attention_backward(context, tensors, &case.options, arrays, gradients)?;
    if let Some(Mask::Float(_)) = arrays.mask {
        mask_backward(context, tensors, &case.options, arrays, mask)?;
    }
    Ok(found)
}

fn backward(problem: &Problem, context: Context<'_>) -> Gradients {
    try_backward(problem, context, &output_gradient(problem)).unwrap()
}

fn expected(problem: &Problem) -> [Vec<f64>; 6] {
    let found =
        attention_gradients(problem.tensors(), &problem.case.options, problem.arrays(), &output_gradient(problem));
    [found.q, found.k, found.v, found.mask, found.relative_bias, found.sinks]
}

fn check(problem: Problem) {
    let problem = differentiable(problem);
    let expected = expected(&problem);
    for context in contexts() {
        // Slopes of scores are differences of products with the values, which may cancel.
        let case = &problem.case;
        let slope = (case.value_dim as f64).sqrt() / (1.0 - f64::from(case.options.dropout));
        let scale_of = |place: usize| match (place, &case.mask) {
            (0..3, _) => 0.2 * largest(&expected[2]),
            // Gradients of a mask with one value for all keys cancel altogether.
            (3, Some(mask)) if mask.dims.last() == Some(&1) => 0.1 * slope * (case.rows() as f64).sqrt(),
            _ => 0.3 * slope,
        };
        for (place, (found, expected)) in backward(&problem, context).iter().zip(&expected).enumerate() {
            let what = format!("{} {}", context.level.name(), NAMES[place]);
            assert_gradient_of(found, expected, scale_of(place), &what);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gradients_match_the_oracle(case in case()) {
        check(case.problem());
    }

    #[test]
    fn gradients_of_packed_sequences_match_the_oracle(problem in packed()) {
        check(problem);
    }
}

#[test]
fn the_oracle_matches_differences() {
    let options =
        AttentionOptions { causal: true, softcap: 2.0, dropout: 0.25, scale: Some(0.5), ..AttentionOptions::default() };
    let mask = Some(MaskCase { boolean: false, dims: vec![2, 1, 5, 7], shown: 0.9 });
    let case = Case {
        batch: 2,
        group: 2,
        kv_heads: 2,
        query_offset: Some(vec![1, 2]),
        mask,
        relative_heads: Some(4),
        sinks: true,
        options,
        ..Case::default()
    };
    let mut problem = differentiable(case.problem());
    // Steps on this grid are exact.
    let round = |values: &mut Vec<f32>| {
        values
            .iter_mut()
            .filter(|value| value.abs() < 100.0)
            .for_each(|value| *value = (*value * 1024.0).round() / 1024.0)
    };
    let Problem { q, k, v, float_mask, relative_bias, sinks, .. } = &mut problem;
    for values in [q, k, v, float_mask, relative_bias, sinks] {
        round(values);
    }
    let gradient = output_gradient(&problem);
    let loss = |problem: &Problem| -> f64 {
        problem.expected().output.iter().zip(&gradient).map(|(output, &gradient)| output * f64::from(gradient)).sum()
    };
    let arrays: [fn(&mut Problem) -> &mut Vec<f32>; 6] = [
        |problem| &mut problem.q,
        |problem| &mut problem.k,
        |problem| &mut problem.v,
        |problem| &mut problem.float_mask,
        |problem| &mut problem.relative_bias,
        |problem| &mut problem.sinks,
    ];
    for ((array, expected), name) in arrays.into_iter().zip(expected(&problem)).zip(NAMES) {
        for index in (0..expected.len()).step_by(expected.len().div_ceil(12)) {
            let step = 1.0 / 256.0;
            let at = |steps: f32| {
                let mut moved = problem.clone();
                array(&mut moved)[index] += steps * step;
                loss(&moved)
            };
            let step = f64::from(step);
            let slope = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step);
            assert!((slope - expected[index]).abs() < 1e-6, "{name} [{index}]: {} instead of {slope}", expected[index]);
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for (kv_heads, batch) in [(1, 1), (3, 2)] {
        let options = AttentionOptions { causal: true, softcap: 20.0, ..AttentionOptions::default() };
        let mask = Some(MaskCase { boolean: false, dims: vec![1, 1, 300, 1], shown: 1.0 });
        let case = Case {
            batch,
            kv_heads,
            group: 2,
            queries: 300,
            keys: 420,
            head_dim: 32,
            value_dim: 40,
            mask,
            relative_heads: Some(1),
            sinks: true,
            options,
            ..Case::default()
        };
        let problem = differentiable(case.problem());
        let bits = |threads: usize| {
            let found = backward(&problem, Context::new(Level::current(), threads));
            found.map(|values| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
        };
        assert!(bits(1) == bits(2) && bits(1) == bits(5));
    }
}

#[test]
fn hidden_keys_get_no_gradient_even_if_they_are_nan() {
    for (queries, keys) in [(5, 7), (70, 130)] {
        let options = AttentionOptions { causal: true, query_offset: Some(-2), ..AttentionOptions::default() };
        let lengths = vec![keys as i32 - 3];
        let case = Case { queries, keys, kv_lengths: Some(lengths), kv_heads: 2, options, ..Case::default() };
        let sound = differentiable(case.problem());
        let mut spoiled = sound.clone();
        // The last keys are beyond the length, and the first two rows see nothing.
        for head in 0..2 {
            for row in [&mut spoiled.k, &mut spoiled.v] {
                row[((head + 1) * keys - 3) * 8..(head + 1) * keys * 8].fill(f32::NAN);
            }
            spoiled.q[head * queries * 8..head * queries * 8 + 16].fill(f32::NAN);
        }
        for context in contexts() {
            let (found, expected) = (backward(&spoiled, context), backward(&sound, context));
            for ((found, expected), name) in found.iter().zip(&expected).zip(NAMES) {
                let doubles: Vec<f64> = expected.iter().map(|&value| value.into()).collect();
                assert_gradient(found, &doubles, name);
            }
            assert!(found[0][..16].iter().all(|&value| value == 0.0));
            assert!(found[1][(keys - 3) * 8..keys * 8].iter().all(|&value| value == 0.0));
        }
    }
}

#[test]
fn rows_with_nothing_but_huge_biases_keep_their_weights() {
    let mask = Some(MaskCase { boolean: false, dims: vec![1, 1, 5, 7], shown: 1.0 });
    for bias in [-1e30f32, -300.0, 900.0, f32::MIN / 2.0] {
        let mut problem = differentiable(Case { mask: mask.clone(), ..Case::default() }.problem());
        problem.float_mask.fill(bias);
        let mut exact = differentiable(Case::default().problem());
        if bias.abs() > 1e20 {
            // Scores have no digits beside such a bias.
            exact.q.fill(0.0);
        }
        for context in contexts() {
            let (found, expected) = (backward(&problem, context), expected(&problem));
            for ((found, expected), name) in found.iter().zip(&expected).zip(NAMES).take(3) {
                if bias.abs() < 1e3 {
                    let doubles: Vec<f64> = expected.to_vec();
                    let largest = doubles.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
                    // The scores themselves are rounded at the size of the bias.
                    let near = |(found, expected): (&f32, &f64)| (f64::from(*found) - expected).abs() < 2e-4 * largest;
                    assert!(found.iter().zip(&doubles).all(near), "{name} {bias}");
                }
            }
            let values: f32 = found[2].iter().sum();
            let gradients: f32 = output_gradient(&problem).iter().sum();
            assert!((values - gradients).abs() < 1e-4, "{bias}: {values} {gradients}");
        }
    }
}

#[test]
fn tensors_of_other_shapes_are_errors() {
    let problem = differentiable(Case::default().problem());
    let fault = |len: usize| try_backward(&problem, Context::default(), &vec![0.0; len]).unwrap_err();
    assert_eq!((fault(39).code, &*fault(39).argument), (Code::Shape, "gradient"));
    let [q, k, v] = problem.tensors();
    let tensors = AttentionTensors { gradient: q, q, k, v, output: q, log_sum_exp: q };
    let mut spare = vec![0.0; 56];
    let error =
        mask_backward(Context::default(), tensors, &problem.case.options, problem.arrays(), &mut spare).unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Option, "mask"));
    let [mut a, mut b, mut c] = [vec![0.0; 40], vec![0.0; 56], vec![0.0; 56]];
    let gradients = AttentionGradients { q: &mut a, k: &mut b, v: &mut c, relative_bias: None, sinks: None };
    let error = attention_backward(Context::default(), tensors, &problem.case.options, problem.arrays(), gradients)
        .unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Shape, "log_sum_exp"));
}

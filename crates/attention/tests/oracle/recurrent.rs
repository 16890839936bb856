//! Recurrent linear attention against the oracle, sequences split into several calls, and values that are not finite.

use proptest::prelude::*;
use ruvector_attention::linear::stream::{Stream, StreamConfig};
use ruvector_attention::linear::{
    LinearAttention, LinearConfig, LinearOptions, LinearOutputs, LinearRule, LinearTensors,
};
use ruvector_attention::{Code, Context, Result, Tensor};
use ruvector_attention_oracle::linear as oracle;

use crate::support::{Random, assert_near, contexts};

/// The sizes and options of a call.
#[derive(Debug, Clone)]
struct Case {
    rule: LinearRule,
    batch: usize,
    kv_heads: usize,
    group: usize,
    length: usize,
    size: usize,
    value_dim: usize,
    is_joined: bool,
    /// True for a decay of each row of the state.
    by_row: bool,
    /// True for one β for all heads.
    shares_beta: bool,
    has_state: bool,
    /// The mean absolute decay.
    decay: f32,
    seed: u64,
}

/// A case with its data, positions outermost, so that a split cuts each array once.
struct Problem {
    case: Case,
    attention: LinearAttention,
    /// q, k, v, decay and β, `[L][B][heads][size]`.
    arrays: [Vec<f32>; 5],
    state: Vec<f32>,
}

fn case() -> impl Strategy<Value = Case> {
    let rules = [LinearRule::Linear, LinearRule::Gated, LinearRule::Delta, LinearRule::GatedDelta];
    let length = prop_oneof![0..9usize, 60..150usize];
    let decay = prop_oneof![Just(0.1f32), Just(0.001), Just(5.0)];
    let sizes = (1..3usize, 1..3usize, 1..4usize, length, 1..20usize, 1..40usize);
    (prop::sample::select(rules.to_vec()), sizes, any::<[bool; 4]>(), decay, any::<u64>()).prop_map(
        |(rule, (batch, kv_heads, group, length, size, value_dim), flags, decay, seed)| {
            let [is_joined, by_row, shares_beta, has_state] = flags;
            Case {
                rule,
                batch,
                kv_heads,
                group,
                length,
                size,
                value_dim,
                is_joined,
                by_row,
                shares_beta,
                has_state,
                decay,
                seed,
            }
        },
    )
}

impl Case {
    /// The heads and sizes of q, k, v, decay and β; 0 heads if the rule does not have the array.
    fn widths(&self) -> [[usize; 2]; 5] {
        let &Self { rule, kv_heads, size, value_dim, .. } = self;
        let (gated, delta) = (
            rule != LinearRule::Linear && rule != LinearRule::Delta,
            matches!(rule, LinearRule::Delta | LinearRule::GatedDelta),
        );
        [
            [kv_heads * self.group, size],
            [kv_heads, size],
            [kv_heads, value_dim],
            [if gated { kv_heads } else { 0 }, if self.by_row { size } else { 1 }],
            [if delta && self.shares_beta { 1 } else { usize::from(delta) * kv_heads }, 1],
        ]
    }

    fn problem(self) -> Problem {
        let mut random = Random::new(self.seed);
        let mut arrays = self.widths().map(|[heads, size]| random.normals(self.length * self.batch * heads * size));
        // The delta rules need keys of length 1 to stay bounded.
        for key in arrays[1].chunks_mut(self.size) {
            let length = key.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-3);
            key.iter_mut().for_each(|x| *x /= length);
        }
        arrays[3].iter_mut().for_each(|x| *x = -x.abs() * self.decay);
        arrays[4].iter_mut().for_each(|x| *x = 1.0 / (1.0 + x.exp()));
        let state = random.normals(self.batch * self.kv_heads * self.size * self.value_dim);
        let config = LinearConfig {
            model_dim: self.kv_heads * self.group * self.size,
            num_heads: self.kv_heads * self.group,
            kv_heads: Some(self.kv_heads),
            rule: self.rule,
            ..LinearConfig::default()
        };
        Problem { attention: LinearAttention::new(config).unwrap(), case: self, arrays, state }
    }
}

/// Copies `[L][B][heads][size]` to `[B, L, heads · size]` or `[B, heads, L, size]`, or back.
fn arrange(
    data: &[f32],
    [batch, length]: [usize; 2],
    [heads, size]: [usize; 2],
    is_joined: bool,
    back: bool,
) -> Vec<f32> {
    let mut target = vec![0.0; data.len()];
    for t in 0..length {
        for b in 0..batch {
            for h in 0..heads {
                let from = ((t * batch + b) * heads + h) * size;
                let to = if is_joined { (b * length + t) * heads + h } else { (b * heads + h) * length + t } * size;
                let (from, to) = if back { (to, from) } else { (from, to) };
                target[to..to + size].copy_from_slice(&data[from..from + size]);
            }
        }
    }
    target
}

impl Problem {
    /// Calls `run` with the tensors of positions `first .. end`, and the given state.
    fn with_tensors<T>(
        &self,
        [first, end]: [usize; 2],
        state: Option<&[f32]>,
        run: impl FnOnce(LinearTensors<'_>) -> T,
    ) -> T {
        let Case { batch, kv_heads, size, value_dim, is_joined, .. } = self.case;
        let length = end - first;
        let mut widths = self.case.widths().into_iter();
        let parts = self.arrays.each_ref().map(|data| {
            let [heads, size] = widths.next().unwrap();
            let row = batch * heads * size;
            arrange(&data[first * row..end * row], [batch, length], [heads, size], is_joined, false)
        });
        let tensor = |index: usize| {
            let [heads, size] = self.case.widths()[index];
            let dims = match (is_joined, index, size) {
                (true, ..) => vec![batch, length, heads * size],
                (false, 3 | 4, 1) => vec![batch, heads, length],
                _ => vec![batch, heads, length, size],
            };
            (heads > 0).then(|| Tensor::new("x", &parts[index], &dims).unwrap())
        };
        let state = state.map(|state| Tensor::new("state", state, &[batch, kv_heads, size, value_dim]).unwrap());
        let [q, k, v] = [0, 1, 2].map(|index| tensor(index).unwrap());
        run(LinearTensors { decay: tensor(3), beta: tensor(4), state, ..LinearTensors::new([q, k, v]) })
    }

    /// The heads and sizes of output rows.
    fn output_width(&self) -> [usize; 2] {
        [self.case.kv_heads * self.case.group, self.case.value_dim]
    }

    fn state(&self) -> Option<&[f32]> {
        self.case.has_state.then_some(&self.state)
    }

    /// Runs positions `first .. end`. Returns the output, positions outermost, and the state.
    fn run(&self, context: Context<'_>, range: [usize; 2], state: Option<&[f32]>) -> [Vec<f32>; 2] {
        let [heads, size] = self.output_width();
        let length = range[1] - range[0];
        let mut output = vec![f32::NAN; self.case.batch * length * heads * size];
        let mut new_state = vec![f32::NAN; self.state.len()];
        self.with_tensors(range, state, |tensors| {
            let options = LinearOptions { return_state: true, ..LinearOptions::default() };
            let outputs = LinearOutputs { output: &mut output, state: Some(&mut new_state) };
            self.attention.forward(context, tensors, options, outputs).unwrap();
        });
        [arrange(&output, [self.case.batch, length], [heads, size], self.case.is_joined, true), new_state]
    }

    /// Runs the sequence in parts, each with the state of the one before.
    fn run_in_parts(&self, context: Context<'_>, parts: &[usize]) -> [Vec<f32>; 2] {
        let mut result = [Vec::new(), self.state().map_or(vec![0.0; self.state.len()], <[f32]>::to_vec)];
        let mut first = 0;
        for part in parts.iter().cycle() {
            let end = self.case.length.min(first + part);
            let [output, state] = self.run(context, [first, end], Some(&result[1]));
            result[0].extend(output);
            result[1] = state;
            first = end;
            if first == self.case.length {
                break;
            }
        }
        result
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |largest, value| largest.max(value.abs()))
}

fn to_doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_rule_matches_the_oracle_and_any_split_gives_the_same(case in case(), parts in prop::collection::vec(1..80usize, 1..4)) {
        let problem = case.problem();
        let Case { batch, length, is_joined, .. } = problem.case;
        let range = [0, length];
        let [output, state] = problem.with_tensors(range, problem.state(), |tensors| oracle::recurrent(&problem.attention, tensors));
        let output: Vec<f32> = output.into_iter().map(|value| value as f32).collect();
        let output = to_doubles(&arrange(&output, [batch, length], problem.output_width(), is_joined, true));
        for context in contexts() {
            let whole = problem.run(context, range, problem.state());
            let split = problem.run_in_parts(context, &parts);
            for ([found, found_state], what) in [(whole, "whole"), (split, "split")] {
                assert_near(&found, &output, 1e-5 * largest(&output), what);
                assert_near(&found_state, &state, 1e-5 * largest(&state), what);
            }
        }
    }
}

fn large(rule: LinearRule, by_row: bool) -> Problem {
    let case = Case {
        rule,
        batch: 1,
        kv_heads: 1,
        group: 2,
        length: 130,
        size: 6,
        value_dim: 9,
        is_joined: false,
        by_row,
        shares_beta: false,
        has_state: false,
        decay: 0.1,
        seed: 5,
    };
    case.problem()
}

#[test]
fn a_value_that_is_not_finite_reaches_no_earlier_position() {
    for rule in [LinearRule::Linear, LinearRule::Gated, LinearRule::Delta, LinearRule::GatedDelta] {
        for (array, poison) in [(0, f32::NAN), (1, f32::NAN), (2, f32::INFINITY), (2, f32::NAN), (3, f32::NAN)] {
            let mut problem = large(rule, true);
            let [heads, size] = problem.case.widths()[array];
            if heads == 0 {
                continue;
            }
            let clean = problem.run(Context::default(), [0, 130], None);
            problem.arrays[array][90 * heads * size] = poison;
            let [output, _] = problem.run(Context::default(), [0, 130], None);
            let row = problem.output_width().iter().product::<usize>();
            assert_near(&output[..90 * row], &to_doubles(&clean[0][..90 * row]), 1e-5, "earlier rows");
            assert!(output[90 * row..91 * row].iter().any(|value| !value.is_finite()), "{rule:?} {array}");
            if array == 0 {
                assert_near(&output[91 * row..], &to_doubles(&clean[0][91 * row..]), 1e-5, "later rows");
            }
        }
    }
}

#[test]
fn a_decay_of_minus_infinity_or_a_huge_one_forgets_everything_before() {
    for rule in [LinearRule::Gated, LinearRule::GatedDelta] {
        for by_row in [false, true] {
            for decay in [f32::NEG_INFINITY, f32::MIN, -1e5, -200.0] {
                let mut problem = large(rule, by_row);
                let size = problem.case.widths()[3][1];
                problem.arrays[3][80 * size..81 * size].fill(decay);
                let whole = problem.run(Context::default(), [0, 130], None);
                let alone = problem.run(Context::default(), [80, 130], None);
                let row = problem.output_width().iter().product::<usize>();
                assert_near(&whole[0][80 * row..], &to_doubles(&alone[0]), 1e-5, "after the decay");
                assert_near(&whole[1], &to_doubles(&alone[1]), 1e-5, "state");
            }
        }
    }
}

#[test]
fn sums_of_a_hundred_thousand_positions_keep_their_precision() {
    let config = LinearConfig { model_dim: 1, rule: LinearRule::Linear, scale: Some(1.0), ..LinearConfig::default() };
    let attention = LinearAttention::new(config).unwrap();
    let stream = Stream::new(StreamConfig::default()).unwrap();
    let count = 100_000;
    let (ones, tenths) = (vec![1.0; count], vec![0.1; count]);
    for step in [1, count] {
        stream.reset();
        let mut output = vec![0.0; count];
        for (first, output) in output.chunks_mut(step).enumerate() {
            let [q, v] =
                [&ones, &tenths].map(|data| Tensor::new("x", &data[first * step..][..step], &[1, 1, step, 1]).unwrap());
            let tensors = LinearTensors::new([q, q, v]);
            let outputs = LinearOutputs { output, state: None };
            stream.step(&attention, Context::default(), tensors, LinearOptions::default(), outputs).unwrap();
        }
        let expected = f64::from(0.1f32) * count as f64;
        assert!((f64::from(output[count - 1]) / expected - 1.0).abs() < 2e-6, "{}", output[count - 1]);
    }
}

fn fault<T: std::fmt::Debug>(result: Result<T>) -> (Code, String) {
    let error = result.unwrap_err();
    (error.code, error.argument.clone())
}

#[test]
fn options_and_tensors_of_another_rule_are_refused() {
    let base = LinearConfig { model_dim: 8, num_heads: 4, ..LinearConfig::default() };
    let recurrent = LinearConfig { rule: LinearRule::GatedDelta, ..base.clone() };
    for (config, argument) in [
        (LinearConfig { kv_heads: Some(2), ..base.clone() }, "kv_heads"),
        (LinearConfig { scale: Some(1.0), ..base.clone() }, "scale"),
        (LinearConfig { feature_dim: Some(2), ..recurrent.clone() }, "feature_dim"),
        (LinearConfig { feature_map: Some(Default::default()), ..recurrent.clone() }, "feature_map"),
        (LinearConfig { seed: 1, ..recurrent.clone() }, "seed"),
        (LinearConfig { kv_heads: Some(3), ..recurrent.clone() }, "kv_heads"),
        (LinearConfig { kv_heads: Some(0), ..recurrent.clone() }, "kv_heads"),
        (LinearConfig { scale: Some(f32::NAN), ..recurrent.clone() }, "scale"),
    ] {
        assert_eq!(fault(LinearAttention::new(config)), (Code::Option, argument.into()));
    }
    let problem = large(LinearRule::GatedDelta, false);
    let run = |change: &dyn Fn(&mut LinearTensors<'_>), options: LinearOptions| {
        problem.with_tensors([0, 3], None, |mut tensors| {
            change(&mut tensors);
            let mut output = vec![0.0; 2 * 3 * 9];
            let outputs = LinearOutputs { output: &mut output, state: None };
            fault(problem.attention.forward(Context::default(), tensors, options, outputs))
        })
    };
    let none = LinearOptions::default();
    assert_eq!(run(&|tensors| tensors.decay = None, none), (Code::Option, "decay".into()));
    assert_eq!(run(&|tensors| tensors.beta = None, none), (Code::Option, "beta".into()));
    assert_eq!(run(&|tensors| tensors.beta = Some(tensors.v), none), (Code::Shape, "beta".into()));
    assert_eq!(run(&|tensors| tensors.decay = Some(tensors.v), none), (Code::Shape, "decay".into()));
    assert_eq!(run(&|tensors| tensors.state = Some(tensors.v), none), (Code::Shape, "state".into()));
    assert_eq!(run(&|tensors| tensors.k = tensors.q, none), (Code::Shape, "v".into()));
    assert_eq!(run(&|tensors| tensors.kv_lengths = Some(&[3]), none), (Code::Option, "kv_lengths".into()));
    assert_eq!(run(&|_| {}, LinearOptions { causal: Some(false), ..none }), (Code::Option, "causal".into()));
    assert_eq!(run(&|_| {}, LinearOptions { return_state: true, ..none }), (Code::Shape, "state".into()));
}

//! Hyperbolic space and attention: against the oracle, model against model, and at the boundary.

use proptest::prelude::*;
use ruvector_attention::hyperbolic::functions::FunctionOptions;
use ruvector_attention::hyperbolic::{HyperbolicAttention, HyperbolicOptions};
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Error, Tensor};
use ruvector_attention_oracle::hyperbolic::{Space, attention};

use crate::support::{Case, Problem, Random, assert_near, case, contexts, from_json};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A space with its attention and its oracle.
#[derive(Debug, Clone, Copy)]
struct Setup {
    space: Space,
    heads: usize,
    temperature: f64,
    is_tangent: bool,
}

impl Setup {
    fn new(c: f64, lorentz: bool) -> Self {
        Self { space: Space { c, lorentz }, heads: 1, temperature: 1.0, is_tangent: false }
    }

    fn attention(&self) -> HyperbolicAttention {
        let Self { space, heads, temperature, is_tangent } = self;
        let manifold = if space.lorentz { "lorentz" } else { "poincare" };
        let inputs = if *is_tangent { "tangent" } else { "manifold" };
        HyperbolicAttention::new(from_json(&format!(
            r#"{{"curvature":{},"numHeads":{heads},"temperature":{temperature},"manifold":"{manifold}","inputs":"{inputs}"}}"#,
            -space.c
        )))
        .unwrap()
    }

    fn extra(&self) -> usize {
        usize::from(self.space.lorentz)
    }

    /// Draws a point of `dims` dimensions, rounded to single precision, at a distance from the center of `reach` times
    /// the ball's radius.
    fn point(&self, random: &mut Random, dims: usize, reach: f64) -> Vec<f32> {
        let direction: Vec<f64> = random.normals(dims).into_iter().map(f64::from).collect();
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-9);
        let ball: Vec<f64> = direction.iter().map(|x| x * reach / length / self.space.c.sqrt()).collect();
        let point = if self.space.lorentz { self.space.to_lorentz(&ball) } else { ball };
        point.into_iter().map(|x| x as f32).collect()
    }

    /// Draws points, many of them near the boundary: their gaps are powers of 10 with exponents from `-decades` to 0.
    fn points(&self, random: &mut Random, count: usize, dims: usize, decades: f64) -> Vec<f32> {
        (0..count)
            .flat_map(|_| {
                let reach = 1.0 - 10f64.powf(-decades * random.uniform());
                self.point(random, dims, reach)
            })
            .collect()
    }

    fn call(&self, options: &str, inputs: &[(&[f32], &[usize])], output: usize) -> Result<Vec<f32>, Error> {
        let options: FunctionOptions = from_json(options);
        let names = options.function.names();
        let tensor =
            |index: usize| inputs.get(index).map(|(data, dims)| Tensor::new(names[index], data, dims).unwrap());
        let mut result = vec![f32::NAN; output];
        self.attention().apply(Context::default(), &options, [0, 1, 2].map(tensor), &mut result).map(|()| result)
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn setups() -> impl Strategy<Value = Setup> {
    (prop::sample::select(vec![0.1, 1.0, 2.5]), any::<bool>()).prop_map(|(c, lorentz)| Setup::new(c, lorentz))
}

/// Asserts equality to within `tolerance` times the larger of 1 and the vector's length: an error in one coordinate
/// affects all others.
#[track_caller]
fn assert_vector(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let length = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let error = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum::<f64>().sqrt();
    assert!(error <= tolerance * length.max(1.0), "{what}: {found:?} instead of {expected:?}");
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn every_function_matches_the_oracle(setup in setups(), dims in 1usize..=20, seed in any::<u64>()) {
        let (space, size) = (setup.space, dims + setup.extra());
        let mut random = Random::new(seed);
        // Far enough from the boundary that the oracle's own rounding does not matter.
        let p = setup.points(&mut random, 1, dims, 2.0);
        let q = setup.points(&mut random, 1, dims, 2.0);
        let v: Vec<f32> = random.normals(dims).iter().map(|x| x * 0.3 / space.c.sqrt() as f32).collect();
        let exact = |x: &[f32]| space.on_manifold(&doubles(x));
        let (x, y, u) = (exact(&p), exact(&q), doubles(&v));
        let call = |name: &str, inputs: &[&[f32]], output: usize| {
            let shapes: Vec<[usize; 1]> = inputs.iter().map(|input| [input.len()]).collect();
            let inputs: Vec<(&[f32], &[usize])> = inputs.iter().zip(&shapes).map(|(data, dims)| (*data, &dims[..])).collect();
            setup.call(&format!(r#"{{"function":"{name}","factor":-0.7}}"#), &inputs, output).unwrap()
        };
        let distance = space.distance(&x, &y);
        prop_assert!((f64::from(call("distance", &[&p, &q], 1)[0]) - distance).abs() <= 1e-6 * (distance + 1e-3));
        let log = space.log(&x, &y);
        assert_vector(&call("logMap", &[&p, &q], size), &log, 2e-6, "logMap");
        assert_vector(&call("expMap0", &[&v], size), &space.exp_origin(&u), 2e-7, "expMap0");
        assert_vector(&call("logMap0", &[&p], dims), &space.log_origin(&x), 2e-6, "logMap0");
        // A tangent vector half as long as the one that leads to q.
        let tangent: Vec<f32> = log.iter().map(|x| *x as f32 * 0.5).collect();
        let exact_tangent = space.on_tangent(&x, &doubles(&tangent));
        let halfway = space.exp(&x, &exact_tangent);
        assert_vector(&call("expMap", &[&p, &tangent], size), &halfway, 1e-5, "expMap");
        let transported = space.transport(&x, &y, &exact_tangent);
        assert_vector(&call("parallelTransport", &[&p, &q, &tangent], size), &transported, 2e-5, "parallelTransport");
        let ball = |x: &[f64]| if space.lorentz { space.to_poincare(x) } else { x.to_vec() };
        let back = |x: &[f64]| if space.lorentz { space.to_lorentz(x) } else { x.to_vec() };
        assert_vector(&call("mobiusAdd", &[&p, &q], size), &back(&space.add(&ball(&x), &ball(&y))), 1e-6, "mobiusAdd");
        assert_vector(&call("mobiusScale", &[&p], size), &back(&space.scale(-0.7, &ball(&x))), 1e-6, "mobiusScale");
        assert_vector(&call("projectToBall", &[&p], size), &x, 1e-6, "projectToBall");
        if space.lorentz {
            assert_vector(&call("toPoincare", &[&p], dims), &space.to_poincare(&x), 2e-7, "toPoincare");
        } else {
            assert_vector(&call("toLorentz", &[&p], dims + 1), &space.to_lorentz(&x), 2e-7, "toLorentz");
        }
    }

    #[test]
    fn logarithms_undo_exponentials(setup in setups(), dims in 1usize..=12, seed in any::<u64>()) {
        let mut random = Random::new(seed);
        // Single precision represents tangent vectors of the hyperboloid well only if its coordinates are small.
        let decades = if setup.space.lorentz { 0.5 } else { 2.0 };
        let p = setup.points(&mut random, 1, dims, decades);
        let q = setup.points(&mut random, 1, dims, decades);
        let size = [p.len()];
        let tangent = setup.call(r#"{"function":"logMap"}"#, &[(&p, &size), (&q, &size)], p.len()).unwrap();
        let point = setup.call(r#"{"function":"expMap"}"#, &[(&p, &size), (&tangent, &size)], p.len()).unwrap();
        let again = setup.call(r#"{"function":"logMap"}"#, &[(&p, &size), (&point, &size)], p.len()).unwrap();
        assert_vector(&point, &doubles(&q), 1e-5, "exp(log)");
        assert_vector(&again, &doubles(&tangent), 1e-4, "log(exp)");
    }
}

/// An attention problem converted to points.
#[derive(Debug, Clone)]
struct Attention {
    setup: Setup,
    problem: Problem,
    options: HyperbolicOptions,
}

impl Attention {
    fn new(setup: Setup, case: &Case, decades: f64) -> Self {
        let options = HyperbolicOptions {
            causal: case.options.causal,
            query_offset: case.options.query_offset,
            window: case.options.window,
            weights: true,
        };
        let inner = AttentionOptions {
            causal: case.options.causal,
            query_offset: case.options.query_offset,
            window: case.options.window,
            ..AttentionOptions::default()
        };
        let case = Case { kv_heads: case.kv_heads * case.group, group: 1, options: inner, ..case.clone() };
        let setup = Setup { heads: case.kv_heads, ..setup };
        let mut problem = case.problem();
        let mut random = Random::new(case.seed ^ 77);
        let mut draw = |length: usize, dims: usize| {
            let count = case.batch * case.kv_heads * length;
            if setup.is_tangent {
                random.normals(count * dims)
            } else {
                setup.points(&mut random, count, dims, decades)
            }
        };
        problem.q = draw(case.queries, case.head_dim);
        problem.k = draw(case.keys, case.head_dim);
        problem.v = draw(case.keys, case.value_dim);
        if !setup.is_tangent {
            problem.case.head_dim += setup.extra();
            problem.case.value_dim += setup.extra();
        }
        Self { setup, problem, options }
    }

    fn run(&self, context: Context<'_>) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let case = &self.problem.case;
        let mut output = vec![f32::NAN; case.rows() * case.value_dim];
        let mut weights = vec![f32::NAN; case.rows() * case.keys];
        let attention = self.setup.attention();
        let (inputs, arrays) = (self.problem.tensors(), self.problem.arrays());
        attention.forward(context, inputs, &self.options, arrays, &mut output, Some(&mut weights))?;
        Ok((output, weights))
    }

    fn expected(&self) -> (Vec<f64>, Vec<f64>) {
        let Setup { space, heads, temperature, is_tangent } = self.setup;
        let options = &self.problem.case.options;
        attention(space, heads, temperature, is_tangent, self.problem.tensors(), options, self.problem.arrays())
    }

    fn check(&self, tolerance: f64) {
        let (output, weights) = self.expected();
        for context in contexts() {
            let found = self.run(context).unwrap();
            let level = context.level.name();
            assert_near(&found.1, &weights, tolerance, &format!("{level} weights"));
            let size = self.problem.case.value_dim.max(1);
            for (found, expected) in found.0.chunks(size).zip(output.chunks(size)) {
                assert_vector(found, expected, tolerance, &format!("{level} output"));
            }
        }
    }
}

fn attentions(decades: f64) -> impl Strategy<Value = Attention> {
    let kind = (any::<bool>(), prop::sample::select(vec![0.5, 1.0, 3.0]));
    (setups(), kind, case()).prop_map(move |(setup, (is_tangent, temperature), mut case)| {
        (case.queries, case.keys) = (case.queries.min(150), case.keys.min(200));
        if case.mask.as_ref().is_some_and(|mask| mask.dims.iter().any(|&dim| dim > 150)) {
            case.mask = None;
        }
        case.kv_lengths.iter_mut().flatten().for_each(|length| *length = (*length).min(case.keys as i32));
        (case.relative_heads, case.sinks) = (None, false);
        case.head_dim = case.head_dim.min(20);
        case.value_dim = case.value_dim.min(20);
        Attention::new(Setup { is_tangent, temperature, ..setup }, &case, decades)
    })
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn attention_matches_the_oracle(attention in attentions(1.5)) {
        attention.check(2e-5);
    }

    #[test]
    fn the_contents_of_hidden_keys_and_values_do_not_matter(attention in attentions(1.0), seed in any::<u64>()) {
        let (_, weights) = attention.expected();
        let case = &attention.problem.case;
        let mut poisoned = attention.clone();
        let mut random = Random::new(seed);
        for b in 0..case.batch {
            for (h, j) in (0..case.kv_heads).flat_map(|h| (0..case.keys).map(move |j| (h, j))) {
                let row = |i: usize| ((b * case.kv_heads + h) * case.queries + i) * case.keys + j;
                if (0..case.queries).any(|i| weights[row(i)] > 0.0) {
                    continue;
                }
                for (data, size) in
                    [(&mut poisoned.problem.k, case.head_dim), (&mut poisoned.problem.v, case.value_dim)]
                {
                    for value in &mut data[((b * case.kv_heads + h) * case.keys + j) * size..][..size] {
                        *value = [f32::NAN, f32::INFINITY, -3e38][random.below(3)];
                    }
                }
            }
        }
        // A bias of −1e30 leaves no weight, but does not hide the key.
        prop_assume!(!attention.problem.float_mask.contains(&-1e30));
        for context in contexts() {
            prop_assert_eq!(poisoned.run(context).unwrap(), attention.run(context).unwrap());
        }
    }
}

#[test]
fn the_models_agree() {
    for (c, dims) in [(1.0, 3), (0.3, 16), (2.0, 64)] {
        let ball = Setup::new(c, false);
        let lorentz = Setup::new(c, true);
        let case = Case { kv_heads: 2, queries: 20, keys: 70, head_dim: dims, value_dim: dims, ..Case::default() };
        let in_ball = Attention::new(ball, &case, 1.0);
        let mut on_hyperboloid = Attention::new(lorentz, &case, 1.0);
        let lift = |data: &[f32]| -> Vec<f32> {
            let count = data.len() / dims;
            ball.call(r#"{"function":"toLorentz"}"#, &[(data, &[count, dims])], count * (dims + 1)).unwrap()
        };
        for (to, from) in [
            (&mut on_hyperboloid.problem.q, &in_ball.problem.q),
            (&mut on_hyperboloid.problem.k, &in_ball.problem.k),
            (&mut on_hyperboloid.problem.v, &in_ball.problem.v),
        ] {
            *to = lift(from);
        }
        for context in contexts() {
            let (expected, expected_weights) = in_ball.run(context).unwrap();
            let (found, weights) = on_hyperboloid.run(context).unwrap();
            assert_near(&weights, &doubles(&expected_weights), 2e-6, "weights");
            assert_near(&found, &doubles(&lift(&expected)), 1e-5, "points");
        }
    }
}

#[test]
fn distances_at_the_boundary_keep_their_accuracy() {
    // Computed from the formula with 60 digits; points are (x, y) in single precision.
    let cases: [([f32; 2], [f32; 2], f64); 6] = [
        ([0.99999, 0.0], [0.99998, 0.0], 0.693_152_187_387_708_7),
        ([0.99999, 0.0], [0.99999, 9.9999e-6], 0.961_208_214_801_102_1),
        ([0.99999, 0.0], [0.999_985_5, 0.002_999_965_6], 11.407822911366012),
        ([0.99999, 0.0], [-0.99999, 0.0], 24.409_421_055_585_36),
        ([0.540_248_3, 0.841_386_85], [0.540_231_47, 0.841_397_64], 0.19943250777018472),
        ([-0.416_142_67, 0.909_288_35], [0.0, 1e-4], 12.206945181580062),
    ];
    let setup = Setup::new(1.0, false);
    for (a, b, expected) in cases {
        let found = setup.call(r#"{"function":"distance"}"#, &[(&a, &[2]), (&b, &[2])], 1).unwrap()[0];
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-6, "{a:?} {b:?}: {found} instead of {expected}");
        // Two keys: the ratio of their weights gives the difference of their distances.
        let attention = HyperbolicAttention::new(from_json(r#"{"curvature":-1}"#)).unwrap();
        for context in contexts() {
            let keys: Vec<f32> = a.into_iter().chain(b).collect();
            let (mut output, mut weights) = ([0.0; 2], [0.0; 2]);
            let tensors = [
                Tensor::new("q", &a, &[1, 1, 2]).unwrap(),
                Tensor::new("k", &keys, &[1, 2, 2]).unwrap(),
                Tensor::new("v", &keys, &[1, 2, 2]).unwrap(),
            ];
            let options = HyperbolicOptions::default();
            let arrays = Default::default();
            attention.forward(context, tensors, &options, arrays, &mut output, Some(&mut weights)).unwrap();
            let ratio = f64::from(weights[0] / weights[1]).ln();
            assert!((ratio / expected - 1.0).abs() < 1e-4, "{a:?} {b:?}: {ratio} instead of {expected}");
        }
    }
}

#[test]
fn a_row_that_sees_one_key_equals_its_value_wherever_the_key_is() {
    for (lorentz, decades, tolerance) in [(false, 5.0, 3e-7), (true, 2.0, 2e-6)] {
        let options = AttentionOptions { causal: true, window: Some([0, 0]), ..AttentionOptions::default() };
        let case = Case { queries: 150, keys: 150, head_dim: 9, value_dim: 9, options, ..Case::default() };
        let attention = Attention::new(Setup::new(1.0, lorentz), &case, decades);
        for context in contexts() {
            let (output, _) = attention.run(context).unwrap();
            let size = attention.problem.case.value_dim;
            for (found, value) in output.chunks(size).zip(attention.problem.v.chunks(size)) {
                assert_vector(found, &doubles(value), tolerance, context.level.name());
            }
        }
    }
}

#[test]
fn midpoints_of_near_values_at_the_boundary_are_exact() {
    let setup = Setup::new(1.0, false);
    let mut random = Random::new(5);
    for reach in [0.9, 0.99, 0.999, 0.9999] {
        let centre = setup.point(&mut random, 4, reach);
        let gap = (1.0 - reach) as f32;
        let mut attention =
            Attention::new(setup, &Case { queries: 3, keys: 200, head_dim: 4, value_dim: 4, ..Case::default() }, 0.5);
        for value in attention.problem.v.chunks_mut(4) {
            value.iter_mut().zip(&centre).for_each(|(v, c)| *v = c + random.normal() * gap * 0.1);
        }
        attention.check(2e-6);
    }
}

#[test]
fn results_are_the_same_for_every_number_of_threads() {
    for is_tangent in [false, true] {
        let case =
            Case { batch: 2, kv_heads: 3, queries: 130, keys: 333, head_dim: 64, value_dim: 48, ..Case::default() };
        let attention = Attention::new(Setup { is_tangent, ..Setup::new(1.0, is_tangent) }, &case, 2.0);
        for level in Level::available() {
            let alone = attention.run(Context::new(level, 1)).unwrap();
            for threads in [2, 5] {
                assert!(attention.run(Context::new(level, threads)).unwrap() == alone, "{} on {threads}", level.name());
            }
        }
    }
}

#[test]
fn a_row_without_a_visible_key_is_the_origin() {
    for (lorentz, is_tangent) in [(false, false), (true, false), (false, true), (true, true)] {
        let setup = Setup { is_tangent, ..Setup::new(4.0, lorentz) };
        let case =
            Case { kv_lengths: Some(vec![0]), queries: 2, keys: 3, head_dim: 2, value_dim: 2, ..Case::default() };
        let (output, weights) = Attention::new(setup, &case, 1.0).run(Context::default()).unwrap();
        assert_eq!(weights, [0.0; 6]);
        let origin: &[f32] = if lorentz && !is_tangent { &[0.5, 0.0, 0.0] } else { &[0.0, 0.0] };
        assert_eq!(output, origin.repeat(2));
    }
}

#[test]
fn a_point_off_the_manifold_is_reported_with_argument_row_and_distance() {
    let ball = Setup::new(4.0, false);
    let points = [0.1, 0.2, 0.0, 0.6, 0.0, 0.0];
    let error = ball.call(r#"{"function":"distance"}"#, &[(&[0.0; 6], &[3, 2]), (&points, &[3, 2])], 3).unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Domain, "b"));
    assert_eq!(error.actual, "row 1: 0.2000 of the radius beyond it");
    let lorentz = Setup::new(1.0, true);
    let error = lorentz.call(r#"{"function":"logMap0"}"#, &[(&[2.0, 0.0], &[2])], 1).unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Domain, "point"));
    assert_eq!(error.actual, "row 0: 1.0000 of that coordinate off it");
    let mut attention = Attention::new(Setup::new(1.0, false), &Case { kv_heads: 2, ..Case::default() }, 1.0);
    attention.problem.k[(7 + 3) * 8] = f32::NAN;
    let error = attention.run(Context::default()).unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Domain, "k"));
    assert_eq!(error.actual, "batch 0, row 3, head 1: NaN of the radius beyond it");
}

#[test]
fn points_just_outside_the_ball_are_moved_inside() {
    let setup = Setup::new(1.0, false);
    let found = setup.call(r#"{"function":"distance"}"#, &[(&[1.0009, 0.0], &[2]), (&[0.0, 0.0], &[2])], 1).unwrap();
    // Clamped to 1 − 2⁻²⁵ of the radius.
    assert!((f64::from(found[0]) - 2.0 * (1.0 - 0.5f64.powi(25)).atanh()).abs() < 1e-5, "{}", found[0]);
    let projected = setup.call(r#"{"function":"projectToBall"}"#, &[(&[30.0, 40.0], &[2])], 2).unwrap();
    assert_vector(&projected, &[0.6 * (1.0 - 1e-5), 0.8 * (1.0 - 1e-5)], 1e-7, "projected");
}

#[test]
fn distances_from_the_origin_never_decrease_toward_the_boundary() {
    let setup = Setup::new(1.0, false);
    let lengths = (0..4000).map(|step| 1.0 - 1e-3 + 5e-7 * step as f32).chain([1.0 - 1e-6, 1.0 - 6e-8, 1.0, 1.0009]);
    let mut lengths: Vec<f32> = lengths.filter(|&length| length <= 1.0009).collect();
    lengths.sort_by(f32::total_cmp);
    let points: Vec<f32> = lengths.iter().flat_map(|length| [length * 0.6, length * 0.8]).collect();
    // In doubles, because the coordinates themselves are rounded.
    let radius = |point: &[f32]| f64::from(point[0]).hypot(f64::from(point[1]));
    let shape = [lengths.len(), 2];
    let function = r#"{"function":"distance"}"#;
    let found = setup.call(function, &[(&points, &shape), (&[0.0, 0.0], &[2])], lengths.len()).unwrap();
    let mut pairs: Vec<_> = points.chunks_exact(2).map(radius).zip(found).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(pairs.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    let [inside, boundary] =
        [1.0 - 1e-6, 1.0].map(|x: f32| setup.call(function, &[(&[x, 0.0], &[2]), (&[0.0, 0.0], &[2])], 1).unwrap()[0]);
    assert!(inside < boundary, "{inside} {boundary}");
}

#[test]
fn the_hyperboloid_is_exact_until_its_coordinates_overflow() {
    for curvature in [0.25f32, 1.0, 4.0] {
        let (setup, root) = (Setup::new(curvature.into(), true), curvature.sqrt());
        for step in 1..=88 {
            let length = step as f32 / root;
            let tangent = [0.6 * length, 0.0, -0.8 * length];
            let point = setup.call(r#"{"function":"expMap0"}"#, &[(&tangent, &[3])], 4).unwrap();
            let found = setup.call(r#"{"function":"logMap0"}"#, &[(&point, &[4])], 3).unwrap();
            for (found, given) in found.iter().zip(tangent) {
                assert!((found - given).abs() <= 2e-6 * length.max(1.0), "{found} instead of {given}");
            }
        }
        let error = setup.call(r#"{"function":"expMap0"}"#, &[(&[0.0, 91.0 / root], &[2])], 3).unwrap_err();
        assert_eq!((error.code, &*error.argument), (Code::Domain, "tangent"));
        assert_eq!(error.actual, "row 0, which leads beyond them");
    }
}

#[test]
fn shapes_and_options_that_do_not_fit_are_reported_by_name() {
    let setup = Setup::new(1.0, true);
    let fault = |inputs: &[(&[f32], &[usize])]| {
        let error = setup.call(r#"{"function":"distance"}"#, inputs, 2).unwrap_err();
        (error.code, error.argument.clone())
    };
    let point = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    assert_eq!(fault(&[(&point[..0], &[2, 0]), (&point[..4], &[2, 2])]), (Code::Shape, "a".into()));
    assert_eq!(fault(&[(&point[..4], &[2, 2]), (&point, &[2, 3])]), (Code::Shape, "b".into()));
    assert_eq!(fault(&[(&point[..4], &[2, 2]), (&point, &[3, 2])]), (Code::Shape, "b".into()));
}

#[test]
fn distances_and_midpoints_match_the_oracle() {
    for (c, lorentz) in [(1.0, false), (0.7, false), (1.0, true), (1.3, true)] {
        let setup = Setup::new(c, lorentz);
        let attention = setup.attention();
        let mut random = Random::new(11);
        let size = 5 + setup.extra();
        let points: Vec<Vec<f32>> = (0..4).map(|index| setup.point(&mut random, 5, 0.2 * f64::from(index))).collect();
        let wide: Vec<Vec<f64>> = points.iter().map(|point| point.iter().map(|&x| f64::from(x)).collect()).collect();
        let data = points.concat();
        let all = Tensor::new("a", &data, &[4, size]).unwrap();
        let some = Tensor::new("b", &data[..3 * size], &[3, size]).unwrap();

        let mut distances = [f32::NAN; 12];
        attention.distance_matrix(Context::default(), all, some, &mut distances).unwrap();
        for (index, &distance) in distances.iter().enumerate() {
            let expected = setup.space.distance(&wide[index / 3], &wide[index % 3]);
            assert!((f64::from(distance) - expected).abs() < 2e-3, "{distance} and {expected}");
        }

        let weights = [1.0, 0.0, 2.0, 0.5, 0.25, 3.0, 0.0, 1.0];
        let given = Tensor::new("weights", &weights, &[2, 4]).unwrap();
        let mut middles = vec![f32::NAN; 2 * size];
        attention.midpoint(Context::default(), all, Some(given), &mut middles).unwrap();
        for (middle, weights) in middles.chunks(size).zip(weights.chunks(4)) {
            let weights: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
            let expected = setup.space.midpoint(&wide, &weights, size);
            for (a, b) in middle.iter().zip(&expected) {
                assert!((f64::from(*a) - b).abs() < 1e-4, "{middle:?} and {expected:?}");
            }
        }
        let mut middle = vec![f32::NAN; size];
        attention.midpoint(Context::default(), all, None, &mut middle).unwrap();
        let expected = setup.space.midpoint(&wide, &[1.0; 4], size);
        assert!(middle.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4));
    }
}

#[test]
fn invalid_arguments_of_distances_and_midpoints_are_rejected() {
    let attention = Setup::new(1.0, false).attention();
    let data = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
    let points = Tensor::new("points", &data, &[3, 2]).unwrap();
    let refused = |tensor: Tensor<'_>, weights: Option<Tensor<'_>>| {
        attention.midpoint(Context::default(), tensor, weights, &mut [0.0; 2]).unwrap_err().code
    };
    assert_eq!(refused(Tensor::new("points", &data, &[6]).unwrap(), None), Code::Shape);
    assert_eq!(refused(points, Some(Tensor::new("weights", &data[..2], &[1, 2]).unwrap())), Code::Shape);
    for wrong in [-1.0, f32::NAN, f32::INFINITY] {
        let weights = [1.0, wrong, 1.0];
        assert_eq!(refused(points, Some(Tensor::new("weights", &weights, &[1, 3]).unwrap())), Code::Domain);
    }
    let outside = [0.1, 0.2, 3.0, 0.4];
    let outside = Tensor::new("b", &outside, &[2, 2]).unwrap();
    let error = attention.distance_matrix(Context::default(), points, outside, &mut [0.0; 6]).unwrap_err();
    assert_eq!(error.code, Code::Domain);
}

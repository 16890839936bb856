//! Linear attention against the oracle, and properties promised by its definition.

use proptest::prelude::*;
use ruvector_attention::attention::{Arrays, Outputs, scaled_dot_product_attention};
use ruvector_attention::linear::stream::{Stream, StreamConfig};
use ruvector_attention::linear::{LinearAttention, LinearOptions, LinearOutputs, LinearTensors};
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Result, Tensor};
use ruvector_attention_oracle::{self as reference, linear as oracle};

use crate::support::{Random, assert_near, contexts, from_json};

const MAPS: [&str; 3] = ["elu", "relu", "favor+"];

/// A call: the attention's configuration, the shapes and the options.
#[derive(Debug, Clone)]
struct Case {
    map: &'static str,
    /// The number of FAVOR+ features.
    features: usize,
    batch: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    size: usize,
    value_dim: usize,
    three_dimensions: bool,
    causal: bool,
    lengths: bool,
    /// The factor of keys and queries.
    spread: f32,
    seed: u64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            map: "elu",
            features: 32,
            batch: 1,
            heads: 1,
            queries: 5,
            keys: 5,
            size: 8,
            value_dim: 8,
            three_dimensions: false,
            causal: false,
            lengths: false,
            spread: 1.0,
            seed: 1,
        }
    }
}

/// A case with its data.
#[derive(Debug, Clone)]
struct Problem {
    case: Case,
    attention: LinearAttention,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    lengths: Option<Vec<i32>>,
}

impl Case {
    fn config(&self) -> String {
        let Self { map, heads, seed, .. } = self;
        let features = if *map == "favor+" { format!(r#""featureDim":{},"#, self.features) } else { String::new() };
        let model_dim = heads * self.size;
        format!(r#"{{"modelDim":{model_dim},"numHeads":{heads},{features}"featureMap":"{map}","seed":{}}}"#, seed >> 11)
    }

    fn problem(&self) -> Problem {
        let mut random = Random::new(self.seed);
        let pairs = self.batch * self.heads;
        let spread = |mut values: Vec<f32>| {
            values.iter_mut().for_each(|value| *value *= self.spread);
            values
        };
        let q = spread(random.normals(pairs * self.queries * self.size));
        let k = spread(random.normals(pairs * self.keys * self.size));
        let v = random.normals(pairs * self.keys * self.value_dim);
        let mut length = || random.below(self.keys + 1) as i32;
        let lengths = self.lengths.then(|| (0..self.batch).map(|_| length()).collect());
        let attention = LinearAttention::new(from_json(&self.config())).unwrap();
        Problem { case: self.clone(), attention, q, k, v, lengths }
    }

    fn dims(&self, length: usize, size: usize) -> Vec<usize> {
        match self.three_dimensions {
            true => vec![self.batch, length, self.heads * size],
            false => vec![self.batch, self.heads, length, size],
        }
    }
}

/// Runs one step of the rule 'kernel'.
fn advance(
    stream: &Stream,
    attention: &LinearAttention,
    context: Context<'_>,
    tensors: [Tensor<'_>; 3],
    output: &mut [f32],
) -> Result<()> {
    let outputs = LinearOutputs { output, state: None };
    stream.step(attention, context, LinearTensors::new(tensors), LinearOptions::default(), outputs)
}

impl Problem {
    fn tensors(&self) -> [Tensor<'_>; 3] {
        let Case { queries, keys, size, value_dim, .. } = self.case;
        [("q", &self.q, queries, size), ("k", &self.k, keys, size), ("v", &self.v, keys, value_dim)]
            .map(|(name, data, length, size)| Tensor::new(name, data, &self.case.dims(length, size)).unwrap())
    }

    fn expected(&self) -> Vec<f64> {
        oracle::linear_attention(&self.attention, self.tensors(), self.case.causal, self.lengths.as_deref())
    }

    fn run(&self, context: Context<'_>) -> Vec<f32> {
        let Case { batch, heads, queries, value_dim, causal, .. } = self.case;
        let mut output = vec![f32::NAN; batch * heads * queries * value_dim];
        let options = LinearOptions { causal: Some(causal), ..LinearOptions::default() };
        let tensors = LinearTensors { kv_lengths: self.lengths.as_deref(), ..LinearTensors::new(self.tensors()) };
        let outputs = LinearOutputs { output: &mut output, state: None };
        self.attention.forward(context, tensors, options, outputs).unwrap();
        output
    }

    /// Runs a stream, `steps` positions at a time; the result has the shape of [`Problem::run`].
    fn stream(&self, context: Context<'_>, steps: &[usize]) -> Vec<f32> {
        let Case { batch, heads, queries, size, value_dim, .. } = self.case;
        let stream = Stream::new(StreamConfig { batch, value_dim: Some(value_dim) }).unwrap();
        let mut output = vec![f32::NAN; batch * heads * queries * value_dim];
        let mut first = 0;
        for &step in steps.iter().cycle() {
            if first == queries {
                return output;
            }
            let rows = first..queries.min(first + step);
            let part = |data: &[f32], size| self.rows(rows.clone(), size).flat_map(|at| data[at].to_vec()).collect();
            let (q, k, v): (Vec<f32>, Vec<f32>, Vec<f32>) =
                (part(&self.q, size), part(&self.k, size), part(&self.v, value_dim));
            let tensors = [("q", &q, size), ("k", &k, size), ("v", &v, value_dim)]
                .map(|(name, data, size)| Tensor::new(name, data, &self.case.dims(rows.len(), size)).unwrap());
            let mut written = vec![f32::NAN; batch * heads * rows.len() * value_dim];
            advance(&stream, &self.attention, context, tensors, &mut written).unwrap();
            for (at, row) in self.rows(rows.clone(), value_dim).zip(written.chunks(value_dim)) {
                output[at].copy_from_slice(row);
            }
            first = rows.end;
        }
        output
    }

    /// Returns the ranges of these positions' rows, in the order of a tensor that contains only these positions.
    fn rows(&self, positions: std::ops::Range<usize>, size: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let Case { batch, heads, queries, three_dimensions, .. } = self.case;
        let (outer, inner) = if three_dimensions { (batch, heads) } else { (batch * heads, 1) };
        (0..outer).flat_map(move |outer| {
            positions.clone().flat_map(move |position| {
                (0..inner).map(move |inner_index| {
                    let row = (outer * queries + position) * inner + inner_index;
                    row * size..(row + 1) * size
                })
            })
        })
    }

    fn check(&self) {
        let expected = self.expected();
        for context in contexts() {
            assert_near(&self.run(context), &expected, 1e-5, context.level.name());
        }
    }
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => 0usize..=3,
        4 => 1usize..=40,
        3 => (prop::sample::select(vec![8usize, 16, 64, 128]), 0usize..=2).prop_map(|(n, d)| n + d - 1),
        2 => 1usize..=300,
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1usize..=20,
        3 => (prop::sample::select(vec![8usize, 16, 32, 64]), 0usize..=2).prop_map(|(n, d)| n + d - 1),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let kind = (prop::sample::select(MAPS.to_vec()), 1usize..=90);
    let shape = (1usize..=3, 1usize..=3, length(), length(), size(), size(), any::<[bool; 4]>());
    let spread = prop::sample::select(vec![0.0f32, 0.5, 1.0, 1.0, 2.0]);
    (kind, shape, spread, any::<u64>()).prop_map(|((map, features), shape, spread, seed)| {
        let (batch, heads, queries, keys, size, value_dim, [three_dimensions, causal, lengths, is_square]) = shape;
        let keys = if is_square { queries } else { keys };
        let flags = (three_dimensions, causal, lengths);
        let (three_dimensions, causal, lengths) = flags;
        let case = Case { map, features, batch, heads, queries, keys, size, value_dim, ..Case::default() };
        Case { three_dimensions, causal, lengths, spread, seed, ..case }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_call_matches_the_oracle(case in case()) {
        case.problem().check();
    }

    #[test]
    fn a_stream_matches_causal_attention_for_any_steps(
        case in case(),
        steps in prop::collection::vec(1usize..=70, 1..=3),
    ) {
        let case = Case { causal: true, keys: case.queries, lengths: false, ..case };
        let problem = case.problem();
        let expected = problem.expected();
        for context in contexts() {
            for steps in [&[1][..], &steps] {
                let found = problem.stream(context, steps);
                assert_near(&found, &expected, 1e-5, &format!("{} {steps:?}", context.level.name()));
            }
        }
    }

    #[test]
    fn values_beyond_the_lengths_do_not_matter(
        case in case(),
        poison in prop::sample::select(vec![f32::NAN, f32::INFINITY, -f32::INFINITY, 1e30]),
    ) {
        let mut problem = Case { lengths: true, ..case }.problem();
        let expected: Vec<Vec<u32>> = contexts().map(|context| bits(&problem.run(context))).collect();
        let Case { batch, heads, keys, size, value_dim, three_dimensions, .. } = problem.case;
        for b in 0..batch {
            let hidden = problem.lengths.as_ref().unwrap()[b] as usize..keys;
            for (j, h) in hidden.flat_map(|j| (0..heads).map(move |h| (j, h))) {
                let row = if three_dimensions { (b * keys + j) * heads + h } else { (b * heads + h) * keys + j };
                problem.k[row * size..(row + 1) * size].fill(poison);
                problem.v[row * value_dim..(row + 1) * value_dim].fill(poison);
            }
        }
        let found: Vec<Vec<u32>> = contexts().map(|context| bits(&problem.run(context))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_causal_row_does_not_depend_on_what_comes_later(case in case(), at in 0.0f64..1.0, poison in prop::sample::select(vec![f32::NAN, f32::INFINITY, 30.0])) {
        let mut problem = Case { causal: true, ..case }.problem();
        let expected = problem.expected();
        let Case { batch, heads, queries, keys, size, value_dim, three_dimensions, .. } = problem.case;
        let first = (at * keys as f64) as usize;
        let row = |length: usize, b: usize, h: usize, i: usize| match three_dimensions {
            true => (b * length + i) * heads + h,
            false => (b * heads + h) * length + i,
        };
        let pairs = || (0..batch).flat_map(|b| (0..heads).map(move |h| (b, h)));
        for (b, h) in pairs() {
            for j in first..keys {
                let row = row(keys, b, h, j);
                problem.k[row * size..(row + 1) * size].fill(poison);
                problem.v[row * value_dim..(row + 1) * value_dim].fill(poison);
            }
        }
        for context in contexts() {
            let found = problem.run(context);
            for (b, h) in pairs() {
                for i in 0..queries.min(first) {
                    let at = row(queries, b, h, i) * value_dim;
                    let at = at..at + value_dim;
                    assert_near(&found[at.clone()], &expected[at], 1e-5, context.level.name());
                }
            }
        }
    }

    #[test]
    fn the_feature_map_matches_the_oracle(case in case()) {
        let problem = case.problem();
        let expected = oracle::feature_map(&problem.attention, &problem.q);
        for context in contexts() {
            let mut found = vec![f32::NAN; expected.len()];
            problem.attention.feature_map(context, problem.tensors()[0], &mut found).unwrap();
            assert_near(&found, &expected, 1e-5, context.level.name());
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn long_sequences_stay_close_to_the_oracle() {
    for map in MAPS {
        for causal in [false, true] {
            let case = Case { map, features: 48, keys: 5000, queries: 300, size: 16, value_dim: 24, ..Case::default() };
            Case { causal, queries: if causal { 700 } else { 300 }, ..case }.problem().check();
        }
    }
}

#[test]
fn results_are_the_same_for_every_number_of_threads() {
    for map in MAPS {
        for (causal, heads) in [(false, 1), (false, 3), (true, 3)] {
            let case = Case { map, causal, heads, features: 80, queries: 2100, keys: 6200, ..Case::default() };
            let problem = Case { size: 64, value_dim: 64, ..case }.problem();
            for level in Level::available() {
                let alone = bits(&problem.run(Context::new(level, 1)));
                for threads in [2, 3, 5] {
                    let found = bits(&problem.run(Context::new(level, threads)));
                    assert!(found == alone, "{map} at {} on {threads} threads", level.name());
                }
            }
        }
    }
}

#[test]
fn a_nan_in_a_query_spoils_only_its_own_row() {
    for map in MAPS {
        for (causal, queries) in [(false, 40), (true, 40), (true, 3)] {
            let mut problem = Case { map, causal, queries, keys: queries, ..Case::default() }.problem();
            let expected = problem.expected();
            problem.q[2 * 8 + 5] = f32::NAN;
            for context in contexts() {
                let found = problem.run(context);
                for (i, (found, expected)) in found.chunks(8).zip(expected.chunks(8)).enumerate() {
                    if i == 2 {
                        assert!(found.iter().all(|value| value.is_nan()), "{map} at {}", context.level.name());
                    } else {
                        assert_near(found, expected, 1e-5, context.level.name());
                    }
                }
            }
        }
    }
}

#[test]
fn a_nan_in_a_visible_key_reaches_the_rows_that_see_it() {
    for map in MAPS {
        for causal in [false, true] {
            let mut problem = Case { map, causal, queries: 150, keys: 150, ..Case::default() }.problem();
            problem.k[100 * 8] = f32::NAN;
            for context in contexts() {
                let found = problem.run(context);
                let is_nan: Vec<bool> = found.chunks(8).map(|row| row.iter().all(|value| value.is_nan())).collect();
                let expected: Vec<bool> = (0..150).map(|i| !causal || i >= 100).collect();
                assert_eq!(is_nan, expected, "{map} at {}", context.level.name());
            }
        }
    }
}

#[test]
fn a_row_without_keys_is_zeros() {
    for map in MAPS {
        let problem = Case { map, keys: 0, queries: 20, ..Case::default() }.problem();
        for context in contexts() {
            assert_eq!(problem.run(context), [0.0; 160]);
        }
        for causal in [false, true] {
            let mut problem = Case { map, causal, keys: 20, queries: 20, batch: 2, ..Case::default() }.problem();
            problem.lengths = Some(vec![0, 7]);
            for context in contexts() {
                let found = problem.run(context);
                assert_eq!(found[..160], [0.0; 160]);
                assert_near(&found, &problem.expected(), 1e-5, map);
            }
        }
    }
}

#[test]
fn keys_with_growing_exponents_do_not_degrade_earlier_rows() {
    // FAVOR+'s exponents grow by about 250 from the first key to the last; with a single c, the first rows would
    // vanish.
    let mut problem =
        Case { map: "favor+", features: 64, causal: true, queries: 100, keys: 100, ..Case::default() }.problem();
    for (j, key) in problem.k.chunks_mut(8).enumerate() {
        let shrinking = (100.0 - j as f32) / 100.0;
        key.iter_mut().for_each(|value| *value *= 15.0 * shrinking);
    }
    let expected = problem.expected();
    for context in contexts() {
        for found in [problem.run(context), problem.stream(context, &[1]), problem.stream(context, &[33])] {
            assert_near(&found, &expected, 2e-4, context.level.name());
        }
    }
}

#[test]
fn values_of_one_average_to_one() {
    for map in MAPS {
        for causal in [false, true] {
            let mut problem = Case { map, causal, queries: 200, keys: 300, ..Case::default() }.problem();
            problem.v.fill(1.0);
            for context in contexts() {
                assert_near(&problem.run(context), &[1.0; 1600], 2e-6, context.level.name());
            }
        }
    }
}

#[test]
fn a_stream_starts_over_after_a_reset() {
    let problem = Case { map: "favor+", causal: true, queries: 9, keys: 9, ..Case::default() }.problem();
    let context = Context::default();
    let stream = Stream::new(from_json("{}")).unwrap();
    let run = || {
        let mut output = vec![0.0; 72];
        advance(&stream, &problem.attention, context, problem.tensors(), &mut output).unwrap();
        output
    };
    let first = run();
    assert_ne!(run(), first);
    stream.reset();
    assert_eq!(run(), first);
}

/// Returns ω itself, `[F, D]`, in doubles.
fn omega(attention: &LinearAttention, size: usize) -> Vec<f64> {
    let quarter_root = (size as f64).powf(0.25);
    attention.projection().iter().map(|&value| f64::from(value) * quarter_root).collect()
}

fn favor(size: usize, features: usize, seed: u64) -> LinearAttention {
    let config = format!(r#"{{"modelDim":{size},"featureDim":{features},"featureMap":"favor+","seed":{seed}}}"#);
    LinearAttention::new(from_json(&config)).unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn rows_of_omega_are_orthogonal_inside_a_block_and_not_beyond() {
    for (size, features) in [(1, 3), (2, 5), (16, 50), (64, 160)] {
        let omega = omega(&favor(size, features, 3), size);
        assert_eq!(omega.len(), size * features);
        let rows: Vec<&[f64]> = omega.chunks(size).collect();
        let mut largest_beyond = 0.0f64;
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().take(i) {
                let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                if i / size == j / size {
                    assert!(cosine.abs() < 1e-6, "rows {i} and {j} of size {size}: {cosine}");
                } else {
                    largest_beyond = largest_beyond.max(cosine.abs());
                }
            }
        }
        assert!(largest_beyond > 0.1, "blocks of size {size} are orthogonal to each other");
    }
}

#[test]
fn norms_of_omega_are_chi_distributed_and_directions_uniform() {
    let (size, features) = (16, 16_000);
    let omega = omega(&favor(size, features, 7), size);
    let squares: Vec<f64> = omega.chunks(size).map(|row| dot(row, row)).collect();
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / features as f64;
    // χ²(16) has the mean 16, the variance 32 and the third central moment 128.
    let average = mean(&mut squares.iter().copied());
    let variance = mean(&mut squares.iter().map(|square| (square - 16.0).powi(2)));
    let third = mean(&mut squares.iter().map(|square| (square - 16.0).powi(3)));
    assert!((average - 16.0).abs() < 0.2 && (variance - 32.0).abs() < 2.0 && (third - 128.0).abs() < 40.0);
    // Norms within a block must be uncorrelated.
    let neighbours = mean(&mut squares.windows(2).map(|pair| (pair[0] - 16.0) * (pair[1] - 16.0)));
    assert!(neighbours.abs() < 1.5);
    // Hence every coordinate is N(0, 1), at every index in the block.
    for place in [0, 7, 15] {
        let rows = || omega.chunks(size).skip(place).step_by(size);
        let count = rows().count() as f64 * size as f64;
        let second = rows().flatten().map(|x| x * x).sum::<f64>() / count;
        let fourth = rows().flatten().map(|x| x.powi(4)).sum::<f64>() / count;
        let first = rows().flatten().sum::<f64>() / count;
        assert!(first.abs() < 0.03 && (second - 1.0).abs() < 0.05 && (fourth - 3.0).abs() < 0.35, "place {place}");
    }
}

#[test]
fn omega_depends_on_the_whole_seed_and_nothing_else() {
    let draw = |features, seed| favor(8, features, seed).projection().to_vec();
    assert_eq!(draw(30, 5), draw(30, 5));
    assert_eq!(draw(30, 5), draw(90, 5)[..240]);
    assert_ne!(draw(30, 5), draw(30, 6));
    assert_ne!(draw(30, 5), draw(30, 5 + (1 << 32)));
    let config = r#"{"modelDim":8,"featureMap":"favor+"}"#;
    assert_eq!(LinearAttention::new(from_json(config)).unwrap().projection(), draw(24, 0));
}

#[test]
fn the_error_against_softmax_attention_falls_as_one_over_the_root_of_the_features() {
    let (length, size) = (48, 16);
    let mut random = Random::new(11);
    let mut draw =
        |factor: f32| -> Vec<f32> { random.normals(length * size).iter().map(|value| value * factor).collect() };
    // Small enough for a few features to estimate well: the variance grows exponentially with the squares.
    let (q, k, v) = (draw(0.5), draw(0.5), draw(1.0));
    let dims = [1, 1, length, size];
    let tensors = [("q", &q), ("k", &k), ("v", &v)].map(|(name, data)| Tensor::new(name, data, &dims).unwrap());
    let [query, key, value] = tensors;
    let exact = reference::attention(query, key, value, &AttentionOptions::default(), Arrays::default()).output;
    let counts = [16usize, 64, 256, 1024];
    let errors = counts.map(|features| {
        let seeds = 40;
        let error = |seed| {
            let mut output = vec![0.0; length * size];
            let attention = favor(size, features, seed);
            let outputs = LinearOutputs { output: &mut output, state: None };
            let tensors = LinearTensors::new(tensors);
            attention.forward(Context::default(), tensors, LinearOptions::default(), outputs).unwrap();
            output.iter().zip(&exact).map(|(&found, exact)| (f64::from(found) - exact).abs()).sum::<f64>()
                / exact.len() as f64
        };
        (0..seeds).map(error).sum::<f64>() / seeds as f64
    });
    let points = counts.iter().zip(errors).map(|(&count, error)| ((count as f64).ln(), error.ln()));
    let slope = slope(points.collect());
    assert!((-0.65..=-0.35).contains(&slope), "the slope is {slope}: {errors:?}");
    assert!(errors[3] < 0.01, "{errors:?}");
}

/// Returns the slope of the least-squares line through the points.
fn slope(points: Vec<(f64, f64)>) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let along: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    along / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

#[test]
fn products_of_favor_features_estimate_the_exponential_without_bias() {
    let (size, features) = (8, 4000);
    let mut random = Random::new(4);
    let rows: Vec<Vec<f64>> =
        (0..3).map(|_| random.normals(size).iter().map(|&x| 0.5 * f64::from(x)).collect()).collect();
    let omega = omega(&favor(size, features, 9), size);
    let root = (size as f64).sqrt();
    let phi = |x: &[f64]| -> Vec<f64> {
        omega.chunks(size).map(|row| (dot(row, x) / root.sqrt() - dot(x, x) / root / 2.0).exp()).collect()
    };
    for (a, b) in [(0, 1), (0, 2), (1, 2), (1, 1)] {
        let estimate = dot(&phi(&rows[a]), &phi(&rows[b])) / features as f64;
        let exact = (dot(&rows[a], &rows[b]) / root).exp();
        assert!((estimate / exact - 1.0).abs() < 0.05, "{estimate} instead of {exact}");
    }
}

fn fault<T: std::fmt::Debug>(result: Result<T>) -> (Code, String) {
    let error = result.unwrap_err();
    (error.code, error.argument.clone())
}

#[test]
fn an_impossible_configuration_is_rejected() {
    for (config, argument) in [
        ("{}", "model_dim"),
        (r#"{"modelDim":0}"#, "model_dim"),
        (r#"{"modelDim":8,"numHeads":3}"#, "num_heads"),
        (r#"{"modelDim":8,"numHeads":0}"#, "num_heads"),
        (r#"{"modelDim":8,"numHeads":16}"#, "num_heads"),
        (r#"{"modelDim":8,"featureDim":0,"featureMap":"favor+"}"#, "feature_dim"),
        (r#"{"modelDim":8,"featureDim":9}"#, "feature_dim"),
        (r#"{"modelDim":8,"numHeads":2,"featureDim":8,"featureMap":"relu"}"#, "feature_dim"),
        (r#"{"modelDim":8,"featureDim":1000000000,"featureMap":"favor+"}"#, "feature_dim"),
        (r#"{"modelDim":9007199254740991,"featureMap":"favor+"}"#, "feature_dim"),
        (r#"{"modelDim":8,"seed":-1}"#, "seed"),
    ] {
        assert_eq!(fault(LinearAttention::new(from_json(config))), (Code::Option, argument.into()), "{config}");
    }
    for (config, argument) in [(r#"{"batch":0}"#, "batch"), (r#"{"valueDim":0}"#, "value_dim")] {
        let found = Stream::new(from_json(config)).map(|_| ());
        assert_eq!(fault(found), (Code::Option, argument.into()), "{config}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_reported_before_anything_is_written() {
    let data = [1.0; 512];
    let attention = LinearAttention::new(from_json(r#"{"modelDim":8,"numHeads":2}"#)).unwrap();
    let run = |dims: [&[usize]; 3], lengths: Option<&[i32]>, elements: usize| {
        let mut index = 0;
        let tensors = dims.map(|dims| {
            let name = ["q", "k", "v"][index];
            index += 1;
            Tensor::new(name, &data[..dims.iter().product()], dims).unwrap()
        });
        let mut output = vec![7.0; elements];
        let tensors = LinearTensors { kv_lengths: lengths, ..LinearTensors::new(tensors) };
        let outputs = LinearOutputs { output: &mut output, state: None };
        let result = attention.forward(Context::default(), tensors, LinearOptions::default(), outputs);
        assert!(result.is_ok() || output.iter().all(|&value| value == 7.0));
        result
    };
    let three: &[usize] = &[2, 3, 8];
    let four: &[usize] = &[2, 3, 5, 4];
    assert_eq!(run([three, three, &[2, 3, 6]], None, 36), Ok(()));
    assert_eq!(run([four, &[2, 3, 6, 4], &[2, 3, 6, 1]], None, 30), Ok(()));
    let faults: [([&[usize]; 3], &str); 15] = [
        ([&[3, 8], three, three], "q"),
        ([&[2, 3, 9], three, three], "q"),
        ([&[2, 3, 4], three, three], "q"),
        ([&[2, 3, 5, 8], four, four], "q"),
        ([&[1, 2, 3, 5, 4], four, four], "q"),
        ([three, &[2, 3, 4], three], "k"),
        ([three, four, four], "k"),
        ([three, three, four], "v"),
        ([three, three, &[2, 3, 7]], "v"),
        ([three, &[1, 3, 8], &[1, 3, 8]], "k"),
        ([three, three, &[1, 3, 8]], "v"),
        ([three, three, &[2, 4, 8]], "v"),
        ([four, &[2, 2, 5, 4], &[2, 2, 5, 4]], "k"),
        ([four, four, &[2, 2, 5, 4]], "v"),
        ([four, four, &[2, 3, 4, 4]], "v"),
    ];
    for (dims, argument) in faults {
        assert_eq!(fault(run(dims, None, 48)), (Code::Shape, argument.into()), "{dims:?}");
    }
    for elements in [0, 47, 49] {
        assert_eq!(fault(run([three; 3], None, elements)), (Code::Shape, "out".into()));
    }
    assert_eq!(fault(run([three; 3], Some(&[1]), 48)), (Code::Shape, "kv_lengths".into()));
    assert_eq!(fault(run([three; 3], Some(&[1, 4]), 48)), (Code::Option, "kv_lengths".into()));
    assert_eq!(fault(run([three; 3], Some(&[-1, 2]), 48)), (Code::Option, "kv_lengths".into()));
}

#[test]
fn a_step_that_does_not_fit_changes_nothing() {
    let data = [0.5; 512];
    let attention = LinearAttention::new(from_json(r#"{"modelDim":4}"#)).unwrap();
    let stream = Stream::new(from_json(r#"{"batch":2,"valueDim":3}"#)).unwrap();
    let step = |dims: [&[usize]; 3], elements: usize| {
        let tensors = dims.map(|dims| Tensor::new("x", &data[..dims.iter().product()], dims).unwrap());
        let mut output = vec![7.0; elements];
        advance(&stream, &attention, Context::default(), tensors, &mut output).map(|()| output)
    };
    let (keys, values): (&[usize], &[usize]) = (&[2, 3, 1, 4], &[2, 3, 1, 3]);
    let first = step([keys, keys, values], 18).unwrap();
    assert_eq!(fault(step([&[1, 3, 1, 4], &[1, 3, 1, 4], &[1, 3, 1, 3]], 9)), (Code::Shape, "q".into()));
    assert_eq!(fault(step([&[2, 2, 1, 4], &[2, 2, 1, 4], &[2, 2, 1, 3]], 12)), (Code::Shape, "q".into()));
    assert_eq!(fault(step([&[2, 1, 4], &[2, 1, 4], &[2, 1, 3]], 6)), (Code::Shape, "q".into()));
    assert_eq!(fault(step([keys, &[2, 3, 2, 4], &[2, 3, 2, 3]], 18)), (Code::Shape, "k".into()));
    assert_eq!(fault(step([keys, keys, keys], 24)), (Code::Shape, "v".into()));
    assert_eq!(fault(step([keys, keys, values], 17)), (Code::Shape, "out".into()));
    // With the same keys and values again, the average does not change.
    let second = step([keys, keys, values], 18).unwrap();
    assert_near(&second, &first.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>(), 1e-6, "second");
}

#[test]
fn favor_with_many_features_is_close_to_scaled_dot_product_attention() {
    let problem =
        Case { map: "favor+", features: 4096, queries: 64, keys: 64, causal: true, spread: 0.7, ..Case::default() }
            .problem();
    let [q, k, v] = problem.tensors();
    let mut exact = vec![0.0; 512];
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let outputs = Outputs { output: &mut exact, ..Outputs::default() };
    scaled_dot_product_attention(Context::default(), q, k, v, &options, Arrays::default(), outputs).unwrap();
    let found = problem.run(Context::default());
    let error = found.iter().zip(&exact).map(|(a, b)| (a - b).abs()).sum::<f32>() / 512.0;
    assert!(error < 0.02, "{error}");
}

//! Attention problems as data: drawn by proptest or written by hand, run at a level, and compared with the oracle.

use proptest::prelude::*;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::{Arrays, Outputs, attention_weights, scaled_dot_product_attention};
use ruvector_attention::options::{AttentionOptions, Layout, Stage};
use ruvector_attention::simd::Level;
use ruvector_attention::{Context, Tensor};
use ruvector_attention_oracle::{self as reference, Attention};

/// Returns a context for each level, on one thread.
pub fn contexts() -> impl Iterator<Item = Context<'static>> {
    Level::available().map(|level| Context::new(level, 1))
}

/// Random numbers from a 64-bit linear congruential generator; normal ones are sums of twelve uniform ones.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }

    pub fn below(&mut self, end: usize) -> usize {
        ((self.uniform() * end as f64) as usize).min(end.saturating_sub(1))
    }

    pub fn normal(&mut self) -> f32 {
        ((0..12).map(|_| self.uniform()).sum::<f64>() - 6.0) as f32
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }
}

/// Parses options or a configuration from JSON.
pub fn from_json<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// The shape and contents of a mask.
#[derive(Debug, Clone)]
pub struct MaskCase {
    pub boolean: bool,
    pub dims: Vec<usize>,
    /// The proportion of visible keys.
    pub shown: f64,
}

/// All parameters of an attention problem.
#[derive(Debug, Clone)]
pub struct Case {
    pub batch: usize,
    pub kv_heads: usize,
    pub group: usize,
    pub queries: usize,
    pub keys: usize,
    pub head_dim: usize,
    pub value_dim: usize,
    pub three_dimensions: bool,
    pub mask: Option<MaskCase>,
    pub query_offset: Option<Vec<i32>>,
    pub kv_lengths: Option<Vec<i32>>,
    /// Cumulative lengths of rows and keys.
    pub cu_seqlens: Option<[Vec<i32>; 2]>,
    /// The number of heads of a relative bias, 1 or that of the queries.
    pub relative_heads: Option<usize>,
    pub sinks: bool,
    pub options: AttentionOptions,
    pub seed: u64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            batch: 1,
            kv_heads: 1,
            group: 1,
            queries: 5,
            keys: 7,
            head_dim: 8,
            value_dim: 8,
            three_dimensions: false,
            mask: None,
            query_offset: None,
            kv_lengths: None,
            cu_seqlens: None,
            relative_heads: None,
            sinks: false,
            options: AttentionOptions::default(),
            seed: 1,
        }
    }
}

/// A case with its data.
#[derive(Debug, Clone)]
pub struct Problem {
    pub case: Case,
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
    pub float_mask: Vec<f32>,
    pub boolean_mask: Vec<u8>,
    pub relative_bias: Vec<f32>,
    pub sinks: Vec<f32>,
}

/// The results of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    pub output: Vec<f32>,
    pub weights: Vec<f32>,
    pub log_sum_exp: Vec<f32>,
    pub top_values: Vec<f32>,
    pub top_keys: Vec<i32>,
}

impl Results {
    /// Returns the bits of all results, so that NaN compares equal to NaN.
    pub fn bits(&self) -> Vec<u32> {
        let floats = [&self.output, &self.weights, &self.log_sum_exp, &self.top_values];
        let keys = self.top_keys.iter().map(|&key| key as u32);
        floats.into_iter().flatten().map(|value| value.to_bits()).chain(keys).collect()
    }
}

impl Case {
    pub fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    pub fn rows(&self) -> usize {
        self.batch * self.heads() * self.queries
    }

    /// Returns the largest numbers of rows and keys of any sequence.
    pub fn longest(&self) -> [usize; 2] {
        let longest = |offsets: &Vec<i32>| offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max();
        match &self.cu_seqlens {
            Some(offsets) => offsets.each_ref().map(|offsets| longest(offsets).unwrap_or(0)),
            None => [self.queries, self.keys],
        }
    }

    fn dims(&self, heads: usize, length: usize, size: usize) -> Vec<usize> {
        match (self.three_dimensions, self.options.layout) {
            (true, _) => vec![self.batch, length, size],
            (false, Layout::Bhld) => vec![self.batch, heads, length, size],
            (false, Layout::Blhd) => vec![self.batch, length, heads, size],
        }
    }

    /// Draws normally distributed data for the case.
    pub fn problem(&self) -> Problem {
        let mut random = Random::new(self.seed);
        let mut draw = |heads, length, size| random.normals(self.batch * heads * length * size);
        let q = draw(self.heads(), self.queries, self.head_dim);
        let k = draw(self.kv_heads, self.keys, self.head_dim);
        let v = draw(self.kv_heads, self.keys, self.value_dim);
        let (mut float_mask, mut boolean_mask) = (vec![], vec![]);
        if let Some(mask) = &self.mask {
            for _ in 0..mask.dims.iter().product() {
                let (kind, shown) = (random.uniform(), random.uniform() < mask.shown);
                boolean_mask.push(if shown { 1 + (kind * 200.0) as u8 } else { 0 });
                float_mask.push(match shown {
                    false => f32::NEG_INFINITY,
                    // A finite bias, but far below the others.
                    true if kind < 0.05 => -1e30,
                    true => 2.0 * random.normal(),
                });
            }
        }
        let [queries, keys] = self.longest();
        let length = self.relative_heads.unwrap_or(0) * (queries + keys).saturating_sub(1);
        let relative_bias = (0..length).map(|_| match random.uniform() {
            kind if kind < 0.03 && self.seed.is_multiple_of(2) => f32::NEG_INFINITY,
            _ => 2.0 * random.normal(),
        });
        let relative_bias = relative_bias.collect();
        let sinks = random.normals(self.heads());
        Problem { case: self.clone(), q, k, v, float_mask, boolean_mask, relative_bias, sinks }
    }
}

impl Problem {
    pub fn tensors(&self) -> [Tensor<'_>; 3] {
        let case = &self.case;
        let tensor =
            |name, data, heads, length, size| Tensor::new(name, data, &case.dims(heads, length, size)).unwrap();
        [
            tensor("q", &self.q, case.heads(), case.queries, case.head_dim),
            tensor("k", &self.k, case.kv_heads, case.keys, case.head_dim),
            tensor("v", &self.v, case.kv_heads, case.keys, case.value_dim),
        ]
    }

    pub fn arrays(&self) -> Arrays<'_> {
        let mask = self.case.mask.as_ref().map(|mask| match mask.boolean {
            true => Mask::Boolean(Tensor::new("mask", &self.boolean_mask, &mask.dims).unwrap()),
            false => Mask::Float(Tensor::new("mask", &self.float_mask, &mask.dims).unwrap()),
        });
        let case = &self.case;
        let relative_bias = case.relative_heads.map(|heads| {
            let length = self.relative_bias.len() / heads;
            Tensor::new("relative_bias", &self.relative_bias, &[heads, length]).unwrap()
        });
        Arrays {
            mask,
            query_offset: case.query_offset.as_deref(),
            kv_lengths: case.kv_lengths.as_deref(),
            cu_seqlens: case.cu_seqlens.as_ref().map(|[rows, _]| &rows[..]),
            cu_seqlens_keys: case.cu_seqlens.as_ref().map(|[_, keys]| &keys[..]),
            relative_bias,
            sinks: case.sinks.then_some(&self.sinks),
        }
    }

    pub fn expected(&self) -> Attention {
        let [q, k, v] = self.tensors();
        reference::attention(q, k, v, &self.case.options, self.arrays())
    }

    /// Returns all results of one call; results that the options do not request stay empty.
    pub fn run(&self, context: Context<'_>) -> Results {
        self.run_with(context, self.arrays())
    }

    /// Returns all results of one call with other arrays.
    pub fn run_with(&self, context: Context<'_>, arrays: Arrays<'_>) -> Results {
        let (case, options) = (&self.case, &self.case.options);
        let (rows, [q, k, v]) = (case.rows(), self.tensors());
        let asked = |asked: bool, count: usize| vec![f32::NAN; if asked { count } else { 0 }];
        let top = options.top_weights.unwrap_or(0);
        let mut results = Results {
            output: vec![f32::NAN; rows * case.value_dim],
            weights: asked(options.weights, rows * case.keys),
            log_sum_exp: asked(options.log_sum_exp, rows),
            top_values: asked(top > 0, rows * top),
            top_keys: vec![-1; rows * top],
        };
        let outputs = Outputs {
            output: &mut results.output,
            weights: options.weights.then_some(&mut results.weights),
            log_sum_exp: options.log_sum_exp.then_some(&mut results.log_sum_exp),
            top: (top > 0).then_some((&mut results.top_values, &mut results.top_keys)),
        };
        scaled_dot_product_attention(context, q, k, v, options, arrays, outputs).unwrap();
        results
    }

    /// Returns the result of `attention_weights` at a stage.
    pub fn run_stage(&self, context: Context<'_>, stage: Stage) -> Vec<f32> {
        let [q, k, _] = self.tensors();
        let options = AttentionOptions {
            stage: Some(stage),
            weights: false,
            log_sum_exp: false,
            top_weights: None,
            ..self.case.options.clone()
        };
        let mut output = vec![f32::NAN; self.case.rows() * self.case.keys];
        attention_weights(context, q, k, &options, self.arrays(), &mut output).unwrap();
        output
    }

    /// Runs the problem on every level and compares all results with the oracle.
    pub fn check(&self) {
        let expected = self.expected();
        for context in contexts() {
            self.compare(&expected, &self.run(context), context.level.name());
        }
    }

    pub fn compare(&self, expected: &Attention, found: &Results, what: &str) {
        let kept = 1.0 - f64::from(self.case.options.dropout);
        assert_near(&found.output, &expected.output, 5e-6 / kept, &format!("{what} output"));
        if self.case.options.log_sum_exp {
            assert_near(&found.log_sum_exp, &expected.log_sum_exp, 3e-6, &format!("{what} log_sum_exp"));
        }
        if self.case.options.weights {
            let spoiled = spoiled_rows(expected);
            let weights = without_rows(&expected.weights, &spoiled, self.case.keys);
            let found = without_rows(&found.weights, &spoiled, self.case.keys);
            assert_near(&found, &weights, 3e-6 / kept, &format!("{what} weights"));
        }
        if let Some(top) = self.case.options.top_weights {
            self.compare_top(expected, found, top, what);
        }
    }

    /// Compares the k largest weights: each must equal the oracle's weight of its key, and no larger one may be
    /// missing.
    fn compare_top(&self, expected: &Attention, found: &Results, top: usize, what: &str) {
        let tolerance = 3e-6 / (1.0 - f64::from(self.case.options.dropout));
        let rows = expected.weights.chunks(self.case.keys);
        let spoiled = spoiled_rows(expected);
        for (row, weights) in rows.enumerate().filter(|(row, _)| !spoiled[*row]) {
            let values = &found.top_values[row * top..][..top];
            let keys = &found.top_keys[row * top..][..top];
            let mut sorted = weights.to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let mut seen = vec![false; weights.len()];
            for (place, (&value, &key)) in values.iter().zip(keys).enumerate() {
                let key = key as usize;
                assert!(!std::mem::replace(&mut seen[key], true), "{what} row {row} has key {key} twice");
                assert!((f64::from(value) - weights[key]).abs() <= tolerance, "{what} row {row} key {key}");
                assert!((f64::from(value) - sorted[place]).abs() <= tolerance, "{what} row {row} place {place}");
                if place > 0 {
                    let before = (values[place - 1], keys[place - 1]);
                    let in_order = before.0 > value || (before.0 == value && before.1 < keys[place]);
                    assert!(in_order, "{what} row {row} is not in order");
                }
            }
        }
    }
}

/// Returns the rows that NaN has spoiled, whose weights do not matter.
fn spoiled_rows(expected: &Attention) -> Vec<bool> {
    expected.log_sum_exp.iter().map(|value| value.is_nan()).collect()
}

fn without_rows<T: Copy>(values: &[T], spoiled: &[bool], keys: usize) -> Vec<T> {
    let kept = spoiled.iter().enumerate().filter(|(_, spoiled)| !**spoiled);
    kept.flat_map(|(row, _)| values[row * keys..][..keys].to_vec()).collect()
}

/// Asserts equality to within `tolerance · (1 + |expected|)`; infinities and NaN must match exactly.
#[track_caller]
pub fn assert_near(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let found = f64::from(found);
        let same = if expected.is_finite() {
            (found - expected).abs() <= tolerance * (1.0 + expected.abs())
        } else {
            found == expected || (found.is_nan() && expected.is_nan())
        };
        assert!(same, "{what} [{index}]: {found} instead of {expected}");
    }
}

/// Draws lengths at and around the edges of tiles and blocks, and some others.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => 0usize..=3,
        4 => 1usize..=40,
        3 => (prop::sample::select(vec![8usize, 16, 32, 64, 128, 256, 512]), 0usize..=2).prop_map(|(n, d)| n + d - 1),
        1 => 1usize..=600,
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(0usize),
        4 => 1usize..=20,
        3 => (prop::sample::select(vec![8usize, 16, 32, 64, 128]), 0usize..=2).prop_map(|(n, d)| n + d - 1),
        4 => 1usize..=130,
    ]
}

fn window() -> impl Strategy<Value = Option<[i64; 2]>> {
    let side = || prop_oneof![Just(-1i64), 0i64..=3, 0i64..=100];
    prop::option::weighted(0.3, [side(), side()])
}

fn options() -> impl Strategy<Value = AttentionOptions> {
    (
        (any::<bool>(), any::<bool>(), window(), -40i64..=80, any::<bool>()),
        prop::sample::select(vec![None, None, Some(0.0f32), Some(0.5), Some(2.0)]),
        prop::sample::select(vec![0.0f32, 0.0, 5.0, 30.0]),
        prop::sample::select(vec![0.0f32, 0.0, 0.0, 0.25, 0.6]),
        (any::<bool>(), any::<bool>(), prop::option::weighted(0.3, 1usize..=9), 0u64..1 << 53),
    )
        .prop_map(|((blhd, causal, window, offset, shifted), scale, softcap, dropout, asked)| AttentionOptions {
            layout: if blhd { Layout::Blhd } else { Layout::Bhld },
            causal,
            query_offset: shifted.then_some(offset),
            window,
            scale,
            softcap,
            dropout,
            weights: asked.0,
            log_sum_exp: asked.1,
            top_weights: asked.2,
            seed: asked.3,
            stage: None,
            block_size: None,
        })
}

/// Draws any problem small enough for the oracle.
pub fn case() -> impl Strategy<Value = Case> {
    let shape = (1usize..=3, 1usize..=3, 1usize..=4, length(), length(), size(), size(), prop::bool::weighted(0.2));
    let mask = prop::option::weighted(0.5, (any::<bool>(), 1usize..=4, any::<[bool; 4]>(), 0.0f64..=1.0));
    let arrays = (prop::bool::weighted(0.3), prop::bool::weighted(0.3), any::<u64>());
    (shape, mask, arrays, options()).prop_map(|(shape, mask, (offsets, lengths, seed), options)| {
        let (batch, kv_heads, group, queries, keys, head_dim, value_dim, three_dimensions) = shape;
        let mut case = Case { batch, kv_heads, group, queries, keys, head_dim, value_dim, ..Case::default() };
        case.seed = seed;
        case.three_dimensions = three_dimensions;
        case.options = options;
        if three_dimensions {
            (case.kv_heads, case.group) = (1, 1);
        }
        shrink_to_oracle(&mut case);
        // Scales are multiples of the usual one, so that scores keep their magnitude.
        case.options.scale = case.options.scale.map(|scale| scale / (case.head_dim.max(1) as f32).sqrt());
        case.options.top_weights = case.options.top_weights.filter(|&top| top <= case.keys);
        case.mask = mask.map(|(boolean, rank, broadcast, shown)| {
            let dims = [case.batch, case.heads(), case.queries, case.keys];
            let dims: Vec<usize> =
                dims.into_iter().zip(broadcast).map(|(dim, broadcast)| if broadcast { 1 } else { dim }).collect();
            let dims = match rank {
                3 if three_dimensions => vec![dims[0], dims[2], dims[3]],
                rank => dims[4 - rank..].to_vec(),
            };
            MaskCase { boolean, dims, shown: shown.sqrt() }
        });
        let mut random = Random::new(seed ^ 0x5bd1);
        let (queries, keys) = (case.queries as i32, case.keys);
        case.query_offset = offsets
            .then(|| (0..case.batch).map(|_| random.below(keys + queries as usize + 4) as i32 - queries - 2).collect());
        case.kv_lengths = lengths.then(|| (0..case.batch).map(|_| random.below(keys + 1) as i32).collect());
        let heads = case.heads();
        case.relative_heads = (random.below(3) == 0).then(|| if random.below(2) == 0 { 1 } else { heads });
        case.sinks = random.below(3) == 0;
        case
    })
}

/// Draws a packed problem: any case, with its rows and keys divided into sequences.
pub fn packed() -> impl Strategy<Value = Problem> {
    let cuts = || prop::collection::vec(0.0f64..=1.0, 0..=6);
    (case(), cuts(), cuts(), prop::bool::weighted(0.5), any::<bool>()).prop_map(
        |(case, cuts, key_cuts, same, shifted)| {
            let offsets = |cuts: &[f64], length: usize| {
                let mut offsets: Vec<i32> = cuts.iter().map(|cut| (cut * length as f64) as i32).collect();
                offsets.extend([0, length as i32]);
                offsets.sort_unstable();
                offsets
            };
            let keys = if same { case.queries } else { case.keys };
            let rows = offsets(&cuts, case.queries);
            let mut key_cuts = key_cuts;
            key_cuts.resize(cuts.len(), 1.0);
            let key_offsets = if same { rows.clone() } else { offsets(&key_cuts, keys) };
            let mut random = Random::new(case.seed ^ 0x77);
            let query_offset = shifted.then(|| (0..rows.len() - 1).map(|_| random.below(20) as i32 - 8).collect());
            let longest = key_offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0) as usize;
            let top_weights = case.options.top_weights.filter(|&count| count <= longest);
            let options = AttentionOptions { weights: false, top_weights, ..case.options.clone() };
            Case {
                batch: 1,
                keys,
                mask: None,
                kv_lengths: None,
                query_offset,
                cu_seqlens: Some([rows, key_offsets]),
                options,
                ..case
            }
            .problem()
        },
    )
}

/// Shrinks the dimensions that cost the oracle most and matter least.
fn shrink_to_oracle(case: &mut Case) {
    let work = |case: &Case| case.rows() * case.keys * (case.head_dim + case.value_dim + 8);
    let cuts: [fn(&mut Case); 5] = [
        |case| case.batch = case.batch.min(2),
        |case| case.kv_heads = 1,
        |case| (case.head_dim, case.value_dim) = (case.head_dim.min(9), case.value_dim.min(17)),
        |case| case.group = case.group.min(2),
        |case| case.queries = case.queries.min(65),
    ];
    for cut in cuts {
        if work(case) > 2_000_000 {
            cut(case);
        }
    }
}

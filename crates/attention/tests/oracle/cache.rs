//! The key/value cache against the oracle over the whole sequence, after any series of appends, calls and truncations.

use proptest::prelude::*;
use ruvector_attention::attention::cache::{AppendOptions, CacheConfig, KvCache, Truncation};
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::{Arrays, Outputs};
use ruvector_attention::layers::TypedEntry;
use ruvector_attention::options::{AttentionOptions, Layout};
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle as reference;

use crate::support::{Random, assert_near, contexts, from_json};

#[derive(Debug, Clone, Copy)]
struct Shape {
    batch: usize,
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    value_dim: usize,
    capacity: usize,
    window: Option<usize>,
}

impl Shape {
    fn cache(&self) -> KvCache {
        let Self { batch, kv_heads, head_dim, value_dim, capacity, window, .. } = *self;
        let value_dim = Some(value_dim);
        let config = CacheConfig { batch, kv_heads, head_dim, value_dim, capacity, window, ..CacheConfig::default() };
        KvCache::new(config).unwrap()
    }
}

/// A cache together with everything ever appended to it, one row of each batch entry and head after the other.
struct Model {
    shape: Shape,
    cache: KvCache,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    length: usize,
    /// The length before the last block. Once a ring has dropped keys, it cannot be truncated below this.
    before_block: usize,
    has_dropped: bool,
}

impl Model {
    fn new(shape: Shape) -> Self {
        let heads = shape.batch * shape.kv_heads;
        let (keys, values) = (vec![vec![]; heads], vec![vec![]; heads]);
        Self { shape, cache: shape.cache(), keys, values, length: 0, before_block: 0, has_dropped: false }
    }

    fn append(&mut self, random: &mut Random, count: usize) {
        let Shape { batch, kv_heads, head_dim, value_dim, .. } = self.shape;
        let (k, v) =
            (random.normals(batch * kv_heads * count * head_dim), random.normals(batch * kv_heads * count * value_dim));
        self.cache
            .append(
                Tensor::new("k", &k, &[batch, kv_heads, count, head_dim]).unwrap(),
                Tensor::new("v", &v, &[batch, kv_heads, count, value_dim]).unwrap(),
            )
            .unwrap();
        for (rows, block, size) in [(&mut self.keys, &k, head_dim), (&mut self.values, &v, value_dim)] {
            for (head, rows) in rows.iter_mut().enumerate() {
                rows.truncate(self.length * size);
                rows.extend(&block[head * count * size..(head + 1) * count * size]);
            }
        }
        if count > 0 {
            self.has_dropped |= self.shape.window.is_some_and(|window| self.length >= window);
            self.before_block = self.length;
            self.length += count;
        }
        assert_eq!(self.cache.length(), self.length);
    }

    fn truncate(&mut self, length: usize) {
        self.cache.truncate(length as u64).unwrap();
        self.length = length;
        if length == 0 {
            (self.before_block, self.has_dropped) = (0, false);
        }
        assert_eq!(self.cache.length(), length);
    }

    /// Returns the shortest nonzero length that it can be truncated to. It can attend from the positions after that.
    fn floor(&self) -> usize {
        if self.has_dropped { self.before_block } else { 0 }
    }

    fn attend(&self, random: &mut Random, queries: usize, flags: [bool; 4]) {
        let [causal, masked, blhd, narrowed] = flags;
        let Shape { batch, kv_heads, group, head_dim, value_dim, window, .. } = self.shape;
        let (heads, length) = (kv_heads * group, self.length);
        let layout = if blhd { Layout::Blhd } else { Layout::Bhld };
        let q_dims = if blhd { [batch, queries, heads, head_dim] } else { [batch, heads, queries, head_dim] };
        let q = random.normals(q_dims.iter().product());
        let q = Tensor::new("q", &q, &q_dims).unwrap();
        let keys = window.map_or(length, |window| length.min(queries + window - 1));
        let mask: Vec<u8> = (0..keys).map(|_| u8::from(!masked || random.below(4) > 0)).collect();
        let whole_mask: Vec<u8> = vec![0; length - keys].into_iter().chain(mask.iter().copied()).collect();
        let options = AttentionOptions {
            layout,
            causal,
            window: narrowed.then_some([3, 1]),
            weights: true,
            log_sum_exp: true,
            ..AttentionOptions::default()
        };
        let left = window.map_or(-1, |window| window as i64 - 1);
        let [given_left, right] = options.window.unwrap_or([-1, -1]);
        let left = if given_left < 0 || (0..given_left).contains(&left) { left } else { given_left };
        let whole_options = AttentionOptions {
            window: Some([left, right]),
            query_offset: Some(length as i64 - queries as i64),
            // The whole sequence always has this layout.
            layout,
            ..options.clone()
        };
        let in_layout = |rows: &[Vec<f32>], size: usize| -> (Vec<f32>, Vec<usize>) {
            if !blhd {
                let data = rows.iter().flat_map(|rows| rows[..length * size].to_vec()).collect();
                return (data, vec![batch, kv_heads, length, size]);
            }
            let row = |b: usize, l: usize, g: usize| rows[b * kv_heads + g][l * size..(l + 1) * size].to_vec();
            let heads = move |b: usize, l: usize| (0..kv_heads).flat_map(move |g| row(b, l, g));
            let mut data = vec![];
            for b in 0..batch {
                for l in 0..length {
                    data.extend(heads(b, l));
                }
            }
            (data, vec![batch, length, kv_heads, size])
        };
        let ((k, k_dims), (v, v_dims)) = (in_layout(&self.keys, head_dim), in_layout(&self.values, value_dim));
        let expected = reference::attention(
            q,
            Tensor::new("k", &k, &k_dims).unwrap(),
            Tensor::new("v", &v, &v_dims).unwrap(),
            &whole_options,
            Arrays {
                mask: Some(Mask::Boolean(Tensor::new("mask", &whole_mask, &[length]).unwrap())),
                ..Arrays::default()
            },
        );
        let dropped = length - keys;
        let expected_weights: Vec<f64> =
            expected.weights.chunks(length.max(1)).flat_map(|row| row[dropped.min(row.len())..].to_vec()).collect();
        let arrays = Arrays {
            mask: masked.then(|| Mask::Boolean(Tensor::new("mask", &mask, &[keys]).unwrap())),
            ..Arrays::default()
        };
        for context in contexts() {
            let rows = batch * heads * queries;
            let mut output = vec![f32::NAN; rows * value_dim];
            let (mut weights, mut log_sum_exp) = (vec![f32::NAN; rows * keys], vec![f32::NAN; rows]);
            let mut alone = output.clone();
            let outputs = Outputs {
                output: &mut output,
                weights: Some(&mut weights),
                log_sum_exp: Some(&mut log_sum_exp),
                ..Outputs::default()
            };
            self.cache.attend(context, q, &options, arrays, outputs).unwrap();
            let outputs = Outputs { output: &mut alone, ..Outputs::default() };
            self.cache
                .attend(
                    context,
                    q,
                    &AttentionOptions { weights: false, log_sum_exp: false, ..options.clone() },
                    arrays,
                    outputs,
                )
                .unwrap();
            assert_near(&output, &expected.output, 5e-6, "output");
            assert_near(&alone, &expected.output, 5e-6, "output alone");
            assert_near(&log_sum_exp, &expected.log_sum_exp, 3e-6, "log_sum_exp");
            assert_near(&weights, &expected_weights, 3e-6, "weights");
        }
    }

    /// Replaces the cache by a revived copy, as after a fault of the backend.
    fn revive(&mut self) {
        let mut revived = None;
        let mut visit = |entries: &[TypedEntry<'_>]| {
            revived = Some(self.cache.revived(entries)?);
            Ok(())
        };
        self.cache.visit_entries(&mut visit).unwrap();
        assert_eq!(self.cache.revived(&[]).err().unwrap().code, Code::Internal);
        self.cache = revived.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cache_matches_one_call_over_the_whole_sequence(
        (batch, kv_heads, group) in (1usize..=2, 1usize..=2, 1usize..=5),
        (head_dim, value_dim) in (1usize..=20, 1usize..=20),
        capacity in 1usize..=50,
        window in prop::option::weighted(0.6, 0.0f64..=1.0),
        steps in prop::collection::vec((0u8..=9, any::<[bool; 4]>()), 1..=25),
        seed in any::<u64>(),
    ) {
        let window = window.map(|part| 1 + (part * (2 * capacity) as f64) as usize);
        let mut model = Model::new(Shape { batch, kv_heads, group, head_dim, value_dim, capacity, window });
        let mut random = Random::new(seed);
        for (step, flags) in steps {
            let room = capacity - if window.is_some() { 0 } else { model.length };
            match step {
                0 => model.append(&mut random, room),
                1..=3 => { let count = random.below(room + 1); model.append(&mut random, count) }
                4..=5 => model.append(&mut random, room.min(1)),
                6 => {
                    let floor = model.floor();
                    let length = floor + random.below(model.length - floor + 1);
                    model.truncate(if flags == [true; 4] { 0 } else { length });
                }
                7 => model.revive(),
                _ => {}
            }
            let most = model.length - model.floor();
            model.attend(&mut random, random_count(most, seed ^ u64::from(step)), flags);
        }
    }
}

fn random_count(most: usize, seed: u64) -> usize {
    Random::new(seed).below(most + 1)
}

fn ones(cache: &KvCache, count: usize) -> Result<(), (Code, String)> {
    let config = cache.config();
    let data = vec![1.0; config.batch * config.kv_heads * count * config.head_dim];
    let tensor = Tensor::new("k", &data, &[config.batch, config.kv_heads, count, config.head_dim]).unwrap();
    cache.append(tensor, tensor).map_err(|error| (error.code, error.argument.clone()))
}

fn attend(
    cache: &KvCache,
    dims: &[usize],
    options: &AttentionOptions,
    arrays: Arrays<'_>,
) -> Result<(), (Code, String)> {
    let data = vec![1.0; dims.iter().product()];
    let q = Tensor::new("q", &data, dims).unwrap();
    let mut output = vec![7.0; data.len() / dims.last().unwrap() * cache.config().value_dim()];
    let outputs = Outputs { output: &mut output, ..Outputs::default() };
    cache.attend(Context::default(), q, options, arrays, outputs).map_err(|error| {
        assert!(output.iter().all(|&value| value == 7.0), "{error}");
        (error.code, error.argument.clone())
    })
}

fn cache(config: &str) -> KvCache {
    KvCache::new(from_json(config)).unwrap()
}

#[test]
fn a_full_cache_rejects_more_keys_and_stays_unchanged() {
    let cache = cache(r#"{"kvHeads":1,"headDim":2,"capacity":5}"#);
    assert_eq!(ones(&cache, 4), Ok(()));
    assert_eq!(ones(&cache, 2), Err((Code::Shape, "k".into())));
    assert_eq!(cache.length(), 4);
    assert_eq!(ones(&cache, 1), Ok(()));
    assert_eq!(ones(&cache, 1), Err((Code::Shape, "k".into())));
    cache.truncate(3).unwrap();
    assert_eq!(ones(&cache, 2), Ok(()));
    assert_eq!(cache.length(), 5);
}

#[test]
fn a_ring_never_fills_but_truncates_no_further_than_its_last_block() {
    let cache = cache(r#"{"kvHeads":2,"headDim":2,"capacity":6,"window":4}"#);
    for _ in 0..100 {
        assert_eq!(ones(&cache, 6), Ok(()));
    }
    assert_eq!(cache.length(), 600);
    assert_eq!(ones(&cache, 7), Err((Code::Shape, "k".into())));
    let error = cache.truncate(593).unwrap_err();
    assert_eq!((error.code, error.argument.as_str()), (Code::Option, "length"));
    assert_eq!(error.expected, "0, or an integer from 594 to the length 600");
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    assert_eq!(attend(&cache, &[1, 2, 6, 2], &options, Arrays::default()), Ok(()));
    assert_eq!(attend(&cache, &[1, 2, 7, 2], &options, Arrays::default()), Err((Code::Shape, "q".into())));
    cache.truncate(596).unwrap();
    assert_eq!(attend(&cache, &[1, 2, 2, 2], &options, Arrays::default()), Ok(()));
    assert_eq!(attend(&cache, &[1, 2, 3, 2], &options, Arrays::default()), Err((Code::Shape, "q".into())));
    assert!(cache.truncate(597).is_err());
    cache.truncate(0).unwrap();
    assert_eq!(cache.length(), 0);
    assert_eq!(ones(&cache, 6), Ok(()));
}

#[test]
fn invalid_calls_of_a_cache_are_rejected_and_change_nothing() {
    let cache = cache(r#"{"batch":2,"kvHeads":2,"headDim":3,"valueDim":4,"capacity":9}"#);
    let data = vec![1.0; 512];
    let append = |k: &[usize], v: &[usize]| {
        let tensor = |dims: &[usize]| Tensor::new("x", &data[..dims.iter().product()], dims).unwrap();
        cache.append(tensor(k), tensor(v)).map_err(|error| (error.code, error.argument.clone()))
    };
    let fault = |argument: &str| Err((Code::Shape, argument.to_owned()));
    assert_eq!(append(&[1, 2, 5, 3], &[1, 2, 5, 4]), fault("k"));
    assert_eq!(append(&[2, 1, 5, 3], &[2, 1, 5, 4]), fault("k"));
    assert_eq!(append(&[2, 2, 5, 4], &[2, 2, 5, 4]), fault("k"));
    assert_eq!(append(&[2, 5, 3], &[2, 5, 4]), fault("k"));
    assert_eq!(append(&[2, 2, 5, 3], &[2, 2, 4, 4]), fault("v"));
    assert_eq!(append(&[2, 2, 5, 3], &[2, 2, 5, 3]), fault("v"));
    assert_eq!(append(&[2, 2, 10, 3], &[2, 2, 10, 4]), fault("k"));
    assert_eq!(cache.length(), 0);
    assert_eq!(append(&[2, 2, 5, 3], &[2, 2, 5, 4]), Ok(()));
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let run = |dims: &[usize]| attend(&cache, dims, &options, Arrays::default());
    assert_eq!(run(&[2, 6, 5, 3]), Ok(()));
    assert_eq!(run(&[2, 3, 5, 3]), fault("q"));
    assert_eq!(run(&[1, 2, 5, 3]), fault("q"));
    assert_eq!(run(&[2, 2, 5, 4]), fault("q"));
    assert_eq!(run(&[2, 2, 6, 3]), fault("q"));
    assert_eq!(run(&[2, 5, 3]), fault("q"));
    let ints = [1, 1];
    let option = |argument: &str| Err((Code::Option, argument.to_owned()));
    let arrays = Arrays { query_offset: Some(&ints), ..Arrays::default() };
    assert_eq!(attend(&cache, &[2, 2, 1, 3], &options, arrays), option("query_offset"));
    let arrays = Arrays { kv_lengths: Some(&ints), ..Arrays::default() };
    assert_eq!(attend(&cache, &[2, 2, 1, 3], &options, arrays), option("kv_lengths"));
    let top = AttentionOptions { top_weights: Some(6), ..options.clone() };
    assert_eq!(attend(&cache, &[2, 2, 1, 3], &top, Arrays::default()), option("top_weights"));
    assert_eq!(cache.truncate(6).unwrap_err().expected, "an integer from 0 to the length 5");
}

#[test]
fn an_impossible_configuration_is_rejected() {
    for (json, argument) in [
        (r#"{"headDim":2,"capacity":5}"#, "kv_heads"),
        (r#"{"kvHeads":2,"capacity":5}"#, "head_dim"),
        (r#"{"kvHeads":2,"headDim":5}"#, "capacity"),
        (r#"{"kvHeads":2,"headDim":5,"capacity":0}"#, "capacity"),
        (r#"{"kvHeads":2,"headDim":5,"capacity":5,"window":0}"#, "window"),
    ] {
        let error = KvCache::new(from_json(json)).err().unwrap();
        assert_eq!((error.code, error.argument.as_str()), (Code::Option, argument), "{json}");
    }
    let huge = r#"{"kvHeads":9007199254740991,"headDim":9007199254740991,"capacity":9007199254740991}"#;
    assert_eq!(KvCache::new(from_json(huge)).err().unwrap().code, Code::Memory);
}

#[test]
fn a_window_takes_little_more_memory_than_its_keys() {
    let cache = cache(r#"{"kvHeads":2,"headDim":4,"capacity":1,"window":4096}"#);
    assert!(cache.bytes() <= 2 * 2 * 4 * 4 * (4096 + 256));
    for _ in 0..10_000 {
        assert_eq!(ones(&cache, 1), Ok(()));
    }
    assert_eq!((cache.length(), cache.held()), (10_000, 4096));
}

#[test]
fn entries_of_different_lengths_are_appended_reordered_and_truncated_apart() {
    let config = r#"{"batch":2,"kvHeads":1,"headDim":1,"capacity":4}"#;
    let made = cache(config);
    let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let block = Tensor::new("k", &data, &[2, 3, 1]).unwrap();
    let append = |lengths: &[i32]| made.append_with(block, block, AppendOptions::default(), Some(lengths));
    append(&[3, 1]).unwrap();
    let read = |cache: &KvCache| {
        let (mut keys, mut values, mut starts) = (vec![7.0; 2 * cache.held()], vec![7.0; 2 * cache.held()], [7; 2]);
        cache.read_into(Layout::Bhld, [&mut keys, &mut values], &mut starts).unwrap();
        assert_eq!((&keys, starts), (&values, [0; 2]));
        keys
    };
    assert_eq!(read(&made), [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
    for (lengths, code) in [([2, 0], Code::Shape), ([0, 4], Code::Option)] {
        let error = append(&lengths).unwrap_err();
        assert_eq!((error.code, error.argument.as_str()), (code, "lengths"));
    }
    let copy = cache(config);
    copy.copy_from(&made).unwrap();
    copy.copy_from(&copy).unwrap();
    copy.reorder(&[1, 0]).unwrap();
    assert_eq!(read(&copy), [4.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
    copy.truncate_to(Truncation::Each(&[1, 2])).unwrap();
    assert_eq!(read(&copy), [4.0, 0.0, 1.0, 2.0]);
    assert_eq!(copy.truncate_to(Truncation::Each(&[2, 2])).unwrap_err().code, Code::Option);
    copy.reorder(&[1, 1]).unwrap();
    assert_eq!(read(&copy), [1.0, 2.0, 1.0, 2.0]);
    assert_eq!(copy.reorder(&[0, 2]).unwrap_err().argument, "entries");
    assert_eq!(read(&made), [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
}

#[test]
fn a_cache_attends_the_same_for_every_number_of_threads() {
    let shape = Shape { batch: 1, kv_heads: 4, group: 2, head_dim: 64, value_dim: 64, capacity: 9000, window: None };
    let mut model = Model::new(shape);
    let mut random = Random::new(8);
    model.append(&mut random, 9000);
    let q = random.normals(8 * 64);
    let q = Tensor::new("q", &q, &[1, 8, 1, 64]).unwrap();
    let run = |level, threads| {
        let mut output = vec![f32::NAN; 8 * 64];
        let outputs = Outputs { output: &mut output, ..Outputs::default() };
        let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
        model.cache.attend(Context::new(level, threads), q, &options, Arrays::default(), outputs).unwrap();
        output
    };
    for level in Level::available() {
        assert!([2, 3, 5].iter().all(|&threads| run(level, threads) == run(level, 1)), "{}", level.name());
    }
}

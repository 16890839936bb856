//! Keys and values that stay between calls: what a decoder appends token by token and attends over.
//!
//! Each key/value head has its rows in one piece, `[B, G, rows, D]`, so that decoding streams them. With a window the rows
//! are `capacity + window − 1`: when a block no longer fits behind the others, the `window − 1` rows that its first query
//! still sees move to the front. That happens once in `capacity` rows at most, and costs less than a row each.

use std::fmt::Write;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::calls::Object;
use crate::error::{Code, Error, Result};
use crate::math::random::Dropout;
use crate::options::parse::{Given, read_into, read_options};
use crate::options::{AttentionOptions, COUNT, Layout, count};
use crate::sdpa::mask::Visibility;
use crate::sdpa::{self, Arrays, Dims, Outputs, Problem, Strides, check_volume};
use crate::tensor::{Tensor, try_zeroed};
use crate::threads::Context;
use crate::weights::Entry;

/// What a cache holds at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Batch entries; 1 unless given.
    pub batch: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// The size of a head's keys.
    pub head_dim: usize,
    /// The size of a head's values; `head_dim` unless given.
    pub value_dim: usize,
    /// The most keys; with a window the most keys of one block.
    pub capacity: usize,
    /// How many keys a query sees, its own position included; all unless given.
    pub window: Option<usize>,
}

#[derive(Default)]
struct GivenConfig {
    batch: Option<usize>,
    kv_heads: Option<usize>,
    head_dim: Option<usize>,
    value_dim: Option<usize>,
    capacity: Option<usize>,
    window: Option<usize>,
}

impl CacheConfig {
    /// The configuration that a JSON object holds.
    pub fn parse(json: &str) -> Result<Self> {
        let mut given = GivenConfig::default();
        read_into!(given, Some(json), &[], |names| names, {
            "batch" => batch: count,
            "kvHeads" => kv_heads: count,
            "headDim" => head_dim: count,
            "valueDim" => value_dim: count,
            "capacity" => capacity: count,
            "window" => window: count,
        })?;
        let required = |name: &str, value: Option<usize>| value.ok_or_else(|| Error::option(name, COUNT, "nothing"));
        let head_dim = required("headDim", given.head_dim)?;
        let config = Self {
            batch: given.batch.unwrap_or(1),
            kv_heads: required("kvHeads", given.kv_heads)?,
            head_dim,
            value_dim: given.value_dim.unwrap_or(head_dim),
            capacity: required("capacity", given.capacity)?,
            window: given.window,
        };
        if let Some(window) = config.window.filter(|&window| window > config.capacity) {
            let expected = format_args!("an integer from 1 to the capacity {}", config.capacity);
            return Err(Error::option("window", expected, window));
        }
        Ok(config)
    }

    fn to_json(&self) -> String {
        let Self { batch, kv_heads, head_dim, value_dim, capacity, window } = self;
        let mut json = format!(
            r#"{{"batch":{batch},"kvHeads":{kv_heads},"headDim":{head_dim},"valueDim":{value_dim},"capacity":{capacity}"#
        );
        if let Some(window) = window {
            // Writing to a String does not fail.
            let _ = write!(json, r#","window":{window}"#);
        }
        json.push('}');
        json
    }

    /// The length of a block of rows of `size`, which has to be `count` if that is given.
    #[inline(never)]
    fn check_block(&self, argument: &str, tensor: Tensor<'_>, size: usize, count: Option<usize>) -> Result<usize> {
        let dims = Dims::of(argument, tensor.shape, Layout::Bhld, ["G", "n", "D"])?;
        let length = count.unwrap_or(dims.length);
        if [dims.batch, dims.heads, dims.length, dims.size] == [self.batch, self.kv_heads, length, size] {
            return Ok(length);
        }
        let expected = format_args!("[{}, {}, {length}, {size}]", self.batch, self.kv_heads);
        Err(Error::shape(argument, expected, tensor.shape))
    }

    /// Rows of memory of each head.
    fn rows(&self) -> usize {
        self.capacity.saturating_add(self.window.unwrap_or(1) - 1)
    }

    /// Positions before a query that it sees, or `None` for all.
    fn reach(&self) -> Option<usize> {
        self.window.map(|window| window - 1)
    }
}

/// Keys and values of the positions so far.
pub struct KvCache {
    config: CacheConfig,
    contents: RwLock<Contents>,
}

/// Positions count from the first key that was ever appended. `in_memory ≤ kept ≤ length`.
struct Contents {
    keys: Vec<f32>,
    values: Vec<f32>,
    /// The position after the last one.
    length: usize,
    /// Positions before it have left the window for good.
    kept: usize,
    /// The position of row 0.
    in_memory: usize,
}

impl KvCache {
    /// An empty cache of this configuration, a JSON object, with all its memory.
    ///
    /// # Errors
    /// `OPTION` for a configuration that does not fit, `MEMORY`.
    pub fn new(config: &str) -> Result<Self> {
        let config = CacheConfig::parse(config)?;
        let allocate = |size: usize| {
            let elements =
                [config.kv_heads, config.rows(), size].iter().try_fold(config.batch, |a, &b| a.checked_mul(b));
            try_zeroed("capacity", elements.unwrap_or(usize::MAX))
        };
        let (keys, values) = (allocate(config.head_dim)?, allocate(config.value_dim)?);
        let contents = RwLock::new(Contents { keys, values, length: 0, kept: 0, in_memory: 0 });
        Ok(Self { config, contents })
    }

    /// The configuration with every default filled in.
    pub fn config(&self) -> &CacheConfig {
        &self.config
    }

    /// The positions so far: keys appended, less those truncated.
    pub fn length(&self) -> usize {
        self.read().length
    }

    // What a panic leaves behind is whole: the length is set last.
    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends keys `[B, G, n, D]` and values `[B, G, n, E]`, or `[B, n, D]` and `[B, n, E]` for one head.
    ///
    /// # Errors
    /// `SHAPE` where the shapes do not fit, or where the cache has no room for n more; nothing is changed then.
    pub fn append(&self, k: Tensor<'_>, v: Tensor<'_>) -> Result<()> {
        let config = &self.config;
        let count = config.check_block("k", k, config.head_dim, None)?;
        config.check_block("v", v, config.value_dim, Some(count))?;
        let mut contents = self.write();
        let room = config.capacity - if config.window.is_some() { 0 } else { contents.length };
        if count > room {
            let expected = format_args!("a length of at most {room}, what capacity {} has room for", config.capacity);
            return Err(Error::shape("k", expected, count));
        }
        if count > 0 {
            contents.append(config, k.data, v.data, count);
        }
        Ok(())
    }

    /// Attention of the last L positions, q `[B, H, L, D]` or `[B, L, H, D]` in layout `blhd` or `[B, L, D]`, over the keys
    /// so far: causal unless the options say otherwise, and with a window as far as it reaches. S is the number of keys so
    /// far, with a window no more than `L + window − 1`.
    ///
    /// # Errors
    /// `SHAPE` where shapes, lengths or outputs do not fit, or q has more rows than positions are left to attend from;
    /// `OPTION` where an option's value does not fit or the cache itself decides it; `MEMORY`.
    pub fn attend(
        &self,
        context: Context,
        q: Tensor<'_>,
        options: &AttentionOptions,
        arrays: Arrays<'_>,
        outputs: Outputs<'_>,
    ) -> Result<()> {
        let config = &self.config;
        for (name, array) in [("queryOffset", arrays.query_offset), ("kvLengths", arrays.kv_lengths)] {
            if array.is_some() {
                return Err(Error::option(name, "no value: the cache knows its lengths", "an Int32Array"));
            }
        }
        let dims = Dims::of("q", q.shape, options.layout, ["H", "L", "D"])?;
        if dims.batch != config.batch || dims.size != config.head_dim || !dims.heads.is_multiple_of(config.kv_heads) {
            let &CacheConfig { batch, kv_heads, head_dim, .. } = config;
            let expected =
                format_args!("batch size {batch}, heads in multiples of {kv_heads} and head size {head_dim}");
            return Err(Error::shape("q", expected, q.shape));
        }
        let contents = self.read();
        let queries = dims.length;
        let most = contents.attendable(config);
        // Where neither order nor window counts, it is nowhere that a query stands.
        let counts_positions = options.causal || options.window.is_some() || config.window.is_some();
        if queries > most && counts_positions {
            let expected = format_args!("at most {most} queries, the last positions that the cache has all keys of");
            return Err(Error::shape("q", expected, queries));
        }
        let keys = config.reach().map_or(contents.length, |reach| contents.length.min(queries + reach));
        let first_row = contents.length - keys - contents.in_memory;
        let shape = [config.batch, dims.heads, queries, keys];
        check_volume(shape, config.head_dim.max(config.value_dim))?;
        let strides = |size: usize| Strides {
            batch: config.kv_heads * config.rows() * size,
            head: config.rows() * size,
            row: size,
        };
        let offset = keys as i64 - queries as i64;
        let problem = Problem {
            q: q.data,
            k: &contents.keys[first_row * config.head_dim..],
            v: &contents.values[first_row * config.value_dim..],
            q_strides: Strides::new(options.layout, dims.heads, queries, config.head_dim),
            k_strides: strides(config.head_dim),
            v_strides: strides(config.value_dim),
            output_strides: Strides::new(options.layout, dims.heads, queries, config.value_dim),
            batch: config.batch,
            heads: dims.heads,
            kv_heads: config.kv_heads,
            queries,
            keys,
            head_dim: config.head_dim,
            value_dim: config.value_dim,
            scale: options.scale.unwrap_or(1.0 / (config.head_dim as f32).sqrt()),
            softcap: options.softcap,
            visibility: Visibility::new(
                shape,
                q.shape.rank(),
                options.causal,
                self.window(options.window),
                offset,
                &arrays,
            )?,
            dropout: Dropout::new(options.dropout, options.seed),
            key_block: sdpa::KEY_BLOCK,
            ball: None,
            part_of: None,
        };
        sdpa::attend_into(context, &problem, options.top_weights, outputs)
    }

    /// The caller's window, no wider to the left than the cache's.
    fn window(&self, given: Option<[i64; 2]>) -> Option<[i64; 2]> {
        let Some(reach) = self.config.reach() else { return given };
        let [left, right] = given.unwrap_or([-1, -1]);
        let reach = reach as i64;
        Some([if left < 0 { reach } else { left.min(reach) }, right])
    }

    /// Goes back to the first `length` positions.
    ///
    /// # Errors
    /// `OPTION` for a length that is more than there are, or so little that keys are missing which have left the window.
    pub fn truncate(&self, length: u64) -> Result<()> {
        let mut contents = self.write();
        // One beyond every address is beyond the length too, and said as it was given.
        let (given, length) = (length, usize::try_from(length).unwrap_or(usize::MAX));
        // The next query stands at `length`, and sees as far back as the window reaches.
        let least = if contents.kept == 0 { 0 } else { contents.kept + self.config.reach().unwrap_or(0) };
        if length > contents.length || (length < least && length > 0) {
            let or_nothing = if least > 0 { "0, or " } else { "" };
            let expected = format_args!("{or_nothing}an integer from {least} to the length {}", contents.length);
            return Err(Error::option("length", expected, given));
        }
        if length == 0 {
            (contents.kept, contents.in_memory) = (0, 0);
        }
        contents.length = length;
        Ok(())
    }
}

impl Contents {
    /// How many of the last positions have all the keys that they see.
    fn attendable(&self, config: &CacheConfig) -> usize {
        if self.kept == 0 { self.length } else { self.length - self.kept - config.reach().unwrap_or(0) }
    }

    fn append(&mut self, config: &CacheConfig, k: &[f32], v: &[f32], count: usize) {
        let rows = config.rows();
        if let Some(reach) = config.reach() {
            self.kept = self.kept.max(self.length.saturating_sub(reach));
        }
        let mut used = self.length - self.in_memory;
        let stale = if used + count > rows { self.kept - self.in_memory } else { 0 };
        let place = Place { rows, stale, used, count };
        place.fill(&mut self.keys, k, config.head_dim);
        place.fill(&mut self.values, v, config.value_dim);
        used -= stale;
        self.in_memory += stale;
        self.length = self.in_memory + used + count;
    }
}

const LENGTH: &str = "an integer of at least 0";

#[derive(Default)]
struct TruncateOptions {
    length: Option<u64>,
}

/// The length that `truncate` goes back to, from `{ "length" }`.
pub(crate) fn parse_length(json: Option<&str>) -> Result<u64> {
    let mut options = TruncateOptions::default();
    read_into!(options, json, &[], |names| names, { "length" => length: length, })?;
    options.length.ok_or_else(|| Error::option("length", LENGTH, "nothing"))
}

fn length(given: &Given<'_>) -> Result<Option<u64>> {
    Ok(u64::try_from(given.integer(0, i64::MAX, LENGTH)?).ok())
}

/// Where a block goes in the rows of each head.
struct Place {
    rows: usize,
    /// Rows that make room first.
    stale: usize,
    used: usize,
    count: usize,
}

impl Place {
    #[inline(never)]
    fn fill(&self, memory: &mut [f32], block: &[f32], size: usize) {
        let (stale, used) = (self.stale * size, self.used * size);
        for (head, block) in memory.chunks_exact_mut(self.rows * size).zip(block.chunks_exact(self.count * size)) {
            if stale > 0 {
                head.copy_within(stale..used, 0);
            }
            head[used - stale..][..block.len()].copy_from_slice(block);
        }
    }
}

/// What carries a cache over to another instance of the backend: its memory, and its positions as a shape.
impl Object for KvCache {
    fn config(&self) -> String {
        self.config.to_json()
    }

    fn visit_entries(&self, visit: &mut dyn FnMut(&[Entry<'_>]) -> Result<()>) -> Result<()> {
        let contents = self.read();
        let positions = vec![contents.length, contents.kept, contents.in_memory, 0];
        visit(&[
            Entry { name: "positions".into(), shape: positions, data: &[] },
            Entry { name: "keys".into(), shape: vec![contents.keys.len()], data: &contents.keys },
            Entry { name: "values".into(), shape: vec![contents.values.len()], data: &contents.values },
        ])
    }

    fn with_entries(&self, entries: &[Entry<'_>], _prefix: &str) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.revived(entries)?))
    }
}

impl KvCache {
    /// A cache of the same configuration that holds what `entries` say.
    ///
    /// # Errors
    /// `INTERNAL` for other entries than those of [`Object::visit_entries`], `MEMORY`.
    pub fn revived(&self, entries: &[Entry<'_>]) -> Result<Self> {
        let cache = Self::new(&self.config.to_json())?;
        let mut contents = cache.write();
        if let [positions, keys, values] = entries
            && let [length, kept, in_memory, _] = positions.shape[..]
            && [keys.data.len(), values.data.len()] == [contents.keys.len(), contents.values.len()]
        {
            contents.keys.copy_from_slice(keys.data);
            contents.values.copy_from_slice(values.data);
            (contents.length, contents.kept, contents.in_memory) = (length, kept, in_memory);
            drop(contents);
            return Ok(cache);
        }
        Err(Error::new(Code::Internal, "entries", "those of a cache", entries.len()))
    }
}

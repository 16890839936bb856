//! A key/value cache: a decoder appends keys and values token by token and attends over all of them.
//!
//! Each key/value head stores its rows contiguously, `[B, G, rows, D]`, so that decoding streams through them. With a
//! window, a head has `capacity + window − 1` rows: when a new block no longer fits, the `window − 1` rows that its
//! first query still sees move to the front. That happens at most once every `capacity` rows, so the amortized cost is
//! less than one copied row per appended row.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::attention::mask::Visibility;
use crate::attention::{self, Arrays, Dims, Outputs, Problem, Strides, check_volume};
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::layers::Entry;
use crate::math::random::Dropout;
use crate::options::{AttentionOptions, Layout};
use crate::ranges;
use crate::tensor::{Shape, Tensor, try_zeroed};

/// The sizes of a cache. `kv_heads`, `head_dim` and `capacity` are required.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct CacheConfig {
    /// Batch entries; 1 by default.
    pub batch: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// The size of a head's keys.
    pub head_dim: usize,
    /// The size of a head's values; defaults to `head_dim`.
    pub value_dim: Option<usize>,
    /// The maximum number of keys; with a window, the maximum number of keys in one appended block.
    pub capacity: usize,
    /// The number of keys a query sees, including its own position; at most `capacity`. Default: all keys.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub window: Option<usize>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { batch: 1, kv_heads: 0, head_dim: 0, value_dim: None, capacity: 0, window: None }
    }
}

impl CacheConfig {
    /// Returns the size of a head's values.
    pub fn value_dim(&self) -> usize {
        self.value_dim.unwrap_or(self.head_dim)
    }

    /// Returns the configuration with every default filled in.
    ///
    /// # Errors
    /// `OPTION` if a value is out of range or does not fit the others.
    pub fn resolved(self) -> Result<Self> {
        ranges::count("batch", self.batch)?;
        ranges::optional_count("value_dim", self.value_dim)?;
        ranges::optional_count("window", self.window)?;
        for (name, value) in [("kv_heads", self.kv_heads), ("head_dim", self.head_dim), ("capacity", self.capacity)] {
            ranges::count(name, value)?;
        }
        if let Some(window) = self.window.filter(|&window| window > self.capacity) {
            let expected = format_args!("an integer from 1 to the capacity {}", self.capacity);
            return Err(Error::value("window", expected, window));
        }
        Ok(Self { value_dim: Some(self.value_dim()), ..self })
    }

    /// Returns the length of a block of rows of `size`; it must equal `count` if that is given.
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

    /// Returns the number of rows allocated for each head.
    fn rows(&self) -> usize {
        self.capacity.saturating_add(self.window.unwrap_or(1) - 1)
    }

    /// Returns how many positions before its own a query sees, or `None` for all.
    fn reach(&self) -> Option<usize> {
        self.window.map(|window| window - 1)
    }

    /// Returns the number of keys that the last `queries` of `length` positions see.
    fn attended(&self, length: usize, queries: usize) -> usize {
        self.reach().map_or(length, |reach| length.min(queries + reach))
    }
}

/// Keys and values of all positions appended so far.
pub struct KvCache {
    config: CacheConfig,
    contents: RwLock<Contents>,
}

/// State of a cache. Positions count from the first key ever appended; `first_stored ≤ first_visible ≤ length`.
struct Contents {
    keys: Vec<f32>,
    values: Vec<f32>,
    /// One past the last position.
    length: usize,
    /// The first position still inside the window; earlier ones are lost.
    first_visible: usize,
    /// The position stored in row 0.
    first_stored: usize,
}

impl KvCache {
    /// Creates an empty cache and allocates all of its memory.
    ///
    /// # Errors
    /// `OPTION` if the configuration is invalid, `MEMORY` if the allocation fails.
    pub fn new(config: CacheConfig) -> Result<Self> {
        let config = config.resolved()?;
        let allocate = |size: usize| {
            let elements =
                [config.kv_heads, config.rows(), size].iter().try_fold(config.batch, |a, &b| a.checked_mul(b));
            try_zeroed("capacity", elements.unwrap_or(usize::MAX))
        };
        let (keys, values) = (allocate(config.head_dim)?, allocate(config.value_dim())?);
        let contents = RwLock::new(Contents { keys, values, length: 0, first_visible: 0, first_stored: 0 });
        Ok(Self { config, contents })
    }

    /// Returns the configuration with every default filled in.
    pub fn config(&self) -> &CacheConfig {
        &self.config
    }

    /// Returns the number of positions: keys appended minus keys truncated.
    pub fn length(&self) -> usize {
        self.read().length
    }

    // A poisoned lock is safe to use: the length is set last, so a panic leaves the contents consistent.
    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends keys `[B, G, n, D]` and values `[B, G, n, E]`, or `[B, n, D]` and `[B, n, E]` for one head.
    ///
    /// # Errors
    /// `SHAPE` if the shapes do not fit or the cache has no room for n more positions; the cache is then unchanged.
    pub fn append(&self, k: Tensor<'_>, v: Tensor<'_>) -> Result<()> {
        self.append_with(k, v, AppendOptions::default())
    }

    /// Like [`Self::append`], for blocks in any layout: `[B, n, G, D]` and `[B, n, G, E]` in `blhd`.
    ///
    /// # Errors
    /// The errors of [`Self::append`], and `MEMORY`.
    pub fn append_with(&self, k: Tensor<'_>, v: Tensor<'_>, options: AppendOptions) -> Result<()> {
        let (k, v) = (HeadsFirst::new(k, options.layout)?, HeadsFirst::new(v, options.layout)?);
        self.append_heads_first(k.tensor(), v.tensor())
    }

    fn append_heads_first(&self, k: Tensor<'_>, v: Tensor<'_>) -> Result<()> {
        let config = &self.config;
        let count = config.check_block("k", k, config.head_dim, None)?;
        config.check_block("v", v, config.value_dim(), Some(count))?;
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

    /// Returns the number of bytes that the cache occupies.
    pub fn bytes(&self) -> usize {
        let contents = self.read();
        size_of_val(&*contents.keys) + size_of_val(&*contents.values)
    }

    /// Returns the number of keys that the last `queries` positions attend to.
    pub fn attended(&self, queries: usize) -> usize {
        self.config.attended(self.length(), queries)
    }

    /// Computes attention of the last L positions over the cached keys: q is `[B, H, L, D]`, `[B, L, H, D]` in layout
    /// `blhd`, or `[B, L, D]`. Attention is causal unless the options say otherwise, and limited to the window if there
    /// is one. S is the number of cached keys, with a window at most `L + window − 1`.
    ///
    /// # Errors
    /// `SHAPE` if shapes, lengths or outputs do not fit, or q has more rows than there are positions with all their
    /// keys; `OPTION` if an option is out of range or is determined by the cache itself; `MEMORY`.
    pub fn attend(
        &self,
        context: Context<'_>,
        q: Tensor<'_>,
        options: &AttentionOptions,
        arrays: Arrays<'_>,
        outputs: Outputs<'_>,
    ) -> Result<()> {
        let config = &self.config;
        options.check()?;
        options.check_no_stage()?;
        if let Some(offset) = options.query_offset {
            let expected = "no value: the queries are the cache's last positions";
            return Err(Error::value("query_offset", expected, offset));
        }
        for (name, array) in [
            ("query_offset", arrays.query_offset),
            ("kv_lengths", arrays.kv_lengths),
            ("cu_seqlens", arrays.cu_seqlens.or(arrays.cu_seqlens_keys)),
        ] {
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
        // Without a causal limit or a window, the position of a query does not matter.
        let counts_positions = options.causal || options.window.is_some() || config.window.is_some();
        if queries > most && counts_positions {
            let expected = format_args!("at most {most} queries, the last positions that the cache has all keys of");
            return Err(Error::shape("q", expected, queries));
        }
        let keys = config.attended(contents.length, queries);
        let first_row = contents.length - keys - contents.first_stored;
        let shape = [config.batch, dims.heads, queries, keys];
        check_volume(shape, config.head_dim.max(config.value_dim()))?;
        let strides = |size: usize| Strides {
            batch: config.kv_heads * config.rows() * size,
            head: config.rows() * size,
            row: size,
        };
        let offset = keys as i64 - queries as i64;
        let problem = Problem {
            q: q.data,
            k: &contents.keys[first_row * config.head_dim..],
            v: &contents.values[first_row * config.value_dim()..],
            q_strides: Strides::new(options.layout, dims.heads, queries, config.head_dim),
            k_strides: strides(config.head_dim),
            v_strides: strides(config.value_dim()),
            output_strides: Strides::new(options.layout, dims.heads, queries, config.value_dim()),
            batch: config.batch,
            heads: dims.heads,
            kv_heads: config.kv_heads,
            queries,
            keys,
            head_dim: config.head_dim,
            value_dim: config.value_dim(),
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
            key_block: attention::key_block(options),
            ball: None,
            section: None,
        };
        attention::attend_into(context, &problem, options, outputs)
    }

    /// Returns the caller's window, limited on the left to the cache's.
    fn window(&self, given: Option<[i64; 2]>) -> Option<[i64; 2]> {
        let Some(reach) = self.config.reach() else { return given };
        let [left, right] = given.unwrap_or([-1, -1]);
        let reach = reach as i64;
        Some([if left < 0 { reach } else { left.min(reach) }, right])
    }

    /// Truncates the cache to its first `length` positions.
    ///
    /// # Errors
    /// `OPTION` if `length` exceeds the current length, or is so small that required keys have already left the window.
    pub fn truncate(&self, length: u64) -> Result<()> {
        let mut contents = self.write();
        // A length that does not fit `usize` exceeds the cache's length too; the error reports it as given.
        let (given, length) = (length, usize::try_from(length).unwrap_or(usize::MAX));
        // The next query is at position `length` and sees as far back as the window reaches.
        let least =
            if contents.first_visible == 0 { 0 } else { contents.first_visible + self.config.reach().unwrap_or(0) };
        if length > contents.length || (length < least && length > 0) {
            let or_nothing = if least > 0 { "0, or " } else { "" };
            let expected = format_args!("{or_nothing}an integer from {least} to the length {}", contents.length);
            return Err(Error::option("length", expected, given));
        }
        if length == 0 {
            (contents.first_visible, contents.first_stored) = (0, 0);
        }
        contents.length = length;
        Ok(())
    }
}

/// The options of [`KvCache::append_with`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct AppendOptions {
    /// The order of the dimensions of 4-D blocks.
    pub layout: Layout,
}

/// A block with its heads before its positions: borrowed as given, or rearranged into owned memory.
struct HeadsFirst<'a> {
    given: Tensor<'a>,
    rearranged: Option<(Vec<f32>, Shape)>,
}

impl<'a> HeadsFirst<'a> {
    fn new(given: Tensor<'a>, layout: Layout) -> Result<Self> {
        let (&[batch, count, heads, size], Layout::Blhd) = (given.shape.dims(), layout) else {
            return Ok(Self { given, rearranged: None });
        };
        let mut data = try_zeroed("working memory", given.data.len())?;
        let rows = given.data.chunks_exact(size.max(1)).enumerate();
        for (row, values) in rows {
            let (b, i, h) = (row / (count * heads), row / heads % count, row % heads);
            data[((b * heads + h) * count + i) * size..][..size].copy_from_slice(values);
        }
        Ok(Self { given, rearranged: Some((data, Shape::of([batch, heads, count, size]))) })
    }

    fn tensor(&self) -> Tensor<'_> {
        self.rearranged.as_ref().map_or(self.given, |(data, shape)| Tensor { data, shape: *shape })
    }
}

impl Contents {
    /// Returns how many of the last positions still have all the keys they see.
    fn attendable(&self, config: &CacheConfig) -> usize {
        if self.first_visible == 0 {
            self.length
        } else {
            self.length - self.first_visible - config.reach().unwrap_or(0)
        }
    }

    fn append(&mut self, config: &CacheConfig, k: &[f32], v: &[f32], count: usize) {
        let rows = config.rows();
        if let Some(reach) = config.reach() {
            self.first_visible = self.first_visible.max(self.length.saturating_sub(reach));
        }
        let mut used = self.length - self.first_stored;
        let stale = if used + count > rows { self.first_visible - self.first_stored } else { 0 };
        let destination = Destination { rows, stale, used, count };
        destination.fill(&mut self.keys, k, config.head_dim);
        destination.fill(&mut self.values, v, config.value_dim());
        used -= stale;
        self.first_stored += stale;
        self.length = self.first_stored + used + count;
    }
}

/// The destination of a block within the rows of each head.
struct Destination {
    rows: usize,
    /// Rows to discard first, to make room.
    stale: usize,
    used: usize,
    count: usize,
}

impl Destination {
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

impl KvCache {
    /// Passes the entries that [`Self::revived`] accepts to `visit`: the positions, stored as a shape, and the memory.
    ///
    /// # Errors
    /// Any error that `visit` returns.
    pub fn visit_entries(&self, visit: &mut dyn FnMut(&[Entry<'_>]) -> Result<()>) -> Result<()> {
        let contents = self.read();
        let positions = vec![contents.length, contents.first_visible, contents.first_stored, 0];
        visit(&[
            Entry { name: "positions".into(), shape: positions, data: &[] },
            Entry { name: "keys".into(), shape: vec![contents.keys.len()], data: &contents.keys },
            Entry { name: "values".into(), shape: vec![contents.values.len()], data: &contents.values },
        ])
    }

    /// Returns a cache of the same configuration, with the contents passed on by [`Self::visit_entries`].
    ///
    /// # Errors
    /// `INTERNAL` if the entries have another form, `MEMORY` if the allocation fails.
    pub fn revived(&self, entries: &[Entry<'_>]) -> Result<Self> {
        let cache = Self::new(self.config.clone())?;
        let mut contents = cache.write();
        if let [positions, keys, values] = entries
            && let [length, first_visible, first_stored, _] = positions.shape[..]
            && [keys.data.len(), values.data.len()] == [contents.keys.len(), contents.values.len()]
            && first_stored <= first_visible
            && first_visible <= length
            && length - first_stored <= self.config.rows()
        {
            contents.keys.copy_from_slice(keys.data);
            contents.values.copy_from_slice(values.data);
            (contents.length, contents.first_visible, contents.first_stored) = (length, first_visible, first_stored);
            drop(contents);
            return Ok(cache);
        }
        Err(Error::new(Code::Internal, "entries", "those of a cache", entries.len()))
    }
}

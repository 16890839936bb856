//! A key/value cache: a decoder appends keys and values token by token and attends over all of them.
//!
//! Each key/value head stores its rows contiguously, `[B, G, rows, D]`, so that decoding streams through them. Batch
//! entries may have different lengths. With a window, a head has a few rows more than the window: when a new block no
//! longer fits, the `window − 1` rows that its first query still sees move to the front. That happens at most once
//! every `window / 16` rows, so that an appended row costs at most 16 copied ones, while each query reads the whole
//! window.

mod config;
mod memory;
mod state;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::attention::head_rows::Stored;
use crate::attention::mask::Visibility;
use crate::attention::{self, Arrays, Dims, Outputs, Problem, Strides, check_volume};
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::layers::TypedEntry;
use crate::math::random::Dropout;
use crate::math::weight::Weights;
use crate::options::{AttentionOptions, Layout};
use crate::simd::Level;
use crate::tensor::{Tensor, check_output, check_per_batch, try_zeroed};
pub use config::{CacheConfig, CacheType};
use memory::Memory;
pub(crate) use state::Placement;
use state::{Span, State};

/// A block of keys or values to append.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub data: &'a [f32],
    pub strides: Strides,
    pub length: usize,
}

impl<'a> From<Block<'a>> for Stored<'a> {
    fn from(Block { data, strides, .. }: Block<'a>) -> Self {
        Self { data: Weights::F32(data), strides }
    }
}

impl<'a> Block<'a> {
    /// Returns the row of a batch entry, a head and a position.
    fn row(&self, [b, h, row]: [usize; 3], size: usize) -> &'a [f32] {
        &self.data[self.strides.row(b, h, row)..][..size]
    }
}

/// Keys and values of all positions appended so far.
pub struct KvCache {
    config: CacheConfig,
    contents: RwLock<Contents>,
}

#[derive(Clone)]
struct Contents {
    keys: Memory,
    values: Memory,
    state: State,
}

impl Contents {
    /// Returns the memory of the values.
    fn values(&self, config: &CacheConfig) -> &Memory {
        if config.values_in_keys { &self.keys } else { &self.values }
    }

    /// Returns the keys and values of all heads.
    fn stored(&self, config: &CacheConfig) -> [Stored<'_>; 2] {
        [&self.keys, self.values(config)]
            .map(|memory| Stored { data: memory.weights(), strides: config.strides(memory.size()) })
    }
}

/// The target of [`KvCache::truncate_to`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation<'a> {
    /// The same number of positions for every batch entry that has more.
    All(u64),
    /// A number of positions for each batch entry.
    Each(&'a [i32]),
}

impl KvCache {
    /// Creates an empty cache and allocates all of its memory.
    ///
    /// # Errors
    /// `OPTION` if the configuration is invalid, `MEMORY` if the allocation fails.
    pub fn new(config: CacheConfig) -> Result<Self> {
        let config = config.resolved()?;
        let rows = [config.kv_heads, config.rows()].iter().try_fold(config.batch, |a, &b| a.checked_mul(b));
        let allocate = |size| Memory::new("capacity", config.kind, rows, size);
        let (keys, values) = (allocate(config.head_dim)?, allocate(config.stored_value())?);
        let state = State { spans: try_zeroed("batch", config.batch)?, uneven_block: None };
        Ok(Self { config, contents: RwLock::new(Contents { keys, values, state }) })
    }

    /// Returns the configuration with every default filled in.
    pub fn config(&self) -> &CacheConfig {
        &self.config
    }

    /// Returns the number of positions of the longest batch entry: keys appended minus keys truncated.
    pub fn length(&self) -> usize {
        self.read().state.length()
    }

    /// Passes the number of positions of each batch entry to `visit`.
    pub fn visit_lengths(&self, visit: &mut dyn FnMut(usize)) {
        self.read().state.spans.iter().for_each(|span| visit(span.length));
    }

    // A poisoned lock is safe to use: rows are only read where spans say so, and spans are always within the memory.
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
        self.append_with(k, v, AppendOptions::default(), None)
    }

    /// Like [`Self::append`], for blocks in any layout: `[B, n, G, D]` and `[B, n, G, E]` in `blhd`. With `lengths`,
    /// `[B]` from 0 to n, only that number of rows is appended for each batch entry.
    ///
    /// # Errors
    /// The errors of [`Self::append`], for `lengths` too; `OPTION` if a length is out of range.
    pub fn append_with(
        &self,
        k: Tensor<'_>,
        v: Tensor<'_>,
        options: AppendOptions,
        lengths: Option<&[i32]>,
    ) -> Result<()> {
        let config = &self.config;
        if config.values_in_keys {
            return Err(Error::option("cache", "a cache of keys and values: a layer fills this one", "valuesInKeys"));
        }
        let k = config.block("k", k, options.layout, config.head_dim, None)?;
        let v = config.block("v", v, options.layout, config.value_dim(), Some(k.length))?;
        self.append_blocks([k, v], lengths)
    }

    /// Appends blocks that fit the configuration.
    pub(crate) fn append_blocks(&self, [k, v]: [Block<'_>; 2], lengths: Option<&[i32]>) -> Result<()> {
        let config = &self.config;
        let mut contents = self.write();
        contents.state.check_room(config, k.length, lengths, ["k", "lengths"])?;
        let Contents { keys, values, state } = &mut *contents;
        let memories = [("k", &*keys, k), ("v", &*values, v)];
        for (argument, memory, block) in memories.into_iter().filter(|(_, memory, _)| memory.size() > 0) {
            for (b, h) in (0..config.batch).flat_map(|b| (0..config.kv_heads).map(move |h| (b, h))) {
                let count = lengths.map_or(block.length, |lengths| lengths[b] as usize);
                (0..count).try_for_each(|row| memory.check(argument, block.row([b, h, row], memory.size())))?;
            }
        }
        state.append(config, k.length, lengths, &mut |b, rows, count| {
            store(keys, config, b, rows, k, count);
            store(values, config, b, rows, v, count);
        });
        Ok(())
    }

    /// Returns the place of the queries of a layer's block of `count` rows, an argument called `block`, once it is
    /// appended.
    ///
    /// # Errors
    /// The errors of [`Self::append_with`].
    pub(crate) fn place_block(&self, block: &str, count: usize, lengths: Option<&[i32]>) -> Result<Placement> {
        let mut state = self.read().state.clone();
        state.check_room(&self.config, count, lengths, [block, "kv_lengths"])?;
        state.append(&self.config, count, lengths, &mut |_, _, _| {});
        Ok(state.place(&self.config, count))
    }

    /// Returns the place of queries that see every key, whatever their positions.
    pub(crate) fn place_all(&self) -> Placement {
        let state = State { uneven_block: None, ..self.read().state.clone() };
        state.place(&self.config, 0)
    }

    /// Sets the length of each batch entry back to that before its last block, of which nothing is left.
    pub(crate) fn cut(&self, lengths: &[usize]) {
        let mut contents = self.write();
        for (span, &length) in contents.state.spans.iter_mut().zip(lengths) {
            span.length = length;
        }
        contents.state.uneven_block = None;
    }

    /// Passes the stored keys and values to `visit`.
    ///
    /// # Errors
    /// Any error that `visit` returns.
    pub(crate) fn with_stored(&self, visit: &mut dyn FnMut([Stored<'_>; 2]) -> Result<()>) -> Result<()> {
        visit(self.read().stored(&self.config))
    }

    /// Returns the number of bytes that the cache occupies.
    pub fn bytes(&self) -> usize {
        let contents = self.read();
        contents.keys.weights().bytes() + contents.values.weights().bytes()
    }

    /// Returns the number of keys that the last `queries` positions attend to.
    pub fn attended(&self, queries: usize) -> usize {
        self.read().state.attended(&self.config, queries)
    }

    /// Computes attention of the last L positions over the cached keys: q is `[B, H, L, D]`, `[B, L, H, D]` in layout
    /// `blhd`, or `[B, L, D]`. Attention is causal unless the options say otherwise, and limited to the window if there
    /// is one. S is the number of cached keys, with a window at most `L + window − 1`.
    ///
    /// After a block of which some batch entries appended fewer rows, queries are the rows of that block: those beyond
    /// an entry's own give zeros. If lengths differ, key j of each entry is its position j, or with a window the j-th
    /// position that its queries see.
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
        check_no_lengths(&arrays)?;
        let dims = Dims::of("q", q.shape, options.layout, ["H", "L", "D"])?;
        if dims.batch != config.batch || dims.size != config.head_dim || !dims.heads.is_multiple_of(config.kv_heads) {
            let &CacheConfig { batch, kv_heads, head_dim, .. } = config;
            let expected =
                format_args!("batch size {batch}, heads in multiples of {kv_heads} and head size {head_dim}");
            return Err(Error::shape("q", expected, q.shape));
        }
        let contents = self.read();
        let queries = dims.length;
        // Without a causal limit or a window, the position of a query does not matter.
        let counts_positions = options.causal || options.window.is_some() || config.window.is_some();
        contents.state.check_queries(config, queries, counts_positions)?;
        let placement = contents.state.place(config, queries);
        let shape = [config.batch, dims.heads, queries, placement.keys];
        check_volume(shape, config.head_dim.max(config.value_dim()))?;
        let arrays = placement.arrays(arrays);
        let window = self.window(options.window);
        let mut visibility = Visibility::new(shape, q.shape.rank(), options.causal, window, 0, &arrays)?;
        visibility.query_lengths = placement.query_lengths.as_deref();
        let [k, v] = contents.stored(config);
        let problem = Problem {
            q: q.data,
            k: k.data,
            v: v.data,
            q_strides: Strides::new(options.layout, dims.heads, queries, config.head_dim),
            k_strides: k.strides,
            v_strides: v.strides,
            output_strides: Strides::new(options.layout, dims.heads, queries, config.value_dim()),
            batch: config.batch,
            heads: dims.heads,
            kv_heads: config.kv_heads,
            queries,
            keys: placement.keys,
            first_rows: Some(&placement.first_rows),
            head_dim: config.head_dim,
            value_dim: config.value_dim(),
            scale: options.scale.unwrap_or(1.0 / (config.head_dim as f32).sqrt()),
            softcap: options.softcap,
            visibility,
            dropout: Dropout::new(options.dropout, options.seed),
            key_block: attention::key_block(options),
            ball: None,
            section: None,
        };
        attention::attend_into(context, &problem, options, outputs)
    }

    /// Returns the caller's window, limited on the left to the cache's.
    pub(crate) fn window(&self, given: Option<[i64; 2]>) -> Option<[i64; 2]> {
        let Some(reach) = self.config.reach() else { return given };
        let [left, right] = given.unwrap_or([-1, -1]);
        let reach = reach as i64;
        Some([if left < 0 { reach } else { left.min(reach) }, right])
    }

    /// Truncates the cache to its first `length` positions.
    ///
    /// # Errors
    /// The errors of [`Self::truncate_to`].
    pub fn truncate(&self, length: u64) -> Result<()> {
        self.truncate_to(Truncation::All(length))
    }

    /// Truncates the cache to a number of first positions, or each batch entry to its own number of them.
    ///
    /// # Errors
    /// `OPTION` if a length exceeds the current one, or is so small that required keys have already left the window;
    /// `SHAPE` unless there is one for each batch entry. The cache is then unchanged.
    pub fn truncate_to(&self, to: Truncation<'_>) -> Result<()> {
        let config = &self.config;
        let mut contents = self.write();
        let state = &mut contents.state;
        if let Truncation::Each(lengths) = to {
            check_per_batch("length", Some(lengths), config.batch)?;
        }
        let longest = state.length();
        let target = |b: usize, span: &Span| match to {
            // A length that does not fit `usize` exceeds the cache's length too.
            Truncation::All(length) if length > longest as u64 => None,
            Truncation::All(length) => Some(span.length.min(usize::try_from(length).unwrap_or(usize::MAX))),
            Truncation::Each(lengths) => usize::try_from(lengths[b]).ok().filter(|&length| length <= span.length),
        };
        for (b, span) in state.spans.iter().enumerate() {
            let least = span.least(config);
            if target(b, span).is_some_and(|length| length == 0 || length >= least) {
                continue;
            }
            let or_nothing = if least > 0 { "0, or " } else { "" };
            let (limit, given) = match to {
                Truncation::All(length) => (longest, length as i64),
                Truncation::Each(lengths) => (span.length, lengths[b].into()),
            };
            let expected = format_args!("{or_nothing}an integer from {least} to the length {limit}");
            return Err(Error::option("length", expected, given));
        }
        for b in 0..config.batch {
            let length = target(b, &state.spans[b]).unwrap_or(0);
            if length == 0 {
                state.spans[b] = Span::default();
            }
            state.spans[b].length = length;
        }
        state.uneven_block = None;
        Ok(())
    }

    /// Replaces each batch entry b by the present entry `entries[b]`, as the beams of a search go on.
    ///
    /// # Errors
    /// `SHAPE` unless there is one index for each batch entry, `OPTION` if one names no entry, `MEMORY`; the cache is
    /// then unchanged.
    pub fn reorder(&self, entries: &[i32]) -> Result<()> {
        let config = &self.config;
        check_per_batch("entries", Some(entries), config.batch)?;
        let is_entry = |&entry: &i32| usize::try_from(entry).is_ok_and(|entry| entry < config.batch);
        if let Some(entry) = entries.iter().find(|entry| !is_entry(entry)) {
            let expected = format_args!("integers from 0 to {}, the last batch entry", config.batch - 1);
            return Err(Error::option("entries", expected, entry));
        }
        let mut contents = self.write();
        let Contents { keys, values, state } = &mut *contents;
        let spans: Vec<Span> = entries.iter().map(|&entry| state.spans[entry as usize]).collect();
        let used = |b: usize| spans[b].length - spans[b].first_stored;
        let most = (0..config.batch).map(used).max().unwrap_or(0);
        // The rows of one head in every batch entry.
        let allocate = |size| Memory::new("working memory", config.kind, config.batch.checked_mul(most), size);
        let mut rows = [allocate(keys.size())?, allocate(values.size())?];
        for (memory, rows) in [keys, values].into_iter().zip(&mut rows) {
            for head in 0..config.kv_heads {
                for (b, &entry) in entries.iter().enumerate() {
                    rows.copy(b * most, memory.weights(), config.first_row(entry as usize, head), used(b));
                }
                for b in 0..config.batch {
                    memory.copy(config.first_row(b, head), rows.weights(), b * most, used(b));
                }
            }
        }
        state.spans = spans;
        Ok(())
    }

    /// Replaces the contents by a copy of another cache's, of the same configuration.
    ///
    /// # Errors
    /// `OPTION` if the configurations differ.
    pub fn copy_from(&self, other: &Self) -> Result<()> {
        if self.config != other.config {
            return Err(Error::option("cache", "a cache of the same configuration", "another"));
        }
        // A copy of itself would wait for its own lock.
        if std::ptr::eq(self, other) {
            return Ok(());
        }
        let (mut contents, other) = (self.write(), other.read());
        let rows = self.config.first_row(self.config.batch, 0);
        contents.keys.copy(0, other.keys.weights(), 0, rows);
        contents.values.copy(0, other.values.weights(), 0, rows);
        contents.state = other.state.clone();
        Ok(())
    }

    /// Returns the number of positions, of the batch entry that has most of them, whose keys and values are left.
    pub fn held(&self) -> usize {
        self.read().state.spans.iter().map(|span| span.length - span.first_visible).max().unwrap_or(0)
    }

    /// Reads all keys and values that are left: `[B, G, S, D]` and `[B, G, S, E]`, or `[B, S, G, D]` and `[B, S, G,
    /// E]`, where S is [`Self::held`]. Row j of a batch entry is its j-th position that is left; `starts`, `[B]`,
    /// receives the first one. Rows beyond an entry's length are zeros.
    ///
    /// # Errors
    /// `SHAPE` if a length does not fit.
    pub fn read_into(&self, layout: Layout, [keys, values]: [&mut [f32]; 2], starts: &mut [i32]) -> Result<()> {
        let config = &self.config;
        let held = self.held();
        let rows = config.batch * config.kv_heads * held;
        check_output("keys", keys, rows * config.head_dim)?;
        check_output("values", values, rows * config.value_dim())?;
        check_output("starts", starts, config.batch)?;
        let contents = self.read();
        let spans = &contents.state.spans;
        starts.iter_mut().zip(spans).for_each(|(start, span)| *start = span.first_visible as i32);
        for (output, memory, size) in
            [(keys, &contents.keys, config.head_dim), (values, contents.values(config), config.value_dim())]
        {
            let target = Strides::new(layout, config.kv_heads, held, size);
            output.fill(0.0);
            for (b, span) in spans.iter().enumerate() {
                for (h, row) in
                    (0..config.kv_heads).flat_map(|h| (0..span.length - span.first_visible).map(move |row| (h, row)))
                {
                    let source = config.first_row(b, h) + span.first_visible - span.first_stored + row;
                    memory.read(Level::current(), source, &mut output[target.row(b, h, row)..][..size]);
                }
            }
        }
        Ok(())
    }
}

/// Rejects arrays that a cache determines.
pub(crate) fn check_no_lengths(arrays: &Arrays<'_>) -> Result<()> {
    for (name, array) in [
        ("query_offset", arrays.query_offset),
        ("kv_lengths", arrays.kv_lengths),
        ("cu_seqlens", arrays.cu_seqlens.or(arrays.cu_seqlens_keys)),
    ] {
        if array.is_some() {
            return Err(Error::option(name, "no value: the cache knows its lengths", "an Int32Array"));
        }
    }
    Ok(())
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

/// Stores the first `count` rows of a block in each head of a batch entry, after discarding the first `stale` of the
/// `used` rows.
#[inline(never)]
fn store(
    memory: &mut Memory,
    config: &CacheConfig,
    b: usize,
    [used, stale]: [usize; 2],
    block: Block<'_>,
    count: usize,
) {
    if memory.size() == 0 {
        return;
    }
    for h in 0..config.kv_heads {
        let first = config.first_row(b, h);
        if stale > 0 {
            memory.shift(first + stale..first + used, first);
        }
        for row in 0..count {
            memory.write(first + used - stale + row, block.row([b, h, row], memory.size()));
        }
    }
}

impl KvCache {
    /// Passes the entries that [`Self::revived`] accepts to `visit`: the positions, stored as shapes, and the memory.
    ///
    /// # Errors
    /// Any error that `visit` returns.
    pub fn visit_entries(&self, visit: &mut dyn FnMut(&[TypedEntry<'_>]) -> Result<()>) -> Result<()> {
        let Contents { keys, values, state } = &*self.read();
        let rows = self.config.first_row(self.config.batch, 0);
        let entry = |name: &'static str, memory: &Memory| (name.into(), vec![rows, memory.size()]);
        let stored = |(name, shape), data| TypedEntry { name, shape, data };
        let mut entries =
            vec![stored(entry("keys", keys), keys.weights()), stored(entry("values", values), values.weights())];
        let block = state.uneven_block.unwrap_or(0);
        for (b, &Span { length, first_visible, first_stored, appended }) in state.spans.iter().enumerate() {
            let shape = vec![length, first_visible, first_stored, appended, block, 0];
            entries.push(stored((format!("positions.{b}").into(), shape), Weights::F32(&[])));
        }
        visit(&entries)
    }

    /// Returns a cache of the same configuration, with the contents passed on by [`Self::visit_entries`].
    ///
    /// # Errors
    /// `INTERNAL` if the entries have another form, `MEMORY` if the allocation fails.
    pub fn revived(&self, entries: &[TypedEntry<'_>]) -> Result<Self> {
        let fault = || Error::new(Code::Internal, "entries", "those of a cache", entries.len());
        let mut cache = Self::new(self.config.clone())?;
        let Contents { keys, values, state } = cache.contents.get_mut().unwrap_or_else(PoisonError::into_inner);
        let [given_keys, given_values, positions @ ..] = entries else { return Err(fault()) };
        let rows = self.config.first_row(self.config.batch, 0);
        let fits = |memory: &Memory, entry: &TypedEntry<'_>| {
            entry.data.weight_type() == memory.weights().weight_type() && entry.data.fits(rows, memory.size())
        };
        if !fits(keys, given_keys) || !fits(values, given_values) || positions.len() != state.spans.len() {
            return Err(fault());
        }
        keys.copy(0, given_keys.data, 0, rows);
        values.copy(0, given_values.data, 0, rows);
        for (span, positions) in state.spans.iter_mut().zip(positions) {
            let [length, first_visible, first_stored, appended, block, _] = positions.shape[..] else {
                return Err(fault());
            };
            let is_ordered = first_stored <= first_visible && first_visible <= length;
            if !is_ordered || length - first_stored > self.config.rows() {
                return Err(fault());
            }
            *span = Span { length, first_visible, first_stored, appended };
            state.uneven_block = (block > 0).then_some(block);
        }
        Ok(cache)
    }
}

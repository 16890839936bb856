//! The state of linear attention, `Σ φ(k) vᵀ` and `Σ φ(k)`: adding keys to it, and computing output rows from it.
//!
//! A head's sums are one slice of whole tile rows: the products, `[blocks of value features][F][lanes]`, in the
//! microkernel's layout; the sum of the keys' features, `[F]`; the rounding errors of both, in the same layout; and c,
//! the magnitude by which the keys' features are divided.

use std::ops::Range;

use crate::context::rows::SharedMut;
use crate::error::{Error, Result};
use crate::linear::features::{Features, activate, scale_columns};
use crate::linear::rows::Rows;
use crate::math::dot::dot;
use crate::math::exp::exp;
use crate::math::product::product;
use crate::math::sum::{carry, carry_all};
use crate::scratch::{self, Scratch};
use crate::simd::{self, Accumulate, Kernel, Level, Matrix, Simd, scatter_rows};
use crate::sizes::MAX_TILE_LANES;

/// The number of keys added at a time. A causal row sees the keys of its own chunk through their products with it, and
/// all earlier keys through the sums.
pub(super) const CHUNK: usize = 64;
/// Chunks of keys that are summed plainly before their rounding errors are separated, if no row is read in between.
const CARRY_CHUNKS: usize = 16;
/// Rows that run faster along their length than in lanes that they do not fill.
const FEW_ROWS: usize = 4;
/// The maximum rise from a causal chunk's first exponent to its largest. The first row's keys must not vanish next to
/// keys that it does not see: `e^30` leaves 57 of the 87 powers of e that f32 has below 1.
const TAME_RISE: f32 = 30.0;

/// The sizes of a head's sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub features: usize,
    pub value_dim: usize,
    /// Columns of the level's register tile.
    pub lanes: usize,
}

impl Layout {
    fn products(&self) -> usize {
        self.value_dim.next_multiple_of(self.lanes) * self.features
    }

    /// Returns the number of products and features of keys, which is also that of their rounding errors.
    fn sums(&self) -> usize {
        self.products() + self.features.next_multiple_of(self.lanes)
    }

    /// Returns the number of values in the sums.
    ///
    /// # Errors
    /// `MEMORY` if the number exceeds the range of sizes.
    pub(super) fn len(&self) -> Result<usize> {
        let padded = |len: usize| len.checked_next_multiple_of(self.lanes);
        let products = padded(self.value_dim).and_then(|width| width.checked_mul(self.features));
        let sums = products.zip(padded(self.features)).and_then(|(a, b)| a.checked_add(b));
        let len = sums.and_then(|sums| sums.checked_mul(2)?.checked_add(self.lanes));
        len.ok_or_else(|| Error::memory("feature_dim", usize::MAX))
    }
}

/// Makes the memory of sums into those of no keys.
pub(super) fn clear(sums: &mut [f32]) {
    if let Some((c, sums)) = sums.split_last_mut() {
        sums.fill(0.0);
        // Next to any key's c, the previous sums vanish.
        *c = f32::MIN;
    }
}

/// One head: where its rows lie.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub level: Level,
    pub map: &'a Features,
    pub layout: Layout,
    pub queries: Rows<'a>,
    pub keys: Rows<'a>,
    pub values: Rows<'a>,
    pub output: &'a SharedMut<'a, f32>,
    /// The positions of its rows in the output.
    pub results: Rows<'a>,
}

/// A head's sums: those of one item, or those that several items read.
pub(super) enum Sums<'a> {
    Own(&'a mut [f32]),
    Shared(&'a [f32]),
}

/// Work on one head: adds `keys` to the sums, and writes the output's `rows` from them. Causal items alternate, adding
/// the keys up to each row before writing it; other items do one or the other.
pub(super) struct Item<'a> {
    pub head: Head<'a>,
    pub sums: Sums<'a>,
    pub keys: Range<usize>,
    pub rows: Range<usize>,
    pub is_causal: bool,
}

/// The working memory of an item.
struct Buffers<'a> {
    /// Rows before FAVOR+'s projection, `[D][lanes]`.
    inputs: &'a mut [f32],
    /// φ of a tile of queries, `[F][lanes]`.
    tile: &'a mut [f32],
    /// φ of a chunk of keys, `[keys][F]` and room for a tile's row behind them, and the largest exponent of each key.
    keys: &'a mut [f32],
    maxima: &'a mut [f32],
    /// A chunk's values, `[blocks of value features][keys][lanes]`.
    values: &'a mut [f32],
    /// Products of a chunk's keys with a tile of queries, `[keys][lanes]`.
    weights: &'a mut [f32],
    /// A tile of the output before it is transposed, `[value features][lanes]`.
    results: &'a mut [f32],
}

impl<'a> Buffers<'a> {
    fn sizes(map: &Features, layout: Layout) -> [usize; 7] {
        let Layout { features, value_dim, lanes } = layout;
        let width = value_dim.next_multiple_of(lanes);
        let inputs = if map.is_exponential() { map.size * lanes } else { 0 };
        [inputs, features * lanes, CHUNK * features + lanes, CHUNK, CHUNK * width, CHUNK * lanes, width * lanes]
    }

    fn new(map: &Features, layout: Layout, mut rest: &'a mut [f32]) -> Self {
        let [inputs, tile, keys, maxima, values, weights, results] =
            Self::sizes(map, layout).map(|len| scratch::take(&mut rest, len));
        Self { inputs, tile, keys, maxima, values, weights, results }
    }
}

/// The working memory of an item. The layout has to have a length.
pub(super) fn scratch_len(map: &Features, layout: Layout) -> usize {
    Buffers::sizes(map, layout).iter().fold(0, |sum, &len| sum.saturating_add(len))
}

/// Keys on their way into the sums.
#[derive(Clone, Copy)]
struct Chunk {
    first: usize,
    count: usize,
    /// The factor for the sums so far.
    factor: f32,
    c: f32,
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let lanes = VECTORS * S::LANES;
        let head = self.head;
        let mut scratch = Scratch::take(scratch_len(head.map, head.layout));
        let mut buffers = Buffers::new(head.map, head.layout, scratch.values());
        let start = if self.rows.is_empty() { self.keys.start } else { self.rows.start };
        for first in (start..self.keys.end.max(self.rows.end)).step_by(CHUNK) {
            let last_row = (first + CHUNK).min(self.rows.end);
            let count = (first + CHUNK).min(self.keys.end).saturating_sub(first);
            let has_few_rows = (first + 1..=first + FEW_ROWS).contains(&last_row) && (self.is_causal || count == 0);
            let mut chunk = None;
            if count > 0 && !has_few_rows {
                chunk = head.load_keys::<S, VECTORS>(simd, first, count, self.c(), self.is_causal, &mut buffers);
            }
            if has_few_rows || (count > 0 && chunk.is_none()) {
                for row in first..last_row {
                    if row < first + count {
                        let chunk = head.load_key(simd, row, self.c(), &mut buffers);
                        self.add_keys::<S, VECTORS>(simd, chunk, true, &mut buffers);
                    }
                    head.write_row::<S, ROWS, VECTORS>(simd, row, self.sums.values(), &mut buffers);
                }
                continue;
            }
            let seen = chunk.filter(|_| self.is_causal);
            for row in (first..last_row).step_by(lanes) {
                let rows = row..last_row.min(row + lanes);
                head.write_tile::<S, ROWS, VECTORS>(simd, rows, seen, self.sums.values(), &mut buffers);
            }
            if let Some(chunk) = chunk {
                let is_last = first + CHUNK >= self.keys.end;
                let carries = self.is_causal || is_last || (first / CHUNK + 1).is_multiple_of(CARRY_CHUNKS);
                self.add_keys::<S, VECTORS>(simd, chunk, carries, &mut buffers);
            }
        }
    }
}

impl Sums<'_> {
    fn values(&self) -> &[f32] {
        match self {
            Self::Own(sums) => sums,
            Self::Shared(sums) => sums,
        }
    }
}

impl Item<'_> {
    fn c(&self) -> f32 {
        self.sums.values().last().copied().unwrap_or(f32::MIN)
    }

    /// Adds the chunk whose features and values are in the buffers to the sums' rounding errors and, if it `carries`,
    /// the errors to the sums, which rows read only then.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn add_keys<S: Simd, const VECTORS: usize>(
        &mut self,
        simd: S,
        chunk: Chunk,
        carries: bool,
        buffers: &mut Buffers<'_>,
    ) {
        let Sums::Own(sums) = &mut self.sums else { return };
        let Head { level, layout: Layout { features, lanes, .. }, .. } = self.head;
        if let Some(c) = sums.last_mut() {
            *c = chunk.c;
        }
        let len = self.head.layout.sums();
        if chunk.factor != 1.0 {
            scale_all(simd, &mut sums[..2 * len], chunk.factor);
        }
        let (sums, errors) = sums.split_at_mut(len);
        let (products, key_sum) = sums.split_at_mut(self.head.layout.products());
        let (product_errors, key_errors) = errors[..len].split_at_mut(products.len());
        let blocks = products.chunks_exact_mut(features * lanes).zip(product_errors.chunks_exact_mut(features * lanes));
        for (values, (products, errors)) in buffers.values.chunks_exact(chunk.count * lanes).zip(blocks) {
            let keys = Matrix::column_major(buffers.keys, features);
            product((level, lanes), keys, [features, chunk.count], values, errors, Accumulate::Add);
            if carries {
                // While the block is in the first-level cache.
                carry_all(simd, products, errors);
            }
        }
        for feature in (0..features).step_by(S::LANES) {
            let mut added = simd.splat(0.0);
            for key in 0..chunk.count {
                added = added + simd.load(&buffers.keys[key * features + feature..]);
            }
            let errors = &mut key_errors[feature..];
            let total = simd.load(errors) + added;
            simd.store(errors, total);
        }
        if carries {
            carry_all(simd, key_sum, key_errors);
        }
    }
}

impl Head<'_> {
    /// Loads features and values of a chunk of keys into the buffers, for sums with this c. Returns `None` if keys must
    /// be added one by one, because a row's unseen keys would affect it: by a non-finite value, or an exponent far
    /// above the row's own.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn load_keys<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        first: usize,
        count: usize,
        c: f32,
        is_causal: bool,
        buffers: &mut Buffers<'_>,
    ) -> Option<Chunk> {
        let Buffers { inputs, tile, keys, maxima, values, .. } = buffers;
        let rows = self.keys.from(first);
        self.map.of_keys::<S, VECTORS>((self.level, simd), rows, count, inputs, tile, keys, maxima);
        self.load_values(simd, first, count, values);
        let c_of_first = larger(c, maxima[0]);
        let new_c = maxima[..count].iter().copied().fold(c_of_first, larger);
        let width = self.layout.value_dim.next_multiple_of(self.layout.lanes);
        if is_causal && !(new_c - c_of_first <= TAME_RISE && is_finite(simd, &values[..count * width])) {
            return None;
        }
        let len = (count * self.layout.features).next_multiple_of(S::LANES);
        activate(simd, self.map.kind, &mut keys[..len], new_c);
        Some(Chunk { first, count, factor: power(simd, c, new_c), c: new_c })
    }

    /// The same for one key, whatever it holds.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn load_key<S: Simd>(&self, simd: S, key: usize, c: f32, buffers: &mut Buffers<'_>) -> Chunk {
        let new_c = larger(c, self.map.of_row(simd, self.keys.row(key), true, buffers.keys));
        self.activate_row(simd, buffers.keys, new_c);
        self.load_values(simd, key, 1, buffers.values);
        Chunk { first: key, count: 1, factor: power(simd, c, new_c), c: new_c }
    }

    /// Replaces a row that [`Features::of_row`] loaded by its features divided by e to the power of `magnitude`.
    #[inline(always)]
    fn activate_row<S: Simd>(&self, simd: S, row: &mut [f32], magnitude: f32) {
        activate(simd, self.map.kind, &mut row[..self.layout.features.next_multiple_of(S::LANES)], magnitude);
    }

    /// The values of `count` keys in blocks of columns, `[blocks][count][lanes]`, zeros behind the last column.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn load_values<S: Simd>(&self, simd: S, first: usize, count: usize, packed: &mut [f32]) {
        let Layout { value_dim, lanes, .. } = self.layout;
        for key in 0..count {
            let row = self.values.row(first + key);
            for column in (0..value_dim.next_multiple_of(lanes)).step_by(S::LANES) {
                let (values, block) = (row.get(column..).unwrap_or_default(), column / lanes * count + key);
                let packed = &mut packed[block * lanes + column % lanes..];
                if values.len() >= S::LANES {
                    simd.store(packed, simd.load(values));
                } else {
                    simd.store(packed, simd.splat(0.0));
                    packed.iter_mut().zip(values).for_each(|(packed, value)| *packed = *value);
                }
            }
        }
    }

    /// Writes output rows, at most one tile, from the sums and, if causal, from the chunk of keys that contains the
    /// rows.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn write_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        rows: Range<usize>,
        chunk: Option<Chunk>,
        sums: &[f32],
        buffers: &mut Buffers<'_>,
    ) {
        let Layout { features, value_dim, lanes } = self.layout;
        let Buffers { inputs, tile, results, .. } = buffers;
        let starts = self.queries.starts(rows.start, rows.len());
        self.map.of_queries::<S, VECTORS>((self.level, simd), self.queries.data, &starts[..rows.len()], inputs, tile);
        let (products, rest) = sums.split_at(self.layout.products());
        let blocks = results.chunks_exact_mut(lanes * lanes).zip((0..value_dim).step_by(lanes));
        for (products, (results, first)) in products.chunks_exact(features * lanes).zip(blocks) {
            let products = Matrix::column_major(products, lanes);
            let columns = lanes.min(value_dim - first);
            product((self.level, lanes), products, [columns, features], tile, results, Accumulate::Overwrite);
        }
        let mut totals = [0.0; MAX_TILE_LANES];
        let key_sum = Matrix::row_major(&rest[..features], features);
        simd::product::<S, ROWS, VECTORS>(simd, key_sum, 1, features, tile, &mut totals, Accumulate::Overwrite);
        if let Some(chunk) = chunk {
            self.add_chunk::<S, ROWS, VECTORS>(simd, rows.clone(), chunk, &mut totals, buffers);
        }
        scale_columns::<S, ROWS, VECTORS>(simd, &totals.map(scale), value_dim, buffers.results);
        let starts = self.results.starts(rows.start, rows.len());
        // SAFETY: each output row belongs to one item, which writes it once.
        unsafe { scatter_rows(simd, buffers.results, lanes, value_dim, self.output, &starts[..rows.len()]) };
    }

    /// Adds what a tile's rows see of the chunk that they lie in.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn add_chunk<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        rows: Range<usize>,
        chunk: Chunk,
        totals: &mut [f32; MAX_TILE_LANES],
        buffers: &mut Buffers<'_>,
    ) {
        let Layout { features, value_dim, lanes } = self.layout;
        let (first_row, end) = (rows.start - chunk.first, rows.end - chunk.first);
        let seen = chunk.count.min(end);
        let weights = &mut buffers.weights[..seen * lanes];
        let keys = Matrix::row_major(buffers.keys, features);
        product((self.level, lanes), keys, [seen, features], buffers.tile, weights, Accumulate::Overwrite);
        for (key, weights) in weights.chunks_exact_mut(lanes).enumerate().skip(first_row + 1) {
            // Earlier rows do not see it.
            weights[..lanes.min(key - first_row)].fill(0.0);
        }
        let factors = [chunk.factor; MAX_TILE_LANES];
        let ones = Matrix::row_major(&[1.0; CHUNK], CHUNK);
        simd::product::<S, ROWS, VECTORS>(simd, ones, 1, seen, weights, totals, Accumulate::ScaleAndAdd(&factors));
        let values = self.values.from(chunk.first);
        let values = Matrix::column_major(&values.data[values.start..], values.stride);
        let accumulate = Accumulate::ScaleAndAdd(&factors);
        product((self.level, lanes), values, [value_dim, seen], weights, buffers.results, accumulate);
    }

    /// One output row from the sums, along its length.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn write_row<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        row: usize,
        sums: &[f32],
        buffers: &mut Buffers<'_>,
    ) {
        let Layout { features, value_dim, lanes } = self.layout;
        let magnitude = self.map.of_row(simd, self.queries.row(row), false, buffers.tile);
        self.activate_row(simd, buffers.tile, magnitude);
        let query = &buffers.tile[..features];
        let (products, rest) = sums.split_at(self.layout.products());
        let scale = scale(dot(simd, query, rest));
        // SAFETY: each output row belongs to one item, which writes it once.
        let output = unsafe { self.output.slice(self.results.start + row * self.results.stride, value_dim) };
        let query = Matrix::row_major(query, features);
        for (products, output) in products.chunks_exact(features * lanes).zip(output.chunks_mut(lanes)) {
            let mut results = [0.0; MAX_TILE_LANES];
            simd::product::<S, ROWS, VECTORS>(simd, query, 1, features, products, &mut results, Accumulate::Overwrite);
            output.iter_mut().zip(results).for_each(|(output, result)| *output = result * scale);
        }
    }
}

/// Returns the factor of an output row: one over the total of its weights, or 0 if it sees no key or only keys whose
/// weights vanish in f32.
fn scale(total: f32) -> f32 {
    if total < f32::MIN_POSITIVE { 0.0 } else { 1.0 / total }
}

/// Returns the larger of two numbers, or `a` if `b` is NaN.
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// `e^(a − b)`.
#[inline(always)]
fn power<S: Simd>(simd: S, a: f32, b: f32) -> f32 {
    let mut lanes = [0.0; 16];
    simd.store(&mut lanes, exp(simd, simd.splat(a - b)));
    lanes[0]
}

/// Multiplies whole vectors by a factor.
#[inline(always)]
fn scale_all<S: Simd>(simd: S, values: &mut [f32], factor: f32) {
    for chunk in values.chunks_exact_mut(S::LANES) {
        let scaled = simd.load(chunk) * factor;
        simd.store(chunk, scaled);
    }
}

/// Returns true if every value of whole vectors is finite: 0 · x is NaN exactly if x is not finite.
#[inline(always)]
pub(super) fn is_finite<S: Simd>(simd: S, values: &[f32]) -> bool {
    let mut zeros = simd.splat(0.0);
    for chunk in values.chunks_exact(S::LANES) {
        zeros = simd.mul_add(simd.load(chunk), simd.splat(0.0), zeros);
    }
    simd.reduce_sum(zeros) == 0.0
}

/// Adds the sums of later keys, one head's after the other, to those of the first.
pub(super) struct Merge<'a> {
    pub first: &'a mut [f32],
    pub others: &'a [f32],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let c = |sums: &[f32]| sums.last().copied().unwrap_or(f32::MIN);
        for other in self.others.chunks_exact(self.first.len()) {
            let new_c = larger(c(self.first), c(other));
            let (factor, other_factor) = (power(simd, c(self.first), new_c), power(simd, c(other), new_c));
            // After both halves comes c.
            let len = (other.len() - VECTORS * S::LANES) / 2;
            let (sums, errors) = self.first.split_at_mut(len);
            let (other_sums, other_errors) = other.split_at(len);
            for at in (0..len).step_by(S::LANES) {
                let scaled = |values: &[f32], factor: f32| simd.load(&values[at..]) * factor;
                let (sum, error) = (scaled(sums, factor), scaled(errors, factor));
                let (sum, error) = carry(simd, sum, error + scaled(other_sums, other_factor));
                let (sum, error) = carry(simd, sum, error + scaled(other_errors, other_factor));
                simd.store(&mut sums[at..], sum);
                simd.store(&mut errors[at..], error);
            }
            if let Some(c) = self.first.last_mut() {
                *c = new_c;
            }
        }
    }
}

/// Runs an item, from one place: what is inlined into a kernel is there once.
#[inline(never)]
pub(super) fn run(level: Level, item: Item<'_>) {
    level.run(item);
}

//! Products in f32 by tiles of bfloat16: each value is the sum of three pieces of 8 bits, and six of the nine products
//! of pieces, added up in f32, are as exact as a sum of f32 products. The other three are below its rounding.
//!
//! A row of x with NaN, an infinity, or a magnitude that pieces could not carry is computed by vectors, and does not
//! change the bits of other rows. Terms of a product below 2⁻¹²⁶ count as zero.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::context::rows::MatrixBlock;
use crate::context::{Context, operations};
use crate::error::Result;
use crate::scratch::{self, Scratch};
use crate::simd::amx::{Pieces, SIDE, Tile, TileUnit};
use crate::simd::{Kernel, Simd, gather_columns};
use crate::sizes::{CACHE_LINE, PROJECTION_COLUMNS, SMALL_PROJECTION_COLUMNS};
use crate::tensor::try_zeroed;

/// The depths that one tile covers: depths k and k + 16 are a pair.
pub(crate) const STEP: usize = 2 * SIDE;

/// Rows, or columns, that a product of four tiles covers.
const PAIR: usize = 2 * SIDE;

/// Values that become one tile of pairs.
const BLOCK: usize = STEP * SIDE;

/// The number of values in [`Pieces`].
pub(crate) const PIECES_LEN: usize = 3 * SIDE * SIDE;

/// The maximum number of rows in one work item.
const ITEM_ROWS: usize = 128;

/// The maximum number of values of x in one work item: with their pieces, half of a 2 MB cache.
const ITEM_VALUES: usize = 1 << 17;

/// Magnitudes from here on are left to vectors: products of them could overflow in one order and not in another.
const LARGEST: f32 = (1u64 << 48) as f32;

/// Rows of smaller magnitudes alone are left to vectors: the smallest pieces of their products could vanish.
const SMALLEST: f32 = 1.0 / (1u64 << 40) as f32;

/// A weight `[outputs, depth]` in pieces, `[outputs / 16][depth / 32]`. Rows and depths beyond the matrix are zeros.
#[derive(Debug)]
struct SplitWeight(Vec<Pieces>);

impl SplitWeight {
    /// Splits a matrix. Returns `None` if it has values that pieces cannot carry.
    ///
    /// # Errors
    /// `MEMORY`.
    fn new(context: Context<'_>, weight: &[f32], outputs: usize, depth: usize) -> Result<Option<Self>> {
        let (groups, steps) = (outputs.next_multiple_of(PAIR) / SIDE, depth.div_ceil(STEP));
        let mut pieces: Vec<Pieces> = try_zeroed("split weights", groups.saturating_mul(steps))?;
        let is_bounded = AtomicBool::new(true);
        context.for_each_rows(groups, 1, operations([8, weight.len()]), [&mut pieces[..]], |item, [pieces]| {
            let rows = (item.start * SIDE).min(outputs)..(item.end * SIDE).min(outputs);
            let rows = &weight[rows.start * depth..rows.end * depth];
            if !are_carried(context.level.run(SplitRowsTransposed { rows, depth, pieces })) {
                is_bounded.store(false, Ordering::Relaxed);
            }
        });
        Ok(is_bounded.into_inner().then_some(Self(pieces)))
    }
}

/// A place for the pieces of a weight that a layer keeps. The first product that uses them splits the weight.
#[derive(Debug, Default)]
pub(crate) struct KeptPieces {
    /// `None` inside if the weight has values that pieces cannot carry.
    split: OnceLock<Option<SplitWeight>>,
}

/// Copies start without pieces.
impl Clone for KeptPieces {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Pieces follow from their weight.
impl PartialEq for KeptPieces {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl KeptPieces {
    /// Returns the pieces of `weight`, of which there must be one for all calls.
    ///
    /// # Errors
    /// `MEMORY`.
    fn of(&self, context: Context<'_>, weight: &[f32], outputs: usize, depth: usize) -> Result<Option<&SplitWeight>> {
        if let Some(split) = self.split.get() {
            return Ok(split.as_ref());
        }
        let split = SplitWeight::new(context, weight, outputs, depth)?;
        Ok(self.split.get_or_init(|| split).as_ref())
    }

    /// Forgets the pieces, as the weight is about to change.
    #[cfg(all(feature = "training", not(target_family = "wasm")))]
    pub(crate) fn forget(&mut self) {
        self.split.take();
    }

    /// Returns the number of bytes.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn bytes(&self) -> usize {
        self.split.get().and_then(Option::as_ref).map_or(0, |SplitWeight(pieces)| size_of_val(&**pieces))
    }
}

/// A product of x `[rows, depth]` and a weight `[outputs, depth]`.
struct Product<'a> {
    unit: TileUnit,
    x: &'a [f32],
    /// Rows, depth, outputs.
    sizes: [usize; 3],
    weight: &'a SplitWeight,
    bias: Option<&'a [f32]>,
}

/// Computes a product by the unit of the context if there is one and the product pays; returns true if it did. With
/// `kept` pieces, a product need not pay for splitting its weight. `finish`: see [`Product::run`].
///
/// In packed sequences the decision does not depend on the number of rows, so that a row has the same bits beside any
/// others.
///
/// # Errors
/// `MEMORY`.
pub(crate) fn project(
    context: Context<'_>,
    x: &[f32],
    sizes: [usize; 3],
    (weight, kept): (&[f32], Option<&KeptPieces>),
    bias: Option<&[f32]>,
    output: &mut [f32],
    finish: &(dyn Fn(MatrixBlock<'_>, bool) + Sync),
) -> Result<bool> {
    let Some(unit) = context.tile_unit else { return Ok(false) };
    let [rows, depth, outputs] = sizes;
    let has_enough_rows = match (kept, context.is_packed) {
        (Some(_), is_packed) => is_packed || rows >= PAIR,
        (None, is_packed) => !is_packed && rows >= unit.rows_that_pay(),
    };
    if !has_enough_rows || depth < STEP || outputs < PAIR {
        return Ok(false);
    }
    let owned;
    let split = match kept {
        Some(kept) => kept.of(context, weight, outputs, depth)?,
        None => {
            owned = SplitWeight::new(context, weight, outputs, depth)?;
            owned.as_ref()
        }
    };
    let Some(weight) = split else { return Ok(false) };
    Product { unit, x, sizes, weight, bias }.run(context, output, finish)?;
    Ok(true)
}

impl Product<'_> {
    /// Computes the product. `finish` receives blocks of rows, and true if they hold the product, to which further
    /// steps may apply; otherwise it has to compute them.
    ///
    /// # Errors
    /// `MEMORY`.
    fn run(
        &self,
        context: Context<'_>,
        output: &mut [f32],
        finish: &(dyn Fn(MatrixBlock<'_>, bool) + Sync),
    ) -> Result<()> {
        let [rows, depth, outputs] = self.sizes;
        let steps = depth.div_ceil(STEP);
        // Blocks depend on shapes alone, and each output is summed separately.
        let item_rows = (ITEM_VALUES / depth / PAIR * PAIR).clamp(PAIR, ITEM_ROWS);
        let is_enough = context.is_enough(rows.div_ceil(item_rows));
        let item_columns = if is_enough { PROJECTION_COLUMNS } else { SMALL_PROJECTION_COLUMNS };
        scratch::reserve(item_rows / SIDE * steps * PIECES_LEN + CACHE_LINE)?;
        let operations = operations([2, rows, depth, outputs]);
        context.for_each_block(rows, [item_rows, item_columns], operations, output, |mut output| {
            let rows = output.rows();
            let mut bounded = [true; ITEM_ROWS];
            let bounded = &mut bounded[..rows.len()];
            self.run_item(context, &mut output, bounded);
            let mut end = rows.start;
            for run in bounded.chunk_by(|a, b| a == b) {
                let run_rows = end..end + run.len();
                end = run_rows.end;
                if run[0] {
                    finish(output.part(run_rows), true);
                } else {
                    // One at a time, since the order of sums may depend on the number of rows.
                    run_rows.for_each(|row| finish(output.part(row..row + 1), false));
                }
            }
        });
        Ok(())
    }

    /// Computes the rows of one work item whose values pieces can carry, and finds out which they are.
    fn run_item(&self, context: Context<'_>, output: &mut MatrixBlock<'_>, bounded: &mut [bool]) {
        let depth = self.sizes[1];
        let steps = depth.div_ceil(STEP);
        let (rows, columns) = (output.rows(), output.columns());
        let mut scratch = Scratch::take(rows.len().div_ceil(SIDE) * steps * PIECES_LEN);
        let pieces = Tile::groups_mut(scratch.values());
        let tiles = pieces.chunks_exact_mut(steps).zip(bounded.chunks_mut(SIDE));
        for (tile, (pieces, bounded)) in tiles.enumerate() {
            let rows = &self.x[(rows.start + tile * SIDE) * depth..];
            context.level.run(SplitRows { rows, stride: depth, depth, pieces, bounded });
        }
        self.unit.run(|mut unit| {
            // Two columns of tiles stay in the cache while all rows pass.
            for first in columns.clone().step_by(PAIR) {
                let (w0, w1) = self.weight.0[first / SIDE * steps..][..2 * steps].split_at(steps);
                let mut offsets = [0.0; PAIR];
                if let Some(bias) = self.bias {
                    let bias = &bias[first..columns.end.min(first + PAIR)];
                    offsets[..bias.len()].copy_from_slice(bias);
                }
                for (index, x) in pieces.chunks(2 * steps).enumerate() {
                    let (x0, x1) = (&x[..steps], &x[x.len() - steps..]);
                    let mut sums = [Tile::ZERO; 4];
                    unit.multiply([x0, x1], [w0, w1], &mut sums);
                    let row = rows.start + index * PAIR;
                    context.level.run(WriteSums { sums: &sums, offsets: &offsets, output, row, column: first });
                }
            }
        });
    }
}

/// Splits at most 16 rows. Rows that pieces cannot carry become zeros.
pub(crate) struct SplitRows<'a> {
    pub rows: &'a [f32],
    /// The distance between rows, and the number of values in each.
    pub stride: usize,
    pub depth: usize,
    /// `[depth / 32]`.
    pub pieces: &'a mut [Pieces],
    /// Set to true for each row that pieces carry; as long as the number of rows.
    pub bounded: &'a mut [bool],
}

impl Kernel for SplitRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) {
        let Self { rows, stride, depth, pieces, bounded } = self;
        for row in 0..SIDE {
            let mut values: &[f32] = &[];
            if let Some(bounded) = bounded.get_mut(row) {
                let given = &rows[row * stride..][..depth];
                *bounded = are_carried(magnitude(given));
                values = if *bounded { given } else { &[] };
            }
            for (step, pieces) in pieces.iter_mut().enumerate() {
                let mut padded = [0.0; STEP];
                let values = values.get(step * STEP..).unwrap_or_default();
                if let Some(values) = values.first_chunk() {
                    padded = *values;
                } else {
                    padded[..values.len()].copy_from_slice(values);
                }
                let (low, high) = padded.split_at(SIDE);
                split(low, high, row, pieces);
            }
        }
    }
}

/// Splits at most 16 columns of a matrix: a row of tiles holds a pair of rows. Returns the largest magnitude, as bits.
pub(crate) struct SplitColumns<'a> {
    pub rows: &'a [f32],
    /// The distance between rows, their number, and the number of columns.
    pub stride: usize,
    pub count: usize,
    pub columns: usize,
    /// `[count / 32]`.
    pub pieces: &'a mut [Pieces],
}

impl Kernel for SplitColumns<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) -> u32 {
        let Self { rows, stride, count, columns, pieces } = self;
        let mut largest = 0;
        for (step, pieces) in pieces.iter_mut().enumerate() {
            let mut block = [0.0; BLOCK];
            for (row, values) in (step * STEP..count).zip(block.chunks_exact_mut(SIDE)) {
                let row = &rows[row * stride..][..columns];
                if let Some(row) = row.first_chunk::<SIDE>() {
                    values.copy_from_slice(row);
                } else {
                    values[..columns].copy_from_slice(row);
                }
            }
            largest = largest.max(magnitude(&block));
            split_columns(&block, pieces);
        }
        largest
    }
}

/// Splits the columns of the transpose of at most 16 rows. Returns the largest magnitude, as bits.
struct SplitRowsTransposed<'a> {
    rows: &'a [f32],
    depth: usize,
    /// `[depth / 32]`.
    pieces: &'a mut [Pieces],
}

impl Kernel for SplitRowsTransposed<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> u32 {
        let Self { rows, depth, pieces } = self;
        let mut starts = [0; SIDE];
        let count = rows.len() / depth;
        for (row, start) in starts[..count].iter_mut().enumerate() {
            *start = row * depth;
        }
        for (step, pieces) in pieces.iter_mut().enumerate() {
            let first = step * STEP;
            let mut block = [0.0; BLOCK];
            if count > 0 {
                gather_columns(simd, &rows[first..], &starts[..count], STEP.min(depth - first), &mut block, SIDE);
            }
            split_columns(&block, pieces);
        }
        magnitude(rows)
    }
}

/// Splits the rows of the transpose of at most 16 columns. Returns the largest magnitude, as bits.
pub(crate) struct SplitColumnsTransposed<'a> {
    pub rows: &'a [f32],
    /// The distance between rows, their number, and the number of columns.
    pub stride: usize,
    pub count: usize,
    pub columns: usize,
    /// `[count / 32]`.
    pub pieces: &'a mut [Pieces],
}

impl Kernel for SplitColumnsTransposed<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> u32 {
        let Self { rows, stride, count, columns, pieces } = self;
        let mut largest = 0;
        for (step, pieces) in pieces.iter_mut().enumerate() {
            let first = step * STEP;
            let width = STEP.min(count - first);
            let mut starts = [0; STEP];
            for (row, start) in starts[..width].iter_mut().enumerate() {
                *start = (first + row) * stride;
            }
            let mut block = [0.0; BLOCK];
            gather_columns(simd, rows, &starts[..width], columns, &mut block, STEP);
            largest = largest.max(magnitude(&block));
            for (row, values) in block.chunks_exact(STEP).enumerate() {
                let (low, high) = values.split_at(SIDE);
                split(low, high, row, pieces);
            }
        }
        largest
    }
}

/// Returns the largest magnitude, as bits: they are in the order of the magnitudes, with NaN above all numbers.
#[inline(always)]
fn magnitude(values: &[f32]) -> u32 {
    let mut largest = [0; SIDE];
    let mut chunks = values.chunks_exact(SIDE);
    for chunk in &mut chunks {
        for (largest, value) in largest.iter_mut().zip(chunk) {
            *largest = (*largest).max(value.to_bits() & 0x7fff_ffff);
        }
    }
    let rest = chunks.remainder().iter().map(|value| value.to_bits() & 0x7fff_ffff);
    largest.into_iter().chain(rest).fold(0, u32::max)
}

/// Returns true if pieces carry values of this largest magnitude, without overflow and without loss.
#[inline(always)]
pub(crate) fn are_carried(magnitude: u32) -> bool {
    magnitude == 0 || (SMALLEST.to_bits() <= magnitude && are_small(magnitude))
}

/// Returns true if pieces of this largest magnitude do not overflow; false for NaN.
#[inline(always)]
pub(crate) fn are_small(magnitude: u32) -> bool {
    magnitude < LARGEST.to_bits()
}

/// Splits 32 rows of 16 columns.
#[inline(always)]
fn split_columns(block: &[f32; BLOCK], pieces: &mut Pieces) {
    let (low, high) = block.split_at(BLOCK / 2);
    for (row, (low, high)) in low.chunks_exact(SIDE).zip(high.chunks_exact(SIDE)).enumerate() {
        split(low, high, row, pieces);
    }
}

/// Writes the pieces of 16 pairs to row `row` of each tile.
#[inline(always)]
fn split(low: &[f32], high: &[f32], row: usize, pieces: &mut Pieces) {
    let [first, second, third] = pieces;
    let place = row * SIDE..(row + 1) * SIDE;
    let targets = first.0[place.clone()].iter_mut().zip(&mut second.0[place.clone()]).zip(&mut third.0[place]);
    for (((first, second), third), (&low, &high)) in targets.zip(low.iter().zip(high)) {
        let (a0, b0) = (piece(low), piece(high));
        let (low, high) = (low - a0, high - b0);
        let (a1, b1) = (piece(low), piece(high));
        *first = pair(a0, b0);
        *second = pair(a1, b1);
        *third = pair(piece(low - a1), piece(high - b1));
    }
}

/// Rounds to the 8 bits of bfloat16.
#[inline(always)]
fn piece(x: f32) -> f32 {
    f32::from_bits(x.to_bits().wrapping_add(0x8000) & 0xffff_0000)
}

/// Returns the bits of two pieces in one value.
#[inline(always)]
fn pair(low: f32, high: f32) -> f32 {
    f32::from_bits(low.to_bits() >> 16 | high.to_bits())
}

/// Writes four tiles of sums to their place in the output, plus an offset for each column.
struct WriteSums<'a, 'b> {
    sums: &'a [Tile; 4],
    offsets: &'a [f32; PAIR],
    output: &'a mut MatrixBlock<'b>,
    row: usize,
    column: usize,
}

impl Kernel for WriteSums<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) {
        let Self { sums, offsets, output, row: first, column } = self;
        let start = column - output.columns().start;
        let rows = first..output.rows().end.min(first + PAIR);
        for (index, row) in rows.enumerate() {
            let target = &mut output.row(row)[start..];
            let tiles = &sums[index / SIDE * 2..];
            let place = index % SIDE * SIDE;
            let halves = target.chunks_mut(SIDE).zip(tiles).zip(offsets.chunks_exact(SIDE));
            for ((target, tile), offsets) in halves {
                let sums = &tile.0[place..place + SIDE];
                if let Some(target) = target.first_chunk_mut::<SIDE>() {
                    for (target, (sum, offset)) in target.iter_mut().zip(sums.iter().zip(offsets)) {
                        *target = sum + offset;
                    }
                } else {
                    let pairs = sums.iter().zip(offsets);
                    target.iter_mut().zip(pairs).for_each(|(target, (sum, offset))| *target = sum + offset);
                }
            }
        }
    }
}

//! Exact search: the vectors with the largest products, or at the smallest distances, for each query.

use std::ops::Range;

use crate::context::rows::{ItemRows, OwnRows, RowLayout, Rows};
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::largest::Largest;
use crate::math::weight::{Weight, Weights};
use crate::math::{quantized, sum};
use crate::scratch::{self, Scratch};
use crate::simd::{Accumulate, Kernel, Matrix, ReduceKind, SIDE_BY_SIDE, Simd, gather_columns, product, reduce_rows};
use crate::sizes::{FEW_PROJECTION_ROWS, MAX_TILE_LANES};
use crate::tensor::{Tensor, check_output, try_zeroed};

/// The number of vectors whose products are held at a time.
const BLOCK: usize = 64;

/// The minimum number of vectors in one work item if few queries are divided among threads.
const PART: usize = 1024;

/// The measure by which vectors are ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Metric {
    /// The product, largest first.
    #[default]
    Dot,
    /// The product divided by both lengths, largest first; 0 for a vector of length 0.
    Cosine,
    /// The Euclidean distance, smallest first.
    Euclidean,
}

/// The results of [`top_k`], each `[…, k]`.
#[derive(Debug)]
pub struct TopK<'a> {
    /// The measures, best first.
    pub values: &'a mut [f32],
    /// The indices of their vectors.
    pub indices: &'a mut [i32],
}

/// Finds the `k` best of `vectors [N, D]` for each query `[…, D]`. On a tie the lower index comes first, and NaN
/// precedes everything, as in `torch.topk`. Memory grows with `k`, not with N: there is no buffer of all measures.
/// Vectors of other types are widened block by block; a product with vectors of 8 bits sees the query in 8 bits, too.
///
/// # Errors
/// `SHAPE` if the last dimensions differ or an output has the wrong length, `OPTION` unless k is from 1 to N, `MEMORY`
/// if working memory cannot be allocated.
pub fn top_k<'a>(
    context: Context<'_>,
    queries: Tensor<'_>,
    vectors: impl Into<Weight<'a>>,
    k: usize,
    metric: Metric,
    output: TopK<'_>,
) -> Result<()> {
    let vectors = vectors.into();
    let (rows, depth) = queries.shape.rows_and_columns();
    let &[count, size] = vectors.shape.dims() else {
        return Err(Error::shape("vectors", "2 dimensions [N, D]", vectors.shape));
    };
    if queries.shape.rank() == 0 || size != depth {
        let expected = format_args!("[…, {size}] to fit vectors {}", vectors.shape);
        return Err(Error::shape("queries", expected, queries.shape));
    }
    if k == 0 || k > count {
        return Err(Error::option("k", format_args!("an integer from 1 to {count}, the number of vectors"), k));
    }
    let TopK { values, indices } = output;
    let len = rows.saturating_mul(k);
    check_output("values", values, len)?;
    check_output("indices", indices, len)?;
    if rows == 0 {
        return Ok(());
    }
    let mut inverse_lengths = Vec::new();
    if metric == Metric::Cosine {
        inverse_lengths = try_zeroed("working memory", count)?;
        scratch::reserve(depth)?;
        context.for_each_rows(
            count,
            PART,
            operations([2, count, depth]),
            [&mut inverse_lengths[..]],
            |item, [lengths]| {
                let mut scratch = Scratch::take(depth);
                let vector = scratch.values();
                for (length, row) in lengths.iter_mut().zip(item) {
                    vectors.data.read_row(context.level, row, vector);
                    *length = inverse_length(vector);
                }
            },
        );
    }
    // The parts do not affect results: each product is summed separately.
    let items = rows.div_ceil(context.level.block_rows());
    let parts = if items >= context.threads { 1 } else { context.threads.min(count / PART).max(1) };
    let search = Search {
        queries: queries.data,
        vectors: vectors.data,
        sizes: [rows, count, depth],
        k,
        metric,
        inverse_lengths: &inverse_lengths,
        part_size: count.div_ceil(parts),
    };
    if parts == 1 {
        search.run(context, values, indices)?;
    } else {
        let mut part_values = try_zeroed("working memory", len.saturating_mul(parts))?;
        let mut part_indices = try_zeroed("working memory", len.saturating_mul(parts))?;
        search.run(context, &mut part_values, &mut part_indices)?;
        search.join(&part_values, &part_indices, values, indices);
    }
    if metric == Metric::Euclidean {
        values.iter_mut().for_each(|value| *value = -*value);
    }
    Ok(())
}

/// Returns 1 divided by the length of the row, or 0 for a row of length 0.
fn inverse_length(row: &[f32]) -> f32 {
    let length = sum::length(row);
    if length == 0.0 { 0.0 } else { (1.0 / length) as f32 }
}

/// A search of every query in parts of the vectors. Scores are measures, distances negated.
struct Search<'a> {
    queries: &'a [f32],
    vectors: Weights<'a>,
    /// The number of queries, the number of vectors, and the number of features.
    sizes: [usize; 3],
    k: usize,
    metric: Metric,
    /// 1 divided by the lengths of the vectors, for the cosine.
    inverse_lengths: &'a [f32],
    part_size: usize,
}

impl Search<'_> {
    /// Writes the best of each part, `[parts, rows, k]`.
    fn run(&self, context: Context<'_>, values: &mut [f32], indices: &mut [i32]) -> Result<()> {
        let [rows, count, depth] = self.sizes;
        let parts = values.len() / (rows * self.k);
        let layout = RowLayout::contiguous([1, parts, rows], 1, self.k);
        let rows_per_item = context.level.block_rows();
        scratch::reserve(self.scratch_len(rows_per_item, context.level.tile_lanes()))?;
        context.for_each_head_rows(
            [parts, rows, rows_per_item],
            operations([2, rows, count, depth]),
            [Some(Rows::new(values, layout))],
            Some(Rows::new(indices, layout)),
            |item, [values], indices| {
                if let (Some(values), Some(indices)) = (values, indices) {
                    context.level.run(Item { search: self, item, values, indices });
                }
            },
        );
        Ok(())
    }

    /// Joins the lists of the parts, whose indices ascend from part to part.
    fn join(&self, part_values: &[f32], part_indices: &[i32], values: &mut [f32], indices: &mut [i32]) {
        let (k, [rows, count, _]) = (self.k, self.sizes);
        for (row, (values, indices)) in values.chunks_exact_mut(k).zip(indices.chunks_exact_mut(k)).enumerate() {
            let mut best = Largest::new(values, indices);
            for (part, first) in (0..count).step_by(self.part_size).enumerate() {
                let start = (part * rows + row) * k;
                let list = start..start + k.min(self.part_size).min(count - first);
                for (&value, &index) in part_values[list.clone()].iter().zip(&part_indices[list]) {
                    best.offer_one(value, index);
                }
            }
        }
    }

    /// Scratch for an item: its queries, tiles of them, one block of widened vectors, and its sums.
    fn scratch_len(&self, rows: usize, lanes: usize) -> usize {
        let [_, _, depth] = self.sizes;
        (rows + rows.next_multiple_of(lanes) + self.widened_rows()) * depth + BLOCK * lanes
    }

    /// Returns the number of vectors to widen at a time.
    fn widened_rows(&self) -> usize {
        if matches!(self.vectors, Weights::F32(_)) { 0 } else { BLOCK }
    }

    /// Returns `count` vectors from `first` on, widened into `memory` if they are not 32-bit floats.
    #[inline(always)]
    fn block<'b, S: Simd>(&'b self, simd: S, first: usize, count: usize, memory: &'b mut [f32]) -> &'b [f32] {
        let [_, _, depth] = self.sizes;
        if let Weights::F32(vectors) = self.vectors {
            return &vectors[first * depth..][..count * depth];
        }
        for row in 0..count {
            self.vectors.widen_row(simd, first + row, depth, 0, &mut memory[row * depth..][..depth]);
        }
        memory
    }

    /// Returns the score of a vector from the sum of its terms.
    #[inline(always)]
    fn score(&self, vector: usize, sum: f32) -> f32 {
        match self.metric {
            Metric::Dot => sum,
            Metric::Cosine => sum * self.inverse_lengths[vector],
            Metric::Euclidean => -sum.sqrt(),
        }
    }
}

/// One work item: some queries against one part of the vectors.
struct Item<'a> {
    search: &'a Search<'a>,
    item: ItemRows,
    values: OwnRows<'a>,
    indices: OwnRows<'a, i32>,
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let rows = self.item.rows.len();
        let mut scratch = Scratch::take(self.search.scratch_len(rows, VECTORS * S::LANES));
        let mut rest = scratch.values();
        let [_, count, depth] = self.search.sizes;
        let queries = scratch::take(&mut rest, rows * depth);
        queries.copy_from_slice(&self.search.queries[self.item.rows.start * depth..][..rows * depth]);
        let is_cosine = self.search.metric == Metric::Cosine;
        let is_rounded = matches!(self.search.vectors, Weights::Q8(_)) && self.search.metric != Metric::Euclidean;
        for row in 0..rows {
            let query = &mut queries[row * depth..][..depth];
            let factor = if is_cosine { inverse_length(query) } else { 1.0 };
            if is_rounded {
                quantized::round_row(query);
            }
            if is_cosine {
                query.iter_mut().for_each(|value| *value *= factor);
            }
        }
        let widened = scratch::take(&mut rest, self.search.widened_rows() * depth);
        let first = self.item.head * self.search.part_size;
        let part = first..count.min(first + self.search.part_size);
        if rows <= FEW_PROJECTION_ROWS {
            self.along_rows(simd, part, [queries, widened, rest]);
        } else if S::HAS_HALF_TILES && rows <= S::LANES {
            self.in_lanes::<S, ROWS, 1>(simd, part, [queries, widened, rest]);
        } else {
            self.in_lanes::<S, ROWS, VECTORS>(simd, part, [queries, widened, rest]);
        }
    }
}

impl Item<'_> {
    fn reduce(&self) -> ReduceKind {
        if self.search.metric == Metric::Euclidean { ReduceKind::SquaredDistance } else { ReduceKind::Dot }
    }

    /// Offers sums to the list of query `row`. The first one belongs to vector `first`, and `before` vectors of the
    /// part were offered earlier.
    #[inline(always)]
    fn offer(&mut self, row: usize, first: usize, before: usize, sums: impl Iterator<Item = f32>) {
        let row = self.item.rows.start + row;
        let mut best = Largest::resume(self.values.row(row), self.indices.row(row), before);
        for (vector, sum) in (first..).zip(sums) {
            best.offer_one(self.search.score(vector, sum), vector as i32);
        }
    }

    #[inline(always)]
    fn along_rows<S: Simd>(&mut self, simd: S, part: Range<usize>, memory: [&mut [f32]; 3]) {
        let [queries, widened, sums] = memory;
        let (search, [_, _, depth]) = (self.search, self.search.sizes);
        let reduce = self.reduce();
        for first in part.clone().step_by(BLOCK) {
            let count = BLOCK.min(part.end - first);
            let vectors = search.block(simd, first, count, widened);
            for row in 0..self.item.rows.len() {
                let query = &queries[row * depth..][..depth];
                for at in (0..count).step_by(SIDE_BY_SIDE) {
                    // Too few vectors for a group are read one by one, all places of the group from the same one.
                    let (step, stride) = if count - at < SIDE_BY_SIDE { (1, 0) } else { (SIDE_BY_SIDE, depth) };
                    for at in (at..count.min(at + SIDE_BY_SIDE)).step_by(step) {
                        let rows = &vectors[at * depth..];
                        let [group] = reduce_rows::<S, _, 1>(simd, reduce, query, rows, stride, depth);
                        sums[at..at + step].copy_from_slice(&group[..step]);
                    }
                }
                self.offer(row, first, first - part.start, sums[..count].iter().copied());
            }
        }
    }

    #[inline(always)]
    fn in_lanes<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        part: Range<usize>,
        memory: [&mut [f32]; 3],
    ) {
        let [queries, widened, mut rest] = memory;
        let lanes = VECTORS * S::LANES;
        let (search, [_, _, depth]) = (self.search, self.search.sizes);
        let rows = self.item.rows.len();
        let tiles = scratch::take(&mut rest, rows.next_multiple_of(lanes) * depth);
        if !rows.is_multiple_of(lanes) {
            // Lanes without a query are computed as well, so fill them with zeros rather than leave arbitrary contents.
            tiles.fill(0.0);
        }
        let tile_rows = |tile: usize| tile * lanes..rows.min((tile + 1) * lanes);
        for tile in 0..rows.div_ceil(lanes) {
            let mut starts = [0; MAX_TILE_LANES];
            let count = tile_rows(tile).len();
            starts.iter_mut().zip(tile_rows(tile)).for_each(|(start, row)| *start = row * depth);
            gather_columns(simd, queries, &starts[..count], depth, &mut tiles[tile * lanes * depth..], lanes);
        }
        for first in part.clone().step_by(BLOCK) {
            let count = BLOCK.min(part.end - first);
            let vectors = search.block(simd, first, count, widened);
            let block = Matrix { reduce: self.reduce(), ..Matrix::row_major(vectors, depth) };
            for tile in 0..rows.div_ceil(lanes) {
                let sums = &mut rest[..count * lanes];
                let queries = &tiles[tile * lanes * depth..][..lanes * depth];
                product::<S, ROWS, VECTORS>(simd, block, count, depth, queries, sums, Accumulate::Overwrite);
                for (lane, row) in tile_rows(tile).enumerate() {
                    self.offer(row, first, first - part.start, sums[lane..].iter().step_by(lanes).copied());
                }
            }
        }
    }
}

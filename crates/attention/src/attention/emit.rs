//! The second pass, for those who ask: scores are computed once more, tile by tile, and written out as weights, as scores at
//! an earlier stage, or as each row's largest. The forward pass never holds an L × S buffer for them.

use crate::attention::score::{Lanes, ScoreTile, TileBuffers, Until, are_bounded, head_rows, weight_of};
use crate::attention::{Problem, WeightsOf};
use crate::context::{Context, SharedMut};
use crate::error::Result;
use crate::options::Stage;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, MAX_TILE_LANES, Simd, scatter_rows};

/// What the forward pass found for each row (b, h, i): the largest score, in the problem's units, and the sum of
/// exponentials relative to it. Empty where nobody asks for weights.
pub(super) struct Statistics {
    pub max: Vec<f32>,
    pub sum: Vec<f32>,
}

impl Statistics {
    pub(super) fn is_empty(&self) -> bool {
        self.max.is_empty()
    }
}

/// What becomes of the scores.
#[derive(Clone, Copy)]
enum Values<'a> {
    /// Scores in natural units, at a stage before softmax.
    Scores(Until),
    /// Weights, after dropout.
    Weights(&'a Statistics),
}

/// Where they go.
enum Sink<'a> {
    /// Rows of S values, one for each (b, h, i), or one for each (b, i) with the mean over the heads.
    Rows(SharedMut<'a, f32>),
    /// The largest values of each row and their keys.
    Top { values: SharedMut<'a, f32>, keys: SharedMut<'a, i32>, count: usize },
}

/// Writes the scores at a stage before softmax, `[B, H, L, S]`.
pub(super) fn scores(context: Context<'_>, problem: &Problem<'_>, stage: Stage, output: &mut [f32]) -> Result<()> {
    let until = match stage {
        Stage::Scores => Until::Scores,
        Stage::Softcapped => Until::Softcapped,
        Stage::Biased | Stage::Weights => Until::Masked,
    };
    let sink = Sink::Rows(SharedMut::new(output));
    run(context, problem, Values::Scores(until), sink, WeightsOf::EachHead)
}

/// Writes the weights after dropout, `[B, H, L, S]` or `[B, L, S]`.
pub(super) fn weights(
    context: Context<'_>,
    problem: &Problem<'_>,
    statistics: &Statistics,
    output: &mut [f32],
    weights_of: WeightsOf,
) -> Result<()> {
    run(context, problem, Values::Weights(statistics), Sink::Rows(SharedMut::new(output)), weights_of)
}

/// Writes each row's largest weights, descending, and their keys; among equals the lower key comes first.
pub(super) fn top_weights(
    context: Context<'_>,
    problem: &Problem<'_>,
    statistics: &Statistics,
    values: &mut [f32],
    keys: &mut [i32],
) -> Result<()> {
    let count = values.len().checked_div(problem.rows()).unwrap_or(0);
    let sink = Sink::Top { values: SharedMut::new(values), keys: SharedMut::new(keys), count };
    run(context, problem, Values::Weights(statistics), sink, WeightsOf::EachHead)
}

fn run(
    context: Context<'_>,
    problem: &Problem<'_>,
    values: Values<'_>,
    sink: Sink<'_>,
    weights_of: WeightsOf,
) -> Result<()> {
    if problem.rows() == 0 || problem.keys == 0 {
        return Ok(());
    }
    let lanes = context.level.tile_lanes();
    let heads_an_item = if weights_of == WeightsOf::MeanHead { problem.heads } else { 1 };
    let scratch_len = heads_an_item * problem.head_dim * lanes
        + 2 * problem.key_block * lanes
        + TileBuffers::len(problem, lanes)
        // The weights of one tile of rows, from which the largest are picked.
        + if matches!(sink, Sink::Top { .. }) { lanes * problem.keys } else { 0 };
    scratch::reserve(scratch_len)?;
    let blocks = problem.queries.div_ceil(lanes);
    let head_items = problem.heads / heads_an_item;
    context.for_each(problem.batch * head_items * blocks, problem.operations(), |item| {
        let (outer, block) = (item / blocks, item % blocks);
        let first_head = outer % head_items * heads_an_item;
        context.level.run(Emit {
            problem,
            values,
            sink: &sink,
            b: outer / head_items,
            heads: first_head..first_head + heads_an_item,
            queries: block * lanes..problem.queries.min((block + 1) * lanes),
            scratch_len,
        });
    });
    Ok(())
}

/// One work item: a tile of queries of one head, or of all heads where their mean is wanted.
struct Emit<'a> {
    problem: &'a Problem<'a>,
    values: Values<'a>,
    sink: &'a Sink<'a>,
    b: usize,
    heads: std::ops::Range<usize>,
    queries: std::ops::Range<usize>,
    scratch_len: usize,
}

impl Kernel for Emit<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let mut scratch = Scratch::take(self.scratch_len);
        if S::HAS_HALF_TILES && self.queries.len() <= S::LANES {
            self.emit::<S, ROWS, 1>(simd, scratch.values());
        } else {
            self.emit::<S, ROWS, VECTORS>(simd, scratch.values());
        }
    }
}

impl Emit<'_> {
    #[inline(always)]
    fn emit<S: Simd, const ROWS: usize, const VECTORS: usize>(&self, simd: S, mut rest: &mut [f32]) {
        let problem = self.problem;
        let lanes = VECTORS * S::LANES;
        let query_len = problem.head_dim * lanes;
        let queries = scratch::take(&mut rest, self.heads.len() * query_len);
        let tile = scratch::take(&mut rest, problem.key_block * lanes);
        let mean = scratch::take(&mut rest, problem.key_block * lanes);
        let mut buffers = TileBuffers::take(problem, lanes, &mut rest);
        let rows_of_head = |h: usize| self.queries.clone().map(move |i| [self.b, h, i]);
        for (index, h) in self.heads.clone().enumerate() {
            let queries = &mut queries[index * query_len..][..query_len];
            Lanes::new(problem, 0..problem.keys, rows_of_head(h)).load_queries(simd, problem, lanes, queries);
        }
        let first_head = Lanes::new(problem, 0..problem.keys, rows_of_head(self.heads.start));
        for from in (0..problem.keys).step_by(problem.key_block) {
            let to = problem.keys.min(from + problem.key_block);
            let tile = &mut tile[..(to - from) * lanes];
            let mean = &mut mean[..tile.len()];
            for (index, h) in self.heads.clone().enumerate() {
                let lanes_of_head;
                let lanes_of_head = if index == 0 {
                    &first_head
                } else {
                    lanes_of_head = Lanes::new(problem, 0..problem.keys, rows_of_head(h));
                    &lanes_of_head
                };
                let keys = head_rows(problem.k, problem.k_strides, self.b, h / problem.group());
                let queries = &queries[index * query_len..][..query_len];
                let (data, stride) = keys;
                let is_bounded = problem.visibility.has_mask()
                    && are_bounded(simd, queries, query_len, query_len, 1)
                    && are_bounded(simd, &data[from * stride..], stride, problem.head_dim, to - from);
                let scores = ScoreTile { problem, lanes: lanes_of_head, queries, keys, from, to, is_bounded };
                self.fill::<S, ROWS, VECTORS>(simd, &scores, &mut buffers, tile);
                if self.heads.len() > 1 {
                    add_mean(tile, mean, index, self.heads.len());
                }
            }
            let values = if self.heads.len() > 1 { mean } else { tile };
            let mut starts = [0; MAX_TILE_LANES];
            let starts = &mut starts[..first_head.count];
            for (lane, &[b, h, i]) in first_head.rows[..first_head.count].iter().enumerate() {
                let row = match self.sink {
                    Sink::Rows(_) if self.heads.len() == problem.heads => b * problem.queries + i,
                    Sink::Rows(_) => (b * problem.heads + h) * problem.queries + i,
                    Sink::Top { .. } => lane,
                };
                starts[lane] = row * problem.keys + from;
            }
            let own_rows = SharedMut::new(rest);
            let target = if let Sink::Rows(output) = self.sink { output } else { &own_rows };
            // SAFETY: each row belongs to one item, which writes each of its parts once.
            unsafe { scatter_rows(values, lanes, to - from, target, starts) };
        }
        if let Sink::Top { values, keys, count } = self.sink {
            for (&[b, h, i], row) in first_head.rows[..first_head.count].iter().zip(rest.chunks_exact(problem.keys)) {
                let start = ((b * problem.heads + h) * problem.queries + i) * count;
                // SAFETY: each row belongs to one item, which writes it once.
                let (values, keys) = unsafe { (values.slice(start, *count), keys.slice(start, *count)) };
                largest(row, values, keys);
            }
        }
    }

    /// Fills a tile with what the sink takes.
    #[inline(always)]
    fn fill<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        scores: &ScoreTile<'_>,
        buffers: &mut TileBuffers<'_>,
        tile: &mut [f32],
    ) {
        let lanes = VECTORS * S::LANES;
        let statistics = match self.values {
            Values::Scores(until) => {
                return scores.compute::<S, ROWS, VECTORS>(simd, until, scores.cover(), buffers, tile);
            }
            Values::Weights(statistics) => statistics,
        };
        scores.compute::<S, ROWS, VECTORS>(simd, Until::Masked, scores.cover(), buffers, tile);
        let rows = &scores.lanes.rows[..scores.lanes.count];
        let (mut max, mut scale) = ([0.0; MAX_TILE_LANES], [0.0; MAX_TILE_LANES]);
        for (lane, [b, h, i]) in rows.iter().enumerate() {
            let row = (b * self.problem.heads + h) * self.problem.queries + i;
            max[lane] = statistics.max[row];
            scale[lane] = if statistics.sum[row] == 0.0 { 0.0 } else { 1.0 / statistics.sum[row] };
        }
        for values in tile.chunks_exact_mut(lanes) {
            for v in (0..lanes).step_by(S::LANES) {
                let power = weight_of(simd, simd.load(&values[v..]) - simd.load(&max[v..]));
                simd.store(&mut values[v..], power * simd.load(&scale[v..]));
            }
        }
        if let Some(dropout) = self.problem.dropout {
            for (lane, row) in rows.iter().enumerate() {
                dropout.apply(*row, scores.from, tile[lane..].iter_mut().step_by(lanes));
            }
        }
    }
}

/// Adds one head's share to the mean over the heads.
fn add_mean(tile: &[f32], mean: &mut [f32], index: usize, heads: usize) {
    let share = 1.0 / heads as f32;
    for (mean, value) in mean.iter_mut().zip(tile) {
        *mean = value * share + if index == 0 { 0.0 } else { *mean };
    }
}

/// The largest of `row`, as many as `values` holds, descending, among equals the lower index first, NaN before everything
/// (as `torch.topk` has it).
fn largest(row: &[f32], values: &mut [f32], indices: &mut [i32]) {
    let goes_before = |a: f32, b: f32| a > b || (a.is_nan() && !b.is_nan());
    let mut held = 0;
    for (index, &value) in row.iter().enumerate() {
        if held == values.len() && !values.last().is_some_and(|&last| goes_before(value, last)) {
            continue;
        }
        let place = values[..held].partition_point(|&other| !goes_before(value, other));
        held = values.len().min(held + 1);
        values.copy_within(place..held - 1, place + 1);
        indices.copy_within(place..held - 1, place + 1);
        values[place] = value;
        indices[place] = index as i32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_among_equals_the_lower_index() {
        let (mut values, mut indices) = ([0.0; 3], [0; 3]);
        largest(&[0.1, 0.5, 0.0, 0.5, 0.2], &mut values, &mut indices);
        assert_eq!((values, indices), ([0.5, 0.5, 0.2], [1, 3, 4]));
        largest(&[0.0; 4], &mut values, &mut indices);
        assert_eq!((values, indices), ([0.0; 3], [0, 1, 2]));
        largest(&[0.3, f32::NAN, 0.4, 0.1], &mut values, &mut indices);
        assert!(values[0].is_nan());
        assert_eq!((&values[1..], indices), (&[0.4, 0.3][..], [1, 2, 0]));
    }
}

//! The second pass computes the scores again, tile by tile, and writes weights, scores at an earlier stage, or each
//! row's largest weights. The forward pass never holds an L × S buffer.

use crate::attention::bias::LaneBias;
use crate::attention::score::{Lanes, ScoreTile, TileBuffers, are_bounded, weight_of};
use crate::attention::{Problem, WeightsOf};
use crate::context::Context;
use crate::context::rows::{Blocks, ItemRows, OwnRows, RowLayout, Rows};
use crate::error::Result;
use crate::math::largest::Largest;
use crate::options::Stage;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Level, Simd, scatter_lanes};
use crate::sizes::MAX_TILE_LANES;

/// Statistics of the forward pass for each row (b, h, i): the largest score, in the problem's units, and the sum of
/// exponentials relative to it. Empty unless weights are requested.
pub(super) struct Statistics {
    pub max: Vec<f32>,
    pub sum: Vec<f32>,
}

impl Statistics {
    pub(super) fn is_empty(&self) -> bool {
        self.max.is_empty()
    }
}

/// The kind of values to write.
#[derive(Clone, Copy)]
enum Values<'a> {
    /// Scores in natural units, at a stage before softmax.
    Scores(Stage),
    /// Weights, after dropout.
    Weights(&'a Statistics),
}

/// The destination of the values.
enum Sink<'a> {
    /// Rows of S values: one per (b, h, i), or one per (b, i) for the mean over the heads.
    All(&'a mut [f32]),
    /// The largest values of each row, and the indices of their keys.
    Top(&'a mut [f32], &'a mut [i32]),
}

/// The part of the destination that belongs to one work item.
enum Target<'a> {
    All(OwnRows<'a>),
    Top(OwnRows<'a>, OwnRows<'a, i32>),
}

/// Writes the scores at a stage before softmax, `[B, H, L, S]`.
pub(super) fn scores(context: Context<'_>, problem: &Problem<'_>, stage: Stage, output: &mut [f32]) -> Result<()> {
    run(context, problem, Values::Scores(stage), Sink::All(output), WeightsOf::EachHead)
}

/// Writes the weights after dropout, `[B, H, L, S]` or `[B, L, S]`.
pub(super) fn weights(
    context: Context<'_>,
    problem: &Problem<'_>,
    statistics: &Statistics,
    output: &mut [f32],
    weights_of: WeightsOf,
) -> Result<()> {
    run(context, problem, Values::Weights(statistics), Sink::All(output), weights_of)
}

/// Writes each row's largest weights in descending order, and their keys; on a tie the lower key comes first.
pub(super) fn top_weights(
    context: Context<'_>,
    problem: &Problem<'_>,
    statistics: &Statistics,
    values: &mut [f32],
    keys: &mut [i32],
) -> Result<()> {
    run(context, problem, Values::Weights(statistics), Sink::Top(values, keys), WeightsOf::EachHead)
}

fn run(
    context: Context<'_>,
    problem: &Problem<'_>,
    values: Values<'_>,
    sink: Sink<'_>,
    weights_of: WeightsOf,
) -> Result<()> {
    if problem.rows() == 0 || (problem.keys == 0 && problem.visibility.sequences.is_none()) {
        return Ok(());
    }
    let lanes = context.level.tile_lanes();
    let heads_per_item = if weights_of == WeightsOf::MeanHead { problem.heads } else { 1 };
    let scratch_len = heads_per_item * problem.head_dim * lanes
        + 2 * problem.key_block * lanes
        + TileBuffers::len(problem, lanes)
        // The weights of one tile of rows, from which the largest are picked.
        + problem.widened_len(problem.key_block)[0]
        + if matches!(sink, Sink::Top(..)) { lanes * problem.most_keys() } else { 0 };
    scratch::reserve(scratch_len)?;
    let head_items = problem.heads / heads_per_item;
    let layout = |width: usize| RowLayout::contiguous([problem.batch, head_items, problem.queries], 1, width);
    let (values_target, keys_target) = match sink {
        Sink::All(output) => (Rows::new(output, layout(problem.keys)), None),
        Sink::Top(largest, keys) => {
            let layout = layout(largest.len() / problem.rows());
            (Rows::new(largest, layout), Some(Rows::new(keys, layout)))
        }
    };
    let lane_bias = &LaneBias::new(problem, 1)?;
    let bounds;
    let blocks = match problem.visibility.sequences {
        None => Blocks::Even { rows: problem.queries, size: lanes },
        Some(sequences) => {
            bounds = problem.block_bounds(sequences, 1, lanes);
            Blocks::Between(&bounds)
        }
    };
    let (heads, operations, outputs) = (problem.batch * head_items, problem.operations(), [Some(values_target)]);
    context.for_each_head_block(heads, blocks, operations, outputs, keys_target, |item, [values_part], keys_part| {
        let ItemRows { head, rows } = item;
        let Some(values_part) = values_part else { return };
        let first_head = head % head_items * heads_per_item;
        let (part, first) = problem.at(rows.start);
        let level = context.level;
        level.run(SecondPass {
            level,
            problem: &part,
            first,
            queries_of_call: problem.queries,
            lane_bias: lane_bias.as_ref(),
            values,
            target: match keys_part {
                Some(keys) => Target::Top(values_part, keys),
                None => Target::All(values_part),
            },
            b: head / head_items,
            heads: first_head..first_head + heads_per_item,
            queries: rows.start - first..rows.end - first,
            scratch_len,
        });
    });
    Ok(())
}

/// One work item: a tile of queries of one head, or of all heads if their mean is requested.
struct SecondPass<'a> {
    level: Level,
    problem: &'a Problem<'a>,
    /// The query of the call at which the problem starts, and the number of queries of the call.
    first: usize,
    queries_of_call: usize,
    lane_bias: Option<&'a LaneBias>,
    values: Values<'a>,
    target: Target<'a>,
    b: usize,
    heads: std::ops::Range<usize>,
    queries: std::ops::Range<usize>,
    scratch_len: usize,
}

impl Kernel for SecondPass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let mut scratch = Scratch::take(self.scratch_len);
        if S::HAS_HALF_TILES && self.queries.len() <= S::LANES {
            self.write::<S, 1>(simd, scratch.values());
        } else {
            self.write::<S, VECTORS>(simd, scratch.values());
        }
    }
}

impl SecondPass<'_> {
    #[inline(always)]
    fn write<S: Simd, const VECTORS: usize>(&mut self, simd: S, mut rest: &mut [f32]) {
        let problem = self.problem;
        let lanes = VECTORS * S::LANES;
        let query_len = problem.head_dim * lanes;
        let queries = scratch::take(&mut rest, self.heads.len() * query_len);
        let tile = scratch::take(&mut rest, problem.key_block * lanes);
        let mean = scratch::take(&mut rest, problem.key_block * lanes);
        let widened = scratch::take(&mut rest, problem.widened_len(problem.key_block)[0]);
        let mut buffers = TileBuffers::take(self.level, problem, lanes, &mut rest);
        let (b, rows) = (self.b, self.queries.clone());
        let rows_of_head = |h: usize| rows.clone().map(move |i| [b, h, i]);
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
                let keys = problem.key_rows(self.b, h / problem.group());
                let keys = keys.widened(simd, from..to, problem.head_dim, widened);
                let queries = &queries[index * query_len..][..query_len];
                let is_bounded = problem.visibility.has_mask()
                    && are_bounded(simd, queries, query_len, query_len, 1)
                    && are_bounded(simd, keys.0, keys.1, problem.head_dim, to - from);
                let relative = self.lane_bias.map(|bias| bias.rows([self.b, h], rows.start));
                let scores = ScoreTile { problem, lanes: lanes_of_head, queries, keys, from, to, is_bounded, relative };
                self.fill::<S, VECTORS>(simd, &scores, &mut buffers, tile);
                if self.heads.len() > 1 {
                    add_mean(tile, mean, index, self.heads.len());
                }
            }
            let values = if self.heads.len() > 1 { mean } else { tile };
            match &mut self.target {
                Target::All(output) => {
                    output.write_lanes(simd, self.first + rows.start..self.first + rows.end, from..to, values, lanes);
                }
                // Consecutive rows of S weights, from which the largest are picked below.
                Target::Top(..) => scatter_lanes(simd, values, lanes, rest, problem.keys, from..to, rows.len()),
            }
        }
        if let Target::Top(largest, keys) = &mut self.target {
            for (index, query) in (self.first + rows.start..self.first + rows.end).enumerate() {
                let row = &rest[index * problem.keys..][..problem.keys];
                // A row with too few keys ends with weights of 0 and indices of −1.
                let (weights, indices) = (largest.row(query), keys.row(query));
                weights.fill(0.0);
                indices.fill(-1);
                Largest::new(weights, indices).offer(row);
            }
        }
    }

    /// Fills a tile with the values to be written.
    #[inline(always)]
    fn fill<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        scores: &ScoreTile<'_>,
        buffers: &mut TileBuffers<'_>,
        tile: &mut [f32],
    ) {
        let lanes = VECTORS * S::LANES;
        let (stage, statistics) = match self.values {
            Values::Scores(stage) => (stage, None),
            Values::Weights(statistics) => (Stage::Biased, Some(statistics)),
        };
        scores.compute(stage, scores.cover(), buffers, tile);
        let Some(statistics) = statistics else { return };
        let rows = &scores.lanes.rows[..scores.lanes.count];
        let (mut max, mut scale) = ([0.0; MAX_TILE_LANES], [0.0; MAX_TILE_LANES]);
        for (lane, [b, h, i]) in rows.iter().enumerate() {
            let row = (b * self.problem.heads + h) * self.queries_of_call + self.first + i;
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

/// Adds one head's contribution to the mean over the heads.
fn add_mean(tile: &[f32], mean: &mut [f32], index: usize, heads: usize) {
    let share = 1.0 / heads as f32;
    for (mean, value) in mean.iter_mut().zip(tile) {
        *mean = value * share + if index == 0 { 0.0 } else { *mean };
    }
}

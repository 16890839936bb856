//! The gradient of a float mask: that of the biased scores, summed over the dimensions that the mask broadcasts.

use super::scores::{Keys, QueryTile, ScoreBuffers};
use super::{AttentionTensors, Results, planned};
use crate::attention::bias::LaneBias;
use crate::attention::mask::Mask;
use crate::attention::{Arrays, Problem};
use crate::context::Context;
use crate::context::rows::{OwnRows, RowLayout, Rows};
use crate::error::{Error, Result};
use crate::options::AttentionOptions;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Level, Simd};
use crate::tensor::check_output;

/// Computes the gradient of a float mask, in its shape; the arguments are those of
/// [`attention_backward`](super::attention_backward).
///
/// # Errors
/// `OPTION` without a float mask, and those of `attention_backward`.
pub fn mask_backward(
    context: Context<'_>,
    tensors: AttentionTensors<'_>,
    options: &AttentionOptions,
    arrays: Arrays<'_>,
    gradient: &mut [f32],
) -> Result<()> {
    let Some(Mask::Float(mask)) = arrays.mask else {
        return Err(Error::option("mask", "a float mask: no other has a gradient", "none"));
    };
    let (problem, results) = planned(context, tensors, options, arrays)?;
    check_output("gradient", gradient, mask.data.len())?;
    gradient.fill(0.0);
    let rank = tensors.q.shape.rank();
    let dims = mask_dims(mask.shape.dims(), rank);
    let lanes = context.level.tile_lanes();
    let scratch_len = QueryTile::len(&problem, lanes) + ScoreBuffers::len(&problem, lanes);
    scratch::reserve(scratch_len)?;
    if problem.rows() == 0 || problem.value_dim == 0 || gradient.is_empty() {
        return Ok(());
    }
    let lane_bias = &LaneBias::new(&problem, 1)?;
    // Items own rows of the mask: the rows of as many queries as a tile has lanes, or the only row.
    let [batch, heads, queries, keys] = dims;
    let outputs = [Some(Rows::new(gradient, RowLayout::contiguous([batch, heads, queries], 1, keys)))];
    let sizes = [batch * heads, queries, lanes];
    context.for_each_head_rows(sizes, problem.operations(), outputs, None, |item, [output], _| {
        let Some(output) = output else { return };
        let rows = if queries == 1 { 0..problem.queries } else { item.rows };
        let owned = |dim: usize, all: usize, index: usize| if dim == 1 { 0..all } else { index..index + 1 };
        let level = context.level;
        level.run(MaskRows {
            level,
            problem: &problem,
            results: &results,
            lane_bias: lane_bias.as_ref(),
            batch: owned(batch, problem.batch, item.head / heads),
            heads: owned(heads, problem.heads, item.head % heads),
            queries: rows,
            has_rows: queries != 1,
            scratch_len,
            output,
        });
    });
    Ok(())
}

/// Returns the dimensions of a mask as `[B, H, L, S]`.
fn mask_dims(dims: &[usize], rank: usize) -> [usize; 4] {
    match *dims {
        [b, l, s] if rank == 3 => [b, 1, l, s],
        _ => {
            let mut all = [1; 4];
            all[4 - dims.len()..].copy_from_slice(dims);
            all
        }
    }
}

/// One item: rows of the mask, and every row of scores that they are added to.
struct MaskRows<'a> {
    level: Level,
    problem: &'a Problem<'a>,
    results: &'a Results<'a>,
    lane_bias: Option<&'a LaneBias>,
    batch: std::ops::Range<usize>,
    heads: std::ops::Range<usize>,
    queries: std::ops::Range<usize>,
    /// True if each query has its own row of the mask.
    has_rows: bool,
    scratch_len: usize,
    output: OwnRows<'a>,
}

impl Kernel for MaskRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let (problem, lanes) = (self.problem, VECTORS * S::LANES);
        let mut scratch = Scratch::take(self.scratch_len);
        let mut rest = scratch.values();
        let tile_memory = scratch::take(&mut rest, QueryTile::len(problem, lanes));
        let mut scores = ScoreBuffers::take(self.level, problem, lanes, &mut rest);
        for b in self.batch.clone() {
            for h in self.heads.clone() {
                for first in self.queries.clone().step_by(lanes) {
                    let rows = (first..self.queries.end.min(first + lanes)).map(|i| [b, h, i]);
                    let sources = (problem, self.results);
                    let mut tile = QueryTile::load(simd, sources, rows, lanes, tile_memory);
                    let kv_head = h / problem.group();
                    let (keys, values) = (problem.head_keys(b, kv_head), problem.head_values(b, kv_head));
                    let relative = self.lane_bias.map(|bias| bias.rows([b, h], first));
                    let head = Keys { keys, values, from: 0, to: 0, relative };
                    tile.normalize::<S, VECTORS>(simd, problem, head, &mut scores);
                    for from in (tile.lanes.first..tile.lanes.last).step_by(problem.key_block) {
                        let to = tile.lanes.last.min(from + problem.key_block);
                        let part = Keys { from, to, ..head };
                        if part.fill::<S, VECTORS>(simd, problem, &tile, &mut scores).is_some() {
                            self.add(&scores.slopes[..(to - from) * lanes], &tile, [first, from, lanes]);
                        }
                    }
                }
            }
        }
    }
}

impl MaskRows<'_> {
    /// Adds the gradients of a tile's scores to the rows of the mask; a row of one value belongs to every key.
    fn add(&mut self, slopes: &[f32], tile: &QueryTile<'_>, [first, from, lanes]: [usize; 3]) {
        for lane in 0..tile.lanes.count {
            let row = self.output.row(if self.has_rows { first + lane } else { 0 });
            let slopes = slopes[lane..].iter().step_by(lanes);
            if let [sum] = row {
                *sum += slopes.sum::<f32>();
            } else {
                row[from..].iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
            }
        }
    }
}

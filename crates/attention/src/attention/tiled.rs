//! The tiled pass: tiles of keys against tiles of queries with an online softmax; memory O(L·D), never an L × S buffer.

use crate::attention::Problem;
use crate::attention::ball::{Block, Midpoints};
use crate::attention::forward::Item;
use crate::attention::mask::Cover;
use crate::attention::score::{Lanes, ScoreTile, TileBuffers, Until, are_bounded, head_rows, weight_of};
use crate::scratch::{self, Scratch};
use crate::simd::{Along, BLOCK_TILES, Kernel, MAX_TILE_LANES, Matrix, Simd, Start, product, scatter_rows};

/// Query tiles of one work item.
pub(super) const TILES: usize = BLOCK_TILES;

/// The working memory of an item.
pub(super) fn scratch_len(problem: &Problem<'_>, lanes: usize) -> usize {
    BlockBuffers::len(problem, lanes)
}

/// The tiled pass over one item.
pub(super) struct Tiled<'a>(pub Item<'a>);

/// The working memory of a tiled item.
struct BlockBuffers<'a> {
    queries: &'a mut [f32],
    sums: &'a mut [f32],
    weights: &'a mut [f32],
    tile: TileBuffers<'a>,
    midpoints: Midpoints<'a>,
}

impl<'a> BlockBuffers<'a> {
    fn len(problem: &Problem<'_>, lanes: usize) -> usize {
        lanes * (TILES * (problem.head_dim + problem.value_dim) + problem.key_block)
            + TileBuffers::len(problem, lanes)
            + Midpoints::len(problem, lanes)
    }

    fn new(problem: &Problem<'_>, lanes: usize, mut rest: &'a mut [f32]) -> Self {
        Self {
            queries: scratch::take(&mut rest, TILES * problem.head_dim * lanes),
            sums: scratch::take(&mut rest, TILES * problem.value_dim * lanes),
            weights: scratch::take(&mut rest, problem.key_block * lanes),
            tile: TileBuffers::take(problem, lanes, &mut rest),
            midpoints: Midpoints::take(problem, lanes, &mut rest),
        }
    }
}

/// The online softmax of a tile's lanes.
#[derive(Clone, Copy)]
struct Online {
    max: [f32; MAX_TILE_LANES],
    sum: [f32; MAX_TILE_LANES],
    /// What sums so far have to be multiplied with after the last update.
    rescale: [f32; MAX_TILE_LANES],
}

impl Kernel for Tiled<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let mut scratch = Scratch::take(self.0.scratch_len);
        if S::HAS_HALF_TILES && self.0.rows.len() <= S::LANES {
            let buffers = BlockBuffers::new(self.0.problem, S::LANES, scratch.values());
            self.0.run_tiled::<S, ROWS, 1>(simd, buffers);
        } else {
            let buffers = BlockBuffers::new(self.0.problem, VECTORS * S::LANES, scratch.values());
            self.0.run_tiled::<S, ROWS, VECTORS>(simd, buffers);
        }
    }
}

impl Item<'_> {
    #[inline(always)]
    fn run_tiled<S: Simd, const ROWS: usize, const VECTORS: usize>(&self, simd: S, mut buffers: BlockBuffers<'_>) {
        let problem = self.problem;
        let (head_dim, value_dim) = (problem.head_dim, problem.value_dim);
        let lanes = VECTORS * S::LANES;
        let count = self.rows.len().div_ceil(lanes);
        let tiles: [Lanes; TILES] = std::array::from_fn(|tile| {
            let first = self.rows.start + tile * lanes;
            let rows = (first..self.rows.end.min(first + lanes)).map(|row| self.row(row));
            Lanes::new(problem, self.keys.clone(), rows)
        });
        let tiles = &tiles[..count];
        for (lanes_of_tile, queries) in tiles.iter().zip(buffers.queries.chunks_exact_mut((head_dim * lanes).max(1))) {
            lanes_of_tile.load_queries(simd, problem, lanes, queries);
        }
        let size = head_dim * lanes;
        let is_masked = problem.visibility.has_mask();
        let mut bounded_queries = [false; TILES];
        for (tile, is_bounded) in bounded_queries[..count].iter_mut().enumerate() {
            *is_bounded = is_masked && are_bounded(simd, &buffers.queries[tile * size..], size, size, 1);
        }
        buffers.sums.fill(0.0);
        let mut online =
            [Online { max: [f32::MIN; MAX_TILE_LANES], sum: [0.0; MAX_TILE_LANES], rescale: [0.0; MAX_TILE_LANES] };
                TILES];
        let keys = head_rows(problem.k, problem.k_strides, self.b, self.kv_head);
        let (values, value_stride) = head_rows(problem.v, problem.v_strides, self.b, self.kv_head);
        let first = tiles.iter().map(|tile| tile.first).min().unwrap_or(0);
        let last = tiles.iter().map(|tile| tile.last).max().unwrap_or(0);
        let key_block = problem.key_block;
        for block in (first / key_block * key_block..last).step_by(key_block) {
            let mut finite_values = None;
            let mut bounded_keys = None;
            let block_rows = (block + key_block).min(problem.keys) - block;
            for (tile, lanes_of_tile) in tiles.iter().enumerate() {
                let (from, to) = (block.max(lanes_of_tile.first), (block + key_block).min(lanes_of_tile.last));
                if from >= to {
                    continue;
                }
                let queries = &buffers.queries[tile * head_dim * lanes..][..head_dim * lanes];
                let mut is_bounded = bounded_queries[tile];
                if is_bounded {
                    let (keys, stride) = keys;
                    is_bounded = match bounded_keys {
                        Some(known) => known,
                        None => are_bounded(simd, &keys[block * stride..], stride, head_dim, block_rows),
                    };
                    bounded_keys = Some(is_bounded);
                }
                let scores = ScoreTile { problem, lanes: lanes_of_tile, queries, keys, from, to, is_bounded };
                let cover = scores.cover();
                if cover == Cover::Nothing {
                    continue;
                }
                let weights = &mut buffers.weights[..(to - from) * lanes];
                scores.compute::<S, ROWS, VECTORS>(simd, Until::Masked, cover, &mut buffers.tile, weights);
                let online = &mut online[tile];
                let rescale = online.update::<S, VECTORS>(simd, weights);
                if let Some(dropout) = problem.dropout {
                    for (lane, row) in lanes_of_tile.rows[..lanes_of_tile.count].iter().enumerate() {
                        dropout.apply(*row, from, weights[lane..].iter_mut().step_by(lanes));
                    }
                }
                if value_dim == 0 {
                    continue;
                }
                let sums = &mut buffers.sums[tile * value_dim * lanes..][..value_dim * lanes];
                let start = if rescale { Start::Scale(&online.rescale) } else { Start::Keep };
                let rows = &values[from * value_stride..];
                if let Some(ball) = &problem.ball {
                    let block = Block {
                        tile,
                        curvature: ball.curvature,
                        lambdas: &ball.values[(self.b * problem.heads + self.kv_head) * problem.keys + from..],
                        values: rows,
                        stride: value_stride,
                        value_dim,
                        rescale: if rescale { &online.rescale } else { &[1.0; MAX_TILE_LANES] },
                    };
                    buffers.midpoints.add::<S, ROWS, VECTORS>(simd, &block, weights, sums);
                    continue;
                }
                // A weight of 0 hides a finite value only: 0 · ∞ is NaN.
                let mut hides = scores.may_hide(cover);
                if hides {
                    let are_finite = match finite_values {
                        Some(known) => known,
                        None => are_finite(simd, &values[block * value_stride..], value_stride, value_dim, block_rows),
                    };
                    finite_values = Some(are_finite);
                    hides = !are_finite;
                }
                if hides {
                    add_visible::<S, VECTORS>(simd, rows, value_stride, value_dim, weights, sums, start);
                } else {
                    let rows = Matrix { data: rows, stride: value_stride, along: Along::Rows };
                    product::<S, ROWS, VECTORS>(simd, rows, value_dim, to - from, weights, sums, start);
                }
            }
        }
        for (tile, lanes_of_tile) in tiles.iter().enumerate() {
            let sums = &mut buffers.sums[tile * value_dim * lanes..][..value_dim * lanes];
            let online = &online[tile];
            let scale = online.sum.map(|sum| self.output_scale(sum));
            for sums in sums.chunks_exact_mut(lanes) {
                for v in (0..lanes).step_by(S::LANES) {
                    let scaled = simd.load(&sums[v..]) * simd.load(&scale[v..]);
                    simd.store(&mut sums[v..], scaled);
                }
            }
            let first_row = self.rows.start + tile * lanes;
            let (output, _) = self.output_row(first_row);
            let mut starts = [0; MAX_TILE_LANES];
            for (lane, start) in starts[..lanes_of_tile.count].iter_mut().enumerate() {
                *start = self.output_row(first_row + lane).1;
                self.write_statistics(first_row + lane, online.max[lane], online.sum[lane]);
                if let Some(ball) = &problem.ball {
                    let moments = buffers.midpoints.moments(tile, lane).map(|moment| moment * scale[lane]);
                    ball.write_moments(problem.row(lanes_of_tile.rows[lane]), moments);
                }
            }
            // SAFETY: each output row belongs to one item, which writes it once.
            unsafe { scatter_rows(sums, lanes, value_dim, output, &starts[..lanes_of_tile.count]) };
        }
    }
}

impl Online {
    /// Takes a tile of scores in and turns them into weights relative to the new maximum.
    /// Whether what was summed before has to be rescaled.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn update<S: Simd, const VECTORS: usize>(&mut self, simd: S, scores: &mut [f32]) -> bool {
        let lanes = VECTORS * S::LANES;
        let before: [S::F; VECTORS] = std::array::from_fn(|v| simd.load(&self.max[v * S::LANES..]));
        let mut max = before;
        let mut quads = scores.chunks_exact(4 * lanes);
        for quad in &mut quads {
            for (v, max) in max.iter_mut().enumerate() {
                let [a, b, c, d] = std::array::from_fn(|key| simd.load(&quad[key * lanes + v * S::LANES..]));
                // Each operand that may be NaN stands second, where it is passed over.
                *max = simd.max(simd.max(simd.max(simd.max(*max, a), b), c), d);
            }
        }
        for scores in quads.remainder().chunks_exact(lanes) {
            for (v, max) in max.iter_mut().enumerate() {
                *max = simd.max(*max, simd.load(&scores[v * S::LANES..]));
            }
        }
        let rose = (0..VECTORS).any(|v| simd.any(simd.lt(before[v], max[v])));
        let mut sums: [S::F; VECTORS] = std::array::from_fn(|v| simd.load(&self.sum[v * S::LANES..]));
        if rose {
            for v in 0..VECTORS {
                let rescale = weight_of(simd, before[v] - max[v]);
                sums[v] = sums[v] * rescale;
                simd.store(&mut self.rescale[v * S::LANES..], rescale);
                simd.store(&mut self.max[v * S::LANES..], max[v]);
            }
        }
        for scores in scores.chunks_exact_mut(lanes) {
            for v in 0..VECTORS {
                let chunk = &mut scores[v * S::LANES..];
                let weight = weight_of(simd, simd.load(chunk) - max[v]);
                sums[v] = sums[v] + weight;
                simd.store(chunk, weight);
            }
        }
        for (v, &sum) in sums.iter().enumerate() {
            simd.store(&mut self.sum[v * S::LANES..], sum);
        }
        rose
    }
}

/// Whether every value of the rows is finite: 0 · x is NaN exactly where x is not.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn are_finite<S: Simd>(simd: S, values: &[f32], stride: usize, value_dim: usize, rows: usize) -> bool {
    let mut zeros = simd.splat(0.0);
    let mut tail = 0.0;
    for row in 0..rows {
        let mut chunks = values[row * stride..][..value_dim].chunks_exact(S::LANES);
        for chunk in &mut chunks {
            zeros = simd.mul_add(simd.load(chunk), simd.splat(0.0), zeros);
        }
        for &value in chunks.remainder() {
            tail += value * 0.0;
        }
    }
    simd.reduce_sum(zeros) + tail == 0.0
}

/// The value product by selection: a key whose weight is 0 adds nothing, whatever its value.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn add_visible<S: Simd, const VECTORS: usize>(
    simd: S,
    values: &[f32],
    stride: usize,
    value_dim: usize,
    weights: &[f32],
    sums: &mut [f32],
    start: Start<'_>,
) {
    let lanes = VECTORS * S::LANES;
    for (feature, sums) in sums.chunks_exact_mut(lanes).enumerate().take(value_dim) {
        for v in (0..lanes).step_by(S::LANES) {
            let mut sum = simd.load(&sums[v..]);
            if let Start::Scale(factors) = start {
                sum = sum * simd.load(&factors[v..]);
            }
            for (key, weights) in weights.chunks_exact(lanes).enumerate() {
                let weight = simd.load(&weights[v..]);
                let added = simd.mul_add(weight, simd.splat(values[key * stride + feature]), sum);
                // Below the smallest number above 0, and so not a NaN weight.
                let hidden = simd.lt(weight, simd.splat(f32::from_bits(1)));
                sum = simd.select(hidden, sum, added);
            }
            simd.store(&mut sums[v..], sum);
        }
    }
}

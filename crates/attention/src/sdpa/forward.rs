//! The forward pass: tiles of keys against tiles of queries with an online softmax; memory O(L·D), never an L × S buffer.
//!
//! A work item is one key/value head and a block of its query rows, the rows of grouped heads side by side. Where so few rows
//! share the keys that lanes would stay empty (decoding), they run along their length instead.

use std::f32::consts::LN_2;

use crate::error::Result;
use crate::math::dot::{dot, weighted_sum};
use crate::math::exp::exp;
use crate::math::linear::FEW_ROWS;
use crate::math::softmax::{exp_sum, row_max};
use crate::scratch::{self, Scratch};
use crate::sdpa::Problem;
use crate::sdpa::emit::Statistics;
use crate::sdpa::mask::Cover;
use crate::sdpa::score::{
    KEY_BLOCK, Lanes, ScoreTile, TileBuffers, Until, exponential, head_rows, query_scale, soft_cap,
};
use crate::simd::{Along, Kernel, MAX_TILE_LANES, Matrix, Simd, Start, product, scatter_rows};
use crate::threads::{Context, SharedMut};

/// Query tiles of one work item: what shares a tile of keys while it is in the cache.
const TILES: usize = 4;

/// Computes the output, the log-sum-exp where it is asked for, and the statistics where they have room.
pub(super) fn run(
    context: Context,
    problem: &Problem<'_>,
    output: &mut [f32],
    log_sum_exp: Option<&mut [f32]>,
    statistics: &mut Statistics,
) -> Result<()> {
    let rows = problem.group() * problem.queries;
    if rows == 0 || problem.batch == 0 {
        return Ok(());
    }
    let lanes = context.level.tile_lanes();
    // What the second pass computes has to be what the maximum was taken of, to the last bit.
    let decode = rows <= FEW_ROWS && statistics.is_empty();
    let rows_an_item = if decode { rows } else { TILES * lanes };
    let scratch_len = if decode { DecodeState::len(problem, rows) } else { BlockBuffers::len(problem, lanes) };
    scratch::reserve(scratch_len)?;
    let blocks = rows.div_ceil(rows_an_item);
    let has_statistics = !statistics.is_empty();
    let results = Results {
        output: SharedMut::new(output),
        log_sum_exp: log_sum_exp.map(SharedMut::new),
        max: SharedMut::new(&mut statistics.max),
        sum: SharedMut::new(&mut statistics.sum),
        has_statistics,
    };
    let heads = problem.batch * problem.kv_heads;
    context.for_each(heads * blocks, problem.operations(), |item| {
        // Later blocks see more keys when causal: the heaviest items first, so that no thread is left with one at the end.
        let (block, head) = (blocks - 1 - item / heads, item % heads);
        let item = Item {
            problem,
            results: &results,
            b: head / problem.kv_heads,
            kv_head: head % problem.kv_heads,
            rows: block * rows_an_item..rows.min((block + 1) * rows_an_item),
            scratch_len,
        };
        if decode {
            context.level.run(Decode(item));
        } else {
            context.level.run(Tiled(item));
        }
    });
    Ok(())
}

/// Where the items write.
struct Results<'a> {
    output: SharedMut<'a, f32>,
    log_sum_exp: Option<SharedMut<'a, f32>>,
    max: SharedMut<'a, f32>,
    sum: SharedMut<'a, f32>,
    has_statistics: bool,
}

struct Item<'a> {
    problem: &'a Problem<'a>,
    results: &'a Results<'a>,
    b: usize,
    kv_head: usize,
    /// Rows of the key/value head: row r is query r / group of the group's head r mod group.
    rows: std::ops::Range<usize>,
    scratch_len: usize,
}

impl<'a> Item<'a> {
    /// (b, h, i) of a row.
    fn row(&self, row: usize) -> [usize; 3] {
        let group = self.problem.group();
        [self.b, self.kv_head * group + row % group, row / group]
    }

    fn output_row(&self, [b, h, i]: [usize; 3]) -> &'a mut [f32] {
        let start = self.problem.output_strides.row(b, h, i);
        // SAFETY: each output row belongs to one item, which asks for it once.
        unsafe { self.results.output.slice(start, self.problem.value_dim) }
    }

    /// Writes what the row's maximum and its sum of exponentials say.
    fn write_statistics(&self, [b, h, i]: [usize; 3], max: f32, sum: f32, natural_units: bool) {
        let index = (b * self.problem.heads + h) * self.problem.queries + i;
        if let Some(log_sum_exp) = &self.results.log_sum_exp {
            let max = if natural_units { max } else { max * LN_2 };
            // A row without a visible key sums to 0, and the logarithm of 0 is −∞.
            let value = if sum == 0.0 { f32::NEG_INFINITY } else { max + sum.ln() };
            // SAFETY: each row belongs to one item.
            unsafe { log_sum_exp.slice(index, 1)[0] = value };
        }
        if self.results.has_statistics {
            // SAFETY: each row belongs to one item.
            unsafe {
                self.results.max.slice(index, 1)[0] = max;
                self.results.sum.slice(index, 1)[0] = sum;
            }
        }
    }
}

/// The reciprocal of a row's sum; 0 for a row without a visible key.
fn reciprocal(sum: f32) -> f32 {
    if sum == 0.0 { 0.0 } else { 1.0 / sum }
}

/// The tiled pass over one item.
struct Tiled<'a>(Item<'a>);

/// The working memory of a tiled item.
struct BlockBuffers<'a> {
    queries: &'a mut [f32],
    sums: &'a mut [f32],
    weights: &'a mut [f32],
    tile: TileBuffers<'a>,
}

impl<'a> BlockBuffers<'a> {
    fn len(problem: &Problem<'_>, lanes: usize) -> usize {
        lanes * (TILES * (problem.head_dim + problem.value_dim) + KEY_BLOCK) + TileBuffers::len(problem, lanes)
    }

    fn new(problem: &Problem<'_>, lanes: usize, mut rest: &'a mut [f32]) -> Self {
        Self {
            queries: scratch::take(&mut rest, TILES * problem.head_dim * lanes),
            sums: scratch::take(&mut rest, TILES * problem.value_dim * lanes),
            weights: scratch::take(&mut rest, KEY_BLOCK * lanes),
            tile: TileBuffers::take(problem, lanes, &mut rest),
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
        let natural_units = problem.natural_units();
        let count = self.rows.len().div_ceil(lanes);
        let tiles: [Lanes; TILES] = std::array::from_fn(|tile| {
            let first = self.rows.start + tile * lanes;
            Lanes::new(problem, (first..self.rows.end.min(first + lanes)).map(|row| self.row(row)))
        });
        let tiles = &tiles[..count];
        for (lanes_of_tile, queries) in tiles.iter().zip(buffers.queries.chunks_exact_mut((head_dim * lanes).max(1))) {
            lanes_of_tile.load_queries(simd, problem, query_scale(problem, natural_units), lanes, queries);
        }
        buffers.sums.fill(0.0);
        let mut online =
            [Online { max: [f32::MIN; MAX_TILE_LANES], sum: [0.0; MAX_TILE_LANES], rescale: [0.0; MAX_TILE_LANES] };
                TILES];
        let keys = head_rows(problem.k, problem.k_strides, self.b, self.kv_head);
        let (values, value_stride) = head_rows(problem.v, problem.v_strides, self.b, self.kv_head);
        let first = tiles.iter().map(|tile| tile.first).min().unwrap_or(0);
        let last = tiles.iter().map(|tile| tile.last).max().unwrap_or(0);
        for block in (first / KEY_BLOCK * KEY_BLOCK..last).step_by(KEY_BLOCK) {
            let mut finite_values = None;
            for (tile, lanes_of_tile) in tiles.iter().enumerate() {
                let (from, to) = (block.max(lanes_of_tile.first), (block + KEY_BLOCK).min(lanes_of_tile.last));
                if from >= to {
                    continue;
                }
                let queries = &buffers.queries[tile * head_dim * lanes..][..head_dim * lanes];
                let scores = ScoreTile { problem, lanes: lanes_of_tile, queries, keys, from, to };
                let cover = scores.cover();
                if cover == Cover::Nothing {
                    continue;
                }
                let weights = &mut buffers.weights[..(to - from) * lanes];
                scores.compute::<S, ROWS, VECTORS>(simd, Until::Masked, cover, &mut buffers.tile, weights);
                let online = &mut online[tile];
                let rescale = online.update::<S, VECTORS>(simd, natural_units, weights);
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
                // A weight of 0 hides a finite value only: 0 · ∞ is NaN.
                let mut hides = scores.may_hide(cover);
                if hides {
                    let last = (block + KEY_BLOCK).min(problem.keys);
                    let are_finite = match finite_values {
                        Some(known) => known,
                        None => {
                            are_finite(simd, &values[block * value_stride..], value_stride, value_dim, last - block)
                        }
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
            let scale = online.sum.map(reciprocal);
            for sums in sums.chunks_exact_mut(lanes) {
                for v in (0..lanes).step_by(S::LANES) {
                    let scaled = simd.mul(simd.load(&sums[v..]), simd.load(&scale[v..]));
                    simd.store(&mut sums[v..], scaled);
                }
            }
            let rows = &lanes_of_tile.rows[..lanes_of_tile.count];
            let mut starts = [0; MAX_TILE_LANES];
            for (start, &[b, h, i]) in starts.iter_mut().zip(rows) {
                *start = problem.output_strides.row(b, h, i);
            }
            // SAFETY: each output row belongs to one item, which writes it once.
            unsafe { scatter_rows(sums, lanes, value_dim, &self.results.output, &starts[..rows.len()]) };
            for (lane, &row) in rows.iter().enumerate() {
                self.write_statistics(row, online.max[lane], online.sum[lane], natural_units);
            }
        }
    }
}

impl Online {
    /// Takes a tile of scores in and turns them into weights relative to the new maximum.
    /// Whether what was summed before has to be rescaled.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn update<S: Simd, const VECTORS: usize>(&mut self, simd: S, natural_units: bool, scores: &mut [f32]) -> bool {
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
                let rescale = exponential(simd, natural_units, simd.sub(before[v], max[v]));
                sums[v] = simd.mul(sums[v], rescale);
                simd.store(&mut self.rescale[v * S::LANES..], rescale);
                simd.store(&mut self.max[v * S::LANES..], max[v]);
            }
        }
        for scores in scores.chunks_exact_mut(lanes) {
            for v in 0..VECTORS {
                let chunk = &mut scores[v * S::LANES..];
                let weight = exponential(simd, natural_units, simd.sub(simd.load(chunk), max[v]));
                sums[v] = simd.add(sums[v], weight);
                simd.store(chunk, weight);
            }
        }
        for (v, sum) in sums.into_iter().enumerate() {
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
                sum = simd.mul(sum, simd.load(&factors[v..]));
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

/// The pass over the few rows of one key/value head, along their length.
struct Decode<'a>(Item<'a>);

/// The working memory of a decoding item.
struct DecodeState<'a> {
    /// The scores, then weights, of a block of keys for one row; whole vectors.
    scores: &'a mut [f32],
    bias: &'a mut [f32],
    queries: &'a mut [f32],
    sums: &'a mut [f32],
    max: &'a mut [f32],
    sum: &'a mut [f32],
}

impl<'a> DecodeState<'a> {
    fn len(problem: &Problem<'_>, rows: usize) -> usize {
        2 * KEY_BLOCK + rows * (problem.head_dim + problem.value_dim + 2)
    }

    fn new(problem: &Problem<'_>, rows: usize, mut rest: &'a mut [f32]) -> Self {
        Self {
            scores: scratch::take(&mut rest, KEY_BLOCK),
            bias: scratch::take(&mut rest, KEY_BLOCK),
            queries: scratch::take(&mut rest, rows * problem.head_dim),
            sums: scratch::take(&mut rest, rows * problem.value_dim),
            max: scratch::take(&mut rest, rows),
            sum: scratch::take(&mut rest, rows),
        }
    }
}

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let mut scratch = Scratch::take(self.0.scratch_len);
        self.0.run_decode(simd, DecodeState::new(self.0.problem, self.0.rows.len(), scratch.values()));
    }
}

impl Item<'_> {
    #[inline(always)]
    fn run_decode<S: Simd>(&self, simd: S, state: DecodeState<'_>) {
        let problem = self.problem;
        let (head_dim, value_dim) = (problem.head_dim, problem.value_dim);
        let (keys, key_stride) = head_rows(problem.k, problem.k_strides, self.b, self.kv_head);
        let (values, value_stride) = head_rows(problem.v, problem.v_strides, self.b, self.kv_head);
        let (mut first, mut last) = (problem.keys, 0);
        for row in self.rows.clone() {
            let [b, h, i] = self.row(row);
            let query = &problem.q[problem.q_strides.row(b, h, i)..][..head_dim];
            for (scaled, &query) in state.queries[row * head_dim..].iter_mut().zip(query) {
                *scaled = query * problem.scale;
            }
            let (start, end) = problem.visibility.range(b, i);
            (first, last) = (first.min(start), last.max(end));
        }
        state.sums.fill(0.0);
        state.max.fill(f32::MIN);
        state.sum.fill(0.0);
        for block in (first / KEY_BLOCK * KEY_BLOCK..last).step_by(KEY_BLOCK) {
            for row in self.rows.clone() {
                let [b, h, i] = self.row(row);
                let (start, end) = problem.visibility.range(b, i);
                let (from, to) = (start.max(block), end.min(block + KEY_BLOCK));
                if from >= to {
                    continue;
                }
                let query = &state.queries[row * head_dim..][..head_dim];
                for (score, key) in state.scores.iter_mut().zip(from..to) {
                    *score = dot(simd, query, &keys[key * key_stride..][..head_dim]);
                }
                if problem.softcap > 0.0 {
                    // Whole vectors: what lies behind the last score is capped too, and never read.
                    soft_cap(simd, problem.softcap, state.scores);
                }
                let mut visible = [0u32; KEY_BLOCK];
                let mut count = to - from;
                if problem.visibility.has_mask() {
                    problem.visibility.bias_row(problem.visibility.mask_row(b, h, i), from, count, state.bias);
                    count = keep_visible(state.scores, &state.bias[..count], &mut visible);
                } else {
                    visible.iter_mut().zip(0..).for_each(|(visible, key)| *visible = key);
                }
                let scores = &mut state.scores[..count];
                let max = state.max[row].max(row_max(simd, scores));
                let rescale = scalar_exp(simd, state.max[row] - max);
                state.sum[row] = state.sum[row] * rescale + exp_sum(simd, scores, max);
                state.max[row] = max;
                if let Some(dropout) = problem.dropout {
                    for (score, &key) in scores.iter_mut().zip(&visible) {
                        dropout.apply([b, h, i], from + key as usize, std::iter::once(score));
                    }
                }
                let value = |n: usize| &values[(from + visible[n] as usize) * value_stride..][..value_dim];
                let sums = &mut state.sums[row * value_dim..][..value_dim];
                weighted_sum(simd, scores, value, rescale, sums);
            }
        }
        for row in self.rows.clone() {
            let scale = reciprocal(state.sum[row]);
            let index = self.row(row);
            for (output, sum) in self.output_row(index).iter_mut().zip(&state.sums[row * value_dim..]) {
                *output = sum * scale;
            }
            self.write_statistics(index, state.max[row], state.sum[row], true);
        }
    }
}

/// Adds the bias and moves the scores that it does not hide to the front, with their places in `visible`; how many there are.
fn keep_visible(scores: &mut [f32], bias: &[f32], visible: &mut [u32; KEY_BLOCK]) -> usize {
    let mut count = 0;
    for (key, &bias) in bias.iter().enumerate() {
        if bias != f32::NEG_INFINITY {
            scores[count] = scores[key] + bias;
            visible[count] = key as u32;
            count += 1;
        }
    }
    count
}

/// The vector exponential of one value, so that every path rounds alike.
#[inline(always)]
fn scalar_exp<S: Simd>(simd: S, x: f32) -> f32 {
    let mut lanes = [0.0; 16];
    simd.store(&mut lanes, exp(simd, simd.splat(x)));
    lanes[0]
}

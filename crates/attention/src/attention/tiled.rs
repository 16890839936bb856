//! The tiled pass: an online softmax over tiles of keys and tiles of queries, in O(L·D) memory and without an L × S
//! buffer.
//!
//! The online softmax follows Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"; the loop order
//! follows Dao 2023, "FlashAttention-2".

use std::mem::take;

use crate::attention::Problem;
use crate::attention::ball::{Block, Midpoints};
use crate::attention::forward::{Item, Targets};
use crate::attention::mask::Cover;
use crate::attention::score::{Lanes, ScoreTile, TileBuffers, are_bounded, weight_of};
use crate::attention::tile_products::{self, TileProducts};
use crate::math::sum::{carry, carry_all};
use crate::options::Stage;
use crate::scratch::{self, Scratch};
use crate::simd::amx::Configured;
use crate::simd::{Accumulate, Kernel, Level, Matrix, Simd, product};
use crate::sizes::{BLOCK_TILES, MAX_TILE_LANES};

/// Blocks of keys that are summed plainly before their sums are added to the totals.
const CARRY_BLOCKS: usize = 16;

/// Returns the scratch memory that one item needs, in values. `has_unit` is true if a unit may compute products.
pub(super) fn scratch_len(problem: &Problem<'_>, lanes: usize, has_unit: bool) -> usize {
    BlockBuffers::len(problem, lanes) + if has_unit { tile_products::len(problem, lanes) } else { 0 }
}

/// The tiled pass over one item, with a unit for its products if there is one.
pub(super) struct Tiled<'a, 'b>(pub Item<'a>, pub Targets<'a>, pub Option<Configured<'b>>);

/// The scratch memory of a tiled item.
struct BlockBuffers<'a> {
    /// Scaled queries of each tile, `[D][lanes]`.
    queries: &'a mut [f32],
    /// Sums of weighted values of each tile, `[E][lanes]`, since they were last added to the totals, and the rounding
    /// errors of the totals.
    sums: &'a mut [f32],
    /// Empty for calls with few keys and in hyperbolic space; `sums` then holds everything.
    totals: &'a mut [f32],
    /// Scores of one tile, later its weights: `[keys][lanes]`.
    weights: &'a mut [f32],
    /// A block of keys and its values, if they are widened.
    widened: [&'a mut [f32]; 2],
    tile: TileBuffers<'a>,
    midpoints: Midpoints<'a>,
}

impl<'a> BlockBuffers<'a> {
    fn totals_len(problem: &Problem<'_>, lanes: usize) -> usize {
        let has_totals = problem.keys > CARRY_BLOCKS * problem.key_block && problem.ball.is_none();
        if has_totals { BLOCK_TILES * problem.value_dim * lanes } else { 0 }
    }

    fn len(problem: &Problem<'_>, lanes: usize) -> usize {
        lanes * (BLOCK_TILES * (problem.head_dim + problem.value_dim) + problem.key_block)
            + Self::totals_len(problem, lanes)
            + problem.widened_len(problem.key_block).iter().sum::<usize>()
            + TileBuffers::len(problem, lanes)
            + Midpoints::len(problem, lanes)
    }

    fn new(level: Level, problem: &Problem<'_>, lanes: usize, mut rest: &'a mut [f32]) -> Self {
        Self {
            queries: scratch::take(&mut rest, BLOCK_TILES * problem.head_dim * lanes),
            sums: scratch::take(&mut rest, BLOCK_TILES * problem.value_dim * lanes),
            totals: scratch::take(&mut rest, Self::totals_len(problem, lanes)),
            weights: scratch::take(&mut rest, problem.key_block * lanes),
            widened: problem.widened_len(problem.key_block).map(|len| scratch::take(&mut rest, len)),
            tile: TileBuffers::take(level, problem, lanes, &mut rest),
            midpoints: Midpoints::take(problem, lanes, &mut rest),
        }
    }
}

/// The online softmax of a tile's lanes.
#[derive(Clone, Copy)]
struct Online {
    max: [f32; MAX_TILE_LANES],
    sum: [f32; MAX_TILE_LANES],
    /// The rounding errors of `sum`.
    error: [f32; MAX_TILE_LANES],
    /// The number of blocks whose values were added since the totals were last updated, and the factor that the totals
    /// have missed since then.
    pending: usize,
    pending_rescale: [f32; MAX_TILE_LANES],
    /// The factor for earlier sums after the latest update.
    rescale: [f32; MAX_TILE_LANES],
}

impl Kernel for Tiled<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self(item, targets, unit) = self;
        let mut scratch = Scratch::take(item.scratch_len);
        let mut rest = scratch.values();
        if S::HAS_HALF_TILES && item.rows.len() <= S::LANES {
            let buffers = BlockBuffers::new(item.level, item.problem, S::LANES, rest);
            item.run_tiled::<S, ROWS, 1>(simd, buffers, targets);
        } else {
            let lanes = VECTORS * S::LANES;
            let products = unit.map(|unit| TileProducts::new(unit, item.level, item.problem, lanes, &mut rest));
            let mut buffers = BlockBuffers::new(item.level, item.problem, lanes, rest);
            buffers.tile.products = products;
            item.run_tiled::<S, ROWS, VECTORS>(simd, buffers, targets);
        }
    }
}

/// A block of keys and values of one head, with lazily computed properties.
struct KeyBlock<'a> {
    /// Rows from the block's first key on, and their stride.
    keys: (&'a [f32], usize),
    values: (&'a [f32], usize),
    /// The first key of the block, and the number of its keys.
    first: usize,
    count: usize,
    are_keys_bounded: Option<bool>,
    are_values_finite: Option<bool>,
}

impl KeyBlock<'_> {
    /// Returns the rows of the block from key `key` on, and their stride.
    #[inline(always)]
    fn keys_from(&self, key: usize) -> (&[f32], usize) {
        let (keys, stride) = self.keys;
        // Without features there may be no memory to point into.
        (keys.get((key - self.first) * stride..).unwrap_or_default(), stride)
    }

    /// Returns true if no score of a bounded query overflows; computed once per block.
    #[inline(always)]
    fn are_keys_bounded<S: Simd>(&mut self, simd: S, size: usize) -> bool {
        if self.are_keys_bounded.is_none() {
            let (keys, stride) = self.keys;
            self.are_keys_bounded = Some(are_bounded(simd, keys, stride, size, self.count));
        }
        self.are_keys_bounded == Some(true)
    }

    /// Returns true if a weight of 0 cancels every value (0 · ∞ would be NaN); computed once per block.
    #[inline(always)]
    fn are_values_finite<S: Simd>(&mut self, simd: S, size: usize) -> bool {
        if self.are_values_finite.is_none() {
            let (values, stride) = self.values;
            self.are_values_finite = Some(are_finite(simd, values, stride, size, self.count));
        }
        self.are_values_finite == Some(true)
    }
}

impl Item<'_> {
    /// Runs all rows of the item, in at most [`BLOCK_TILES`] tiles of `lanes` rows. D is the head size, E the value
    /// size.
    #[inline(always)]
    fn run_tiled<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        mut buffers: BlockBuffers<'_>,
        mut targets: Targets<'_>,
    ) {
        let problem = self.problem;
        let lanes = VECTORS * S::LANES;
        let count = self.rows.len().div_ceil(lanes);
        let mut tiles = [const { Lanes::EMPTY }; BLOCK_TILES];
        let tiles = &mut tiles[..count];
        for (tile, lanes_of_tile) in tiles.iter_mut().enumerate() {
            let first = self.rows.start + tile * lanes;
            let rows = self.rows_from(first..self.rows.end.min(first + lanes));
            lanes_of_tile.assign(problem, self.keys.clone(), rows);
        }
        let tiles = &*tiles;

        // Step 1, load: the scaled queries of each tile, [D][lanes]; zeroed sums, [E][lanes]; an empty softmax.
        let size = problem.head_dim * lanes;
        for (lanes_of_tile, queries) in tiles.iter().zip(buffers.queries.chunks_exact_mut(size.max(1))) {
            lanes_of_tile.load_queries(simd, problem, lanes, queries);
        }
        if let Some(products) = &mut buffers.tile.products {
            for (tile, queries) in buffers.queries.chunks_exact(size).enumerate().take(count) {
                products.load_queries(tile, queries);
            }
        }
        let is_masked = problem.visibility.has_mask();
        let mut bounded_queries = [false; BLOCK_TILES];
        for (tile, is_bounded) in bounded_queries[..count].iter_mut().enumerate() {
            *is_bounded = is_masked && are_bounded(simd, &buffers.queries[tile * size..], size, size, 1);
        }
        let used = count * problem.value_dim * lanes;
        for sums in [&mut *buffers.sums, &mut *buffers.totals] {
            let used = used.min(sums.len());
            sums[..used].fill(0.0);
        }
        let mut online = [Online::NEW; BLOCK_TILES];
        if !targets.is_part {
            for (online, tile) in online.iter_mut().zip(tiles) {
                for (lane, [_, h, _]) in tile.rows[..tile.count].iter().enumerate() {
                    [online.max[lane], online.sum[lane]] = problem.visibility.start(*h);
                }
            }
        }

        // Steps 2 to 4, for each block of keys, which stays in the cache, and each tile of queries.
        let key_rows = problem.key_rows(self.b(), self.kv_head());
        let value_rows = problem.value_rows(self.b(), self.kv_head());
        let [widened_keys, widened_values] = take(&mut buffers.widened);
        let first = tiles.iter().map(|tile| tile.first).min().unwrap_or(0);
        let last = tiles.iter().map(|tile| tile.last).max().unwrap_or(0);
        let key_block = problem.key_block;
        for first in (first / key_block * key_block..last).step_by(key_block) {
            let count = (first + key_block).min(last) - first;
            let keys = key_rows.widened(simd, first..first + count, problem.head_dim, widened_keys);
            let values = value_rows.widened(simd, first..first + count, problem.value_dim, widened_values);
            let mut block = KeyBlock { keys, values, first, count, are_keys_bounded: None, are_values_finite: None };
            if let Some(products) = &mut buffers.tile.products {
                products.start_block(first, count);
            }
            for (tile, lanes_of_tile) in tiles.iter().enumerate() {
                let (from, to) = (first.max(lanes_of_tile.first), (first + key_block).min(lanes_of_tile.last));
                if from >= to {
                    continue;
                }

                // Step 2, score: the visible part of the block, [keys][lanes], biased and masked.
                let queries = &buffers.queries[tile * size..][..size];
                let is_bounded = bounded_queries[tile] && block.are_keys_bounded(simd, problem.head_dim);
                let relative = self.lane_bias(self.rows.start + tile * lanes);
                let keys = block.keys_from(from);
                let scores = ScoreTile { problem, lanes: lanes_of_tile, queries, keys, from, to, is_bounded, relative };
                let cover = scores.cover();
                if cover == Cover::Nothing {
                    continue;
                }
                if let Some(products) = &mut buffers.tile.products {
                    products.select(tile);
                }
                let weights = &mut buffers.weights[..(to - from) * lanes];
                scores.compute(Stage::Biased, cover, &mut buffers.tile, weights);

                // Step 3, softmax: scores become weights relative to the largest score so far; then dropout.
                let online = &mut online[tile];
                let has_risen = online.update::<S, VECTORS>(simd, weights);
                if let Some(dropout) = problem.dropout {
                    for (lane, row) in lanes_of_tile.rows[..lanes_of_tile.count].iter().enumerate() {
                        dropout.apply(*row, from, weights[lane..].iter_mut().step_by(lanes));
                    }
                }

                // Step 4, value product: [E][lanes] += values [keys][E], transposed, · weights [keys][lanes].
                if problem.value_dim > 0 {
                    if !buffers.totals.is_empty() {
                        let range = tile * problem.value_dim * lanes..(tile + 1) * problem.value_dim * lanes;
                        let (totals, sums) = (&mut buffers.totals[range.clone()], &mut buffers.sums[range]);
                        online.carry_over::<S, VECTORS>(simd, totals, sums, has_risen);
                    }
                    let rescale = has_risen.then_some(&online.rescale);
                    let may_hide = scores.may_hide(cover);
                    let tile = [tile, from, to];
                    self.add_values::<S, ROWS, VECTORS>(simd, &mut block, &mut buffers, tile, may_hide, rescale);
                }
            }
        }

        // Step 5, write: divide the sums [E][lanes] by each row's sum of weights, and transpose them into the output
        // rows.
        self.write_tiles::<S, VECTORS>(simd, tiles, &online, &mut buffers, &mut targets);
    }

    /// Adds the values of the keys `from .. to`, times their weights, to the sums of a tile; those sums are first
    /// multiplied by `rescale`.
    #[inline(always)]
    fn add_values<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        block: &mut KeyBlock<'_>,
        buffers: &mut BlockBuffers<'_>,
        [tile, from, to]: [usize; 3],
        may_hide: bool,
        rescale: Option<&[f32; MAX_TILE_LANES]>,
    ) {
        let problem = self.problem;
        let (lanes, value_dim) = (VECTORS * S::LANES, problem.value_dim);
        let (values, stride) = block.values;
        let rows = &values[(from - block.first) * stride..];
        let weights = &mut buffers.weights[..(to - from) * lanes];
        let sums = &mut buffers.sums[tile * value_dim * lanes..][..value_dim * lanes];
        if let Some(ball) = &problem.ball {
            let block = Block {
                tile,
                curvature: ball.curvature,
                lambdas: &ball.values[(self.b() * problem.heads + self.kv_head()) * problem.keys + from..],
                values: rows,
                stride,
                value_dim,
                rescale: rescale.unwrap_or(&[1.0; MAX_TILE_LANES]),
            };
            return buffers.midpoints.add::<S, VECTORS>((self.level, simd), &block, weights, sums);
        }
        let accumulate = rescale.map_or(Accumulate::Add, |factors| Accumulate::ScaleAndAdd(factors));
        if may_hide && !block.are_values_finite(simd, value_dim) {
            add_visible::<S, VECTORS>(simd, rows, stride, value_dim, weights, sums, accumulate);
        } else if !buffers
            .tile
            .products
            .as_mut()
            .is_some_and(|products| products.add_values(block.values, [from, to], weights, sums, accumulate))
        {
            let rows = Matrix::column_major(rows, stride);
            product::<S, ROWS, VECTORS>(simd, rows, value_dim, to - from, weights, sums, accumulate);
        }
    }

    /// Writes the results of every tile.
    #[inline(always)]
    fn write_tiles<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        tiles: &[Lanes],
        online: &[Online],
        buffers: &mut BlockBuffers<'_>,
        targets: &mut Targets<'_>,
    ) {
        let (lanes, value_dim) = (VECTORS * S::LANES, self.problem.value_dim);
        for (tile, (lanes_of_tile, online)) in tiles.iter().zip(online).enumerate() {
            let sums = &mut buffers.sums[tile * value_dim * lanes..][..value_dim * lanes];
            let scale = online.sum.map(|sum| targets.output_scale(sum));
            if !buffers.totals.is_empty() {
                let totals = &mut buffers.totals[tile * value_dim * lanes..][..value_dim * lanes];
                scale_columns::<S, VECTORS>(simd, totals, &online.pending_rescale);
                carry_all(simd, sums, totals);
            }
            scale_columns::<S, VECTORS>(simd, sums, &scale);
            let first = self.rows.start + tile * lanes;
            for (lane, factor) in scale.into_iter().enumerate().take(lanes_of_tile.count) {
                targets.write_statistics(first + lane, online.max[lane], online.sum[lane]);
                if self.problem.ball.is_some() {
                    let moments = buffers.midpoints.moments(tile, lane).map(|moment| moment * factor);
                    targets.write_moments(first + lane, moments);
                }
            }
            targets.write_lanes(simd, first..first + lanes_of_tile.count, value_dim, sums, lanes);
        }
    }
}

impl Online {
    const NEW: Self = Self {
        max: [f32::MIN; MAX_TILE_LANES],
        sum: [0.0; MAX_TILE_LANES],
        error: [0.0; MAX_TILE_LANES],
        pending: 0,
        pending_rescale: [1.0; MAX_TILE_LANES],
        rescale: [0.0; MAX_TILE_LANES],
    };

    /// Counts a block of keys. Every [`CARRY_BLOCKS`], adds a tile's sums to its totals before the block is added.
    #[inline(always)]
    fn carry_over<S: Simd, const VECTORS: usize>(
        &mut self,
        simd: S,
        totals: &mut [f32],
        sums: &mut [f32],
        has_risen: bool,
    ) {
        if self.pending == CARRY_BLOCKS {
            scale_columns::<S, VECTORS>(simd, totals, &self.pending_rescale);
            carry_all(simd, totals, sums);
            self.pending = 0;
            self.pending_rescale = [1.0; MAX_TILE_LANES];
        }
        self.pending += 1;
        if has_risen {
            scale_columns::<S, VECTORS>(simd, &mut self.pending_rescale[..VECTORS * S::LANES], &self.rescale);
        }
    }

    /// Turns a tile of scores into weights relative to the new maximum. Returns true if the maximum has risen, so that
    /// earlier sums must be rescaled.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn update<S: Simd, const VECTORS: usize>(&mut self, simd: S, scores: &mut [f32]) -> bool {
        let lanes = VECTORS * S::LANES;
        let before: [S::F; VECTORS] = simd.load_each(&self.max);
        let mut max = before;
        let mut quads = scores.chunks_exact(4 * lanes);
        for quad in &mut quads {
            for (v, max) in max.iter_mut().enumerate() {
                let at = |key: usize| key * lanes + v * S::LANES;
                let (a, b) = (simd.load(&quad[at(0)..]), simd.load(&quad[at(1)..]));
                let (c, d) = (simd.load(&quad[at(2)..]), simd.load(&quad[at(3)..]));
                // An operand that may be NaN comes second, where `max` ignores it.
                *max = simd.max(simd.max(simd.max(simd.max(*max, a), b), c), d);
            }
        }
        for scores in quads.remainder().chunks_exact(lanes) {
            for (v, max) in max.iter_mut().enumerate() {
                *max = simd.max(*max, simd.load(&scores[v * S::LANES..]));
            }
        }
        let mut rose = false;
        for (&before, &max) in before.iter().zip(&max) {
            rose |= simd.any(simd.lt(before, max));
        }
        if rose {
            for v in 0..VECTORS {
                let rescale = weight_of(simd, before[v] - max[v]);
                for sums in [&mut self.sum, &mut self.error] {
                    let scaled = simd.load(&sums[v * S::LANES..]) * rescale;
                    simd.store(&mut sums[v * S::LANES..], scaled);
                }
                simd.store(&mut self.rescale[v * S::LANES..], rescale);
                simd.store(&mut self.max[v * S::LANES..], max[v]);
            }
        }
        let mut sums = [simd.splat(0.0); VECTORS];
        for scores in scores.chunks_exact_mut(lanes) {
            for v in 0..VECTORS {
                let chunk = &mut scores[v * S::LANES..];
                let weight = weight_of(simd, simd.load(chunk) - max[v]);
                sums[v] = sums[v] + weight;
                simd.store(chunk, weight);
            }
        }
        for (v, &added) in sums.iter().enumerate() {
            let (sum, error) = (&mut self.sum[v * S::LANES..], &mut self.error[v * S::LANES..]);
            let (total, rest) = carry(simd, simd.load(sum), simd.load(error) + added);
            simd.store(sum, total);
            simd.store(error, rest);
        }
        rose
    }
}

/// Multiplies each column of a tile by its factor.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn scale_columns<S: Simd, const VECTORS: usize>(simd: S, tile: &mut [f32], factors: &[f32; MAX_TILE_LANES]) {
    for row in tile.chunks_exact_mut(VECTORS * S::LANES) {
        for v in (0..VECTORS * S::LANES).step_by(S::LANES) {
            let scaled = simd.load(&row[v..]) * simd.load(&factors[v..]);
            simd.store(&mut row[v..], scaled);
        }
    }
}

/// Returns true if every value of the rows is finite: 0 · x is NaN exactly if x is not finite.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn are_finite<S: Simd>(simd: S, values: &[f32], stride: usize, value_dim: usize, rows: usize) -> bool {
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

/// The value product by selection: a key with weight 0 adds nothing, whatever its value.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn add_visible<S: Simd, const VECTORS: usize>(
    simd: S,
    values: &[f32],
    stride: usize,
    value_dim: usize,
    weights: &[f32],
    sums: &mut [f32],
    accumulate: Accumulate<'_>,
) {
    let lanes = VECTORS * S::LANES;
    for (feature, sums) in sums.chunks_exact_mut(lanes).enumerate().take(value_dim) {
        for v in (0..lanes).step_by(S::LANES) {
            let mut before = simd.load(&sums[v..]);
            if let Accumulate::ScaleAndAdd(factors) = accumulate {
                before = before * simd.load(&factors[v..]);
            }
            let mut sum = simd.splat(0.0);
            for (key, weights) in weights.chunks_exact(lanes).enumerate() {
                let weight = simd.load(&weights[v..]);
                let added = simd.mul_add(weight, simd.splat(values[key * stride + feature]), sum);
                // True only for a weight of 0: it is below the smallest positive number, and NaN is not.
                let hidden = simd.lt(weight, simd.splat(f32::from_bits(1)));
                sum = simd.select(hidden, sum, added);
            }
            simd.store(&mut sums[v..], before + sum);
        }
    }
}

//! Tiles of weights, and of the gradients of their scores, with queries in SIMD lanes.

use std::ops::Range;

use super::Results;
use crate::attention::Problem;
use crate::attention::bias::LaneRows;
use crate::attention::mask::Cover;
use crate::attention::score::{Lanes, ScoreTile, TileBuffers, are_bounded, weight_of};
use crate::attention::tiled::are_finite;
use crate::math::product::product;
use crate::options::Stage;
use crate::scratch;
use crate::simd::{Accumulate, Level, Matrix, Simd, gather_columns};
use crate::sizes::MAX_TILE_LANES;

/// The query rows of one tile, in its lanes.
pub(super) struct QueryTile<'a> {
    pub lanes: Lanes,
    /// Scaled queries `[D][lanes]`, and the gradients of their outputs `[E][lanes]`.
    pub queries: &'a mut [f32],
    pub gradients: &'a mut [f32],
    log_sum_exp: [f32; MAX_TILE_LANES],
    /// The factor of each row's weights, for what its log-sum-exp has no digits for.
    share: [f32; MAX_TILE_LANES],
    delta: [f32; MAX_TILE_LANES],
    are_queries_bounded: bool,
}

impl<'a> QueryTile<'a> {
    /// Returns the length of the buffers of one tile in values.
    pub fn len(problem: &Problem<'_>, lanes: usize) -> usize {
        (problem.head_dim + problem.value_dim) * lanes
    }

    /// Loads rows, in the lanes of all keys.
    #[inline(always)]
    pub fn load<S: Simd>(
        simd: S,
        (problem, results): (&Problem<'_>, &Results<'_>),
        rows: impl Iterator<Item = [usize; 3]>,
        lanes: usize,
        buffer: &'a mut [f32],
    ) -> Self {
        let (queries, gradients) = buffer.split_at_mut(problem.head_dim * lanes);
        let lanes_of_tile = Lanes::new(problem, 0..problem.keys, rows);
        let count = lanes_of_tile.count;
        lanes_of_tile.load_queries(simd, problem, lanes, queries);
        gradients.fill(0.0);
        let mut starts = [0; MAX_TILE_LANES];
        // Weights relative to ∞ are 0: those of lanes without a row, and of rows without a visible key.
        let (mut log_sum_exp, mut delta) = ([f32::INFINITY; MAX_TILE_LANES], [0.0; MAX_TILE_LANES]);
        for (lane, &row) in lanes_of_tile.rows[..count].iter().enumerate() {
            starts[lane] = results.start(problem, row);
            log_sum_exp[lane] = results.log_sum_exp(problem, row);
            delta[lane] = results.delta(simd, problem, row);
        }
        gather_columns(simd, results.gradient, &starts[..count], problem.value_dim, gradients, lanes);
        for lane in 0..count {
            if log_sum_exp[lane] == f32::NEG_INFINITY {
                (log_sum_exp[lane], delta[lane]) = (f32::INFINITY, 0.0);
                // A product with NaN would not be 0.
                queries.iter_mut().chain(&mut *gradients).skip(lane).step_by(lanes).for_each(|value| *value = 0.0);
            }
        }
        let size = queries.len();
        let are_queries_bounded = problem.visibility.has_mask() && are_bounded(simd, queries, size, size, 1);
        let share = [1.0; MAX_TILE_LANES];
        Self { lanes: lanes_of_tile, queries, gradients, log_sum_exp, share, delta, are_queries_bounded }
    }

    /// Makes the weights of rows add up to 1 where a large log-sum-exp has no digits for it. `head` has every key.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub fn normalize<S: Simd, const VECTORS: usize>(
        &mut self,
        simd: S,
        problem: &Problem<'_>,
        head: Keys<'_>,
        buffers: &mut ScoreBuffers<'_>,
    ) {
        // Up to here, rounding changes weights by less than 4e-6.
        const LARGE: f32 = 64.0;
        let is_large = |value: &f32| value.abs() > LARGE && value.is_finite();
        if !self.log_sum_exp.iter().any(is_large) {
            return;
        }
        let lanes = VECTORS * S::LANES;
        let mut sums = [0.0f64; MAX_TILE_LANES];
        for from in (self.lanes.first..self.lanes.last).step_by(problem.key_block) {
            let part = Keys { from, to: self.lanes.last.min(from + problem.key_block), ..head };
            let weights = &mut buffers.weights[..(part.to - from) * lanes];
            let scores = part.scores(simd, problem, self);
            scores.compute(Stage::Biased, scores.cover(), &mut buffers.tile, weights);
            for weights in weights.chunks_exact_mut(lanes) {
                for v in (0..lanes).step_by(S::LANES) {
                    let weight = weight_of(simd, simd.load(&weights[v..]) - simd.load(&self.log_sum_exp[v..]));
                    simd.store(&mut weights[v..], weight);
                }
                sums.iter_mut().zip(weights).for_each(|(sum, &mut weight)| *sum += f64::from(weight));
            }
        }
        for lane in (0..self.lanes.count).filter(|&lane| is_large(&self.log_sum_exp[lane])) {
            let [sink, sum] = problem.visibility.start(self.lanes.rows[lane][1]);
            let sink = f64::from(sum) * (f64::from(sink) - f64::from(self.log_sum_exp[lane])).exp();
            self.share[lane] = (1.0 / (sums[lane] + sink)) as f32;
        }
    }

    /// Restricts the lanes to some of the keys.
    pub fn restrict(&mut self, problem: &Problem<'_>, keys: Range<usize>) {
        if keys != (0..problem.keys) {
            let rows = self.lanes.rows;
            self.lanes = Lanes::new(problem, keys, rows.into_iter().take(self.lanes.count));
        }
    }

    /// Returns true if the row in a lane sees a key.
    pub fn sees_keys(&self, lane: usize) -> bool {
        self.log_sum_exp[lane] != f32::INFINITY
    }
}

/// Memory for the scores of one tile, `[keys][lanes]` each.
pub(super) struct ScoreBuffers<'a> {
    /// The weights; after dropout if there is one.
    pub weights: &'a mut [f32],
    /// The gradients of the scores.
    pub slopes: &'a mut [f32],
    /// The scores after the soft cap, if there is one.
    capped: &'a mut [f32],
    tile: TileBuffers<'a>,
}

impl<'a> ScoreBuffers<'a> {
    fn capped_len(problem: &Problem<'_>, lanes: usize) -> usize {
        if problem.softcap > 0.0 { problem.key_block * lanes } else { 0 }
    }

    /// Returns the length of the buffers in values.
    pub fn len(problem: &Problem<'_>, lanes: usize) -> usize {
        2 * problem.key_block * lanes + Self::capped_len(problem, lanes) + TileBuffers::len(problem, lanes)
    }

    pub fn take(level: Level, problem: &Problem<'_>, lanes: usize, rest: &mut &'a mut [f32]) -> Self {
        Self {
            weights: scratch::take(rest, problem.key_block * lanes),
            slopes: scratch::take(rest, problem.key_block * lanes),
            capped: scratch::take(rest, Self::capped_len(problem, lanes)),
            tile: TileBuffers::take(level, problem, lanes, rest),
        }
    }
}

/// The keys `from .. to` of one head, at most a block.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub keys: (&'a [f32], usize),
    pub values: (&'a [f32], usize),
    pub from: usize,
    pub to: usize,
    pub relative: Option<LaneRows<'a>>,
}

impl Keys<'_> {
    /// Fills the buffers with the weights of a tile, and with the gradients of its biased scores. Returns `None`, and
    /// leaves the buffers as they are, if no row of the tile sees any of the keys.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub fn fill<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        problem: &Problem<'_>,
        tile: &QueryTile<'_>,
        buffers: &mut ScoreBuffers<'_>,
    ) -> Option<Cover> {
        let (lanes, count) = (VECTORS * S::LANES, self.to - self.from);
        let scores = self.scores(simd, problem, tile);
        let cover = scores.cover();
        if cover == Cover::Nothing {
            return None;
        }

        // Step 1: the biased scores, and the products of values and gradients, times the factors of dropout.
        let weights = &mut buffers.weights[..count * lanes];
        let slopes = &mut buffers.slopes[..count * lanes];
        scores.compute(Stage::Biased, cover, &mut buffers.tile, weights);
        let (size, stride) = (problem.value_dim, self.values.1);
        let values = Matrix::row_major(rows_from(self.values, self.from, size), stride);
        product((buffers.tile.level, lanes), values, [count, size], tile.gradients, slopes, Accumulate::Overwrite);
        self.drop_out(problem, tile, lanes, slopes);

        // Step 2: the weights, and the gradients of the biased scores.
        for (weights, slopes) in weights.chunks_exact_mut(lanes).zip(slopes.chunks_exact_mut(lanes)) {
            for v in (0..lanes).step_by(S::LANES) {
                let weight = weight_of(simd, simd.load(&weights[v..]) - simd.load(&tile.log_sum_exp[v..]));
                let weight = weight * simd.load(&tile.share[v..]);
                let slope = weight * (simd.load(&slopes[v..]) - simd.load(&tile.delta[v..]));
                simd.store(&mut slopes[v..], simd.select(is_zero(simd, weight), simd.splat(0.0), slope));
                simd.store(&mut weights[v..], weight);
            }
        }
        self.drop_out(problem, tile, lanes, weights);
        Some(cover)
    }

    /// Multiplies values of a tile by the factors of dropout.
    fn drop_out(&self, problem: &Problem<'_>, tile: &QueryTile<'_>, lanes: usize, values: &mut [f32]) {
        let Some(dropout) = problem.dropout else { return };
        for (lane, row) in tile.lanes.rows[..tile.lanes.count].iter().enumerate() {
            dropout.apply(*row, self.from, values[lane..].iter_mut().step_by(lanes));
        }
    }

    /// Turns gradients of biased scores into those of the scores before the soft cap, whose derivative is 1 − (s/cap)²
    /// at the capped score s.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub fn pass_cap<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        problem: &Problem<'_>,
        tile: &QueryTile<'_>,
        buffers: &mut ScoreBuffers<'_>,
    ) {
        if problem.softcap <= 0.0 {
            return;
        }
        let len = (self.to - self.from) * VECTORS * S::LANES;
        let (slopes, capped) = (&mut buffers.slopes[..len], &mut buffers.capped[..len]);
        let scores = self.scores(simd, problem, tile);
        scores.compute(Stage::Softcapped, Cover::Everything, &mut buffers.tile, capped);
        let inverse = simd.splat(1.0 / problem.softcap);
        for (slopes, capped) in slopes.chunks_exact_mut(S::LANES).zip(capped.chunks_exact(S::LANES)) {
            let (slope, ratio) = (simd.load(slopes), simd.load(capped) * inverse);
            let magnitude = simd.max(slope, simd.splat(0.0) - slope);
            let through = slope * (simd.splat(1.0) - ratio * ratio);
            // A hidden key may have any score.
            simd.store(slopes, simd.select(is_zero(simd, magnitude), slope, through));
        }
    }

    /// Returns true if a row of the tile may not see some of the keys, and a product with a hidden key may not be 0.
    #[inline(always)]
    pub fn needs_selection<S: Simd>(&self, simd: S, problem: &Problem<'_>, tile: &QueryTile<'_>, cover: Cover) -> bool {
        let (size, keys) = (problem.head_dim, rows_from(self.keys, self.from, problem.head_dim));
        self.scores(simd, problem, tile).may_hide(cover)
            && !are_finite(simd, keys, self.keys.1, size, self.to - self.from)
    }

    #[inline(always)]
    fn scores<'b, S: Simd>(&'b self, simd: S, problem: &'b Problem<'b>, tile: &'b QueryTile<'_>) -> ScoreTile<'b> {
        let &Self { keys, from, to, relative, .. } = self;
        let size = problem.head_dim;
        let is_bounded =
            tile.are_queries_bounded && are_bounded(simd, rows_from(keys, from, size), keys.1, size, to - from);
        let keys = (rows_from(keys, from, size), keys.1);
        ScoreTile { problem, lanes: &tile.lanes, queries: tile.queries, keys, from, to, is_bounded, relative }
    }
}

/// Returns the rows from row `from` on, each of `size` features.
pub(super) fn rows_from((data, stride): (&[f32], usize), from: usize, size: usize) -> &[f32] {
    // Without features there may be no memory to point into.
    if size == 0 { &[] } else { &data[from * stride..] }
}

/// Returns the lanes of 0, for values that are not negative: those below the smallest positive number, and not NaN.
#[inline(always)]
fn is_zero<S: Simd>(simd: S, magnitude: S::F) -> S::M {
    simd.lt(magnitude, simd.splat(f32::from_bits(1)))
}

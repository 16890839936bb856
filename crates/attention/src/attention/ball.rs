//! Attention between points of a hyperbolic ball: scores come from hyperbolic distances, and outputs are hyperbolic
//! midpoints.
//!
//! A point x has the gap `g = 1 − c|x|²` and the conformal factor λ = 2/g. The distance of two points is
//! `d(q, k) = (2/√c) arsinh(√c |q − k| / √(g_q g_k))`. The midpoint of values v under weights p is computed from the
//! moments of `w = p λ`: their sum W, their mean, and the sum of squared distances from the mean. None of these forms
//! suffers from cancellation, however close the points are to each other or to the boundary.

use crate::attention::Problem;
use crate::attention::score::Lanes;
use crate::math::log::log2;
use crate::math::product::product;
use crate::scratch;
use crate::simd::{Accumulate, Level, Matrix, Order, ReduceKind, Simd};
use crate::sizes::{BLOCK_TILES, MAX_TILE_LANES};

/// Per-point quantities that the kernels need, with rows in the order (b, h, i).
#[derive(Clone, Copy)]
pub(crate) struct Ball<'a> {
    /// The curvature parameter c, greater than 0.
    pub curvature: f32,
    /// Factor that turns `ln(e^(√c d / 2))` into a score: −2/√c, divided by the temperature.
    pub factor: f32,
    /// `√(c / g)` of each query, `[B, H, L]`.
    pub queries: &'a [f32],
    /// `1/√g` of each key, `[B, H, S]`.
    pub keys: &'a [f32],
    /// λ of each value, `[B, H, S]`.
    pub values: &'a [f32],
}

impl Ball<'_> {
    /// Turns a tile of squared Euclidean distances, for keys starting at `from`, into scores.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn score<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        problem: &Problem<'_>,
        lanes: &Lanes,
        from: usize,
        tile: &mut [f32],
    ) {
        let mut queries = [0.0; MAX_TILE_LANES];
        for (query, row) in queries.iter_mut().zip(&lanes.rows[..lanes.count]) {
            *query = self.queries[problem.row(*row)];
        }
        let [b, h, _] = lanes.rows[0];
        let keys = &self.keys[(b * problem.heads + h) * problem.keys + from..];
        // Logarithms here are to base 2.
        let factor = simd.splat(self.factor * std::f32::consts::LN_2);
        let queries: [S::F; VECTORS] = simd.load_each(&queries);
        for (distances, &key) in tile.chunks_exact_mut(VECTORS * S::LANES).zip(keys) {
            let key = simd.splat(key);
            for (v, &query) in queries.iter().enumerate() {
                let chunk = &mut distances[v * S::LANES..];
                let sinh = simd.sqrt(simd.load(chunk)) * query * key;
                let cosh = simd.sqrt(simd.mul_add(sinh, sinh, simd.splat(1.0)));
                simd.store(chunk, factor * log2(simd, sinh + cosh));
            }
        }
    }
}

/// Scratch memory for midpoints; empty unless rows are points of a ball.
pub(super) struct Midpoints<'a> {
    /// The mean of a block of keys, `[E][lanes]`.
    mean: &'a mut [f32],
    /// The squared distances of its values from the mean, `[keys][lanes]`.
    distances: &'a mut [f32],
    /// Each lane's W and c times its sum of squared distances, tile by tile.
    weight: &'a mut [f32],
    spread: &'a mut [f32],
}

/// One tile's block of keys, to be added to the midpoints.
pub(super) struct Block<'a> {
    /// The index of the tile within the item.
    pub tile: usize,
    /// The curvature parameter c.
    pub curvature: f32,
    /// λ of each value.
    pub lambdas: &'a [f32],
    /// The values.
    pub values: &'a [f32],
    pub stride: usize,
    pub value_dim: usize,
    /// Each lane's factor for the sums accumulated so far.
    pub rescale: &'a [f32; MAX_TILE_LANES],
}

impl<'a> Midpoints<'a> {
    pub(super) fn len(problem: &Problem<'_>, lanes: usize) -> usize {
        if problem.ball.is_some() { lanes * (problem.value_dim + problem.key_block + 2 * BLOCK_TILES) } else { 0 }
    }

    pub(super) fn take(problem: &Problem<'_>, lanes: usize, rest: &mut &'a mut [f32]) -> Self {
        let lanes = if problem.ball.is_some() { lanes } else { 0 };
        let weight = scratch::take(rest, BLOCK_TILES * lanes);
        let spread = scratch::take(rest, BLOCK_TILES * lanes);
        weight.fill(0.0);
        spread.fill(0.0);
        Self {
            mean: scratch::take(rest, problem.value_dim * lanes),
            distances: scratch::take(rest, problem.key_block * lanes),
            weight,
            spread,
        }
    }

    /// Returns W and c times the sum of squared distances for one lane of a tile.
    pub(super) fn moments(&self, tile: usize, lane: usize) -> [f32; 2] {
        let index = tile * (self.weight.len() / BLOCK_TILES) + lane;
        [self.weight[index], self.spread[index]]
    }

    /// Adds a block of values with weights p, which are replaced by w: to `sums`, which holds the sums of `w v`, and to
    /// the moments. The moments of two samples are combined as in Chan, Golub and LeVeque (1983).
    ///
    /// The block's own squared distances follow from `Σ w c|v|² = Σ w − 2 Σ p` minus the mean's part. If too little
    /// remains after the subtraction to be accurate, they are summed one by one instead.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn add<S: Simd, const VECTORS: usize>(
        &mut self,
        (level, simd): (Level, S),
        block: &Block<'_>,
        weights: &mut [f32],
        sums: &mut [f32],
    ) {
        let lanes = VECTORS * S::LANES;
        let count = weights.len() / lanes;
        let mut given = [simd.splat(0.0); VECTORS];
        let mut added = given;
        for (weights, &lambda) in weights.chunks_exact_mut(lanes).zip(block.lambdas) {
            for v in 0..VECTORS {
                let chunk = &mut weights[v * S::LANES..];
                let share = simd.load(chunk);
                let weight = share * lambda;
                given[v] = given[v] + share;
                added[v] = added[v] + weight;
                simd.store(chunk, weight);
            }
        }
        let values = Matrix::column_major(block.values, block.stride);
        product((level, lanes), values, [block.value_dim, count], weights, self.mean, Accumulate::Overwrite);
        let curvature = simd.splat(block.curvature);
        let mut spreads = [simd.splat(0.0); VECTORS];
        // Marks lanes with too little left. Each lane decides for itself, so a row's result does not depend on its
        // neighbors.
        let mut is_inexact = [simd.lt(simd.splat(0.0), simd.splat(0.0)); VECTORS];
        for (v, &added) in added.iter().enumerate() {
            let inverse = reciprocal(simd, added);
            let mut square = simd.splat(0.0);
            for mean in self.mean.chunks_exact_mut(lanes) {
                let chunk = &mut mean[v * S::LANES..];
                let mean = simd.load(chunk) * inverse;
                square = simd.mul_add(mean, mean, square);
                simd.store(chunk, mean);
            }
            let given = given[v] + given[v];
            let left = added - curvature * square * added;
            spreads[v] = left - given;
            // If all values are close to the origin, the error of the remainder does not matter.
            let is_far = simd.lt(given + given, added);
            let is_small = simd.lt(spreads[v], added * (1.0 / 16.0));
            is_inexact[v] = simd.and(is_far, is_small);
        }
        if simd.any_of(&is_inexact) {
            let values = Matrix { order: Order::RowMajor, reduce: ReduceKind::SquaredDistance, ..values };
            let sizes = [count, block.value_dim];
            product((level, lanes), values, sizes, self.mean, self.distances, Accumulate::Overwrite);
            for (v, spread) in spreads.iter_mut().enumerate() {
                let mut sum = simd.splat(0.0);
                for (weights, distances) in weights.chunks_exact(lanes).zip(self.distances.chunks_exact(lanes)) {
                    let (weight, distance) =
                        (simd.load(&weights[v * S::LANES..]), simd.load(&distances[v * S::LANES..]));
                    sum = simd.mul_add(weight, distance, sum);
                }
                *spread = simd.select(is_inexact[v], sum * curvature, *spread);
            }
        }
        for (v, &added) in added.iter().enumerate() {
            let lane = v * S::LANES;
            let at = block.tile * lanes + lane;
            let rescale = simd.load(&block.rescale[lane..]);
            let before = simd.load(&self.weight[at..]) * rescale;
            let spread = simd.mul_add(simd.load(&self.spread[at..]), rescale, spreads[v]);
            let inverse = reciprocal(simd, before);
            let mut apart = simd.splat(0.0);
            for (sums, mean) in sums.chunks_exact_mut(lanes).zip(self.mean.chunks_exact(lanes)) {
                let (mean, sum) = (simd.load(&mean[lane..]), simd.load(&sums[lane..]) * rescale);
                let difference = mean - sum * inverse;
                apart = simd.mul_add(difference, difference, apart);
                simd.store(&mut sums[lane..], simd.mul_add(added, mean, sum));
            }
            let weight = before + added;
            let share = before * reciprocal(simd, weight) * (added * curvature);
            simd.store(&mut self.weight[at..], weight);
            simd.store(&mut self.spread[at..], simd.mul_add(share, apart, spread));
        }
    }
}

/// Returns `1/x`, or 0 if x is too small to invert, as for keys that a row does not see.
#[inline(always)]
fn reciprocal<S: Simd>(simd: S, x: S::F) -> S::F {
    let is_tiny = simd.lt(x, simd.splat(1e-37));
    simd.select(is_tiny, simd.splat(0.0), simd.splat(1.0) / x)
}

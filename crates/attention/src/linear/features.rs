//! φ maps queries and keys to positive features, whose products replace the exponentials of softmax.

use crate::context::rows::SharedMut;
use crate::error::Result;
use crate::linear::projection;
use crate::linear::rows::Rows;
use crate::math::dot::dot;
use crate::math::exp::exp;
use crate::math::softmax::{exp_sum, row_max};
use crate::simd::{Accumulate, Matrix, Simd, gather_columns, product, scatter_rows};
use crate::sizes::MAX_TILE_LANES;

/// φ, which makes positive features of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum FeatureMap {
    /// `elu(x) + 1`.
    #[default]
    Elu,
    /// `max(x, 0) + 1e-3`.
    Relu,
    /// `exp(ωᵀx̂ − ‖x̂‖²/2 − c)/√m`.
    #[cfg_attr(feature = "serde", serde(rename = "favor+"))]
    FavorPlus,
}

/// φ for rows of one size.
#[derive(Debug, Clone)]
pub(super) struct Features {
    pub kind: FeatureMap,
    /// D, the size of a row.
    pub size: usize,
    /// F, how many features a row gets.
    pub features: usize,
    /// `ω / D^¼`, `[F, D]`; empty for the other kinds.
    pub projection: Vec<f32>,
}

impl Features {
    pub(super) fn new(kind: FeatureMap, size: usize, features: usize, seed: u64) -> Result<Self> {
        let projection =
            if kind == FeatureMap::FavorPlus { projection::draw(features, size, seed)? } else { Vec::new() };
        Ok(Self { kind, size, features, projection })
    }

    pub(super) fn is_exponential(&self) -> bool {
        self.kind == FeatureMap::FavorPlus
    }

    /// Computes φ of the queries that begin at `starts`, `[F][lanes]`. For FAVOR+ the largest feature of a query is 1,
    /// because attention cancels every factor that a query's features share, including 1/√m.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn of_queries<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        x: &[f32],
        starts: &[usize],
        inputs: &mut [f32],
        tile: &mut [f32],
    ) {
        self.load::<S, ROWS, VECTORS>(simd, x, starts, inputs, tile);
        if !self.is_exponential() {
            return activate(simd, self.kind, tile);
        }
        let mut maxima = [f32::MIN; MAX_TILE_LANES];
        largest::<S, VECTORS>(simd, tile, &[0.0; MAX_TILE_LANES], &mut maxima);
        // A vector at a time in one loop: two would be unrolled, exponential and all.
        for (index, exponents) in tile.chunks_exact_mut(S::LANES).enumerate() {
            let max = simd.load(&maxima[index % VECTORS * S::LANES..]);
            let power = exp(simd, simd.load(exponents) - max);
            simd.store(exponents, power);
        }
    }

    /// Computes φ of the first `count` keys, row by row, `[count][F]`, with room for a vector after them; for FAVOR+,
    /// the exponents without c. `maxima` receives the largest exponent of each key, or 0 for the other feature maps.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn of_keys<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        keys: Rows<'_>,
        count: usize,
        inputs: &mut [f32],
        tile: &mut [f32],
        output: &mut [f32],
        maxima: &mut [f32],
    ) {
        if !self.is_exponential() {
            for (key, output) in output.chunks_exact_mut(self.features).enumerate().take(count) {
                output.copy_from_slice(keys.row(key));
            }
            maxima.fill(0.0);
            // Whole vectors: what lies behind the last key is never read.
            let len = (count * self.features).next_multiple_of(S::LANES);
            return activate(simd, self.kind, &mut output[..len]);
        }
        let lanes = VECTORS * S::LANES;
        let output = SharedMut::new(output);
        for first in (0..count).step_by(lanes) {
            let rows = lanes.min(count - first);
            self.load::<S, ROWS, VECTORS>(simd, keys.data, &keys.starts(first, rows)[..rows], inputs, tile);
            let (mut half_squares, mut of_tile) = ([0.0; MAX_TILE_LANES], [f32::MIN; MAX_TILE_LANES]);
            for (half_square, row) in half_squares.iter_mut().zip(first..first + rows) {
                *half_square = self.half_square(simd, keys.row(row));
            }
            largest::<S, VECTORS>(simd, tile, &half_squares, &mut of_tile);
            maxima[first..first + rows].copy_from_slice(&of_tile[..rows]);
            let target = Rows { data: &[], start: first * self.features, stride: self.features, size: self.features };
            // SAFETY: the rows lie one after the other, and nobody else has the output.
            unsafe { scatter_rows(tile, lanes, self.features, &output, &target.starts(0, rows)[..rows]) };
        }
    }

    /// Computes [`Features::of_keys`] for a single row, along its length because no other rows fill the lanes. Without
    /// its square, this is the exponent in [`Features::of_queries`]. Returns the largest. `output` has room for whole
    /// vectors.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn of_row<S: Simd>(&self, simd: S, row: &[f32], is_key: bool, output: &mut [f32]) -> f32 {
        if !self.is_exponential() {
            output[..row.len()].copy_from_slice(row);
            activate(simd, self.kind, &mut output[..row.len().next_multiple_of(S::LANES)]);
            return 0.0;
        }
        let half_square = if is_key { self.half_square(simd, row) } else { 0.0 };
        for (exponent, direction) in output.iter_mut().zip(self.projection.chunks_exact(self.size)) {
            *exponent = dot(simd, direction, row) - half_square;
        }
        row_max(simd, &output[..self.features])
    }

    /// The features of a tile of queries as the public interface shows them.
    #[inline(always)]
    pub(super) fn scale_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(&self, simd: S, tile: &mut [f32]) {
        if self.is_exponential() {
            scale_columns::<S, ROWS, VECTORS>(
                simd,
                &[1.0 / (self.features as f32).sqrt(); MAX_TILE_LANES],
                self.features,
                tile,
            );
        }
    }

    /// `‖x̂‖²/2`.
    #[inline(always)]
    fn half_square<S: Simd>(&self, simd: S, x: &[f32]) -> f32 {
        dot(simd, x, x) * (0.5 / (self.size as f32).sqrt())
    }

    /// Loads the rows that begin at `starts` as columns of the tile; for FAVOR+, their products with ω, with the rows
    /// themselves in `inputs`.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn load<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        x: &[f32],
        starts: &[usize],
        inputs: &mut [f32],
        tile: &mut [f32],
    ) {
        let lanes = VECTORS * S::LANES;
        let columns = if self.is_exponential() { &mut *inputs } else { &mut *tile };
        if starts.len() < lanes {
            // Lanes without a row are computed all the same: on zeros, never on what happens to lie there.
            columns.fill(0.0);
        }
        gather_columns(x, starts, self.size, columns, lanes);
        if self.is_exponential() {
            let projection = Matrix::row_major(&self.projection, self.size);
            product::<S, ROWS, VECTORS>(
                simd,
                projection,
                self.features,
                self.size,
                inputs,
                tile,
                Accumulate::Overwrite,
            );
        }
    }
}

/// Takes its half square off each column of a tile of exponents, and finds its largest.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn largest<S: Simd, const VECTORS: usize>(
    simd: S,
    tile: &mut [f32],
    half_squares: &[f32; MAX_TILE_LANES],
    maxima: &mut [f32; MAX_TILE_LANES],
) {
    for (index, exponents) in tile.chunks_exact_mut(S::LANES).enumerate() {
        let v = index % VECTORS * S::LANES;
        let exponent = simd.load(exponents) - simd.load(&half_squares[v..]);
        simd.store(exponents, exponent);
        let max = simd.max(simd.load(&maxima[v..]), exponent);
        simd.store(&mut maxima[v..], max);
    }
}

/// Replaces each value by its feature, a vector at a time; NaN stays.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn activate<S: Simd>(simd: S, kind: FeatureMap, values: &mut [f32]) {
    for chunk in values.chunks_exact_mut(S::LANES) {
        let x = simd.load(chunk);
        let feature = if kind == FeatureMap::Relu {
            // Negative zero, as the bound has to be negative.
            simd.at_least(x, -0.0) + 1e-3
        } else {
            // The exponential may overflow in lanes that do not select it.
            simd.select(simd.lt(simd.splat(0.0), x), x + 1.0, exp(simd, x))
        };
        simd.store(chunk, feature);
    }
}

/// Multiplies each column of a tile's rows by its factor: a product over nothing, which leaves what it starts from.
#[inline(always)]
pub(super) fn scale_columns<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    factors: &[f32; MAX_TILE_LANES],
    rows: usize,
    tile: &mut [f32],
) {
    let nothing = Matrix::row_major(&[], 0);
    product::<S, ROWS, VECTORS>(simd, nothing, rows, 0, &[], tile, Accumulate::ScaleAndAdd(factors));
}

/// `e^(x − max)` in place of each exponent x.
#[inline(always)]
pub(super) fn exponentiate<S: Simd>(simd: S, exponents: &mut [f32], max: f32) {
    exp_sum(simd, exponents, max);
}

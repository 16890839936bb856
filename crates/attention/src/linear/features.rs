//! φ maps queries and keys to positive features, whose products replace the exponentials of softmax.

use std::f32::consts::LN_2;

use crate::context::rows::SharedMut;
use crate::error::Result;
use crate::linear::projection;
use crate::linear::rows::Rows;
use crate::math::dot::dot;
use crate::math::exp::{LOG2_E, exp};
use crate::math::product::product;
use crate::math::softmax::row_max;
use crate::simd::{self, Accumulate, Level, Matrix, Simd, gather_columns, scatter_rows};
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

    /// Computes φ of the queries that begin at `starts`, `[F][lanes]`, each query's divided as [`Scaling`] says:
    /// attention cancels every factor that a query's features share, including FAVOR+'s 1/√m.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn of_queries<S: Simd, const VECTORS: usize>(
        &self,
        (level, simd): (Level, S),
        x: &[f32],
        starts: &[usize],
        inputs: &mut [f32],
        tile: &mut [f32],
    ) {
        self.load::<S, VECTORS>((level, simd), x, starts, inputs, tile);
        let mut maxima = [f32::MIN; MAX_TILE_LANES];
        largest::<S, VECTORS>(simd, tile, &[0.0; MAX_TILE_LANES], &mut maxima);
        let scalings = maxima.map(|max| Scaling::new(self.kind, self.kind.magnitude(max)));
        let (shifts, factors) = (scalings.map(|scaling| scaling.shift), scalings.map(|scaling| scaling.factor));
        // A vector at a time in one loop: two would be unrolled, exponential and all.
        for (index, values) in tile.chunks_exact_mut(S::LANES).enumerate() {
            let v = index % VECTORS * S::LANES;
            let (shift, factor) = (simd.load(&shifts[v..]), simd.load(&factors[v..]));
            let features = feature(simd, self.kind, simd.load(values), shift, factor);
            simd.store(values, features);
        }
    }

    /// Computes φ of the rows that begin at `starts` as the public interface returns it, `[F][lanes]`: for FAVOR+, each
    /// row's largest feature is 1/√F.
    #[inline(always)]
    pub(super) fn of_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        (level, simd): (Level, S),
        x: &[f32],
        starts: &[usize],
        inputs: &mut [f32],
        tile: &mut [f32],
    ) {
        if self.is_exponential() {
            self.of_queries::<S, VECTORS>((level, simd), x, starts, inputs, tile);
            let factors = [1.0 / (self.features as f32).sqrt(); MAX_TILE_LANES];
            scale_columns::<S, ROWS, VECTORS>(simd, &factors, self.features, tile);
        } else {
            self.load::<S, VECTORS>((level, simd), x, starts, inputs, tile);
            activate(simd, self.kind, tile, 0.0);
        }
    }

    /// Loads the first `count` keys for [`activate`], row by row, `[count][F]`, with room for a vector after them; for
    /// FAVOR+, as exponents without c. `maxima` receives the magnitude of each key's largest feature; for the other
    /// feature maps, all but the first receive that of the chunk.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn of_keys<S: Simd, const VECTORS: usize>(
        &self,
        (level, simd): (Level, S),
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
            maxima.fill(self.kind.magnitude(row_max(simd, &output[..count * self.features])));
            maxima[0] = self.kind.magnitude(row_max(simd, &output[..self.features]));
            return;
        }
        let lanes = VECTORS * S::LANES;
        let output = SharedMut::new(output);
        for first in (0..count).step_by(lanes) {
            let rows = lanes.min(count - first);
            self.load::<S, VECTORS>((level, simd), keys.data, &keys.starts(first, rows)[..rows], inputs, tile);
            let (mut half_squares, mut of_tile) = ([0.0; MAX_TILE_LANES], [f32::MIN; MAX_TILE_LANES]);
            for (half_square, row) in half_squares.iter_mut().zip(first..first + rows) {
                *half_square = self.half_square(simd, keys.row(row));
            }
            largest::<S, VECTORS>(simd, tile, &half_squares, &mut of_tile);
            maxima[first..first + rows].copy_from_slice(&of_tile[..rows]);
            let target = Rows { data: &[], start: first * self.features, stride: self.features, size: self.features };
            // SAFETY: the rows lie one after the other, and nobody else has the output.
            unsafe { scatter_rows(simd, tile, lanes, self.features, &output, &target.starts(0, rows)[..rows]) };
        }
    }

    /// Loads a single row as [`Features::of_keys`] does, along its length because no other rows fill the lanes. Returns
    /// the magnitude of its largest feature. A query, for which `is_key` is false, keeps its square.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn of_row<S: Simd>(&self, simd: S, row: &[f32], is_key: bool, output: &mut [f32]) -> f32 {
        if !self.is_exponential() {
            output[..row.len()].copy_from_slice(row);
            return self.kind.magnitude(row_max(simd, row));
        }
        let half_square = if is_key { self.half_square(simd, row) } else { 0.0 };
        for (exponent, direction) in output.iter_mut().zip(self.projection.chunks_exact(self.size)) {
            *exponent = dot(simd, direction, row) - half_square;
        }
        row_max(simd, &output[..self.features])
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
    fn load<S: Simd, const VECTORS: usize>(
        &self,
        (level, simd): (Level, S),
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
        gather_columns(simd, x, starts, self.size, columns, lanes);
        if self.is_exponential() {
            let projection = Matrix::row_major(&self.projection, self.size);
            product((level, lanes), projection, [self.features, self.size], inputs, tile, Accumulate::Overwrite);
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

impl FeatureMap {
    /// Returns about the logarithm of the feature of x. Features from 1 to 128 count as 1, so that most sums are of the
    /// features themselves.
    fn magnitude(self, x: f32) -> f32 {
        if self == Self::FavorPlus || self == Self::Elu && x < 0.0 {
            return x;
        }
        let exponent = ((x.max(0.0) + 1.0).to_bits() >> 23) as i32 - 127;
        if exponent < 7 { 0.0 } else { exponent.min(126) as f32 * LN_2 }
    }
}

/// The division of features by e to the power of a magnitude: a shift of exponents, or a factor that is a power of two.
#[derive(Clone, Copy)]
struct Scaling {
    shift: f32,
    factor: f32,
}

impl Scaling {
    fn new(kind: FeatureMap, magnitude: f32) -> Self {
        if kind == FeatureMap::FavorPlus || magnitude < 0.0 {
            return Self { shift: magnitude, factor: 1.0 };
        }
        let exponent = (magnitude * LOG2_E + 0.5) as u32;
        Self { shift: 0.0, factor: f32::from_bits((127 - exponent) << 23) }
    }
}

/// Computes the features of a vector of values, or for FAVOR+ of exponents; NaN stays NaN.
#[inline(always)]
fn feature<S: Simd>(simd: S, kind: FeatureMap, x: S::F, shift: S::F, factor: S::F) -> S::F {
    if kind == FeatureMap::Relu {
        // Negative zero, as the bound has to be negative.
        return (simd.at_least(x, -0.0) + 1e-3) * factor;
    }
    let power = exp(simd, x - shift);
    if kind == FeatureMap::FavorPlus {
        return power;
    }
    // The exponential may overflow in lanes that do not select it.
    simd.select(simd.lt(simd.splat(0.0), x), x + 1.0, power) * factor
}

/// Replaces each value of whole vectors by its feature divided by e to the power of `magnitude`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(super) fn activate<S: Simd>(simd: S, kind: FeatureMap, values: &mut [f32], magnitude: f32) {
    let Scaling { shift, factor } = Scaling::new(kind, magnitude);
    let (shift, factor) = (simd.splat(shift), simd.splat(factor));
    for chunk in values.chunks_exact_mut(S::LANES) {
        let features = feature(simd, kind, simd.load(chunk), shift, factor);
        simd.store(chunk, features);
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
    simd::product::<S, ROWS, VECTORS>(simd, nothing, rows, 0, &[], tile, Accumulate::ScaleAndAdd(factors));
}

//! Layer norm and root-mean-square norm over contiguous rows.

use std::ops::Range;

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::sum::BLOCK;
use crate::math::{elementwise, stats};
use crate::ranges;
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output};

/// The two norms of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum NormKind {
    /// Layer norm, which subtracts the mean first (Ba et al. 2016).
    #[default]
    Layer,
    /// Root-mean-square norm (Zhang & Sennrich 2019).
    Rms,
}

impl NormKind {
    /// Returns true for layer norm.
    pub(crate) fn is_layer(&self) -> bool {
        *self == Self::Layer
    }
}

/// How rows are normalized.
#[derive(Debug, Clone, Copy, Default)]
pub struct Norm<'a> {
    /// Layer norm or root-mean-square norm.
    pub kind: NormKind,
    /// A factor for each column.
    pub weight: Option<&'a [f32]>,
    /// Added to every factor; Gemma stores its weights less 1.
    pub weight_offset: f32,
    /// Added to each column.
    pub bias: Option<&'a [f32]>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// `torch.nn.functional.layer_norm` over the last dimension: `(x − mean) / √(variance + epsilon) · weight + bias`.
///
/// # Errors
/// `SHAPE` if weight or bias does not match the last dimension, or `output` has another length than `x`; `OPTION` if
/// epsilon is negative or not finite.
pub fn layer_norm(
    context: Context<'_>,
    x: Tensor<'_>,
    weight: Option<Tensor<'_>>,
    bias: Option<Tensor<'_>>,
    epsilon: f32,
    output: &mut [f32],
) -> Result<()> {
    norm(context, x, NormKind::Layer, weight, bias, epsilon, output)
}

/// `torch.nn.functional.rms_norm` over the last dimension: `x / √(mean(x²) + epsilon) · weight`.
///
/// # Errors
/// As [`layer_norm`].
pub fn rms_norm(
    context: Context<'_>,
    x: Tensor<'_>,
    weight: Option<Tensor<'_>>,
    epsilon: f32,
    output: &mut [f32],
) -> Result<()> {
    norm(context, x, NormKind::Rms, weight, None, epsilon, output)
}

/// [`layer_norm`] or [`rms_norm`].
pub(crate) fn norm(
    context: Context<'_>,
    x: Tensor<'_>,
    kind: NormKind,
    weight: Option<Tensor<'_>>,
    bias: Option<Tensor<'_>>,
    epsilon: f32,
    output: &mut [f32],
) -> Result<()> {
    ranges::non_negative("epsilon", epsilon)?;
    let Some(&columns) = x.shape.dims().last() else {
        return Err(Error::shape("x", "at least 1 dimension", x.shape));
    };
    for (name, vector) in [("weight", weight), ("bias", bias)] {
        if let Some(vector) = vector
            && vector.shape.dims() != [columns]
        {
            return Err(Error::shape(name, format_args!("[{columns}] to fit x {}", x.shape), vector.shape));
        }
    }
    check_output("output", output, x.data.len())?;
    output.copy_from_slice(x.data);
    let (weight, bias) = (weight.map(|weight| weight.data), bias.map(|bias| bias.data));
    Norm { kind, weight, weight_offset: 0.0, bias, epsilon }.apply(context, output, columns);
    Ok(())
}

impl Norm<'_> {
    /// Normalizes each row of `columns` values in place.
    pub(crate) fn apply(self, context: Context<'_>, rows: &mut [f32], columns: usize) {
        self.apply_onto(context, rows, columns, None);
    }

    /// Normalizes each row of `columns` values in place, and then adds the residual's row.
    pub(crate) fn apply_onto(self, context: Context<'_>, rows: &mut [f32], columns: usize, residual: Option<&[f32]>) {
        if rows.is_empty() {
            return;
        }
        // About 20 µs of work an item.
        let rows_an_item = (1usize << 15).div_ceil(columns);
        let (count, operations) = (rows.len() / columns, operations([rows.len(), 8]));
        context.for_each_rows(count, rows_an_item, operations, [rows], |item, [rows]| {
            let residual = residual.map(|residual| &residual[item.start * columns..item.end * columns]);
            context.level.run(Rows { norm: self, rows, columns, residual });
        });
    }

    /// Normalizes each of the segments in place.
    pub(crate) fn apply_within(self, context: Context<'_>, rows: &mut [f32], segments: &Segments) {
        let &Segments { row, ref columns, step, size } = segments;
        if rows.is_empty() {
            return;
        }
        let rows_an_item = (1usize << 15).div_ceil(columns.len());
        let (count, operations) = (rows.len() / row, operations([rows.len() / row, columns.len(), 8]));
        context.for_each_rows(count, rows_an_item, operations, [rows], |_, [rows]| {
            for row in rows.chunks_exact_mut(row) {
                for first in columns.clone().step_by(step) {
                    let rows = &mut row[first..first + size];
                    context.level.run(Rows { norm: self, rows, columns: size, residual: None });
                }
            }
        });
    }
}

/// Equal parts of each row: the first begins at the start of `columns`, each next `step` columns later.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    /// The width of whole rows.
    pub row: usize,
    pub columns: Range<usize>,
    pub step: usize,
    /// The size of a part.
    pub size: usize,
}

struct Rows<'a> {
    norm: Norm<'a>,
    rows: &'a mut [f32],
    columns: usize,
    /// Added to the normalized rows.
    residual: Option<&'a [f32]>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Norm { kind, weight, weight_offset, bias, epsilon } = self.norm;
        let centred = kind == NormKind::Layer;
        let share = 1.0 / self.columns as f64;
        for row in self.rows.chunks_exact_mut(self.columns) {
            // The mean in two steps: what its rounding leaves is in the sum of the differences from it.
            let mean = if centred { (sums(simd, row, 0.0)[0] * share) as f32 } else { 0.0 };
            let [sum, squares] = sums(simd, row, mean);
            let left = if centred { sum * share } else { 0.0 };
            let variance = squares * share - left * left;
            let spread = variance + f64::from(epsilon);
            // Squares that overflow, vanish or cancel; also NaN.
            if !(SPREADS.contains(&spread) && left * left <= variance) {
                exactly(row, centred, epsilon);
            } else {
                let (left, scale) = (left as f32, 1.0 / (spread as f32).sqrt());
                elementwise::shift_and_scale(simd, row, [mean, left], scale);
            }
            if let Some(weight) = weight {
                elementwise::multiply(simd, row, weight, weight_offset);
            }
            if let Some(bias) = bias {
                elementwise::add(simd, row, bias);
            }
        }
        if let Some(residual) = self.residual {
            elementwise::add(simd, self.rows, residual);
        }
    }
}

/// Variances plus epsilon for which squares in single precision suffice: any underflow of squares is negligible in
/// comparison.
pub(crate) const SPREADS: Range<f64> = 1e-28..1e36;

/// Normalizes a row of any finite values, in doubles.
#[inline(never)]
fn exactly(row: &mut [f32], centred: bool, epsilon: f32) {
    let count = row.len() as f64;
    let mean = if centred { stats::sum(row, |value| value) / count } else { 0.0 };
    let variance = stats::sum(row, |value| (value - mean) * (value - mean)) / count;
    let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
    row.iter_mut().for_each(|value| *value = ((f64::from(*value) - mean) * scale) as f32);
}

/// `Σ (x − shift)` and `Σ (x − shift)²` over the row, in blocks whose sums are added in double precision.
#[inline(always)]
pub(crate) fn sums<S: Simd>(simd: S, row: &[f32], shift: f32) -> [f64; 2] {
    let mut totals = [0.0; 2];
    for block in row.chunks(BLOCK * CHUNK * S::LANES) {
        let sums = block_sums(simd, block, shift);
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(sum));
    }
    totals
}

/// The number of vectors that one pass over a row sums side by side; fewer in WebAssembly, to keep the code small.
const CHUNK: usize = if cfg!(target_family = "wasm") { 2 } else { 4 };

/// [`sums`] within one block.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn block_sums<S: Simd>(simd: S, row: &[f32], shift: f32) -> [f32; 2] {
    let shifts = simd.splat(shift);
    let mut totals = [[simd.splat(0.0); 2]; CHUNK];
    let mut chunks = row.chunks_exact(CHUNK * S::LANES);
    for chunk in &mut chunks {
        for (part, [sum, squares]) in totals.iter_mut().enumerate() {
            let x = simd.load(&chunk[part * S::LANES..]) - shifts;
            *sum = *sum + x;
            *squares = simd.mul_add(x, x, *squares);
        }
    }
    let total = |index: usize| {
        let [first, others @ ..] = &totals;
        simd.reduce_sum(others.iter().fold(first[index], |sum, other| sum + other[index]))
    };
    let mut rest = [0.0; 2];
    for value in chunks.remainder() {
        let x = value - shift;
        rest = [rest[0] + x, rest[1] + x * x];
    }
    [total(0) + rest[0], total(1) + rest[1]]
}

//! Groups of values that share a scale: their integers.

use bytemuck::Zeroable;

use crate::context::{Context, operations};
use crate::error::{Code, Error, Result};
use crate::math::decimal::Decimal;
use crate::simd::{Simd, narrow_f16, widen_f16};
use crate::sizes::GROUP;
use crate::tensor::try_zeroed;

/// Quantizes rows of `depth` values to rows of `width` words, side by side.
pub(super) fn quantize_rows<T: Zeroable + Send>(
    context: Context<'_>,
    x: &[f32],
    [rows, depth, width]: [usize; 3],
    quantize: impl Fn(&[f32], &mut [T]) + Sync,
) -> Result<Vec<T>> {
    let mut quantized = try_zeroed("working memory", rows.saturating_mul(width))?;
    if width > 0 {
        context.for_each_rows(rows, 64, operations([8, x.len()]), [&mut quantized[..]], |item, [quantized]| {
            quantize(&x[item.start * depth..item.end * depth], quantized);
        });
    }
    Ok(quantized)
}

/// Returns a group, or its copy padded with zeros if it is shorter.
#[inline(always)]
pub(super) fn whole_group<'a>(values: &'a [f32], padded: &'a mut [f32; GROUP]) -> &'a [f32; GROUP] {
    if let Some(whole) = values.first_chunk() {
        return whole;
    }
    padded[..values.len()].copy_from_slice(values);
    padded
}

/// [`scale_of`] in vectors. An infinity makes the scale NaN, which spoils the same outputs.
#[inline(always)]
pub(super) fn scale_of_vectors<S: Simd>(simd: S, values: &[f32; GROUP]) -> (f32, f32) {
    let zero = simd.splat(0.0);
    let (mut largest, mut faults) = (zero, zero);
    for values in values.chunks_exact(S::LANES) {
        let value = simd.load(values);
        largest = simd.max(largest, simd.max(value, zero - value));
        // NaN for NaN, which a maximum ignores, and for infinities.
        faults = faults + value * 0.0;
    }
    let scale = (simd.reduce_max(largest) + simd.reduce_sum(faults)) / 127.0;
    (scale, inverse_of(scale))
}

/// Returns two vectors of values times the factor, plus what lets rounding toward zero round halves away from zero.
#[inline(always)]
pub(super) fn halves_away<S: Simd>(simd: S, values: &[f32], inverse: f32) -> [S::F; 2] {
    let (down, up, zero) = (simd.splat(-HALF), simd.splat(HALF), simd.splat(0.0));
    let mut vectors: [S::F; 2] = simd.load_each(values);
    for value in &mut vectors {
        *value = *value * inverse;
        *value = *value + simd.select(simd.lt(*value, zero), down, up);
    }
    vectors
}

/// Returns the scale of a group and the factor of its values, which is 0 if the scale has no finite inverse.
#[inline(always)]
fn scale_of(values: &[f32]) -> (f32, f32) {
    // As integers, the bits of magnitudes are in their order, with NaN above all numbers.
    let largest = values.iter().fold(0, |largest: u32, value| largest.max(value.to_bits() & 0x7fff_ffff));
    let scale = f32::from_bits(largest) / 127.0;
    (scale, inverse_of(scale))
}

/// Returns the inverse of a scale; 0 if it is not finite.
#[inline(always)]
fn inverse_of(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Returns a group of a row; the last one may be shorter.
#[inline(always)]
pub(super) fn group_of(row: &[f32], group: usize) -> &[f32] {
    let start = group * GROUP;
    &row[start..row.len().min(start + GROUP)]
}

/// The largest number below one half: with one half itself, the number before 0.5 would be rounded to 1.
const HALF: f32 = 0.499_999_97;

/// Rounds to an integer, halves away from zero.
#[inline(always)]
fn round(value: f32) -> i32 {
    (value + HALF.copysign(value)) as i32
}

/// Quantizes rows of `columns` weights, to the bit as GGUF's Q8_0: the integers, and the bits of the scales as f16.
///
/// # Errors
/// `DOMAIN` for NaN, and for values whose scale is beyond f16; `MEMORY`.
pub(crate) fn quantize(name: &str, weights: &[f32], columns: usize) -> Result<(Vec<i8>, Vec<u16>)> {
    let rows = weights.len().checked_div(columns).unwrap_or(0);
    let mut values = try_zeroed(name, weights.len())?;
    let mut scales = try_zeroed(name, rows * columns.div_ceil(GROUP))?;
    let rows = weights.chunks(columns.max(1)).zip(values.chunks_mut(columns.max(1)));
    for ((row, values), scales) in rows.zip(scales.chunks_mut(columns.div_ceil(GROUP).max(1))) {
        check_row(name, row)?;
        quantize_weights(row, values, scales);
    }
    Ok((values, scales))
}

/// Checks that f16 can hold the scales of a row; `name` is for errors.
///
/// # Errors
/// `DOMAIN` for NaN, and for values whose scale is beyond f16.
pub(crate) fn check_row(name: &str, row: &[f32]) -> Result<()> {
    for group in row.chunks(GROUP) {
        let (scale, _) = scale_of(group);
        if !widen_f16(narrow_f16(scale)).is_finite() {
            let expected = "numbers whose scale, the largest of a group divided by 127, fits f16";
            return Err(Error::new(Code::Domain, name, expected, Decimal::from(scale * 127.0)));
        }
    }
    Ok(())
}

/// Quantizes one row of weights.
pub(crate) fn quantize_weights(row: &[f32], values: &mut [i8], scales: &mut [u16]) {
    for ((group, values), bits) in row.chunks(GROUP).zip(values.chunks_mut(GROUP)).zip(scales) {
        let (scale, inverse) = scale_of(group);
        *bits = narrow_f16(scale);
        values.iter_mut().zip(group).for_each(|(to, &value)| *to = round(value * inverse) as i8);
    }
}

/// Replaces a row by the values that products with weights of 8 bits see.
pub(crate) fn round_row(row: &mut [f32]) {
    for values in row.chunks_mut(GROUP) {
        let (scale, inverse) = scale_of(values);
        values.iter_mut().for_each(|value| *value = round(*value * inverse) as f32 * scale);
    }
}

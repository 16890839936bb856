//! Sums that keep their precision over any number of terms: in single precision with the rounding errors carried along
//! (Kahan 1965, "Further remarks on reducing truncation errors"), or in doubles where few terms or rows are at hand.

use crate::simd::Simd;

/// The most terms that are added one after the other in single precision: their sum is within 1.9·10⁻⁶ of the sum of the
/// magnitudes, and much nearer where terms round either way.
pub const BLOCK: usize = 32;

/// Adds what `low` gathered to `high`: the new sum, and what its rounding left out. A sum that is infinite or NaN leaves
/// nothing, so that it stays what it is.
#[inline(always)]
pub fn carry<S: Simd>(simd: S, high: S::F, low: S::F) -> (S::F, S::F) {
    let sum = high + low;
    let left = low - (sum - high);
    // 0 times an infinity or NaN is NaN.
    let is_finite = simd.lt(sum * 0.0, simd.splat(1.0));
    (sum, simd.select(is_finite, left, simd.splat(0.0)))
}

/// The Euclidean length of a row, whatever the magnitude of its values.
#[inline(never)]
pub fn length(row: &[f32]) -> f64 {
    row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

/// `output[e] = Σ_n factor_n · row_n[e]`, in doubles, over `count` terms: each a factor and a row, or nothing.
#[inline(never)]
pub fn total<'a>(count: usize, term: &dyn Fn(usize) -> Option<(f64, &'a [f32])>, output: &mut [f32]) {
    /// Columns that are summed at a time.
    const COLUMNS: usize = 64;
    for (index, output) in output.chunks_mut(COLUMNS).enumerate() {
        let mut sums = [0.0f64; COLUMNS];
        for (factor, row) in (0..count).filter_map(term) {
            let values = &row[index * COLUMNS..][..output.len()];
            sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += factor * f64::from(value));
        }
        output.iter_mut().zip(sums).for_each(|(output, sum)| *output = sum as f32);
    }
}

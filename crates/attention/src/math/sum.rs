//! Sums that keep their precision over any number of terms: in single precision with carried rounding errors (Kahan
//! 1965, "Further remarks on reducing truncation errors"), or in double precision.

use crate::simd::Simd;

/// The maximum number of terms to add one after the other in single precision. The error of their sum is at most
/// 1.9·10⁻⁶ of the sum of the magnitudes, and much smaller if terms round in both directions.
pub const BLOCK: usize = 32;

/// Adds `low` to `high`. Returns the sum and its rounding error, which is 0 for an infinite sum or NaN, so that the sum
/// does not change later.
#[inline(always)]
pub fn carry<S: Simd>(simd: S, high: S::F, low: S::F) -> (S::F, S::F) {
    let sum = high + low;
    let error = low - (sum - high);
    // 0 times an infinity or NaN is NaN.
    let is_finite = simd.lt(sum * 0.0, simd.splat(1.0));
    (sum, simd.select(is_finite, error, simd.splat(0.0)))
}

/// [`carry`] for slices of whole vectors.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn carry_all<S: Simd>(simd: S, high: &mut [f32], low: &mut [f32]) {
    for (n, high) in high.chunks_exact_mut(S::LANES).enumerate() {
        let low = &mut low[n * S::LANES..];
        let (sum, error) = carry(simd, simd.load(high), simd.load(low));
        simd.store(high, sum);
        simd.store(low, error);
    }
}

/// The Euclidean length of a row, whatever the magnitude of its values.
#[inline(never)]
pub fn length(row: &[f32]) -> f64 {
    row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

/// `output[e] = Σ_n factor_n · row_n[e]`, in doubles, over those of `count` terms that are not `None`.
#[inline(never)]
pub fn total<'a>(count: usize, term: &dyn Fn(usize) -> Option<(f64, &'a [f32])>, output: &mut [f32]) {
    /// The number of columns to sum at a time.
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

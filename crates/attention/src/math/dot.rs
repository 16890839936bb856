//! Products along contiguous rows, for calls with too few rows to fill the lanes: decoding, single inputs.
//!
//! Sums keep their precision over any number of terms: at most [`BLOCK`] terms are added in single precision, and the
//! sums of blocks are added with carried rounding errors.

use crate::math::sum::{BLOCK, carry};
use crate::simd::Simd;

/// The number of vectors that one pass over a row keeps in registers.
const CHUNK: usize = 4;

/// `x · y` over the length of `x`, in blocks whose sums are added in double precision.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn dot<S: Simd>(simd: S, x: &[f32], y: &[f32]) -> f32 {
    let block = BLOCK * CHUNK * S::LANES;
    if x.len() <= block {
        return block_dot(simd, x, y);
    }
    let mut sum = 0.0;
    for (x, y) in x.chunks(block).zip(y.chunks(block)) {
        sum += f64::from(block_dot(simd, x, y));
    }
    sum as f32
}

/// [`dot`] within one block.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn block_dot<S: Simd>(simd: S, x: &[f32], y: &[f32]) -> f32 {
    let y = &y[..x.len()];
    let mut sums = [simd.splat(0.0); CHUNK];
    let (mut xs, mut ys) = (x.chunks_exact(CHUNK * S::LANES), y.chunks_exact(CHUNK * S::LANES));
    for (x, y) in (&mut xs).zip(&mut ys) {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = simd.mul_add(simd.load(&x[v * S::LANES..]), simd.load(&y[v * S::LANES..]), *sum);
        }
    }
    let (mut xs, mut ys) = (xs.remainder().chunks_exact(S::LANES), ys.remainder().chunks_exact(S::LANES));
    for (x, y) in (&mut xs).zip(&mut ys) {
        sums[0] = simd.mul_add(simd.load(x), simd.load(y), sums[0]);
    }
    let total = sums[0] + sums[1] + (sums[2] + sums[3]);
    let tail: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    simd.reduce_sum(total) + tail
}

/// `sum[e] += Σ_n factors[n] · row(n)[e]`, `n` over the factors.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn weighted_sum<'a, S: Simd>(simd: S, factors: &[f32], row: impl Fn(usize) -> &'a [f32], sum: &mut [f32]) {
    let width = sum.len();
    let mut start = 0;
    while start + CHUNK * S::LANES <= width {
        sum_columns::<S, CHUNK>(simd, factors, &row, start, sum);
        start += CHUNK * S::LANES;
    }
    if S::HAS_HALF_TILES && start + 2 * S::LANES <= width {
        sum_columns::<S, 2>(simd, factors, &row, start, sum);
        start += 2 * S::LANES;
    }
    while start + S::LANES <= width {
        sum_columns::<S, 1>(simd, factors, &row, start, sum);
        start += S::LANES;
    }
    if start < width {
        // Fewer columns than lanes, of which there are 16 at most.
        let mut sums = [0.0f64; 16];
        let tail = &mut sum[start..];
        for (n, &factor) in factors.iter().enumerate() {
            for (sum, &value) in sums.iter_mut().zip(&row(n)[start..width]) {
                *sum += f64::from(factor) * f64::from(value);
            }
        }
        tail.iter_mut().zip(sums).for_each(|(total, sum)| *total = (f64::from(*total) + sum) as f32);
    }
}

/// The part of [`weighted_sum`] that `VECTORS` vectors from column `start` on hold in registers.
#[inline(always)]
fn sum_columns<'a, S: Simd, const VECTORS: usize>(
    simd: S,
    factors: &[f32],
    row: &impl Fn(usize) -> &'a [f32],
    start: usize,
    sum: &mut [f32],
) {
    let sum = &mut sum[start..start + VECTORS * S::LANES];
    let mut high: [S::F; VECTORS] = simd.load_each(sum);
    let mut low = [simd.splat(0.0); VECTORS];
    for (index, block) in factors.chunks(BLOCK).enumerate() {
        if index > 0 {
            for (high, low) in high.iter_mut().zip(&mut low) {
                (*high, *low) = carry(simd, *high, *low);
            }
        }
        let first = index * BLOCK;
        for (n, &factor) in (first..first + block.len()).zip(block) {
            let row = &row(n)[start..start + VECTORS * S::LANES];
            let factor = simd.splat(factor);
            for (v, low) in low.iter_mut().enumerate() {
                *low = simd.mul_add(factor, simd.load(&row[v * S::LANES..]), *low);
            }
        }
    }
    for (v, (&high, &low)) in high.iter().zip(&low).enumerate() {
        simd.store(&mut sum[v * S::LANES..], high + low);
    }
}

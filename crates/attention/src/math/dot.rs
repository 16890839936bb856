//! Products along contiguous rows, for when too few rows are at hand to fill the lanes: decoding, single inputs.

use crate::simd::Simd;

/// Vectors that one pass over a row keeps in registers.
const CHUNK: usize = 4;

/// `x · y` over the length of `x`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn dot<S: Simd>(simd: S, x: &[f32], y: &[f32]) -> f32 {
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

/// `sum[e] = sum[e] · scale + Σ_n factors[n] · rows(n)[e]`, `n` over the factors.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn weighted_sum<'a, S: Simd>(
    simd: S,
    factors: &[f32],
    rows: impl Fn(usize) -> &'a [f32],
    scale: f32,
    sum: &mut [f32],
) {
    let width = sum.len();
    let mut start = 0;
    while start + CHUNK * S::LANES <= width {
        sum_columns::<S, CHUNK>(simd, factors, &rows, scale, start, sum);
        start += CHUNK * S::LANES;
    }
    while start + S::LANES <= width {
        sum_columns::<S, 1>(simd, factors, &rows, scale, start, sum);
        start += S::LANES;
    }
    if start < width {
        let tail = &mut sum[start..];
        tail.iter_mut().for_each(|sum| *sum *= scale);
        for (n, &factor) in factors.iter().enumerate() {
            for (sum, &value) in tail.iter_mut().zip(&rows(n)[start..width]) {
                *sum += factor * value;
            }
        }
    }
}

/// The part of [`weighted_sum`] that `VECTORS` vectors from column `start` on hold in registers.
#[inline(always)]
fn sum_columns<'a, S: Simd, const VECTORS: usize>(
    simd: S,
    factors: &[f32],
    rows: &impl Fn(usize) -> &'a [f32],
    scale: f32,
    start: usize,
    sum: &mut [f32],
) {
    let sum = &mut sum[start..start + VECTORS * S::LANES];
    let scale = simd.splat(scale);
    let mut sums: [S::F; VECTORS] = std::array::from_fn(|v| simd.load(&sum[v * S::LANES..]) * scale);
    for (n, &factor) in factors.iter().enumerate() {
        let row = &rows(n)[start..start + VECTORS * S::LANES];
        let factor = simd.splat(factor);
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = simd.mul_add(factor, simd.load(&row[v * S::LANES..]), *sum);
        }
    }
    for (v, &sums) in sums.iter().enumerate() {
        simd.store(&mut sum[v * S::LANES..], sums);
    }
}

//! Products along rows in their memory layout, several rows at a time, for decoding.

use super::{ReduceKind, Simd};

/// The number of rows that are read side by side.
pub const SIDE_BY_SIDE: usize = 4;

/// The number of values per step along a row: at least two vectors of four lanes, which then share address arithmetic.
const fn step<S: Simd>() -> usize {
    if S::LANES < 8 { 2 * S::LANES } else { S::LANES }
}

/// Computes `result[r][n] = queries_r · keys_n` over rows of `depth` values. Queries are contiguous, keys `stride`
/// apart.
///
/// # Panics
/// If a slice is too short.
#[inline(always)]
pub fn dots<S: Simd, const ROWS: usize>(
    simd: S,
    queries: &[f32],
    keys: &[f32],
    stride: usize,
    depth: usize,
) -> [[f32; SIDE_BY_SIDE]; ROWS] {
    reduce_rows(simd, ReduceKind::Dot, queries, keys, stride, depth)
}

/// Computes [`dots`], or squared distances in their place.
///
/// # Panics
/// If a slice is too short.
#[inline(always)]
pub fn reduce_rows<S: Simd, const ROWS: usize>(
    simd: S,
    reduce: ReduceKind,
    queries: &[f32],
    keys: &[f32],
    stride: usize,
    depth: usize,
) -> [[f32; SIDE_BY_SIDE]; ROWS] {
    let is_dot = reduce == ReduceKind::Dot;
    assert!(queries.len() >= ROWS * depth && (depth == 0 || keys.len() >= (SIDE_BY_SIDE - 1) * stride + depth));
    let mut sums = [[simd.splat(0.0); SIDE_BY_SIDE]; ROWS];
    let whole = depth - depth % step::<S>();
    for start in (0..whole).step_by(step::<S>()) {
        for at in (start..start + step::<S>()).step_by(S::LANES) {
            // SAFETY: a vector starting at `at` lies inside each row, and each row inside its slice.
            unsafe {
                let mut vectors = [simd.splat(0.0); SIDE_BY_SIDE];
                for (n, vector) in vectors.iter_mut().enumerate() {
                    *vector = simd.load_ptr(keys.as_ptr().add(n * stride + at));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let query = simd.load_ptr(queries.as_ptr().add(r * depth + at));
                    for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                        let difference = query - vector;
                        let (a, b) = if is_dot { (query, vector) } else { (difference, difference) };
                        *sum = simd.mul_add(a, b, *sum);
                    }
                }
            }
        }
    }
    let mut results = [[0.0; SIDE_BY_SIDE]; ROWS];
    for (r, (results, &sums)) in results.iter_mut().zip(&sums).enumerate() {
        *results = simd.reduce_sums(sums);
        for at in whole..depth {
            for (n, result) in results.iter_mut().enumerate() {
                let (query, key) = (queries[r * depth + at], keys[n * stride + at]);
                *result += if is_dot { query * key } else { (query - key) * (query - key) };
            }
        }
    }
    results
}

/// Computes `sums_r[e] += Σ_n weights[r][n] · values[starts[n] + e]` for rows of `width` values. The sums are
/// contiguous.
///
/// # Panics
/// If a slice is too short.
#[inline(always)]
pub fn add_rows<S: Simd, const ROWS: usize>(
    simd: S,
    weights: [[f32; SIDE_BY_SIDE]; ROWS],
    values: &[f32],
    starts: [usize; SIDE_BY_SIDE],
    width: usize,
    sums: &mut [f32],
) {
    assert!(sums.len() >= ROWS * width);
    for start in starts {
        assert!(width == 0 || start <= values.len() && width <= values.len() - start);
    }
    let mut factors = [[simd.splat(0.0); SIDE_BY_SIDE]; ROWS];
    for (factors, weights) in factors.iter_mut().zip(weights) {
        for (factor, weight) in factors.iter_mut().zip(weights) {
            *factor = simd.splat(weight);
        }
    }
    let whole = width - width % step::<S>();
    for first in (0..whole).step_by(step::<S>()) {
        for at in (first..first + step::<S>()).step_by(S::LANES) {
            // SAFETY: a vector starting at `at` lies inside each row, and each row inside its slice.
            unsafe {
                let mut vectors = [simd.splat(0.0); SIDE_BY_SIDE];
                for (vector, start) in vectors.iter_mut().zip(starts) {
                    *vector = simd.load_ptr(values.as_ptr().add(start + at));
                }
                for (r, factors) in factors.iter().enumerate() {
                    let place = sums.as_mut_ptr().add(r * width + at);
                    let mut sum = simd.load_ptr(place);
                    for (&factor, &vector) in factors.iter().zip(&vectors) {
                        sum = simd.mul_add(factor, vector, sum);
                    }
                    simd.store_ptr(place, sum);
                }
            }
        }
    }
    for (r, weights) in weights.iter().enumerate() {
        for at in whole..width {
            for (weight, start) in weights.iter().zip(starts) {
                sums[r * width + at] += weight * values[start + at];
            }
        }
    }
}

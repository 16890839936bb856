//! Products along rows in their memory layout, several rows at a time, for decoding.

use super::{ReduceKind, Simd, widen_f16};
use crate::sizes::GROUP;

/// The number of rows that are read side by side.
pub const SIDE_BY_SIDE: usize = 4;

/// Values in the type that they are stored in, read as 32-bit floats.
pub trait Source: Copy {
    /// True for values that are loaded as they are. Widening others takes longer than fetching them.
    const IS_WIDE: bool = false;

    /// Returns the number of values.
    fn count(self) -> usize;
    /// Returns the values without the first `count`, which must be whole groups if the values have scales.
    fn skip(self, count: usize) -> Self;
    /// Returns the value at `at`.
    fn get(self, at: usize) -> f32;
    /// Loads `LANES` values from `at` on.
    ///
    /// # Safety
    /// `at + LANES` must not exceed the number of values. Values with scales are loaded from one group alone.
    unsafe fn load<S: Simd>(self, simd: S, at: usize) -> S::F;
}

impl Source for &[f32] {
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }
    #[inline(always)]
    fn skip(self, count: usize) -> Self {
        &self[count..]
    }
    #[inline(always)]
    fn get(self, at: usize) -> f32 {
        self[at]
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, at: usize) -> S::F {
        // SAFETY: the caller guarantees `LANES` values.
        unsafe { simd.load_ptr(self.as_ptr().add(at)) }
    }
}

/// The bits of f16 or bfloat16.
#[derive(Clone, Copy)]
pub struct Halves<'a, const IS_BFLOAT: bool>(pub &'a [u16]);

impl<const IS_BFLOAT: bool> Source for Halves<'_, IS_BFLOAT> {
    #[inline(always)]
    fn count(self) -> usize {
        self.0.len()
    }
    #[inline(always)]
    fn skip(self, count: usize) -> Self {
        Self(&self.0[count..])
    }
    #[inline(always)]
    fn get(self, at: usize) -> f32 {
        if IS_BFLOAT { f32::from_bits(u32::from(self.0[at]) << 16) } else { widen_f16(self.0[at]) }
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, at: usize) -> S::F {
        // SAFETY: the caller guarantees `LANES` values.
        let bits = unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), S::LANES) };
        if IS_BFLOAT { simd.load_bf16(bits) } else { simd.load_f16(bits) }
    }
}

/// Values of 8 bits in whole groups, and the scale of each group.
#[derive(Clone, Copy)]
pub struct Groups<'a> {
    values: &'a [i8],
    scales: &'a [f32],
}

impl<'a> Groups<'a> {
    /// Pairs groups with their scales.
    ///
    /// # Panics
    /// Unless there is a scale for each group.
    pub fn new(values: &'a [i8], scales: &'a [f32]) -> Self {
        assert!(values.len() <= scales.len().saturating_mul(GROUP));
        Self { values, scales }
    }
}

impl Source for Groups<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.values.len()
    }
    #[inline(always)]
    fn skip(self, count: usize) -> Self {
        Self { values: &self.values[count..], scales: &self.scales[count / GROUP..] }
    }
    #[inline(always)]
    fn get(self, at: usize) -> f32 {
        f32::from(self.values[at]) * self.scales[at / GROUP]
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, at: usize) -> S::F {
        // SAFETY: the caller guarantees `LANES` values, and there is a scale for each group.
        unsafe {
            let values = std::slice::from_raw_parts(self.values.as_ptr().add(at), S::LANES);
            simd.load_i8(values) * *self.scales.get_unchecked(at / GROUP)
        }
    }
}

/// The number of values per step along a row: at least two vectors of four lanes, which then share address arithmetic.
const fn step<S: Simd>() -> usize {
    if S::LANES < 8 { 2 * S::LANES } else { S::LANES }
}

/// Returns true if values are read one row after the other. Natively the next rows are prefetched. WebAssembly has no
/// such instruction, but processors fetch ahead by themselves where memory is read in order.
const fn is_in_order<D: Source>(rows: usize) -> bool {
    cfg!(target_family = "wasm") && D::IS_WIDE && rows == 1
}

/// The maximum width of rows of which two count as read in order: their memory is one KB at most.
const MOST_IN_PAIRS: usize = 64;

/// Computes `result[r][n] = queries_r · keys_n` over rows of `depth` values. Queries are contiguous, keys `stride`
/// apart.
///
/// # Panics
/// If a slice is too short.
#[inline(always)]
pub fn dots<S: Simd, const ROWS: usize>(
    simd: S,
    queries: &[f32],
    keys: impl Source,
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
pub fn reduce_rows<S: Simd, D: Source, const ROWS: usize>(
    simd: S,
    reduce: ReduceKind,
    queries: &[f32],
    keys: D,
    stride: usize,
    depth: usize,
) -> [[f32; SIDE_BY_SIDE]; ROWS] {
    let is_dot = reduce == ReduceKind::Dot;
    assert!(queries.len() >= ROWS * depth && (depth == 0 || keys.count() >= (SIDE_BY_SIDE - 1) * stride + depth));
    let mut sums = [[simd.splat(0.0); SIDE_BY_SIDE]; ROWS];
    let whole = depth - depth % step::<S>();
    let mut rows = [keys; SIDE_BY_SIDE];
    if whole > 0 {
        for (n, row) in rows.iter_mut().enumerate() {
            *row = keys.skip(n * stride);
        }
    }
    if is_dot && is_in_order::<D>(ROWS) {
        for (sum, row) in sums[0].iter_mut().zip(rows) {
            // SAFETY: the query and each row have `whole` values.
            *sum = unsafe { dot_in_order(simd, queries, row, whole) };
        }
    } else {
        for start in (0..whole).step_by(step::<S>()) {
            for at in (start..start + step::<S>()).step_by(S::LANES) {
                // SAFETY: a vector starting at `at` lies inside each row, and each row inside its slice.
                unsafe {
                    let mut vectors = [simd.splat(0.0); SIDE_BY_SIDE];
                    for (n, vector) in vectors.iter_mut().enumerate() {
                        *vector = rows[n].load(simd, at);
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let query = simd.load_ptr(queries.as_ptr().add(r * depth + at));
                        for (n, sum) in sums.iter_mut().enumerate() {
                            let difference = query - vectors[n];
                            let (a, b) = if is_dot { (query, vectors[n]) } else { (difference, difference) };
                            *sum = simd.mul_add(a, b, *sum);
                        }
                    }
                }
            }
        }
    }
    let mut results = [[0.0; SIDE_BY_SIDE]; ROWS];
    for (r, results) in results.iter_mut().enumerate() {
        *results = simd.reduce_sums(sums[r]);
        for at in whole..depth {
            for (n, result) in results.iter_mut().enumerate() {
                let (query, key) = (queries[r * depth + at], keys.get(n * stride + at));
                *result += if is_dot { query * key } else { (query - key) * (query - key) };
            }
        }
    }
    results
}

/// Computes the lanes of `query · row` over the first `whole` values.
///
/// # Safety
/// Both must have `whole` values, a multiple of two vectors.
#[inline(always)]
unsafe fn dot_in_order<S: Simd>(simd: S, query: &[f32], row: impl Source, whole: usize) -> S::F {
    let mut sums = [simd.splat(0.0); 2];
    for start in (0..whole).step_by(2 * S::LANES) {
        for (n, sum) in sums.iter_mut().enumerate() {
            let at = start + n * S::LANES;
            // SAFETY: the caller guarantees the values.
            *sum = unsafe { simd.mul_add(simd.load_ptr(query.as_ptr().add(at)), row.load(simd, at), *sum) };
        }
    }
    sums[0] + sums[1]
}

/// Computes `sums_r[e] += Σ_n weights[r][n] · values[starts[n] + e]` for rows of `width` values. The sums are
/// contiguous.
///
/// # Panics
/// If a slice is too short.
#[inline(always)]
pub fn add_rows<S: Simd, D: Source, const ROWS: usize>(
    simd: S,
    weights: [[f32; SIDE_BY_SIDE]; ROWS],
    values: D,
    starts: [usize; SIDE_BY_SIDE],
    width: usize,
    sums: &mut [f32],
) {
    assert!(sums.len() >= ROWS * width);
    for start in starts {
        assert!(width == 0 || start <= values.count() && width <= values.count() - start);
    }
    let mut factors = [[simd.splat(0.0); SIDE_BY_SIDE]; ROWS];
    for (r, factors) in factors.iter_mut().enumerate() {
        for (n, factor) in factors.iter_mut().enumerate() {
            *factor = simd.splat(weights[r][n]);
        }
    }
    let whole = width - width % step::<S>();
    let mut rows = [values; SIDE_BY_SIDE];
    if whole > 0 {
        for (n, row) in rows.iter_mut().enumerate() {
            *row = values.skip(starts[n]);
        }
    }
    if is_in_order::<D>(ROWS) {
        let [a, b, c, d] = factors[0];
        let [first, second, third, fourth] = rows;
        // SAFETY: each row and the sums have `whole` values.
        unsafe {
            if width <= MOST_IN_PAIRS {
                add_in_order(simd, [a, b], [first, second], whole, sums);
                add_in_order(simd, [c, d], [third, fourth], whole, sums);
            } else {
                for (n, row) in rows.into_iter().enumerate() {
                    add_in_order(simd, [factors[0][n]], [row], whole, sums);
                }
            }
        }
    } else {
        for first in (0..whole).step_by(step::<S>()) {
            for at in (first..first + step::<S>()).step_by(S::LANES) {
                // SAFETY: a vector starting at `at` lies inside each row, and each row inside its slice.
                unsafe {
                    let mut vectors = [simd.splat(0.0); SIDE_BY_SIDE];
                    for (n, vector) in vectors.iter_mut().enumerate() {
                        *vector = rows[n].load(simd, at);
                    }
                    for (r, factors) in factors.iter().enumerate() {
                        let place = sums.as_mut_ptr().add(r * width + at);
                        let mut sum = simd.load_ptr(place);
                        for (n, &factor) in factors.iter().enumerate() {
                            sum = simd.mul_add(factor, vectors[n], sum);
                        }
                        simd.store_ptr(place, sum);
                    }
                }
            }
        }
    }
    for (r, weights) in weights.iter().enumerate() {
        for at in whole..width {
            for (weight, start) in weights.iter().zip(starts) {
                sums[r * width + at] += weight * values.get(start + at);
            }
        }
    }
}

/// Adds rows, each times its factor, to the first `whole` sums.
///
/// # Safety
/// Each row and the sums must have `whole` values, a multiple of two vectors.
#[inline(always)]
unsafe fn add_in_order<S: Simd, const COUNT: usize>(
    simd: S,
    factors: [S::F; COUNT],
    rows: [impl Source; COUNT],
    whole: usize,
    sums: &mut [f32],
) {
    for start in (0..whole).step_by(2 * S::LANES) {
        for at in [start, start + S::LANES] {
            // SAFETY: the caller guarantees the values.
            unsafe {
                let place = sums.as_mut_ptr().add(at);
                let mut sum = simd.load_ptr(place);
                for (n, &factor) in factors.iter().enumerate() {
                    sum = simd.mul_add(factor, rows[n].load(simd, at), sum);
                }
                simd.store_ptr(place, sum);
            }
        }
    }
}

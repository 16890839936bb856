//! Transposes between rows anywhere in memory and tiles whose columns sit in lanes, in blocks of 4 × 4, or of 16 × 16
//! if vectors are as wide.

use std::ops::Range;

use super::Simd;
use crate::context::rows::SharedMut;
use crate::sizes::MAX_TILE_LANES;

/// Values in a row of the larger blocks.
pub const SIDE: usize = 16;

/// Returns the rows and columns that are copied in blocks of [`SIDE`], and the parts that remain.
#[inline(always)]
fn divide<S: Simd>(rows: usize, columns: usize) -> ([usize; 2], [[Range<usize>; 2]; 2]) {
    let whole = |count: usize| if S::TRANSPOSES { count - count % SIDE } else { 0 };
    let (whole_rows, whole_columns) = (whole(rows), whole(columns));
    let rests = [[0..whole_rows, whole_columns..columns], [whole_rows..rows, 0..columns]];
    ([whole_rows, whole_columns], rests)
}

/// Copies rows into a tile: `dst[c · dst_stride + r] = src[rows[r] + c]` for `columns` values of each row.
///
/// # Panics
/// If a row reaches beyond `src`, or `dst` is too short.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn gather_columns<S: Simd>(
    simd: S,
    src: &[f32],
    rows: &[usize],
    columns: usize,
    dst: &mut [f32],
    dst_stride: usize,
) {
    check_tile(rows.len(), columns, dst.len(), dst_stride);
    let ([whole_rows, whole_columns], rests) = divide::<S>(rows.len(), columns);
    for first in (0..whole_rows).step_by(SIDE) {
        let mut starts = [src.as_ptr(); SIDE];
        for (r, start) in starts.iter_mut().enumerate() {
            *start = src[rows[first + r]..][..columns].as_ptr();
        }
        for column in (0..whole_columns).step_by(SIDE) {
            // SAFETY: `SIDE` values from `column` on lie inside each row, and as many from `first` on inside each of
            // `SIDE` columns of `dst`.
            unsafe {
                let (mut from, mut to) = (starts, [dst.as_mut_ptr().add(column * dst_stride + first); SIDE]);
                for index in 0..SIDE {
                    from[index] = from[index].add(column);
                    to[index] = to[index].add(index * dst_stride);
                }
                simd.transpose(&from, &to);
            }
        }
    }
    for [part, columns] in rests {
        let mut quads = rows[part.clone()].chunks_exact(4);
        let mut r = part.start;
        for quad in &mut quads {
            // Spelled out because functions called by array::from_fn are not compiled for the surrounding kernel's
            // level.
            let row = |index: usize| &src[quad[index]..][..columns.end];
            let [a, b, c, d] = [row(0), row(1), row(2), row(3)];
            let mut column = columns.start;
            while column + 4 <= columns.end {
                // SAFETY: four values from `column` on lie inside each row, and four values from `r` on inside each of
                // four columns of `dst`.
                unsafe {
                    let load = |row: &[f32]| block::load(row.as_ptr().add(column));
                    let block = [load(a), load(b), load(c), load(d)];
                    let start = dst.as_mut_ptr().add(column * dst_stride + r);
                    for (index, values) in block::transpose(block).into_iter().enumerate() {
                        block::store(start.add(index * dst_stride), values);
                    }
                }
                column += 4;
            }
            for column in column..columns.end {
                dst[column * dst_stride + r..][..4].copy_from_slice(&[a[column], b[column], c[column], d[column]]);
            }
            r += 4;
        }
        for (r, &row) in (r..).zip(quads.remainder()) {
            for (column, &value) in columns.clone().zip(&src[row..][columns.clone()]) {
                dst[column * dst_stride + r] = value;
            }
        }
    }
}

/// Copies a tile into rows: `dst[rows[r] + c] = src[c · src_stride + r]` for `columns` values of each row.
///
/// # Safety
/// The rows must not overlap each other or any memory that is accessed at the same time.
///
/// # Panics
/// If `src` is too short, or a row reaches beyond `dst`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub unsafe fn scatter_rows<S: Simd>(
    simd: S,
    src: &[f32],
    src_stride: usize,
    columns: usize,
    dst: &SharedMut<'_, f32>,
    rows: &[usize],
) {
    check_tile(rows.len(), columns, src.len(), src_stride);
    // SAFETY: the caller keeps the rows apart.
    let row = |start: usize| unsafe { dst.slice(start, columns) };
    let ([whole_rows, whole_columns], rests) = divide::<S>(rows.len(), columns);
    for first in (0..whole_rows).step_by(SIDE) {
        let mut starts = [std::ptr::null_mut(); SIDE];
        for (r, start) in starts.iter_mut().enumerate() {
            *start = row(rows[first + r]).as_mut_ptr();
        }
        for column in (0..whole_columns).step_by(SIDE) {
            // SAFETY: `SIDE` values from `column` on lie inside each row, and as many from `first` on inside each of
            // `SIDE` columns of `src`.
            unsafe {
                let (mut from, mut to) = ([src.as_ptr().add(column * src_stride + first); SIDE], starts);
                for index in 0..SIDE {
                    from[index] = from[index].add(index * src_stride);
                    to[index] = to[index].add(column);
                }
                simd.transpose(&from, &to);
            }
        }
    }
    for [part, columns] in rests {
        let mut quads = rows[part.clone()].chunks_exact(4);
        let mut r = part.start;
        for quad in &mut quads {
            let mut target = [row(quad[0]), row(quad[1]), row(quad[2]), row(quad[3])];
            let mut column = columns.start;
            while column + 4 <= columns.end {
                // SAFETY: four values from `column` on lie inside each row, and four values from `r` on inside each of
                // four columns of `src`.
                unsafe {
                    let start = src.as_ptr().add(column * src_stride + r);
                    let load = |index: usize| block::load(start.add(index * src_stride));
                    let block = [load(0), load(1), load(2), load(3)];
                    for (row, values) in target.iter_mut().zip(block::transpose(block)) {
                        block::store(row.as_mut_ptr().add(column), values);
                    }
                }
                column += 4;
            }
            for column in column..columns.end {
                for (index, row) in target.iter_mut().enumerate() {
                    row[column] = src[column * src_stride + r + index];
                }
            }
            r += 4;
        }
        for (r, &start) in (r..).zip(quads.remainder()) {
            for (column, value) in columns.clone().zip(&mut row(start)[columns.clone()]) {
                *value = src[column * src_stride + r];
            }
        }
    }
}

/// Applies [`scatter_rows`] to `columns` of the first `rows` rows of `dst`, which are `stride` apart.
///
/// # Panics
/// If `src` or `dst` is too short, or a row has too few columns.
#[inline(always)]
pub fn scatter_lanes<S: Simd>(
    simd: S,
    src: &[f32],
    src_stride: usize,
    dst: &mut [f32],
    stride: usize,
    columns: Range<usize>,
    rows: usize,
) {
    assert!(columns.end <= stride);
    let mut starts = [0; MAX_TILE_LANES];
    for (row, start) in starts[..rows].iter_mut().enumerate() {
        *start = row * stride + columns.start;
    }
    // SAFETY: the slice is borrowed exclusively, and rows do not overlap.
    unsafe { scatter_rows(simd, src, src_stride, columns.len(), &SharedMut::new(dst), &starts[..rows]) };
}

/// Panics unless a tile of length `len` holds `columns` columns of `rows` values.
#[inline(always)]
fn check_tile(rows: usize, columns: usize, len: usize, stride: usize) {
    assert!(rows <= stride && columns.saturating_sub(1) * stride + rows * columns.min(1) <= len);
}

/// 4 × 4 blocks, using the baseline instructions of each architecture.
#[cfg(all(target_arch = "x86_64", not(portable_only)))]
mod block {
    use std::arch::x86_64::*;

    /// # Safety
    /// `source` must be valid for reads of four values.
    #[inline(always)]
    pub(super) unsafe fn load(source: *const f32) -> __m128 {
        // SAFETY: the caller guarantees the memory; SSE is part of x86-64.
        unsafe { _mm_loadu_ps(source) }
    }

    /// # Safety
    /// `target` must be valid for writes of four values.
    #[inline(always)]
    pub(super) unsafe fn store(target: *mut f32, values: __m128) {
        // SAFETY: the caller guarantees the memory; SSE is part of x86-64.
        unsafe { _mm_storeu_ps(target, values) }
    }

    #[inline(always)]
    pub(super) fn transpose([mut a, mut b, mut c, mut d]: [__m128; 4]) -> [__m128; 4] {
        // SAFETY: SSE is part of x86-64.
        unsafe { _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d) };
        [a, b, c, d]
    }
}

/// 4 × 4 blocks, using the baseline instructions of each architecture.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod block {
    use std::arch::wasm32::*;

    /// # Safety
    /// `source` must be valid for reads of four values.
    #[inline(always)]
    pub(super) unsafe fn load(source: *const f32) -> v128 {
        // SAFETY: the caller guarantees the memory.
        unsafe { v128_load(source.cast()) }
    }

    /// # Safety
    /// `target` must be valid for writes of four values.
    #[inline(always)]
    pub(super) unsafe fn store(target: *mut f32, values: v128) {
        // SAFETY: the caller guarantees the memory.
        unsafe { v128_store(target.cast(), values) }
    }

    #[inline(always)]
    pub(super) fn transpose([a, b, c, d]: [v128; 4]) -> [v128; 4] {
        let (ab_low, ab_high) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (cd_low, cd_high) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        [
            i64x2_shuffle::<0, 2>(ab_low, cd_low),
            i64x2_shuffle::<1, 3>(ab_low, cd_low),
            i64x2_shuffle::<0, 2>(ab_high, cd_high),
            i64x2_shuffle::<1, 3>(ab_high, cd_high),
        ]
    }
}

/// 4 × 4 blocks, using the baseline instructions of each architecture.
#[cfg(not(any(
    all(target_arch = "x86_64", not(portable_only)),
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
mod block {
    /// # Safety
    /// `source` must be valid for reads of four values.
    #[inline(always)]
    pub(super) unsafe fn load(source: *const f32) -> [f32; 4] {
        // SAFETY: the caller guarantees the memory.
        unsafe { source.cast::<[f32; 4]>().read_unaligned() }
    }

    /// # Safety
    /// `target` must be valid for writes of four values.
    #[inline(always)]
    pub(super) unsafe fn store(target: *mut f32, values: [f32; 4]) {
        // SAFETY: the caller guarantees the memory.
        unsafe { target.cast::<[f32; 4]>().write_unaligned(values) }
    }

    #[inline(always)]
    pub(super) fn transpose([a, b, c, d]: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
        let column = |lane: usize| [a[lane], b[lane], c[lane], d[lane]];
        [column(0), column(1), column(2), column(3)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};

    /// Gathers and scatters rows of consecutive numbers.
    struct ThereAndBack {
        rows: usize,
        columns: usize,
        stride: usize,
    }

    impl Kernel for ThereAndBack {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            let Self { rows, columns, stride } = self;
            let source: Vec<f32> = (0..rows * columns).map(|index| index as f32).collect();
            let starts: Vec<usize> = (0..rows).map(|row| row * columns).collect();
            let mut tile = vec![-1.0; columns * stride];
            gather_columns(simd, &source, &starts, columns, &mut tile, stride);
            for (at, &value) in tile.iter().enumerate() {
                let (c, r) = (at / stride, at % stride);
                assert_eq!(value, if r < rows { source[r * columns + c] } else { -1.0 });
            }
            let mut back = vec![-1.0; rows * columns];
            // SAFETY: the rows are consecutive, so they do not overlap.
            unsafe { scatter_rows(simd, &tile, stride, columns, &SharedMut::new(&mut back), &starts) };
            assert_eq!(back, source);
        }
    }

    #[test]
    fn gather_and_scatter_are_inverse_at_every_size() {
        for level in Level::available() {
            for rows in (0..=9).chain(15..=18).chain(31..=33) {
                for columns in (0..=9).chain(15..=20).chain(47..=49) {
                    level.run(ThereAndBack { rows, columns, stride: rows.max(1) + 3 });
                }
            }
        }
    }
}

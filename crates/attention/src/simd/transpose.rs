//! Transposes between rows that lie anywhere and tiles whose columns sit in lanes, in blocks of 4 × 4.

/// `dst[c · dst_stride + r] = row(r)[c]` for `rows` rows of `columns` values.
///
/// # Panics
/// If a row or `dst` is shorter than that needs.
#[inline(always)]
pub fn gather_columns<'a>(
    rows: usize,
    columns: usize,
    row: impl Fn(usize) -> &'a [f32],
    dst: &mut [f32],
    dst_stride: usize,
) {
    assert!(rows <= dst_stride);
    let mut r = 0;
    while r + 4 <= rows {
        let source: [&[f32]; 4] = std::array::from_fn(|i| &row(r + i)[..columns]);
        let mut c = 0;
        while c + 4 <= columns {
            let block = transpose_block(std::array::from_fn(|i| four(&source[i][c..])));
            for (i, values) in block.iter().enumerate() {
                dst[(c + i) * dst_stride + r..][..4].copy_from_slice(values);
            }
            c += 4;
        }
        for c in c..columns {
            for (i, source) in source.iter().enumerate() {
                dst[c * dst_stride + r + i] = source[c];
            }
        }
        r += 4;
    }
    for r in r..rows {
        for (c, &value) in row(r)[..columns].iter().enumerate() {
            dst[c * dst_stride + r] = value;
        }
    }
}

/// `row(r)[c] = src[c · src_stride + r]` for `rows` rows of `columns` values.
///
/// # Panics
/// If a row or `src` is shorter than that needs.
#[inline(always)]
pub fn scatter_rows<'a>(
    rows: usize,
    columns: usize,
    src: &[f32],
    src_stride: usize,
    mut row: impl FnMut(usize) -> &'a mut [f32],
) {
    assert!(rows <= src_stride);
    let mut r = 0;
    while r + 4 <= rows {
        let mut target: [&mut [f32]; 4] = std::array::from_fn(|i| &mut row(r + i)[..columns]);
        let mut c = 0;
        while c + 4 <= columns {
            let block = transpose_block(std::array::from_fn(|i| four(&src[(c + i) * src_stride + r..])));
            for (i, values) in block.iter().enumerate() {
                target[i][c..c + 4].copy_from_slice(values);
            }
            c += 4;
        }
        for c in c..columns {
            for (i, target) in target.iter_mut().enumerate() {
                target[c] = src[c * src_stride + r + i];
            }
        }
        r += 4;
    }
    for r in r..rows {
        for (c, value) in row(r)[..columns].iter_mut().enumerate() {
            *value = src[c * src_stride + r];
        }
    }
}

#[inline(always)]
fn four(values: &[f32]) -> [f32; 4] {
    [values[0], values[1], values[2], values[3]]
}

/// The transpose of four rows of four.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose_block(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    use std::arch::x86_64::*;
    // SAFETY: SSE is part of x86-64; an array of four f32 has the size of a vector and any bits are valid in both.
    unsafe {
        let [mut a, mut b, mut c, mut d]: [__m128; 4] = rows.map(|row| _mm_loadu_ps(row.as_ptr()));
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        std::mem::transmute([a, b, c, d])
    }
}

/// The transpose of four rows of four.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
fn transpose_block(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    use std::arch::wasm32::*;
    // SAFETY: an array of four f32 has the size of a vector and any bits are valid in both.
    unsafe {
        let [a, b, c, d]: [v128; 4] = std::mem::transmute(rows);
        let (ab_low, ab_high) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (cd_low, cd_high) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        std::mem::transmute([
            i64x2_shuffle::<0, 2>(ab_low, cd_low),
            i64x2_shuffle::<1, 3>(ab_low, cd_low),
            i64x2_shuffle::<0, 2>(ab_high, cd_high),
            i64x2_shuffle::<1, 3>(ab_high, cd_high),
        ])
    }
}

/// The transpose of four rows of four.
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
#[inline(always)]
fn transpose_block(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    std::array::from_fn(|r| std::array::from_fn(|c| rows[c][r]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_and_scatter_are_inverse_at_every_size() {
        for rows in 0..=9 {
            for columns in 0..=9 {
                let source: Vec<f32> = (0..rows * columns).map(|index| index as f32).collect();
                let mut tile = vec![-1.0; columns * 12];
                gather_columns(rows, columns, |r| &source[r * columns..], &mut tile, 12);
                for r in 0..rows {
                    for c in 0..columns {
                        assert_eq!(tile[c * 12 + r], source[r * columns + c]);
                    }
                }
                let mut back = vec![-1.0; rows * columns];
                let mut targets: Vec<&mut [f32]> = back.chunks_mut(columns.max(1)).collect();
                let mut targets = targets.drain(..);
                scatter_rows(rows, columns, &tile, 12, |_| targets.next().unwrap_or_default());
                drop(targets);
                assert_eq!(back, source);
            }
        }
    }
}

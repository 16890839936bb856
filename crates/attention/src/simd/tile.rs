//! The one microkernel: `C[rows × NR] = start + A[rows × depth] · B[depth × NR]`, `NR = VECTORS · LANES`.
//!
//! A is read where it lies, by scalar broadcast; B and C are contiguous tiles whose `NR` columns sit in SIMD lanes. Scores
//! (keys × queries), values (value features × queries) and projections (weight rows × inputs) are all this product.

use super::Simd;

/// Which index of a [`Matrix`] is contiguous in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Element (row, k) lies at `row · stride + k`: keys or weights as they are.
    Depth,
    /// Element (row, k) lies at `k · stride + row`: values, seen transposed.
    Rows,
    /// As `Depth`, and what is summed are not products but squares of differences, `(A − B)²`: no matter how near the rows
    /// lie to the columns, their squared distances do not cancel.
    DepthApart,
}

/// The left factor: a strided view of memory that nobody packs.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// From the first element on.
    pub data: &'a [f32],
    /// Between consecutive rows or depths, whichever is not contiguous.
    pub stride: usize,
    /// Which index is contiguous.
    pub along: Along,
}

/// What the product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Nothing: C is overwritten.
    Zero,
    /// What C holds.
    Keep,
    /// What C holds, each column times its factor.
    Scale(&'a [f32]),
}

/// Multiplies as the module says.
///
/// # Panics
/// If a slice is shorter than its sizes say.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn product<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: Matrix<'_>,
    rows: usize,
    depth: usize,
    b: &[f32],
    c: &mut [f32],
    start: Start<'_>,
) {
    let lanes = VECTORS * S::LANES;
    if rows == 0 {
        return;
    }
    let extent = match a.along {
        Along::Depth | Along::DepthApart => (rows - 1) * a.stride + depth,
        Along::Rows => depth.saturating_sub(1) * a.stride + rows,
    };
    assert!(depth == 0 || a.data.len() >= extent);
    assert!(b.len() >= depth * lanes && c.len() >= rows * lanes);
    if let Start::Scale(factors) = start {
        assert!(factors.len() >= lanes);
    }
    let mut row = 0;
    // SAFETY: the asserts above cover every element that rows below `rows` and depths below `depth` reach.
    unsafe {
        while row + ROWS <= rows {
            row_group::<S, ROWS, VECTORS>(simd, a, row, depth, b, c, start);
            row += ROWS;
        }
        if ROWS > 4 && row + 4 <= rows {
            row_group::<S, 4, VECTORS>(simd, a, row, depth, b, c, start);
            row += 4;
        }
        if ROWS > 2 && row + 2 <= rows {
            row_group::<S, 2, VECTORS>(simd, a, row, depth, b, c, start);
            row += 2;
        }
        if row < rows {
            row_group::<S, 1, VECTORS>(simd, a, row, depth, b, c, start);
        }
    }
}

/// `ROWS` rows of the product, accumulated in registers.
///
/// # Safety
/// Rows `row .. row + ROWS` and all of `depth` must lie inside the slices, `Scale` must hold a factor for each lane.
#[inline(always)]
unsafe fn row_group<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: Matrix<'_>,
    row: usize,
    depth: usize,
    b: &[f32],
    c: &mut [f32],
    start: Start<'_>,
) {
    let lanes = VECTORS * S::LANES;
    // SAFETY: row + ROWS rows of C exist.
    let c = unsafe { c.as_mut_ptr().add(row * lanes) };
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    // SAFETY: each access stays inside the rows, depths and lanes that the caller vouches for.
    unsafe {
        match start {
            Start::Zero => {}
            Start::Keep => {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.load_ptr(c.add(r * lanes + v * S::LANES));
                    }
                }
            }
            Start::Scale(factors) => {
                for v in 0..VECTORS {
                    let factor = simd.load_ptr(factors.as_ptr().add(v * S::LANES));
                    for (r, sums) in sums.iter_mut().enumerate() {
                        sums[v] = simd.load_ptr(c.add(r * lanes + v * S::LANES)) * factor;
                    }
                }
            }
        }
        match a.along {
            Along::Depth | Along::DepthApart => {
                let rows: [*const f32; ROWS] =
                    std::array::from_fn(|r| a.data.as_ptr().wrapping_add((row + r) * a.stride));
                if a.along == Along::Depth {
                    accumulate(simd, &mut sums, b.as_ptr(), depth, |k, further, r| *rows[r].add(k).add(further));
                } else {
                    for k in 0..depth {
                        step::<S, ROWS, VECTORS, true>(simd, &mut sums, b.as_ptr().add(k * lanes), |r| *rows[r].add(k));
                    }
                }
            }
            Along::Rows => {
                let columns = a.data.as_ptr().wrapping_add(row);
                accumulate(simd, &mut sums, b.as_ptr(), depth, |k, further, r| {
                    *columns.add((k + further) * a.stride).add(r)
                });
            }
        }
        // By reference: an iterator that owns them would be filled in memory first.
        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                simd.store_ptr(c.add(r * lanes + v * S::LANES), sum);
            }
        }
    }
}

/// Every depth in turn. Four of them a round, as their distances fold into the addresses; and a way out after each, which
/// spares a second loop, and keeps compilers from mixing their steps, for which there are too few registers.
///
/// # Safety
/// `b` must be valid for reads of `depth · VECTORS` vectors, `a` for calls with every depth, as a sum of two, and row.
#[inline(always)]
unsafe fn accumulate<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    sums: &mut [[S::F; VECTORS]; ROWS],
    b: *const f32,
    depth: usize,
    a: impl Fn(usize, usize, usize) -> f32,
) {
    let lanes = VECTORS * S::LANES;
    let mut k = 0;
    if depth == 0 {
        return;
    }
    // SAFETY: each step is at a depth below `depth`.
    unsafe {
        loop {
            let rest = depth - k;
            let b = b.add(k * lanes);
            step::<S, ROWS, VECTORS, false>(simd, sums, b, |r| a(k, 0, r));
            if rest == 1 {
                return;
            }
            step::<S, ROWS, VECTORS, false>(simd, sums, b.add(lanes), |r| a(k, 1, r));
            if rest == 2 {
                return;
            }
            step::<S, ROWS, VECTORS, false>(simd, sums, b.add(2 * lanes), |r| a(k, 2, r));
            if rest == 3 {
                return;
            }
            step::<S, ROWS, VECTORS, false>(simd, sums, b.add(3 * lanes), |r| a(k, 3, r));
            if rest == 4 {
                return;
            }
            k += 4;
        }
    }
}

/// One depth: every sum gets the product of its A element and its B vector or, where they are `APART`, the square of their
/// difference.
///
/// # Safety
/// `b` must be valid for reads of `VECTORS` vectors.
#[inline(always)]
unsafe fn step<S: Simd, const ROWS: usize, const VECTORS: usize, const APART: bool>(
    simd: S,
    sums: &mut [[S::F; VECTORS]; ROWS],
    b: *const f32,
    a: impl Fn(usize) -> f32,
) {
    // SAFETY: the caller vouches for the vectors of B.
    let b: [S::F; VECTORS] = std::array::from_fn(|v| unsafe { simd.load_ptr(b.add(v * S::LANES)) });
    for (r, sums) in sums.iter_mut().enumerate() {
        let a = simd.splat(a(r));
        for (sum, &b) in sums.iter_mut().zip(&b) {
            *sum = if APART {
                let difference = a - b;
                simd.mul_add(difference, difference, *sum)
            } else {
                simd.mul_add(a, b, *sum)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};

    struct Case {
        rows: usize,
        depth: usize,
        along: Along,
    }

    impl Kernel for Case {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            let Self { rows, depth, along } = self;
            let lanes = VECTORS * S::LANES;
            let value = |seed: usize| ((seed * 7 + 3) % 23) as f32 / 8.0 - 1.0;
            let stride = if along == Along::Rows { rows + 3 } else { depth + 3 };
            let a: Vec<f32> = (0..(rows + 1) * (depth + 3) + 3 * rows.max(depth)).map(value).collect();
            let b: Vec<f32> = (0..depth * lanes).map(value).collect();
            let factors: Vec<f32> = (0..lanes).map(|lane| lane as f32 / 4.0).collect();
            let before: Vec<f32> = (0..rows * lanes).map(value).collect();
            for start in [Start::Zero, Start::Keep, Start::Scale(&factors)] {
                let mut c = before.clone();
                product::<S, ROWS, VECTORS>(simd, Matrix { data: &a, stride, along }, rows, depth, &b, &mut c, start);
                for row in 0..rows {
                    for lane in 0..lanes {
                        let kept = before[row * lanes + lane];
                        let mut expected = match start {
                            Start::Zero => 0.0,
                            Start::Keep => kept,
                            Start::Scale(factors) => kept * factors[lane],
                        };
                        for k in 0..depth {
                            let index = if along == Along::Rows { k * stride + row } else { row * stride + k };
                            let (a, b) = (a[index], b[k * lanes + lane]);
                            expected += if along == Along::DepthApart { (a - b) * (a - b) } else { a * b };
                        }
                        // Eighths multiply and add without rounding.
                        assert_eq!(c[row * lanes + lane], expected, "row {row} lane {lane} {along:?} {start:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn product_is_exact_at_every_edge_of_the_tile() {
        for level in Level::available() {
            for rows in (0..=18).chain([64]) {
                for depth in [0, 1, 2, 5, 16, 33] {
                    for along in [Along::Depth, Along::Rows, Along::DepthApart] {
                        level.run(Case { rows, depth, along });
                    }
                }
            }
        }
    }
}

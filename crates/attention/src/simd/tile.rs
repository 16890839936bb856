//! The only matrix microkernel: `C[rows × NR] = C₀ + A[rows × depth] · B[depth × NR]`, `NR = VECTORS · LANES`.
//!
//! A is read in its original layout by scalar broadcast; B and C are contiguous tiles whose `NR` columns sit in SIMD
//! lanes. Scores (keys × queries), values (value features × queries) and projections (weight rows × inputs) all use
//! this product.

use super::Simd;

/// The index of a [`Matrix`] whose elements are contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Element (row, k) is at `row · stride + k`: keys, or weights, in their natural layout.
    RowMajor,
    /// Element (row, k) is at `k · stride + row`: values, viewed as transposed.
    ColumnMajor,
}

/// The terms to sum over the depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceKind {
    /// `A · B`.
    Dot,
    /// `(A − B)²`: squared distances, without cancellation however close rows and columns are.
    SquaredDistance,
}

/// The left factor: a strided view of memory, never packed.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The elements, starting at the first one.
    pub data: &'a [f32],
    /// The distance between consecutive rows or depths, whichever is not contiguous.
    pub stride: usize,
    /// The contiguous index.
    pub order: Order,
    /// The terms of the sums.
    pub reduce: ReduceKind,
}

impl<'a> Matrix<'a> {
    /// Views rows of contiguous elements, `stride` apart, for dot products.
    pub const fn row_major(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride, order: Order::RowMajor, reduce: ReduceKind::Dot }
    }

    /// Views columns of contiguous elements, `stride` apart, for dot products.
    pub const fn column_major(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride, order: Order::ColumnMajor, reduce: ReduceKind::Dot }
    }
}

/// The treatment of the existing contents of C.
#[derive(Clone, Copy, Debug)]
pub enum Accumulate<'a> {
    /// C is overwritten.
    Overwrite,
    /// The product is added.
    Add,
    /// Each column of C is multiplied by its factor, then the product is added.
    ScaleAndAdd(&'a [f32]),
}

/// Computes the product described in the module documentation.
///
/// # Panics
/// If a slice is too short for the sizes.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn product<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: Matrix<'_>,
    rows: usize,
    depth: usize,
    b: &[f32],
    c: &mut [f32],
    accumulate: Accumulate<'_>,
) {
    let lanes = VECTORS * S::LANES;
    if rows == 0 {
        return;
    }
    let extent = match a.order {
        Order::RowMajor => (rows - 1) * a.stride + depth,
        Order::ColumnMajor => depth.saturating_sub(1) * a.stride + rows,
    };
    assert!(depth == 0 || a.data.len() >= extent);
    assert!(b.len() >= depth * lanes && c.len() >= rows * lanes);
    if let Accumulate::ScaleAndAdd(factors) = accumulate {
        assert!(factors.len() >= lanes);
    }
    let mut row = 0;
    // SAFETY: the assertions above cover every element of rows below `rows` and depths below `depth`.
    unsafe {
        while row + ROWS <= rows {
            row_group::<S, ROWS, VECTORS>(simd, a, row, depth, b, c, accumulate);
            row += ROWS;
        }
        if ROWS > 4 && row + 4 <= rows {
            row_group::<S, 4, VECTORS>(simd, a, row, depth, b, c, accumulate);
            row += 4;
        }
        if ROWS > 2 && row + 2 <= rows {
            row_group::<S, 2, VECTORS>(simd, a, row, depth, b, c, accumulate);
            row += 2;
        }
        if row < rows {
            row_group::<S, 1, VECTORS>(simd, a, row, depth, b, c, accumulate);
        }
    }
}

/// Computes `ROWS` rows of the product, accumulated in registers.
///
/// # Safety
/// Rows `row .. row + ROWS` and all of `depth` must be inside the slices, and `ScaleAndAdd` must hold a factor for each
/// lane.
#[inline(always)]
unsafe fn row_group<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: Matrix<'_>,
    row: usize,
    depth: usize,
    b: &[f32],
    c: &mut [f32],
    accumulate: Accumulate<'_>,
) {
    let lanes = VECTORS * S::LANES;
    // SAFETY: C has at least row + ROWS rows.
    let c = unsafe { c.as_mut_ptr().add(row * lanes) };
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    // SAFETY: each access stays inside the rows, depths and lanes that the caller guarantees.
    unsafe {
        let data = a.data.as_ptr();
        match (a.reduce, a.order) {
            (ReduceKind::Dot, Order::RowMajor) => {
                let mut rows = [data; ROWS];
                for (r, start) in rows.iter_mut().enumerate() {
                    *start = data.wrapping_add((row + r) * a.stride);
                }
                sum_products(simd, &mut sums, b.as_ptr(), depth, |k, further, r| *rows[r].add(k).add(further));
            }
            (ReduceKind::Dot, Order::ColumnMajor) => {
                let columns = data.wrapping_add(row);
                sum_products(simd, &mut sums, b.as_ptr(), depth, |k, further, r| {
                    *columns.add((k + further) * a.stride).add(r)
                });
            }
            (ReduceKind::SquaredDistance, order) => {
                let steps = if order == Order::RowMajor { [a.stride, 1] } else { [1, a.stride] };
                for k in 0..depth {
                    let element = |r: usize| *data.add((row + r) * steps[0] + k * steps[1]);
                    step::<S, ROWS, VECTORS, true>(simd, &mut sums, b.as_ptr().add(k * lanes), element);
                }
            }
        }
        // Added last: the terms of one product keep more digits among themselves than added one by one to a larger sum.
        match accumulate {
            Accumulate::Overwrite => {}
            Accumulate::Add => {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.load_ptr(c.add(r * lanes + v * S::LANES)) + *sum;
                    }
                }
            }
            Accumulate::ScaleAndAdd(factors) => {
                for v in 0..VECTORS {
                    let factor = simd.load_ptr(factors.as_ptr().add(v * S::LANES));
                    for (r, sums) in sums.iter_mut().enumerate() {
                        sums[v] = simd.mul_add(simd.load_ptr(c.add(r * lanes + v * S::LANES)), factor, sums[v]);
                    }
                }
            }
        }
        // Iterate by reference: an owning iterator would first copy the array to memory.
        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                simd.store_ptr(c.add(r * lanes + v * S::LANES), sum);
            }
        }
    }
}

/// Adds the products of all depths. Each round covers four depths, whose offsets fold into the addresses. The exit
/// after each depth avoids a second loop, and keeps compilers from interleaving the steps, for which there are too few
/// registers.
///
/// # Safety
/// `b` must be valid for reads of `depth · VECTORS` vectors. `a(k, n, row)` must be callable for every depth k + n and
/// row.
#[inline(always)]
unsafe fn sum_products<S: Simd, const ROWS: usize, const VECTORS: usize>(
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

/// Processes one depth: adds to every sum the product of its A element and its B vector or, if `APART`, the square of
/// their difference.
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
    let mut vectors = [simd.splat(0.0); VECTORS];
    for (v, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the caller guarantees the vectors of B.
        *vector = unsafe { simd.load_ptr(b.add(v * S::LANES)) };
    }
    for (r, sums) in sums.iter_mut().enumerate() {
        let a = simd.splat(a(r));
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = if APART {
                let difference = a - vectors[v];
                simd.mul_add(difference, difference, *sum)
            } else {
                simd.mul_add(a, vectors[v], *sum)
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
        order: Order,
        reduce: ReduceKind,
    }

    impl Kernel for Case {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            let Self { rows, depth, order, reduce } = self;
            let lanes = VECTORS * S::LANES;
            let value = |seed: usize| ((seed * 7 + 3) % 23) as f32 / 8.0 - 1.0;
            let stride = if order == Order::ColumnMajor { rows + 3 } else { depth + 3 };
            let a: Vec<f32> = (0..(rows + 1) * (depth + 3) + 3 * rows.max(depth)).map(value).collect();
            let b: Vec<f32> = (0..depth * lanes).map(value).collect();
            let factors: Vec<f32> = (0..lanes).map(|lane| lane as f32 / 4.0).collect();
            let before: Vec<f32> = (0..rows * lanes).map(value).collect();
            for accumulate in [Accumulate::Overwrite, Accumulate::Add, Accumulate::ScaleAndAdd(&factors)] {
                let mut c = before.clone();
                let matrix = Matrix { data: &a, stride, order, reduce };
                product::<S, ROWS, VECTORS>(simd, matrix, rows, depth, &b, &mut c, accumulate);
                for row in 0..rows {
                    for lane in 0..lanes {
                        let kept = before[row * lanes + lane];
                        let mut expected = match accumulate {
                            Accumulate::Overwrite => 0.0,
                            Accumulate::Add => kept,
                            Accumulate::ScaleAndAdd(factors) => kept * factors[lane],
                        };
                        for k in 0..depth {
                            let index = if order == Order::ColumnMajor { k * stride + row } else { row * stride + k };
                            let (a, b) = (a[index], b[k * lanes + lane]);
                            expected += if reduce == ReduceKind::Dot { a * b } else { (a - b) * (a - b) };
                        }
                        // Products and sums of multiples of 1/8 are exact.
                        assert_eq!(
                            c[row * lanes + lane],
                            expected,
                            "row {row} lane {lane} {order:?} {reduce:?} {accumulate:?}"
                        );
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
                    for order in [Order::RowMajor, Order::ColumnMajor] {
                        for reduce in [ReduceKind::Dot, ReduceKind::SquaredDistance] {
                            level.run(Case { rows, depth, order, reduce });
                        }
                    }
                }
            }
        }
    }
}

//! The product of tiles as a function of its own.

use crate::simd::{self, Accumulate, Kernel, Level, Matrix, Order, ReduceKind, Simd};

/// Computes [`simd::product`] at `level` for tiles of `lanes` columns.
///
/// Inlined into a kernel, a product consists of dozens of unrolled loops, and the time to compile them grows with the
/// square of their number. Kernels with several products call this function, which exists once for each level.
///
/// # Panics
/// If a slice is too short for the sizes.
#[inline(always)]
pub(crate) fn product(
    (level, lanes): (Level, usize),
    a: Matrix<'_>,
    [rows, depth]: [usize; 2],
    b: &[f32],
    c: &mut [f32],
    accumulate: Accumulate<'_>,
) {
    run(level, &mut Product { lanes, a, rows, depth, b, c, accumulate });
}

/// Takes a reference, since copying the arguments again would slow down small tiles by a percent.
#[cfg_attr(target_family = "wasm", inline(always))]
#[cfg_attr(not(target_family = "wasm"), inline(never))]
fn run(level: Level, product: &mut Product<'_>) {
    level.run(product);
}

/// The call of [`product`].
struct Product<'a> {
    lanes: usize,
    a: Matrix<'a>,
    rows: usize,
    depth: usize,
    b: &'a [f32],
    c: &'a mut [f32],
    accumulate: Accumulate<'a>,
}

impl Kernel for &mut Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        if S::HAS_HALF_TILES && self.lanes == S::LANES {
            self.compute::<S, ROWS, 1>(simd);
        } else {
            self.compute::<S, ROWS, VECTORS>(simd);
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S) {
        let &mut Self { a, rows, depth, b, ref mut c, accumulate, .. } = self;
        // Each copy of the loops knows the order and the kind of the terms. WebAssembly has one copy of them.
        let a = match (a.reduce, a.order) {
            _ if cfg!(target_family = "wasm") => a,
            (ReduceKind::Dot, Order::RowMajor) => {
                let a = Matrix::row_major(a.data, a.stride);
                return simd::product::<S, ROWS, VECTORS>(simd, a, rows, depth, b, c, accumulate);
            }
            (ReduceKind::Dot, Order::ColumnMajor) => {
                let a = Matrix::column_major(a.data, a.stride);
                return simd::product::<S, ROWS, VECTORS>(simd, a, rows, depth, b, c, accumulate);
            }
            (ReduceKind::SquaredDistance, _) => Matrix { reduce: ReduceKind::SquaredDistance, ..a },
        };
        simd::product::<S, ROWS, VECTORS>(simd, a, rows, depth, b, c, accumulate);
    }
}

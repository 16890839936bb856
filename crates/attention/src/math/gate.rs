//! Gates of attention heads: factors from 0 to 1, each the logistic function of a projected value.

use crate::context::{Context, operations};
use crate::math::exp::exp_less;
use crate::simd::{Kernel, Simd};

/// Rows of projected queries in which each head's gates follow its query.
pub(crate) struct Gates<'a> {
    pub data: &'a [f32],
    /// The distance between rows.
    pub row: usize,
    /// The size of a head.
    pub size: usize,
}

impl Gates<'_> {
    /// Multiplies each value of rows of `width` values by the logistic function of its gate.
    pub(crate) fn apply(&self, context: Context<'_>, rows: &mut [f32], width: usize) {
        if rows.is_empty() {
            return;
        }
        let (count, operations) = (rows.len() / width, operations([rows.len(), 32]));
        let rows_an_item = (1usize << 14).div_ceil(width);
        context.for_each_rows(count, rows_an_item, operations, [rows], |item, [rows]| {
            for (row, values) in item.zip(rows.chunks_exact_mut(width)) {
                let row = &self.data[row * self.row..];
                for (head, values) in values.chunks_exact_mut(self.size).enumerate() {
                    let gates = &row[(2 * head + 1) * self.size..][..self.size];
                    context.level.run(Head { values, gates });
                }
            }
        });
    }
}

struct Head<'a> {
    values: &'a mut [f32],
    gates: &'a [f32],
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let mut padded = [0.0; 16];
        for (values, gates) in self.values.chunks_mut(S::LANES).zip(self.gates.chunks(S::LANES)) {
            padded[..gates.len()].copy_from_slice(gates);
            let factors = logistic(simd, simd.load(&padded[..S::LANES]));
            simd.store(&mut padded[..S::LANES], factors);
            values.iter_mut().zip(padded).for_each(|(value, factor)| *value *= factor);
        }
    }
}

/// Computes `1/(1 + e^−x)`. For x < 0 the quotient of e^x is used, which does not cancel.
#[inline(always)]
fn logistic<S: Simd>(simd: S, x: S::F) -> S::F {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let power = exp_less(simd, zero - simd.max(x, zero - x), zero);
    let tail = power / (one + power);
    simd.select(simd.lt(x, zero), tail, one - tail)
}

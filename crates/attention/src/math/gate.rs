//! Gates of attention heads: factors from 0 to 1, each the logistic function of a projected value.

use crate::context::{Context, operations};
use crate::math::activation::{Activation, apply};
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
        let mut buffer = [0.0; 64];
        for (values, gates) in self.values.chunks_mut(buffer.len()).zip(self.gates.chunks(buffer.len())) {
            let factors = &mut buffer[..gates.len()];
            factors.copy_from_slice(gates);
            apply(simd, Activation::Sigmoid, factors);
            values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= *factor);
        }
    }
}

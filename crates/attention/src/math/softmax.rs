//! Softmax over contiguous rows.

use crate::context::{Context, operations};
use crate::error::Result;
use crate::math::exp::exp;
use crate::math::sum::BLOCK;
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output};

/// `torch.softmax(x, dim=-1)`: each row along the last dimension becomes `exp(x − max) / Σ exp(x − max)`.
///
/// `−∞` gives 0. A row of only `−∞` gives zeros, like an attention row without a visible key. A NaN spoils its row.
///
/// # Errors
/// `SHAPE` if `output` has another length than `x`.
pub fn softmax(context: Context<'_>, x: Tensor<'_>, output: &mut [f32]) -> Result<()> {
    check_output("output", output, x.data.len())?;
    let (_, columns) = x.shape.rows_and_columns();
    if x.data.is_empty() {
        return Ok(());
    }
    // About 50 µs of work an item.
    let rows_an_item = (1usize << 15).div_ceil(columns);
    let (count, operations) = (x.data.len() / columns, operations([x.data.len(), 16]));
    context.for_each_rows(count, rows_an_item, operations, [output], |item, [rows]| {
        rows.copy_from_slice(&x.data[item.start * columns..item.end * columns]);
        context.level.run(Softmax { rows, columns });
    });
    Ok(())
}

/// Replaces each row by its softmax.
struct Softmax<'a> {
    rows: &'a mut [f32],
    columns: usize,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        for row in self.rows.chunks_exact_mut(self.columns) {
            let max = row_max(simd, row);
            let sum = exp_sum(simd, row, max);
            // Only a row of nothing but −∞ sums to 0.
            let scale = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            row.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

/// The largest value of the row, NaN passed over, at least `f32::MIN`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn row_max<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let mut max = simd.splat(f32::MIN);
    let mut quads = row.chunks_exact(4 * S::LANES);
    if cfg!(not(target_family = "wasm")) && row.len() >= 4 * S::LANES {
        // Side by side, as one maximum after the other waits for the instruction.
        let mut maxima = [max; 4];
        for quad in &mut quads {
            for (part, max) in maxima.iter_mut().enumerate() {
                *max = simd.max(*max, simd.load(&quad[part * S::LANES..]));
            }
        }
        let [a, b, c, d] = maxima;
        max = simd.max(simd.max(a, b), simd.max(c, d));
    }
    let rest = if cfg!(target_family = "wasm") { row } else { quads.remainder() };
    let mut chunks = rest.chunks_exact(S::LANES);
    for chunk in &mut chunks {
        max = simd.max(max, simd.load(chunk));
    }
    chunks.remainder().iter().fold(simd.reduce_max(max), |max, &value| if value > max { value } else { max })
}

/// Replaces each value by `exp(value − max)` and gives their sum: sums of blocks are added in double precision.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub fn exp_sum<S: Simd>(simd: S, row: &mut [f32], max: f32) -> f32 {
    let mut sum = 0.0;
    for block in row.chunks_mut(BLOCK * S::LANES) {
        sum += f64::from(block_exp_sum(simd, block, max));
    }
    sum as f32
}

/// [`exp_sum`] within one block.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn block_exp_sum<S: Simd>(simd: S, row: &mut [f32], max: f32) -> f32 {
    let max = simd.splat(max);
    let mut sum = simd.splat(0.0);
    let mut chunks = row.chunks_exact_mut(S::LANES);
    for chunk in &mut chunks {
        let power = exp(simd, simd.load(chunk) - max);
        sum = sum + power;
        simd.store(chunk, power);
    }
    let tail = chunks.into_remainder();
    if !tail.is_empty() {
        // The rest of a vector is −∞, which adds nothing.
        let mut padded = [f32::NEG_INFINITY; 16];
        padded[..tail.len()].copy_from_slice(tail);
        let power = exp(simd, simd.load(&padded) - max);
        sum = sum + power;
        simd.store(&mut padded, power);
        tail.copy_from_slice(&padded[..tail.len()]);
    }
    simd.reduce_sum(sum)
}

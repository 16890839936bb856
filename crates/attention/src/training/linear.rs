//! The gradients of `y = x Wᵀ + b`: `x' = y' W`, `W' = y'ᵀ x`, and `b'`, the sum of the rows of `y'`.

use crate::context::rows::MatrixBlock;
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::weight::{Weight, Weights};
use crate::scratch::{self, Scratch};
use crate::simd::{Accumulate, Kernel, Matrix, Order, Simd, product};
use crate::sizes::GROUP;
use crate::tensor::{Shape, Tensor, check_output};
use crate::training::check_gradient;

/// The inputs of a projection, each needed for the gradient of the other alone.
#[derive(Debug, Clone, Copy)]
pub struct LinearTensors<'a> {
    /// The gradient of the result, `[…, out]`.
    pub gradient: Tensor<'a>,
    /// `[…, in]`.
    pub x: Option<Tensor<'a>>,
    /// `[out, in]`, of any type.
    pub weight: Option<Weight<'a>>,
}

/// Destinations of the requested gradients.
#[derive(Debug, Default)]
pub struct LinearGradients<'a> {
    /// `[…, in]`; needs the weight.
    pub x: Option<&'a mut [f32]>,
    /// `[out, in]`; needs x.
    pub weight: Option<&'a mut [f32]>,
    /// `[out]`.
    pub bias: Option<&'a mut [f32]>,
}

/// Computes the gradients of [`linear`](crate::math::linear::linear) that are requested. Weights of 8 bits are taken as
/// the values that they stand for.
///
/// # Errors
/// `SHAPE` if shapes do not fit each other, or an input that a gradient needs is missing; `MEMORY`.
pub fn linear_backward(context: Context<'_>, tensors: LinearTensors<'_>, gradients: LinearGradients<'_>) -> Result<()> {
    let LinearTensors { gradient, x, weight } = tensors;
    let (rows, outputs) = gradient.shape.rows_and_columns();
    if gradient.shape.rank() == 0 {
        return Err(Error::shape("gradient", "at least 1 dimension […, out]", gradient.shape));
    }
    if let Some(weight) = weight
        && (weight.shape.rank() != 2 || weight.shape.dims()[0] != outputs)
    {
        return Err(Error::shape(
            "weight",
            format_args!("[{outputs}, in] to fit gradient {}", gradient.shape),
            weight.shape,
        ));
    }
    if let Some(x) = x {
        let inputs = x.shape.rows_and_columns().1;
        check_gradient(gradient, x.shape.with_last(outputs))?;
        if let Some(weight) = weight
            && weight.shape.dims()[1] != inputs
        {
            return Err(Error::shape(
                "weight",
                format_args!("[{outputs}, {inputs}] to fit x {}", x.shape),
                weight.shape,
            ));
        }
    }
    if let Some(output) = gradients.x {
        let weight = weight.ok_or_else(|| Error::shape("weight", "the weight, for the gradient of x", "none"))?;
        let inputs = weight.shape.dims()[1];
        check_output("x", output, rows.saturating_mul(inputs))?;
        let left = Matrix::row_major(gradient.data, outputs);
        multiply(context, left, weight.data, [rows, outputs, inputs], output)?;
    }
    if let Some(output) = gradients.weight {
        let x = x.ok_or_else(|| Error::shape("x", "x, for the gradient of the weight", "none"))?;
        let inputs = x.shape.rows_and_columns().1;
        check_output("weight", output, outputs.saturating_mul(inputs))?;
        let left = Matrix::column_major(gradient.data, outputs);
        multiply(context, left, Weights::F32(x.data), [outputs, rows, inputs], output)?;
    }
    if let Some(output) = gradients.bias {
        check_output("bias", output, outputs)?;
        super::rows::sum_to(gradient, Shape::of([outputs]), output)?;
    }
    Ok(())
}

/// Rows and columns of one work item, and the depth of one block of products. Blocks of depth start at groups of 8-bit
/// weights.
const BLOCK_ROWS: usize = 128;
const BLOCK_COLUMNS: usize = 256;
const BLOCK_DEPTH: usize = 256;

/// Computes `left [rows, depth] · right [depth, columns]`; `sizes` are rows, depth and columns.
pub(crate) fn multiply(
    context: Context<'_>,
    left: Matrix<'_>,
    right: Weights<'_>,
    sizes @ [rows, depth, columns]: [usize; 3],
    output: &mut [f32],
) -> Result<()> {
    if rows == 0 || columns == 0 {
        return Ok(());
    }
    let lanes = context.level.tile_lanes();
    scratch::reserve(lanes * (BLOCK_DEPTH + BLOCK_ROWS))?;
    let work = operations([2, rows, depth, columns]);
    context.for_each_block(rows, [BLOCK_ROWS, BLOCK_COLUMNS], work, output, |output| {
        context.level.run(Block { left, right, sizes, output });
    });
    Ok(())
}

/// One work item.
struct Block<'a> {
    left: Matrix<'a>,
    right: Weights<'a>,
    sizes: [usize; 3],
    output: MatrixBlock<'a>,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let [_, depth, columns] = self.sizes;
        let lanes = VECTORS * S::LANES;
        let (rows, own) = (self.output.rows(), self.output.columns());
        let mut scratch = Scratch::take(lanes * (BLOCK_DEPTH + BLOCK_ROWS));
        let (panel, sums) = scratch.values().split_at_mut(lanes * BLOCK_DEPTH);
        let sums = &mut sums[..rows.len() * lanes];
        for column in own.clone().step_by(lanes) {
            let width = lanes.min(own.end - column);
            sums.fill(0.0);
            for first in (0..depth).step_by(BLOCK_DEPTH) {
                let count = BLOCK_DEPTH.min(depth - first);
                // Step 1: a panel [depth][lanes] of the right factor.
                for (row, panel) in (first..first + count).zip(panel.chunks_exact_mut(lanes)) {
                    read_row(simd, self.right, [row, columns, column], &mut panel[..width]);
                    panel[width..].fill(0.0);
                }
                // Step 2: its products with all rows.
                let stride = self.left.stride;
                let start = match self.left.order {
                    Order::RowMajor => rows.start * stride + first,
                    Order::ColumnMajor => first * stride + rows.start,
                };
                let left = Matrix { data: &self.left.data[start..], ..self.left };
                product::<S, ROWS, VECTORS>(simd, left, rows.len(), count, panel, sums, Accumulate::Add);
            }
            for (row, sums) in rows.clone().zip(sums.chunks_exact(lanes)) {
                self.output.row(row)[column - own.start..][..width].copy_from_slice(&sums[..width]);
            }
        }
    }
}

/// Reads part of row `row`, from column `first` on; rows have `columns` values.
#[inline(always)]
fn read_row<S: Simd>(simd: S, weights: Weights<'_>, [row, columns, first]: [usize; 3], output: &mut [f32]) {
    // 8 bits are read from the start of a group on.
    let before = if matches!(weights, Weights::Q8(_)) { first % GROUP } else { 0 };
    if before == 0 {
        return weights.widen_row(simd, row, columns, first, output);
    }
    let mut group = [0.0; 2 * GROUP];
    let len = before + output.len();
    weights.widen_row(simd, row, columns, first - before, &mut group[..len]);
    output.copy_from_slice(&group[before..len]);
}

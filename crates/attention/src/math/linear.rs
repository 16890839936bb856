//! `y = x Wᵀ + b`, with rows of x in SIMD lanes and the weights read where they lie.

use std::ops::Range;

use crate::context::rows::MatrixBlock;
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::activation::{self, Activation};
use crate::math::dot::dot;
use crate::math::elementwise;
use crate::math::pieces;
use crate::math::quantized::{self, Packed, Source};
use crate::math::random::RowDropout;
use crate::math::weight::{Weight, Weights};
use crate::scratch::{self, Scratch};
use crate::simd::{Accumulate, Kernel, Matrix, Simd, gather_columns, product};
use crate::sizes::{
    BLOCK_TILES, FEW_PROJECTION_ROWS, MAX_TILE_LANES, PROJECTION_COLUMNS, PROJECTION_TILE, SMALL_PROJECTION_COLUMNS,
};
use crate::tensor::{Tensor, check_output};

/// `torch.nn.functional.linear`: x `[…, in]`, weight `[out, in]`, bias `[out]` → `[…, out]`. Halves are widened, which
/// is exact; a product with a weight of 8 bits is described in [`quantized`].
///
/// # Errors
/// `SHAPE` if the inner sizes differ, the weight is not a matrix, or `output` has the wrong length; `MEMORY`.
pub fn linear<'a>(
    context: Context<'_>,
    x: Tensor<'_>,
    weight: impl Into<Weight<'a>>,
    bias: Option<Tensor<'_>>,
    output: &mut [f32],
) -> Result<()> {
    let weight = weight.into();
    let (rows, depth) = x.shape.rows_and_columns();
    let &[outputs, inputs] = weight.shape.dims() else {
        return Err(Error::shape("weight", "2 dimensions [out, in]", weight.shape));
    };
    if x.shape.rank() == 0 {
        return Err(Error::shape("x", "at least 1 dimension […, in]", x.shape));
    }
    if inputs != depth {
        return Err(Error::shape("weight", format!("[out, {depth}] to fit x {}", x.shape), weight.shape));
    }
    if let Some(bias) = bias
        && bias.shape.dims() != [outputs]
    {
        return Err(Error::shape("bias", format!("[{outputs}]"), bias.shape));
    }
    check_output("output", output, rows.saturating_mul(outputs))?;
    let bias = bias.map(|bias| bias.data);
    project_weights(
        context,
        x.data,
        [rows, depth, outputs],
        Projection::Given(weight.data),
        bias,
        Finish::default(),
        output,
    )
}

/// The matrix of a projection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Projection<'a> {
    Given(Weights<'a>),
    /// 32-bit floats of a layer, and a place for their pieces. WebAssembly has no unit that needs pieces.
    #[cfg(not(target_family = "wasm"))]
    Kept(&'a [f32], &'a pieces::KeptPieces),
    /// 8 bits, packed in advance.
    Packed(&'a Packed),
}

impl<'a> Projection<'a> {
    /// A matrix without elements.
    pub(crate) const NONE: Self = Self::Given(Weights::F32(&[]));

    /// Returns the rows, or `None` if they are packed.
    #[inline(always)]
    pub(crate) fn rows(self) -> Option<Weights<'a>> {
        match self {
            Self::Given(weights) => Some(weights),
            #[cfg(not(target_family = "wasm"))]
            Self::Kept(data, _) => Some(Weights::F32(data)),
            Self::Packed(_) => None,
        }
    }
}

/// Further steps for a product while it is in the cache, in this order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    pub(crate) activation: Option<Activation>,
    /// Multiplies the activation, `[rows, outputs]`.
    pub(crate) factor: Option<&'a [f32]>,
    pub(crate) dropout: Option<RowDropout<'a>>,
    /// Added to the product, `[rows, outputs]`.
    pub(crate) residual: Option<&'a [f32]>,
}

impl Finish<'_> {
    /// Applies the steps to part of an output row: of row `row` of `outputs` values, those from `first` on.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(&self, simd: S, [row, outputs, first]: [usize; 3], output: &mut [f32]) {
        let Finish { activation, factor, dropout, residual } = *self;
        if let Some(activation) = activation {
            activation::apply(simd, activation, output);
        }
        if let Some(factor) = factor {
            elementwise::multiply(simd, output, &factor[row * outputs + first..], 0.0);
        }
        if let Some(dropout) = dropout {
            dropout.apply(row, first, output);
        }
        if let Some(residual) = residual {
            elementwise::add(simd, output, &residual[row * outputs + first..]);
        }
    }
}

/// [`linear`] on slices that fit each other: `x [rows, depth]`, `weight [outputs, depth]` → `output [rows, outputs]`.
pub(crate) fn project(
    context: Context<'_>,
    x: &[f32],
    rows: usize,
    depth: usize,
    weight: &[f32],
    outputs: usize,
    bias: Option<&[f32]>,
    output: &mut [f32],
) -> Result<()> {
    project_and(context, x, rows, depth, weight, outputs, bias, Finish::default(), output)
}

/// [`project`], and what else is to be done to each row.
pub(crate) fn project_and(
    context: Context<'_>,
    x: &[f32],
    rows: usize,
    depth: usize,
    weight: &[f32],
    outputs: usize,
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    output: &mut [f32],
) -> Result<()> {
    project_weights(context, x, [rows, depth, outputs], Projection::Given(Weights::F32(weight)), bias, finish, output)
}

/// [`project_and`] for a matrix of any type; `sizes` are rows, depth and outputs.
pub(crate) fn project_weights(
    context: Context<'_>,
    x: &[f32],
    sizes: [usize; 3],
    weight: Projection<'_>,
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    output: &mut [f32],
) -> Result<()> {
    let (weight, kept) = match weight {
        Projection::Given(Weights::Q8(rows)) => {
            return quantized::project(context, x, sizes, Source::Rows(rows), bias, finish, output);
        }
        Projection::Packed(panels) => {
            return quantized::project(context, x, sizes, Source::Panels(panels), bias, finish, output);
        }
        Projection::Given(weight) => (weight, None),
        #[cfg(not(target_family = "wasm"))]
        Projection::Kept(data, kept) => (Weights::F32(data), Some(kept)),
    };
    let [rows, depth, outputs] = sizes;
    if rows == 0 || outputs == 0 {
        return Ok(());
    }
    let lanes = context.level.tile_lanes();
    let compute = |output: MatrixBlock<'_>, is_computed: bool| {
        let may_run_along_rows = !context.is_packed;
        context.level.run(Block { x, depth, weight, outputs, bias, finish, output, may_run_along_rows, is_computed });
    };
    if let Weights::F32(weight) = weight
        && pieces::project(context, x, sizes, (weight, kept), bias, output, &compute)?
    {
        return Ok(());
    }
    let block_rows = context.level.block_rows();
    // The block size does not affect results: each output is summed separately.
    let is_enough = context.is_enough(rows.div_ceil(block_rows));
    let output_block = if is_enough { PROJECTION_COLUMNS } else { SMALL_PROJECTION_COLUMNS };
    let tiles = if matches!(weight, Weights::F32(_)) { 1 } else { BLOCK_TILES };
    scratch::reserve(scratch_len([tiles, lanes], depth, output_block).max(depth))?;
    let operations = operations([2, rows, depth, outputs]);
    context.for_each_block(rows, [block_rows, output_block], operations, output, |output| compute(output, false));
    Ok(())
}

/// Rows of halves that are widened at a time: half of the L1 cache, which they share with a tile of x.
const WIDENED_ROWS: usize = 16;

/// Tiles of x, their sums of the columns, and widened rows of the weight.
fn scratch_len([tiles, lanes]: [usize; 2], depth: usize, columns: usize) -> usize {
    let depth_block = depth.min(PROJECTION_TILE / lanes);
    tiles * lanes * (depth_block + columns) + WIDENED_ROWS * depth_block
}

/// One work item: some rows of x against some output features.
struct Block<'a> {
    x: &'a [f32],
    depth: usize,
    weight: Weights<'a>,
    outputs: usize,
    bias: Option<&'a [f32]>,
    finish: Finish<'a>,
    output: MatrixBlock<'a>,
    /// True if the last rows may be summed in another order than rows of a full tile.
    may_run_along_rows: bool,
    /// True if the output holds the product, to which only further steps apply.
    is_computed: bool,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let lanes = VECTORS * S::LANES;
        let block = self.output.rows();
        // Whole tiles share the widened rows of a weight.
        let shared = if matches!(self.weight, Weights::F32(_)) { lanes } else { BLOCK_TILES * lanes };
        let mut rows = block.start..block.start;
        while rows.end < block.end {
            let rest = block.end - rows.end;
            rows = rows.end..rows.end + if rest < lanes { rest } else { shared.min(rest / lanes * lanes) };
            if !self.is_computed {
                self.multiply::<S, ROWS, VECTORS>(simd, rows.clone());
            }
            for row in rows.clone() {
                let first = self.output.columns().start;
                self.finish.apply(simd, [row, self.outputs, first], self.output.row(row));
            }
        }
    }
}

impl<'a> Block<'a> {
    fn x_row(&self, row: usize) -> &'a [f32] {
        &self.x[row * self.depth..][..self.depth]
    }

    /// Computes the product of at most [`BLOCK_TILES`] tiles of rows, of which only a single one may have fewer.
    #[inline(always)]
    fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S, rows: Range<usize>) {
        if rows.len() <= FEW_PROJECTION_ROWS && self.may_run_along_rows {
            self.along_rows(simd, rows);
        } else if S::HAS_HALF_TILES && rows.len() <= S::LANES && self.may_run_along_rows {
            self.in_lanes::<S, ROWS, 1>(simd, rows);
        } else {
            self.in_lanes::<S, ROWS, VECTORS>(simd, rows);
        }
    }

    #[inline(always)]
    fn along_rows<S: Simd>(&mut self, simd: S, rows: Range<usize>) {
        let columns = self.output.columns();
        // One row of halves is widened at a time.
        let mut scratch = Scratch::take(if matches!(self.weight, Weights::F32(_)) { 0 } else { self.depth });
        let widened = scratch.values();
        for column in columns.clone() {
            let weight = match self.weight {
                Weights::F32(weight) => &weight[column * self.depth..][..self.depth],
                weight => {
                    weight.widen_row(simd, column, self.depth, 0, widened);
                    &*widened
                }
            };
            let bias = self.bias.map_or(0.0, |bias| bias[column]);
            for row in rows.clone() {
                let x = self.x_row(row);
                self.output.row(row)[column - columns.start] = dot(simd, x, weight) + bias;
            }
        }
    }

    /// Computes tiles of `lanes` rows, of which the last may have fewer.
    #[inline(always)]
    fn in_lanes<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S, rows: Range<usize>) {
        let lanes = VECTORS * S::LANES;
        let columns = self.output.columns();
        let end = rows.end;
        let tiles = || rows.clone().step_by(lanes).map(move |first| first..end.min(first + lanes));
        let count = tiles().len();
        let mut scratch = Scratch::take(scratch_len([count, lanes], self.depth, columns.len()));
        let mut rest = scratch.values();
        let depth_block = PROJECTION_TILE / lanes;
        let x = scratch::take(&mut rest, count * lanes * self.depth.min(depth_block));
        let sums = scratch::take(&mut rest, count * lanes * columns.len());
        for (row, sums) in sums.chunks_exact_mut(lanes).enumerate() {
            sums.fill(self.bias.map_or(0.0, |bias| bias[columns.start + row % columns.len()]));
        }
        for first in (0..self.depth).step_by(depth_block) {
            let depth = depth_block.min(self.depth - first);
            let x = &mut x[..count * lanes * depth];
            for (rows, x) in tiles().zip(x.chunks_exact_mut(lanes * depth)) {
                if rows.len() < lanes {
                    // Lanes without a row are computed all the same: on zeros, never on what happens to lie there.
                    x.fill(0.0);
                }
                let starts = row_starts(rows.clone(), self.depth, first);
                gather_columns(simd, self.x, &starts[..rows.len()], depth, x, lanes);
            }
            for column in (0..columns.len()).step_by(WIDENED_ROWS) {
                let (width, stride, weight);
                if let Weights::F32(data) = self.weight {
                    (width, stride) = (columns.len(), self.depth);
                    weight = &data[columns.start * self.depth + first..];
                } else {
                    (width, stride) = (WIDENED_ROWS.min(columns.len() - column), depth);
                    for (row, widened) in rest[..width * depth].chunks_exact_mut(depth).enumerate() {
                        self.weight.widen_row(simd, columns.start + column + row, self.depth, first, widened);
                    }
                    weight = &*rest;
                }
                for (x, sums) in x.chunks_exact(lanes * depth).zip(sums.chunks_exact_mut(lanes * columns.len())) {
                    let sums = &mut sums[column * lanes..][..width * lanes];
                    let weight = Matrix::row_major(weight, stride);
                    product::<S, ROWS, VECTORS>(simd, weight, width, depth, x, sums, Accumulate::Add);
                }
                if column + width == columns.len() {
                    break;
                }
            }
        }
        for (rows, sums) in tiles().zip(sums.chunks_exact(lanes * columns.len())) {
            self.output.write_lanes(simd, rows, sums, lanes);
        }
    }
}

/// Returns the index of column `column` in each row, for rows of `width` columns.
fn row_starts(rows: Range<usize>, width: usize, column: usize) -> [usize; MAX_TILE_LANES] {
    let mut starts = [0; MAX_TILE_LANES];
    for (start, row) in starts.iter_mut().zip(rows) {
        *start = row * width + column;
    }
    starts
}

//! Products with weights of 8 bits by instructions that add two products of i16 at a time, which every level has.

use std::ops::Range;

use super::Source;
use super::groups::{group_of, halves_away, quantize_rows, scale_of_vectors, whole_group};
use super::packed::{PANEL, Packed, PanelGroup};
use crate::context::rows::MatrixBlock;
use crate::context::{Context, operations};
use crate::error::Result;
use crate::math::linear::Finish;
use crate::math::weight::Quantized;
use crate::simd::{Kernel, SIDE_BY_SIDE, Simd};
use crate::sizes::{GROUP, PROJECTION_COLUMNS, SMALL_PROJECTION_COLUMNS};

/// i32 values for one group of a quantized row: pairs of i16, and the bits of the scale.
const ROW_GROUP: usize = GROUP / 2 + 1;

/// Groups of a weight that are read at a time if it is not packed.
const PLAIN_GROUPS: usize = 64;

/// The maximum number of rows that share the weights in registers.
const MAX_ROWS: usize = 4;

/// Computes [`super::project`].
pub(super) fn project(
    context: Context<'_>,
    x: &[f32],
    [rows, depth, outputs]: [usize; 3],
    weight: Source<'_>,
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    output: &mut [f32],
) -> Result<()> {
    let groups = depth.div_ceil(GROUP);
    let quantized = quantize_rows(context, x, [rows, depth, groups * ROW_GROUP], |x, quantized| {
        context.level.run(QuantizeRows { x, depth, quantized });
    })?;
    let block_rows = context.level.block_rows();
    let columns =
        if context.is_enough(rows.div_ceil(block_rows)) { PROJECTION_COLUMNS } else { SMALL_PROJECTION_COLUMNS };
    let operations = operations([2, rows, depth, outputs]);
    context.for_each_block(rows, [block_rows, columns], operations, output, |output| {
        context.level.run(Block { x: &quantized, depth, outputs, weight, bias, finish, output });
    });
    Ok(())
}

/// Quantizes rows at a level, whose instruction set the compiler then uses.
struct QuantizeRows<'a> {
    x: &'a [f32],
    depth: usize,
    quantized: &'a mut [i32],
}

impl Kernel for QuantizeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let width = self.depth.div_ceil(GROUP) * ROW_GROUP;
        for (row, quantized) in self.x.chunks_exact(self.depth).zip(self.quantized.chunks_exact_mut(width)) {
            quantize_row(simd, row, quantized);
        }
    }
}

/// Quantizes one row: for each group its integers, as pairs, and the bits of its scale. NaN or infinity makes the scale
/// NaN or infinite, which spoils every output of this row, and of no other.
#[inline(always)]
fn quantize_row<S: Simd>(simd: S, row: &[f32], output: &mut [i32]) {
    for (group, output) in output.as_chunks_mut::<ROW_GROUP>().0.iter_mut().enumerate() {
        let mut padded = [0.0; GROUP];
        let values = whole_group(group_of(row, group), &mut padded);
        let (scale, inverse) = scale_of_vectors(simd, values);
        output[GROUP / 2] = scale.to_bits() as i32;
        if inverse == 0.0 {
            // All values are zero, or the scale makes NaN of zeros, which it would not of the integers of an infinity.
            output[..GROUP / 2].fill(0);
            continue;
        }
        for at in (0..GROUP).step_by(2 * S::LANES) {
            simd.store_pairs(&mut output[at / 2..], halves_away(simd, &values[at..], inverse));
        }
    }
}

/// One work item: some rows of x against some outputs.
struct Block<'a> {
    x: &'a [i32],
    depth: usize,
    outputs: usize,
    weight: Source<'a>,
    bias: Option<&'a [f32]>,
    finish: Finish<'a>,
    output: MatrixBlock<'a>,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let (rows, columns) = (self.output.rows(), self.output.columns());
        for panel in columns.start / PANEL..columns.end.div_ceil(PANEL) {
            let mut first = rows.start;
            while first < rows.end {
                // As even as possible: 13 rows are 4 + 3 + 3 + 3.
                let rest = rows.end - first;
                let end = first + rest.div_ceil(rest.div_ceil(MAX_ROWS));
                self.panel(simd, first..end, panel);
                first = end;
            }
        }
        for row in rows {
            self.finish.apply(simd, [row, self.outputs, columns.start], self.output.row(row));
        }
    }
}

impl Block<'_> {
    /// Computes a panel of outputs for at most [`MAX_ROWS`] rows.
    #[inline(always)]
    fn panel<S: Simd>(&mut self, simd: S, rows: Range<usize>, panel: usize) {
        let mut sums = [[0.0; PANEL]; MAX_ROWS];
        let sums = &mut sums[..rows.len()];
        let width = self.depth.div_ceil(GROUP) * ROW_GROUP;
        let x = &self.x[rows.start * width..rows.end * width];
        match self.weight {
            Source::Panels(packed) if S::LANES == PANEL => packed_panel::<S, 1>(simd, packed, panel, x, sums),
            Source::Panels(packed) => packed_panel::<S, 2>(simd, packed, panel, x, sums),
            Source::Rows(weight) => self.plain_rows(simd, weight, panel, x, sums),
        }
        self.output.write_tile(simd, rows, panel * PANEL..(panel + 1) * PANEL, sums, self.bias);
    }

    /// Reads the weight as it was given. The sums of a group are exact, so the results have the bits of packed weights.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn plain_rows<S: Simd>(&self, simd: S, weight: Quantized<'_>, panel: usize, x: &[i32], sums: &mut [[f32; PANEL]]) {
        let groups = self.depth.div_ceil(GROUP);
        if groups == 0 {
            return;
        }
        let first_output = panel * PANEL;
        let outputs = PANEL.min(self.outputs - first_output);
        let mut scales = [[0u16; PANEL]; PLAIN_GROUPS];
        let mut integers = [[0.0; PANEL]; PLAIN_GROUPS];
        // Some groups of four outputs at a time, so that each row of the weight is read in long pieces.
        for first in (0..groups).step_by(PLAIN_GROUPS) {
            let chunk = first..groups.min(first + PLAIN_GROUPS);
            for lane in 0..outputs {
                let bits = &weight.scales[(first_output + lane) * groups..][chunk.clone()];
                scales.iter_mut().zip(bits).for_each(|(scales, &bits)| scales[lane] = bits);
            }
            for (x, sums) in x.chunks_exact(groups * ROW_GROUP).zip(&mut *sums) {
                let x = &x[first * ROW_GROUP..chunk.end * ROW_GROUP];
                for lane in (0..outputs).step_by(SIDE_BY_SIDE) {
                    for (at, x) in x.chunks_exact(ROW_GROUP).enumerate() {
                        let group = first + at;
                        let size = GROUP.min(self.depth - group * GROUP);
                        let mut vectors = [simd.splat(0.0); SIDE_BY_SIDE];
                        for (n, vector) in vectors.iter_mut().enumerate().take(outputs - lane) {
                            let output = first_output + lane + n;
                            let row = &weight.values[output * self.depth + group * GROUP..][..size];
                            *vector = group_products(simd, row, x);
                        }
                        // Exact: the sum of a group has fewer than 24 bits.
                        integers[at][lane..lane + SIDE_BY_SIDE].copy_from_slice(&simd.reduce_sums(vectors));
                    }
                }
                for (group, x) in x.chunks_exact(ROW_GROUP).enumerate() {
                    let (integers, scales) = (&integers[group], &scales[group]);
                    let scale = simd.splat(f32::from_bits(x[GROUP / 2] as u32));
                    for at in (0..PANEL).step_by(S::LANES) {
                        let product = simd.load(&integers[at..]) * simd.load_f16(&scales[at..]);
                        let sum = simd.mul_add(product, scale, simd.load(&sums[at..]));
                        simd.store(&mut sums[at..], sum);
                    }
                }
            }
        }
    }
}

/// Returns lanes whose sum is the product of a group of weights, which may be shorter than [`GROUP`], and one of x.
#[inline(always)]
fn group_products<S: Simd>(simd: S, weights: &[i8], x: &[i32]) -> S::F {
    let mut padded = [0; GROUP];
    let weights = weights.first_chunk::<GROUP>().unwrap_or_else(|| {
        padded[..weights.len()].copy_from_slice(weights);
        &padded
    });
    let mut sum = simd.splat_int(0);
    for at in (0..GROUP / 2).step_by(S::LANES) {
        // SAFETY: a vector of pairs starting at pair `at` lies inside the group.
        let pairs = unsafe { simd.load_pairs(weights.as_ptr().add(2 * at)) };
        sum = simd.add_pairs(sum, pairs, simd.load_int(&x[at..GROUP / 2]));
    }
    simd.to_float(sum)
}

/// Computes a panel of packed weights for as many quantized rows as there are sums, `VECTORS` vectors of outputs at a
/// time.
#[inline(always)]
fn packed_panel<S: Simd, const VECTORS: usize>(
    simd: S,
    packed: &Packed,
    panel: usize,
    x: &[i32],
    sums: &mut [[f32; PANEL]],
) {
    match sums.len() {
        MAX_ROWS => packed_rows::<S, MAX_ROWS, VECTORS>(simd, packed, panel, x, sums),
        3 => packed_rows::<S, 3, VECTORS>(simd, packed, panel, x, sums),
        2 => packed_rows::<S, 2, VECTORS>(simd, packed, panel, x, sums),
        _ => packed_rows::<S, 1, VECTORS>(simd, packed, panel, x, sums),
    }
}

/// [`packed_panel`] for `ROWS` rows.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn packed_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    packed: &Packed,
    panel: usize,
    x: &[i32],
    sums: &mut [[f32; PANEL]],
) {
    let (x, _) = x.as_chunks::<ROW_GROUP>();
    let groups = x.len() / ROWS;
    for (group, weights) in packed.panel(panel, groups).iter().enumerate() {
        let mut rows = [&x[group]; ROWS];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = &x[r * groups + group];
        }
        for first in (0..PANEL).step_by(VECTORS * S::LANES) {
            add_group::<S, ROWS, VECTORS>(simd, weights, rows, first, sums);
        }
    }
}

/// Adds the products of one group to the sums of `VECTORS` vectors of outputs, from output `first` of the panel on.
#[inline(always)]
fn add_group<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    weights: &PanelGroup,
    rows: [&[i32; ROW_GROUP]; ROWS],
    first: usize,
    sums: &mut [[f32; PANEL]],
) {
    let mut integers = [[simd.splat_int(0); VECTORS]; ROWS];
    for pair in 0..GROUP / 2 {
        let mut vectors = [simd.splat_int(0); VECTORS];
        for (v, vector) in vectors.iter_mut().enumerate() {
            let at = (pair * PANEL + first + v * S::LANES) * 2;
            debug_assert!(at + 2 * S::LANES <= PANEL * GROUP);
            // SAFETY: the vector lies inside the group: `pair` is below GROUP / 2 and its lanes below PANEL.
            *vector = unsafe { simd.load_pairs(weights.values.as_ptr().cast::<i8>().add(at)) };
        }
        for (r, integers) in integers.iter_mut().enumerate() {
            let row = rows[r];
            let x = simd.splat_int(row[pair]);
            for (v, integer) in integers.iter_mut().enumerate() {
                *integer = simd.add_pairs(*integer, vectors[v], x);
            }
        }
    }
    for (r, integers) in integers.iter().enumerate() {
        let (sums, scale) = (&mut sums[r], simd.splat(f32::from_bits(rows[r][GROUP / 2] as u32)));
        for (v, &integer) in integers.iter().enumerate() {
            let at = first + v * S::LANES;
            let product = simd.to_float(integer) * simd.load(&weights.scales[at..]);
            let sum = simd.mul_add(product, scale, simd.load(&sums[at..]));
            simd.store(&mut sums[at..], sum);
        }
    }
}

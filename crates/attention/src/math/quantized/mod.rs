//! Products of rows with weights of 8 bits in groups of 32: integer products within a group, and groups added in f32.
//!
//! Each group of a row x has `d = max |x| / 127`, and its values become `round(x · (1/d))`, halves away from zero.
//! Output o is `Σ_g (Σ_k q_x[g,k] · q_w[o,g,k]) · d_w[o,g] · d_x[g]`. The integers stay below 32 · 127², so i32 cannot
//! overflow, and f32 represents each sum of a group exactly. The order of the operations depends on the depth alone: a
//! row has the same bits beside any other rows.

mod packed;
mod quads;

use std::ops::Range;

use bytemuck::Zeroable;

use crate::context::rows::MatrixBlock;
use crate::context::{Context, operations};
use crate::error::{Code, Error, Result};
use crate::math::decimal::Decimal;
use crate::math::linear::Finish;
use crate::math::weight::Quantized;
use crate::simd::{Kernel, Quads, SIDE_BY_SIDE, Simd, narrow_f16, widen_f16};
use crate::sizes::{GROUP, PROJECTION_COLUMNS, SMALL_PROJECTION_COLUMNS};
use crate::tensor::try_zeroed;

pub(crate) use packed::Packed;
use packed::{Order, PANEL, PanelGroup};

/// i32 values for one group of a quantized row: pairs of i16, and the bits of the scale.
const ROW_GROUP: usize = GROUP / 2 + 1;

/// Groups of a weight that are read at a time if it is not packed.
const PLAIN_GROUPS: usize = 64;

/// The maximum number of rows that share the weights in registers.
const MAX_ROWS: usize = 4;

/// The number of rows up to which packing a weight costs more than it saves.
const FEW_ROWS: usize = 8;

/// A weight of 8 bits, as it was given or packed for the kernel.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Rows(Quantized<'a>),
    Panels(&'a Packed),
}

/// Computes `x Wᵀ + b` and further steps for x `[rows, depth]` and a weight `[outputs, depth]`.
pub(crate) fn project(
    context: Context<'_>,
    x: &[f32],
    sizes: [usize; 3],
    weight: Source<'_>,
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    output: &mut [f32],
) -> Result<()> {
    let [rows, depth, outputs] = sizes;
    if rows == 0 || outputs == 0 {
        return Ok(());
    }
    let quads = Quads::of(context.level);
    let packed;
    let weight = match weight {
        Source::Rows(quantized) if rows > FEW_ROWS => {
            packed = Packed::new(quantized, outputs, depth, Order::of(quads))?;
            Source::Panels(&packed)
        }
        // Packed for the machine's best level, and the caller chose a lower one.
        Source::Panels(panels) if quads.is_none() && panels.order() == Order::Quads => {
            packed = panels.reordered(outputs, depth, Order::Pairs)?;
            Source::Panels(&packed)
        }
        other => other,
    };
    match (quads, weight) {
        (Some(quads), Source::Panels(packed)) if packed.order() == Order::Quads => {
            quads::project(context, quads, x, sizes, packed, bias, finish, output)
        }
        _ => project_pairs(context, x, sizes, weight, bias, finish, output),
    }
}

/// [`project`] by products of pairs of i16, which every level has.
fn project_pairs(
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
    let has_work = context.threads == 1 || rows.div_ceil(block_rows) >= 2 * context.threads;
    let columns = if has_work { PROJECTION_COLUMNS } else { SMALL_PROJECTION_COLUMNS };
    let operations = operations([2, rows, depth, outputs]);
    context.for_each_block(rows, [block_rows, columns], operations, output, |output| {
        context.level.run(Block { x: &quantized, depth, outputs, weight, bias, finish, output });
    });
    Ok(())
}

/// Quantizes rows of `depth` values to rows of `width` words, side by side.
fn quantize_rows<T: Zeroable + Send>(
    context: Context<'_>,
    x: &[f32],
    [rows, depth, width]: [usize; 3],
    quantize: impl Fn(&[f32], &mut [T]) + Sync,
) -> Result<Vec<T>> {
    let mut quantized = try_zeroed("working memory", rows.saturating_mul(width))?;
    if width > 0 {
        context.for_each_rows(rows, 64, operations([8, x.len()]), [&mut quantized[..]], |item, [quantized]| {
            quantize(&x[item.start * depth..item.end * depth], quantized);
        });
    }
    Ok(quantized)
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
    for (values, output) in row.chunks(GROUP).zip(output.as_chunks_mut::<ROW_GROUP>().0) {
        let mut padded = [0.0; GROUP];
        let values = whole_group(values, &mut padded);
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

/// Returns a group, or its copy padded with zeros if it is shorter.
#[inline(always)]
fn whole_group<'a>(values: &'a [f32], padded: &'a mut [f32; GROUP]) -> &'a [f32; GROUP] {
    values.first_chunk::<GROUP>().unwrap_or_else(|| {
        padded[..values.len()].copy_from_slice(values);
        padded
    })
}

/// [`scale_of`] in vectors. An infinity makes the scale NaN, which spoils the same outputs.
#[inline(always)]
fn scale_of_vectors<S: Simd>(simd: S, values: &[f32; GROUP]) -> (f32, f32) {
    let zero = simd.splat(0.0);
    let (mut largest, mut faults) = (zero, zero);
    for values in values.chunks_exact(S::LANES) {
        let value = simd.load(values);
        largest = simd.max(largest, simd.max(value, zero - value));
        // NaN for NaN, which a maximum ignores, and for infinities.
        faults = faults + value * 0.0;
    }
    let scale = (simd.reduce_max(largest) + simd.reduce_sum(faults)) / 127.0;
    (scale, inverse_of(scale))
}

/// Returns two vectors of values times the factor, plus what lets rounding toward zero round halves away from zero.
#[inline(always)]
fn halves_away<S: Simd>(simd: S, values: &[f32], inverse: f32) -> [S::F; 2] {
    let (down, up, zero) = (simd.splat(-HALF), simd.splat(HALF), simd.splat(0.0));
    let mut vectors: [S::F; 2] = simd.load_each(values);
    for value in &mut vectors {
        *value = *value * inverse;
        *value = *value + simd.select(simd.lt(*value, zero), down, up);
    }
    vectors
}

/// Returns the scale of a group and the factor of its values, which is 0 if the scale has no finite inverse.
#[inline(always)]
fn scale_of(values: &[f32]) -> (f32, f32) {
    // As integers, the bits of magnitudes are in their order, with NaN above all numbers.
    let largest = values.iter().fold(0, |largest: u32, value| largest.max(value.to_bits() & 0x7fff_ffff));
    let scale = f32::from_bits(largest) / 127.0;
    (scale, inverse_of(scale))
}

/// Returns the inverse of a scale; 0 if it is not finite.
#[inline(always)]
fn inverse_of(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The largest number below one half: with one half itself, the number before 0.5 would be rounded to 1.
const HALF: f32 = 0.499_999_97;

/// Rounds to an integer, halves away from zero.
#[inline(always)]
fn round(value: f32) -> i32 {
    (value + HALF.copysign(value)) as i32
}

/// Quantizes rows of `columns` weights, to the bit as GGUF's Q8_0: the integers, and the bits of the scales as f16.
///
/// # Errors
/// `DOMAIN` for NaN, and for values whose scale is beyond f16; `MEMORY`.
pub(crate) fn quantize(name: &str, weights: &[f32], columns: usize) -> Result<(Vec<i8>, Vec<u16>)> {
    let rows = weights.len().checked_div(columns).unwrap_or(0);
    let mut values = try_zeroed(name, weights.len())?;
    let mut scales = try_zeroed(name, rows * columns.div_ceil(GROUP))?;
    let rows = weights.chunks(columns.max(1)).zip(values.chunks_mut(columns.max(1)));
    for ((row, values), scales) in rows.zip(scales.chunks_mut(columns.div_ceil(GROUP).max(1))) {
        check_row(name, row)?;
        quantize_weights(row, values, scales);
    }
    Ok((values, scales))
}

/// Checks that f16 can hold the scales of a row; `name` is for errors.
///
/// # Errors
/// `DOMAIN` for NaN, and for values whose scale is beyond f16.
pub(crate) fn check_row(name: &str, row: &[f32]) -> Result<()> {
    for group in row.chunks(GROUP) {
        let (scale, _) = scale_of(group);
        if !widen_f16(narrow_f16(scale)).is_finite() {
            let expected = "numbers whose scale, the largest of a group divided by 127, fits f16";
            return Err(Error::new(Code::Domain, name, expected, Decimal::from(scale * 127.0)));
        }
    }
    Ok(())
}

/// Quantizes one row of weights.
pub(crate) fn quantize_weights(row: &[f32], values: &mut [i8], scales: &mut [u16]) {
    for ((group, values), bits) in row.chunks(GROUP).zip(values.chunks_mut(GROUP)).zip(scales) {
        let (scale, inverse) = scale_of(group);
        *bits = narrow_f16(scale);
        values.iter_mut().zip(group).for_each(|(to, &value)| *to = round(value * inverse) as i8);
    }
}

/// Replaces a row by the values that products with weights of 8 bits see.
pub(crate) fn round_row(row: &mut [f32]) {
    for values in row.chunks_mut(GROUP) {
        let (scale, inverse) = scale_of(values);
        values.iter_mut().for_each(|value| *value = round(*value * inverse) as f32 * scale);
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
        write_tile(simd, &mut self.output, rows, panel * PANEL..(panel + 1) * PANEL, sums, self.bias);
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
                    for ((group, x), integers) in chunk.clone().zip(x.chunks_exact(ROW_GROUP)).zip(&mut integers) {
                        let size = GROUP.min(self.depth - group * GROUP);
                        let mut vectors = [simd.splat(0.0); SIDE_BY_SIDE];
                        for (output, vector) in (first_output + lane..first_output + outputs).zip(&mut vectors) {
                            let row = &weight.values[output * self.depth + group * GROUP..][..size];
                            *vector = group_products(simd, row, x);
                        }
                        // Exact: the sum of a group has fewer than 24 bits.
                        integers[lane..lane + SIDE_BY_SIDE].copy_from_slice(&simd.reduce_sums(vectors));
                    }
                }
                for ((x, integers), scales) in x.chunks_exact(ROW_GROUP).zip(&integers).zip(&scales) {
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

/// Writes sums plus the bias to some rows and columns of a block; columns beyond the block are left out.
#[inline(always)]
fn write_tile<S: Simd, const WIDTH: usize>(
    simd: S,
    output: &mut MatrixBlock<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    sums: &[[f32; WIDTH]],
    bias: Option<&[f32]>,
) {
    let block = output.columns();
    let count = columns.end.min(block.end) - columns.start;
    let mut terms = [0.0; WIDTH];
    if let Some(bias) = bias {
        terms[..count].copy_from_slice(&bias[columns.start..][..count]);
    }
    for (row, sums) in rows.zip(sums) {
        let output = &mut output.row(row)[columns.start - block.start..][..count];
        let mut vectors = output.chunks_exact_mut(S::LANES);
        let mut at = 0;
        for output in &mut vectors {
            simd.store(output, simd.load(&sums[at..]) + simd.load(&terms[at..]));
            at += S::LANES;
        }
        let rest = vectors.into_remainder().iter_mut();
        rest.zip(sums[at..].iter().zip(&terms[at..])).for_each(|(to, (sum, term))| *to = sum + term);
    }
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
        for (integers, row) in integers.iter_mut().zip(rows) {
            let x = simd.splat_int(row[pair]);
            for (integer, &vector) in integers.iter_mut().zip(&vectors) {
                *integer = simd.add_pairs(*integer, vector, x);
            }
        }
    }
    for ((sums, integers), row) in sums.iter_mut().zip(&integers).zip(rows) {
        let scale = simd.splat(f32::from_bits(row[GROUP / 2] as u32));
        for (v, &integer) in integers.iter().enumerate() {
            let at = first + v * S::LANES;
            let product = simd.to_float(integer) * simd.load(&weights.scales[at..]);
            let sum = simd.mul_add(product, scale, simd.load(&sums[at..]));
            simd.store(&mut sums[at..], sum);
        }
    }
}

//! Products with weights of 8 bits by instructions that add four products of bytes at a time.
//!
//! If the instructions multiply unsigned by signed bytes, weights are stored plus [`QUAD_OFFSET`], and the sum of a
//! group starts at minus that offset times the sum of the group's integers of x. It also starts at the bits of [`BASE`],
//! so that it needs no conversion to a float. Results have the bits of the products of pairs.

use std::ops::Range;

use super::groups::{group_of, halves_away, quantize_rows, scale_of_vectors, whole_group};
use super::packed::{PANEL, Packed, PanelGroup};
use crate::context::rows::MatrixBlock;
use crate::context::{Context, operations};
use crate::error::Result;
use crate::math::linear::Finish;
use crate::scratch::{self, Scratch};
use crate::simd::amx::{ByteTiles, IntegerTile, SIDE, TileUnit};
use crate::simd::{Kernel, QUAD_OFFSET, Quads, Simd};
use crate::sizes::{GROUP, SMALL_PROJECTION_COLUMNS};

/// The maximum number of rows that share the weights in registers.
const MAX_ROWS: usize = 7;

/// Outputs of a tile: two panels, if vectors hold a whole one.
const WIDTH: usize = 2 * PANEL;

/// 1.5 · 2²³: a float whose bits plus an integer below 2²² are those of the float plus the integer.
const BASE: f32 = 12_582_912.0;

/// Words of one group of a quantized row: its integers, four to a word, the bits of [`BASE`] less [`QUAD_OFFSET`] times
/// their sum, and the scale. They are kept as floats of any bits.
const ROW_GROUP: usize = GROUP / 4 + 2;
const START: usize = GROUP / 4;
const SCALE: usize = START + 1;

/// Computes [`super::project`] for weights packed in fours.
pub(super) fn project(
    context: Context<'_>,
    quads: Quads,
    x: &[f32],
    [rows, depth, outputs]: [usize; 3],
    packed: &Packed,
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    output: &mut [f32],
) -> Result<()> {
    let width = depth.div_ceil(GROUP) * ROW_GROUP;
    let block_rows = context.level.block_rows();
    let quantized;
    // With rows enough for all threads, each item quantizes its own, which then are in the cache.
    let (columns, rows_of_x) = if context.is_enough(rows.div_ceil(block_rows)) {
        scratch::reserve(block_rows.min(rows) * width)?;
        (outputs, Rows::Floats(x))
    } else {
        quantized = quantize_rows(context, x, [rows, depth, width], |x, quantized| {
            quads.run(QuantizeRows { x, depth, quantized });
        })?;
        (SMALL_PROJECTION_COLUMNS, Rows::Quantized(&quantized))
    };
    let operations = operations([2, rows, depth, outputs]);
    context.for_each_block(rows, [block_rows, columns], operations, output, |output| {
        let tile_unit = context.tile_unit;
        quads.run(Block { x: rows_of_x, depth, outputs, packed, bias, finish, tile_unit, output });
    });
    Ok(())
}

/// Rows of x.
#[derive(Clone, Copy)]
enum Rows<'a> {
    Floats(&'a [f32]),
    Quantized(&'a [f32]),
}

/// Quantizes rows of `depth` values.
struct QuantizeRows<'a> {
    x: &'a [f32],
    depth: usize,
    quantized: &'a mut [f32],
}

impl Kernel for QuantizeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { x, depth, quantized } = self;
        let width = depth.div_ceil(GROUP) * ROW_GROUP;
        for (row, quantized) in x.chunks_exact(depth).zip(quantized.chunks_exact_mut(width)) {
            for (group, to) in quantized.as_chunks_mut::<ROW_GROUP>().0.iter_mut().enumerate() {
                let mut padded = [0.0; GROUP];
                let values = whole_group(group_of(row, group), &mut padded);
                let (scale, inverse) = scale_of_vectors(simd, values);
                let mut sum = 0;
                if inverse == 0.0 {
                    to[..START].fill(0.0);
                } else {
                    for at in (0..GROUP).step_by(2 * S::LANES) {
                        sum += simd.store_quads(&mut to[at / 4..], halves_away(simd, &values[at..], inverse));
                    }
                }
                to[START] = f32::from_bits((BASE.to_bits() as i32 - i32::from(QUAD_OFFSET) * sum) as u32);
                to[SCALE] = scale;
            }
        }
    }
}

/// One work item: some rows of x against some outputs.
struct Block<'a> {
    x: Rows<'a>,
    depth: usize,
    outputs: usize,
    packed: &'a Packed,
    bias: Option<&'a [f32]>,
    finish: Finish<'a>,
    /// Computes 16 rows at a time, as vectors would, bit by bit.
    tile_unit: Option<TileUnit>,
    output: MatrixBlock<'a>,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let (rows, columns) = (self.output.rows(), self.output.columns());
        let width = self.depth.div_ceil(GROUP) * ROW_GROUP;
        let mut scratch;
        let x = match self.x {
            Rows::Quantized(x) => &x[rows.start * width..rows.end * width],
            Rows::Floats(x) => {
                scratch = Scratch::take(rows.len() * width);
                if width > 0 {
                    let x = &x[rows.start * self.depth..rows.end * self.depth];
                    QuantizeRows { x, depth: self.depth, quantized: scratch.values() }.run::<S, ROWS, VECTORS>(simd);
                }
                &*scratch.values()
            }
        };
        let (x, _) = x.as_chunks::<ROW_GROUP>();
        let groups = x.len() / rows.len();
        let max_rows = if S::LANES == PANEL { MAX_ROWS } else { 4 };
        let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
        let beside = if S::LANES == PANEL { 2 } else { 1 };
        let mut tiles = self.tile_unit.filter(|_| rows.len() >= SIDE).map(TileUnit::byte_tiles);
        for panel in panels.clone().step_by(beside) {
            let count = beside.min(panels.end - panel);
            let mut first = rows.start;
            if let Some(tiles) = &mut tiles {
                while rows.end - first >= SIDE {
                    let x = &x[(first - rows.start) * groups..][..SIDE * groups];
                    self.tile_of_bytes(simd, tiles, x, first..first + SIDE, panel..panel + count);
                    first += SIDE;
                }
            }
            while first < rows.end {
                let rest = rows.end - first;
                let height = if !cfg!(target_family = "wasm") {
                    // As even as possible: 13 rows are 7 + 6.
                    rest.div_ceil(rest.div_ceil(max_rows))
                } else if rest < max_rows {
                    // Fewer numbers of rows make a smaller module.
                    1
                } else {
                    max_rows
                };
                let end = first + height;
                let x = &x[(first - rows.start) * groups..(end - rows.start) * groups];
                self.tile(simd, x, first..end, panel..panel + count);
                first = end;
            }
        }
        for row in rows {
            self.finish.apply(simd, [row, self.outputs, columns.start], self.output.row(row));
        }
    }
}

impl Block<'_> {
    /// Computes one or two panels of outputs for at most [`MAX_ROWS`] rows.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, x: &[[f32; ROW_GROUP]], rows: Range<usize>, panels: Range<usize>) {
        let mut sums = [[0.0; WIDTH]; MAX_ROWS];
        let sums = &mut sums[..rows.len()];
        let groups = x.len() / rows.len();
        let first = self.packed.panel(panels.start, groups);
        let last = self.packed.panel(panels.end - 1, groups);
        if S::LANES < PANEL {
            for lane in (0..PANEL).step_by(2 * S::LANES) {
                multiply::<S, 2>(simd, [first; 2], lane, x, sums);
            }
        } else if panels.len() == 2 {
            multiply::<S, 2>(simd, [first, last], 0, x, sums);
        } else {
            multiply::<S, 1>(simd, [first], 0, x, sums);
        }
        self.output.write_tile(simd, rows, panels.start * PANEL..panels.end * PANEL, sums, self.bias);
    }
}

impl Block<'_> {
    /// Computes one or two panels of outputs for [`SIDE`] rows by a unit for tiles.
    #[inline(always)]
    fn tile_of_bytes<S: Simd>(
        &mut self,
        simd: S,
        tiles: &mut ByteTiles,
        x: &[[f32; ROW_GROUP]],
        rows: Range<usize>,
        panels: Range<usize>,
    ) {
        let mut sums = [[0.0; WIDTH]; SIDE];
        let mut integers = [IntegerTile::ZERO; BATCH];
        let groups = x.len() / SIDE;
        for (panel, place) in panels.clone().zip((0..WIDTH).step_by(PANEL)) {
            let panel = self.packed.panel(panel, groups);
            let whole = groups / BATCH * BATCH;
            for first in (0..whole).step_by(BATCH) {
                add_groups::<S, BATCH>(simd, tiles, x, panel, first, place, &mut integers, &mut sums);
            }
            for first in whole..groups {
                add_groups::<S, 1>(simd, tiles, x, panel, first, place, &mut integers, &mut sums);
            }
        }
        self.output.write_tile(simd, rows, panels.start * PANEL..panels.end * PANEL, &sums, self.bias);
    }
}

/// Groups whose tiles are multiplied before vectors scale and add them.
const BATCH: usize = 4;

/// Adds the products of some groups of [`SIDE`] rows and a panel, whose outputs start at `place`; `integers` is working
/// memory.
#[inline(always)]
fn add_groups<S: Simd, const COUNT: usize>(
    simd: S,
    tiles: &mut ByteTiles,
    x: &[[f32; ROW_GROUP]],
    panel: &[PanelGroup],
    first: usize,
    place: usize,
    integers: &mut [IntegerTile; BATCH],
    sums: &mut [[f32; WIDTH]; SIDE],
) {
    let groups = panel.len();
    let integers = &mut integers[..COUNT];
    for (index, integers) in integers.iter_mut().enumerate() {
        let group = first + index;
        tiles.multiply(x[group..].as_flattened(), groups * ROW_GROUP, &panel[group].values, integers);
    }
    for lane in (0..PANEL).step_by(S::LANES) {
        let mut scales = [simd.splat(0.0); COUNT];
        for (index, scales) in scales.iter_mut().enumerate() {
            *scales = simd.load(&panel[first + index].scales[lane..]);
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let sums = &mut sums[place + lane..];
            let mut total = simd.load(sums);
            for (index, integers) in integers.iter().enumerate() {
                let x = &x[row * groups + first + index];
                // Exact: all three are integers below 2²⁴.
                let sum = simd.to_float(simd.load_int(&integers.0[row * SIDE + lane..])) + (x[START] - BASE);
                total = simd.mul_add(sum * scales[index], simd.splat(x[SCALE]), total);
            }
            simd.store(sums, total);
        }
    }
}

/// Computes `VECTORS` vectors of outputs, the first of which starts at `lane` of a panel, for as many rows as there are
/// sums. Vectors narrower than a panel belong to the same one.
#[inline(always)]
fn multiply<S: Simd, const VECTORS: usize>(
    simd: S,
    panels: [&[PanelGroup]; VECTORS],
    lane: usize,
    x: &[[f32; ROW_GROUP]],
    sums: &mut [[f32; WIDTH]],
) {
    match sums.len() {
        7 if S::LANES == PANEL => multiply_rows::<S, 7, VECTORS>(simd, panels, lane, x, sums),
        6 if S::LANES == PANEL => multiply_rows::<S, 6, VECTORS>(simd, panels, lane, x, sums),
        5 if S::LANES == PANEL => multiply_rows::<S, 5, VECTORS>(simd, panels, lane, x, sums),
        4 => multiply_rows::<S, 4, VECTORS>(simd, panels, lane, x, sums),
        3 if !cfg!(target_family = "wasm") => multiply_rows::<S, 3, VECTORS>(simd, panels, lane, x, sums),
        2 if !cfg!(target_family = "wasm") => multiply_rows::<S, 2, VECTORS>(simd, panels, lane, x, sums),
        _ => multiply_rows::<S, 1, VECTORS>(simd, panels, lane, x, sums),
    }
}

/// [`multiply`] for `ROWS` rows.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn multiply_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    panels: [&[PanelGroup]; VECTORS],
    lane: usize,
    x: &[[f32; ROW_GROUP]],
    sums: &mut [[f32; WIDTH]],
) {
    let groups = panels[0].len();
    assert!(x.len() >= ROWS * groups && sums.len() >= ROWS);
    let mut totals = [[simd.splat(0.0); VECTORS]; ROWS];
    for group in 0..groups {
        let mut weights = [&panels[0][group]; VECTORS];
        for (v, weights) in weights.iter_mut().enumerate() {
            let panel = panels[v];
            *weights = &panel[group];
        }
        // SAFETY: there are `groups` groups for each row.
        let row = |r: usize| unsafe { x.get_unchecked(r * groups + group) };
        let mut integers = [[simd.splat_int(0); VECTORS]; ROWS];
        for (r, integers) in integers.iter_mut().enumerate() {
            *integers = [simd.splat_int(row(r)[START].to_bits() as i32); VECTORS];
        }
        let lane_of = |v: usize| (lane + v * S::LANES) % PANEL;
        for quad in 0..GROUP / 4 {
            let mut vectors = [simd.splat_int(0); VECTORS];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = simd.load_int(&weights[v].values[quad * PANEL + lane_of(v)..]);
            }
            for (r, integers) in integers.iter_mut().enumerate() {
                let x = simd.splat_int(row(r)[quad].to_bits() as i32);
                for (v, integer) in integers.iter_mut().enumerate() {
                    // SAFETY: `Quads` runs the kernel.
                    *integer = unsafe { simd.add_quads(*integer, vectors[v], x) };
                }
            }
        }
        for v in 0..VECTORS {
            let scales = simd.load(&weights[v].scales[lane_of(v)..]);
            // Exact: a scale has 11 bits, and `BASE` has two. So is the fused product.
            let base = scales * -BASE;
            for (r, totals) in totals.iter_mut().enumerate() {
                let product = simd.mul_add(simd.with_bits(integers[r][v]), scales, base);
                totals[v] = simd.mul_add(product, simd.splat(row(r)[SCALE]), totals[v]);
            }
        }
    }
    for (r, totals) in totals.iter().enumerate() {
        for (v, &total) in totals.iter().enumerate() {
            simd.store(&mut sums[r][lane + v * S::LANES..], total);
        }
    }
}

//! The forward pass: what the work items are, what they write, and how parts of the keys come together again.
//!
//! An item is one key/value head and a block of its query rows, the rows of grouped heads side by side. Enough rows run in
//! tiles (`tiled`), a few along their length (`decode`); few rows before many keys are several items, each with a fixed part
//! of the keys, so that the result does not depend on how many threads there are.

use std::ops::Range;

use crate::attention::emit::Statistics;
use crate::attention::{Problem, decode, tiled};
use crate::context::{Context, Partition, Section, SharedMut, operations};
use crate::error::Result;
use crate::scratch;
use crate::tensor::try_zeroed;

/// Keys of one part where few rows are before many.
const PART_KEYS: usize = 4096;

/// Computes the output, the log-sum-exp where it is asked for, and the statistics where they have room.
pub(super) fn run(
    context: Context<'_>,
    problem: &Problem<'_>,
    output: &mut [f32],
    log_sum_exp: Option<&mut [f32]>,
    statistics: &mut Statistics,
) -> Result<()> {
    let rows = problem.group() * problem.queries;
    if rows == 0 || problem.batch == 0 {
        return Ok(());
    }
    let heads = problem.batch * problem.kv_heads;
    // A section decides as its whole call does, so that both have the same bits.
    let whole = problem.section.unwrap_or(Section { rows, heads, head: 0, first: [0; 3] });
    let lanes = context.level.tile_lanes();
    // What the second pass computes has to be what the maximum was taken of, to the last bit.
    let has_statistics = !statistics.is_empty();
    let is_flat = problem.ball.is_none();
    let along_rows = whole.rows <= FEW_ROWS && !has_statistics && is_flat;
    let rows_an_item = if along_rows { rows } else { context.level.block_rows() };
    let scratch_len = if along_rows { decode::scratch_len(problem, rows) } else { tiled::scratch_len(problem, lanes) };
    scratch::reserve(scratch_len)?;
    let blocks = rows.div_ceil(rows_an_item);
    let part_count = if whole.rows <= lanes && is_flat { problem.keys.div_ceil(PART_KEYS).max(1) } else { 1 };
    let mut parts = Parts::new(problem, if part_count > 1 { heads * part_count * rows } else { 0 })?;
    let shared_parts = parts.share();
    let results = Results {
        output: SharedMut::new(output),
        log_sum_exp: log_sum_exp.map(SharedMut::new),
        max: SharedMut::new(&mut statistics.max),
        sum: SharedMut::new(&mut statistics.sum),
        has_statistics,
        parts: (part_count > 1).then_some(shared_parts),
    };
    let item = |head: usize, rows: Range<usize>, part: usize| Item {
        problem,
        results: &results,
        b: head / problem.kv_heads,
        kv_head: head % problem.kv_heads,
        rows,
        keys: if part_count > 1 { part * PART_KEYS..(part + 1) * PART_KEYS } else { 0..problem.keys },
        first_part_row: (head * part_count + part) * problem.group() * problem.queries,
        scratch_len,
    };
    // If items depend on each other the call cannot be split: part 0 does everything.
    let partition = match context.partition {
        partition if part_count == 1 => partition,
        Partition { index: 0, .. } => Partition::WHOLE,
        _ => return Ok(()),
    };
    let whole_blocks = whole.rows.div_ceil(rows_an_item);
    let has_blocks = whole_blocks >= partition.count;
    context.for_each(heads * blocks * part_count, problem.operations(), |index| {
        let (part, index) = (index % part_count, index / part_count);
        // Later blocks see more keys when causal: the heaviest items first, so that no thread is left with one at the end.
        let (block, head) = (blocks - 1 - index / heads, index % heads);
        let whole_block = whole.first[2] * problem.group() / rows_an_item + block;
        let whole_item = (whole_blocks - 1 - whole_block) * whole.heads + whole.head + head;
        if !partition.owns(if has_blocks { whole_block } else { whole_item }) {
            return;
        }
        let item = item(head, block * rows_an_item..rows.min((block + 1) * rows_an_item), part);
        if along_rows {
            context.level.run(decode::Decode(item));
        } else {
            context.level.run(tiled::Tiled(item));
        }
    });
    if part_count > 1 {
        context.for_each(heads, operations([heads, part_count, rows, problem.value_dim]), |head| {
            item(head, 0..rows, 0).join_parts(part_count);
        });
    }
    Ok(())
}

/// Rows that run faster along their length than in the lanes of a tile, most of which they leave empty.
const FEW_ROWS: usize = 8;

/// What the items of one row's key parts leave for each other: sums that are not yet divided, maxima, sums of exponentials.
struct Parts {
    output: Vec<f32>,
    max: Vec<f32>,
    sum: Vec<f32>,
}

struct SharedParts<'a> {
    output: SharedMut<'a, f32>,
    max: SharedMut<'a, f32>,
    sum: SharedMut<'a, f32>,
}

impl Parts {
    fn new(problem: &Problem<'_>, rows: usize) -> Result<Self> {
        let what = "working memory";
        Ok(Self {
            output: try_zeroed(what, rows * problem.value_dim)?,
            max: try_zeroed(what, rows)?,
            sum: try_zeroed(what, rows)?,
        })
    }

    fn share(&mut self) -> SharedParts<'_> {
        SharedParts {
            output: SharedMut::new(&mut self.output),
            max: SharedMut::new(&mut self.max),
            sum: SharedMut::new(&mut self.sum),
        }
    }
}

/// Where the items write.
pub(super) struct Results<'a> {
    output: SharedMut<'a, f32>,
    log_sum_exp: Option<SharedMut<'a, f32>>,
    max: SharedMut<'a, f32>,
    sum: SharedMut<'a, f32>,
    has_statistics: bool,
    parts: Option<SharedParts<'a>>,
}

/// One work item.
pub(super) struct Item<'a> {
    pub problem: &'a Problem<'a>,
    results: &'a Results<'a>,
    pub b: usize,
    pub kv_head: usize,
    /// Rows of the key/value head: row r is query r / group of the group's head r mod group.
    pub rows: Range<usize>,
    /// The keys that this item looks at.
    pub keys: Range<usize>,
    /// Where row 0 of the head's part stands among all parts' rows.
    first_part_row: usize,
    pub scratch_len: usize,
}

impl<'a> Item<'a> {
    /// (b, h, i) of a row.
    pub(super) fn row(&self, row: usize) -> [usize; 3] {
        let group = self.problem.group();
        [self.b, self.kv_head * group + row % group, row / group]
    }

    /// The keys of this item that lie between those that a row sees.
    pub(super) fn visible_keys(&self, b: usize, i: usize) -> Range<usize> {
        let (start, end) = self.problem.visibility.range(b, i);
        start.max(self.keys.start)..end.min(self.keys.end)
    }

    /// The output, or that of the parts, and where the row begins in it.
    pub(super) fn output_row(&self, row: usize) -> (&'a SharedMut<'a, f32>, usize) {
        match &self.results.parts {
            Some(parts) => (&parts.output, (self.first_part_row + row) * self.problem.value_dim),
            None => {
                let [b, h, i] = self.row(row);
                (&self.results.output, self.problem.output_strides.row(b, h, i))
            }
        }
    }

    /// What a row's sums have to be multiplied with before they are written.
    pub(super) fn output_scale(&self, sum: f32) -> f32 {
        if self.results.parts.is_some() { 1.0 } else { reciprocal(sum) }
    }

    /// Writes a row's maximum and sum of exponentials, be it of a part or of all keys.
    pub(super) fn write_statistics(&self, row: usize, max: f32, sum: f32) {
        match &self.results.parts {
            Some(parts) => {
                let index = self.first_part_row + row;
                // SAFETY: each part's row belongs to one item.
                unsafe { (parts.max.slice(index, 1)[0], parts.sum.slice(index, 1)[0]) = (max, sum) };
            }
            None => self.write_final_statistics(row, max, sum),
        }
    }

    fn write_final_statistics(&self, row: usize, max: f32, sum: f32) {
        let [b, h, i] = self.row(row);
        let index = (b * self.problem.heads + h) * self.problem.queries + i;
        if let Some(log_sum_exp) = &self.results.log_sum_exp {
            // A row without a visible key sums to 0, and the logarithm of 0 is −∞.
            let value = if sum == 0.0 { f32::NEG_INFINITY } else { max + sum.ln() };
            // SAFETY: each row belongs to one item.
            unsafe { log_sum_exp.slice(index, 1)[0] = value };
        }
        if self.results.has_statistics {
            // SAFETY: each row belongs to one item.
            unsafe { (self.results.max.slice(index, 1)[0], self.results.sum.slice(index, 1)[0]) = (max, sum) };
        }
    }

    /// Joins the parts of each row: each counts by the exponential of its maximum, relative to the largest.
    fn join_parts(&self, part_count: usize) {
        let Some(parts) = &self.results.parts else { return };
        let value_dim = self.problem.value_dim;
        let rows_of_head = self.rows.len();
        for row in self.rows.clone() {
            let index = |part: usize| self.first_part_row + part * rows_of_head + row;
            // SAFETY: the items that wrote the parts have ended; from here on they are only read.
            let statistics = |part| unsafe { (parts.max.slice(index(part), 1)[0], parts.sum.slice(index(part), 1)[0]) };
            let max = (0..part_count).fold(f32::MIN, |max, part| max.max(statistics(part).0));
            let share = |part| (statistics(part).0 - max).exp();
            let sum: f32 = (0..part_count).map(|part| share(part) * statistics(part).1).sum();
            let [b, h, i] = self.row(row);
            // SAFETY: each row belongs to one item.
            let output = unsafe { self.results.output.slice(self.problem.output_strides.row(b, h, i), value_dim) };
            output.fill(0.0);
            for part in 0..part_count {
                let factor = share(part) * reciprocal(sum);
                // SAFETY: as for the statistics.
                let sums = unsafe { parts.output.slice(index(part) * value_dim, value_dim) };
                // A part without a visible key adds nothing.
                if statistics(part).1 != 0.0 {
                    output.iter_mut().zip(sums).for_each(|(output, sum)| *output += *sum * factor);
                }
            }
            self.write_final_statistics(row, max, sum);
        }
    }
}

/// The reciprocal of a row's sum; 0 for a row without a visible key.
pub(super) fn reciprocal(sum: f32) -> f32 {
    if sum == 0.0 { 0.0 } else { 1.0 / sum }
}

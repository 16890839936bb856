//! The forward pass: its work items, their destinations, and the merging of key parts.
//!
//! An item is a block of query rows of one key/value head, with the rows of grouped heads side by side. Many rows run
//! in tiles (`tiled`), a few rows run along their length (`decode`). A few rows facing many keys are split into several
//! items, each with a fixed part of the keys, so that the result does not depend on the number of threads.

use std::ops::Range;

use crate::attention::bias::{LaneBias, LaneRows};
use crate::attention::packed::Sequences;
use crate::attention::second_pass::Statistics;
use crate::attention::{Problem, decode, tile_products, tiled};
use crate::context::rows::{Blocks, ItemRows, OwnRows, RowLayout, Rows};
use crate::context::{Context, Partition, Section, operations};
use crate::error::Result;
use crate::math::sum::total;
use crate::scratch;
use crate::simd::amx::TileUnit;
use crate::simd::{Level, Simd};
use crate::sizes::{FEW_ROWS, PART_KEYS};
use crate::tensor::try_zeroed;

/// Computes the output, the log-sum-exp if requested, and the row statistics if `statistics` is not empty.
pub(super) fn run(
    context: Context<'_>,
    problem: &Problem<'_>,
    output: &mut [f32],
    log_sum_exp: Option<&mut [f32]>,
    moments: Option<&mut [f32]>,
    statistics: &mut Statistics,
) -> Result<()> {
    let rows = problem.group() * problem.queries;
    if rows == 0 || problem.batch == 0 {
        return Ok(());
    }
    let heads = problem.batch * problem.kv_heads;
    // A section makes the same choices as its whole call, so that both produce the same bits.
    let whole = problem.section.unwrap_or(Section { rows, heads, head: 0, first: [0; 3] });
    // The second pass must reproduce, bit for bit, the scores whose maximum was recorded.
    let has_statistics = !statistics.is_empty();
    let mut pass = Pass {
        context,
        may_run_along_rows: problem.ball.is_none() && !has_statistics,
        tile_unit: context.tile_unit.filter(|_| !has_statistics),
        scratch_len: 0,
        lane_bias: None,
    };
    let along_rows = pass.runs_along_rows(whole.rows);
    if problem.visibility.sequences.is_none() && along_rows {
        pass.scratch_len = decode::scratch_len(problem, rows);
    } else {
        let lanes = context.level.tile_lanes();
        let has_unit = pass.tile_unit.is_some_and(|unit| tile_products::pays(unit, problem, rows));
        pass.scratch_len = tiled::scratch_len(problem, lanes, has_unit).max(decode::scratch_len(problem, FEW_ROWS));
        pass.lane_bias = LaneBias::new(problem, problem.group())?;
    }
    scratch::reserve(pass.scratch_len)?;
    if let Some(sequences) = problem.visibility.sequences {
        // A call of packed sequences cannot be split: part 0 does everything.
        return match context.partition.index {
            0 => pass.run_sequences(problem, sequences, output, log_sum_exp, statistics),
            _ => Ok(()),
        };
    }
    let rows_per_item = if along_rows { rows } else { context.level.block_rows() };
    let parts = pass.key_parts(problem, whole.rows);
    // If items depend on each other the call cannot be split: part 0 does everything.
    let partition = match context.partition {
        partition if parts == 1 => partition,
        Partition { index: 0, .. } => Partition::WHOLE,
        _ => return Ok(()),
    };
    let final_rows = final_rows(problem, output, log_sum_exp, moments, statistics);
    if parts > 1 {
        return pass.run_parts(problem, parts, 0, final_rows);
    }
    let whole_blocks = whole.rows.div_ceil(rows_per_item);
    let has_blocks = whole_blocks >= partition.count;
    let first_block = whole.first[2] * problem.group() / rows_per_item;
    let sizes = [heads, rows, rows_per_item];
    context.for_each_head_rows(sizes, problem.operations(), final_rows, None, |ItemRows { head, rows }, outputs, _| {
        let whole_block = first_block + rows.start / rows_per_item;
        let whole_item = (whole_blocks - 1 - whole_block) * whole.heads + whole.head + head;
        if partition.owns(if has_blocks { whole_block } else { whole_item }) {
            pass.run_item(problem, head, rows, 0..problem.keys, Targets::whole(outputs, 0));
        }
    });
    Ok(())
}

/// Choices that all items of one call share.
struct Pass<'a> {
    context: Context<'a>,
    /// True if a few rows may run along their length.
    may_run_along_rows: bool,
    /// Computes products of tiles where it pays.
    tile_unit: Option<TileUnit>,
    /// The memory of the largest item.
    scratch_len: usize,
    lane_bias: Option<LaneBias>,
}

impl Pass<'_> {
    /// Returns true if a key/value head with this many rows runs along their length.
    fn runs_along_rows(&self, rows: usize) -> bool {
        self.may_run_along_rows && rows <= FEW_ROWS
    }

    /// Returns the number of parts of the keys that a key/value head with this many rows is split into.
    fn key_parts(&self, problem: &Problem<'_>, rows: usize) -> usize {
        let may_split = rows <= self.context.level.tile_lanes() && problem.ball.is_none();
        if may_split { problem.keys.div_ceil(PART_KEYS).max(1) } else { 1 }
    }

    /// Runs one item.
    fn run_item(
        &self,
        problem: &Problem<'_>,
        head: usize,
        rows: Range<usize>,
        keys: Range<usize>,
        targets: Targets<'_>,
    ) {
        let Self { context, scratch_len, .. } = *self;
        // A section makes the choice of its whole call.
        let all_rows = problem.section.map_or(problem.group() * problem.queries, |whole| whole.rows);
        let unit = self.tile_unit.filter(|&unit| tile_products::pays(unit, problem, rows.len()));
        let level = context.level;
        let item = Item { level, problem, head, rows, keys, scratch_len, lane_bias: self.lane_bias.as_ref() };
        if self.runs_along_rows(all_rows) {
            level.run(decode::Decode(item, targets));
        } else if let Some(unit) = unit {
            unit.run(|unit| level.run(tiled::Tiled(item, targets, Some(unit))));
        } else {
            level.run(tiled::Tiled(item, targets, None));
        }
    }

    /// Runs a call of packed sequences. Every choice depends on the shape of a sequence alone, so that its results do
    /// not depend on the other sequences.
    fn run_sequences(
        &self,
        problem: &Problem<'_>,
        sequences: Sequences<'_>,
        output: &mut [f32],
        mut log_sum_exp: Option<&mut [f32]>,
        statistics: &mut Statistics,
    ) -> Result<()> {
        let group = problem.group();
        // A few rows with many keys: one sequence after the other.
        for sequence in 0..sequences.count() {
            let part = problem.of_sequence(sequences, sequence);
            let parts = self.key_parts(&part, group * part.queries);
            if parts > 1 && part.queries > 0 {
                let final_rows = final_rows(problem, output, log_sum_exp.as_deref_mut(), None, statistics);
                self.run_parts(&part, parts, group * sequences.rows(sequence).start, final_rows)?;
            }
        }
        let bounds = problem.block_bounds(sequences, group, self.context.level.block_rows());
        let (blocks, operations) = (Blocks::Between(&bounds), problem.operations());
        let final_rows = final_rows(problem, output, log_sum_exp, None, statistics);
        self.context.for_each_head_block(problem.kv_heads, blocks, operations, final_rows, None, |item, outputs, _| {
            let ItemRows { head, rows } = item;
            let (part, first) = problem.at(rows.start / group);
            if self.key_parts(&part, group * part.queries) == 1 {
                let first = group * first;
                let rows = rows.start - first..rows.end - first;
                self.run_item(&part, head, rows, 0..part.keys, Targets::whole(outputs, first));
            }
        });
        Ok(())
    }

    /// Runs the items of rows whose keys are split into parts, and merges the parts. `first` is the row of the results
    /// at which the problem's rows start.
    fn run_parts(
        &self,
        problem: &Problem<'_>,
        parts: usize,
        first: usize,
        final_rows: [Option<Rows<'_>>; 5],
    ) -> Result<()> {
        let (heads, rows) = (problem.batch * problem.kv_heads, problem.group() * problem.queries);
        let value_dim = problem.value_dim;
        let allocate = |width: usize| try_zeroed("working memory", heads * parts * rows * width);
        let (mut values, mut maxima, mut sums) = (allocate(value_dim)?, allocate(1)?, allocate(1)?);

        // Step 1: for each part of the keys, compute undivided sums, the maximum and the sum of exponentials.
        let layout = |width: usize| RowLayout::contiguous([heads * parts, 1, rows], 1, width);
        let partial = [
            Some(Rows::new(&mut values, layout(value_dim))),
            None,
            Some(Rows::new(&mut maxima, layout(1))),
            Some(Rows::new(&mut sums, layout(1))),
            None,
        ];
        let sizes = [heads * parts, rows, rows];
        self.context.for_each_head_rows(sizes, problem.operations(), partial, None, |item, outputs, _| {
            let (head, part) = (item.head / parts, item.head % parts);
            let targets = Targets { is_part: true, ..Targets::whole(outputs, 0) };
            self.run_item(problem, head, 0..rows, part * PART_KEYS..(part + 1) * PART_KEYS, targets);
        });

        // Step 2: add up the parts of each row, each times the exponential of its maximum relative to the largest one.
        let operations = operations([heads, parts, rows, value_dim]);
        let bounds = [first, first + rows];
        let blocks = Blocks::Between(&bounds);
        self.context.for_each_head_block(heads, blocks, operations, final_rows, None, |item, outputs, _| {
            let mut targets = Targets::whole(outputs, first);
            for row in 0..rows {
                let index = |part: usize| (item.head * parts + part) * rows + row;
                let [start, start_sum] = problem.visibility.start(problem.query_head(item.head, row));
                let max = (0..parts).fold(start, |max, part| max.max(maxima[index(part)]));
                let relative = |maximum: f32| (f64::from(maximum) - f64::from(max)).exp();
                let share = |part: usize| relative(maxima[index(part)]);
                let sum: f64 = (0..parts).map(|part| share(part) * f64::from(sums[index(part)])).sum();
                let sum = sum + f64::from(start_sum) * relative(start);
                let term = |part: usize| {
                    let values = &values[index(part) * value_dim..][..value_dim];
                    // A part without a visible key adds nothing.
                    (sums[index(part)] != 0.0).then(|| (share(part) / sum, values))
                };
                total(parts, &term, targets.output_row(row));
                targets.write_statistics(row, max, sum as f32);
            }
        });
        Ok(())
    }
}

/// Rows of every result: output, log-sum-exp, maxima, sums of exponentials, and moments of points of a ball.
fn final_rows<'a>(
    problem: &'a Problem<'_>,
    output: &'a mut [f32],
    log_sum_exp: Option<&'a mut [f32]>,
    moments: Option<&'a mut [f32]>,
    statistics: &'a mut Statistics,
) -> [Option<Rows<'a>>; 5] {
    let shape = [problem.batch, problem.heads, problem.queries];
    let contiguous = |width: usize| RowLayout::contiguous(shape, problem.group(), width);
    let layout = RowLayout::new(shape, problem.group(), problem.output_strides, problem.value_dim);
    let has_statistics = !statistics.is_empty();
    [
        Some(Rows::new(output, layout)),
        log_sum_exp.map(|values| Rows::new(values, contiguous(1))),
        has_statistics.then(|| Rows::new(&mut statistics.max, contiguous(1))),
        has_statistics.then(|| Rows::new(&mut statistics.sum, contiguous(1))),
        moments.map(|values| Rows::new(values, contiguous(2))),
    ]
}

/// One work item.
pub(super) struct Item<'a> {
    pub level: Level,
    pub problem: &'a Problem<'a>,
    /// The key/value head, counted over all batch entries.
    head: usize,
    /// Rows of the key/value head: row r is query r / group of the group's head r mod group.
    pub rows: Range<usize>,
    /// The keys that this item processes.
    pub keys: Range<usize>,
    pub scratch_len: usize,
    lane_bias: Option<&'a LaneBias>,
}

impl Item<'_> {
    /// Returns the batch entry.
    pub(super) fn b(&self) -> usize {
        self.head / self.problem.kv_heads
    }

    /// Returns the key/value head within its batch entry.
    pub(super) fn kv_head(&self) -> usize {
        self.head % self.problem.kv_heads
    }

    /// Returns (b, h, i) of a row.
    pub(super) fn row(&self, row: usize) -> [usize; 3] {
        [self.b(), self.problem.query_head(self.head, row), row / self.problem.group()]
    }

    /// Returns (b, h, i) of consecutive rows, as [`Self::row`] does, but without its divisions for each of them.
    pub(super) fn rows_from(&self, rows: Range<usize>) -> impl Iterator<Item = [usize; 3]> {
        let group = self.problem.group().max(1);
        let (b, head) = (self.b(), self.problem.query_head(self.head, 0));
        let (mut of_group, mut i) = (rows.start % group, rows.start / group);
        rows.map(move |_| {
            let row = [b, head + of_group, i];
            of_group += 1;
            if of_group == group {
                (of_group, i) = (0, i + 1);
            }
            row
        })
    }

    /// Returns the relative biases of a tile whose first row is `first`.
    pub(super) fn lane_bias(&self, first: usize) -> Option<LaneRows<'_>> {
        self.lane_bias.map(|bias| bias.rows([self.b(), self.kv_head()], first))
    }

    /// Returns the item's keys that a row sees.
    pub(super) fn visible_keys(&self, b: usize, i: usize) -> Range<usize> {
        let (start, end) = self.problem.visibility.range(b, i);
        start.max(self.keys.start)..end.min(self.keys.end)
    }
}

/// The rows of the results that one work item writes.
pub(super) struct Targets<'a> {
    output: Option<OwnRows<'a>>,
    log_sum_exp: Option<OwnRows<'a>>,
    max: Option<OwnRows<'a>>,
    sum: Option<OwnRows<'a>>,
    moments: Option<OwnRows<'a>>,
    /// The row of the results at which the item's problem starts.
    first: usize,
    /// True if the keys are split: sums stay undivided until the parts are merged.
    pub is_part: bool,
}

impl<'a> Targets<'a> {
    fn whole([output, log_sum_exp, max, sum, moments]: [Option<OwnRows<'a>>; 5], first: usize) -> Self {
        Self { output, log_sum_exp, max, sum, moments, first, is_part: false }
    }

    /// Returns a row of the output.
    pub(super) fn output_row(&mut self, row: usize) -> &mut [f32] {
        self.output.as_mut().map_or(&mut [], |output| output.row(self.first + row))
    }

    /// Writes output rows from a tile that holds them in its lanes.
    #[inline(always)]
    pub(super) fn write_lanes<S: Simd>(
        &mut self,
        simd: S,
        rows: Range<usize>,
        columns: usize,
        tile: &[f32],
        lanes: usize,
    ) {
        if let Some(output) = &mut self.output {
            output.write_lanes(simd, self.first + rows.start..self.first + rows.end, 0..columns, tile, lanes);
        }
    }

    /// Writes the moments of one row, for points of a ball.
    pub(super) fn write_moments(&mut self, row: usize, moments: [f32; 2]) {
        if let Some(target) = &mut self.moments {
            target.row(self.first + row).copy_from_slice(&moments);
        }
    }

    /// Returns the factor to apply to a row's sums before they are written.
    pub(super) fn output_scale(&self, sum: f32) -> f32 {
        if self.is_part { 1.0 } else { reciprocal(sum) }
    }

    /// Writes a row's maximum, sum of exponentials and log-sum-exp, each only if requested.
    #[inline]
    pub(super) fn write_statistics(&mut self, row: usize, max: f32, sum: f32) {
        if self.log_sum_exp.is_none() && self.max.is_none() && self.sum.is_none() {
            return;
        }
        // Without a visible key the sum is 0, and its logarithm −∞.
        let log_sum_exp = || if sum == 0.0 { f32::NEG_INFINITY } else { max + sum.ln() };
        if let Some(target) = &mut self.log_sum_exp {
            target.row(self.first + row)[0] = log_sum_exp();
        }
        for (target, value) in [(&mut self.max, max), (&mut self.sum, sum)] {
            if let Some(target) = target {
                target.row(self.first + row)[0] = value;
            }
        }
    }
}

/// Returns the reciprocal of a row's sum, or 0 for a row without a visible key.
fn reciprocal(sum: f32) -> f32 {
    if sum == 0.0 { 0.0 } else { 1.0 / sum }
}

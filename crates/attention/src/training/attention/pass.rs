//! Work items of the backward pass: each owns the keys of one part of a key/value head, and passes over all query rows.
//!
//! An item computes the gradients of its keys and values, and its share of the gradients of the queries. Shares are
//! added in the order of the parts.

use std::ops::Range;

use super::Results;
use super::scores::{Keys, QueryTile, ScoreBuffers, rows_from};
use crate::attention::Problem;
use crate::attention::bias::LaneBias;
use crate::attention::tiled::add_visible;
use crate::context::rows::{Blocks, OwnRows, RowLayout, Rows};
use crate::context::{Context, operations};
use crate::error::Result;
use crate::math::product::product;
use crate::scratch::{self, Scratch};
use crate::simd::{Accumulate, Kernel, Level, Matrix, Simd, scatter_lanes};
use crate::tensor::try_zeroed;

/// The number of items that a call is divided into if its heads are fewer, and the maximum number of parts of a head:
/// each part loads every query again, and keeps a share of the gradients of the queries.
const ITEMS: usize = 8;
const MOST_PARTS: usize = 4;

/// The number of query rows that pass over the keys together, and the maximum number of their tiles. They are the depth
/// of the products that sum over rows.
const BLOCK_ROWS: usize = 256;
const MOST_TILES: usize = 8;

/// Adds the gradients of q, k and v, and of the relative bias if there is one, to zeros.
pub(super) fn run(
    context: Context<'_>,
    problem: &Problem<'_>,
    results: Results<'_>,
    [q, k, v]: [&mut [f32]; 3],
    relative: Option<&mut [f32]>,
) -> Result<()> {
    let group = problem.group();
    let (heads, rows) = (problem.batch * problem.kv_heads, group * problem.queries);
    if heads == 0 || rows == 0 {
        return Ok(());
    }
    let lanes = context.level.tile_lanes();
    let scratch_len = Buffers::len(problem, lanes);
    scratch::reserve(scratch_len)?;

    // Step 1: for each part of the keys, gradients of keys and values, and shares of all others.
    let key_bounds = key_bounds(problem);
    let parts = key_bounds.len() - 1;
    let relative_len =
        problem.visibility.relative.filter(|_| relative.is_some()).map_or(0, |bias| group * bias.length());
    let share_rows = |part: usize| match problem.visibility.sequences {
        None => part * rows,
        Some(sequences) if part < parts => group * sequences.rows(part).start,
        Some(_) => rows,
    };
    let share_bounds: Vec<usize> = (0..=parts).map(|part| share_rows(part) * problem.head_dim).collect();
    let relative_bounds: Vec<usize> = (0..=parts).map(|part| part * relative_len).collect();
    let is_direct = share_bounds[parts] == rows * problem.head_dim && has_order_of_shares(problem);
    let mut shares = try_zeroed("working memory", if is_direct { 0 } else { heads * share_bounds[parts] })?;
    let mut relative_shares = try_zeroed("working memory", heads * relative_bounds[parts])?;
    let key_layout =
        |strides, width| RowLayout::new([problem.batch, problem.kv_heads, problem.keys], 1, strides, width);
    let outputs = [
        Some(Rows::new(k, key_layout(problem.k_strides, problem.head_dim))),
        Some(Rows::new(v, key_layout(problem.v_strides, problem.value_dim))),
    ];
    let lane_bias = &LaneBias::new(problem, group)?;
    let work = 5 * (problem.operations() / 2);
    context.announce_work(work);
    let queries = if is_direct { &mut *q } else { &mut shares[..] };
    let shared = [(queries, &share_bounds[..]), (&mut relative_shares[..], &relative_bounds[..])];
    context.for_each_head_part(
        heads,
        Blocks::Between(&key_bounds),
        work,
        outputs,
        shared,
        |item, part, outputs, shares| {
            let (part_problem, first_key, results) = match problem.visibility.sequences {
                None => (*problem, 0, results),
                Some(sequences) => (
                    problem.of_sequence(sequences, part),
                    sequences.keys(part).start,
                    Results { first: sequences.rows(part).start, ..results },
                ),
            };
            let [keys, values] = outputs;
            let [queries, relative] = shares;
            let level = context.level;
            level.run(Pass {
                level,
                problem: &part_problem,
                results,
                lane_bias: lane_bias.as_ref(),
                head: item.head,
                keys: item.rows.start - first_key..item.rows.end - first_key,
                scratch_len,
                targets: Targets { keys, values, first_key, queries, relative },
            });
        },
    );

    // Step 2: add up the shares.
    if !is_direct {
        add_query_shares(context, problem, &shares, q);
    }
    if let (Some(gradient), Some(bias)) = (relative, problem.visibility.relative) {
        let length = bias.length();
        for (index, share) in relative_shares.chunks_exact(length.max(1)).enumerate() {
            // Shares are in the order of heads, parts and the heads of a group.
            let (head, g) = (index / (parts * group), index % group);
            let h = if bias.is_shared() { 0 } else { head % problem.kv_heads * group + g };
            gradient[h * length..][..length].iter_mut().zip(share).for_each(|(sum, share)| *sum += share);
        }
    }
    Ok(())
}

/// Returns where the parts of each head's keys start, and the end of the last.
fn key_bounds(problem: &Problem<'_>) -> Vec<usize> {
    if let Some(sequences) = problem.visibility.sequences {
        let starts = (0..sequences.count()).map(|sequence| sequences.keys(sequence).start);
        return starts.chain([problem.keys]).collect();
    }
    let blocks = problem.keys.div_ceil(problem.key_block);
    let parts = (ITEMS / (problem.batch * problem.kv_heads)).clamp(1, MOST_PARTS);
    let size = blocks.div_ceil(parts).max(1) * problem.key_block;
    let starts = (0..problem.keys).step_by(size);
    // Without keys there is one part all the same.
    starts.chain((problem.keys == 0).then_some(0)).chain([problem.keys]).collect()
}

/// Returns true if the queries are in the order of shares, `[heads][rows][D]`: one share per row is then its gradient.
fn has_order_of_shares(problem: &Problem<'_>) -> bool {
    let head = problem.queries * problem.head_dim;
    problem.group() == 1 && <[usize; 3]>::from(problem.q_strides) == [problem.heads * head, head, problem.head_dim]
}

/// Adds the shares of the gradients of the queries, `[heads][parts][rows][D]`, in the order of the parts.
fn add_query_shares(context: Context<'_>, problem: &Problem<'_>, shares: &[f32], q: &mut [f32]) {
    let (heads, rows) = (problem.batch * problem.kv_heads, problem.group() * problem.queries);
    let size = problem.head_dim;
    let parts = shares.len().checked_div(heads * rows * size).unwrap_or(0);
    let shape = [problem.batch, problem.heads, problem.queries];
    let output = [Some(Rows::new(q, RowLayout::new(shape, problem.group(), problem.q_strides, size)))];
    let work = operations([parts, heads, rows, size]);
    context.for_each_head_rows([heads, rows, context.level.block_rows()], work, output, None, |item, [output], _| {
        let Some(mut output) = output else { return };
        for row in item.rows {
            let sums = output.row(row);
            for part in 0..parts {
                let share = &shares[((item.head * parts + part) * rows + row) * size..][..size];
                sums.iter_mut().zip(share).for_each(|(sum, share)| *sum += share);
            }
        }
    });
}

/// The gradients that one item writes.
struct Targets<'a> {
    keys: Option<OwnRows<'a>>,
    values: Option<OwnRows<'a>>,
    /// The key of the call at which the problem starts.
    first_key: usize,
    /// Its share of the gradients of the queries, `[rows][D]`.
    queries: &'a mut [f32],
    /// Its share of the gradients of the relative bias, `[group][L + S − 1]`, if requested.
    relative: &'a mut [f32],
}

/// One item.
struct Pass<'a> {
    level: Level,
    problem: &'a Problem<'a>,
    results: Results<'a>,
    lane_bias: Option<&'a LaneBias>,
    /// The key/value head, counted over all batch entries.
    head: usize,
    keys: Range<usize>,
    scratch_len: usize,
    targets: Targets<'a>,
}

/// Rows of features in panels as wide as a tile: `[panels][rows][lanes]`, padded with zeros.
struct Panels;

impl Panels {
    fn count(size: usize, lanes: usize) -> usize {
        size.div_ceil(lanes)
    }

    /// Writes one row of panels that have `rows` rows, times `scale`.
    #[inline(always)]
    fn write<S: Simd>(simd: S, panels: &mut [f32], lanes: usize, [rows, row]: [usize; 2], values: &[f32], scale: f32) {
        for (panel, values) in panels.chunks_exact_mut(rows * lanes).zip(values.chunks(lanes)) {
            let panel = &mut panel[row * lanes..][..lanes];
            if values.len() == lanes {
                for v in (0..lanes).step_by(S::LANES) {
                    simd.store(&mut panel[v..], simd.load(&values[v..]) * scale);
                }
            } else {
                panel.iter_mut().zip(values).for_each(|(to, value)| *to = value * scale);
            }
        }
    }

    /// Adds one row of panels that have `rows` rows to `sums`.
    #[inline(always)]
    fn add<S: Simd>(simd: S, panels: &[f32], lanes: usize, [rows, row]: [usize; 2], sums: &mut [f32]) {
        // Indices instead of iterators, as everywhere in loops over registers.
        let (mut column, mut place) = (0, row * lanes);
        while column + lanes <= sums.len() {
            let (panel, sums) = (&panels[place..][..lanes], &mut sums[column..][..lanes]);
            for v in (0..lanes).step_by(S::LANES) {
                let sum = simd.load(&sums[v..]) + simd.load(&panel[v..]);
                simd.store(&mut sums[v..], sum);
            }
            (column, place) = (column + lanes, place + rows * lanes);
        }
        for (index, sum) in sums[column..].iter_mut().enumerate() {
            *sum += panels[place + index];
        }
    }
}

/// Copies the rows of a tile, `[keys][lanes]`, to rows of `width` values.
#[inline(always)]
fn spread<S: Simd>(simd: S, tile: &[f32], lanes: usize, block: &mut [f32], width: usize) {
    for (row, wide) in tile.chunks_exact(lanes).zip(block.chunks_mut(width)) {
        for v in (0..lanes).step_by(S::LANES) {
            simd.store(&mut wide[v..], simd.load(&row[v..]));
        }
    }
}

/// Returns true if all tiles that see any keys see the same, all of `keys`, and no other tile is between them.
fn is_whole(seen: &[(usize, usize)], keys: &Range<usize>) -> bool {
    let mut runs = seen.chunk_by(|one, next| one == next).filter(|run| run[0].0 < run[0].1);
    runs.next().is_some_and(|run| run[0] == (keys.start, keys.end)) && runs.next().is_none()
}

/// The scratch memory of an item.
struct Buffers<'a> {
    /// Queries and gradients in the lanes of each tile.
    tiles: &'a mut [f32],
    /// Sums of the gradients of the queries of each tile, `[D][lanes]`.
    sums: &'a mut [f32],
    /// Scaled queries and gradients of the rows of all tiles, as panels.
    query_panels: &'a mut [f32],
    gradient_panels: &'a mut [f32],
    /// Weights and gradients of the scores of all tiles, `[keys][rows]`.
    weights: &'a mut [f32],
    slopes: &'a mut [f32],
    /// Sums of the gradients of a block's keys and values, as panels.
    keys: &'a mut [f32],
    values: &'a mut [f32],
    scores: ScoreBuffers<'a>,
}

impl<'a> Buffers<'a> {
    /// Returns the lengths of panels of one row.
    fn widths(problem: &Problem<'_>, lanes: usize) -> [usize; 2] {
        [problem.head_dim, problem.value_dim].map(|size| Panels::count(size, lanes) * lanes)
    }

    /// Returns the number of tiles that pass over the keys together.
    fn tiles(problem: &Problem<'_>, lanes: usize) -> usize {
        let needed = (problem.group() * problem.queries).div_ceil(lanes).max(1);
        (BLOCK_ROWS / lanes).min(MOST_TILES).min(needed)
    }

    fn len(problem: &Problem<'_>, lanes: usize) -> usize {
        let [query_width, value_width] = Self::widths(problem, lanes);
        let tiles = Self::tiles(problem, lanes);
        tiles * (QueryTile::len(problem, lanes) + problem.head_dim * lanes + 2 * problem.key_block * lanes)
            + (tiles * lanes + problem.key_block) * (query_width + value_width)
            + ScoreBuffers::len(problem, lanes)
    }

    fn new(level: Level, problem: &Problem<'_>, lanes: usize, mut rest: &'a mut [f32]) -> Self {
        let [query_width, value_width] = Self::widths(problem, lanes);
        let tiles = Self::tiles(problem, lanes);
        let rest = &mut rest;
        Self {
            tiles: scratch::take(rest, tiles * QueryTile::len(problem, lanes)),
            sums: scratch::take(rest, tiles * problem.head_dim * lanes),
            query_panels: scratch::take(rest, tiles * lanes * query_width),
            gradient_panels: scratch::take(rest, tiles * lanes * value_width),
            weights: scratch::take(rest, tiles * lanes * problem.key_block),
            slopes: scratch::take(rest, tiles * lanes * problem.key_block),
            keys: scratch::take(rest, problem.key_block * query_width),
            values: scratch::take(rest, problem.key_block * value_width),
            scores: ScoreBuffers::take(level, problem, lanes, rest),
        }
    }
}

impl Kernel for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let lanes = VECTORS * S::LANES;
        let mut scratch = Scratch::take(self.scratch_len);
        let mut buffers = Buffers::new(self.level, self.problem, lanes, scratch.values());
        let (rows, block) = (self.problem.group() * self.problem.queries, Buffers::tiles(self.problem, lanes) * lanes);
        for first in (0..rows).step_by(block) {
            self.block::<S, VECTORS>(simd, first..rows.min(first + block), &mut buffers);
        }
    }
}

impl Pass<'_> {
    /// Returns (b, h, i) of a row.
    fn row(&self, row: usize) -> [usize; 3] {
        let problem = self.problem;
        [self.head / problem.kv_heads, problem.query_head(self.head, row), row / problem.group()]
    }

    /// Passes over some rows, in as many tiles as pass over the keys together.
    #[inline(always)]
    fn block<S: Simd, const VECTORS: usize>(&mut self, simd: S, rows: Range<usize>, buffers: &mut Buffers<'_>) {
        let (problem, results) = (self.problem, &self.results);
        let (lanes, size) = (VECTORS * S::LANES, problem.head_dim);
        let Buffers { tiles, sums, query_panels, gradient_panels, weights, slopes, keys, values, scores } = buffers;
        let width = Buffers::tiles(problem, lanes) * lanes;

        let (b, kv_head) = (self.head / problem.kv_heads, self.head % problem.kv_heads);
        let (key_rows, value_rows) = (problem.head_keys(b, kv_head), problem.head_values(b, kv_head));

        // Step 1: load the rows, in lanes and as panels.
        let starts = rows.clone().step_by(lanes);
        let buffers_of_tiles = tiles.chunks_exact_mut(QueryTile::len(problem, lanes).max(1));
        let mut tiles: [Option<QueryTile<'_>>; MOST_TILES] = [const { None }; MOST_TILES];
        let mut buffers_of_tiles = buffers_of_tiles.chain(std::iter::repeat_with(|| &mut [][..]));
        query_panels.fill(0.0);
        gradient_panels.fill(0.0);
        for (first, tile) in starts.zip(&mut tiles) {
            let rows_of_tile = (first..rows.end.min(first + lanes)).map(|row| self.row(row));
            let Some(buffer) = buffers_of_tiles.next() else { break };
            let mut loaded = QueryTile::load(simd, (problem, results), rows_of_tile, lanes, buffer);
            let relative = self.lane_bias.map(|bias| bias.rows([b, kv_head], first));
            let head = Keys { keys: key_rows, values: value_rows, from: 0, to: 0, relative };
            loaded.normalize::<S, VECTORS>(simd, problem, head, scores);
            loaded.restrict(problem, self.keys.clone());
            for (lane, &row @ [b, h, i]) in loaded.lanes.rows[..loaded.lanes.count].iter().enumerate() {
                if loaded.sees_keys(lane) {
                    let query = &problem.q[problem.q_strides.row(b, h, i)..][..size];
                    let place = [width, first - rows.start + lane];
                    Panels::write(simd, query_panels, lanes, place, query, problem.scale);
                    Panels::write(simd, gradient_panels, lanes, place, results.gradient(problem, row), 1.0);
                }
            }
            *tile = Some(loaded);
        }
        sums.fill(0.0);

        let visible = tiles.iter().flatten().map(|tile| tile.lanes.first..tile.lanes.last);
        let (first, last) =
            visible.fold((problem.keys, 0), |(first, last), keys| (first.min(keys.start), last.max(keys.end)));
        let block = problem.key_block;
        for first in (first / block * block..last).step_by(block) {
            // The keys of the block that each tile sees.
            let mut seen = [(0, 0); MOST_TILES];
            for (index, tile) in tiles.iter().enumerate() {
                let Some(tile) = tile else { break };
                let (from, to) = (first.max(tile.lanes.first), (first + block).min(tile.lanes.last));
                if from >= to {
                    continue;
                }

                // Step 2: weights [keys][lanes], and the gradients of the scores.
                let first_row = rows.start + index * lanes;
                let relative = self.lane_bias.map(|bias| bias.rows([b, kv_head], first_row));
                let part = Keys { keys: key_rows, values: value_rows, from, to, relative };
                let Some(cover) = part.fill::<S, VECTORS>(simd, problem, tile, scores) else { continue };
                let count = to - from;
                add_relative(problem, tile, &scores.slopes[..count * lanes], [from, lanes], self.targets.relative);
                part.pass_cap::<S, VECTORS>(simd, problem, tile, scores);
                seen[index] = (from, to);
                let start = (from - first) * width + index * lanes;
                spread(simd, &scores.weights[..count * lanes], lanes, &mut weights[start..], width);
                spread(simd, &scores.slopes[..count * lanes], lanes, &mut slopes[start..], width);
                let slopes = &scores.slopes[..count * lanes];

                // Step 3: queries [D][lanes] += keys [keys][D], transposed, · gradients [keys][lanes].
                let sums = &mut sums[index * size * lanes..][..size * lanes];
                let block_rows = rows_from(key_rows, from, size);
                if part.needs_selection(simd, problem, tile, cover) {
                    add_visible::<S, VECTORS>(simd, block_rows, key_rows.1, size, slopes, sums, Accumulate::Add);
                } else {
                    let columns = Matrix::column_major(block_rows, key_rows.1);
                    product((self.level, lanes), columns, [size, count], slopes, sums, Accumulate::Add);
                }
            }

            // Step 4: keys [keys][D] += gradients [keys][rows] · queries [rows][D], one panel after the other, and
            // values [keys][E] += weights [keys][rows] · gradients of the output [rows][E], for each run of tiles that
            // see the same keys.
            let own = first.max(self.keys.start)..(first + block).min(self.keys.end);
            let mut accumulate = Accumulate::Overwrite;
            if !is_whole(&seen, &own) {
                keys.fill(0.0);
                values.fill(0.0);
                accumulate = Accumulate::Add;
            }
            let mut row = 0;
            for run in seen.chunk_by(|one, next| one == next) {
                let ((from, to), depth) = (run[0], run.len() * lanes);
                for (left, panels, sums) in
                    [(&*slopes, &*query_panels, &mut *keys), (&*weights, &*gradient_panels, &mut *values)]
                {
                    if from == to {
                        continue;
                    }
                    let left = Matrix::row_major(&left[(from - first) * width + row..], width);
                    for (panel, sums) in panels.chunks_exact(width * lanes).zip(sums.chunks_exact_mut(block * lanes)) {
                        let (panel, sums) = (&panel[row * lanes..], &mut sums[(from - first) * lanes..]);
                        product((self.level, lanes), left, [to - from, depth], panel, sums, accumulate);
                    }
                }
                row += depth;
            }
            for key in own {
                let row = [block, key - first];
                for (target, sums) in [(&mut self.targets.keys, &*keys), (&mut self.targets.values, &*values)] {
                    if let Some(target) = target {
                        Panels::add(simd, sums, lanes, row, target.row(self.targets.first_key + key));
                    }
                }
            }
        }

        // Step 5: write the gradients of the queries.
        for (index, tile) in tiles.iter().enumerate() {
            let Some(tile) = tile else { break };
            let sums = &mut sums[index * size * lanes..][..size * lanes];
            sums.iter_mut().for_each(|sum| *sum *= problem.scale);
            let target = &mut self.targets.queries[(rows.start + index * lanes) * size..];
            scatter_lanes(simd, sums, lanes, target, size, 0..size, tile.lanes.count);
        }
    }
}

/// Adds the gradients of a tile's scores, `[keys][lanes]`, to those of the relative bias, if requested: row i and key j
/// at place j − i + L − 1 of the row's head.
fn add_relative(
    problem: &Problem<'_>,
    tile: &QueryTile<'_>,
    slopes: &[f32],
    [from, lanes]: [usize; 2],
    sums: &mut [f32],
) {
    let Some(bias) = problem.visibility.relative.filter(|_| !sums.is_empty()) else { return };
    for (lane, &[_, h, i]) in tile.lanes.rows[..tile.lanes.count].iter().enumerate() {
        let place = h % problem.group() * bias.length() + bias.place(i, from);
        let slopes = slopes[lane..].iter().step_by(lanes);
        sums[place..].iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
    }
}

//! The two products of tiled attention on a unit for tiles of bfloat16, where pieces can carry the values.
//!
//! Keys and values are split once for each block and item, and serve all of its tiles of queries.

use crate::attention::Problem;
use crate::math::pieces::{PIECES_LEN, STEP, SplitColumns, SplitColumnsTransposed, SplitRows, are_carried, are_small};
use crate::scratch;
use crate::simd::amx::{Configured, Pieces, SIDE, Tile, TileUnit};
use crate::simd::{Accumulate, Kernel, Level, Simd};
use crate::sizes::BLOCK_TILES;

/// Rows of keys or values, and the distance between them.
type Rows<'a> = (&'a [f32], usize);

/// The products of one work item.
pub(crate) struct TileProducts<'a> {
    unit: Configured<'a>,
    level: Level,
    lanes: usize,
    head_dim: usize,
    value_dim: usize,
    /// Of each tile, `[lanes / 16][D / 32]`, and whether pieces carry them.
    queries: &'a mut [Pieces],
    are_queries_carried: [bool; BLOCK_TILES],
    /// The tile of queries in use.
    tile: usize,
    /// The first key of the block, and the number of its keys.
    block: [usize; 2],
    /// `[keys / 16][D / 32]`, and whether pieces carry them; `None` until a tile needs them.
    keys: &'a mut [Pieces],
    are_keys_carried: Option<bool>,
    /// `[E / 16][keys / 32]`, and the same.
    values: &'a mut [Pieces],
    are_values_carried: Option<bool>,
    /// `[lanes / 16][keys / 32]`.
    weights: &'a mut [Pieces],
}

/// Returns true if an item of `rows` rows pays for splitting its keys and values.
pub(super) fn pays(unit: TileUnit, problem: &Problem<'_>, rows: usize) -> bool {
    let sizes = [problem.head_dim, problem.value_dim, problem.keys, problem.key_block];
    problem.ball.is_none() && rows >= unit.rows_that_pay() / 2 && sizes.into_iter().all(|size| size >= STEP)
}

/// The numbers of pieces: queries, keys, values and weights.
fn counts(problem: &Problem<'_>, lanes: usize) -> [usize; 4] {
    let (columns, keys) = (lanes.div_ceil(SIDE), problem.key_block);
    let (depth_steps, key_steps) = (problem.head_dim.div_ceil(STEP), keys.div_ceil(STEP));
    [
        BLOCK_TILES * columns * depth_steps,
        keys.div_ceil(SIDE) * depth_steps,
        problem.value_dim.div_ceil(SIDE) * key_steps,
        columns * key_steps,
    ]
}

/// Returns the scratch memory of an item, in values.
pub(super) fn len(problem: &Problem<'_>, lanes: usize) -> usize {
    PIECES_LEN * counts(problem, lanes).iter().sum::<usize>()
}

impl<'a> TileProducts<'a> {
    /// Takes its memory from `rest`, which starts at a cache line.
    pub(super) fn new(
        unit: Configured<'a>,
        level: Level,
        problem: &Problem<'_>,
        lanes: usize,
        rest: &mut &'a mut [f32],
    ) -> Self {
        let [queries, keys, values, weights] =
            counts(problem, lanes).map(|count| Tile::groups_mut(scratch::take(rest, count * PIECES_LEN)));
        Self {
            unit,
            level,
            lanes,
            head_dim: problem.head_dim,
            value_dim: problem.value_dim,
            queries,
            are_queries_carried: [false; BLOCK_TILES],
            tile: 0,
            block: [0; 2],
            keys,
            are_keys_carried: None,
            values,
            are_values_carried: None,
            weights,
        }
    }

    /// Splits a tile of scaled queries, `[D][lanes]`.
    pub(super) fn load_queries(&mut self, tile: usize, queries: &[f32]) {
        let size = self.lanes.div_ceil(SIDE) * self.head_dim.div_ceil(STEP);
        let pieces = &mut self.queries[tile * size..][..size];
        self.are_queries_carried[tile] = are_carried(split_lanes(self.level, queries, self.lanes, pieces));
    }

    /// Starts a block of `count` keys from key `first` on.
    pub(super) fn start_block(&mut self, first: usize, count: usize) {
        self.block = [first, count];
        (self.are_keys_carried, self.are_values_carried) = (None, None);
    }

    /// Selects the tile of queries for the next products.
    pub(super) fn select(&mut self, tile: usize) {
        self.tile = tile;
    }

    /// Computes the scores of the selected queries and the keys `from .. to`, `[keys][lanes]`. Returns false, and
    /// computes nothing, if vectors have to do it.
    #[inline(never)]
    pub(crate) fn score(
        &mut self,
        keys: Rows<'_>,
        [from, to]: [usize; 2],
        scores: &mut [f32],
        accumulate: Accumulate<'_>,
    ) -> bool {
        let steps = self.head_dim.div_ceil(STEP);
        if !self.are_queries_carried[self.tile] || from != self.block[0] || !self.split_keys(keys) {
            return false;
        }
        let size = self.lanes.div_ceil(SIDE) * steps;
        let product = Product {
            level: self.level,
            lanes: self.lanes,
            rows: to - from,
            steps,
            a: self.keys,
            stride: steps,
            b: &self.queries[self.tile * size..][..size],
        };
        product.run(&mut self.unit, scores, accumulate);
        true
    }

    /// Adds the values of the keys `from .. to`, times their weights `[keys][lanes]`, to sums `[E][lanes]`. Returns
    /// false, and computes nothing, if vectors have to do it.
    #[inline(never)]
    pub(super) fn add_values(
        &mut self,
        values: Rows<'_>,
        [from, to]: [usize; 2],
        weights: &[f32],
        sums: &mut [f32],
        accumulate: Accumulate<'_>,
    ) -> bool {
        if from != self.block[0] || !self.split_values(values) {
            return false;
        }
        let steps = (to - from).div_ceil(STEP);
        let pieces = &mut self.weights[..self.lanes.div_ceil(SIDE) * steps];
        // Weights that are too small for pieces add nothing to the sums of a row, which has a weight of 1.
        if !are_small(split_lanes(self.level, weights, self.lanes, pieces)) {
            return false;
        }
        let product = Product {
            level: self.level,
            lanes: self.lanes,
            rows: self.value_dim,
            steps,
            a: self.values,
            stride: self.block[1].div_ceil(STEP),
            b: pieces,
        };
        product.run(&mut self.unit, sums, accumulate);
        true
    }

    /// Splits the keys of the block unless that is done. Returns false if pieces cannot carry them.
    fn split_keys(&mut self, (rows, stride): Rows<'_>) -> bool {
        if self.are_keys_carried.is_none() {
            let depth = self.head_dim;
            let tiles = self.keys.chunks_exact_mut(depth.div_ceil(STEP));
            let are_carried = (0..self.block[1]).step_by(SIDE).zip(tiles).all(|(first, pieces)| {
                let mut bounded = [false; SIDE];
                let bounded = &mut bounded[..SIDE.min(self.block[1] - first)];
                let rows = &rows[first * stride..];
                self.level.run(SplitRows { rows, stride, depth, pieces, bounded });
                bounded.iter().all(|&is_bounded| is_bounded)
            });
            self.are_keys_carried = Some(are_carried);
        }
        self.are_keys_carried == Some(true)
    }

    /// Splits the values of the block unless that is done. Returns false if pieces cannot carry them.
    fn split_values(&mut self, (rows, stride): Rows<'_>) -> bool {
        if self.are_values_carried.is_none() {
            let count = self.block[1];
            let tiles = self.values.chunks_exact_mut(count.div_ceil(STEP));
            let are_carried = (0..self.value_dim).step_by(SIDE).zip(tiles).all(|(first, pieces)| {
                let columns = SIDE.min(self.value_dim - first);
                let rows = &rows[first..];
                are_carried(self.level.run(SplitColumnsTransposed { rows, stride, count, columns, pieces }))
            });
            self.are_values_carried = Some(are_carried);
        }
        self.are_values_carried == Some(true)
    }
}

/// Splits a matrix `[depth][lanes]` into `[lanes / 16][depth / 32]`. Returns the largest magnitude, as bits.
fn split_lanes(level: Level, values: &[f32], lanes: usize, pieces: &mut [Pieces]) -> u32 {
    let columns = (0..lanes).step_by(SIDE);
    let (count, steps) = (values.len() / lanes, pieces.len() / columns.len());
    let split = columns.zip(pieces.chunks_exact_mut(steps)).map(|(first, pieces)| {
        let columns = SIDE.min(lanes - first);
        level.run(SplitColumns { rows: &values[first..], stride: lanes, count, columns, pieces })
    });
    split.fold(0, u32::max)
}

/// A product of A, `[rows / 16][steps]`, which are `stride` apart in memory, and B, `[lanes / 16][steps]`.
struct Product<'a> {
    level: Level,
    lanes: usize,
    rows: usize,
    steps: usize,
    a: &'a [Pieces],
    stride: usize,
    b: &'a [Pieces],
}

impl Product<'_> {
    /// Computes C, `[rows][lanes]`.
    fn run(&self, unit: &mut Configured<'_>, c: &mut [f32], accumulate: Accumulate<'_>) {
        let Self { level, lanes, rows, steps, a, stride, b } = *self;
        let a = |row: usize| &a[row / SIDE * stride..][..steps];
        // A tile of queries has at most 32 lanes.
        let b = [&b[..steps], &b[b.len() - steps..]];
        for first in (0..rows).step_by(2 * SIDE) {
            let end = rows.min(first + 2 * SIDE);
            let mut sums = [Tile::ZERO; 4];
            unit.multiply([a(first), a(end - 1)], b, &mut sums);
            level.run(AddSums { sums: &sums, rows: &mut c[first * lanes..end * lanes], lanes, accumulate });
        }
    }
}

/// Adds four tiles of sums to at most 32 rows of `lanes` values.
struct AddSums<'a> {
    sums: &'a [Tile; 4],
    rows: &'a mut [f32],
    lanes: usize,
    accumulate: Accumulate<'a>,
}

impl Kernel for AddSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { sums, rows, lanes, accumulate } = self;
        for (row, values) in rows.chunks_exact_mut(lanes).enumerate() {
            // Lanes are whole vectors.
            for (lane, values) in (0..lanes).step_by(S::LANES).zip(values.chunks_exact_mut(S::LANES)) {
                let tile = &sums[row / SIDE * 2 + lane / SIDE];
                let sum = simd.load(&tile.0[row % SIDE * SIDE + lane % SIDE..]);
                let value = match accumulate {
                    Accumulate::Overwrite => sum,
                    Accumulate::Add => simd.load(values) + sum,
                    Accumulate::ScaleAndAdd(factors) => simd.load(values) * simd.load(&factors[lane..]) + sum,
                };
                simd.store(values, value);
            }
        }
    }
}

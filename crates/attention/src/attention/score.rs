//! Computes one tile of scores, keys × queries, with queries in SIMD lanes so that softmax works lane by lane.

use std::ops::Range;

use crate::attention::Problem;
use crate::attention::bias::LaneRows;
use crate::attention::mask::Cover;
use crate::attention::tile_products::TileProducts;
use crate::math::exp::{LOG2_E, exp2, tanh};
use crate::options::Stage;
use crate::scratch;
use crate::simd::{Accumulate, Kernel, Level, Matrix, ReduceKind, Simd, gather_columns, product};
use crate::sizes::MAX_TILE_LANES;

/// The query rows that share a tile: their indices, and the keys that each one sees.
pub(crate) struct Lanes {
    pub count: usize,
    /// (b, h, i) of each row.
    pub rows: [[usize; 3]; MAX_TILE_LANES],
    mask_rows: [usize; MAX_TILE_LANES],
    /// Each row's range of keys. Lanes without a row have an empty range.
    start: [usize; MAX_TILE_LANES],
    end: [usize; MAX_TILE_LANES],
    /// `first .. last` contains every key that any row sees; every row sees all keys in `all_from .. all_to`.
    pub first: usize,
    pub last: usize,
    all_from: usize,
    all_to: usize,
}

impl Lanes {
    /// No rows.
    pub(crate) const EMPTY: Self = Self {
        count: 0,
        rows: [[0; 3]; MAX_TILE_LANES],
        mask_rows: [0; MAX_TILE_LANES],
        start: [0; MAX_TILE_LANES],
        end: [0; MAX_TILE_LANES],
        first: 0,
        last: 0,
        all_from: 0,
        all_to: 0,
    };

    /// Assigns lanes to these rows, at most as many as a tile has, restricted to `keys`.
    pub(crate) fn new(problem: &Problem<'_>, keys: Range<usize>, rows: impl Iterator<Item = [usize; 3]>) -> Self {
        let mut lanes = Self::EMPTY;
        lanes.assign(problem, keys, rows);
        lanes
    }

    /// Assigns rows to empty lanes in their place, as [`Self::new`] does: they are too large to be moved in each item.
    pub(crate) fn assign(&mut self, problem: &Problem<'_>, keys: Range<usize>, rows: impl Iterator<Item = [usize; 3]>) {
        (self.first, self.all_to) = (problem.keys, problem.keys);
        for (lane, row @ [b, h, i]) in rows.enumerate() {
            let (start, end) = problem.visibility.range(b, i);
            let (start, end) = (start.max(keys.start), end.min(keys.end));
            self.count = lane + 1;
            self.rows[lane] = row;
            self.mask_rows[lane] = problem.visibility.mask_row(b, h, i);
            (self.start[lane], self.end[lane]) = (start, end);
            if start < end {
                (self.first, self.last) = (self.first.min(start), self.last.max(end));
            }
            (self.all_from, self.all_to) = (self.all_from.max(start), self.all_to.min(end));
        }
    }

    /// Writes the queries, times the problem's scale, as a tile `[D][lanes]`.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(crate) fn load_queries<S: Simd>(&self, simd: S, problem: &Problem<'_>, lanes: usize, tile: &mut [f32]) {
        if self.count < lanes {
            // Lanes without a row are computed as well, so fill them with zeros rather than leave arbitrary contents.
            tile.fill(0.0);
        }
        let mut starts = [0; MAX_TILE_LANES];
        for (start, &[b, h, i]) in starts.iter_mut().zip(&self.rows) {
            *start = problem.q_strides.row(b, h, i);
        }
        gather_columns(simd, problem.q, &starts[..self.count], problem.head_dim, tile, lanes);
        // Points of a ball are not scaled.
        let scale = simd.splat(if problem.ball.is_some() { 1.0 } else { problem.scale });
        for chunk in tile.chunks_exact_mut(S::LANES) {
            simd.store(chunk, simd.load(chunk) * scale);
        }
    }
}

/// Memory for one tile of scores.
pub(crate) struct TileBuffers<'a> {
    pub level: Level,
    bias: &'a mut [f32],
    rows: &'a mut [f32],
    /// Computes products, where it can.
    pub products: Option<TileProducts<'a>>,
}

impl<'a> TileBuffers<'a> {
    /// Returns the length of the buffers in values; 0 without a mask.
    pub(crate) fn len(problem: &Problem<'_>, lanes: usize) -> usize {
        if problem.visibility.has_mask() { 2 * problem.key_block * lanes } else { 0 }
    }

    pub(crate) fn take(level: Level, problem: &Problem<'_>, lanes: usize, rest: &mut &'a mut [f32]) -> Self {
        let half = Self::len(problem, lanes) / 2;
        Self { level, bias: scratch::take(rest, half), rows: scratch::take(rest, half), products: None }
    }
}

/// The scores of the keys `from .. to` (at most one block) for a tile of queries: `scores[key − from][lane]`.
pub(crate) struct ScoreTile<'a> {
    pub problem: &'a Problem<'a>,
    pub lanes: &'a Lanes,
    pub queries: &'a [f32],
    /// The head's keys from key `from` on, and their stride.
    pub keys: (&'a [f32], usize),
    pub from: usize,
    pub to: usize,
    /// True if every query and key is so small that no score overflows.
    pub is_bounded: bool,
    pub relative: Option<LaneRows<'a>>,
}

impl ScoreTile<'_> {
    /// Computes the scores up to `stage`, at most `Biased`: with the bias, and −∞ where a key is not visible. `scores`
    /// has the size of the tile.
    ///
    /// All passes share this function: its products would take minutes to compile as parts of each of them.
    #[inline(always)]
    pub(crate) fn compute(&self, stage: Stage, cover: Cover, buffers: &mut TileBuffers<'_>, scores: &mut [f32]) {
        run(buffers.level, &mut Compute { tile: self, stage, cover, buffers, scores });
    }

    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn compute_at<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        stage: Stage,
        cover: Cover,
        buffers: &mut TileBuffers<'_>,
        scores: &mut [f32],
    ) {
        let lanes = VECTORS * S::LANES;
        let count = self.to - self.from;
        let (keys, stride) = self.keys;
        let keys = Matrix::row_major(keys, stride);
        let caps = stage >= Stage::Softcapped && self.problem.softcap > 0.0;
        let is_biased = stage >= Stage::Biased && cover != Cover::Everything;
        // The product accumulates onto the bias if no step comes between them and no product can turn the bias −∞ into
        // NaN.
        let starts_biased = is_biased && !caps && self.problem.ball.is_none() && self.is_bounded;
        if starts_biased {
            self.load_bias(simd, lanes, buffers.rows, scores);
        }
        let accumulate = if starts_biased { Accumulate::Add } else { Accumulate::Overwrite };
        let head_dim = self.problem.head_dim;
        if let Some(ball) = &self.problem.ball {
            let keys = Matrix { reduce: ReduceKind::SquaredDistance, ..keys };
            product::<S, ROWS, VECTORS>(simd, keys, count, head_dim, self.queries, scores, Accumulate::Overwrite);
            ball.score::<S, VECTORS>(simd, self.problem, self.lanes, self.from, scores);
        } else if !buffers
            .products
            .as_mut()
            .is_some_and(|products| products.score(self.keys, [self.from, self.to], scores, accumulate))
        {
            product::<S, ROWS, VECTORS>(simd, keys, count, head_dim, self.queries, scores, accumulate);
        }
        if caps {
            soft_cap(simd, self.problem.softcap, scores);
        }
        if is_biased && !starts_biased {
            self.load_bias(simd, lanes, buffers.rows, buffers.bias);
            for (scores, bias) in scores.chunks_exact_mut(S::LANES).zip(buffers.bias.chunks_exact(S::LANES)) {
                simd.store(scores, add_bias(simd, simd.load(scores), simd.load(bias)));
            }
        }
        if let Some(relative) = self.relative.filter(|_| stage >= Stage::Biased) {
            for (key, scores) in scores.chunks_exact_mut(lanes).enumerate() {
                let bias = relative.of_key(self.from + key);
                for v in (0..lanes).step_by(S::LANES) {
                    let (score, bias) = (simd.load(&scores[v..]), simd.load(&bias[v..]));
                    let biased = if relative.may_hide { add_bias(simd, score, bias) } else { score + bias };
                    simd.store(&mut scores[v..], biased);
                }
            }
        }
        if stage >= Stage::Biased && self.crosses_a_limit() {
            self.hide_out_of_range::<S, VECTORS>(simd, scores);
        }
    }

    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn load_bias<S: Simd>(&self, simd: S, lanes: usize, rows: &mut [f32], tile: &mut [f32]) {
        let mask_rows = &self.lanes.mask_rows[..self.lanes.count];
        self.problem.visibility.bias_tile(simd, mask_rows, self.from, self.to - self.from, lanes, rows, tile);
    }

    /// Returns the mask's effect on the tile as a whole.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(crate) fn cover(&self) -> Cover {
        self.problem.visibility.cover(&self.lanes.mask_rows[..self.lanes.count], self.from, self.to)
    }

    /// Returns true if some row may not see all of these keys, because of its range or of the mask.
    pub(crate) fn may_hide(&self, cover: Cover) -> bool {
        let may_bias_hide = self.relative.is_some_and(|relative| relative.may_hide);
        cover != Cover::Everything || may_bias_hide || self.crosses_a_limit()
    }

    fn crosses_a_limit(&self) -> bool {
        self.from < self.lanes.all_from || self.to > self.lanes.all_to
    }

    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn hide_out_of_range<S: Simd, const VECTORS: usize>(&self, simd: S, scores: &mut [f32]) {
        let lanes = VECTORS * S::LANES;
        // Relative to the tile and clamped to it, so that f32 represents the limits exactly.
        let relative = |limit: usize| limit.clamp(self.from, self.to).wrapping_sub(self.from) as f32;
        let (mut start, mut end) = ([0.0; MAX_TILE_LANES], [0.0; MAX_TILE_LANES]);
        for lane in 0..MAX_TILE_LANES {
            (start[lane], end[lane]) = (relative(self.lanes.start[lane]), relative(self.lanes.end[lane]));
        }
        for (key, scores) in scores.chunks_exact_mut(lanes).enumerate() {
            let (after, here) = (simd.splat(key as f32 + 0.5), simd.splat(key as f32));
            for v in 0..VECTORS {
                let start = simd.load(&start[v * S::LANES..]);
                let end = simd.load(&end[v * S::LANES..]);
                let visible = simd.and(simd.lt(start, after), simd.lt(here, end));
                let chunk = &mut scores[v * S::LANES..];
                let shown = simd.select(visible, simd.load(chunk), simd.splat(f32::NEG_INFINITY));
                simd.store(chunk, shown);
            }
        }
    }
}

/// The call of [`ScoreTile::compute`].
struct Compute<'a, 'b> {
    tile: &'a ScoreTile<'a>,
    stage: Stage,
    cover: Cover,
    buffers: &'a mut TileBuffers<'b>,
    scores: &'a mut [f32],
}

/// Takes a reference, since copying the arguments again would slow down small tiles by a percent.
#[cfg_attr(target_family = "wasm", inline(always))]
#[cfg_attr(not(target_family = "wasm"), inline(never))]
fn run(level: Level, call: &mut Compute<'_, '_>) {
    level.run(call);
}

impl Kernel for &mut Compute<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Compute { tile, stage, cover, buffers, scores } = self;
        if S::HAS_HALF_TILES && scores.len() == (tile.to - tile.from) * S::LANES {
            tile.compute_at::<S, ROWS, 1>(simd, *stage, *cover, buffers, scores);
        } else {
            tile.compute_at::<S, ROWS, VECTORS>(simd, *stage, *cover, buffers, scores);
        }
    }
}

/// Returns true if every value of these rows is so small that the dot product of two such rows cannot overflow.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn are_bounded<S: Simd>(simd: S, data: &[f32], stride: usize, size: usize, rows: usize) -> bool {
    for row in 0..rows {
        if !is_below_1e15(simd, &data[row * stride..][..size]) {
            return false;
        }
    }
    true
}

/// Returns true if every value is below 3.4e15 in magnitude. A larger one overflows when multiplied by the factor, and
/// ∞ · 0 is NaN.
#[inline(always)]
fn is_below_1e15<S: Simd>(simd: S, values: &[f32]) -> bool {
    const FACTOR: f32 = 1e23;
    let mut zeros = simd.splat(0.0);
    let mut chunks = values.chunks_exact(S::LANES);
    for chunk in &mut chunks {
        zeros = simd.mul_add(simd.load(chunk) * FACTOR, simd.splat(0.0), zeros);
    }
    simd.reduce_sum(zeros) == 0.0 && chunks.remainder().iter().all(|value| value.abs() < 1e15)
}

/// Returns `score + bias`, or −∞ if the bias is −∞, whatever the score.
#[inline(always)]
pub(crate) fn add_bias<S: Simd>(simd: S, score: S::F, bias: S::F) -> S::F {
    let hidden = simd.splat(f32::NEG_INFINITY);
    // The comparison must be false for a NaN bias, hence "less than `f32::MIN`".
    let is_hidden = simd.lt(bias, simd.splat(f32::MIN));
    simd.select(is_hidden, hidden, score + bias)
}

/// Applies `cap · tanh(s / cap)`; `scores` holds whole vectors.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn soft_cap<S: Simd>(simd: S, cap: f32, scores: &mut [f32]) {
    let (cap, inverse) = (simd.splat(cap), simd.splat(1.0 / cap));
    for chunk in scores.chunks_exact_mut(S::LANES) {
        let capped = tanh(simd, simd.load(chunk) * inverse);
        simd.store(chunk, capped * cap);
    }
}

/// Returns `e^x` for a score whose difference from the largest is x ≤ 0. The rounding error of the product grows with
/// −x, but the weight shrinks faster. Scores scaled by log₂ e up front would be rounded before the difference is taken.
#[inline(always)]
pub(crate) fn weight_of<S: Simd>(simd: S, x: S::F) -> S::F {
    exp2(simd, x * LOG2_E)
}

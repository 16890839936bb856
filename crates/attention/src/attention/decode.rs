//! The decoding pass: a few query rows of one key/value head, computed along their length.
//!
//! Memory bandwidth is the limit, so each key and value is read once for all rows, in order and one block at a time.
//! While keys are read, the values are prefetched, and vice versa.

use std::ops::Range;

use crate::attention::Problem;
use crate::attention::forward::{Item, Targets};
use crate::attention::head_rows::{BlockRows, HeadRows, with_rows};
use crate::attention::score::soft_cap;
use crate::math::exp::exp;
use crate::math::softmax::{exp_sum, row_max};
use crate::math::sum::carry_all;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, SIDE_BY_SIDE, Simd, Source, add_rows, dots};
use crate::sizes::{CACHE_LINE, DECODE_KEYS};

/// Keys whose values are summed plainly before their sums are added to the totals.
const CARRY_KEYS: usize = 64;

/// Returns the scratch memory that one item needs, in values.
pub(super) fn scratch_len(problem: &Problem<'_>, rows: usize) -> usize {
    State::len(problem, rows)
}

/// The pass over one item, with scores in natural units.
pub(super) struct Decode<'a>(pub Item<'a>, pub Targets<'a>);

/// The scratch memory of a decoding item.
struct State<'a> {
    /// For each row, the scores of a block of keys, later its weights.
    scores: &'a mut [f32],
    bias: &'a mut [f32],
    /// Positions within the block of the scores that the mask leaves visible.
    slots: &'a mut [f32],
    queries: &'a mut [f32],
    /// A block of keys or values, if they are widened.
    widened: &'a mut [f32],
    /// Sums of weighted values since they were last added to the totals, and the rounding errors of the totals.
    sums: &'a mut [f32],
    totals: &'a mut [f32],
    max: &'a mut [f32],
    /// Sums of exponentials, and their rounding errors.
    sum: &'a mut [f32],
    error: &'a mut [f32],
}

impl<'a> State<'a> {
    fn len(problem: &Problem<'_>, rows: usize) -> usize {
        2 * (DECODE_KEYS + sums_len(problem, rows))
            + rows * (DECODE_KEYS + problem.head_dim + 3)
            + Self::widened_len(problem)
    }

    fn widened_len(problem: &Problem<'_>) -> usize {
        let [keys, values] = problem.widened_len(DECODE_KEYS);
        keys.max(values)
    }

    fn new(problem: &Problem<'_>, rows: usize, mut rest: &'a mut [f32]) -> Self {
        Self {
            scores: scratch::take(&mut rest, rows * DECODE_KEYS),
            bias: scratch::take(&mut rest, DECODE_KEYS),
            slots: scratch::take(&mut rest, DECODE_KEYS),
            queries: scratch::take(&mut rest, rows * problem.head_dim),
            widened: scratch::take(&mut rest, Self::widened_len(problem)),
            sums: scratch::take(&mut rest, sums_len(problem, rows)),
            totals: scratch::take(&mut rest, sums_len(problem, rows)),
            max: scratch::take(&mut rest, rows),
            sum: scratch::take(&mut rest, rows),
            error: scratch::take(&mut rest, rows),
        }
    }
}

/// Returns the number of values in the sums of all rows, in whole vectors of any level.
fn sums_len(problem: &Problem<'_>, rows: usize) -> usize {
    (rows * problem.value_dim).next_multiple_of(CACHE_LINE)
}

/// Returns the number of keys in one block.
fn key_block(problem: &Problem<'_>) -> usize {
    problem.key_block.min(DECODE_KEYS)
}

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self(item, targets) = self;
        let mut scratch = Scratch::take(item.scratch_len);
        item.run_decode(simd, State::new(item.problem, item.rows.len(), scratch.values()), targets);
    }
}

/// Rows of k or v, starting at a block's first key.
#[derive(Clone, Copy)]
struct Stream<D> {
    data: D,
    stride: usize,
    width: usize,
}

/// Rows to prefetch: those of `rows` from row `first` on.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    rows: HeadRows<'a>,
    first: usize,
    width: usize,
}

impl Ahead<'_> {
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, rows: Range<usize>) {
        self.rows.prefetch(simd, self.first + rows.start..self.first + rows.end, self.width);
    }
}

impl Item<'_> {
    #[inline(always)]
    fn run_decode<S: Simd>(&self, simd: S, mut state: State<'_>, mut targets: Targets<'_>) {
        let problem = self.problem;
        let (head_dim, value_dim) = (problem.head_dim, problem.value_dim);
        let (mut first, mut last) = (problem.keys, 0);
        for row in self.rows.clone() {
            let [b, h, i] = self.row(row);
            let query = &problem.q[problem.q_strides.row(b, h, i)..][..head_dim];
            for (scaled, &query) in state.queries[row * head_dim..].iter_mut().zip(query) {
                *scaled = query * problem.scale;
            }
            let keys = self.visible_keys(b, i);
            (first, last) = (first.min(keys.start), last.max(keys.end));
        }
        for zeros in [&mut *state.sums, &mut *state.totals, &mut *state.sum, &mut *state.error] {
            zeros.fill(0.0);
        }
        state.max.fill(f32::MIN);
        if !targets.is_part {
            for row in self.rows.clone() {
                [state.max[row], state.sum[row]] = problem.visibility.start(self.row(row)[1]);
            }
        }
        let may_hide = problem.visibility.may_bias_hide();
        let key_block = key_block(problem);
        for block in (first / key_block * key_block..last).step_by(key_block) {
            let mut rows = self.rows.start..self.rows.start;
            while rows.end < self.rows.end {
                rows = rows.end..rows.end + 1;
                let keys = self.keys_in_block(rows.start, block);
                // Process rows that see the same keys together; a bias may hide different keys of different rows.
                while !may_hide && rows.end < self.rows.end && keys == self.keys_in_block(rows.end, block) {
                    rows.end += 1;
                }
                if !keys.is_empty() {
                    self.add_block(simd, &mut state, rows.clone(), keys);
                }
            }
            if (block + key_block) % CARRY_KEYS < key_block {
                carry_all(simd, state.totals, state.sums);
            }
        }
        for row in self.rows.clone() {
            let scale = targets.output_scale(state.sum[row]);
            let sums = state.totals[row * value_dim..].iter().zip(&state.sums[row * value_dim..]);
            for (output, (total, sum)) in targets.output_row(row).iter_mut().zip(sums) {
                *output = (total + sum) * scale;
            }
            targets.write_statistics(row, state.max[row], state.sum[row]);
        }
    }

    /// Returns the keys at or after `block` that a row sees within that block.
    fn keys_in_block(&self, row: usize, block: usize) -> Range<usize> {
        let [b, _, i] = self.row(row);
        let keys = self.visible_keys(b, i);
        keys.start.max(block)..keys.end.min(block + key_block(self.problem))
    }

    /// Adds keys of a block to the sums of `rows`, all of which see them; if a bias may hide keys, `rows` is one row.
    #[inline(always)]
    fn add_block<S: Simd>(&self, simd: S, state: &mut State<'_>, rows: Range<usize>, keys: Range<usize>) {
        let problem = self.problem;
        let (head_dim, value_dim) = (problem.head_dim, problem.value_dim);
        let count = keys.len();
        let k = problem.key_rows(self.b(), self.kv_head());
        let v = problem.value_rows(self.b(), self.kv_head());
        let queries = &state.queries[rows.start * head_dim..rows.end * head_dim];
        let scores = &mut state.scores[..rows.len() * DECODE_KEYS];
        let ahead = Ahead { rows: v, first: keys.start, width: value_dim };
        let may_hide = problem.visibility.may_bias_hide();
        // More rows would widen each key more than once.
        let in_registers = rows.len() <= 2 && count.is_multiple_of(SIDE_BY_SIDE) && !may_hide;
        let (block, stride) = k.block(simd, keys.clone(), head_dim, in_registers, state.widened);
        with_rows!(block, data => {
            let stream = Stream { data, stride, width: head_dim };
            score_rows(simd, queries, rows.len(), stream, count, scores, ahead);
        });
        let mut num_visible = count;
        for (row, scores) in rows.clone().zip(scores.chunks_exact_mut(DECODE_KEYS)) {
            let [b, h, i] = self.row(row);
            if problem.softcap > 0.0 {
                // Cap whole vectors: the padding after the last score is capped too, but never read.
                soft_cap(simd, problem.softcap, scores);
            }
            let relative = problem.visibility.relative.map(|bias| &bias.row([b, h, i], keys.start)[..count]);
            let relative = relative.unwrap_or_default();
            if may_hide {
                let bias = &mut state.bias[..count];
                bias.fill(0.0);
                problem.visibility.bias_row(simd, problem.visibility.mask_row(b, h, i), keys.start, count, bias);
                bias.iter_mut().zip(relative).for_each(|(bias, &relative)| *bias = added_bias(*bias, relative));
                num_visible = compact_visible(scores, bias, state.slots);
            } else {
                scores.iter_mut().zip(relative).for_each(|(score, bias)| *score += bias);
            }
            let scores = &mut scores[..num_visible];
            let max = state.max[row].max(row_max(simd, scores));
            if max != state.max[row] {
                let rescale = scalar_exp(simd, state.max[row] - max);
                for sums in [&mut *state.sums, &mut *state.totals] {
                    sums[row * value_dim..][..value_dim].iter_mut().for_each(|sum| *sum *= rescale);
                }
                state.sum[row] *= rescale;
                state.error[row] *= rescale;
            }
            let sum = f64::from(state.sum[row]) + f64::from(state.error[row] + exp_sum(simd, scores, max));
            state.sum[row] = sum as f32;
            state.error[row] = (sum - f64::from(state.sum[row])) as f32;
            state.max[row] = max;
            if let Some(dropout) = problem.dropout {
                for (n, score) in scores.iter_mut().enumerate() {
                    let slot = if may_hide { state.slots[n] as usize } else { n };
                    dropout.apply([b, h, i], keys.start + slot, std::iter::once(score));
                }
            }
        }
        let slots = may_hide.then_some(&*state.slots);
        let sums = &mut state.sums[rows.start * value_dim..rows.end * value_dim];
        let ahead = Ahead { rows: k, first: keys.start + key_block(problem), width: head_dim };
        let (block, stride) = v.block(simd, keys, value_dim, in_registers, state.widened);
        with_rows!(block, data => {
            let stream = Stream { data, stride, width: value_dim };
            sum_rows(simd, scores, rows.len(), stream, num_visible, slots, sums, ahead);
        });
    }
}

/// Computes the scores of `count` keys for each query, stored one block length apart, and prefetches `count` rows of
/// `ahead`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn score_rows<S: Simd>(
    simd: S,
    queries: &[f32],
    rows: usize,
    keys: Stream<impl Source>,
    count: usize,
    scores: &mut [f32],
    ahead: Ahead<'_>,
) {
    let width = keys.width;
    let mut n = 0;
    while n < count {
        let data = keys.data.skip(n * keys.stride);
        if n + SIDE_BY_SIDE <= count {
            ahead.prefetch(simd, n..n + SIDE_BY_SIDE);
            let mut r = 0;
            while r + 2 <= rows {
                let [a, b] = dots::<S, 2>(simd, &queries[r * width..], data, keys.stride, width);
                write(scores, r, n, a);
                write(scores, r + 1, n, b);
                r += 2;
            }
            if r < rows {
                let [a] = dots::<S, 1>(simd, &queries[r * width..], data, keys.stride, width);
                write(scores, r, n, a);
            }
            n += SIDE_BY_SIDE;
        } else {
            // At most three keys remain, at the ends of the range that a row sees.
            for r in 0..rows {
                let query = &queries[r * width..][..width];
                scores[r * DECODE_KEYS + n] = query.iter().enumerate().map(|(at, query)| query * data.get(at)).sum();
            }
            n += 1;
        }
    }
}

/// Writes the scores of row `r`, from key `n` of the block on. A copy of slices may stay a call.
#[inline(always)]
fn write(scores: &mut [f32], r: usize, n: usize, values: [f32; SIDE_BY_SIDE]) {
    if let Some(target) = scores[r * DECODE_KEYS + n..].first_chunk_mut() {
        *target = values;
    }
}

/// Returns the weights of row `r`, from key `n` of the block on.
#[inline(always)]
fn quad(weights: &[f32], r: usize, n: usize) -> [f32; SIDE_BY_SIDE] {
    let at = r * DECODE_KEYS + n;
    [weights[at], weights[at + 1], weights[at + 2], weights[at + 3]]
}

/// Adds `count` rows of values, each times its weight, to each sum: the rows at `slots`, or the first `count` rows.
/// Prefetches `count` rows of `ahead`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn sum_rows<S: Simd>(
    simd: S,
    weights: &[f32],
    rows: usize,
    values: Stream<impl Source>,
    count: usize,
    slots: Option<&[f32]>,
    sums: &mut [f32],
    ahead: Ahead<'_>,
) {
    let width = values.width;
    let start = |n: usize| match slots {
        Some(slots) => slots[n] as usize * values.stride,
        None => n * values.stride,
    };
    let mut n = 0;
    while n < count {
        if n + SIDE_BY_SIDE <= count {
            ahead.prefetch(simd, n..n + SIDE_BY_SIDE);
            let starts = [start(n), start(n + 1), start(n + 2), start(n + 3)];
            let mut r = 0;
            while S::LANES == 16 && r + 4 <= rows {
                let four =
                    [quad(weights, r, n), quad(weights, r + 1, n), quad(weights, r + 2, n), quad(weights, r + 3, n)];
                add_rows(simd, four, values.data, starts, width, &mut sums[r * width..]);
                r += 4;
            }
            while r + 2 <= rows {
                let pair = [quad(weights, r, n), quad(weights, r + 1, n)];
                add_rows(simd, pair, values.data, starts, width, &mut sums[r * width..]);
                r += 2;
            }
            if r < rows {
                add_rows(simd, [quad(weights, r, n)], values.data, starts, width, &mut sums[r * width..]);
            }
            n += SIDE_BY_SIDE;
        } else {
            for r in 0..rows {
                let weight = weights[r * DECODE_KEYS + n];
                let sums = &mut sums[r * width..][..width];
                let row = values.data.skip(start(n));
                // Known in advance, so that the loop needs no checks.
                assert!(row.count() >= width);
                sums.iter_mut().enumerate().for_each(|(at, sum)| *sum += weight * row.get(at));
            }
            n += 1;
        }
    }
}

/// Adds the bias and compacts the visible scores, together with their slots, to the front. Returns how many are
/// visible.
fn compact_visible(scores: &mut [f32], bias: &[f32], slots: &mut [f32]) -> usize {
    let mut count = 0;
    for (key, &bias) in bias.iter().enumerate() {
        if bias != f32::NEG_INFINITY {
            scores[count] = scores[key] + bias;
            // Exact, because a block is short.
            slots[count] = key as f32;
            count += 1;
        }
    }
    count
}

/// Returns the sum of two biases, or −∞ if either is −∞, whatever the other is.
fn added_bias(a: f32, b: f32) -> f32 {
    if a == f32::NEG_INFINITY || b == f32::NEG_INFINITY { f32::NEG_INFINITY } else { a + b }
}

/// Applies the vector exponential to one value, so that every code path rounds alike.
#[inline(always)]
fn scalar_exp<S: Simd>(simd: S, x: f32) -> f32 {
    let mut lanes = [0.0; 16];
    simd.store(&mut lanes, exp(simd, simd.splat(x)));
    lanes[0]
}

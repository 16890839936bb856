//! The pass over the few rows of one key/value head, along their length: what decoding is.

use crate::math::dot::{dot, weighted_sum};
use crate::math::exp::exp;
use crate::math::softmax::{exp_sum, row_max};
use crate::scratch::{self, Scratch};
use crate::sdpa::Problem;
use crate::sdpa::forward::Item;
use crate::sdpa::score::{KEY_BLOCK, head_rows, soft_cap};
use crate::simd::{Kernel, Simd};

/// The working memory of an item.
pub(super) fn scratch_len(problem: &Problem<'_>, rows: usize) -> usize {
    DecodeState::len(problem, rows)
}

/// The pass over one item, scores in natural units.
pub(super) struct Decode<'a>(pub Item<'a>);

/// The working memory of a decoding item.
struct DecodeState<'a> {
    /// The scores, then weights, of a block of keys for one row; whole vectors.
    scores: &'a mut [f32],
    bias: &'a mut [f32],
    queries: &'a mut [f32],
    sums: &'a mut [f32],
    max: &'a mut [f32],
    sum: &'a mut [f32],
}

impl<'a> DecodeState<'a> {
    fn len(problem: &Problem<'_>, rows: usize) -> usize {
        2 * KEY_BLOCK + rows * (problem.head_dim + problem.value_dim + 2)
    }

    fn new(problem: &Problem<'_>, rows: usize, mut rest: &'a mut [f32]) -> Self {
        Self {
            scores: scratch::take(&mut rest, KEY_BLOCK),
            bias: scratch::take(&mut rest, KEY_BLOCK),
            queries: scratch::take(&mut rest, rows * problem.head_dim),
            sums: scratch::take(&mut rest, rows * problem.value_dim),
            max: scratch::take(&mut rest, rows),
            sum: scratch::take(&mut rest, rows),
        }
    }
}

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let mut scratch = Scratch::take(self.0.scratch_len);
        self.0.run_decode(simd, DecodeState::new(self.0.problem, self.0.rows.len(), scratch.values()));
    }
}

impl Item<'_> {
    #[inline(always)]
    fn run_decode<S: Simd>(&self, simd: S, state: DecodeState<'_>) {
        let problem = self.problem;
        let (head_dim, value_dim) = (problem.head_dim, problem.value_dim);
        let (keys, key_stride) = head_rows(problem.k, problem.k_strides, self.b, self.kv_head);
        let (values, value_stride) = head_rows(problem.v, problem.v_strides, self.b, self.kv_head);
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
        state.sums.fill(0.0);
        state.max.fill(f32::MIN);
        state.sum.fill(0.0);
        for block in (first / KEY_BLOCK * KEY_BLOCK..last).step_by(KEY_BLOCK) {
            for row in self.rows.clone() {
                let [b, h, i] = self.row(row);
                let visible_keys = self.visible_keys(b, i);
                let (from, to) = (visible_keys.start.max(block), visible_keys.end.min(block + KEY_BLOCK));
                if from >= to {
                    continue;
                }
                let query = &state.queries[row * head_dim..][..head_dim];
                for (score, key) in state.scores.iter_mut().zip(from..to) {
                    *score = dot(simd, query, &keys[key * key_stride..][..head_dim]);
                }
                if problem.softcap > 0.0 {
                    // Whole vectors: what lies behind the last score is capped too, and never read.
                    soft_cap(simd, problem.softcap, state.scores);
                }
                let mut visible = [0u32; KEY_BLOCK];
                let mut count = to - from;
                if problem.visibility.has_mask() {
                    problem.visibility.bias_row(simd, problem.visibility.mask_row(b, h, i), from, count, state.bias);
                    count = keep_visible(state.scores, &state.bias[..count], &mut visible);
                } else {
                    visible.iter_mut().zip(0..).for_each(|(visible, key)| *visible = key);
                }
                let scores = &mut state.scores[..count];
                let max = state.max[row].max(row_max(simd, scores));
                let rescale = scalar_exp(simd, state.max[row] - max);
                state.sum[row] = state.sum[row] * rescale + exp_sum(simd, scores, max);
                state.max[row] = max;
                if let Some(dropout) = problem.dropout {
                    for (score, &key) in scores.iter_mut().zip(&visible) {
                        dropout.apply([b, h, i], from + key as usize, std::iter::once(score));
                    }
                }
                let value = |n: usize| &values[(from + visible[n] as usize) * value_stride..][..value_dim];
                let sums = &mut state.sums[row * value_dim..][..value_dim];
                weighted_sum(simd, scores, value, rescale, sums);
            }
        }
        for row in self.rows.clone() {
            let scale = self.output_scale(state.sum[row]);
            let (output, start) = self.output_row(row);
            // SAFETY: each output row belongs to one item, which writes it once.
            let output = unsafe { output.slice(start, value_dim) };
            for (output, sum) in output.iter_mut().zip(&state.sums[row * value_dim..]) {
                *output = sum * scale;
            }
            self.write_statistics(row, state.max[row], state.sum[row]);
        }
    }
}

/// Adds the bias and moves the scores that it does not hide to the front, with their places in `visible`; how many there are.
fn keep_visible(scores: &mut [f32], bias: &[f32], visible: &mut [u32; KEY_BLOCK]) -> usize {
    let mut count = 0;
    for (key, &bias) in bias.iter().enumerate() {
        if bias != f32::NEG_INFINITY {
            scores[count] = scores[key] + bias;
            visible[count] = key as u32;
            count += 1;
        }
    }
    count
}

/// The vector exponential of one value, so that every path rounds alike.
#[inline(always)]
fn scalar_exp<S: Simd>(simd: S, x: f32) -> f32 {
    let mut lanes = [0.0; 16];
    simd.store(&mut lanes, exp(simd, simd.splat(x)));
    lanes[0]
}

//! Keys that a layer adds after those of a call: a learned key with its value, and a key and a value of zeros, as
//! `add_bias_kv` and `add_zero_attn` of `torch.nn.MultiheadAttention`. Every row sees them.

use crate::attention::Problem;
use crate::context::{Context, operations};
use crate::error::Result;
use crate::layers::attention_state::AttentionState;
use crate::layers::parameters::Part;
use crate::tensor::try_zeroed;

/// The added keys of a layer.
#[derive(Clone, Copy)]
pub(crate) struct ExtraKeys<'a> {
    /// A key and a value of every key/value head.
    learned: Option<(&'a [f32], &'a [f32])>,
    has_zero: bool,
}

/// The attention to the keys of a call, of which the added ones take their share.
pub(crate) struct Attended<'a> {
    /// `[B, L, H, E]`.
    pub output: &'a mut [f32],
    /// `[B, H, L]`.
    pub log_sum_exp: &'a [f32],
    /// `[B, H, L, S]`; empty without a request for weights.
    pub weights: &'a [f32],
}

/// The shares of a row's softmax: of the keys of the call, of the learned key, and of the key of zeros.
const SHARES: usize = 3;

impl<'a> ExtraKeys<'a> {
    /// Returns the keys that a layer adds, if there are any.
    pub(crate) fn of(state: &'a AttentionState) -> Option<Self> {
        let learned = state.part(Part::ExtraKey).zip(state.part(Part::ExtraValue));
        let has_zero = state.config().add_zero_attn;
        (learned.is_some() || has_zero).then_some(Self { learned, has_zero })
    }

    /// Adds the keys to a problem's results. `weights`, `[B, H, L, S + n]` or their mean over the heads `[B, L, S +
    /// n]`, receives the weights of all keys.
    pub(crate) fn add(
        &self,
        context: Context<'_>,
        problem: &Problem<'_>,
        attended: Attended<'_>,
        weights: Option<&mut [f32]>,
        is_mean: bool,
    ) -> Result<()> {
        let &Problem { batch, heads, queries, value_dim, .. } = problem;
        let rows = batch * queries;
        if rows == 0 {
            return Ok(());
        }
        let mut shares = try_zeroed("working memory", rows * heads * SHARES)?;
        let work = operations([rows, heads, 4 * value_dim + 64]);
        context.for_each_rows(rows, 64, work, [attended.output, &mut shares], |item, [output, shares]| {
            let rows =
                item.zip(output.chunks_exact_mut(heads * value_dim)).zip(shares.chunks_exact_mut(heads * SHARES));
            for ((row, output), shares) in rows {
                let (b, i) = (row / queries, row % queries);
                let heads = output.chunks_exact_mut(value_dim).zip(shares.chunks_exact_mut(SHARES));
                for (h, (output, shares)) in heads.enumerate() {
                    let log_sum = attended.log_sum_exp[(b * problem.heads + h) * queries + i];
                    self.add_to_row(problem, [b, h, i], log_sum, output, shares);
                }
            }
        });
        if let Some(weights) = weights {
            let count = usize::from(self.learned.is_some()) + usize::from(self.has_zero);
            let maps = if is_mean { 1 } else { heads };
            let width = problem.keys + count;
            context.for_each_rows(rows * maps, 64, operations([rows, heads, width]), [weights], |item, [weights]| {
                for (row, weights) in item.zip(weights.chunks_exact_mut(width)) {
                    let (b, map, i) = (row / (maps * queries), row / queries % maps, row % queries);
                    let each = if is_mean { 0..heads } else { map..map + 1 };
                    let factor = 1.0 / each.len() as f32;
                    weights.fill(0.0);
                    for h in each {
                        let shares = &shares[((b * queries + i) * heads + h) * SHARES..][..SHARES];
                        let own = &attended.weights[((b * heads + h) * queries + i) * problem.keys..][..problem.keys];
                        let (call, extra) = weights.split_at_mut(problem.keys);
                        call.iter_mut().zip(own).for_each(|(to, weight)| *to += weight * shares[0] * factor);
                        let added = self.present(shares);
                        extra.iter_mut().zip(added).for_each(|(to, share)| *to += share * factor);
                    }
                }
            });
        }
        Ok(())
    }

    /// Adds the keys to a row's output, and returns the shares of its softmax.
    fn add_to_row(&self, problem: &Problem<'_>, row: [usize; 3], log_sum: f32, output: &mut [f32], shares: &mut [f32]) {
        let [b, h, i] = row;
        let kv_head = h * problem.kv_heads / problem.heads;
        let learned = self.learned.map(|(key, value)| {
            let query = &problem.q[problem.q_strides.row(b, h, i)..][..problem.head_dim];
            let key = &key[kv_head * problem.head_dim..][..problem.head_dim];
            let product: f64 = query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
            let (score, cap) = (product * f64::from(problem.scale), f64::from(problem.softcap));
            let score = if cap > 0.0 { cap * (score / cap).tanh() } else { score };
            (score, &value[kv_head * problem.value_dim..][..problem.value_dim])
        });
        let scores = [
            f64::from(log_sum),
            learned.map_or(f64::NEG_INFINITY, |(score, _)| score),
            if self.has_zero { 0.0 } else { f64::NEG_INFINITY },
        ];
        let max = scores.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let powers = scores.map(|score| (score - max).exp());
        let sum: f64 = powers.iter().sum();
        shares.iter_mut().zip(powers).for_each(|(share, power)| *share = (power / sum) as f32);
        if let Some(dropout) = problem.dropout {
            let [_, added @ ..] = shares else { return };
            let is_present = [self.learned.is_some(), self.has_zero];
            let added = added.iter_mut().zip(is_present).filter(|(_, is_present)| *is_present);
            // A packed sequence draws what it would draw alone.
            let (part, first) = problem.at(i);
            dropout.apply([b, h, i - first], part.keys, added.map(|(share, _)| share));
        }
        output.iter_mut().for_each(|value| *value *= shares[0]);
        if let Some((_, value)) = learned {
            output.iter_mut().zip(value).for_each(|(sum, value)| *sum += shares[1] * value);
        }
    }

    /// Returns the shares of the keys that there are.
    fn present(&self, shares: &[f32]) -> impl Iterator<Item = f32> {
        let [learned, zero] = [(shares[1], self.learned.is_some()), (shares[2], self.has_zero)];
        [learned, zero].into_iter().filter_map(|(share, is_present)| is_present.then_some(share))
    }
}

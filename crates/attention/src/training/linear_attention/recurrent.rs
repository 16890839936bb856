//! The gradients of the rules other than 'kernel', by a scan from the last position to the first.
//!
//! States are computed again from the state at the start of each chunk, so that memory is O(L · D · E / chunk).

use super::products::{add_outer, add_product, add_transposed, dot, write};
use super::{Heads, LinearAttentionGradients, ResultGradients};
use crate::context::{Context, operations};
use crate::error::Result;
use crate::linear::{LinearAttention, LinearRule, LinearTensors};
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, try_zeroed};

/// Positions between states that are kept.
const CHUNK: usize = 32;

/// Computes the gradients.
pub(super) fn run(
    attention: &LinearAttention,
    context: Context<'_>,
    tensors: LinearTensors<'_>,
    results: ResultGradients<'_>,
    gradients: LinearAttentionGradients<'_>,
) -> Result<()> {
    let LinearTensors { q, k, v, decay, beta, state, .. } = tensors;
    let config = attention.config();
    let is_joined = q.shape.rank() == 3;
    let queries = Heads::new(q.shape, config.num_heads, is_joined);
    let kv_heads = if is_joined { config.kv_heads.unwrap_or(config.num_heads) } else { k.shape.dims()[1] };
    let heads = |tensor: Tensor<'_>| Heads::new(tensor.shape, kv_heads, is_joined);
    let (keys, values) = (heads(k), heads(v));
    // A gate may have one head for all; with joined dimensions, its width tells.
    let gate = |gate: Tensor<'_>| {
        let width = gate.shape.dims()[2];
        Heads::new(gate.shape, if is_joined { kv_heads.min(width) } else { kv_heads }, is_joined)
    };
    let (decays, betas) = (decay.map(gate), beta.map(gate));
    let outputs = Heads::new(results.output.shape, config.num_heads, is_joined);
    let (count, group) = (keys.batch * kv_heads, queries.heads.checked_div(kv_heads).unwrap_or(0));
    let (length, size, value_dim) = (keys.length, keys.size, values.size);
    let decay_size = decays.map_or(0, |decay| decay.size);
    let widths = [group * size, size, value_dim, decay_size, usize::from(betas.is_some())];
    let mut buffers = Vec::new();
    for width in widths {
        buffers.push(try_zeroed("working memory", count * length * width)?);
    }
    let state_len = size * value_dim;
    buffers.push(try_zeroed("working memory", count * state_len)?);
    let scale = config.scale.map_or(1.0 / (size.max(1) as f64).sqrt(), f64::from);
    let is_delta = matches!(config.rule, LinearRule::Delta | LinearRule::GatedDelta);
    if count > 0 {
        let [a, b, c, d, e, f] = &mut buffers[..] else { return Ok(()) };
        let cost = operations([count, length, state_len, 10 + 2 * group]);
        context.for_each_rows(count, 1, cost, [&mut a[..], b, c, d, e, f], |item, targets| {
            let (b, g) = (item.start / kv_heads, item.start % kv_heads);
            let read = |heads: &Heads, data: &[f32], head: usize| heads.read(data, b, head, 0..length);
            let of_group = |heads: &Heads, data: &[f32]| -> Vec<f64> {
                (g * group..(g + 1) * group).flat_map(|head| read(heads, data, head)).collect()
            };
            let of_gate = |heads: Option<Heads>, gate: Option<Tensor<'_>>| match (heads, gate) {
                (Some(heads), Some(gate)) => read(&heads, gate.data, g.min(heads.heads - 1)),
                _ => vec![],
            };
            let state_of = |state: Option<Tensor<'_>>| -> Vec<f64> {
                let of = |state: Tensor<'_>| state.data[item.start * state_len..][..state_len].to_vec();
                state.map_or(vec![0.0; state_len], |state| of(state).into_iter().map(f64::from).collect())
            };
            context.level.run(Head {
                sizes: [length, size, value_dim],
                group,
                scale,
                is_delta,
                queries: of_group(&queries, q.data),
                gradients: of_group(&outputs, results.output.data),
                keys: read(&keys, k.data, g),
                values: read(&values, v.data, g),
                decay: of_gate(decays, decay).into_iter().map(f64::exp).collect(),
                beta: of_gate(betas, beta),
                state: state_of(state),
                state_gradient: state_of(results.state),
                targets,
            });
        });
    }
    let LinearAttentionGradients { q, k, v, decay, beta, state } = gradients;
    let targets =
        [(Some(queries), Some(q)), (Some(keys), Some(k)), (Some(values), Some(v)), (decays, decay), (betas, beta)];
    for ((heads, target), buffer) in targets.into_iter().zip(&buffers) {
        if let (Some(heads), Some(target)) = (heads, target) {
            target.fill(0.0);
            heads.add(buffer, if heads.heads == queries.heads { queries.heads } else { kv_heads }, target);
        }
    }
    if let Some(target) = state {
        target.copy_from_slice(&buffers[widths.len()]);
    }
    Ok(())
}

/// One item: a key/value head, and the query heads that read its state.
struct Head<'a> {
    /// L, D and E.
    sizes: [usize; 3],
    group: usize,
    scale: f64,
    is_delta: bool,
    /// `[group][L][D]`, and the gradients of the outputs, `[group][L][E]`.
    queries: Vec<f64>,
    gradients: Vec<f64>,
    keys: Vec<f64>,
    values: Vec<f64>,
    /// The factors of the state, `[L][1 or D]`, if the rule has them.
    decay: Vec<f64>,
    /// `[L]`, if the rule has it.
    beta: Vec<f64>,
    /// The state before the first position, and the gradient of that after the last.
    state: Vec<f64>,
    state_gradient: Vec<f64>,
    /// The gradients of q, k, v, decay, beta and the state.
    targets: [&'a mut [f32]; 6],
}

impl Head<'_> {
    /// Multiplies the rows of a state by the factors of a position.
    #[inline(always)]
    fn decay(&self, t: usize, state: &mut [f64]) {
        let [length, _, value_dim] = self.sizes;
        let width = self.decay.len() / length;
        for (row, values) in state.chunks_exact_mut(value_dim.max(1)).enumerate().take_while(|_| width > 0) {
            let factor = self.decay[t * width + row % width];
            values.iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// Returns `v_t`, less what the state already returns for the key if the rule is a delta rule.
    #[inline(always)]
    fn missing(&self, t: usize, decayed: &[f64]) -> Vec<f64> {
        let [_, size, value_dim] = self.sizes;
        let mut missing = self.values[t * value_dim..][..value_dim].to_vec();
        if self.is_delta {
            let mut found = vec![0.0; value_dim];
            add_transposed(decayed, &self.keys[t * size..][..size], &mut found);
            missing.iter_mut().zip(found).for_each(|(missing, found)| *missing -= found);
        }
        missing
    }

    /// Returns the factor of what enters the state.
    fn beta(&self, t: usize) -> f64 {
        if self.is_delta { self.beta[t] } else { 1.0 }
    }

    /// Advances the state by a position.
    #[inline(always)]
    fn advance(&self, t: usize, state: &mut [f64]) {
        let size = self.sizes[1];
        self.decay(t, state);
        let mut added = self.missing(t, state);
        added.iter_mut().for_each(|added| *added *= self.beta(t));
        add_outer(state, &self.keys[t * size..][..size], &added);
    }
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, _: S) {
        let [length, size, value_dim] = self.sizes;
        let [for_q, for_k, for_v, for_decay, for_beta, for_state] = std::mem::take(&mut self.targets);
        let len = size * value_dim;

        // Step 1: the state at the start of each chunk.
        let mut starts = Vec::with_capacity(length.div_ceil(CHUNK) * len);
        let mut state = std::mem::take(&mut self.state);
        for t in 0..length {
            if t.is_multiple_of(CHUNK) {
                starts.extend_from_slice(&state);
            }
            self.advance(t, &mut state);
        }

        // Step 2: chunk by chunk from the end, the states within it, and then its positions from the end.
        let mut slope = std::mem::take(&mut self.state_gradient);
        let mut states = vec![0.0; (CHUNK + 1) * len];
        for chunk in (0..length.div_ceil(CHUNK)).rev() {
            let first = chunk * CHUNK;
            let count = CHUNK.min(length - first);
            states[..len].copy_from_slice(&starts[chunk * len..][..len]);
            for t in 0..count {
                let (before, after) = states.split_at_mut((t + 1) * len);
                after[..len].copy_from_slice(&before[t * len..]);
                self.advance(first + t, &mut after[..len]);
            }
            for index in (0..count).rev() {
                let t = first + index;
                let key = &self.keys[t * size..][..size];
                let after = &states[(index + 1) * len..][..len];

                // Output rows: o_t = scale · S_tᵀ q_t.
                for member in 0..self.group {
                    let row = member * length + t;
                    let query = &self.queries[row * size..][..size];
                    let gradient: Vec<f64> =
                        self.gradients[row * value_dim..][..value_dim].iter().map(|g| g * self.scale).collect();
                    let mut for_query = vec![0.0; size];
                    add_product(after, &gradient, &mut for_query);
                    write(&mut for_q[row * size..][..size], &for_query);
                    add_outer(&mut slope, query, &gradient);
                }

                // The update: S_t = D + k_t ⊗ u_t, where D is the decayed state and u_t = β (v_t − Dᵀ k_t), or v_t.
                let mut decayed = states[index * len..][..len].to_vec();
                self.decay(t, &mut decayed);
                let missing = self.missing(t, &decayed);
                let beta = self.beta(t);
                let mut for_update = vec![0.0; value_dim];
                add_transposed(&slope, key, &mut for_update);
                let mut for_key = vec![0.0; size];
                add_product(&slope, &missing, &mut for_key);
                for_key.iter_mut().for_each(|value| *value *= beta);
                if self.is_delta {
                    for_beta[t] = dot(&for_update, &missing) as f32;
                    for_update.iter_mut().for_each(|value| *value *= beta);
                    let opposite: Vec<f64> = for_update.iter().map(|value| -value).collect();
                    add_product(&decayed, &opposite, &mut for_key);
                    add_outer(&mut slope, key, &opposite);
                }
                write(&mut for_k[t * size..][..size], &for_key);
                write(&mut for_v[t * value_dim..][..value_dim], &for_update);

                // The decay: D = a_t S_{t−1}.
                let width = self.decay.len() / length;
                if width > 0 {
                    let mut sums = vec![0.0; width];
                    let rows = slope.chunks_exact(value_dim.max(1)).zip(decayed.chunks_exact(value_dim.max(1)));
                    for (row, (slope, decayed)) in rows.enumerate() {
                        sums[row % width] += dot(slope, decayed);
                    }
                    write(&mut for_decay[t * width..][..width], &sums);
                    self.decay(t, &mut slope);
                }
            }
        }
        write(for_state, &slope);
    }
}

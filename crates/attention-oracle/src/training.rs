//! Gradients by the chain rule, one row at a time and with every weight in memory.

use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::math::random::Dropout;
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::tensor::Tensor;

use crate::{Heads, attention, broadcast, dot, doubles, places, rows, sequences};

/// The gradients of attention, each in the shape of its input; empty for an input that is not given.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionGradients {
    /// The gradient of the queries.
    pub q: Vec<f64>,
    /// The gradient of the keys.
    pub k: Vec<f64>,
    /// The gradient of the values.
    pub v: Vec<f64>,
    /// The gradient of a float mask.
    pub mask: Vec<f64>,
    /// The gradient of the relative bias.
    pub relative_bias: Vec<f64>,
    /// The gradient of the sinks.
    pub sinks: Vec<f64>,
}

/// Computes the gradients of the sum of `gradient ∘ output`.
pub fn attention_gradients(
    [q, k, v]: [Tensor<'_>; 3],
    options: &AttentionOptions,
    arrays: Arrays<'_>,
    gradient: &[f32],
) -> AttentionGradients {
    let rank = q.shape.rank();
    let forward = attention(q, k, v, options, arrays);
    let [q, k, v] = [q, k, v].map(|tensor| Heads::of(tensor, options.layout));
    let scale = options.scale.map_or(1.0 / (q.size.max(1) as f64).sqrt(), f64::from);
    let dropout = Dropout::new(options.dropout, options.seed);
    let output = Heads { data: doubles(gradient), size: v.size, ..q };
    let longest = |side: usize, all: usize| {
        sequences(arrays).map_or(all, |sequences| sequences.iter().map(|ranges| ranges[side].len()).max().unwrap_or(0))
    };
    let (longest_queries, longest_keys) = (longest(0, q.length), longest(1, k.length));
    let zeros = |len: usize| vec![0.0; len];
    let mut gradients = AttentionGradients {
        q: zeros(q.data.len()),
        k: zeros(k.data.len()),
        v: zeros(v.data.len()),
        mask: match arrays.mask {
            Some(Mask::Float(mask)) => zeros(mask.data.len()),
            _ => vec![],
        },
        relative_bias: zeros(arrays.relative_bias.map_or(0, |bias| bias.data.len())),
        sinks: zeros(arrays.sinks.map_or(0, <[f32]>::len)),
    };
    for (index, (b, h, i)) in rows(forward.shape).enumerate() {
        let group = h / (q.heads / k.heads);
        let gradient = &output.data[output.row(b, h, i)];
        let biased = &forward.biased[index * k.length..][..k.length];
        // A row without a visible key has the logarithm −∞, or its sink's.
        let seen = (0..k.length).filter(|&j| biased[j] != f64::NEG_INFINITY);
        let terms: Vec<(usize, f64, f64, f64)> = seen
            .map(|j| {
                let share = normalized(biased, arrays.sinks.map(|sinks| sinks[h]), biased[j]);
                let factor = match (dropout, places(arrays, i, j)) {
                    (Some(dropout), Some([i, j])) => f64::from(dropout.factors([b, h, i], j / 4)[j % 4]),
                    _ => 1.0,
                };
                (j, share, factor, factor * dot(gradient, &v.data[v.row(b, group, j)]))
            })
            .collect();
        let mean: f64 = terms.iter().map(|(_, share, _, slope)| share * slope).sum();
        if let Some(sinks) = arrays.sinks {
            let share = normalized(biased, Some(sinks[h]), f64::from(sinks[h]));
            gradients.sinks[h] -= share * mean;
        }
        for (j, share, factor, slope) in terms {
            let at = |row: std::ops::Range<usize>, vector: &mut Vec<f64>, factor: f64, values: &[f64]| {
                vector[row].iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
            };
            at(v.row(b, group, j), &mut gradients.v, share * factor, gradient);
            let slope = share * (slope - mean);
            if let Some(Mask::Float(mask)) = arrays.mask {
                gradients.mask[broadcast(mask.shape.dims(), rank, [b, h, i, j])] += slope;
            }
            if let (Some(bias), Some([i, j])) = (arrays.relative_bias, places(arrays, i, j)) {
                let head = if bias.shape.dims()[0] == 1 { 0 } else { h };
                gradients.relative_bias[head * (longest_queries + longest_keys - 1) + j + longest_queries - 1 - i] +=
                    slope;
            }
            let capped = forward.softcapped[index * k.length + j];
            let through = match f64::from(options.softcap) {
                0.0 => 1.0,
                cap => 1.0 - (capped / cap) * (capped / cap),
            };
            at(q.row(b, h, i), &mut gradients.q, slope * through * scale, &k.data[k.row(b, group, j)]);
            at(k.row(b, group, j), &mut gradients.k, slope * through * scale, &q.data[q.row(b, h, i)]);
        }
    }
    gradients
}

/// Returns the share of a score in the softmax of a row and a sink.
fn normalized(row: &[f64], sink: Option<f32>, score: f64) -> f64 {
    let sink = sink.map_or(f64::NEG_INFINITY, f64::from);
    let max = row.iter().copied().fold(sink, f64::max);
    let sum: f64 = row.iter().chain([&sink]).map(|score| (score - max).exp()).sum();
    (score - max).exp() / sum
}

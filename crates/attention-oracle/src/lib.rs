//! The oracle for tests: each mechanism implemented from its definition, in doubles and one position at a time. Clarity
//! takes priority over speed.

pub mod convolution;
pub mod encoder;
pub mod graph;
pub mod hyperbolic;
pub mod linear;
pub mod quantized;
pub mod rotary;
pub mod training;

use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::rotary::{Rotary, RotaryArrays, RotaryOptions};
use ruvector_attention::layers::{AttentionState, Part};
use ruvector_attention::math::norm::NormKind;
use ruvector_attention::math::random::Dropout;
use ruvector_attention::options::{AttentionConfig, AttentionOptions, LayerOptions, Layout, NormOver, QkNorm};
use ruvector_attention::tensor::Tensor;

/// Every intermediate result of attention, `[B, H, L, S]` except for the output and the logarithms.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// B, H, L and S.
    pub shape: [usize; 4],
    /// `scale · (q · k)`.
    pub scores: Vec<f64>,
    /// After the soft cap.
    pub softcapped: Vec<f64>,
    /// After the float mask; −∞ where a key is not visible.
    pub biased: Vec<f64>,
    /// After softmax and dropout.
    pub weights: Vec<f64>,
    /// `[B, H, L]`.
    pub log_sum_exp: Vec<f64>,
    /// `[B, H, L, E]`, or `[B, L, H, E]` in layout `blhd`.
    pub output: Vec<f64>,
}

/// A tensor of doubles with named dimensions; three dimensions mean one head.
struct Heads {
    data: Vec<f64>,
    layout: Layout,
    batch: usize,
    heads: usize,
    length: usize,
    size: usize,
}

impl Heads {
    fn new(data: Vec<f64>, dims: &[usize], layout: Layout) -> Self {
        let (batch, heads, length, size) = match (dims, layout) {
            (&[batch, length, size], _) => (batch, 1, length, size),
            (&[batch, heads, length, size], Layout::Bhld) | (&[batch, length, heads, size], Layout::Blhd) => {
                (batch, heads, length, size)
            }
            _ => panic!("attention of shape {dims:?}"),
        };
        Self { data, layout, batch, heads, length, size }
    }

    fn of(tensor: Tensor<'_>, layout: Layout) -> Self {
        Self::new(doubles(tensor.data), tensor.shape.dims(), layout)
    }

    fn row(&self, b: usize, h: usize, i: usize) -> std::ops::Range<usize> {
        let row = match self.layout {
            Layout::Bhld => (b * self.heads + h) * self.length + i,
            Layout::Blhd => (b * self.length + i) * self.heads + h,
        };
        row * self.size..(row + 1) * self.size
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Computes scaled dot-product attention with every option.
pub fn attention(
    q: Tensor<'_>,
    k: Tensor<'_>,
    v: Tensor<'_>,
    options: &AttentionOptions,
    arrays: Arrays<'_>,
) -> Attention {
    let rank = q.shape.rank();
    let [q, k, v] = [q, k, v].map(|tensor| Heads::of(tensor, options.layout));
    attend(&q, &k, &v, rank, options, arrays)
}

fn attend(q: &Heads, k: &Heads, v: &Heads, rank: usize, options: &AttentionOptions, arrays: Arrays<'_>) -> Attention {
    let shape = [q.batch, q.heads, q.length, k.length];
    let scale = options.scale.map_or(1.0 / (q.size.max(1) as f64).sqrt(), f64::from);
    let softcap = f64::from(options.softcap);
    let dropout = Dropout::new(options.dropout, options.seed);
    let mut output = Heads { data: vec![], size: v.size, ..*q };
    output.data = vec![0.0; q.batch * q.heads * q.length * v.size];
    let mut result = Attention {
        shape,
        scores: vec![],
        softcapped: vec![],
        biased: vec![],
        weights: vec![],
        log_sum_exp: vec![],
        output: vec![],
    };
    for (b, h, i) in rows(shape) {
        let group = h / (q.heads / k.heads);
        let scores: Vec<f64> =
            (0..k.length).map(|j| scale * dot(&q.data[q.row(b, h, i)], &k.data[k.row(b, group, j)])).collect();
        let cap = |score: f64| if softcap > 0.0 { softcap * (score / softcap).tanh() } else { score };
        let softcapped: Vec<f64> = scores.iter().map(|&score| cap(score)).collect();
        let biased: Vec<f64> = (0..k.length)
            .map(|j| match bias(rank, options, arrays, shape, [b, h, i, j]) {
                f64::NEG_INFINITY => f64::NEG_INFINITY,
                bias => softcapped[j] + bias,
            })
            .collect();
        let sink = arrays.sinks.map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[h]));
        let (mut weights, log_sum_exp) = softmax_with_sink(&biased, sink);
        for (j, weight) in weights.iter_mut().enumerate() {
            // Weights of hidden keys are zeros.
            if let (Some(dropout), Some([i, j])) = (dropout, places(arrays, i, j)) {
                *weight *= f64::from(dropout.factors([b, h, i], j / 4)[j % 4]);
            }
            // Skip a hidden key: its value may be NaN.
            if biased[j] != f64::NEG_INFINITY {
                let value = &v.data[v.row(b, group, j)];
                let row = output.row(b, h, i);
                output.data[row].iter_mut().zip(value).for_each(|(sum, value)| *sum += *weight * value);
            }
        }
        result.scores.extend(scores);
        result.softcapped.extend(softcapped);
        result.biased.extend(biased);
        result.weights.extend(weights);
        result.log_sum_exp.push(log_sum_exp);
    }
    result.output = output.data;
    result
}

fn rows([batch, heads, queries, _]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..batch).flat_map(move |b| (0..heads).flat_map(move |h| (0..queries).map(move |i| (b, h, i))))
}

/// Returns the ranges that cumulative lengths describe.
fn ranges(offsets: &[i32]) -> Vec<std::ops::Range<usize>> {
    offsets.windows(2).map(|pair| pair[0] as usize..pair[1] as usize).collect()
}

/// Returns the rows and the keys of each packed sequence.
fn sequences(arrays: Arrays<'_>) -> Option<Vec<[std::ops::Range<usize>; 2]>> {
    let rows = ranges(arrays.cu_seqlens?);
    let keys = arrays.cu_seqlens_keys.map_or(rows.clone(), ranges);
    Some(rows.into_iter().zip(keys).map(|(rows, keys)| [rows, keys]).collect())
}

/// Returns row i and key j counted from the start of their sequence, or `None` if their sequences differ.
fn places(arrays: Arrays<'_>, i: usize, j: usize) -> Option<[usize; 2]> {
    let Some(sequences) = sequences(arrays) else { return Some([i, j]) };
    let [rows, keys] = sequences.into_iter().find(|[rows, _]| rows.contains(&i))?;
    keys.contains(&j).then(|| [i - rows.start, j - keys.start])
}

/// Returns the bias of the score at `[b, h, i, j]`; −∞ if the key is not visible.
fn bias(
    rank: usize,
    options: &AttentionOptions,
    arrays: Arrays<'_>,
    shape: [usize; 4],
    at @ [_, h, i, j]: [usize; 4],
) -> f64 {
    let Some([row, column]) = places(arrays, i, j) else { return f64::NEG_INFINITY };
    let bias = mask_bias(rank, options, arrays, at, [row, column]);
    let Some(relative) = arrays.relative_bias else { return bias };
    // L and S are those of the longest sequence.
    let longest = |sizes: &dyn Fn(&[std::ops::Range<usize>; 2]) -> usize| {
        sequences(arrays).map(|sequences| sequences.iter().map(sizes).max().unwrap_or(0))
    };
    let queries = longest(&|[rows, _]| rows.len()).unwrap_or(shape[2]);
    let keys = longest(&|[_, keys]| keys.len()).unwrap_or(shape[3]);
    let head = if relative.shape.dims()[0] == 1 { 0 } else { h };
    let added = f64::from(relative.data[head * (queries + keys - 1) + column + queries - 1 - row]);
    if bias == f64::NEG_INFINITY || added == f64::NEG_INFINITY { f64::NEG_INFINITY } else { bias + added }
}

/// Returns the bias without the relative one; `[i, j]` counts from the start of the sequence.
fn mask_bias(rank: usize, options: &AttentionOptions, arrays: Arrays<'_>, at: [usize; 4], [i, j]: [usize; 2]) -> f64 {
    let b = match arrays.cu_seqlens {
        Some(offsets) => ranges(offsets).iter().position(|rows| rows.contains(&at[2])).unwrap_or(0),
        None => at[0],
    };
    let offset = arrays.query_offset.map_or(options.query_offset.unwrap_or(0), |offsets| i64::from(offsets[b]));
    let (position, key) = (i as i64 + offset, j as i64);
    let [left, right] = options.window.unwrap_or([-1, -1]);
    let visible = (!options.causal || key <= position)
        && (left == -1 || position - left <= key)
        && (right == -1 || key <= position + right)
        && arrays.kv_lengths.is_none_or(|lengths| key < i64::from(lengths[b]));
    match arrays.mask {
        _ if !visible => f64::NEG_INFINITY,
        None => 0.0,
        Some(Mask::Boolean(mask)) if mask.data[broadcast(mask.shape.dims(), rank, at)] == 0 => f64::NEG_INFINITY,
        Some(Mask::Boolean(_)) => 0.0,
        Some(Mask::Float(mask)) => f64::from(mask.data[broadcast(mask.shape.dims(), rank, at)]),
    }
}

/// Returns the index of the mask element that broadcasting assigns to position `at`; `dims` are the mask's dimensions.
fn broadcast(dims: &[usize], rank: usize, at: [usize; 4]) -> usize {
    let [b, _, i, j] = at;
    // Three-dimensional inputs have no heads dimension, and neither does a three-dimensional mask.
    let at = if rank == 3 && dims.len() == 3 { vec![b, i, j] } else { at[4 - dims.len()..].to_vec() };
    dims.iter().zip(at).fold(0, |index, (&dim, at)| index * dim + if dim == 1 { 0 } else { at })
}

/// Computes the softmax of a row, and the logarithm of its sum of exponentials; a row of only −∞ gives zeros and −∞.
pub fn softmax(row: &[f64]) -> (Vec<f64>, f64) {
    softmax_with_sink(row, f64::NEG_INFINITY)
}

/// Computes the softmax of a row with one further logit, whose share is left out of the weights.
pub fn softmax_with_sink(row: &[f64], sink: f64) -> (Vec<f64>, f64) {
    let with_sink: Vec<f64> = row.iter().copied().chain([sink]).collect();
    let (mut weights, log_sum_exp) = softmax_of(&with_sink);
    weights.pop();
    (weights, log_sum_exp)
}

fn softmax_of(row: &[f64]) -> (Vec<f64>, f64) {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let visible = |score: f64| score != f64::NEG_INFINITY;
    if !row.iter().copied().any(visible) {
        return (vec![0.0; row.len()], f64::NEG_INFINITY);
    }
    let exponentials: Vec<f64> =
        row.iter().map(|&score| if visible(score) { (score - max).exp() } else { 0.0 }).collect();
    let sum: f64 = exponentials.iter().sum();
    let weights = row.iter().zip(&exponentials).map(|(&score, e)| if visible(score) { e / sum } else { 0.0 }).collect();
    (weights, max + sum.ln())
}

/// Computes `x Wᵀ + b` for x `[rows, in]` and W `[out, in]`.
pub fn linear(x: &[f64], inputs: usize, weight: &[f32], bias: Option<&[f32]>) -> Vec<f64> {
    let weight = doubles(weight);
    let outputs = weight.len() / inputs;
    x.chunks(inputs)
        .flat_map(|x| {
            let weight = &weight;
            (0..outputs).map(move |o| {
                dot(x, &weight[o * inputs..(o + 1) * inputs]) + bias.map_or(0.0, |bias| f64::from(bias[o]))
            })
        })
        .collect()
}

/// Computes multi-head attention of q `[B, L, modelDim]`, k `[B, S, kDim]` and v `[B, S, vDim]`; the output is
/// `[B, L, modelDim]`.
pub fn multi_head(
    state: &AttentionState,
    [q, k, v]: [Tensor<'_>; 3],
    training: bool,
    options: &LayerOptions,
    arrays: Arrays<'_>,
) -> Attention {
    let dims = |x: Tensor<'_>| match *x.shape.dims() {
        [batch, length, _] => [batch, length],
        _ => panic!("an input of shape {}", x.shape),
    };
    let inputs = [q, k, v].map(|x| (doubles(x.data), dims(x)));
    multi_head_of_doubles(state, inputs, training, options, arrays)
}

/// Computes multi-head attention of doubles, each input with its batch size and length.
fn multi_head_of_doubles(
    state: &AttentionState,
    [q, k, v]: [(Vec<f64>, [usize; 2]); 3],
    training: bool,
    options: &LayerOptions,
    arrays: Arrays<'_>,
) -> Attention {
    let config = state.config();
    let project = |(x, [batch, length]): (Vec<f64>, [usize; 2]), inputs, heads, weight, bias| {
        Heads::new(linear(&x, inputs, weight, bias), &[batch, length, heads, config.head_dim], Layout::Blhd)
    };
    let inner = AttentionOptions {
        layout: Layout::Blhd,
        causal: options.causal.or(config.causal).unwrap_or(false),
        query_offset: options.query_offset,
        window: options.window.or(config.window),
        scale: options.scale.or(config.scale),
        softcap: options.softcap.or(config.softcap).unwrap_or(0.0),
        dropout: if training { config.dropout() } else { 0.0 },
        seed: options.seed.unwrap_or(config.seed()),
        ..AttentionOptions::default()
    };
    let projected = linear(&q.0, config.model_dim(), state.query_weight(), state.query_bias());
    let (projected, gates) = split_gates(projected, config);
    let [batch, length] = q.1;
    let mut q = Heads::new(projected, &[batch, length, config.num_heads, config.head_dim], Layout::Blhd);
    let mut k = project(k, config.k_dim(), config.kv_heads(), state.key_weight(), state.key_bias());
    if let Some(norm) = &config.qk_norm {
        q.data =
            normalize_heads(norm, &q.data, state, config.query_width(), [Part::QueryNormWeight, Part::QueryNormBias]);
        k.data = normalize_heads(norm, &k.data, state, config.kv_width(), [Part::KeyNormWeight, Part::KeyNormBias]);
    }
    if let Some(Rotary { base, interleaved, dim, scale, factor, sections }) = config.rotary {
        let options = &RotaryOptions { base, interleaved, dim, scale, factor, sections, ..RotaryOptions::default() };
        let offset =
            |b: usize| arrays.query_offset.map_or(inner.query_offset.unwrap_or(0), |offsets| i64::from(offsets[b]));
        // The sequence of a row or key, and where the sequence starts.
        let sequence = |index: usize, side: usize| {
            let mut sequences = sequences(arrays).into_iter().flatten().map(|ranges| ranges[side].clone()).enumerate();
            sequences.find(|(_, range)| range.contains(&index)).map(|(sequence, range)| (sequence, range.start))
        };
        rotary::rotate(&mut q, options, RotaryArrays::default(), |b, i| {
            let (entry, start) = sequence(i, 0).unwrap_or((b, 0));
            ((i - start) as i64 + offset(entry)) as f64
        });
        let key_position = |_: usize, j: usize| (j - sequence(j, 1).map_or(0, |(_, start)| start)) as f64;
        rotary::rotate(&mut k, options, RotaryArrays::default(), key_position);
    }
    let v = project(v, config.v_dim(), config.kv_heads(), state.value_weight(), state.value_bias());
    let relative = relative_bias(state, [length, v.length], inner.query_offset.unwrap_or(0));
    let relative = relative.as_ref().map(|(values, shape)| Tensor::new("relative_bias", values, shape).unwrap());
    let arrays = Arrays {
        sinks: state.part(Part::Sinks).or(arrays.sinks),
        relative_bias: relative.or(arrays.relative_bias),
        ..arrays
    };
    let mut result = attend(&q, &k, &v, 4, &inner, arrays);
    add_extra_keys(&mut result, state, &q, &inner);
    result.output.iter_mut().zip(gates).for_each(|(value, gate)| *value /= 1.0 + (-gate).exp());
    result.output = linear(&result.output, config.query_width(), state.output_weight(), state.output_bias());
    result
}

/// Returns the biases `[H, L + S − 1]` of a layer's table of distances, for queries from a position on, as T5's
/// `_relative_position_bucket`.
fn relative_bias(state: &AttentionState, [queries, keys]: [usize; 2], offset: i64) -> Option<(Vec<f32>, [usize; 2])> {
    let config = state.config().relative_bias?;
    let (table, heads) = (state.part(Part::RelativeBias)?, state.config().num_heads);
    let half = config.buckets() / if config.bidirectional() { 2 } else { 1 };
    let bucket = |distance: i64| {
        let steps = if config.bidirectional() { distance.abs() } else { (-distance).max(0) } as f32;
        let (exact, most) = ((half / 2) as f32, config.max_distance() as f32);
        let far = exact + ((steps / exact).ln() / (most / exact).ln() * (half as f32 - exact)).floor();
        let bucket = if steps < exact { steps } else { far.min((half - 1) as f32) };
        bucket as usize + if config.bidirectional() && distance > 0 { half } else { 0 }
    };
    let length = (queries + keys).saturating_sub(1);
    let place = |place: usize| bucket(place as i64 - queries as i64 + 1 - offset);
    let values = (0..heads).flat_map(|head| (0..length).map(move |at| table[place(at) * heads + head]));
    Some((values.collect(), [heads, length]))
}

/// Lets the keys that a layer adds take their share of each row: a learned key with its value, and one of zeros.
fn add_extra_keys(result: &mut Attention, state: &AttentionState, q: &Heads, options: &AttentionOptions) {
    let config = state.config();
    let [batch, heads, queries, keys] = result.shape;
    let count = config.extra_keys();
    let (size, group) = (config.head_dim, heads / config.kv_heads());
    let dropout = Dropout::new(options.dropout, options.seed);
    let mut all_weights = Vec::new();
    for (row, &log_sum) in result.log_sum_exp.iter().enumerate().filter(|_| count > 0) {
        let (b, h, i) = (row / (heads * queries), row / queries % heads, row % queries);
        let part = |part| state.part(part).map(|all| &all[h / group * size..][..size]);
        let mut scores = vec![log_sum];
        if let Some(key) = part(Part::ExtraKey) {
            let product: f64 = q.data[q.row(b, h, i)].iter().zip(key).map(|(q, k)| q * f64::from(*k)).sum();
            let score = product * f64::from(options.scale.unwrap_or(1.0 / (size as f32).sqrt()));
            let cap = f64::from(options.softcap);
            scores.push(if cap > 0.0 { cap * (score / cap).tanh() } else { score });
        }
        scores.extend(config.add_zero_attn.then_some(0.0));
        let (mut shares, _) = softmax(&scores);
        let mut factors = vec![1.0f32; count];
        if let Some(dropout) = dropout {
            dropout.apply([b, h, i], keys, factors.iter_mut());
        }
        shares[1..].iter_mut().zip(factors).for_each(|(share, factor)| *share *= f64::from(factor));
        all_weights.extend(result.weights[row * keys..][..keys].iter().map(|weight| weight * shares[0]));
        all_weights.extend(&shares[1..]);
        let output = &mut result.output[((b * queries + i) * heads + h) * size..][..size];
        output.iter_mut().for_each(|value| *value *= shares[0]);
        if let Some(value) = part(Part::ExtraValue) {
            output.iter_mut().zip(value).for_each(|(sum, value)| *sum += shares[1] * f64::from(*value));
        }
    }
    if count > 0 {
        result.weights = all_weights;
        result.shape = [batch, heads, queries, keys + count];
    }
}

/// Splits rows of the query projection into the queries and the gates, if there are any: a head's are after its query.
fn split_gates(rows: Vec<f64>, config: &AttentionConfig) -> (Vec<f64>, Vec<f64>) {
    if !config.output_gate {
        return (rows, Vec::new());
    }
    let heads = rows.chunks(2 * config.head_dim).map(|head| head.split_at(config.head_dim));
    let (queries, gates): (Vec<&[f64]>, Vec<&[f64]>) = heads.unzip();
    (queries.concat(), gates.concat())
}

/// Normalizes projected queries or keys, `[…, width]`.
fn normalize_heads(
    config: &QkNorm,
    rows: &[f64],
    state: &AttentionState,
    width: usize,
    [weight, bias]: [Part; 2],
) -> Vec<f64> {
    let columns = if config.over == NormOver::Head { state.config().head_dim } else { width };
    let weight: Vec<f32> = state.part(weight).unwrap_or(&[]).iter().map(|w| w + config.weight_offset).collect();
    encoder::norm(rows, columns, config.kind() == NormKind::Layer, Some(&weight), state.part(bias), config.epsilon())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_of_two_keys_is_the_formula_by_hand() {
        let (q, k, v) = ([1.0, 2.0], [0.5, 0.0, 0.0, 1.0], [10.0, 20.0]);
        let tensor = |data, dims: &[usize]| Tensor::new("x", data, dims).unwrap();
        let options = AttentionOptions { scale: Some(1.0), ..AttentionOptions::default() };
        let found = attention(
            tensor(&q, &[1, 1, 2]),
            tensor(&k, &[1, 2, 2]),
            tensor(&v, &[1, 2, 1]),
            &options,
            Arrays::default(),
        );
        let first = 0.5f64.exp() / (0.5f64.exp() + 2f64.exp());
        assert_eq!(found.scores, [0.5, 2.0]);
        assert!((found.weights[0] - first).abs() < 1e-15);
        assert!((found.output[0] - (10.0 * first + 20.0 * (1.0 - first))).abs() < 1e-14);
        assert!((found.log_sum_exp[0] - (0.5f64.exp() + 2f64.exp()).ln()).abs() < 1e-15);
    }

    #[test]
    fn a_row_without_visible_keys_is_zeros() {
        assert_eq!(softmax(&[f64::NEG_INFINITY; 3]), (vec![0.0; 3], f64::NEG_INFINITY));
        assert_eq!(softmax(&[]), (vec![], f64::NEG_INFINITY));
    }
}

//! The oracle of linear attention: a key's weight is the product of its features with the query's features.

use super::{Heads, dot, doubles};
use ruvector_attention::linear::{FeatureMap, LinearAttention, LinearRule, LinearTensors};
use ruvector_attention::options::Layout;
use ruvector_attention::tensor::Tensor;

/// Returns φ of one row. For FAVOR+ it returns the exponents `ωᵀx̂ − ‖x̂‖²/2` instead, so that the caller can choose c.
fn features(attention: &LinearAttention, row: &[f64]) -> Vec<f64> {
    let root = (row.len() as f64).sqrt();
    let half_square = dot(row, row) / root / 2.0;
    match attention.config().feature_map.unwrap_or_default() {
        FeatureMap::Elu => row.iter().map(|&x| if x > 0.0 { x + 1.0 } else { x.exp() }).collect(),
        FeatureMap::Relu => row.iter().map(|&x| if x < 0.0 { 1e-3 } else { x + f64::from(1e-3f32) }).collect(),
        FeatureMap::FavorPlus => {
            let projection = doubles(attention.projection());
            // The projection is ω divided by D^¼, so its product with x equals that of ω with x̂.
            projection.chunks(row.len()).map(|direction| dot(direction, row) - half_square).collect()
        }
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Computes φ of every row of x, `[rows, D]`, like the public function: for FAVOR+, c is each row's largest exponent.
pub fn feature_map(attention: &LinearAttention, x: &[f32]) -> Vec<f64> {
    let config = attention.config();
    let size = config.model_dim / config.num_heads;
    let mapped = x.chunks(size).flat_map(|row| {
        let features = features(attention, &doubles(row));
        match config.feature_map.unwrap_or_default() {
            FeatureMap::FavorPlus => {
                let (c, scale) = (largest(&features), 1.0 / (features.len() as f64).sqrt());
                features.iter().map(|exponent| (exponent - c).exp() * scale).collect()
            }
            _ => features,
        }
    });
    mapped.collect()
}

/// Computes linear attention: `[B, H, L, E]` for four dimensions, `[B, L, H·E]` for three.
pub fn linear_attention(
    attention: &LinearAttention,
    tensors: [Tensor<'_>; 3],
    causal: bool,
    kv_lengths: Option<&[i32]>,
) -> Vec<f64> {
    let config = attention.config();
    let [q, k, v] = tensors.map(|tensor| match *tensor.shape.dims() {
        [batch, length, width] => {
            let dims = [batch, length, config.num_heads, width / config.num_heads];
            Heads::new(doubles(tensor.data), &dims, Layout::Blhd)
        }
        _ => Heads::of(tensor, Layout::Bhld),
    });
    let mut output = Heads { data: vec![0.0; q.batch * q.heads * q.length * v.size], size: v.size, ..q };
    for b in 0..q.batch {
        for h in 0..q.heads {
            let keys = kv_lengths.map_or(k.length, |lengths| lengths[b] as usize);
            let of_keys: Vec<Vec<f64>> = (0..keys).map(|j| features(attention, &k.data[k.row(b, h, j)])).collect();
            for i in 0..q.length {
                let of_query = features(attention, &q.data[q.row(b, h, i)]);
                let seen = if causal { keys.min(i + 1) } else { keys };
                let weights = weights(config.feature_map.unwrap_or_default(), &of_query, &of_keys[..seen]);
                let total: f64 = weights.iter().sum();
                let row = output.row(b, h, i);
                for (j, weight) in weights.iter().enumerate() {
                    let values = &v.data[v.row(b, h, j)];
                    output.data[row.clone()].iter_mut().zip(values).for_each(|(sum, v)| *sum += weight / total * v);
                }
            }
        }
    }
    output.data
}

/// Returns the weight of each key before division by the total.
fn weights(map: FeatureMap, query: &[f64], keys: &[Vec<f64>]) -> Vec<f64> {
    if map != FeatureMap::FavorPlus {
        return keys.iter().map(|key| dot(query, key)).collect();
    }
    let exponents: Vec<Vec<f64>> =
        keys.iter().map(|key| key.iter().zip(query).map(|(key, query)| key + query).collect()).collect();
    // A common factor cancels in the division by the total.
    let c = exponents.iter().map(|exponents| largest(exponents)).fold(f64::NEG_INFINITY, f64::max);
    exponents.iter().map(|exponents| exponents.iter().map(|exponent| (exponent - c).exp()).sum()).collect()
}

/// Computes the rules other than 'kernel': the output, like [`linear_attention`], and the state `[B, G, D, E]`.
pub fn recurrent(attention: &LinearAttention, tensors: LinearTensors<'_>) -> [Vec<f64>; 2] {
    let config = attention.config();
    let is_joined = tensors.q.shape.rank() == 3;
    let kv_heads = config.kv_heads.unwrap_or(config.num_heads);
    let heads_of = |tensor: Tensor<'_>, heads: usize| match *tensor.shape.dims() {
        [batch, length, width] if is_joined => {
            Heads::new(doubles(tensor.data), &[batch, length, heads, width / heads], Layout::Blhd)
        }
        // A gate with one value for each position of a head.
        [batch, heads, length] => Heads::new(doubles(tensor.data), &[batch, heads, length, 1], Layout::Bhld),
        _ => Heads::of(tensor, Layout::Bhld),
    };
    let (q, k, v) =
        (heads_of(tensors.q, config.num_heads), heads_of(tensors.k, kv_heads), heads_of(tensors.v, kv_heads));
    let gate_of = |tensor: Tensor<'_>| heads_of(tensor, kv_heads.min(tensor.shape.dims()[2]));
    let (decay, beta) = (tensors.decay.map(gate_of), tensors.beta.map(gate_of));
    let scale = config.scale.map_or(1.0 / (q.size as f64).sqrt(), f64::from);
    let mut output = Heads { data: vec![0.0; q.batch * q.heads * q.length * v.size], size: v.size, ..q };
    let mut states = match tensors.state {
        Some(state) => doubles(state.data),
        None => vec![0.0; k.batch * k.heads * k.size * v.size],
    };
    for (n, state) in states.chunks_mut((k.size * v.size).max(1)).enumerate() {
        let (b, g, group) = (n / k.heads, n % k.heads, q.heads / k.heads);
        let gate = |gate: &Heads, t: usize, row: usize| {
            let values = &gate.data[gate.row(b, g % gate.heads, t)];
            values[row % values.len()]
        };
        let read = |state: &[f64], row: &[f64], column: usize| -> f64 {
            row.iter().enumerate().map(|(d, factor)| factor * state[d * v.size + column]).sum()
        };
        for t in 0..k.length {
            let (key, mut added) = (&k.data[k.row(b, g, t)], v.data[v.row(b, g, t)].to_vec());
            for (d, values) in state.chunks_mut(v.size).enumerate() {
                let factor = decay.as_ref().map_or(1.0, |decay| gate(decay, t, d).exp());
                values.iter_mut().for_each(|value| *value *= factor);
            }
            if matches!(config.rule, LinearRule::Delta | LinearRule::GatedDelta) {
                let beta = beta.as_ref().map_or(1.0, |beta| gate(beta, t, 0));
                let found = (0..v.size).map(|column| read(state, key, column));
                added.iter_mut().zip(found).for_each(|(added, found)| *added = beta * (*added - found));
            }
            for (values, key) in state.chunks_mut(v.size).zip(key) {
                values.iter_mut().zip(&added).for_each(|(value, added)| *value += key * added);
            }
            for h in g * group..(g + 1) * group {
                let query = &q.data[q.row(b, h, t)];
                let row = output.row(b, h, t);
                for (column, output) in output.data[row].iter_mut().enumerate() {
                    *output = scale * read(state, query, column);
                }
            }
        }
    }
    [output.data, states]
}

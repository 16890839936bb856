//! The oracle of linear attention: a key's weight is the product of its features with the query's features.

use super::{Heads, dot, doubles};
use ruvector_attention::linear::{FeatureMap, LinearAttention};
use ruvector_attention::options::Layout;
use ruvector_attention::tensor::Tensor;

/// Returns φ of one row. For FAVOR+ it returns the exponents `ωᵀx̂ − ‖x̂‖²/2` instead, so that the caller can choose c.
fn features(attention: &LinearAttention, row: &[f64]) -> Vec<f64> {
    let root = (row.len() as f64).sqrt();
    let half_square = dot(row, row) / root / 2.0;
    match attention.config().feature_map {
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
        match config.feature_map {
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
                let weights = weights(config.feature_map, &of_query, &of_keys[..seen]);
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

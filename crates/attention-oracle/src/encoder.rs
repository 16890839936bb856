//! The oracle of encoder layers, norms, activations and mean pooling.

use super::{doubles, linear, multi_head_of_doubles};
use ruvector_attention::attention::Arrays;
use ruvector_attention::layers::encoder::{EncoderState, Part};
use ruvector_attention::math::activation::Activation;
use ruvector_attention::math::norm::NormKind;
use ruvector_attention::math::random::{Dropout, RowDropout};
use ruvector_attention::options::LayerOptions;
use ruvector_attention::tensor::Tensor;

/// Computes `erfc(x)` to a relative error of about 10⁻¹⁵: the Maclaurin series of erf below 2, Laplace's continued
/// fraction above.
pub fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    let root = std::f64::consts::PI.sqrt();
    if x > 2.0 {
        // x + ½/(x + 1/(x + 3⁄2/(x + 2/(x + …
        let fraction = (1..200).rev().fold(x, |below, k| x + f64::from(k) / 2.0 / below);
        return (-x * x).exp() / root / fraction;
    }
    let (mut term, mut sum) = (x, x);
    for k in 1..60 {
        term *= -x * x / f64::from(k);
        sum += term / f64::from(2 * k + 1);
    }
    1.0 - 2.0 / root * sum
}

/// Applies an activation to one value.
pub fn activation(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Gelu => x * erfc(-x / std::f64::consts::SQRT_2) / 2.0,
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            // 1 + tanh z = 2/(1 + e⁻²ᶻ)
            x / (1.0 + (-2.0 * inner).exp())
        }
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
    }
}

/// Normalizes rows of `columns` values: layer norm if `centred`, otherwise root-mean-square norm.
pub fn norm(
    x: &[f64],
    columns: usize,
    centred: bool,
    weight: Option<&[f32]>,
    bias: Option<&[f32]>,
    epsilon: f32,
) -> Vec<f64> {
    let row = |row: &[f64]| {
        let count = columns as f64;
        let mean = if centred { row.iter().sum::<f64>() / count } else { 0.0 };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
        let value = |(at, x): (usize, &f64)| {
            (x - mean) * scale * weight.map_or(1.0, |weight| f64::from(weight[at]))
                + bias.map_or(0.0, |bias| f64::from(bias[at]))
        };
        row.iter().enumerate().map(value).collect::<Vec<_>>()
    };
    x.chunks(columns.max(1)).flat_map(row).collect()
}

/// Computes the mean over the first rows of each batch entry.
pub fn mean_pool(x: Tensor<'_>, lengths: Option<&[i32]>, normalize: bool) -> Vec<f64> {
    let &[batch, rows, columns] = x.shape.dims() else { panic!("an input of shape {}", x.shape) };
    let mean = |b: usize| {
        let count = lengths.map_or(rows, |lengths| lengths[b] as usize);
        let at = |row: usize, column: usize| f64::from(x.data[(b * rows + row) * columns + column]);
        let sum = |column: usize| (0..count).map(|row| at(row, column)).sum::<f64>();
        let mean: Vec<f64> = (0..columns).map(|column| sum(column) / count.max(1) as f64).collect();
        let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        mean.into_iter().map(|x| if normalize { x / length } else { x }).collect::<Vec<_>>()
    };
    (0..batch).flat_map(mean).collect()
}

/// Computes an encoder layer's output, and the weights `[B, H, L, L]` of its attention.
pub fn encoder_layer(
    state: &EncoderState,
    x: Tensor<'_>,
    training: bool,
    options: &LayerOptions,
    arrays: Arrays<'_>,
) -> (Vec<f64>, Vec<f64>) {
    let &[batch, length, size] = x.shape.dims() else { panic!("an input of shape {}", x.shape) };
    let config = state.config();
    let dropout = if training { config.dropout } else { 0.0 };
    let dropout = Dropout::new(dropout, options.seed.unwrap_or(config.seed));
    let dropped = |mut values: Vec<f64>, columns: usize, stream: u32| {
        if let Some(dropout) = dropout {
            let dropout = RowDropout { dropout, stream, length, cu_seqlens: arrays.cu_seqlens };
            for (row, values) in values.chunks_mut(columns).enumerate() {
                let mut factors = vec![1.0; columns];
                dropout.apply(row, 0, &mut factors);
                values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= f64::from(factor));
            }
        }
        values
    };
    let normalised = |x: &[f64], weight: Part, bias: Part| match state.part(weight) {
        None => x.to_vec(),
        weight => norm(x, size, config.norm == NormKind::Layer, weight, state.part(bias), config.epsilon),
    };
    let sum = |a: &[f64], b: Vec<f64>| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let attend = |x: &[f64]| {
        let inputs = [(); 3].map(|()| (x.to_vec(), [batch, length]));
        let found = multi_head_of_doubles(state.attention().state(), inputs, training, options, arrays);
        (dropped(found.output, size, 0), found.weights)
    };
    let feed_forward = |x: &[f64]| {
        let inner = linear(x, size, state.part(Part::Linear1Weight).unwrap(), state.part(Part::Linear1Bias));
        let active = |x: Vec<f64>| x.into_iter().map(|x| activation(config.activation, x)).collect::<Vec<_>>();
        let inner = match state.part(Part::GateWeight) {
            Some(weight) => {
                let gates = active(linear(x, size, weight, state.part(Part::GateBias)));
                gates.into_iter().zip(inner).map(|(gate, x)| gate * x).collect()
            }
            None => active(inner),
        };
        let inner = dropped(inner, config.feed_forward_dim, 1);
        let weight = state.part(Part::Linear2Weight).unwrap();
        dropped(linear(&inner, config.feed_forward_dim, weight, state.part(Part::Linear2Bias)), size, 2)
    };
    let x = doubles(x.data);
    if config.norm_first {
        let (attended, weights) = attend(&normalised(&x, Part::Norm1Weight, Part::Norm1Bias));
        let x = sum(&x, attended);
        let output = sum(&x, feed_forward(&normalised(&x, Part::Norm2Weight, Part::Norm2Bias)));
        (output, weights)
    } else {
        let (attended, weights) = attend(&x);
        let x = normalised(&sum(&x, attended), Part::Norm1Weight, Part::Norm1Bias);
        let output = sum(&x, feed_forward(&x));
        (normalised(&output, Part::Norm2Weight, Part::Norm2Bias), weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erfc_gives_the_values_of_the_tables() {
        // Abramowitz & Stegun, tables 7.1 and 7.3, and the Digital Library of Mathematical Functions, 7.23.
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (2.0, 4.677_734_981_047_266e-3),
            (-1.0, 1.842_700_792_949_715),
            (3.0, 2.209_049_699_858_544e-5),
            (5.0, 1.537_459_794_428_034_8e-12),
        ] {
            assert!((erfc(x) / expected - 1.0).abs() < 1e-13, "erfc({x}) is {}", erfc(x));
        }
    }
}

//! The oracle of causal convolution.

use ruvector_attention::convolution::{ConvolutionActivation, ConvolutionOptions, ConvolutionTensors};

use crate::encoder::activation;
use ruvector_attention::math::activation::Activation;

/// Computes the output `[B, C, L]` and the new state `[B, C, K − 1]`.
pub fn causal_convolution(tensors: ConvolutionTensors<'_>, options: ConvolutionOptions) -> [Vec<f64>; 2] {
    let ConvolutionTensors { x, weight, bias, state } = tensors;
    let &[_, channels, length] = x.shape.dims() else { unreachable!("x is [B, C, L]") };
    let size = weight.shape.dims()[2];
    let (mut output, mut new_state) = (Vec::new(), Vec::new());
    for row in 0..x.data.len().checked_div(length).unwrap_or(0) {
        let channel = row % channels;
        let mut values: Vec<f64> = match state {
            Some(state) => state.data[row * (size - 1)..][..size - 1].iter().map(|&value| value.into()).collect(),
            None => vec![0.0; size - 1],
        };
        values.extend(x.data[row * length..][..length].iter().map(|&value| f64::from(value)));
        for window in values.windows(size) {
            let kernel = &weight.data[channel * size..][..size];
            let products = window.iter().zip(kernel).map(|(value, &weight)| value * f64::from(weight));
            let sum = bias.map_or(0.0, |bias| bias.data[channel].into()) + products.sum::<f64>();
            output.push(match options.activation {
                ConvolutionActivation::None => sum,
                ConvolutionActivation::Silu => activation(Activation::Silu, sum),
            });
        }
        new_state.extend(&values[length..]);
    }
    [output, new_state]
}

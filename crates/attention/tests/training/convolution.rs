//! Gradients of the causal convolution against differences.

use ruvector_attention::convolution::{ConvolutionActivation, ConvolutionOptions, ConvolutionTensors};
use ruvector_attention::training::convolution::{ConvolutionGradients, ConvolutionResults, convolution_backward};
use ruvector_attention::{Code, Context, Tensor};

use crate::support::Random;
use crate::{assert_gradient, doubles, product, slopes};

#[test]
fn gradients_match_differences_with_every_option() {
    for (batch, channels, length, size) in [(2, 3, 9, 4), (1, 2, 2, 5), (2, 1, 5, 1), (1, 1, 0, 3)] {
        for activation in [ConvolutionActivation::None, ConvolutionActivation::Silu] {
            let mut random = Random::new(7);
            let kept = size - 1;
            let lengths = [batch * channels * length, channels * size, channels, batch * channels * kept];
            let [x, weight, bias, state] = lengths.map(|len| random.normals(len));
            let (gradient, state_gradient) = (random.normals(x.len()), random.normals(state.len()));
            let loss = |x: &[f64], weight: &[f64], bias: &[f64], state: &[f64]| {
                let (mut output, mut new_state) = (vec![], vec![]);
                for row in 0..batch * channels {
                    let channel = row % channels;
                    let values = [&state[row * kept..][..kept], &x[row * length..][..length]].concat();
                    for t in 0..length {
                        let sum: f64 =
                            (0..size).map(|k| weight[channel * size + k] * values[t + k]).sum::<f64>() + bias[channel];
                        output.push(if activation == ConvolutionActivation::Silu {
                            sum / (1.0 + (-sum).exp())
                        } else {
                            sum
                        });
                    }
                    new_state.extend_from_slice(&values[length..]);
                }
                product(&output, &gradient) + product(&new_state, &state_gradient)
            };
            let [xs, weights, biases, states] = [&x, &weight, &bias, &state].map(|values| doubles(values));
            let expected = [
                slopes(&xs, &|x| loss(x, &weights, &biases, &states)),
                slopes(&weights, &|weight| loss(&xs, weight, &biases, &states)),
                slopes(&biases, &|bias| loss(&xs, &weights, bias, &states)),
                slopes(&states, &|state| loss(&xs, &weights, &biases, state)),
            ];
            let [mut for_x, mut for_weight, mut for_bias, mut for_state] = lengths.map(|len| vec![f32::NAN; len]);
            let tensor = |data, dims: &[usize]| Tensor::new("x", data, dims).unwrap();
            let (sequence, kept_dims) = ([batch, channels, length], [batch, channels, kept]);
            let tensors = ConvolutionTensors {
                x: tensor(&x, &sequence),
                weight: tensor(&weight, &[channels, 1, size]),
                bias: Some(tensor(&bias, &[channels])),
                state: Some(tensor(&state, &kept_dims)),
            };
            let results = ConvolutionResults {
                output: tensor(&gradient, &sequence),
                state: Some(tensor(&state_gradient, &kept_dims)),
            };
            let gradients = ConvolutionGradients {
                x: &mut for_x,
                weight: &mut for_weight,
                bias: Some(&mut for_bias),
                state: Some(&mut for_state),
            };
            convolution_backward(Context::default(), tensors, ConvolutionOptions { activation }, results, gradients)
                .unwrap();
            for (found, expected) in [for_x, for_weight, for_bias, for_state].iter().zip(&expected) {
                assert_gradient(found, expected, &format!("{batch} {channels} {length} {size} {activation:?}"));
            }
        }
    }
}

#[test]
fn gradients_of_other_shapes_are_errors() {
    let (x, weight) = ([0.0; 6], [0.0; 4]);
    let tensor = |data, dims: &[usize]| Tensor::new("x", data, dims).unwrap();
    let tensors =
        ConvolutionTensors { x: tensor(&x, &[1, 2, 3]), weight: tensor(&weight, &[2, 1, 2]), bias: None, state: None };
    let [mut for_x, mut for_weight] = [[0.0; 6], [0.0; 6]];
    for (dims, state, argument) in [([1, 3, 2], [1, 2, 1], "gradient"), ([1, 2, 3], [2, 1, 1], "state_gradient")] {
        let results = ConvolutionResults { output: tensor(&x, &dims), state: Some(tensor(&x[..2], &state)) };
        let gradients = ConvolutionGradients { x: &mut for_x, weight: &mut for_weight[..4], bias: None, state: None };
        let error =
            convolution_backward(Context::default(), tensors, ConvolutionOptions::default(), results, gradients)
                .unwrap_err();
        assert_eq!((error.code, &*error.argument), (Code::Shape, argument));
    }
}

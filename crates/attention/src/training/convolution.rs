//! The gradients of the causal convolution.

use crate::context::{Context, operations};
use crate::convolution::{ConvolutionActivation, ConvolutionOptions, ConvolutionTensors, causal_convolution};
use crate::error::{Error, Result};
use crate::math::activation::Activation;
use crate::tensor::{Shape, Tensor, check_output, try_zeroed};
use crate::training::activation::activation_backward;
use crate::training::{check_gradient, check_shape};

/// The gradients of the results.
#[derive(Debug, Clone, Copy)]
pub struct ConvolutionResults<'a> {
    /// The gradient of the output, `[B, C, L]`.
    pub output: Tensor<'a>,
    /// The gradient of the new state, `[B, C, K − 1]`; zeros by default.
    pub state: Option<Tensor<'a>>,
}

/// Destinations of the gradients, each in the shape of its input.
#[derive(Debug)]
pub struct ConvolutionGradients<'a> {
    /// The gradient of the sequences.
    pub x: &'a mut [f32],
    /// The gradient of the kernels.
    pub weight: &'a mut [f32],
    /// The gradient of the bias, `[C]`, if requested.
    pub bias: Option<&'a mut [f32]>,
    /// The gradient of the state before the sequences, if requested.
    pub state: Option<&'a mut [f32]>,
}

/// Computes the gradients of [`causal_convolution`], called with the same tensors and options.
///
/// # Errors
/// Errors of the forward call, and `SHAPE` for a gradient of another shape; `MEMORY`.
pub fn convolution_backward(
    context: Context<'_>,
    tensors: ConvolutionTensors<'_>,
    options: ConvolutionOptions,
    results: ConvolutionResults<'_>,
    gradients: ConvolutionGradients<'_>,
) -> Result<()> {
    let ConvolutionTensors { x, weight, state, .. } = tensors;
    let &[batch, channels, length] = x.shape.dims() else { return Err(Error::shape("x", "[B, C, L]", x.shape)) };
    let size = weight.shape.dims().last().copied().unwrap_or(0);
    let (rows, kept) = (batch.saturating_mul(channels), size.saturating_sub(1));
    check_gradient(results.output, x.shape)?;

    // Step 1: the gradient of the values before the activation, which the forward call computes and checks.
    let mut slopes = try_zeroed("working memory", x.data.len())?;
    let mut new_state = try_zeroed("working memory", rows.saturating_mul(kept))?;
    let plain = ConvolutionOptions { activation: ConvolutionActivation::None };
    causal_convolution(context, tensors, plain, &mut slopes, &mut new_state)?;
    if let Some(gradient) = results.state {
        check_shape("state_gradient", gradient, Shape::of([batch, channels, kept]))?;
    }
    match options.activation {
        ConvolutionActivation::None => slopes.copy_from_slice(results.output.data),
        ConvolutionActivation::Silu => {
            let values = slopes.clone();
            let values = Tensor { data: &values, shape: x.shape };
            activation_backward(context, Activation::Silu, results.output, values, &mut slopes)?;
        }
    }
    let ConvolutionGradients { x: x_gradient, weight: weight_gradient, bias, state: state_gradient } = gradients;
    check_output("x", x_gradient, x.data.len())?;
    check_output("weight", weight_gradient, weight.data.len())?;
    bias.as_ref().map_or(Ok(()), |bias| check_output("bias", bias, channels))?;
    state_gradient.as_ref().map_or(Ok(()), |state| check_output("state", state, new_state.len()))?;
    weight_gradient.fill(0.0);
    if x.data.is_empty() && results.state.is_none_or(|gradient| gradient.data.is_empty()) {
        // Nothing depends on the inputs, whose sizes may be too large for working memory.
        [bias, state_gradient].into_iter().flatten().for_each(|gradient| gradient.fill(0.0));
        return Ok(());
    }

    // Step 2: for each channel of each sequence, the gradients of its values and state, and shares of all others.
    let width = size + 1;
    let mut shares = try_zeroed("working memory", rows.saturating_mul(width))?;
    let work = operations([4, x.data.len(), size]);
    let rows_per_item = (1usize << 14).div_ceil((length + kept).saturating_mul(size).max(1));
    let outputs = [x_gradient, &mut new_state, &mut shares];
    context.for_each_rows(rows, rows_per_item, work, outputs, |item, [x_gradient, state_gradient, shares]| {
        for (index, row) in item.enumerate() {
            let slopes = &slopes[row * length..][..length];
            let kernel = &weight.data[row % channels * size..][..size];
            let value = |at: usize| match at.checked_sub(kept) {
                Some(at) => x.data[row * length + at],
                None => state.map_or(0.0, |state| state.data[row * kept + at]),
            };
            let share = &mut shares[index * width..][..width];
            let slope = |t: usize| f64::from(slopes[t]);
            for (k, share) in share[..size].iter_mut().enumerate() {
                *share = (0..length).map(|t| slope(t) * f64::from(value(t + k))).sum::<f64>() as f32;
            }
            share[size] = (0..length).map(slope).sum::<f64>() as f32;
            // Value s[n] is part of the outputs n − k; the last ones are also the new state.
            let values = (0..length + kept).map(|n| {
                let terms = kernel.iter().enumerate().filter_map(|(k, weight)| {
                    let t = n.checked_sub(k).filter(|&t| t < length)?;
                    Some(weight * slopes[t])
                });
                let kept_gradient =
                    results.state.and_then(|state| Some(state.data[row * kept + n.checked_sub(length)?]));
                terms.sum::<f32>() + kept_gradient.unwrap_or(0.0)
            });
            let (state_row, x_row) =
                (&mut state_gradient[index * kept..][..kept], &mut x_gradient[index * length..][..length]);
            state_row.iter_mut().chain(x_row).zip(values).for_each(|(target, value)| *target = value);
        }
    });

    // Step 3: add up the shares in the order of the sequences.
    let mut sums = try_zeroed::<f32>("working memory", channels * width)?;
    for shares in shares.chunks_exact(channels * width) {
        sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
    }
    for (target, sums) in weight_gradient.chunks_exact_mut(size).zip(sums.chunks_exact(width)) {
        target.copy_from_slice(&sums[..size]);
    }
    if let Some(bias) = bias {
        bias.iter_mut().zip(sums.chunks_exact(width)).for_each(|(target, sums)| *target = sums[size]);
    }
    if let Some(target) = state_gradient {
        target.copy_from_slice(&new_state);
    }
    Ok(())
}

//! Causal depthwise convolution over a sequence, with a state to continue from.

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::activation::{Activation, apply};
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Simd};
use crate::sizes::MAX_TILE_LANES;
use crate::tensor::{Tensor, check_output};

/// A function applied to each value of the convolution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum ConvolutionActivation {
    /// The identity.
    #[default]
    None,
    /// `x · σ(x)`.
    Silu,
}

/// Options of [`causal_convolution`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, rename_all = "camelCase"))]
pub struct ConvolutionOptions {
    /// A function applied to each value; none by default.
    pub activation: ConvolutionActivation,
}

/// The tensors of [`causal_convolution`].
#[derive(Debug, Clone, Copy)]
pub struct ConvolutionTensors<'a> {
    /// The sequences, `[B, C, L]`.
    pub x: Tensor<'a>,
    /// A kernel for each channel, `[C, 1, K]` with K of at least 1.
    pub weight: Tensor<'a>,
    /// A number for each channel, `[C]`; 0 by default.
    pub bias: Option<Tensor<'a>>,
    /// The K − 1 values before the sequences, `[B, C, K − 1]`; 0 by default.
    pub state: Option<Tensor<'a>>,
}

/// Convolves each channel with its kernel: `output[b, c, t] = activation(bias[c] + Σ_k weight[c, 0, k] · s[t +
/// k])`, where `s` is the channel's state followed by its values. `new_state` receives the last K − 1 values of `s`. A
/// sequence split into several calls, each with the state of the previous call, gives the same bits as in a single
/// call.
///
/// This is `CausalConvWithState` of ONNX's opset 27, the convolution before Mamba's and Gated DeltaNet's mixers.
///
/// # Errors
/// `SHAPE` if shapes do not fit each other, a kernel is empty, `output` is not as long as x, or `new_state` is not
/// `B · C · (K − 1)` long; `MEMORY` if scratch memory cannot be allocated.
pub fn causal_convolution(
    context: Context<'_>,
    tensors: ConvolutionTensors<'_>,
    options: ConvolutionOptions,
    output: &mut [f32],
    new_state: &mut [f32],
) -> Result<()> {
    let ConvolutionTensors { x, weight, bias, state } = tensors;
    let &[batch, channels, length] = x.shape.dims() else { return Err(Error::shape("x", "[B, C, L]", x.shape)) };
    let size = match *weight.shape.dims() {
        [kernels, 1, size] if kernels == channels && size > 0 => size,
        _ => {
            let expected = format_args!("[{channels}, 1, K] with K of at least 1, to fit x {}", x.shape);
            return Err(Error::shape("weight", expected, weight.shape));
        }
    };
    if let Some(bias) = bias
        && bias.shape.dims() != [channels]
    {
        return Err(Error::shape("bias", format_args!("[{channels}] to fit x {}", x.shape), bias.shape));
    }
    let kept = size - 1;
    if let Some(state) = state
        && state.shape.dims() != [batch, channels, kept]
    {
        return Err(Error::shape("state", format_args!("[{batch}, {channels}, {kept}]"), state.shape));
    }
    let rows = batch.saturating_mul(channels);
    check_output("output", output, x.data.len())?;
    check_output("state", new_state, rows.saturating_mul(kept))?;
    if rows == 0 || length == 0 && kept == 0 {
        return Ok(());
    }

    // About 20 µs of work per item.
    let rows_per_item = (1usize << 16).div_ceil((length + kept).saturating_mul(size));
    let operations = operations([x.data.len(), size]);
    scratch::reserve(scratch_len(size))?;
    context.for_each_rows(rows, rows_per_item, operations, [output, new_state], |item, [output, new_state]| {
        for (index, row) in item.enumerate() {
            let channel = row % channels;
            context.level.run(Channel {
                values: &x.data[row * length..][..length],
                weight: &weight.data[channel * size..][..size],
                bias: bias.map_or(0.0, |bias| bias.data[channel]),
                state: state.map(|state| &state.data[row * kept..][..kept]),
                activation: options.activation,
                output: &mut output[index * length..][..length],
                new_state: &mut new_state[index * kept..][..kept],
            });
        }
    });
    Ok(())
}

/// The number of scratch values for one channel: the inputs of the first outputs, and one vector of outputs.
fn scratch_len(size: usize) -> usize {
    3 * (size - 1) + MAX_TILE_LANES
}

/// One channel of one sequence.
struct Channel<'a> {
    values: &'a [f32],
    weight: &'a [f32],
    bias: f32,
    state: Option<&'a [f32]>,
    activation: ConvolutionActivation,
    output: &'a mut [f32],
    new_state: &'a mut [f32],
}

impl Kernel for Channel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { values, weight, bias, state, activation, output, new_state } = self;
        let kept = weight.len() - 1;
        let mut scratch = Scratch::take(scratch_len(weight.len()));
        let (first_values, padded) = scratch.values().split_at_mut(2 * kept);

        // Step 1: the state, followed by the values of the first outputs.
        let reached = kept.min(values.len());
        let first_values = &mut first_values[..kept + reached];
        match state {
            Some(state) => first_values[..kept].copy_from_slice(state),
            None => first_values[..kept].fill(0.0),
        }
        first_values[kept..].copy_from_slice(&values[..reached]);

        // Step 2: the outputs that depend on the state, and the others.
        let (first_outputs, others) = output.split_at_mut(reached);
        convolve(simd, first_values, weight, bias, padded, first_outputs);
        if !others.is_empty() {
            convolve(simd, values, weight, bias, padded, others);
        }
        if activation == ConvolutionActivation::Silu {
            apply(simd, Activation::Silu, output);
        }

        // Step 3: the last values, including some of the state if the sequence is short.
        let last = if reached < kept { &first_values[reached..] } else { &values[values.len() - kept..] };
        new_state.copy_from_slice(last);
    }
}

/// Computes `output[t] = bias + Σ_k weight[k] · values[t + k]`. Each output has the same bits in any vector and lane.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn convolve<S: Simd>(simd: S, values: &[f32], weight: &[f32], bias: f32, padded: &mut [f32], output: &mut [f32]) {
    let whole = output.len() - output.len() % S::LANES;
    let (vectors, rest) = output.split_at_mut(whole);
    for (index, output) in vectors.chunks_exact_mut(S::LANES).enumerate() {
        simd.store(output, at(simd, &values[index * S::LANES..], weight, bias));
    }
    if !rest.is_empty() {
        let window = &values[whole..];
        padded[..window.len()].copy_from_slice(window);
        padded[window.len()..].fill(0.0);
        let mut lanes = [0.0; MAX_TILE_LANES];
        simd.store(&mut lanes, at(simd, padded, weight, bias));
        rest.copy_from_slice(&lanes[..rest.len()]);
    }
}

/// Computes a vector of outputs; `values` starts with the window of the first one.
#[inline(always)]
fn at<S: Simd>(simd: S, values: &[f32], weight: &[f32], bias: f32) -> S::F {
    weight
        .iter()
        .enumerate()
        .fold(simd.splat(bias), |sum, (k, &weight)| simd.mul_add(simd.splat(weight), simd.load(&values[k..]), sum))
}

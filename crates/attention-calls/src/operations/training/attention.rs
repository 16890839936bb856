//! Gradients of attention and of rotary positions.

use ruvector_attention::Result;
use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::rotary::{RotaryArrays, RotaryOptions};
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::training::attention::{self, AttentionGradients, AttentionTensors};
use ruvector_attention::training::rows;

use crate::call::Call;

/// Options of further results, which have no gradients.
const WITHOUT: &[&str] = &["weights", "topWeights", "stage"];

/// Takes the inputs and the options of both operations.
fn prepare<'a>(call: &mut Call<'a>) -> Result<(AttentionTensors<'a>, AttentionOptions, Arrays<'a>)> {
    let [gradient, q, k, v, output, log_sum_exp] =
        [call.tensor()?, call.tensor()?, call.tensor()?, call.tensor()?, call.tensor()?, call.tensor()?];
    let arrays = call.arrays()?;
    Ok((AttentionTensors { gradient, q, k, v, output, log_sum_exp }, call.options(WITHOUT)?, arrays))
}

pub(crate) fn attention_backward(call: &mut Call<'_>) -> Result<()> {
    let (tensors, options, arrays) = prepare(call)?;
    let AttentionTensors { q, k, v, .. } = tensors;
    let [q, k, v] = [call.output(q.shape.dims())?, call.output(k.shape.dims())?, call.output(v.shape.dims())?];
    let relative_bias = call.output_like_optional(arrays.relative_bias)?;
    let sinks = call.output_if(arrays.sinks.is_some(), &[arrays.sinks.map_or(0, <[f32]>::len)])?;
    let gradients = AttentionGradients { q, k, v, relative_bias, sinks };
    attention::attention_backward(call.context, tensors, &options, arrays, gradients)
}

pub(crate) fn attention_mask_backward(call: &mut Call<'_>) -> Result<()> {
    let (tensors, options, arrays) = prepare(call)?;
    let output = match arrays.mask {
        Some(Mask::Float(mask)) => call.output(mask.shape.dims())?,
        // The mechanism rejects other masks.
        _ => call.output(&[0])?,
    };
    attention::mask_backward(call.context, tensors, &options, arrays, output)
}

pub(crate) fn rotary_backward(call: &mut Call<'_>) -> Result<()> {
    let (gradient, positions, frequencies) = (call.tensor()?, call.integer_tensor()?, call.doubles()?);
    let options: RotaryOptions = call.options(&[])?;
    let output = call.output(gradient.shape.dims())?;
    let arrays = RotaryArrays { positions, frequencies: frequencies.as_deref() };
    rows::rotary_backward(call.context, gradient, options, arrays, output)
}

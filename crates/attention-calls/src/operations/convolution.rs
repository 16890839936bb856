//! Causal convolution.

use ruvector_attention::Result;
use ruvector_attention::convolution::{self, ConvolutionTensors};

use crate::call::Call;

pub(super) fn causal_convolution(call: &mut Call<'_>) -> Result<()> {
    let (x, weight) = (call.tensor()?, call.tensor()?);
    let tensors = ConvolutionTensors { x, weight, bias: call.optional_tensor()?, state: call.optional_tensor()? };
    let options = call.options(&[])?;
    let output = call.output(x.shape.dims())?;
    let kept = match (x.shape.dims(), weight.shape.dims()) {
        (&[batch, channels, _], &[_, _, size]) => [batch, channels, size.saturating_sub(1)],
        // The mechanism rejects other ranks.
        _ => [0; 3],
    };
    let state = call.output(&kept)?;
    convolution::causal_convolution(call.context, tensors, options, output, state)
}

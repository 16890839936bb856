//! Gradients of linear attention and of the causal convolution.

use ruvector_attention::Result;
use ruvector_attention::convolution::{ConvolutionOptions, ConvolutionTensors};
use ruvector_attention::linear::{LinearAttention, LinearOptions, LinearTensors};
use ruvector_attention::training::convolution::{ConvolutionGradients, ConvolutionResults, convolution_backward};
use ruvector_attention::training::linear_attention::{
    self, LinearAttentionGradients, ResultGradients, linear_attention_backward as attention_backward,
};

use crate::call::Call;

/// Computes the gradients of linear attention; the object is the attention.
pub(crate) fn linear_attention_backward(call: &mut Call<'_>) -> Result<()> {
    let output = call.tensor()?;
    let mut tensors = LinearTensors::new([call.tensor()?, call.tensor()?, call.tensor()?]);
    tensors.kv_lengths = call.integers()?;
    tensors.decay = call.optional_tensor()?;
    tensors.beta = call.optional_tensor()?;
    tensors.state = call.optional_tensor()?;
    let results = ResultGradients { output, state: call.optional_tensor()? };
    let options: LinearOptions = call.options(&["returnState"])?;
    let LinearTensors { q, k, v, decay, beta, state, .. } = tensors;
    let gradients = LinearAttentionGradients {
        q: call.output(q.shape.dims())?,
        k: call.output(k.shape.dims())?,
        v: call.output(v.shape.dims())?,
        decay: call.output_like_optional(decay)?,
        beta: call.output_like_optional(beta)?,
        state: call.output_like_optional(state)?,
    };
    attention_backward(call.object::<LinearAttention>(0)?, call.context, tensors, options, results, gradients)
}

/// Computes the gradient of the feature map; the object is the attention.
pub(crate) fn linear_feature_map_backward(call: &mut Call<'_>) -> Result<()> {
    let (gradient, x) = (call.tensor()?, call.tensor()?);
    let output = call.output(x.shape.dims())?;
    linear_attention::feature_map_backward(call.object(0)?, call.context, gradient, x, output)
}

pub(crate) fn causal_convolution_backward(call: &mut Call<'_>) -> Result<()> {
    let output = call.tensor()?;
    let (x, weight, bias, state) = (call.tensor()?, call.tensor()?, call.optional_tensor()?, call.optional_tensor()?);
    let results = ConvolutionResults { output, state: call.optional_tensor()? };
    let options: ConvolutionOptions = call.options(&[])?;
    let gradients = ConvolutionGradients {
        x: call.output(x.shape.dims())?,
        weight: call.output(weight.shape.dims())?,
        bias: call.output_like_optional(bias)?,
        state: call.output_like_optional(state)?,
    };
    let tensors = ConvolutionTensors { x, weight, bias, state };
    convolution_backward(call.context, tensors, options, results, gradients)
}

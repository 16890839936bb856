//! Gradients of hyperbolic attention and geometry. The object of each call is the space.

use ruvector_attention::Result;
use ruvector_attention::hyperbolic::HyperbolicOptions;
use ruvector_attention::hyperbolic::functions::FunctionOptions;
use ruvector_attention::training::hyperbolic::{
    distances_backward, function_backward, hyperbolic_backward, midpoint_backward,
};

use crate::call::Call;

pub(crate) fn hyperbolic_attention_backward(call: &mut Call<'_>) -> Result<()> {
    let (gradient, q, k, v) = (call.tensor()?, call.tensor()?, call.tensor()?, call.tensor()?);
    let arrays = call.arrays()?;
    let options: HyperbolicOptions = call.options(&["weights"])?;
    let outputs = [call.output(q.shape.dims())?, call.output(k.shape.dims())?, call.output(v.shape.dims())?];
    hyperbolic_backward(call.object(0)?, call.context, (gradient, [q, k, v]), &options, arrays, outputs)
}

pub(crate) fn hyperbolic_function_backward(call: &mut Call<'_>) -> Result<()> {
    let options: FunctionOptions = call.options(&["factor"])?;
    let (gradient, first, second) = (call.tensor()?, call.tensor()?, call.optional_tensor()?);
    let outputs = [call.output(first.shape.dims())?, call.output_like_optional(second)?.unwrap_or_default()];
    function_backward(call.object(0)?, call.context, &options, (gradient, [Some(first), second]), outputs)
}

pub(crate) fn hyperbolic_distances_backward(call: &mut Call<'_>) -> Result<()> {
    let (gradient, a, b) = (call.tensor()?, call.tensor()?, call.tensor()?);
    let outputs = [call.output(a.shape.dims())?, call.output(b.shape.dims())?];
    distances_backward(call.object(0)?, call.context, gradient, [a, b], outputs)
}

pub(crate) fn hyperbolic_midpoint_backward(call: &mut Call<'_>) -> Result<()> {
    let (gradient, points, weights) = (call.tensor()?, call.tensor()?, call.optional_tensor()?);
    let outputs = (call.output(points.shape.dims())?, call.output_like_optional(weights)?);
    midpoint_backward(call.object(0)?, call.context, gradient, (points, weights), outputs)
}

//! Steps of optimizers: new arrays from parameters, gradients and states.

use ruvector_attention::training::steps::{self, AdamwOptions, SgdOptions};
use ruvector_attention::{Result, Tensor};

use crate::call::Call;

pub(crate) fn adamw_step(call: &mut Call<'_>) -> Result<()> {
    let options: AdamwOptions = call.options(&[])?;
    let inputs @ [parameter, gradient, mean, square] = [call.tensor()?, call.tensor()?, call.tensor()?, call.tensor()?];
    same_shapes(inputs)?;
    let [parameter, mean, square] = [copy(call, parameter)?, copy(call, mean)?, copy(call, square)?];
    steps::adamw_step(gradient.data, options, [parameter, mean, square])
}

pub(crate) fn sgd_step(call: &mut Call<'_>) -> Result<()> {
    let options: SgdOptions = call.options(&[])?;
    let [parameter, gradient] = [call.tensor()?, call.tensor()?];
    let velocity = call.optional_tensor()?;
    same_shapes([parameter, gradient, velocity.unwrap_or(parameter)])?;
    let output = copy(call, parameter)?;
    let has_velocity = options.momentum != 0.0;
    let new_velocity = match velocity.filter(|_| has_velocity) {
        Some(velocity) => Some(copy(call, velocity)?),
        None => call.output_if(has_velocity, parameter.shape.dims())?,
    };
    steps::sgd_step(gradient.data, options, velocity.is_none(), [output, new_velocity.unwrap_or_default()])
}

/// Checks that all tensors have the shape of the first one, the parameter.
fn same_shapes<const N: usize>(tensors: [Tensor<'_>; N]) -> Result<()> {
    let shape = tensors[0].shape;
    match tensors.into_iter().find(|tensor| tensor.shape != shape) {
        Some(other) => Err(ruvector_attention::Error::shape("gradient", shape, other.shape)),
        None => Ok(()),
    }
}

/// Allocates a result with the contents of a tensor.
fn copy<'a>(call: &mut Call<'a>, tensor: Tensor<'_>) -> Result<&'a mut [f32]> {
    let output = call.output(tensor.shape.dims())?;
    output.copy_from_slice(tensor.data);
    Ok(output)
}

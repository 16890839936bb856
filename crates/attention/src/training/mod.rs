//! Gradients of the mechanisms, and steps of optimizers.
//!
//! Each function takes the gradient of a result, and what the mechanism was given, and computes the gradients of its
//! inputs, as PyTorch's autograd has them. Intermediate values are computed again rather than kept. Sums go over blocks
//! fixed by shapes alone and are added in their order, so that results do not depend on the number of threads.

pub mod activation;
pub mod attention;
pub mod convolution;
pub mod graph;
pub mod hyperbolic;
pub mod linear;
pub mod linear_attention;
pub mod norm;
pub mod rows;
pub mod steps;

use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

/// Checks that a gradient has the shape of the result that it belongs to.
pub(crate) fn check_gradient(gradient: Tensor<'_>, shape: Shape) -> Result<()> {
    check_shape("gradient", gradient, shape)
}

/// Checks that a tensor has this shape.
pub(crate) fn check_shape(argument: &str, tensor: Tensor<'_>, shape: Shape) -> Result<()> {
    if tensor.shape != shape { Err(Error::shape(argument, shape, tensor.shape)) } else { Ok(()) }
}

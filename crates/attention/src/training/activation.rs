//! The gradients of activations.

use crate::context::{Context, operations};
use crate::error::Result;
use crate::math::activation::{Activate, Activation, distribution};
use crate::math::exp::{exp, tanh};
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output};
use crate::training::{check_gradient, check_shape};

/// Values in one work item, about 20 µs of work.
const VALUES_PER_ITEM: usize = 1 << 13;

/// Computes the gradient of `activation(x)`; that of a ReLU at 0 is 0.
///
/// # Errors
/// `SHAPE` if the gradient has another shape than x, or the output another length.
pub fn activation_backward(
    context: Context<'_>,
    activation: Activation,
    gradient: Tensor<'_>,
    x: Tensor<'_>,
    output: &mut [f32],
) -> Result<()> {
    check_gradient(gradient, x.shape)?;
    check_output("output", output, x.data.len())?;
    let (count, work) = (x.data.len(), operations([x.data.len(), 48]));
    context.for_each_rows(count, VALUES_PER_ITEM, work, [output], |item, [output]| {
        let (x, gradient) = (&x.data[item.clone()], &gradient.data[item]);
        context.level.run(Slopes { activation, x, gradient, output });
    });
    Ok(())
}

/// Computes the gradients of the gated form `activation(x) · factor`; `outputs` are those of x and of the factor.
///
/// # Errors
/// `SHAPE` if the gradient or the factor have another shape than x, or the outputs another length.
pub fn gated_backward(
    context: Context<'_>,
    activation: Activation,
    gradient: Tensor<'_>,
    [x, factor]: [Tensor<'_>; 2],
    outputs: [&mut [f32]; 2],
) -> Result<()> {
    check_gradient(gradient, x.shape)?;
    check_shape("factor", factor, x.shape)?;
    check_output("x", outputs[0], x.data.len())?;
    check_output("factor", outputs[1], x.data.len())?;
    let (count, work) = (x.data.len(), operations([x.data.len(), 96]));
    context.for_each_rows(count, VALUES_PER_ITEM, work, outputs, |item, [x_output, factor_output]| {
        let [x, factor, gradient] = [x, factor, gradient].map(|tensor| &tensor.data[item.clone()]);
        // The gradient of the activation's result, in the place of its own result.
        for ((output, gradient), factor) in factor_output.iter_mut().zip(gradient).zip(factor) {
            *output = gradient * factor;
        }
        context.level.run(Slopes { activation, x, gradient: factor_output, output: x_output });
        factor_output.copy_from_slice(x);
        context.level.run(Activate { activation, values: factor_output });
        factor_output.iter_mut().zip(gradient).for_each(|(value, gradient)| *value *= gradient);
    });
    Ok(())
}

/// Multiplies gradients by the slope of the activation.
struct Slopes<'a> {
    activation: Activation,
    x: &'a [f32],
    gradient: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Slopes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { activation, x, gradient, output } = self;
        let vectors = x.chunks(S::LANES).zip(gradient.chunks(S::LANES)).zip(output.chunks_mut(S::LANES));
        let mut padded = [[0.0; 16]; 2];
        for ((x, gradient), output) in vectors {
            if x.len() == S::LANES {
                let product = slope(simd, activation, simd.load(x), simd.load(gradient));
                simd.store(output, product);
                continue;
            }
            padded[0][..x.len()].copy_from_slice(x);
            padded[1][..x.len()].copy_from_slice(gradient);
            let product = slope(simd, activation, simd.load(&padded[0]), simd.load(&padded[1]));
            simd.store(&mut padded[0], product);
            output.copy_from_slice(&padded[0][..output.len()]);
        }
    }
}

/// Returns the gradient times the slope at x.
#[inline(always)]
fn slope<S: Simd>(simd: S, activation: Activation, x: S::F, gradient: S::F) -> S::F {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    if activation == Activation::Relu {
        // "Less than the smallest positive number" is false for NaN, whose gradient stays.
        return simd.select(simd.lt(x, simd.splat(f32::from_bits(1))), zero, gradient);
    }
    let slope = match activation {
        Activation::Tanh => {
            let y = tanh(simd, x);
            one - y * y
        }
        Activation::Elu => simd.select(simd.lt(zero, x), one, exp(simd, zero - simd.max(zero - x, zero))),
        Activation::Gelu => {
            // The density of the normal distribution; beyond 14 it is 0 in f32.
            const DENSITY: f32 = 0.398_942_3;
            let bounded = zero - simd.at_least(zero - simd.max(x, zero - x), -14.0);
            let density = exp(simd, bounded * bounded * -0.5) * DENSITY;
            simd.mul_add(x, density, distribution(simd, activation, x))
        }
        _ => {
            let share = distribution(simd, activation, x);
            let density = share * (one - share);
            match activation {
                Activation::Sigmoid => density,
                Activation::GeluTanh => {
                    // The derivative of 2 · √(2/π) · (x + 0.044715 x³).
                    const LINEAR: f32 = 1.595_769;
                    let inner = simd.mul_add(x * x, simd.splat(3.0 * 0.044715 * LINEAR), simd.splat(LINEAR));
                    // An infinite x has an infinite inner slope, but no density.
                    let term = simd.select(simd.lt(density, simd.splat(f32::from_bits(1))), zero, x * inner * density);
                    share + term
                }
                Activation::QuickGelu => simd.mul_add(x, density * 1.702, share),
                _ => simd.mul_add(x, density, share),
            }
        }
    };
    gradient * slope
}

//! Gradients of functions of rows and values.

use ruvector_attention::math::activation::{self, Activation};
use ruvector_attention::math::norm::NormKind;
use ruvector_attention::math::pool::Pooled;
use ruvector_attention::math::weight::WeightType;
use ruvector_attention::tensor::MAX_RANK;
use ruvector_attention::training::activation::{activation_backward as slopes, gated_backward};
use ruvector_attention::training::linear::{self, LinearGradients, LinearTensors};
use ruvector_attention::training::norm::{self, NormGradients, NormTensors};
use ruvector_attention::training::rows::{self, DropoutOptions};
use ruvector_attention::{Error, Result, Shape};
use serde::Deserialize;

use crate::call::Call;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LinearOptions {
    bias: bool,
    weight_type: WeightType,
}

pub(crate) fn linear_backward(call: &mut Call<'_>) -> Result<()> {
    let LinearOptions { bias, weight_type } = call.options(&[])?;
    let (gradient, x) = (call.tensor()?, call.optional_tensor()?);
    let weight = call.optional_weight(weight_type == WeightType::Bf16)?;
    let outputs = gradient.shape.rows_and_columns().1;
    let inputs = weight.and_then(|weight| weight.shape.dims().get(1).copied()).unwrap_or(0);
    let columns = x.map_or(0, |x| x.shape.rows_and_columns().1);
    let gradients = LinearGradients {
        x: call.output_if(weight.is_some(), gradient.shape.with_last(inputs).dims())?,
        weight: call.output_if(x.is_some(), &[outputs, columns])?,
        bias: call.output_if(bias, &[outputs])?,
    };
    linear::linear_backward(call.context, LinearTensors { gradient, x, weight }, gradients)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NormOptions {
    kind: NormKind,
    epsilon: Option<f32>,
    weight_offset: f32,
    bias: bool,
}

pub(crate) fn norm_backward(call: &mut Call<'_>) -> Result<()> {
    let NormOptions { kind, epsilon, weight_offset, bias } = call.options(&[])?;
    let (gradient, x, weight) = (call.tensor()?, call.tensor()?, call.optional_tensor()?);
    let epsilon = epsilon.unwrap_or(if kind == NormKind::Layer { 1e-5 } else { f32::EPSILON });
    let columns = x.shape.rows_and_columns().1;
    let gradients = NormGradients {
        x: call.output(x.shape.dims())?,
        weight: call.output_if(weight.is_some(), &[columns])?,
        bias: call.output_if(bias, &[columns])?,
    };
    norm::norm_backward(call.context, NormTensors { kind, gradient, x, weight, weight_offset, epsilon }, gradients)
}

/// Every activation by its name.
#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    #[default]
    Relu,
    Gelu,
    #[serde(rename = "gelu-tanh")]
    GeluTanh,
    #[serde(rename = "quick-gelu")]
    QuickGelu,
    Silu,
    Tanh,
    Sigmoid,
    Elu,
}

impl From<Kind> for Activation {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Relu => Self::Relu,
            Kind::Gelu => Self::Gelu,
            Kind::GeluTanh => Self::GeluTanh,
            Kind::QuickGelu => Self::QuickGelu,
            Kind::Silu => Self::Silu,
            Kind::Tanh => Self::Tanh,
            Kind::Sigmoid => Self::Sigmoid,
            Kind::Elu => Self::Elu,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ActivationOptions {
    activation: Kind,
}

pub(crate) fn activation(call: &mut Call<'_>) -> Result<()> {
    let ActivationOptions { activation } = call.options(&[])?;
    let x = call.tensor()?;
    let output = call.output(x.shape.dims())?;
    activation::activate(call.context, activation.into(), x, output)
}

pub(crate) fn activation_backward(call: &mut Call<'_>) -> Result<()> {
    let ActivationOptions { activation } = call.options(&[])?;
    let (gradient, x, factor) = (call.tensor()?, call.tensor()?, call.optional_tensor()?);
    let output = call.output(x.shape.dims())?;
    match factor {
        None => slopes(call.context, activation.into(), gradient, x, output),
        Some(factor) => {
            let outputs = [output, call.output(factor.shape.dims())?];
            gated_backward(call.context, activation.into(), gradient, [x, factor], outputs)
        }
    }
}

pub(crate) fn softmax_backward(call: &mut Call<'_>) -> Result<()> {
    let (gradient, y) = (call.tensor()?, call.tensor()?);
    let output = call.output(y.shape.dims())?;
    rows::softmax_backward(call.context, gradient, y, output)
}

/// Sums x over broadcast dimensions; the second input is the resulting shape.
pub(crate) fn sum_to(call: &mut Call<'_>) -> Result<()> {
    let (x, given) = (call.tensor()?, call.integers()?.unwrap_or_default());
    let mut dims = [0; MAX_RANK];
    if given.len() > dims.len() || given.iter().any(|&dim| dim < 0) {
        return Err(Error::shape("shape", format_args!("at most {MAX_RANK} sizes of at least 0"), "others"));
    }
    dims.iter_mut().zip(given).for_each(|(dim, &given)| *dim = given as usize);
    let shape = Shape::new("shape", &dims[..given.len()])?;
    let output = call.output(shape.dims())?;
    rows::sum_to(x, shape, output)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EmbeddingOptions {
    count: usize,
    padding_index: Option<usize>,
}

pub(crate) fn embedding_backward(call: &mut Call<'_>) -> Result<()> {
    let EmbeddingOptions { count, padding_index } = call.options(&[])?;
    let gradient = call.tensor()?;
    let ids = call.integer_tensor()?.ok_or_else(|| Error::shape("ids", "an Int32Array", "none"))?;
    let output = call.output(&[count, gradient.shape.rows_and_columns().1])?;
    rows::embedding_backward(call.context, gradient, ids, (count, padding_index), output)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolOptions {
    normalize: bool,
}

pub(crate) fn mean_pool_backward(call: &mut Call<'_>) -> Result<()> {
    let (gradient, x, lengths, offsets) = (call.tensor()?, call.tensor()?, call.integers()?, call.integers()?);
    let PoolOptions { normalize } = call.options(&[])?;
    let pooled = match (lengths, offsets) {
        (None, None) => Pooled::All,
        (Some(lengths), None) => Pooled::Lengths(lengths),
        (None, Some(offsets)) => Pooled::CuSeqlens(offsets),
        _ => return Err(Error::option("lengths", "no value: cuSeqlens says where sequences end", "an Int32Array")),
    };
    let output = call.output(x.shape.dims())?;
    rows::mean_pool_backward(call.context, gradient, x, (pooled, normalize), output)
}

/// Applies a layer's dropout to rows, or to their gradient.
pub(crate) fn dropout(call: &mut Call<'_>) -> Result<()> {
    let options: DropoutOptions = call.options(&[])?;
    let (x, offsets) = (call.tensor()?, call.integers()?);
    let output = call.output(x.shape.dims())?;
    rows::dropout(call.context, x, options, offsets, output)
}

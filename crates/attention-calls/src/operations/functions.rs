//! Functions of rows and values: norms, activations, mean pooling, products, statistics.

use ruvector_attention::math::activation::{self, Activation};
use ruvector_attention::math::broadcast::{self, Combine};
use ruvector_attention::math::pool::Pooled;
use ruvector_attention::math::top_k::{self, Metric, TopK};
use ruvector_attention::math::weight::WeightType;
use ruvector_attention::math::{linear, norm, pool, softmax, stats};
use ruvector_attention::{Error, Result};
use serde::Deserialize;

use crate::call::Call;

pub(super) fn softmax(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor()?;
    let output = call.output(x.shape.dims())?;
    softmax::softmax(call.context, x, output)
}

/// The type of 16-bit weights, which the class of their array does not tell.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WeightOptions {
    weight_type: WeightType,
}

pub(super) fn linear(call: &mut Call<'_>) -> Result<()> {
    let WeightOptions { weight_type } = call.options(&[])?;
    let x = call.tensor()?;
    let weight = call.weight(weight_type == WeightType::Bf16)?;
    let bias = call.optional_tensor()?;
    let output = call.output_like(x.shape, weight.shape.dims().first().copied().unwrap_or(0))?;
    linear::linear(call.context, x, weight, bias, output)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NormOptions {
    epsilon: Option<f32>,
}

pub(super) fn layer_norm(call: &mut Call<'_>) -> Result<()> {
    let (x, weight, bias) = (call.tensor()?, call.optional_tensor()?, call.optional_tensor()?);
    let NormOptions { epsilon } = call.options(&[])?;
    let output = call.output(x.shape.dims())?;
    norm::layer_norm(call.context, x, weight, bias, epsilon.unwrap_or(1e-5), output)
}

/// Runs the RMS norm; the default epsilon is PyTorch's for 32 bits.
pub(super) fn rms_norm(call: &mut Call<'_>) -> Result<()> {
    let (x, weight) = (call.tensor()?, call.optional_tensor()?);
    let NormOptions { epsilon } = call.options(&[])?;
    let output = call.output(x.shape.dims())?;
    norm::rms_norm(call.context, x, weight, epsilon.unwrap_or(f32::EPSILON), output)
}

/// The variants of GELU.
#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Approximate {
    #[default]
    None,
    Tanh,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GeluOptions {
    approximate: Approximate,
}

pub(super) fn gelu(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor()?;
    let GeluOptions { approximate } = call.options(&[])?;
    let form = match approximate {
        Approximate::None => Activation::Gelu,
        Approximate::Tanh => Activation::GeluTanh,
    };
    let output = call.output(x.shape.dims())?;
    activation::activate(call.context, form, x, output)
}

/// Applies an activation without options.
pub(super) fn activate(call: &mut Call<'_>, form: Activation) -> Result<()> {
    let x = call.tensor()?;
    let output = call.output(x.shape.dims())?;
    activation::activate(call.context, form, x, output)
}

pub(super) fn combine(call: &mut Call<'_>, combine: Combine) -> Result<()> {
    let (a, b) = (call.tensor()?, call.tensor()?);
    let output = call.output(broadcast::broadcast_shape(a.shape, b.shape)?.dims())?;
    broadcast::combine(call.context, combine, a, b, output)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TopKOptions {
    k: Option<usize>,
    metric: Metric,
    weight_type: WeightType,
}

pub(super) fn top_k(call: &mut Call<'_>) -> Result<()> {
    let TopKOptions { k, metric, weight_type } = call.options(&[])?;
    let queries = call.tensor()?;
    let vectors = call.weight(weight_type == WeightType::Bf16)?;
    let k = k.unwrap_or(0);
    // The mechanism rejects any k for which the results have no size.
    let len = if vectors.shape.dims().first().is_some_and(|&count| k <= count) { k } else { 0 };
    let values = call.output_like(queries.shape, len)?;
    let indices = call.integer_output(queries.shape.with_last(len).dims())?;
    top_k::top_k(call.context, queries, vectors, k, metric, TopK { values, indices })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolOptions {
    normalize: bool,
}

pub(super) fn mean_pool(call: &mut Call<'_>) -> Result<()> {
    let (x, lengths, offsets) = (call.tensor()?, call.integers()?, call.integers()?);
    let PoolOptions { normalize } = call.options(&[])?;
    let pooled = match (lengths, offsets) {
        (None, None) => Pooled::All,
        (Some(lengths), None) => Pooled::Lengths(lengths),
        (None, Some(offsets)) => Pooled::CuSeqlens(offsets),
        _ => return Err(Error::option("lengths", "no value: cuSeqlens says where sequences end", "an Int32Array")),
    };
    let output = match (x.shape.dims(), pooled) {
        (&[batch, _, size], _) => call.output(&[batch, size])?,
        (&[_, size], Pooled::CuSeqlens(offsets)) => call.output(&[offsets.len().saturating_sub(1), size])?,
        // The mechanism rejects other ranks.
        _ => call.output(&[0])?,
    };
    pool::mean_pool(call.context, x, pooled, normalize, output)
}

pub(super) fn stats(call: &mut Call<'_>) -> Result<()> {
    let found = stats::stats(call.tensor()?.data);
    let values = [found.mean as f32, found.deviation as f32, found.smallest, found.largest];
    call.output(&[values.len()])?.iter_mut().zip(values).for_each(|(output, value)| *output = value);
    Ok(())
}

pub(super) fn normalize(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor()?;
    let NormOptions { epsilon } = call.options(&[])?;
    let output = call.output(x.shape.dims())?;
    stats::normalize(x, epsilon.unwrap_or(1e-5), output)
}

//! Functions of rows and values: norms, activations, means, products, statistics.

use ruvector_attention::Result;
use ruvector_attention::math::activation::{self, Activation};
use ruvector_attention::math::{linear, norm, pool, softmax, stats};
use serde::Deserialize;

use crate::call::Call;
use crate::options::{Names, read};

pub(super) fn softmax(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    softmax::softmax(call.context, x, call.output())
}

pub(super) fn linear(call: &mut Call<'_>) -> Result<()> {
    let (x, weight, bias) = (call.tensor("x")?, call.tensor("weight")?, call.optional_tensor("bias")?);
    linear::linear(call.context, x, weight, bias, call.output())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NormOptions {
    epsilon: Option<f32>,
}

pub(super) fn layer_norm(call: &mut Call<'_>) -> Result<()> {
    let (x, weight, bias) = (call.tensor("x")?, call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    let NormOptions { epsilon } = read(call.options, Names { beside: &["weight", "bias"], without: &[] })?;
    norm::layer_norm(call.context, x, weight, bias, epsilon.unwrap_or(1e-5), call.output())
}

/// The default epsilon is PyTorch's for 32 bits.
pub(super) fn rms_norm(call: &mut Call<'_>) -> Result<()> {
    let (x, weight) = (call.tensor("x")?, call.optional_tensor("weight")?);
    let NormOptions { epsilon } = read(call.options, Names { beside: &["weight"], without: &[] })?;
    norm::rms_norm(call.context, x, weight, epsilon.unwrap_or(f32::EPSILON), call.output())
}

/// The forms of GELU.
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
    let x = call.tensor("x")?;
    let GeluOptions { approximate } = read(call.options, Names::default())?;
    let form = match approximate {
        Approximate::None => Activation::Gelu,
        Approximate::Tanh => Activation::GeluTanh,
    };
    activation::activate(call.context, form, x, call.output())
}

pub(super) fn silu(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    activation::activate(call.context, Activation::Silu, x, call.output())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolOptions {
    normalize: bool,
}

pub(super) fn mean_pool(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    let PoolOptions { normalize } = read(call.options, Names { beside: &["lengths"], without: &[] })?;
    pool::mean_pool(call.context, x, call.integers(0), normalize, call.output())
}

pub(super) fn stats(call: &mut Call<'_>) -> Result<()> {
    let found = stats::stats(call.tensor("tensor")?.data);
    let values = [found.mean as f32, found.deviation as f32, found.smallest, found.largest];
    call.output().iter_mut().zip(values).for_each(|(output, value)| *output = value);
    Ok(())
}

pub(super) fn normalize(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("tensor")?;
    let NormOptions { epsilon } = read(call.options, Names::default())?;
    stats::normalize(x, epsilon.unwrap_or(1e-5), call.output())
}

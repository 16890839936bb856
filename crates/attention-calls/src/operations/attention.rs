//! Attention of one call, its weights, and what belongs to it.

use ruvector_attention::attention::merge::{self, MergeOptions};
use ruvector_attention::attention::rotary::{self, RotaryOptions};
use ruvector_attention::attention::{self};
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::{Error, Result, ranges};
use serde::Deserialize;

use crate::call::Call;
use crate::options::{Names, read};

/// The options that come as arrays beside the JSON.
pub(super) const ARRAY_OPTIONS: &[&str] = &["mask", "kvLengths", "out"];

pub(super) fn scaled_dot_product_attention(call: &mut Call<'_>) -> Result<()> {
    attend(call, Names { beside: ARRAY_OPTIONS, without: &["stage", "blockSize"] }, &|_| Ok(()))
}

/// The same in tiles of a given size, which have no memory for the weights.
pub(super) fn flash_attention(call: &mut Call<'_>) -> Result<()> {
    attend(call, Names { beside: ARRAY_OPTIONS, without: &[] }, &|options| {
        if options.weights {
            let expected =
                "no request for the weights, which are as many as tiles save: scaledDotProductAttention has them";
            return Err(Error::option("weights", expected, true));
        }
        Ok(())
    })
}

fn attend(call: &mut Call<'_>, names: Names<'_>, check: &dyn Fn(&AttentionOptions) -> Result<()>) -> Result<()> {
    let (q, k, v) = (call.tensor("q")?, call.tensor("k")?, call.tensor("v")?);
    let options: AttentionOptions = read(call.options, names)?;
    check(&options)?;
    let (arrays, outputs) = (call.arrays()?, call.attention_outputs());
    attention::scaled_dot_product_attention(call.context, q, k, v, &options, arrays, outputs)
}

pub(super) fn attention_weights(call: &mut Call<'_>) -> Result<()> {
    let (q, k) = (call.tensor("q")?, call.tensor("k")?);
    let options = read(call.options, Names { beside: ARRAY_OPTIONS, without: &["blockSize"] })?;
    let arrays = call.arrays()?;
    attention::attention_weights(call.context, q, k, &options, arrays, call.output())
}

/// The options that `ScaledDotProductAttention` is made with: checked here, and given again with each call.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ScaledDotProductConfig {
    head_dim: usize,
    dropout: f32,
    scale: Option<f32>,
    seed: Option<i64>,
}

pub(super) fn check_scaled_dot_product(call: &mut Call<'_>) -> Result<()> {
    let ScaledDotProductConfig { head_dim, dropout, scale, seed } = read(call.options, Names::default())?;
    let seed = u64::try_from(seed.unwrap_or(0)).unwrap_or(u64::MAX);
    AttentionOptions { dropout, scale, seed, ..AttentionOptions::default() }.check()?;
    ranges::count("headDim", head_dim)
}

/// The options that `FlashAttention` is made with.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FlashConfig {
    head_dim: usize,
    block_size: Option<usize>,
}

pub(super) fn check_flash(call: &mut Call<'_>) -> Result<()> {
    let FlashConfig { head_dim, block_size } = read(call.options, Names::default())?;
    ranges::optional_count("blockSize", block_size)?;
    ranges::count("headDim", head_dim)
}

pub(super) fn merge_attention(call: &mut Call<'_>) -> Result<()> {
    let (outputs, log_sum_exps) = (call.tensor("parts")?, call.tensor("parts")?);
    let options: MergeOptions = read(call.options, Names::default())?;
    let (output, log_sum_exp) = (call.output(), call.optional_output(1).unwrap_or_default());
    merge::merge_attention(call.context, outputs, log_sum_exps, options, output, log_sum_exp)
}

pub(super) fn rotary_embedding(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    let options: RotaryOptions = read(call.options, Names { beside: &["positions"], without: &[] })?;
    rotary::rotary_embedding(call.context, x, options, call.integers(0), call.output())
}

//! Scaled dot-product attention, attention weights, and related operations.

use ruvector_attention::attention::merge::{self, MergeOptions};
use ruvector_attention::attention::rotary::{self, RotaryArrays, RotaryOptions};
use ruvector_attention::attention::{self, Outputs};
use ruvector_attention::options::{AttentionOptions, Layout};
use ruvector_attention::tensor::Shape;
use ruvector_attention::{Error, Result, ranges};
use serde::Deserialize;

use crate::call::Call;

pub(super) fn scaled_dot_product_attention(call: &mut Call<'_>) -> Result<()> {
    attend(call, &["stage", "blockSize"], &|_| Ok(()))
}

/// Runs attention in tiles of a given size; weights are not available.
pub(super) fn flash_attention(call: &mut Call<'_>) -> Result<()> {
    attend(call, &[], &|options| {
        if options.weights {
            let expected =
                "no request for the weights, which are as many as tiles save: scaledDotProductAttention has them";
            return Err(Error::option("weights", expected, true));
        }
        Ok(())
    })
}

fn attend<'a>(
    call: &mut Call<'a>,
    without: &'a [&'a str],
    check: &dyn Fn(&AttentionOptions) -> Result<()>,
) -> Result<()> {
    let (q, k, v) = (call.tensor()?, call.tensor()?, call.tensor()?);
    let arrays = call.arrays()?;
    let options: AttentionOptions = call.options(without)?;
    check(&options)?;
    arrays.check_results(options.weights, false)?;
    let rows = Rows::new(q.shape, options.layout);
    let outputs = outputs(call, rows, keys(q.shape, k.shape, options.layout), last(v.shape), &options)?;
    attention::scaled_dot_product_attention(call.context, q, k, v, &options, arrays, outputs)
}

pub(super) fn attention_weights(call: &mut Call<'_>) -> Result<()> {
    let (q, k) = (call.tensor()?, call.tensor()?);
    let arrays = call.arrays()?;
    let options: AttentionOptions = call.options(&["blockSize"])?;
    let rows = Rows::new(q.shape, options.layout).rows;
    let output = call.output(&[rows[0], rows[1], rows[2], keys(q.shape, k.shape, options.layout)])?;
    attention::attention_weights(call.context, q, k, &options, arrays, output)
}

/// The shapes of attention's results, derived from the queries.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    q: Shape,
    /// B, H and L; zeros for a shape that the mechanism rejects.
    rows: [usize; 3],
}

impl Rows {
    pub fn new(q: Shape, layout: Layout) -> Self {
        let rows = match (q.dims(), layout) {
            (&[batch, length, _], _) => [batch, 1, length],
            (&[batch, heads, length, _], Layout::Bhld) | (&[batch, length, heads, _], Layout::Blhd) => {
                [batch, heads, length]
            }
            _ => [0; 3],
        };
        Self { q, rows }
    }

    /// Returns the number of queries.
    pub fn queries(self) -> usize {
        self.rows[2]
    }
}

/// Returns the last dimension.
pub(super) fn last(shape: Shape) -> usize {
    shape.dims().last().copied().unwrap_or(1)
}

/// Returns the number of keys, or 0 for a shape that the mechanism rejects.
pub(super) fn keys(q: Shape, k: Shape, layout: Layout) -> usize {
    if q.rank() == k.rank() { Rows::new(k, layout).queries() } else { 0 }
}

/// Allocates the results that the options request.
pub(super) fn outputs<'a>(
    call: &mut Call<'a>,
    Rows { q, rows: [batch, heads, length] }: Rows,
    keys: usize,
    value_dim: usize,
    options: &AttentionOptions,
) -> Result<Outputs<'a>> {
    let output = call.output_like(q, value_dim)?;
    let weights = call.output_if(options.weights, &[batch, heads, length, keys])?;
    let log_sum_exp = call.output_if(options.log_sum_exp, &[batch, heads, length])?;
    // The mechanism rejects counts beyond the number of keys.
    let count = options.top_weights.filter(|&count| (1..=keys).contains(&count));
    let top = match count {
        Some(count) => {
            let shape = [batch, heads, length, count];
            Some((call.output(&shape)?, call.integer_output(&shape)?))
        }
        None => None,
    };
    Ok(Outputs { output, weights, log_sum_exp, top })
}

/// Calls that return weights are not split, because weights need a second pass over all rows; nor are calls of packed
/// sequences, whose rows are not in blocks of one length.
pub(super) fn divisible(call: &mut Call<'_>) -> Result<u64> {
    let (Some(q), Some(k)) = (call.shape()?, call.shape()?) else { return Ok(0) };
    let options: AttentionOptions = call.options(&[])?;
    if options.weights || options.top_weights.is_some() || call.has_input("cuSeqlens")? {
        return Ok(0);
    }
    let (rows, columns) = q.rows_and_columns();
    Ok((4 * keys(q, k, options.layout) as u64).saturating_mul(rows as u64).saturating_mul(columns as u64))
}

/// The options of the `ScaledDotProductAttention` constructor: checked here, and passed again with each call.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ScaledDotProductConfig {
    head_dim: usize,
    dropout: f32,
    scale: Option<f32>,
    seed: Option<i64>,
}

pub(super) fn check_scaled_dot_product(call: &mut Call<'_>) -> Result<()> {
    let ScaledDotProductConfig { head_dim, dropout, scale, seed } = call.options(&[])?;
    let seed = u64::try_from(seed.unwrap_or(0)).unwrap_or(u64::MAX);
    AttentionOptions { dropout, scale, seed, ..AttentionOptions::default() }.check()?;
    ranges::count("headDim", head_dim)
}

/// The options of the `FlashAttention` constructor.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FlashConfig {
    head_dim: usize,
    block_size: Option<usize>,
}

pub(super) fn check_flash(call: &mut Call<'_>) -> Result<()> {
    let FlashConfig { head_dim, block_size } = call.options(&[])?;
    ranges::optional_count("blockSize", block_size)?;
    ranges::count("headDim", head_dim)
}

pub(super) fn merge_attention(call: &mut Call<'_>) -> Result<()> {
    let (outputs, log_sum_exps) = (call.tensor()?, call.tensor()?);
    let options: MergeOptions = call.options(&[])?;
    let output = call.output(outputs.shape.dims().get(1..).unwrap_or_default())?;
    let log_sum_exp = call.output(log_sum_exps.shape.dims().get(1..).unwrap_or_default())?;
    merge::merge_attention(call.context, outputs, log_sum_exps, options, output, log_sum_exp)
}

pub(super) fn rotary_embedding(call: &mut Call<'_>) -> Result<()> {
    let (x, positions, frequencies) = (call.tensor()?, call.integer_tensor()?, call.doubles()?);
    let options: RotaryOptions = call.options(&[])?;
    let output = call.output(x.shape.dims())?;
    let arrays = RotaryArrays { positions, frequencies: frequencies.as_deref() };
    rotary::rotary_embedding(call.context, x, options, arrays, output)
}

//! Merges attention over separate parts of the keys into attention over all keys, using their log-sum-exps.

use crate::attention::{Dims, Strides};
use crate::context::rows::{RowLayout, Rows};
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::sum::total;
use crate::options::Layout;
use crate::tensor::{Shape, Tensor, check_output};

/// The options of [`merge_attention`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct MergeOptions {
    /// The order of the dimensions of 4-D outputs.
    pub layout: Layout,
}

/// Merges the results of P calls over separate parts of the keys into the result of one call over all of them: `lse =
/// log Σ exp(lse_p)` and `output = Σ exp(lse_p − lse) · output_p`.
///
/// `outputs` is `[P, B, H, L, E]`, or `[P, B, L, H, E]` in layout `blhd`, or `[P, B, L, E]`; `log_sum_exps` is `[P, B,
/// H, L]`. A row with log-sum-exp −∞ (no visible key in that part) adds nothing, whatever its output contains. A row
/// without a visible key in any part becomes zeros and −∞. The results have the shapes of one part.
///
/// # Errors
/// `SHAPE` if the tensors or the outputs do not fit each other.
pub fn merge_attention(
    context: Context<'_>,
    outputs: Tensor<'_>,
    log_sum_exps: Tensor<'_>,
    options: MergeOptions,
    output: &mut [f32],
    log_sum_exp: &mut [f32],
) -> Result<()> {
    let (&parts, part) = outputs.shape.dims().split_first().unwrap_or((&0, &[]));
    let part = Shape::new("parts[0].output", part)?;
    let Dims { batch, heads, length, size } = Dims::of("parts[0].output", part, options.layout, ["H", "L", "E"])?;
    if log_sum_exps.shape.dims() != [parts, batch, heads, length] {
        let expected = format_args!("[{batch}, {heads}, {length}] to fit an output {part}");
        return Err(Error::shape(
            "parts[0].log_sum_exp",
            expected,
            Shape::new("", log_sum_exps.shape.dims().get(1..).unwrap_or_default())?,
        ));
    }
    let rows = batch.saturating_mul(heads).saturating_mul(length);
    check_output("output", output, rows.saturating_mul(size))?;
    check_output("log_sum_exp", log_sum_exp, rows)?;
    if rows == 0 {
        return Ok(());
    }
    let strides = Strides::new(options.layout, heads, length, size);
    let shape = [batch, heads, length];
    let results = [
        Some(Rows::new(output, RowLayout::new(shape, 1, strides, size))),
        Some(Rows::new(log_sum_exp, RowLayout::contiguous(shape, 1, 1))),
    ];
    let (sizes, operations) = ([batch * heads, length, length], operations([parts, rows, 2 * size + 32]));
    context.for_each_head_rows(sizes, operations, results, None, |item, results, _| {
        let [Some(mut output), Some(mut log_sum_exp)] = results else { return };
        for i in item.rows {
            let (head, row) = (item.head, item.head * length + i);
            let logarithm = |part: usize| log_sum_exps.data[part * rows + row];
            let max = (0..parts).map(logarithm).fold(f32::MIN, f32::max);
            let share = |part: usize| (f64::from(logarithm(part)) - f64::from(max)).exp();
            let shares: f64 = (0..parts).map(share).sum();
            let start = strides.row(head / heads, head % heads, i);
            log_sum_exp.row(i)[0] =
                if shares == 0.0 { f32::NEG_INFINITY } else { (f64::from(max) + shares.ln()) as f32 };
            let term = |part: usize| {
                let values = &outputs.data[part * rows * size + start..][..size];
                (logarithm(part) != f32::NEG_INFINITY).then(|| (share(part) / shares, values))
            };
            total(parts, &term, output.row(i));
        }
    });
    Ok(())
}

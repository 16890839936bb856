//! Products of rows with weights of 8 bits in groups of 32: integer products within a group, and groups added in f32.
//!
//! Each group of a row x has `d = max |x| / 127`, and its values become `round(x · (1/d))`, halves away from zero.
//! Output o is `Σ_g (Σ_k q_x[g,k] · q_w[o,g,k]) · d_w[o,g] · d_x[g]`. The integers stay below 32 · 127², so i32 cannot
//! overflow, and f32 represents each sum of a group exactly. The order of the operations depends on the depth alone: a
//! row has the same bits beside any other rows.

mod groups;
mod packed;
mod pairs;
mod quads;

use crate::context::Context;
use crate::error::Result;
use crate::math::linear::Finish;
use crate::math::weight::Quantized;
use crate::simd::Quads;

pub(crate) use groups::{check_row, quantize, quantize_weights, round_row};
use packed::Order;
pub(crate) use packed::Packed;

/// The number of rows up to which packing a weight costs more than it saves.
const FEW_ROWS: usize = 8;

/// A weight of 8 bits, as it was given or packed for the kernel.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Rows(Quantized<'a>),
    Panels(&'a Packed),
}

/// Computes `x Wᵀ + b` and further steps for x `[rows, depth]` and a weight `[outputs, depth]`.
pub(crate) fn project(
    context: Context<'_>,
    x: &[f32],
    sizes: [usize; 3],
    weight: Source<'_>,
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    output: &mut [f32],
) -> Result<()> {
    let [rows, depth, outputs] = sizes;
    if rows == 0 || outputs == 0 {
        return Ok(());
    }
    let quads = Quads::of(context.level);
    let packed;
    let weight = match weight {
        Source::Rows(quantized) if rows > FEW_ROWS => {
            packed = Packed::new(quantized, outputs, depth, Order::of(quads))?;
            Source::Panels(&packed)
        }
        // Packed for the machine's best level, and the caller chose a lower one.
        Source::Panels(panels) if quads.is_none() && panels.order() == Order::Quads => {
            packed = panels.reordered(outputs, depth, Order::Pairs)?;
            Source::Panels(&packed)
        }
        other => other,
    };
    match (quads, weight) {
        (Some(quads), Source::Panels(packed)) if packed.order() == Order::Quads => {
            quads::project(context, quads, x, sizes, packed, bias, finish, output)
        }
        _ => pairs::project(context, x, sizes, weight, bias, finish, output),
    }
}

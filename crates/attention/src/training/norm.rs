//! The gradients of layer norm and root-mean-square norm.

use std::ops::Range;

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::dot::dot;
use crate::math::norm::{NormKind, SPREADS, sums};
use crate::math::stats;
use crate::ranges;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Simd};
use crate::tensor::{Shape, Tensor, check_output, try_zeroed};
use crate::training::{check_gradient, check_shape};

/// A norm of rows, as the forward call had it.
#[derive(Debug, Clone, Copy)]
pub struct NormTensors<'a> {
    /// The kind of norm.
    pub kind: NormKind,
    /// The gradient of the result, in the shape of x.
    pub gradient: Tensor<'a>,
    /// `[…, C]`.
    pub x: Tensor<'a>,
    /// `[C]`; ones by default.
    pub weight: Option<Tensor<'a>>,
    /// Added to the weight.
    pub weight_offset: f32,
    /// Added to the variance or the mean square.
    pub epsilon: f32,
}

/// Destinations of the gradients.
#[derive(Debug)]
pub struct NormGradients<'a> {
    /// In the shape of x.
    pub x: &'a mut [f32],
    /// `[C]`, if requested.
    pub weight: Option<&'a mut [f32]>,
    /// `[C]`, if requested.
    pub bias: Option<&'a mut [f32]>,
}

/// Rows whose gradients of weight and bias are summed before they are added to the total.
const BLOCK_ROWS: usize = 128;

/// Computes the gradients of a norm.
///
/// # Errors
/// `SHAPE` if shapes do not fit each other, `OPTION` if epsilon is negative, `MEMORY`.
pub fn norm_backward(context: Context<'_>, tensors: NormTensors<'_>, gradients: NormGradients<'_>) -> Result<()> {
    let NormTensors { gradient, x, weight, epsilon, .. } = tensors;
    ranges::non_negative("epsilon", epsilon)?;
    let Some(&columns) = x.shape.dims().last() else {
        return Err(Error::shape("x", "at least 1 dimension", x.shape));
    };
    check_gradient(gradient, x.shape)?;
    if let Some(weight) = weight {
        check_shape("weight", weight, Shape::of([columns]))?;
    }
    let NormGradients { x: x_gradient, weight: weight_gradient, bias: bias_gradient } = gradients;
    check_output("x", x_gradient, x.data.len())?;
    for (name, output) in [("weight", &weight_gradient), ("bias", &bias_gradient)] {
        output.as_ref().map_or(Ok(()), |output| check_output(name, output, columns))?;
    }
    if x.data.is_empty() {
        // Sizes of which there are no data may be too large for working memory.
        [weight_gradient, bias_gradient].into_iter().flatten().for_each(|output| output.fill(0.0));
        return Ok(());
    }
    let has_sums = weight_gradient.is_some() || bias_gradient.is_some();
    let mut totals = try_zeroed("working memory", if has_sums { 2 * columns } else { 0 })?;
    let count = x.data.len().checked_div(columns).unwrap_or(0);
    scratch::reserve(2 * columns)?;
    context.announce_work(operations([x.data.len(), if has_sums { 32 } else { 16 }]));
    let work = operations([x.data.len(), 16]);
    context.for_each_rows(count, BLOCK_ROWS, work, [x_gradient], |item, [output]| {
        context.level.run(Rows::new(&tensors, columns, item, Destination::X(output)));
    });
    if has_sums {
        context.reduce_in_order(count.div_ceil(BLOCK_ROWS), work, &mut totals, |block, sums| {
            let first = block * BLOCK_ROWS;
            let rows = first..count.min(first + BLOCK_ROWS);
            context.level.run(Rows::new(&tensors, columns, rows, Destination::Sums(sums)));
        })?;
    }
    let (weight_sums, bias_sums) = totals.split_at(totals.len() / 2);
    for (output, sums) in [(weight_gradient, weight_sums), (bias_gradient, bias_sums)] {
        if let Some(output) = output {
            output.copy_from_slice(sums);
        }
    }
    Ok(())
}

/// The gradients that a kernel computes.
enum Destination<'a> {
    X(&'a mut [f32]),
    /// The sums of the gradients of weight and bias.
    Sums(&'a mut [f32]),
}

/// Some rows of a norm.
struct Rows<'a> {
    kind: NormKind,
    gradient: &'a [f32],
    x: &'a [f32],
    weight: Option<&'a [f32]>,
    weight_offset: f32,
    epsilon: f32,
    columns: usize,
    output: Destination<'a>,
}

impl<'a> Rows<'a> {
    fn new(tensors: &NormTensors<'a>, columns: usize, rows: Range<usize>, output: Destination<'a>) -> Self {
        let &NormTensors { kind, gradient, x, weight, weight_offset, epsilon } = tensors;
        let [gradient, x] = [gradient, x].map(|tensor| &tensor.data[rows.start * columns..rows.end * columns]);
        Self { kind, gradient, x, weight: weight.map(|weight| weight.data), weight_offset, epsilon, columns, output }
    }
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { kind, gradient, x, weight, weight_offset, epsilon, columns, mut output } = self;
        let mut scratch = Scratch::take(2 * columns);
        let (normal, slopes) = scratch.values().split_at_mut(columns);
        for (row, (x, gradient)) in x.chunks_exact(columns).zip(gradient.chunks_exact(columns)).enumerate() {
            // Step 1: the normalized row, and its gradient.
            let scale = normalize(simd, kind == NormKind::Layer, x, epsilon, normal);
            let sums = match &mut output {
                Destination::X(output) => {
                    slopes.copy_from_slice(gradient);
                    if let Some(weight) = weight {
                        slopes.iter_mut().zip(weight).for_each(|(slope, weight)| *slope *= weight + weight_offset);
                    }
                    // Step 2: less its mean, and its part along the normalized row.
                    let share = 1.0 / columns as f32;
                    let along = dot(simd, slopes, normal) * share;
                    let mean = match kind {
                        NormKind::Layer => (stats::sum(slopes, |value| value) / columns as f64) as f32,
                        NormKind::Rms => 0.0,
                    };
                    let output = &mut output[row * columns..][..columns];
                    for ((output, slope), normal) in output.iter_mut().zip(&*slopes).zip(&*normal) {
                        *output = scale * (slope - mean - normal * along);
                    }
                    continue;
                }
                Destination::Sums(sums) => sums,
            };
            let (weight_sums, bias_sums) = sums.split_at_mut(columns);
            for ((sum, gradient), normal) in weight_sums.iter_mut().zip(gradient).zip(&*normal) {
                *sum += gradient * normal;
            }
            bias_sums.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient);
        }
    }
}

/// Writes the normalized row, and returns the factor of its differences from the mean.
#[inline(always)]
fn normalize<S: Simd>(simd: S, is_centred: bool, x: &[f32], epsilon: f32, normal: &mut [f32]) -> f32 {
    let share = 1.0 / x.len() as f64;
    // As in the forward call: the mean in two steps.
    let mean = if is_centred { (sums(simd, x, 0.0)[0] * share) as f32 } else { 0.0 };
    let [sum, squares] = sums(simd, x, mean);
    let left = if is_centred { sum * share } else { 0.0 };
    let variance = squares * share - left * left;
    let spread = variance + f64::from(epsilon);
    if !(SPREADS.contains(&spread) && left * left <= variance) {
        return normalize_exactly(is_centred, x, epsilon, normal);
    }
    let (left, scale) = (left as f32, 1.0 / (spread as f32).sqrt());
    normal.iter_mut().zip(x).for_each(|(normal, x)| *normal = (x - mean - left) * scale);
    scale
}

/// Normalizes a row whose squares overflow, vanish or cancel in 32 bits.
#[inline(never)]
fn normalize_exactly(is_centred: bool, x: &[f32], epsilon: f32, normal: &mut [f32]) -> f32 {
    let count = x.len() as f64;
    let mean = if is_centred { stats::sum(x, |value| value) / count } else { 0.0 };
    let variance = stats::sum(x, |value| (value - mean) * (value - mean)) / count;
    let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
    normal.iter_mut().zip(x).for_each(|(normal, x)| *normal = ((f64::from(*x) - mean) * scale) as f32);
    scale as f32
}

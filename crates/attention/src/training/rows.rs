//! The gradients of functions of rows: softmax, sums over broadcast dimensions, embeddings, means, rotations, dropout.

use crate::attention::rotary::{RotaryArrays, RotaryOptions, rotate_back};
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::broadcast::Axes;
use crate::math::dot::dot;
use crate::math::pool::{Pooled, mean_pool};
use crate::math::random::{Dropout, RowDropout};
use crate::math::sum::length;
use crate::ranges;
use crate::simd::{Kernel, Simd};
use crate::tensor::{Shape, Tensor, check_offsets, check_output, try_zeroed};
use crate::training::check_gradient;

/// Computes the gradient of a softmax over rows from its result y: `y ∘ (g − Σ g ∘ y)`.
///
/// # Errors
/// `SHAPE` if the gradient has another shape than y, or the output another length.
pub fn softmax_backward(context: Context<'_>, gradient: Tensor<'_>, y: Tensor<'_>, output: &mut [f32]) -> Result<()> {
    check_gradient(gradient, y.shape)?;
    check_output("output", output, y.data.len())?;
    let columns = y.shape.rows_and_columns().1;
    if output.is_empty() {
        return Ok(());
    }
    let rows_per_item = (1usize << 15).div_ceil(columns);
    let (count, work) = (y.data.len() / columns, operations([y.data.len(), 4]));
    context.for_each_rows(count, rows_per_item, work, [output], |item, [output]| {
        let [gradient, y] = [gradient, y].map(|tensor| &tensor.data[item.start * columns..item.end * columns]);
        context.level.run(Softmax { gradient, y, columns, output });
    });
    Ok(())
}

/// Some rows of a softmax.
struct Softmax<'a> {
    gradient: &'a [f32],
    y: &'a [f32],
    columns: usize,
    output: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { gradient, y, columns, output } = self;
        let rows = gradient.chunks_exact(columns).zip(y.chunks_exact(columns));
        for ((gradient, y), output) in rows.zip(output.chunks_exact_mut(columns)) {
            let sum = dot(simd, gradient, y);
            for ((output, gradient), y) in output.iter_mut().zip(gradient).zip(y) {
                *output = y * (gradient - sum);
            }
        }
    }
}

/// Sums x over the dimensions that broadcasting from `shape` adds or repeats, in doubles and in order: the gradient of
/// what was broadcast.
///
/// # Errors
/// `SHAPE` if `shape` does not broadcast to x, `MEMORY`.
pub fn sum_to(x: Tensor<'_>, shape: Shape, output: &mut [f32]) -> Result<()> {
    let rank = x.shape.rank();
    let fits = shape.rank() <= rank
        && shape.dims().iter().rev().zip(x.shape.dims().iter().rev()).all(|(&dim, &whole)| dim == 1 || dim == whole);
    if !fits {
        return Err(Error::shape("shape", format_args!("a shape that broadcasts to x {}", x.shape), shape));
    }
    let count = shape.checked_len().unwrap_or(usize::MAX);
    check_output("output", output, count)?;
    if x.data.is_empty() {
        output.fill(0.0);
        return Ok(());
    }
    if count == x.data.len() {
        output.copy_from_slice(x.data);
        return Ok(());
    }
    let mut sums = try_zeroed::<f64>("working memory", count)?;
    let axes = Axes::new(x.shape, x.shape, shape);
    axes.for_each_run(0..x.data.len(), &mut |run, [first, target]| {
        let values = &x.data[first..][..run.len()];
        if axes.steps[1] == 0 {
            sums[target] += values.iter().map(|&value| f64::from(value)).sum::<f64>();
        } else {
            sums[target..].iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
        }
    });
    output.iter_mut().zip(sums).for_each(|(output, sum)| *output = sum as f32);
    Ok(())
}

/// Adds the rows of a gradient `[…, D]` to the rows of the table `[count, D]` that `ids` name, in the order of the ids.
/// The row `padding`, if given, stays 0.
///
/// # Errors
/// `SHAPE` if there is not one row for each id, `OPTION` for an id beyond the table, `MEMORY`.
pub fn embedding_backward(
    context: Context<'_>,
    gradient: Tensor<'_>,
    ids: Tensor<'_, i32>,
    (count, padding): (usize, Option<usize>),
    output: &mut [f32],
) -> Result<()> {
    let size = gradient.shape.rows_and_columns().1;
    let dims = gradient.shape.dims();
    if dims.split_last().is_none_or(|(_, outer)| outer != ids.shape.dims()) {
        return Err(Error::shape(
            "gradient",
            format_args!("the shape of ids {}, and a size", ids.shape),
            gradient.shape,
        ));
    }
    check_output("output", output, count.saturating_mul(size))?;
    let row_of = |id: i32| usize::try_from(id).ok().filter(|&row| row < count);
    if let Some(id) = ids.data.iter().find(|id| row_of(**id).is_none()) {
        return Err(Error::option("ids", format_args!("integers from 0 to {}", count as i64 - 1), id));
    }
    if output.is_empty() {
        return Ok(());
    }

    // Step 1: the places of each id, in order (a counting sort).
    let mut starts = try_zeroed::<usize>("working memory", count + 1)?;
    ids.data.iter().filter_map(|&id| row_of(id)).for_each(|row| starts[row + 1] += 1);
    for row in 0..count {
        starts[row + 1] += starts[row];
    }
    let mut next = try_zeroed::<usize>("working memory", count)?;
    next.copy_from_slice(&starts[..count]);
    let mut places = try_zeroed::<usize>("working memory", ids.data.len())?;
    for (place, &id) in ids.data.iter().enumerate() {
        places[next[id as usize]] = place;
        next[id as usize] += 1;
    }

    // Step 2: each row of the table.
    let rows_per_item = (1usize << 15).div_ceil(size);
    context.for_each_rows(count, rows_per_item, operations([gradient.data.len(), 2]), [output], |item, [rows]| {
        for (row, sums) in item.zip(rows.chunks_exact_mut(size)).filter(|(row, _)| Some(*row) != padding) {
            for place in &places[starts[row]..starts[row + 1]] {
                let values = &gradient.data[place * size..][..size];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
    });
    Ok(())
}

/// Computes the gradient of [`mean_pool`] with the same arguments. That of rows which are not pooled is 0.
///
/// # Errors
/// Errors of `mean_pool`, and `SHAPE` for a gradient of another shape; `MEMORY`.
pub fn mean_pool_backward(
    context: Context<'_>,
    gradient: Tensor<'_>,
    x: Tensor<'_>,
    (pooled, normalize): (Pooled<'_>, bool),
    output: &mut [f32],
) -> Result<()> {
    let (rows, columns) = match *x.shape.dims() {
        [_, rows, columns] => (rows, columns),
        [_, columns] => (0, columns),
        _ => (0, 0),
    };
    let count = match (pooled, x.shape.dims()) {
        (Pooled::CuSeqlens(offsets), &[_, _]) => offsets.len().saturating_sub(1),
        (Pooled::All | Pooled::Lengths(_), &[batch, _, _]) => batch,
        _ => 0,
    };
    check_gradient(gradient, Shape::of([count, columns]))?;
    // The forward call checks its arguments, and its means are needed to normalize.
    let mut means = try_zeroed("working memory", count.saturating_mul(columns))?;
    mean_pool(context, x, pooled, false, &mut means)?;
    check_output("output", output, x.data.len())?;
    if means.is_empty() {
        return Ok(());
    }
    for (n, mean) in means.chunks_exact_mut(columns).enumerate() {
        let gradient = &gradient.data[n * columns..][..columns];
        let range = match pooled {
            Pooled::All => n * rows..(n + 1) * rows,
            Pooled::Lengths(lengths) => n * rows..n * rows + lengths[n] as usize,
            Pooled::CuSeqlens(offsets) => offsets[n] as usize..offsets[n + 1] as usize,
        };
        // A mean shorter than 1e-12 is divided by that number.
        let length = if normalize { length(mean) } else { 1.0 };
        let along = match normalize && length > 1e-12 {
            true => {
                let sum: f64 = mean.iter().zip(gradient).map(|(&mean, &g)| f64::from(mean) * f64::from(g)).sum();
                sum / (length * length)
            }
            false => 0.0,
        };
        let share = 1.0 / (range.len().max(1) as f64 * length.max(1e-12));
        for (mean, &gradient) in mean.iter_mut().zip(gradient) {
            *mean = ((f64::from(gradient) - along * f64::from(*mean)) * share) as f32;
        }
        for row in range {
            output[row * columns..][..columns].copy_from_slice(mean);
        }
    }
    Ok(())
}

/// Computes the gradient of [`rotary_embedding`](crate::attention::rotary::rotary_embedding) with the same options and
/// arrays: the rotation by the opposite angles.
///
/// # Errors
/// Errors of `rotary_embedding`.
pub fn rotary_backward(
    context: Context<'_>,
    gradient: Tensor<'_>,
    options: RotaryOptions,
    arrays: RotaryArrays<'_>,
    output: &mut [f32],
) -> Result<()> {
    rotate_back(context, gradient, options, arrays, output)
}

/// The dropout of a layer's rows.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, rename_all = "camelCase"))]
pub struct DropoutOptions {
    /// The probability of dropping a value, less than 1; 0 by default.
    pub probability: f32,
    /// The seed, less than 2⁵³; 0 by default.
    pub seed: u64,
    /// The stream of random numbers of one place in a layer, of 32 bits; 0 by default.
    pub stream: usize,
    /// The number of rows of each batch entry; all by default.
    pub length: Option<usize>,
}

impl Default for DropoutOptions {
    fn default() -> Self {
        Self { probability: 0.0, seed: 0, stream: 0, length: None }
    }
}

/// Applies the dropout of a layer's rows, `[…, C]`. Applied to a gradient, this is also its backward pass, as the
/// factors depend on seed, stream and position alone.
///
/// # Errors
/// `OPTION` if an option is out of range, `SHAPE` if offsets do not fit, or the output has another length.
pub fn dropout(
    context: Context<'_>,
    x: Tensor<'_>,
    options: DropoutOptions,
    cu_seqlens: Option<&[i32]>,
    output: &mut [f32],
) -> Result<()> {
    let DropoutOptions { probability, seed, stream, length } = options;
    ranges::probability("probability", probability)?;
    ranges::seed("seed", seed)?;
    ranges::optional_count("length", length)?;
    let stream = u32::try_from(stream)
        .map_err(|_| Error::value("stream", "an integer of at least 0 and less than 2^32", stream))?;
    check_output("output", output, x.data.len())?;
    let (rows, columns) = x.shape.rows_and_columns();
    if let Some(offsets) = cu_seqlens {
        check_offsets("cu_seqlens", offsets, rows, "rows")?;
    }
    output.copy_from_slice(x.data);
    let Some(dropout) = Dropout::new(probability, seed).filter(|_| !output.is_empty()) else { return Ok(()) };
    let dropout = RowDropout { dropout, stream, length: length.unwrap_or(rows), cu_seqlens };
    let rows_per_item = (1usize << 13).div_ceil(columns);
    context.for_each_rows(rows, rows_per_item, operations([x.data.len(), 32]), [output], |item, [values]| {
        for (row, values) in item.zip(values.chunks_exact_mut(columns)) {
            dropout.apply(row, 0, values);
        }
    });
    Ok(())
}

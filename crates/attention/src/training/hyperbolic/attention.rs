//! The gradients of attention by distance. Work items own a head of a batch entry each; its weights are computed again,
//! one row at a time.

use super::{Frame, Midpoint, distance, distance_slopes, dot};
use crate::attention::mask::Visibility;
use crate::attention::{Arrays, Strides};
use crate::context::{Context, operations};
use crate::error::Result;
use crate::hyperbolic::{HyperbolicAttention, HyperbolicOptions};
use crate::options::Layout;
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output, try_zeroed};
use crate::training::check_gradient;

/// Computes the gradients of q, k and v of [`HyperbolicAttention::forward`], called with the same inputs.
///
/// # Errors
/// Errors of the forward call, and `SHAPE` for a gradient of another shape.
pub fn hyperbolic_backward(
    space: &HyperbolicAttention,
    context: Context<'_>,
    (gradient, inputs): (Tensor<'_>, [Tensor<'_>; 3]),
    options: &HyperbolicOptions,
    arrays: Arrays<'_>,
    outputs: [&mut [f32]; 3],
) -> Result<()> {
    let [q, k, v] = inputs;
    check_gradient(gradient, q.shape.with_last(v.shape.dims().last().copied().unwrap_or(0)))?;
    let options = HyperbolicOptions { weights: false, ..options.clone() };
    let mut output = try_zeroed("working memory", gradient.data.len())?;
    space.forward(context, inputs, &options, arrays, &mut output, None)?;
    for ((name, tensor), output) in [("q", q), ("k", k), ("v", v)].into_iter().zip(&outputs) {
        check_output(name, output, tensor.data.len())?;
    }
    if gradient.data.is_empty() {
        outputs.into_iter().for_each(|output| output.fill(0.0));
        return Ok(());
    }
    let heads = space.config().num_heads;
    let frame = if space.takes_tangents() { Frame::of_tangents(space) } else { Frame::of_points(space) };
    let [queries, keys, values, results] = [q, k, v, gradient].map(|tensor| Dims::new(tensor, heads));
    let shape = [queries.batch, heads, queries.length, keys.length];
    let rank = if heads == 1 { q.shape.rank() } else { 4 };
    let offset = options.query_offset.unwrap_or(0);
    let visibility = &Visibility::new(shape, rank, options.causal, options.window, offset, &arrays)?;
    let count = queries.batch * heads;
    let [mut for_q, mut for_k, mut for_v] = [
        try_zeroed("working memory", q.data.len())?,
        try_zeroed("working memory", k.data.len())?,
        try_zeroed("working memory", v.data.len())?,
    ];
    if count > 0 {
        let cost = operations([count, queries.length, keys.length]);
        let work = cost.saturating_mul(8 * (queries.size + values.size + 32) as u64);
        let targets = [&mut for_q[..], &mut for_k[..], &mut for_v[..]];
        context.for_each_rows(count, 1, work, targets, |item, targets| {
            let (b, h) = (item.start / heads, item.start % heads);
            context.level.run(Head {
                frame,
                temperature: space.config().temperature,
                visibility,
                place: [b, h],
                rows: [
                    queries.rows(q.data, b, h),
                    keys.rows(k.data, b, h),
                    values.rows(v.data, b, h),
                    results.rows(gradient.data, b, h),
                ],
                targets,
            });
        });
    }
    for ((dims, buffer), output) in [(queries, for_q), (keys, for_k), (values, for_v)].into_iter().zip(outputs) {
        for (n, row) in buffer.chunks_exact(dims.size.max(1)).enumerate() {
            let (head, i) = (n / dims.length, n % dims.length);
            let start = dims.strides.row(head / heads, head % heads, i);
            output[start..start + dims.size].copy_from_slice(row);
        }
    }
    Ok(())
}

/// The rows of every head of a checked input.
#[derive(Clone, Copy)]
struct Dims {
    batch: usize,
    length: usize,
    size: usize,
    strides: Strides,
}

impl Dims {
    fn new(tensor: Tensor<'_>, heads: usize) -> Self {
        let (batch, length, size, layout) = match *tensor.shape.dims() {
            [batch, length, width] => (batch, length, width / heads, Layout::Blhd),
            [batch, _, length, size] => (batch, length, size, Layout::Bhld),
            _ => (0, 0, 0, Layout::Bhld),
        };
        Self { batch, length, size, strides: Strides::new(layout, heads, length, size) }
    }

    fn rows<'a>(&self, data: &'a [f32], b: usize, h: usize) -> Vec<&'a [f32]> {
        (0..self.length).map(|i| &data[self.strides.row(b, h, i)..][..self.size]).collect()
    }
}

/// One head of a batch entry.
struct Head<'a> {
    frame: Frame,
    temperature: f64,
    visibility: &'a Visibility<'a>,
    /// The batch entry and the head.
    place: [usize; 2],
    /// Rows of q, k, v and the gradient.
    rows: [Vec<&'a [f32]>; 4],
    /// The gradients of q, k and v.
    targets: [&'a mut [f32]; 3],
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { frame, temperature, visibility, place: [b, h], rows: [queries, keys, values, gradients], targets } =
            self;
        let read = |rows: &[&[f32]]| -> Vec<Vec<f64>> { rows.iter().map(|row| frame.read(row)).collect() };
        let (key_points, value_points) = (read(&keys), read(&values));
        let zeros =
            |points: &[Vec<f64>]| -> Vec<Vec<f64>> { points.iter().map(|point| vec![0.0; point.len()]).collect() };
        let (mut key_slopes, mut value_slopes) = (zeros(&key_points), zeros(&value_points));
        let [for_q, for_k, for_v] = targets;
        let factor = -1.0 / (frame.root * temperature);
        let mut bias = vec![0.0; keys.len()];
        for (i, query) in queries.iter().enumerate() {
            // Step 1: scores of the keys that the row sees, and their weights.
            let (from, to) = visibility.range(b, i);
            let bias = &mut bias[from..to];
            bias.fill(0.0);
            visibility.bias_row(simd, visibility.mask_row(b, h, i), from, to - from, bias);
            let point = frame.read(query);
            let seen: Vec<usize> = (from..to).filter(|j| bias[j - from] != f32::NEG_INFINITY).collect();
            let distances: Vec<(f64, f64)> = seen.iter().map(|&j| distance(&point, &key_points[j])).collect();
            let scores =
                seen.iter().zip(&distances).map(|(j, (length, _))| factor * length + f64::from(bias[j - from]));
            let mut weights: Vec<f64> = scores.collect();
            let max = weights.iter().copied().fold(f64::MIN, f64::max);
            weights.iter_mut().for_each(|weight| *weight = (*weight - max).exp());
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= total);
            let Some(&first) = seen.first() else { continue };

            // Step 2: the midpoint, and the gradient of the sum that it comes from.
            let mut sum = vec![0.0; value_points[first].len()];
            for (&j, weight) in seen.iter().zip(&weights) {
                sum.iter_mut().zip(&value_points[j]).for_each(|(sum, x)| *sum += weight * x);
            }
            let middle = Midpoint::of_sum(sum);
            let mut slope = frame.of_output(&middle.point, gradients[i]);
            middle.of_sum_slope(&mut slope);

            // Step 3: through the weights to the points.
            let slopes: Vec<f64> = seen.iter().map(|&j| dot(&value_points[j], &slope)).collect();
            let mean = dot(&weights, &slopes);
            let mut own = vec![0.0; point.len()];
            for (index, &j) in seen.iter().enumerate() {
                let weight = weights[index];
                value_slopes[j].iter_mut().zip(&slope).for_each(|(total, slope)| *total += weight * slope);
                let along = weight * (slopes[index] - mean) * factor * distances[index].1;
                own.iter_mut().zip(distance_slopes(&key_points[j], along)).for_each(|(own, value)| *own += value);
                key_slopes[j].iter_mut().zip(distance_slopes(&point, along)).for_each(|(sum, value)| *sum += value);
            }
            frame.add_input(query, &point, &own, &mut for_q[i * query.len()..][..query.len()]);
        }
        for (rows, points, slopes, target) in
            [(&keys, &key_points, &key_slopes, for_k), (&values, &value_points, &value_slopes, for_v)]
        {
            for (j, ((row, point), slope)) in rows.iter().zip(points).zip(slopes).enumerate() {
                // Hidden points may be anything, but no row has a gradient for them.
                if slope.iter().any(|&slope| slope != 0.0) {
                    frame.add_input(row, point, slope, &mut target[j * row.len()..][..row.len()]);
                }
            }
        }
    }
}

//! The gradients of distances, maps at the origin, and midpoints. The forward call checks every argument.

use super::{Frame, Midpoint, distance, distance_slopes, dot};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::hyperbolic::HyperbolicAttention;
use crate::hyperbolic::functions::{Function, FunctionOptions};
use crate::tensor::{Shape, Tensor, check_output, try_zeroed};
use crate::training::check_gradient;

/// Computes the gradients of `distance`, `expMap0` or `logMap0`, one for each argument. An argument with a single row
/// for all receives their sum.
///
/// # Errors
/// `OPTION` for other functions, those of [`HyperbolicAttention::apply`], and `SHAPE` for a gradient of another shape.
pub fn function_backward(
    space: &HyperbolicAttention,
    context: Context<'_>,
    options: &FunctionOptions,
    (gradient, [first, second]): (Tensor<'_>, [Option<Tensor<'_>>; 2]),
    outputs: [&mut [f32]; 2],
) -> Result<()> {
    let arguments = [first, second, None];
    let shape = space.result_shape(options, arguments);
    check_gradient(gradient, shape)?;
    let mut result = try_zeroed("working memory", gradient.data.len())?;
    space.apply(context, options, arguments, &mut result)?;
    let [first_output, second_output] = outputs;
    let [Some(first), second] = [first, second] else { return Ok(()) };
    check_output("first", first_output, first.data.len())?;
    check_output("second", second_output, second.map_or(0, |second| second.data.len()))?;
    first_output.fill(0.0);
    second_output.fill(0.0);
    let (points, tangents) = (Frame::of_points(space), Frame::of_tangents(space));
    let row = |tensor: Tensor<'_>, n: usize| {
        let (rows, size) = tensor.shape.rows_and_columns();
        let start = if rows == 1 { 0 } else { n * size };
        start..start + size
    };
    let width = if options.function == Function::Distance { 1 } else { shape.rows_and_columns().1 };
    for n in 0..gradient.data.len().checked_div(width).unwrap_or(0) {
        let gradient = &gradient.data[n * width..][..width];
        let place = row(first, n);
        let given = &first.data[place.clone()];
        match (options.function, second) {
            (Function::Distance, Some(second)) => {
                let other = row(second, n);
                let [a, b] = [points.read(given), points.read(&second.data[other.clone()])];
                let factor = distance(&a, &b).1 * f64::from(gradient[0]) / points.root;
                let slope: Vec<f64> = distance_slopes(&b, factor).collect();
                points.add_input(given, &a, &slope, &mut first_output[place]);
                let slope: Vec<f64> = distance_slopes(&a, factor).collect();
                points.add_input(&second.data[other.clone()], &b, &slope, &mut second_output[other]);
            }
            (Function::ExpMap0, _) => {
                let point = tangents.read(given);
                let slope = points.of_output(&point, gradient);
                tangents.add_input(given, &point, &slope, &mut first_output[place]);
            }
            (Function::LogMap0, _) => {
                let point = points.read(given);
                let slope = tangents.of_output_for_free_points(&point, gradient);
                points.add_input(given, &point, &slope, &mut first_output[place]);
            }
            _ => {
                let expected = "'distance', 'expMap0' or 'logMap0': no other function has gradients";
                return Err(Error::option("function", expected, "another"));
            }
        }
    }
    Ok(())
}

/// Computes the gradients of [`HyperbolicAttention::distance_matrix`], with the gradient `[L, S]`.
///
/// # Errors
/// Errors of `distance_matrix`, and `SHAPE` for a gradient of another shape.
pub fn distances_backward(
    space: &HyperbolicAttention,
    context: Context<'_>,
    gradient: Tensor<'_>,
    [a, b]: [Tensor<'_>; 2],
    [a_output, b_output]: [&mut [f32]; 2],
) -> Result<()> {
    let (rows, size) = a.shape.rows_and_columns();
    let columns = b.shape.rows_and_columns().0;
    check_gradient(gradient, Shape::of([rows, columns]))?;
    // The forward call checks the points, one pair at a time.
    let mut result = try_zeroed("working memory", gradient.data.len())?;
    space.distance_matrix(context, a, b, &mut result)?;
    check_output("a", a_output, a.data.len())?;
    check_output("b", b_output, b.data.len())?;
    let frame = Frame::of_points(space);
    let read = |tensor: Tensor<'_>| -> Vec<Vec<f64>> {
        tensor.data.chunks_exact(size.max(1)).map(|row| frame.read(row)).collect()
    };
    let (points, others) = (read(a), read(b));
    let dims = size - frame.extra() + 1;
    let mut slopes = vec![vec![0.0; dims]; others.len()];
    a_output.fill(0.0);
    b_output.fill(0.0);
    for (n, point) in points.iter().enumerate() {
        let mut own = vec![0.0; dims];
        for (other, (m, slope)) in others.iter().zip(slopes.iter_mut().enumerate()) {
            let factor = distance(point, other).1 * f64::from(gradient.data[n * columns + m]) / frame.root;
            own.iter_mut().zip(distance_slopes(other, factor)).for_each(|(own, value)| *own += value);
            slope.iter_mut().zip(distance_slopes(point, factor)).for_each(|(slope, value)| *slope += value);
        }
        frame.add_input(&a.data[n * size..][..size], point, &own, &mut a_output[n * size..][..size]);
    }
    for (m, (other, slope)) in others.iter().zip(&slopes).enumerate() {
        frame.add_input(&b.data[m * size..][..size], other, slope, &mut b_output[m * size..][..size]);
    }
    Ok(())
}

/// Computes the gradients of [`HyperbolicAttention::midpoint`]: of the points, and of the weights if they are given.
///
/// # Errors
/// Errors of `midpoint`, and `SHAPE` for a gradient of another shape.
pub fn midpoint_backward(
    space: &HyperbolicAttention,
    context: Context<'_>,
    gradient: Tensor<'_>,
    (points, weights): (Tensor<'_>, Option<Tensor<'_>>),
    (points_output, weights_output): (&mut [f32], Option<&mut [f32]>),
) -> Result<()> {
    let (count, size) = points.shape.rows_and_columns();
    let rows = weights.map_or(1, |weights| weights.shape.rows_and_columns().0);
    check_gradient(gradient, Shape::of([rows, size]))?;
    let mut result = try_zeroed("working memory", gradient.data.len())?;
    space.midpoint(context, points, weights, &mut result)?;
    check_output("points", points_output, points.data.len())?;
    let weight_count = weights.map_or(0, |weights| weights.data.len());
    let mut for_weights = try_zeroed("working memory", weight_count)?;
    if let Some(output) = &weights_output {
        check_output("weights", output, weight_count)?;
    }
    let frame = Frame::of_points(space);
    let read: Vec<Vec<f64>> = points.data.chunks_exact(size.max(1)).map(|row| frame.read(row)).collect();
    let dims = size - frame.extra() + 1;
    let mut slopes = vec![vec![0.0; dims]; count];
    for row in 0..rows {
        let weight = |n: usize| weights.map_or(1.0, |weights| f64::from(weights.data[row * count + n]));
        let mut sum = vec![0.0; dims];
        for (n, point) in read.iter().enumerate() {
            sum.iter_mut().zip(point).for_each(|(sum, x)| *sum += weight(n) * x);
        }
        let middle = Midpoint::of_sum(sum);
        let mut slope = frame.of_output(&middle.point, &gradient.data[row * size..][..size]);
        middle.of_sum_slope(&mut slope);
        for (n, (point, total)) in read.iter().zip(&mut slopes).enumerate() {
            total.iter_mut().zip(&slope).for_each(|(total, slope)| *total += weight(n) * slope);
            if weights.is_some() {
                for_weights[row * count + n] = dot(point, &slope) as f32;
            }
        }
    }
    points_output.fill(0.0);
    for (n, (point, slope)) in read.iter().zip(&slopes).enumerate() {
        let row = n * size..(n + 1) * size;
        frame.add_input(&points.data[row.clone()], point, slope, &mut points_output[row]);
    }
    if let Some(output) = weights_output {
        output.copy_from_slice(&for_weights);
    }
    Ok(())
}

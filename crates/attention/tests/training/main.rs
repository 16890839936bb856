//! Tests of gradients: against the oracle's, and against differences in doubles.

#![allow(missing_docs, reason = "test names are sentences")]

mod attention;
mod convolution;
mod functions;
mod graph;
mod hyperbolic;
mod linear_attention;
mod steps;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../oracle/support.rs"]
mod support;

/// Asserts that each gradient is within 2e-5 of the largest entry.
#[track_caller]
fn assert_gradient(found: &[f32], expected: &[f64], what: &str) {
    assert_gradient_of(found, expected, 0.0, what);
}

/// Asserts that each gradient is within 2e-5 of the largest entry, or of `scale`, the size of terms that may cancel.
#[track_caller]
fn assert_gradient_of(found: &[f32], expected: &[f64], scale: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = largest(expected).max(scale);
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(found) - expected).abs();
        assert!(difference <= 2e-5 * largest + 1e-12, "{what} [{index}]: {found} instead of {expected}, of {largest}");
    }
}

/// Returns the largest magnitude.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

/// Returns the slope of a function at each of its inputs, by differences of the fourth order.
fn slopes(inputs: &[f64], loss: &dyn Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-3;
    let at = |index: usize, steps: f64| {
        let mut moved = inputs.to_vec();
        moved[index] += steps * step;
        loss(&moved)
    };
    (0..inputs.len())
        .map(|index| (8.0 * (at(index, 1.0) - at(index, -1.0)) - (at(index, 2.0) - at(index, -2.0))) / (12.0 * step))
        .collect()
}

/// Returns the values in doubles.
fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Returns the sum of products, in doubles.
fn product(values: &[f64], gradient: &[f32]) -> f64 {
    assert_eq!(values.len(), gradient.len());
    values.iter().zip(gradient).map(|(value, &gradient)| value * f64::from(gradient)).sum()
}

/// Rounds values to a grid on which the steps of [`grid_slopes`] are exact, and moves them away from 0, where some
/// functions have a kink.
fn on_grid(values: Vec<f32>) -> Vec<f32> {
    let away = |value: f32| if value.abs() < 0.05 { 0.0625f32.copysign(value) } else { value };
    values.into_iter().map(|value| away((value * 1024.0).round() / 1024.0)).collect()
}

/// Returns the slope at each input like [`slopes`], of a function of floats on the grid.
fn grid_slopes(inputs: &[f32], loss: &dyn Fn(&[f32]) -> f64) -> Vec<f64> {
    let step = 1.0 / 128.0;
    let at = |index: usize, steps: f32| {
        let mut moved = inputs.to_vec();
        moved[index] += steps * step;
        loss(&moved)
    };
    (0..inputs.len())
        .map(|index| {
            let difference = 8.0 * (at(index, 1.0) - at(index, -1.0)) - (at(index, 2.0) - at(index, -2.0));
            difference / (12.0 * f64::from(step))
        })
        .collect()
}

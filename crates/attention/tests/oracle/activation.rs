//! Activations at every level against the oracle.

use ruvector_attention::math::activation::{Activation, activate};
use ruvector_attention::simd::Level;
use ruvector_attention::{Context, Tensor};
use ruvector_attention_oracle::encoder as reference;

/// Applies the activation to each value, on one thread.
fn run(level: Level, activation: Activation, inputs: &[f32]) -> Vec<f32> {
    let mut values = vec![f32::NAN; inputs.len()];
    let x = Tensor::new("x", inputs, &[inputs.len()]).unwrap();
    activate(Context::new(level, 1), activation, x, &mut values).unwrap();
    values
}

/// Returns the largest difference from the oracle over all levels, divided by `unit` of the exact result.
fn worst(activation: Activation, low: f32, high: f32, unit: fn(f64) -> f64) -> f64 {
    let count = 1 << 19;
    let inputs: Vec<f32> = (0..=count).map(|at| low + (high - low) * (at as f32 / count as f32)).collect();
    let mut worst = 0.0f64;
    for level in Level::available() {
        let values = run(level, activation, &inputs);
        for (&x, &y) in inputs.iter().zip(&values) {
            let expected = reference::activation(activation, f64::from(x));
            worst = worst.max((f64::from(y) - expected).abs() / unit(expected));
        }
    }
    worst
}

fn ulp(exact: f64) -> f64 {
    2f64.powi(exact.abs().max(1e-37).log2().floor() as i32 - 23)
}

#[test]
fn gelu_is_within_eight_ulp_of_its_value_even_where_erf_is_all_but_minus_one() {
    for (low, high) in [(-13.0, -6.0), (-6.0, -2.0), (-2.0, 2.0), (-1e-3, 1e-3), (2.0, 30.0)] {
        let worst = worst(Activation::Gelu, low, high, ulp);
        assert!(worst <= 8.0, "{worst} ULP from {low} to {high}");
    }
}

#[test]
fn silu_is_within_four_ulp_of_its_value() {
    for (low, high) in [(-87.0, -8.0), (-8.0, 8.0), (-1e-3, 1e-3), (8.0, 100.0)] {
        let worst = worst(Activation::Silu, low, high, ulp);
        assert!(worst <= 4.0, "{worst} ULP from {low} to {high}");
    }
}

#[test]
fn quick_gelu_is_as_close_to_its_formula_as_its_rounded_argument_allows() {
    for (low, high) in [(-50.0, -8.0), (-8.0, 8.0), (-1e-3, 1e-3), (8.0, 100.0)] {
        let worst = worst(Activation::QuickGelu, low, high, |exact| exact.abs().max(0.5) * 2f64.powi(-23));
        assert!(worst <= 2.0, "{worst} from {low} to {high}");
    }
}

#[test]
fn tanh_sigmoid_and_elu_keep_their_digits_near_zero_and_far_from_it() {
    for (activation, limit) in [(Activation::Tanh, 3.0), (Activation::Sigmoid, 4.0), (Activation::Elu, 8.0)] {
        for (low, high) in [(-87.0, -8.0), (-8.0, 8.0), (-1e-3, 1e-3), (8.0, 100.0)] {
            let worst = worst(activation, low, high, ulp);
            assert!(worst <= limit, "{activation:?}: {worst} ULP from {low} to {high}");
        }
    }
}

#[test]
fn bounded_activations_reach_their_limits_and_keep_nan() {
    let inputs = [f32::INFINITY, 1e30, -1e30, f32::NEG_INFINITY, 0.0, f32::NAN];
    for level in Level::available() {
        for (activation, limits) in [
            (Activation::Tanh, [1.0, 1.0, -1.0, -1.0, 0.0]),
            (Activation::Sigmoid, [1.0, 1.0, 0.0, 0.0, 0.5]),
            (Activation::Elu, [f32::INFINITY, 1e30, -1.0, -1.0, 0.0]),
        ] {
            let values = run(level, activation, &inputs);
            assert_eq!(values[..5], limits, "{activation:?} {}", level.name());
            assert!(values[5].is_nan(), "{activation:?} {}", level.name());
        }
    }
}

#[test]
fn tanh_gelu_is_as_close_to_its_formula_as_f32_allows_around_one() {
    for (low, high) in [(-100.0, -4.0), (-4.0, 4.0), (-1e-3, 1e-3), (4.0, 100.0)] {
        let worst = worst(Activation::GeluTanh, low, high, |exact| exact.abs().max(0.5) * 2f64.powi(-23));
        assert!(worst <= 2.0, "{worst} from {low} to {high}");
    }
}

#[test]
fn large_values_infinities_and_nan_match_pytorch() {
    let tailed = [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Silu];
    for level in Level::available() {
        for activation in [&[Activation::Relu][..], &tailed].concat() {
            // Seven values: a whole vector and a tail at most levels.
            let values = run(level, activation, &[f32::INFINITY, f32::MAX, 1e30, -1e30, f32::MIN, 0.0, f32::NAN]);
            assert_eq!(values[..6], [f32::INFINITY, f32::MAX, 1e30, 0.0, 0.0, 0.0], "{activation:?}");
            assert!(values[6].is_nan(), "{activation:?} {}", level.name());
        }
    }
}

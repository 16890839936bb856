//! Steps of optimizers against the same steps in doubles, and their errors.

use ruvector_attention::simd::Level;
use ruvector_attention::training::steps::{AdamwOptions, SgdOptions, SquaredNorm, adamw_step, sgd_step};
use ruvector_attention::{Code, Context};

use crate::support::Random;
use crate::{assert_gradient, doubles};

#[test]
fn steps_of_adamw_follow_their_definition() {
    let mut random = Random::new(4);
    let mut found = [random.normals(9), vec![0.0; 9], vec![0.0; 9]];
    let mut expected = found.each_ref().map(|values| doubles(values));
    for step in 1..=20 {
        let gradient = random.normals(9);
        let options =
            AdamwOptions { learning_rate: 0.01, weight_decay: 0.1, step, scale: 0.5, ..AdamwOptions::default() };
        let [parameter, mean, square] = &mut found;
        adamw_step(Context::default(), &gradient, options, [parameter, mean, square]).unwrap();
        for n in 0..9 {
            let g = 0.5 * f64::from(gradient[n]);
            expected[1][n] = 0.9 * expected[1][n] + 0.1 * g;
            expected[2][n] = 0.999 * expected[2][n] + 0.001 * g * g;
            let (mean, square) = (
                expected[1][n] / (1.0 - 0.9f64.powi(step as i32)),
                expected[2][n] / (1.0 - 0.999f64.powi(step as i32)),
            );
            expected[0][n] = expected[0][n] * (1.0 - 0.01 * 0.1) - 0.01 * mean / (square.sqrt() + 1e-8);
        }
    }
    for (found, expected) in found.iter().zip(&expected) {
        assert_gradient(found, expected, "adamw");
    }
}

#[test]
fn steps_of_sgd_follow_their_definition() {
    for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
        let mut random = Random::new(4);
        let mut parameter = random.normals(7);
        let mut velocity = vec![0.0; if momentum == 0.0 { 0 } else { 7 }];
        let (mut expected, mut speeds) = (doubles(&parameter), vec![0.0; 7]);
        for step in 0..5 {
            let gradient = random.normals(7);
            let options = SgdOptions { learning_rate: 0.1, momentum, weight_decay: 0.2, nesterov, scale: 1.0 };
            sgd_step(Context::default(), &gradient, options, step == 0, [&mut parameter, &mut velocity]).unwrap();
            for n in 0..7 {
                let slope = f64::from(gradient[n]) + 0.2 * expected[n];
                speeds[n] = if step == 0 { slope } else { momentum * speeds[n] + slope };
                let step = if nesterov {
                    slope + momentum * speeds[n]
                } else if momentum == 0.0 {
                    slope
                } else {
                    speeds[n]
                };
                expected[n] -= 0.1 * step;
            }
        }
        assert_gradient(&parameter, &expected, "sgd");
    }
}

/// The loops of PyTorch over one tensor, rounding after each operation.
mod reference {
    use super::{AdamwOptions, SgdOptions};

    pub(super) fn adamw(gradient: &[f32], options: AdamwOptions, [parameter, mean, square]: [&mut [f32]; 3]) {
        let AdamwOptions { learning_rate, beta1, beta2, epsilon, weight_decay, step, scale } = options;
        let [correction1, correction2] = [beta1, beta2].map(|beta| 1.0 - beta.powf(step as f64));
        let step_size = (learning_rate / correction1) as f32;
        let root2 = correction2.sqrt() as f32;
        let [rest1, rest2] = [beta1, beta2].map(|beta| (1.0 - beta) as f32);
        for (index, gradient) in gradient.iter().enumerate() {
            let gradient = gradient * scale as f32;
            parameter[index] *= (1.0 - learning_rate * weight_decay) as f32;
            mean[index] += rest1 * (gradient - mean[index]);
            square[index] = square[index] * beta2 as f32 + rest2 * gradient * gradient;
            parameter[index] -= step_size * (mean[index] / (square[index].sqrt() / root2 + epsilon as f32));
        }
    }

    pub(super) fn sgd(gradient: &[f32], options: SgdOptions, is_first: bool, [parameter, velocity]: [&mut [f32]; 2]) {
        for (index, gradient) in gradient.iter().enumerate() {
            let slope = gradient * options.scale as f32 + options.weight_decay as f32 * parameter[index];
            let mut step = slope;
            if let Some(velocity) = velocity.get_mut(index) {
                *velocity = if is_first { slope } else { *velocity * options.momentum as f32 + slope };
                step = if options.nesterov { slope + options.momentum as f32 * *velocity } else { *velocity };
            }
            parameter[index] -= options.learning_rate as f32 * step;
        }
    }
}

#[test]
fn steps_have_the_same_bits_at_every_level_and_on_any_number_of_threads() {
    let short = [1, 7, 16, 37];
    let mut calls: Vec<_> =
        Level::available().flat_map(|level| short.map(|len| (len, Context::new(level, 1)))).collect();
    // Long enough for several threads.
    calls.push(((1 << 21) + 5, Context::new(Level::current(), 3)));
    for (count, context) in calls {
        let mut random = Random::new(9);
        let arrays =
            [random.normals(count), random.normals(count), random.normals(count).iter().map(|x| x * x).collect()];
        let gradient = random.normals(count);
        let (mut found, mut expected) = (arrays.clone(), arrays.clone());
        let options =
            AdamwOptions { learning_rate: 0.01, weight_decay: 0.1, step: 3, scale: 0.7, ..AdamwOptions::default() };
        let [parameter, mean, square] = &mut found;
        adamw_step(context, &gradient, options, [parameter, mean, square]).unwrap();
        let [parameter, mean, square] = &mut expected;
        reference::adamw(&gradient, options, [parameter, mean, square]);
        assert!(found == expected, "{context:?}, {count}");

        for (momentum, nesterov, is_first) in [(0.0, false, true), (0.9, false, true), (0.9, true, false)] {
            let options = SgdOptions { learning_rate: 0.1, momentum, weight_decay: 0.2, nesterov, scale: 0.3 };
            let [parameter, velocity, _] = arrays.clone();
            let velocity = if momentum == 0.0 { Vec::new() } else { velocity };
            let (mut found, mut expected) = ([parameter.clone(), velocity.clone()], [parameter, velocity]);
            let [parameter, velocity] = &mut found;
            sgd_step(context, &gradient, options, is_first, [parameter, velocity]).unwrap();
            let [parameter, velocity] = &mut expected;
            reference::sgd(&gradient, options, is_first, [parameter, velocity]);
            assert!(found == expected, "{context:?}, {count}, {options:?}");
        }
    }
}

#[test]
fn a_norm_has_the_same_bits_at_every_level_and_in_any_pieces() {
    let values = Random::new(5).normals(1003);
    let norm = |level: Level, piece: usize| {
        let mut norm = SquaredNorm::default();
        values.chunks(piece).for_each(|piece| norm.add(level, piece));
        norm.total()
    };
    let expected = norm(Level::current(), 1003);
    let exact: f64 = doubles(&values).iter().map(|value| value * value).sum();
    assert!((expected - exact).abs() < 1e-12 * exact);
    for level in Level::available() {
        for piece in [8, 96, 1000] {
            assert_eq!(norm(level, piece), expected, "{level:?}");
        }
    }
    for (value, is_nan) in [(f32::NAN, true), (f32::INFINITY, false)] {
        let mut norm = SquaredNorm::default();
        norm.add(Level::current(), &[1.0, value]);
        assert_eq!((norm.total().is_finite(), norm.total().is_nan()), (false, is_nan));
    }
}

#[test]
fn steps_out_of_range_change_nothing() {
    let mut arrays = [vec![1.0; 3], vec![0.0; 3], vec![0.0; 3]];
    let good = AdamwOptions::default();
    for (options, argument) in [
        (AdamwOptions { step: 0, ..good }, "step"),
        (AdamwOptions { learning_rate: -1.0, ..good }, "learning_rate"),
        (AdamwOptions { beta1: 1.0, ..good }, "beta1"),
        (AdamwOptions { epsilon: f64::NAN, ..good }, "epsilon"),
    ] {
        let [parameter, mean, square] = &mut arrays;
        let error = adamw_step(Context::default(), &[1.0; 3], options, [parameter, mean, square]).unwrap_err();
        assert_eq!((error.code, &*error.argument), (Code::Option, argument));
    }
    let [parameter, mean, square] = &mut arrays;
    assert_eq!(
        adamw_step(Context::default(), &[1.0; 2], good, [parameter, mean, square]).unwrap_err().code,
        Code::Shape
    );
    let nesterov = SgdOptions { nesterov: true, ..SgdOptions::default() };
    assert_eq!(
        &*sgd_step(Context::default(), &[1.0; 3], nesterov, true, [parameter, &mut []]).unwrap_err().argument,
        "nesterov"
    );
    assert_eq!(parameter, &[1.0; 3]);
}

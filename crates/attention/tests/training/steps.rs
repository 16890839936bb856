//! Steps of optimizers against the same steps in doubles, and their errors.

use ruvector_attention::Code;
use ruvector_attention::training::steps::{AdamwOptions, SgdOptions, adamw_step, sgd_step};

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
        adamw_step(&gradient, options, [parameter, mean, square]).unwrap();
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
            sgd_step(&gradient, options, step == 0, [&mut parameter, &mut velocity]).unwrap();
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
        let error = adamw_step(&[1.0; 3], options, [parameter, mean, square]).unwrap_err();
        assert_eq!((error.code, &*error.argument), (Code::Option, argument));
    }
    let [parameter, mean, square] = &mut arrays;
    assert_eq!(adamw_step(&[1.0; 2], good, [parameter, mean, square]).unwrap_err().code, Code::Shape);
    let nesterov = SgdOptions { nesterov: true, ..SgdOptions::default() };
    assert_eq!(&*sgd_step(&[1.0; 3], nesterov, true, [parameter, &mut []]).unwrap_err().argument, "nesterov");
    assert_eq!(parameter, &[1.0; 3]);
}

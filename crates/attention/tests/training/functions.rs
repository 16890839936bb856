//! Gradients of functions of rows and values against differences.

use proptest::prelude::*;
use ruvector_attention::attention::rotary::{RotaryArrays, RotaryOptions, rotary_embedding};
use ruvector_attention::math::activation::{Activation, activate};
use ruvector_attention::math::norm::NormKind;
use ruvector_attention::math::pool::Pooled;
use ruvector_attention::math::weight::{Weight, Weights};
use ruvector_attention::simd::Level;
use ruvector_attention::training::activation::{activation_backward, gated_backward};
use ruvector_attention::training::linear::{LinearGradients, LinearTensors, linear_backward};
use ruvector_attention::training::norm::{NormGradients, NormTensors, norm_backward};
use ruvector_attention::training::rows::{
    DropoutOptions, dropout, embedding_backward, mean_pool_backward, rotary_backward, softmax_backward, sum_to,
};
use ruvector_attention::{Code, Context, Shape, Tensor};

use crate::support::{Random, contexts};
use crate::{assert_gradient, doubles, product, slopes};

fn tensor<'a>(data: &'a [f32], dims: &[usize]) -> Tensor<'a> {
    Tensor::new("x", data, dims).unwrap()
}

/// Computes `a [rows, depth] · b [depth, columns]` in doubles, with elements by their indices.
fn matrix_product(
    [rows, depth, columns]: [usize; 3],
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
) -> Vec<f64> {
    let element = |row, column| (0..depth).map(|k| f64::from(a(row, k)) * f64::from(b(k, column))).sum();
    (0..rows * columns).map(|index| element(index / columns, index % columns)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gradients_of_linear_are_products(rows in 0usize..=70, inputs in 1usize..=70, outputs in 1usize..=70, seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let [gradient, x, weight] = [rows * outputs, rows * inputs, outputs * inputs].map(|len| random.normals(len));
        let tensors = LinearTensors {
            gradient: tensor(&gradient, &[rows, outputs]),
            x: Some(tensor(&x, &[rows, inputs])),
            weight: Some(tensor(&weight, &[outputs, inputs]).into()),
        };
        for context in contexts() {
            let [mut for_x, mut for_weight, mut for_bias] = [x.len(), weight.len(), outputs].map(|len| vec![f32::NAN; len]);
            let gradients = LinearGradients { x: Some(&mut for_x), weight: Some(&mut for_weight), bias: Some(&mut for_bias) };
            linear_backward(context, tensors, gradients).unwrap();
            let g = |row: usize, output: usize| gradient[row * outputs + output];
            assert_gradient(&for_x, &matrix_product([rows, outputs, inputs], g, |o, i| weight[o * inputs + i]), "x");
            assert_gradient(&for_weight, &matrix_product([outputs, rows, inputs], |o, row| g(row, o), |row, i| x[row * inputs + i]), "weight");
            assert_gradient(&for_bias, &matrix_product([1, rows, outputs], |_, _| 1.0, g), "bias");
        }
    }

    #[test]
    fn gradients_of_norms_match_differences(columns in 1usize..=40, rows in 1usize..=4, is_layer in any::<bool>(), offset in 0u8..=1, shift in 0u8..=1, seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let x: Vec<f32> = random.normals(rows * columns).into_iter().map(|value| value + 3.0 * f32::from(shift)).collect();
        let (gradient, weight) = (random.normals(rows * columns), random.normals(columns));
        let (offset, epsilon) = (f32::from(offset), 0.01f32);
        let kind = if is_layer { NormKind::Layer } else { NormKind::Rms };
        let loss = |x: &[f64], weight: &[f64], bias: &[f64]| {
            let row = |x: &[f64]| -> Vec<f64> {
                let mean = if is_layer { x.iter().sum::<f64>() / columns as f64 } else { 0.0 };
                let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / columns as f64;
                let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
                x.iter().zip(weight).zip(bias).map(|((x, w), b)| (x - mean) * scale * (w + f64::from(offset)) + b).collect()
            };
            product(&x.chunks(columns).flat_map(row).collect::<Vec<f64>>(), &gradient)
        };
        let (xs, weights, biases) = (doubles(&x), doubles(&weight), vec![0.0; columns]);
        let expected = [
            slopes(&xs, &|x| loss(x, &weights, &biases)),
            slopes(&weights, &|weight| loss(&xs, weight, &biases)),
            slopes(&biases, &|bias| loss(&xs, &weights, bias)),
        ];
        let dims = [rows, columns];
        let weight = tensor(&weight, &[columns]);
        let tensors = NormTensors { kind, gradient: tensor(&gradient, &dims), x: tensor(&x, &dims), weight: Some(weight), weight_offset: offset, epsilon };
        for context in contexts() {
            let [mut for_x, mut for_weight, mut for_bias] = [x.len(), columns, columns].map(|len| vec![f32::NAN; len]);
            norm_backward(context, tensors, NormGradients { x: &mut for_x, weight: Some(&mut for_weight), bias: Some(&mut for_bias) }).unwrap();
            for (found, expected) in [for_x, for_weight, for_bias].iter().zip(&expected) {
                let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
                // With one column, or nearly equal values, gradients cancel.
                let near = |(found, expected): (&f32, &f64)| (f64::from(*found) - expected).abs() <= 2e-5 * largest + 2e-6;
                prop_assert!(found.iter().zip(expected).all(near), "{found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn the_gradient_of_softmax_matches_differences(columns in 1usize..=40, rows in 1usize..=3, seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let (x, gradient) = (random.normals(rows * columns), random.normals(rows * columns));
        let softmax = |x: &[f64]| -> Vec<f64> { x.chunks(columns).flat_map(|row| ruvector_attention_oracle::softmax(row).0).collect() };
        let expected = slopes(&doubles(&x), &|x| product(&softmax(x), &gradient));
        let y: Vec<f32> = softmax(&doubles(&x)).into_iter().map(|value| value as f32).collect();
        for context in contexts() {
            let mut found = vec![f32::NAN; x.len()];
            softmax_backward(context, tensor(&gradient, &[rows, columns]), tensor(&y, &[rows, columns]), &mut found).unwrap();
            let largest = gradient.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert!(found.iter().zip(&expected).all(|(&found, expected)| (f64::from(found) - expected).abs() < 1e-6 * f64::from(largest)));
        }
    }
}

const KINDS: [Activation; 8] = [
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::QuickGelu,
    Activation::Silu,
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Elu,
];

/// The slope of an activation, from its definition in doubles.
fn slope(kind: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let swish = |c: f64| sigmoid(c * x) + x * c * sigmoid(c * x) * (1.0 - sigmoid(c * x));
    match kind {
        Activation::Relu => f64::from(u8::from(x > 0.0)),
        Activation::Tanh => 1.0 - x.tanh() * x.tanh(),
        Activation::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
        Activation::Elu => x.min(0.0).exp(),
        Activation::Silu => swish(1.0),
        Activation::QuickGelu => swish(1.702),
        Activation::GeluTanh => {
            let root = (2.0 / std::f64::consts::PI).sqrt();
            let t = (root * (x + 0.044715 * x * x * x)).tanh();
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * root * (1.0 + 3.0 * 0.044715 * x * x)
        }
        _ => {
            // The normal distribution by its integral from 0, in steps small enough for its digits.
            let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let steps = 2000;
            let width = x / f64::from(steps);
            let simpson = |n: i32| {
                let from = f64::from(n) * width;
                (density(from) + 4.0 * density(from + width / 2.0) + density(from + width)) * width / 6.0
            };
            0.5 + (0..steps).map(simpson).sum::<f64>() + x * density(x)
        }
    }
}

#[test]
fn slopes_of_activations_are_exact() {
    let x: Vec<f32> = (-300..=300).map(|n| n as f32 / 40.0 + 0.003).collect();
    let ones = vec![1.0; x.len()];
    for kind in KINDS {
        let expected: Vec<f64> = x.iter().map(|&x| slope(kind, f64::from(x))).collect();
        for context in contexts() {
            let mut found = vec![f32::NAN; x.len()];
            activation_backward(context, kind, tensor(&ones, &[x.len()]), tensor(&x, &[x.len()]), &mut found).unwrap();
            for ((&found, &expected), x) in found.iter().zip(&expected).zip(&x) {
                assert!((f64::from(found) - expected).abs() < 1e-6, "{kind:?} {x}: {found} instead of {expected}");
            }
        }
    }
}

#[test]
fn slopes_at_the_ends_of_the_numbers_are_those_of_the_limits() {
    let x = [f32::MAX, f32::INFINITY, 1e20, f32::MIN, f32::NEG_INFINITY, -1e20, 0.0, f32::NAN];
    let ones = [1.0; 8];
    for kind in KINDS {
        let [high, zero] = match kind {
            Activation::Relu => [1.0, 0.0],
            Activation::Tanh => [0.0, 1.0],
            Activation::Sigmoid => [0.0, 0.25],
            Activation::Elu => [1.0, 1.0],
            _ => [1.0, 0.5],
        };
        for context in contexts() {
            let mut found = [0.5; 8];
            activation_backward(context, kind, tensor(&ones, &[8]), tensor(&x, &[8]), &mut found).unwrap();
            for index in [0, 2] {
                assert_eq!(found[index], high, "{kind:?} {}", x[index]);
            }
            for index in [3, 5] {
                assert_eq!(found[index], 0.0, "{kind:?} {}", x[index]);
            }
            assert!((found[6] - zero).abs() < 1e-6, "{kind:?} {}", found[6]);
            assert!(kind == Activation::Relu || found[7].is_nan(), "{kind:?}");
        }
    }
}

#[test]
fn gated_activations_have_the_gradients_of_both_factors() {
    let mut random = Random::new(3);
    let [x, factor, gradient] = [(); 3].map(|()| random.normals(37));
    let dims = [37];
    for kind in KINDS {
        for context in contexts() {
            let [mut for_x, mut for_factor, mut activated] = [(); 3].map(|()| vec![f32::NAN; 37]);
            let inputs = [tensor(&x, &dims), tensor(&factor, &dims)];
            gated_backward(context, kind, tensor(&gradient, &dims), inputs, [&mut for_x, &mut for_factor]).unwrap();
            activate(context, kind, tensor(&x, &dims), &mut activated).unwrap();
            for n in 0..37 {
                let expected = f64::from(gradient[n]) * f64::from(factor[n]) * slope(kind, f64::from(x[n]));
                assert!((f64::from(for_x[n]) - expected).abs() < 1e-5, "{kind:?}");
                assert!((for_factor[n] - gradient[n] * activated[n]).abs() < 1e-6, "{kind:?}");
            }
        }
    }
}

#[test]
fn weights_of_other_types_give_the_gradient_of_their_values() {
    let mut random = Random::new(5);
    let (rows, inputs, outputs) = (5, 70, 33);
    let gradient = random.normals(rows * outputs);
    let values: Vec<i8> = (0..outputs * inputs).map(|_| random.below(255) as i8).collect();
    let scales: Vec<u16> = (0..outputs * inputs.div_ceil(32)).map(|_| 0x3400 + random.below(512) as u16).collect();
    let weight = Weight::quantized("weight", &values, &scales, &[outputs, inputs]).unwrap();
    let widened = |o: usize, i: usize| {
        let bits = scales[o * inputs.div_ceil(32) + i / 32];
        f32::from(values[o * inputs + i]) * 0.25 * (1.0 + f32::from(bits & 1023) / 1024.0)
    };
    assert!(matches!(weight.data, Weights::Q8(_)));
    for context in contexts() {
        let mut found = vec![f32::NAN; rows * inputs];
        let tensors = LinearTensors { gradient: tensor(&gradient, &[rows, outputs]), x: None, weight: Some(weight) };
        linear_backward(context, tensors, LinearGradients { x: Some(&mut found), ..LinearGradients::default() })
            .unwrap();
        assert_gradient(
            &found,
            &matrix_product([rows, outputs, inputs], |row, o| gradient[row * outputs + o], widened),
            "x",
        );
    }
}

#[test]
fn sums_over_blocks_do_not_depend_on_the_number_of_threads() {
    let mut random = Random::new(9);
    let (rows, inputs, outputs) = (700, 96, 130);
    let [gradient, x] = [rows * outputs, rows * inputs].map(|len| random.normals(len));
    let (gradient, x) = (tensor(&gradient, &[rows, outputs]), tensor(&x, &[rows, inputs]));
    let bits = |threads: usize| {
        let context = Context::new(Level::current(), threads);
        let [mut weight, mut bias] = [outputs * inputs, outputs].map(|len| vec![0.0; len]);
        let gradients = LinearGradients { x: None, weight: Some(&mut weight), bias: Some(&mut bias) };
        linear_backward(context, LinearTensors { gradient, x: Some(x), weight: None }, gradients).unwrap();
        let [mut for_x, mut norm_weight, mut norm_bias] = [rows * outputs, outputs, outputs].map(|len| vec![0.0; len]);
        let tensors = NormTensors {
            kind: NormKind::Layer,
            gradient,
            x: gradient,
            weight: None,
            weight_offset: 0.0,
            epsilon: 1e-5,
        };
        norm_backward(
            context,
            tensors,
            NormGradients { x: &mut for_x, weight: Some(&mut norm_weight), bias: Some(&mut norm_bias) },
        )
        .unwrap();
        [weight, bias, for_x, norm_weight, norm_bias].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert!(bits(1) == bits(3));
}

#[test]
fn sums_reverse_broadcasting_from_any_shape() {
    let dims = [2, 3, 4];
    let x: Vec<f32> = (0..24).map(|value| value as f32).collect();
    for shape in [&[][..], &[1], &[4], &[3, 1], &[1, 4], &[2, 1, 1], &[2, 1, 4], &[1, 3, 4], &[2, 3, 1], &[2, 3, 4]] {
        let mut expected = vec![0.0; shape.iter().product()];
        for (index, value) in x.iter().enumerate() {
            let at = [index / 12, index / 4 % 3, index % 4];
            let place = shape
                .iter()
                .zip(&at[3 - shape.len()..])
                .fold(0, |place, (dim, at)| place * dim + if *dim == 1 { 0 } else { *at });
            expected[place] += value;
        }
        let mut found = vec![f32::NAN; expected.len()];
        sum_to(tensor(&x, &dims), Shape::new("shape", shape).unwrap(), &mut found).unwrap();
        assert_eq!(found, expected, "{shape:?}");
    }
    let error = sum_to(tensor(&x, &dims), Shape::new("shape", &[2]).unwrap(), &mut [0.0; 2]).unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Shape, "shape"));
}

#[test]
fn gradients_of_embeddings_are_sums_over_the_places_of_each_id() {
    let gradient: Vec<f32> = (0..10).map(|value| value as f32).collect();
    let ids = [3, 0, 3, 1, 3];
    let ids = Tensor::new("ids", &ids, &[5]).unwrap();
    let mut found = [f32::NAN; 8];
    found.fill(0.0);
    embedding_backward(Context::default(), tensor(&gradient, &[5, 2]), ids, (4, Some(1)), &mut found).unwrap();
    assert_eq!(found, [2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 12.0, 15.0]);
    let error =
        embedding_backward(Context::default(), tensor(&gradient, &[5, 2]), ids, (3, None), &mut [0.0; 6]).unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Option, "ids"));
}

#[test]
fn the_gradient_of_a_mean_matches_differences() {
    let mut random = Random::new(8);
    let (x, gradient) = (random.normals(2 * 4 * 3), random.normals(2 * 3));
    for (pooled, dims, ranges) in [
        (Pooled::All, &[2, 4, 3][..], [0..4, 4..8]),
        (Pooled::Lengths(&[3, 0]), &[2, 4, 3], [0..3, 4..4]),
        (Pooled::CuSeqlens(&[0, 2, 8]), &[8, 3], [0..2, 2..8]),
    ] {
        for normalize in [false, true] {
            let pool = |x: &[f64]| -> Vec<f64> {
                let mean = |range: &std::ops::Range<usize>| -> Vec<f64> {
                    let mean: Vec<f64> = (0..3)
                        .map(|c| range.clone().map(|row| x[row * 3 + c]).sum::<f64>() / range.len().max(1) as f64)
                        .collect();
                    let length =
                        if normalize { mean.iter().map(|m| m * m).sum::<f64>().sqrt().max(1e-12) } else { 1.0 };
                    mean.into_iter().map(|m| m / length).collect()
                };
                ranges.iter().flat_map(mean).collect()
            };
            let expected = slopes(&doubles(&x), &|x| product(&pool(x), &gradient));
            let mut found = vec![0.0; x.len()];
            mean_pool_backward(
                Context::default(),
                tensor(&gradient, &[2, 3]),
                tensor(&x, dims),
                (pooled, normalize),
                &mut found,
            )
            .unwrap();
            assert_gradient(&found, &expected, &format!("{dims:?} {normalize}"));
        }
    }
}

#[test]
fn rotation_by_the_opposite_angles_undoes_a_rotation() {
    let mut random = Random::new(2);
    let x = random.normals(2 * 3 * 5 * 16);
    for (interleaved, dim, factor) in [(false, None, 1.0), (true, Some(8), 2.0)] {
        let options = RotaryOptions { interleaved, dim, factor, ..RotaryOptions::default() };
        let [mut rotated, mut back] = [(); 2].map(|()| vec![0.0; x.len()]);
        let dims = [2, 3, 5, 16];
        rotary_embedding(Context::default(), tensor(&x, &dims), options, RotaryArrays::default(), &mut rotated)
            .unwrap();
        rotary_backward(Context::default(), tensor(&rotated, &dims), options, RotaryArrays::default(), &mut back)
            .unwrap();
        for (index, (&x, &back)) in x.iter().zip(&back).enumerate() {
            let times = if index % 16 < dim.unwrap_or(16) { factor * factor } else { 1.0 };
            assert!((back - x * times as f32).abs() < 1e-5);
        }
    }
}

#[test]
fn dropout_draws_the_same_factors_for_gradients_as_for_values() {
    let options = DropoutOptions { probability: 0.5, seed: 7, stream: 2, length: Some(3) };
    let ones = vec![1.0; 6 * 20];
    let [mut values, mut packed] = [(); 2].map(|()| vec![0.0; ones.len()]);
    dropout(Context::default(), tensor(&ones, &[2, 3, 20]), options, None, &mut values).unwrap();
    assert!(values.iter().all(|&value| value == 0.0 || value == 2.0) && values.contains(&0.0) && values.contains(&2.0));
    assert_ne!(values[..60], values[60..]);
    dropout(Context::default(), tensor(&ones, &[6, 20]), options, Some(&[0, 3, 6]), &mut packed).unwrap();
    assert_eq!(packed[..60], values[..60]);
    assert_eq!(packed[60..], values[..60]);
    let error = dropout(
        Context::default(),
        tensor(&ones, &[6, 20]),
        DropoutOptions { probability: 1.0, ..options },
        None,
        &mut values,
    )
    .unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Option, "probability"));
}

#[test]
fn gradients_of_other_shapes_are_errors() {
    let x = [0.0; 6];
    let (x, other) = (tensor(&x, &[2, 3]), tensor(&x, &[3, 2]));
    let mut output = [0.0; 6];
    let errors = [
        activation_backward(Context::default(), Activation::Silu, other, x, &mut output).unwrap_err(),
        softmax_backward(Context::default(), other, x, &mut output).unwrap_err(),
        linear_backward(
            Context::default(),
            LinearTensors { gradient: other, x: Some(x), weight: None },
            LinearGradients::default(),
        )
        .unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.code, &*error.argument), (Code::Shape, "gradient"));
    }
    let tensors = LinearTensors { gradient: x, x: None, weight: None };
    let error = linear_backward(
        Context::default(),
        tensors,
        LinearGradients { x: Some(&mut output), ..LinearGradients::default() },
    )
    .unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Shape, "weight"));
}

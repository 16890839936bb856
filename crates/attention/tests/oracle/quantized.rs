//! Weights of 16 and 8 bits at every level: products against exact integers, widening, and conversion.

use ruvector_attention::layers::dense::{Linear, LinearConfig};
use ruvector_attention::math::linear::linear;
use ruvector_attention::math::top_k::{Metric, TopK, top_k};
use ruvector_attention::math::weight::{OwnedWeights, Weight, WeightType, Weights};
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle::quantized as reference;

use crate::support::{Random, contexts};

/// Rows, depths and outputs around every edge of groups, panels and blocks.
const SIZES: [[usize; 3]; 8] =
    [[1, 1, 1], [2, 32, 16], [3, 33, 17], [9, 70, 40], [13, 384, 20], [1, 100, 530], [70, 64, 5], [5, 0, 3]];

/// Weights with rows of very different size, and some groups of zeros.
fn weights(random: &mut Random, outputs: usize, depth: usize) -> Vec<f32> {
    (0..outputs * depth)
        .map(|at| if at / 40 % 7 == 3 { 0.0 } else { random.normal() * 10f32.powi((at / 100 % 5) as i32 - 2) })
        .collect()
}

fn weight<'a>(owned: &'a OwnedWeights, dims: &[usize]) -> Weight<'a> {
    match owned.borrow() {
        Weights::F32(data) => Tensor::new("weight", data, dims).unwrap().into(),
        Weights::F16(bits) => Weight::halves("weight", false, bits, dims).unwrap(),
        Weights::Bf16(bits) => Weight::halves("weight", true, bits, dims).unwrap(),
        Weights::Q8(quantized) => Weight::quantized("weight", quantized.values, quantized.scales, dims).unwrap(),
    }
}

fn project(context: Context<'_>, x: &[f32], [rows, depth, outputs]: [usize; 3], owned: &OwnedWeights) -> Vec<f32> {
    let mut output = vec![f32::NAN; rows * outputs];
    let x = Tensor::new("x", x, &[rows, depth]).unwrap();
    linear(context, x, weight(owned, &[outputs, depth]), None, &mut output).unwrap();
    output
}

#[test]
fn products_with_8_bits_are_those_of_exact_integers_to_rounding_of_the_sums_over_groups() {
    let mut random = Random::new(3);
    for context in contexts() {
        for sizes @ [rows, depth, outputs] in SIZES {
            let x = random.normals(rows * depth);
            let floats = weights(&mut random, outputs, depth);
            let owned = OwnedWeights::convert("w", Weights::F32(&floats), WeightType::Q8, depth).unwrap();
            let OwnedWeights::Q8(values, scales) = &owned else { panic!() };
            let found = project(context, &x, sizes, &owned);
            if depth == 0 {
                assert!(found.iter().all(|&value| value == 0.0));
                continue;
            }
            for (found, [expected, magnitude]) in found.iter().zip(reference::product(&x, depth, values, scales)) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 1e-6 * magnitude, "{sizes:?} at {}: {found} for {expected}", context.level.name());
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_beside_any_other_rows_and_with_packed_weights() {
    let mut random = Random::new(4);
    for context in contexts() {
        for [rows, depth, outputs] in [[13, 70, 33], [21, 384, 16], [9, 31, 5]] {
            let config = LinearConfig {
                in_features: depth,
                out_features: outputs,
                use_bias: false,
                weight_type: WeightType::Q8,
                seed: 5,
            };
            let layer = Linear::new(config).unwrap();
            let mut owned = None;
            layer.entries()[0]
                .visit(&mut |weights| {
                    owned = Some(OwnedWeights::convert("w", weights, WeightType::Q8, depth)?);
                    Ok(())
                })
                .unwrap();
            let owned = owned.unwrap();
            let x = random.normals(rows * depth);
            let together = project(context, &x, [rows, depth, outputs], &owned);
            let mut packed = vec![f32::NAN; rows * outputs];
            layer.forward(context, Tensor::new("x", &x, &[rows, depth]).unwrap(), &mut packed).unwrap();
            assert_eq!(packed, together);
            for (row, x) in x.chunks_exact(depth).enumerate() {
                let alone = project(context, x, [1, depth, outputs], &owned);
                assert_eq!(alone, together[row * outputs..][..outputs], "row {row} at {}", context.level.name());
            }
        }
    }
}

#[test]
fn halves_give_the_bits_of_the_same_weights_in_32_bits() {
    let mut random = Random::new(5);
    for context in contexts() {
        for sizes @ [rows, depth, outputs] in SIZES {
            let x = random.normals(rows * depth);
            let floats = weights(&mut random, outputs, depth);
            for to in [WeightType::F16, WeightType::Bf16] {
                let halves = OwnedWeights::convert("w", Weights::F32(&floats), to, depth).unwrap();
                let widened = OwnedWeights::convert("w", halves.borrow(), WeightType::F32, depth).unwrap();
                let (found, expected) = (project(context, &x, sizes, &halves), project(context, &x, sizes, &widened));
                assert_eq!(found, expected, "{to:?} {sizes:?}");
            }
        }
    }
}

#[test]
fn a_row_of_nan_or_infinity_spoils_itself_alone() {
    let mut random = Random::new(6);
    for context in contexts() {
        for rows in [3, 12] {
            let (depth, outputs) = (40, 18);
            let floats = random.normals(outputs * depth);
            let owned = OwnedWeights::convert("w", Weights::F32(&floats), WeightType::Q8, depth).unwrap();
            let mut x = random.normals(rows * depth);
            (x[5], x[depth + 35]) = (f32::NAN, f32::INFINITY);
            let found = project(context, &x, [rows, depth, outputs], &owned);
            assert!(found[..2 * outputs].iter().all(|value| value.is_nan()));
            assert!(found[2 * outputs..].iter().all(|value| value.is_finite()));
        }
    }
}

#[test]
fn search_sees_vectors_of_every_type_as_a_product_does() {
    let mut random = Random::new(8);
    for context in contexts() {
        for (rows, depth, count) in [(2, 40, 70), (11, 64, 130)] {
            let (queries, vectors) = (random.normals(rows * depth), random.normals(count * depth));
            for to in [WeightType::F16, WeightType::Bf16, WeightType::Q8] {
                let owned = OwnedWeights::convert("v", Weights::F32(&vectors), to, depth).unwrap();
                let products = project(context, &queries, [rows, depth, count], &owned);
                let (mut values, mut indices) = (vec![0.0; rows * 5], vec![0; rows * 5]);
                let output = TopK { values: &mut values, indices: &mut indices };
                let tensor = Tensor::new("queries", &queries, &[rows, depth]).unwrap();
                top_k(context, tensor, weight(&owned, &[count, depth]), 5, Metric::Dot, output).unwrap();
                for (place, (value, index)) in values.iter().zip(&indices).enumerate() {
                    let product = products[place / 5 * count + *index as usize];
                    assert!((value - product).abs() < 1e-4, "{to:?}: {value} for {product}");
                }
            }
        }
    }
}

#[test]
fn values_beyond_f16_scales_are_refused_and_conversion_to_the_same_type_changes_nothing() {
    for wrong in [f32::NAN, f32::INFINITY, 8.4e6] {
        let weights = [1.0, wrong];
        let error = OwnedWeights::convert("w", Weights::F32(&weights), WeightType::Q8, 2).unwrap_err();
        assert_eq!((error.code, error.argument.as_str()), (Code::Domain, "w"));
    }
    let owned = OwnedWeights::Q8(vec![3, -7, 120], vec![0x3c00]);
    let OwnedWeights::Q8(values, scales) = OwnedWeights::convert("w", owned.borrow(), WeightType::Q8, 3).unwrap()
    else {
        panic!()
    };
    assert_eq!((values, scales), (vec![3, -7, 120], vec![0x3c00]));
    // A scale whose inverse overflows, and zeros.
    for tiny in [1e-40, 0.0] {
        let owned = OwnedWeights::convert("w", Weights::F32(&[tiny, 0.0]), WeightType::Q8, 2).unwrap();
        assert!(matches!(owned, OwnedWeights::Q8(values, _) if values == [0, 0]));
    }
}

//! Products on a unit for tiles of bfloat16, as emulated, against those of vectors.

use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::{Arrays, Outputs, scaled_dot_product_attention};
use ruvector_attention::layers::dense::{Linear, LinearConfig};
use ruvector_attention::math::linear::linear;
use ruvector_attention::math::weight::{OwnedWeights, Weight, WeightType, Weights};
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::simd::amx::TileUnit;
use ruvector_attention::{Context, Tensor};

/// A context with the emulation of tiles.
fn emulated(threads: usize) -> Context<'static> {
    Context { tile_unit: Some(TileUnit::Emulated), ..Context::new(Level::current(), threads) }
}

/// B, H, L, S, D and E.
type Sizes = [usize; 6];

fn values(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| uniform() + uniform() + uniform()).collect()
}

fn inputs([b, h, l, s, d, e]: Sizes) -> [Vec<f32>; 3] {
    [values(1, b * h * l * d), values(2, b * h * s * d), values(3, b * h * s * e)]
}

fn run(
    context: Context<'_>,
    [b, h, l, s, d, e]: Sizes,
    [q, k, v]: &[Vec<f32>; 3],
    options: &AttentionOptions,
    mask: Option<&[u8]>,
) -> Vec<f32> {
    let mut output = vec![f32::NAN; b * h * l * e];
    let tensor = |data, dims: &[usize]| Tensor::new("x", data, dims).unwrap();
    let (q, k, v) = (tensor(q, &[b, h, l, d]), tensor(k, &[b, h, s, d]), tensor(v, &[b, h, s, e]));
    let mask = mask.map(|mask| Mask::Boolean(Tensor::new("mask", mask, &[l, s]).unwrap()));
    let outputs = Outputs { output: &mut output, ..Outputs::default() };
    scaled_dot_product_attention(context, q, k, v, options, Arrays { mask, ..Arrays::default() }, outputs).unwrap();
    output
}

#[test]
fn attention_by_tiles_agrees_with_vectors() {
    let vectors = Context::new(Level::current(), 1);
    for sizes in [[1, 2, 40, 150, 64, 64], [2, 1, 33, 100, 48, 80], [1, 1, 130, 64, 32, 33]] {
        let inputs = inputs(sizes);
        let [_, _, queries, keys, ..] = sizes;
        let causal = AttentionOptions { causal: true, ..AttentionOptions::default() };
        let mask: Vec<u8> = (0..queries * keys).map(|index| u8::from(index % 7 > 0)).collect();
        for (options, mask) in [(AttentionOptions::default(), None), (causal.clone(), None), (causal, Some(&*mask))] {
            let expected = run(vectors, sizes, &inputs, &options, mask);
            let found = run(emulated(1), sizes, &inputs, &options, mask);
            assert!(found != expected, "tiles were not used");
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 2e-6, "{found} for {expected}");
            }
            assert_eq!(found, run(emulated(3), sizes, &inputs, &options, mask));
        }
    }
}

#[test]
fn values_that_pieces_cannot_carry_give_what_vectors_give() {
    let sizes = [1, 1, 40, 100, 32, 32];
    let vectors = Context::new(Level::current(), 1);
    let options = AttentionOptions::default();
    let mut mask = vec![1; 40 * 100];
    mask.chunks_exact_mut(100).for_each(|row| row[70] = 0);
    for odd in [f32::NAN, f32::INFINITY, 3e38, 1e-42] {
        for which in 0..3 {
            let mut inputs = inputs(sizes);
            inputs[which][if which == 0 { 5 } else { 70 } * 32..][..32].fill(odd);
            let expected = run(vectors, sizes, &inputs, &options, Some(&mask));
            let found = run(emulated(1), sizes, &inputs, &options, Some(&mask));
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let is_same = (found.is_nan() && expected.is_nan()) || (found - expected).abs() < 2e-6;
                assert!(is_same, "{found} for {expected} at {index} with {odd} in input {which}");
            }
        }
    }
}

fn multiply(context: Context<'_>, x: &[f32], weight: &[f32], depth: usize, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, outputs) = (x.len() / depth, weight.len() / depth);
    let mut output = vec![f32::NAN; rows * outputs];
    let x = Tensor::new("x", x, &[rows, depth]).unwrap();
    let weight = Tensor::new("weight", weight, &[outputs, depth]).unwrap();
    let bias = bias.map(|bias| Tensor::new("bias", bias, &[outputs]).unwrap());
    linear(context, x, weight, bias, &mut output).unwrap();
    output
}

/// Random numbers whose magnitudes lie within powers of two.
fn random(seed: u64, magnitudes: std::ops::Range<i32>) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let bits = (state >> 32) as u32;
        let exponent = 127 + magnitudes.start + (bits >> 1) as i32 % magnitudes.len() as i32;
        f32::from_bits(bits & 1 << 31 | (exponent as u32) << 23 | bits >> 3 & 0x7f_ffff)
    }
}

#[test]
fn products_of_pieces_are_as_exact_as_products_in_f32() {
    for (case, [rows, depth, outputs]) in
        [[16, 32, 32], [45, 77, 50], [130, 200, 35], [64, 33, 550]].into_iter().enumerate()
    {
        for magnitudes in [-1..1, -12..12, -30..-20, 20..40] {
            let mut value = random(case as u64 + 7, magnitudes);
            let x: Vec<f32> = (0..rows * depth).map(|_| value()).collect();
            let weight: Vec<f32> = (0..outputs * depth).map(|_| value()).collect();
            let bias: Vec<f32> = (0..outputs).map(|_| value()).collect();
            let output = multiply(emulated(2), &x, &weight, depth, Some(&bias));
            assert_eq!(output, multiply(emulated(1), &x, &weight, depth, Some(&bias)));
            for (index, &found) in output.iter().enumerate() {
                let (row, column) = (index / outputs, index % outputs);
                let pairs = x[row * depth..][..depth].iter().zip(&weight[column * depth..][..depth]);
                let mut expected = f64::from(bias[column]);
                let mut size = expected.abs();
                for (&x, &weight) in pairs {
                    let term = f64::from(x) * f64::from(weight);
                    (expected, size) = (expected + term, size + term.abs());
                }
                assert!((f64::from(found) - expected).abs() <= 1e-6 * size, "{found} for {expected}, size {size}");
            }
        }
    }
}

#[test]
fn rows_that_pieces_cannot_carry_get_the_bits_of_vectors_and_leave_the_others_alone() {
    let (rows, depth, outputs) = (40, 48, 33);
    let mut value = random(3, -2..2);
    let weight: Vec<f32> = (0..outputs * depth).map(|_| value()).collect();
    let clean: Vec<f32> = (0..rows * depth).map(|_| value()).collect();
    let expected = multiply(emulated(1), &clean, &weight, depth, None);
    let mut x = clean.clone();
    let tiny = f32::from_bits(1 << 20);
    for (row, odd) in [(0, f32::NAN), (17, f32::INFINITY), (18, f32::NEG_INFINITY), (33, 3e38), (39, tiny)] {
        let row = &mut x[row * depth..][..depth];
        row[5] = odd;
        if odd == tiny {
            row.fill(odd);
        }
    }
    let output = multiply(emulated(1), &x, &weight, depth, None);
    for (row, found) in output.chunks_exact(outputs).enumerate() {
        let alone = &x[row * depth..][..depth];
        let expected = match row {
            0 | 17 | 18 | 33 | 39 => multiply(Context::new(Level::current(), 1), alone, &weight, depth, None),
            _ => expected[row * outputs..][..outputs].to_vec(),
        };
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
        assert_eq!(bits(found), bits(&expected), "row {row}");
    }
    // A weight like that goes to vectors as a whole.
    let mut weight = weight;
    weight[7] = f32::INFINITY;
    let expected = multiply(Context::new(Level::current(), 1), &clean, &weight, depth, None);
    let found = multiply(emulated(1), &clean, &weight, depth, None);
    assert!(found.iter().zip(expected).all(|(x, y)| x.to_bits() == y.to_bits()));
}

#[test]
fn rows_of_zeros_give_the_bias() {
    let output = multiply(emulated(1), &[0.0; 32 * 64], &[1.5; 32 * 64], 64, Some(&[0.5; 32]));
    assert_eq!(output, [0.5; 32 * 32]);
}

#[test]
fn products_with_8_bits_have_the_bits_of_vectors() {
    let vectors = Context::new(Level::current(), 1);
    for [rows, depth, outputs] in [[16, 32, 16], [15, 64, 16], [33, 70, 40], [100, 384, 17], [70, 200, 530]] {
        let floats = values(depth as u32, outputs * depth);
        let owned = OwnedWeights::convert("weight", Weights::F32(&floats), WeightType::Q8, depth).unwrap();
        let OwnedWeights::Q8(integers, scales) = &owned else { panic!("another type") };
        let mut x = values(7, rows * depth);
        // A row of zeros, and one that spoils itself alone.
        x[..depth].fill(0.0);
        x[rows / 2 * depth] = f32::NAN;
        let product = |context| {
            let weight = Weight::quantized("weight", integers, scales, &[outputs, depth]).unwrap();
            let mut output = vec![0.0; rows * outputs];
            linear(context, Tensor::new("x", &x, &[rows, depth]).unwrap(), weight, None, &mut output).unwrap();
            output.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let expected = product(vectors);
        for threads in [1, 3] {
            assert_eq!(product(emulated(threads)), expected, "{rows} × {depth} × {outputs}");
        }
    }
}

#[test]
fn a_layer_keeps_the_pieces_of_its_weights_until_they_change() {
    let config = LinearConfig { in_features: 64, out_features: 48, seed: 3, ..LinearConfig::default() };
    let mut layer = Linear::new(config).unwrap();
    let x = values(5, 40 * 64);
    let forward = |layer: &Linear, context| {
        let mut output = vec![0.0; 40 * 48];
        layer.forward(context, Tensor::new("x", &x, &[40, 64]).unwrap(), &mut output).unwrap();
        output
    };
    let (vectors, bytes) = (Context::new(Level::current(), 1), layer.bytes());
    let first = forward(&layer, emulated(1));
    assert!(first != forward(&layer, vectors), "tiles were not used");
    assert_eq!(layer.bytes(), bytes + 2 * 4 * 6 * 512, "two steps of four groups of 16 rows, 6 bytes a value");
    assert_eq!(forward(&layer, emulated(2)), first);
    for values in layer.floats_mut().into_iter().flatten() {
        values.iter_mut().for_each(|value| *value = -*value);
    }
    assert_eq!(layer.bytes(), bytes);
    let negated: Vec<f32> = first.iter().map(|value| -value).collect();
    assert_eq!(forward(&layer, emulated(1)), negated);
}

//! Benchmarks of the kernels alone, at every instruction set of this machine, on one thread: `cargo bench`, or
//! `cargo bench -- sdpa/avx2`. For comparisons with other programs use `npm run bench`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use ruvector_attention::attention::{self, mask::Mask};
use ruvector_attention::hyperbolic::InputKind::{Manifold as Points, Tangent};
use ruvector_attention::hyperbolic::Manifold::{Lorentz, Poincare};
use ruvector_attention::hyperbolic::{HyperbolicAttention, HyperbolicConfig, HyperbolicOptions};
use ruvector_attention::math::linear::linear;
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::{Context, Tensor};

/// The keys that are hidden.
#[derive(Clone, Copy, PartialEq)]
enum Hidden {
    None,
    Causal,
    Boolean,
    Float,
}

/// An attention problem of 8 query heads.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    dim: usize,
    hidden: Hidden,
}

const HEADS: usize = 8;

const fn square(name: &'static str, length: usize, dim: usize, hidden: Hidden) -> Shape {
    Shape { name, kv_heads: HEADS, queries: length, keys: length, dim, hidden }
}

const SHAPES: [Shape; 11] = [
    square("S=16 D=64", 16, 64, Hidden::None),
    square("S=64 D=64", 64, 64, Hidden::None),
    square("S=512 D=32", 512, 32, Hidden::None),
    square("S=512 D=64", 512, 64, Hidden::None),
    square("S=512 D=128", 512, 128, Hidden::None),
    square("S=512 D=64 causal", 512, 64, Hidden::Causal),
    square("S=512 D=64 boolean mask", 512, 64, Hidden::Boolean),
    square("S=512 D=64 float mask", 512, 64, Hidden::Float),
    Shape { kv_heads: 2, ..square("S=512 D=64 grouped", 512, 64, Hidden::None) },
    square("S=1024 D=64", 1024, 64, Hidden::None),
    Shape { queries: 1, ..square("decode S=8192 D=64", 8192, 64, Hidden::None) },
];

/// The numbers of rows, inputs and outputs of linear layers.
const PRODUCTS: [[usize; 3]; 3] = [[16, 384, 384], [512, 384, 384], [512, 384, 1152]];

/// Returns evenly spread numbers from −1 to 1.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % 1000).map(|step| step as f32 / 500.0 - 1.0).collect()
}

fn tensor<'a>(name: &'static str, data: &'a [f32], dims: &[usize]) -> Tensor<'a> {
    Tensor::new(name, data, dims).expect("a shape of the data's length")
}

/// Runs `benchmarks` at every level, in one group per level.
fn at_every_level(
    criterion: &mut Criterion,
    name: &str,
    benchmarks: impl Fn(&mut BenchmarkGroup<'_, WallTime>, Context<'_>),
) {
    for level in Level::available() {
        let mut group = criterion.benchmark_group(format!("{name}/{}", level.name()));
        benchmarks(&mut group, Context::new(level, 1));
        group.finish();
    }
}

fn bench_sdpa(criterion: &mut Criterion) {
    at_every_level(criterion, "sdpa", |group, context| {
        for shape in SHAPES {
            let Shape { name, kv_heads, queries, keys, dim, hidden } = shape;
            let products = 4 * HEADS * queries * keys * dim;
            group.throughput(Throughput::Elements(
                (if hidden == Hidden::Causal { products / 2 } else { products }) as u64,
            ));
            let (q, kv) = (numbers(HEADS * queries * dim), numbers(kv_heads * keys * dim));
            let bias = numbers(queries * keys);
            let visible: Vec<u8> = bias.iter().map(|&number| u8::from(number > -0.8)).collect();
            let mask = match hidden {
                Hidden::None | Hidden::Causal => None,
                Hidden::Boolean => Some(Mask::Boolean(
                    Tensor::new("mask", &visible, &[queries, keys]).expect("a shape of the data's length"),
                )),
                Hidden::Float => Some(Mask::Float(tensor("mask", &bias, &[queries, keys]))),
            };
            let arrays = attention::Arrays { mask, ..attention::Arrays::default() };
            let options = AttentionOptions { causal: hidden == Hidden::Causal, ..AttentionOptions::default() };
            let q = tensor("q", &q, &[1, HEADS, queries, dim]);
            let k = tensor("k", &kv, &[1, kv_heads, keys, dim]);
            let mut output = vec![0.0; HEADS * queries * dim];
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let outputs = attention::Outputs { output: &mut output, ..attention::Outputs::default() };
                    attention::scaled_dot_product_attention(context, black_box(q), k, k, &options, arrays, outputs)
                        .expect("a valid problem");
                });
            });
        }
    });
}

fn bench_hyperbolic(criterion: &mut Criterion) {
    at_every_level(criterion, "hyperbolic", |group, context| {
        for (name, manifold, inputs, queries, dim) in [
            ("S=64 D=64", Poincare, Points, 64, 64),
            ("S=512 D=64", Poincare, Points, 512, 64),
            ("S=512 D=64", Poincare, Tangent, 512, 64),
            ("S=512 D=64", Lorentz, Tangent, 512, 64),
        ] {
            let config = HyperbolicConfig { curvature: -1.0, num_heads: HEADS, manifold, inputs, ..Default::default() };
            let space = HyperbolicAttention::new(config).expect("a valid configuration");
            let x: Vec<f32> = numbers(HEADS * queries * dim).into_iter().map(|x| x * 0.15).collect();
            let x = tensor("x", &x, &[1, HEADS, queries, dim]);
            let mut output = vec![0.0; HEADS * queries * dim];
            let options = HyperbolicOptions::default();
            group.throughput(Throughput::Elements((4 * HEADS * queries * queries * dim) as u64));
            group.bench_function(format!("{name} {manifold:?} {inputs:?}"), |bencher| {
                bencher.iter(|| {
                    let inputs = [black_box(x), x, x];
                    space
                        .forward(context, inputs, &options, attention::Arrays::default(), &mut output, None)
                        .expect("a valid problem");
                });
            });
        }
    });
}

fn bench_linear(criterion: &mut Criterion) {
    at_every_level(criterion, "linear", |group, context| {
        for [rows, inputs, outputs] in PRODUCTS {
            group.throughput(Throughput::Elements((2 * rows * inputs * outputs) as u64));
            let (x, weight, bias) = (numbers(rows * inputs), numbers(outputs * inputs), numbers(outputs));
            let x = tensor("x", &x, &[rows, inputs]);
            let weight = tensor("weight", &weight, &[outputs, inputs]);
            let bias = tensor("bias", &bias, &[outputs]);
            let mut output = vec![0.0; rows * outputs];
            group.bench_function(format!("{rows}×{inputs} by {inputs}×{outputs}"), |bencher| {
                bencher.iter(|| {
                    linear(context, black_box(x), weight, Some(bias), &mut output).expect("a valid problem");
                });
            });
        }
    });
}

criterion_group! {
    name = kernels;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = bench_sdpa, bench_linear, bench_hyperbolic
}
criterion_main!(kernels);

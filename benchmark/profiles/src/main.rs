//! Prints the speed of five calls in GFLOP/s, one a line: attention of one head, causal attention, decoding, and a
//! product of 32-bit floats and of 8 bits. Each is the fastest of many calls on one thread.

use std::hint::black_box;
use std::time::Instant;

use ruvector_attention::attention::{Arrays, Outputs, scaled_dot_product_attention};
use ruvector_attention::layers::dense::{Linear, LinearConfig};
use ruvector_attention::math::linear::linear;
use ruvector_attention::math::weight::WeightType;
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::{Context, Result, Tensor};

const CALLS: usize = 100;

fn main() -> Result<()> {
    let context = Context::new(Level::current(), 1);
    println!("{}", attention(context, [1, 512, 64], false)?);
    println!("{}", attention(context, [4, 512, 64], true)?);
    println!("{}", decode(context, [4, 512, 64])?);
    println!("{}", product(context, [256, 384, 1536])?);
    println!("{}", quantized(context, [256, 384, 1536])?);
    Ok(())
}

fn attention(context: Context<'_>, [heads, length, dim]: [usize; 3], causal: bool) -> Result<f64> {
    let x = numbers(heads * length * dim);
    let x = Tensor::new("x", &x, &[1, heads, length, dim])?;
    let mut output = vec![0.0; heads * length * dim];
    let options = AttentionOptions { causal, ..AttentionOptions::default() };
    let operations = 4 * heads * length * length * dim / if causal { 2 } else { 1 };
    speed(operations, || {
        let outputs = Outputs { output: &mut output, ..Outputs::default() };
        scaled_dot_product_attention(context, black_box(x), x, x, &options, Arrays::default(), outputs)
    })
}

/// One query for the keys of each head, which stay in the cache.
fn decode(context: Context<'_>, [heads, length, dim]: [usize; 3]) -> Result<f64> {
    let (query, keys) = (numbers(heads * dim), numbers(heads * length * dim));
    let query = Tensor::new("query", &query, &[1, heads, 1, dim])?;
    let keys = Tensor::new("keys", &keys, &[1, heads, length, dim])?;
    let mut output = vec![0.0; heads * dim];
    let options = AttentionOptions::default();
    speed(4 * heads * length * dim, || {
        let outputs = Outputs { output: &mut output, ..Outputs::default() };
        scaled_dot_product_attention(context, black_box(query), keys, keys, &options, Arrays::default(), outputs)
    })
}

fn product(context: Context<'_>, [rows, inputs, outputs]: [usize; 3]) -> Result<f64> {
    let (x, weight) = (numbers(rows * inputs), numbers(outputs * inputs));
    let x = Tensor::new("x", &x, &[rows, inputs])?;
    let weight = Tensor::new("weight", &weight, &[outputs, inputs])?;
    let mut output = vec![0.0; rows * outputs];
    speed(2 * rows * inputs * outputs, || linear(context, black_box(x), weight, None, &mut output))
}

fn quantized(context: Context<'_>, [rows, in_features, out_features]: [usize; 3]) -> Result<f64> {
    let config = LinearConfig { in_features, out_features, weight_type: WeightType::Q8, ..LinearConfig::default() };
    let layer = Linear::new(config)?;
    let x = numbers(rows * in_features);
    let x = Tensor::new("x", &x, &[rows, in_features])?;
    let mut output = vec![0.0; rows * out_features];
    speed(2 * rows * in_features * out_features, || layer.forward(context, black_box(x), &mut output))
}

fn speed<T>(operations: usize, mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..CALLS {
        let start = Instant::now();
        call()?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    Ok(operations as f64 / fastest / 1e9)
}

/// Returns evenly spread numbers from −1 to 1.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % 1000).map(|step| step as f32 / 500.0 - 1.0).collect()
}

//! Products of matrices at the edges of tiles and blocks.

use ruvector_attention::math::linear::linear;
use ruvector_attention::simd::Level;
use ruvector_attention::{Context, Tensor};

#[test]
fn linear_is_exact_at_every_edge_of_tiles_and_blocks() {
    let value = |seed: usize| ((seed * 5 + 1) % 17) as f32 / 8.0 - 1.0;
    for level in Level::available() {
        let context = Context::new(level, 2);
        for (rows, depth, outputs) in
            [(1, 1, 1), (3, 0, 2), (5, 17, 3), (33, 300, 130), (64, 8, 257), (131, 513, 7), (0, 4, 4), (4, 4, 0)]
        {
            let x: Vec<f32> = (0..rows * depth).map(value).collect();
            let weight: Vec<f32> = (0..outputs * depth).map(|index| value(index * 3)).collect();
            let bias: Vec<f32> = (0..outputs).map(value).collect();
            let mut output = vec![f32::NAN; rows * outputs];
            let x_rows = Tensor::new("x", &x, &[rows, depth]).unwrap();
            let matrix = Tensor::new("weight", &weight, &[outputs, depth]).unwrap();
            let added = Tensor::new("bias", &bias, &[outputs]).unwrap();
            linear(context, x_rows, matrix, Some(added), &mut output).unwrap();
            for row in 0..rows {
                for column in 0..outputs {
                    // Sixty-fourths below 2¹⁵ add without rounding.
                    let sum: f32 = (0..depth).map(|k| x[row * depth + k] * weight[column * depth + k]).sum::<f32>();
                    assert_eq!(output[row * outputs + column], sum + bias[column], "{rows} {depth} {outputs}");
                }
            }
        }
    }
}

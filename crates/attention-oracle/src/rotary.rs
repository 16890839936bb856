//! The oracle of rotary position embedding.

use std::ops::Range;

use ruvector_attention::attention::rotary::RotaryOptions;
use ruvector_attention::tensor::Tensor;

use super::Heads;

/// Rotates each pair of features of x by its position's angle; `positions` is `[L]` or `[B · L]`, or by default 0, 1,
/// ….
pub fn rotary_embedding(x: Tensor<'_>, options: &RotaryOptions, positions: Option<&[i32]>) -> Vec<f64> {
    let mut rows = Heads::of(x, options.layout);
    let length = rows.length;
    rotate(&mut rows, options, |b, l| match positions {
        Some(positions) if positions.len() == length => f64::from(positions[l]),
        Some(positions) => f64::from(positions[b * length + l]),
        None => l as f64,
    });
    rows.data
}

pub(super) fn rotate(rows: &mut Heads, options: &RotaryOptions, position: impl Fn(usize, usize) -> f64) {
    let dim = options.dim.unwrap_or(rows.size);
    for (b, h, l) in super::rows([rows.batch, rows.heads, rows.length, 0]) {
        let Range { start, .. } = rows.row(b, h, l);
        for pair in 0..dim / 2 {
            let angle = position(b, l) * options.scale * options.base.powf(-2.0 * pair as f64 / dim as f64);
            let [first, second] = if options.interleaved { [2 * pair, 2 * pair + 1] } else { [pair, pair + dim / 2] }
                .map(|at| start + at);
            let (x, y) = (rows.data[first], rows.data[second]);
            rows.data[first] = x * angle.cos() - y * angle.sin();
            rows.data[second] = x * angle.sin() + y * angle.cos();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_moves_the_first_of_a_pair_onto_the_second() {
        let data = [1.0, 0.0, 1.0, 0.0];
        let x = Tensor::new("x", &data, &[1, 2, 2]).unwrap();
        let options = RotaryOptions { scale: std::f64::consts::FRAC_PI_2, ..RotaryOptions::default() };
        let found = rotary_embedding(x, &options, None);
        assert_eq!(found[..2], [1.0, 0.0]);
        assert!((found[2].abs() + (found[3] - 1.0).abs()) < 1e-15);
    }
}

//! The oracle of rotary position embedding.

use std::ops::Range;

use ruvector_attention::attention::rotary::{RotaryArrays, RotaryOptions};
use ruvector_attention::tensor::Tensor;

use super::Heads;

/// Rotates each pair of features of x by the angle of its position; default positions are 0, 1, ….
pub fn rotary_embedding(x: Tensor<'_>, options: &RotaryOptions, arrays: RotaryArrays<'_>) -> Vec<f64> {
    let mut rows = Heads::of(x, options.layout);
    rotate(&mut rows, options, arrays, |_, l| l as f64);
    rows.data
}

/// Rotates rows by the caller's positions, or by those of `position`.
pub(super) fn rotate(
    rows: &mut Heads,
    options: &RotaryOptions,
    RotaryArrays { positions, frequencies }: RotaryArrays<'_>,
    position: impl Fn(usize, usize) -> f64,
) {
    let dim = frequencies.map_or(options.dim.unwrap_or(rows.size), |frequencies| 2 * frequencies.len());
    // Each pair's section, or 0.
    let sections: Vec<usize> = options.sections.map_or(vec![0; dim / 2], |sections| {
        sections.iter().enumerate().flat_map(|(axis, &count)| vec![axis; count as usize]).collect()
    });
    let given = |axis: usize, b: usize, l: usize| {
        let data = positions?.data;
        // The number of batch entries with positions of their own, which is 1 if all share them.
        let entries = data.len() / rows.length / if options.sections.is_some() { 3 } else { 1 };
        Some(f64::from(data[(axis * entries + b.min(entries - 1)) * rows.length + l]))
    };
    for (b, h, l) in super::rows([rows.batch, rows.heads, rows.length, 0]) {
        let Range { start, .. } = rows.row(b, h, l);
        for pair in 0..dim / 2 {
            let frequency = frequencies
                .map_or_else(|| options.base.powf(-2.0 * pair as f64 / dim as f64), |frequencies| frequencies[pair]);
            let position = given(sections[pair], b, l).unwrap_or_else(|| position(b, l));
            let angle = position * options.scale * frequency;
            let [first, second] = if options.interleaved { [2 * pair, 2 * pair + 1] } else { [pair, pair + dim / 2] }
                .map(|at| start + at);
            let (x, y) = (rows.data[first], rows.data[second]);
            rows.data[first] = options.factor * (x * angle.cos() - y * angle.sin());
            rows.data[second] = options.factor * (x * angle.sin() + y * angle.cos());
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
        let found = rotary_embedding(x, &options, RotaryArrays::default());
        assert_eq!(found[..2], [1.0, 0.0]);
        assert!((found[2].abs() + (found[3] - 1.0).abs()) < 1e-15);
    }
}

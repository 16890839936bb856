//! Statistics over all values of a tensor, in doubles, and normalization of a tensor to mean 0 and variance 1.

use crate::error::Result;
use crate::ranges;
use crate::tensor::{Tensor, check_output};

/// Mean, standard deviation, smallest and largest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// The mean; NaN of nothing.
    pub mean: f64,
    /// The population's standard deviation, as a norm over a layer takes it; NaN of nothing.
    pub deviation: f64,
    /// The smallest value; ∞ of nothing.
    pub smallest: f32,
    /// The largest value; −∞ of nothing.
    pub largest: f32,
}

/// Sums in a fixed order, whatever the machine: each of eight over every eighth value.
pub(crate) fn sum(values: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (sum, &value) in sums.iter_mut().zip(eight) {
            *sum += term(f64::from(value));
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&value| term(f64::from(value))).sum::<f64>()
}

/// The statistics of the values; NaN among them makes each of the four NaN.
pub fn stats(values: &[f32]) -> Stats {
    let count = values.len() as f64;
    let mean = sum(values, |value| value) / count;
    let deviation = (sum(values, |value| (value - mean) * (value - mean)) / count).sqrt();
    let (mut smallest, mut largest) = (f32::INFINITY, f32::NEG_INFINITY);
    for &value in values {
        smallest = if value < smallest || value.is_nan() { value } else { smallest };
        largest = if value > largest || value.is_nan() { value } else { largest };
        if value.is_nan() {
            break;
        }
    }
    Stats { mean, deviation, smallest, largest }
}

/// `(x − mean) / √(variance + epsilon)` over all values together.
///
/// # Errors
/// `SHAPE` if `output` has another length than `x`.
pub fn normalize(x: Tensor<'_>, epsilon: f32, output: &mut [f32]) -> Result<()> {
    ranges::non_negative("epsilon", epsilon)?;
    check_output("output", output, x.data.len())?;
    let Stats { mean, deviation, .. } = stats(x.data);
    let scale = 1.0 / (deviation * deviation + f64::from(epsilon)).sqrt();
    for (output, &value) in output.iter_mut().zip(x.data) {
        *output = ((f64::from(value) - mean) * scale) as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_match_their_definition() {
        let found = stats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, -5.0]);
        assert_eq!((found.mean, found.smallest, found.largest), (4.0, -5.0, 9.0));
        assert!((found.deviation - 15f64.sqrt()).abs() < 1e-12);
        assert!(stats(&[]).mean.is_nan());
        let spoiled = stats(&[1.0, f32::NAN, 3.0]);
        assert!(spoiled.mean.is_nan() && spoiled.smallest.is_nan() && spoiled.largest.is_nan());
        // Sums of squares of these would lose everything in 32 bits.
        assert_eq!(stats(&[1e8, 1e8 + 8.0]).deviation, 4.0);
    }
}

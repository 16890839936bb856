//! Sine and cosine in doubles for angles as large as positions make them: the same bits on every backend, where the
//! platforms' libraries differ, and a tenth of their code in WebAssembly.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// The largest magnitude that [`sin_cos`] is made for.
pub const LARGEST_ANGLE: f64 = 2_147_483_648.0;

/// π/2 in three parts. Products of the first with the quarter turns of [`LARGEST_ANGLE`], 31 bits, are exact.
const QUARTER_HIGH: f64 = f64::from_bits(FRAC_PI_2.to_bits() >> 31 << 31);
const QUARTER_MIDDLE: f64 = FRAC_PI_2 - QUARTER_HIGH;
const QUARTER_LOW: f64 = 6.123_233_995_736_766e-17;

/// The series of sin(x)/x and of cos(x) in x², to where they are exact to 1e-13 on [−π/4, π/4].
const SINE: [f64; 7] = series(1.0);
const COSINE: [f64; 8] = series(0.0);

/// `(−1)ᵏ / (2k + shift)!`
const fn series<const TERMS: usize>(shift: f64) -> [f64; TERMS] {
    let mut terms = [1.0; TERMS];
    let mut k = 1;
    while k < TERMS {
        let last = 2.0 * k as f64 + shift;
        terms[k] = -terms[k - 1] / (last * (last - 1.0));
        k += 1;
    }
    terms
}

/// The sine and the cosine of an angle of at most [`LARGEST_ANGLE`] in magnitude, each within 1e-12.
#[inline(always)]
pub fn sin_cos(angle: f64) -> (f64, f64) {
    let quarters = (angle * FRAC_2_PI).round_ties_even();
    let rest = angle - quarters * QUARTER_HIGH - quarters * QUARTER_MIDDLE - quarters * QUARTER_LOW;
    let square = rest * rest;
    let sine = rest * SINE.iter().rev().fold(0.0, |sum, term| sum * square + term);
    let cosine = COSINE.iter().rev().fold(0.0, |sum, term| sum * square + term);
    match quarters as i32 & 3 {
        0 => (sine, cosine),
        1 => (cosine, -sine),
        2 => (-sine, -cosine),
        _ => (-cosine, sine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_match_the_standard_library() {
        let steps = (0..200_000).map(|step| f64::from(step) * 0.001_234_567);
        let integers = [999_999.0, 1e6, 16_777_217.0, 2_147_483_647.0, LARGEST_ANGLE];
        for angle in steps.chain(integers).chain((0..1000).map(|quarter| f64::from(quarter) * FRAC_PI_2)) {
            for angle in [angle, -angle] {
                let ((sine, cosine), (expected_sine, expected_cosine)) = (sin_cos(angle), angle.sin_cos());
                assert!((sine - expected_sine).abs() < 1e-12, "sin {angle}: {sine} instead of {expected_sine}");
                assert!((cosine - expected_cosine).abs() < 1e-12, "cos {angle}: {cosine} instead of {expected_cosine}");
            }
        }
    }
}

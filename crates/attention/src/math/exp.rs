//! `exp2`, `exp` and `tanh` on vectors.

use crate::simd::Simd;

/// `log2(e)`.
pub const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// 1.5·2²³ + 127: adding it rounds to an integer and leaves that integer, biased as an exponent, in the low bits.
const ROUND_AND_BIAS: f32 = 12_582_912.0 + 127.0;

/// A degree-6 minimax fit of `2^r` on [−½, ½]: `1 + r·(…)`.
const COEFFICIENTS: [f32; 7] = [
    1.0,
    f32::from_bits(0x3f31_7218),
    f32::from_bits(0x3e75_fded),
    f32::from_bits(0x3d63_576a),
    f32::from_bits(0x3c1d_96de),
    f32::from_bits(0x3aaf_a2b5),
    f32::from_bits(0x3920_e99c),
];

/// The same on [0, 1].
const COEFFICIENTS_FROM_0: [f32; 7] = [
    1.0,
    f32::from_bits(0x3f31_7216),
    f32::from_bits(0x3e75_feac),
    f32::from_bits(0x3d63_4489),
    f32::from_bits(0x3c1e_85c9),
    f32::from_bits(0x3aa3_6b25),
    f32::from_bits(0x3962_a0bd),
];

/// Computes `2^x` for x ≤ 127, within 2 ULP; 0 for −∞, NaN for NaN. Below −126 the result may be subnormal or 0.
#[inline(always)]
pub fn exp2<S: Simd>(simd: S, x: S::F) -> S::F {
    if S::HAS_SCALE {
        return simd.scale(polynomial(simd, COEFFICIENTS_FROM_0, simd.fraction(x)), x);
    }
    // The power of two becomes 0 there.
    let x = simd.at_least(x, -127.0);
    let shifted = x + ROUND_AND_BIAS;
    let rest = x - (shifted - ROUND_AND_BIAS);
    polynomial(simd, COEFFICIENTS, rest) * simd.bits_to_exponent(shifted)
}

/// `e^x` for x ≤ 88, within 2 ULP; exactly 0 for x ≤ −88.03 (−∞ included), NaN for NaN.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::F) -> S::F {
    exp_less(simd, x, simd.splat(0.0))
}

/// `e^(x − digits)` for the digits of an exponent that x has no room for, at most 0.1 either way.
#[inline(always)]
pub fn exp_less<S: Simd>(simd: S, x: S::F, digits: S::F) -> S::F {
    // ln 2 in two parts, the first with room for products by integers up to 2¹¹.
    const LN2_HIGH: f32 = f32::from_bits(0x3f31_7000);
    const LN2_LOW: f32 = (std::f64::consts::LN_2 - LN2_HIGH as f64) as f32;
    let scaled = simd.at_least(x * LOG2_E, -127.0);
    let shifted = scaled + ROUND_AND_BIAS;
    let integer = shifted - ROUND_AND_BIAS;
    // For clamped x the rest below is meaningless, but it stays finite, and the power of two is 0.
    let x = simd.at_least(x, -88.1);
    let rest = simd.mul_add(integer, simd.splat(-LN2_HIGH), x);
    let rest = simd.mul_add(integer, simd.splat(-LN2_LOW), rest) - digits;
    polynomial(simd, COEFFICIENTS, rest * LOG2_E) * simd.bits_to_exponent(shifted)
}

/// `tanh(x)`, within 3 ULP.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::F) -> S::F {
    let magnitude = simd.max(x, simd.splat(0.0) - x);
    // Near 0 an odd polynomial (Cephes, tanhf), since 1 − 2/(e²ˣ+1) cancels there.
    let square = x * x;
    let mut series = simd.splat(-5.704_988_7e-3);
    for coefficient in [2.063_908_8e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        series = simd.mul_add(series, square, simd.splat(coefficient));
    }
    let small = simd.mul_add(series * square, x, x);
    // Beyond 10 the result is 1 to the last bit, and e²ˣ must not overflow.
    let bounded = simd.splat(0.0) - simd.at_least(simd.splat(0.0) - magnitude, -10.0);
    let power = exp(simd, bounded + bounded);
    let large = simd.splat(1.0) - simd.splat(2.0) / (power + 1.0);
    let signed = simd.select(simd.lt(x, simd.splat(0.0)), simd.splat(0.0) - large, large);
    simd.select(simd.lt(magnitude, simd.splat(0.625)), small, signed)
}

/// Computes `2^r` in the range of the coefficients, by Estrin's scheme: its short chains let products of neighboring
/// vectors overlap.
#[inline(always)]
fn polynomial<S: Simd>(simd: S, coefficients: [f32; 7], r: S::F) -> S::F {
    let [c0, c1, c2, c3, c4, c5, c6] = simd.splat_each(coefficients);
    let square = r * r;
    let low = simd.mul_add(c1, r, c0);
    let middle = simd.mul_add(c3, r, c2);
    let high = simd.mul_add(c6, square, simd.mul_add(c5, r, c4));
    simd.mul_add(simd.mul_add(high, square, middle), square, low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};

    type Reference = fn(f64) -> f64;

    /// Runs a function over a slice, LANES at a time.
    struct Map<'a>(&'a str, &'a mut [f32]);

    impl Kernel for Map<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            for chunk in self.1.chunks_exact_mut(S::LANES) {
                let x = simd.load(chunk);
                let y = match self.0 {
                    "exp2" => exp2(simd, x),
                    "exp" => exp(simd, x),
                    _ => tanh(simd, x),
                };
                simd.store(chunk, y);
            }
        }
    }

    fn worst_ulp(name: &str, reference: Reference, low: f32, high: f32) -> f64 {
        let count = 1 << 20;
        let inputs: Vec<f32> = (0..count).map(|index| low + (high - low) * (index as f32 / count as f32)).collect();
        let mut worst = 0.0f64;
        for level in Level::available() {
            let mut outputs = inputs.clone();
            level.run(Map(name, &mut outputs));
            for (&x, &y) in inputs.iter().zip(&outputs) {
                let expected = reference(f64::from(x));
                let ulp = 2f64.powi(expected.abs().max(1e-37).log2().floor() as i32 - 23);
                worst = worst.max(((f64::from(y) - expected) / ulp).abs());
            }
        }
        worst
    }

    #[test]
    fn exp2_is_within_two_ulp() {
        assert!(worst_ulp("exp2", f64::exp2, -125.0, 0.0) <= 2.0);
        assert!(worst_ulp("exp2", f64::exp2, -1.0, 20.0) <= 2.0);
    }

    #[test]
    fn exp_is_within_two_ulp() {
        assert!(worst_ulp("exp", f64::exp, -87.0, 0.0) <= 2.0);
        assert!(worst_ulp("exp", f64::exp, -1.0, 20.0) <= 2.0);
    }

    #[test]
    fn tanh_is_within_three_ulp() {
        assert!(worst_ulp("tanh", f64::tanh, -12.0, 12.0) <= 3.0);
        assert!(worst_ulp("tanh", f64::tanh, 1e-6, 0.7) <= 3.0);
    }

    #[test]
    fn masked_lanes_give_exactly_zero_and_nan_stays_nan() {
        for level in Level::available() {
            for name in ["exp2", "exp"] {
                let mut values = [f32::NEG_INFINITY, f32::MIN, -1000.0, -151.0].repeat(4);
                level.run(Map(name, &mut values));
                assert_eq!(values, [0.0; 16], "{name} {}", level.name());
                // Below the normal numbers it is what it should be, or nothing.
                let mut values = [-127.1; 16];
                level.run(Map(name, &mut values));
                let exact = if name == "exp2" { 2f32.powf(-127.1) } else { 0.0 };
                let fits = |value: f32| value == 0.0 || (value - exact).abs() < 1e-43;
                assert!(values.iter().all(|&value| fits(value)), "{name} {} {values:?}", level.name());
                // A payload must not be shifted into a number.
                let mut values = [f32::NAN, f32::from_bits(0x7fc0_0001), f32::from_bits(0xffff_ffff), 0.0].repeat(4);
                level.run(Map(name, &mut values));
                assert!(values[0].is_nan() && values[1].is_nan() && values[2].is_nan(), "{name} {}", level.name());
                assert_eq!(values[3], 1.0);
            }
        }
    }
}

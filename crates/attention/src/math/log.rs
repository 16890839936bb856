//! `log2` on vectors.

use crate::simd::Simd;

/// A degree-3 minimax fit of `log2(m) / s` in `s²`, `s = (m − 1) / (m + 1)`, for m from √½ to √2; relative error 7e-10.
const COEFFICIENTS: [f32; 4] = [
    f32::from_bits(0x4038_aa3b),
    f32::from_bits(0x3f76_3873),
    f32::from_bits(0x3f13_a38e),
    f32::from_bits(0x3edd_0c7d),
];

/// `log2(x)` for positive normal x, within 2 ULP of the larger of the result and 1; 128 for ∞.
#[inline(always)]
pub fn log2<S: Simd>(simd: S, x: S::F) -> S::F {
    let (mantissa, exponent) = simd.split(x);
    let one = simd.splat(1.0);
    let s = (mantissa - one) / (mantissa + one);
    let square = s * s;
    let [c0, c1, c2, c3] = simd.splat_each(COEFFICIENTS);
    let series = simd.mul_add(simd.mul_add(simd.mul_add(c3, square, c2), square, c1), square, c0);
    simd.mul_add(series, s, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};

    /// Replaces each value by its logarithm.
    struct Log2<'a>(&'a mut [f32]);

    impl Kernel for Log2<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            for chunk in self.0.chunks_exact_mut(S::LANES) {
                let y = log2(simd, simd.load(chunk));
                simd.store(chunk, y);
            }
        }
    }

    #[test]
    fn log2_is_within_two_ulp_of_one_or_of_itself() {
        let fractions = (0..1 << 16).map(|step| 1.0 + step as f32 / (1 << 16) as f32);
        let inputs: Vec<f32> = fractions.flat_map(|m| [m, m * 3.0, m * 1e-30, m * 1e18, m * 1.7e38]).collect();
        for level in Level::available() {
            let mut outputs = inputs[..inputs.len() / 16 * 16].to_vec();
            level.run(Log2(&mut outputs));
            for (&x, &y) in inputs.iter().zip(&outputs) {
                let expected = f64::from(x).log2();
                let bound = 2.0 * f64::from(f32::EPSILON) * expected.abs().max(1.0);
                assert!((f64::from(y) - expected).abs() <= bound, "log2({x}) = {y} at {}", level.name());
            }
            let mut edges = [1.0, 2.0, f32::INFINITY, f32::MIN_POSITIVE].repeat(4);
            level.run(Log2(&mut edges));
            assert_eq!(edges[..4], [0.0, 1.0, 128.0, -126.0], "{}", level.name());
        }
    }
}

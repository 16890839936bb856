//! From 16-bit floats to 32 bits, exactly.

/// The value of an IEEE 754 binary16, denormals, infinities and NaN payloads included.
pub fn widen_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let mantissa = u32::from(bits) & 0x3ff;
    let magnitude = match exponent {
        // A denormal is a multiple of 2⁻²⁴, and that product is exact.
        0 => (mantissa as f32 * 2f32.powi(-24)).to_bits(),
        31 => 0x7f80_0000 | mantissa << 13,
        _ => (exponent + 127 - 15) << 23 | mantissa << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The value of a bfloat16: the upper half of a binary32.
pub fn widen_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_has_the_value_of_its_fields() {
        for bits in 0..=u16::MAX {
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
            let value = widen_f16(bits);
            match exponent {
                31 if mantissa == 0.0 => assert_eq!(f64::from(value), sign * f64::INFINITY),
                31 => assert!(value.is_nan()),
                0 => assert_eq!(f64::from(value), sign * mantissa * 2f64.powi(-24)),
                _ => assert_eq!(f64::from(value), sign * (1024.0 + mantissa) * 2f64.powi(exponent - 25)),
            }
            assert_eq!(value.is_sign_negative(), bits >> 15 == 1);
        }
    }

    #[test]
    fn bf16_is_the_upper_half_of_an_f32() {
        assert_eq!(widen_bf16(0x3fc0), 1.5);
        assert_eq!(widen_bf16(0xff80), f32::NEG_INFINITY);
        assert_eq!(widen_bf16(0x0001).to_bits(), 0x0001_0000);
        assert!(widen_bf16(0x7fc1).is_nan());
    }
}

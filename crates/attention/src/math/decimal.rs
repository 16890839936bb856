//! Numbers as the shortest decimals that round-trip, in a tenth of the code size of the standard library.

use std::fmt::{self, Write};

/// A number displayed as the shortest decimal that [`scaled`] reads as the same f64 or, if it was an f32, the same f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decimal {
    value: f64,
    is_single: bool,
}

impl From<f64> for Decimal {
    fn from(value: f64) -> Self {
        Self { value, is_single: false }
    }
}

impl From<f32> for Decimal {
    fn from(value: f32) -> Self {
        Self { value: value.into(), is_single: true }
    }
}

/// Computes `digits · 10^exponent`, to within a few units in the last place. Powers up to 10²² are exact, so common
/// numbers are rounded only once.
pub fn scaled(digits: u64, exponent: i32) -> f64 {
    times_power_of_ten(digits as f64, exponent)
}

fn times_power_of_ten(mut value: f64, mut exponent: i32) -> f64 {
    while exponent != 0 && value != 0.0 && value.is_finite() {
        let step = exponent.clamp(-22, 22);
        let power = (0..step.abs()).fold(1.0, |power, _| power * 10.0);
        value = if step < 0 { value / power } else { value * power };
        exponent -= step;
    }
    value
}

impl Decimal {
    fn means(self, value: f64) -> bool {
        if self.is_single { value as f32 == self.value as f32 } else { value == self.value }
    }

    /// Digits and exponent of a positive finite number.
    fn shortest(self) -> (u64, i32) {
        let mut order = 0;
        while times_power_of_ten(self.value, -order) >= 10.0 {
            order += 1;
        }
        while times_power_of_ten(self.value, -order) < 1.0 {
            order -= 1;
        }
        let mantissa = times_power_of_ten(self.value, -order);
        let (mut power, mut best) = (1.0, (0, 0));
        for exponent in (order - 16..=order).rev() {
            let digits = (mantissa * power).round() as u64;
            best = (digits, exponent);
            // The mantissa's own rounding is a few units of the last digits.
            for away in [0, 1, 2, 3, 4] {
                for digits in [digits + away, digits.saturating_sub(away)] {
                    if self.means(scaled(digits, exponent)) {
                        return without_zeros(digits, exponent);
                    }
                }
            }
            power *= 10.0;
        }
        without_zeros(best.0, best.1)
    }
}

/// The same number without zeros at the end of its digits.
fn without_zeros(mut digits: u64, mut exponent: i32) -> (u64, i32) {
    while digits != 0 && digits.is_multiple_of(10) {
        digits /= 10;
        exponent += 1;
    }
    (digits, exponent)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, is_single } = *self;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value < 0.0 {
            f.write_char('-')?;
        }
        if value.is_infinite() {
            return f.write_str("Infinity");
        }
        if value == 0.0 {
            return f.write_char('0');
        }
        let (digits, exponent) = Self { value: value.abs(), is_single }.shortest();
        let digits = format!("{digits}");
        // The place of the decimal point among the digits.
        let point = digits.len() as i32 + exponent;
        match point {
            1..=21 => {
                let (whole, fraction) = digits.split_at_checked(point as usize).unwrap_or((&digits, ""));
                f.write_str(whole)?;
                for _ in digits.len()..point as usize {
                    f.write_char('0')?;
                }
                if fraction.is_empty() { Ok(()) } else { write!(f, ".{fraction}") }
            }
            -5..=0 => {
                f.write_str("0.")?;
                for _ in point..0 {
                    f.write_char('0')?;
                }
                f.write_str(&digits)
            }
            _ => {
                let (first, fraction) = digits.split_at_checked(1).unwrap_or((&digits, ""));
                f.write_str(first)?;
                if !fraction.is_empty() {
                    write!(f, ".{fraction}")?;
                }
                write!(f, "e{}", point - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many digits a number has, from the first to the last that is not 0.
    fn digits(text: &str) -> usize {
        let mantissa = text.split('e').next().unwrap_or_default();
        mantissa.replace(['.', '-'], "").trim_matches('0').len()
    }

    #[test]
    fn singles_are_displayed_as_the_shortest_decimals_that_round_trip() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.25, "-0.25"),
            (1.0 / 3.0, "0.33333334"),
            (1e-7, "1e-7"),
            (1e-45, "1e-45"),
            (f32::MIN_POSITIVE, "1.1754944e-38"),
            (f32::MAX, "3.4028235e38"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(Decimal::from(value).to_string(), text);
        }
        for bits in (0..0x7f80_0000u32).step_by(9_999_991) {
            let value = f32::from_bits(bits);
            let text = Decimal::from(value).to_string();
            assert_eq!(text.parse(), Ok(value), "{text}");
            assert!(digits(&text) <= digits(&format!("{value:e}")), "{text}");
        }
    }

    #[test]
    fn doubles_are_displayed_as_the_shortest_decimals_that_round_trip() {
        for value in [1.0, 10_000.0, 500_000.5, 10_000.1, 1.0 + f64::EPSILON, 1_234.567_890_123, 99_999_999_999_999.9] {
            assert_eq!(Decimal::from(value).to_string(), value.to_string());
        }
        for (value, text) in
            [(1e-30, "1e-30"), (1e300, "1e300"), (-1e30, "-1e30"), (1e21, "1e21"), (1e20, "100000000000000000000")]
        {
            assert_eq!(Decimal::from(value).to_string(), text);
        }
    }
}

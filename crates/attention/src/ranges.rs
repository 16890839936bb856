//! The ranges of options. Each check names the argument, its range and its value.

use std::fmt::Display;

use crate::error::{Error, Result};
use crate::math::decimal::Decimal;

/// The expected value of a number of heads, features or keys.
pub const COUNT: &str = "an integer of at least 1";

/// The largest integer n such that doubles represent 0 to n exactly. Seeds stay within it, so every language can write
/// them.
pub const LARGEST_EXACT_INTEGER: u64 = (1 << 53) - 1;

#[inline(always)]
fn check(argument: &str, fits: bool, expected: &str, value: impl Display) -> Result<()> {
    if fits { Ok(()) } else { Err(refused(argument, expected, &value)) }
}

/// Out of line: every call checks its options, but rejections are rare.
#[cold]
#[inline(never)]
fn refused(argument: &str, expected: &str, value: &dyn Display) -> Error {
    Error::value(argument, expected, value)
}

/// Checks that the value is at least 1.
pub fn count(argument: &str, value: usize) -> Result<()> {
    check(argument, value > 0, COUNT, value)
}

/// Checks that the value, if given, is at least 1.
pub fn optional_count(argument: &str, value: Option<usize>) -> Result<()> {
    count(argument, value.unwrap_or(1))
}

/// Checks that the value, if given, is finite.
pub fn finite(argument: &str, value: Option<f32>) -> Result<()> {
    let value = value.unwrap_or(0.0);
    check(argument, value.is_finite(), "a finite number", Decimal::from(value))
}

/// Checks that the value is finite and not negative.
pub fn non_negative(argument: &str, value: f32) -> Result<()> {
    check(argument, (0.0..f32::INFINITY).contains(&value), "a finite number of at least 0", Decimal::from(value))
}

/// Checks that the value is at least 0 and less than 1.
pub fn probability(argument: &str, value: f32) -> Result<()> {
    check(argument, (0.0..1.0).contains(&value), "a number of at least 0 and less than 1", Decimal::from(value))
}

/// Checks that the value is at most [`LARGEST_EXACT_INTEGER`].
pub fn seed(argument: &str, value: u64) -> Result<()> {
    check(argument, value <= LARGEST_EXACT_INTEGER, "an integer from 0 to 2^53 - 1", value)
}

/// Checks that the value, if given, fits 32 bits.
pub fn query_offset(argument: &str, value: Option<i64>) -> Result<()> {
    let value = value.unwrap_or(0);
    check(argument, i32::try_from(value).is_ok(), "an integer of 32 bits or an Int32Array", value)
}

/// Checks that both sides, if given, are at least −1.
pub fn window(argument: &str, value: Option<[i64; 2]>) -> Result<()> {
    const EXPECTED: &str = "two integers of at least -1, where -1 leaves a side open";
    let [left, right] = value.unwrap_or([-1, -1]);
    check(argument, left.min(right) >= -1, EXPECTED, format_args!("[{left}, {right}]"))
}

/// Returns an error about the value unless it `fits`.
pub fn number(argument: &str, value: impl Into<Decimal>, fits: bool, expected: &str) -> Result<()> {
    check(argument, fits, expected, value.into())
}

//! The ranges of options: each check names the argument, what it takes, and the value that it has.

use std::fmt::Display;

use crate::error::{Error, Result};
use crate::math::decimal::Decimal;

/// What a number of heads, features or keys is.
pub const COUNT: &str = "an integer of at least 1";

/// The largest integer up to which doubles hold every one; seeds stay within it, so that every language can name them.
pub const LARGEST_EXACT_INTEGER: u64 = (1 << 53) - 1;

#[inline(always)]
fn check(argument: &str, fits: bool, expected: &str, value: impl Display) -> Result<()> {
    if fits { Ok(()) } else { Err(refused(argument, expected, &value)) }
}

/// Out of line, as every call checks its options and hardly one is refused.
#[cold]
#[inline(never)]
fn refused(argument: &str, expected: &str, value: &dyn Display) -> Error {
    Error::value(argument, expected, value)
}

/// At least 1.
pub fn count(argument: &str, value: usize) -> Result<()> {
    check(argument, value > 0, COUNT, value)
}

/// At least 1 if given.
pub fn optional_count(argument: &str, value: Option<usize>) -> Result<()> {
    count(argument, value.unwrap_or(1))
}

/// A finite number if given.
pub fn finite(argument: &str, value: Option<f32>) -> Result<()> {
    let value = value.unwrap_or(0.0);
    check(argument, value.is_finite(), "a finite number", Decimal::from(value))
}

/// A finite number of at least 0.
pub fn non_negative(argument: &str, value: f32) -> Result<()> {
    check(argument, (0.0..f32::INFINITY).contains(&value), "a finite number of at least 0", Decimal::from(value))
}

/// From 0 to less than 1.
pub fn probability(argument: &str, value: f32) -> Result<()> {
    check(argument, (0.0..1.0).contains(&value), "a number of at least 0 and less than 1", Decimal::from(value))
}

/// From 0 to [`LARGEST_EXACT_INTEGER`].
pub fn seed(argument: &str, value: u64) -> Result<()> {
    check(argument, value <= LARGEST_EXACT_INTEGER, "an integer from 0 to 2^53 - 1", value)
}

/// An integer of 32 bits if given.
pub fn query_offset(argument: &str, value: Option<i64>) -> Result<()> {
    let value = value.unwrap_or(0);
    check(argument, i32::try_from(value).is_ok(), "an integer of 32 bits or an Int32Array", value)
}

/// Two sides of at least −1 if given.
pub fn window(argument: &str, value: Option<[i64; 2]>) -> Result<()> {
    const EXPECTED: &str = "two integers of at least -1, where -1 leaves a side open";
    let [left, right] = value.unwrap_or([-1, -1]);
    check(argument, left.min(right) >= -1, EXPECTED, format_args!("[{left}, {right}]"))
}

/// A number that `fits`.
pub fn number(argument: &str, value: impl Into<Decimal>, fits: bool, expected: &str) -> Result<()> {
    check(argument, fits, expected, value.into())
}

//! Reads seeds as signed integers, so that a negative seed is reported as out of range rather than as a parse error.

use serde::{Deserialize, Deserializer};

fn seed(given: i64) -> u64 {
    u64::try_from(given).unwrap_or(u64::MAX)
}

pub(crate) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    i64::deserialize(deserializer).map(seed)
}

pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Option::<i64>::deserialize(deserializer).map(|given| given.map(seed))
}

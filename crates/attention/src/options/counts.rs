//! Reads a count whose absence has a meaning of its own, so that an invalid one stays invalid.

/// A head size that is out of range; 0 stands for an absent one.
pub(crate) const INVALID_COUNT: usize = usize::MAX - 1;

#[cfg(feature = "serde")]
pub(crate) fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let count: usize = serde::Deserialize::deserialize(deserializer)?;
    Ok(if count == 0 { INVALID_COUNT } else { count })
}

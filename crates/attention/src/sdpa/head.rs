//! What `ScaledDotProductAttention` and `FlashAttention` are made with: checked when they are made, kept by lib/, and given
//! with each call again, since they own no memory here.

use crate::error::{Error, Result};
use crate::options::parse::{Given, read_options};
use crate::options::{COUNT, count, probability, score_scale, seed};

/// Checks `{ headDim, dropout, scale, seed }`.
pub(crate) fn check_scaled_dot_product(json: Option<&str>) -> Result<()> {
    check(json, &["headDim", "dropout", "scale", "seed"])
}

/// Checks `{ headDim, blockSize }`.
pub(crate) fn check_flash(json: Option<&str>) -> Result<()> {
    check(json, &["headDim", "blockSize"])
}

fn check(json: Option<&str>, names: &[&str]) -> Result<()> {
    let mut has_size = false;
    read_options(json, names, &[], &mut |given: &Given<'_>| match given.name {
        "dropout" => probability(given).map(drop),
        "scale" => score_scale(given).map(drop),
        "seed" => seed(given).map(drop),
        name => {
            has_size |= name == "headDim";
            count(given).map(drop)
        }
    })?;
    if has_size { Ok(()) } else { Err(Error::option("headDim", COUNT, "nothing")) }
}

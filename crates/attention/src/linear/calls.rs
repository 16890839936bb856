//! Linear attention as the bindings call it.

use crate::calls::Call;
use crate::error::Result;
use crate::linear::stream::Stream;
use crate::linear::{LinearAttention, LinearOptions};

/// The object is the attention; lengths are the first array of integers.
pub(crate) fn forward(call: &mut Call<'_>) -> Result<()> {
    let tensors = [call.tensor("q")?, call.tensor("k")?, call.tensor("v")?];
    let options = LinearOptions::parse(call.options)?;
    let (kv_lengths, output) = (call.integers(0), call.output());
    call.object::<LinearAttention>(0)?.forward(call.context, tensors, options, kv_lengths, output)
}

/// The object is the attention.
pub(crate) fn feature_map(call: &mut Call<'_>) -> Result<()> {
    let (x, output) = (call.tensor("x")?, call.output());
    call.object::<LinearAttention>(0)?.feature_map(call.context, x, output)
}

/// The objects are the attention and its stream.
pub(crate) fn step(call: &mut Call<'_>) -> Result<()> {
    let tensors = [call.tensor("q")?, call.tensor("k")?, call.tensor("v")?];
    let output = call.output();
    call.object::<Stream>(1)?.step(call.object(0)?, call.context, tensors, output)
}

/// The object is the stream.
pub(crate) fn reset(call: &mut Call<'_>) -> Result<()> {
    call.object::<Stream>(0)?.reset();
    Ok(())
}

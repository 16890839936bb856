//! Linear attention and its streams.

use std::sync::Arc;

use ruvector_attention::Result;
use ruvector_attention::layers::{Entry, LoadOptions};
use ruvector_attention::linear::stream::{Stream, StreamConfig};
use ruvector_attention::linear::{LinearAttention, LinearConfig, LinearOptions};

use crate::call::Call;
use crate::object::Object;
use crate::options::{Names, read, write};

pub(super) fn make(config: Option<&str>) -> Result<Arc<dyn Object>> {
    let config: LinearConfig = read(config, Names::default())?;
    Ok(Arc::new(LinearAttention::new(config)?))
}

/// Its projection follows from the configuration, so there are no entries.
impl Object for LinearAttention {
    fn config(&self) -> Result<String> {
        write(self.config())
    }
}

pub(super) fn make_stream(config: Option<&str>) -> Result<Arc<dyn Object>> {
    let config: StreamConfig = read(config, Names::default())?;
    Ok(Arc::new(Stream::new(config)?))
}

impl Object for Stream {
    fn config(&self) -> Result<String> {
        write(self.config())
    }

    fn visit_entries(&self, visit: &mut dyn FnMut(&[Entry<'_>]) -> Result<()>) -> Result<()> {
        self.visit_entries(visit)
    }

    fn with_entries(&self, entries: &[Entry<'_>], _options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.revived(entries)?))
    }
}

/// The object is the attention; lengths are the first array of integers.
pub(super) fn forward(call: &mut Call<'_>) -> Result<()> {
    let tensors = [call.tensor("q")?, call.tensor("k")?, call.tensor("v")?];
    let options: LinearOptions = read(call.options, Names { beside: &["kvLengths", "out"], without: &[] })?;
    let (kv_lengths, output) = (call.integers(0), call.output());
    call.object::<LinearAttention>(0)?.forward(call.context, tensors, options, kv_lengths, output)
}

/// The object is the attention.
pub(super) fn feature_map(call: &mut Call<'_>) -> Result<()> {
    let (x, output) = (call.tensor("x")?, call.output());
    call.object::<LinearAttention>(0)?.feature_map(call.context, x, output)
}

/// The objects are the attention and its stream.
pub(super) fn step(call: &mut Call<'_>) -> Result<()> {
    let tensors = [call.tensor("q")?, call.tensor("k")?, call.tensor("v")?];
    let output = call.output();
    call.object::<Stream>(1)?.step(call.object(0)?, call.context, tensors, output)
}

/// The object is the stream.
pub(super) fn reset(call: &mut Call<'_>) -> Result<()> {
    call.object::<Stream>(0)?.reset();
    Ok(())
}

//! Linear attention and its streams.

use std::sync::Arc;

use ruvector_attention::Result;
use ruvector_attention::layers::{Entry, LoadOptions, StoredEntry};
use ruvector_attention::linear::stream::{Stream, StreamConfig};
use ruvector_attention::linear::{LinearAttention, LinearConfig, LinearOptions, LinearOutputs, LinearTensors};

use crate::call::Call;
use crate::object::Object;
use crate::options::write;

pub(super) fn create(call: &mut Call<'_>) -> Result<()> {
    let config: LinearConfig = call.options(&[])?;
    call.keep(Arc::new(LinearAttention::new(config)?))
}

/// The configuration determines the projection, so there are no entries.
impl Object for LinearAttention {
    fn bytes(&self) -> usize {
        size_of_val(self.projection())
    }

    fn config(&self) -> Result<String> {
        write(self.config())
    }
}

pub(super) fn create_stream(call: &mut Call<'_>) -> Result<()> {
    let config: StreamConfig = call.options(&[])?;
    call.keep(Arc::new(Stream::new(config)?))
}

impl Object for Stream {
    /// The first step allocates the sums.
    fn can_grow(&self) -> bool {
        true
    }

    fn config(&self) -> Result<String> {
        write(self.config())
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn visit_stored(&self, visit: &mut dyn FnMut(&[StoredEntry<'_>]) -> Result<()>) -> Result<()> {
        self.visit_entries(&mut |entries| visit(&entries.iter().map(StoredEntry::from).collect::<Vec<_>>()))
    }

    fn with_entries(&self, entries: &[Entry<'_>], _options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.revived(entries)?))
    }
}

/// Runs linear attention; the object is the attention.
pub(super) fn forward(call: &mut Call<'_>) -> Result<()> {
    let mut tensors = LinearTensors::new([call.tensor()?, call.tensor()?, call.tensor()?]);
    tensors.kv_lengths = call.integers()?;
    let (options, outputs) = prepare(call, &mut tensors)?;
    call.object::<LinearAttention>(0)?.forward(call.context, tensors, options, outputs)
}

/// Takes gates, state and options, and requests memory for the results; the first object is the attention.
fn prepare<'a>(call: &mut Call<'a>, tensors: &mut LinearTensors<'a>) -> Result<(LinearOptions, LinearOutputs<'a>)> {
    tensors.decay = call.optional_tensor()?;
    tensors.beta = call.optional_tensor()?;
    tensors.state = call.optional_tensor()?;
    let options: LinearOptions = call.options(&[])?;
    let attention: &LinearAttention = call.object(0)?;
    let v = tensors.v.shape;
    let output = call.output_like(tensors.q.shape, attention.output_width(v))?;
    let state = call.output_if(options.return_state, &attention.state_shape(v))?;
    Ok((options, LinearOutputs { output, state }))
}

/// Computes the feature map; the object is the attention.
pub(super) fn feature_map(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor()?;
    let attention: &LinearAttention = call.object(0)?;
    let config = attention.config();
    let heads = if x.shape.rank() == 3 { config.num_heads } else { 1 };
    let output = call.output_like(x.shape, heads * attention.feature_dim())?;
    attention.feature_map(call.context, x, output)
}

/// Runs one step of a stream; the objects are the attention and its stream.
pub(super) fn step(call: &mut Call<'_>) -> Result<()> {
    let mut tensors = LinearTensors::new([call.tensor()?, call.tensor()?, call.tensor()?]);
    let (options, outputs) = prepare(call, &mut tensors)?;
    call.object::<Stream>(1)?.step(call.object(0)?, call.context, tensors, options, outputs)
}

/// Resets a stream, the object of the call.
pub(super) fn reset(call: &mut Call<'_>) -> Result<()> {
    call.object::<Stream>(0)?.reset();
    Ok(())
}

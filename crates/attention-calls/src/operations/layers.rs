//! Layers with parameters.

use std::sync::Arc;

use ruvector_attention::Result;
use ruvector_attention::layers::encoder::{EncoderConfig, TransformerEncoderLayer};
use ruvector_attention::layers::multi_head::{Inputs, MultiHeadAttention};
use ruvector_attention::layers::{Entry, LoadOptions};
use ruvector_attention::options::{AttentionConfig, LayerKind, LayerOptions};

use super::attention::ARRAY_OPTIONS;
use crate::call::Call;
use crate::object::Object;
use crate::options::{Names, read, write};

/// A layer of the kind `self`, `cross` or any other of attention.
pub(super) fn make_attention(kind: &str, config: Option<&str>) -> Result<Arc<dyn Object>> {
    let kind = match kind {
        "self" => LayerKind::SelfAttention,
        "cross" => LayerKind::CrossAttention,
        _ => LayerKind::MultiHead,
    };
    let config: AttentionConfig = read(config, Names::default())?;
    Ok(Arc::new(MultiHeadAttention::new(AttentionConfig { kind, ..config })?))
}

impl Object for MultiHeadAttention {
    fn config(&self) -> Result<String> {
        write(self.config())
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        self.state().entries()
    }

    fn with_entries(&self, entries: &[Entry<'_>], options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.loaded(entries, options)?))
    }
}

pub(super) fn multi_head_attention(call: &mut Call<'_>) -> Result<()> {
    let (query, key, value) = (call.tensor("q")?, call.optional_tensor("k")?, call.optional_tensor("v")?);
    let options = layer_options(call)?;
    let arrays = call.arrays()?;
    let (output, weights) = (call.output(), call.optional_output(1));
    let inputs = Inputs { query, key, value };
    let layer: &MultiHeadAttention = call.object(0)?;
    layer.forward(call.context, inputs, &options, arrays, call.training, output, weights)
}

pub(super) fn make_encoder(config: Option<&str>) -> Result<Arc<dyn Object>> {
    let config: EncoderConfig = read(config, Names::default())?;
    Ok(Arc::new(TransformerEncoderLayer::new(config)?))
}

impl Object for TransformerEncoderLayer {
    fn config(&self) -> Result<String> {
        write(self.config())
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        self.state().entries()
    }

    fn with_entries(&self, entries: &[Entry<'_>], options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.loaded(entries, options)?))
    }
}

pub(super) fn transformer_encoder_layer(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    let options = layer_options(call)?;
    let arrays = call.arrays()?;
    let (output, weights) = (call.output(), call.optional_output(1));
    let layer: &TransformerEncoderLayer = call.object(0)?;
    layer.forward(call.context, x, &options, arrays, call.training, output, weights)
}

fn layer_options(call: &Call<'_>) -> Result<LayerOptions> {
    read(call.options, Names { beside: ARRAY_OPTIONS, without: &[] })
}

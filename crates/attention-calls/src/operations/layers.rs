//! Layers with parameters.

use std::sync::Arc;

use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::rotary::RotaryArrays;
use ruvector_attention::layers::decoder::{DecoderConfig, DecoderLayer};
use ruvector_attention::layers::dense::{Embedding, Linear};
use ruvector_attention::layers::encoder::{EncoderConfig, TransformerEncoderLayer};
use ruvector_attention::layers::latent::{LatentAttention, LatentConfig};
use ruvector_attention::layers::multi_head::{Inputs, MultiHeadAttention};
use ruvector_attention::layers::transformer_decoder::{
    DecoderInputs, TransformerDecoderConfig, TransformerDecoderLayer,
};
use ruvector_attention::layers::{LoadOptions, StoredEntry, TypedEntry};
use ruvector_attention::options::{AttentionConfig, LayerKind, LayerOptions};
use ruvector_attention::tensor::Shape;
use ruvector_attention::{Code, Error, Result, Tensor};

use crate::call::Call;
use crate::object::Object;
use crate::options::write;

/// Implements [`Object`] for layers; the state of some holds their parameters.
macro_rules! objects {
    ($($layer:ident $($state:ident)?;)*) => {$(
        impl Object for $layer {
            fn config(&self) -> Result<String> {
                write(&self.config())
            }

            fn bytes(&self) -> usize {
                self$(.$state())?.bytes()
            }

            fn stored(&self) -> Vec<StoredEntry<'_>> {
                self$(.$state())?.entries()
            }

            #[cfg(feature = "training")]
            fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
                self.floats_mut()
            }

            fn with_typed(&self, entries: &[TypedEntry<'_>], options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
                Ok(Arc::new(self.loaded(entries, options)?))
            }
        }
    )*};
}

objects! {
    MultiHeadAttention state;
    TransformerEncoderLayer state;
    DecoderLayer;
    TransformerDecoderLayer;
    LatentAttention;
    Linear;
    Embedding;
}

pub(super) fn create_multi_head_attention(call: &mut Call<'_>) -> Result<()> {
    create_attention(call, LayerKind::MultiHead)
}

pub(super) fn create_self_attention(call: &mut Call<'_>) -> Result<()> {
    create_attention(call, LayerKind::SelfAttention)
}

pub(super) fn create_cross_attention(call: &mut Call<'_>) -> Result<()> {
    create_attention(call, LayerKind::CrossAttention)
}

fn create_attention(call: &mut Call<'_>, kind: LayerKind) -> Result<()> {
    let config: AttentionConfig = call.options(&[])?;
    call.keep(Arc::new(MultiHeadAttention::new(AttentionConfig { kind, ..config })?))
}

pub(super) fn multi_head_attention(call: &mut Call<'_>) -> Result<()> {
    let inputs = Inputs::new(call.tensor()?, call.optional_tensor()?, call.optional_tensor()?);
    let arrays = call.arrays()?;
    let (positions, frequencies) = (call.integer_tensor()?, call.doubles()?);
    let rotary = RotaryArrays { positions, frequencies: frequencies.as_deref() };
    let inputs = Inputs { rotary, cache: call.optional_object(1)?, ..inputs };
    let options: LayerOptions = call.options(&[])?;
    arrays.check_results(options.weights, options.average_weights)?;
    let layer: &MultiHeadAttention = call.object(0)?;
    let output = call.output_like(inputs.query.shape, layer.config().model_dim())?;
    let weights = weights(call, layer, inputs, &options, arrays)?;
    layer.forward(call.context, inputs, &options, arrays, call.training, output, weights)
}

/// Returns the number of heads, and of the keys that the layer adds to those of a call.
fn maps(config: &AttentionConfig) -> [usize; 2] {
    [config.num_heads, config.extra_keys()]
}

/// Allocates the attention weights, if requested.
fn weights<'a>(
    call: &mut Call<'a>,
    layer: &MultiHeadAttention,
    inputs: Inputs<'_>,
    options: &LayerOptions,
    arrays: Arrays<'_>,
) -> Result<Option<&'a mut [f32]>> {
    let keys = match options.weights || options.average_weights {
        true => layer.num_keys(inputs, options, arrays)?,
        false => 0,
    };
    weights_over(call, inputs.query, keys, options, maps(layer.config()))
}

/// Allocates the weights over `keys` keys, if requested.
fn weights_over<'a>(
    call: &mut Call<'a>,
    query: Tensor<'_>,
    keys: usize,
    options: &LayerOptions,
    [num_heads, extra_keys]: [usize; 2],
) -> Result<Option<&'a mut [f32]>> {
    let &[batch, length, _] = query.shape.dims() else {
        // The mechanism rejects other ranks.
        return call.absent().map(|()| None);
    };
    let keys = keys + extra_keys;
    if options.average_weights {
        return call.output(&[batch, length, keys]).map(Some);
    }
    call.output_if(options.weights, &[batch, num_heads, length, keys])
}

/// Only the rows of a single sequence can be computed in separate parts.
pub(super) fn divisible_attention(call: &mut Call<'_>) -> Result<u64> {
    let (query, key) = (call.shape()?, call.shape()?);
    if call.has_input("cuSeqlens")? {
        return Ok(0);
    }
    divisible(call, query, key, call.object::<MultiHeadAttention>(0)?.config().model_dim(), 0)
}

pub(super) fn divisible_encoder(call: &mut Call<'_>) -> Result<u64> {
    let (query, config) = (call.shape()?, call.object::<TransformerEncoderLayer>(0)?.config());
    if call.has_input("cuSeqlens")? {
        return Ok(0);
    }
    divisible(call, query, None, config.model_dim, config.feed_forward_dim)
}

fn divisible(
    call: &Call<'_>,
    query: Option<Shape>,
    key: Option<Shape>,
    model_dim: usize,
    feed_forward_dim: usize,
) -> Result<u64> {
    let options: LayerOptions = call.options(&[])?;
    let Some(query) = query.filter(|query| query.dims().first() == Some(&1)) else { return Ok(0) };
    if options.weights || options.average_weights {
        return Ok(0);
    }
    let keys = key.unwrap_or(query).dims().get(1).copied().unwrap_or(0);
    let (rows, columns) = query.rows_and_columns();
    Ok((4 * rows as u64)
        .saturating_mul(columns as u64)
        .saturating_mul(2 * model_dim as u64 + keys as u64 + feed_forward_dim as u64))
}

pub(super) fn create_encoder_layer(call: &mut Call<'_>) -> Result<()> {
    let config: EncoderConfig = call.options(&[])?;
    call.keep(Arc::new(if call.training {
        TransformerEncoderLayer::zeroed(config)?
    } else {
        TransformerEncoderLayer::new(config)?
    }))
}

pub(super) fn transformer_encoder_layer(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor()?;
    let arrays = call.arrays()?;
    let (positions, frequencies) = (call.integer_tensor()?, call.doubles()?);
    let rotary = RotaryArrays { positions, frequencies: frequencies.as_deref() };
    let options: LayerOptions = call.options(&[])?;
    arrays.check_results(options.weights, options.average_weights)?;
    let layer: &TransformerEncoderLayer = call.object(0)?;
    let output = call.output(x.shape.dims())?;
    let inputs = Inputs { rotary, cache: call.optional_object(1)?, ..x.into() };
    let weights = weights(call, layer.state().attention(), inputs, &options, arrays)?;
    layer.forward(call.context, inputs, &options, arrays, call.training, output, weights)
}

pub(super) fn create_decoder_layer(call: &mut Call<'_>) -> Result<()> {
    let config: DecoderConfig = call.options(&[])?;
    call.keep(Arc::new(if call.training { DecoderLayer::zeroed(config)? } else { DecoderLayer::new(config)? }))
}

pub(super) fn divisible_decoder(call: &mut Call<'_>) -> Result<u64> {
    let (query, config) = (call.shape()?, call.object::<DecoderLayer>(0)?.config());
    if call.has_input("cuSeqlens")? {
        return Ok(0);
    }
    divisible(call, query, None, config.model_dim, config.feed_forward_dim)
}

pub(super) fn decoder_layer(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor()?;
    let arrays = call.arrays()?;
    let (positions, frequencies) = (call.integer_tensor()?, call.doubles()?);
    let rotary = RotaryArrays { positions, frequencies: frequencies.as_deref() };
    let options: LayerOptions = call.options(&[])?;
    arrays.check_results(options.weights, options.average_weights)?;
    let layer: &DecoderLayer = call.object(0)?;
    let output = call.output(x.shape.dims())?;
    let inputs = Inputs { rotary, cache: call.optional_object(1)?, ..x.into() };
    let weights = weights(call, layer.attention(), inputs, &options, arrays)?;
    layer.forward(call.context, inputs, &options, arrays, call.training, output, weights)
}

pub(super) fn create_transformer_decoder_layer(call: &mut Call<'_>) -> Result<()> {
    let config: TransformerDecoderConfig = call.options(&[])?;
    call.keep(Arc::new(if call.training {
        TransformerDecoderLayer::zeroed(config)?
    } else {
        TransformerDecoderLayer::new(config)?
    }))
}

pub(super) fn transformer_decoder_layer(call: &mut Call<'_>) -> Result<()> {
    let (x, context) = (call.tensor()?, call.optional_tensor()?);
    let arrays = call.arrays()?;
    let context_lengths = call.integers()?;
    let (positions, frequencies) = (call.integer_tensor()?, call.doubles()?);
    let rotary = RotaryArrays { positions, frequencies: frequencies.as_deref() };
    let options: LayerOptions = call.options(&[])?;
    arrays.check_results(options.weights, options.average_weights)?;
    let layer: &TransformerDecoderLayer = call.object(0)?;
    let output = call.output(x.shape.dims())?;
    let own = Inputs { rotary, cache: call.object_of(1), ..x.into() };
    let weights = weights(call, &layer.attentions()[0], own, &options, arrays)?;
    let inputs = DecoderInputs { own, context, context_lengths, context_cache: call.object_of(2) };
    layer.forward(call.context, inputs, &options, arrays, call.training, output, weights)
}

pub(super) fn create_latent_attention(call: &mut Call<'_>) -> Result<()> {
    let config: LatentConfig = call.options(&[])?;
    call.keep(Arc::new(LatentAttention::new(config)?))
}

pub(super) fn latent_attention(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor()?;
    let arrays = call.arrays()?;
    let (positions, frequencies) = (call.integer_tensor()?, call.doubles()?);
    let rotary = RotaryArrays { positions, frequencies: frequencies.as_deref() };
    // Latent attention has no dropout.
    let options: LayerOptions = call.options(&["seed"])?;
    arrays.check_results(options.weights, options.average_weights)?;
    let layer: &LatentAttention = call.object(0)?;
    let output = call.output(x.shape.dims())?;
    let inputs = Inputs { rotary, cache: call.optional_object(1)?, ..x.into() };
    let keys = match options.weights || options.average_weights {
        true => layer.num_keys(inputs, &options, arrays)?,
        false => 0,
    };
    let weights = weights_over(call, x, keys, &options, [layer.config().num_heads, 0])?;
    layer.forward(call.context, inputs, &options, arrays, output, weights)
}

pub(super) fn create_linear(call: &mut Call<'_>) -> Result<()> {
    let config = call.options(&[])?;
    call.keep(Arc::new(if call.training { Linear::zeroed(config)? } else { Linear::new(config)? }))
}

pub(super) fn linear_layer(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor()?;
    let layer: &Linear = call.object(0)?;
    let output = call.output_like(x.shape, layer.config().out_features)?;
    layer.forward(call.context, x, output)
}

pub(super) fn create_embedding(call: &mut Call<'_>) -> Result<()> {
    let config = call.options(&[])?;
    call.keep(Arc::new(Embedding::new(config)?))
}

pub(super) fn embedding_layer(call: &mut Call<'_>) -> Result<()> {
    let Some((shape, ids)) = call.input()?.and_then(|given| Some((given.shape, given.array.i32()?))) else {
        return Err(Error::new(Code::Internal, "ids", "integers", "none"));
    };
    let layer: &Embedding = call.object(0)?;
    let mut dims = shape.dims().to_vec();
    dims.push(layer.config().embedding_dim);
    let output = call.output(Shape::new("ids", &dims)?.dims())?;
    layer.forward(call.context, ids, output)
}

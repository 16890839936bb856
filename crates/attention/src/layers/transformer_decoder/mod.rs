//! A layer of an encoder-decoder, like `torch.nn.TransformerDecoderLayer(batch_first=True)`: causal self-attention,
//! cross-attention to a context, and a feed-forward network.

mod config;

use std::borrow::Cow;

use crate::attention::Arrays;
use crate::attention::cache::KvCache;
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::layers::attention_state::AttentionState;
use crate::layers::cached::Cached;
use crate::layers::entries::{LoadOptions, StoredEntry, TypedEntry, dotted};
use crate::layers::feed_forward::FeedForward;
use crate::layers::multi_head::{Inputs, MultiHeadAttention, Plan};
use crate::layers::parameters::{Naming, Parameters, Part};
use crate::layers::sublayer::Sublayer;
use crate::math::linear::Finish;
use crate::math::random::{Dropout, Mt19937, RowDropout};
use crate::options::LayerOptions;
use crate::tensor::{Tensor, check_lengths, check_output, try_zeroed};

use config::NORMS;
pub use config::TransformerDecoderConfig;

/// A layer of an encoder-decoder: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct TransformerDecoderLayer {
    config: TransformerDecoderConfig,
    attentions: [MultiHeadAttention; 2],
    parameters: Parameters,
}

/// The prefixes of self- and cross-attention.
const ATTENTIONS: [&str; 2] = ["self_attn.", "multihead_attn."];

/// PyTorch's names; it has no gate.
const TORCH: Naming = Naming {
    names: &[&[
        ("linear1.weight", Part::Linear1Weight, Part::Linear1Weight),
        ("linear1.bias", Part::Linear1Bias, Part::Linear1Bias),
        ("linear2.weight", Part::Linear2Weight, Part::Linear2Weight),
        ("linear2.bias", Part::Linear2Bias, Part::Linear2Bias),
        ("linear_gate.weight", Part::GateWeight, Part::GateWeight),
        ("linear_gate.bias", Part::GateBias, Part::GateBias),
        ("norm1.weight", Part::Norm1Weight, Part::Norm1Weight),
        ("norm1.bias", Part::Norm1Bias, Part::Norm1Bias),
        ("norm2.weight", Part::Norm2Weight, Part::Norm2Weight),
        ("norm2.bias", Part::Norm2Bias, Part::Norm2Bias),
        ("norm3.weight", Part::Norm3Weight, Part::Norm3Weight),
        ("norm3.bias", Part::Norm3Bias, Part::Norm3Bias),
    ]],
    optional: &[],
    companions: &[],
};

/// Dropout streams other than those of the attention weights: after each sublayer, and after the activation.
const AFTER_SUBLAYERS: [u32; 3] = [0, 1, 2];
const AFTER_ACTIVATION: u32 = 3;

/// The inputs of a call.
#[derive(Clone, Copy)]
pub struct DecoderInputs<'a> {
    /// The input x `[B, L, modelDim]` of the self-attention, with its positions and its cache; no key or value.
    pub own: Inputs<'a>,
    /// `[B, S, kDim]`; only a filled `context_cache` makes it dispensable.
    pub context: Option<Tensor<'a>>,
    /// Valid rows of each batch entry's context, `[B]`.
    pub context_lengths: Option<&'a [i32]>,
    /// Receives the keys and values of the context in the first call; later calls only read it.
    pub context_cache: Option<&'a KvCache>,
}

impl TransformerDecoderLayer {
    /// Creates a layer with the parameters that `torch.nn.TransformerDecoderLayer` draws after
    /// `torch.manual_seed(seed)`.
    ///
    /// ```
    /// use ruvector_attention::layers::transformer_decoder::{TransformerDecoderConfig, TransformerDecoderLayer};
    ///
    /// let config = TransformerDecoderConfig { model_dim: 32, num_heads: 4, ..TransformerDecoderConfig::default() };
    /// assert!(TransformerDecoderLayer::new(config)?.entries().iter().any(|entry| entry.name == "norm3.bias"));
    /// # Ok::<(), ruvector_attention::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OPTION` if the configuration is invalid, `MEMORY` if an allocation fails.
    pub fn new(config: TransformerDecoderConfig) -> Result<Self> {
        let seed = config.seed;
        Self::init(config, Some(&mut Mt19937::new(seed)))
    }

    /// Creates a layer of zeros, for a state dict that replaces them at once: nothing is drawn.
    ///
    /// # Errors
    /// The same as [`Self::new`].
    pub fn zeroed(config: TransformerDecoderConfig) -> Result<Self> {
        Self::init(config, None)
    }

    fn init(config: TransformerDecoderConfig, mut generator: Option<&mut Mt19937>) -> Result<Self> {
        let config = config.resolved()?;
        let mut draw = |attention: &Option<_>| {
            let attention = attention.clone().unwrap_or_default();
            Ok(MultiHeadAttention::with_state(AttentionState::draw(&attention, generator.as_deref_mut())?))
        };
        let attentions = [draw(&config.attention)?, draw(&config.cross_attention)?];
        let parameters = Parameters::draw(config.table(), config.weight_type, &[], generator)?;
        Ok(Self { config, attentions, parameters })
    }

    /// Returns the configuration with every default filled in.
    pub fn config(&self) -> &TransformerDecoderConfig {
        &self.config
    }

    /// Returns the self-attention and the cross-attention.
    pub fn attentions(&self) -> &[MultiHeadAttention; 2] {
        &self.attentions
    }

    /// Returns names, shapes and elements of all parameters in the order of PyTorch's state dict.
    pub fn entries(&self) -> Vec<StoredEntry<'_>> {
        let mut entries = Vec::new();
        for (attention, prefix) in self.attentions.iter().zip(ATTENTIONS) {
            entries.extend(attention.state().entries().into_iter().map(|entry| {
                let name = Cow::Owned(format!("{prefix}{}", entry.name));
                StoredEntry { name, ..entry }
            }));
        }
        entries.extend(self.parameters.entries(&TORCH));
        entries
    }

    /// Returns the elements of each of [`Self::entries`] for changes in place, or `None` for those of another type than
    /// 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        let [own, context] = &mut self.attentions;
        let mut slices = own.floats_mut();
        slices.extend(context.floats_mut());
        slices.extend(self.parameters.floats_mut(&TORCH));
        slices
    }

    /// Returns the number of bytes of the parameters.
    pub fn bytes(&self) -> usize {
        self.attentions.iter().map(|attention| attention.state().bytes()).sum::<usize>() + self.parameters.bytes()
    }

    /// Returns a layer of the same configuration with the parameters of a state dict below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit.
    pub fn loaded<'a>(&self, entries: &[TypedEntry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<Self> {
        let options = options.into();
        let prefix = dotted(options.prefix);
        let load = |attention: &MultiHeadAttention, inner: &str| {
            let inner = format!("{prefix}{inner}");
            let options = LoadOptions { prefix: &inner, ..options };
            Ok(MultiHeadAttention::with_state(AttentionState::load(attention.config(), entries, options)?))
        };
        let [own, cross] = &self.attentions;
        let attentions = [load(own, ATTENTIONS[0])?, load(cross, ATTENTIONS[1])?];
        let others: Vec<TypedEntry<'_>> = entries.iter().filter(|entry| !is_below(entry, &prefix)).cloned().collect();
        let options = LoadOptions { prefix: &prefix, ..options };
        let parameters =
            Parameters::load((self.config.table(), self.config.weight_type), &TORCH, &others, options, "")?;
        Ok(Self { config: self.config.clone(), attentions, parameters })
    }

    /// Computes the output `[B, L, modelDim]` and, if requested, the weights of the self-attention: `[B, H, L, L]`, or
    /// `[B, L, L]` for their mean. Options and arrays are those of the self-attention, except that the keys of packed
    /// sequences are rows of the context. Dropout acts in training only.
    ///
    /// # Errors
    /// `SHAPE` if shapes or lengths do not fit, `OPTION` if an option is out of range, `MEMORY`.
    pub fn forward(
        &self,
        context: Context<'_>,
        inputs: DecoderInputs<'_>,
        options: &LayerOptions,
        arrays: Arrays<'_>,
        training: bool,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let [own, cross] = &self.attentions;
        let DecoderInputs { own: inputs, context: source, context_lengths, context_cache } = inputs;
        let x = inputs.query;
        let size = self.config.model_dim;
        let batch = match *x.shape.dims() {
            [batch, _, last] if last == size => batch,
            _ => return Err(Error::shape("x", format_args!("[B, L, {size}]"), x.shape)),
        };
        self.check_context(source, batch, context_lengths, context_cache)?;
        // The keys of packed sequences are those of the context.
        let own_arrays = Arrays { cu_seqlens_keys: None, ..arrays };
        let cached = own.place(inputs, options, own_arrays)?;
        let plan = own.plan(inputs, options, own_arrays, training, weights.as_deref(), cached.as_ref())?;
        let crossing = Inputs { cache: context_cache, ..Inputs::new(x, source, None) };
        let positions = cached.as_ref().map(Cached::first_positions);
        let lengths = Arrays {
            kv_lengths: context_lengths,
            query_offset: positions.as_deref(),
            cu_seqlens: arrays.cu_seqlens,
            cu_seqlens_keys: arrays.cu_seqlens_keys,
            ..Arrays::default()
        };
        let cross_options = LayerOptions { seed: options.seed, ..LayerOptions::default() };
        let crossed = cross.place(crossing, &cross_options, lengths).map_err(of_context)?;
        let cross_plan =
            cross.plan(crossing, &cross_options, lengths, training, None, crossed.as_ref()).map_err(of_context)?;
        check_output("out", output, x.data.len())?;
        let seed = options.seed.unwrap_or(self.config.seed);
        let dropout = training.then(|| Dropout::new(self.config.dropout, seed)).flatten();
        self.run(context, x, source, [plan, cross_plan], dropout, output, weights)
    }

    /// Checks the context and its lengths.
    fn check_context(
        &self,
        source: Option<Tensor<'_>>,
        batch: usize,
        lengths: Option<&[i32]>,
        cache: Option<&KvCache>,
    ) -> Result<()> {
        let depth = self.attentions[1].config().k_dim();
        let expected = format_args!("[{batch}, S, {depth}]");
        let Some(source) = source else {
            return match cache {
                Some(cache) if cache.length() > 0 => Ok(()),
                _ => Err(Error::shape("context", expected, "nothing, without a filled context_cache")),
            };
        };
        match *source.shape.dims() {
            [entries, keys, last] if entries == batch && last == depth => {
                check_lengths("context_lengths", lengths, batch, keys, "keys")
            }
            _ => Err(Error::shape("context", expected, source.shape)),
        }
    }

    /// Runs a checked call.
    fn run(
        &self,
        context: Context<'_>,
        x: Tensor<'_>,
        source: Option<Tensor<'_>>,
        plans: [Plan<'_>; 2],
        dropout: Option<Dropout>,
        output: &mut [f32],
        mut weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let (size, length) = (self.config.model_dim, x.shape.dims()[1]);
        let (context, cu_seqlens) = (Context { is_packed: plans[0].is_packed(), ..context }, plans[0].row_offsets());
        let dropout = |stream| dropout.map(|dropout| RowDropout { dropout, stream, length, cu_seqlens });
        let feed_forward =
            FeedForward::new(&self.parameters, [size, self.config.feed_forward_dim], self.config.activation);
        let [own, cross] = &self.attentions;
        let attending = own.operations(&plans[0], weights.is_some()).saturating_add(cross.operations(&plans[1], false));
        let rest = feed_forward.operations(x.data.len() / size).saturating_add(operations([3, x.data.len(), 8]));
        context.announce_work(attending.saturating_add(rest));
        let [first, second, third] = NORMS.map(|norm| self.sublayer(norm));
        let [plan, cross_plan] = plans;

        let mut attended = try_zeroed("working memory", x.data.len())?;
        let mut plan = Some(plan);
        first.run(context, [x.data, x.data], size, &mut attended, &mut |input, finish, output| {
            let Some(plan) = plan.take() else { return Ok(()) };
            let query = Tensor { data: input, shape: x.shape };
            let finish = Finish { dropout: dropout(AFTER_SUBLAYERS[0]), ..finish };
            own.run(context, query.into(), plan, finish, output, weights.take())
        })?;
        let mut crossed = try_zeroed("working memory", x.data.len())?;
        let mut plan = Some(cross_plan);
        second.run(context, [&attended, &attended], size, &mut crossed, &mut |input, finish, output| {
            let Some(plan) = plan.take() else { return Ok(()) };
            let inputs = Inputs::new(Tensor { data: input, shape: x.shape }, source, None);
            let finish = Finish { dropout: dropout(AFTER_SUBLAYERS[1]), ..finish };
            cross.run(context, inputs, plan, finish, output, None)
        })?;
        third.run(context, [&crossed, &crossed], size, output, &mut |input, finish, output| {
            let finish = Finish { dropout: dropout(AFTER_SUBLAYERS[2]), ..finish };
            feed_forward.run(context, input, dropout(AFTER_ACTIVATION), finish, output)
        })
    }

    /// Returns the norm around a sublayer.
    fn sublayer(&self, norm: [Part; 2]) -> Sublayer<'_> {
        let norm = self.config.norms().find(&self.parameters, norm);
        match self.config.norm_first {
            true => Sublayer { before: norm, ..Sublayer::default() },
            false => Sublayer { after: norm, ..Sublayer::default() },
        }
    }
}

/// Returns true if an entry belongs to one of the attentions.
fn is_below(entry: &TypedEntry<'_>, prefix: &str) -> bool {
    let name = entry.name.strip_prefix(prefix);
    name.is_some_and(|name| ATTENTIONS.iter().any(|attention| name.starts_with(attention)))
}

/// Returns an error of the cross-attention with the names of this layer's options.
#[cold]
fn of_context(error: Error) -> Error {
    let name = match &*error.argument {
        "kv_lengths" => "context_lengths",
        "k" => "context",
        "cache" => "context_cache",
        _ => return error,
    };
    Error::new(error.code, name, &error.expected, &error.actual)
}

//! A decoder-only layer: causal self-attention and a feed-forward network, each added to its input, with the norms of
//! Llama, Gemma, OLMo 2 or GPT.

mod config;

use std::borrow::Cow;

use crate::attention::Arrays;
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::layers::attention_state::AttentionState;
use crate::layers::entries::{LoadOptions, StoredEntry, TypedEntry, dotted};
use crate::layers::feed_forward::FeedForward;
use crate::layers::multi_head::{Inputs, MultiHeadAttention, Plan};
use crate::layers::parameters::{Naming, Parameters, Part};
use crate::layers::sublayer::{Sublayer, zero_others};
use crate::math::random::Mt19937;
use crate::options::LayerOptions;
use crate::tensor::{Tensor, check_output, try_zeroed};

pub use config::{DecoderConfig, NormPlacement};

/// A decoder layer: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct DecoderLayer {
    config: DecoderConfig,
    attention: MultiHeadAttention,
    parameters: Parameters,
}

/// The prefix of the attention's parameters.
const ATTENTION: &str = "self_attn.";

/// The names of Llama's layers, and of their relatives with more norms.
const LLAMA: Naming = Naming {
    names: &[&[
        ("mlp.gate_proj.weight", Part::GateWeight, Part::GateWeight),
        ("mlp.gate_proj.bias", Part::GateBias, Part::GateBias),
        ("mlp.up_proj.weight", Part::Linear1Weight, Part::Linear1Weight),
        ("mlp.up_proj.bias", Part::Linear1Bias, Part::Linear1Bias),
        ("mlp.down_proj.weight", Part::Linear2Weight, Part::Linear2Weight),
        ("mlp.down_proj.bias", Part::Linear2Bias, Part::Linear2Bias),
        ("input_layernorm.weight", Part::Norm1Weight, Part::Norm1Weight),
        ("input_layernorm.bias", Part::Norm1Bias, Part::Norm1Bias),
        ("post_attention_layernorm.weight", Part::Norm2Weight, Part::Norm2Weight),
        ("post_attention_layernorm.bias", Part::Norm2Bias, Part::Norm2Bias),
        ("pre_feedforward_layernorm.weight", Part::Norm3Weight, Part::Norm3Weight),
        ("pre_feedforward_layernorm.bias", Part::Norm3Bias, Part::Norm3Bias),
        ("post_feedforward_layernorm.weight", Part::Norm4Weight, Part::Norm4Weight),
        ("post_feedforward_layernorm.bias", Part::Norm4Bias, Part::Norm4Bias),
    ]],
    optional: &[],
    companions: &[],
};

impl DecoderLayer {
    /// Creates a layer whose projections are initialized as by `torch.nn.Linear`, from a seed.
    ///
    /// ```
    /// use ruvector_attention::layers::decoder::{DecoderConfig, DecoderLayer};
    ///
    /// let config = DecoderConfig { model_dim: 32, num_heads: 4, feed_forward_dim: 64, ..DecoderConfig::default() };
    /// let layer = DecoderLayer::new(config)?;
    /// assert!(layer.entries().iter().any(|entry| entry.name == "mlp.gate_proj.weight"));
    /// # Ok::<(), ruvector_attention::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OPTION` if the configuration is invalid, `MEMORY` if an allocation fails.
    pub fn new(config: DecoderConfig) -> Result<Self> {
        let seed = config.seed;
        Self::init(config, Some(&mut Mt19937::new(seed)))
    }

    /// Creates a layer of zeros, for a state dict that replaces them at once: nothing is drawn.
    ///
    /// # Errors
    /// The same as [`Self::new`].
    pub fn zeroed(config: DecoderConfig) -> Result<Self> {
        Self::init(config, None)
    }

    fn init(config: DecoderConfig, mut generator: Option<&mut Mt19937>) -> Result<Self> {
        let config = config.resolved()?;
        let attention = config.attention.clone().unwrap_or_default();
        let attention = MultiHeadAttention::with_state(AttentionState::draw(&attention, generator.as_deref_mut())?);
        let parameters = Parameters::draw(config.table(), config.weight_type, &[], generator)?;
        Ok(Self { config, attention, parameters })
    }

    /// Returns the configuration with every default filled in.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns the attention.
    pub fn attention(&self) -> &MultiHeadAttention {
        &self.attention
    }

    /// Returns names, shapes and elements of all parameters, with the names of Llama's layers and their relatives.
    pub fn entries(&self) -> Vec<StoredEntry<'_>> {
        let mut entries = self.attention.state().llama_entries();
        for entry in &mut entries {
            entry.name = Cow::Owned(format!("{ATTENTION}{}", entry.name));
        }
        entries.extend(self.parameters.entries(&LLAMA));
        entries
    }

    /// Returns the elements of each of [`Self::entries`] for changes in place, or `None` for those of another type than
    /// 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        let mut slices = self.attention.llama_floats_mut();
        slices.extend(self.parameters.floats_mut(&LLAMA));
        slices
    }

    /// Returns the number of bytes of the parameters.
    pub fn bytes(&self) -> usize {
        self.attention.state().bytes() + self.parameters.bytes()
    }

    /// Returns a layer of the same configuration with the parameters of a state dict below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit.
    pub fn loaded<'a>(&self, entries: &[TypedEntry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<Self> {
        let options = options.into();
        let prefix = dotted(options.prefix);
        let inner = format!("{prefix}{ATTENTION}");
        let attention =
            AttentionState::load(self.attention.config(), entries, LoadOptions { prefix: &inner, ..options })?;
        let options = LoadOptions { prefix: &prefix, ..options };
        let table = (self.config.table(), self.config.weight_type);
        let parameters = Parameters::load(table, &LLAMA, entries, options, ATTENTION)?;
        Ok(Self { config: self.config.clone(), attention: MultiHeadAttention::with_state(attention), parameters })
    }

    /// Computes the output `[B, L, modelDim]` of an input x with the same shape and, if requested, the weights: `[B, H,
    /// L, L]`, or `[B, L, L]` for their mean.
    ///
    /// # Errors
    /// `SHAPE` if shapes or lengths do not fit, `OPTION` if an option is out of range, `MEMORY`.
    pub fn forward<'a>(
        &self,
        context: Context<'_>,
        inputs: impl Into<Inputs<'a>>,
        options: &LayerOptions,
        arrays: Arrays<'_>,
        training: bool,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let size = self.config.model_dim;
        let inputs = inputs.into();
        let x = inputs.query;
        if !matches!(*x.shape.dims(), [_, _, last] if last == size) {
            return Err(Error::shape("x", format_args!("[B, L, {size}]"), x.shape));
        }
        let cached = self.attention.place(inputs, options, arrays)?;
        let plan = self.attention.plan(inputs, options, arrays, training, weights.as_deref(), cached.as_ref())?;
        check_output("out", output, x.data.len())?;
        let Some(partition) = self.attention.partition(context, &plan, weights.is_some()) else { return Ok(()) };
        self.run(context.with_partition(partition), x, plan, output, weights)?;
        zero_others(context.with_partition(partition), output, size);
        Ok(())
    }

    /// Runs a checked call.
    fn run(
        &self,
        context: Context<'_>,
        x: Tensor<'_>,
        plan: Plan<'_>,
        output: &mut [f32],
        mut weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let size = self.config.model_dim;
        let context = Context { is_packed: plan.is_packed(), ..context };
        let sizes = [size, self.config.feed_forward_dim];
        let feed_forward = FeedForward::new(&self.parameters, sizes, self.config.activation());
        let rest = feed_forward.operations(x.data.len() / size).saturating_add(operations([4, x.data.len(), 8]));
        context.announce_work(self.attention.operations(&plan, weights.is_some()).saturating_add(rest));
        let [first, second] = self.sublayers();
        let mut attended = try_zeroed("working memory", x.data.len())?;
        let mut plan = Some(plan);
        first.run(context, [x.data, x.data], size, &mut attended, &mut |input, finish, output| {
            let Some(plan) = plan.take() else { return Ok(()) };
            let query = Tensor { data: input, shape: x.shape };
            self.attention.run(context, query.into(), plan, finish, output, weights.take())
        })?;
        let input = if self.config.parallel { x.data } else { &attended };
        second.run(context, [input, &attended], size, output, &mut |input, finish, output| {
            feed_forward.run(context, input, None, finish, output)
        })
    }

    /// Returns the norms around attention and feed-forward network.
    fn sublayers(&self) -> [Sublayer<'_>; 2] {
        let norm = |place: Option<[Part; 2]>| self.config.norms().find(&self.parameters, place?);
        let [before, inner] = self.config.places().map(|places| places.map(norm));
        [0, 1].map(|index| Sublayer { before: before[index], inner: inner[index], after: None })
    }
}

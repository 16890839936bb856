//! An encoder layer like `torch.nn.TransformerEncoderLayer(batch_first=True)`: self-attention, then a feed-forward
//! network, each added to its input, with a norm after each sum or before each sublayer.

mod config;
mod state;

use crate::attention::Arrays;
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::layers::entries::{LoadOptions, TypedEntry};
use crate::layers::feed_forward::FeedForward;
use crate::layers::multi_head::{Inputs, Plan};
use crate::layers::sublayer::{Sublayer, zero_others};
use crate::math::linear::Finish;
use crate::math::random::{Dropout, Mt19937, RowDropout};
use crate::options::LayerOptions;
use crate::tensor::{Tensor, check_output, try_zeroed};

pub use crate::layers::parameters::Part;
pub use config::EncoderConfig;
use config::NORMS;
pub use state::EncoderState;

/// An encoder layer: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct TransformerEncoderLayer {
    state: EncoderState,
}

/// Dropout streams other than that of the attention weights: after the attention, after the activation, and after the
/// feed-forward network.
const AFTER_ATTENTION: u32 = 0;
const AFTER_ACTIVATION: u32 = 1;
const AFTER_FEED_FORWARD: u32 = 2;

impl TransformerEncoderLayer {
    /// Creates a layer with the parameters that `torch.nn.TransformerEncoderLayer` draws after
    /// `torch.manual_seed(seed)`.
    ///
    /// ```
    /// use ruvector_attention::layers::encoder::{EncoderConfig, TransformerEncoderLayer};
    ///
    /// let config = EncoderConfig { model_dim: 32, num_heads: 4, norm_first: true, ..EncoderConfig::default() };
    /// let layer = TransformerEncoderLayer::new(config)?;
    /// assert_eq!(layer.config().feed_forward_dim, 2048);
    /// # Ok::<(), ruvector_attention::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OPTION` if the configuration is invalid, `MEMORY` if an allocation fails.
    pub fn new(config: EncoderConfig) -> Result<Self> {
        let config = config.resolved()?;
        Ok(Self { state: EncoderState::init(&config, Some(&mut Mt19937::new(config.seed)))? })
    }

    /// Creates a layer of zeros, for a state dict that replaces them at once: nothing is drawn.
    ///
    /// # Errors
    /// The same as [`Self::new`].
    pub fn zeroed(config: EncoderConfig) -> Result<Self> {
        Ok(Self { state: EncoderState::init(&config.resolved()?, None)? })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &EncoderConfig {
        self.state.config()
    }

    /// Returns the parameters with their names and shapes.
    pub fn state(&self) -> &EncoderState {
        &self.state
    }

    /// Returns the elements of each of the entries of [`Self::state`] for changes in place, or `None` for
    /// those of another type than 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.state.floats_mut()
    }

    /// Loads the parameters from a state dict, by the names of PyTorch or of a BERT layer below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit; the layer is then unchanged.
    pub fn load<'a>(&mut self, entries: &[TypedEntry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<()> {
        *self = self.loaded(entries, options)?;
        Ok(())
    }

    /// Returns a layer of the same configuration with the parameters of a state dict, under the rules of
    /// [`Self::load`].
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit.
    pub fn loaded<'a>(&self, entries: &[TypedEntry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<Self> {
        Ok(Self { state: EncoderState::load(self.config(), entries, options.into())? })
    }

    /// Computes the output `[B, L, modelDim]` of an input x with the same shape and, if requested, the weights: `[B, H,
    /// L, L]`, or `[B, L, L]` for their mean. Dropout acts in training only. The inputs have neither key nor value.
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
        let (state, config) = (&self.state, self.config());
        let size = config.model_dim;
        let inputs = inputs.into();
        let x = inputs.query;
        if !matches!(*x.shape.dims(), [_, _, last] if last == size) {
            return Err(Error::shape("x", format_args!("[B, L, {size}]"), x.shape));
        }
        let cached = state.attention().place(inputs, options, arrays)?;
        let plan = state.attention().plan(inputs, options, arrays, training, weights.as_deref(), cached.as_ref())?;
        check_output("out", output, x.data.len())?;
        let Some(partition) = state.attention().partition(context, &plan, weights.is_some()) else { return Ok(()) };
        self.run(context.with_partition(partition), x, options, plan, training, output, weights)?;
        zero_others(context.with_partition(partition), output, size);
        Ok(())
    }

    /// Runs a checked call.
    fn run(
        &self,
        context: Context<'_>,
        x: Tensor<'_>,
        options: &LayerOptions,
        plan: Plan<'_>,
        training: bool,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let (state, config) = (&self.state, self.config());
        let size = config.model_dim;
        let length = x.shape.dims()[1];
        let cu_seqlens = plan.row_offsets();
        let context = Context { is_packed: plan.is_packed(), ..context };
        let seed = options.seed.unwrap_or(config.seed);
        let dropout = training.then(|| Dropout::new(config.dropout, seed)).flatten();
        let dropout = |stream| dropout.map(|dropout| RowDropout { dropout, stream, length, cu_seqlens });
        let feed_forward = FeedForward::new(state.rest(), [size, config.feed_forward_dim], config.activation);
        let rest = feed_forward.operations(x.data.len() / size).saturating_add(operations([2, x.data.len(), 8]));
        context.announce_work(state.attention().operations(&plan, weights.is_some()).saturating_add(rest));

        let [first, second] = self.sublayers();
        let mut attended = try_zeroed("working memory", x.data.len())?;
        let (mut plan, mut weights) = (Some(plan), weights);
        first.run(context, [x.data; 2], size, &mut attended, &mut |input, finish, output| {
            let Some(plan) = plan.take() else { return Ok(()) };
            let query = Tensor { data: input, shape: x.shape };
            let finish = Finish { dropout: dropout(AFTER_ATTENTION), ..finish };
            state.attention().run(context, query.into(), plan, finish, output, weights.take())
        })?;
        second.run(context, [&attended; 2], size, output, &mut |input, finish, output| {
            let finish = Finish { dropout: dropout(AFTER_FEED_FORWARD), ..finish };
            feed_forward.run(context, input, dropout(AFTER_ACTIVATION), finish, output)
        })
    }

    /// Returns the norms around attention and feed-forward network.
    fn sublayers(&self) -> [Sublayer<'_>; 2] {
        let config = self.config();
        NORMS.map(|parts| {
            let norm = config.norms().find(self.state.rest(), parts);
            let (before, after) = if config.norm_first { (norm, None) } else { (None, norm) };
            Sublayer { before, inner: None, after }
        })
    }
}

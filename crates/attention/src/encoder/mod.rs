//! An encoder layer as `torch.nn.TransformerEncoderLayer(batch_first=True)`: self attention, then a feed-forward network, each
//! added to its input, with a layer norm after each sum or before each part.

mod config;
mod state;

use std::sync::Arc;

use crate::calls::Object;
use crate::error::{Error, Result};
use crate::math::linear::{Finish, project_and};
use crate::math::norm::Norm;
use crate::math::random::{Dropout, RowDropout};
use crate::multi_head::{Inputs, Plan};
use crate::options::LayerOptions;
use crate::sdpa::Arrays;
use crate::tensor::{Tensor, check_output, try_zeroed};
use crate::threads::{Context, expect, operations};
use crate::weights::Entry;

pub use config::EncoderConfig;
pub use state::{EncoderState, Part};

/// An encoder layer: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct TransformerEncoderLayer {
    state: EncoderState,
}

/// What training drops from, beside the attention weights: the outputs of the attention, of the activation and of the
/// feed-forward network.
const AFTER_ATTENTION: u32 = 0;
const AFTER_ACTIVATION: u32 = 1;
const AFTER_FEED_FORWARD: u32 = 2;

impl TransformerEncoderLayer {
    /// A layer from its configuration, a JSON object, with the parameters that its seed draws.
    ///
    /// # Errors
    /// `OPTION` for a configuration that does not fit, `MEMORY`.
    pub fn new(config: &str) -> Result<Self> {
        Ok(Self { state: EncoderState::init(&EncoderConfig::parse(config)?)? })
    }

    /// The configuration with every default filled in.
    pub fn config(&self) -> &EncoderConfig {
        self.state.config()
    }

    /// Names, shapes and elements of the parameters.
    pub fn state(&self) -> &EncoderState {
        &self.state
    }

    /// Takes the parameters of a state dict, under PyTorch's names or a BERT layer's below `prefix`.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit; nothing is changed then.
    pub fn load(&mut self, entries: &[Entry<'_>], prefix: &str) -> Result<()> {
        self.state = EncoderState::load(self.config(), entries, prefix)?;
        Ok(())
    }

    /// x and output `[B, L, modelDim]`; weights `[B, H, L, L]`, or `[B, L, L]` where the options ask for their mean.
    /// Dropout acts in training only.
    ///
    /// # Errors
    /// `SHAPE` where shapes or lengths do not fit, `OPTION` where an option's value does not, `MEMORY`.
    pub fn forward(
        &self,
        context: Context,
        x: Tensor<'_>,
        options: &LayerOptions,
        arrays: Arrays<'_>,
        training: bool,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let (state, config) = (&self.state, self.config());
        let size = config.model_dim;
        if !matches!(*x.shape.dims(), [_, _, last] if last == size) {
            return Err(Error::shape("x", format_args!("[B, L, {size}]"), x.shape));
        }
        let inputs = Inputs { query: x, key: None, value: None };
        let plan = state.attention().plan(inputs, options, arrays, training, weights.as_deref())?;
        check_output("out", output, x.data.len())?;
        let Some(share) = state.attention().share(context, &plan, weights.is_some()) else { return Ok(()) };
        share.run(|| self.run(context, x, options, plan, training, output, weights))?;
        // Norms go over all rows: what is another part's has to be nothing here.
        for (block, rows) in output.chunks_mut(context.level.block_rows() * size.max(1)).enumerate() {
            if !share.owns(block) {
                rows.fill(0.0);
            }
        }
        Ok(())
    }

    /// A call that was checked.
    fn run(
        &self,
        context: Context,
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
        let seed = options.seed.unwrap_or(config.seed);
        let dropout = training.then(|| Dropout::new(config.dropout, seed)).flatten();
        let dropout = |stream| dropout.map(|dropout| RowDropout { dropout, stream, length });
        let norm = |weight, bias| Norm {
            centred: true,
            weight: Some(state.part(weight)),
            bias: Some(state.part(bias)),
            epsilon: config.epsilon,
        };
        let first = norm(Part::Norm1Weight, Part::Norm1Bias);
        let second = norm(Part::Norm2Weight, Part::Norm2Bias);

        let (rows, width) = (x.data.len() / size, config.feed_forward_dim);
        let norms = operations([2, x.data.len(), 8]);
        let feed_forward = operations([4, rows, size, width]).saturating_add(norms);
        expect(state.attention().operations(&plan, weights.is_some()).saturating_add(feed_forward));

        let mut attended = try_zeroed("working memory", x.data.len())?;
        let finish = Finish { dropout: dropout(AFTER_ATTENTION), residual: Some(x.data), ..Finish::default() };
        if config.norm_first {
            // Until the sum is there, the output is room for the normalised input.
            output.copy_from_slice(x.data);
            first.apply(context, output, size);
            let query = Tensor { data: output, shape: x.shape };
            let inputs = Inputs { query, key: None, value: None };
            state.attention().run(context, inputs, plan, finish, &mut attended, weights)?;
            output.copy_from_slice(&attended);
            second.apply(context, output, size);
        } else {
            let inputs = Inputs { query: x, key: None, value: None };
            state.attention().run(context, inputs, plan, finish, &mut attended, weights)?;
            first.apply(context, &mut attended, size);
        }
        let normalised: &[f32] = if config.norm_first { output } else { &attended };

        let mut hidden = try_zeroed("working memory", rows * width)?;
        let [weight, bias] = [Part::Linear1Weight, Part::Linear1Bias].map(|part| state.part(part));
        let finish = Finish { activation: Some(config.activation), dropout: dropout(AFTER_ACTIVATION), residual: None };
        project_and(context, normalised, rows, size, weight, width, Some(bias), finish, &mut hidden)?;
        let [weight, bias] = [Part::Linear2Weight, Part::Linear2Bias].map(|part| state.part(part));
        let finish = Finish { activation: None, dropout: dropout(AFTER_FEED_FORWARD), residual: Some(&attended) };
        project_and(context, &hidden, rows, width, weight, size, Some(bias), finish, output)?;
        if !config.norm_first {
            second.apply(context, output, size);
        }
        Ok(())
    }
}

impl Object for TransformerEncoderLayer {
    fn config(&self) -> String {
        self.config().to_json()
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        self.state.entries()
    }

    fn with_entries(&self, entries: &[Entry<'_>], prefix: &str) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(Self { state: EncoderState::load(self.config(), entries, prefix)? }))
    }
}

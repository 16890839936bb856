//! The parameters of an encoder layer: PyTorch's initialization, and the names of PyTorch and BERT.

use std::borrow::Cow;

use crate::error::Result;
use crate::layers::attention_state::AttentionState;
use crate::layers::encoder::EncoderConfig;
use crate::layers::entries::{LoadOptions, StoredEntry, TypedEntry, below, dotted};
use crate::layers::multi_head::MultiHeadAttention;
use crate::layers::parameters::{Naming, Parameters, Part};
use crate::math::random::Mt19937;

use Part::{
    GateBias, GateWeight, Linear1Bias, Linear1Weight, Linear2Bias, Linear2Weight, Norm1Bias, Norm1Weight, Norm2Bias,
    Norm2Weight,
};

/// All parameters of the layer: those of the attention and the rest.
#[derive(Debug, Clone)]
pub struct EncoderState {
    config: EncoderConfig,
    attention: MultiHeadAttention,
    rest: Parameters,
}

/// The names of a family of checkpoints, and its prefix of the attention.
struct Family {
    attention: &'static str,
    naming: Naming,
}

/// `torch.nn.TransformerEncoderLayer`, and a gate that it lacks.
const TORCH: Family = Family {
    attention: "self_attn.",
    naming: Naming {
        names: &[&[
            ("linear1.weight", Linear1Weight, Linear1Weight),
            ("linear1.bias", Linear1Bias, Linear1Bias),
            ("linear_gate.weight", GateWeight, GateWeight),
            ("linear_gate.bias", GateBias, GateBias),
            ("linear2.weight", Linear2Weight, Linear2Weight),
            ("linear2.bias", Linear2Bias, Linear2Bias),
            ("norm1.weight", Norm1Weight, Norm1Weight),
            ("norm1.bias", Norm1Bias, Norm1Bias),
            ("norm2.weight", Norm2Weight, Norm2Weight),
            ("norm2.bias", Norm2Bias, Norm2Bias),
        ]],
        optional: &[],
        companions: &[],
    },
};

/// BERT's `encoder.layer.N`; older checkpoints name the norms' parameters gamma and beta.
const BERT: Family = Family {
    attention: "attention.",
    naming: Naming {
        names: &[&[
            ("intermediate.dense.weight", Linear1Weight, Linear1Weight),
            ("intermediate.dense.bias", Linear1Bias, Linear1Bias),
            ("output.dense.weight", Linear2Weight, Linear2Weight),
            ("output.dense.bias", Linear2Bias, Linear2Bias),
            ("attention.output.LayerNorm.weight", Norm1Weight, Norm1Weight),
            ("attention.output.LayerNorm.bias", Norm1Bias, Norm1Bias),
            ("output.LayerNorm.weight", Norm2Weight, Norm2Weight),
            ("output.LayerNorm.bias", Norm2Bias, Norm2Bias),
            ("attention.output.LayerNorm.gamma", Norm1Weight, Norm1Weight),
            ("attention.output.LayerNorm.beta", Norm1Bias, Norm1Bias),
            ("output.LayerNorm.gamma", Norm2Weight, Norm2Weight),
            ("output.LayerNorm.beta", Norm2Bias, Norm2Bias),
        ]],
        optional: &[],
        companions: &[],
    },
};

impl EncoderState {
    /// Draws the parameters that `torch.nn.TransformerEncoderLayer` draws after `torch.manual_seed(seed)`, bit for bit.
    /// Without a generator they are zeros.
    pub(crate) fn init(config: &EncoderConfig, mut generator: Option<&mut Mt19937>) -> Result<Self> {
        let attention = AttentionState::draw(&config.resolved_attention()?, generator.as_deref_mut())?;
        let rest = Parameters::draw(config.table(), config.weight_type, &[], generator)?;
        Ok(Self { config: config.clone(), attention: MultiHeadAttention::with_state(attention), rest })
    }

    /// Loads the parameters from the entries below a prefix, by the names of PyTorch or of a BERT layer.
    ///
    /// Missing, extra and wrongly shaped entries are errors, and so is a mixture of naming schemes. Entries outside the
    /// prefix are ignored.
    pub(crate) fn load(config: &EncoderConfig, entries: &[TypedEntry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let prefix = dotted(options.prefix);
        let is_bert = below(entries, &prefix).iter().any(|(name, _)| name.starts_with(BERT.attention));
        let Family { attention, naming } = if is_bert { &BERT } else { &TORCH };
        let inner = format!("{prefix}{attention}");
        let state =
            AttentionState::load(&config.resolved_attention()?, entries, LoadOptions { prefix: &inner, ..options })?;
        let options = LoadOptions { prefix: &prefix, ..options };
        // Names under the attention's prefix are checked there.
        let rest = Parameters::load((config.table(), config.weight_type), naming, entries, options, attention)?;
        Ok(Self { config: config.clone(), attention: MultiHeadAttention::with_state(state), rest })
    }

    /// Returns names, shapes and elements in the order of PyTorch's state dict.
    pub fn entries(&self) -> Vec<StoredEntry<'_>> {
        let mut entries = self.attention.state().entries();
        for entry in &mut entries {
            entry.name = Cow::Owned(format!("{}{}", TORCH.attention, entry.name));
        }
        entries.extend(self.rest.entries(&TORCH.naming));
        entries
    }

    /// Returns the elements of each of [`Self::entries`] for changes in place, or `None` for those of another type than
    /// 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        let mut slices = self.attention.floats_mut();
        slices.extend(self.rest.floats_mut(&TORCH.naming));
        slices
    }

    /// Returns the number of bytes.
    pub fn bytes(&self) -> usize {
        self.attention.state().bytes() + self.rest.bytes()
    }

    /// Returns the configuration that determines the shapes.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Returns the self-attention.
    pub fn attention(&self) -> &MultiHeadAttention {
        &self.attention
    }

    /// Returns the parameters outside the attention.
    pub(super) fn rest(&self) -> &Parameters {
        &self.rest
    }

    /// Returns a parameter outside the attention, or `None` if the layer has none of its kind in 32 bits.
    pub fn part(&self, part: Part) -> Option<&[f32]> {
        self.rest.get(part)
    }
}

//! The parameters of an encoder layer: PyTorch's initialization, and the names of PyTorch and BERT.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::Result;
use crate::layers::attention_state::AttentionState;
use crate::layers::encoder::EncoderConfig;
use crate::layers::entries::{Entry, LoadOptions, below, dotted, fault, unknown};
use crate::layers::multi_head::MultiHeadAttention;
use crate::math::random::Mt19937;
use crate::tensor::{Shape, try_zeroed};

/// All parameters of the layer: those of the attention and the rest.
#[derive(Debug, Clone)]
pub struct EncoderState {
    config: EncoderConfig,
    attention: MultiHeadAttention,
    /// All other parameters, in the order of [`PARTS`].
    rest: Vec<f32>,
}

/// A parameter outside the attention; projection weights are `[out, in]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Part {
    Linear1Weight,
    Linear1Bias,
    Linear2Weight,
    Linear2Bias,
    Norm1Weight,
    Norm1Bias,
    Norm2Weight,
    Norm2Bias,
}

use Part::{Linear1Bias, Linear1Weight, Linear2Bias, Linear2Weight, Norm1Bias, Norm1Weight, Norm2Bias, Norm2Weight};

/// Every part, in the order of PyTorch's state dict.
const PARTS: [Part; 8] =
    [Linear1Weight, Linear1Bias, Linear2Weight, Linear2Bias, Norm1Weight, Norm1Bias, Norm2Weight, Norm2Bias];

/// Parameter names in one family of checkpoints; a part may have several names.
struct Naming {
    attention: &'static str,
    names: &'static [(&'static str, Part)],
}

/// `torch.nn.TransformerEncoderLayer`.
const TORCH: Naming = Naming {
    attention: "self_attn.",
    names: &[
        ("linear1.weight", Linear1Weight),
        ("linear1.bias", Linear1Bias),
        ("linear2.weight", Linear2Weight),
        ("linear2.bias", Linear2Bias),
        ("norm1.weight", Norm1Weight),
        ("norm1.bias", Norm1Bias),
        ("norm2.weight", Norm2Weight),
        ("norm2.bias", Norm2Bias),
    ],
};

/// BERT's `encoder.layer.N`; older checkpoints name the norms' parameters gamma and beta.
const BERT: Naming = Naming {
    attention: "attention.",
    names: &[
        ("intermediate.dense.weight", Linear1Weight),
        ("intermediate.dense.bias", Linear1Bias),
        ("output.dense.weight", Linear2Weight),
        ("output.dense.bias", Linear2Bias),
        ("attention.output.LayerNorm.weight", Norm1Weight),
        ("attention.output.LayerNorm.bias", Norm1Bias),
        ("output.LayerNorm.weight", Norm2Weight),
        ("output.LayerNorm.bias", Norm2Bias),
        ("attention.output.LayerNorm.gamma", Norm1Weight),
        ("attention.output.LayerNorm.beta", Norm1Bias),
        ("output.LayerNorm.gamma", Norm2Weight),
        ("output.LayerNorm.beta", Norm2Bias),
    ],
};

impl Part {
    /// Returns rows and columns of a weight, or the length of a vector.
    fn shape(self, config: &EncoderConfig) -> Shape {
        let (model, inner) = (config.model_dim, config.feed_forward_dim);
        match self {
            Linear1Weight => Shape::of([inner, model]),
            Linear1Bias => Shape::of([inner]),
            Linear2Weight => Shape::of([model, inner]),
            Linear2Bias | Norm1Weight | Norm1Bias | Norm2Weight | Norm2Bias => Shape::of([model]),
        }
    }

    /// Returns the part's range in the vector of parameters outside the attention.
    fn range(self, config: &EncoderConfig) -> Range<usize> {
        let mut range = 0..0;
        for part in &PARTS[..=self as usize] {
            let (rows, columns) = part.shape(config).rows_and_columns();
            range = range.end..range.end + rows * columns;
        }
        range
    }
}

impl EncoderState {
    /// Draws the parameters that `torch.nn.TransformerEncoderLayer` draws after `torch.manual_seed(seed)`, bit for bit.
    pub(crate) fn init(config: &EncoderConfig) -> Result<Self> {
        let mut generator = Mt19937::new(config.seed);
        let attention = AttentionState::draw(&config.attention().resolved()?, &mut generator)?;
        let mut state = Self::zeroed(config, attention)?;
        let (model, inner) = (config.model_dim, config.feed_forward_dim);
        for (weight, bias, inputs) in [(Linear1Weight, Linear1Bias, model), (Linear2Weight, Linear2Bias, inner)] {
            generator.fill_linear_weight(inputs, state.part_mut(weight));
            generator.fill_linear_bias(inputs, state.part_mut(bias));
        }
        state.part_mut(Norm1Weight).fill(1.0);
        state.part_mut(Norm2Weight).fill(1.0);
        Ok(state)
    }

    /// Loads the parameters from the entries below a prefix, by the names of PyTorch or of a BERT layer.
    ///
    /// Missing, extra and wrongly shaped entries are errors, and so is a mixture of naming schemes. Entries outside the
    /// prefix are ignored.
    pub(crate) fn load(config: &EncoderConfig, entries: &[Entry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let prefix = dotted(options.prefix);
        let own = below(entries, &prefix);
        let naming = if own.iter().any(|(name, _)| name.starts_with(BERT.attention)) { &BERT } else { &TORCH };
        let attention = format!("{prefix}{}", naming.attention);
        let options = LoadOptions { prefix: &attention, ..options };
        let attention = AttentionState::load(&config.attention().resolved()?, entries, options)?;
        let mut state = Self::zeroed(config, attention)?;
        let mut found = Vec::new();
        for (name, entry) in own {
            let Some(&(_, part)) = naming.names.iter().find(|(known, _)| *known == name) else {
                if name.starts_with(naming.attention) || !options.strict {
                    continue;
                }
                let known: Vec<&str> = naming.names.iter().map(|(known, _)| *known).collect();
                return Err(unknown(entry, &known));
            };
            if found.contains(&part) {
                return Err(fault(&entry.name, "one entry of a name", "two"));
            }
            entry.check_shape(part.shape(config))?;
            found.push(part);
            state.part_mut(part).copy_from_slice(entry.data);
        }
        match naming.names.iter().find(|(_, part)| !found.contains(part)) {
            Some((name, part)) => {
                let expected = format_args!("an entry of shape {}", part.shape(config));
                Err(fault(format_args!("{prefix}{name}"), expected, "no such entry"))
            }
            None => Ok(state),
        }
    }

    /// Returns names, shapes and elements in the order of PyTorch's state dict.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries = self.attention.state().entries();
        for entry in &mut entries {
            entry.name = Cow::Owned(format!("{}{}", TORCH.attention, entry.name));
        }
        entries.extend(TORCH.names.iter().map(|&(name, part)| Entry {
            name: Cow::Borrowed(name),
            shape: part.shape(&self.config).dims().to_vec(),
            data: self.part(part),
        }));
        entries
    }

    /// Returns the configuration that determines the shapes.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Returns the self-attention.
    pub fn attention(&self) -> &MultiHeadAttention {
        &self.attention
    }

    /// Returns a parameter outside the attention.
    pub fn part(&self, part: Part) -> &[f32] {
        &self.rest[part.range(&self.config)]
    }

    fn part_mut(&mut self, part: Part) -> &mut [f32] {
        &mut self.rest[part.range(&self.config)]
    }

    fn zeroed(config: &EncoderConfig, attention: AttentionState) -> Result<Self> {
        let rest = try_zeroed("parameters", Norm2Bias.range(config).end)?;
        Ok(Self { config: config.clone(), attention: MultiHeadAttention::with_state(attention), rest })
    }
}

//! The configuration of an encoder layer.

use crate::error::{Error, Result};
use crate::math::activation::Activation;
use crate::options::{AttentionConfig, LayerKind, MOST_ELEMENTS};
use crate::ranges;

/// The configuration of an encoder layer, with PyTorch's defaults. `model_dim` and `num_heads` are required.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct EncoderConfig {
    /// The size of input and output rows.
    pub model_dim: usize,
    /// The number of attention heads, a divisor of `model_dim`.
    pub num_heads: usize,
    /// The hidden size of the feed-forward network; 2048 by default.
    pub feed_forward_dim: usize,
    /// The activation in the feed-forward network; ReLU by default.
    pub activation: Activation,
    /// If true, each sublayer normalizes its input; otherwise the sum of its input and output is normalized.
    pub norm_first: bool,
    /// Added to the variance by the norms, less than 1; 10⁻⁵ by default.
    pub epsilon: f32,
    /// The probability of dropping a value in training, less than 1; 0.1 by default.
    pub dropout: f32,
    /// The seed of the initial parameters and of dropout; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            model_dim: 0,
            num_heads: 0,
            feed_forward_dim: 2048,
            activation: Activation::Relu,
            norm_first: false,
            epsilon: 1e-5,
            dropout: 0.1,
            seed: 0,
        }
    }
}

impl EncoderConfig {
    /// Checks that every value is in range and fits the others.
    ///
    /// # Errors
    /// `OPTION` if one does not.
    pub fn check(&self) -> Result<()> {
        let &Self { model_dim, num_heads, feed_forward_dim, .. } = self;
        ranges::count("feed_forward_dim", feed_forward_dim)?;
        ranges::probability("epsilon", self.epsilon)?;
        ranges::probability("dropout", self.dropout)?;
        ranges::seed("seed", self.seed)?;
        ranges::count("model_dim", model_dim)?;
        ranges::count("num_heads", num_heads)?;
        if !model_dim.is_multiple_of(num_heads) {
            return Err(Error::value("num_heads", format_args!("a divisor of model_dim {model_dim}"), num_heads));
        }
        // All parameters outside the attention are stored in one vector.
        let fits = |width: usize| {
            let elements = width.checked_mul(2 * model_dim.min(MOST_ELEMENTS));
            elements.is_some_and(|elements| elements <= MOST_ELEMENTS)
        };
        for (name, width, value) in [
            ("model_dim", model_dim.saturating_mul(3), model_dim),
            ("feed_forward_dim", feed_forward_dim.saturating_add(5), feed_forward_dim),
        ] {
            if !fits(width) {
                return Err(Error::value(name, format_args!("projections of at most {MOST_ELEMENTS} elements"), value));
            }
        }
        Ok(())
    }

    /// Returns the configuration of the self-attention.
    pub(crate) fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            kind: LayerKind::SelfAttention,
            num_heads: self.num_heads,
            head_dim: self.model_dim / self.num_heads,
            dropout: Some(self.dropout),
            seed: Some(self.seed),
            ..AttentionConfig::default()
        }
    }
}

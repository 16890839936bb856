//! The configuration of an encoder layer.

use crate::error::{Error, Result, alternatives};
use crate::math::activation::Activation;
use crate::options::{AttentionConfig, LayerKind, MOST_ELEMENTS};
use crate::ranges;

/// The configuration of an encoder layer; the defaults are PyTorch's. `model_dim` and `num_heads` have to be given.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct EncoderConfig {
    /// The size of input and output.
    pub model_dim: usize,
    /// Attention heads, a divisor of `model_dim`.
    pub num_heads: usize,
    /// The size between the two projections of the feed-forward network; 2048 by default.
    pub feed_forward_dim: usize,
    /// The activation between them: ReLU, the default, or GELU.
    pub activation: Activation,
    /// Whether each part normalizes its input, rather than the sum of input and output.
    pub norm_first: bool,
    /// Added to the variance by the norms, less than 1; 10⁻⁵ by default.
    pub epsilon: f32,
    /// The probability with which training drops a value, less than 1; 0.1 by default.
    pub dropout: f32,
    /// The parameters are drawn from it, and so is what training drops; less than 2⁵³.
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
    /// Checks that every value is in range and that all fit each other.
    ///
    /// # Errors
    /// `OPTION` for a value that does not fit.
    pub fn check(&self) -> Result<()> {
        let &Self { model_dim, num_heads, feed_forward_dim, .. } = self;
        ranges::count("feedForwardDim", feed_forward_dim)?;
        ranges::probability("epsilon", self.epsilon)?;
        ranges::probability("dropout", self.dropout)?;
        ranges::seed("seed", self.seed)?;
        if !matches!(self.activation, Activation::Relu | Activation::Gelu) {
            return Err(Error::option("activation", alternatives(&["relu", "gelu"]), self.activation.name()));
        }
        ranges::count("modelDim", model_dim)?;
        ranges::count("numHeads", num_heads)?;
        if !model_dim.is_multiple_of(num_heads) {
            return Err(Error::value("numHeads", format_args!("a divisor of modelDim {model_dim}"), num_heads));
        }
        // All parameters beside the attention's are in one vector.
        let fits = |width: usize| {
            let elements = width.checked_mul(2 * model_dim.min(MOST_ELEMENTS));
            elements.is_some_and(|elements| elements <= MOST_ELEMENTS)
        };
        for (name, width, value) in [
            ("modelDim", model_dim.saturating_mul(3), model_dim),
            ("feedForwardDim", feed_forward_dim.saturating_add(5), feed_forward_dim),
        ] {
            if !fits(width) {
                return Err(Error::value(name, format_args!("projections of at most {MOST_ELEMENTS} elements"), value));
            }
        }
        Ok(())
    }

    /// The configuration of the self attention.
    pub(crate) fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            kind: LayerKind::SelfAttention,
            num_heads: self.num_heads,
            head_dim: self.model_dim / self.num_heads,
            dropout: self.dropout,
            seed: self.seed,
            ..AttentionConfig::default()
        }
    }
}

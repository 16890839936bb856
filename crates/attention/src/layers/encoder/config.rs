//! The configuration of an encoder layer.

use crate::error::{Error, Result};
use crate::layers::feed_forward;
use crate::layers::parameters::{Parameter, Part};
use crate::layers::sublayer::NormSettings;
use crate::math::activation::Activation;
use crate::math::norm::NormKind;
use crate::math::weight::WeightType;
use crate::options::{AttentionConfig, LayerKind};
use crate::ranges;
use crate::sizes::MOST_ELEMENTS;

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
    /// The number of attention heads, a divisor of `model_dim` unless the attention's settings give the size of a head.
    pub num_heads: usize,
    /// The hidden size of the feed-forward network; 2048 by default.
    pub feed_forward_dim: usize,
    /// The activation in the feed-forward network; ReLU by default.
    pub activation: Activation,
    /// Multiplies the activation by a second projection; false by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub gated: bool,
    /// Adds biases to projections and layer norms; true by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Clone::clone"))]
    pub use_bias: bool,
    /// The norms; layer norms by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "NormKind::is_layer"))]
    pub norm: NormKind,
    /// If true, each sublayer normalizes its input; otherwise the sum of its input and output is normalized.
    pub norm_first: bool,
    /// If false, the attention has no norm, as in ModernBERT's first layer; true by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Clone::clone"))]
    pub attention_norm: bool,
    /// Added to the variance by the norms, less than 1; 10⁻⁵ by default.
    pub epsilon: f32,
    /// The probability of dropping a value in training, less than 1; 0.1 by default.
    pub dropout: f32,
    /// The seed of the initial parameters and of dropout; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
    /// The type of the projections' matrices; 32-bit floats by default. Biases and norms always have 32 bits.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "WeightType::is_f32"))]
    pub weight_type: WeightType,
    /// Further settings of the attention.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub attention: Option<AttentionConfig>,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            model_dim: 0,
            num_heads: 0,
            feed_forward_dim: 2048,
            activation: Activation::Relu,
            gated: false,
            use_bias: true,
            norm: NormKind::Layer,
            norm_first: false,
            attention_norm: true,
            epsilon: 1e-5,
            dropout: 0.1,
            seed: 0,
            weight_type: WeightType::F32,
            attention: None,
        }
    }
}

/// Weight and bias of the norms of attention and feed-forward network.
pub(super) const NORMS: [[Part; 2]; 2] = [[Part::Norm1Weight, Part::Norm1Bias], [Part::Norm2Weight, Part::Norm2Bias]];

impl EncoderConfig {
    /// Returns the configuration with the defaults of the attention's settings, if there are any, filled in.
    ///
    /// # Errors
    /// `OPTION` if a value is out of range or does not fit the others.
    pub fn resolved(mut self) -> Result<Self> {
        self.check()?;
        if self.attention.is_some() {
            self.attention = Some(self.resolved_attention()?);
        }
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        let &Self { model_dim, num_heads, feed_forward_dim, .. } = self;
        ranges::count("feed_forward_dim", feed_forward_dim)?;
        ranges::probability("epsilon", self.epsilon)?;
        ranges::probability("dropout", self.dropout)?;
        ranges::seed("seed", self.seed)?;
        ranges::count("model_dim", model_dim)?;
        ranges::count("num_heads", num_heads)?;
        let has_own_size = self.attention.as_ref().is_some_and(|attention| attention.head_dim > 0);
        if !has_own_size && !model_dim.is_multiple_of(num_heads) {
            return Err(Error::value("num_heads", format_args!("a divisor of model_dim {model_dim}"), num_heads));
        }
        // All parameters outside the attention are stored in one vector.
        let matrices = if self.gated { 3 } else { 2 };
        let fits = |width: usize| {
            let elements = width.checked_mul(matrices * model_dim.min(MOST_ELEMENTS));
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

    /// Returns the configuration of the self-attention: its own settings, and the layer's for all others.
    pub(super) fn resolved_attention(&self) -> Result<AttentionConfig> {
        let layer = AttentionConfig {
            kind: LayerKind::SelfAttention,
            num_heads: self.num_heads,
            model_dim: Some(self.model_dim),
            use_bias: Some(self.use_bias.into()),
            dropout: Some(self.dropout),
            seed: Some(self.seed),
            weight_type: self.weight_type.given(),
            ..AttentionConfig::default()
        };
        layer.with_settings("attention", self.attention.as_ref())
    }

    /// Returns what the norms share.
    pub(super) fn norms(&self) -> NormSettings {
        let has_bias = self.use_bias && self.norm.is_layer();
        NormSettings { kind: self.norm, epsilon: self.epsilon, weight_offset: 0.0, has_bias }
    }

    /// Returns the parameters outside the attention.
    pub(super) fn table(&self) -> Vec<Parameter> {
        let feed_forward = feed_forward::table([self.model_dim, self.feed_forward_dim], self.gated, self.use_bias);
        let norms = if self.attention_norm { &NORMS[..] } else { &NORMS[1..] };
        feed_forward.chain(self.norms().table(self.model_dim, norms)).collect()
    }
}

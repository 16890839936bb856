//! The configuration of a layer of an encoder-decoder.

use crate::error::Result;
use crate::layers::feed_forward;
use crate::layers::parameters::{Parameter, Part};
use crate::layers::sublayer::NormSettings;
use crate::math::activation::Activation;
use crate::math::norm::NormKind;
use crate::math::weight::WeightType;
use crate::options::{AttentionConfig, LayerKind};
use crate::ranges;

/// The configuration of a layer with cross-attention, with PyTorch's defaults. `model_dim` and `num_heads` are
/// required.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct TransformerDecoderConfig {
    /// The size of input and output rows.
    pub model_dim: usize,
    /// The number of heads of both attentions.
    pub num_heads: usize,
    /// The hidden size of the feed-forward network; 2048 by default.
    pub feed_forward_dim: usize,
    /// The activation in the feed-forward network; ReLU by default.
    pub activation: Activation,
    /// Multiplies the activation by a second projection; false by default.
    pub gated: bool,
    /// Adds biases to projections and layer norms; true by default.
    pub use_bias: bool,
    /// The norms; layer norms by default.
    pub norm: NormKind,
    /// If true, each sublayer normalizes its input; otherwise the sum of its input and output is normalized.
    pub norm_first: bool,
    /// If false, the self-attention has no norm; true by default.
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
    /// Further settings of the self-attention, which is causal by default.
    pub attention: Option<AttentionConfig>,
    /// Further settings of the cross-attention.
    pub cross_attention: Option<AttentionConfig>,
}

impl Default for TransformerDecoderConfig {
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
            cross_attention: None,
        }
    }
}

impl TransformerDecoderConfig {
    /// Returns the configuration with every default filled in.
    ///
    /// # Errors
    /// `OPTION` if a value is out of range or does not fit the others.
    pub fn resolved(mut self) -> Result<Self> {
        ranges::count("model_dim", self.model_dim)?;
        ranges::count("num_heads", self.num_heads)?;
        ranges::count("feed_forward_dim", self.feed_forward_dim)?;
        ranges::probability("epsilon", self.epsilon)?;
        ranges::probability("dropout", self.dropout)?;
        ranges::seed("seed", self.seed)?;
        feed_forward::check([self.model_dim, self.feed_forward_dim])?;
        let layer = |kind, causal| AttentionConfig {
            kind,
            num_heads: self.num_heads,
            model_dim: Some(self.model_dim),
            use_bias: Some(self.use_bias.into()),
            dropout: Some(self.dropout),
            seed: Some(self.seed),
            causal: Some(causal),
            weight_type: self.weight_type.given(),
            ..AttentionConfig::default()
        };
        let attention = layer(LayerKind::SelfAttention, true).with_settings("attention", self.attention.as_ref())?;
        let cross = layer(LayerKind::CrossAttention, false);
        self.cross_attention = Some(cross.with_settings("cross_attention", self.cross_attention.as_ref())?);
        self.attention = Some(attention);
        Ok(self)
    }

    /// Returns the settings of the norms.
    pub(crate) fn norms(&self) -> NormSettings {
        NormSettings {
            kind: self.norm,
            epsilon: self.epsilon,
            weight_offset: 0.0,
            has_bias: self.use_bias && self.norm == NormKind::Layer,
        }
    }

    /// Returns the parameters outside the attentions.
    pub(crate) fn table(&self) -> Vec<Parameter> {
        let sizes = [self.model_dim, self.feed_forward_dim];
        let mut table: Vec<Parameter> = feed_forward::table(sizes, self.gated, self.use_bias).collect();
        let norms = if self.attention_norm { &NORMS[..] } else { &NORMS[1..] };
        table.extend(self.norms().table(self.model_dim, norms));
        table
    }
}

/// Weight and bias of the norms of self-attention, cross-attention and feed-forward network.
pub(crate) const NORMS: [[Part; 2]; 3] =
    [[Part::Norm1Weight, Part::Norm1Bias], [Part::Norm2Weight, Part::Norm2Bias], [Part::Norm3Weight, Part::Norm3Bias]];

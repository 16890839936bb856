//! The configuration of a decoder layer.

use crate::error::Result;
use crate::layers::feed_forward;
use crate::layers::parameters::{Parameter, Part};
use crate::layers::sublayer::NormSettings;
use crate::math::activation::Activation;
use crate::math::norm::NormKind;
use crate::math::weight::WeightType;
use crate::options::{AttentionConfig, LayerKind};
use crate::ranges;

/// The places of the norms around a sublayer f of a decoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum NormPlacement {
    /// `x + f(norm(x))`: Llama, GPT-2.
    #[default]
    Pre,
    /// `x + norm(f(norm(x)))`: Gemma 2 and 3.
    Sandwich,
    /// `x + norm(f(x))`: OLMo 2.
    Post,
}

/// The configuration of a decoder layer. `model_dim`, `num_heads` and `feed_forward_dim` are required. Defaults are
/// Llama's, or with layer norms GPT-2's.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct DecoderConfig {
    /// The size of input and output rows.
    pub model_dim: usize,
    /// The number of attention heads.
    pub num_heads: usize,
    /// Key/value heads, a divisor of `num_heads`; `num_heads` by default.
    pub kv_heads: Option<usize>,
    /// The size of a head; `model_dim / num_heads` by default.
    pub head_dim: Option<usize>,
    /// The hidden size of the feed-forward network.
    pub feed_forward_dim: usize,
    /// The norms; root-mean-square norms by default.
    pub norm: Option<NormKind>,
    /// Added to the variance by the norms, less than 1; by default 10⁻⁶, and 10⁻⁵ for layer norms.
    pub epsilon: Option<f32>,
    /// Added to the weights of the norms; 0 by default. Gemma stores its weights less 1.
    pub weight_offset: f32,
    /// The places of the norms.
    pub norm_placement: NormPlacement,
    /// If true, the feed-forward network takes the layer's input instead of the attention's sum, as in GPT-NeoX.
    pub parallel: bool,
    /// The activation in the feed-forward network; by default SiLU, and GELU by tanh with layer norms.
    pub activation: Option<Activation>,
    /// Multiplies the activation by a second projection; by default with root-mean-square norms alone.
    pub gated: Option<bool>,
    /// Adds biases to projections and layer norms; by default with layer norms alone.
    pub use_bias: Option<bool>,
    /// The type of the projections' matrices; 32-bit floats by default. Biases and norms always have 32 bits.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "WeightType::is_f32"))]
    pub weight_type: WeightType,
    /// Further settings of the attention, which is causal by default.
    pub attention: Option<AttentionConfig>,
    /// The seed of the initial parameters, less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl DecoderConfig {
    /// Returns the kind of the norms.
    pub fn norm(&self) -> NormKind {
        self.norm.unwrap_or(NormKind::Rms)
    }

    /// Returns the activation in the feed-forward network.
    pub fn activation(&self) -> Activation {
        self.activation.unwrap_or(if self.has_layer_norms() { Activation::GeluTanh } else { Activation::Silu })
    }

    /// Returns true if the feed-forward network is gated.
    pub fn gated(&self) -> bool {
        self.gated.unwrap_or(!self.has_layer_norms())
    }

    /// Returns true if projections and layer norms have biases.
    pub fn use_bias(&self) -> bool {
        self.use_bias.unwrap_or(self.has_layer_norms())
    }

    fn has_layer_norms(&self) -> bool {
        self.norm() == NormKind::Layer
    }

    /// Returns the configuration with every default filled in.
    ///
    /// # Errors
    /// `OPTION` if a value is out of range or does not fit the others.
    pub fn resolved(mut self) -> Result<Self> {
        ranges::count("model_dim", self.model_dim)?;
        ranges::count("num_heads", self.num_heads)?;
        ranges::count("feed_forward_dim", self.feed_forward_dim)?;
        ranges::optional_count("kv_heads", self.kv_heads)?;
        ranges::optional_count("head_dim", self.head_dim)?;
        ranges::finite("weight_offset", Some(self.weight_offset))?;
        ranges::seed("seed", self.seed)?;
        self.norm = Some(self.norm());
        let epsilon = self.epsilon.unwrap_or(if self.has_layer_norms() { 1e-5 } else { 1e-6 });
        ranges::probability("epsilon", epsilon)?;
        self.epsilon = Some(epsilon);
        self.activation = Some(self.activation());
        self.gated = Some(self.gated());
        self.use_bias = Some(self.use_bias());
        feed_forward::check([self.model_dim, self.feed_forward_dim])?;
        let attention = self.resolved_attention()?;
        self.kv_heads = attention.kv_heads;
        self.head_dim = Some(attention.head_dim);
        self.attention = Some(attention);
        Ok(self)
    }

    /// Returns the attention's own settings, with everything else from the layer's.
    fn resolved_attention(&self) -> Result<AttentionConfig> {
        let layer = AttentionConfig {
            kind: LayerKind::SelfAttention,
            num_heads: self.num_heads,
            head_dim: self.head_dim.unwrap_or(0),
            model_dim: Some(self.model_dim),
            kv_heads: self.kv_heads,
            use_bias: Some(self.use_bias().into()),
            seed: Some(self.seed),
            causal: Some(true),
            weight_type: self.weight_type.given(),
            ..AttentionConfig::default()
        };
        layer.with_settings("attention", self.attention.as_ref())
    }

    /// Returns the settings of the norms of a resolved configuration.
    pub(crate) fn norms(&self) -> NormSettings {
        NormSettings {
            kind: self.norm(),
            epsilon: self.epsilon.unwrap_or_default(),
            weight_offset: self.weight_offset,
            has_bias: self.use_bias() && self.has_layer_norms(),
        }
    }

    /// Returns the norms around attention and feed-forward network: those before, then those on the output.
    pub(crate) fn places(&self) -> [[Option<[Part; 2]>; 2]; 2] {
        let [input, attention, before, after] = NORMS.map(Some);
        match self.norm_placement {
            NormPlacement::Pre => [[input, attention], [None, None]],
            NormPlacement::Sandwich => [[input, before], [attention, after]],
            NormPlacement::Post => [[None, None], [attention, after]],
        }
    }

    /// Returns the parameters outside the attention.
    pub(crate) fn table(&self) -> Vec<Parameter> {
        let sizes = [self.model_dim, self.feed_forward_dim];
        let mut table: Vec<Parameter> = feed_forward::table(sizes, self.gated(), self.use_bias()).collect();
        let places = self.places();
        let norms: Vec<[Part; 2]> =
            NORMS.into_iter().filter(|norm| places.as_flattened().contains(&Some(*norm))).collect();
        table.extend(self.norms().table(self.model_dim, &norms));
        table
    }
}

/// Weight and bias of the norms: before the attention, after it or before the feed-forward network as in Llama, before
/// the feed-forward network as in Gemma 2, and after it.
const NORMS: [[Part; 2]; 4] = [
    [Part::Norm1Weight, Part::Norm1Bias],
    [Part::Norm2Weight, Part::Norm2Bias],
    [Part::Norm3Weight, Part::Norm3Bias],
    [Part::Norm4Weight, Part::Norm4Bias],
];

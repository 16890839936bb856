//! Typed options of attention and of attention layers, with PyTorch's defaults, checked where a mechanism takes them.
//!
//! With the feature `serde`, every options struct reads and writes the names of the npm package.

mod attention_config;
pub(crate) mod counts;
#[cfg(feature = "serde")]
pub(crate) mod seeds;

use crate::error::{Error, Result};
use crate::ranges;

pub use attention_config::{AttentionConfig, Biases, BucketConfig, NormOver, QkNorm};

/// The order of the dimensions of 4-D inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Layout {
    /// `[batch, heads, length, size]`.
    #[default]
    Bhld,
    /// `[batch, length, heads, size]`.
    Blhd,
}

/// The result of [`attention_weights`](crate::attention::attention_weights), one of the stages of the ONNX operator's
/// `qk_matmul_output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Stage {
    /// `scale · (q · k)`.
    Scores,
    /// After the soft cap.
    Softcapped,
    /// After the float mask; −∞ where a key is not visible.
    Biased,
    /// After softmax and dropout.
    #[default]
    Weights,
}

/// The options of attention.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct AttentionOptions {
    /// The order of the dimensions of 4-D inputs and outputs.
    pub layout: Layout,
    /// Restricts query `i` to the keys `j ≤ i + query_offset`; false by default.
    pub causal: bool,
    /// The key position of query 0, within 32 bits; 0 by default. A cache supplies its own.
    pub query_offset: Option<i64>,
    /// Visible keys, from `left` before to `right` after the query's position; −1 leaves a side unlimited.
    pub window: Option<[i64; 2]>,
    /// The factor of the scores; 1/√D by default.
    pub scale: Option<f32>,
    /// If positive, scores become `softcap · tanh(s / softcap)`; 0 by default.
    pub softcap: f32,
    /// The probability of dropping a weight, less than 1; 0 by default.
    pub dropout: f32,
    /// The seed of dropout, less than 2⁵³; 0 by default.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
    /// Return the weights; requires an output for them.
    pub weights: bool,
    /// Return the `k` largest weights of each row and their keys; requires an output for them.
    pub top_weights: Option<usize>,
    /// Return the logarithm of each row's sum of exponentials; requires an output for it.
    pub log_sum_exp: bool,
    /// The result of `attention_weights`, [`Stage::Weights`] by default; no other function accepts it.
    pub stage: Option<Stage>,
    /// The number of keys in one tile, at most 4096; 64 by default.
    pub block_size: Option<usize>,
}

impl AttentionOptions {
    /// Returns the defaults for a key/value cache, whose attention is causal.
    pub fn for_cache() -> Self {
        Self { causal: true, ..Self::default() }
    }

    /// Checks the range of every option.
    ///
    /// # Errors
    /// `OPTION` if one is out of range.
    pub fn check(&self) -> Result<()> {
        ranges::query_offset("query_offset", self.query_offset)?;
        ranges::window("window", self.window)?;
        ranges::finite("scale", self.scale)?;
        ranges::non_negative("softcap", self.softcap)?;
        ranges::probability("dropout", self.dropout)?;
        ranges::seed("seed", self.seed)?;
        ranges::optional_count("top_weights", self.top_weights)?;
        ranges::optional_count("block_size", self.block_size)
    }

    /// Checks that no stage is given.
    pub(crate) fn check_no_stage(&self) -> Result<()> {
        match self.stage {
            Some(_) => Err(Error::option("stage", "no stage: they are those of attentionWeights", "one")),
            None => Ok(()),
        }
    }

    /// Checks that no result is requested except the weights.
    pub(crate) fn check_weights_alone(&self) -> Result<()> {
        let requests = [
            ("weights", self.weights.then_some(None)),
            ("top_weights", self.top_weights.map(Some)),
            ("log_sum_exp", self.log_sum_exp.then_some(None)),
        ];
        match requests.into_iter().find_map(|(name, request)| Some((name, request?))) {
            Some((name, count)) => Err(Error::option(
                name,
                "no request for a further result: attentionWeights returns the weights alone",
                count.map_or("true".to_owned(), |count| count.to_string()),
            )),
            None => Ok(()),
        }
    }
}

/// The options of a layer's `forward`.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct LayerOptions {
    /// Restricts query `i` to the keys `j ≤ i + query_offset`; the layer's setting by default.
    pub causal: Option<bool>,
    /// The key position of query 0, within 32 bits; 0 by default.
    pub query_offset: Option<i64>,
    /// Visible keys, from `left` before to `right` after the query's position; −1 leaves a side unlimited. The layer's
    /// window by default.
    pub window: Option<[i64; 2]>,
    /// Return the weights of each head; requires an output for them.
    pub weights: bool,
    /// Return the mean of the weights over the heads.
    pub average_weights: bool,
    /// The factor of the scores; the layer's by default.
    pub scale: Option<f32>,
    /// If positive, scores become `softcap · tanh(s / softcap)`; the layer's by default.
    pub softcap: Option<f32>,
    /// The seed of dropout in training, less than 2⁵³; the layer's seed by default.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::optional"))]
    pub seed: Option<u64>,
}

impl LayerOptions {
    /// Checks the range of every option.
    ///
    /// # Errors
    /// `OPTION` if one is out of range.
    pub fn check(&self) -> Result<()> {
        ranges::query_offset("query_offset", self.query_offset)?;
        ranges::window("window", self.window)?;
        ranges::finite("scale", self.scale)?;
        ranges::non_negative("softcap", self.softcap.unwrap_or(0.0))?;
        ranges::seed("seed", self.seed.unwrap_or(0))
    }
}

/// The inputs that an attention layer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerKind {
    /// Query, key and value; key and value are optional.
    #[default]
    MultiHead,
    /// One input.
    SelfAttention,
    /// A query input and a context.
    CrossAttention,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn a_configuration_fills_its_defaults() {
        let given = AttentionConfig { num_heads: 4, head_dim: 8, ..AttentionConfig::default() };
        let config = given.clone().resolved().unwrap();
        assert_eq!(
            (config.model_dim, config.kv_heads, config.k_dim, config.v_dim),
            (Some(32), Some(4), Some(32), Some(32))
        );
        assert!(config.is_packed());
        let kind = LayerKind::CrossAttention;
        let given = AttentionConfig { kv_heads: Some(2), model_dim: Some(20), k_dim: Some(24), kind, ..given };
        let config = given.clone().resolved().unwrap();
        assert_eq!((config.k_dim(), config.v_dim()), (24, 24));
        assert_eq!((config.query_width(), config.kv_width(), config.is_packed()), (32, 16, false));
        let config = AttentionConfig { kind: LayerKind::MultiHead, ..given }.resolved().unwrap();
        assert_eq!((config.k_dim(), config.v_dim()), (24, 20));
    }

    #[test]
    fn attention_weights_rejects_requests_for_other_results() {
        let defaults = AttentionOptions::default();
        assert_eq!(defaults.check_weights_alone(), Ok(()));
        for (options, name, actual) in [
            (AttentionOptions { weights: true, ..defaults.clone() }, "weights", "true"),
            (AttentionOptions { top_weights: Some(3), ..defaults.clone() }, "top_weights", "3"),
            (AttentionOptions { log_sum_exp: true, ..defaults.clone() }, "log_sum_exp", "true"),
        ] {
            let error = options.check_weights_alone().unwrap_err();
            assert_eq!((error.code, &*error.argument, &*error.actual), (Code::Option, name, actual));
        }
    }
}

//! Typed options of attention and of attention layers, with PyTorch's defaults, checked where a mechanism takes them.
//!
//! With the feature `serde`, every options struct reads and writes the names of the npm package.

use crate::attention::rotary::Rotary;
use crate::error::{Error, Result};
use crate::ranges;

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
    /// Restricts query `i` to the keys `j ≤ i + query_offset`; false by default.
    pub causal: bool,
    /// The key position of query 0, within 32 bits; 0 by default.
    pub query_offset: Option<i64>,
    /// Visible keys, from `left` before to `right` after the query's position; −1 leaves a side unlimited.
    pub window: Option<[i64; 2]>,
    /// Return the weights of each head; requires an output for them.
    pub weights: bool,
    /// Return the mean of the weights over the heads.
    pub average_weights: bool,
    /// The factor of the scores; 1/√headDim by default.
    pub scale: Option<f32>,
    /// If positive, scores become `softcap · tanh(s / softcap)`; 0 by default.
    pub softcap: f32,
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
        ranges::non_negative("softcap", self.softcap)?;
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

/// The configuration of an attention layer. `num_heads` and `head_dim` are required.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct AttentionConfig {
    /// The inputs of the layer; not part of its JSON.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub kind: LayerKind,
    /// Query heads.
    pub num_heads: usize,
    /// The size of a head's queries, keys and values.
    pub head_dim: usize,
    /// The size of the query input and of the output; `num_heads · head_dim` by default.
    pub model_dim: Option<usize>,
    /// Key/value heads, a divisor of `num_heads`; `num_heads` by default.
    pub kv_heads: Option<usize>,
    /// The size of the key input; `model_dim` by default.
    pub k_dim: Option<usize>,
    /// The size of the value input; by default `model_dim`, or `k_dim` for cross-attention.
    pub v_dim: Option<usize>,
    /// Adds biases to the projections; true by default.
    pub use_bias: bool,
    /// The probability of dropping a weight in training, less than 1; 0 by default.
    pub dropout: f32,
    /// The seed of the initial parameters and of dropout; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
    /// Rotates projected queries and keys by their positions; no rotation by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub rotary: Option<Rotary>,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self {
            kind: LayerKind::MultiHead,
            num_heads: 0,
            head_dim: 0,
            model_dim: None,
            kv_heads: None,
            k_dim: None,
            v_dim: None,
            use_bias: true,
            dropout: 0.0,
            seed: 0,
            rotary: None,
        }
    }
}

/// The maximum number of elements in one parameter.
pub(crate) const MOST_ELEMENTS: usize = i32::MAX as usize;

impl AttentionConfig {
    /// Returns the size of the query input and of the output.
    pub fn model_dim(&self) -> usize {
        self.model_dim.unwrap_or(self.num_heads.saturating_mul(self.head_dim))
    }

    /// Returns the number of key/value heads.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads.unwrap_or(self.num_heads)
    }

    /// Returns the size of the key input.
    pub fn k_dim(&self) -> usize {
        self.k_dim.unwrap_or(self.model_dim())
    }

    /// Returns the size of the value input.
    pub fn v_dim(&self) -> usize {
        let default = if self.kind == LayerKind::CrossAttention { self.k_dim() } else { self.model_dim() };
        self.v_dim.unwrap_or(default)
    }

    /// Returns the width of the projected queries, `num_heads · head_dim`.
    pub fn query_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Returns the width of the projected keys and values, `kv_heads · head_dim`.
    pub fn kv_width(&self) -> usize {
        self.kv_heads() * self.head_dim
    }

    /// Returns true if query, key and value share an input size, so that PyTorch packs their projections into one
    /// matrix.
    pub fn is_packed(&self) -> bool {
        self.k_dim() == self.model_dim() && self.v_dim() == self.model_dim()
    }

    /// Returns the configuration with every default filled in.
    ///
    /// # Errors
    /// `OPTION` if a value is out of range or does not fit the others.
    pub fn resolved(mut self) -> Result<Self> {
        for (name, count) in
            [("model_dim", self.model_dim), ("kv_heads", self.kv_heads), ("k_dim", self.k_dim), ("v_dim", self.v_dim)]
        {
            ranges::optional_count(name, count)?;
        }
        ranges::probability("dropout", self.dropout)?;
        ranges::seed("seed", self.seed)?;
        ranges::count("num_heads", self.num_heads)?;
        ranges::count("head_dim", self.head_dim)?;
        if let Some(rotary) = &mut self.rotary {
            *rotary = rotary.resolved(self.head_dim).map_err(|error| error.within("rotary"))?;
        }
        self.model_dim = Some(self.model_dim());
        self.kv_heads = Some(self.kv_heads());
        self.k_dim = Some(self.k_dim());
        self.v_dim = Some(self.v_dim());
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        let (model_dim, kv_heads, k_dim, v_dim) = (self.model_dim(), self.kv_heads(), self.k_dim(), self.v_dim());
        if !self.num_heads.is_multiple_of(kv_heads) {
            return Err(Error::value("kv_heads", format_args!("a divisor of num_heads {}", self.num_heads), kv_heads));
        }
        let fits = |width: usize, inputs: usize| width.checked_mul(inputs).is_some_and(|n| n <= MOST_ELEMENTS);
        let inner = self.num_heads.checked_mul(self.head_dim).and_then(|inner| inner.checked_mul(3));
        let widest = model_dim.max(k_dim).max(v_dim);
        if !inner.is_some_and(|inner| fits(inner, widest)) {
            return Err(Error::option(
                "head_dim",
                format_args!("projections of at most {MOST_ELEMENTS} elements"),
                format_args!("{} heads of size {}, input size {widest}", self.num_heads, self.head_dim),
            ));
        }
        let one_input = format_args!("model_dim {model_dim}: self attention has one input");
        match self.kind {
            LayerKind::SelfAttention if k_dim != model_dim => Err(Error::value("k_dim", one_input, k_dim)),
            LayerKind::SelfAttention if v_dim != model_dim => Err(Error::value("v_dim", one_input, v_dim)),
            LayerKind::CrossAttention if v_dim != k_dim => {
                Err(Error::value("v_dim", format_args!("k_dim {k_dim}: cross attention has one context"), v_dim))
            }
            _ => Ok(()),
        }
    }
}

/// Reads seeds as signed integers, so that a negative seed is reported as out of range rather than as a parse error.
#[cfg(feature = "serde")]
pub(crate) mod seeds {
    use serde::{Deserialize, Deserializer};

    fn seed(given: i64) -> u64 {
        u64::try_from(given).unwrap_or(u64::MAX)
    }

    pub(crate) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        i64::deserialize(deserializer).map(seed)
    }

    pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        Option::<i64>::deserialize(deserializer).map(|given| given.map(seed))
    }
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

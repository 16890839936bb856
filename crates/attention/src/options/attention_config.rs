//! The configuration of attention layers.

use crate::attention::rotary::Rotary;
use crate::error::{Error, Result};
use crate::math::norm::NormKind;
use crate::math::weight::WeightType;
use crate::options::LayerKind;
use crate::options::counts::INVALID_COUNT;
use crate::ranges;
use crate::sizes::MOST_ELEMENTS;

/// The configuration of an attention layer. `num_heads` is required, and either `head_dim` or `model_dim`.
#[derive(Debug, Clone, PartialEq, Default)]
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
    /// The size of a head's queries, keys and values; 0, the default, means `model_dim / num_heads`.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::counts::given"))]
    pub head_dim: usize,
    /// The size of the query input and of the output; `num_heads · head_dim` by default.
    pub model_dim: Option<usize>,
    /// Key/value heads, a divisor of `num_heads`; `num_heads` by default.
    pub kv_heads: Option<usize>,
    /// The size of the key input; `model_dim` by default.
    pub k_dim: Option<usize>,
    /// The size of the value input; by default `model_dim`, or `k_dim` for cross-attention.
    pub v_dim: Option<usize>,
    /// The projections with biases; all by default.
    pub use_bias: Option<Biases>,
    /// The probability of dropping a weight in training, less than 1; 0 by default.
    pub dropout: Option<f32>,
    /// The seed of the initial parameters and of dropout, less than 2⁵³; 0 by default.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::optional"))]
    pub seed: Option<u64>,
    /// Rotates projected queries and keys by their positions; no rotation by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub rotary: Option<Rotary>,
    /// Restricts query `i` to the keys `j ≤ i + query_offset` unless a call says otherwise; false by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub causal: Option<bool>,
    /// The window of calls that give none: visible keys before and after the query's position, where −1 is unlimited.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub window: Option<[i64; 2]>,
    /// The soft cap of calls that give none; 0, the default, means no cap.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub softcap: Option<f32>,
    /// The factor of the scores in calls that give none; 1/√head_dim by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub scale: Option<f32>,
    /// Normalizes projected queries and keys before their rotation; no norm by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub qk_norm: Option<QkNorm>,
    /// Multiplies the joined heads by the logistic function of gates, for which the query projection has a second part
    /// for each head, as in Qwen3-Next; false by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub output_gate: bool,
    /// Adds a learned key and its value, `bias_k` and `bias_v`, after those of every call; false by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub add_bias_kv: bool,
    /// Adds a key and a value of zeros after those of every call; false by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub add_zero_attn: bool,
    /// Gives every head a learned logit, `sinks`, that takes its share of each row's softmax and adds no value, as in
    /// gpt-oss; false by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub sinks: bool,
    /// Adds a learned bias, `relative_attention_bias.weight`, that depends on the distance from the query to the key,
    /// as in T5; no bias by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub relative_bias: Option<BucketConfig>,
    /// The type of the projections' matrices; 32-bit floats by default. Biases and norms always have 32 bits.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub weight_type: Option<WeightType>,
}

/// The buckets of distances that share a bias. The first half of them hold one distance each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct BucketConfig {
    /// The number of buckets, at least 2, or 4 if they are bidirectional; 32 by default.
    pub buckets: Option<usize>,
    /// The distance from which on all share one bucket; 128 by default.
    pub max_distance: Option<usize>,
    /// Gives keys after the query half of the buckets instead of the bucket of distance 0; by default unless the
    /// attention is causal.
    pub bidirectional: Option<bool>,
}

impl BucketConfig {
    /// Returns the number of buckets.
    pub fn buckets(&self) -> usize {
        self.buckets.unwrap_or(32)
    }

    /// Returns the distance from which on all share one bucket.
    pub fn max_distance(&self) -> usize {
        self.max_distance.unwrap_or(128)
    }

    /// Returns true if keys after the query have buckets of their own.
    pub fn bidirectional(&self) -> bool {
        self.bidirectional.unwrap_or(true)
    }

    fn resolved(self, is_causal: bool) -> Result<Self> {
        let bidirectional = self.bidirectional.unwrap_or(!is_causal);
        let (buckets, max_distance) = (self.buckets(), self.max_distance());
        let least = if bidirectional { 4 } else { 2 };
        if !(least..=MOST_ELEMENTS).contains(&buckets) {
            let expected = format_args!("an integer from {least} to {MOST_ELEMENTS}");
            return Err(Error::value("buckets", expected, buckets));
        }
        let exact = buckets / least;
        if !(exact + 1..=i32::MAX as usize).contains(&max_distance) {
            return Err(Error::value(
                "max_distance",
                format_args!("an integer above {exact}, of 32 bits"),
                max_distance,
            ));
        }
        Ok(Self { buckets: Some(buckets), max_distance: Some(max_distance), bidirectional: Some(bidirectional) })
    }
}

/// The projections that have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Biases {
    pub query: bool,
    pub key: bool,
    pub value: bool,
    pub output: bool,
}

#[cfg(feature = "serde")]
impl Biases {
    /// Returns whether the three input projections all have biases, or all have none.
    pub(crate) fn inputs_agree(self) -> bool {
        self.query == self.key && self.key == self.value
    }
}

impl From<bool> for Biases {
    fn from(every: bool) -> Self {
        Self { query: every, key: every, value: every, output: every }
    }
}

/// The values that one norm of queries or keys covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum NormOver {
    /// Each head by itself, as in Qwen 3 and Gemma 3.
    #[default]
    Head,
    /// All heads of a row together, as in OLMo 2.
    Model,
}

/// The norms of projected queries and keys, whose parameters are `q_norm.weight` and `k_norm.weight`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "camelCase"))]
pub struct QkNorm {
    /// The values that one norm covers.
    pub over: NormOver,
    /// Root-mean-square norm by default; a layer norm also has `q_norm.bias` and `k_norm.bias`.
    pub kind: Option<NormKind>,
    /// Added to the variance, less than 1; by default 10⁻⁶, and 10⁻⁵ for a layer norm.
    pub epsilon: Option<f32>,
    /// Added to every weight; 0 by default. Gemma stores its weights less 1.
    pub weight_offset: f32,
}

impl QkNorm {
    /// Returns the kind of the norm.
    pub fn kind(&self) -> NormKind {
        self.kind.unwrap_or(NormKind::Rms)
    }

    /// Returns the value that is added to the variance.
    pub fn epsilon(&self) -> f32 {
        self.epsilon.unwrap_or(if self.kind() == NormKind::Rms { 1e-6 } else { 1e-5 })
    }

    fn resolved(self) -> Result<Self> {
        let resolved = Self { kind: Some(self.kind()), epsilon: Some(self.epsilon()), ..self };
        ranges::probability("epsilon", self.epsilon())?;
        ranges::finite("weight_offset", Some(self.weight_offset))?;
        Ok(resolved)
    }
}

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

    /// Returns the projections with biases.
    pub fn use_bias(&self) -> Biases {
        self.use_bias.unwrap_or(true.into())
    }

    /// Returns the probability of dropping a weight in training.
    pub fn dropout(&self) -> f32 {
        self.dropout.unwrap_or(0.0)
    }

    /// Returns the seed of the initial parameters and of dropout.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    /// Returns the factor of the scores.
    pub fn scale(&self) -> f32 {
        self.scale.unwrap_or(1.0 / (self.head_dim as f32).sqrt())
    }

    /// Returns the type of the projections' matrices.
    pub fn weight_type(&self) -> WeightType {
        self.weight_type.unwrap_or_default()
    }

    /// Returns the width of the projected queries, `num_heads · head_dim`.
    pub fn query_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Returns the number of rows of the query projection: those of the queries and, if there are any, of the gates.
    pub fn query_rows(&self) -> usize {
        self.query_width() * if self.output_gate { 2 } else { 1 }
    }

    /// Returns the width of the projected keys and values, `kv_heads · head_dim`.
    pub fn kv_width(&self) -> usize {
        self.kv_heads() * self.head_dim
    }

    /// Returns the number of keys that the layer adds to those of a call.
    pub fn extra_keys(&self) -> usize {
        usize::from(self.add_bias_kv) + usize::from(self.add_zero_attn)
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
        self.check_numbers()?;
        ranges::count("num_heads", self.num_heads)?;
        self.head_dim = self.resolved_head_dim()?;
        if let Some(rotary) = &mut self.rotary {
            *rotary = rotary.resolved(self.head_dim).map_err(|error| error.within("rotary"))?;
        }
        if let Some(norm) = &mut self.qk_norm {
            *norm = norm.resolved().map_err(|error| error.within("qk_norm"))?;
        }
        if let Some(bias) = &mut self.relative_bias {
            let is_causal = self.causal.unwrap_or(false);
            *bias = bias.resolved(is_causal).map_err(|error| error.within("relative_bias"))?;
        }
        self.model_dim = Some(self.model_dim());
        self.kv_heads = Some(self.kv_heads());
        self.k_dim = Some(self.k_dim());
        self.v_dim = Some(self.v_dim());
        self.use_bias = Some(self.use_bias());
        self.dropout = Some(self.dropout());
        self.seed = Some(self.seed());
        self.check_sizes()?;
        if self.output_gate && self.qk_norm.is_some_and(|norm| norm.over == NormOver::Model) {
            let expected = "'head', as output_gate puts a gate after each head's query";
            return Err(Error::option("qk_norm.over", expected, "'model'"));
        }
        Ok(self)
    }

    /// Returns the resolved configuration of an attention inside a layer: the settings given under an option's name,
    /// and this configuration for all others. Sizes must be the same where both are given.
    pub(crate) fn with_settings(self, name: &str, given: Option<&Self>) -> Result<Self> {
        let Some(given) = given else { return self.resolved() };
        let size = |size: usize| (size > 0).then_some(size);
        let same = |size_name: &str, own: Option<usize>, layer: Option<usize>| match (own, layer) {
            (Some(own), Some(layer)) if own != layer => {
                Err(Error::value(size_name, format_args!("the layer's {layer}, or nothing"), own).within(name))
            }
            _ => Ok(own.or(layer)),
        };
        let combined = Self {
            kind: self.kind,
            num_heads: same("num_heads", size(given.num_heads), size(self.num_heads))?.unwrap_or(0),
            head_dim: same("head_dim", size(given.head_dim), size(self.head_dim))?.unwrap_or(0),
            model_dim: same("model_dim", given.model_dim, self.model_dim)?,
            kv_heads: same("kv_heads", given.kv_heads, self.kv_heads)?,
            use_bias: given.use_bias.or(self.use_bias),
            dropout: given.dropout.or(self.dropout),
            seed: given.seed.or(self.seed),
            causal: given.causal.or(self.causal),
            weight_type: given.weight_type.or(self.weight_type),
            ..given.clone()
        };
        combined.resolved().map_err(|error| error.within(name))
    }

    fn check_numbers(&self) -> Result<()> {
        ranges::probability("dropout", self.dropout())?;
        ranges::seed("seed", self.seed())?;
        ranges::window("window", self.window)?;
        ranges::non_negative("softcap", self.softcap.unwrap_or(0.0))?;
        ranges::finite("scale", self.scale)
    }

    fn resolved_head_dim(&self) -> Result<usize> {
        match (self.head_dim, self.model_dim) {
            (0, Some(model_dim)) if model_dim.is_multiple_of(self.num_heads) => Ok(model_dim / self.num_heads),
            (0, Some(model_dim)) => {
                let heads = self.num_heads;
                let expected =
                    format_args!("an integer of at least 1: model_dim {model_dim} has no {heads} equal parts");
                Err(Error::value("head_dim", expected, 0))
            }
            (0 | INVALID_COUNT, _) => Err(Error::value("head_dim", ranges::COUNT, 0)),
            (head_dim, _) => Ok(head_dim),
        }
    }

    fn check_sizes(&self) -> Result<()> {
        let (model_dim, kv_heads, k_dim, v_dim) = (self.model_dim(), self.kv_heads(), self.k_dim(), self.v_dim());
        if !self.num_heads.is_multiple_of(kv_heads) {
            return Err(Error::value("kv_heads", format_args!("a divisor of num_heads {}", self.num_heads), kv_heads));
        }
        let fits = |width: usize, inputs: usize| width.checked_mul(inputs).is_some_and(|n| n <= MOST_ELEMENTS);
        let inner = self
            .num_heads
            .checked_mul(self.head_dim)
            .and_then(|inner| inner.checked_mul(if self.output_gate { 4 } else { 3 }));
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

/// Options that are a plain value or an object: `useBias` and `qkNorm`.
#[cfg(feature = "serde")]
mod shorthands {
    use std::fmt;

    use serde::de::value::{MapAccessDeserializer, StrDeserializer};
    use serde::de::{Deserialize, Deserializer, IntoDeserializer, MapAccess, Visitor};
    use serde::ser::{Serialize, SerializeStruct, Serializer};

    use super::{Biases, NormKind, NormOver, QkNorm};

    /// The object form of [`Biases`].
    #[derive(serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct GivenBiases {
        query: bool,
        key: bool,
        value: bool,
        output: bool,
    }

    impl Default for GivenBiases {
        fn default() -> Self {
            Self { query: true, key: true, value: true, output: true }
        }
    }

    struct BiasesVisitor;

    impl<'de> Visitor<'de> for BiasesVisitor {
        type Value = Biases;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a boolean or an object { query, key, value, output }")
        }

        fn visit_bool<E>(self, every: bool) -> Result<Biases, E> {
            Ok(every.into())
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Biases, A::Error> {
            let given = GivenBiases::deserialize(MapAccessDeserializer::new(members))?;
            let GivenBiases { query, key, value, output } = given;
            Ok(Biases { query, key, value, output })
        }
    }

    impl<'de> Deserialize<'de> for Biases {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(BiasesVisitor)
        }
    }

    impl Serialize for Biases {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let &Self { query, key, value, output } = self;
            if self.inputs_agree() && query == output {
                return serializer.serialize_bool(query);
            }
            let mut object = serializer.serialize_struct("Biases", 4)?;
            for (name, has) in [("query", query), ("key", key), ("value", value), ("output", output)] {
                object.serialize_field(name, &has)?;
            }
            object.end()
        }
    }

    /// The object form of [`QkNorm`].
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct GivenNorm {
        over: NormOver,
        kind: Option<NormKind>,
        epsilon: Option<f32>,
        weight_offset: f32,
    }

    struct NormVisitor;

    impl<'de> Visitor<'de> for NormVisitor {
        type Value = QkNorm;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("'head', 'model' or an object { over, kind, epsilon, weightOffset }")
        }

        fn visit_str<E: serde::de::Error>(self, over: &str) -> Result<QkNorm, E> {
            if !["head", "model"].contains(&over) {
                return Err(E::invalid_type(serde::de::Unexpected::Str(over), &self));
            }
            let over: StrDeserializer<'_, E> = over.into_deserializer();
            Ok(QkNorm { over: NormOver::deserialize(over)?, ..QkNorm::default() })
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<QkNorm, A::Error> {
            let given = GivenNorm::deserialize(MapAccessDeserializer::new(members))?;
            let GivenNorm { over, kind, epsilon, weight_offset } = given;
            Ok(QkNorm { over, kind, epsilon, weight_offset })
        }
    }

    impl<'de> Deserialize<'de> for QkNorm {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(NormVisitor)
        }
    }
}

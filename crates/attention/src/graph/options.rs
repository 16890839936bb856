//! The configurations of the graph layers, and the options of their calls.

use super::aggregate::Reduce;
use crate::error::{Error, Result};
use crate::ranges;
use crate::sizes::MOST_ELEMENTS;

/// The layer of PyTorch Geometric that a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `GCNConv`.
    Convolution,
    /// `SAGEConv`.
    Sage,
    /// `GATConv` (version 1) or `GATv2Conv` (version 2).
    Attention,
    /// `TransformerConv`.
    Transformer,
}

impl Kind {
    /// Returns true if the layer has attention weights.
    pub fn attends(self) -> bool {
        matches!(self, Self::Attention | Self::Transformer)
    }
}

/// Features of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFeatures {
    /// Of every node.
    Every(usize),
    /// Of sources and of targets, which have a weight each.
    Pair([usize; 2]),
}

impl InFeatures {
    /// Returns the features of sources and of targets.
    pub fn ends(self) -> [usize; 2] {
        match self {
            Self::Every(features) => [features; 2],
            Self::Pair(features) => features,
        }
    }
}

impl From<usize> for InFeatures {
    fn from(features: usize) -> Self {
        Self::Every(features)
    }
}

impl From<[usize; 2]> for InFeatures {
    fn from(features: [usize; 2]) -> Self {
        Self::Pair(features)
    }
}

/// The configuration of a [`Kind::Convolution`]. Both sizes have to be given.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct ConvolutionConfig {
    /// Features of a node.
    pub in_features: usize,
    /// Features of an output.
    pub out_features: usize,
    /// Divides messages by the square roots of both degrees; true by default.
    pub normalize: bool,
    /// Replaces the self-loops given by one for each node, which requires `normalize` and is its default.
    pub add_self_loops: Option<bool>,
    /// Gives self-loops that are added the weight 2 in calls with weights of edges; false by default. Without weights,
    /// every edge counts as 1, as in PyTorch Geometric.
    pub improved: bool,
    /// Adds biases; true by default.
    pub use_bias: bool,
    /// The parameters are drawn from it; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for ConvolutionConfig {
    fn default() -> Self {
        Self {
            in_features: 0,
            out_features: 0,
            normalize: true,
            add_self_loops: None,
            improved: false,
            use_bias: true,
            seed: 0,
        }
    }
}

/// The configuration of a [`Kind::Sage`]. Both sizes have to be given.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct SageConfig {
    /// Features of a node, or of sources and of targets.
    pub in_features: InFeatures,
    /// Features of an output.
    pub out_features: usize,
    /// How the features of neighbors are joined; by their mean by default.
    pub reduce: Reduce,
    /// Adds a product with the node's own features; true by default.
    pub root_weight: bool,
    /// Passes the features of neighbors through a linear layer and a rectifier before they are joined; false by
    /// default.
    pub project: bool,
    /// Divides each output by its Euclidean length; false by default.
    pub normalize: bool,
    /// Adds biases; true by default.
    pub use_bias: bool,
    /// The parameters are drawn from it; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for SageConfig {
    fn default() -> Self {
        Self {
            in_features: InFeatures::Every(0),
            out_features: 0,
            reduce: Reduce::Mean,
            root_weight: true,
            project: false,
            normalize: false,
            use_bias: true,
            seed: 0,
        }
    }
}

/// The configuration of a [`Kind::Attention`]. Both sizes have to be given.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct GraphAttentionConfig {
    /// Features of a node, or of sources and of targets.
    pub in_features: InFeatures,
    /// Features of an output, or of one head of it.
    pub out_features: usize,
    /// Heads; 1 by default.
    pub num_heads: usize,
    /// Concatenates the heads in the output (the default); otherwise averages them.
    pub concat: bool,
    /// Features of an edge; none where absent.
    pub edge_features: Option<usize>,
    /// 1 is `GATConv`, which scores the ends of an edge apart; 2, the default, is `GATv2Conv`.
    pub version: u8,
    /// The slope of the leaky rectifier below 0, at most 1; 0.2 by default.
    pub negative_slope: f32,
    /// Replaces the self-loops given by one for each node that is both a source and a target; true by default.
    pub add_self_loops: bool,
    /// The features of self-loops that are added; by default the mean over the node's other incoming edges.
    #[cfg_attr(feature = "serde", serde(with = "forms::fill_value"))]
    pub fill_value: Option<f32>,
    /// Adds a product with the node's own features; false by default.
    pub residual: bool,
    /// Adds biases; true by default.
    pub use_bias: bool,
    /// The probability with which training drops a weight, less than 1.
    pub dropout: f32,
    /// The parameters are drawn from it, and so is what training drops; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for GraphAttentionConfig {
    fn default() -> Self {
        Self {
            in_features: InFeatures::Every(0),
            out_features: 0,
            num_heads: 1,
            concat: true,
            edge_features: None,
            version: 2,
            negative_slope: 0.2,
            add_self_loops: true,
            fill_value: None,
            residual: false,
            use_bias: true,
            dropout: 0.0,
            seed: 0,
        }
    }
}

/// The configuration of a [`Kind::Transformer`]. Both sizes have to be given.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct GraphTransformerConfig {
    /// Features of a node, or of sources and of targets.
    pub in_features: InFeatures,
    /// Features of an output, or of one head of it.
    pub out_features: usize,
    /// Heads; 1 by default.
    pub num_heads: usize,
    /// Concatenates the heads in the output (the default); otherwise averages them.
    pub concat: bool,
    /// Features of an edge; none where absent.
    pub edge_features: Option<usize>,
    /// Adds a gate that weighs the skip connection; false by default.
    pub beta: bool,
    /// Adds biases; true by default.
    pub use_bias: bool,
    /// The probability with which training drops a weight, less than 1.
    pub dropout: f32,
    /// The parameters are drawn from it, and so is what training drops; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for GraphTransformerConfig {
    fn default() -> Self {
        Self {
            in_features: InFeatures::Every(0),
            out_features: 0,
            num_heads: 1,
            concat: true,
            edge_features: None,
            beta: false,
            use_bias: true,
            dropout: 0.0,
            seed: 0,
        }
    }
}

/// The configuration of a graph layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GraphConfig {
    /// Of a `GCNConv`.
    Convolution(ConvolutionConfig),
    /// Of a `SAGEConv`.
    Sage(SageConfig),
    /// Of a `GATConv` or `GATv2Conv`.
    Attention(GraphAttentionConfig),
    /// Of a `TransformerConv`.
    Transformer(GraphTransformerConfig),
}

impl From<ConvolutionConfig> for GraphConfig {
    fn from(config: ConvolutionConfig) -> Self {
        Self::Convolution(config)
    }
}

impl From<SageConfig> for GraphConfig {
    fn from(config: SageConfig) -> Self {
        Self::Sage(config)
    }
}

impl From<GraphAttentionConfig> for GraphConfig {
    fn from(config: GraphAttentionConfig) -> Self {
        Self::Attention(config)
    }
}

impl From<GraphTransformerConfig> for GraphConfig {
    fn from(config: GraphTransformerConfig) -> Self {
        Self::Transformer(config)
    }
}

/// The settings of a layer of any kind; those that its kind lacks have no effect.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the configurations document them")]
pub struct Settings {
    pub kind: Kind,
    /// Of sources and of targets.
    pub in_features: [usize; 2],
    /// True if sources and targets have a weight each where they would otherwise share one.
    pub is_pair: bool,
    pub out_features: usize,
    pub num_heads: usize,
    pub concat: bool,
    /// 0 if edges have no features.
    pub edge_features: usize,
    /// True for `GATConv`, which scores the ends of an edge separately; false for `GATv2Conv`.
    pub is_additive: bool,
    pub negative_slope: f32,
    pub beta: bool,
    pub residual: bool,
    pub reduce: Reduce,
    pub root_weight: bool,
    pub project: bool,
    pub normalize: bool,
    pub improved: bool,
    pub add_self_loops: bool,
    pub fill_value: Option<f32>,
    pub use_bias: bool,
    pub dropout: f32,
    pub seed: u64,
}

impl Settings {
    /// The settings of a configuration whose every value is in range. Fills in defaults that depend on other values.
    ///
    /// # Errors
    /// `OPTION` for a value out of range, or sizes that make a parameter too large.
    #[inline(never)]
    pub(super) fn of(config: &mut GraphConfig) -> Result<Self> {
        let none = Self {
            kind: Kind::Convolution,
            in_features: [0; 2],
            is_pair: false,
            out_features: 0,
            num_heads: 1,
            concat: true,
            edge_features: 0,
            is_additive: false,
            negative_slope: 0.0,
            beta: false,
            residual: false,
            reduce: Reduce::Mean,
            root_weight: true,
            project: false,
            normalize: false,
            improved: false,
            add_self_loops: false,
            fill_value: None,
            use_bias: true,
            dropout: 0.0,
            seed: 0,
        };
        let settings = match config {
            GraphConfig::Convolution(config) => {
                let add_self_loops = *config.add_self_loops.get_or_insert(config.normalize);
                if add_self_loops && !config.normalize {
                    return Err(Error::value("add_self_loops", "false, as normalize is false", true));
                }
                Self {
                    in_features: [config.in_features; 2],
                    out_features: config.out_features,
                    normalize: config.normalize,
                    improved: config.improved,
                    add_self_loops,
                    use_bias: config.use_bias,
                    seed: config.seed,
                    ..none
                }
            }
            GraphConfig::Sage(config) => Self {
                kind: Kind::Sage,
                out_features: config.out_features,
                reduce: config.reduce,
                root_weight: config.root_weight,
                project: config.project,
                normalize: config.normalize,
                use_bias: config.use_bias,
                seed: config.seed,
                ..none.with_inputs(config.in_features)
            },
            GraphConfig::Attention(config) => {
                ranges::optional_count("edge_features", config.edge_features)?;
                if !matches!(config.version, 1 | 2) {
                    return Err(Error::value("version", "1 or 2", config.version));
                }
                let slope = config.negative_slope;
                ranges::number("negative_slope", slope, (0.0..=1.0).contains(&slope), "a number from 0 to 1")?;
                if let Some(value) = config.fill_value {
                    ranges::number("fill_value", value, value.is_finite(), "'mean' or a finite number")?;
                }
                Self {
                    kind: Kind::Attention,
                    out_features: config.out_features,
                    num_heads: config.num_heads,
                    concat: config.concat,
                    edge_features: config.edge_features.unwrap_or(0),
                    is_additive: config.version == 1,
                    negative_slope: config.negative_slope,
                    add_self_loops: config.add_self_loops,
                    fill_value: config.fill_value,
                    residual: config.residual,
                    use_bias: config.use_bias,
                    dropout: config.dropout,
                    seed: config.seed,
                    ..none.with_inputs(config.in_features)
                }
            }
            GraphConfig::Transformer(config) => {
                ranges::optional_count("edge_features", config.edge_features)?;
                Self {
                    kind: Kind::Transformer,
                    out_features: config.out_features,
                    num_heads: config.num_heads,
                    concat: config.concat,
                    edge_features: config.edge_features.unwrap_or(0),
                    beta: config.beta,
                    use_bias: config.use_bias,
                    dropout: config.dropout,
                    seed: config.seed,
                    ..none.with_inputs(config.in_features)
                }
            }
        };
        settings.check()?;
        Ok(settings)
    }

    fn with_inputs(self, in_features: InFeatures) -> Self {
        Self { in_features: in_features.ends(), is_pair: matches!(in_features, InFeatures::Pair(_)), ..self }
    }

    fn check(&self) -> Result<()> {
        let &Self { in_features: [sources, targets], out_features, num_heads, .. } = self;
        ranges::count("num_heads", num_heads)?;
        ranges::probability("dropout", self.dropout)?;
        ranges::seed("seed", self.seed)?;
        match self.is_pair {
            true if sources.min(targets) == 0 => {
                let expected = "two integers of at least 1, [source, target]";
                return Err(Error::value("in_features", expected, format_args!("[{sources},{targets}]")));
            }
            _ => ranges::count("in_features", sources)?,
        }
        ranges::count("out_features", out_features)?;
        let inputs = sources.max(targets).max(self.edge_features).max(3);
        let width = num_heads.checked_mul(out_features);
        let width = width.map(|width| if self.project { width.max(sources) } else { width });
        let elements = width.and_then(|width| width.checked_mul(inputs));
        if elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
            let expected = format_args!("parameters of at most {MOST_ELEMENTS} elements");
            let actual = format_args!("{out_features} for {num_heads} heads of {inputs} inputs");
            return Err(Error::option("out_features", expected, actual));
        }
        Ok(())
    }

    /// `num_heads · out_features`: the width of what the heads see.
    pub fn width(&self) -> usize {
        self.num_heads * self.out_features
    }

    /// The width of the output.
    pub fn output_width(&self) -> usize {
        if self.concat { self.width() } else { self.out_features }
    }
}

/// The options of a graph layer's `forward`.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct GraphOptions {
    /// Return the weights of the edges; their output has to be given.
    pub weights: bool,
    /// Selects what training drops, less than 2⁵³; the layer's own seed where absent.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::optional"))]
    pub seed: Option<u64>,
}

/// Options that are of more than one type: `inFeatures` and `fillValue`.
#[cfg(feature = "serde")]
mod forms {
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
    use serde::ser::{Serialize, Serializer};

    use super::InFeatures;

    struct FeaturesVisitor;

    impl<'de> Visitor<'de> for FeaturesVisitor {
        type Value = InFeatures;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer of at least 1, or two of them, [source, target]")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<InFeatures, E> {
            Ok(InFeatures::Every(usize::try_from(number).unwrap_or(usize::MAX)))
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<InFeatures, E> {
            // An integer below 2⁵³; anything else becomes 0, which is refused.
            let is_count = number.trunc() == number && (1.0..9e15).contains(&number);
            self.visit_u64(if is_count { number as u64 } else { 0 })
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<InFeatures, A::Error> {
            // A format that does not tell the length refuses further items itself.
            let is_pair = items.size_hint().is_none_or(|count| count == 2);
            let mut next = || Ok(items.next_element()?.filter(|_| is_pair).unwrap_or(0));
            Ok(InFeatures::Pair([next()?, next()?]))
        }
    }

    impl<'de> Deserialize<'de> for InFeatures {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(FeaturesVisitor)
        }
    }

    impl Serialize for InFeatures {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self {
                Self::Every(features) => features.serialize(serializer),
                Self::Pair(features) => features.serialize(serializer),
            }
        }
    }

    /// `'mean'`, which is `None`, or a number.
    pub(super) mod fill_value {
        use super::{Deserializer, Error, Serialize, Serializer, Unexpected, Visitor, fmt};

        struct FillVisitor;

        impl Visitor<'_> for FillVisitor {
            type Value = Option<f32>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("'mean' or a finite number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Option<f32>, E> {
                match text {
                    "mean" => Ok(None),
                    _ => Err(E::invalid_type(Unexpected::Str(text), &self)),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Option<f32>, E> {
                Ok(Some(number as f32))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Option<f32>, E> {
                Ok(Some(number as f32))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Option<f32>, E> {
                Ok(Some(number as f32))
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(given: D) -> Result<Option<f32>, D::Error> {
            given.deserialize_any(FillVisitor)
        }

        pub(in super::super) fn serialize<S: Serializer>(value: &Option<f32>, to: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(number) => number.serialize(to),
                None => to.serialize_unit_variant("FillValue", 0, "mean"),
            }
        }
    }
}

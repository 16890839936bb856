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
    /// Replaces the self-loops given by one for each node; true by default.
    pub add_self_loops: bool,
    /// Adds biases; true by default.
    pub use_bias: bool,
    /// The parameters are drawn from it; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for ConvolutionConfig {
    fn default() -> Self {
        Self { in_features: 0, out_features: 0, add_self_loops: true, use_bias: true, seed: 0 }
    }
}

/// How a [`Kind::Sage`] joins the features of a node's neighbors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum SageReduce {
    /// Their mean.
    #[default]
    Mean,
    /// The largest, feature by feature.
    Max,
}

/// The configuration of a [`Kind::Sage`]. Both sizes have to be given.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct SageConfig {
    /// Features of a node.
    pub in_features: usize,
    /// Features of an output.
    pub out_features: usize,
    /// How the features of neighbors are joined; by their mean by default.
    pub reduce: SageReduce,
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
        let reduce = SageReduce::Mean;
        Self { in_features: 0, out_features: 0, reduce, normalize: false, use_bias: true, seed: 0 }
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
    /// Features of a node.
    pub in_features: usize,
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
    /// Replaces the self-loops given by one for each node; true by default.
    pub add_self_loops: bool,
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
            in_features: 0,
            out_features: 0,
            num_heads: 1,
            concat: true,
            edge_features: None,
            version: 2,
            negative_slope: 0.2,
            add_self_loops: true,
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
    /// Features of a node.
    pub in_features: usize,
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
            in_features: 0,
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
    pub in_features: usize,
    pub out_features: usize,
    pub num_heads: usize,
    pub concat: bool,
    /// 0 if edges have no features.
    pub edge_features: usize,
    /// True for `GATConv`, which scores the ends of an edge separately; false for `GATv2Conv`.
    pub is_additive: bool,
    pub negative_slope: f32,
    pub beta: bool,
    pub reduce: Reduce,
    pub normalize: bool,
    pub add_self_loops: bool,
    pub use_bias: bool,
    pub dropout: f32,
    pub seed: u64,
}

impl Settings {
    /// The settings of a configuration whose every value is in range.
    ///
    /// # Errors
    /// `OPTION` for a value out of range, or sizes that make a parameter too large.
    #[inline(never)]
    pub(super) fn of(config: &GraphConfig) -> Result<Self> {
        let none = Self {
            kind: Kind::Convolution,
            in_features: 0,
            out_features: 0,
            num_heads: 1,
            concat: true,
            edge_features: 0,
            is_additive: false,
            negative_slope: 0.0,
            beta: false,
            reduce: Reduce::Mean,
            normalize: false,
            add_self_loops: false,
            use_bias: true,
            dropout: 0.0,
            seed: 0,
        };
        let settings = match *config {
            GraphConfig::Convolution(ConvolutionConfig {
                in_features,
                out_features,
                add_self_loops,
                use_bias,
                seed,
            }) => Self { in_features, out_features, add_self_loops, use_bias, seed, ..none },
            GraphConfig::Sage(SageConfig { in_features, out_features, reduce, normalize, use_bias, seed }) => {
                let reduce = match reduce {
                    SageReduce::Mean => Reduce::Mean,
                    SageReduce::Max => Reduce::Max,
                };
                Self { kind: Kind::Sage, in_features, out_features, reduce, normalize, use_bias, seed, ..none }
            }
            GraphConfig::Attention(config) => {
                ranges::optional_count("edge_features", config.edge_features)?;
                if !matches!(config.version, 1 | 2) {
                    return Err(Error::value("version", "1 or 2", config.version));
                }
                let slope = config.negative_slope;
                ranges::number("negative_slope", slope, (0.0..=1.0).contains(&slope), "a number from 0 to 1")?;
                Self {
                    kind: Kind::Attention,
                    in_features: config.in_features,
                    out_features: config.out_features,
                    num_heads: config.num_heads,
                    concat: config.concat,
                    edge_features: config.edge_features.unwrap_or(0),
                    is_additive: config.version == 1,
                    negative_slope: config.negative_slope,
                    add_self_loops: config.add_self_loops,
                    use_bias: config.use_bias,
                    dropout: config.dropout,
                    seed: config.seed,
                    ..none
                }
            }
            GraphConfig::Transformer(config) => {
                ranges::optional_count("edge_features", config.edge_features)?;
                Self {
                    kind: Kind::Transformer,
                    in_features: config.in_features,
                    out_features: config.out_features,
                    num_heads: config.num_heads,
                    concat: config.concat,
                    edge_features: config.edge_features.unwrap_or(0),
                    beta: config.beta,
                    use_bias: config.use_bias,
                    dropout: config.dropout,
                    seed: config.seed,
                    ..none
                }
            }
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        let &Self { in_features, out_features, num_heads, .. } = self;
        ranges::count("num_heads", num_heads)?;
        ranges::probability("dropout", self.dropout)?;
        ranges::seed("seed", self.seed)?;
        ranges::count("in_features", in_features)?;
        ranges::count("out_features", out_features)?;
        let inputs = in_features.max(self.edge_features).max(3);
        let elements = num_heads.checked_mul(out_features).and_then(|width| width.checked_mul(inputs));
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

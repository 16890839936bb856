//! The configurations of the graph layers, and the options of their calls.

use std::fmt::Write;

use super::Graph;
use super::aggregate::Reduce;
use crate::error::{Error, Result};
use crate::options::parse::{Given, read_options};
use crate::options::{COUNT, count, optional_seed, probability, push_fraction, seed};

/// Which layer of PyTorch Geometric a layer is.
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
    /// The options that its constructor takes.
    fn known(self) -> &'static [&'static str] {
        const KNOWN: &[&str] =
            &["inFeatures", "outFeatures", "useBias", "seed", "numHeads", "concat", "edgeFeatures", "dropout", "beta"];
        match self {
            Self::Convolution => &["inFeatures", "outFeatures", "useBias", "seed", "addSelfLoops"],
            Self::Sage => &["inFeatures", "outFeatures", "useBias", "seed", "reduce", "normalize"],
            Self::Attention => &[
                "inFeatures",
                "outFeatures",
                "useBias",
                "seed",
                "numHeads",
                "concat",
                "edgeFeatures",
                "dropout",
                "addSelfLoops",
                "version",
                "negativeSlope",
            ],
            Self::Transformer => KNOWN,
        }
    }

    /// Whether the layer has attention weights.
    pub fn attends(self) -> bool {
        matches!(self, Self::Attention | Self::Transformer)
    }
}

/// The configuration of a graph layer with every default filled in; options that its kind does not have are at theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphConfig {
    /// Which layer it is.
    pub kind: Kind,
    /// Features of a node.
    pub in_features: usize,
    /// Features of an output, or of one head of it.
    pub out_features: usize,
    /// Whether there are biases; true unless given.
    pub use_bias: bool,
    /// What the parameters are drawn from, and what training drops; 0 unless given.
    pub seed: u64,
    /// Whether each node has one self-loop; true unless given.
    pub add_self_loops: bool,
    /// How `GraphSage` aggregates; by the mean unless given.
    pub reduce: Reduce,
    /// Whether `GraphSage` divides each output by its length; false unless given.
    pub normalize: bool,
    /// Heads; 1 unless given.
    pub num_heads: usize,
    /// Whether heads stand side by side in the output, or their mean does; true unless given.
    pub concat: bool,
    /// Features of an edge, if edges have any.
    pub edge_features: Option<usize>,
    /// The probability with which training drops a weight; 0 unless given.
    pub dropout: f32,
    /// 1 for `GATConv`, 2 for `GATv2Conv`; 2 unless given.
    pub version: u8,
    /// The slope of the leaky rectifier below 0; 0.2 unless given.
    pub negative_slope: f32,
    /// Whether `GraphTransformer` gates its skip connection; false unless given.
    pub beta: bool,
}

impl GraphConfig {
    /// The most elements that one parameter may have.
    const MOST_ELEMENTS: usize = i32::MAX as usize;

    /// The configuration of a layer of this kind.
    ///
    /// # Errors
    /// `OPTION` for an unknown name, a value out of range, or sizes that make a parameter too large.
    pub fn parse(json: &str, kind: Kind) -> Result<Self> {
        let mut config = Self {
            kind,
            in_features: 0,
            out_features: 0,
            use_bias: true,
            seed: 0,
            add_self_loops: true,
            reduce: Reduce::Mean,
            normalize: false,
            num_heads: 1,
            concat: true,
            edge_features: None,
            dropout: 0.0,
            version: 2,
            negative_slope: 0.2,
            beta: false,
        };
        read_options(Some(json), kind.known(), &[], &mut |given| config.take(given))?;
        for (name, size) in [("inFeatures", config.in_features), ("outFeatures", config.out_features)] {
            if size == 0 {
                return Err(Error::option(name, COUNT, "nothing"));
            }
        }
        let inputs = config.in_features.max(config.edge_features.unwrap_or(0)).max(3);
        let elements = config.num_heads.checked_mul(config.out_features).and_then(|width| width.checked_mul(inputs));
        if elements.is_none_or(|elements| elements > Self::MOST_ELEMENTS) {
            return Err(Error::option(
                "outFeatures",
                format!("parameters of at most {} elements", Self::MOST_ELEMENTS),
                format_args!("{} for {} heads of {inputs} inputs", config.out_features, config.num_heads),
            ));
        }
        Ok(config)
    }

    fn take(&mut self, given: &Given<'_>) -> Result<()> {
        let size = || count(given).map(Option::unwrap_or_default);
        match given.name {
            "inFeatures" => self.in_features = size()?,
            "outFeatures" => self.out_features = size()?,
            "useBias" => self.use_bias = given.boolean()?,
            "seed" => self.seed = seed(given)?,
            "addSelfLoops" => self.add_self_loops = given.boolean()?,
            "reduce" => self.reduce = [Reduce::Mean, Reduce::Max][given.choice(&["mean", "max"])?],
            "normalize" => self.normalize = given.boolean()?,
            "numHeads" => self.num_heads = size()?,
            "concat" => self.concat = given.boolean()?,
            "edgeFeatures" => self.edge_features = count(given)?,
            "dropout" => self.dropout = probability(given)?,
            "version" => self.version = given.integer(1, 2, "1 or 2")? as u8,
            "negativeSlope" => {
                self.negative_slope = given.number(0.0..1.0f32.next_up(), "a number from 0 to 1")?;
            }
            "beta" => self.beta = given.boolean()?,
            // Names without a reader do not come through.
            _ => {}
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

    /// The configuration as a JSON object under the names of the public interface.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        for &name in self.kind.known() {
            json.push(if json.is_empty() { '{' } else { ',' });
            // Writing to a String does not fail.
            let _ = write!(json, "\"{name}\":");
            let truth = |truth| if truth { "true" } else { "false" };
            let number = match name {
                "inFeatures" => self.in_features as u64,
                "outFeatures" => self.out_features as u64,
                "seed" => self.seed,
                "numHeads" => self.num_heads as u64,
                "version" => self.version.into(),
                "edgeFeatures" if self.edge_features.is_some() => self.edge_features.unwrap_or_default() as u64,
                "dropout" | "negativeSlope" => {
                    push_fraction(&mut json, if name == "dropout" { self.dropout } else { self.negative_slope });
                    continue;
                }
                _ => {
                    json.push_str(match name {
                        "useBias" => truth(self.use_bias),
                        "addSelfLoops" => truth(self.add_self_loops),
                        "normalize" => truth(self.normalize),
                        "concat" => truth(self.concat),
                        "beta" => truth(self.beta),
                        "reduce" if self.reduce == Reduce::Mean => "\"mean\"",
                        "reduce" => "\"max\"",
                        _ => "null",
                    });
                    continue;
                }
            };
            let _ = write!(json, "{number}");
        }
        json.push('}');
        json
    }
}

/// The options of a graph layer's `forward`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForwardOptions {
    /// Return the weights of the edges.
    pub weights: bool,
    /// What training drops; the layer's own seed where absent.
    pub seed: Option<u64>,
}

impl ForwardOptions {
    /// The options of one call.
    pub fn parse(json: Option<&str>) -> Result<Self> {
        let mut options = Self::default();
        read_options(json, &["weights", "seed"], &["edgeAttr", "edgeWeight"], &mut |given| {
            match given.name {
                "weights" => options.weights = given.boolean()?,
                _ => options.seed = optional_seed(given)?,
            }
            Ok(())
        })?;
        Ok(options)
    }
}

/// The `reduce` of `propagate`.
pub fn parse_reduce(json: Option<&str>) -> Result<Reduce> {
    let mut reduce = Reduce::Sum;
    read_options(json, &["reduce"], &["edgeWeight"], &mut |given| {
        let all = [Reduce::Sum, Reduce::Mean, Reduce::Max, Reduce::Min];
        reduce = all[given.choice(&["sum", "mean", "max", "min"])?];
        Ok(())
    })?;
    Ok(reduce)
}

/// The `numNodes` of a graph.
pub fn parse_nodes(json: &str) -> Result<usize> {
    const EXPECTED: &str = "an integer from 0 to 2147483647";
    let mut nodes = None;
    read_options(Some(json), &["numNodes"], &["source", "target"], &mut |given| {
        nodes = Some(given.integer(0, Graph::MOST_NODES as i64, EXPECTED)? as usize);
        Ok(())
    })?;
    nodes.ok_or_else(|| Error::option("numNodes", EXPECTED, "nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault<T: std::fmt::Debug>(result: Result<T>) -> (String, String, String) {
        let error = result.unwrap_err();
        (error.argument.clone(), error.expected.clone(), error.actual.clone())
    }

    #[test]
    fn configurations_fill_their_defaults() {
        for (kind, given, expected) in [
            (
                Kind::Convolution,
                r#"{"inFeatures":3,"outFeatures":4}"#,
                r#"{"inFeatures":3,"outFeatures":4,"useBias":true,"seed":0,"addSelfLoops":true}"#,
            ),
            (
                Kind::Sage,
                r#"{"inFeatures":3,"outFeatures":4,"reduce":"max"}"#,
                r#"{"inFeatures":3,"outFeatures":4,"useBias":true,"seed":0,"reduce":"max","normalize":false}"#,
            ),
            (
                Kind::Attention,
                r#"{"inFeatures":3,"outFeatures":4,"dropout":0.5,"version":1,"negativeSlope":1}"#,
                r#"{"inFeatures":3,"outFeatures":4,"useBias":true,"seed":0,"numHeads":1,"concat":true,"edgeFeatures":null,"dropout":0.5,"addSelfLoops":true,"version":1,"negativeSlope":1}"#,
            ),
            (
                Kind::Transformer,
                r#"{"inFeatures":3,"outFeatures":4,"edgeFeatures":2,"numHeads":5,"concat":false}"#,
                r#"{"inFeatures":3,"outFeatures":4,"useBias":true,"seed":0,"numHeads":5,"concat":false,"edgeFeatures":2,"dropout":0,"beta":false}"#,
            ),
        ] {
            let config = GraphConfig::parse(given, kind).unwrap();
            assert_eq!(config.to_json(), expected);
            assert_eq!(GraphConfig::parse(expected, kind).unwrap(), config);
        }
    }

    #[test]
    fn a_configuration_that_cannot_be_is_told() {
        for (kind, json, argument, expected, actual) in [
            (Kind::Sage, r#"{"outFeatures":4}"#, "inFeatures", COUNT, "nothing"),
            (Kind::Sage, r#"{"inFeatures":4}"#, "outFeatures", COUNT, "nothing"),
            (Kind::Sage, r#"{"inFeatures":0,"outFeatures":4}"#, "inFeatures", COUNT, "0"),
            (Kind::Sage, r#"{"reduce":"sum"}"#, "reduce", "'mean' or 'max'", "\"sum\""),
            (
                Kind::Sage,
                r#"{"numHeads":2}"#,
                "numHeads",
                "a known option; the nearest is 'useBias'",
                "an unknown name",
            ),
            (Kind::Attention, r#"{"version":3}"#, "version", "1 or 2", "3"),
            (Kind::Attention, r#"{"negativeSlope":1.5}"#, "negativeSlope", "a number from 0 to 1", "1.5"),
            (Kind::Attention, r#"{"edgeFeatures":0}"#, "edgeFeatures", COUNT, "0"),
            (Kind::Transformer, r#"{"dropout":1}"#, "dropout", "a number of at least 0 and less than 1", "1"),
        ] {
            let found = fault(GraphConfig::parse(json, kind));
            assert_eq!(found, (argument.into(), expected.into(), actual.into()), "{json}");
        }
        let json = r#"{"inFeatures":65536,"outFeatures":65536}"#;
        assert_eq!(fault(GraphConfig::parse(json, Kind::Convolution)).0, "outFeatures");
    }

    #[test]
    fn options_of_calls_are_read() {
        let options = ForwardOptions::parse(Some(r#"{"weights":true,"seed":4}"#)).unwrap();
        assert_eq!(options, ForwardOptions { weights: true, seed: Some(4) });
        let (argument, expected, _) = fault(ForwardOptions::parse(Some(r#"{"edgeAttribute":1}"#)));
        assert_eq!(
            (argument.as_str(), expected.as_str()),
            ("edgeAttribute", "a known option; the nearest is 'edgeAttr'")
        );
        assert_eq!(parse_reduce(None), Ok(Reduce::Sum));
        assert_eq!(parse_reduce(Some(r#"{"reduce":"min"}"#)), Ok(Reduce::Min));
        assert_eq!(fault(parse_reduce(Some(r#"{"reduce":"mul"}"#))).1, "'sum', 'mean', 'max' or 'min'");
        assert_eq!(parse_nodes(r#"{"numNodes":2147483647}"#), Ok(Graph::MOST_NODES));
        assert_eq!(fault(parse_nodes(r#"{"numNodes":2147483648}"#)).2, "2147483648");
        assert_eq!(fault(parse_nodes("{}")).2, "nothing");
    }
}

//! The configurations of the graph layers, and the options of their calls.

use std::fmt::Write;

use super::Graph;
use super::aggregate::Reduce;
use crate::error::{Error, Result};
use crate::options::parse::{Given, read_options};
use crate::options::{COUNT, count, optional_seed, probability, push_fraction, seed};

/// Which layer of PyTorch Geometric a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `GCNConv`.
    Convolution = 1,
    /// `SAGEConv`.
    Sage = 2,
    /// `GATConv` (version 1) or `GATv2Conv` (version 2).
    Attention = 4,
    /// `TransformerConv`.
    Transformer = 8,
}

impl Kind {
    /// Whether the layer has attention weights.
    pub fn attends(self) -> bool {
        self as u8 & ATTENTION != 0
    }
}

/// The kinds of layers that have heads, and all kinds.
const ATTENTION: u8 = Kind::Attention as u8 | Kind::Transformer as u8;
const ALL: u8 = ATTENTION | Kind::Convolution as u8 | Kind::Sage as u8;

/// What the values of an option are; each is held as a double.
#[derive(Clone, Copy)]
enum Values {
    Count,
    Boolean,
    Seed,
    Probability,
    Slope,
    Version,
    Reduce,
}

/// How many options all layers together have.
const MOST_OPTIONS: usize = 14;
/// The options of all layers: name, values, what is the default, and which kinds have it. A count of 0 is none.
static OPTIONS: [(&str, Values, f64, u8); MOST_OPTIONS] = [
    ("inFeatures", Values::Count, 0.0, ALL),
    ("outFeatures", Values::Count, 0.0, ALL),
    ("numHeads", Values::Count, 1.0, ATTENTION),
    ("concat", Values::Boolean, 1.0, ATTENTION),
    ("edgeFeatures", Values::Count, 0.0, ATTENTION),
    ("version", Values::Version, 2.0, Kind::Attention as u8),
    ("negativeSlope", Values::Slope, 0.2, Kind::Attention as u8),
    ("beta", Values::Boolean, 0.0, Kind::Transformer as u8),
    ("reduce", Values::Reduce, 0.0, Kind::Sage as u8),
    ("normalize", Values::Boolean, 0.0, Kind::Sage as u8),
    ("addSelfLoops", Values::Boolean, 1.0, Kind::Attention as u8 | Kind::Convolution as u8),
    ("useBias", Values::Boolean, 1.0, ALL),
    ("dropout", Values::Probability, 0.0, ATTENTION),
    ("seed", Values::Seed, 0.0, ALL),
];

/// The configuration of a graph layer with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphConfig {
    kind: Kind,
    /// In the order of [`OPTIONS`]; what its kind does not have is at its default.
    values: [f64; MOST_OPTIONS],
}

impl GraphConfig {
    /// The most elements that one parameter may have.
    const MOST_ELEMENTS: usize = i32::MAX as usize;

    /// The configuration of a layer of this kind.
    ///
    /// # Errors
    /// `OPTION` for an unknown name, a value out of range, or sizes that make a parameter too large.
    #[inline(never)]
    pub fn parse(json: &str, kind: Kind) -> Result<Self> {
        let mut config = Self { kind, values: [0.0; MOST_OPTIONS] };
        let mut known = Vec::with_capacity(MOST_OPTIONS);
        for (value, &(name, _, default, kinds)) in config.values.iter_mut().zip(&OPTIONS) {
            *value = default;
            if kinds & kind as u8 != 0 {
                known.push(name);
            }
        }
        read_options(Some(json), &known, &[], &mut |given| {
            for (value, &(name, values, ..)) in config.values.iter_mut().zip(&OPTIONS) {
                if name == given.name {
                    *value = read(given, values)?;
                }
            }
            Ok(())
        })?;
        if config.in_features().min(config.out_features()) == 0 {
            let missing = if config.in_features() == 0 { "inFeatures" } else { "outFeatures" };
            return Err(Error::option(missing, COUNT, "nothing"));
        }
        let inputs = config.in_features().max(config.edge_features()).max(3);
        let elements =
            config.num_heads().checked_mul(config.out_features()).and_then(|width| width.checked_mul(inputs));
        if elements.is_none_or(|elements| elements > Self::MOST_ELEMENTS) {
            let expected = format_args!("parameters of at most {} elements", Self::MOST_ELEMENTS);
            let (outputs, heads) = (config.out_features(), config.num_heads());
            let actual = format_args!("{outputs} for {heads} heads of {inputs} inputs");
            return Err(Error::option("outFeatures", expected, actual));
        }
        Ok(config)
    }

    /// The configuration as a JSON object under the names of the public interface.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        for (value, &(name, values, _, kinds)) in self.values.iter().zip(&OPTIONS) {
            if kinds & self.kind as u8 == 0 {
                continue;
            }
            json.push(if json.is_empty() { '{' } else { ',' });
            // Writing to a String does not fail.
            let _ = write!(json, "\"{name}\":");
            let text = match (values, *value != 0.0) {
                (Values::Boolean, false) => "false",
                (Values::Boolean, true) => "true",
                (Values::Reduce, false) => "\"mean\"",
                (Values::Reduce, true) => "\"max\"",
                (Values::Count, false) => "null",
                (Values::Probability | Values::Slope, _) => {
                    push_fraction(&mut json, *value as f32);
                    ""
                }
                _ => {
                    let _ = write!(json, "{}", *value as u64);
                    ""
                }
            };
            json.push_str(text);
        }
        json.push('}');
        json
    }

    /// Which layer it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Features of a node.
    pub fn in_features(&self) -> usize {
        self.values[0] as usize
    }

    /// Features of an output, or of one head of it.
    pub fn out_features(&self) -> usize {
        self.values[1] as usize
    }

    /// Heads; 1 for a layer without.
    pub fn num_heads(&self) -> usize {
        self.values[2] as usize
    }

    /// Whether heads stand side by side in the output, or their mean does.
    pub fn concat(&self) -> bool {
        self.values[3] != 0.0
    }

    /// Features of an edge, 0 if edges have none.
    pub fn edge_features(&self) -> usize {
        self.values[4] as usize
    }

    /// Whether it is `GATConv`, which scores the ends of an edge apart, and not `GATv2Conv`.
    pub fn is_additive(&self) -> bool {
        self.kind == Kind::Attention && self.values[5] == 1.0
    }

    /// The slope of the leaky rectifier below 0.
    pub fn negative_slope(&self) -> f32 {
        self.values[6] as f32
    }

    /// Whether `GraphTransformer` gates its skip connection.
    pub fn beta(&self) -> bool {
        self.values[7] != 0.0
    }

    /// How `GraphSage` aggregates.
    pub fn reduce(&self) -> Reduce {
        if self.values[8] == 0.0 { Reduce::Mean } else { Reduce::Max }
    }

    /// Whether `GraphSage` divides each output by its length.
    pub fn normalize(&self) -> bool {
        self.values[9] != 0.0
    }

    /// Whether each node gets one self-loop.
    pub fn add_self_loops(&self) -> bool {
        self.values[10] != 0.0 && matches!(self.kind, Kind::Attention | Kind::Convolution)
    }

    /// Whether there are biases.
    pub fn use_bias(&self) -> bool {
        self.values[11] != 0.0
    }

    /// The probability with which training drops a weight.
    pub fn dropout(&self) -> f32 {
        self.values[12] as f32
    }

    /// What the parameters are drawn from, and what training drops.
    pub fn seed(&self) -> u64 {
        self.values[13] as u64
    }

    /// `num_heads · out_features`: the width of what the heads see.
    pub fn width(&self) -> usize {
        self.num_heads() * self.out_features()
    }

    /// The width of the output.
    pub fn output_width(&self) -> usize {
        if self.concat() { self.width() } else { self.out_features() }
    }
}

fn read(given: &Given<'_>, values: Values) -> Result<f64> {
    Ok(match values {
        Values::Count => count(given)?.unwrap_or_default() as f64,
        Values::Boolean => f64::from(u8::from(given.boolean()?)),
        Values::Seed => seed(given)? as f64,
        Values::Probability => probability(given)?.into(),
        Values::Slope => given.number(0.0..1.0f32.next_up(), "a number from 0 to 1")?.into(),
        Values::Version => given.integer(1, 2, "1 or 2")? as f64,
        Values::Reduce => given.choice(&["mean", "max"])? as f64,
    })
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
                r#"{"inFeatures":3,"outFeatures":4,"addSelfLoops":true,"useBias":true,"seed":0}"#,
            ),
            (
                Kind::Sage,
                r#"{"inFeatures":3,"outFeatures":4,"reduce":"max"}"#,
                r#"{"inFeatures":3,"outFeatures":4,"reduce":"max","normalize":false,"useBias":true,"seed":0}"#,
            ),
            (
                Kind::Attention,
                r#"{"inFeatures":3,"outFeatures":4,"dropout":0.5,"version":1,"negativeSlope":1}"#,
                r#"{"inFeatures":3,"outFeatures":4,"numHeads":1,"concat":true,"edgeFeatures":null,"version":1,"negativeSlope":1,"addSelfLoops":true,"useBias":true,"dropout":0.5,"seed":0}"#,
            ),
            (
                Kind::Transformer,
                r#"{"inFeatures":3,"outFeatures":4,"edgeFeatures":2,"numHeads":5,"concat":false}"#,
                r#"{"inFeatures":3,"outFeatures":4,"numHeads":5,"concat":false,"edgeFeatures":2,"beta":false,"useBias":true,"dropout":0,"seed":0}"#,
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

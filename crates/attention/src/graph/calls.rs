//! Graphs and their layers as the bindings call them.

use std::sync::Arc;

use super::Graph;
use super::layer::{GraphLayer, Inputs};
use super::options::{ForwardOptions, Kind, parse_nodes, parse_reduce};
use super::{aggregate, softmax};
use crate::calls::{Call, Object};
use crate::error::{Code, Error, Result};
use crate::weights::Entry;

/// A graph from its edges, or a layer.
pub fn make(kind: &str, config: &str, integers: [Option<&[i32]>; 2]) -> Result<Arc<dyn Object>> {
    let kind = match kind {
        "graph" => {
            let [source, target] = integers.map(Option::unwrap_or_default);
            return Ok(Arc::new(Graph::from_edges(parse_nodes(config)?, source, target)?));
        }
        "graph-convolution" => Kind::Convolution,
        "graph-sage" => Kind::Sage,
        "graph-attention" => Kind::Attention,
        "graph-transformer" => Kind::Transformer,
        _ => return Err(Error::new(Code::Internal, "kind", "a kind of graph layer", kind)),
    };
    Ok(Arc::new(GraphLayer::new(config, kind)?))
}

impl Object for Graph {
    fn config(&self) -> String {
        self.to_json()
    }
}

impl Object for GraphLayer {
    fn config(&self) -> String {
        self.config().to_json()
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        self.parameters().entries()
    }

    fn with_entries(&self, entries: &[Entry<'_>], prefix: &str) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(Self::loaded(self.config(), entries, prefix)?))
    }
}

/// `propagate` of x along a graph's edges, with a weight for each edge beside it.
pub fn propagate(call: &mut Call<'_>) -> Result<()> {
    let (x, edge_weight) = (call.tensor("x")?, call.optional_input());
    let (reduce, output) = (parse_reduce(call.options)?, call.output());
    aggregate::propagate(call.context, call.object(0)?, x, reduce, edge_weight, output)
}

/// `edgeSoftmax` of scores over a graph's edges.
pub fn edge_softmax(call: &mut Call<'_>) -> Result<()> {
    let (scores, output) = (call.tensor("scores")?, call.output());
    softmax::edge_softmax(call.context, call.object(0)?, scores, output)
}

/// `Graph.inDegrees`.
pub fn in_degrees(call: &mut Call<'_>) -> Result<()> {
    let output = call.indices().unwrap_or_default();
    call.object::<Graph>(0)?.in_degrees(output)
}

/// A layer's `forward` over a graph: x, the features of edges, the weights of edges.
pub fn forward(call: &mut Call<'_>) -> Result<()> {
    let (x, edge_attr) = (call.tensor("x")?, call.optional_tensor("edgeAttr")?);
    let inputs = Inputs { x, edge_attr, edge_weight: call.optional_input() };
    let options = ForwardOptions::parse(call.options)?;
    let (output, weights) = (call.output(), call.optional_output(1));
    let (layer, graph) = (call.object::<GraphLayer>(0)?, call.object::<Graph>(1)?);
    layer.forward(call.context, graph, inputs, &options, call.training, output, weights)
}

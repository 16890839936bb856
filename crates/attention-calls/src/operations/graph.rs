//! Graphs and their layers.

use std::sync::Arc;

use ruvector_attention::graph::aggregate::{self, Reduce};
use ruvector_attention::graph::layer::{GraphLayer, Inputs};
use ruvector_attention::graph::options::{GraphConfig, GraphOptions};
use ruvector_attention::graph::{Graph, softmax};
use ruvector_attention::layers::{Entry, LoadOptions};
use ruvector_attention::{Error, Result};
use serde::Deserialize;

use crate::call::Call;
use crate::object::Object;
use crate::options::{Names, read, write};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EdgesConfig {
    num_nodes: Option<i64>,
}

/// A graph from the ends of its edges.
pub(super) fn make(config: Option<&str>, integers: [Option<&[i32]>; 2]) -> Result<Arc<dyn Object>> {
    let EdgesConfig { num_nodes } = read(config, Names { beside: &["source", "target"], without: &[] })?;
    let nodes = num_nodes.and_then(|nodes| usize::try_from(nodes).ok()).filter(|&nodes| nodes <= Graph::MOST_NODES);
    let nodes = nodes.ok_or_else(|| Error::value("numNodes", "an integer from 0 to 2147483647", ""))?;
    let [source, target] = integers.map(Option::unwrap_or_default);
    Ok(Arc::new(Graph::from_edges(nodes, source, target)?))
}

impl Object for Graph {
    fn config(&self) -> Result<String> {
        let (nodes, edges, loops) = (self.num_nodes(), self.num_edges(), self.num_self_loops());
        Ok(format!("{{\"numNodes\":{nodes},\"numEdges\":{edges},\"numSelfLoops\":{loops}}}"))
    }
}

/// A layer of the kind that the type of its configuration says.
pub(super) fn make_layer<C: for<'de> Deserialize<'de> + Default + Into<GraphConfig>>(
    config: Option<&str>,
) -> Result<Arc<dyn Object>> {
    let config: C = read(config, Names::default())?;
    Ok(Arc::new(GraphLayer::new(config)?))
}

impl Object for GraphLayer {
    fn config(&self) -> Result<String> {
        match self.config() {
            GraphConfig::Convolution(config) => write(config),
            GraphConfig::Sage(config) => write(config),
            GraphConfig::Attention(config) => write(config),
            GraphConfig::Transformer(config) => write(config),
        }
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        self.parameters().entries()
    }

    fn with_entries(&self, entries: &[Entry<'_>], options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.loaded(entries, options)?))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PropagateOptions {
    reduce: Reduce,
}

/// `propagate` of x along a graph's edges, with a weight for each edge beside it.
pub(super) fn propagate(call: &mut Call<'_>) -> Result<()> {
    let (x, edge_weight) = (call.tensor("x")?, call.optional_input());
    let PropagateOptions { reduce } = read(call.options, Names { beside: &["edgeWeight"], without: &[] })?;
    let output = call.output();
    aggregate::propagate(call.context, call.object(0)?, x, reduce, edge_weight, output)
}

/// `edgeSoftmax` of scores over a graph's edges.
pub(super) fn edge_softmax(call: &mut Call<'_>) -> Result<()> {
    let (scores, output) = (call.tensor("scores")?, call.output());
    softmax::edge_softmax(call.context, call.object(0)?, scores, output)
}

/// `Graph.inDegrees`.
pub(super) fn in_degrees(call: &mut Call<'_>) -> Result<()> {
    let output = call.indices().unwrap_or_default();
    call.object::<Graph>(0)?.in_degrees(output)
}

/// A layer's `forward` over a graph: x, the features of edges, the weights of edges.
pub(super) fn forward(call: &mut Call<'_>) -> Result<()> {
    let (x, edge_attr) = (call.tensor("x")?, call.optional_tensor("edgeAttr")?);
    let inputs = Inputs { x, edge_attr, edge_weight: call.optional_input() };
    let options: GraphOptions = read(call.options, Names { beside: &["edgeAttr", "edgeWeight"], without: &[] })?;
    let (output, weights) = (call.output(), call.optional_output(1));
    let (layer, graph) = (call.object::<GraphLayer>(0)?, call.object::<Graph>(1)?);
    layer.forward(call.context, graph, inputs, &options, call.training, output, weights)
}

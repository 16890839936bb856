//! Graphs and graph layers.

use std::sync::Arc;

use ruvector_attention::graph::aggregate::{self, Reduce};
use ruvector_attention::graph::layer::{GraphLayer, Inputs};
use ruvector_attention::graph::options::{GraphConfig, GraphOptions};
use ruvector_attention::graph::{Graph, softmax};
use ruvector_attention::layers::{Entry, LoadOptions, StoredEntry};
use ruvector_attention::{Error, Result};
use serde::Deserialize;

use crate::call::Call;
use crate::object::Object;
use crate::options::write;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EdgesConfig {
    num_nodes: Option<i64>,
}

/// Creates a graph from the ends of its edges.
pub(super) fn create(call: &mut Call<'_>) -> Result<()> {
    let [source, target] = [call.integers()?, call.integers()?].map(Option::unwrap_or_default);
    let EdgesConfig { num_nodes } = call.options(&[])?;
    let nodes = num_nodes.and_then(|nodes| usize::try_from(nodes).ok()).filter(|&nodes| nodes <= Graph::MOST_NODES);
    let nodes = nodes.ok_or_else(|| Error::value("numNodes", "an integer from 0 to 2147483647", ""))?;
    call.keep(Arc::new(Graph::from_edges(nodes, source, target)?))
}

impl Object for Graph {
    /// A layer's first use of the graph creates its copy with self-loops.
    fn can_grow(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn config(&self) -> Result<String> {
        let (nodes, edges, loops) = (self.num_nodes(), self.num_edges(), self.num_self_loops());
        Ok(format!("{{\"numNodes\":{nodes},\"numEdges\":{edges},\"numSelfLoops\":{loops}}}"))
    }
}

/// Creates a layer; the configuration's type determines its kind.
pub(super) fn create_layer<C: for<'de> Deserialize<'de> + Default + Into<GraphConfig>>(
    call: &mut Call<'_>,
) -> Result<()> {
    let config: C = call.options(&[])?;
    call.keep(Arc::new(GraphLayer::new(config)?))
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

    fn stored(&self) -> Vec<StoredEntry<'_>> {
        self.parameters().entries().iter().map(StoredEntry::from).collect()
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

/// Runs `propagate` of x along a graph's edges, with optional edge weights.
pub(super) fn propagate(call: &mut Call<'_>) -> Result<()> {
    let (x, edge_weight) = (call.tensor()?, call.optional_tensor()?);
    let PropagateOptions { reduce } = call.options(&[])?;
    let output = call.output(x.shape.dims())?;
    aggregate::propagate(call.context, call.object(0)?, x, reduce, edge_weight, output)
}

/// Runs `edgeSoftmax` of scores over a graph's edges.
pub(super) fn edge_softmax(call: &mut Call<'_>) -> Result<()> {
    let scores = call.tensor()?;
    let output = call.output(scores.shape.dims())?;
    softmax::edge_softmax(call.context, call.object(0)?, scores, output)
}

/// Runs `Graph.inDegrees`.
pub(super) fn in_degrees(call: &mut Call<'_>) -> Result<()> {
    let graph: &Graph = call.object(0)?;
    graph.in_degrees(call.integer_output(&[graph.num_nodes()])?)
}

/// Runs a layer's `forward` over a graph, with x, edge features and edge weights as inputs.
pub(super) fn forward(call: &mut Call<'_>) -> Result<()> {
    let inputs = Inputs { x: call.tensor()?, edge_attr: call.optional_tensor()?, edge_weight: call.floats()? };
    let options: GraphOptions = call.options(&[])?;
    let (layer, graph): (&GraphLayer, &Graph) = (call.object(0)?, call.object(1)?);
    let output = call.output_like(inputs.x.shape, layer.output_width())?;
    // The mechanism rejects weights of a layer without heads, and a number of nodes other than the graph's.
    let fits = inputs.x.shape.dims().first() == Some(&graph.num_nodes());
    let asks = options.weights && layer.has_weights() && fits;
    let weights = call.output_if(asks, &[layer.num_weighted_edges(graph), layer.settings().num_heads])?;
    layer.forward(call.context, graph, inputs, &options, call.training, output, weights)
}

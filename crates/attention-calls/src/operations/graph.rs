//! Graphs and graph layers.

use std::sync::Arc;

use ruvector_attention::graph::aggregate::{self, Reduce};
use ruvector_attention::graph::layer::{GraphLayer, Inputs};
use ruvector_attention::graph::options::{GraphConfig, GraphOptions};
use ruvector_attention::graph::sample::{SampleOptions, sample_neighbors};
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
    num_sources: Option<i64>,
    num_targets: Option<i64>,
}

/// Creates a graph from the ends of its edges.
pub(super) fn create(call: &mut Call<'_>) -> Result<()> {
    let [source, target] = [call.integers()?, call.integers()?].map(Option::unwrap_or_default);
    let EdgesConfig { num_nodes, num_sources, num_targets } = call.options(&[])?;
    let count = |name, count: Option<i64>| {
        let count = count.and_then(|count| usize::try_from(count).ok()).filter(|&count| count <= Graph::MOST_NODES);
        count.ok_or_else(|| Error::value(name, "an integer from 0 to 2147483647", ""))
    };
    let graph = if num_sources.is_none() && num_targets.is_none() {
        Graph::from_edges(count("numNodes", num_nodes)?, source, target)?
    } else if num_nodes.is_some() {
        return Err(Error::value("numNodes", "nothing, as there are numSources and numTargets", ""));
    } else {
        Graph::between(count("numSources", num_sources)?, count("numTargets", num_targets)?, source, target)?
    };
    call.keep(Arc::new(graph))
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
        let sets = match self.has_two_sets() {
            true => format!(",\"numSources\":{},\"numTargets\":{}", self.num_sources(), self.num_targets()),
            false => String::new(),
        };
        Ok(format!("{{\"numNodes\":{nodes},\"numEdges\":{edges},\"numSelfLoops\":{loops}{sets}}}"))
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
        self.parameters().entries()
    }

    #[cfg(feature = "training")]
    fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.floats_mut()
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
    let graph: &Graph = call.object(0)?;
    // The mechanism rejects a number of rows other than the graph's.
    let fits = x.shape.dims().first() == Some(&graph.num_sources());
    let output = call.output(x.shape.with_first(if fits { graph.num_targets() } else { 0 }).dims())?;
    aggregate::propagate(call.context, graph, x, reduce, edge_weight, output)
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
    graph.in_degrees(call.integer_output(&[graph.num_targets()])?)
}

/// Runs `NeighborSampler.sample`: the nodes and edges of a subgraph. `call` is how often the sampler was called before.
pub(super) fn sample(call: &mut Call<'_>) -> Result<()> {
    let [nodes, fanouts, count] = [call.integers()?, call.integers()?, call.integers()?].map(Option::unwrap_or_default);
    let options: SampleOptions = call.options(&[])?;
    let count = count.first().map_or(0, |&count| count as u32);
    let sample = sample_neighbors(call.object(0)?, nodes, fanouts, options, count)?;
    for list in [&sample.nodes, &sample.edges, &sample.source, &sample.target] {
        call.integer_output(&[list.len()])?.copy_from_slice(list);
    }
    Ok(())
}

/// Runs a layer's `forward` over a graph, with the features of nodes and edges and edge weights as inputs.
pub(super) fn forward(call: &mut Call<'_>) -> Result<()> {
    let inputs = Inputs {
        x: call.tensor()?,
        x_target: call.optional_tensor()?,
        edge_attr: call.optional_tensor()?,
        edge_weight: call.floats()?,
    };
    let options: GraphOptions = call.options(&[])?;
    let (layer, graph): (&GraphLayer, &Graph) = (call.object(0)?, call.object(1)?);
    // The mechanism rejects weights of a layer without heads, and a number of rows other than the graph's.
    let targets = inputs.x_target.unwrap_or(inputs.x);
    let fits = targets.shape.dims().first() == Some(&graph.num_targets());
    let output = call.output(&[if fits { graph.num_targets() } else { 0 }, layer.output_width()])?;
    let asks = options.weights && layer.has_weights() && fits;
    let weights = call.output_if(asks, &[layer.num_weighted_edges(graph), layer.settings().num_heads])?;
    layer.forward(call.context, graph, inputs, &options, call.training, output, weights)
}

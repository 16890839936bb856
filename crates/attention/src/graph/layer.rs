//! The graph layers: `GCNConv`, `SAGEConv`, `GATConv`, `GATv2Conv` and `TransformerConv` of PyTorch Geometric.

use super::Graph;
use super::aggregate::{Aggregation, check_edge_weight};
use super::attention::{Attention, EdgeFeatures, Finish, Score};
use super::options::{ForwardOptions, GraphConfig, Kind};
use super::parameters::Parameters;
use crate::error::{Error, Result};
use crate::math::linear::project;
use crate::math::random::Dropout;
use crate::tensor::{Tensor, check_output, try_zeroed};
use crate::threads::Context;
use crate::weights::Entry;

/// A graph layer: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct GraphLayer {
    config: GraphConfig,
    parameters: Parameters,
}

/// The inputs of one call.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The nodes' features, `[N, inFeatures]`.
    pub x: Tensor<'a>,
    /// The edges' features, `[K, edgeFeatures]`, or `[K]` where that is 1.
    pub edge_attr: Option<Tensor<'a>>,
    /// The edges' weights, `[K]`.
    pub edge_weight: Option<&'a [f32]>,
}

impl GraphLayer {
    /// A layer from its configuration, a JSON object, with the parameters that its seed draws.
    ///
    /// # Errors
    /// `OPTION` for a configuration that does not fit, `MEMORY`.
    pub fn new(config: &str, kind: Kind) -> Result<Self> {
        let config = GraphConfig::parse(config, kind)?;
        Ok(Self { parameters: Parameters::init(&config)?, config })
    }

    /// The layer of this configuration with the parameters that `entries` hold under `prefix`.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit, `MEMORY`.
    pub fn loaded(config: &GraphConfig, entries: &[Entry<'_>], prefix: &str) -> Result<Self> {
        Ok(Self { parameters: Parameters::load(config, entries, prefix)?, config: config.clone() })
    }

    /// The configuration with every default filled in.
    pub fn config(&self) -> &GraphConfig {
        &self.config
    }

    /// Names, shapes and elements of the parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Output `[N, outFeatures]`, or `[N, numHeads · outFeatures]` where heads stand side by side. Attention layers give the
    /// weights of their edges, `[K′, numHeads]`: those of the edges given in their order; with `addSelfLoops` without the
    /// self-loops among them, and those of one self-loop a node after them. Dropout acts in training only.
    ///
    /// # Errors
    /// `SHAPE` where shapes or lengths do not fit, `OPTION` for what this layer does not take, `MEMORY`.
    pub fn forward(
        &self,
        context: Context,
        graph: &Graph,
        inputs: Inputs<'_>,
        options: &ForwardOptions,
        training: bool,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let edge_attr = self.check(graph, inputs, options)?;
        check_output("output", output, graph.num_nodes() * self.config.output_width())?;
        if let Some(weights) = &weights {
            check_output("weights", weights, self.num_weighted_edges(graph) * self.config.num_heads)?;
        }
        let seed = options.seed.unwrap_or(self.config.seed);
        let dropout = training.then(|| Dropout::new(self.config.dropout, seed)).flatten();
        let call = Call { layer: self, context, graph, x: inputs.x.data, edge_attr, dropout };
        match self.config.kind {
            Kind::Convolution => call.convolution(inputs.edge_weight, output),
            Kind::Sage => call.sage(output),
            Kind::Attention if self.config.version == 1 => call.additive(output, weights),
            Kind::Attention => call.joint(output, weights),
            Kind::Transformer => call.transformer(output, weights),
        }
    }

    /// How many edges of a graph the layer has weights for.
    pub fn num_weighted_edges(&self, graph: &Graph) -> usize {
        match self.adds_self_loops() {
            true => graph.num_edges() - graph.num_self_loops() + graph.num_nodes(),
            false => graph.num_edges(),
        }
    }

    fn adds_self_loops(&self) -> bool {
        self.config.add_self_loops && self.config.kind != Kind::Transformer
    }

    /// Checks the inputs, and gives the features of the edges.
    fn check<'a>(&self, graph: &Graph, inputs: Inputs<'a>, options: &ForwardOptions) -> Result<Option<&'a [f32]>> {
        let (nodes, edges, kind) = (graph.num_nodes(), graph.num_edges(), self.config.kind);
        if inputs.x.shape.dims() != [nodes, self.config.in_features] {
            return Err(Error::shape("x", format!("[{nodes}, {}]", self.config.in_features), inputs.x.shape));
        }
        if inputs.edge_weight.is_some() && kind != Kind::Convolution {
            let expected = "none, as of these layers GraphConvolution alone takes weights of edges";
            return Err(Error::option("edgeWeight", expected, "weights"));
        }
        check_edge_weight(graph, inputs.edge_weight)?;
        if options.weights && !kind.attends() {
            return Err(Error::option("weights", "no request, as this layer has no attention weights", "true"));
        }
        match (self.config.edge_features, inputs.edge_attr) {
            (None, None) => Ok(None),
            (None, Some(given)) => {
                Err(Error::option("edgeAttr", "none, as the layer was made without edgeFeatures", given.shape))
            }
            (Some(size), None) => {
                Err(Error::option("edgeAttr", format!("[{edges}, {size}], as edgeFeatures is {size}"), "nothing"))
            }
            (Some(size), Some(given)) => match *given.shape.dims() {
                [rows, columns] if [rows, columns] == [edges, size] => Ok(Some(given.data)),
                [rows] if [rows, 1] == [edges, size] => Ok(Some(given.data)),
                _ => Err(Error::shape("edgeAttr", format!("[{edges}, {size}]"), given.shape)),
            },
        }
    }
}

/// One call with inputs that fit.
struct Call<'a> {
    layer: &'a GraphLayer,
    context: Context,
    graph: &'a Graph,
    x: &'a [f32],
    edge_attr: Option<&'a [f32]>,
    dropout: Option<Dropout>,
}

impl<'a> Call<'a> {
    /// The product of the nodes' features with a weight.
    fn projected(&self, weight: &[f32], bias: Option<&[f32]>) -> Result<Vec<f32>> {
        let inputs = self.layer.config.in_features;
        let (nodes, outputs) = (self.graph.num_nodes(), weight.len() / inputs);
        let mut output = try_zeroed("working memory", nodes * outputs)?;
        project(self.context, self.x, nodes, inputs, weight, outputs, bias, &mut output)?;
        Ok(output)
    }

    /// The product with the weight and bias of a part of the layer.
    fn part(&self, weight: &str, bias: &str) -> Result<Vec<f32>> {
        self.projected(self.layer.parameters.get(weight), self.layer.parameters.find(bias))
    }

    /// Kipf & Welling 2017: `GCNConv`.
    fn convolution(&self, edge_weight: Option<&[f32]>, output: &mut [f32]) -> Result<()> {
        let config = &self.layer.config;
        let x = self.part("lin.weight", "")?;
        let mut aggregation = Aggregation {
            edge_weight,
            add_self_loops: config.add_self_loops,
            bias: self.layer.parameters.find("bias"),
            ..Aggregation::of(self.graph, &x, config.out_features)
        };
        let roots = aggregation.inverse_root_degrees()?;
        aggregation.node_factors = Some(&roots);
        aggregation.run(self.context, output);
        Ok(())
    }

    /// Hamilton, Ying & Leskovec 2017: `SAGEConv`.
    fn sage(&self, output: &mut [f32]) -> Result<()> {
        let GraphConfig { in_features: inputs, out_features: outputs, reduce, .. } = self.layer.config;
        // Neighbourhood and node side by side, and so their weights: one product in place of two and a sum.
        let mut joined = try_zeroed("working memory", 2 * self.x.len())?;
        let aggregation = Aggregation { reduce, output_row: 2 * inputs, ..Aggregation::of(self.graph, self.x, inputs) };
        aggregation.run(self.context, &mut joined);
        for (row, x) in joined.chunks_exact_mut(2 * inputs).zip(self.x.chunks_exact(inputs)) {
            row[inputs..].copy_from_slice(x);
        }
        let parameters = &self.layer.parameters;
        let parts = [parameters.get("lin_l.weight"), parameters.get("lin_r.weight")];
        let weight = side_by_side(parts, inputs)?;
        let bias = parameters.find("lin_l.bias");
        project(self.context, &joined, self.graph.num_nodes(), 2 * inputs, &weight, outputs, bias, output)?;
        if self.layer.config.normalize {
            for row in output.chunks_exact_mut(outputs) {
                let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
                // A length of NaN stays.
                let length = if length < 1e-12 { 1e-12 } else { length };
                row.iter_mut().for_each(|value| *value /= length);
            }
        }
        Ok(())
    }

    /// Veličković et al. 2018: `GATConv`.
    fn additive(&self, output: &mut [f32], weights: Option<&mut [f32]>) -> Result<()> {
        let GraphConfig { in_features: inputs, num_heads: heads, out_features: channels, .. } = self.layer.config;
        let parameters = &self.layer.parameters;
        let weight = parameters.get("lin.weight");
        let values = self.projected(weight, None)?;
        // attention · (W x) = (Wᵀ attention) · x, for sources and targets.
        let mut folded = try_zeroed("working memory", 2 * heads * inputs)?;
        let (source, target) = folded.split_at_mut(heads * inputs);
        fold(parameters.get("att_src"), weight, channels, inputs, source);
        fold(parameters.get("att_dst"), weight, channels, inputs, target);
        let nodes = self.projected(&folded, None)?;
        let edges = self.edge_scores(heads, channels)?;
        let slope = self.layer.config.negative_slope;
        self.attend(&values, Score::Additive { nodes: &nodes, edges: edges.as_deref(), slope }, output, weights)
    }

    /// The heads' scores of the features of edges, `[K, heads]`.
    fn edge_scores(&self, heads: usize, channels: usize) -> Result<Option<Vec<f32>>> {
        let (Some(features), Some(size)) = (self.edge_attr, self.layer.config.edge_features) else { return Ok(None) };
        let parameters = &self.layer.parameters;
        let (attention, weight) = (parameters.get("att_edge"), parameters.get("lin_edge.weight"));
        let mut folded = try_zeroed("working memory", heads * size)?;
        fold(attention, weight, channels, size, &mut folded);
        let edges = self.graph.num_edges();
        let mut scores = try_zeroed("working memory", edges * heads)?;
        project(self.context, features, edges, size, &folded, heads, None, &mut scores)?;
        Ok(Some(scores))
    }

    /// Brody, Alon & Yahav 2022: `GATv2Conv`.
    fn joint(&self, output: &mut [f32], weights: Option<&mut [f32]>) -> Result<()> {
        let values = self.part("lin_l.weight", "lin_l.bias")?;
        let targets = self.part("lin_r.weight", "lin_r.bias")?;
        let edge_weight = self.edge_weight()?;
        let (attention, slope) = (self.layer.parameters.get("att"), self.layer.config.negative_slope);
        let edges = self.edge_features(&edge_weight);
        self.attend(&values, Score::Joint { targets: &targets, attention, slope, edges }, output, weights)
    }

    /// Shi et al. 2021: `TransformerConv`.
    fn transformer(&self, output: &mut [f32], weights: Option<&mut [f32]>) -> Result<()> {
        let config = &self.layer.config;
        let keys = self.part("lin_key.weight", "lin_key.bias")?;
        let queries = self.part("lin_query.weight", "lin_query.bias")?;
        let values = self.part("lin_value.weight", "lin_value.bias")?;
        let edge_weight = self.edge_weight()?;
        let edges = self.edge_features(&edge_weight);
        let parameters = &self.layer.parameters;
        let (skip, bias) = (parameters.get("lin_skip.weight"), parameters.find("lin_skip.bias"));
        let (nodes, inputs) = (self.graph.num_nodes(), config.in_features);
        project(self.context, self.x, nodes, inputs, skip, config.output_width(), bias, output)?;
        let scale = 1.0 / (config.out_features as f32).sqrt();
        self.attend(&values, Score::Product { queries: &queries, keys: &keys, scale, edges }, output, weights)
    }

    fn attend(&self, values: &[f32], score: Score<'_>, output: &mut [f32], weights: Option<&mut [f32]>) -> Result<()> {
        let (config, parameters) = (&self.layer.config, &self.layer.parameters);
        let transformer = config.kind == Kind::Transformer;
        let attention = Attention {
            graph: self.graph,
            heads: config.num_heads,
            channels: config.out_features,
            values,
            score,
            add_self_loops: self.layer.adds_self_loops(),
            dropout: self.dropout,
            weights_before_dropout: transformer,
            concat: config.concat,
            finish: match transformer {
                true => Finish::Skip { gate: parameters.find("lin_beta.weight") },
                false => Finish::Bias(parameters.find("bias")),
            },
        };
        attention.run(self.context, output, weights);
        Ok(())
    }

    /// The transposed weight of the edges' features and the numbers of its rows; empty where edges have none.
    fn edge_weight(&self) -> Result<(Vec<f32>, Vec<u32>)> {
        let (size, width) = (self.layer.config.edge_features.unwrap_or(0), self.layer.config.width());
        let weight = self.layer.parameters.get("lin_edge.weight");
        let mut transposed = try_zeroed("working memory", weight.len())?;
        for (feature, row) in transposed.chunks_exact_mut(width).enumerate() {
            row.iter_mut().zip(weight.iter().skip(feature).step_by(size)).for_each(|(value, weight)| *value = *weight);
        }
        Ok((transposed, (0..size as u32).collect()))
    }

    fn edge_features<'b>(&'b self, (weight, rows): &'b (Vec<f32>, Vec<u32>)) -> Option<EdgeFeatures<'b>> {
        Some(EdgeFeatures { features: self.edge_attr?, size: rows.len(), weight, rows })
    }
}

/// `Wᵀ attention` for each head: attention `[heads, channels]` and W `[heads · channels, inputs]` give `[heads, inputs]`.
fn fold(attention: &[f32], weight: &[f32], channels: usize, inputs: usize, folded: &mut [f32]) {
    for (index, value) in folded.iter_mut().enumerate() {
        let (head, input) = (index / inputs, index % inputs);
        let rows = head * channels..(head + 1) * channels;
        let sum: f64 = rows.map(|row| f64::from(attention[row]) * f64::from(weight[row * inputs + input])).sum();
        *value = sum as f32;
    }
}

/// Two matrices of `columns` columns as one of twice as many.
fn side_by_side(parts: [&[f32]; 2], columns: usize) -> Result<Vec<f32>> {
    let mut joined = try_zeroed("working memory", 2 * parts[0].len())?;
    for (row, halves) in joined.chunks_exact_mut(2 * columns).enumerate() {
        for (half, part) in halves.chunks_exact_mut(columns).zip(parts) {
            half.copy_from_slice(&part[row * columns..][..columns]);
        }
    }
    Ok(joined)
}

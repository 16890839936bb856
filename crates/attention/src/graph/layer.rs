//! The graph layers: `GCNConv`, `SAGEConv`, `GATConv`, `GATv2Conv` and `TransformerConv` of PyTorch Geometric.

use super::Graph;
use super::aggregate::{Aggregation, add, check_edge_weight};
use super::attention::{Attention, EdgeFeatures, EdgeScores, Finish, Score, transpose};
use super::options::{GraphConfig, GraphOptions, Kind, Settings};
use super::parameters::GraphParameters;
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::layers::{Entry, LoadOptions};
use crate::math::linear::project;
use crate::math::random::Dropout;
use crate::math::sum::length;
use crate::ranges;
use crate::tensor::{Tensor, check_output, check_requested, try_zeroed};

/// A graph layer: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct GraphLayer {
    config: GraphConfig,
    settings: Settings,
    parameters: GraphParameters,
}

/// The inputs of one call.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The features of the nodes, or of the sources, `[N, inFeatures]`.
    pub x: Tensor<'a>,
    /// The features of the targets, unless `x` is those of all nodes.
    pub x_target: Option<Tensor<'a>>,
    /// The edges' features, `[K, edgeFeatures]`, or `[K]` where that is 1.
    pub edge_attr: Option<Tensor<'a>>,
    /// The edges' weights, `[K]`.
    pub edge_weight: Option<&'a [f32]>,
}

impl GraphLayer {
    /// A layer with the parameters that PyTorch Geometric's draws after `torch.manual_seed(seed)`.
    ///
    /// ```
    /// use ruvector_attention::graph::layer::GraphLayer;
    /// use ruvector_attention::graph::options::GraphAttentionConfig;
    ///
    /// let config =
    ///     GraphAttentionConfig { in_features: 16.into(), out_features: 8, num_heads: 4, ..Default::default() };
    /// assert_eq!(GraphLayer::new(config)?.output_width(), 32);
    /// # Ok::<(), ruvector_attention::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OPTION` for a configuration that does not fit, `MEMORY`.
    pub fn new(config: impl Into<GraphConfig>) -> Result<Self> {
        let mut config = config.into();
        let settings = Settings::of(&mut config)?;
        Ok(Self { parameters: GraphParameters::init(&settings)?, settings, config })
    }

    /// A layer of the same configuration with the parameters that `entries` hold under a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit, `MEMORY`.
    pub fn loaded<'a>(&self, entries: &[Entry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<Self> {
        let Self { config, settings, .. } = *self;
        Ok(Self { parameters: GraphParameters::load(&settings, entries, options.into())?, settings, config })
    }

    /// Returns the elements of each of the entries of [`Self::parameters`] for changes in place, or `None` for
    /// those of another type than 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.parameters.floats_mut()
    }

    /// The configuration.
    pub fn config(&self) -> &GraphConfig {
        &self.config
    }

    /// The configuration as settings that every kind of layer has.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The width of a row of the output.
    pub fn output_width(&self) -> usize {
        self.settings.output_width()
    }

    /// Names, shapes and elements of the parameters.
    pub fn parameters(&self) -> &GraphParameters {
        &self.parameters
    }

    /// Computes the output, `[N, outFeatures]`, or `[N, numHeads · outFeatures]` with concatenated heads, with a row
    /// for each target. Attention layers also return the weights of their edges, `[K′, numHeads]`, in the order given.
    /// With `addSelfLoops`, the given self-loops are left out, and one self-loop per node follows the other edges;
    /// between two node sets, these are edges of nodes with the same number. Dropout acts in training only.
    ///
    /// # Errors
    /// `SHAPE` where shapes or lengths do not fit, `OPTION` for what this layer does not take, `MEMORY`.
    pub fn forward(
        &self,
        context: Context<'_>,
        graph: &Graph,
        inputs: Inputs<'_>,
        options: &GraphOptions,
        training: bool,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        ranges::seed("seed", options.seed.unwrap_or(0))?;
        let edge_attr = self.check(graph, inputs, options)?;
        check_output("output", output, graph.num_targets() * self.settings.output_width())?;
        check_requested("weights", options.weights, weights.is_some())?;
        if let Some(weights) = &weights {
            check_output("weights", weights, self.num_weighted_edges(graph) * self.settings.num_heads)?;
        }
        let seed = options.seed.unwrap_or(self.settings.seed);
        let dropout = training.then(|| Dropout::new(self.settings.dropout, seed)).flatten();
        let without = if self.settings.add_self_loops { &*graph.loops } else { &[] };
        let graph = if self.settings.add_self_loops { graph.with_self_loops()? } else { graph };
        context.announce_work(self.operations(graph));
        let x = [inputs.x.data, inputs.x_target.unwrap_or(inputs.x).data];
        let call = Call { layer: self, context, graph, without, x, edge_attr, dropout };
        match self.settings.kind {
            Kind::Convolution => call.convolution(inputs.edge_weight, output),
            Kind::Sage => call.sage(output),
            Kind::Attention if self.settings.is_additive => call.additive(output, weights),
            Kind::Attention => call.joint(output, weights),
            Kind::Transformer => call.transformer(output, weights),
        }
    }

    /// Operations in one call: every parameter meets every node about once, and the products pass along every edge.
    fn operations(&self, graph: &Graph) -> u64 {
        let config = &self.settings;
        let along_edges = match config.kind {
            kind if kind.attends() => 6 * config.num_heads * config.out_features + 32,
            Kind::Sage => 2 * config.in_features[0] + 16,
            _ => 2 * config.out_features + 16,
        };
        operations([2, graph.num_sources().max(graph.num_targets()), self.parameters.elements()])
            .saturating_add(graph.operations(along_edges))
    }

    /// Returns true if the layer has attention weights.
    pub fn has_weights(&self) -> bool {
        self.settings.kind.attends()
    }

    /// How many edges of a graph the layer has weights for.
    pub fn num_weighted_edges(&self, graph: &Graph) -> usize {
        match self.settings.add_self_loops {
            true => graph.num_edges() - graph.num_self_loops() + graph.num_common(),
            false => graph.num_edges(),
        }
    }

    /// Checks the features of the nodes.
    #[inline(never)]
    fn check_nodes(&self, graph: &Graph, Inputs { x, x_target, .. }: Inputs<'_>) -> Result<()> {
        let [sources, targets] = self.settings.in_features;
        if self.settings.kind == Kind::Convolution && (graph.has_two_sets() || x_target.is_some()) {
            let expected = "one node set, as GraphConvolution does not take two (GraphSage does)";
            return Err(Error::option("x", expected, "two"));
        }
        if x_target.is_none() && (graph.has_two_sets() || sources != targets) {
            let reason = if graph.has_two_sets() { "the graph has two node sets" } else { "in_features has two sizes" };
            let expected = format_args!("[x_source, x_target], as {reason}");
            return Err(Error::shape("x", expected, format_args!("one tensor {}", x.shape)));
        }
        let name = if x_target.is_some() { "x_source" } else { "x" };
        let given = [(name, x, graph.num_sources(), sources)];
        let further = x_target.map(|x| ("x_target", x, graph.num_targets(), targets));
        for (name, x, nodes, features) in given.into_iter().chain(further) {
            if x.shape.dims() != [nodes, features] {
                return Err(Error::shape(name, format_args!("[{nodes}, {features}]"), x.shape));
            }
        }
        Ok(())
    }

    /// Checks the inputs, and gives the features of the edges.
    #[inline(never)]
    fn check<'a>(&self, graph: &Graph, inputs: Inputs<'a>, options: &GraphOptions) -> Result<Option<&'a [f32]>> {
        let (edges, kind, size) = (graph.num_edges(), self.settings.kind, self.settings.edge_features);
        self.check_nodes(graph, inputs)?;
        if inputs.edge_weight.is_some() && kind != Kind::Convolution {
            return Err(Error::option(
                "edge_weight",
                "none, as only GraphConvolution takes weights of edges",
                "weights",
            ));
        }
        check_edge_weight(graph, inputs.edge_weight)?;
        if options.weights && !kind.attends() {
            return Err(Error::option("weights", "no request, as this layer has no attention weights", "true"));
        }
        let Some(given) = inputs.edge_attr else {
            return match size {
                0 => Ok(None),
                _ => {
                    Err(Error::option("edge_attr", "the features of edges, as the layer has edge_features", "nothing"))
                }
            };
        };
        match *given.shape.dims() {
            _ if size == 0 => Err(Error::option("edge_attr", "none, as the layer has no edge_features", given.shape)),
            [rows, columns] if [rows, columns] == [edges, size] => Ok(Some(given.data)),
            [rows] if [rows, 1] == [edges, size] => Ok(Some(given.data)),
            _ => Err(Error::shape("edge_attr", format_args!("[{edges}, {size}]"), given.shape)),
        }
    }
}

/// One call with inputs that fit.
struct Call<'a> {
    layer: &'a GraphLayer,
    context: Context<'a>,
    /// As it was given, or closed by self-loops, and then without these.
    graph: &'a Graph,
    without: &'a [[u32; 2]],
    /// The features of sources and of targets.
    x: [&'a [f32]; 2],
    edge_attr: Option<&'a [f32]>,
    dropout: Option<Dropout>,
}

/// The sources of edges, or their targets.
#[derive(Clone, Copy)]
enum End {
    Source,
    Target,
}

impl<'a> Call<'a> {
    /// The product of the features at one end of the edges with the weight of a part of the layer.
    fn part(&self, end: End, weight: &str, bias: &str) -> Result<Vec<f32>> {
        self.product(self.x[end as usize], self.layer.settings.in_features[end as usize], weight, bias)
    }

    /// The product of rows of `inputs` features with the weight of a part of the layer.
    #[inline(never)]
    fn product(&self, x: &[f32], inputs: usize, weight: &str, bias: &str) -> Result<Vec<f32>> {
        let parameters = &self.layer.parameters;
        let (weight, bias) = (parameters.get(weight), parameters.find(bias));
        let (nodes, outputs) = (x.len() / inputs, weight.len() / inputs);
        let mut output = try_zeroed("working memory", nodes * outputs)?;
        project(self.context, x, nodes, inputs, weight, outputs, bias, &mut output)?;
        Ok(output)
    }

    /// Kipf & Welling 2017: `GCNConv`.
    #[inline(never)]
    fn convolution(&self, edge_weight: Option<&[f32]>, output: &mut [f32]) -> Result<()> {
        let config = &self.layer.settings;
        let x = self.part(End::Source, "lin.weight", "")?;
        let mut weights = Vec::new();
        if let Some(given) = edge_weight {
            // The self-loops that were added have the weight of the last one taken out, or else their own.
            weights = try_zeroed("working memory", given.len() + self.graph.num_nodes())?;
            weights[..given.len()].copy_from_slice(given);
            weights[given.len()..].fill(if config.improved { 2.0 } else { 1.0 });
            for &[edge, node] in self.without {
                weights[given.len() + node as usize] = given[edge as usize];
            }
        }
        let mut aggregation = Aggregation {
            edge_weight: edge_weight.map(|_| &*weights),
            bias: self.layer.parameters.find("bias"),
            ..Aggregation::of(self.graph, &x, config.out_features)
        };
        let roots = if config.normalize { aggregation.inverse_root_degrees()? } else { Vec::new() };
        aggregation.node_factors = config.normalize.then_some(&roots);
        aggregation.run(self.context, output);
        Ok(())
    }

    /// Hamilton, Ying & Leskovec 2017: `SAGEConv`.
    #[inline(never)]
    fn sage(&self, output: &mut [f32]) -> Result<()> {
        let config = &self.layer.settings;
        let [features, _] = config.in_features;
        let mut projected = Vec::new();
        if config.project {
            projected = self.part(End::Source, "lin.weight", "lin.bias")?;
            projected.iter_mut().for_each(|value| *value = if *value < 0.0 { 0.0 } else { *value });
        }
        let x = if config.project { &projected } else { self.x[0] };
        let mut around = try_zeroed("working memory", self.graph.num_targets() * features)?;
        let aggregation = Aggregation::of(self.graph, x, features);
        Aggregation { reduce: config.reduce, ..aggregation }.run(self.context, &mut around);
        output.copy_from_slice(&self.product(&around, features, "lin_l.weight", "lin_l.bias")?);
        if config.root_weight {
            add(output, &self.part(End::Target, "lin_r.weight", "")?);
        }
        if config.normalize {
            for row in output.chunks_exact_mut(config.out_features) {
                let length = length(row);
                // A length of NaN stays.
                let factor = 1.0 / if length < 1e-12 { 1e-12 } else { length };
                row.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            }
        }
        Ok(())
    }

    /// Veličković et al. 2018: `GATConv`.
    fn additive(&self, output: &mut [f32], weights: Option<&mut [f32]>) -> Result<()> {
        let config = &self.layer.settings;
        let names = if config.is_pair { ["lin_src.weight", "lin_dst.weight"] } else { ["lin.weight"; 2] };
        let values = self.part(End::Source, names[0], "")?;
        let [inputs, target_inputs] = config.in_features;
        let sources = self.scores("att_src", names[0], self.x[0], inputs)?;
        let targets = self.scores("att_dst", names[1], self.x[1], target_inputs)?;
        let of_edges = |features: &[f32]| self.scores("att_edge", "lin_edge.weight", features, config.edge_features);
        let edges = self.edge_attr.map(of_edges).transpose()?;
        let loops = match config.fill_value {
            Some(value) if edges.is_some() => {
                let mut features = try_zeroed("working memory", config.edge_features)?;
                features.fill(value);
                Some(of_edges(&features)?)
            }
            _ => None,
        };
        let edges = edges.as_deref().map(|given| EdgeScores { given, loops: loops.as_deref() });
        let score = Score::Additive { nodes: [&sources, &targets], edges, slope: config.negative_slope };
        self.attend(&values, score, output, weights)
    }

    /// `attention · (W x)` for each row of x and each head, as `(Wᵀ attention) · x`.
    #[inline(never)]
    fn scores(&self, attention: &str, weight: &str, x: &[f32], inputs: usize) -> Result<Vec<f32>> {
        let (parameters, heads) = (&self.layer.parameters, self.layer.settings.num_heads);
        let (attention, weight) = (parameters.get(attention), parameters.get(weight));
        let mut folded = try_zeroed("working memory", heads * inputs)?;
        let channels = self.layer.settings.out_features;
        for (index, value) in folded.iter_mut().enumerate() {
            let (head, input) = (index / inputs, index % inputs);
            let mut sum = 0.0;
            for row in head * channels..(head + 1) * channels {
                sum += f64::from(attention[row]) * f64::from(weight[row * inputs + input]);
            }
            *value = sum as f32;
        }
        let rows = x.len() / inputs;
        let mut scores = try_zeroed("working memory", rows * heads)?;
        project(self.context, x, rows, inputs, &folded, heads, None, &mut scores)?;
        Ok(scores)
    }

    /// Brody, Alon & Yahav 2022: `GATv2Conv`.
    fn joint(&self, output: &mut [f32], weights: Option<&mut [f32]>) -> Result<()> {
        let values = self.part(End::Source, "lin_l.weight", "lin_l.bias")?;
        let targets = self.part(End::Target, "lin_r.weight", "lin_r.bias")?;
        let edge_weight = self.edge_weight()?;
        let (attention, slope) = (self.layer.parameters.get("att"), self.layer.settings.negative_slope);
        let edges = self.edge_features(&edge_weight);
        self.attend(&values, Score::Joint { targets: &targets, attention, slope, edges }, output, weights)
    }

    /// Shi et al. 2021: `TransformerConv`.
    #[inline(never)]
    fn transformer(&self, output: &mut [f32], weights: Option<&mut [f32]>) -> Result<()> {
        let config = &self.layer.settings;
        let keys = self.part(End::Source, "lin_key.weight", "lin_key.bias")?;
        let queries = self.part(End::Target, "lin_query.weight", "lin_query.bias")?;
        let values = self.part(End::Source, "lin_value.weight", "lin_value.bias")?;
        let edge_weight = self.edge_weight()?;
        let edges = self.edge_features(&edge_weight);
        output.copy_from_slice(&self.part(End::Target, "lin_skip.weight", "lin_skip.bias")?);
        let scale = 1.0 / (config.out_features as f32).sqrt();
        self.attend(&values, Score::Product { queries: &queries, keys: &keys, scale, edges }, output, weights)
    }

    fn attend(&self, values: &[f32], score: Score<'_>, output: &mut [f32], weights: Option<&mut [f32]>) -> Result<()> {
        let (config, parameters) = (&self.layer.settings, &self.layer.parameters);
        let transformer = config.kind == Kind::Transformer;
        let attention = Attention {
            graph: self.graph,
            heads: config.num_heads,
            channels: config.out_features,
            values,
            score,
            dropout: self.dropout,
            weights_before_dropout: transformer,
            concat: config.concat,
            without: self.without,
            finish: match transformer || config.residual {
                true => Finish::Skip { gate: parameters.find("lin_beta.weight") },
                false => Finish::Bias(parameters.find("bias")),
            },
        };
        if config.residual {
            output.copy_from_slice(&self.part(End::Target, "res.weight", "bias")?);
        }
        attention.run(self.context, output, weights);
        Ok(())
    }

    /// The transposed weight of the edges' features and the numbers of its rows; empty where edges have none.
    #[inline(never)]
    fn edge_weight(&self) -> Result<(Vec<f32>, Vec<u32>)> {
        let size = self.layer.settings.edge_features;
        let weight = self.layer.parameters.get("lin_edge.weight");
        let mut transposed = try_zeroed("working memory", weight.len())?;
        if size > 0 {
            transpose(weight, size, &mut transposed);
        }
        let mut rows = try_zeroed("working memory", size)?;
        rows.iter_mut().enumerate().for_each(|(row, number)| *number = row as u32);
        Ok((transposed, rows))
    }

    fn edge_features<'b>(&'b self, (weight, rows): &'b (Vec<f32>, Vec<u32>)) -> Option<EdgeFeatures<'b>> {
        let fill_value = self.layer.settings.fill_value;
        Some(EdgeFeatures { features: self.edge_attr?, weight, rows, fill_value })
    }
}

//! The oracle of graph layers: lists of edges, one edge at a time, like the formulas in PyTorch Geometric.

use super::{dot, doubles, linear, softmax};
use ruvector_attention::graph::aggregate::Reduce;
use ruvector_attention::graph::layer::GraphLayer;
use ruvector_attention::graph::options::Kind;
use ruvector_attention::math::random::Dropout;

/// A graph as a list of edges with their features and weights.
#[derive(Debug, Clone, Default)]
pub struct Edges {
    /// The number of sources.
    pub sources: usize,
    /// The number of targets.
    pub nodes: usize,
    /// The source of each edge.
    pub source: Vec<usize>,
    /// The target of each edge.
    pub target: Vec<usize>,
    /// The features of each edge; empty if edges have none.
    pub features: Vec<Vec<f64>>,
    /// The weight of each edge.
    pub weight: Vec<f64>,
    /// The index of each edge in dropout's random numbers.
    pub number: Vec<usize>,
}

/// The results of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `[N, width]`.
    pub output: Vec<f64>,
    /// `[K′, heads]`; empty if the layer has no attention.
    pub weights: Vec<f64>,
}

impl Edges {
    /// Creates a graph from edges with features `[K, size]` and weights, which are 1 if absent. `counts` has the number
    /// of sources and of targets.
    pub fn new(counts: [usize; 2], ends: [&[i32]; 2], features: Option<&[f32]>, weight: Option<&[f32]>) -> Self {
        let [sources, nodes] = counts;
        let [source, target] = ends.map(|ends| ends.iter().map(|&node| node as usize).collect::<Vec<_>>());
        let edges = source.len();
        Self {
            sources,
            nodes,
            features: features
                .map_or(vec![], |all| all.chunks((all.len() / edges.max(1)).max(1)).map(doubles).collect()),
            weight: weight.map_or(vec![1.0; edges], doubles),
            number: (0..edges).collect(),
            source,
            target,
        }
    }

    fn len(&self) -> usize {
        self.source.len()
    }

    fn incoming(&self, node: usize) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(move |&edge| self.target[edge] == node)
    }

    /// Returns the graph without its self-loops, and with a new self-loop at the end for each number that a source and
    /// a target have. The new loop's features are `fill_value`, or the mean of the node's other incoming edges; its
    /// weight is that of the last self-loop removed, or `loop_weight`.
    fn with_self_loops(&self, fill_value: Option<f32>, loop_weight: f64) -> Self {
        let mut edges = Self { sources: self.sources, nodes: self.nodes, ..Self::default() };
        for edge in (0..self.len()).filter(|&edge| self.source[edge] != self.target[edge]) {
            edges.source.push(self.source[edge]);
            edges.target.push(self.target[edge]);
            edges.features.extend(self.features.get(edge).cloned());
            edges.weight.push(self.weight[edge]);
            edges.number.push(edge);
        }
        let others = edges.clone();
        for node in 0..self.nodes.min(self.sources) {
            let incoming: Vec<usize> = others.incoming(node).collect();
            if let Some(size) = self.features.first().map(Vec::len) {
                let sum = |feature: usize| incoming.iter().map(|&edge| others.features[edge][feature]).sum::<f64>();
                let mean = |feature| sum(feature) / incoming.len().max(1) as f64;
                edges
                    .features
                    .push((0..size).map(|feature| fill_value.map_or_else(|| mean(feature), f64::from)).collect());
            }
            let given = self.incoming(node).filter(|&edge| self.source[edge] == node).last();
            edges.weight.push(given.map_or(loop_weight, |edge| self.weight[edge]));
            edges.source.push(node);
            edges.target.push(node);
            edges.number.push(self.len() + node);
        }
        edges
    }
}

/// Computes the sum, mean, maximum or minimum of `weight · x[source]` over the incoming edges of each node, for rows of
/// `features` values.
pub fn propagate(edges: &Edges, x: &[f64], features: usize, reduce: Reduce) -> Vec<f64> {
    let mut output = Vec::new();
    for node in 0..edges.nodes {
        for feature in 0..features {
            let messages: Vec<f64> = edges
                .incoming(node)
                .map(|edge| edges.weight[edge] * x[edges.source[edge] * features + feature])
                .collect();
            let sum: f64 = messages.iter().sum();
            output.push(match reduce {
                _ if messages.is_empty() => 0.0,
                Reduce::Sum => sum,
                Reduce::Mean => sum / messages.len() as f64,
                _ if sum.is_nan() && messages.iter().any(|message| message.is_nan()) => f64::NAN,
                Reduce::Max => messages.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Reduce::Min => messages.iter().copied().fold(f64::INFINITY, f64::min),
            });
        }
    }
    output
}

/// Computes the softmax of scores `[K, heads]` over the edges that share a target.
pub fn edge_softmax(edges: &Edges, scores: &[f64], heads: usize) -> Vec<f64> {
    let mut weights = vec![0.0; scores.len()];
    for node in 0..edges.nodes {
        let incoming: Vec<usize> = edges.incoming(node).collect();
        for head in 0..heads {
            let row: Vec<f64> = incoming.iter().map(|&edge| scores[edge * heads + head]).collect();
            for (&edge, weight) in incoming.iter().zip(softmax(&row).0) {
                weights[edge * heads + head] = weight;
            }
        }
    }
    weights
}

/// Runs a layer's forward pass over the features of sources and of targets. Edges have weights of their own if
/// `is_weighted`.
pub fn forward(
    layer: &GraphLayer,
    edges: &Edges,
    x: [&[f32]; 2],
    is_weighted: bool,
    training: bool,
    seed: u64,
) -> Output {
    let x = x.map(doubles);
    match layer.settings().kind {
        Kind::Convolution => Output { output: convolution(layer, edges, &x[0], is_weighted), weights: vec![] },
        Kind::Sage => Output { output: sage(layer, edges, &x), weights: vec![] },
        _ => attention(layer, edges, &x, training, seed),
    }
}

fn part(layer: &GraphLayer, x: &[f64], inputs: usize, name: &str) -> Vec<f64> {
    let find = |kind| layer.parameters().find(&format!("{name}.{kind}"));
    linear(x, inputs, find("weight").unwrap_or_default(), find("bias"))
}

fn add_bias(output: &mut [f64], bias: Option<&[f32]>) {
    let Some(bias) = bias else { return };
    for (value, bias) in output.iter_mut().zip(bias.iter().cycle()) {
        *value += f64::from(*bias);
    }
}

fn convolution(layer: &GraphLayer, edges: &Edges, x: &[f64], is_weighted: bool) -> Vec<f64> {
    let config = layer.settings();
    let loop_weight = if config.improved && is_weighted { 2.0 } else { 1.0 };
    let mut edges = if config.add_self_loops { edges.with_self_loops(None, loop_weight) } else { edges.clone() };
    if config.normalize {
        let degree = |node| edges.incoming(node).map(|edge| edges.weight[edge]).sum::<f64>();
        let root = |node| if degree(node) == 0.0 { 0.0 } else { degree(node).powf(-0.5) };
        let roots: Vec<f64> = (0..edges.nodes).map(root).collect();
        for edge in 0..edges.len() {
            edges.weight[edge] *= roots[edges.source[edge]] * roots[edges.target[edge]];
        }
    }
    let x = part(layer, x, config.in_features[0], "lin");
    let mut output = propagate(&edges, &x, config.out_features, Reduce::Sum);
    add_bias(&mut output, layer.parameters().find("bias"));
    output
}

fn sage(layer: &GraphLayer, edges: &Edges, [sources, targets]: &[Vec<f64>; 2]) -> Vec<f64> {
    let config = layer.settings();
    let ([inputs, target_inputs], outputs) = (config.in_features, config.out_features);
    let mut sources = sources.clone();
    if config.project {
        sources = part(layer, &sources, inputs, "lin").iter().map(|value| value.max(0.0)).collect();
    }
    let mut output = part(layer, &propagate(edges, &sources, inputs, config.reduce), inputs, "lin_l");
    if config.root_weight {
        let own = part(layer, targets, target_inputs, "lin_r");
        output.iter_mut().zip(own).for_each(|(value, own)| *value += own);
    }
    if config.normalize {
        for row in output.chunks_mut(outputs) {
            let length = dot(row, row).sqrt().max(1e-12);
            row.iter_mut().for_each(|value| *value /= length);
        }
    }
    output
}

fn attention(layer: &GraphLayer, edges: &Edges, x: &[Vec<f64>; 2], training: bool, seed: u64) -> Output {
    let (config, parameters) = (layer.settings(), layer.parameters());
    let (channels, heads) = (config.out_features, config.num_heads);
    let transformer = config.kind == Kind::Transformer;
    let edges = if config.add_self_loops { edges.with_self_loops(config.fill_value, 1.0) } else { edges.clone() };
    let width = config.width();
    let [keys, queries, values] = match (transformer, config.is_additive) {
        (true, _) => [("lin_key", 0), ("lin_query", 1), ("lin_value", 0)],
        (false, true) if config.is_pair => [("lin_src", 0), ("lin_dst", 1), ("lin_src", 0)],
        (false, true) => [("lin", 0), ("lin", 1), ("lin", 0)],
        (false, _) => [("lin_l", 0), ("lin_r", 1), ("lin_l", 0)],
    }
    .map(|(name, end)| part(layer, &x[end], config.in_features[end], name));
    let of_edges: Vec<Vec<f64>> =
        edges.features.iter().map(|features| part(layer, features, features.len(), "lin_edge")).collect();
    let of_edge = |edge: usize, at: usize| of_edges.get(edge).map_or(0.0, |values| values[at]);
    let vector = |name| doubles(parameters.get(name));
    let (att, src, dst, by_edge) = (vector("att"), vector("att_src"), vector("att_dst"), vector("att_edge"));
    let leaky = |score: f64| if score > 0.0 { score } else { f64::from(config.negative_slope) * score };
    let mut scores = Vec::new();
    for edge in 0..edges.len() {
        let (from, to) = (edges.source[edge] * width, edges.target[edge] * width);
        for head in 0..heads {
            let sum = |term: &dyn Fn(usize) -> f64| (head * channels..(head + 1) * channels).map(term).sum::<f64>();
            scores.push(match (transformer, config.is_additive) {
                (true, _) => {
                    sum(&|at| queries[to + at] * (keys[from + at] + of_edge(edge, at))) / (channels as f64).sqrt()
                }
                (false, true) => leaky(sum(&|at| {
                    keys[from + at] * src[at]
                        + queries[to + at] * dst[at]
                        + by_edge.get(at).map_or(0.0, |by_edge| of_edge(edge, at) * by_edge)
                })),
                _ => sum(&|at| att[at] * leaky(keys[from + at] + queries[to + at] + of_edge(edge, at))),
            });
        }
    }
    let softened = edge_softmax(&edges, &scores, heads);
    let mut weights = softened.clone();
    if let Some(dropout) = training.then(|| Dropout::new(config.dropout, seed)).flatten() {
        for (index, weight) in weights.iter_mut().enumerate() {
            let (edge, head) = (edges.number[index / heads], index % heads);
            *weight *= f64::from(dropout.factors([0, 0, edge], head / 4)[head % 4]);
        }
    }
    let mut sums = vec![0.0; edges.nodes * width];
    for edge in 0..edges.len() {
        for at in 0..width {
            let beside = if transformer { of_edge(edge, at) } else { 0.0 };
            let value = values[edges.source[edge] * width + at] + beside;
            sums[edges.target[edge] * width + at] += weights[edge * heads + at / channels] * value;
        }
    }
    let mut output = sums;
    if !config.concat {
        let mean = |row: &[f64], at: usize| row.iter().skip(at).step_by(channels).sum::<f64>() / heads as f64;
        output = output.chunks(width).flat_map(|row| (0..channels).map(move |at| mean(row, at))).collect();
    }
    if transformer {
        skip(layer, &x[1], &mut output);
        return Output { output, weights: softened };
    }
    if config.residual {
        let own = part(layer, &x[1], config.in_features[1], "res");
        output.iter_mut().zip(own).for_each(|(value, own)| *value += own);
    }
    add_bias(&mut output, parameters.find("bias"));
    Output { output, weights }
}

fn skip(layer: &GraphLayer, x: &[f64], output: &mut [f64]) {
    let config = layer.settings();
    let own = part(layer, x, config.in_features[1], "lin_skip");
    let size = config.output_width();
    let gate = layer.parameters().find("lin_beta.weight").map(doubles);
    for (sum, own) in output.chunks_mut(size).zip(own.chunks(size)) {
        let joined =
            sum.iter().copied().chain(own.iter().copied()).chain(sum.iter().zip(own).map(|(sum, own)| sum - own));
        let open =
            gate.as_ref().map(|gate| dot(gate, &joined.collect::<Vec<_>>())).map(|open| 1.0 / (1.0 + (-open).exp()));
        for (sum, own) in sum.iter_mut().zip(own) {
            *sum = open.map_or(*sum + own, |open| open * own + (1.0 - open) * *sum);
        }
    }
}

/// The inputs of attention over edges, by whose presence an edge is scored; empty where they are absent.
#[derive(Debug, Clone, Default)]
pub struct EdgeParts {
    /// `[sources, heads · channels]`.
    pub values: Vec<f64>,
    /// `[sources, heads]` or `[sources, heads · channels]`.
    pub sources: Vec<f64>,
    /// `[targets, heads]` or `[targets, heads · channels]`.
    pub targets: Vec<f64>,
    /// `[heads · channels]`.
    pub attention: Vec<f64>,
    /// `[K, heads]` or `[K, size]`.
    pub edges: Vec<f64>,
    /// `[heads]` or `[heads · channels, size]`.
    pub projection: Vec<f64>,
}

/// Options of attention over edges.
#[derive(Debug, Clone, Copy)]
pub struct EdgeOptions {
    /// The number of heads and of their channels.
    pub sizes: [usize; 2],
    /// Adds the scores of the ends, instead of multiplying or joining their rows.
    pub is_additive: bool,
    /// The slope of scores below 0.
    pub slope: f64,
    /// Replaces self-loops by one for each node.
    pub add_self_loops: bool,
    /// Each feature of such a self-loop, instead of the mean of the node's other edges.
    pub fill_value: Option<f32>,
    /// The dropout of weights.
    pub dropout: Option<Dropout>,
}

/// Computes attention over edges, `[targets, heads · channels]`, and the smallest magnitude of what a slope is applied
/// to.
pub fn edge_attention(edges: &Edges, parts: &EdgeParts, options: EdgeOptions) -> (Vec<f64>, f64) {
    let EdgeOptions { sizes: [heads, channels], is_additive, slope, .. } = options;
    let width = heads * channels;
    let size = parts.edges.len() / edges.len().max(1);
    let mut edges = edges.clone();
    if size > 0 {
        edges.features = parts.edges.chunks(size).map(<[f64]>::to_vec).collect();
    }
    if options.add_self_loops {
        let given = edges.len();
        edges = edges.with_self_loops(options.fill_value, 1.0);
        if is_additive && !parts.projection.is_empty() {
            let added = edges.features.iter_mut().zip(&edges.number).filter(|(_, number)| **number >= given);
            added.for_each(|(features, _)| features.clone_from(&parts.projection));
        }
    }
    // The features of an edge in a column of the heads.
    let of_edge = |edge: usize, column: usize| {
        edges.features.get(edge).map_or(0.0, |features| dot(features, &parts.projection[column * size..][..size]))
    };
    let mut closest = f64::INFINITY;
    let mut leaky = |score: f64| {
        closest = closest.min(score.abs());
        if score > 0.0 { score } else { slope * score }
    };
    let mut scores = Vec::new();
    for edge in 0..edges.len() {
        let (from, to) = (edges.source[edge], edges.target[edge]);
        for head in 0..heads {
            let columns = head * channels..(head + 1) * channels;
            scores.push(if is_additive {
                let own = edges.features.get(edge).map_or(0.0, |features| features[head]);
                leaky(parts.sources[from * heads + head] + parts.targets[to * heads + head] + own)
            } else if parts.attention.is_empty() {
                let key = |column: usize| parts.sources[from * width + column] + of_edge(edge, column);
                let product = columns.map(|column| parts.targets[to * width + column] * key(column)).sum::<f64>();
                product / (channels as f64).sqrt()
            } else {
                let joint = |column: usize| parts.values[from * width + column] + parts.targets[to * width + column];
                columns.map(|column| parts.attention[column] * leaky(joint(column) + of_edge(edge, column))).sum()
            });
        }
    }
    let weights = edge_softmax(&edges, &scores, heads);
    let mut output = vec![0.0; edges.nodes * width];
    for edge in 0..edges.len() {
        for column in 0..width {
            let head = column / channels;
            let factor = options
                .dropout
                .map_or(1.0, |dropout| f64::from(dropout.factors([0, 0, edges.number[edge]], head / 4)[head % 4]));
            let is_product = !is_additive && parts.attention.is_empty();
            let beside = if is_product { of_edge(edge, column) } else { 0.0 };
            let value = parts.values[edges.source[edge] * width + column] + beside;
            output[edges.target[edge] * width + column] += weights[edge * heads + head] * factor * value;
        }
    }
    (output, closest)
}

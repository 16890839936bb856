//! Attention over the edges of a graph, as the layers of graphs have it, with its gradients: the score of an edge adds
//! those of its ends (GAT), joins their rows (GATv2), or multiplies them (the graph transformer).
//!
//! Two passes compute the gradients. The first owns rows of targets: it computes scores and weights again, and keeps
//! for each edge and head the weight and the score's gradient. The second owns rows of sources.

use crate::context::Context;
use crate::context::rows::SharedMut;
use crate::error::{Error, Result};
use crate::graph::aggregate::{Aggregation, Columns, add, gather_sum, scale, widest};
use crate::graph::attention::{
    Attention, EdgeFeatures, EdgeScores, Finish, Incoming, Memory, Score, leaky, soften, transpose,
};
use crate::graph::{Graph, Rows};
use crate::math::dot::dot;
use crate::math::random::Dropout;
use crate::math::sum::total;
use crate::ranges;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Simd};
use crate::tensor::{Shape, Tensor, check_output, try_zeroed};
use crate::training::{check_gradient, check_shape};

/// How many edges are summed before their sum joins the total, so that long sums stay exact.
const BLOCK: usize = 64;

/// The inputs of attention over edges. `sources` decides how the edge from j to i is scored:
///
/// - `[sources, H]`: `leaky(sources[j] + targets[i] + edge)`;
/// - `[sources, H, C]`: `targets[i] · (sources[j] + W edge) / √C`;
/// - none: `attention · leaky(values[j] + targets[i] + W edge)`.
#[derive(Debug, Clone, Copy)]
pub struct EdgeTensors<'a> {
    /// `[sources, H, C]`. With products, an edge's projected features are added to the value.
    pub values: Tensor<'a>,
    /// `[sources, H]` or `[sources, H, C]`.
    pub sources: Option<Tensor<'a>>,
    /// `[targets, H]`, or else `[targets, H, C]`.
    pub targets: Tensor<'a>,
    /// `[H, C]`, after dimensions of 1.
    pub attention: Option<Tensor<'a>>,
    /// Scores `[K, H]` that are added, or else features `[K, size]`.
    pub edges: Option<Tensor<'a>>,
    /// The weight W of the features, `[H · C, size]`. For added scores, the score of each self-loop that is added,
    /// `[1, H]`; by default the mean over the node's other edges.
    pub projection: Option<Tensor<'a>>,
}

/// Options of attention over edges.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, rename_all = "camelCase"))]
pub struct EdgeAttentionOptions {
    /// The slope of scores below 0; 0.2 by default.
    pub negative_slope: f32,
    /// Leaves out the self-loops given, and adds one for each node.
    pub add_self_loops: bool,
    /// Each feature of a self-loop that is added; the mean over the node's other edges by default.
    pub fill_value: Option<f32>,
    /// The probability of dropping a weight; 0 by default.
    pub dropout: f32,
    /// The seed of dropout.
    pub seed: u64,
}

impl Default for EdgeAttentionOptions {
    fn default() -> Self {
        Self { negative_slope: 0.2, add_self_loops: false, fill_value: None, dropout: 0.0, seed: 0 }
    }
}

/// The gradients of [`EdgeTensors`], for the inputs that there are.
#[derive(Debug, Default)]
pub struct EdgeGradients<'a> {
    /// The gradient of the values.
    pub values: &'a mut [f32],
    /// The gradient of the sources.
    pub sources: &'a mut [f32],
    /// The gradient of the targets.
    pub targets: &'a mut [f32],
    /// The gradient of the attention vectors.
    pub attention: &'a mut [f32],
    /// The gradient of the edges.
    pub edges: &'a mut [f32],
    /// The gradient of the projection.
    pub projection: &'a mut [f32],
}

/// Computes the sums of values by the softmax of scores over the edges with the same target, `[targets, H, C]`.
///
/// # Errors
/// `SHAPE` if a tensor does not fit the graph or the values, `OPTION` if an option is out of range, `MEMORY`.
pub fn edge_attention(
    context: Context<'_>,
    graph: &Graph,
    tensors: EdgeTensors<'_>,
    options: EdgeAttentionOptions,
    output: &mut [f32],
) -> Result<()> {
    let problem = Problem::new(graph, tensors, options)?;
    let attention = problem.attention(options.negative_slope);
    check_output("output", output, graph.num_targets() * attention.width())?;
    attention.run(context, output, None);
    Ok(())
}

/// Computes the gradients of [`edge_attention`] with the same inputs and options.
///
/// # Errors
/// Errors of `edge_attention`, and `SHAPE` if a gradient does not have the shape of its tensor.
pub fn edge_attention_backward(
    context: Context<'_>,
    graph: &Graph,
    gradient: Tensor<'_>,
    tensors: EdgeTensors<'_>,
    options: EdgeAttentionOptions,
    gradients: EdgeGradients<'_>,
) -> Result<()> {
    let problem = Problem::new(graph, tensors, options)?;
    check_gradient(gradient, tensors.values.shape.with_first(graph.num_targets()))?;
    let EdgeGradients { values, sources, targets, attention, edges, projection } = gradients;
    for (name, output, input) in [
        ("values", &mut *values, Some(tensors.values)),
        ("sources", &mut *sources, tensors.sources),
        ("targets", &mut *targets, Some(tensors.targets)),
        ("attention", &mut *attention, tensors.attention),
        ("edges", &mut *edges, tensors.edges),
        ("projection", &mut *projection, tensors.projection),
    ] {
        check_output(name, output, input.map_or(0, |input| input.data.len()))?;
        output.fill(0.0);
    }

    // Step 1: the rows of targets, and sums over all edges. The slope of added scores is applied there.
    let slope = options.negative_slope;
    let of = problem.attention(if problem.is_additive { 1.0 } else { slope });
    let (heads, size) = (of.heads, of.edge_size());
    let numbers = graph.num_edges() + graph.num_common();
    let mut weights = try_zeroed("working memory", numbers * heads)?;
    let mut slopes = try_zeroed("working memory", numbers * heads)?;
    let mut loops = try_zeroed("working memory", if of.is_joint() { graph.num_common() * size } else { 0 })?;
    // A sum for each item, which has about 2,000 edges.
    let (items, len) = (problem.graph.items(), attention.len() + projection.len());
    let mut parts = try_zeroed("working memory", items.saturating_mul(len))?;
    let outputs = TargetOutputs {
        weights: SharedMut::new(&mut weights),
        slopes: SharedMut::new(&mut slopes),
        loops: SharedMut::new(&mut loops),
        targets: SharedMut::new(targets),
        edges: SharedMut::new(edges),
        sums: SharedMut::new(&mut parts),
    };
    context.for_each(items, problem.graph.operations((12 + 6 * size) * of.width() + 64), |item| {
        let rows = problem.graph.item(item, true);
        // SAFETY: each item has a separate part.
        let sums = unsafe { outputs.sums.slice(item * len, len) };
        context.level.run(TargetRows { of: &of, slope, gradient: gradient.data, rows, outputs: &outputs, sums });
    });
    let mut sums = try_zeroed("working memory", len)?;
    total(items, &|item| Some((1.0, &parts[item * len..][..len])), &mut sums);
    let (of_attention, of_projection) = sums.split_at(attention.len());
    attention.copy_from_slice(of_attention);
    if size > 0 {
        transpose(of_projection, of.width(), projection);
    } else {
        projection.copy_from_slice(of_projection);
    }

    // Step 2: the rows of sources.
    let reversed = problem.graph.reversed()?;
    let sum = |x, weights, output| {
        let sums = Aggregation::of(reversed, x, of.width());
        Aggregation { edge_weight: Some(weights), heads, ..sums }.run(context, output);
    };
    sum(gradient.data, &weights, values);
    match of.score {
        Score::Product { queries, .. } => sum(queries, &slopes, sources),
        Score::Joint { .. } => {
            let output = SharedMut::new(values);
            context.for_each(reversed.items(), reversed.operations((6 + 2 * size) * of.width()), |item| {
                let rows = reversed.item(item, true);
                let (slopes, loops) = (&*slopes, &*loops);
                context.level.run(JointSources { of: &of, reversed, rows, slopes, loops, output: &output });
            });
        }
        _ => {
            let output = SharedMut::new(sources);
            context.for_each(reversed.items(), reversed.operations(2 * heads), |item| {
                for (source, row) in reversed.item(item, true) {
                    let edges = &reversed.edges[row];
                    let slope = |n: usize| Some((1.0, &slopes[edges[n] as usize * heads..][..heads]));
                    // SAFETY: each source has a separate row and belongs to one item.
                    total(edges.len(), &slope, unsafe { output.slice(source * heads, heads) });
                }
            });
        }
    }
    Ok(())
}

/// Inputs that fit each other.
struct Problem<'a> {
    /// As it was given, or closed by self-loops.
    graph: &'a Graph,
    tensors: EdgeTensors<'a>,
    options: EdgeAttentionOptions,
    is_additive: bool,
    /// The transposed weight of the edges' features, and the numbers of its rows.
    weight: Vec<f32>,
    rows: Vec<u32>,
}

impl<'a> Problem<'a> {
    #[inline(never)]
    fn new(graph: &'a Graph, tensors: EdgeTensors<'a>, options: EdgeAttentionOptions) -> Result<Self> {
        ranges::probability("dropout", options.dropout)?;
        ranges::seed("seed", options.seed)?;
        let EdgeTensors { values, sources, targets, attention, edges, projection } = tensors;
        let &[_, heads, channels] = values.shape.dims() else {
            return Err(Error::shape("values", "[sources, H, C]", values.shape));
        };
        let width = heads.saturating_mul(channels);
        check_shape("values", values, Shape::of([graph.num_sources(), heads.max(1), channels.max(1)]))?;
        // Step 1: the ends of edges.
        let is_additive = sources.is_some_and(|sources| sources.shape.rank() == 2);
        let shape = |nodes| match is_additive {
            true => Shape::of([nodes, heads]),
            false => Shape::of([nodes, heads, channels]),
        };
        check_shape("targets", targets, shape(graph.num_targets()))?;
        if let Some(sources) = sources {
            check_shape("sources", sources, shape(graph.num_sources()))?;
        }
        let count = if sources.is_some() { 0 } else { width };
        check_output("attention", attention.map_or(&[], |attention| attention.data), count)?;
        if sources.is_some() && !is_additive && options.add_self_loops {
            return Err(Error::option("add_self_loops", "false, as products take the edges given", true));
        }
        // Step 2: the edges.
        let count = graph.num_edges();
        let shape = edges.map_or(Shape::of([count, 0]), |edges| edges.shape);
        let size = match *shape.dims() {
            [rows, size] if rows == count && (!is_additive || edges.is_none() || size == heads) => size,
            _ => return Err(Error::shape("edges", format_args!("[{count}, size]"), shape)),
        };
        let loops = projection.map_or(0, |_| heads);
        let expected = if is_additive { loops } else { width.saturating_mul(size) };
        let projected = projection.map_or(&[][..], |projection| projection.data);
        check_output("projection", projected, expected)?;
        let size = if is_additive { 0 } else { size };
        let mut weight = try_zeroed("working memory", width * size)?;
        if size > 0 {
            transpose(projected, size, &mut weight);
        }
        let graph = if options.add_self_loops { graph.with_self_loops()? } else { graph };
        let rows = (0..size as u32).collect();
        Ok(Self { graph, tensors, options, is_additive, weight, rows })
    }

    /// The attention, with a slope of scores below 0.
    fn attention(&self, slope: f32) -> Attention<'_> {
        let EdgeTensors { values, sources, targets, attention, edges, projection } = self.tensors;
        let [_, heads, channels] = *values.shape.dims() else { unreachable!("the constructor checks the rank") };
        let targets = targets.data;
        let fill_value = self.options.fill_value;
        let features = edges.filter(|_| !self.rows.is_empty()).map(|edges| EdgeFeatures {
            features: edges.data,
            weight: &self.weight,
            rows: &self.rows,
            fill_value,
        });
        let score = match (sources, attention) {
            (Some(sources), _) if self.is_additive => {
                let loops = projection.map(|loops| loops.data);
                let edges = edges.map(|edges| EdgeScores { given: edges.data, loops });
                Score::Additive { nodes: [sources.data, targets], edges, slope }
            }
            (Some(keys), _) => {
                let scale = 1.0 / (channels as f32).sqrt();
                Score::Product { queries: targets, keys: keys.data, scale, edges: features }
            }
            (None, attention) => {
                let attention = attention.map_or(&[][..], |attention| attention.data);
                Score::Joint { targets, attention, slope, edges: features }
            }
        };
        Attention {
            graph: self.graph,
            heads,
            channels,
            values: values.data,
            score,
            dropout: Dropout::new(self.options.dropout, self.options.seed),
            weights_before_dropout: false,
            concat: true,
            finish: Finish::Bias(None),
            without: &[],
        }
    }
}

/// Results of the pass over targets.
struct TargetOutputs<'a> {
    /// The weight of each edge by its number, after dropout, `[K′, H]`.
    weights: SharedMut<'a, f32>,
    /// The gradient of each score before its slope, `[K′, H]`.
    slopes: SharedMut<'a, f32>,
    /// The features of self-loops that were added, `[N, size]`.
    loops: SharedMut<'a, f32>,
    targets: SharedMut<'a, f32>,
    edges: SharedMut<'a, f32>,
    /// The sums of each item.
    sums: SharedMut<'a, f32>,
}

/// One work item of the pass over targets.
struct TargetRows<'a> {
    of: &'a Attention<'a>,
    slope: f32,
    /// Of the output.
    gradient: &'a [f32],
    rows: Rows<'a>,
    outputs: &'a TargetOutputs<'a>,
    /// The gradients of the attention vectors, and of the transposed projection.
    sums: &'a mut [f32],
}

/// A row of the pass over targets.
struct Row<'a, 'b> {
    edges: &'b Incoming<'a>,
    /// The gradient of the output's row.
    gradient: &'b [f32],
    /// The gradient of the target's row.
    target: &'b mut [f32],
}

/// Memory for the gradients of one row at a time.
struct Beside<'a> {
    /// The gradients of scores, `[heads, edges of the row]`.
    slopes: &'a mut [f32],
    /// Scores before their slope.
    raw: &'a mut [f32],
    /// `[heads · channels]`.
    edge: &'a mut [f32],
    /// The projection of a head's row onto the features of an edge.
    features: &'a mut [f32],
    /// Sums of a few edges.
    low: &'a mut [f32],
}

impl Kernel for TargetRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { of, slope, gradient, rows, outputs, sums } = self;
        let (width, size, cells) = (of.width(), of.edge_size(), of.heads * widest(rows.clone()));
        let mut scratch = Scratch::take(Memory::len(of, cells) + 2 * cells + width + size + sums.len());
        let mut rest = scratch.values();
        let mut memory = Memory::of(&mut rest, of, cells);
        let mut beside = Beside {
            slopes: scratch::take(&mut rest, cells),
            raw: scratch::take(&mut rest, cells),
            edge: scratch::take(&mut rest, width),
            features: scratch::take(&mut rest, size),
            low: scratch::take(&mut rest, sums.len()),
        };
        beside.low.fill(0.0);
        let mut taken = 0;
        for (node, row) in rows {
            let count = row.len();
            let edges = &Incoming { node, sources: &of.graph.sources[row.clone()], edges: &of.graph.edges[row] };
            let wide = if matches!(of.score, Score::Additive { .. }) { of.heads } else { width };
            // SAFETY: each target has a separate row and belongs to one item.
            let target = unsafe { outputs.targets.slice(node * wide, wide) };
            let mut row = Row { edges, gradient: &gradient[node * width..][..width], target };
            of.score.write(simd, of, edges, &mut memory);
            if let Score::Additive { .. } = of.score {
                let cells = of.heads * count;
                beside.raw[..cells].copy_from_slice(&memory.scores[..cells]);
                memory.scores[..cells].iter_mut().for_each(|score| *score = leaky(*score, slope));
            }
            weigh(simd, of, &row, outputs, &mut memory, &mut beside);
            match of.score {
                Score::Joint { .. } => joint(simd, of, &mut row, outputs, &mut memory, &mut beside),
                Score::Product { .. } => product(simd, of, &mut row, outputs, &mut memory, &mut beside),
                _ => additive(of, &mut row, outputs, slope, &mut beside),
            }
            for (n, &edge) in edges.edges.iter().enumerate() {
                // SAFETY: each edge has one target, whose row belongs to one item.
                let slopes = unsafe { outputs.slopes.slice(edge as usize * of.heads, of.heads) };
                for (head, slope) in slopes.iter_mut().enumerate() {
                    *slope = beside.slopes[head * count + n];
                }
            }
            taken += count;
            if taken >= BLOCK {
                add(sums, beside.low);
                beside.low.fill(0.0);
                taken = 0;
            }
        }
        add(sums, beside.low);
    }
}

/// Turns the scores of a row into weights, and writes the gradients of the scores: `p (g − Σ p g)`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn weigh<S: Simd>(
    simd: S,
    of: &Attention<'_>,
    row: &Row<'_, '_>,
    outputs: &TargetOutputs<'_>,
    memory: &mut Memory<'_>,
    beside: &mut Beside<'_>,
) {
    let (count, channels, width) = (row.edges.edges.len(), of.channels, of.width());
    let scores = &mut memory.scores[..of.heads * count];
    let slopes = &mut beside.slopes[..of.heads * count];
    soften(simd, scores, count);
    for (head, slopes) in slopes.chunks_exact_mut(count).enumerate() {
        let gradient = &row.gradient[head * channels..][..channels];
        for (slope, &source) in slopes.iter_mut().zip(row.edges.sources) {
            *slope = dot(simd, gradient, &of.values[source as usize * width + head * channels..][..channels]);
        }
        if let Score::Product { edges: Some(edges), .. } = of.score {
            onto_features(simd, gradient, &edges, [width, head * channels], beside.features);
            for (slope, &edge) in slopes.iter_mut().zip(row.edges.edges) {
                *slope += dot(simd, beside.features, edges.of(edge));
            }
        }
    }
    for (n, &edge) in row.edges.edges.iter().enumerate() {
        // SAFETY: each edge has one target, whose row belongs to one item.
        let weights = unsafe { outputs.weights.slice(edge as usize * of.heads, of.heads) };
        let mut factors = [1.0; 4];
        for (head, weight) in weights.iter_mut().enumerate() {
            if let Some(dropout) = &of.dropout
                && head.is_multiple_of(4)
            {
                factors = dropout.factors([0, 0, edge as usize], head / 4);
            }
            let at = head * count + n;
            *weight = scores[at] * factors[head % 4];
            slopes[at] *= factors[head % 4];
        }
    }
    for (slopes, scores) in slopes.chunks_exact_mut(count).zip(scores.chunks_exact(count)) {
        let terms = slopes.iter().zip(scores).map(|(&slope, &score)| f64::from(slope) * f64::from(score));
        let mean = terms.sum::<f64>() as f32;
        slopes.iter_mut().zip(scores).for_each(|(slope, score)| *slope = score * (*slope - mean));
    }
}

/// Writes `Wᵀ vector` for a part of the columns of a transposed weight.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn onto_features<S: Simd>(
    simd: S,
    vector: &[f32],
    edges: &EdgeFeatures<'_>,
    [width, first]: [usize; 2],
    features: &mut [f32],
) {
    for (feature, value) in features.iter_mut().enumerate() {
        *value = dot(simd, vector, &edges.weight[feature * width + first..][..vector.len()]);
    }
}

/// The gradients of scores that add those of their ends.
#[cfg_attr(target_family = "wasm", inline(never))]
fn additive(
    of: &Attention<'_>,
    row: &mut Row<'_, '_>,
    outputs: &TargetOutputs<'_>,
    slope: f32,
    beside: &mut Beside<'_>,
) {
    let (count, heads, given) = (row.edges.edges.len(), of.heads, of.graph.num_edges());
    let slopes = &mut beside.slopes[..heads * count];
    for (slopes, raw) in slopes.iter_mut().zip(&*beside.raw) {
        *slopes *= if *raw > 0.0 { 1.0 } else { slope };
    }
    for (target, slopes) in row.target.iter_mut().zip(slopes.chunks_exact(count)) {
        *target = slopes.iter().map(|&slope| f64::from(slope)).sum::<f64>() as f32;
    }
    let Score::Additive { edges: Some(EdgeScores { loops, .. }), .. } = of.score else { return };
    // SAFETY: each edge has one target, whose row belongs to one item.
    let gradient_of = |edge: u32| unsafe { outputs.edges.slice(edge as usize * heads, heads) };
    for (n, &edge) in row.edges.edges.iter().enumerate() {
        for head in 0..heads {
            let slope = slopes[head * count + n];
            if (edge as usize) < given {
                gradient_of(edge)[head] = slope;
            } else if loops.is_some() {
                beside.low[head] += slope;
            } else {
                // The mean over the others, which come before.
                row.edges.edges[..n].iter().for_each(|&other| gradient_of(other)[head] += slope / n as f32);
            }
        }
    }
}

/// The gradients of scores `attention · leaky(source + target)`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn joint<S: Simd>(
    simd: S,
    of: &Attention<'_>,
    row: &mut Row<'_, '_>,
    outputs: &TargetOutputs<'_>,
    memory: &mut Memory<'_>,
    beside: &mut Beside<'_>,
) {
    let Score::Joint { targets, attention, slope, edges } = of.score else { return };
    let (count, width, channels) = (row.edges.edges.len(), of.width(), of.channels);
    let own = &targets[row.edges.node * width..][..width];
    let (of_attention, of_projection) = beside.low.split_at_mut(width);
    // SAFETY: each edge has one target, whose row belongs to one item.
    let gradient_of = |edge: u32, size: usize| unsafe { outputs.edges.slice(edge as usize * size, size) };
    memory.sum.fill(0.0);
    for (n, &source) in row.edges.sources.iter().enumerate() {
        let target = match &edges {
            Some(edges) => edges.added(simd, of, own, row.edges, n, memory.edge, memory.target),
            None => own,
        };
        let source = &of.values[source as usize * width..][..width];
        beside.edge.fill(0.0);
        for head in 0..of.heads {
            let range = head * channels..(head + 1) * channels;
            let [attention, source, target] = [attention, source, target].map(|row| &row[range.clone()]);
            let factor = beside.slopes[head * count + n];
            bend(attention, source, target, [slope, factor], &mut beside.edge[range.clone()]);
            for ((sum, source), target) in of_attention[range].iter_mut().zip(source).zip(target) {
                *sum += factor * leaky(source + target, slope);
            }
        }
        add(memory.sum, beside.edge);
        if n % BLOCK == BLOCK - 1 {
            add(row.target, memory.sum);
            memory.sum.fill(0.0);
        }
        let Some(edges) = &edges else { continue };
        let (edge, size) = (row.edges.edges[n], edges.rows.len());
        let added = (edge as usize).checked_sub(of.graph.num_edges());
        let features = match added {
            None => edges.of(edge),
            Some(node) => {
                // SAFETY: each self-loop has one target, whose row belongs to one item.
                let features = unsafe { outputs.loops.slice(node * size, size) };
                features.copy_from_slice(memory.edge);
                features
            }
        };
        for (&feature, sums) in features.iter().zip(of_projection.chunks_exact_mut(width)) {
            add_scaled(sums, feature, beside.edge);
        }
        onto_features(simd, beside.edge, edges, [width, 0], beside.features);
        match added {
            None => gradient_of(edge, size).copy_from_slice(beside.features),
            Some(_) if edges.fill_value.is_some() => {}
            // The mean over the others, which come before.
            Some(_) => {
                for &other in &row.edges.edges[..n] {
                    add_scaled(gradient_of(other, size), 1.0 / n as f32, beside.features);
                }
            }
        }
    }
    add(row.target, memory.sum);
}

/// The gradients of scores that are products of queries and keys.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn product<S: Simd>(
    simd: S,
    of: &Attention<'_>,
    row: &mut Row<'_, '_>,
    outputs: &TargetOutputs<'_>,
    memory: &mut Memory<'_>,
    beside: &mut Beside<'_>,
) {
    let Score::Product { queries, keys, scale: factor, edges } = of.score else { return };
    let (count, width, channels) = (row.edges.edges.len(), of.width(), of.channels);
    for head in 0..of.heads {
        let first = head * channels;
        let slopes = &mut beside.slopes[head * count..][..count];
        scale(slopes, factor);
        let target = &mut row.target[first..][..channels];
        gather_sum(simd, slopes, row.edges.sources, Columns { data: keys, row: width, first }, target);
        let Some(edges) = &edges else { continue };
        // Dropped weights, by which values are summed.
        let weights = &mut memory.scores[head * count..][..count];
        for (weight, &edge) in weights.iter_mut().zip(row.edges.edges) {
            // SAFETY: each edge has one target, whose row belongs to one item.
            *weight = unsafe { outputs.weights.slice(edge as usize * of.heads + head, 1) }[0];
        }
        let query = &queries[row.edges.node * width + first..][..channels];
        let gradient = &row.gradient[first..][..channels];
        for (is_score, factors, vector) in [(true, &*slopes, query), (false, &*weights, gradient)] {
            // Σ factor · (W edge) = W (Σ factor · edge): for the query, and for the gradient of W.
            memory.edge.fill(0.0);
            gather_sum(simd, factors, row.edges.edges, Columns::of(edges.features, edges.rows.len()), memory.edge);
            for (feature, &sum) in memory.edge.iter().enumerate() {
                add_scaled(&mut beside.low[feature * width + first..][..channels], sum, vector);
            }
            if is_score {
                let weight = Columns { data: edges.weight, row: width, first };
                gather_sum(simd, memory.edge, edges.rows, weight, target);
            }
            onto_features(simd, vector, edges, [width, first], beside.features);
            for (&factor, &edge) in factors.iter().zip(row.edges.edges) {
                let size = edges.rows.len();
                // SAFETY: as above.
                let gradient = unsafe { outputs.edges.slice(edge as usize * size, size) };
                add_scaled(gradient, factor, beside.features);
            }
        }
    }
}

/// `row += factor · other`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn add_scaled(row: &mut [f32], factor: f32, other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(value, other)| *value += factor * other);
}

/// Adds the gradient of the sum of a source and a target in `factor · attention · leaky(source + target)`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn bend(attention: &[f32], source: &[f32], target: &[f32], [slope, factor]: [f32; 2], sum: &mut [f32]) {
    for (((sum, attention), source), target) in sum.iter_mut().zip(attention).zip(source).zip(target) {
        *sum += factor * attention * if source + target > 0.0 { 1.0 } else { slope };
    }
}

/// One work item of the second pass over joint scores: adds the gradients of scores to those of the sources' rows.
struct JointSources<'a> {
    of: &'a Attention<'a>,
    reversed: &'a Graph,
    rows: Rows<'a>,
    /// `[K′, H]`.
    slopes: &'a [f32],
    loops: &'a [f32],
    output: &'a SharedMut<'a, f32>,
}

impl Kernel for JointSources<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { of, reversed, slopes, loops, .. } = self;
        let Score::Joint { targets, attention, slope, edges } = of.score else { return };
        let (width, channels, given) = (of.width(), of.channels, of.graph.num_edges());
        let mut scratch = Scratch::take(2 * width);
        let (low, place) = scratch.values().split_at_mut(width);
        for (node, row) in self.rows {
            let source = &of.values[node * width..][..width];
            // SAFETY: each source has a separate row and belongs to one item.
            let sum = unsafe { self.output.slice(node * width, width) };
            low.fill(0.0);
            for (n, at) in row.enumerate() {
                let (target, edge) = (reversed.sources[at] as usize, reversed.edges[at]);
                let mut target = &targets[target * width..][..width];
                if let Some(edges) = &edges {
                    let size = edges.rows.len();
                    let features = match (edge as usize).checked_sub(given) {
                        None => edges.of(edge),
                        Some(node) => &loops[node * size..][..size],
                    };
                    edges.project(simd, target, features, place);
                    target = place;
                }
                for head in 0..of.heads {
                    let range = head * channels..(head + 1) * channels;
                    let [attention, source, target] = [attention, source, target].map(|row| &row[range.clone()]);
                    let factor = slopes[edge as usize * of.heads + head];
                    bend(attention, source, target, [slope, factor], &mut low[range]);
                }
                if n % BLOCK == BLOCK - 1 {
                    add(sum, low);
                    low.fill(0.0);
                }
            }
            add(sum, low);
        }
    }
}

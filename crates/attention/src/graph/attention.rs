//! The attention of a graph layer: for each node the scores of its incoming edges, their softmax and the weighted sum of the
//! values, in one pass over the target rows. Working memory is that of the widest row of an item.

use super::aggregate::{Columns, add, gather_sum};
use super::softmax::softmax;
use super::{Graph, Rows};
use crate::math::dot::dot;
use crate::math::exp::exp;
use crate::math::random::Dropout;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Simd};
use crate::threads::{Context, SharedMut};

/// How an edge from `j` to `i` is scored.
#[derive(Clone, Copy)]
pub(super) enum Score<'a> {
    /// GAT: `leaky(source[j] + target[i] + edge)`, from the heads' scores of the nodes, `[N, 2 · heads]`, and of the edges.
    Additive { nodes: &'a [f32], edges: Option<&'a [f32]>, slope: f32 },
    /// GATv2: `att · leaky(values[j] + targets[i] + edge)`.
    Joint { targets: &'a [f32], attention: &'a [f32], slope: f32, edges: Option<EdgeFeatures<'a>> },
    /// The graph transformer: `scale · (queries[i] · (keys[j] + edge))`; the edge is added to the value too.
    Product { queries: &'a [f32], keys: &'a [f32], scale: f32, edges: Option<EdgeFeatures<'a>> },
}

/// The features of the edges given and the weight that projects them into the heads.
#[derive(Clone, Copy)]
pub(super) struct EdgeFeatures<'a> {
    /// `[K, size]`.
    pub features: &'a [f32],
    pub size: usize,
    /// `[size, heads · channels]`: transposed, so that a feature's part is a row.
    pub weight: &'a [f32],
    /// The rows of the weight: 0, 1, … size − 1.
    pub rows: &'a [u32],
}

/// What becomes of a node's sum.
#[derive(Clone, Copy)]
pub(super) enum Finish<'a> {
    /// A bias is added.
    Bias(Option<&'a [f32]>),
    /// What lies in the output is added, or takes its gated share: `β · skip + (1 − β) · sum`, β the logistic function of
    /// the gate's product with sum, skip and their difference.
    Skip { gate: Option<&'a [f32]> },
}

/// Attention over the whole graph: sizes that fit each other.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a> {
    pub graph: &'a Graph,
    pub heads: usize,
    pub channels: usize,
    /// `[N, heads · channels]`.
    pub values: &'a [f32],
    pub score: Score<'a>,
    /// Whether each node has one self-loop in place of those given, its features the mean of its other edges'.
    pub add_self_loops: bool,
    pub dropout: Option<Dropout>,
    /// Whether the weights returned are those before dropout.
    pub weights_before_dropout: bool,
    /// Whether heads stand side by side in the output, or their mean does.
    pub concat: bool,
    pub finish: Finish<'a>,
}

impl Attention<'_> {
    fn width(&self) -> usize {
        self.heads * self.channels
    }

    /// Writes the output `[N, width]`, where [`Finish::Skip`] finds what it adds, and the weights `[K′, heads]`.
    pub fn run(&self, context: Context, output: &mut [f32], weights: Option<&mut [f32]>) {
        let edges = self.graph.num_edges() + self.graph.num_nodes();
        let (output, weights) = (SharedMut::new(output), weights.map(SharedMut::new));
        context.for_each(self.graph.items(), edges.saturating_mul(6 * self.width() + 32), |item| {
            let rows = self.graph.rows(item);
            context.level.run(Item { of: self, rows, output: &output, weights: weights.as_ref() });
        });
    }

    /// The number by which dropout knows an edge: its place among those given, self-loops that are added after them.
    fn edge_number(&self, edge: u32, node: usize) -> usize {
        if edge == ADDED_LOOP { self.graph.num_edges() + node } else { edge as usize }
    }

    /// Where the weights of an edge stand among those returned: in the order given without the self-loops, then theirs.
    fn weight_place(&self, edge: u32, node: usize) -> usize {
        let loops = &self.graph.loops;
        match (edge, self.add_self_loops) {
            (ADDED_LOOP, _) => self.graph.num_edges() - loops.len() + node,
            (_, true) => edge as usize - loops.partition_point(|&place| place < edge),
            (_, false) => edge as usize,
        }
    }
}

/// In place of an edge's number where the edge is a self-loop that was added.
const ADDED_LOOP: u32 = u32::MAX;

/// One work item of an [`Attention`].
struct Item<'a> {
    of: &'a Attention<'a>,
    rows: Rows<'a>,
    output: &'a SharedMut<'a, f32>,
    weights: Option<&'a SharedMut<'a, f32>>,
}

/// The edges that reach one node.
struct Incoming<'a> {
    node: usize,
    sources: &'a [u32],
    edges: &'a [u32],
}

/// Memory for one row at a time.
struct Memory<'a> {
    /// `[heads, edges of the row]`.
    scores: &'a mut [f32],
    /// `[heads · channels]`.
    sum: &'a mut [f32],
    target: &'a mut [f32],
    /// `[size of an edge's features]`.
    edge: &'a mut [f32],
    /// `[heads, size of an edge's features]`.
    projected: &'a mut [f32],
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let of = self.of;
        let size = of.score.edges().map_or(0, |edges| edges.size);
        let widest = self.rows.clone().map(|(_, edges)| edges.len() + 1).max().unwrap_or(0);
        let mut scratch = Scratch::take(of.heads * widest + 2 * of.width() + size + of.heads * size);
        let mut rest = scratch.values();
        let mut memory = Memory {
            scores: scratch::take(&mut rest, of.heads * widest),
            sum: scratch::take(&mut rest, of.width()),
            target: scratch::take(&mut rest, of.width()),
            edge: scratch::take(&mut rest, size),
            projected: scratch::take(&mut rest, of.heads * size),
        };
        let (mut sources, mut edges) = (Vec::new(), Vec::new());
        for (node, row) in self.rows {
            sources.clear();
            edges.clear();
            for place in row {
                if !of.add_self_loops || of.graph.sources[place] as usize != node {
                    sources.push(of.graph.sources[place]);
                    edges.push(of.graph.edges[place]);
                }
            }
            if of.add_self_loops {
                sources.push(node as u32);
                edges.push(ADDED_LOOP);
            }
            let incoming = Incoming { node, sources: &sources, edges: &edges };
            if !sources.is_empty() {
                of.score.write(simd, of, &incoming, &mut memory);
                weigh(simd, of, &incoming, memory.scores, self.weights);
            }
            combine(simd, of, &incoming, &mut memory);
            let width = if of.concat { of.width() } else { of.channels };
            // SAFETY: each node has a row of its own and belongs to one item.
            finish(simd, of, memory.sum, unsafe { self.output.slice(node * width, width) });
        }
    }
}

impl<'a> Score<'a> {
    fn edges(&self) -> Option<EdgeFeatures<'a>> {
        match *self {
            Self::Additive { .. } => None,
            Self::Joint { edges, .. } | Self::Product { edges, .. } => edges,
        }
    }

    /// Writes the scores of a row, head by head.
    #[inline(always)]
    fn write<S: Simd>(&self, simd: S, of: &Attention<'_>, row: &Incoming<'_>, memory: &mut Memory<'_>) {
        match *self {
            Self::Additive { nodes, edges, slope } => additive(of.heads, nodes, edges, slope, row, memory.scores),
            Self::Joint { targets, attention, slope, edges } => {
                joint(simd, of, targets, attention, slope, edges, row, memory);
            }
            Self::Product { queries, keys, scale, edges } => {
                products(simd, of, queries, keys, scale, edges, row, memory);
            }
        }
    }
}

fn leaky(score: f32, slope: f32) -> f32 {
    if score > 0.0 { score } else { slope * score }
}

fn additive(heads: usize, nodes: &[f32], edges: Option<&[f32]>, slope: f32, row: &Incoming<'_>, scores: &mut [f32]) {
    let count = row.sources.len();
    let target = &nodes[row.node * 2 * heads + heads..][..heads];
    for (n, &source) in row.sources.iter().enumerate() {
        let source = &nodes[source as usize * 2 * heads..][..heads];
        for head in 0..heads {
            scores[head * count + n] = source[head] + target[head];
        }
    }
    if let Some(edges) = edges {
        for (head, scores) in scores.chunks_exact_mut(count).take(heads).enumerate() {
            let mut sum = 0.0;
            for (&edge, score) in row.edges.iter().zip(&mut *scores) {
                // The mean over no edge is 0.
                let of_edge = match edge {
                    ADDED_LOOP => sum / (count - 1).max(1) as f32,
                    edge => edges[edge as usize * heads + head],
                };
                sum += of_edge;
                *score += of_edge;
            }
        }
    }
    scores[..heads * count].iter_mut().for_each(|score| *score = leaky(*score, slope));
}

#[inline(always)]
fn joint<S: Simd>(
    simd: S,
    of: &Attention<'_>,
    targets: &[f32],
    attention: &[f32],
    slope: f32,
    edges: Option<EdgeFeatures<'_>>,
    row: &Incoming<'_>,
    memory: &mut Memory<'_>,
) {
    let (count, width, channels) = (row.sources.len(), of.width(), of.channels);
    let target = &targets[row.node * width..][..width];
    memory.edge.fill(0.0);
    for (n, (&source, &edge)) in row.sources.iter().zip(row.edges).enumerate() {
        let mut target = target;
        if let Some(edges) = edges {
            memory.target.copy_from_slice(target);
            let features = if edge == ADDED_LOOP {
                // Every other edge came before.
                memory.edge.iter_mut().for_each(|sum| *sum /= n.max(1) as f32);
                &*memory.edge
            } else {
                let features = edges.of(edge);
                add(memory.edge, features);
                features
            };
            gather_sum(simd, features, edges.rows, Columns::of(edges.weight, width), 1.0, memory.target);
            target = memory.target;
        }
        let source = &of.values[source as usize * width..][..width];
        for head in 0..of.heads {
            let range = head * channels..(head + 1) * channels;
            memory.scores[head * count + n] =
                leaky_dot(simd, &attention[range.clone()], &source[range.clone()], &target[range], slope);
        }
    }
}

#[inline(always)]
fn products<S: Simd>(
    simd: S,
    of: &Attention<'_>,
    queries: &[f32],
    keys: &[f32],
    scale: f32,
    edges: Option<EdgeFeatures<'_>>,
    row: &Incoming<'_>,
    memory: &mut Memory<'_>,
) {
    let (count, width, channels) = (row.sources.len(), of.width(), of.channels);
    let query = &queries[row.node * width..][..width];
    for head in 0..of.heads {
        let query = &query[head * channels..][..channels];
        let scores = &mut memory.scores[head * count..][..count];
        for (score, &source) in scores.iter_mut().zip(row.sources) {
            *score = dot(simd, query, &keys[source as usize * width + head * channels..][..channels]);
        }
        if let Some(edges) = edges {
            // query · (W edge) = (Wᵀ query) · edge, which costs less an edge.
            for (feature, projected) in memory.edge.iter_mut().enumerate() {
                *projected = dot(simd, query, &edges.weight[feature * width + head * channels..][..channels]);
            }
            for (score, &edge) in scores.iter_mut().zip(row.edges) {
                *score += dot(simd, memory.edge, edges.of(edge));
            }
        }
        scores.iter_mut().for_each(|score| *score *= scale);
    }
}

impl EdgeFeatures<'_> {
    /// The features of an edge.
    fn of(&self, edge: u32) -> &[f32] {
        &self.features[edge as usize * self.size..][..self.size]
    }
}

/// `attention · leaky(source + target)`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn leaky_dot<S: Simd>(simd: S, attention: &[f32], source: &[f32], target: &[f32], slope: f32) -> f32 {
    let slopes = simd.splat(slope);
    let zero = simd.splat(0.0);
    let mut sum = zero;
    let (mut attentions, mut sources, mut targets) =
        (attention.chunks_exact(S::LANES), source.chunks_exact(S::LANES), target.chunks_exact(S::LANES));
    for ((attention, source), target) in (&mut attentions).zip(&mut sources).zip(&mut targets) {
        let joint = simd.add(simd.load(source), simd.load(target));
        let bent = simd.select(simd.lt(zero, joint), joint, simd.mul(slopes, joint));
        sum = simd.mul_add(simd.load(attention), bent, sum);
    }
    let rest = attentions.remainder().iter().zip(sources.remainder()).zip(targets.remainder());
    simd.reduce_sum(sum)
        + rest.map(|((attention, source), target)| attention * leaky(source + target, slope)).sum::<f32>()
}

/// Turns the scores of a row into weights, drops some, and hands them out where they are asked for.
#[inline(always)]
fn weigh<S: Simd>(
    simd: S,
    of: &Attention<'_>,
    row: &Incoming<'_>,
    scores: &mut [f32],
    weights: Option<&SharedMut<'_, f32>>,
) {
    let count = row.sources.len();
    let scores = &mut scores[..of.heads * count];
    scores.chunks_exact_mut(count).for_each(|head| softmax(simd, head));
    if of.weights_before_dropout {
        hand_out(of, row, scores, weights);
    }
    if let Some(dropout) = of.dropout {
        for (n, &edge) in row.edges.iter().enumerate() {
            let heads = scores.iter_mut().skip(n).step_by(count);
            dropout.apply([0, 0, of.edge_number(edge, row.node)], 0, heads);
        }
    }
    if !of.weights_before_dropout {
        hand_out(of, row, scores, weights);
    }
}

/// Copies the weights of a row to the places of its edges.
fn hand_out(of: &Attention<'_>, row: &Incoming<'_>, scores: &[f32], weights: Option<&SharedMut<'_, f32>>) {
    let Some(weights) = weights else { return };
    for (n, &edge) in row.edges.iter().enumerate() {
        // SAFETY: each edge has one target, whose row belongs to one item.
        let place = unsafe { weights.slice(of.weight_place(edge, row.node) * of.heads, of.heads) };
        for (weight, score) in place.iter_mut().zip(scores.iter().skip(n).step_by(row.edges.len())) {
            *weight = *score;
        }
    }
}

/// Sums the values of a row by its weights.
#[inline(always)]
fn combine<S: Simd>(simd: S, of: &Attention<'_>, row: &Incoming<'_>, memory: &mut Memory<'_>) {
    let (count, width, channels) = (row.sources.len(), of.width(), of.channels);
    memory.sum.fill(0.0);
    for (head, sum) in memory.sum.chunks_exact_mut(channels).enumerate() {
        let weights = &memory.scores[head * count..][..count];
        let values = Columns { data: of.values, row: width, first: head * channels };
        gather_sum(simd, weights, row.sources, values, 1.0, sum);
        if let Score::Product { edges: Some(edges), .. } = of.score {
            // Σ weight · (W edge) = W (Σ weight · edge).
            let projected = &mut memory.projected[head * edges.size..][..edges.size];
            projected.fill(0.0);
            gather_sum(simd, weights, row.edges, Columns::of(edges.features, edges.size), 1.0, projected);
            let weight = Columns { data: edges.weight, row: width, first: head * channels };
            gather_sum(simd, projected, edges.rows, weight, 1.0, sum);
        }
    }
}

/// Writes a node's output from its sum.
#[inline(always)]
fn finish<S: Simd>(simd: S, of: &Attention<'_>, sum: &mut [f32], output: &mut [f32]) {
    let sum = if of.concat {
        sum
    } else {
        let (mean, others) = sum.split_at_mut(of.channels);
        others.chunks_exact(of.channels).for_each(|head| add(mean, head));
        mean.iter_mut().for_each(|value| *value /= of.heads as f32);
        mean
    };
    match of.finish {
        Finish::Skip { gate: None } => add(output, sum),
        Finish::Skip { gate: Some(gate) } => {
            let (of_sum, rest) = gate.split_at(sum.len());
            let (of_skip, of_difference) = rest.split_at(sum.len());
            let difference: f32 =
                of_difference.iter().zip(&*sum).zip(&*output).map(|((gate, sum), skip)| gate * (sum - skip)).sum();
            let open = logistic(simd, dot(simd, of_sum, sum) + dot(simd, of_skip, output) + difference);
            for (skip, sum) in output.iter_mut().zip(&*sum) {
                *skip = open * *skip + (1.0 - open) * sum;
            }
        }
        Finish::Bias(bias) => {
            output.copy_from_slice(sum);
            if let Some(bias) = bias {
                add(output, bias);
            }
        }
    }
}

/// `1 / (1 + e^−x)`.
#[inline(always)]
fn logistic<S: Simd>(simd: S, x: f32) -> f32 {
    let mut lanes = [0.0; 16];
    simd.store(&mut lanes, exp(simd, simd.splat(-x.abs())));
    let [power, ..] = lanes;
    if x < 0.0 { power / (1.0 + power) } else { 1.0 / (1.0 + power) }
}

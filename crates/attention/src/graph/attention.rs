//! Attention in a graph layer: for each node the scores of its incoming edges, their softmax and the weighted sum of
//! the values, in one pass over the target rows. Scratch memory grows with the widest row of an item.

use super::aggregate::{Columns, add, gather_sum, scale, widest};
use super::{Graph, Rows};
use crate::context::Context;
use crate::context::rows::SharedMut;
use crate::math::dot::dot;
use crate::math::exp::exp;
use crate::math::random::Dropout;
use crate::math::softmax::{exp_sum, row_max};
use crate::math::sum::total;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Simd};

/// Writes the transpose of rows of `width` values, as [`EdgeFeatures`] have their weight.
pub(crate) fn transpose(rows: &[f32], width: usize, output: &mut [f32]) {
    let count = rows.len() / width;
    for (row, values) in rows.chunks_exact(width).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            output[column * count + row] = value;
        }
    }
}

/// How an edge from `j` to `i` is scored.
#[derive(Clone, Copy)]
pub(crate) enum Score<'a> {
    /// By the scores of the edges themselves.
    Given { edges: EdgeScores<'a> },
    /// GAT: `leaky(source[j] + target[i] + edge)`, from the heads' scores of the nodes as either, `[N, heads]`, and of
    /// the edges.
    Additive { nodes: [&'a [f32]; 2], edges: Option<EdgeScores<'a>>, slope: f32 },
    /// GATv2: `att · leaky(values[j] + targets[i] + edge)`.
    Joint { targets: &'a [f32], attention: &'a [f32], slope: f32, edges: Option<EdgeFeatures<'a>> },
    /// The graph transformer: `scale · (queries[i] · (keys[j] + edge))`; the edge is added to the value too.
    Product { queries: &'a [f32], keys: &'a [f32], scale: f32, edges: Option<EdgeFeatures<'a>> },
}

/// The scores of the edges given.
#[derive(Clone, Copy)]
pub(crate) struct EdgeScores<'a> {
    /// `[K, heads]`.
    pub given: &'a [f32],
    /// The score of every self-loop that was added, `[heads]`; by default the mean over the node's other edges.
    pub loops: Option<&'a [f32]>,
}

/// The features of the edges given and the weight that projects them into the heads.
#[derive(Clone, Copy)]
pub(crate) struct EdgeFeatures<'a> {
    /// `[K, size]`.
    pub features: &'a [f32],
    /// `[size, heads · channels]`: transposed, so that a feature's part is a row.
    pub weight: &'a [f32],
    /// The rows of the weight: 0, 1, … size − 1.
    pub rows: &'a [u32],
    /// Each feature of a self-loop that was added; by default the mean over the node's other edges.
    pub fill_value: Option<f32>,
}

/// The final step for a node's sum.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    /// A bias is added.
    Bias(Option<&'a [f32]>),
    /// Adds the output's previous contents, or a gated mix: `β · skip + (1 − β) · sum`, where β is the logistic
    /// function of the gate's product with sum, skip and their difference.
    Skip { gate: Option<&'a [f32]> },
}

/// Attention over the whole graph: sizes that fit each other.
#[derive(Clone, Copy)]
pub(crate) struct Attention<'a> {
    /// A graph as it was given, or closed by self-loops.
    pub graph: &'a Graph,
    pub heads: usize,
    pub channels: usize,
    /// `[N, heads · channels]`.
    pub values: &'a [f32],
    pub score: Score<'a>,
    pub dropout: Option<Dropout>,
    /// Returns the weights before dropout instead of those after it.
    pub weights_before_dropout: bool,
    /// Concatenates the heads in the output instead of averaging them.
    pub concat: bool,
    pub finish: Finish<'a>,
    /// The self-loops among the edges given that have no weights, as the graph was closed.
    pub without: &'a [[u32; 2]],
}

impl Attention<'_> {
    pub fn width(&self) -> usize {
        self.heads * self.channels
    }

    /// Returns true if scores join the rows of their ends.
    #[cfg(feature = "training")]
    pub fn is_joint(&self) -> bool {
        matches!(self.score, Score::Joint { .. })
    }

    /// The number of features of an edge, if these are projected into the heads.
    pub fn edge_size(&self) -> usize {
        self.score.edges().map_or(0, |edges| edges.rows.len())
    }

    /// Writes the output `[N, width]`, where [`Finish::Skip`] finds what it adds, and the weights `[K′, heads]`.
    pub fn run(&self, context: Context<'_>, output: &mut [f32], weights: Option<&mut [f32]>) {
        let (output, weights) = (SharedMut::new(output), weights.map(SharedMut::new));
        context.for_each(self.graph.items(), self.graph.operations(6 * self.width() + 32), |item| {
            // Without values there is nothing to write for a node without edges.
            let rows = self.graph.item(item, self.channels == 0);
            context.level.run(Item { of: self, rows, output: &output, weights: weights.as_ref() });
        });
    }
}

/// One work item of an [`Attention`].
struct Item<'a> {
    of: &'a Attention<'a>,
    rows: Rows<'a>,
    output: &'a SharedMut<'a, f32>,
    weights: Option<&'a SharedMut<'a, f32>>,
}

/// The edges that reach one node, each by its source and its number.
pub(crate) struct Incoming<'a> {
    pub node: usize,
    pub sources: &'a [u32],
    pub edges: &'a [u32],
}

/// Memory for one row at a time.
pub(crate) struct Memory<'a> {
    /// `[heads, edges of the row]`.
    pub scores: &'a mut [f32],
    /// `[heads · channels]`.
    pub sum: &'a mut [f32],
    pub target: &'a mut [f32],
    /// `[size of an edge's features]`.
    pub edge: &'a mut [f32],
}

impl<'a> Memory<'a> {
    /// Divides scratch memory of [`Self::len`] values.
    pub fn of(rest: &mut &'a mut [f32], of: &Attention<'_>, scores: usize) -> Self {
        Self {
            scores: scratch::take(rest, scores),
            sum: scratch::take(rest, of.width()),
            target: scratch::take(rest, of.width()),
            edge: scratch::take(rest, of.edge_size()),
        }
    }

    pub fn len(of: &Attention<'_>, scores: usize) -> usize {
        scores + 2 * of.width() + of.edge_size()
    }
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let of = self.of;
        let scores = of.heads * widest(self.rows.clone());
        let mut scratch = Scratch::take(Memory::len(of, scores));
        let mut memory = Memory::of(&mut scratch.values(), of, scores);
        for (node, row) in self.rows.clone() {
            let incoming = Incoming { node, sources: &of.graph.sources[row.clone()], edges: &of.graph.edges[row] };
            memory.sum.fill(0.0);
            if !incoming.edges.is_empty() {
                of.score.write(simd, of, &incoming, &mut memory);
                self.weigh(simd, &incoming, memory.scores);
                combine(simd, of, &incoming, &mut memory);
            }
            let width = if of.concat { of.width() } else { of.channels };
            // SAFETY: each node has a separate row and belongs to one item.
            finish(simd, of, memory.sum, unsafe { self.output.slice(node * width, width) });
        }
    }
}

impl Item<'_> {
    /// Turns the scores of a row into weights, drops some, and hands them out where they are asked for.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn weigh<S: Simd>(&self, simd: S, row: &Incoming<'_>, scores: &mut [f32]) {
        let (of, count) = (self.of, row.edges.len());
        let scores = &mut scores[..of.heads * count];
        soften(simd, scores, count);
        if self.weights.is_none() && of.dropout.is_none() {
            return;
        }
        for (n, &edge) in row.edges.iter().enumerate() {
            let mut place: &mut [f32] = &mut [];
            if let Some(weights) = self.weights {
                let before = of.without.partition_point(|[taken, _]| *taken < edge);
                // SAFETY: each edge has one target, whose row belongs to one item.
                place = unsafe { weights.slice((edge as usize - before) * of.heads, of.heads) };
            }
            let mut factors = [1.0; 4];
            for head in 0..of.heads {
                if let Some(dropout) = &of.dropout
                    && head.is_multiple_of(4)
                {
                    factors = dropout.factors([0, 0, edge as usize], head / 4);
                }
                let score = &mut scores[head * count + n];
                let kept = *score * factors[head % 4];
                if let Some(place) = place.get_mut(head) {
                    *place = if of.weights_before_dropout { *score } else { kept };
                }
                *score = kept;
            }
        }
    }
}

/// Turns the scores of a row of `count` edges into weights, head by head.
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn soften<S: Simd>(simd: S, scores: &mut [f32], count: usize) {
    for head in scores.chunks_exact_mut(count) {
        let max = row_max(simd, head);
        let sum = exp_sum(simd, head, max);
        // Only a row of nothing but −∞ sums to 0.
        scale(head, if sum == 0.0 { 0.0 } else { 1.0 / sum });
    }
}

impl<'a> Score<'a> {
    pub fn edges(&self) -> Option<EdgeFeatures<'a>> {
        match *self {
            Self::Joint { edges, .. } | Self::Product { edges, .. } => edges,
            _ => None,
        }
    }

    /// Writes the scores of a row, head by head.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub fn write<S: Simd>(&self, simd: S, of: &Attention<'_>, row: &Incoming<'_>, memory: &mut Memory<'_>) {
        let (count, width, channels) = (row.sources.len(), of.width(), of.channels);
        let Memory { scores, target: place, edge: memory, .. } = memory;
        match *self {
            Self::Given { edges } => additive(of, None, Some(edges), 1.0, row, scores),
            Self::Additive { nodes, edges, slope } => additive(of, Some(nodes), edges, slope, row, scores),
            Self::Joint { targets, attention, slope, edges } => {
                for (n, &source) in row.sources.iter().enumerate() {
                    let target = &targets[row.node * width..][..width];
                    let target = match edges {
                        Some(edges) => edges.added(simd, of, target, row, n, memory, place),
                        None => target,
                    };
                    let source = &of.values[source as usize * width..][..width];
                    for head in 0..of.heads {
                        let range = head * channels..(head + 1) * channels;
                        scores[head * count + n] =
                            leaky_dot(simd, &attention[range.clone()], &source[range.clone()], &target[range], slope);
                    }
                }
            }
            Self::Product { queries, keys, scale: factor, edges } => {
                for head in 0..of.heads {
                    let query = &queries[row.node * width + head * channels..][..channels];
                    let scores = &mut scores[head * count..][..count];
                    for (score, &source) in scores.iter_mut().zip(row.sources) {
                        *score = dot(simd, query, &keys[source as usize * width + head * channels..][..channels]);
                    }
                    if let Some(edges) = edges {
                        // query · (W edge) = (Wᵀ query) · edge, which costs less an edge.
                        for (feature, projected) in memory.iter_mut().enumerate() {
                            *projected =
                                dot(simd, query, &edges.weight[feature * width + head * channels..][..channels]);
                        }
                        for (score, &edge) in scores.iter_mut().zip(row.edges) {
                            *score += dot(simd, memory, edges.of(edge));
                        }
                    }
                    scale(scores, factor);
                }
            }
        }
    }
}

/// The scores of a row from those of its nodes and of its edges.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn additive(
    of: &Attention<'_>,
    nodes: Option<[&[f32]; 2]>,
    edges: Option<EdgeScores<'_>>,
    slope: f32,
    row: &Incoming<'_>,
    scores: &mut [f32],
) {
    let (count, heads, given) = (row.sources.len(), of.heads, of.graph.num_edges());
    for n in 0..count {
        let (source, edge) = (row.sources[n] as usize, row.edges[n] as usize);
        for head in 0..heads {
            let mut score = match nodes {
                Some([sources, targets]) => sources[source * heads + head] + targets[row.node * heads + head],
                None => 0.0,
            };
            if let Some(EdgeScores { given: edges, loops }) = edges {
                score += match loops {
                    _ if edge < given => edges[edge * heads + head],
                    Some(loops) => loops[head],
                    None => {
                        // A self-loop that was added is the last: the mean over the others, or 0 over none.
                        let score = |&other: &u32| f64::from(edges[other as usize * heads + head]);
                        (row.edges[..n].iter().map(score).sum::<f64>() / n.max(1) as f64) as f32
                    }
                };
            }
            scores[head * count + n] = leaky(score, slope);
        }
    }
}

pub(crate) fn leaky(score: f32, slope: f32) -> f32 {
    if score > 0.0 { score } else { slope * score }
}

impl EdgeFeatures<'_> {
    /// The features of an edge.
    pub fn of(&self, edge: u32) -> &[f32] {
        &self.features[edge as usize * self.rows.len()..][..self.rows.len()]
    }

    /// A target's row plus the projected features of its edge `n`; `mean` has room for the features of an edge.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub fn added<'b, S: Simd>(
        &self,
        simd: S,
        of: &Attention<'_>,
        target: &[f32],
        row: &Incoming<'_>,
        n: usize,
        mean: &mut [f32],
        place: &'b mut [f32],
    ) -> &'b [f32] {
        let features = if (row.edges[n] as usize) < of.graph.num_edges() {
            self.of(row.edges[n])
        } else {
            self.write_loop(row, n, mean);
            mean
        };
        self.project(simd, target, features, place);
        place
    }

    /// Writes the features of the self-loop that was added as edge `n`, the last one.
    pub fn write_loop(&self, row: &Incoming<'_>, n: usize, features: &mut [f32]) {
        match self.fill_value {
            Some(value) => features.fill(value),
            // The mean over the others, or 0 over none.
            None => total(n, &|other| Some((1.0 / n as f64, self.of(row.edges[other]))), features),
        }
    }

    /// Writes a target's row plus projected features.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub fn project<S: Simd>(&self, simd: S, target: &[f32], features: &[f32], place: &mut [f32]) {
        place.copy_from_slice(target);
        gather_sum(simd, features, self.rows, Columns::of(self.weight, target.len()), place);
    }
}

/// `attention · leaky(source + target)`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn leaky_dot<S: Simd>(simd: S, attention: &[f32], source: &[f32], target: &[f32], slope: f32) -> f32 {
    let (slopes, zero) = (simd.splat(slope), simd.splat(0.0));
    let mut sum = zero;
    let whole = attention.len() / S::LANES * S::LANES;
    for at in (0..whole).step_by(S::LANES) {
        let joint = simd.load(&source[at..]) + simd.load(&target[at..]);
        let bent = simd.select(simd.lt(zero, joint), joint, slopes * joint);
        sum = simd.mul_add(simd.load(&attention[at..]), bent, sum);
    }
    let rest = (whole..attention.len()).map(|at| attention[at] * leaky(source[at] + target[at], slope));
    simd.reduce_sum(sum) + rest.sum::<f32>()
}

/// Sums the values of a row by its weights.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn combine<S: Simd>(simd: S, of: &Attention<'_>, row: &Incoming<'_>, memory: &mut Memory<'_>) {
    let (count, width, channels) = (row.sources.len(), of.width(), of.channels);
    for head in 0..if channels > 0 { of.heads } else { 0 } {
        let sum = &mut memory.sum[head * channels..][..channels];
        let weights = &memory.scores[head * count..][..count];
        gather_sum(simd, weights, row.sources, Columns { data: of.values, row: width, first: head * channels }, sum);
        if let Score::Product { edges: Some(edges), .. } = of.score {
            // Σ weight · (W edge) = W (Σ weight · edge).
            memory.edge.fill(0.0);
            gather_sum(simd, weights, row.edges, Columns::of(edges.features, edges.rows.len()), memory.edge);
            let weight = Columns { data: edges.weight, row: width, first: head * channels };
            gather_sum(simd, memory.edge, edges.rows, weight, sum);
        }
    }
}

/// Writes a node's output from its sum.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn finish<S: Simd>(simd: S, of: &Attention<'_>, sum: &mut [f32], output: &mut [f32]) {
    let (sum, others) = sum.split_at_mut(output.len());
    if !of.concat {
        others.chunks_exact(of.channels).for_each(|head| add(sum, head));
        scale(sum, 1.0 / of.heads as f32);
    }
    match of.finish {
        Finish::Bias(bias) => {
            output.copy_from_slice(sum);
            add(output, bias.unwrap_or_default());
        }
        Finish::Skip { gate } => {
            if let Some(gate) = gate {
                let (of_sum, rest) = gate.split_at(sum.len());
                let (of_skip, of_difference) = rest.split_at(sum.len());
                let parts = dot(simd, of_sum, sum) + dot(simd, of_skip, output);
                let difference = dot(simd, of_difference, sum) - dot(simd, of_difference, output);
                let open = logistic(simd, parts + difference);
                scale(output, open);
                scale(sum, 1.0 - open);
            }
            add(output, sum);
        }
    }
}

/// `1 / (1 + e^−x)`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn logistic<S: Simd>(simd: S, x: f32) -> f32 {
    let mut lanes = [0.0; 16];
    simd.store(&mut lanes, exp(simd, simd.splat(-x.abs())));
    let [power, ..] = lanes;
    if x < 0.0 { power / (1.0 + power) } else { 1.0 / (1.0 + power) }
}

//! Sums, means and extremes of the messages that reach each node, one pass over the target rows.

use super::{Graph, Rows};
use crate::error::{Error, Result};
use crate::math::dot::weighted_sum;
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output, try_zeroed};
use crate::threads::{Context, SharedMut};

/// What becomes of the messages that reach a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduce {
    /// Their sum.
    #[default]
    Sum,
    /// Their sum over their number.
    Mean,
    /// The largest, feature by feature.
    Max,
    /// The smallest, feature by feature.
    Min,
}

/// Sums, means or extremes of `edge_weight · x[source]` over the incoming edges of each node: x `[N, …]` → `[N, …]`, as
/// PyTorch Geometric's `MessagePassing` aggregates. A node without incoming edges gets zeros; a NaN spoils what it reaches.
///
/// # Errors
/// `SHAPE` if `x` has not one row a node, `edge_weight` not one weight an edge, or `output` another length than `x`.
pub fn propagate(
    context: Context,
    graph: &Graph,
    x: Tensor<'_>,
    reduce: Reduce,
    edge_weight: Option<&[f32]>,
    output: &mut [f32],
) -> Result<()> {
    if x.shape.dims().first() != Some(&graph.num_nodes()) {
        return Err(Error::shape("x", format!("[{}, …], a row for each node", graph.num_nodes()), x.shape));
    }
    check_edge_weight(graph, edge_weight)?;
    check_output("output", output, x.data.len())?;
    if x.data.is_empty() {
        return Ok(());
    }
    let features = x.data.len() / graph.num_nodes();
    let aggregation = Aggregation { reduce, edge_weight, ..Aggregation::of(graph, x.data, features) };
    aggregation.run(context, output);
    Ok(())
}

/// Checks that there is one weight an edge.
pub(super) fn check_edge_weight(graph: &Graph, edge_weight: Option<&[f32]>) -> Result<()> {
    match edge_weight {
        Some(weights) if weights.len() != graph.num_edges() => {
            let expected = format!("a length of {}, a weight for each edge", graph.num_edges());
            Err(Error::shape("edgeWeight", expected, format_args!("a length of {}", weights.len())))
        }
        _ => Ok(()),
    }
}

/// An aggregation over the whole graph: sizes that fit each other.
#[derive(Clone, Copy)]
pub(super) struct Aggregation<'a> {
    pub graph: &'a Graph,
    /// `[N, features]`.
    pub x: &'a [f32],
    pub features: usize,
    pub reduce: Reduce,
    pub edge_weight: Option<&'a [f32]>,
    /// Whether each node has one self-loop, of the weight 1 or of that of the last one given.
    pub add_self_loops: bool,
    /// What messages are multiplied by for their source and for their target.
    pub node_factors: Option<&'a [f32]>,
    /// What is added to each row at the end.
    pub bias: Option<&'a [f32]>,
    /// How far apart the rows of the output are.
    pub output_row: usize,
}

impl<'a> Aggregation<'a> {
    /// The plain sum over the rows of x.
    pub fn of(graph: &'a Graph, x: &'a [f32], features: usize) -> Self {
        Self {
            graph,
            x,
            features,
            reduce: Reduce::Sum,
            edge_weight: None,
            add_self_loops: false,
            node_factors: None,
            bias: None,
            output_row: features,
        }
    }

    /// Writes the first `features` values of every row of the output.
    pub fn run(&self, context: Context, output: &mut [f32]) {
        let edges = self.graph.num_edges() + self.graph.num_nodes();
        let output = SharedMut::new(output);
        context.for_each(self.graph.items(), edges.saturating_mul(2 * self.features + 16), |item| {
            context.level.run(Item { of: self, rows: self.graph.rows(item), output: &output });
        });
    }

    /// Puts the sources and weights of a node's messages into `messages`.
    fn gather(&self, node: usize, edges: std::ops::Range<usize>, messages: &mut Messages) {
        messages.sources.clear();
        messages.factors.clear();
        let mut loop_weight = 1.0;
        for place in edges {
            let source = self.graph.sources[place];
            let weight = self.edge_weight.map_or(1.0, |weights| weights[self.graph.edges[place] as usize]);
            if self.add_self_loops && source as usize == node {
                loop_weight = weight;
            } else {
                messages.sources.push(source);
                messages.factors.push(weight);
            }
        }
        if self.add_self_loops {
            messages.sources.push(node as u32);
            messages.factors.push(loop_weight);
        }
    }

    /// `1/√degree` for each node, its degree the sum of the weights of its edges; 0 where that is none.
    ///
    /// # Errors
    /// `MEMORY`.
    pub fn inverse_root_degrees(&self) -> Result<Vec<f32>> {
        let mut roots = try_zeroed("working memory", self.graph.num_nodes())?;
        let mut messages = Messages::default();
        for (node, edges) in (0..self.graph.items()).flat_map(|item| self.graph.rows(item)) {
            self.gather(node, edges, &mut messages);
            let degree: f32 = messages.factors.iter().sum();
            roots[node] = if degree == 0.0 { 0.0 } else { 1.0 / degree.sqrt() };
        }
        Ok(roots)
    }
}

/// The messages that reach one node.
#[derive(Default)]
struct Messages {
    sources: Vec<u32>,
    factors: Vec<f32>,
}

/// One work item of an [`Aggregation`].
struct Item<'a> {
    of: &'a Aggregation<'a>,
    rows: Rows<'a>,
    output: &'a SharedMut<'a, f32>,
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Aggregation { x, features, reduce, output_row, .. } = *self.of;
        let mut messages = Messages::default();
        for (node, edges) in self.rows {
            self.of.gather(node, edges, &mut messages);
            let Messages { sources, factors } = &mut messages;
            if let Some(of_node) = self.of.node_factors {
                for (factor, &source) in factors.iter_mut().zip(&*sources) {
                    *factor *= of_node[source as usize] * of_node[node];
                }
            }
            // SAFETY: each node has a row of its own and belongs to one item.
            let row = unsafe { self.output.slice(node * output_row, features) };
            match reduce {
                Reduce::Sum | Reduce::Mean => {
                    row.fill(0.0);
                    gather_sum(simd, factors, sources, Columns::of(x, features), 1.0, row);
                    if reduce == Reduce::Mean {
                        let count = sources.len().max(1) as f32;
                        row.iter_mut().for_each(|value| *value /= count);
                    }
                }
                Reduce::Max => extreme(1.0, factors, sources, x, row),
                Reduce::Min => extreme(-1.0, factors, sources, x, row),
            }
            if let Some(bias) = self.of.bias {
                add(row, bias);
            }
        }
    }
}

/// `row += other`.
#[inline(always)]
pub(super) fn add(row: &mut [f32], other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(value, other)| *value += other);
}

/// The matrix that rows are taken from: how far apart they are, and the column to begin at.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub first: usize,
}

impl<'a> Columns<'a> {
    pub fn of(data: &'a [f32], row: usize) -> Self {
        Self { data, row, first: 0 }
    }
}

/// `sum = sum · scale + Σ_n factors[n] · matrix[rows[n]]`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(super) fn gather_sum<S: Simd>(
    simd: S,
    factors: &[f32],
    rows: &[u32],
    matrix: Columns<'_>,
    scale: f32,
    sum: &mut [f32],
) {
    let width = sum.len();
    let row = |n: usize| &matrix.data[rows[n] as usize * matrix.row + matrix.first..][..width];
    weighted_sum(simd, factors, row, scale, sum);
}

/// The largest of `sign · factor · x` for each feature, times `sign`; zeros where there is no message. A NaN stays.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn extreme(sign: f32, factors: &[f32], sources: &[u32], x: &[f32], row: &mut [f32]) {
    let features = row.len();
    if sources.is_empty() {
        return row.fill(0.0);
    }
    row.fill(f32::NEG_INFINITY);
    for (&factor, &source) in factors.iter().zip(sources) {
        let factor = sign * factor;
        for (largest, &value) in row.iter_mut().zip(&x[source as usize * features..][..features]) {
            let message = factor * value;
            *largest = if message > *largest || message.is_nan() { message } else { *largest };
        }
    }
    row.iter_mut().for_each(|value| *value *= sign);
}

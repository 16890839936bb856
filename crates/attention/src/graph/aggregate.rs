//! Sums, means and extremes of the messages that reach each node, one pass over the target rows.

use std::ops::Range;

use super::{Graph, Rows};
use crate::context::Context;
use crate::context::rows::SharedMut;
use crate::error::{Error, Result};
use crate::math::dot::weighted_sum;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output, try_zeroed};

/// How the messages that reach a node are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
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

/// Aggregates `edge_weight · x[source]` over the incoming edges of each node: x `[N, …]` → `[N, …]`, like PyTorch
/// Geometric's `MessagePassing`. With two node sets, x has a row for each source, and the result one for each target. A
/// node without incoming edges gets zeros; a NaN reaches only its targets.
///
/// `edge_weight` is `[K]`, one weight for each edge, or `[K, H]`, one for each edge and head of x `[N, H, …]`. It is 1
/// by default.
///
/// # Errors
/// `SHAPE` if `x` does not have one row for each source, if `edge_weight` does not fit the edges or the heads, or if
/// `output` does not have one row for each target.
pub fn propagate(
    context: Context<'_>,
    graph: &Graph,
    x: Tensor<'_>,
    reduce: Reduce,
    edge_weight: Option<Tensor<'_>>,
    output: &mut [f32],
) -> Result<()> {
    let aggregation = Aggregation::checked(graph, x, reduce, edge_weight)?;
    check_output("output", output, graph.num_targets().saturating_mul(aggregation.features))?;
    if !output.is_empty() {
        aggregation.run(context, output);
    }
    Ok(())
}

/// Returns the number of heads that weights of edges distinguish in x.
fn weighted_heads(graph: &Graph, x: Tensor<'_>, weight: Tensor<'_>) -> Result<usize> {
    let edges = graph.num_edges();
    match (weight.shape.dims(), x.shape.dims()) {
        (&[count], _) | (&[count, 1], _) if count == edges => Ok(1),
        (&[count, heads], &[_, of_x, ..]) if count == edges && heads == of_x && x.shape.rank() > 2 => Ok(heads),
        _ => {
            let expected = format_args!("[{edges}], or [{edges}, H] for x [N, H, …]");
            Err(Error::shape("edge_weight", expected, weight.shape))
        }
    }
}

/// Checks that there is one weight per edge.
pub(crate) fn check_edge_weight(graph: &Graph, edge_weight: Option<&[f32]>) -> Result<()> {
    edge_weight.map_or(Ok(()), |weights| check_output("edge_weight", weights, graph.num_edges()))
}

/// An aggregation over the whole graph: sizes that fit each other.
#[derive(Clone, Copy)]
pub(crate) struct Aggregation<'a> {
    pub graph: &'a Graph,
    /// A row for each source, `[N, features]`.
    pub x: &'a [f32],
    pub features: usize,
    pub reduce: Reduce,
    /// A weight for each edge and head, `[K, heads]`; 1 by default.
    pub edge_weight: Option<&'a [f32]>,
    /// The number of equal parts of a row with separate edge weights.
    pub heads: usize,
    /// A factor per node, `[N]`; a message is multiplied by those of its source and its target.
    pub node_factors: Option<&'a [f32]>,
    /// Added to each row at the end.
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
            heads: 1,
            node_factors: None,
            bias: None,
            output_row: features,
        }
    }

    /// The aggregation of [`propagate`], whose arguments it checks.
    pub fn checked(graph: &'a Graph, x: Tensor<'a>, reduce: Reduce, edge_weight: Option<Tensor<'a>>) -> Result<Self> {
        let nodes = graph.num_sources();
        if x.shape.dims().first() != Some(&nodes) {
            let each = if graph.has_two_sets() { "source" } else { "node" };
            return Err(Error::shape("x", format_args!("[{nodes}, …], a row for each {each}"), x.shape));
        }
        let heads = match edge_weight {
            Some(weight) => weighted_heads(graph, x, weight)?,
            None => 1,
        };
        let features = x.shape.dims()[1..].iter().fold(1usize, |product, &dim| product.saturating_mul(dim));
        let edge_weight = edge_weight.map(|weight| weight.data);
        Ok(Self { reduce, edge_weight, heads, ..Self::of(graph, x.data, features) })
    }

    /// Writes the first `features` values of every row of the output.
    pub fn run(&self, context: Context<'_>, output: &mut [f32]) {
        let output = SharedMut::new(output);
        context.for_each(self.graph.items(), self.graph.operations(2 * self.features + 16), |item| {
            context.level.run(Item { of: self, rows: self.graph.item(item, false), output: &output });
        });
    }

    /// The weight of the edge at `place`, which all heads share.
    fn weight(&self, place: usize) -> f32 {
        self.head_weight(place, 0)
    }

    fn head_weight(&self, place: usize, head: usize) -> f32 {
        self.weight_of(self.graph.edges[place], head)
    }

    /// The weight of an edge, by its number, for a head.
    pub fn weight_of(&self, edge: u32, head: usize) -> f32 {
        self.edge_weight.map_or(1.0, |weights| weights[edge as usize * self.heads + head])
    }

    /// `1/√degree` for each node, its degree the sum of the weights of its edges; 0 where that is none.
    ///
    /// # Errors
    /// `MEMORY`.
    #[inline(never)]
    pub fn inverse_root_degrees(&self) -> Result<Vec<f32>> {
        let mut roots = try_zeroed("working memory", self.graph.num_targets())?;
        for pair in self.graph.rows.windows(2) {
            let ([node, start], [_, end]) = (pair[0], pair[1]);
            let mut degree = 0.0;
            for place in start..end {
                degree += f64::from(self.weight(place as usize));
            }
            roots[node as usize] = if degree == 0.0 { 0.0 } else { 1.0 / (degree as f32).sqrt() };
        }
        Ok(roots)
    }
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
        let Aggregation { graph, x, features, reduce, heads, output_row, .. } = *self.of;
        let width = features / heads;
        let mut scratch = Scratch::take(widest(self.rows.clone()));
        for (node, row) in self.rows.clone() {
            let sources = &graph.sources[row.clone()];
            let factors = &mut scratch.values()[..row.len()];
            // SAFETY: each node has a separate row and belongs to one item.
            let sum = unsafe { self.output.slice(node * output_row, features) };
            sum.fill(0.0);
            let heads_with_messages = if sources.is_empty() { 0 } else { heads };
            for head in 0..heads_with_messages {
                self.write_factors(node, row.clone(), head, factors);
                let first = head * width;
                let (sum, matrix) = (&mut sum[first..][..width], Columns { data: x, row: features, first });
                match reduce {
                    Reduce::Sum | Reduce::Mean => {
                        gather_sum(simd, factors, sources, matrix, sum);
                        if reduce == Reduce::Mean {
                            scale(sum, 1.0 / sources.len() as f32);
                        }
                    }
                    Reduce::Max | Reduce::Min => {
                        let sign = if reduce == Reduce::Max { 1.0 } else { -1.0 };
                        scale(factors, sign);
                        largest(factors, sources, matrix, sum);
                        scale(sum, sign);
                    }
                }
            }
            if let Some(bias) = self.of.bias {
                add(sum, bias);
            }
        }
    }
}

impl Item<'_> {
    /// Writes the factors of a row's messages.
    #[inline(always)]
    fn write_factors(&self, node: usize, row: Range<usize>, head: usize, factors: &mut [f32]) {
        for (factor, place) in factors.iter_mut().zip(row) {
            let of_nodes = self
                .of
                .node_factors
                .map_or(1.0, |factors| factors[self.of.graph.sources[place] as usize] * factors[node]);
            *factor = self.of.head_weight(place, head) * of_nodes;
        }
    }
}

/// The number of edges of the row with the most of them.
#[inline(always)]
pub(crate) fn widest(rows: Rows<'_>) -> usize {
    rows.map(|(_, row)| row.len()).max().unwrap_or(0)
}

/// `row += other`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn add(row: &mut [f32], other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(value, other)| *value += other);
}

/// `row *= factor`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn scale(row: &mut [f32], factor: f32) {
    row.iter_mut().for_each(|value| *value *= factor);
}

/// The matrix that rows are taken from: how far apart they are, and the column to begin at.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub first: usize,
}

impl<'a> Columns<'a> {
    pub fn of(data: &'a [f32], row: usize) -> Self {
        Self { data, row, first: 0 }
    }
}

/// `sum += Σ_n factors[n] · matrix[rows[n]]`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn gather_sum<S: Simd>(simd: S, factors: &[f32], rows: &[u32], matrix: Columns<'_>, sum: &mut [f32]) {
    let width = sum.len();
    let row = |n: usize| &matrix.data[rows[n] as usize * matrix.row + matrix.first..][..width];
    weighted_sum(simd, factors, row, sum);
}

/// The largest of `factor · x[source]` for each feature, of at least one message. A NaN stays.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn largest(factors: &[f32], sources: &[u32], matrix: Columns<'_>, row: &mut [f32]) {
    row.fill(f32::NEG_INFINITY);
    for (&factor, &source) in factors.iter().zip(sources) {
        let values = &matrix.data[source as usize * matrix.row + matrix.first..];
        for (largest, &value) in row.iter_mut().zip(values) {
            let message = factor * value;
            *largest = if message > *largest || message.is_nan() { message } else { *largest };
        }
    }
}

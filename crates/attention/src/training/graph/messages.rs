//! Gradients of [`propagate`](crate::graph::aggregate::propagate) and of
//! [`edge_softmax`](crate::graph::softmax::edge_softmax).

use std::ops::Range;

use crate::context::Context;
use crate::context::rows::SharedMut;
use crate::error::{Error, Result};
use crate::graph::aggregate::{Aggregation, Reduce};
use crate::graph::{Graph, Rows};
use crate::math::dot::dot;
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output, try_zeroed};
use crate::training::check_gradient;

/// The inputs of a call of [`propagate`](crate::graph::aggregate::propagate), and the gradient of its result.
#[derive(Debug, Clone, Copy)]
pub struct PropagateTensors<'a> {
    /// The gradient of the result, `[targets, …]`.
    pub gradient: Tensor<'a>,
    /// `[sources, …]`.
    pub x: Tensor<'a>,
    /// `[K]` or `[K, H]`.
    pub edge_weight: Option<Tensor<'a>>,
}

/// Computes the gradients of x and of the weights of edges. Equal maxima or minima share a gradient evenly, as in
/// PyTorch's `amax`.
///
/// # Errors
/// The same as `propagate`; `SHAPE` if a gradient does not have the shape of its tensor; `MEMORY`.
pub fn propagate_backward(
    context: Context<'_>,
    graph: &Graph,
    tensors: PropagateTensors<'_>,
    reduce: Reduce,
    x_gradient: &mut [f32],
    weight_gradient: Option<&mut [f32]>,
) -> Result<()> {
    let PropagateTensors { gradient, x, edge_weight } = tensors;
    let forward = Aggregation::checked(graph, x, reduce, edge_weight)?;
    check_gradient(gradient, x.shape.with_first(graph.num_targets()))?;
    check_output("x", x_gradient, x.data.len())?;
    let weight_gradient = weight_gradient.unwrap_or_default();
    check_output("edge_weight", weight_gradient, edge_weight.map_or(0, |weight| weight.data.len()))?;
    x_gradient.fill(0.0);
    weight_gradient.fill(0.0);
    if x_gradient.is_empty() || gradient.data.is_empty() {
        return Ok(());
    }
    let has_extremes = matches!(reduce, Reduce::Max | Reduce::Min);
    let mut extremes = try_zeroed("working memory", if has_extremes { gradient.data.len() } else { 0 })?;
    if has_extremes {
        forward.run(context, &mut extremes);
    }
    let divided;
    let mut backward = Backward { forward, extremes: has_extremes.then_some(&*extremes), shares: gradient.data };
    if reduce != Reduce::Sum {
        let mut shares = try_zeroed("working memory", gradient.data.len())?;
        shares.copy_from_slice(gradient.data);
        backward.divide(context, &mut shares);
        divided = shares;
        backward.shares = &divided;
    }
    backward.sources(context, x_gradient)?;
    if !weight_gradient.is_empty() {
        backward.weights(context, weight_gradient);
    }
    Ok(())
}

/// One call with inputs that fit.
#[derive(Clone, Copy)]
struct Backward<'a> {
    forward: Aggregation<'a>,
    /// The largest or smallest messages, `[targets, features]`, if only these have gradients.
    extremes: Option<&'a [f32]>,
    /// The gradient of each message that reaches a target, `[targets, features]`.
    shares: &'a [f32],
}

impl<'a> Backward<'a> {
    /// The features of a head.
    fn range(&self, head: usize) -> Range<usize> {
        let width = self.forward.features / self.forward.heads;
        head * width..(head + 1) * width
    }

    fn row<'b>(&self, rows: &'b [f32], node: usize) -> &'b [f32] {
        &rows[node * self.forward.features..][..self.forward.features]
    }

    /// Calls `visit` with each feature whose message along an edge is the extreme of its target, and with the edge's
    /// weight for it.
    fn for_each_extreme(
        &self,
        extremes: &[f32],
        [source, target]: [usize; 2],
        edge: u32,
        visit: &mut dyn FnMut(usize, usize, f32),
    ) {
        let [x, extremes] = [self.row(self.forward.x, source), self.row(extremes, target)];
        for head in 0..self.forward.heads {
            let weight = self.forward.weight_of(edge, head);
            for feature in self.range(head) {
                if weight * x[feature] == extremes[feature] {
                    visit(head, feature, weight);
                }
            }
        }
    }

    /// Divides the gradient of each target by the number of messages that share it.
    fn divide(&self, context: Context<'_>, shares: &mut [f32]) {
        let (graph, features) = (self.forward.graph, self.forward.features);
        let shares = SharedMut::new(shares);
        context.for_each(graph.items(), graph.operations(2 * features), |item| {
            let mut counts = vec![0.0f32; if self.extremes.is_some() { features } else { 0 }];
            for (target, row) in graph.item(item, true) {
                // SAFETY: each target has a separate row and belongs to one item.
                let shares = unsafe { shares.slice(target * features, features) };
                let Some(extremes) = self.extremes else {
                    shares.iter_mut().for_each(|share| *share /= row.len() as f32);
                    continue;
                };
                counts.fill(0.0);
                for place in row {
                    let ends = [graph.sources[place] as usize, target];
                    self.for_each_extreme(extremes, ends, graph.edges[place], &mut |_, feature, _| {
                        counts[feature] += 1.0;
                    });
                }
                // A maximum that is NaN equals no message.
                shares.iter_mut().zip(&counts).for_each(|(share, &count)| *share /= count.max(1.0));
            }
        });
    }

    /// Sums over the edges that leave each source.
    fn sources(&self, context: Context<'_>, output: &mut [f32]) -> Result<()> {
        let (reversed, features) = (self.forward.graph.reversed()?, self.forward.features);
        let Some(extremes) = self.extremes else {
            let sums = Aggregation { graph: reversed, x: self.shares, reduce: Reduce::Sum, ..self.forward };
            sums.run(context, output);
            return Ok(());
        };
        let output = SharedMut::new(output);
        context.for_each(reversed.items(), reversed.operations(4 * features), |item| {
            let mut sums = vec![0.0f64; features];
            for (source, row) in reversed.item(item, true) {
                sums.fill(0.0);
                for place in row {
                    let target = reversed.sources[place] as usize;
                    let shares = self.row(self.shares, target);
                    self.for_each_extreme(extremes, [source, target], reversed.edges[place], &mut |_, at, weight| {
                        sums[at] += f64::from(weight) * f64::from(shares[at]);
                    });
                }
                // SAFETY: each source has a separate row and belongs to one item.
                let row = unsafe { output.slice(source * features, features) };
                row.iter_mut().zip(&sums).for_each(|(value, sum)| *value = *sum as f32);
            }
        });
        Ok(())
    }

    /// Multiplies the gradient of each message with its source.
    fn weights(&self, context: Context<'_>, output: &mut [f32]) {
        let (graph, output) = (self.forward.graph, SharedMut::new(output));
        context.for_each(graph.items(), graph.operations(4 * self.forward.features), |item| {
            context.level.run(Weights { of: self, rows: graph.item(item, true), output: &output });
        });
    }
}

/// The gradients of the weights of the edges that reach some targets.
struct Weights<'a> {
    of: &'a Backward<'a>,
    rows: Rows<'a>,
    output: &'a SharedMut<'a, f32>,
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Aggregation { graph, x, heads, .. } = self.of.forward;
        for (target, row) in self.rows {
            let shares = self.of.row(self.of.shares, target);
            for place in row {
                let (source, edge) = (graph.sources[place] as usize, graph.edges[place]);
                let x = self.of.row(x, source);
                // SAFETY: each edge has one target, whose row belongs to one item.
                let gradients = unsafe { self.output.slice(edge as usize * heads, heads) };
                match self.of.extremes {
                    None => {
                        for (head, gradient) in gradients.iter_mut().enumerate() {
                            let range = self.of.range(head);
                            *gradient = dot(simd, &x[range.clone()], &shares[range]);
                        }
                    }
                    Some(extremes) => {
                        self.of.for_each_extreme(extremes, [source, target], edge, &mut |head, feature, _| {
                            gradients[head] += x[feature] * shares[feature];
                        });
                    }
                }
            }
        }
    }
}

/// Computes the gradient of scores from their softmax over the edges with the same target and that result's gradient,
/// both `[K]` or `[K, H]`: `p (g − Σ p g)`.
///
/// # Errors
/// `SHAPE` if there is not one row for each edge, or the shapes differ.
pub fn edge_softmax_backward(
    context: Context<'_>,
    graph: &Graph,
    gradient: Tensor<'_>,
    output: Tensor<'_>,
    scores: &mut [f32],
) -> Result<()> {
    let edges = graph.num_edges();
    let heads = match *output.shape.dims() {
        [rows] if rows == edges => 1,
        [rows, heads] if rows == edges => heads,
        _ => return Err(Error::shape("output", format_args!("[{edges}] or [{edges}, H]"), output.shape)),
    };
    check_gradient(gradient, output.shape)?;
    check_output("scores", scores, output.data.len())?;
    let scores = SharedMut::new(scores);
    context.for_each(graph.items(), graph.operations(4 * heads), |item| {
        for (_, row) in graph.item(item, true) {
            for head in 0..heads {
                let at = |place: usize| graph.edges[place] as usize * heads + head;
                let term = |place| f64::from(output.data[at(place)]) * f64::from(gradient.data[at(place)]);
                let sum: f64 = row.clone().map(term).sum();
                for at in row.clone().map(at) {
                    // SAFETY: each edge has one target, whose row belongs to one item.
                    let score = unsafe { scores.slice(at, 1) };
                    score[0] = (f64::from(output.data[at]) * (f64::from(gradient.data[at]) - sum)) as f32;
                }
            }
        }
    });
    Ok(())
}

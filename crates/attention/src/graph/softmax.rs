//! Softmax over the incoming edges of each node.

use super::Graph;
use crate::error::{Error, Result};
use crate::math::softmax::{exp_sum, row_max};
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output};
use crate::threads::{Context, SharedMut};

/// The softmax of scores `[K]` or `[K, H]` over the edges that share a target, in the order in which the edges were given,
/// as `torch_geometric.utils.softmax`. −∞ gives 0; a node whose scores are all −∞ gives zeros; a NaN spoils its node's.
///
/// # Errors
/// `SHAPE` if there is not one score an edge, or `output` has another length; `MEMORY`.
pub fn edge_softmax(context: Context, graph: &Graph, scores: Tensor<'_>, output: &mut [f32]) -> Result<()> {
    let edges = graph.num_edges();
    let heads = match *scores.shape.dims() {
        [rows] if rows == edges => 1,
        [rows, heads] if rows == edges => heads,
        _ => {
            let expected = format!("[{edges}] or [{edges}, H], a row for each edge");
            return Err(Error::shape("scores", expected, scores.shape));
        }
    };
    check_output("output", output, scores.data.len())?;
    if scores.data.is_empty() {
        return Ok(());
    }
    let output = SharedMut::new(output);
    context.for_each(graph.items(), scores.data.len().saturating_mul(16), |item| {
        context.level.run(Item { graph, item, scores: scores.data, heads, output: &output });
    });
    Ok(())
}

struct Item<'a> {
    graph: &'a Graph,
    item: usize,
    scores: &'a [f32],
    heads: usize,
    output: &'a SharedMut<'a, f32>,
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let mut row = Vec::new();
        for edges in self.graph.rows_with_edges(self.item).map(|row| self.graph.row(row)) {
            let edges = &self.graph.edges[edges];
            for head in 0..self.heads {
                row.clear();
                row.extend(edges.iter().map(|&edge| self.scores[edge as usize * self.heads + head]));
                softmax(simd, &mut row);
                for (&edge, &weight) in edges.iter().zip(&row) {
                    // SAFETY: each edge has one target, whose row belongs to one item.
                    let place = unsafe { self.output.slice(edge as usize * self.heads + head, 1) };
                    place[0] = weight;
                }
            }
        }
    }
}

/// Replaces a row by its softmax; a row of nothing but −∞ becomes zeros.
#[inline(always)]
pub(super) fn softmax<S: Simd>(simd: S, row: &mut [f32]) {
    let max = row_max(simd, row);
    let sum = exp_sum(simd, row, max);
    let scale = if sum == 0.0 { 0.0 } else { 1.0 / sum };
    row.iter_mut().for_each(|value| *value *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_score_an_edge_is_asked_for() {
        let graph = Graph::from_edges(2, &[0, 1, 1], &[1, 1, 0]).unwrap();
        let scores = [0.0; 6];
        let mut output = vec![7.0; 6];
        for dims in [&[2][..], &[2, 3], &[3, 1, 2], &[]] {
            let scores = Tensor::new("scores", &scores[..dims.iter().product()], dims).unwrap();
            assert_eq!(edge_softmax(Context::default(), &graph, scores, &mut output).unwrap_err().argument, "scores");
        }
        let scores = Tensor::new("scores", &scores, &[3, 2]).unwrap();
        assert_eq!(edge_softmax(Context::default(), &graph, scores, &mut output[1..]).unwrap_err().argument, "output");
        edge_softmax(Context::default(), &graph, scores, &mut output).unwrap();
        assert_eq!(output, [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]);
    }
}

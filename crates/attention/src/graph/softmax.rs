//! Softmax over the incoming edges of each node.

use super::Graph;
use super::attention::{Attention, EdgeScores, Finish, Score};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::tensor::{Tensor, check_output};

/// Computes the softmax of scores `[K]` or `[K, H]` over the edges that share a target, in the order in which edges
/// were given, like `torch_geometric.utils.softmax`. −∞ gives 0; a node whose scores are all −∞ gives zeros; a NaN
/// spoils only the scores of its node.
///
/// # Errors
/// `SHAPE` if there is not one score an edge, or `output` has another length; `MEMORY`.
pub fn edge_softmax(context: Context<'_>, graph: &Graph, scores: Tensor<'_>, output: &mut [f32]) -> Result<()> {
    let edges = graph.num_edges();
    let heads = match *scores.shape.dims() {
        [rows] if rows == edges => 1,
        [rows, heads] if rows == edges => heads,
        _ => {
            let expected = format_args!("[{edges}] or [{edges}, H], a row for each edge");
            return Err(Error::shape("scores", expected, scores.shape));
        }
    };
    check_output("output", output, scores.data.len())?;
    // Attention without values: what it gives are the weights.
    let attention = Attention {
        graph,
        heads,
        channels: 0,
        values: &[],
        score: Score::Given { edges: EdgeScores { given: scores.data, loops: None } },
        dropout: None,
        weights_before_dropout: false,
        concat: true,
        finish: Finish::Bias(None),
        without: &[],
    };
    attention.run(context, &mut [], Some(output));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_score_per_edge_is_required() {
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

//! Gradients of messages along edges, and attention over edges by its parts.

use ruvector_attention::graph::Graph;
use ruvector_attention::graph::aggregate::Reduce;
use ruvector_attention::training::graph::attention::{self, EdgeAttentionOptions, EdgeGradients, EdgeTensors};
use ruvector_attention::training::graph::messages::{self, PropagateTensors};
use ruvector_attention::{Result, Tensor};
use serde::Deserialize;

use crate::call::Call;

#[derive(Default, Deserialize)]
#[serde(default)]
struct PropagateOptions {
    reduce: Reduce,
}

pub(crate) fn propagate_backward(call: &mut Call<'_>) -> Result<()> {
    let PropagateOptions { reduce } = call.options(&[])?;
    let (gradient, x, edge_weight) = (call.tensor()?, call.tensor()?, call.optional_tensor()?);
    let output = call.output(x.shape.dims())?;
    let weights = call.output_like_optional(edge_weight)?;
    let tensors = PropagateTensors { gradient, x, edge_weight };
    messages::propagate_backward(call.context, call.object(0)?, tensors, reduce, output, weights)
}

pub(crate) fn edge_softmax_backward(call: &mut Call<'_>) -> Result<()> {
    let (gradient, output) = (call.tensor()?, call.tensor()?);
    let scores = call.output(output.shape.dims())?;
    messages::edge_softmax_backward(call.context, call.object(0)?, gradient, output, scores)
}

fn edge_tensors<'a>(call: &mut Call<'a>) -> Result<EdgeTensors<'a>> {
    Ok(EdgeTensors {
        values: call.tensor()?,
        sources: call.optional_tensor()?,
        targets: call.tensor()?,
        attention: call.optional_tensor()?,
        edges: call.optional_tensor()?,
        projection: call.optional_tensor()?,
    })
}

/// Runs attention over edges by its parts, of which a layer's parameters have gradients.
pub(crate) fn edge_attention(call: &mut Call<'_>) -> Result<()> {
    let options: EdgeAttentionOptions = call.options(&[])?;
    let tensors = edge_tensors(call)?;
    let graph: &Graph = call.object(0)?;
    let output = call.output(tensors.values.shape.with_first(graph.num_targets()).dims())?;
    attention::edge_attention(call.context, graph, tensors, options, output)
}

pub(crate) fn edge_attention_backward(call: &mut Call<'_>) -> Result<()> {
    let options: EdgeAttentionOptions = call.options(&[])?;
    let (gradient, tensors) = (call.tensor()?, edge_tensors(call)?);
    let EdgeTensors { values, sources, targets, attention, edges, projection } = tensors;
    let mut like = |tensor: Option<Tensor<'_>>| call.output_like_optional(tensor).map(Option::unwrap_or_default);
    let gradients = EdgeGradients {
        values: like(Some(values))?,
        sources: like(sources)?,
        targets: like(Some(targets))?,
        attention: like(attention)?,
        edges: like(edges)?,
        projection: like(projection)?,
    };
    attention::edge_attention_backward(call.context, call.object(0)?, gradient, tensors, options, gradients)
}

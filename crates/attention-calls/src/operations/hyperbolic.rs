//! Hyperbolic attention and geometry. The object of each call is the space.

use std::sync::Arc;

use ruvector_attention::hyperbolic::functions::FunctionOptions;
use ruvector_attention::hyperbolic::{HyperbolicAttention, HyperbolicConfig, HyperbolicOptions};
use ruvector_attention::options::Layout;
use ruvector_attention::{Result, Tensor};

use super::attention::{keys, last};
use crate::call::Call;
use crate::object::Object;
use crate::options::write;

pub(super) fn create(call: &mut Call<'_>) -> Result<()> {
    let config: HyperbolicConfig = call.options(&[])?;
    call.keep(Arc::new(HyperbolicAttention::new(config)?))
}

impl Object for HyperbolicAttention {
    fn config(&self) -> Result<String> {
        write(self.config())
    }
}

pub(super) fn forward(call: &mut Call<'_>) -> Result<()> {
    let [q, k, v] = [call.tensor()?, call.tensor()?, call.tensor()?];
    let arrays = call.arrays()?;
    let options: HyperbolicOptions = call.options(&[])?;
    let space: &HyperbolicAttention = call.object(0)?;
    let output = call.output_like(q.shape, last(v.shape))?;
    // The mechanism rejects other ranks.
    let rows = match *q.shape.dims() {
        [batch, heads, length, _] => [batch, heads, length],
        [batch, length, _] => [batch, space.config().num_heads, length],
        _ => [0; 3],
    };
    let weights =
        call.output_if(options.weights, &[rows[0], rows[1], rows[2], keys(q.shape, k.shape, Layout::Bhld)])?;
    space.forward(call.context, [q, k, v], &options, arrays, output, weights)
}

pub(super) fn function(call: &mut Call<'_>) -> Result<()> {
    let options: FunctionOptions = call.options(&[])?;
    let arguments = [Some(call.tensor()?), call.optional_tensor()?, call.optional_tensor()?];
    let space: &HyperbolicAttention = call.object(0)?;
    let output = call.output(space.result_shape(&options, arguments).dims())?;
    space.apply(call.context, &options, arguments, output)
}

pub(super) fn distances(call: &mut Call<'_>) -> Result<()> {
    let (a, b) = (call.tensor()?, call.tensor()?);
    let rows = |tensor: Tensor<'_>| tensor.shape.dims().first().copied().unwrap_or(0);
    let output = call.output(&[rows(a), rows(b)])?;
    call.object::<HyperbolicAttention>(0)?.distance_matrix(call.context, a, b, output)
}

pub(super) fn midpoint(call: &mut Call<'_>) -> Result<()> {
    let (points, weights) = (call.tensor()?, call.optional_tensor()?);
    let count = weights.map_or(1, |weights| weights.shape.rows_and_columns().0);
    let output = call.output(&[count, last(points.shape)])?;
    call.object::<HyperbolicAttention>(0)?.midpoint(call.context, points, weights, output)
}

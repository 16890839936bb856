//! The gradients of linear attention, in doubles. Work items own a key/value head of a batch entry each.
//!
//! - `kernel`: sums of feature maps, divided by the sum of the weights;
//! - `recurrent`: the rules without feature maps, with decay and the delta rule.

mod kernel;
mod products;
mod recurrent;

use std::ops::Range;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::linear::{LinearAttention, LinearOptions, LinearOutputs, LinearRule, LinearTensors};
use crate::tensor::{Shape, Tensor, check_output, try_zeroed};
use crate::training::{check_gradient, check_shape};

pub use kernel::feature_map_backward;

/// The gradients of the results of a call.
#[derive(Debug, Clone, Copy)]
pub struct ResultGradients<'a> {
    /// The gradient of the output, in its shape.
    pub output: Tensor<'a>,
    /// The gradient of the returned state, `[B, G, D, E]`; zeros by default.
    pub state: Option<Tensor<'a>>,
}

/// Destinations of the gradients, each in the shape of its input. A tensor that is given needs one.
#[derive(Debug)]
pub struct LinearAttentionGradients<'a> {
    /// The gradient of the queries.
    pub q: &'a mut [f32],
    /// The gradient of the keys.
    pub k: &'a mut [f32],
    /// The gradient of the values.
    pub v: &'a mut [f32],
    /// The gradient of the decay.
    pub decay: Option<&'a mut [f32]>,
    /// The gradient of beta.
    pub beta: Option<&'a mut [f32]>,
    /// The gradient of the state before the first position.
    pub state: Option<&'a mut [f32]>,
}

/// Computes the gradients of [`LinearAttention::forward`], called with the same tensors and options.
///
/// # Errors
/// Errors of the forward call, and `SHAPE` for a gradient of another shape; `OPTION` for a gradient of a state that the
/// rule does not return; `MEMORY`.
pub fn linear_attention_backward(
    attention: &LinearAttention,
    context: Context<'_>,
    tensors: LinearTensors<'_>,
    options: LinearOptions,
    results: ResultGradients<'_>,
    gradients: LinearAttentionGradients<'_>,
) -> Result<()> {
    let LinearTensors { q, k, v, decay, beta, state, .. } = tensors;
    check_gradient(results.output, q.shape.with_last(attention.output_width(v.shape)))?;
    // The forward call checks all others; it would write these.
    let mut output = try_zeroed("working memory", results.output.data.len())?;
    let outputs = LinearOutputs { output: &mut output, state: None };
    let options = LinearOptions { return_state: false, ..options };
    let is_causal = attention.check_call(context, tensors, options, &outputs)?;
    let is_kernel = attention.config().rule == LinearRule::Kernel;
    if let Some(gradient) = results.state {
        if is_kernel {
            return Err(Error::option("state_gradient", "none: the rule 'kernel' returns no state", "a tensor"));
        }
        check_shape("state_gradient", gradient, Shape::of(attention.state_shape(v.shape)))?;
    }
    check_output("q", gradients.q, q.data.len())?;
    check_output("k", gradients.k, k.data.len())?;
    check_output("v", gradients.v, v.data.len())?;
    let optional =
        [("decay", decay, &gradients.decay), ("beta", beta, &gradients.beta), ("state", state, &gradients.state)];
    for (name, tensor, gradient) in optional {
        let len = gradient.as_ref().map_or(0, |gradient| gradient.len());
        if tensor.map_or(0, |tensor| tensor.data.len()) != len {
            return Err(Error::shape(name, "an output for its gradient", format_args!("a length of {len}")));
        }
    }
    if results.output.data.is_empty() && results.state.is_none_or(|gradient| gradient.data.is_empty()) {
        // Nothing depends on the inputs, whose sizes may be too large to iterate over.
        let LinearAttentionGradients { q, k, v, decay, beta, state } = gradients;
        [Some(q), Some(k), Some(v), decay, beta, state].into_iter().flatten().for_each(|gradient| gradient.fill(0.0));
        return Ok(());
    }
    if is_kernel {
        kernel::run(attention, context, (tensors, is_causal), results.output, gradients)
    } else {
        recurrent::run(attention, context, tensors, results, gradients)
    }
}

/// The rows of every head of a tensor: `[B, L, heads · size]`, `[B, heads, L, size]`, or `[B, heads, L]` for size 1.
#[derive(Debug, Clone, Copy)]
struct Heads {
    batch: usize,
    heads: usize,
    length: usize,
    size: usize,
    /// Distances between batch entries, heads and rows.
    strides: [usize; 3],
}

impl Heads {
    fn new(shape: Shape, heads: usize, is_joined: bool) -> Self {
        match *shape.dims() {
            [batch, length, width] if is_joined => {
                let size = width / heads.max(1);
                Self { batch, heads, length, size, strides: [length * width, size, width] }
            }
            [batch, heads, length] => Self { batch, heads, length, size: 1, strides: [heads * length, length, 1] },
            [batch, heads, length, size] => {
                Self { batch, heads, length, size, strides: [heads * length * size, length * size, size] }
            }
            _ => Self { batch: 0, heads: 0, length: 0, size: 0, strides: [0; 3] },
        }
    }

    fn row(&self, b: usize, head: usize, i: usize) -> Range<usize> {
        let [batch, heads, rows] = self.strides;
        let start = b * batch + head * heads + i * rows;
        start..start + self.size
    }

    /// Returns rows of a head as doubles, one after the other.
    fn read(&self, data: &[f32], b: usize, head: usize, rows: Range<usize>) -> Vec<f64> {
        rows.flat_map(|i| data[self.row(b, head, i)].iter().map(|&value| f64::from(value))).collect()
    }

    /// Returns the number of values of a head.
    fn len(&self) -> usize {
        self.length * self.size
    }

    /// Adds the rows of heads that lie one behind the other, `[B, count, L, size]`, to a tensor with as many heads, or
    /// with fewer, each of which belongs to several neighbors.
    fn add(&self, rows: &[f32], count: usize, target: &mut [f32]) {
        if self.len() == 0 || self.heads == 0 {
            return;
        }
        for (n, head_rows) in rows.chunks_exact(self.len()).enumerate() {
            let (b, head) = (n / count, n % count * self.heads / count);
            for (i, row) in head_rows.chunks_exact(self.size).enumerate() {
                target[self.row(b, head, i)].iter_mut().zip(row).for_each(|(target, value)| *target += value);
            }
        }
    }
}

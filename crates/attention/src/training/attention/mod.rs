//! The gradients of scaled dot-product attention, by recomputation of the weights from each row's log-sum-exp (Dao
//! 2023, "FlashAttention-2").
//!
//! With the weights P, the factors M of dropout, and the gradient O' of the output O:
//! V' = (P ∘ M)ᵀ O', and for the biased scores S' = P ∘ (M ∘ (O' Vᵀ) − Δ), where Δ is the sum of O' ∘ O over each row.
//! Through the soft cap and the scale, S' gives Q' and K'. Besides the results, memory is O(L · D).
//!
//! - `scores`: weights of one tile, and the gradients of their scores;
//! - `pass`: work items of the pass that computes the gradients of queries, keys, values and relative biases;
//! - `mask`: the pass that computes the gradient of a float mask.

mod mask;
mod pass;
mod scores;

use crate::attention::{Arrays, Problem, plan};
use crate::context::Context;
use crate::error::Result;
use crate::math::dot::dot;
use crate::options::AttentionOptions;
use crate::simd::{Kernel, Simd};
use crate::sizes::KEY_BLOCK;
use crate::tensor::{Shape, Tensor, check_output};
use crate::training::check_shape;

pub use mask::mask_backward;

/// The inputs and results of an attention call, and the gradient of its output.
#[derive(Debug, Clone, Copy)]
pub struct AttentionTensors<'a> {
    /// The gradient of the output, in the output's shape.
    pub gradient: Tensor<'a>,
    /// The queries.
    pub q: Tensor<'a>,
    /// The keys.
    pub k: Tensor<'a>,
    /// The values.
    pub v: Tensor<'a>,
    /// The output of the call.
    pub output: Tensor<'a>,
    /// The log-sum-exp of the call, `[B, H, L]`.
    pub log_sum_exp: Tensor<'a>,
}

/// Destinations of the gradients, each in the shape of its input.
#[derive(Debug)]
pub struct AttentionGradients<'a> {
    /// The gradient of the queries.
    pub q: &'a mut [f32],
    /// The gradient of the keys.
    pub k: &'a mut [f32],
    /// The gradient of the values.
    pub v: &'a mut [f32],
    /// The gradient of the relative bias; zeros without one.
    pub relative_bias: Option<&'a mut [f32]>,
    /// The gradient of the sinks, `[H]`; zeros without them.
    pub sinks: Option<&'a mut [f32]>,
}

/// Computes the gradients of [`scaled_dot_product_attention`](crate::attention::scaled_dot_product_attention), called
/// with the same inputs, options and arrays. Rows without visible keys have gradients of 0, and so have hidden keys.
///
/// # Errors
/// Errors of the forward call, and `SHAPE` for a gradient, output or log-sum-exp of another shape; `MEMORY`.
pub fn attention_backward(
    context: Context<'_>,
    tensors: AttentionTensors<'_>,
    options: &AttentionOptions,
    arrays: Arrays<'_>,
    gradients: AttentionGradients<'_>,
) -> Result<()> {
    let (problem, results) = planned(context, tensors, options, arrays)?;
    let AttentionGradients { q, k, v, relative_bias, sinks } = gradients;
    check_output("q", q, problem.q.len())?;
    check_output("k", k, problem.k.len())?;
    check_output("v", v, problem.v.len())?;
    if let Some(gradient) = &relative_bias {
        check_output("relative_bias", gradient, arrays.relative_bias.map_or(0, |bias| bias.data.len()))?;
    }
    if let Some(gradient) = sinks {
        check_output("sinks", gradient, problem.heads)?;
        results.sinks(context, &problem, gradient);
    }
    let mut relative_bias = relative_bias;
    q.fill(0.0);
    k.fill(0.0);
    v.fill(0.0);
    if let Some(gradient) = &mut relative_bias {
        gradient.fill(0.0);
    }
    // Without value features, no input changes the output.
    if problem.value_dim == 0 {
        return Ok(());
    }
    pass::run(context, &problem, results, [q, k, v], relative_bias)
}

/// Checks the tensors, and plans the problem of the forward call.
fn planned<'a>(
    context: Context<'_>,
    tensors: AttentionTensors<'a>,
    options: &AttentionOptions,
    arrays: Arrays<'a>,
) -> Result<(Problem<'a>, Results<'a>)> {
    options.check_no_stage()?;
    let AttentionTensors { gradient, q, k, v, output, log_sum_exp } = tensors;
    let problem = Problem { key_block: KEY_BLOCK, ..plan(context, q, k, Some(v), options, arrays)? };
    let shape = q.shape.with_last(problem.value_dim);
    check_shape("gradient", gradient, shape)?;
    check_shape("output", output, shape)?;
    check_shape("log_sum_exp", log_sum_exp, Shape::of([problem.batch, problem.heads, problem.queries]))?;
    let results = Results {
        gradient: gradient.data,
        output: output.data,
        log_sum_exp: log_sum_exp.data,
        first: 0,
        queries: problem.queries,
    };
    Ok((problem, results))
}

/// The results of the forward call, and the gradient of its output.
#[derive(Clone, Copy)]
struct Results<'a> {
    gradient: &'a [f32],
    output: &'a [f32],
    log_sum_exp: &'a [f32],
    /// The query of the call at which a problem starts, and the number of queries of the call.
    first: usize,
    queries: usize,
}

impl<'a> Results<'a> {
    /// Returns the position of row (b, h, i) of a problem in the output.
    fn start(&self, problem: &Problem<'_>, [b, h, i]: [usize; 3]) -> usize {
        problem.output_strides.row(b, h, self.first + i)
    }

    /// Returns the gradient of a row.
    fn gradient(&self, problem: &Problem<'_>, row: [usize; 3]) -> &'a [f32] {
        &self.gradient[self.start(problem, row)..][..problem.value_dim]
    }

    /// Returns Δ of a row, the product of the output and its gradient.
    #[inline(always)]
    fn delta<S: Simd>(&self, simd: S, problem: &Problem<'_>, row: [usize; 3]) -> f32 {
        let output = &self.output[self.start(problem, row)..][..problem.value_dim];
        dot(simd, self.gradient(problem, row), output)
    }

    /// Returns the log-sum-exp of a row.
    fn log_sum_exp(&self, problem: &Problem<'_>, [b, h, i]: [usize; 3]) -> f32 {
        self.log_sum_exp[(b * problem.heads + h) * self.queries + self.first + i]
    }

    /// Computes the gradients of the sinks: a sink takes its share of each row, and has no value.
    fn sinks(&self, context: Context<'_>, problem: &Problem<'_>, gradient: &mut [f32]) {
        for (h, gradient) in gradient.iter_mut().enumerate() {
            *gradient = context.level.run(Sink { results: self, problem, h }) as f32;
        }
    }
}

/// The gradient of one head's sink.
struct Sink<'a> {
    results: &'a Results<'a>,
    problem: &'a Problem<'a>,
    h: usize,
}

impl Kernel for Sink<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> f64 {
        let Self { results, problem, h } = self;
        let [sink, sum] = problem.visibility.start(h);
        let mut total = 0.0;
        // Without a sink the sum starts at 0.
        if sum > 0.0 {
            for b in 0..problem.batch {
                for i in 0..problem.queries {
                    let row = [b, h, i];
                    let share = (f64::from(sink) - f64::from(results.log_sum_exp(problem, row))).exp();
                    total -= share * f64::from(results.delta(simd, problem, row));
                }
            }
        }
        total
    }
}

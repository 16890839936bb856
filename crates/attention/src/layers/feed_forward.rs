//! The feed-forward network of encoder and decoder layers: two projections with an activation between them, or three if
//! it is gated (Shazeer 2020, "GLU variants improve transformer").

use crate::context::{Context, operations};
use crate::error::Result;
use crate::layers::parameters::{Initial, Parameter, Parameters, Part};
use crate::math::activation::Activation;
use crate::math::linear::{Finish, Projection, project_weights};
use crate::math::random::RowDropout;
use crate::tensor::{Shape, try_zeroed};

/// A weight `[out, in]` and a bias `[out]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine<'a> {
    weight: Projection<'a>,
    bias: Option<&'a [f32]>,
}

/// `down(activation(up(x)))`, or `down(activation(gate(x)) ⊙ up(x))` with a gate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeedForward<'a> {
    /// The size of input and output rows.
    pub size: usize,
    /// The size of hidden rows.
    pub width: usize,
    pub activation: Activation,
    pub gate: Option<Affine<'a>>,
    pub up: Affine<'a>,
    pub down: Affine<'a>,
}

/// Returns the parameters of a feed-forward network of some size and width, drawn as by `torch.nn.Linear`.
pub(crate) fn table([size, width]: [usize; 2], is_gated: bool, has_bias: bool) -> impl Iterator<Item = Parameter> {
    use Part::{GateBias, GateWeight, Linear1Bias, Linear1Weight, Linear2Bias, Linear2Weight};
    let modules = [
        (true, Linear1Weight, Linear1Bias, [width, size]),
        (true, Linear2Weight, Linear2Bias, [size, width]),
        (is_gated, GateWeight, GateBias, [width, size]),
    ];
    modules.into_iter().filter(|(is_present, ..)| *is_present).flat_map(move |(_, weight, bias, shape)| {
        let [outputs, inputs] = shape;
        let weight = Parameter { part: weight, shape: Shape::of(shape), initial: Initial::LinearWeight(inputs) };
        let bias = Parameter { part: bias, shape: Shape::of([outputs]), initial: Initial::LinearBias(inputs) };
        [Some(weight), has_bias.then_some(bias)].into_iter().flatten()
    })
}

impl<'a> FeedForward<'a> {
    /// Returns the network of these parameters.
    pub(crate) fn new(parameters: &'a Parameters, [size, width]: [usize; 2], activation: Activation) -> Self {
        let find = |weight, bias| Some(Affine { weight: parameters.projection(weight)?, bias: parameters.get(bias) });
        let affine = |weight, bias| find(weight, bias).unwrap_or(Affine { weight: Projection::NONE, bias: None });
        Self {
            size,
            width,
            activation,
            gate: find(Part::GateWeight, Part::GateBias),
            up: affine(Part::Linear1Weight, Part::Linear1Bias),
            down: affine(Part::Linear2Weight, Part::Linear2Bias),
        }
    }

    /// Operations for `rows` rows.
    pub(crate) fn operations(&self, rows: usize) -> u64 {
        let projections = if self.gate.is_some() { 3 } else { 2 };
        operations([2 * projections, rows, self.size, self.width])
    }

    /// Computes the hidden rows `[rows, width]` of `x [rows, size]`, the input of [`Self::project_down`].
    pub(crate) fn hidden(&self, context: Context<'_>, x: &[f32], dropout: Option<RowDropout<'_>>) -> Result<Vec<f32>> {
        let &Self { size, width, activation, gate, up, .. } = self;
        let rows = x.len() / size;
        let mut factor = Vec::new();
        if gate.is_some() {
            factor = try_zeroed("working memory", rows * width)?;
            let finish = Finish::default();
            project_weights(context, x, [rows, size, width], up.weight, up.bias, finish, &mut factor)?;
        }
        let Affine { weight, bias } = gate.unwrap_or(up);
        let factor = gate.map(|_| &*factor);
        let finish = Finish { activation: Some(activation), factor, dropout, residual: None };
        let mut hidden = try_zeroed("working memory", rows * width)?;
        project_weights(context, x, [rows, size, width], weight, bias, finish, &mut hidden)?;
        Ok(hidden)
    }

    /// Projects the hidden rows to `output [rows, size]`.
    pub(crate) fn project_down(
        &self,
        context: Context<'_>,
        hidden: &[f32],
        finish: Finish<'_>,
        output: &mut [f32],
    ) -> Result<()> {
        let &Self { size, width, down: Affine { weight, bias }, .. } = self;
        project_weights(context, hidden, [output.len() / size, width, size], weight, bias, finish, output)
    }
}

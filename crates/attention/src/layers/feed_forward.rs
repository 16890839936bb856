//! The feed-forward network of encoder and decoder layers: two projections with an activation between them, or three if
//! it is gated (Shazeer 2020, "GLU variants improve transformer").

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::layers::parameters::{Initial, Parameter, Parameters, Part};
use crate::math::activation::Activation;
use crate::math::linear::{Finish, Projection, project_weights};
use crate::math::random::RowDropout;
use crate::sizes::MOST_ELEMENTS;
use crate::tensor::{Shape, try_zeroed};

/// Work items of hidden rows that are computed at a time, for each thread.
const HIDDEN_ITEMS: usize = 2;

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

/// Checks that a projection between these sizes has no more elements than a parameter may have.
///
/// # Errors
/// `OPTION`.
pub(crate) fn check([size, width]: [usize; 2]) -> Result<()> {
    if width.checked_mul(size).is_some_and(|elements| elements <= MOST_ELEMENTS) {
        return Ok(());
    }
    Err(Error::value("feed_forward_dim", format_args!("projections of at most {MOST_ELEMENTS} elements"), width))
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

    /// Computes `output [rows, size]` of `x [rows, size]`, with dropout after the activation and further steps for the
    /// output.
    pub(crate) fn run(
        &self,
        context: Context<'_>,
        x: &[f32],
        dropout: Option<RowDropout<'_>>,
        finish: Finish<'_>,
        output: &mut [f32],
    ) -> Result<()> {
        let rows = x.len() / self.size;
        // Hidden rows of a few work items for each thread stay in the cache. Dropout counts the rows of the whole call,
        // and whether a product uses AMX depends on the number of its rows.
        let items = HIDDEN_ITEMS * context.threads * context.partition.count;
        let is_divided = dropout.is_none() && finish.dropout.is_none() && context.tile_unit.is_none();
        let block = if is_divided { rows.min(items * context.level.block_rows()) } else { rows };
        let mut hidden = try_zeroed("working memory", block * self.width)?;
        let mut factor = try_zeroed("working memory", if self.gate.is_some() { hidden.len() } else { 0 })?;
        let values = (block * self.size).max(1);
        for (at, (x, output)) in x.chunks(values).zip(output.chunks_mut(values)).enumerate() {
            let residual = finish.residual.map(|residual| &residual[at * values..][..x.len()]);
            let finish = Finish { residual, ..finish };
            self.run_block(context, x, dropout, finish, [&mut hidden, &mut factor], output)?;
        }
        Ok(())
    }

    /// Computes a block of rows, with memory for its hidden rows and the factors of a gate.
    fn run_block(
        &self,
        context: Context<'_>,
        x: &[f32],
        dropout: Option<RowDropout<'_>>,
        finish: Finish<'_>,
        [hidden, factor]: [&mut [f32]; 2],
        output: &mut [f32],
    ) -> Result<()> {
        let &Self { size, width, activation, gate, up, down } = self;
        let rows = x.len() / size;
        let hidden = &mut hidden[..rows * width];
        let factor = match gate {
            Some(_) => {
                let factor = &mut factor[..rows * width];
                project_weights(context, x, [rows, size, width], up.weight, up.bias, Finish::default(), factor)?;
                Some(&*factor)
            }
            None => None,
        };
        let Affine { weight, bias } = gate.unwrap_or(up);
        let activated = Finish { activation: Some(activation), factor, dropout, residual: None };
        project_weights(context, x, [rows, size, width], weight, bias, activated, hidden)?;
        project_weights(context, hidden, [rows, width, size], down.weight, down.bias, finish, output)
    }
}

//! The way a layer joins one of its sublayers to the input: a residual connection with up to three norms.

use crate::context::Context;
use crate::error::Result;
use crate::layers::parameters::{Initial, Parameter, Parameters, Part};
use crate::math::linear::Finish;
use crate::math::norm::{Norm, NormKind};
use crate::tensor::{Shape, try_zeroed};

/// Settings that all norms of a layer share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NormSettings {
    pub kind: NormKind,
    pub epsilon: f32,
    pub weight_offset: f32,
    pub has_bias: bool,
}

impl NormSettings {
    /// Returns the parameters of norms over `size` values, whose factors are 1 at first.
    pub(crate) fn table(self, size: usize, norms: &[[Part; 2]]) -> impl Iterator<Item = Parameter> {
        let shape = Shape::of([size]);
        norms.iter().flat_map(move |&[weight, bias]| {
            let weight = Parameter { part: weight, shape, initial: Initial::Constant(1.0 - self.weight_offset) };
            let bias = Parameter { part: bias, shape, initial: Initial::Constant(0.0) };
            [Some(weight), self.has_bias.then_some(bias)].into_iter().flatten()
        })
    }

    /// Returns a norm, if the layer has it.
    pub(crate) fn find(self, parameters: &Parameters, [weight, bias]: [Part; 2]) -> Option<Norm<'_>> {
        let Self { kind, epsilon, weight_offset, .. } = self;
        let weight = Some(parameters.get(weight)?);
        Some(Norm { kind, weight, weight_offset, bias: parameters.get(bias), epsilon })
    }
}

/// The norms around a sublayer f: `after(residual + inner(f(before(x))))`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sublayer<'a> {
    pub before: Option<Norm<'a>>,
    pub inner: Option<Norm<'a>>,
    pub after: Option<Norm<'a>>,
}

/// A sublayer's function: takes its input, and writes its output after the steps of `Finish`.
pub(crate) type Function<'f> = dyn FnMut(&[f32], Finish<'_>, &mut [f32]) -> Result<()> + 'f;

impl Sublayer<'_> {
    /// Computes rows of `size` values from x and the residual.
    pub(crate) fn run(
        &self,
        context: Context<'_>,
        [x, residual]: [&[f32]; 2],
        size: usize,
        output: &mut [f32],
        function: &mut Function<'_>,
    ) -> Result<()> {
        let mut normalized = Vec::new();
        if let Some(norm) = self.before {
            normalized = try_zeroed("working memory", x.len())?;
            normalized.copy_from_slice(x);
            norm.apply(context, &mut normalized, size);
        }
        let input = if self.before.is_some() { &normalized } else { x };
        match self.inner {
            Some(norm) => {
                function(input, Finish::default(), output)?;
                norm.apply_onto(context, output, size, Some(residual));
            }
            None => function(input, Finish { residual: Some(residual), ..Finish::default() }, output)?,
        }
        if let Some(norm) = self.after {
            norm.apply(context, output, size);
        }
        Ok(())
    }
}

/// Zeroes the rows of other parts of a call, which norms over every row may have filled.
pub(crate) fn zero_others(context: Context<'_>, output: &mut [f32], size: usize) {
    for (block, rows) in output.chunks_mut(context.level.block_rows() * size.max(1)).enumerate() {
        if !context.partition.owns(block) {
            rows.fill(0.0);
        }
    }
}

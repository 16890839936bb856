//! Steps of optimizers, in single precision and in the order of PyTorch's loops over one tensor (`foreach=False`).

use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::ranges;
use crate::simd::{Kernel, Level, Simd};
use crate::tensor::check_output;

/// The elements of one work item.
const ITEM: usize = 1 << 14;

/// The cost of one element in scalar operations, most of which is the memory of the arrays.
const ELEMENT_OPERATIONS: usize = 16;

/// The lanes of the widest vector.
const MAX_LANES: usize = 16;

/// The sum of the squares of a gradient, in doubles and in an order that its length alone determines. The square root
/// of the sum of all gradients is the norm that clipping compares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SquaredNorm {
    /// Sums of every eighth element.
    sums: [f64; Self::STRIDE],
    rest: f64,
}

impl SquaredNorm {
    const STRIDE: usize = 8;

    /// Adds the next elements. A gradient may arrive in pieces, of which only the last may have a length that is no
    /// multiple of 8.
    pub fn add(&mut self, level: Level, piece: &[f32]) {
        level.run(Squares { sums: self, piece });
    }

    /// Returns the sum; not finite if an element is not.
    pub fn total(&self) -> f64 {
        self.sums.iter().sum::<f64>() + self.rest
    }
}

/// The squares of some elements.
struct Squares<'a> {
    sums: &'a mut SquaredNorm,
    piece: &'a [f32],
}

impl Kernel for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) {
        let SquaredNorm { mut sums, mut rest } = *self.sums;
        let (eights, last) = self.piece.as_chunks::<{ SquaredNorm::STRIDE }>();
        for eight in eights {
            for (sum, &value) in sums.iter_mut().zip(eight) {
                *sum += f64::from(value) * f64::from(value);
            }
        }
        for &value in last {
            rest += f64::from(value) * f64::from(value);
        }
        *self.sums = SquaredNorm { sums, rest };
    }
}

/// Options of a step of AdamW, with PyTorch's defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, rename_all = "camelCase"))]
pub struct AdamwOptions {
    /// The learning rate; 0.001 by default.
    pub learning_rate: f64,
    /// The decay of the mean of gradients; 0.9 by default.
    pub beta1: f64,
    /// The decay of the mean of squares; 0.999 by default.
    pub beta2: f64,
    /// Added to the root of the mean square; 1e-8 by default.
    pub epsilon: f64,
    /// The decoupled decay of the parameter; 0.01 by default.
    pub weight_decay: f64,
    /// The number of the step, 1 for the first.
    pub step: u64,
    /// The factor of the gradient, for clipping; 1 by default.
    pub scale: f64,
}

impl Default for AdamwOptions {
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, step: 1, scale: 1.0 }
    }
}

impl AdamwOptions {
    fn check(&self) -> Result<()> {
        for (name, value) in [
            ("learning_rate", self.learning_rate),
            ("epsilon", self.epsilon),
            ("weight_decay", self.weight_decay),
            ("scale", self.scale),
        ] {
            non_negative(name, value)?;
        }
        for (name, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            ranges::number(name, value, (0.0..1.0).contains(&value), "a number of at least 0 and less than 1")?;
        }
        if self.step == 0 { Err(Error::value("step", "an integer of at least 1", self.step)) } else { Ok(()) }
    }
}

fn non_negative(name: &str, value: f64) -> Result<()> {
    ranges::number(name, value, (0.0..f64::INFINITY).contains(&value), "a finite number of at least 0")
}

/// Takes a step of `torch.optim.AdamW` in place: of the parameter, the mean of its gradients, and that of their
/// squares.
///
/// # Errors
/// `OPTION` if an option is out of range, `SHAPE` if lengths differ; nothing is changed then.
pub fn adamw_step(
    context: Context<'_>,
    gradient: &[f32],
    options: AdamwOptions,
    [parameter, mean, square]: [&mut [f32]; 3],
) -> Result<()> {
    let step = AdamwStep::new(options)?;
    let count = parameter.len();
    check_output("gradient", gradient, count)?;
    check_output("mean", mean, count)?;
    check_output("square", square, count)?;
    let work = operations([count, ELEMENT_OPERATIONS]);
    context.for_each_rows(count, ITEM, work, [parameter, mean, square], |item, arrays| {
        step.apply(context.level, &gradient[item], arrays);
    });
    Ok(())
}

/// A step of AdamW with checked options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamwStep(AdamwFactors);

impl AdamwStep {
    /// Checks the options of a step.
    ///
    /// # Errors
    /// `OPTION` if an option is out of range.
    pub fn new(options: AdamwOptions) -> Result<Self> {
        options.check()?;
        let AdamwOptions { learning_rate, beta1, beta2, epsilon, weight_decay, step, scale } = options;
        let [correction1, correction2] = [beta1, beta2].map(|beta| 1.0 - beta.powf(step as f64));
        Ok(Self(AdamwFactors {
            scale: scale as f32,
            decay: (1.0 - learning_rate * weight_decay) as f32,
            beta2: beta2 as f32,
            rest1: (1.0 - beta1) as f32,
            rest2: (1.0 - beta2) as f32,
            step_size: (learning_rate / correction1) as f32,
            root2: correction2.sqrt() as f32,
            epsilon: epsilon as f32,
        }))
    }

    /// Updates some elements of the parameter and of both means.
    ///
    /// # Panics
    /// If an array is shorter than the gradient.
    pub fn apply(&self, level: Level, gradient: &[f32], arrays: [&mut [f32]; 3]) {
        level.run(Elements { rule: self.0, gradient, arrays });
    }
}

/// The options of a step of AdamW in single precision.
#[derive(Debug, Clone, Copy, PartialEq)]
struct AdamwFactors {
    scale: f32,
    decay: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    step_size: f32,
    root2: f32,
    epsilon: f32,
}

/// Updates the parameter, the mean of its gradients, and that of their squares.
impl Rule<3> for AdamwFactors {
    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gradient: S::F, [parameter, mean, square]: [S::F; 3]) -> [S::F; 3] {
        let gradient = gradient * self.scale;
        let mean = mean + (gradient - mean) * self.rest1;
        let square = square * self.beta2 + gradient * self.rest2 * gradient;
        let direction = mean / (simd.sqrt(square) / self.root2 + self.epsilon);
        [parameter * self.decay - direction * self.step_size, mean, square]
    }
}

/// Options of a step of SGD, with PyTorch's defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, rename_all = "camelCase"))]
pub struct SgdOptions {
    /// The learning rate; 0.001 by default.
    pub learning_rate: f64,
    /// The factor of the previous step's velocity; 0 by default, for no velocity.
    pub momentum: f64,
    /// The parameter's share that is added to its gradient; 0 by default.
    pub weight_decay: f64,
    /// Adds the momentum of the next step too.
    pub nesterov: bool,
    /// The factor of the gradient, for clipping; 1 by default.
    pub scale: f64,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self { learning_rate: 1e-3, momentum: 0.0, weight_decay: 0.0, nesterov: false, scale: 1.0 }
    }
}

impl SgdOptions {
    fn check(&self) -> Result<()> {
        for (name, value) in [
            ("learning_rate", self.learning_rate),
            ("momentum", self.momentum),
            ("weight_decay", self.weight_decay),
            ("scale", self.scale),
        ] {
            non_negative(name, value)?;
        }
        match self.nesterov && self.momentum == 0.0 {
            true => Err(Error::option("nesterov", "false without momentum", true)),
            false => Ok(()),
        }
    }
}

/// Takes a step of `torch.optim.SGD` in place: of the parameter, and of its velocity if there is momentum. At the first
/// step the velocity becomes the gradient.
///
/// # Errors
/// `OPTION` if an option is out of range, `SHAPE` if lengths differ; nothing is changed then.
pub fn sgd_step(
    context: Context<'_>,
    gradient: &[f32],
    options: SgdOptions,
    is_first: bool,
    [parameter, velocity]: [&mut [f32]; 2],
) -> Result<()> {
    let step = SgdStep::new(options, is_first)?;
    let count = parameter.len();
    check_output("gradient", gradient, count)?;
    check_output("momentum", velocity, if options.momentum == 0.0 { 0 } else { count })?;
    let work = operations([count, ELEMENT_OPERATIONS]);
    if options.momentum == 0.0 {
        context.for_each_rows(count, ITEM, work, [parameter], |item, [parameter]| {
            step.apply(context.level, &gradient[item], [parameter, &mut []]);
        });
    } else {
        context.for_each_rows(count, ITEM, work, [parameter, velocity], |item, arrays| {
            step.apply(context.level, &gradient[item], arrays);
        });
    }
    Ok(())
}

/// A step of SGD with checked options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep(SgdFactors);

impl SgdStep {
    /// Checks the options of a step. At the first one the velocity becomes the gradient.
    ///
    /// # Errors
    /// `OPTION` if an option is out of range.
    pub fn new(options: SgdOptions, is_first: bool) -> Result<Self> {
        options.check()?;
        let SgdOptions { learning_rate, momentum, weight_decay, nesterov, scale } = options;
        let [learning_rate, momentum, weight_decay, scale] =
            [learning_rate, momentum, weight_decay, scale].map(|value| value as f32);
        Ok(Self(SgdFactors { scale, weight_decay, learning_rate, momentum, nesterov, is_first }))
    }

    /// Updates some elements of the parameter, and of its velocity, which is empty without momentum.
    ///
    /// # Panics
    /// If an array is shorter than the gradient.
    pub fn apply(&self, level: Level, gradient: &[f32], [parameter, velocity]: [&mut [f32]; 2]) {
        match velocity.is_empty() {
            true => level.run(Elements { rule: self.0, gradient, arrays: [parameter] }),
            false => level.run(Elements { rule: self.0, gradient, arrays: [parameter, velocity] }),
        }
    }
}

/// The options of a step of SGD in single precision.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SgdFactors {
    scale: f32,
    weight_decay: f32,
    learning_rate: f32,
    momentum: f32,
    nesterov: bool,
    is_first: bool,
}

impl SgdFactors {
    /// Returns the gradient with the decay of the parameter.
    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, gradient: S::F, parameter: S::F) -> S::F {
        match self.weight_decay {
            0.0 => gradient * self.scale,
            decay => gradient * self.scale + simd.splat(decay) * parameter,
        }
    }
}

/// Updates the parameter.
impl Rule<1> for SgdFactors {
    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gradient: S::F, [parameter]: [S::F; 1]) -> [S::F; 1] {
        [parameter - self.slope(simd, gradient, parameter) * self.learning_rate]
    }
}

/// Updates the parameter and its velocity.
impl Rule<2> for SgdFactors {
    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gradient: S::F, [parameter, velocity]: [S::F; 2]) -> [S::F; 2] {
        let slope = self.slope(simd, gradient, parameter);
        let velocity = if self.is_first { slope } else { velocity * self.momentum + slope };
        let step = if self.nesterov { slope + velocity * self.momentum } else { velocity };
        [parameter - step * self.learning_rate, velocity]
    }
}

/// The rule of an optimizer: new values of `N` arrays, the first of which is the parameter. It rounds after each
/// operation, so that results are the same at every level.
trait Rule<const N: usize>: Copy {
    fn update<S: Simd>(self, simd: S, gradient: S::F, arrays: [S::F; N]) -> [S::F; N];
}

/// Some elements of a gradient, and of the arrays that it updates.
struct Elements<'a, R, const N: usize> {
    rule: R,
    gradient: &'a [f32],
    arrays: [&'a mut [f32]; N],
}

impl<R: Rule<N>, const N: usize> Kernel for Elements<'_, R, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { rule, gradient, mut arrays } = self;
        let mut at = 0;
        while at < gradient.len() {
            let count = S::LANES.min(gradient.len() - at);
            let slopes = load_some(simd, &gradient[at..][..count]);
            // One iterator at a time: `zip` stays a call in some release profiles.
            let mut values = [simd.splat(0.0); N];
            for (n, value) in values.iter_mut().enumerate() {
                *value = load_some(simd, &arrays[n][at..][..count]);
            }
            let values = rule.update(simd, slopes, values);
            for (n, array) in arrays.iter_mut().enumerate() {
                store_some(simd, &mut array[at..][..count], values[n]);
            }
            at += count;
        }
    }
}

/// Loads at most a vector; the rest of its lanes is zero.
#[inline(always)]
fn load_some<S: Simd>(simd: S, values: &[f32]) -> S::F {
    if values.len() == S::LANES {
        return simd.load(values);
    }
    let mut padded = [0.0; MAX_LANES];
    padded[..values.len()].copy_from_slice(values);
    simd.load(&padded)
}

/// Stores the first lanes of a vector.
#[inline(always)]
fn store_some<S: Simd>(simd: S, values: &mut [f32], x: S::F) {
    if values.len() == S::LANES {
        return simd.store(values, x);
    }
    let mut padded = [0.0; MAX_LANES];
    simd.store(&mut padded, x);
    values.copy_from_slice(&padded[..values.len()]);
}

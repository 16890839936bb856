//! Steps of optimizers, in single precision and in the order of PyTorch's loops over one tensor (`foreach=False`).

use crate::error::{Error, Result};
use crate::ranges;
use crate::tensor::check_output;

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
pub fn adamw_step(gradient: &[f32], options: AdamwOptions, [parameter, mean, square]: [&mut [f32]; 3]) -> Result<()> {
    options.check()?;
    check_output("gradient", gradient, parameter.len())?;
    check_output("mean", mean, parameter.len())?;
    check_output("square", square, parameter.len())?;
    let AdamwOptions { learning_rate, beta1, beta2, epsilon, weight_decay, step, scale } = options;
    let [correction1, correction2] = [beta1, beta2].map(|beta| 1.0 - beta.powf(step as f64));
    let step_size = (learning_rate / correction1) as f32;
    let root2 = correction2.sqrt() as f32;
    let decay = (1.0 - learning_rate * weight_decay) as f32;
    let [rest1, rest2] = [beta1, beta2].map(|beta| (1.0 - beta) as f32);
    let (beta2, epsilon, scale) = (beta2 as f32, epsilon as f32, scale as f32);
    for (((parameter, mean), square), &gradient) in parameter.iter_mut().zip(mean).zip(square).zip(gradient) {
        let gradient = gradient * scale;
        *parameter *= decay;
        *mean += rest1 * (gradient - *mean);
        *square = *square * beta2 + rest2 * gradient * gradient;
        *parameter -= step_size * (*mean / (square.sqrt() / root2 + epsilon));
    }
    Ok(())
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
    gradient: &[f32],
    options: SgdOptions,
    is_first: bool,
    [parameter, velocity]: [&mut [f32]; 2],
) -> Result<()> {
    options.check()?;
    check_output("gradient", gradient, parameter.len())?;
    let has_momentum = options.momentum != 0.0;
    check_output("momentum", velocity, if has_momentum { parameter.len() } else { 0 })?;
    let SgdOptions { learning_rate, momentum, weight_decay, nesterov, scale } = options;
    let [learning_rate, momentum, weight_decay, scale] =
        [learning_rate, momentum, weight_decay, scale].map(|value| value as f32);
    let slope = |parameter: f32, gradient: f32| match weight_decay {
        0.0 => gradient * scale,
        _ => gradient * scale + weight_decay * parameter,
    };
    if !has_momentum {
        for (parameter, &gradient) in parameter.iter_mut().zip(gradient) {
            *parameter -= learning_rate * slope(*parameter, gradient);
        }
        return Ok(());
    }
    for ((parameter, velocity), &gradient) in parameter.iter_mut().zip(velocity).zip(gradient) {
        let slope = slope(*parameter, gradient);
        *velocity = if is_first { slope } else { *velocity * momentum + slope };
        let step = if nesterov { slope + momentum * *velocity } else { *velocity };
        *parameter -= learning_rate * step;
    }
    Ok(())
}

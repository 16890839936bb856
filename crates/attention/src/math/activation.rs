//! The activations of feed-forward layers, and what a projection may do to its rows while they are in the cache.

use crate::context::{Context, operations};
use crate::error::Result;
use crate::math::exp::{exp_less, tanh};
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output};

/// A function of each value by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x · Φ(x)` with the normal distribution's Φ: `torch.nn.functional.gelu`.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`: the same with `approximate='tanh'`.
    #[cfg_attr(feature = "serde", serde(rename = "gelu-tanh"))]
    GeluTanh,
    /// `x · σ(1.702 x)`, the approximation of OpenAI's CLIP.
    #[cfg_attr(feature = "serde", serde(rename = "quick-gelu"))]
    QuickGelu,
    /// `x · σ(x)`: `torch.nn.functional.silu`.
    Silu,
    /// `tanh(x)`: `torch.tanh`.
    #[cfg_attr(feature = "serde", serde(skip))]
    Tanh,
    /// `σ(x) = 1/(1 + e^−x)`: `torch.sigmoid`.
    #[cfg_attr(feature = "serde", serde(skip))]
    Sigmoid,
    /// `max(x, 0) + min(e^x − 1, 0)`: `torch.nn.functional.elu`.
    #[cfg_attr(feature = "serde", serde(skip))]
    Elu,
}

/// Applies `activation` to each value of x. `Gelu` is within 8 ULP of its exact value down to x = −13, `Silu` and
/// `Sigmoid` within 4 ULP down to −87; below, where exact values are smaller than 10⁻³⁶, all are 0. `GeluTanh` is
/// within 2.4·10⁻⁷ of the larger of 1 and its exact value. `Tanh` is within 3 ULP, `Elu` within 8. NaN stays.
///
/// # Errors
/// `SHAPE` if `output` has another length than `x`.
pub fn activate(context: Context<'_>, activation: Activation, x: Tensor<'_>, output: &mut [f32]) -> Result<()> {
    check_output("output", output, x.data.len())?;
    // About 20 µs of work an item.
    const VALUES_AN_ITEM: usize = 1 << 14;
    let (count, operations) = (x.data.len(), operations([x.data.len(), 32]));
    context.for_each_rows(count, VALUES_AN_ITEM, operations, [output], |item, [values]| {
        values.copy_from_slice(&x.data[item]);
        context.level.run(Activate { activation, values });
    });
    Ok(())
}

/// Replaces each value by its activation.
pub(crate) struct Activate<'a> {
    pub activation: Activation,
    pub values: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        apply(simd, self.activation, self.values);
    }
}

/// [`Activate`] as a part of another kernel.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn apply<S: Simd>(simd: S, activation: Activation, values: &mut [f32]) {
    let whole = values.len() - values.len() % S::LANES;
    let (values, tail) = values.split_at_mut(whole);
    let mut padded = [0.0; 16];
    padded[..tail.len()].copy_from_slice(tail);
    let rest = if tail.is_empty() { 0 } else { S::LANES };
    for part in [values, &mut padded[..rest]] {
        for chunk in part.chunks_exact_mut(S::LANES) {
            let x = simd.load(chunk);
            let y = match activation {
                // Adding 0 turns −0 into 0.
                Activation::Relu => simd.at_least(x, -0.0) + 0.0,
                Activation::Tanh => tanh(simd, x),
                Activation::Elu => {
                    // e^x − 1 = 2t/(1 − t) with t = tanh(x/2), which keeps the digits of a small x.
                    let t = tanh(simd, x * 0.5);
                    simd.select(simd.lt(simd.splat(0.0), x), x, (t + t) / (simd.splat(1.0) - t))
                }
                Activation::Sigmoid => distribution(simd, activation, x),
                _ => x * distribution(simd, activation, x),
            };
            simd.store(chunk, y);
        }
    }
    tail.copy_from_slice(&padded[..tail.len()]);
}

/// Computes the normal distribution function for `Gelu` and the logistic one for all others. Both have `P(−t) = 1 −
/// P(t)`. For x < 0 the lower tail `P(−t)` is used directly, because `1 + erf` would cancel. It is `e^(−argument)`
/// times a smooth function of t = |x|.
#[inline(always)]
pub(crate) fn distribution<S: Simd>(simd: S, activation: Activation, x: S::F) -> S::F {
    let (zero, half, one) = (simd.splat(0.0), simd.splat(0.5), simd.splat(1.0));
    let magnitude = simd.max(x, zero - x);
    // Beyond 14 the normal tail is 0 in f32.
    let t = zero - simd.at_least(zero - magnitude, -14.0);
    let is_normal = activation == Activation::Gelu;
    let (argument, digits) = match activation {
        Activation::Gelu => {
            // t²/2 in two parts: that of t's upper half, which is exact, and the rest (Dekker 1971).
            let scaled = t * 4097.0;
            let upper = scaled - (scaled - t);
            let rest = (t - upper) * (t + upper);
            (upper * upper * half, rest * half)
        }
        Activation::GeluTanh => {
            // 2 · √(2/π) · (t + 0.044715 t³), as 1 + tanh(z) = 2σ(2z).
            const LINEAR: f32 = 1.595_769;
            let square = magnitude * magnitude;
            let factor = simd.mul_add(square, simd.splat(0.044715 * LINEAR), simd.splat(LINEAR));
            (magnitude * factor, zero)
        }
        Activation::QuickGelu => (magnitude * 1.702, zero),
        _ => (magnitude, zero),
    };
    let power = exp_less(simd, zero - argument, digits);
    let tail = if is_normal { power * normal_tail_ratio(simd, t) } else { power / (one + power) };
    simd.select(simd.lt(x, zero), tail, one - tail)
}

/// Computes `e^(t²/2) · Φ(−t)` for t from 0 to 14, as `P(w)/(t + k)` with `w = (t − k)/(t + k)`. P is a degree-9
/// minimax fit with a relative error of 5.4·10⁻⁹, in the form of Shepherd & Laframboise 1981, "Chebyshev approximation
/// of (1 + 2x) exp(x²) erfc x".
#[inline(always)]
fn normal_tail_ratio<S: Simd>(simd: S, t: S::F) -> S::F {
    const K: f32 = 3.5;
    const P: [f32; 10] = [
        0.744_416_06,
        -0.565_561_8,
        0.315_424_95,
        -0.116_052_67,
        0.017_407_598,
        0.006_491_252,
        -0.003_181_251_7,
        -0.000_493_875_9,
        0.000_431_254_86,
        0.000_115_685_3,
    ];
    let inverse = simd.splat(1.0) / (t + K);
    let w = simd.mul_add(inverse, simd.splat(-2.0 * K), simd.splat(1.0));
    let mut series = simd.splat(P[9]);
    for coefficient in P.into_iter().rev().skip(1) {
        series = simd.mul_add(series, w, simd.splat(coefficient));
    }
    series * inverse
}

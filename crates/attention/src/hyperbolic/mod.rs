//! Hyperbolic attention: rows are points of a space of constant curvature −c; what is near attends, and means are midpoints.
//!
//! - `model`: the coordinates of the Poincaré ball and of the hyperboloid (Lorentz) model;
//! - `ball`: the geometry itself, in doubles, in the unit ball, through which every model goes;
//! - [`functions`]: distances, exponential maps and their kin, of rows;
//! - `attention`: softmax over distances and midpoints of values, on the tiles of [`crate::attention`].

mod attention;
mod ball;
pub mod functions;
mod model;

use std::fmt;

use crate::error::{Code, Error, Result};
use crate::ranges;

pub use attention::HyperbolicOptions;
use model::{Coordinates, Model, TOLERANCE};

/// The configuration of a space and of attention in it. `curvature` has to be given.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct HyperbolicConfig {
    /// The curvature −c, from −10³⁰ to −10⁻³⁰.
    pub curvature: f64,
    /// The heads that inputs have or are split into; 1 by default.
    pub num_heads: usize,
    /// The coordinates of points.
    pub manifold: Manifold,
    /// Distances are divided by it; above 0, 1 by default.
    pub temperature: f64,
    /// Whether inputs and outputs are points or tangent vectors.
    pub inputs: InputKind,
}

/// The coordinates of the points of a hyperbolic space of curvature −c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Manifold {
    /// The ball of radius 1/√c.
    #[default]
    Poincare,
    /// The hyperboloid `−x₀² + x₁² + … = −1/c`, x₀ > 0 first.
    Lorentz,
    /// Another name of [`Manifold::Lorentz`].
    Hyperboloid,
}

/// The inputs and outputs of hyperbolic attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum InputKind {
    /// Points of the manifold.
    #[default]
    Manifold,
    /// Tangent vectors at the origin.
    Tangent,
}

impl Default for HyperbolicConfig {
    fn default() -> Self {
        let (manifold, inputs) = (Manifold::Poincare, InputKind::Manifold);
        Self { curvature: 0.0, num_heads: 1, manifold, temperature: 1.0, inputs }
    }
}

impl HyperbolicConfig {
    /// Checks the range of every value.
    ///
    /// # Errors
    /// `OPTION` for a value out of range.
    pub fn check(&self) -> Result<()> {
        let &Self { curvature, num_heads, temperature, .. } = self;
        ranges::count("numHeads", num_heads)?;
        let fits = (f64::MIN_POSITIVE..f64::INFINITY).contains(&temperature);
        ranges::number("temperature", temperature, fits, "a finite number above 0")?;
        let fits = (-1e30..-1e-30).contains(&curvature);
        ranges::number("curvature", curvature, fits, "a number below 0, from -1e30 to -1e-30")
    }
}

/// A hyperbolic space, and attention in it.
#[derive(Debug, Clone)]
pub struct HyperbolicAttention {
    config: HyperbolicConfig,
    coordinates: Coordinates,
    /// Whether inputs and outputs are tangent vectors at the origin.
    is_tangent: bool,
}

impl HyperbolicAttention {
    /// The space and attention of a configuration.
    ///
    /// ```
    /// use ruvector_attention::hyperbolic::{HyperbolicAttention, HyperbolicConfig, Manifold};
    ///
    /// let config = HyperbolicConfig { curvature: -1.0, manifold: Manifold::Lorentz, ..HyperbolicConfig::default() };
    /// assert!(HyperbolicAttention::new(config).is_ok());
    /// assert_eq!(HyperbolicAttention::new(HyperbolicConfig::default()).unwrap_err().argument, "curvature");
    /// ```
    ///
    /// # Errors
    /// `OPTION` for a value out of range.
    pub fn new(config: HyperbolicConfig) -> Result<Self> {
        config.check()?;
        let model = if config.manifold == Manifold::Poincare { Model::Poincare } else { Model::Lorentz };
        Ok(Self {
            coordinates: Coordinates { model, root: (-config.curvature).sqrt() },
            is_tangent: config.inputs == InputKind::Tangent,
            config,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &HyperbolicConfig {
        &self.config
    }
}

/// The error for a point that lies off its manifold by more than the tolerance; `place` says which it is.
fn check_point(model: Model, argument: &str, place: fmt::Arguments<'_>, off: f64) -> Result<()> {
    if off <= TOLERANCE {
        return Ok(());
    }
    let (expected, measure) = match model {
        Model::Poincare => ("points within the ball of radius 1/sqrt(-curvature)", "of the radius beyond it"),
        Model::Lorentz => (
            "points of the hyperboloid, with first coordinate sqrt(x1^2 + x2^2 + ... - 1/curvature)",
            "of that coordinate off it",
        ),
    };
    Err(Error::new(Code::Domain, argument, expected, format_args!("{place}: {} {measure}", Decimal(off))))
}

/// A number to four places: what the standard library has for that takes a tenth of the WebAssembly module.
struct Decimal(f64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = *self;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        let sign = if value < 0.0 { "-" } else { "" };
        if value.abs() >= 1e9 {
            return write!(f, "{sign}more than 10^9");
        }
        let places = (value.abs() * 1e4).round() as u64;
        write!(f, "{sign}{}.{:04}", places / 10_000, places % 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_rounded_to_four_places() {
        for (value, text) in [(0.0, "0.0000"), (-2.5, "-2.5000"), (0.00126, "0.0013"), (123.456_78, "123.4568")] {
            assert_eq!(Decimal(value).to_string(), text);
        }
        assert_eq!(Decimal(f64::NAN).to_string(), "NaN");
        assert_eq!(Decimal(f64::INFINITY).to_string(), "more than 10^9");
    }
}

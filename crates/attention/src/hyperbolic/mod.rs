//! Hyperbolic attention: rows are points of a space of constant curvature −c. Scores are negative distances, and
//! outputs are midpoints.
//!
//! - `model`: the coordinates of the Poincaré ball and of the hyperboloid (Lorentz) model;
//! - `ball`: geometry in the unit ball, in doubles, used by both models;
//! - [`functions`]: distances, exponential maps and related functions, applied row by row;
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

/// The configuration of a space and of attention in it. `curvature` is required.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct HyperbolicConfig {
    /// The curvature −c, from −10³⁰ to −10⁻³⁰.
    pub curvature: f64,
    /// The number of heads that inputs have or are split into; 1 by default.
    pub num_heads: usize,
    /// The coordinate model of points.
    pub manifold: Manifold,
    /// The divisor of distances; greater than 0, 1 by default.
    pub temperature: f64,
    /// The kind of inputs and outputs: points or tangent vectors.
    pub inputs: InputKind,
}

/// The coordinates of the points of a hyperbolic space of curvature −c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Manifold {
    /// The ball of radius 1/√c.
    #[default]
    Poincare,
    /// The hyperboloid `−x₀² + x₁² + … = −1/c` with x₀ > 0 as the first coordinate.
    Lorentz,
    /// Another name for [`Manifold::Lorentz`].
    Hyperboloid,
}

/// The kind of the inputs and outputs of hyperbolic attention.
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
    /// `OPTION` if one is out of range.
    pub fn check(&self) -> Result<()> {
        let &Self { curvature, num_heads, temperature, .. } = self;
        ranges::count("num_heads", num_heads)?;
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
    /// True if inputs and outputs are tangent vectors at the origin.
    is_tangent: bool,
}

impl HyperbolicAttention {
    /// Creates the space and the attention of a configuration.
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
    /// `OPTION` if a value is out of range.
    pub fn new(config: HyperbolicConfig) -> Result<Self> {
        config.check()?;
        let model = if config.manifold == Manifold::Poincare { Model::Poincare } else { Model::Lorentz };
        Ok(Self {
            coordinates: Coordinates { model, root: (-config.curvature).sqrt() },
            is_tangent: config.inputs == InputKind::Tangent,
            config,
        })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &HyperbolicConfig {
        &self.config
    }

    /// Returns true if points are those of the ball.
    #[cfg(feature = "training")]
    pub(crate) fn is_ball(&self) -> bool {
        self.coordinates.model == Model::Poincare
    }

    /// Returns true if attention takes and returns tangent vectors at the origin.
    #[cfg(feature = "training")]
    pub(crate) fn takes_tangents(&self) -> bool {
        self.is_tangent
    }
}

/// Returns an error if a point is off its manifold by more than the tolerance; `location` identifies the point.
fn check_point(model: Model, argument: &str, location: fmt::Arguments<'_>, off: f64) -> Result<()> {
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
    Err(Error::new(Code::Domain, argument, expected, format_args!("{location}: {} {measure}", Decimal(off))))
}

/// A number printed to four places. The standard library's formatting would take a tenth of the WebAssembly module.
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

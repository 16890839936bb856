//! Hyperbolic attention: rows are points of a space of constant curvature −c; what is near attends, and means are midpoints.
//!
//! - `model`: the coordinates of the Poincaré ball and of the hyperboloid (Lorentz) model;
//! - `ball`: the geometry itself, in doubles, in the unit ball, through which every model goes;
//! - [`functions`]: distances, exponential maps and their kin, of rows;
//! - `attention`: softmax over distances and midpoints of values, on the tiles of [`crate::sdpa`].

mod attention;
mod ball;
pub mod functions;
mod model;

use std::fmt;

use crate::calls::Object;
use crate::error::{Code, Error, Result};
use crate::options::count;
use crate::options::parse::{Given, read_into, read_options};

pub use attention::ForwardOptions;
pub use model::Model;
use model::{Coordinates, TOLERANCE};

/// What is given to a space and to attention in it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Config {
    curvature: Option<f64>,
    heads: Option<usize>,
    model: Model,
    temperature: Option<f64>,
    is_tangent: bool,
}

/// A hyperbolic space, and attention in it.
#[derive(Debug, Clone)]
pub struct HyperbolicAttention {
    coordinates: Coordinates,
    heads: usize,
    temperature: f64,
    /// Whether inputs and outputs are tangent vectors at the origin.
    is_tangent: bool,
    config: String,
}

impl HyperbolicAttention {
    /// The space and attention of a configuration, a JSON object: `curvature` below 0, `numHeads` (1), `manifold`
    /// (`'poincare'`, `'lorentz'` or, the same, `'hyperboloid'`), `temperature` (1), `inputs` (`'manifold'`, `'tangent'`).
    ///
    /// # Errors
    /// `OPTION` for names that it does not know and values that it does not take.
    pub fn new(config: &str) -> Result<Self> {
        let mut given = Config::default();
        read_into!(given, Some(config), &[], |names| names, {
            "curvature" => curvature: curvature,
            "numHeads" => heads: count,
            "manifold" => model: model,
            "temperature" => temperature: temperature,
            "inputs" => is_tangent: is_tangent,
        })?;
        let Some(curvature) = given.curvature else { return Err(Error::option("curvature", CURVATURE, "nothing")) };
        Ok(Self {
            coordinates: Coordinates { model: given.model, root: (-curvature).sqrt() },
            heads: given.heads.unwrap_or(1),
            temperature: given.temperature.unwrap_or(1.0),
            is_tangent: given.is_tangent,
            config: config.to_owned(),
        })
    }
}

impl Object for HyperbolicAttention {
    /// The configuration as it was given.
    fn config(&self) -> String {
        self.config.clone()
    }
}

const CURVATURE: &str = "a number below 0, from -1e30 to -1e-30";

fn curvature(given: &Given<'_>) -> Result<Option<f64>> {
    given.double(-1e30..-1e-30, CURVATURE).map(Some)
}

fn temperature(given: &Given<'_>) -> Result<Option<f64>> {
    given.double(f64::MIN_POSITIVE..f64::INFINITY, "a finite number above 0").map(Some)
}

fn model(given: &Given<'_>) -> Result<Model> {
    Ok([Model::Poincare, Model::Lorentz, Model::Lorentz][given.choice(&["poincare", "lorentz", "hyperboloid"])?])
}

fn is_tangent(given: &Given<'_>) -> Result<bool> {
    Ok(given.choice(&["manifold", "tangent"])? == 1)
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

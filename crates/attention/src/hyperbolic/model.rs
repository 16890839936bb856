//! The two models of hyperbolic space: how their coordinates are read into the unit ball and written from it.
//!
//! Everything is scaled by √c on the way in, and back on the way out.

use super::ball::{self, Point, dot};

/// Results further from the centre than this are put there, as geoopt does in doubles.
const FURTHEST: f64 = 1.0 - 1e-5;

/// Points given further from the centre than this are read as if they lay there, so that none on the boundary or beyond is
/// nearer to the centre than one inside: single precision has no coordinate between it and 1.
const EDGE: f64 = 1.0 - 1.0 / (1 << 25) as f64;

/// How far a point may lie off its manifold, relative to the ball's radius or to the first coordinate.
pub(super) const TOLERANCE: f64 = 1e-3;

/// The coordinates that points have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// The ball of radius 1/√c.
    Poincare,
    /// The hyperboloid `−x₀² + x₁² + … = −1/c`, x₀ > 0 first.
    Lorentz,
}

/// A model at a scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coordinates {
    pub model: Model,
    /// √c.
    pub root: f64,
}

impl Coordinates {
    /// How many coordinates a point has beyond those of the ball.
    pub(super) fn extra(self) -> usize {
        usize::from(self.model == Model::Lorentz)
    }

    /// Reads a point, and says how far off the manifold it was: 0 to NaN.
    pub(super) fn read_point(self, given: &[f32], point: &mut Point) -> f64 {
        let space = &given[self.extra()..];
        point.x.clear();
        point.x.extend(space.iter().map(|&x| f64::from(x) * self.root));
        let square = dot(&point.x, &point.x);
        match self.model {
            Model::Poincare => {
                point.gap = 1.0 - square;
                bound(point, EDGE);
                // Not a number where any coordinate is none.
                if square < 1.0 { 0.0 } else { square.sqrt() - 1.0 }
            }
            Model::Lorentz => {
                // The first coordinate follows from the others, which single precision leaves more exact.
                let time = (1.0 + square).sqrt();
                point.x.iter_mut().for_each(|x| *x /= 1.0 + time);
                point.gap = 2.0 / (1.0 + time);
                (f64::from(given[0]) * self.root - time).abs() / time
            }
        }
    }

    /// Writes a point that was computed, within the bounds that hold for one. Coordinates of the hyperboloid may be infinite.
    pub(super) fn write_point(self, point: &mut Point, result: &mut [f32]) {
        self.bound(point);
        let scale = match self.model {
            Model::Poincare => 1.0,
            Model::Lorentz => {
                result[0] = ((point.lambda() - 1.0) / self.root) as f32;
                point.lambda()
            }
        };
        self.write(&point.x, scale, &mut result[self.extra()..]);
    }

    /// Draws a result in that lies too far out to be told from the boundary of the ball. The hyperboloid has none.
    fn bound(self, point: &mut Point) {
        if self.model == Model::Poincare {
            bound(point, FURTHEST);
        }
    }

    /// Reads a tangent vector at `point`; what is not tangent to the hyperboloid is projected, as geoopt does.
    pub(super) fn read_tangent(self, point: &Point, given: &[f32], tangent: &mut Vec<f64>) {
        self.read_vector(&given[self.extra()..], tangent);
        if self.model == Model::Lorentz {
            let time = f64::from(given[0]) * self.root;
            let lambda = point.lambda();
            // The Lorentzian product with the point, (λ − 1, λ x).
            let product = lambda * dot(&point.x, tangent) - (lambda - 1.0) * time;
            for (v, x) in tangent.iter_mut().zip(&point.x) {
                *v = (*v + x * (product - time)) / lambda;
            }
        }
    }

    /// Writes a tangent vector at `point`.
    pub(super) fn write_tangent(self, point: &Point, tangent: &[f64], result: &mut [f32]) {
        if self.model == Model::Poincare {
            return self.write(tangent, 1.0, result);
        }
        let lambda = point.lambda();
        let time = lambda * lambda * dot(&point.x, tangent);
        result[0] = (time / self.root) as f32;
        for ((result, v), x) in result[1..].iter_mut().zip(tangent).zip(&point.x) {
            *result = ((lambda * v + time * x) / self.root) as f32;
        }
    }

    /// Reads a vector without a point: a tangent vector at the origin.
    pub(super) fn read_vector(self, given: &[f32], vector: &mut Vec<f64>) {
        vector.clear();
        vector.extend(given.iter().map(|&x| f64::from(x) * self.root));
    }

    /// The point that a tangent vector at the origin leads to. In the ball, whose λ is 2 there, that is twice as far.
    pub(super) fn exp_origin(self, vector: &[f64], point: &mut Point) {
        ball::exp_origin(vector, if self.model == Model::Lorentz { 0.5 } else { 1.0 }, point);
        self.bound(point);
    }

    /// Writes the tangent vector at the origin that leads to `point`.
    pub(super) fn write_log_origin(self, point: &Point, vector: &mut Vec<f64>, result: &mut [f32]) {
        ball::log_origin(point, vector);
        self.write(vector, if self.model == Model::Lorentz { 2.0 } else { 1.0 }, result);
    }

    fn write(self, values: &[f64], scale: f64, result: &mut [f32]) {
        let scale = scale / self.root;
        result.iter_mut().zip(values).for_each(|(result, value)| *result = (value * scale) as f32);
    }
}

/// Draws a point in to `furthest` from the centre of the ball.
fn bound(point: &mut Point, furthest: f64) {
    let length = dot(&point.x, &point.x).sqrt();
    if length > furthest {
        point.x.iter_mut().for_each(|x| *x *= furthest / length);
        point.gap = 1.0 - furthest * furthest;
    }
}

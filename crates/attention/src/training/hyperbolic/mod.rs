//! The gradients of hyperbolic geometry and attention, in doubles.
//!
//! Points of either model are read as points X of the unit hyperboloid, where distances are `arcosh(−⟨X, Y⟩)` and
//! midpoints are `M / √(−⟨M, M⟩)` for `M = Σ w X`. Gradients are those of these formulas for free coordinates, as
//! geoopt's have them under autograd; `Frame` passes them on to the coordinates of the model.
//!
//! - `functions`: distances, maps at the origin, midpoints;
//! - `attention`: attention by distance.

mod attention;
mod functions;

use crate::hyperbolic::HyperbolicAttention;

pub use attention::hyperbolic_backward;
pub use functions::{distances_backward, function_backward, midpoint_backward};

/// The kinds of coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// The ball of radius 1/√c.
    Ball,
    /// The hyperboloid.
    Hyperboloid,
    /// Tangent vectors at the origin, twice as long in the ball, where λ = 2.
    Tangent {
        /// The length of a unit vector.
        stretch: f64,
    },
}

/// The coordinates of inputs or results, and √c.
#[derive(Debug, Clone, Copy)]
struct Frame {
    form: Form,
    root: f64,
}

/// Lengths in the ball from which results are moved inward, as in the forward pass.
const FURTHEST: f64 = 1.0 - 1e-5;

impl Frame {
    /// Returns the frame of the space's points.
    fn of_points(space: &HyperbolicAttention) -> Self {
        let form = if space.is_ball() { Form::Ball } else { Form::Hyperboloid };
        Self { form, root: (-space.config().curvature).sqrt() }
    }

    /// Returns the frame of tangent vectors at the origin.
    fn of_tangents(space: &HyperbolicAttention) -> Self {
        let stretch = if space.is_ball() { 2.0 } else { 1.0 };
        Self { form: Form::Tangent { stretch }, ..Self::of_points(space) }
    }

    /// Returns how many more coordinates rows have than the dimensions of the space.
    fn extra(self) -> usize {
        usize::from(self.form == Form::Hyperboloid)
    }

    /// Reads a row as a point of the unit hyperboloid.
    fn read(self, given: &[f32]) -> Vec<f64> {
        let scaled = |given: &[f32]| -> Vec<f64> { given.iter().map(|&x| f64::from(x) * self.root).collect() };
        let mut point = vec![0.0];
        match self.form {
            Form::Ball => {
                point.extend(scaled(given));
                let square = dot(&point[1..], &point[1..]);
                // As in the forward pass, points on the boundary or beyond are read as if they were next to it.
                const EDGE: f64 = 1.0 - 1.0 / (1 << 25) as f64;
                let inward = (EDGE / square.sqrt()).min(1.0);
                let lambda = 2.0 / (1.0 - square * inward * inward);
                point.iter_mut().for_each(|x| *x *= inward * lambda);
            }
            Form::Hyperboloid => point.extend(scaled(&given[1..])),
            Form::Tangent { stretch } => {
                point.extend(scaled(given));
                let length = dot(&point, &point).sqrt();
                let factor = if length == 0.0 { stretch } else { (stretch * length).sinh() / length };
                point.iter_mut().for_each(|x| *x *= factor);
            }
        }
        point[0] = (1.0 + dot(&point[1..], &point[1..])).sqrt();
        point
    }

    /// Adds the gradient of a row that was read, from that of the point, to `target`.
    fn add_input(self, given: &[f32], point: &[f64], slope: &[f64], target: &mut [f32]) {
        let (time, space) = (slope[0], &slope[1..]);
        match self.form {
            Form::Hyperboloid => add(target, slope.iter().map(|slope| self.root * slope)),
            Form::Ball => {
                // X = (λ − 1, λ x), and the gradient of λ is λ² x.
                let lambda = point[0] + 1.0;
                let along = dot(space, &point[1..]) + lambda * time;
                let pairs = space.iter().zip(&point[1..]);
                add(target, pairs.map(|(slope, x)| self.root * (lambda * slope + along * x)));
            }
            Form::Tangent { stretch } => {
                let vector: Vec<f64> = given.iter().map(|&x| f64::from(x) * self.root).collect();
                let length = dot(&vector, &vector).sqrt();
                let (cosh, sinh) = (point[0], dot(&point[1..], &point[1..]).sqrt());
                let ratio = if length == 0.0 { stretch } else { sinh / length };
                // With X = (cosh s|v|, sinh s|v| · v/|v|).
                let along = match length == 0.0 {
                    true => 0.0,
                    false => {
                        let product = dot(space, &vector) / length;
                        (stretch * (time * sinh + product * cosh) - ratio * product) / length
                    }
                };
                let pairs = space.iter().zip(&vector);
                add(target, pairs.map(|(slope, v)| self.root * (ratio * slope + along * v)));
            }
        }
    }

    /// Returns the gradient of a point that was written, from that of the row.
    fn of_output(self, point: &[f64], gradient: &[f32]) -> Vec<f64> {
        let scaled: Vec<f64> = gradient.iter().map(|&g| f64::from(g) / self.root).collect();
        let space = &point[1..];
        let mut slope = vec![0.0];
        match self.form {
            Form::Hyperboloid => return scaled,
            Form::Ball => {
                // x = X / (1 + X₀), moved inward if it is too close to the boundary.
                let height = 1.0 + point[0];
                let length = dot(space, space).sqrt();
                let product = dot(&scaled, space);
                if length / height > FURTHEST {
                    let radial = product / (length * length);
                    slope.extend(scaled.iter().zip(space).map(|(g, x)| FURTHEST / length * (g - radial * x)));
                    return slope;
                }
                slope[0] = -product / (height * height);
                slope.extend(scaled.iter().map(|g| g / height));
            }
            Form::Tangent { stretch } => {
                // v = arsinh |X| · X/|X| / s.
                let length = dot(space, space).sqrt();
                if length == 0.0 {
                    slope.extend(scaled.iter().map(|g| g / stretch));
                    return slope;
                }
                let factor = length.asinh() / length;
                let along = dot(&scaled, space) / (length * length) * (1.0 / point[0] - factor);
                slope.extend(scaled.iter().zip(space).map(|(g, x)| (factor * g + along * x) / stretch));
            }
        }
        slope
    }

    /// Returns the gradient of a point from that of its tangent vector at the origin, by geoopt's formula for points
    /// with free coordinates: `v = arcosh X₀ · X/|X| / s`.
    fn of_output_for_free_points(self, point: &[f64], gradient: &[f32]) -> Vec<f64> {
        let space = &point[1..];
        let length = dot(space, space).sqrt();
        let Form::Tangent { stretch } = self.form else { return self.of_output(point, gradient) };
        // Points of the ball have no free coordinate.
        if length == 0.0 || stretch != 1.0 {
            return self.of_output(point, gradient);
        }
        let scaled: Vec<f64> = gradient.iter().map(|&g| f64::from(g) / self.root).collect();
        let product = dot(&scaled, space) / length;
        let factor = length.asinh() / length;
        let along = -factor * product / length;
        let mut slope = vec![product / length];
        slope.extend(scaled.iter().zip(space).map(|(g, x)| factor * g + along * x));
        slope
    }
}

/// Adds values to a row of floats.
fn add(target: &mut [f32], values: impl Iterator<Item = f64>) {
    target.iter_mut().zip(values).for_each(|(target, value)| *target = (f64::from(*target) + value) as f32);
}

/// Returns the product of two vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the distance in the unit hyperboloid, and the factor with which the other point, its first coordinate kept
/// and all others negated, is the gradient of either point; 0 for equal points.
fn distance(a: &[f64], b: &[f64]) -> (f64, f64) {
    // −⟨X, Y⟩ = 1 + 2u, where u is the squared distance in the ball divided by the gaps, without cancellation.
    let (height, other) = (1.0 + a[0], 1.0 + b[0]);
    let difference = |(a, b): (&f64, &f64)| a / height - b / other;
    let square: f64 = a[1..].iter().zip(&b[1..]).map(difference).map(|x| x * x).sum();
    let u = square * height * other / 4.0;
    let sinh = 2.0 * (u * (1.0 + u)).sqrt();
    (2.0 * u.sqrt().asinh(), if sinh == 0.0 { 0.0 } else { 1.0 / sinh })
}

/// Returns the gradient of a distance for `a`, times `slope`: `factor` is that of [`distance`].
fn distance_slopes<'a>(b: &'a [f64], factor: f64) -> impl Iterator<Item = f64> + 'a {
    b.iter().enumerate().map(move |(index, b)| if index == 0 { factor * b } else { -factor * b })
}

/// A midpoint on the unit hyperboloid, and the Lorentzian length of the sum that it comes from.
struct Midpoint {
    point: Vec<f64>,
    length: f64,
}

impl Midpoint {
    /// Divides a sum of points by its length; the origin for a sum of nothing.
    fn of_sum(mut sum: Vec<f64>) -> Self {
        let length = (sum[0] * sum[0] - dot(&sum[1..], &sum[1..])).max(0.0).sqrt();
        if length == 0.0 {
            sum.fill(0.0);
            sum[0] = 1.0;
            return Self { point: sum, length };
        }
        sum.iter_mut().for_each(|x| *x /= length);
        Self { point: sum, length }
    }

    /// Turns the gradient of the midpoint into that of the sum.
    fn of_sum_slope(&self, slope: &mut [f64]) {
        if self.length == 0.0 {
            return slope.fill(0.0);
        }
        let along = dot(slope, &self.point);
        for (index, (slope, x)) in slope.iter_mut().zip(&self.point).enumerate() {
            let mirrored = if index == 0 { -x } else { *x };
            *slope = (*slope + along * mirrored) / self.length;
        }
    }
}

//! The oracle of hyperbolic space: the formulas of geoopt and of the papers, unchanged, in doubles.

use super::{Heads, bias, dot, softmax};
use ruvector_attention::attention::Arrays;
use ruvector_attention::options::{AttentionOptions, Layout};
use ruvector_attention::tensor::Tensor;

/// A space and the coordinate model of its points.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// The negated curvature.
    pub c: f64,
    /// True for the hyperboloid, false for the ball.
    pub lorentz: bool,
}

fn map(a: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    a.iter().map(|&a| f(a)).collect()
}

fn combine(a: &[f64], s: f64, b: &[f64], t: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| s * a + t * b).collect()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// Computes the Lorentzian product `−a₀ b₀ + a₁ b₁ + …`.
fn lorentzian(a: &[f64], b: &[f64]) -> f64 {
    dot(&a[1..], &b[1..]) - a[0] * b[0]
}

impl Space {
    /// Corrects a point for the rounding of its coordinates: on the hyperboloid, the first follows from the others.
    pub fn on_manifold(self, x: &[f64]) -> Vec<f64> {
        let mut point = x.to_vec();
        if self.lorentz {
            point[0] = (1.0 / self.c + dot(&x[1..], &x[1..])).sqrt();
        }
        point
    }

    /// Corrects a tangent vector v at x for the rounding of its coordinates.
    pub fn on_tangent(self, x: &[f64], v: &[f64]) -> Vec<f64> {
        if self.lorentz { combine(v, 1.0, x, self.c * lorentzian(x, v)) } else { v.to_vec() }
    }

    /// Converts a point of the ball to the hyperboloid.
    pub fn to_lorentz(self, x: &[f64]) -> Vec<f64> {
        let square = self.c * dot(x, x);
        let mut point = vec![(1.0 + square) / (1.0 - square) / self.c.sqrt()];
        point.extend(map(x, |x| 2.0 * x / (1.0 - square)));
        point
    }

    /// Converts a point of the hyperboloid to the ball.
    pub fn to_poincare(self, x: &[f64]) -> Vec<f64> {
        map(&x[1..], |coordinate| coordinate / (1.0 + self.c.sqrt() * x[0]))
    }

    /// Returns λ of a point of the ball.
    pub fn lambda(self, x: &[f64]) -> f64 {
        2.0 / (1.0 - self.c * dot(x, x))
    }

    /// Computes `x ⊕ y` in the ball.
    pub fn add(self, x: &[f64], y: &[f64]) -> Vec<f64> {
        let (c, xy, x2, y2) = (self.c, dot(x, y), dot(x, x), dot(y, y));
        let denominator = 1.0 + 2.0 * c * xy + c * c * x2 * y2;
        combine(x, (1.0 + 2.0 * c * xy + c * y2) / denominator, y, (1.0 - c * x2) / denominator)
    }

    /// Computes `factor ⊗ x` in the ball.
    pub fn scale(self, factor: f64, x: &[f64]) -> Vec<f64> {
        let length = norm(x).max(1e-15);
        let to = (factor * (self.c.sqrt() * length).atanh()).tanh() / self.c.sqrt();
        map(x, |x| x * to / length)
    }

    /// Computes the distance of two points of the model.
    pub fn distance(self, x: &[f64], y: &[f64]) -> f64 {
        if self.lorentz {
            return (-self.c * lorentzian(x, y)).max(1.0).acosh() / self.c.sqrt();
        }
        2.0 * (self.c.sqrt() * norm(&self.add(&map(x, |x| -x), y))).min(1.0).atanh() / self.c.sqrt()
    }

    /// Computes the exponential map.
    pub fn exp(self, x: &[f64], v: &[f64]) -> Vec<f64> {
        let root = self.c.sqrt();
        if self.lorentz {
            let length = lorentzian(v, v).max(1e-30).sqrt();
            return combine(x, (root * length).cosh(), v, (root * length).sinh() / (root * length));
        }
        let length = norm(v).max(1e-15);
        let step = map(v, |v| (root * self.lambda(x) * length / 2.0).tanh() * v / (root * length));
        self.add(x, &step)
    }

    /// Computes the logarithmic map.
    pub fn log(self, x: &[f64], y: &[f64]) -> Vec<f64> {
        if self.lorentz {
            let direction = combine(y, 1.0, x, self.c * lorentzian(x, y));
            let length = lorentzian(&direction, &direction).max(1e-30).sqrt();
            return map(&direction, |coordinate| coordinate * self.distance(x, y) / length);
        }
        let difference = self.add(&map(x, |x| -x), y);
        let length = norm(&difference).max(1e-15);
        let to = 2.0 / (self.c.sqrt() * self.lambda(x)) * (self.c.sqrt() * length).atanh();
        map(&difference, |difference| difference * to / length)
    }

    /// Transports v in parallel from x to y.
    pub fn transport(self, x: &[f64], y: &[f64], v: &[f64]) -> Vec<f64> {
        if self.lorentz {
            let factor = self.c * lorentzian(y, v) / (1.0 - self.c * lorentzian(x, y));
            return combine(v, 1.0, &combine(x, 1.0, y, 1.0), factor);
        }
        let away = map(x, |x| -x);
        let inner = self.add(y, &self.add(&away, v));
        let gyration = self.add(&map(&self.add(y, &away), |coordinate| -coordinate), &inner);
        map(&gyration, |coordinate| coordinate * self.lambda(x) / self.lambda(y))
    }

    /// Computes the exponential map at the origin, for a vector without the coordinate that is always 0.
    pub fn exp_origin(self, v: &[f64]) -> Vec<f64> {
        let (root, length) = (self.c.sqrt(), norm(v).max(1e-15));
        if self.lorentz {
            let mut point = vec![(root * length).cosh() / root];
            point.extend(map(v, |v| (root * length).sinh() * v / (root * length)));
            return point;
        }
        // Moved inside the boundary, like geoopt in double precision.
        map(v, |v| (root * length).tanh().min(1.0 - 1e-5) * v / (root * length))
    }

    /// Computes the logarithmic map at the origin, without the coordinate that is always 0.
    pub fn log_origin(self, x: &[f64]) -> Vec<f64> {
        let root = self.c.sqrt();
        let space = if self.lorentz { &x[1..] } else { x };
        let length = norm(space).max(1e-15);
        let to = if self.lorentz { (root * length).asinh() } else { (root * length).atanh() };
        map(space, |x| x * to / (root * length))
    }

    /// Computes the gyromidpoint, or the Lorentzian centroid.
    pub fn midpoint(self, points: &[Vec<f64>], weights: &[f64], size: usize) -> Vec<f64> {
        let mut sum = vec![0.0; size];
        let mut denominator = 0.0;
        for (point, &weight) in points.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
            let lambda = if self.lorentz { 1.0 } else { self.lambda(point) };
            sum = combine(&sum, 1.0, point, weight * lambda);
            denominator += weight * (lambda - 1.0);
        }
        if weights.iter().all(|&weight| weight == 0.0) {
            if self.lorentz {
                sum[0] = self.c.sqrt().recip();
            }
            return sum;
        }
        if self.lorentz {
            let length = (-lorentzian(&sum, &sum)).sqrt() * self.c.sqrt();
            return map(&sum, |coordinate| coordinate / length);
        }
        self.scale(0.5, &map(&sum, |coordinate| coordinate / denominator))
    }
}

/// Computes attention over a space for q `[B, L, heads · D]` or `[B, heads, L, D]`, and k and v alike. Returns output
/// and weights.
pub fn attention(
    space: Space,
    heads: usize,
    temperature: f64,
    is_tangent: bool,
    inputs: [Tensor<'_>; 3],
    options: &AttentionOptions,
    arrays: Arrays<'_>,
) -> (Vec<f64>, Vec<f64>) {
    let rank = inputs[0].shape.rank();
    let [q, k, v] = inputs.map(|tensor| match *tensor.shape.dims() {
        [batch, length, width] => {
            let data = tensor.data.iter().map(|&x| f64::from(x)).collect();
            Heads::new(data, &[batch, length, heads, width / heads], Layout::Blhd)
        }
        _ => Heads::of(tensor, Layout::Bhld),
    });
    let point = |row: &[f64]| if is_tangent { space.exp_origin(row) } else { space.on_manifold(row) };
    let mut output = Heads { data: vec![], length: q.length, size: v.size, ..v };
    output.data = vec![0.0; q.batch * heads * q.length * v.size];
    let mut weights = vec![];
    for (b, h, i) in super::rows([q.batch, heads, q.length, k.length]) {
        let query = point(&q.data[q.row(b, h, i)]);
        let rank = if heads == 1 { rank } else { 4 };
        let scores: Vec<f64> = (0..k.length)
            .map(|j| match bias(rank, options, arrays, [q.batch, heads, q.length, k.length], [b, h, i, j]) {
                // A hidden key may have any value, including NaN.
                f64::NEG_INFINITY => f64::NEG_INFINITY,
                bias => bias - space.distance(&query, &point(&k.data[k.row(b, h, j)])) / temperature,
            })
            .collect();
        let (row, _) = softmax(&scores);
        let values: Vec<Vec<f64>> = (0..k.length).map(|j| point(&v.data[v.row(b, h, j)])).collect();
        let size = v.size + usize::from(space.lorentz && is_tangent);
        let mut middle = space.midpoint(&values, &row, size);
        if is_tangent {
            middle = space.log_origin(&middle);
        }
        let at = output.row(b, h, i);
        output.data[at].copy_from_slice(&middle);
        weights.extend(row);
    }
    (output.data, weights)
}

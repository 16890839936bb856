//! Geometry of the unit ball with curvature −1, point by point in doubles, in forms without cancellation near the
//! boundary.
//!
//! The formulas are those of Ungar's gyrovector spaces, as in geoopt, rewritten in terms of differences of points and
//! of the gap `1 − |x|²` that every point carries.

/// A point of the unit ball.
#[derive(Debug, Clone, Default)]
pub(super) struct Point {
    /// The coordinates.
    pub x: Vec<f64>,
    /// `1 − |x|²`, possibly more accurate than when computed from the coordinates.
    pub gap: f64,
}

impl Point {
    /// Sets the coordinates to `a · scale`.
    pub(super) fn set(&mut self, a: &[f64], scale: f64, gap: f64) {
        self.x.clear();
        self.x.extend(a.iter().map(|a| a * scale));
        self.gap = gap;
    }

    /// Returns λ, the ratio of hyperbolic to Euclidean length at the point.
    pub(super) fn lambda(&self) -> f64 {
        2.0 / self.gap
    }

    /// Returns `sinh` of half the distance from the origin.
    fn sinh_half(&self) -> f64 {
        (dot(&self.x, &self.x) / self.gap).sqrt()
    }
}

/// Returns `a · b`, accumulated in four partial sums.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum(a, b, |a, b| a * b)
}

/// Returns `|a − b|²`.
fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

#[inline(always)]
fn sum(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; 4];
    let (mut quads, mut others) = (a.chunks_exact(4), b.chunks_exact(4));
    for (a, b) in (&mut quads).zip(&mut others) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += term(a[lane], b[lane]);
        }
    }
    let rest = quads.remainder().iter().zip(others.remainder());
    rest.fold((sums[0] + sums[2]) + (sums[1] + sums[3]), |sum, (&a, &b)| sum + term(a, b))
}

/// Returns the inverse hyperbolic sine for x ≥ 0.
fn arsinh(x: f64) -> f64 {
    (x + x * x / (1.0 + (1.0 + x * x).sqrt())).ln_1p()
}

/// Returns the distance of two points: `2 artanh |(−p) ⊕ q|`.
pub(super) fn distance(p: &Point, q: &Point) -> f64 {
    2.0 * arsinh((squared_distance(&p.x, &q.x) / (p.gap * q.gap)).sqrt())
}

/// Follows the geodesic from the origin along `u` for the length `2 |u| stretch`: `tanh(|u| stretch) u/|u|`.
pub(super) fn exp_origin(u: &[f64], stretch: f64, result: &mut Point) {
    let length = dot(u, u).sqrt();
    let decay = -2.0 * length * stretch.abs();
    let (power, tanh) = (decay.exp(), -decay.exp_m1() / (1.0 + decay.exp()));
    let scale = if length == 0.0 { 0.0 } else { (tanh / length).copysign(stretch) };
    result.set(u, scale, 4.0 * power / ((1.0 + power) * (1.0 + power)));
}

/// Computes the tangent vector at the origin that [`exp_origin`] maps to `p` with stretch 1: `artanh |p| p/|p|`.
pub(super) fn log_origin(p: &Point, result: &mut Vec<f64>) {
    let scale = scale_to(arsinh(p.sinh_half()), dot(&p.x, &p.x).sqrt());
    result.clear();
    result.extend(p.x.iter().map(|x| x * scale));
}

/// Computes `p ⊗ factor`, the point at `factor` times the distance from the origin.
pub(super) fn scale(factor: f64, p: &Point, result: &mut Point) {
    let length = dot(&p.x, &p.x).sqrt();
    exp_origin(&p.x, factor * scale_to(arsinh(p.sinh_half()), length), result);
}

/// Computes `p ⊕ q`.
pub(super) fn add(p: &Point, q: &Point, result: &mut Point) {
    let square = sum(&p.x, &q.x, |p, q| (p + q) * (p + q));
    let denominator = (p.gap * q.gap + square).max(f64::MIN_POSITIVE);
    result.x.clear();
    let coordinate = |(&p_x, &q_x): (&f64, &f64)| (square * p_x + p.gap * (p_x + q_x)) / denominator;
    result.x.extend(p.x.iter().zip(&q.x).map(coordinate));
    result.gap = p.gap * q.gap / denominator;
}

/// Computes the end of the geodesic from `p` along the tangent vector `u`.
pub(super) fn exp(p: &Point, u: &[f64], result: &mut Point) {
    let mut step = Point::default();
    exp_origin(u, 1.0 / p.gap, &mut step);
    add(p, &step, result);
}

/// Computes the tangent vector at `p` that [`exp`] maps to `q`.
pub(super) fn log(p: &Point, q: &Point, result: &mut Vec<f64>) {
    let square = squared_distance(&p.x, &q.x);
    let gaps = p.gap * q.gap;
    let scale = scale_to(p.gap * arsinh((square / gaps).sqrt()), (square * (gaps + square)).sqrt());
    result.clear();
    result.extend(p.x.iter().zip(&q.x).map(|(&p_x, &q_x)| scale * (p.gap * (q_x - p_x) - square * p_x)));
}

/// Transports the tangent vector `v` from `p` along the geodesic to `q`: `gyr[q, −p] v λ_p / λ_q`.
pub(super) fn transport(p: &Point, q: &Point, v: &mut [f64]) {
    let step: Vec<f64> = p.x.iter().zip(&q.x).map(|(p, q)| q - p).collect();
    let [square, along, p_v, step_v, p_square] =
        [dot(&step, &step), dot(&p.x, &step), dot(&p.x, v), dot(&step, v), dot(&p.x, &p.x)];
    let half = (p.gap * q.gap + square) / 2.0;
    let of_p = (step_v * p.gap - p_v * square) / half;
    let of_step = (p_v * (2.0 * along - p.gap) - step_v * p_square) / half;
    for ((v, &p_x), &step) in v.iter_mut().zip(&p.x).zip(&step) {
        *v = (*v + of_p * p_x + of_step * step) * q.gap / p.gap;
    }
}

/// Computes the midpoint from moments of `w = p λ`, divided by the sum of the p: `sums` is `Σ w x`, `weight` is `Σ w`,
/// `spread` is `Σ w |x − mean|²`. For weight 0 (no points), it is the origin.
pub(super) fn midpoint(sums: &[f64], weight: f64, spread: f64, result: &mut Point) {
    if weight == 0.0 {
        return result.set(sums, 0.0, 1.0);
    }
    // In hyperboloid coordinates the sums are (weight − 1, sums), with this Lorentzian norm.
    let norm = (1.0 + weight * spread).sqrt();
    let scale = 1.0 / (norm + (weight - 1.0));
    result.set(sums, scale, 2.0 * norm * scale);
}

/// Computes the midpoint of points under non-negative weights, like geoopt's `weighted_midpoint`.
pub(super) fn midpoint_of(points: &[Point], weights: impl Fn(usize) -> f64, dims: usize, result: &mut Point) {
    let (mut total, mut weight, mut spread) = (0.0, 0.0, 0.0);
    let mut sums = vec![0.0; dims];
    for (index, point) in points.iter().enumerate() {
        let share = weights(index) * point.lambda();
        total += weights(index);
        weight += share;
        sums.iter_mut().zip(&point.x).for_each(|(sum, x)| *sum += share * x);
    }
    // If the total is 0, so is the weight; divide by 1 then.
    let (whole, mass) = (if total == 0.0 { 1.0 } else { total }, if weight == 0.0 { 1.0 } else { weight });
    let mean: Vec<f64> = sums.iter().map(|sum| sum / mass).collect();
    for (index, point) in points.iter().enumerate() {
        spread += weights(index) * point.lambda() * squared_distance(&point.x, &mean);
    }
    sums.iter_mut().for_each(|sum| *sum /= whole);
    midpoint(&sums, weight / whole, spread / whole, result);
}

/// Returns the factor that changes a length from `from` to `to`; 0 if `from` is 0.
fn scale_to(to: f64, from: f64) -> f64 {
    if from == 0.0 { 0.0 } else { to / from }
}

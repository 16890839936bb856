//! The two models of hyperbolic space: conversion of their coordinates to and from the unit ball.
//!
//! All inputs are scaled by √c, and results are scaled back.

use super::ball::{self, Point, dot};

/// Results further from the center than this are moved to it, like geoopt in double precision.
const FURTHEST: f64 = 1.0 - 1e-5;

/// Inputs further from the center than this are read as if they were there. Otherwise a point on the boundary or beyond
/// could end up closer to the center than one inside: single precision has no coordinate between this and 1.
const EDGE: f64 = 1.0 - 1.0 / (1 << 25) as f64;

/// The maximum deviation of a point from its manifold, relative to the ball's radius or to the first coordinate.
pub(super) const TOLERANCE: f64 = 1e-3;

/// The coordinate model of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// The ball of radius 1/√c.
    Poincare,
    /// The hyperboloid `−x₀² + x₁² + … = −1/c` with x₀ > 0 as the first coordinate.
    Lorentz,
}

/// A model together with its scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coordinates {
    pub model: Model,
    /// √c.
    pub root: f64,
}

impl Coordinates {
    /// Returns how many more coordinates a point has than in the ball.
    pub(super) fn extra(self) -> usize {
        usize::from(self.model == Model::Lorentz)
    }

    /// Reads a point and returns its deviation from the manifold: at least 0, or NaN.
    pub(super) fn read_point(self, given: &[f32], point: &mut Point) -> f64 {
        let space = &given[self.extra()..];
        point.x.clear();
        point.x.extend(space.iter().map(|&x| f64::from(x) * self.root));
        let square = dot(&point.x, &point.x);
        match self.model {
            Model::Poincare => {
                point.gap = 1.0 - square;
                bound(point, EDGE);
                // NaN if any coordinate is NaN.
                if square < 1.0 { 0.0 } else { square.sqrt() - 1.0 }
            }
            Model::Lorentz => {
                // Recompute the first coordinate from the others, which single precision represents more accurately.
                let time = (1.0 + square).sqrt();
                point.x.iter_mut().for_each(|x| *x /= 1.0 + time);
                point.gap = 2.0 / (1.0 + time);
                (f64::from(given[0]) * self.root - time).abs() / time
            }
        }
    }

    /// Writes a computed point, moved inside the ball's bounds. Hyperboloid coordinates may be infinite.
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

    /// Moves a result inward if it is too close to the boundary of the ball. The hyperboloid has no boundary.
    fn bound(self, point: &mut Point) {
        if self.model == Model::Poincare {
            bound(point, FURTHEST);
        }
    }

    /// Reads a tangent vector at `point`. For the hyperboloid it is projected to the tangent space, as in geoopt.
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

    /// Reads a vector without a base point: a tangent vector at the origin.
    pub(super) fn read_vector(self, given: &[f32], vector: &mut Vec<f64>) {
        vector.clear();
        vector.extend(given.iter().map(|&x| f64::from(x) * self.root));
    }

    /// Computes the point that a tangent vector at the origin leads to. In the ball, where λ = 2, it is twice as far.
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

/// Moves a point inward to the distance `furthest` from the center of the ball.
fn bound(point: &mut Point, furthest: f64) {
    let length = dot(&point.x, &point.x).sqrt();
    if length > furthest {
        point.x.iter_mut().for_each(|x| *x *= furthest / length);
        point.gap = 1.0 - furthest * furthest;
    }
}

//! ω of FAVOR+: rows of random orthogonal matrices with the lengths of Gaussian vectors, from a seed.

use crate::error::Result;
use crate::math::random::{Normals, natural_logarithm};
use crate::tensor::try_zeroed;

/// Draws ω, `[features, size]`, divided by `size^¼` so that its product with an unscaled x is ωᵀx̂. Rows come in blocks
/// of `size`, orthogonal within a block and uniformly distributed in direction, with independent χ(`size`)-distributed
/// norms.
///
/// Choromanski et al. 2021, "Rethinking attention with Performers", section 2.4. A seed gives the same bits on every
/// machine.
///
/// # Errors
/// `MEMORY`.
pub(super) fn draw(features: usize, size: usize, seed: u64) -> Result<Vec<f32>> {
    let mut projection = try_zeroed("feature_dim", features.saturating_mul(size))?;
    let mut directions = try_zeroed("feature_dim", features.min(size).saturating_mul(size))?;
    let mut normals = Normals::new(seed);
    let quarter_root = (size as f64).sqrt().sqrt();
    for (index, row) in projection.chunks_exact_mut(size).enumerate() {
        let (before, direction) = directions.split_at_mut(index % size * size);
        let direction = &mut direction[..size];
        direction.fill_with(|| normals.draw());
        // Directions after Gram-Schmidt are independent of the χ-distributed norms of the Gaussian rows.
        let norm = dot(direction, direction).sqrt();
        // Once more for what rounding left of the first time.
        for _ in 0..2 {
            for other in before.chunks_exact(size) {
                let along = dot(direction, other);
                direction.iter_mut().zip(other).for_each(|(x, other)| *x -= along * other);
            }
            let length = dot(direction, direction).sqrt();
            direction.iter_mut().for_each(|x| *x /= length);
        }
        for (value, direction) in row.iter_mut().zip(direction) {
            *value = (norm / quarter_root * *direction) as f32;
        }
    }
    Ok(projection)
}

/// The features where nobody says how many: the whole blocks that hold `size · ln size`, the number that the uniform
/// convergence of the estimate asks for (Choromanski et al. 2021, theorem 4).
pub(super) fn default_features(size: usize) -> usize {
    let blocks = natural_logarithm(size as f64).ceil().max(1.0);
    size.saturating_mul(blocks as usize)
}

#[inline(never)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

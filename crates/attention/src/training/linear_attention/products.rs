//! Products of small matrices and vectors of doubles.

/// Adds `a ⊗ b` to a matrix.
#[inline(always)]
pub(super) fn add_outer(matrix: &mut [f64], a: &[f64], b: &[f64]) {
    for (row, a) in matrix.chunks_exact_mut(b.len().max(1)).zip(a) {
        row.iter_mut().zip(b).for_each(|(value, b)| *value += a * b);
    }
}

/// Adds `matrix · b` to `sums`.
#[inline(always)]
pub(super) fn add_product(matrix: &[f64], b: &[f64], sums: &mut [f64]) {
    for (row, sum) in matrix.chunks_exact(b.len().max(1)).zip(sums) {
        *sum += dot(row, b);
    }
}

/// Adds `aᵀ · matrix` to `sums`.
#[inline(always)]
pub(super) fn add_transposed(matrix: &[f64], a: &[f64], sums: &mut [f64]) {
    for (row, a) in matrix.chunks_exact(sums.len().max(1)).zip(a) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += a * value);
    }
}

/// Returns the product of two vectors, in four partial sums.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (fours, rest) = a.as_chunks::<4>();
    let (others, other_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in fours.iter().zip(others) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f64 = rest.iter().zip(other_rest).map(|(a, b)| a * b).sum();
    sums[0] + sums[2] + (sums[1] + sums[3]) + rest
}

/// Writes doubles as floats.
pub(super) fn write(target: &mut [f32], values: &[f64]) {
    target.iter_mut().zip(values).for_each(|(target, &value)| *target = value as f32);
}

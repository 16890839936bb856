//! Steps on the values of a row, in vectors: whether compilers find them by themselves depends on the function around
//! them and on the build profile.

use crate::simd::Simd;

/// Adds a term to each value.
///
/// # Panics
/// If there are fewer terms than values.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn add<S: Simd>(simd: S, values: &mut [f32], terms: &[f32]) {
    let terms = &terms[..values.len()];
    let (vectors, rest) = values.split_at_mut(values.len() - values.len() % S::LANES);
    let (others, last) = terms.split_at(vectors.len());
    for (n, values) in vectors.chunks_exact_mut(S::LANES).enumerate() {
        simd.store(values, simd.load(values) + simd.load(&others[n * S::LANES..]));
    }
    rest.iter_mut().zip(last).for_each(|(value, term)| *value += term);
}

/// Multiplies each value by its factor plus `offset`.
///
/// # Panics
/// If there are fewer factors than values.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn multiply<S: Simd>(simd: S, values: &mut [f32], factors: &[f32], offset: f32) {
    let factors = &factors[..values.len()];
    let (vectors, rest) = values.split_at_mut(values.len() - values.len() % S::LANES);
    let (others, last) = factors.split_at(vectors.len());
    for (n, values) in vectors.chunks_exact_mut(S::LANES).enumerate() {
        simd.store(values, simd.load(values) * (simd.load(&others[n * S::LANES..]) + offset));
    }
    rest.iter_mut().zip(last).for_each(|(value, factor)| *value *= factor + offset);
}

/// Replaces each value by `(value − first − second) · scale`.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(crate) fn shift_and_scale<S: Simd>(simd: S, values: &mut [f32], [first, second]: [f32; 2], scale: f32) {
    let mut vectors = values.chunks_exact_mut(S::LANES);
    for values in &mut vectors {
        simd.store(values, (simd.load(values) - first - second) * scale);
    }
    vectors.into_remainder().iter_mut().for_each(|value| *value = (*value - first - second) * scale);
}

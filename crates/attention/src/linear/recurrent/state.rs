//! The state of one key/value head: its layout in memory, and its conversion from and to `[D, E]`.

use crate::error::{Error, Result};
use crate::math::sum::carry;
use crate::simd::Simd;

/// The sizes of a state: `[blocks of value features][D][lanes]`, in the microkernel's layout; for sums, followed by
/// their rounding errors in the same layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::linear) struct StateLayout {
    /// D.
    pub size: usize,
    /// E.
    pub value_dim: usize,
    /// Columns of the level's register tile.
    pub lanes: usize,
    /// True if rounding errors are kept: for the rules without β, whose states are plain sums over positions. The delta
    /// rules correct the errors of a state themselves.
    pub has_errors: bool,
}

impl StateLayout {
    /// Returns the number of blocks of value features.
    pub(super) fn blocks(self) -> usize {
        self.value_dim.div_ceil(self.lanes)
    }

    /// Returns the number of values in a block.
    pub(super) fn block_len(self) -> usize {
        self.size * self.lanes
    }

    /// Returns the number of values in the state, with its rounding errors.
    ///
    /// # Errors
    /// `MEMORY` if the number exceeds the range of sizes.
    pub(in crate::linear) fn len(self) -> Result<usize> {
        let width = self.value_dim.checked_next_multiple_of(self.lanes);
        let values = width.and_then(|width| width.checked_mul(self.size));
        let len = values.and_then(|values| values.checked_mul(if self.has_errors { 2 } else { 1 }));
        len.ok_or_else(|| Error::memory("state", usize::MAX))
    }

    /// Copies a state `[D, E]` into this layout, without rounding errors.
    pub(super) fn read(self, source: &[f32], state: &mut [f32]) {
        state.fill(0.0);
        let Self { size, value_dim, lanes, .. } = self;
        for (block, rows) in state.chunks_exact_mut(self.block_len()).enumerate().take(self.blocks()) {
            let columns = lanes.min(value_dim - block * lanes);
            for (row, target) in rows.chunks_exact_mut(lanes).enumerate().take(size) {
                target[..columns].copy_from_slice(&source[row * value_dim + block * lanes..][..columns]);
            }
        }
    }

    /// Copies the state to `[D, E]`.
    pub(super) fn write(self, state: &[f32], target: &mut [f32]) {
        let Self { size, value_dim, lanes, .. } = self;
        for (block, rows) in state.chunks_exact(self.block_len().max(1)).enumerate().take(self.blocks()) {
            let columns = lanes.min(value_dim - block * lanes);
            for (row, source) in rows.chunks_exact(lanes).enumerate().take(size) {
                target[row * value_dim + block * lanes..][..columns].copy_from_slice(&source[..columns]);
            }
        }
    }

    /// Returns a block of the state, and its rounding errors if they are kept.
    pub(super) fn block(self, state: &mut [f32], block: usize) -> (&mut [f32], Option<&mut [f32]>) {
        let len = self.block_len();
        let (values, errors) = state.split_at_mut(self.blocks() * len);
        let errors = self.has_errors.then(|| &mut errors[block * len..][..len]);
        (&mut values[block * len..][..len], errors)
    }
}

/// Multiplies each row of a block by 1 + its factor.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(super) fn decay<S: Simd>(
    simd: S,
    (block, errors): (&mut [f32], Option<&mut [f32]>),
    lanes: usize,
    factors: &[f32],
) {
    let Some(errors) = errors else {
        for (row, &factor) in block.chunks_exact_mut(lanes).zip(factors) {
            let factor = simd.splat(factor);
            for values in row.chunks_exact_mut(S::LANES) {
                let value = simd.load(values);
                simd.store(values, simd.mul_add(value, factor, value));
            }
        }
        return;
    };
    for ((row, errors), &factor) in block.chunks_exact_mut(lanes).zip(errors.chunks_exact_mut(lanes)).zip(factors) {
        let factor = simd.splat(factor);
        for (values, errors) in row.chunks_exact_mut(S::LANES).zip(errors.chunks_exact_mut(S::LANES)) {
            let (value, error) = (simd.load(values), simd.load(errors));
            let added = simd.mul_add(value, factor, simd.mul_add(error, factor, error));
            let (sum, error) = carry(simd, value, added);
            simd.store(values, sum);
            simd.store(errors, error);
        }
    }
}

//! One position of recurrent linear attention, from its definition.

use crate::linear::recurrent::Head;
use crate::linear::recurrent::chunk::Buffers;
use crate::math::sum::carry;
use crate::simd::{Accumulate, Matrix, Simd, product};

impl Head<'_> {
    /// Advances the state, decayed by position `t`, and writes the position's output rows.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn step<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        t: usize,
        state: &mut [f32],
        buffers: &mut Buffers<'_>,
    ) {
        let (size, lanes) = (self.layout.size, self.layout.lanes);
        for (member, query) in buffers.queries.chunks_exact_mut(size).enumerate().take(self.group) {
            query.iter_mut().zip(self.query(member, t)).for_each(|(target, &value)| *target = value * self.scale);
        }
        let key = self.keys.row(t);
        for block in 0..self.layout.blocks() {
            let (values, mut errors) = self.layout.block(state, block);

            // Step 1, the row to add: v_t, or β_t (v_t − (a_t S_{t−1})ᵀ k_t).
            let added = &mut buffers.values[..lanes];
            self.load_values(simd, t, 1, block, added);
            if self.is_delta {
                let key = Matrix::row_major(key, size);
                let found = &mut buffers.tile[..lanes];
                product::<S, ROWS, VECTORS>(simd, key, 1, size, values, found, Accumulate::Overwrite);
                let beta = self.beta(t);
                added.iter_mut().zip(&*found).for_each(|(added, found)| *added = beta * (*added - found));
            }

            // Step 2: S_t.
            for (row, &key) in key.iter().enumerate() {
                for v in (0..lanes).step_by(S::LANES) {
                    let (at, added) = (row * lanes + v, simd.load(&added[v..]));
                    let value = simd.load(&values[at..]);
                    if let Some(errors) = errors.as_deref_mut() {
                        let rest = simd.mul_add(simd.splat(key), added, simd.load(&errors[at..]));
                        let (sum, error) = carry(simd, value, rest);
                        simd.store(&mut values[at..], sum);
                        simd.store(&mut errors[at..], error);
                    } else {
                        simd.store(&mut values[at..], simd.mul_add(simd.splat(key), added, value));
                    }
                }
            }

            // Step 3, the output rows: scale · S_tᵀ q_t.
            let queries = Matrix::row_major(buffers.queries, size);
            product::<S, ROWS, VECTORS>(simd, queries, self.group, size, values, buffers.tile, Accumulate::Overwrite);
            for (member, row) in buffers.tile.chunks_exact(lanes).enumerate().take(self.group) {
                // SAFETY: this item owns the row, and writes its blocks one after the other.
                let result = unsafe { self.result(member, t, block) };
                result.copy_from_slice(&row[..result.len()]);
            }
        }
    }

    /// Loads block `block` of the value features of `count` positions from `first` on, `[count][lanes]`, zeros after
    /// the last feature.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn load_values<S: Simd>(&self, simd: S, first: usize, count: usize, block: usize, target: &mut [f32]) {
        let lanes = self.layout.lanes;
        let column = block * lanes;
        for (target, t) in target.chunks_exact_mut(lanes).zip(first..first + count) {
            let row = &self.values.row(t)[column..];
            if row.len() >= lanes {
                for v in (0..lanes).step_by(S::LANES) {
                    simd.store(&mut target[v..], simd.load(&row[v..]));
                }
            } else {
                target.fill(0.0);
                target[..row.len()].copy_from_slice(row);
            }
        }
    }
}

//! Recurrent linear attention in chunks of positions, by products of matrices: Yang et al. 2024, "Parallelizing Linear
//! Transformers with the Delta Rule over Sequence Length"; with decay, Yang et al. 2025, "Gated Delta Networks".
//!
//! Let `g_t` be the sum of the decays after the chunk's first position, S the state decayed by the first position, and
//! `u_t` the row that position t adds. Then
//!
//! - `u_t = β_t (v_t − e^{g_t} Sᵀ k_t − Σ_{j<t} e^{g_t − g_j} (k_t·k_j) u_j)`, a triangular system, or `u_t = v_t`;
//! - `output_t = scale · (e^{g_t} Sᵀ q_t + Σ_{j≤t} e^{g_t − g_j} (q_t·k_j) u_j)`;
//! - the state becomes `e^{g_n} S + Σ_j e^{g_n − g_j} k_j ⊗ u_j`, with n the last position.
//!
//! A decay for each row of the state moves into the keys and queries, which are multiplied by `e^{g_t}` and `e^{−g_j}`.

use crate::linear::recurrent::state::{StateLayout, decay};
use crate::linear::recurrent::{Head, factor};
use crate::linear::sums::is_finite;
use crate::math::exp::exp;
use crate::math::product::product;
use crate::math::sum::carry_all;
use crate::scratch;
use crate::simd::{self, Accumulate, Matrix, Simd, gather_columns};
use crate::sizes::MAX_TILE_LANES;

/// The maximum number of positions in a chunk.
const CHUNK: usize = 64;
/// The maximum absolute sum of decays within a chunk, for decays that are factors of keys: `e^16` leaves room for any
/// key, and a sum in single precision is within 10⁻⁶.
const MAX_SUM: f64 = 16.0;
/// The smallest decay after a chunk's first position. Beside a smaller one, sums would lose the digits of others.
const LEAST_DECAY: f64 = -1e4;
/// Rows of a triangular system that are solved one after the other.
const BAND: usize = 8;
/// Rows of a triangular product that are computed with the same number of columns.
const ROW_BAND: usize = 16;

/// The working memory of one item.
pub(super) struct Buffers<'a> {
    /// Factors of the state's rows minus 1, `[D]`.
    pub factors: &'a mut [f32],
    /// Scaled queries: of the positions of a chunk, or of the heads of a group at one position, `[count][D]`.
    pub queries: &'a mut [f32],
    /// The rows `u_t`, `[blocks of value features][positions][lanes]`.
    pub values: &'a mut [f32],
    /// The result of a product with one block of columns, `[count][lanes]`.
    pub tile: &'a mut [f32],
    /// Keys times `e^{−g_j}`, `[positions][D]`.
    keys: &'a mut [f32],
    /// Keys times `e^{g_t}`, if each row of the state has its decay.
    grown_keys: &'a mut [f32],
    /// `g_t`, then `e^{g_t}`, `[positions][D]`, likewise.
    growth: &'a mut [f32],
    /// The keys, transposed: `[blocks of positions][D][lanes]`.
    columns: &'a mut [f32],
    /// `e^{g_t − g_j}` for `j ≤ t`, if the state has one decay.
    weights: &'a mut [f32],
    /// Coefficients of `u_j` in `u_t`, for `j < t`.
    lower: &'a mut [f32],
    /// Coefficients of `u_j` in `output_t`, for `j ≤ t`.
    scores: &'a mut [f32],
    /// `e^{g_t}`, if the state has one decay.
    read_factors: [f32; CHUNK],
    /// `g_t`, likewise.
    sums: [f64; CHUNK],
}

impl<'a> Buffers<'a> {
    fn sizes(layout: StateLayout, group: usize) -> [usize; 11] {
        let StateLayout { size, lanes, .. } = layout;
        // Room for whole vectors.
        let rows = CHUNK.saturating_mul(size).saturating_add(MAX_TILE_LANES);
        let columns = CHUNK.next_multiple_of(lanes).saturating_mul(size);
        let values = layout.blocks().max(1).saturating_mul(CHUNK * lanes);
        let square = CHUNK * CHUNK;
        let members = group.max(CHUNK);
        [
            size,
            members.saturating_mul(size).saturating_add(MAX_TILE_LANES),
            values,
            members.saturating_mul(lanes),
            rows,
            rows,
            rows,
            columns,
            square,
            square,
            square,
        ]
    }

    /// Returns the number of values for one item.
    pub(super) fn len(layout: StateLayout, group: usize) -> usize {
        Self::sizes(layout, group).iter().fold(0, |sum, &len| sum.saturating_add(len))
    }

    pub(super) fn new(layout: StateLayout, group: usize, mut rest: &'a mut [f32]) -> Self {
        let [factors, queries, values, tile, keys, grown_keys, growth, columns, weights, lower, scores] =
            Self::sizes(layout, group).map(|len| scratch::take(&mut rest, len));
        Self {
            factors,
            queries,
            values,
            tile,
            keys,
            grown_keys,
            growth,
            columns,
            weights,
            lower,
            scores,
            read_factors: [1.0; CHUNK],
            sums: [0.0; CHUNK],
        }
    }
}

impl Head<'_> {
    /// Returns true if the state has one decay rather than one for each row.
    fn has_one_decay(&self) -> bool {
        self.decay.is_some_and(|decay| decay.size == 1)
    }

    fn has_decay_by_row(&self) -> bool {
        self.decay.is_some_and(|decay| decay.size != 1)
    }

    /// Returns the number of positions of the chunk that starts at `first`, and sums up their decays. A chunk ends
    /// before a decay that is too large or not finite, which then is the next chunk's first.
    #[inline(never)]
    pub(super) fn chunk_len(&self, first: usize, buffers: &mut Buffers<'_>) -> usize {
        let count = CHUNK.min(self.length - first);
        let Some(rows) = self.decay else { return count };
        if rows.size != 1 {
            return self.sum_decays_by_row(first, count, buffers.growth);
        }
        let (mut sum, mut lowest) = (0.0, 0.0f64);
        buffers.sums[0] = 0.0;
        for t in 1..count {
            let decay = f64::from(rows.row(first + t)[0]);
            sum += decay;
            lowest = lowest.min(sum);
            if !(decay >= LEAST_DECAY && sum - lowest <= MAX_SUM) {
                return t;
            }
            buffers.sums[t] = sum;
        }
        count
    }

    /// Does the same for a decay of each row; the sums are `[positions][D]`.
    fn sum_decays_by_row(&self, first: usize, mut count: usize, target: &mut [f32]) -> usize {
        /// The number of sums that advance side by side.
        const COLUMNS: usize = 8;
        let Some(rows) = self.decay else { return count };
        target[..rows.size].fill(0.0);
        for column in (0..rows.size).step_by(COLUMNS) {
            let width = COLUMNS.min(rows.size - column);
            let mut sums = [0.0f64; COLUMNS];
            for t in 1..count {
                let decays = &rows.row(first + t)[column..][..width];
                sums.iter_mut().zip(decays).for_each(|(sum, &decay)| *sum += f64::from(decay));
                if !sums.iter().all(|sum| sum.abs() <= MAX_SUM) {
                    count = t;
                    break;
                }
                let target = &mut target[t * rows.size + column..][..width];
                target.iter_mut().zip(sums).for_each(|(target, sum)| *target = sum as f32);
            }
        }
        count
    }

    /// Advances the state, decayed by the first position, over the `count` positions of a chunk, and writes their
    /// output rows. Returns false, with nothing changed, if the positions must be computed one by one, because a value
    /// that is not finite would reach rows before it.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn run_chunk<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        first: usize,
        count: usize,
        state: &mut [f32],
        buffers: &mut Buffers<'_>,
    ) -> bool {
        let StateLayout { size, lanes, .. } = self.layout;
        self.load_chunk(simd, first, count, buffers);
        let columns = count.next_multiple_of(lanes) * size;
        if !is_finite(simd, &buffers.columns[..columns]) {
            return false;
        }
        if self.is_delta {
            let keys = if self.has_decay_by_row() { &*buffers.grown_keys } else { &*buffers.keys };
            let (columns, tile, lower) = (&*buffers.columns, &mut *buffers.tile, &mut *buffers.lower);
            self.multiply_keys(keys, columns, count, tile, lower);
            let weights = self.has_one_decay().then_some(&*buffers.weights);
            weigh(lower, count, weights, true, &|t| -self.beta(first + t));
        }
        for block in 0..self.layout.blocks() {
            if !self.solve_block::<S, ROWS, VECTORS>(simd, first, count, (block, &mut *state), buffers) {
                return false;
            }
        }
        for member in 0..self.group {
            self.write_rows::<S, ROWS, VECTORS>(simd, first, count, (member, &mut *state), buffers);
        }
        self.update_state(simd, count, state, buffers);
        true
    }

    /// Loads the keys of a chunk, with their decay if each row has its own, and the weights of one decay.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn load_chunk<S: Simd>(&self, simd: S, first: usize, count: usize, buffers: &mut Buffers<'_>) {
        let StateLayout { size, lanes, .. } = self.layout;
        let Buffers { factors, keys, grown_keys, growth, columns, weights, .. } = buffers;
        for (target, t) in keys.chunks_exact_mut(size).zip(first..first + count) {
            target.copy_from_slice(self.keys.row(t));
        }
        if self.has_decay_by_row() {
            let last = &growth[(count - 1) * size..][..size];
            factors.iter_mut().zip(last).for_each(|(target, &sum)| *target = factor(f64::from(sum)));
            for at in (0..count * size).step_by(S::LANES) {
                let (power, key) = (exp(simd, simd.load(&growth[at..])), simd.load(&keys[at..]));
                simd.store(&mut growth[at..], power);
                simd.store(&mut grown_keys[at..], key * power);
                simd.store(&mut keys[at..], key / power);
            }
        } else if self.has_one_decay() {
            let sums = buffers.sums;
            factors.fill(factor(sums[count - 1]));
            for t in 0..count {
                buffers.read_factors[t] = sums[t].exp() as f32;
                let row = &mut weights[t * CHUNK..][..CHUNK];
                row.iter_mut().zip(sums).for_each(|(weight, sum)| *weight = (sums[t] - sum) as f32);
                for at in (0..=t).step_by(S::LANES) {
                    let power = exp(simd, simd.load(&row[at..]));
                    simd.store(&mut row[at..], power);
                }
            }
        }
        for (block, columns) in columns.chunks_exact_mut(size * lanes).enumerate().take(count.div_ceil(lanes)) {
            let mut starts = [0; MAX_TILE_LANES];
            let rows = lanes.min(count - block * lanes);
            starts[..rows].iter_mut().enumerate().for_each(|(n, start)| *start = (block * lanes + n) * size);
            if rows < lanes {
                columns.fill(0.0);
            }
            gather_columns(simd, keys, &starts[..rows], size, columns, lanes);
        }
    }

    /// Computes the products of rows `[count][D]` with the keys, `target[t][j]` for all `j ≤ t`.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn multiply_keys(&self, rows: &[f32], columns: &[f32], count: usize, tile: &mut [f32], target: &mut [f32]) {
        let StateLayout { size, lanes, .. } = self.layout;
        for (columns, first) in columns.chunks_exact(size * lanes).zip((0..count).step_by(lanes)) {
            let rows = Matrix::row_major(&rows[first * size..], size);
            product((self.level, lanes), rows, [count - first, size], columns, tile, Accumulate::Overwrite);
            let width = lanes.min(count - first);
            for (products, t) in tile.chunks_exact(lanes).zip(first..count) {
                target[t * CHUNK + first..][..width].copy_from_slice(&products[..width]);
            }
        }
    }

    /// Computes the rows `u_t` of a block of value features. Returns false if one is not finite.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn solve_block<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        first: usize,
        count: usize,
        (block, state): (usize, &mut [f32]),
        buffers: &mut Buffers<'_>,
    ) -> bool {
        let StateLayout { size, lanes, .. } = self.layout;
        let values = &mut buffers.values[block * CHUNK * lanes..][..count * lanes];
        self.load_values(simd, first, count, block, values);
        if self.is_delta {
            let keys = if self.has_decay_by_row() { &*buffers.grown_keys } else { &*buffers.keys };
            let (state, _) = self.layout.block(state, block);
            let tile = &mut buffers.tile[..count * lanes];
            let keys = Matrix::row_major(keys, size);
            product((self.level, lanes), keys, [count, size], state, tile, Accumulate::Overwrite);
            let has_one_decay = self.has_one_decay();
            for (t, (row, found)) in values.chunks_exact_mut(lanes).zip(tile.chunks_exact(lanes)).enumerate() {
                let beta = simd.splat(self.beta(first + t));
                let read_factor = simd.splat(if has_one_decay { buffers.read_factors[t] } else { 1.0 });
                for v in (0..lanes).step_by(S::LANES) {
                    let missing = simd.load(&row[v..]) - simd.load(&found[v..]) * read_factor;
                    simd.store(&mut row[v..], missing * beta);
                }
            }
            solve::<S, ROWS, VECTORS>(simd, buffers.lower, values, count);
        }
        is_finite(simd, values)
    }

    /// Writes the output rows of a head of the group.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn write_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        first: usize,
        count: usize,
        (member, state): (usize, &mut [f32]),
        buffers: &mut Buffers<'_>,
    ) {
        let StateLayout { size, lanes, .. } = self.layout;
        let Buffers { queries, values, tile, growth, columns, weights, scores, read_factors, .. } = buffers;
        for (target, t) in queries.chunks_exact_mut(size).zip(first..first + count) {
            target.iter_mut().zip(self.query(member, t)).for_each(|(target, &value)| *target = value * self.scale);
        }
        if self.has_decay_by_row() {
            for at in (0..count * size).step_by(S::LANES) {
                let query = simd.load(&queries[at..]) * simd.load(&growth[at..]);
                simd.store(&mut queries[at..], query);
            }
        }
        self.multiply_keys(queries, columns, count, tile, scores);
        let has_one_decay = self.has_one_decay();
        weigh(scores, count, has_one_decay.then_some(&**weights), false, &|_| 1.0);
        let queries = Matrix::row_major(queries, size);
        for block in 0..self.layout.blocks() {
            let (state, _) = self.layout.block(state, block);
            product((self.level, lanes), queries, [count, size], state, tile, Accumulate::Overwrite);
            if has_one_decay {
                scale_rows(simd, &mut tile[..count * lanes], lanes, &*read_factors);
            }
            let values = &values[block * CHUNK * lanes..];
            for t in (0..count).step_by(ROW_BAND) {
                let rows = ROW_BAND.min(count - t);
                let (scores, tile) = (Matrix::row_major(&scores[t * CHUNK..], CHUNK), &mut tile[t * lanes..]);
                simd::product::<S, ROWS, VECTORS>(simd, scores, rows, t + rows, values, tile, Accumulate::Add);
            }
            for (row, t) in tile.chunks_exact(lanes).zip(first..first + count) {
                // SAFETY: this item owns the row, and writes its blocks one after the other.
                let result = unsafe { self.result(member, t, block) };
                result.copy_from_slice(&row[..result.len()]);
            }
        }
    }

    /// Advances the state to the end of the chunk.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn update_state<S: Simd>(&self, simd: S, count: usize, state: &mut [f32], buffers: &mut Buffers<'_>) {
        let StateLayout { size, lanes, .. } = self.layout;
        let Buffers { factors, values, keys, growth, weights, .. } = buffers;
        let last = (count - 1) * size;
        if self.has_decay_by_row() {
            for key in keys.chunks_exact_mut(size).take(count) {
                key.iter_mut().zip(&growth[last..]).for_each(|(key, growth)| *key *= growth);
            }
        }
        let keys = Matrix::column_major(keys, size);
        for block in 0..self.layout.blocks() {
            let values = &mut values[block * CHUNK * lanes..][..count * lanes];
            let (state, mut errors) = self.layout.block(state, block);
            if self.has_one_decay() {
                scale_rows(simd, values, lanes, &weights[(count - 1) * CHUNK..]);
            }
            if self.decay.is_some() {
                decay(simd, (&mut *state, errors.as_deref_mut()), lanes, factors);
            }
            match errors {
                Some(errors) => {
                    product((self.level, lanes), keys, [size, count], values, errors, Accumulate::Add);
                    carry_all(simd, state, errors);
                }
                None => product((self.level, lanes), keys, [size, count], values, state, Accumulate::Add),
            }
        }
    }
}

/// Multiplies row t of a triangular matrix by `factor(t)` and by the weights, and clears what a row does not see: its
/// own position if `is_strict`, and all later ones.
fn weigh(matrix: &mut [f32], count: usize, weights: Option<&[f32]>, is_strict: bool, factor: &dyn Fn(usize) -> f32) {
    for (t, row) in matrix.chunks_exact_mut(CHUNK).enumerate().take(count) {
        let (seen, hidden) = row[..count].split_at_mut(t + usize::from(!is_strict));
        hidden.fill(0.0);
        let factor = factor(t);
        match weights {
            Some(weights) => {
                let weights = &weights[t * CHUNK..][..seen.len()];
                seen.iter_mut().zip(weights).for_each(|(value, weight)| *value *= weight * factor);
            }
            None => seen.iter_mut().for_each(|value| *value *= factor),
        }
    }
}

/// Solves `u_t = u_t + Σ_{j<t} lower[t][j] · u_j` in place, from the first row to the last.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn solve<S: Simd, const ROWS: usize, const VECTORS: usize>(simd: S, lower: &[f32], values: &mut [f32], count: usize) {
    let lanes = VECTORS * S::LANES;
    for first in (0..count).step_by(BAND) {
        let rows = BAND.min(count - first);
        let (solved, band) = values.split_at_mut(first * lanes);
        let lower = &lower[first * CHUNK..];
        if first > 0 {
            let coefficients = Matrix::row_major(lower, CHUNK);
            simd::product::<S, ROWS, VECTORS>(simd, coefficients, rows, first, solved, band, Accumulate::Add);
        }
        for t in 1..rows {
            let (earlier, row) = band.split_at_mut(t * lanes);
            for v in (0..lanes).step_by(S::LANES) {
                let mut sum = simd.load(&row[v..]);
                for (earlier, &coefficient) in earlier.chunks_exact(lanes).zip(&lower[t * CHUNK + first..]) {
                    sum = simd.mul_add(simd.splat(coefficient), simd.load(&earlier[v..]), sum);
                }
                simd.store(&mut row[v..], sum);
            }
        }
    }
}

/// Multiplies each row of a tile by its factor.
#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn scale_rows<S: Simd>(simd: S, tile: &mut [f32], lanes: usize, factors: &[f32]) {
    for (row, &factor) in tile.chunks_exact_mut(lanes).zip(factors) {
        for values in row.chunks_exact_mut(S::LANES) {
            let scaled = simd.load(values) * factor;
            simd.store(values, scaled);
        }
    }
}

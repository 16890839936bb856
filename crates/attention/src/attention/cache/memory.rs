//! The memory of a cache's keys or values: rows of one size, stored in the cache's type.

use std::ops::Range;

use super::config::CacheType;
use crate::error::Result;
use crate::math::quantized::{check_row, quantize_weights};
use crate::math::weight::{OwnedWeights, Quantized, Weights};
use crate::simd::{Level, narrow_f16};
use crate::sizes::GROUP;
use crate::tensor::try_zeroed;

/// Rows of `size` values.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    size: usize,
    data: OwnedWeights,
}

impl Memory {
    /// Allocates rows of zeros; `name` is for errors.
    pub(super) fn new(name: &str, kind: CacheType, rows: Option<usize>, size: usize) -> Result<Self> {
        let elements = |width: usize| rows.and_then(|rows| rows.checked_mul(width)).unwrap_or(usize::MAX);
        let data = match kind {
            CacheType::F32 => OwnedWeights::F32(try_zeroed(name, elements(size))?),
            CacheType::F16 => OwnedWeights::F16(try_zeroed(name, elements(size))?),
            CacheType::Q8 => {
                let values = try_zeroed(name, elements(size))?;
                OwnedWeights::Q8(values, try_zeroed(name, elements(size.div_ceil(GROUP)))?)
            }
        };
        Ok(Self { size, data })
    }

    /// Returns the number of values in a row.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns all rows.
    pub(super) fn weights(&self) -> Weights<'_> {
        self.data.borrow()
    }

    /// Checks that the type can hold a row of an argument.
    pub(super) fn check(&self, argument: &str, row: &[f32]) -> Result<()> {
        if matches!(self.data, OwnedWeights::Q8(..)) { check_row(argument, row) } else { Ok(()) }
    }

    /// Writes a row that [`Self::check`] accepts.
    pub(super) fn write(&mut self, row: usize, values: &[f32]) {
        let place = row * self.size..(row + 1) * self.size;
        match &mut self.data {
            OwnedWeights::F32(data) => data[place].copy_from_slice(values),
            OwnedWeights::F16(bits) | OwnedWeights::Bf16(bits) => {
                bits[place].iter_mut().zip(values).for_each(|(bits, &value)| *bits = narrow_f16(value));
            }
            OwnedWeights::Q8(integers, scales) => {
                let groups = self.size.div_ceil(GROUP);
                quantize_weights(values, &mut integers[place], &mut scales[row * groups..(row + 1) * groups]);
            }
        }
    }

    /// Reads the first values of a row, as many as `output` has, as 32-bit floats.
    pub(super) fn read(&self, level: Level, row: usize, output: &mut [f32]) {
        self.weights().read_rows(level, row, [self.size, output.len()], output);
    }

    /// Moves rows to the place that starts at row `to`.
    pub(super) fn shift(&mut self, rows: Range<usize>, to: usize) {
        let groups = self.size.div_ceil(GROUP);
        let scaled = |width: usize| (rows.start * width..rows.end * width, to * width);
        let (place, start) = scaled(self.size);
        match &mut self.data {
            OwnedWeights::F32(data) => data.copy_within(place, start),
            OwnedWeights::F16(bits) | OwnedWeights::Bf16(bits) => bits.copy_within(place, start),
            OwnedWeights::Q8(integers, scales) => {
                integers.copy_within(place, start);
                let (place, start) = scaled(groups);
                scales.copy_within(place, start);
            }
        }
    }

    /// Copies `count` rows of the same size and type, from row `from` on, to the place that starts at row `to`.
    ///
    /// # Panics
    /// If sizes differ or a row does not exist.
    pub(super) fn copy(&mut self, to: usize, source: Weights<'_>, from: usize, count: usize) {
        fn copy<T: Copy>(target: &mut [T], source: &[T], [to, from, count]: [usize; 3], width: usize) {
            target[to * width..][..count * width].copy_from_slice(&source[from * width..][..count * width]);
        }
        let (rows, size) = ([to, from, count], self.size);
        match (&mut self.data, source) {
            (OwnedWeights::F32(target), Weights::F32(source)) => copy(target, source, rows, size),
            (OwnedWeights::F16(target), Weights::F16(source)) => copy(target, source, rows, size),
            (OwnedWeights::Q8(integers, factors), Weights::Q8(Quantized { values, scales })) => {
                copy(integers, values, rows, size);
                copy(factors, scales, rows, size.div_ceil(GROUP));
            }
            // Caches of different types are never copied.
            _ => debug_assert!(false, "memory of another type"),
        }
    }
}

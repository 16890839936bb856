//! The keys or values of one head, in the type that they are stored in.

use std::ops::Range;

use crate::attention::Strides;
use crate::math::weight::Weights;
use crate::simd::Simd;
use crate::sizes::CACHE_LINE;

/// Keys or values of every head. Rows that are not 32-bit floats are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub data: Weights<'a>,
    pub strides: Strides,
}

/// Rows of one head.
#[derive(Clone, Copy)]
pub(crate) struct HeadRows<'a> {
    data: Weights<'a>,
    /// The element at which the first row starts.
    start: usize,
    stride: usize,
}

impl<'a> HeadRows<'a> {
    pub(super) fn new(data: Weights<'a>, start: usize, stride: usize) -> Self {
        Self { data, start, stride }
    }

    /// Returns 32-bit floats from row `first` on, empty if there are none, and the distance between rows.
    #[inline(always)]
    pub(crate) fn floats(self, first: usize) -> (&'a [f32], usize) {
        (self.data.floats().get(self.start + first * self.stride..).unwrap_or_default(), self.stride)
    }

    /// Returns the first `width` values of some rows as 32-bit floats, and the distance between rows: where the rows
    /// are stored, or widened to `buffer`.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(crate) fn widened<'b, S: Simd>(
        self,
        simd: S,
        rows: Range<usize>,
        width: usize,
        buffer: &'b mut [f32],
    ) -> (&'b [f32], usize)
    where
        'a: 'b,
    {
        if matches!(self.data, Weights::F32(_)) {
            return self.floats(rows.start);
        }
        let buffer = &mut buffer[..rows.len() * width];
        if width > 0 {
            self.data.widen_rows(simd, self.start / self.stride + rows.start, [self.stride, width], buffer);
        }
        (buffer, width)
    }

    /// Starts prefetching the first `width` values of some rows, which may lie beyond the last one.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(self, simd: S, rows: Range<usize>, width: usize) {
        for row in rows {
            let first = self.start + row * self.stride;
            match self.data {
                Weights::F32(data) => prefetch(simd, data, first, width),
                Weights::F16(data) | Weights::Bf16(data) => prefetch(simd, data, first, width),
                Weights::Q8(data) => prefetch(simd, data.values, first, width),
            }
        }
    }
}

/// Starts prefetching `width` values from `first` on.
#[inline(always)]
fn prefetch<S: Simd, T>(simd: S, data: &[T], first: usize, width: usize) {
    for at in (0..width).step_by(CACHE_LINE * size_of::<f32>() / size_of::<T>()) {
        simd.prefetch(data, first + at);
    }
}

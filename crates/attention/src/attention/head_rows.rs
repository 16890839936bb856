//! The keys or values of one head, in the type that they are stored in.

use std::ops::Range;

use crate::attention::Strides;
#[cfg(not(target_family = "wasm"))]
use crate::math::weight::Quantized;
use crate::math::weight::Weights;
use crate::simd::Simd;
#[cfg(not(target_family = "wasm"))]
use crate::simd::{Groups, Halves};
use crate::sizes::CACHE_LINE;
#[cfg(not(target_family = "wasm"))]
use crate::sizes::GROUP;

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

/// Rows of one block, in a type that products read. WebAssembly reads 32-bit floats alone, which keeps its modules
/// small.
#[derive(Clone, Copy)]
pub(crate) enum BlockRows<'a> {
    Floats(&'a [f32]),
    #[cfg(not(target_family = "wasm"))]
    F16(Halves<'a, false>),
    #[cfg(not(target_family = "wasm"))]
    Bf16(Halves<'a, true>),
    #[cfg(not(target_family = "wasm"))]
    Groups(Groups<'a>),
}

/// Evaluates an expression for the rows of a block, as whatever type they have.
macro_rules! with_rows {
    ($rows:expr, $data:ident => $work:expr) => {
        match $rows {
            BlockRows::Floats($data) => $work,
            #[cfg(not(target_family = "wasm"))]
            BlockRows::F16($data) => $work,
            #[cfg(not(target_family = "wasm"))]
            BlockRows::Bf16($data) => $work,
            #[cfg(not(target_family = "wasm"))]
            BlockRows::Groups($data) => $work,
        }
    };
}
pub(super) use with_rows;

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

    /// Returns the first `width` values of some rows, and the distance between rows. With `in_registers`, products
    /// widen rows of whole vectors themselves, and only scales are widened to `buffer`; otherwise the rows are.
    #[inline(always)]
    pub(crate) fn block<'b, S: Simd>(
        self,
        simd: S,
        rows: Range<usize>,
        width: usize,
        in_registers: bool,
        buffer: &'b mut [f32],
    ) -> (BlockRows<'b>, usize)
    where
        'a: 'b,
    {
        #[cfg(not(target_family = "wasm"))]
        if in_registers && [self.start, self.stride, width].iter().all(|size| size.is_multiple_of(GROUP)) {
            let place = self.start + rows.start * self.stride..self.start + rows.end * self.stride;
            match self.data {
                Weights::F32(_) => {}
                Weights::F16(bits) => return (BlockRows::F16(Halves(&bits[place])), self.stride),
                Weights::Bf16(bits) => return (BlockRows::Bf16(Halves(&bits[place])), self.stride),
                Weights::Q8(Quantized { values, scales }) => {
                    let scales = &scales[place.start / GROUP..place.end / GROUP];
                    let buffer = &mut buffer[..scales.len()];
                    Weights::F16(scales).widen_row(simd, 0, scales.len(), 0, buffer);
                    return (BlockRows::Groups(Groups::new(&values[place], buffer)), self.stride);
                }
            }
        }
        let _ = in_registers;
        let (data, stride) = self.widened(simd, rows, width, buffer);
        (BlockRows::Floats(data), stride)
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

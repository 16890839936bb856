//! Rows of one head that lie at equal distances in memory.

use crate::sizes::MAX_TILE_LANES;

/// Row `i` is `data[start + i · stride ..][.. size]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub data: &'a [f32],
    pub start: usize,
    pub stride: usize,
    pub size: usize,
}

impl<'a> Rows<'a> {
    /// Row `i`.
    pub(super) fn row(&self, i: usize) -> &'a [f32] {
        &self.data[self.start + i * self.stride..][..self.size]
    }

    /// The rows from row `i` on.
    pub(super) fn from(self, i: usize) -> Self {
        Self { start: self.start + i * self.stride, ..self }
    }

    /// Returns the starts of `count` rows, from row `first` on.
    pub(super) fn starts(&self, first: usize, count: usize) -> [usize; MAX_TILE_LANES] {
        let mut starts = [0; MAX_TILE_LANES];
        for (start, i) in starts[..count].iter_mut().zip(first..) {
            *start = self.start + i * self.stride;
        }
        starts
    }
}

//! Outputs divided among work items: an item can reach only the rows and blocks that it owns.

use std::marker::PhantomData;
use std::ops::Range;

use crate::context::Context;
use crate::simd::{Simd, scatter_rows};
use crate::sizes::MAX_TILE_LANES;

/// A slice whose disjoint parts are written by several items at the same time.
pub struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: only `slice` reaches the memory, and its callers guarantee that parts do not overlap.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Shares the slice for the duration of the borrow.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Returns `len` elements from `start` on.
    ///
    /// # Safety
    /// The part must not overlap any other part that is still in use.
    ///
    /// # Panics
    /// If the part reaches beyond the slice.
    #[allow(clippy::mut_from_ref, reason = "the callers keep the parts disjoint")]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: the part lies inside the slice, and the caller guarantees that it overlaps no other part in use.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// A block of a row-major matrix, owned by one work item.
pub struct MatrixBlock<'a> {
    output: &'a SharedMut<'a, f32>,
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl MatrixBlock<'_> {
    /// Returns the range of matrix rows that the block covers.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Returns the range of matrix columns that the block covers.
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Returns some rows of the block.
    ///
    /// # Panics
    /// If a row is not in the block.
    pub fn part(&mut self, rows: Range<usize>) -> MatrixBlock<'_> {
        assert!(self.rows.start <= rows.start && rows.end <= self.rows.end);
        MatrixBlock { rows, columns: self.columns.clone(), ..*self }
    }

    /// Returns the block's part of a matrix row.
    ///
    /// # Panics
    /// If the row is not in the block.
    #[inline(always)]
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row));
        // SAFETY: blocks do not overlap, and nothing else of this block is borrowed.
        unsafe { self.output.slice(row * self.width + self.columns.start, self.columns.len()) }
    }

    /// Writes the block's part of some rows from a tile that holds them in its lanes: `tile[column · lanes + lane]`.
    ///
    /// # Panics
    /// If a row is not in the block, or the tile is too short.
    #[inline(always)]
    pub fn write_lanes<S: Simd>(&mut self, simd: S, rows: Range<usize>, tile: &[f32], lanes: usize) {
        assert!(self.rows.start <= rows.start && rows.end <= self.rows.end);
        let mut starts = [0; MAX_TILE_LANES];
        let count = rows.len();
        for (start, row) in starts.iter_mut().zip(rows) {
            *start = row * self.width + self.columns.start;
        }
        // SAFETY: blocks do not overlap, and nothing else of this block is borrowed.
        unsafe { scatter_rows(simd, tile, lanes, self.columns.len(), self.output, &starts[..count]) };
    }

    /// Writes sums plus the bias, if there is one, to some rows and columns of the matrix. Columns beyond the block
    /// are left out.
    ///
    /// # Panics
    /// If a row or the first column is not in the block, or the bias is too short.
    #[inline(always)]
    pub fn write_tile<S: Simd, const WIDTH: usize>(
        &mut self,
        simd: S,
        rows: Range<usize>,
        columns: Range<usize>,
        sums: &[[f32; WIDTH]],
        bias: Option<&[f32]>,
    ) {
        let block = self.columns();
        let count = columns.end.min(block.end) - columns.start;
        let mut terms = [0.0; WIDTH];
        if let Some(bias) = bias {
            terms[..count].copy_from_slice(&bias[columns.start..][..count]);
        }
        for (r, sums) in sums.iter().enumerate().take(rows.len()) {
            let output = &mut self.row(rows.start + r)[columns.start - block.start..][..count];
            let mut vectors = output.chunks_exact_mut(S::LANES);
            let mut at = 0;
            for output in &mut vectors {
                simd.store(output, simd.load(&sums[at..]) + simd.load(&terms[at..]));
                at += S::LANES;
            }
            for (n, output) in vectors.into_remainder().iter_mut().enumerate() {
                *output = sums[at + n] + terms[at + n];
            }
        }
    }
}

/// The positions of an attention output's rows. Row r of a key/value head is query `r / group` of the group's query
/// head `r mod group`. Rows never overlap.
#[derive(Debug, Clone, Copy)]
pub struct RowLayout {
    group: usize,
    kv_heads: usize,
    /// The distances between batch entries, query heads and queries.
    strides: [usize; 3],
    /// The number of elements in one row.
    width: usize,
}

impl RowLayout {
    /// Creates the layout of `[batch, heads, queries]` rows, with `group` query heads per key/value head.
    ///
    /// # Panics
    /// If rows overlap.
    pub fn new(
        [batch, heads, queries]: [usize; 3],
        group: usize,
        strides: impl Into<[usize; 3]>,
        width: usize,
    ) -> Self {
        let strides = strides.into();
        let mut dims = [(strides[0], batch), (strides[1], heads), (strides[2], queries)];
        dims.sort_unstable();
        let is_empty = dims.iter().any(|&(_, count)| count == 0);
        let mut extent = width;
        for (stride, count) in dims.into_iter().filter(|&(_, count)| count > 1 && !is_empty) {
            assert!(stride >= extent, "rows overlap");
            extent += stride * (count - 1);
        }
        Self { group, kv_heads: heads.checked_div(group).unwrap_or(0), strides, width }
    }

    /// Creates the layout of contiguous rows in the order of batch entries, heads and queries.
    pub fn contiguous([batch, heads, queries]: [usize; 3], group: usize, width: usize) -> Self {
        Self::new([batch, heads, queries], group, [heads * queries * width, queries * width, width], width)
    }

    /// Returns the position of a row of key/value head `head`, counted over all batch entries.
    #[inline(always)]
    fn start(&self, head: usize, row: usize) -> usize {
        let (b, kv_head) = (head / self.kv_heads, head % self.kv_heads);
        let [batch, head, query] = self.strides;
        b * batch + (kv_head * self.group + row % self.group) * head + row / self.group * query
    }
}

/// An output whose rows are distributed to work items.
pub struct Rows<'a, T = f32> {
    data: SharedMut<'a, T>,
    layout: RowLayout,
}

impl<'a, T> Rows<'a, T> {
    /// Divides `data` into rows by a layout.
    pub fn new(data: &'a mut [T], layout: RowLayout) -> Self {
        Self { data: SharedMut::new(data), layout }
    }

    /// Returns the rows of one item. No other item may own any of them.
    fn part(&self, item: &ItemRows) -> OwnRows<'_, T> {
        OwnRows { output: self, head: item.head, rows: item.rows.clone() }
    }
}

/// The rows of an output that one work item owns: consecutive rows of one key/value head.
pub struct OwnRows<'a, T = f32> {
    output: &'a Rows<'a, T>,
    head: usize,
    rows: Range<usize>,
}

impl<T> OwnRows<'_, T> {
    /// Returns one row.
    ///
    /// # Panics
    /// If the row belongs to another item.
    #[inline(always)]
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(self.rows.contains(&row));
        let layout = &self.output.layout;
        // SAFETY: rows do not overlap, this item owns the row, and nothing else of it is borrowed.
        unsafe { self.output.data.slice(layout.start(self.head, row), layout.width) }
    }
}

impl OwnRows<'_> {
    /// Writes a tile that holds rows in its lanes, `tile[column · lanes + lane]`, to `columns` of consecutive rows.
    ///
    /// # Panics
    /// If a row belongs to another item, if the rows have too few columns, or if the tile is too short.
    #[inline(always)]
    pub fn write_lanes<S: Simd>(
        &mut self,
        simd: S,
        rows: Range<usize>,
        columns: Range<usize>,
        tile: &[f32],
        lanes: usize,
    ) {
        let layout = &self.output.layout;
        assert!(self.rows.start <= rows.start && rows.end <= self.rows.end && columns.end <= layout.width);
        let mut starts = [0; MAX_TILE_LANES];
        let count = rows.len();
        for (start, row) in starts[..count].iter_mut().zip(rows) {
            *start = layout.start(self.head, row) + columns.start;
        }
        // SAFETY: rows do not overlap, this item owns these rows, and nothing else of them is borrowed.
        unsafe { scatter_rows(simd, tile, lanes, columns.len(), &self.output.data, &starts[..count]) };
    }
}

/// The rows of one work item: consecutive rows of one key/value head.
#[derive(Debug, Clone)]
pub struct ItemRows {
    /// The key/value head, counted over all batch entries.
    pub head: usize,
    /// Its rows.
    pub rows: Range<usize>,
}

/// The division of each head's rows into blocks of consecutive rows.
#[derive(Debug, Clone, Copy)]
pub enum Blocks<'a> {
    /// `rows` rows in blocks of `size`, of which the last may be shorter.
    Even {
        /// The number of rows.
        rows: usize,
        /// The maximum number of rows in one block.
        size: usize,
    },
    /// From each bound to the next one; bounds never fall.
    Between(&'a [usize]),
}

impl Blocks<'_> {
    fn count(&self) -> usize {
        match *self {
            Self::Even { rows, size } => rows.div_ceil(size),
            Self::Between(bounds) => bounds.len().saturating_sub(1),
        }
    }

    fn rows(&self, block: usize) -> Range<usize> {
        match *self {
            Self::Even { rows, size } => block * size..rows.min((block + 1) * size),
            Self::Between(bounds) => bounds[block]..bounds[block + 1],
        }
    }
}

impl Context<'_> {
    /// Distributes `rows` rows of each output to work items, at most `rows_per_item` consecutive rows to each. `work`
    /// receives the range of rows and the matching part of each output. `operations` is the cost of all items together.
    ///
    /// # Panics
    /// If an output does not consist of `rows` rows of equal width.
    pub fn for_each_rows<T: Send, const N: usize>(
        &self,
        rows: usize,
        rows_per_item: usize,
        operations: u64,
        outputs: [&mut [T]; N],
        work: impl Fn(Range<usize>, [&mut [T]; N]) + Sync,
    ) {
        let outputs = outputs.map(|output| {
            assert!(output.len().is_multiple_of(rows), "rows of different widths");
            (output.len().checked_div(rows).unwrap_or(0), SharedMut::new(output))
        });
        self.for_each(rows.div_ceil(rows_per_item), operations, |item| {
            let range = item * rows_per_item..rows.min((item + 1) * rows_per_item);
            let parts = outputs.each_ref().map(|(width, output)| {
                // SAFETY: `for_each` runs each item once, and ranges of different items do not overlap.
                unsafe { output.slice(range.start * width, range.len() * width) }
            });
            work(range, parts);
        });
    }

    /// Distributes blocks of a row-major matrix to work items. `block_sizes` are the maximum rows and columns of one
    /// block, `rows` the number of matrix rows. Blocks of the same rows are processed consecutively. Blocks whose rows
    /// belong to other parts of a split call are skipped.
    ///
    /// # Panics
    /// If the output does not consist of `rows` rows of equal width.
    /// If the output does not consist of `rows` rows of equal width.
    pub fn for_each_block(
        &self,
        rows: usize,
        block_sizes: [usize; 2],
        operations: u64,
        output: &mut [f32],
        work: impl Fn(MatrixBlock<'_>) + Sync,
    ) {
        assert!(output.len().is_multiple_of(rows), "rows of different widths");
        let columns = output.len().checked_div(rows).unwrap_or(0);
        let [block_rows, block_columns] = block_sizes;
        let blocks_beside = columns.div_ceil(block_columns);
        let output = SharedMut::new(output);
        self.for_each(rows.div_ceil(block_rows) * blocks_beside, operations, |item| {
            let (row, column) = (item / blocks_beside, item % blocks_beside);
            if self.partition.owns(row) {
                work(MatrixBlock {
                    output: &output,
                    width: columns,
                    rows: row * block_rows..rows.min((row + 1) * block_rows),
                    columns: column * block_columns..columns.min((column + 1) * block_columns),
                });
            }
        });
    }

    /// Distributes the rows of each of `heads` key/value heads to work items, at most `rows_per_item` consecutive rows
    /// to each. `work` receives the item's rows and exactly those rows of each output. `operations` is the cost of all
    /// items together.
    ///
    /// The last rows go first: in causal attention they see the most keys, and no thread should start one of them at
    /// the end.
    pub fn for_each_head_rows<const N: usize>(
        &self,
        [heads, rows, rows_per_item]: [usize; 3],
        operations: u64,
        outputs: [Option<Rows<'_>>; N],
        indices: Option<Rows<'_, i32>>,
        work: impl Fn(ItemRows, [Option<OwnRows<'_>>; N], Option<OwnRows<'_, i32>>) + Sync,
    ) {
        self.for_each_head_block(heads, Blocks::Even { rows, size: rows_per_item }, operations, outputs, indices, work);
    }

    /// Distributes blocks of rows like [`Self::for_each_head_rows`], with the same blocks in each head.
    ///
    /// # Panics
    /// If bounds fall.
    pub fn for_each_head_block<const N: usize>(
        &self,
        heads: usize,
        blocks: Blocks<'_>,
        operations: u64,
        outputs: [Option<Rows<'_>>; N],
        indices: Option<Rows<'_, i32>>,
        work: impl Fn(ItemRows, [Option<OwnRows<'_>>; N], Option<OwnRows<'_, i32>>) + Sync,
    ) {
        if let Blocks::Between(bounds) = blocks {
            assert!(bounds.is_sorted(), "blocks overlap");
        }
        let count = blocks.count();
        self.for_each(heads * count, operations, |index| {
            let (block, head) = (count - 1 - index / heads, index % heads);
            let item = ItemRows { head, rows: blocks.rows(block) };
            // `for_each` runs each item once, and items differ in head or rows.
            let outputs = outputs.each_ref().map(|output| output.as_ref().map(|output| output.part(&item)));
            let indices = indices.as_ref().map(|output| output.part(&item));
            work(item, outputs, indices);
        });
    }

    /// Distributes blocks of rows like [`Self::for_each_head_block`], and to each item its own part of `shares`, which
    /// consist of equal slices for each head, with a part for each block between neighboring bounds. `work` also
    /// receives the index of the block.
    ///
    /// # Panics
    /// If bounds fall, or shares are shorter than their bounds.
    #[cfg(feature = "training")]
    pub fn for_each_head_part<const N: usize, const M: usize>(
        &self,
        heads: usize,
        blocks: Blocks<'_>,
        operations: u64,
        outputs: [Option<Rows<'_>>; N],
        shares: [(&mut [f32], &[usize]); M],
        work: impl Fn(ItemRows, usize, [Option<OwnRows<'_>>; N], [&mut [f32]; M]) + Sync,
    ) {
        if let Blocks::Between(bounds) = blocks {
            assert!(bounds.is_sorted(), "blocks overlap");
        }
        let shares = shares.map(|(share, bounds)| {
            assert!(bounds.is_sorted(), "shares overlap");
            (SharedMut::new(share), bounds)
        });
        let count = blocks.count();
        self.for_each(heads * count, operations, |index| {
            let (block, head) = (index / heads, index % heads);
            let item = ItemRows { head, rows: blocks.rows(block) };
            // `for_each` runs each item once, and items differ in head or rows.
            let outputs = outputs.each_ref().map(|output| output.as_ref().map(|output| output.part(&item)));
            let shares = shares.each_ref().map(|(share, bounds)| {
                let start = head * bounds[count] + bounds[block];
                // SAFETY: `for_each` runs each item once, and parts of different heads or blocks do not overlap.
                unsafe { share.slice(start, bounds[block + 1] - bounds[block]) }
            });
            work(item, block, outputs, shares);
        });
    }
}

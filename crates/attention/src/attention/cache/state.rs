//! The positions that a cache holds, and the place of a call's queries and keys among them.

use bytemuck::Zeroable;

use super::config::CacheConfig;
use crate::attention::Arrays;
use crate::error::{Error, Result};
use crate::tensor::check_lengths;

/// The positions that a cache holds.
#[derive(Clone)]
pub(super) struct State {
    /// One for each batch entry.
    pub spans: Vec<Span>,
    /// The length of the last block, if not all of its rows were appended. Queries are then those of that block.
    pub uneven_block: Option<usize>,
}

/// The positions of one batch entry, counted from the first key ever appended; `first_stored ≤ first_visible ≤ length`.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    /// One past the last position.
    pub length: usize,
    /// The first position still inside the window; earlier ones are lost.
    pub first_visible: usize,
    /// The position stored in row 0.
    pub first_stored: usize,
    /// The number of keys in the last block.
    pub appended: usize,
}

// SAFETY: zeros are numbers.
unsafe impl Zeroable for Span {}

impl Span {
    /// Returns the first one of the last `most` positions that is stored.
    fn first_of_last(&self, most: usize) -> usize {
        self.length.saturating_sub(most).max(self.first_stored)
    }

    /// Returns how many of the last positions still have all the keys they see.
    pub fn attendable(&self, config: &CacheConfig) -> usize {
        if self.first_visible == 0 {
            self.length
        } else {
            self.length - self.first_visible - config.reach().unwrap_or(0)
        }
    }

    /// Returns the least number of positions, apart from 0, that the entry can be truncated to: the next query is at
    /// that position, and sees as far back as the window reaches.
    pub fn least(&self, config: &CacheConfig) -> usize {
        if self.first_visible == 0 { 0 } else { self.first_visible + config.reach().unwrap_or(0) }
    }

    /// Appends `count` positions. Returns the number of rows before, and how many of them to discard from the front.
    pub fn append(&mut self, config: &CacheConfig, count: usize, is_uneven: bool) -> [usize; 2] {
        self.appended = count;
        if count == 0 {
            return [self.length - self.first_stored, 0];
        }
        if let Some(reach) = config.reach() {
            self.first_visible = self.first_visible.max(self.length.saturating_sub(reach));
        }
        let used = self.length - self.first_stored;
        let stale = if used + count > config.rows() || is_uneven { self.first_visible - self.first_stored } else { 0 };
        self.first_stored += stale;
        self.length += count;
        [used, stale]
    }
}

/// The place of a call's queries and keys in a cache.
pub(crate) struct Placement {
    /// The number of keys; key j of batch entry b is the stored row `first_rows[b] + j`.
    pub keys: usize,
    pub first_rows: Vec<usize>,
    /// The number of keys of each batch entry.
    pub kv_lengths: Vec<i32>,
    /// The key of query 0 of each batch entry.
    pub query_offset: Vec<i32>,
    /// The position of query 0 of each batch entry.
    pub positions: Vec<usize>,
    /// The number of queries of each batch entry, if they are not all.
    pub query_lengths: Option<Vec<i32>>,
}

impl Placement {
    /// Returns the caller's arrays with those of the cache.
    pub fn arrays<'a>(&'a self, given: Arrays<'a>) -> Arrays<'a> {
        Arrays { query_offset: Some(&self.query_offset), kv_lengths: Some(&self.kv_lengths), ..given }
    }
}

impl State {
    /// Returns the largest length.
    pub fn length(&self) -> usize {
        self.spans.iter().map(|span| span.length).max().unwrap_or(0)
    }

    /// Returns how many of the last positions of every batch entry still have all the keys they see.
    pub fn attendable(&self, config: &CacheConfig) -> usize {
        self.spans.iter().map(|span| span.attendable(config)).min().unwrap_or(0)
    }

    /// Returns the number of keys that `queries` queries see, in the batch entry with the most. A block that is shorter
    /// in every entry than its rows leaves fewer than its rows could see.
    pub fn attended(&self, config: &CacheConfig, queries: usize) -> usize {
        let most = config.attended(self.length(), queries);
        self.spans.iter().map(|span| span.length - span.first_of_last(most)).max().unwrap_or(0)
    }

    /// Returns the place of `queries` queries, those of the last block or the last positions.
    pub fn place(&self, config: &CacheConfig, queries: usize) -> Placement {
        let most = config.attended(self.length(), queries);
        let is_uneven = self.uneven_block.is_some();
        let mut placement = Placement {
            keys: self.attended(config, queries),
            first_rows: Vec::new(),
            kv_lengths: Vec::new(),
            query_offset: Vec::new(),
            positions: Vec::new(),
            query_lengths: is_uneven.then(Vec::new),
        };
        for span in &self.spans {
            let first = span.first_of_last(most);
            let count = if is_uneven { span.appended } else { queries };
            placement.first_rows.push(first - span.first_stored);
            placement.kv_lengths.push((span.length - first) as i32);
            placement.query_offset.push((span.length as i64 - count as i64 - first as i64) as i32);
            placement.positions.push(span.length.saturating_sub(count));
            if let Some(lengths) = &mut placement.query_lengths {
                lengths.push(count as i32);
            }
        }
        placement
    }

    /// Checks that every query has all the keys it sees.
    pub fn check_queries(&self, config: &CacheConfig, queries: usize, counts_positions: bool) -> Result<()> {
        if let Some(block) = self.uneven_block {
            if queries != block {
                let expected = format_args!("{block} queries, the rows of the last block");
                return Err(Error::shape("q", expected, queries));
            }
            return Ok(());
        }
        let most = self.attendable(config);
        if queries > most && counts_positions {
            let expected = format_args!("at most {most} queries, the last positions that the cache has all keys of");
            return Err(Error::shape("q", expected, queries));
        }
        Ok(())
    }

    /// Checks that there is room for a block of `count` rows, of which `lengths` are appended. `block` and `name` are
    /// the arguments of both.
    pub fn check_room(
        &self,
        config: &CacheConfig,
        count: usize,
        lengths: Option<&[i32]>,
        [block, name]: [&str; 2],
    ) -> Result<()> {
        check_lengths(name, lengths, config.batch, count, "rows of the block")?;
        for (b, span) in self.spans.iter().enumerate() {
            let count = lengths.map_or(count, |lengths| lengths[b] as usize);
            let room = config.capacity - if config.window.is_some() { 0 } else { span.length };
            if count > room {
                let of = if config.batch > 1 { format!(" in batch entry {b}") } else { String::new() };
                let capacity = config.capacity;
                let expected = format_args!("a length of at most {room}, what capacity {capacity} has room for{of}");
                return Err(Error::shape(if lengths.is_some() { name } else { block }, expected, count));
            }
        }
        Ok(())
    }

    /// Appends a block. `store` receives each batch entry with rows, the number of rows before and of those to discard,
    /// and the number of rows to append.
    pub fn append(
        &mut self,
        config: &CacheConfig,
        count: usize,
        lengths: Option<&[i32]>,
        store: &mut dyn FnMut(usize, [usize; 2], usize),
    ) {
        let is_uneven = lengths.is_some_and(|lengths| lengths.iter().any(|&length| length as usize != count));
        if count == 0 {
            return;
        }
        self.uneven_block = is_uneven.then_some(count);
        for (b, span) in self.spans.iter_mut().enumerate() {
            let count = lengths.map_or(count, |lengths| lengths[b] as usize);
            let [used, stale] = span.append(config, count, is_uneven);
            store(b, [used, stale], count);
        }
    }
}

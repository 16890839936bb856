//! The cache of a layer's call, and the place of the call's rows in it.

use crate::attention::Arrays;
use crate::attention::cache::{Block, KvCache, Placement};
use crate::attention::head_rows::Stored;
use crate::attention::mask::Visibility;
use crate::error::{Error, Result};
use crate::options::LayerOptions;

/// The cache of a call, and the place of its rows there.
pub(crate) struct Cached<'a> {
    pub cache: &'a KvCache,
    pub placement: Placement,
    /// The number of rows of each batch entry to append, if not all.
    pub lengths: Option<&'a [i32]>,
    /// True if the cache holds every key already.
    pub is_filled: bool,
    /// True if queries are the rows after those of earlier calls.
    pub continues: bool,
}

impl<'a> Cached<'a> {
    /// Places `count` rows, of an argument called `block`, after those of earlier calls.
    pub(crate) fn after(
        cache: &'a KvCache,
        block: &str,
        count: usize,
        options: &LayerOptions,
        arrays: Arrays<'a>,
    ) -> Result<Self> {
        check_not_packed(&arrays)?;
        if options.query_offset.is_some() || arrays.query_offset.is_some() {
            return Err(Error::option("query_offset", "no value: rows continue those of the cache", "one"));
        }
        let lengths = arrays.kv_lengths;
        let placement = cache.place_block(block, count, lengths)?;
        Ok(Self { cache, placement, lengths, is_filled: false, continues: true })
    }

    /// Returns the position of a row that continues those of earlier calls.
    pub(crate) fn position(&self, b: usize, row: usize) -> Option<f64> {
        self.continues.then(|| (self.placement.positions[b] + row) as f64)
    }

    /// Returns the position of the first row of each batch entry.
    pub(crate) fn first_positions(&self) -> Vec<i32> {
        self.placement.positions.iter().map(|&position| position as i32).collect()
    }

    /// Appends keys and values unless the cache is filled, and passes all that it holds to `attend`. If that fails, the
    /// cache is as before.
    pub(crate) fn with_appended(
        &self,
        blocks: [Block<'_>; 2],
        attend: &mut dyn FnMut([Stored<'_>; 2]) -> Result<()>,
    ) -> Result<()> {
        if self.is_filled {
            return self.cache.with_stored(attend);
        }
        self.cache.append_blocks(blocks, self.lengths)?;
        let done = self.cache.with_stored(attend);
        if done.is_err() {
            self.cache.cut(&self.placement.positions);
        }
        done
    }
}

/// Returns the rules of visibility `[B, H, L, S]` of a layer's call.
pub(crate) fn visibility<'a>(
    cached: Option<&'a Cached<'a>>,
    shape: [usize; 4],
    (causal, window): (bool, Option<[i64; 2]>),
    offset: Option<i64>,
    arrays: &Arrays<'a>,
) -> Result<Visibility<'a>> {
    let offset = offset.unwrap_or(0);
    match cached {
        None => Visibility::new(shape, 4, causal, window, offset, arrays),
        Some(Cached { cache, placement, continues: true, .. }) => {
            let arrays = placement.arrays(*arrays);
            let mut visibility = Visibility::new(shape, 4, causal, cache.window(window), offset, &arrays)?;
            visibility.query_lengths = placement.query_lengths.as_deref();
            Ok(visibility)
        }
        Some(Cached { placement, .. }) => {
            let arrays = Arrays { query_offset: arrays.query_offset, ..placement.arrays(*arrays) };
            Visibility::new(shape, 4, causal, window, offset, &arrays)
        }
    }
}

/// Checks the sizes of a cache (batch entries, heads, features of a key and of a value), and if values are in its keys.
pub(crate) fn check_cache(cache: &KvCache, sizes: [usize; 4], values_in_keys: bool) -> Result<()> {
    let of = cache.config();
    let found = [of.batch, of.kv_heads, of.head_dim, of.value_dim()];
    if of.values_in_keys != values_in_keys {
        return Err(Error::option("cache", "one that the layer's createCache made", "one of another kind"));
    }
    if found == sizes {
        return Ok(());
    }
    let describe = |[batch, heads, key, value]: [usize; 4]| {
        let value = if key == value { String::new() } else { format!(" and value size {value}") };
        format!("a cache of batch size {batch}, {heads} heads and head size {key}{value}")
    };
    Err(Error::shape("cache", describe(sizes), describe(found)))
}

/// Checks that there are no packed sequences beside a cache.
pub(crate) fn check_not_packed(arrays: &Arrays<'_>) -> Result<()> {
    match arrays.cu_seqlens.or(arrays.cu_seqlens_keys) {
        Some(_) => Err(Error::option("cu_seqlens", "no value with a cache, which has batch entries", "an Int32Array")),
        None => Ok(()),
    }
}

//! Key/value caches.

use std::sync::Arc;

use ruvector_attention::attention::cache::{AppendOptions, CacheConfig, KvCache, Truncation};
use ruvector_attention::layers::{LoadOptions, StoredEntry, TypedEntry};
use ruvector_attention::options::{AttentionOptions, Layout};
use ruvector_attention::{Error, Result};
use serde::Deserialize;

use super::attention::{Rows, outputs};
use crate::call::Call;
use crate::object::Object;
use crate::options::write;

pub(super) fn create(call: &mut Call<'_>) -> Result<()> {
    let config: CacheConfig = call.options(&[])?;
    call.keep(Arc::new(KvCache::new(config)?))
}

impl Object for KvCache {
    fn config(&self) -> Result<String> {
        write(self.config())
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn visit_stored(&self, visit: &mut dyn FnMut(&[StoredEntry<'_>]) -> Result<()>) -> Result<()> {
        self.visit_entries(&mut |entries| visit(&entries.iter().map(StoredEntry::from).collect::<Vec<_>>()))
    }

    fn with_typed(&self, entries: &[TypedEntry<'_>], _options: LoadOptions<'_>) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.revived(entries)?))
    }
}

pub(super) fn append(call: &mut Call<'_>) -> Result<()> {
    let (k, v, lengths) = (call.tensor()?, call.tensor()?, call.integers()?);
    let options: AppendOptions = call.options(&[])?;
    call.object::<KvCache>(0)?.append_with(k, v, options, lengths)
}

/// Returns the number of positions of each batch entry.
pub(super) fn lengths(call: &mut Call<'_>) -> Result<()> {
    let cache: &KvCache = call.object(0)?;
    let mut rest = call.integer_output(&[cache.config().batch])?.iter_mut();
    cache.visit_lengths(&mut |length| rest.next().into_iter().for_each(|target| *target = length as i32));
    Ok(())
}

/// Copies the contents of the second cache to the first.
pub(super) fn copy(call: &mut Call<'_>) -> Result<()> {
    call.object::<KvCache>(0)?.copy_from(call.object(1)?)
}

pub(super) fn reorder(call: &mut Call<'_>) -> Result<()> {
    let entries = call.integers()?.unwrap_or_default();
    call.object::<KvCache>(0)?.reorder(entries)
}

pub(super) fn read(call: &mut Call<'_>) -> Result<()> {
    let cache: &KvCache = call.object(0)?;
    let AppendOptions { layout } = call.options(&[])?;
    let (config, held) = (cache.config(), cache.held());
    let mut rows = |size: usize| match layout {
        Layout::Bhld => call.output(&[config.batch, config.kv_heads, held, size]),
        Layout::Blhd => call.output(&[config.batch, held, config.kv_heads, size]),
    };
    let (keys, values) = (rows(config.head_dim)?, rows(config.value_dim())?);
    let starts = call.integer_output(&[config.batch])?;
    cache.read_into(layout, [keys, values], starts)
}

/// Runs attention over a cache; it is causal unless the options say otherwise.
pub(super) fn attend(call: &mut Call<'_>) -> Result<()> {
    let q = call.tensor()?;
    let arrays = call.arrays()?;
    let (mut options, is_given): (AttentionOptions, bool) = call.options_with(&["stage", "blockSize"], "causal")?;
    options.causal |= !is_given;
    let cache: &KvCache = call.object(0)?;
    let rows = Rows::new(q.shape, options.layout);
    let outputs = outputs(call, rows, cache.attended(rows.queries()), cache.config().value_dim(), &options)?;
    cache.attend(call.context, q, &options, arrays, outputs)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TruncateOptions {
    length: Option<i64>,
}

pub(super) fn truncate(call: &mut Call<'_>) -> Result<()> {
    let lengths = call.integers()?;
    let cache: &KvCache = call.object(0)?;
    if let Some(lengths) = lengths {
        return cache.truncate_to(Truncation::Each(lengths));
    }
    let TruncateOptions { length } = call.options(&[])?;
    let Some(length) = length.and_then(|length| u64::try_from(length).ok()) else {
        return Err(Error::value("length", "an integer of at least 0", ""));
    };
    cache.truncate(length)
}

//! Biases that depend on the distance between a query and a key alone, without an array of L × S.

use crate::attention::Problem;
use crate::error::{Error, Result};
use crate::sizes::MAX_TILE_LANES;
use crate::tensor::{Tensor, try_zeroed};

/// A relative bias: row i and key j of head h have the bias `values[h][j − i + L − 1]`.
#[derive(Clone, Copy)]
pub(crate) struct RelativeBias<'a> {
    values: &'a [f32],
    /// L and S; of the longest sequence in a packed call.
    queries: usize,
    keys: usize,
    /// The distance between heads; 0 if they share one row.
    stride: usize,
    /// The distance between batch entries; 0 if they share their biases.
    entry_stride: usize,
    /// True if a bias of −∞ may hide a key.
    pub may_hide: bool,
}

impl<'a> RelativeBias<'a> {
    /// Checks a tensor `[H or 1, L + S − 1]`; an empty one fits if there are no scores.
    pub(crate) fn new(tensor: Tensor<'a>, heads: usize, [queries, keys]: [usize; 2]) -> Result<Self> {
        let length = queries.saturating_add(keys).saturating_sub(1);
        let stride = match *tensor.shape.dims() {
            [rows, columns] if columns == length && rows == heads => length,
            [1, columns] if columns == length => 0,
            _ => {
                let expected = format_args!("[{heads}, {length}] or [1, {length}], where {length} is L + S - 1");
                return Err(Error::shape("relative_bias", expected, tensor.shape));
            }
        };
        let may_hide = tensor.data.contains(&f32::NEG_INFINITY);
        Ok(Self { values: tensor.data, queries, keys, stride, entry_stride: 0, may_hide })
    }

    /// Returns finite biases `[entries, H, L + S − 1]`, with an entry for each batch entry or one for all of them.
    pub(crate) fn of_entries(values: &'a [f32], entries: usize, heads: usize, [queries, keys]: [usize; 2]) -> Self {
        let stride = queries.saturating_add(keys).saturating_sub(1);
        let entry_stride = if entries > 1 { heads * stride } else { 0 };
        Self { values, queries, keys, stride, entry_stride, may_hide: false }
    }

    /// Returns the number of biases of a head, L + S − 1.
    #[cfg(feature = "training")]
    pub(crate) fn length(&self) -> usize {
        self.queries.saturating_add(self.keys).saturating_sub(1)
    }

    /// Returns true if the heads share one row.
    #[cfg(feature = "training")]
    pub(crate) fn is_shared(&self) -> bool {
        self.stride == 0
    }

    /// Returns the place of the bias of row i and key j among those of its head.
    #[cfg(feature = "training")]
    pub(crate) fn place(&self, i: usize, j: usize) -> usize {
        j + self.queries - 1 - i
    }

    /// Returns the biases of row (b, h, i) for the keys from `first` on.
    #[inline(always)]
    pub(super) fn row(&self, [b, h, i]: [usize; 3], first: usize) -> &'a [f32] {
        &self.values[b * self.entry_stride + h * self.stride + first + self.queries - 1 - i..]
    }
}

/// Relative biases in the order of a tile's lanes: consecutive rows of a key/value head are consecutive.
///
/// Row r is query `r / group` of the group's head `r mod group`. The bias of row r and key j is at `r + (S − 1 − j) ·
/// group` in the values of the key/value head.
pub(crate) struct LaneBias {
    values: Vec<f32>,
    stride: usize,
    entry_stride: usize,
    group: usize,
    keys: usize,
    may_hide: bool,
}

impl LaneBias {
    /// Reverses and interleaves the relative bias of a problem, if it has one, for groups of `group` heads.
    pub(crate) fn new(problem: &Problem<'_>, group: usize) -> Result<Option<Self>> {
        let Some(bias) = problem.visibility.relative else { return Ok(None) };
        let RelativeBias { values: given, queries, keys, stride, entry_stride, may_hide } = bias;
        let length = queries.saturating_add(keys).saturating_sub(1);
        let entries = if entry_stride == 0 { 1 } else { problem.batch };
        // A single query without keys has no bias.
        let heads = if length == 0 { 0 } else { entries * if stride == 0 { 1 } else { problem.heads / group } };
        // The last lanes of a tile may have no row, but they are loaded all the same.
        let mut values = try_zeroed("working memory", heads * length * group + MAX_TILE_LANES)?;
        for (head, values) in values.chunks_exact_mut((length * group).max(1)).take(heads).enumerate() {
            for g in 0..group {
                let given = &given[(head * group + g) * stride..][..length];
                values[g..].iter_mut().step_by(group).zip(given.iter().rev()).for_each(|(to, &bias)| *to = bias);
            }
        }
        Ok(Some(Self { values, stride: stride * group, entry_stride, group, keys, may_hide }))
    }

    /// Returns the biases of a key/value head's rows from `first` on, in batch entry b.
    pub(crate) fn rows(&self, [b, kv_head]: [usize; 2], first: usize) -> LaneRows<'_> {
        let Self { group, keys, may_hide, .. } = *self;
        LaneRows {
            values: &self.values[b * self.entry_stride + kv_head * self.stride + first..],
            group,
            keys,
            may_hide,
        }
    }
}

/// The relative biases of a tile's rows.
#[derive(Clone, Copy)]
pub(crate) struct LaneRows<'a> {
    values: &'a [f32],
    group: usize,
    keys: usize,
    pub may_hide: bool,
}

impl<'a> LaneRows<'a> {
    /// Returns the biases of one key, beginning with that of the first row.
    #[inline(always)]
    pub(super) fn of_key(&self, key: usize) -> &'a [f32] {
        &self.values[(self.keys - 1 - key) * self.group..]
    }
}

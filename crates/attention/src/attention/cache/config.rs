//! The sizes of a cache and of its blocks.

use super::Block;
use crate::attention::{Dims, Strides};
use crate::error::{Error, Result};
use crate::options::Layout;
use crate::ranges;
use crate::tensor::Tensor;

/// The sizes of a cache. `kv_heads`, `head_dim` and `capacity` are required.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct CacheConfig {
    /// Batch entries; 1 by default.
    pub batch: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// The size of a head's keys.
    pub head_dim: usize,
    /// The size of a head's values; defaults to `head_dim`.
    pub value_dim: Option<usize>,
    /// True if values are the first features of the keys, and stored with them alone: the cache of latent attention.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub values_in_keys: bool,
    /// The maximum number of keys; with a window, the maximum number of keys in one appended block.
    pub capacity: usize,
    /// The number of keys a query sees, including its own position. Default: all keys.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub window: Option<usize>,
    /// The type in which keys and values are stored; 32-bit floats by default. Scores and sums always have 32 bits.
    #[cfg_attr(feature = "serde", serde(rename = "type", skip_serializing_if = "CacheType::is_default"))]
    pub kind: CacheType,
}

/// The type in which a cache stores keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum CacheType {
    /// 32-bit floats.
    #[default]
    F32,
    /// IEEE 754 binary16.
    F16,
    /// Integers from −127 to 127 in groups of 32 along a row, each with an f16 scale.
    #[cfg_attr(feature = "serde", serde(rename = "q8_0"))]
    Q8,
}

#[cfg(feature = "serde")]
impl CacheType {
    /// Returns true for the type that configurations leave out.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            batch: 1,
            kv_heads: 0,
            head_dim: 0,
            value_dim: None,
            values_in_keys: false,
            capacity: 0,
            window: None,
            kind: CacheType::F32,
        }
    }
}

impl CacheConfig {
    /// Returns the size of a head's values.
    pub fn value_dim(&self) -> usize {
        self.value_dim.unwrap_or(self.head_dim)
    }

    /// Returns the configuration with every default filled in.
    ///
    /// # Errors
    /// `OPTION` if a value is out of range or does not fit the others.
    pub fn resolved(self) -> Result<Self> {
        ranges::count("batch", self.batch)?;
        ranges::optional_count("value_dim", self.value_dim)?;
        ranges::optional_count("window", self.window)?;
        for (name, value) in [("kv_heads", self.kv_heads), ("head_dim", self.head_dim), ("capacity", self.capacity)] {
            ranges::count(name, value)?;
        }
        if self.values_in_keys && self.value_dim() > self.head_dim {
            let expected = format_args!("an integer of at most head_dim {}", self.head_dim);
            return Err(Error::value("value_dim", expected, self.value_dim()));
        }
        Ok(Self { value_dim: Some(self.value_dim()), ..self })
    }

    /// Returns a block whose rows have `size` features; its length must equal `count` if that is given.
    #[inline(never)]
    pub(super) fn block<'a>(
        &self,
        argument: &str,
        tensor: Tensor<'a>,
        layout: Layout,
        size: usize,
        count: Option<usize>,
    ) -> Result<Block<'a>> {
        let dims = Dims::of(argument, tensor.shape, layout, ["G", "n", "D"])?;
        let (batch, heads, length) = (self.batch, self.kv_heads, count.unwrap_or(dims.length));
        if [dims.batch, dims.heads, dims.length, dims.size] == [batch, heads, length, size] {
            return Ok(Block { data: tensor.data, strides: Strides::new(layout, heads, length, size), length });
        }
        let expected = match layout {
            Layout::Bhld => format!("[{batch}, {heads}, {length}, {size}]"),
            Layout::Blhd => format!("[{batch}, {length}, {heads}, {size}]"),
        };
        Err(Error::shape(argument, expected, tensor.shape))
    }

    /// Returns the number of rows allocated for each head.
    pub(super) fn rows(&self) -> usize {
        let reach = self.reach().unwrap_or(0);
        reach.saturating_add(self.capacity.max(reach / 16))
    }

    /// Returns the size of a row that is stored for a value.
    pub(super) fn stored_value(&self) -> usize {
        if self.values_in_keys { 0 } else { self.value_dim() }
    }

    /// Returns the first row of a head.
    pub(super) fn first_row(&self, b: usize, head: usize) -> usize {
        (b * self.kv_heads + head) * self.rows()
    }

    /// Returns the strides of stored rows of `size` features.
    pub(super) fn strides(&self, size: usize) -> Strides {
        Strides { batch: self.kv_heads * self.rows() * size, head: self.rows() * size, row: size }
    }

    /// Returns how many positions before its own a query sees, or `None` for all.
    pub(super) fn reach(&self) -> Option<usize> {
        self.window.map(|window| window - 1)
    }

    /// Returns the number of keys that the last `queries` of `length` positions see.
    pub(super) fn attended(&self, length: usize, queries: usize) -> usize {
        self.reach().map_or(length, |reach| length.min(queries + reach))
    }
}

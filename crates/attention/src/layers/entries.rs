//! Named parameters: the entries of a layer's state dict.

use std::borrow::Cow;
use std::fmt::Display;

use crate::error::{Code, Error, Result, alternatives};
use crate::math::weight::Weights;
use crate::tensor::Shape;

/// One named tensor of a state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// The full name, including any prefix.
    pub name: Cow<'a, str>,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: &'a [f32],
}

/// One named tensor of a state dict in any type of weights.
#[derive(Debug, Clone)]
pub struct TypedEntry<'a> {
    /// The full name, including any prefix.
    pub name: Cow<'a, str>,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: Weights<'a>,
}

impl<'a> From<&Entry<'a>> for TypedEntry<'a> {
    fn from(entry: &Entry<'a>) -> Self {
        Self { name: entry.name.clone(), shape: entry.shape.clone(), data: Weights::F32(entry.data) }
    }
}

/// The selection of state dict entries that a layer loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions<'a> {
    /// Entries outside this prefix are ignored. The trailing dot is optional.
    pub prefix: &'a str,
    /// Rejects entries that are not parameters of the layer. Missing parameters are always an error.
    pub strict: bool,
}

/// A prefix alone: strict, like PyTorch's `load_state_dict` by default.
impl<'a> From<&'a str> for LoadOptions<'a> {
    fn from(prefix: &'a str) -> Self {
        Self { prefix, strict: true }
    }
}

impl Entry<'_> {
    /// Checks that the entry has these dimensions and the matching number of elements.
    pub(crate) fn check_shape(&self, expected: Shape) -> Result<()> {
        let actual = Shape::new(&self.name, &self.shape)?;
        if actual != expected {
            return Err(Error::shape(&self.name, expected, actual));
        }
        if actual.checked_len() != Some(self.data.len()) {
            return Err(Error::shape(&self.name, format_args!("data of shape {actual}"), self.data.len()));
        }
        Ok(())
    }
}

/// Returns the prefix with a trailing dot, or an empty string if there is none.
pub(crate) fn dotted(prefix: &str) -> String {
    let mut prefix = prefix.to_owned();
    if !prefix.is_empty() && !prefix.ends_with('.') {
        prefix.push('.');
    }
    prefix
}

/// Returns the entries below a dotted prefix, each with the rest of its name.
pub(crate) fn below<'e, 'a>(entries: &'e [Entry<'a>], prefix: &str) -> Vec<(&'e str, &'e Entry<'a>)> {
    entries.iter().filter_map(|entry| Some((entry.name.strip_prefix(prefix)?, entry))).collect()
}

/// Creates the error for a state dict that lacks required contents.
#[cold]
pub(crate) fn fault(entry: impl Display, expected: impl Display, actual: &str) -> Error {
    Error::new(Code::Format, entry, expected, actual)
}

/// Creates the error for an entry whose name the layer does not know.
#[cold]
pub(crate) fn unknown(entry: &Entry<'_>, known: &[&str]) -> Error {
    fault(&entry.name, format_args!("one of {}", alternatives(known)), "an entry that is no parameter of this layer")
}

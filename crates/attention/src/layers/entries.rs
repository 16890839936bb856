//! Parameters by name: the entries of a layer's state dict.

use std::borrow::Cow;
use std::fmt::Display;

use crate::error::{Code, Error, Result, alternatives};
use crate::tensor::Shape;

/// One named tensor of a state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// The name, with whatever prefix it has.
    pub name: Cow<'a, str>,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: &'a [f32],
}

/// Which entries of a state dict a layer loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions<'a> {
    /// Entries outside this prefix do not count; it may lack its last dot.
    pub prefix: &'a str,
    /// Refuses entries that are not parameters of the layer. Missing ones are always an error.
    pub strict: bool,
}

/// A prefix alone: strict, as PyTorch's `load_state_dict` is by default.
impl<'a> From<&'a str> for LoadOptions<'a> {
    fn from(prefix: &'a str) -> Self {
        Self { prefix, strict: true }
    }
}

impl Entry<'_> {
    /// Checks that the entry has these dimensions, and as many elements.
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

/// A prefix with its dot; nothing where there is none.
pub(crate) fn dotted(prefix: &str) -> String {
    let mut prefix = prefix.to_owned();
    if !prefix.is_empty() && !prefix.ends_with('.') {
        prefix.push('.');
    }
    prefix
}

/// The entries below a prefix with its dot, each with the rest of its name.
pub(crate) fn below<'e, 'a>(entries: &'e [Entry<'a>], prefix: &str) -> Vec<(&'e str, &'e Entry<'a>)> {
    entries.iter().filter_map(|entry| Some((entry.name.strip_prefix(prefix)?, entry))).collect()
}

/// The error that a state dict does not hold what it has to.
#[cold]
pub(crate) fn fault(entry: impl Display, expected: impl Display, actual: &str) -> Error {
    Error::new(Code::Format, entry, expected, actual)
}

/// The error that an entry has none of the names that a layer knows.
#[cold]
pub(crate) fn unknown(entry: &Entry<'_>, known: &[&str]) -> Error {
    fault(&entry.name, format_args!("one of {}", alternatives(known)), "an entry that is no parameter of this layer")
}

//! Named parameters: the entries of a layer's state dict.

use std::borrow::Cow;
use std::fmt::Display;

use crate::error::{Code, Error, Result, alternatives};
use crate::layers::matrix::{Matrix, visit_joined};
use crate::math::weight::{WeightType, Weights};
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
#[derive(Debug, Clone, PartialEq)]
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

/// One named tensor as a layer keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEntry<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// The dimensions.
    pub shape: Vec<usize>,
    pub(crate) data: Stored<'a>,
}

/// The elements of an entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stored<'a> {
    Given(Weights<'a>),
    /// Matrices of one type, whose rows follow each other.
    Matrices(Vec<&'a Matrix>),
}

impl<'a> From<&Entry<'a>> for StoredEntry<'a> {
    fn from(entry: &Entry<'a>) -> Self {
        (&TypedEntry::from(entry)).into()
    }
}

impl<'a> From<&TypedEntry<'a>> for StoredEntry<'a> {
    fn from(entry: &TypedEntry<'a>) -> Self {
        Self { name: entry.name.clone(), shape: entry.shape.clone(), data: Stored::Given(entry.data) }
    }
}

impl<'a> StoredEntry<'a> {
    /// Returns the type of the elements.
    pub fn weight_type(&self) -> WeightType {
        match &self.data {
            Stored::Given(weights) => weights.weight_type(),
            Stored::Matrices(matrices) => matrices.first().map_or(WeightType::F32, |matrix| matrix.weight_type()),
        }
    }

    /// Returns the elements if they are 32-bit floats.
    pub fn floats(&self) -> Option<&'a [f32]> {
        match self.data {
            Stored::Given(Weights::F32(data)) => Some(data),
            _ => None,
        }
    }

    /// Returns the number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the number of bytes that the layer keeps for the entry.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Stored::Given(weights) => weights.bytes(),
            Stored::Matrices(matrices) => matrices.iter().map(|matrix| matrix.bytes()).sum(),
        }
    }

    /// Passes the elements to `visit` in their own type.
    ///
    /// # Errors
    /// Any error that `visit` returns; `MEMORY`.
    pub fn visit(&self, visit: &mut dyn FnMut(Weights<'_>) -> Result<()>) -> Result<()> {
        match &self.data {
            Stored::Given(weights) => visit(*weights),
            Stored::Matrices(matrices) => visit_joined(matrices, visit),
        }
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

impl TypedEntry<'_> {
    /// Checks that the entry has these dimensions and the matching number of elements.
    pub(crate) fn check_shape(&self, expected: Shape) -> Result<()> {
        let actual = Shape::new(&self.name, &self.shape)?;
        if actual != expected {
            return Err(Error::shape(&self.name, expected, actual));
        }
        let (rows, columns) = actual.rows_and_columns();
        if !self.data.fits(rows, columns) {
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
pub(crate) fn below<'e, 'a>(entries: &'e [TypedEntry<'a>], prefix: &str) -> Vec<(&'e str, &'e TypedEntry<'a>)> {
    entries.iter().filter_map(|entry| Some((entry.name.strip_prefix(prefix)?, entry))).collect()
}

/// Creates the error for a state dict that lacks required contents.
#[cold]
pub(crate) fn fault(entry: impl Display, expected: impl Display, actual: &str) -> Error {
    Error::new(Code::Format, entry, expected, actual)
}

/// Creates the error for an entry whose name the layer does not know.
#[cold]
pub(crate) fn unknown(entry: &TypedEntry<'_>, known: &[&str]) -> Error {
    fault(&entry.name, format_args!("one of {}", alternatives(known)), "an entry that is no parameter of this layer")
}

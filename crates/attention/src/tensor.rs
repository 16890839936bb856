//! Shapes and borrowed tensors: row-major, contiguous, checked once on entry.

use std::fmt;

use bytemuck::Zeroable;

use crate::error::{Error, Result};

/// The maximum number of dimensions of a tensor.
pub const MAX_RANK: usize = 8;

/// Up to [`MAX_RANK`] dimensions, stored inline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    rank: usize,
    dims: [usize; MAX_RANK],
}

impl Shape {
    /// Creates a shape; `argument` names the tensor in the error for too many dimensions.
    pub fn new(argument: &str, dims: &[usize]) -> Result<Self> {
        if dims.len() > MAX_RANK {
            return Err(Error::shape(
                argument,
                format!("at most {MAX_RANK} dimensions"),
                format_args!("{} dimensions", dims.len()),
            ));
        }
        let mut shape = Self { rank: dims.len(), dims: [1; MAX_RANK] };
        shape.dims[..dims.len()].copy_from_slice(dims);
        Ok(shape)
    }

    /// Creates a shape of fixed rank.
    pub(crate) fn of<const RANK: usize>(dims: [usize; RANK]) -> Self {
        let mut shape = Self { rank: RANK, dims: [1; MAX_RANK] };
        shape.dims[..RANK].copy_from_slice(&dims);
        shape
    }

    /// Returns the same shape with another first dimension; a scalar stays a scalar.
    #[must_use]
    pub fn with_first(mut self, first: usize) -> Self {
        if let Some(dim) = self.dims[..self.rank].first_mut() {
            *dim = first;
        }
        self
    }

    /// Returns the same shape with another last dimension; a scalar stays a scalar.
    #[must_use]
    pub fn with_last(mut self, last: usize) -> Self {
        if let Some(dim) = self.dims[..self.rank].last_mut() {
            *dim = last;
        }
        self
    }

    /// Returns the dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Returns the number of dimensions.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of elements in a tensor of this shape, or `None` if that overflows.
    pub fn checked_len(&self) -> Option<usize> {
        // A zero dimension makes the tensor empty, however large the other dimensions are.
        if self.dims().contains(&0) {
            return Some(0);
        }
        self.dims().iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))
    }

    /// Returns the number of rows and the last dimension; a scalar is one row of one element. If rows have no elements,
    /// their number may saturate.
    pub fn rows_and_columns(&self) -> (usize, usize) {
        match self.dims().split_last() {
            Some((&columns, outer)) => (outer.iter().fold(1, |rows: usize, &dim| rows.saturating_mul(dim)), columns),
            None => (1, 1),
        }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, dim) in self.dims().iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

/// A borrowed tensor: elements in row-major order and their shape.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a, T = f32> {
    /// The elements; their number is the product of the dimensions.
    pub data: &'a [T],
    /// The dimensions.
    pub shape: Shape,
}

impl<'a, T> Tensor<'a, T> {
    /// Creates a tensor over `data`, whose length must be the product of `dims`; `argument` names it in the error.
    pub fn new(argument: &str, data: &'a [T], dims: &[usize]) -> Result<Self> {
        let shape = Shape::new(argument, dims)?;
        if shape.checked_len() != Some(data.len()) {
            return Err(Error::shape(
                argument,
                format!("data of the length that shape {shape} has"),
                format_args!("{} elements", data.len()),
            ));
        }
        // Checks the volume without zero dimensions for overflow: a zero permits huge ones, as no data backs them.
        let volume = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim.max(1)));
        if volume.is_none_or(|volume| volume > isize::MAX as usize) {
            let expected = format_args!("dimensions whose product, zeros left out, is at most {}", isize::MAX);
            return Err(Error::shape(argument, expected, shape));
        }
        Ok(Self { data, shape })
    }
}

/// Checks that an output buffer has exactly the length that the call writes.
pub fn check_output<T>(argument: &str, buffer: &[T], elements: usize) -> Result<()> {
    if buffer.len() != elements {
        return Err(Error::shape(
            argument,
            format!("a length of {elements}"),
            format_args!("a length of {}", buffer.len()),
        ));
    }
    Ok(())
}

/// Checks that a requested result has an output.
pub(crate) fn check_requested(argument: &str, is_requested: bool, has_output: bool) -> Result<()> {
    if is_requested && !has_output {
        return Err(Error::shape(argument, "an output, as the options ask for this result", "none"));
    }
    Ok(())
}

/// Checks that there is one length per batch entry, from 0 to `most`, the number of `what`.
pub(crate) fn check_lengths(
    argument: &str,
    lengths: Option<&[i32]>,
    batch: usize,
    most: usize,
    what: &str,
) -> Result<()> {
    check_per_batch(argument, lengths, batch)?;
    let lengths = lengths.unwrap_or_default();
    let out_of_range = |&&length: &&i32| !usize::try_from(length).is_ok_and(|length| length <= most);
    match lengths.iter().find(out_of_range) {
        Some(length) => {
            Err(Error::option(argument, format_args!("integers from 0 to {most}, the number of {what}"), length))
        }
        None => Ok(()),
    }
}

/// Checks that an array has one value per batch entry.
pub(crate) fn check_per_batch(argument: &str, values: Option<&[i32]>, batch: usize) -> Result<()> {
    match values {
        Some(values) if values.len() != batch => Err(Error::shape(
            argument,
            format_args!("a length of {batch}, one for each batch entry"),
            format_args!("a length of {}", values.len()),
        )),
        _ => Ok(()),
    }
}

/// Checks cumulative lengths: from 0 to `length`, the number of `what`, and never falling.
pub(crate) fn check_offsets(argument: &str, offsets: &[i32], length: usize, what: &str) -> Result<()> {
    if offsets.is_empty() {
        return Err(Error::shape(argument, "at least one offset, the 0 before the first sequence", "a length of 0"));
    }
    let falls = offsets.windows(2).find(|pair| pair[0] > pair[1]);
    let [first, last] = [offsets[0], offsets[offsets.len() - 1]];
    let actual = match falls {
        Some(pair) => format!("{} before {}", pair[0], pair[1]),
        None if first != 0 => format!("{first} at the start"),
        None if usize::try_from(last) != Ok(length) => format!("{last} at the end"),
        None => return Ok(()),
    };
    let expected = format_args!("integers that start at 0, never fall, and end at {length}, the number of {what}");
    Err(Error::option(argument, expected, actual))
}

/// Allocates a zeroed vector, or returns a `MEMORY` error. Large vectors are pages of zeros that the system provides
/// once they are touched.
#[inline(never)]
pub fn try_zeroed<T: Zeroable>(what: &str, elements: usize) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(elements).map_err(|()| Error::memory(what, elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_tensor_has_countable_dimensions() {
        let empty: [f32; 0] = [];
        assert!(Tensor::new("x", &empty, &[1 << 40, 0, 4]).is_ok());
        for dims in [&[1 << 40, 0, 1 << 40][..], &[usize::MAX, 0], &[0, usize::MAX, 2]] {
            let error = Tensor::new("x", &empty, dims).unwrap_err();
            assert_eq!((error.code, error.argument.as_str()), (crate::Code::Shape, "x"));
        }
    }

    #[test]
    fn the_number_of_rows_without_elements_saturates() {
        let shape = Shape::new("x", &[usize::MAX, 3, 0]).unwrap();
        assert_eq!(shape.rows_and_columns(), (usize::MAX, 0));
        assert_eq!(Shape::of([2, 3, 4]).rows_and_columns(), (6, 4));
    }
}

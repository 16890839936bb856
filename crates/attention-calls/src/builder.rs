//! Calls made from Rust: those of the parts of a call, and those of tests.

use ruvector_attention::context::Observer;
use ruvector_attention::{Code, Error, Result};

use crate::call::Outside;
use crate::memory::{Array, CallMemory, FLOATS, INTEGERS, Owned, OwnedArray};
use crate::operations::OPERATIONS;
use crate::table;

/// Builds a call whose inputs are all separate arrays, and whose results all go to [`Results`](crate::Results).
#[derive(Debug)]
pub struct Builder<'a> {
    /// The memory of the call.
    pub memory: Box<CallMemory>,
    /// The arrays of the call.
    pub arrays: Vec<Array<'a>>,
    len: usize,
}

impl<'a> Builder<'a> {
    /// Starts a call on these objects, on at most `threads` threads.
    pub fn new(threads: usize, objects: &[u32]) -> Self {
        let mut builder = Self { memory: Box::new(CallMemory::EMPTY), arrays: Vec::new(), len: 0 };
        for number in [threads as f64, 0.0, 0.0, 1.0, FLOATS as f64, INTEGERS as f64, 0.0, objects.len() as f64] {
            builder.push(number);
        }
        for &id in objects {
            builder.push(f64::from(id));
        }
        builder
    }

    /// Selects the part to compute: `index` of `count`.
    pub fn part(mut self, index: usize, count: usize) -> Self {
        self.memory.header[2..4].copy_from_slice(&[index as f64, count as f64]);
        self
    }

    /// Adds the next input.
    pub fn add(&mut self, array: Array<'a>, shape: &[usize]) {
        self.push(array.element().number());
        self.push(-1.0 - self.arrays.len() as f64);
        self.push(shape.len() as f64);
        shape.iter().for_each(|&dim| self.push(dim as f64));
        self.arrays.push(array);
    }

    /// Marks the next input as absent.
    pub fn absent(&mut self) {
        self.push(0.0);
    }

    fn push(&mut self, number: f64) {
        self.memory.header[self.len] = number;
        self.len += 1;
    }

    /// Runs the call to its end and returns its results.
    ///
    /// # Errors
    /// The operation's errors, and `INTERNAL` if no operation has this name.
    pub fn run(self, operation: &str, options: Option<&str>) -> Result<Vec<OwnedArray>> {
        self.run_observed(operation, options, None)
    }

    /// Runs the call like [`Self::run`], under an observer.
    ///
    /// # Errors
    /// The same as [`Self::run`].
    pub fn run_observed(
        mut self,
        operation: &str,
        options: Option<&str>,
        observer: Option<&dyn Observer>,
    ) -> Result<Vec<OwnedArray>> {
        let results = Owned::default();
        let outside = Outside { arrays: &self.arrays, results: &results };
        table::call(number(operation)?, &mut self.memory, options, outside, None, observer)?;
        Ok(results.into_arrays())
    }

    /// Runs a call that returns an object, and returns the object's number.
    ///
    /// # Errors
    /// The same as [`Self::run`].
    pub fn create(mut self, operation: &str, config: &str) -> Result<u32> {
        let outside = Outside { arrays: &self.arrays, results: &Owned::default() };
        table::call(number(operation)?, &mut self.memory, Some(config), outside, None, None)?;
        Ok(self.memory.results[1] as u32)
    }
}

/// Returns the number of the operation with this name.
///
/// # Errors
/// `INTERNAL` if there is none.
pub fn number(operation: &str) -> Result<u32> {
    let found = OPERATIONS.iter().position(|candidate| candidate.name == operation);
    let found = found.ok_or_else(|| Error::new(Code::Internal, "operation", "a name in the table", operation))?;
    Ok(found as u32)
}

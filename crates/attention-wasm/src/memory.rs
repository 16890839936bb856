//! Copies between JavaScript's arrays and this module's memory, refused with a `MEMORY` error where there is no room.

use js_sys::{Float32Array, Float64Array, Int32Array, Uint8Array};
use ruvector_attention::Error;

use crate::{Result, thrown};

/// A typed array of `T`.
pub(crate) trait Typed<T: Copy> {
    fn len(&self) -> usize;
    /// Copies the whole array behind the end of `target`, which has room for it.
    fn append_to(&self, target: &mut Vec<T>);
    fn copy_from_slice(&self, source: &[T]);
}

macro_rules! typed {
    ($($array:ident: $element:ty),*) => {$(
        impl Typed<$element> for $array {
            fn len(&self) -> usize {
                self.length() as usize
            }

            fn append_to(&self, target: &mut Vec<$element>) {
                let len = Typed::len(self);
                self.copy_to_uninit(&mut target.spare_capacity_mut()[..len]);
                // SAFETY: the copy has initialised `len` elements behind the old end.
                unsafe { target.set_len(target.len() + len) };
            }

            fn copy_from_slice(&self, source: &[$element]) {
                self.copy_from(source);
            }
        }
    )*};
}

typed!(Float32Array: f32, Float64Array: f64, Int32Array: i32, Uint8Array: u8);

fn with_capacity<T>(argument: &str, len: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(len).map_err(|_| thrown(Error::memory(argument, len)))?;
    Ok(vector)
}

/// The array's elements in this module's memory.
pub(crate) fn copy_in<T: Copy, A: Typed<T>>(argument: &str, array: &A) -> Result<Vec<T>> {
    let mut vector = with_capacity(argument, array.len())?;
    array.append_to(&mut vector);
    Ok(vector)
}

/// [`copy_in`] for an argument that may be absent.
pub(crate) fn copy_in_optional<T: Copy, A: Typed<T>>(argument: &str, array: Option<&A>) -> Result<Option<Vec<T>>> {
    array.map(|array| copy_in(argument, array)).transpose()
}

/// Memory for a result, and the array that it goes to.
pub(crate) struct Output<'a, T, A> {
    memory: Vec<T>,
    array: &'a A,
}

impl<'a, T: Copy + Default, A: Typed<T>> Output<'a, T, A> {
    pub(crate) fn new(argument: &str, array: &'a A) -> Result<Self> {
        let mut memory = with_capacity(argument, array.len())?;
        memory.resize(array.len(), T::default());
        Ok(Self { memory, array })
    }

    pub(crate) fn optional(argument: &str, array: Option<&'a A>) -> Result<Option<Self>> {
        array.map(|array| Self::new(argument, array)).transpose()
    }

    pub(crate) fn memory(&mut self) -> &mut [T] {
        &mut self.memory
    }

    pub(crate) fn copy_out(&self) {
        self.array.copy_from_slice(&self.memory);
    }
}

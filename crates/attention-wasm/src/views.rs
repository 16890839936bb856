//! The arrays of a large call, which stays in JavaScript's memory and is read and written in parts.

use std::cell::RefCell;
use std::slice;

use js_sys::{Array, Float32Array, Uint8Array};
use ruvector_attention::{Code, Error, Result};
#[cfg(feature = "training")]
use ruvector_attention_calls::Remote;
use ruvector_attention_calls::{Distant, Element};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::memory::TypedArray;

#[wasm_bindgen]
extern "C" {
    /// Throws if the engine has no memory for `len` elements.
    #[wasm_bindgen(js_name = Float32Array)]
    type Floats;
    #[wasm_bindgen(constructor, catch, js_class = "Float32Array")]
    fn new(len: u32) -> std::result::Result<Floats, JsValue>;
}

/// The arrays of a call and the results that it creates.
pub(crate) struct Views<'a> {
    arrays: &'a [TypedArray],
    out: Option<&'a Float32Array>,
    /// The results and the bytes of each.
    results: RefCell<Vec<(JsValue, Uint8Array)>>,
}

impl<'a> Views<'a> {
    pub(crate) fn new(arrays: &'a [TypedArray], out: Option<&'a Float32Array>) -> Self {
        Self { arrays, out, results: RefCell::default() }
    }

    /// Returns the results; the first one is the caller's own array if there is one.
    pub(crate) fn into_results(self) -> Array {
        self.results.into_inner().into_iter().map(|(array, _)| array).collect()
    }
}

/// Copies floats of an array, starting at `start`.
fn read(bytes: &Uint8Array, start: usize, target: &mut [f32]) {
    let part = part(bytes, start, target.len(), size_of::<f32>());
    // SAFETY: a mutable borrow of the numbers' bytes; numbers may have any bits.
    part.copy_to(unsafe { slice::from_raw_parts_mut(target.as_mut_ptr().cast(), size_of_val(target)) });
}

/// Overwrites floats of an array, starting at `start`.
fn write(bytes: &Uint8Array, start: usize, source: &[f32]) {
    let part = part(bytes, start, source.len(), size_of::<f32>());
    // SAFETY: a borrow of the numbers' bytes.
    part.copy_from(unsafe { slice::from_raw_parts(source.as_ptr().cast(), size_of_val(source)) });
}

/// Returns the bytes of `len` elements of `size` bytes each, from `start` on.
fn part(bytes: &Uint8Array, start: usize, len: usize, size: usize) -> Uint8Array {
    bytes.subarray((start * size) as u32, ((start + len) * size) as u32)
}

impl Distant for Views<'_> {
    fn len(&self, array: usize) -> usize {
        self.arrays.get(array).map_or(0, |array| array.len)
    }

    fn read(&self, array: usize, start: usize, target: &mut [f32]) {
        read(&self.arrays[array].bytes, start, target);
    }

    fn read_bytes(&self, array: usize, start: usize, target: &mut [u8]) {
        part(&self.arrays[array].bytes, start, target.len(), 1).copy_to(target);
    }

    fn read_integers(&self, array: usize, target: &mut [i32]) {
        let bytes = &self.arrays[array].bytes;
        // SAFETY: a mutable borrow of the numbers' bytes; numbers may have any bits.
        bytes.copy_to(unsafe { slice::from_raw_parts_mut(target.as_mut_ptr().cast(), size_of_val(target)) });
    }

    fn create(&self, name: &str, len: u64) -> Result<()> {
        let mut results = self.results.borrow_mut();
        let array: JsValue = match self.out.filter(|_| results.is_empty()) {
            Some(out) if u64::from(out.length()) == len => out.into(),
            Some(out) => {
                let actual = format_args!("a length of {}", out.length());
                return Err(Error::shape("out", format_args!("a length of {len}"), actual));
            }
            None => {
                let array = u32::try_from(len).ok().and_then(|len| Floats::new(len).ok());
                let expected = "a size that fits into memory";
                array.ok_or_else(|| Error::new(Code::Memory, name, expected, format_args!("{len} elements")))?.into()
            }
        };
        let TypedArray { bytes, .. } = TypedArray::new(Element::F32, &array);
        results.push((array, bytes));
        Ok(())
    }

    fn write(&self, result: usize, start: usize, source: &[f32]) {
        write(&self.results.borrow()[result].1, start, source);
    }
}

#[cfg(feature = "training")]
impl Remote for TypedArray {
    fn count(&self) -> usize {
        self.len
    }

    fn read(&self, start: usize, target: &mut [f32]) {
        read(&self.bytes, start, target);
    }

    fn write(&self, start: usize, source: &[f32]) {
        write(&self.bytes, start, source);
    }
}

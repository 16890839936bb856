//! One range of this module's memory for all arrays of a call: at most one allocation, one copy in and one copy out.

use std::cell::Cell;
use std::mem::{MaybeUninit, take};
use std::slice;

use js_sys::{Float32Array, Float64Array, Int8Array, Int32Array, Uint8Array, Uint16Array};
use ruvector_attention::memory::ReuseCount;
use ruvector_attention::{Error, Result};
use ruvector_attention_calls::{Array, Element, OwnedArray};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

/// The maximum of memory to keep for the next call. Small, because kept memory is unavailable to others, and a large
/// call can afford an allocation.
const KEPT_BYTES: usize = 1 << 20;

type Word = MaybeUninit<u64>;

thread_local! {
    static REUSE: Cell<Vec<Word>> = const { Cell::new(Vec::new()) };
    static COUNTED: Cell<ReuseCount> = const { Cell::new(ReuseCount::NEW) };
}

/// The memory of one call.
pub(crate) struct Memory(Vec<Word>);

impl Memory {
    /// Allocates `count` words, or returns a `MEMORY` error.
    pub(crate) fn new(count: u64) -> Result<Self> {
        let mut words = REUSE.take();
        let length = usize::try_from(count).unwrap_or(usize::MAX);
        let mut counted = COUNTED.get();
        counted.count(length.saturating_mul(size_of::<Word>()), words.capacity() * size_of::<Word>());
        COUNTED.set(counted);
        if words.try_reserve_exact(length).is_err() {
            return Err(Error::memory("arrays", length));
        }
        Ok(Self(words))
    }

    /// Returns all of the memory, to be divided into arrays.
    pub(crate) fn rest(&mut self) -> Rest<'_> {
        Rest(self.0.spare_capacity_mut())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.0.capacity() * size_of::<Word>() <= KEPT_BYTES {
            REUSE.set(take(&mut self.0));
        }
    }
}

/// The unused part of a call's memory.
pub(crate) struct Rest<'a>(&'a mut [MaybeUninit<Word>]);

impl<'a> Rest<'a> {
    /// Takes `words` words.
    fn take(&mut self, words: usize) -> &'a mut [MaybeUninit<Word>] {
        let (part, rest) = take(&mut self.0).split_at_mut(words);
        self.0 = rest;
        part
    }
}

/// A JavaScript array of any class that calls accept.
pub(crate) struct TypedArray {
    pub element: Element,
    pub len: usize,
    /// The bytes of its elements.
    pub bytes: Uint8Array,
}

impl TypedArray {
    /// Wraps an array whose class matches the element type. The array's own members are never used: a member defined by
    /// the caller would run in the middle of the call, and its prototype may belong to another realm.
    pub(crate) fn new(element: Element, array: &JsValue) -> Self {
        let plain = Uint8Array::new_from_slice(&[]);
        let get = |name| get_inherited(&plain, name, array);
        let number = |name| get(name).as_f64().unwrap_or(0.0);
        let len = number("byteLength") as u32;
        // A detached array has no buffer to view.
        let bytes = match len {
            0 => plain.clone(),
            _ => Bytes::view(&get("buffer"), number("byteOffset"), len).unchecked_into(),
        };
        Self { element, len: len as usize / element.size(), bytes }
    }

    /// Returns the number of words that a copy takes.
    pub(crate) fn words(&self) -> u64 {
        (self.len as u64 * self.element.size() as u64).div_ceil(size_of::<Word>() as u64)
    }

    /// Copies the array.
    pub(crate) fn copy<'a>(&self, rest: &mut Rest<'a>) -> Array<'a> {
        let words = rest.take(self.words() as usize);
        let bytes = self.len * self.element.size();
        // SAFETY: bytes may have any bits, and the words have the same length; each of them is written once.
        let target = unsafe { slice::from_raw_parts_mut(words.as_mut_ptr().cast::<MaybeUninit<u8>>(), bytes) };
        self.bytes.copy_to_uninit(target);
        // SAFETY: the words were just filled, and are aligned for any element.
        unsafe { Array::from_raw(self.element, words.as_ptr().cast(), self.len) }
    }
}

#[wasm_bindgen]
extern "C" {
    /// `Reflect.get`: calls a getter that `owner` inherits on `array`.
    #[wasm_bindgen(js_namespace = Reflect, js_name = get)]
    fn get_inherited(owner: &Uint8Array, name: &str, array: &JsValue) -> JsValue;

    #[wasm_bindgen(js_name = Uint8Array)]
    type Bytes;

    /// Views part of a buffer, which may be larger than 4 GiB: hence the type of `start`.
    #[wasm_bindgen(constructor, js_class = "Uint8Array")]
    fn view(buffer: &JsValue, start: f64, len: u32) -> Bytes;
}

/// Creates a typed array with the elements of a result.
pub(crate) fn into_value(result: &OwnedArray) -> JsValue {
    let bytes = Uint8Array::new_from_slice(result.as_bytes());
    let buffer = bytes.buffer();
    match result.element {
        Element::F32 => Float32Array::new(&buffer).into(),
        Element::F64 => Float64Array::new(&buffer).into(),
        Element::U16 => Uint16Array::new(&buffer).into(),
        Element::I8 => Int8Array::new(&buffer).into(),
        Element::U8 => bytes.into(),
        Element::I32 => Int32Array::new(&buffer).into(),
    }
}

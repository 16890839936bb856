//! One stretch of this module's memory for all arrays of a call: one allocation at most, one copy in, one copy out.

use std::cell::Cell;
use std::mem::{MaybeUninit, take};
use std::slice;

use js_sys::{Float32Array, Float64Array, Int8Array, Int32Array, Uint8Array, Uint16Array};
use ruvector_attention::memory::Kept;
use ruvector_attention::{Error, Result};
use ruvector_attention_calls::{Array, Element, OwnedArray};
use wasm_bindgen::{JsCast, JsValue};

/// Memory that is kept for the next call. Small: what is kept is missing elsewhere, and large calls have work to do beside.
const KEPT_BYTES: usize = 1 << 20;

type Word = MaybeUninit<u64>;

thread_local! {
    static KEPT: Cell<Vec<Word>> = const { Cell::new(Vec::new()) };
    static COUNTED: Cell<Kept> = const { Cell::new(Kept::NEW) };
}

/// The memory of one call.
pub(crate) struct Memory(Vec<Word>);

impl Memory {
    /// Room for so many words, or a `MEMORY` error.
    pub(crate) fn new(count: u64) -> Result<Self> {
        let mut words = KEPT.take();
        let length = usize::try_from(count).unwrap_or(usize::MAX);
        let mut counted = COUNTED.get();
        counted.count(length.saturating_mul(size_of::<Word>()), words.capacity() * size_of::<Word>());
        COUNTED.set(counted);
        if words.try_reserve_exact(length).is_err() {
            return Err(Error::memory("arrays", length));
        }
        Ok(Self(words))
    }

    /// All of it, to be cut into arrays.
    pub(crate) fn rest(&mut self) -> Rest<'_> {
        Rest(self.0.spare_capacity_mut())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.0.capacity() * size_of::<Word>() <= KEPT_BYTES {
            KEPT.set(take(&mut self.0));
        }
    }
}

/// What of a call's memory is free.
pub(crate) struct Rest<'a>(&'a mut [MaybeUninit<Word>]);

impl<'a> Rest<'a> {
    /// Room for `length` elements of 64 bits or fewer.
    fn take<T>(&mut self, length: usize) -> &'a mut [MaybeUninit<T>] {
        const { assert!(align_of::<T>() <= align_of::<Word>()) };
        let words = length.saturating_mul(size_of::<T>()).div_ceil(size_of::<Word>());
        let (part, rest) = take(&mut self.0).split_at_mut(words);
        self.0 = rest;
        // SAFETY: the part is long enough, aligned for T, borrowed by nobody else, and uninitialised memory may be anything.
        unsafe { slice::from_raw_parts_mut(part.as_mut_ptr().cast(), length) }
    }

    /// A copy of the array.
    pub(crate) fn copy<T: Copy, A: Typed<T>>(&mut self, array: &A) -> &'a [T] {
        let part = self.take(array.len());
        array.read(part);
        // SAFETY: it was just filled.
        unsafe { part.assume_init_ref() }
    }

    /// Zeros, as many as the array has elements.
    pub(crate) fn zeros<T: Copy + Default, A: Typed<T>>(&mut self, array: Option<&A>) -> Option<&'a mut [T]> {
        array.map(|array| {
            let part = self.take(array.len());
            part.fill(MaybeUninit::new(T::default()));
            // SAFETY: it was just filled.
            unsafe { part.assume_init_mut() }
        })
    }
}

/// A typed array of `T`.
pub(crate) trait Typed<T> {
    /// How many elements it has.
    fn len(&self) -> usize;
    /// Fills `target`, which is as long as the array.
    fn read(&self, target: &mut [MaybeUninit<T>]);
}

macro_rules! typed {
    ($($name:ident $array:ident $element:ty;)*) => {
        $(
            impl Typed<$element> for $array {
                fn len(&self) -> usize {
                    self.length() as usize
                }

                fn read(&self, target: &mut [MaybeUninit<$element>]) {
                    self.copy_to_uninit(target);
                }
            }
        )*

        /// A typed array with the elements of a result.
        pub(crate) fn into_value(array: OwnedArray) -> JsValue {
            match array {
                $(OwnedArray::$name(elements) => $array::from(elements.as_slice()).into(),)*
            }
        }

        /// A typed array of any class that calls take.
        pub(crate) enum TypedArray {
            $($name($array),)*
        }

        impl TypedArray {
            /// The array, which is of the class of this element type. Its prototype may be another realm's.
            pub(crate) fn new(element: Element, value: JsValue) -> Self {
                match element {
                    $(Element::$name => Self::$name(value.unchecked_into()),)*
                }
            }

            /// How many elements it has.
            pub(crate) fn len(&self) -> usize {
                match self {
                    $(Self::$name(array) => array.len(),)*
                }
            }

            /// The words that a copy takes.
            pub(crate) fn words(&self) -> u64 {
                match self {
                    $(Self::$name(array) => words_of(Some(array)),)*
                }
            }

            /// A copy of the array.
            pub(crate) fn copy<'a>(&self, rest: &mut Rest<'a>) -> Array<'a> {
                match self {
                    $(Self::$name(array) => Array::$name(rest.copy(array)),)*
                }
            }

            /// The array, for what all classes have.
            pub(crate) fn as_value(&self) -> &JsValue {
                match self {
                    $(Self::$name(array) => array.as_ref(),)*
                }
            }
        }
    };
}

typed! {
    F32 Float32Array f32;
    I32 Int32Array i32;
    U8 Uint8Array u8;
    F64 Float64Array f64;
    U16 Uint16Array u16;
    I8 Int8Array i8;
}

/// The words that an array takes. In 64 bits, since several arrays may be more than this memory has addresses for.
pub(crate) fn words_of<T, A: Typed<T>>(array: Option<&A>) -> u64 {
    array.map_or(0, |array| (array.len() as u64 * size_of::<T>() as u64).div_ceil(size_of::<Word>() as u64))
}

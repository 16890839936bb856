//! The memory of a call, shared by JavaScript and the module, and arrays of any element type.
//!
//! A small call passes no arrays at all: its numbers, its small inputs and its small results are in one [`CallMemory`]
//! visible to both sides. Creating or borrowing an array through a binding costs more than copying a few hundred
//! numbers.

use std::cell::{RefCell, UnsafeCell};
use std::ops::Range;

use ruvector_attention::tensor::try_zeroed;

/// The number of values that describe a call; see [`CallMemory::header`].
pub const HEADER: usize = 512;
/// The number of values that describe its results.
pub const RESULTS: usize = 64;
/// The capacity for small inputs and results of 32-bit floats.
pub const FLOATS: usize = 2048;
/// The capacity for small inputs and results of 32-bit integers.
pub const INTEGERS: usize = 256;
/// The capacity for small inputs of bytes.
pub const BYTES: usize = 1024;

/// One call in the memory layout that both sides of a binding share.
#[repr(C)]
#[derive(Debug)]
pub struct CallMemory {
    /// `[threads, training, part, parts, floats, integers, bytes, objects, id, …]`, then the inputs in the order of the
    /// operation's signature, each `[element, place, rank, dim, …]`, or `[0]` for an absent one.
    ///
    /// - `part` of `parts` is the part to compute;
    /// - `floats`, `integers` and `bytes` are the numbers of elements that inputs occupy in the areas below;
    /// - `place` is the start of an input in the area of its element type, or `−1 − index` in the list of arrays.
    pub header: [f64; HEADER],
    /// After the call, the results in the order of the signature: each is `[element, place, rank, dim, …]` like an
    /// input, `[0]` if absent, or `[7, id]` for an object. The list ends with `[-1]`.
    pub results: [f64; RESULTS],
    /// The area of 32-bit floats.
    pub floats: [f32; FLOATS],
    /// The area of 32-bit integers.
    pub integers: [i32; INTEGERS],
    /// The area of bytes.
    pub bytes: [u8; BYTES],
}

impl CallMemory {
    /// Zeroed memory.
    pub const EMPTY: Self = Self {
        header: [0.0; HEADER],
        results: [0.0; RESULTS],
        floats: [0.0; FLOATS],
        integers: [0; INTEGERS],
        bytes: [0; BYTES],
    };

    /// Copies the memory that another side wrote, in the layout of [`CallMemory`].
    ///
    /// # Panics
    /// If there are too few bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut memory = Self::EMPTY;
        memory.as_mut_bytes().copy_from_slice(&bytes[..size_of::<Self>()]);
        memory
    }

    /// Returns the bytes, as the other side reads them.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the fields are numbers without padding between them.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    fn as_mut_bytes(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_bytes`, and numbers may have any bits.
        unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(self).cast(), size_of::<Self>()) }
    }
}

macro_rules! arrays {
    ($($name:ident $type:ty, $text:literal, $as:ident;)*) => {
        /// Element types, with the numbers used in headers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Element {
            $(#[doc = $text] $name,)*
        }

        impl Element {
            /// Returns the element type with this number; numbers start at 1.
            pub fn of(number: f64) -> Option<Self> {
                const ALL: &[Element] = &[$(Element::$name),*];
                ALL.get((number as usize).wrapping_sub(1)).copied()
            }

            /// Returns the number of the element type in headers.
            pub fn number(self) -> f64 {
                self as u8 as f64 + 1.0
            }

            /// Returns the name of its class of typed arrays.
            pub fn array_name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns the size of one element in bytes.
            pub fn size(self) -> usize {
                match self {
                    $(Self::$name => size_of::<$type>(),)*
                }
            }
        }

        /// A borrowed array of any element type.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum Array<'a> {
            $(#[doc = $text] $name(&'a [$type]),)*
        }

        impl<'a> Array<'a> {
            /// Borrows the array of `len` elements that starts at `data`.
            ///
            /// # Safety
            /// The memory must hold `len` aligned elements of this type, and nothing may write to it during `'a`.
            pub unsafe fn from_raw(element: Element, data: *const u8, len: usize) -> Self {
                match element {
                    $(Element::$name => Self::$name(match len {
                        0 => &[],
                        // SAFETY: guaranteed by the caller.
                        _ => unsafe { std::slice::from_raw_parts(data.cast(), len) },
                    }),)*
                }
            }

            /// Returns the type of the elements.
            pub fn element(self) -> Element {
                match self {
                    $(Self::$name(_) => Element::$name,)*
                }
            }

            /// Returns the number of elements.
            pub fn len(self) -> usize {
                match self {
                    $(Self::$name(array) => array.len(),)*
                }
            }

            /// Returns true if there are no elements.
            pub fn is_empty(self) -> bool {
                self.len() == 0
            }

            /// Returns a range of the elements, or `None` if it is out of bounds.
            pub fn part(self, range: Range<usize>) -> Option<Self> {
                Some(match self {
                    $(Self::$name(array) => Self::$name(array.get(range)?),)*
                })
            }

            $(
                /// Returns the elements, if they have this type.
                pub fn $as(self) -> Option<&'a [$type]> {
                    match self {
                        Self::$name(array) => Some(array),
                        _ => None,
                    }
                }
            )*
        }

        /// A result array of any element type.
        #[derive(Debug)]
        pub enum ArrayMut<'a> {
            $(#[doc = $text] $name(&'a mut [$type]),)*
        }

        impl<'a> ArrayMut<'a> {
            /// Borrows the array of `len` elements that starts at `data`.
            ///
            /// # Safety
            /// The memory must hold `len` aligned elements of this type, and nothing else may access it during `'a`.
            pub unsafe fn from_raw(element: Element, data: *mut u8, len: usize) -> Self {
                match element {
                    $(Element::$name => Self::$name(match len {
                        0 => &mut [],
                        // SAFETY: guaranteed by the caller.
                        _ => unsafe { std::slice::from_raw_parts_mut(data.cast(), len) },
                    }),)*
                }
            }

            /// Returns the type of the elements.
            pub fn element(&self) -> Element {
                match self {
                    $(Self::$name(_) => Element::$name,)*
                }
            }

            /// Returns the number of elements.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$name(array) => array.len(),)*
                }
            }

            /// Returns true if there are no elements.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Returns an empty array of the same type.
            fn empty(&self) -> Self {
                match self {
                    $(Self::$name(_) => Self::$name(&mut []),)*
                }
            }

            /// Splits off the first `len` elements, or all if there are fewer.
            fn split(self, len: usize) -> (Self, Self) {
                match self {
                    $(Self::$name(array) => {
                        let (first, rest) = array.split_at_mut(len.min(array.len()));
                        (Self::$name(first), Self::$name(rest))
                    })*
                }
            }

            /// Returns the same elements, read-only.
            fn into_shared(self) -> Array<'a> {
                match self {
                    $(Self::$name(array) => Array::$name(array),)*
                }
            }

            /// Fills the array with zeros and returns it.
            fn zeroed(self) -> Self {
                match self {
                    $(Self::$name(array) => {
                        array.fill(Default::default());
                        Self::$name(array)
                    })*
                }
            }

            $(
                /// Returns the elements, if they have this type.
                pub fn $as(self) -> Option<&'a mut [$type]> {
                    match self {
                        Self::$name(array) => Some(array),
                        _ => None,
                    }
                }
            )*
        }
    };
}

arrays! {
    F32 f32, "Float32Array", f32;
    F64 f64, "Float64Array", f64;
    U16 u16, "Uint16Array", u16;
    I8 i8, "Int8Array", i8;
    U8 u8, "Uint8Array", u8;
    I32 i32, "Int32Array", i32;
}

/// Allocates results that are too large for the call's memory.
pub trait Results {
    /// Allocates `len` zeros for the next of these results; `None` if memory runs out.
    fn allocate(&self, element: Element, len: usize) -> Option<ArrayMut<'_>>;
}

/// An owned array of any element type.
#[derive(Debug)]
pub struct OwnedArray {
    /// The type of the elements.
    pub element: Element,
    /// The number of elements.
    pub len: usize,
    words: Box<[UnsafeCell<u64>]>,
}

impl OwnedArray {
    /// Returns the elements.
    pub fn as_array(&self) -> Array<'_> {
        // SAFETY: the words are aligned for any element, and all writes to them have ended.
        unsafe { Array::from_raw(self.element, self.words.as_ptr().cast(), self.len) }
    }

    /// Returns the bytes of the elements.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: as in `as_array`.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len * self.element.size()) }
    }
}

/// Owned results in order.
#[derive(Debug, Default)]
pub struct Owned(RefCell<Vec<OwnedArray>>);

impl Owned {
    /// Returns the results.
    pub fn into_arrays(self) -> Vec<OwnedArray> {
        self.0.into_inner()
    }
}

impl Results for Owned {
    fn allocate(&self, element: Element, len: usize) -> Option<ArrayMut<'_>> {
        let count = len.checked_mul(element.size())?.div_ceil(size_of::<u64>());
        let words = try_zeroed::<UnsafeCell<u64>>("output", count).ok()?.into_boxed_slice();
        let data = words.as_ptr().cast::<u8>().cast_mut();
        self.0.borrow_mut().push(OwnedArray { element, len, words });
        // SAFETY: the words do not move while `self` exists, are aligned for any element, and are lent only once.
        Some(unsafe { ArrayMut::from_raw(element, data, len) })
    }
}

/// An area of the call's memory: the inputs stored in it, and the free space after them.
#[derive(Debug)]
pub(crate) struct Area<'a> {
    inputs: Array<'a>,
    rest: ArrayMut<'a>,
    /// The index of the first free element.
    start: usize,
}

impl<'a> Area<'a> {
    /// Creates the area with its first `used` elements occupied.
    pub fn new(area: ArrayMut<'a>, used: usize) -> Self {
        let (inputs, rest) = area.split(used);
        Self { start: inputs.len(), inputs: inputs.into_shared(), rest }
    }

    /// Returns the input of this type that starts at `place`.
    pub fn input(&self, element: Element, place: f64, len: usize) -> Option<Array<'a>> {
        let start = place as usize;
        (self.inputs.element() == element).then_some(())?;
        self.inputs.part(start..start.checked_add(len)?)
    }

    /// Returns zeros for a result of this type, and their start in the area; `None` if they do not fit.
    pub fn take(&mut self, element: Element, len: usize) -> Option<(ArrayMut<'a>, usize)> {
        if self.rest.element() != element || len > self.rest.len() {
            return None;
        }
        let empty = self.rest.empty();
        let (part, rest) = std::mem::replace(&mut self.rest, empty).split(len);
        let place = self.start;
        self.start += len;
        self.rest = rest;
        Some((part.zeroed(), place))
    }
}

//! Typed arrays of any class: borrowed as inputs, and created for results.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::ptr::null_mut;

use napi::bindgen_prelude::{Env, JsValue, Result, Unknown};
use napi::{Status, check_status, sys};
use ruvector_attention_calls::{Array, ArrayMut, CallMemory, Element, Results};

/// The address, length and element type of an array.
#[derive(Clone, Copy)]
pub struct Raw {
    element: Element,
    data: *mut u8,
    len: usize,
}

// SAFETY: a raw array is just an address; whoever borrows from it guarantees that the memory is valid.
unsafe impl Send for Raw {}

macro_rules! classes {
    ($($element:ident $class:ident;)*) => {
        /// Returns the class of typed arrays for an element type.
        fn class_of(element: Element) -> sys::napi_typedarray_type {
            match element {
                $(Element::$element => sys::TypedarrayType::$class,)*
            }
        }

        /// Returns the element type of a class of typed arrays.
        fn element_of(class: sys::napi_typedarray_type) -> Option<Element> {
            [$(Element::$element),*].into_iter().find(|&element| class_of(element) == class)
        }
    };
}

classes! {
    F32 float32_array;
    F64 float64_array;
    U16 uint16_array;
    I8 int8_array;
    U8 uint8_array;
    I32 int32_array;
}

impl Raw {
    /// Borrows the elements.
    ///
    /// # Safety
    /// Nothing may write to the memory, or free it, during `'a`.
    pub unsafe fn borrow<'a>(self) -> Array<'a> {
        // SAFETY: typed arrays are aligned for their elements; the caller guarantees the rest.
        unsafe { Array::from_raw(self.element, self.data, self.len) }
    }

    /// Borrows the elements mutably.
    ///
    /// # Safety
    /// Nothing else may access the memory during `'a`.
    unsafe fn borrow_mut<'a>(self) -> ArrayMut<'a> {
        // SAFETY: as in `borrow`.
        unsafe { ArrayMut::from_raw(self.element, self.data, self.len) }
    }
}

/// Returns the typed arrays in a list.
pub fn of_list(env: &Env, list: &Unknown<'_>) -> Result<Vec<Raw>> {
    let (env, list) = (env.raw(), list.raw());
    let mut count = 0;
    // SAFETY: Node-API calls with values of this scope, on its thread.
    check_status!(unsafe { sys::napi_get_array_length(env, list, &mut count) })?;
    (0..count)
        .map(|index| {
            let (mut value, mut class, mut len, mut data) = (null_mut(), 0, 0, null_mut());
            // SAFETY: as above.
            check_status!(unsafe { sys::napi_get_element(env, list, index, &mut value) })?;
            // SAFETY: as above.
            check_status!(unsafe {
                sys::napi_get_typedarray_info(env, value, &mut class, &mut len, &mut data, null_mut(), null_mut())
            })?;
            let element = element_of(class)
                .ok_or_else(|| napi::Error::new(Status::InvalidArg, "a class of typed arrays that no call takes"))?;
            Ok(Raw { element, data: data.cast(), len })
        })
        .collect()
}

/// Creates a zeroed buffer and returns it with its address. JavaScript's own constructor creates it: when memory runs
/// out, it throws, whereas the Node-API function ends the process.
fn new_buffer(env: sys::napi_env, bytes: usize) -> Result<(sys::napi_value, *mut u8)> {
    let constructor = CALL.get().map(|call| call.constructor).ok_or_else(no_memory)?;
    let (mut function, mut size, mut buffer, mut data) = (null_mut(), null_mut(), null_mut(), null_mut());
    // SAFETY: Node-API calls with values of this scope, on its thread.
    unsafe {
        check_status!(sys::napi_get_reference_value(env, constructor, &mut function))?;
        check_status!(sys::napi_create_double(env, bytes as f64, &mut size))?;
        check_status!(sys::napi_new_instance(env, function, 1, &size, &mut buffer))?;
        check_status!(sys::napi_get_arraybuffer_info(env, buffer, &mut data, null_mut()))?;
    }
    Ok((buffer, data.cast()))
}

fn no_memory() -> napi::Error {
    napi::Error::from_reason("a call before its memory was asked for")
}

/// Creates the typed array of `len` elements over a buffer.
fn over(env: sys::napi_env, element: Element, len: usize, buffer: sys::napi_value) -> Result<sys::napi_value> {
    let mut array = null_mut();
    // SAFETY: Node-API call with values of this scope, on its thread.
    check_status!(unsafe { sys::napi_create_typedarray(env, class_of(element), len, buffer, 0, &mut array) })?;
    Ok(array)
}

/// Creates a list of values, or returns `None` if there are none.
fn list(env: sys::napi_env, values: &[sys::napi_value]) -> Result<Option<Unknown<'static>>> {
    if values.is_empty() {
        return Ok(None);
    }
    let mut list = null_mut();
    // SAFETY: Node-API call with values of this scope, on its thread.
    check_status!(unsafe { sys::napi_create_array_with_length(env, values.len(), &mut list) })?;
    for (index, &value) in values.iter().enumerate() {
        // SAFETY: as above.
        check_status!(unsafe { sys::napi_set_element(env, list, index as u32, value) })?;
    }
    // SAFETY: the list is a valid value of this scope.
    Ok(Some(unsafe { Unknown::from_raw_unchecked(env, list) }))
}

/// Results as JavaScript arrays, created while the call runs on the JavaScript thread.
pub struct Made {
    env: sys::napi_env,
    arrays: RefCell<Vec<sys::napi_value>>,
}

impl Made {
    pub fn new(env: &Env) -> Self {
        Self { env: env.raw(), arrays: RefCell::default() }
    }

    /// Returns the results in order.
    pub fn into_list(self) -> Result<Option<Unknown<'static>>> {
        list(self.env, &self.arrays.into_inner())
    }

    fn create(&self, element: Element, len: usize) -> Result<Raw> {
        let (buffer, data) = new_buffer(self.env, len.saturating_mul(element.size()))?;
        self.arrays.borrow_mut().push(over(self.env, element, len, buffer)?);
        Ok(Raw { element, data, len })
    }
}

impl Results for Made {
    fn allocate(&self, element: Element, len: usize) -> Option<ArrayMut<'_>> {
        let Ok(raw) = self.create(element, len) else {
            // Clear the exception that the engine has thrown.
            let mut exception = null_mut();
            // SAFETY: Node-API call on its thread.
            unsafe { sys::napi_get_and_clear_last_exception(self.env, &mut exception) };
            return None;
        };
        // SAFETY: the array is new, and only this call can reach it until it ends.
        Some(unsafe { raw.borrow_mut() })
    }
}

/// Results created on another thread. Their memory is handed over to JavaScript, so it does not count as the backend's.
#[derive(Default)]
pub struct Elsewhere(RefCell<Vec<Raw>>);

fn layout_of(element: Element, len: usize) -> Option<Layout> {
    Layout::from_size_align(len.checked_mul(element.size())?.max(1), align_of::<f64>()).ok()
}

impl Results for Elsewhere {
    fn allocate(&self, element: Element, len: usize) -> Option<ArrayMut<'_>> {
        // SAFETY: the layout has a size.
        let data = unsafe { System.alloc_zeroed(layout_of(element, len)?) };
        if data.is_null() {
            return None;
        }
        let raw = Raw { element, data, len };
        self.0.borrow_mut().push(raw);
        // SAFETY: the memory is new, large enough, aligned for any element, and lives as long as `self`.
        Some(unsafe { raw.borrow_mut() })
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for raw in self.0.take() {
            free(raw);
        }
    }
}

fn free(Raw { element, data, len }: Raw) {
    if let Some(layout) = layout_of(element, len) {
        // SAFETY: the memory was allocated with this layout, and has no other owner.
        unsafe { System.dealloc(data, layout) };
    }
}

/// Frees the memory of an array after its garbage collection.
unsafe extern "C" fn collected(_: sys::napi_env, _: *mut std::ffi::c_void, raw: *mut std::ffi::c_void) {
    // SAFETY: `adopt` leaked this box for the finalizer.
    free(*unsafe { Box::from_raw(raw.cast::<Raw>()) });
}

impl Elsewhere {
    /// Returns the results as JavaScript arrays, without a copy if the runtime accepts external memory.
    pub fn into_list(self, env: &Env) -> Result<Option<Unknown<'static>>> {
        let env = env.raw();
        let mut arrays = Vec::new();
        for raw in self.0.take() {
            arrays.push(over(env, raw.element, raw.len, adopt(env, raw)?)?);
        }
        list(env, &arrays)
    }
}

/// Creates a buffer that owns the memory, or a copy of it.
fn adopt(env: sys::napi_env, raw: Raw) -> Result<sys::napi_value> {
    let (mut buffer, bytes) = (null_mut(), raw.len * raw.element.size());
    let hint = Box::into_raw(Box::new(raw));
    // SAFETY: only this array uses the memory, and `collected` frees it through its hint.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(env, raw.data.cast(), bytes, Some(collected), hint.cast(), &mut buffer)
    };
    if status == sys::Status::napi_ok {
        return Ok(buffer);
    }
    let copy = new_buffer(env, bytes);
    if let Ok((_, data)) = copy {
        // SAFETY: both hold this number of bytes, and the new buffer has no other user.
        unsafe { std::ptr::copy_nonoverlapping(raw.data, data, bytes) };
    }
    // SAFETY: the runtime did not take ownership of the hint.
    free(*unsafe { Box::from_raw(hint) });
    copy.map(|(buffer, _)| buffer)
}

/// A JavaScript value protected from garbage collection.
pub struct Reference(sys::napi_ref);

// SAFETY: the reference is released only on the thread that created it.
unsafe impl Send for Reference {}

impl Reference {
    pub fn new(env: &Env, value: &Unknown<'_>) -> Result<Self> {
        let mut reference = null_mut();
        // SAFETY: Node-API call with a value of this scope, on its thread.
        check_status!(unsafe { sys::napi_create_reference(env.raw(), value.raw(), 1, &mut reference) })?;
        Ok(Self(reference))
    }

    pub fn release(self, env: &Env) {
        // SAFETY: as above.
        unsafe { sys::napi_delete_reference(env.raw(), self.0) };
    }
}

/// The state that a thread keeps between calls.
#[derive(Clone, Copy)]
struct CallState {
    memory: *mut CallMemory,
    /// A reference that keeps the bytes of `memory` alive.
    bytes: sys::napi_ref,
    /// The constructor `ArrayBuffer`.
    constructor: sys::napi_ref,
}

thread_local! {
    static CALL: Cell<Option<CallState>> = const { Cell::new(None) };
}

/// Returns the bytes of this thread's call memory.
pub fn call_memory(env: &Env) -> Result<Unknown<'static>> {
    let raw = env.raw();
    let mut value = null_mut();
    if let Some(call) = CALL.get() {
        // SAFETY: Node-API call on its thread.
        check_status!(unsafe { sys::napi_get_reference_value(raw, call.bytes, &mut value) })?;
    } else {
        let (size, mut data, mut buffer) = (size_of::<CallMemory>(), null_mut(), null_mut());
        let (mut constructor, mut references) = (null_mut(), [null_mut(); 2]);
        // SAFETY: as above.
        unsafe {
            check_status!(sys::napi_create_arraybuffer(raw, size, &mut data, &mut buffer))?;
            check_status!(sys::napi_get_named_property(raw, buffer, c"constructor".as_ptr(), &mut constructor))?;
            value = over(raw, Element::U8, size, buffer)?;
            check_status!(sys::napi_create_reference(raw, value, 1, &mut references[0]))?;
            check_status!(sys::napi_create_reference(raw, constructor, 1, &mut references[1]))?;
        }
        let [bytes, constructor] = references;
        CALL.set(Some(CallState { memory: data.cast(), bytes, constructor }));
    }
    // SAFETY: the value is a typed array of this scope.
    Ok(unsafe { Unknown::from_raw_unchecked(raw, value) })
}

/// Lends the memory of the current call.
pub fn with_call_memory<T>(run: impl FnOnce(&mut CallMemory) -> T) -> Result<T> {
    let call = CALL.get().ok_or_else(no_memory)?;
    // SAFETY: the buffer is kept alive and has the size and alignment of this memory. It consists of numbers, for which
    // all bits are valid. JavaScript does not run during a call.
    Ok(run(unsafe { &mut *call.memory }))
}

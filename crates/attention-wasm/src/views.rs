//! The arrays of a large call where JavaScript has them, as a call in parts reads and writes them.

use std::slice;

use js_sys::{Float32Array, Int32Array, Uint8Array};
use ruvector_attention_calls::{Lengths, Outside};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::memory::Typed;

#[wasm_bindgen]
extern "C" {
    /// `Reflect.get`: a getter that `owner` inherits, called on `array`.
    #[wasm_bindgen(js_namespace = Reflect, js_name = get)]
    fn get_inherited(owner: &Uint8Array, name: &str, array: &JsValue) -> JsValue;
}

/// The bytes of each array that a call in parts may have.
pub(crate) struct Views {
    inputs: [Option<Uint8Array>; 4],
    bytes: Option<Uint8Array>,
    outputs: [Option<Uint8Array>; 4],
    lengths: Lengths,
}

impl Views {
    pub(crate) fn new(
        inputs: [Option<&Float32Array>; 4],
        bytes: Option<&Uint8Array>,
        outputs: [Option<&Float32Array>; 4],
        indices: Option<&Int32Array>,
    ) -> Self {
        Self {
            lengths: Lengths {
                inputs: inputs.map(length),
                bytes: length(bytes),
                outputs: outputs.map(length),
                indices: length(indices),
            },
            inputs: inputs.map(view),
            bytes: view(bytes),
            outputs: outputs.map(view),
        }
    }
}

fn length<T, A: Typed<T>>(array: Option<&A>) -> Option<usize> {
    array.map(Typed::len)
}

/// The bytes of an array, without asking the array: a member of the caller's own would run in the middle of the call.
fn view<T, A: Typed<T> + AsRef<JsValue>>(array: Option<&A>) -> Option<Uint8Array> {
    let array = array?;
    let plain = Uint8Array::new_from_slice(&[]);
    let get = |name| get_inherited(&plain, name, array.as_ref());
    let start = get("byteOffset").as_f64().unwrap_or(0.0) as u32;
    let length = array.len() * size_of::<T>();
    Some(Uint8Array::new_with_byte_offset_and_length(&get("buffer"), start, length as u32))
}

/// `len` elements of `size` bytes each, from `start` on.
fn part(array: &Option<Uint8Array>, start: usize, len: usize, size: usize) -> Option<Uint8Array> {
    array.as_ref().map(|array| array.subarray((start * size) as u32, ((start + len) * size) as u32))
}

impl Outside for Views {
    fn lengths(&self) -> Lengths {
        self.lengths
    }

    fn read(&self, input: usize, start: usize, target: &mut [f32]) {
        if let Some(part) = part(&self.inputs[input], start, target.len(), size_of::<f32>()) {
            // SAFETY: the bytes of these numbers, borrowed as they are; any bytes are numbers.
            part.copy_to(unsafe { slice::from_raw_parts_mut(target.as_mut_ptr().cast(), size_of_val(target)) });
        }
    }

    fn read_bytes(&self, start: usize, target: &mut [u8]) {
        if let Some(part) = part(&self.bytes, start, target.len(), 1) {
            part.copy_to(target);
        }
    }

    fn write(&self, output: usize, start: usize, source: &[f32]) {
        if let Some(part) = part(&self.outputs[output], start, source.len(), size_of::<f32>()) {
            // SAFETY: the bytes of these numbers, borrowed as they are.
            part.copy_from(unsafe { slice::from_raw_parts(source.as_ptr().cast(), size_of_val(source)) });
        }
    }
}

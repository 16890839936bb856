//! The WebAssembly binding: conversions only. Inputs are copied in and results out, into arrays that JavaScript made: all of
//! them once for a small call, part by part for a large one that has parts.

#![allow(missing_docs, reason = "lib/runtime/binding.d.ts documents the functions of both bindings once")]

mod memory;
mod views;

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use js_sys::{Float32Array, Float64Array, Int32Array, Uint8Array};
use ruvector_attention::Error;
use ruvector_attention::context::{self, Observer};
use ruvector_attention::layers::LoadOptions;
use ruvector_attention::memory::{self as counted, Counting};
use ruvector_attention::simd::Level;
use ruvector_attention_calls::{self as calls, Slots};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use memory::{Memory, words_of};
use views::Views;

type Result<T> = std::result::Result<T, JsValue>;

/// A fifth of the standard library's allocator in size, and as fast.
#[global_allocator]
static ALLOCATOR: Counting<talc::wasm::WasmDynamicTalc> = Counting(talc::wasm::new_wasm_dynamic_allocator());

/// The most numbers that a header has.
const HEADER: usize = 64;

#[wasm_bindgen(start)]
fn start() {
    // A panic ends as a trap, which says nothing: its message has to be thrown before.
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

/// The error as JavaScript gets it: its fields as JSON in the message.
fn thrown(error: Error) -> JsValue {
    js_sys::Error::new(&calls::to_json(&error)).into()
}

#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

#[wasm_bindgen(js_name = simdLevel)]
pub fn simd_level() -> String {
    Level::current().name().into()
}

#[wasm_bindgen(js_name = defaultThreads)]
pub fn default_threads() -> u32 {
    u32::try_from(context::available_threads()).unwrap_or(u32::MAX)
}

#[wasm_bindgen(js_name = memoryUsage)]
pub fn memory_usage() -> Vec<f64> {
    let [allocated, peak] = counted::usage();
    let total = core::arch::wasm32::memory_size::<0>() << 16;
    [allocated, total, peak, counted::needed()].map(|bytes| bytes as f64).into()
}

#[wasm_bindgen(js_name = resetPeak)]
pub fn reset_peak() {
    counted::reset_peak();
}

#[wasm_bindgen]
pub fn operations() -> String {
    calls::operations()
}

#[wasm_bindgen]
pub fn call(
    operation: u32,
    header: &Float64Array,
    options: Option<String>,
    input1: Option<Float32Array>,
    input2: Option<Float32Array>,
    input3: Option<Float32Array>,
    input4: Option<Float32Array>,
    bytes: Option<Uint8Array>,
    integers1: Option<Int32Array>,
    integers2: Option<Int32Array>,
    output1: Option<Float32Array>,
    output2: Option<Float32Array>,
    output3: Option<Float32Array>,
    output4: Option<Float32Array>,
    indices: Option<Int32Array>,
) -> Result<()> {
    let mut numbers = [0.0; HEADER];
    header.copy_to(&mut numbers);
    let inputs = [&input1, &input2, &input3, &input4].map(Option::as_ref);
    let integers = [&integers1, &integers2].map(Option::as_ref);
    let outputs = [&output1, &output2, &output3, &output4].map(Option::as_ref);
    let floats: u64 = inputs.into_iter().chain(outputs).map(words_of).sum();
    let whole: u64 = integers.into_iter().map(words_of).sum();
    let rest = words_of(bytes.as_ref()) + words_of(indices.as_ref());
    let reporter = Reporter::default();
    let observer = REPORTS.get().then_some(&reporter as &dyn Observer);
    if calls::WORDS_IN_PARTS.contains(&(floats + rest)) {
        let views = Views::new(inputs, bytes.as_ref(), outputs, indices.as_ref());
        let mut memory = Memory::new(whole).map_err(thrown)?;
        let mut rest = memory.rest();
        let integers = integers.map(|array| rest.copy(array));
        let done = calls::call_in_parts(operation, &numbers, options.as_deref(), integers, &views, observer);
        if let Some(done) = done {
            return done.map_err(thrown);
        }
    }
    let mut memory = Memory::new(floats + whole + rest).map_err(thrown)?;
    let mut rest = memory.rest();
    let mut slots = Slots {
        inputs: inputs.map(|array| rest.copy(array)),
        bytes: rest.copy(bytes.as_ref()),
        integers: integers.map(|array| rest.copy(array)),
        outputs: outputs.map(|array| rest.zeros(array)),
        indices: rest.zeros(indices.as_ref()),
    };
    calls::call(operation, &numbers, options.as_deref(), slots.reborrow(), observer).map_err(thrown)?;
    for (array, result) in outputs.into_iter().zip(&slots.outputs) {
        if let (Some(array), Some(result)) = (array, result) {
            array.copy_from(result);
        }
    }
    if let (Some(array), Some(result)) = (&indices, &slots.indices) {
        array.copy_from(result);
    }
    Ok(())
}

thread_local! {
    static REPORTS: Cell<bool> = const { Cell::new(false) };
}

/// Whether calls say how far they are, to a function of this name among the globals: that of a worker.
#[wasm_bindgen(js_name = setReports)]
pub fn set_reports(reports: bool) {
    REPORTS.set(reports);
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = reportAttentionProgress)]
    fn report_attention_progress(fraction: f32);
}

/// Says so for each hundredth.
#[derive(Default)]
struct Reporter(AtomicU32);

impl Observer for Reporter {
    fn is_cancelled(&self) -> bool {
        // A worker that is not wanted any more is ended from outside.
        false
    }

    fn progress(&self, fraction: f32) {
        let hundredths = (fraction * 100.0) as u32;
        if self.0.swap(hundredths, Ordering::Relaxed) != hundredths {
            report_attention_progress(fraction);
        }
    }
}

#[wasm_bindgen]
pub fn create(kind: &str, config: &str, integers1: Option<Int32Array>, integers2: Option<Int32Array>) -> Result<u32> {
    let integers = [&integers1, &integers2].map(Option::as_ref);
    let mut memory = Memory::new(integers.into_iter().map(words_of).sum()).map_err(thrown)?;
    let mut rest = memory.rest();
    calls::create(kind, config, integers.map(|array| rest.copy(array))).map_err(thrown)
}

#[wasm_bindgen]
pub fn hold(id: u32) -> Result<u32> {
    calls::hold(id).map_err(thrown)
}

#[wasm_bindgen]
pub fn free(id: u32) {
    calls::free(id);
}

#[wasm_bindgen]
pub fn describe(id: u32) -> Result<String> {
    calls::describe(id).map_err(thrown)
}

#[wasm_bindgen(js_name = stateEntries)]
pub fn state_entries(id: u32) -> Result<String> {
    calls::state_entries(id).map_err(thrown)
}

#[wasm_bindgen(js_name = readState)]
pub fn read_state(id: u32, index: u32, output: &Float32Array) -> Result<()> {
    let mut memory = Memory::new(words_of(Some(output))).map_err(thrown)?;
    let values = memory.rest().zeros(Some(output)).unwrap_or_default();
    calls::read_state(id, index, values).map_err(thrown)?;
    output.copy_from(values);
    Ok(())
}

#[wasm_bindgen(js_name = loadState)]
pub fn load_state(id: u32, entries: &str, data: Vec<Float32Array>, prefix: &str, strict: bool) -> Result<()> {
    with_data(&data, |data| calls::load_state(id, entries, data, LoadOptions { prefix, strict }))
}

/// Calls with copies of the arrays.
fn with_data<T>(arrays: &[Float32Array], call: impl FnOnce(&[&[f32]]) -> std::result::Result<T, Error>) -> Result<T> {
    let mut memory = Memory::new(arrays.iter().map(|array| words_of(Some(array))).sum()).map_err(thrown)?;
    let mut rest = memory.rest();
    let data: Vec<&[f32]> = arrays.iter().filter_map(|array| rest.copy(Some(array))).collect();
    call(&data).map_err(thrown)
}

//! The WebAssembly binding: conversions only. Inputs are copied in, and results out into arrays created by JavaScript:
//! all at once for a small call, part by part for a large call that can be split.

#![allow(missing_docs, reason = "lib/binding.d.ts documents the functions of both bindings once")]

mod memory;
mod views;

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU32, Ordering};

use js_sys::{Array, Float32Array, Uint8Array};
use ruvector_attention::Error;
use ruvector_attention::context::{self, Observer};
use ruvector_attention::layers::LoadOptions;
use ruvector_attention::memory::{self as counted, Counting};
use ruvector_attention::simd::Level;
use ruvector_attention::tensor::try_zeroed;
use ruvector_attention_calls::{self as calls, CallMemory, Element, Outside, Owned};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use memory::{Memory, TypedArray};
use views::Views;

type Result<T> = std::result::Result<T, JsValue>;

/// A fifth of the size of the standard library's allocator, and just as fast.
#[global_allocator]
static ALLOCATOR: Counting<talc::wasm::WasmDynamicTalc> = Counting(talc::wasm::new_wasm_dynamic_allocator());

#[wasm_bindgen(start)]
fn start() {
    // A panic ends in a trap without a message, so throw the message first.
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

/// Converts an error for JavaScript: its message is JSON with the fields.
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

thread_local! {
    /// The memory of the current call.
    static CALL: UnsafeCell<CallMemory> = const { UnsafeCell::new(CallMemory::EMPTY) };
}

/// Returns the bytes of the call memory; the view is valid until this module's memory grows.
#[wasm_bindgen(js_name = callMemory)]
pub fn call_memory() -> Uint8Array {
    // SAFETY: lib/ writes to it only while no call runs, and the memory belongs to this thread for good.
    CALL.with(|call| unsafe { Uint8Array::view_mut_raw(call.get().cast(), size_of::<CallMemory>()) })
}

/// Lends the memory of the current call.
fn with_memory<T>(run: impl FnOnce(&mut CallMemory) -> T) -> T {
    // SAFETY: a call ends before the next one starts. During a call JavaScript runs only to receive its progress, and
    // then starts no call.
    CALL.with(|call| run(unsafe { &mut *call.get() }))
}

#[wasm_bindgen]
pub fn divisible(operation: u32, options: Option<String>) -> Result<f64> {
    with_memory(|memory| calls::divisible(operation, memory, options.as_deref()))
        .map(|operations| operations as f64)
        .map_err(thrown)
}

#[wasm_bindgen]
pub fn call(
    operation: u32,
    options: Option<String>,
    arrays: Option<Array>,
    out: Option<Float32Array>,
) -> Result<Option<Array>> {
    let options = options.as_deref();
    let arrays: Vec<TypedArray> = match arrays {
        Some(arrays) => with_memory(|memory| calls::elements_outside(operation, memory))
            .map_err(thrown)?
            .into_iter()
            .zip(arrays.iter())
            .map(|(element, array)| TypedArray::new(element, &array))
            .collect(),
        None => Vec::new(),
    };
    let reporter = Reporter::default();
    let observer = REPORTS.get().then_some(&reporter as &dyn Observer);
    let elements = arrays.iter().map(|array| array.len as u64).sum();
    if calls::PARTS_FROM.contains(&elements) {
        let views = Views::new(&arrays, out.as_ref());
        let run = |memory: &mut CallMemory| calls::call_in_parts(operation, memory, options, &views, observer);
        if let Some(done) = with_memory(run) {
            return done.map(|()| Some(views.into_results())).map_err(thrown);
        }
    }
    let words = arrays.iter().map(TypedArray::words).sum();
    let mut memory = Memory::new(words).map_err(thrown)?;
    let mut rest = memory.rest();
    let copies: Vec<calls::Array<'_>> = arrays.iter().map(|array| array.copy(&mut rest)).collect();
    let results = Owned::default();
    let mut written = out.as_ref().map(|out| vec![0.0; out.length() as usize]);
    let outside = Outside { arrays: &copies, results: &results };
    with_memory(|memory| calls::call(operation, memory, options, outside, written.as_deref_mut(), observer))
        .map_err(thrown)?;
    if let (Some(out), Some(written)) = (out, written) {
        out.copy_from(&written);
    }
    let results: Array = results.into_arrays().iter().map(memory::into_value).collect();
    Ok((results.length() > 0).then_some(results))
}

thread_local! {
    static REPORTS: Cell<bool> = const { Cell::new(false) };
}

/// Turns progress reports on or off. Reports go to `reportAttentionProgress`, a global function that a worker defines.
#[wasm_bindgen(js_name = setReports)]
pub fn set_reports(reports: bool) {
    REPORTS.set(reports);
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = reportAttentionProgress)]
    fn report_attention_progress(fraction: f32);
}

/// Reports progress at every hundredth.
#[derive(Default)]
struct Reporter(AtomicU32);

impl Observer for Reporter {
    fn is_cancelled(&self) -> bool {
        // A worker whose call is cancelled is terminated from outside.
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
pub fn hold(id: u32) -> Result<u32> {
    calls::hold(id).map_err(thrown)
}

#[wasm_bindgen(js_name = bytesOf)]
pub fn bytes_of(id: u32) -> Result<f64> {
    calls::bytes_of(id).map(|bytes| bytes as f64).map_err(thrown)
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
    let mut values = try_zeroed("arrays", output.length() as usize).map_err(thrown)?;
    calls::read_state(id, index, &mut values).map_err(thrown)?;
    output.copy_from(&values);
    Ok(())
}

#[wasm_bindgen(js_name = loadState)]
pub fn load_state(id: u32, entries: &str, data: Vec<Float32Array>, prefix: &str, strict: bool) -> Result<()> {
    let arrays: Vec<TypedArray> = data.iter().map(|array| TypedArray::new(Element::F32, array)).collect();
    let mut memory = Memory::new(arrays.iter().map(TypedArray::words).sum()).map_err(thrown)?;
    let mut rest = memory.rest();
    let data: Vec<&[f32]> = arrays.iter().filter_map(|array| array.copy(&mut rest).f32()).collect();
    calls::load_state(id, entries, &data, LoadOptions { prefix, strict }).map_err(thrown)
}

#[cfg(feature = "training")]
#[wasm_bindgen]
pub fn step(plan: &str, gradients: Vec<Float32Array>, parameters: Vec<Float32Array>) -> Result<()> {
    let typed = |arrays: &[Float32Array]| -> Vec<TypedArray> {
        arrays.iter().map(|array| TypedArray::new(Element::F32, array)).collect()
    };
    let (gradients, parameters) = (typed(&gradients), typed(&parameters));
    let gradients: Vec<_> = gradients.iter().map(|array| calls::Gradient::Remote(array)).collect();
    let parameters = parameters.iter().map(|array| calls::Parameter::Remote(array)).collect();
    calls::step(plan, &gradients, parameters).map_err(thrown)
}

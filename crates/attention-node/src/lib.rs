//! The Node-API binding: conversions only. Typed arrays are borrowed, results written into arrays that JavaScript made.

#![allow(missing_docs, reason = "lib/runtime/binding.d.ts documents the functions of both bindings once")]

mod later;

use std::alloc::System;
use std::sync::atomic::{AtomicUsize, Ordering};

use napi::bindgen_prelude::{Env, Float32ArraySlice, Float64Array, Int32ArraySlice, Object, Result, Uint8ArraySlice};
use napi_derive::napi;
use ruvector_attention::layers::LoadOptions;
use ruvector_attention::memory::{self, Counting};
use ruvector_attention::simd::Level;
use ruvector_attention::{Error, context};
use ruvector_attention_calls::{self as calls, Slots};

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Environments (the main thread and workers) that have the addon loaded.
static ENVIRONMENTS: AtomicUsize = AtomicUsize::new(0);

#[napi(module_exports)]
pub fn register(_exports: Object, env: Env) -> Result<()> {
    ENVIRONMENTS.fetch_add(1, Ordering::SeqCst);
    env.add_env_cleanup_hook((), |()| {
        // Threads that outlive the process's environments crash it at exit.
        if ENVIRONMENTS.fetch_sub(1, Ordering::SeqCst) == 1 {
            context::shut_down();
        }
    })?;
    Ok(())
}

/// The error as JavaScript gets it: its fields as JSON in the message.
fn thrown(error: Error) -> napi::Error {
    napi::Error::from_reason(calls::to_json(&error))
}

/// The memory of an array that a result is written to.
fn output<'a>(array: &'a mut Float32ArraySlice<'_>) -> &'a mut [f32] {
    // SAFETY: the call runs on the thread that owns the array; lib/ sees to it that no input shares its memory.
    unsafe { array.as_mut() }
}

#[napi(catch_unwind)]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[napi(catch_unwind)]
pub fn simd_level() -> &'static str {
    Level::current().name()
}

#[napi(catch_unwind)]
pub fn default_threads() -> u32 {
    u32::try_from(context::available_threads()).unwrap_or(u32::MAX)
}

#[napi(catch_unwind)]
pub fn memory_usage() -> Float64Array {
    let [allocated, peak] = memory::usage();
    // What is freed goes back to the process at once.
    Float64Array::new([allocated, allocated, peak, memory::needed()].map(|bytes| bytes as f64).into())
}

#[napi(catch_unwind)]
pub fn reset_peak() {
    memory::reset_peak();
}

#[napi(catch_unwind)]
pub fn operations() -> String {
    calls::operations()
}

#[napi(catch_unwind)]
pub fn call(
    operation: u32,
    header: &[f64],
    options: Option<String>,
    input1: Option<Float32ArraySlice>,
    input2: Option<Float32ArraySlice>,
    input3: Option<Float32ArraySlice>,
    input4: Option<Float32ArraySlice>,
    bytes: Option<Uint8ArraySlice>,
    integers1: Option<Int32ArraySlice>,
    integers2: Option<Int32ArraySlice>,
    mut output1: Option<Float32ArraySlice>,
    mut output2: Option<Float32ArraySlice>,
    mut output3: Option<Float32ArraySlice>,
    mut output4: Option<Float32ArraySlice>,
    mut indices: Option<Int32ArraySlice>,
) -> Result<()> {
    let slots = Slots {
        inputs: [input1.as_deref(), input2.as_deref(), input3.as_deref(), input4.as_deref()],
        bytes: bytes.as_deref(),
        integers: [integers1.as_deref(), integers2.as_deref()],
        outputs: [
            output1.as_mut().map(output),
            output2.as_mut().map(output),
            output3.as_mut().map(output),
            output4.as_mut().map(output),
        ],
        // SAFETY: the call runs on the thread that owns the array, which lib/ made for this call.
        indices: indices.as_mut().map(|array| unsafe { array.as_mut() }),
    };
    calls::call(operation, header, options.as_deref(), slots, None).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn create(
    kind: String,
    config: String,
    integers1: Option<Int32ArraySlice>,
    integers2: Option<Int32ArraySlice>,
) -> Result<u32> {
    calls::create(&kind, &config, [integers1.as_deref(), integers2.as_deref()]).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn hold(id: u32) -> Result<u32> {
    calls::hold(id).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn free(id: u32) {
    calls::free(id);
}

#[napi(catch_unwind)]
pub fn describe(id: u32) -> Result<String> {
    calls::describe(id).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn state_entries(id: u32) -> Result<String> {
    calls::state_entries(id).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn read_state(id: u32, index: u32, mut out: Float32ArraySlice) -> Result<()> {
    calls::read_state(id, index, output(&mut out)).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn load_state(id: u32, entries: String, data: Vec<Float32ArraySlice>, prefix: String, strict: bool) -> Result<()> {
    let data: Vec<&[f32]> = data.iter().map(AsRef::as_ref).collect();
    calls::load_state(id, &entries, &data, LoadOptions { prefix: &prefix, strict }).map_err(thrown)
}

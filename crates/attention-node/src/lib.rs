//! The Node-API binding: conversions only. It borrows typed arrays, and writes results into arrays created by
//! JavaScript.

#![allow(missing_docs, reason = "lib/binding.d.ts documents the functions of both bindings once")]

mod arrays;
mod async_call;

use std::alloc::System;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrays::Made;
use napi::bindgen_prelude::{Env, Float32ArraySlice, Float64Array, Object, Result, Unknown};
use napi_derive::napi;
use ruvector_attention::layers::LoadOptions;
use ruvector_attention::memory::{self, Counting};
use ruvector_attention::simd::Level;
use ruvector_attention::simd::amx::TileUnit;
use ruvector_attention::{Error, context};
use ruvector_attention_calls::{self as calls, Gradient, Outside, Parameter};

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

/// Converts an error for JavaScript: its message is JSON with the fields.
fn thrown(error: Error) -> napi::Error {
    napi::Error::from_reason(calls::to_json(&error))
}

/// Returns the memory of an array that a result is written to.
fn output<'a>(array: &'a mut Float32ArraySlice<'_>) -> &'a mut [f32] {
    // SAFETY: the call runs on the thread that owns the array; lib/ ensures that no input shares its memory.
    unsafe { array.as_mut() }
}

#[napi(catch_unwind)]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[napi(catch_unwind)]
pub fn simd_level() -> &'static str {
    TileUnit::current().map_or_else(|| Level::current().name(), TileUnit::name)
}

#[napi(catch_unwind)]
pub fn request_amx() -> Option<&'static str> {
    TileUnit::request().err()
}

#[napi(catch_unwind)]
pub fn default_threads() -> u32 {
    u32::try_from(context::available_threads()).unwrap_or(u32::MAX)
}

#[napi(catch_unwind)]
pub fn memory_usage() -> Float64Array {
    let [allocated, peak] = memory::usage();
    // Freed memory returns to the process at once, so the allocated bytes are reported twice.
    Float64Array::new([allocated, allocated, peak, memory::needed()].map(|bytes| bytes as f64).into())
}

#[napi(catch_unwind)]
pub fn reset_peak() {
    memory::reset_peak();
}

#[napi(catch_unwind, ts_return_type = "Uint8Array")]
pub fn call_memory(env: Env) -> Result<Unknown<'static>> {
    arrays::call_memory(&env)
}

#[napi(catch_unwind, ts_return_type = "unknown[] | null")]
pub fn call(
    env: Env,
    operation: u32,
    options: Option<String>,
    arrays: Option<Unknown>,
    mut out: Option<Float32ArraySlice>,
) -> Result<Option<Unknown<'static>>> {
    let inputs = arrays.as_ref().map_or_else(|| Ok(Vec::new()), |arrays| arrays::of_list(&env, arrays))?;
    // SAFETY: the call runs on the thread that owns the arrays; lib/ ensures that no result shares their memory.
    let inputs: Vec<calls::Array<'_>> = inputs.into_iter().map(|array| unsafe { array.borrow() }).collect();
    let results = Made::new(&env);
    let outside = Outside { arrays: &inputs, results: &results };
    let out = out.as_mut().map(output);
    let done =
        arrays::with_call_memory(|memory| calls::call(operation, memory, options.as_deref(), outside, out, None))?;
    report_growth(&env)?;
    done.map_err(thrown)?;
    results.into_list()
}

/// Reports the growth of objects to the engine, whose garbage collector cannot see this memory.
fn report_growth(env: &Env) -> Result<()> {
    match calls::take_growth() {
        0 => Ok(()),
        growth => env.adjust_external_memory(growth).map(drop),
    }
}

#[napi(catch_unwind)]
pub fn hold(id: u32) -> Result<u32> {
    calls::hold(id).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn free(env: Env, id: u32) -> Result<()> {
    calls::free(id);
    report_growth(&env)
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
pub fn load_state(
    env: Env,
    id: u32,
    entries: String,
    data: Vec<Float32ArraySlice>,
    prefix: String,
    strict: bool,
) -> Result<()> {
    let data: Vec<&[f32]> = data.iter().map(AsRef::as_ref).collect();
    calls::load_state(id, &entries, &data, LoadOptions { prefix: &prefix, strict }).map_err(thrown)?;
    report_growth(&env)
}

#[napi(catch_unwind)]
pub fn step(
    env: Env,
    plan: String,
    gradients: Vec<Float32ArraySlice>,
    mut parameters: Vec<Float32ArraySlice>,
) -> Result<()> {
    let gradients: Vec<Gradient<'_>> = gradients.iter().map(|array| Gradient::Lent(array.as_ref())).collect();
    let parameters = parameters.iter_mut().map(|array| Parameter::Lent(output(array))).collect();
    let done = calls::step(&plan, &gradients, parameters);
    report_growth(&env)?;
    done.map_err(thrown)
}

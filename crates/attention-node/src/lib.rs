//! The Node-API binding: conversions only. Typed arrays are borrowed, results written into arrays that JavaScript made.

#![allow(missing_docs, reason = "lib/binding.d.ts documents the functions of both bindings once")]

mod layers;
mod weights;

use std::sync::atomic::{AtomicUsize, Ordering};

use napi::bindgen_prelude::{Env, Float32ArraySlice, Int32ArraySlice, Object, Result, Uint8ArraySlice};
use napi_derive::napi;
use ruvector_attention::calls::{self, ArrayOptions};
use ruvector_attention::sdpa::Outputs;
use ruvector_attention::simd::Level;
use ruvector_attention::{Error, threads};

/// Environments (the main thread and workers) that have the addon loaded.
static ENVIRONMENTS: AtomicUsize = AtomicUsize::new(0);

#[napi(module_exports)]
pub fn register(_exports: Object, env: Env) -> Result<()> {
    ENVIRONMENTS.fetch_add(1, Ordering::SeqCst);
    env.add_env_cleanup_hook((), |()| {
        // Threads that outlive the process's environments crash it at exit.
        if ENVIRONMENTS.fetch_sub(1, Ordering::SeqCst) == 1 {
            threads::shut_down();
        }
    })?;
    Ok(())
}

/// The error as JavaScript gets it: its fields as JSON in the message.
fn thrown(error: Error) -> napi::Error {
    napi::Error::from_reason(error.to_json())
}

/// The memory of an array that a result is written to.
fn output<'a>(array: &'a mut Float32ArraySlice<'_>) -> &'a mut [f32] {
    // SAFETY: the call runs on the thread that owns the array; lib/ sees to it that no input shares its memory.
    unsafe { array.as_mut() }
}

/// The array-valued options, borrowed.
fn array_options<'a>(
    boolean_mask: &'a Option<Uint8ArraySlice<'_>>,
    float_mask: &'a Option<Float32ArraySlice<'_>>,
    query_offset: &'a Option<Int32ArraySlice<'_>>,
    kv_lengths: &'a Option<Int32ArraySlice<'_>>,
) -> ArrayOptions<'a> {
    ArrayOptions {
        boolean_mask: boolean_mask.as_deref(),
        float_mask: float_mask.as_deref(),
        query_offset: query_offset.as_deref(),
        kv_lengths: kv_lengths.as_deref(),
    }
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
    u32::try_from(threads::available_threads()).unwrap_or(u32::MAX)
}

#[napi(catch_unwind)]
pub fn provoke_panic(message: String) {
    panic!("{message}");
}

#[napi(catch_unwind)]
pub fn scaled_dot_product_attention(
    header: &[f64],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    mut out: Float32ArraySlice,
    options: Option<String>,
    boolean_mask: Option<Uint8ArraySlice>,
    float_mask: Option<Float32ArraySlice>,
    query_offset: Option<Int32ArraySlice>,
    kv_lengths: Option<Int32ArraySlice>,
    mut weights: Option<Float32ArraySlice>,
    mut log_sum_exp: Option<Float32ArraySlice>,
    mut top_values: Option<Float32ArraySlice>,
    mut top_indices: Option<Int32ArraySlice>,
) -> Result<()> {
    let top = match (&mut top_values, &mut top_indices) {
        // SAFETY: the call runs on the thread that owns the array, which lib/ made for this call.
        (Some(values), Some(indices)) => Some((output(values), unsafe { indices.as_mut() })),
        _ => None,
    };
    let outputs = Outputs {
        output: output(&mut out),
        weights: weights.as_mut().map(output),
        log_sum_exp: log_sum_exp.as_mut().map(output),
        top,
    };
    let arrays = array_options(&boolean_mask, &float_mask, &query_offset, &kv_lengths);
    calls::scaled_dot_product_attention(header, [q, k, v], options.as_deref(), arrays, outputs).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn attention_weights(
    header: &[f64],
    q: &[f32],
    k: &[f32],
    mut out: Float32ArraySlice,
    options: Option<String>,
    boolean_mask: Option<Uint8ArraySlice>,
    float_mask: Option<Float32ArraySlice>,
    query_offset: Option<Int32ArraySlice>,
    kv_lengths: Option<Int32ArraySlice>,
) -> Result<()> {
    let arrays = array_options(&boolean_mask, &float_mask, &query_offset, &kv_lengths);
    calls::attention_weights(header, [q, k], options.as_deref(), arrays, output(&mut out)).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn softmax(header: &[f64], x: &[f32], mut out: Float32ArraySlice) -> Result<()> {
    calls::softmax(header, x, output(&mut out)).map_err(thrown)
}

#[napi(catch_unwind)]
pub fn linear(
    header: &[f64],
    x: &[f32],
    weight: &[f32],
    bias: Option<Float32ArraySlice>,
    mut out: Float32ArraySlice,
) -> Result<()> {
    calls::linear(header, x, weight, bias.as_deref(), output(&mut out)).map_err(thrown)
}

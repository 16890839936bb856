//! The WebAssembly binding: conversions only. Inputs are copied in once, results out once, into arrays that JavaScript made.

#![allow(missing_docs, reason = "lib/binding.d.ts documents the functions of both bindings once")]

mod layers;
mod memory;
mod weights;

use js_sys::{Float32Array, Float64Array, Int32Array, Uint8Array};
use ruvector_attention::calls::{self, ArrayOptions};
use ruvector_attention::sdpa::Outputs;
use ruvector_attention::simd::Level;
use ruvector_attention::{Error, threads};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use memory::{Output, copy_in, copy_in_optional};

type Result<T> = std::result::Result<T, JsValue>;

#[wasm_bindgen(start)]
fn start() {
    // A panic ends as a trap, which says nothing: its message has to be thrown before.
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

/// The error as JavaScript gets it: its fields as JSON in the message.
fn thrown(error: Error) -> JsValue {
    js_sys::Error::new(&error.to_json()).into()
}

/// The array-valued options, copied in.
struct OwnedArrays {
    boolean_mask: Option<Vec<u8>>,
    float_mask: Option<Vec<f32>>,
    query_offset: Option<Vec<i32>>,
    kv_lengths: Option<Vec<i32>>,
}

impl OwnedArrays {
    fn new(
        boolean_mask: Option<Uint8Array>,
        float_mask: Option<Float32Array>,
        query_offset: Option<Int32Array>,
        kv_lengths: Option<Int32Array>,
    ) -> Result<Self> {
        Ok(Self {
            boolean_mask: copy_in_optional("mask", boolean_mask.as_ref())?,
            float_mask: copy_in_optional("mask", float_mask.as_ref())?,
            query_offset: copy_in_optional("queryOffset", query_offset.as_ref())?,
            kv_lengths: copy_in_optional("kvLengths", kv_lengths.as_ref())?,
        })
    }

    fn borrow(&self) -> ArrayOptions<'_> {
        ArrayOptions {
            boolean_mask: self.boolean_mask.as_deref(),
            float_mask: self.float_mask.as_deref(),
            query_offset: self.query_offset.as_deref(),
            kv_lengths: self.kv_lengths.as_deref(),
        }
    }
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
    u32::try_from(threads::available_threads()).unwrap_or(u32::MAX)
}

#[wasm_bindgen(js_name = provokePanic)]
pub fn provoke_panic(message: String) {
    panic!("{message}");
}

#[wasm_bindgen(js_name = scaledDotProductAttention)]
pub fn scaled_dot_product_attention(
    header: &Float64Array,
    q: &Float32Array,
    k: &Float32Array,
    v: &Float32Array,
    output: &Float32Array,
    options: Option<String>,
    boolean_mask: Option<Uint8Array>,
    float_mask: Option<Float32Array>,
    query_offset: Option<Int32Array>,
    kv_lengths: Option<Int32Array>,
    weights: Option<Float32Array>,
    log_sum_exp: Option<Float32Array>,
    top_values: Option<Float32Array>,
    top_indices: Option<Int32Array>,
) -> Result<()> {
    let (q, k, v) = (copy_in("q", q)?, copy_in("k", k)?, copy_in("v", v)?);
    let arrays = OwnedArrays::new(boolean_mask, float_mask, query_offset, kv_lengths)?;
    let mut output = Output::new("out", output)?;
    let mut weights = Output::optional("weights", weights.as_ref())?;
    let mut log_sum_exp = Output::optional("logSumExp", log_sum_exp.as_ref())?;
    let mut top_values = Output::optional("topWeights", top_values.as_ref())?;
    let mut top_indices = Output::optional("topWeights", top_indices.as_ref())?;
    let outputs = Outputs {
        output: output.memory(),
        weights: weights.as_mut().map(Output::memory),
        log_sum_exp: log_sum_exp.as_mut().map(Output::memory),
        top: top_values.as_mut().map(Output::memory).zip(top_indices.as_mut().map(Output::memory)),
    };
    let header = copy_in("header", header)?;
    calls::scaled_dot_product_attention(&header, [&q, &k, &v], options.as_deref(), arrays.borrow(), outputs)
        .map_err(thrown)?;
    output.copy_out();
    for result in [weights, log_sum_exp, top_values].iter().flatten() {
        result.copy_out();
    }
    top_indices.iter().for_each(Output::copy_out);
    Ok(())
}

#[wasm_bindgen(js_name = attentionWeights)]
pub fn attention_weights(
    header: &Float64Array,
    q: &Float32Array,
    k: &Float32Array,
    output: &Float32Array,
    options: Option<String>,
    boolean_mask: Option<Uint8Array>,
    float_mask: Option<Float32Array>,
    query_offset: Option<Int32Array>,
    kv_lengths: Option<Int32Array>,
) -> Result<()> {
    let (q, k) = (copy_in("q", q)?, copy_in("k", k)?);
    let arrays = OwnedArrays::new(boolean_mask, float_mask, query_offset, kv_lengths)?;
    let mut output = Output::new("out", output)?;
    let header = copy_in("header", header)?;
    calls::attention_weights(&header, [&q, &k], options.as_deref(), arrays.borrow(), output.memory())
        .map_err(thrown)?;
    output.copy_out();
    Ok(())
}

#[wasm_bindgen]
pub fn softmax(header: &Float64Array, x: &Float32Array, output: &Float32Array) -> Result<()> {
    let (header, x) = (copy_in("header", header)?, copy_in("x", x)?);
    let mut output = Output::new("output", output)?;
    calls::softmax(&header, &x, output.memory()).map_err(thrown)?;
    output.copy_out();
    Ok(())
}

#[wasm_bindgen]
pub fn linear(
    header: &Float64Array,
    x: &Float32Array,
    weight: &Float32Array,
    bias: Option<Float32Array>,
    output: &Float32Array,
) -> Result<()> {
    let (header, x, weight) = (copy_in("header", header)?, copy_in("x", x)?, copy_in("weight", weight)?);
    let bias = copy_in_optional("bias", bias.as_ref())?;
    let mut output = Output::new("output", output)?;
    calls::linear(&header, &x, &weight, bias.as_deref(), output.memory()).map_err(thrown)?;
    output.copy_out();
    Ok(())
}

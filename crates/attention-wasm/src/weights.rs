//! Weights files.

use js_sys::{Float32Array, Uint8Array};
use ruvector_attention::weights::{self, SafetensorsIndex, parse_entries};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::memory::{Output, copy_in};
use crate::{Result, thrown};

/// A safetensors file, copied in while it is read.
#[wasm_bindgen]
pub struct SafetensorsReader {
    bytes: Vec<u8>,
    index: SafetensorsIndex,
}

#[wasm_bindgen]
impl SafetensorsReader {
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: &Uint8Array) -> Result<Self> {
        let bytes = copy_in("bytes", bytes)?;
        let index = SafetensorsIndex::parse(&bytes).map_err(thrown)?;
        Ok(Self { bytes, index })
    }

    pub fn entries(&self) -> String {
        self.index.describe()
    }

    pub fn read(&self, index: u32, output: &Float32Array) -> Result<()> {
        let mut output = Output::new("output", output)?;
        self.index.read(&self.bytes, index as usize, output.memory()).map_err(thrown)?;
        output.copy_out();
        Ok(())
    }
}

#[wasm_bindgen(js_name = saveSafetensors)]
pub fn save_safetensors(entries: &str, data: Vec<Float32Array>, metadata: &str) -> Result<Uint8Array> {
    let data = data.iter().map(|array| copy_in("state", array)).collect::<Result<Vec<_>>>()?;
    let data: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
    let entries = parse_entries(entries, &data).map_err(thrown)?;
    let bytes = weights::save_safetensors(&entries, metadata).map_err(thrown)?;
    Ok(Uint8Array::from(bytes.as_slice()))
}

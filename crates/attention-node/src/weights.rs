//! Weights files.

use napi::bindgen_prelude::{Float32Array, Float32ArraySlice, Result, Uint8Array};
use napi_derive::napi;
use ruvector_attention::weights::{self, SafetensorsIndex, parse_entries};

use crate::layers::freed;
use crate::{output, thrown};

/// A safetensors file; it holds on to the caller's bytes while it is read.
#[napi]
pub struct SafetensorsReader {
    file: Option<(Uint8Array, SafetensorsIndex)>,
}

#[napi]
impl SafetensorsReader {
    #[napi(constructor, catch_unwind)]
    pub fn new(bytes: Uint8Array) -> Result<Self> {
        let index = SafetensorsIndex::parse(&bytes).map_err(thrown)?;
        Ok(Self { file: Some((bytes, index)) })
    }

    #[napi(catch_unwind)]
    pub fn entries(&self) -> Result<String> {
        Ok(self.file.as_ref().ok_or_else(freed)?.1.describe())
    }

    #[napi(catch_unwind)]
    pub fn read(&self, index: u32, mut out: Float32ArraySlice) -> Result<()> {
        let (bytes, entries) = self.file.as_ref().ok_or_else(freed)?;
        entries.read(bytes, index as usize, output(&mut out)).map_err(thrown)
    }

    #[napi(catch_unwind)]
    pub fn free(&mut self) {
        self.file = None;
    }
}

#[napi(catch_unwind)]
pub fn save_safetensors(entries: String, data: Vec<Float32Array>, metadata: String) -> Result<Uint8Array> {
    let data: Vec<&[f32]> = data.iter().map(AsRef::as_ref).collect();
    let entries = parse_entries(&entries, &data).map_err(thrown)?;
    weights::save_safetensors(&entries, &metadata).map(Uint8Array::from).map_err(thrown)
}

//! Layers as classes whose memory can be given back before the garbage collector comes.

use napi::bindgen_prelude::{Float32Array, Float32ArraySlice, Int32ArraySlice, Result, Uint8ArraySlice};
use napi_derive::napi;
use ruvector_attention::multi_head;
use ruvector_attention::options::LayerKind;
use ruvector_attention::weights::{describe_entries, parse_entries, read_entry};
use ruvector_attention::{Code, Error, calls};

use crate::{array_options, output, thrown};

#[napi]
pub struct MultiHeadAttention {
    layer: Option<multi_head::MultiHeadAttention>,
}

#[napi]
impl MultiHeadAttention {
    #[napi(constructor, catch_unwind)]
    pub fn new(config: String, kind: String) -> Result<Self> {
        let layer = LayerKind::parse(&kind).and_then(|kind| multi_head::MultiHeadAttention::new(&config, kind));
        Ok(Self { layer: Some(layer.map_err(thrown)?) })
    }

    #[napi(catch_unwind)]
    pub fn config(&self) -> Result<String> {
        Ok(self.layer()?.config().to_json())
    }

    #[napi(catch_unwind)]
    pub fn num_parameters(&self) -> Result<f64> {
        Ok(self.layer()?.state().num_parameters() as f64)
    }

    #[napi(catch_unwind)]
    pub fn state_entries(&self) -> Result<String> {
        Ok(describe_entries(&self.layer()?.state().entries()))
    }

    #[napi(catch_unwind)]
    pub fn read_state(&self, index: u32, mut out: Float32ArraySlice) -> Result<()> {
        read_entry(&self.layer()?.state().entries(), index as usize, output(&mut out)).map_err(thrown)
    }

    #[napi(catch_unwind)]
    pub fn load_state(&mut self, entries: String, data: Vec<Float32Array>, prefix: String) -> Result<()> {
        let data: Vec<&[f32]> = data.iter().map(AsRef::as_ref).collect();
        let layer = self.layer.as_mut().ok_or_else(freed)?;
        parse_entries(&entries, &data).and_then(|entries| layer.load(&entries, &prefix)).map_err(thrown)
    }

    #[napi(catch_unwind)]
    pub fn forward(
        &self,
        header: &[f64],
        q: &[f32],
        k: Option<Float32ArraySlice>,
        v: Option<Float32ArraySlice>,
        mut out: Float32ArraySlice,
        training: bool,
        options: Option<String>,
        boolean_mask: Option<Uint8ArraySlice>,
        float_mask: Option<Float32ArraySlice>,
        query_offset: Option<Int32ArraySlice>,
        kv_lengths: Option<Int32ArraySlice>,
        mut weights: Option<Float32ArraySlice>,
    ) -> Result<()> {
        calls::multi_head_forward(
            self.layer()?,
            header,
            q,
            k.as_deref(),
            v.as_deref(),
            training,
            options.as_deref(),
            array_options(&boolean_mask, &float_mask, &query_offset, &kv_lengths),
            output(&mut out),
            weights.as_mut().map(output),
        )
        .map_err(thrown)
    }

    #[napi(catch_unwind)]
    pub fn free(&mut self) {
        self.layer = None;
    }

    fn layer(&self) -> Result<&multi_head::MultiHeadAttention> {
        self.layer.as_ref().ok_or_else(freed)
    }
}

/// lib/ never calls a layer that it has disposed of.
pub(crate) fn freed() -> napi::Error {
    thrown(Error::new(Code::Internal, "layer", "memory that is still held", "a call after free"))
}

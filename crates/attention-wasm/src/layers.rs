//! Layers as classes; their `free` gives the memory back.

use js_sys::{Float32Array, Float64Array, Int32Array, Uint8Array};
use ruvector_attention::options::LayerKind;
use ruvector_attention::weights::{describe_entries, parse_entries, read_entry};
use ruvector_attention::{calls, multi_head};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::memory::{Output, copy_in, copy_in_optional};
use crate::{OwnedArrays, Result, thrown};

#[wasm_bindgen]
pub struct MultiHeadAttention {
    layer: multi_head::MultiHeadAttention,
}

#[wasm_bindgen]
impl MultiHeadAttention {
    #[wasm_bindgen(constructor)]
    pub fn new(config: &str, kind: &str) -> Result<Self> {
        let layer = LayerKind::parse(kind).and_then(|kind| multi_head::MultiHeadAttention::new(config, kind));
        Ok(Self { layer: layer.map_err(thrown)? })
    }

    pub fn config(&self) -> String {
        self.layer.config().to_json()
    }

    #[wasm_bindgen(js_name = numParameters)]
    pub fn num_parameters(&self) -> f64 {
        self.layer.state().num_parameters() as f64
    }

    #[wasm_bindgen(js_name = stateEntries)]
    pub fn state_entries(&self) -> String {
        describe_entries(&self.layer.state().entries())
    }

    #[wasm_bindgen(js_name = readState)]
    pub fn read_state(&self, index: u32, output: &Float32Array) -> Result<()> {
        let mut output = Output::new("output", output)?;
        read_entry(&self.layer.state().entries(), index as usize, output.memory()).map_err(thrown)?;
        output.copy_out();
        Ok(())
    }

    #[wasm_bindgen(js_name = loadState)]
    pub fn load_state(&mut self, entries: &str, data: Vec<Float32Array>, prefix: &str) -> Result<()> {
        let data = data.iter().map(|array| copy_in("state", array)).collect::<Result<Vec<_>>>()?;
        let data: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
        parse_entries(entries, &data).and_then(|entries| self.layer.load(&entries, prefix)).map_err(thrown)
    }

    pub fn forward(
        &self,
        header: &Float64Array,
        q: &Float32Array,
        k: Option<Float32Array>,
        v: Option<Float32Array>,
        output: &Float32Array,
        training: bool,
        options: Option<String>,
        boolean_mask: Option<Uint8Array>,
        float_mask: Option<Float32Array>,
        query_offset: Option<Int32Array>,
        kv_lengths: Option<Int32Array>,
        weights: Option<Float32Array>,
    ) -> Result<()> {
        let (header, q) = (copy_in("header", header)?, copy_in("q", q)?);
        let (k, v) = (copy_in_optional("k", k.as_ref())?, copy_in_optional("v", v.as_ref())?);
        let arrays = OwnedArrays::new(boolean_mask, float_mask, query_offset, kv_lengths)?;
        let mut output = Output::new("out", output)?;
        let mut weights = Output::optional("weights", weights.as_ref())?;
        calls::multi_head_forward(
            &self.layer,
            &header,
            &q,
            k.as_deref(),
            v.as_deref(),
            training,
            options.as_deref(),
            arrays.borrow(),
            output.memory(),
            weights.as_mut().map(Output::memory),
        )
        .map_err(thrown)?;
        output.copy_out();
        weights.iter().for_each(Output::copy_out);
        Ok(())
    }
}

//! The parameters of an attention layer: PyTorch's initialization, and the names of PyTorch and of trained models.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::{Error, Result, alternatives};
use crate::layers::entries::{Entry, LoadOptions, below, dotted, fault, unknown};
use crate::math::random::Mt19937;
use crate::options::AttentionConfig;
use crate::tensor::{Shape, try_zeroed};

/// The projections of an attention layer, each `[out, in]` and row-major.
///
/// The projections of query, key and value are consecutive, so for equal input sizes they also form a single matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionState {
    config: AttentionConfig,
    input_weight: Vec<f32>,
    input_bias: Option<Vec<f32>>,
    output_weight: Vec<f32>,
    output_bias: Option<Vec<f32>>,
}

/// A parameter under one of its names: a matrix or vector of the state, or part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    InputWeight,
    QueryWeight,
    KeyWeight,
    ValueWeight,
    InputBias,
    QueryBias,
    KeyBias,
    ValueBias,
    OutputWeight,
    OutputBias,
}

use Part::{
    InputBias, InputWeight, KeyBias, KeyWeight, OutputBias, OutputWeight, QueryBias, QueryWeight, ValueBias,
    ValueWeight,
};

/// Parameter names in one family of checkpoints.
struct Naming {
    names: &'static [(&'static str, Part)],
    /// Parts that a checkpoint may lack if its model has no such bias; they become zeros.
    optional: &'static [Part],
    /// Other entries that such checkpoints hold under the attention's prefix; they are ignored.
    companions: &'static [&'static str],
}

/// `torch.nn.MultiheadAttention` with inputs of equal size.
const PACKED: Naming = Naming {
    names: &[
        ("in_proj_weight", InputWeight),
        ("in_proj_bias", InputBias),
        ("out_proj.weight", OutputWeight),
        ("out_proj.bias", OutputBias),
    ],
    optional: &[],
    companions: &[],
};

/// `torch.nn.MultiheadAttention` with inputs of different sizes.
const SEPARATE: Naming = Naming {
    names: &[
        ("q_proj_weight", QueryWeight),
        ("k_proj_weight", KeyWeight),
        ("v_proj_weight", ValueWeight),
        ("in_proj_bias", InputBias),
        ("out_proj.weight", OutputWeight),
        ("out_proj.bias", OutputBias),
    ],
    optional: &[],
    companions: &[],
};

/// BERT's `attention` module. It also contains the norm after the residual connection (with other names in older
/// checkpoints). The norm is not part of the attention, but rejecting it would reject every BERT checkpoint.
const BERT: Naming = Naming {
    names: &[
        ("self.query.weight", QueryWeight),
        ("self.key.weight", KeyWeight),
        ("self.value.weight", ValueWeight),
        ("self.query.bias", QueryBias),
        ("self.key.bias", KeyBias),
        ("self.value.bias", ValueBias),
        ("output.dense.weight", OutputWeight),
        ("output.dense.bias", OutputBias),
    ],
    optional: &[],
    companions: &[
        "output.LayerNorm.weight",
        "output.LayerNorm.bias",
        "output.LayerNorm.gamma",
        "output.LayerNorm.beta",
    ],
};

/// The `self_attn` module of Llama and related models; Qwen2 has biases everywhere except in `o_proj`.
const LLAMA: Naming = Naming {
    names: &[
        ("q_proj.weight", QueryWeight),
        ("k_proj.weight", KeyWeight),
        ("v_proj.weight", ValueWeight),
        ("q_proj.bias", QueryBias),
        ("k_proj.bias", KeyBias),
        ("v_proj.bias", ValueBias),
        ("o_proj.weight", OutputWeight),
        ("o_proj.bias", OutputBias),
    ],
    optional: &[OutputBias],
    companions: &[],
};

/// Whisper's `self_attn` and `encoder_attn` modules, which have no bias for keys.
const WHISPER: Naming = Naming {
    names: &[
        ("q_proj.weight", QueryWeight),
        ("k_proj.weight", KeyWeight),
        ("v_proj.weight", ValueWeight),
        ("q_proj.bias", QueryBias),
        ("k_proj.bias", KeyBias),
        ("v_proj.bias", ValueBias),
        ("out_proj.weight", OutputWeight),
        ("out_proj.bias", OutputBias),
    ],
    optional: &[KeyBias],
    companions: &[],
};

impl Part {
    fn is_bias(self) -> bool {
        matches!(self, InputBias | QueryBias | KeyBias | ValueBias | OutputBias)
    }

    /// Returns true if the part's names belong to a single naming scheme.
    fn is_distinctive(self) -> bool {
        !matches!(self, InputBias | OutputWeight | OutputBias)
    }

    /// Returns rows and columns of a weight, or the length of a bias.
    fn shape(self, config: &AttentionConfig) -> Shape {
        let (query, kv) = (config.query_width(), config.kv_width());
        match self {
            InputWeight => Shape::of([query + 2 * kv, config.model_dim()]),
            QueryWeight => Shape::of([query, config.model_dim()]),
            KeyWeight => Shape::of([kv, config.k_dim()]),
            ValueWeight => Shape::of([kv, config.v_dim()]),
            InputBias => Shape::of([query + 2 * kv]),
            QueryBias => Shape::of([query]),
            KeyBias | ValueBias => Shape::of([kv]),
            OutputWeight => Shape::of([config.model_dim(), query]),
            OutputBias => Shape::of([config.model_dim()]),
        }
    }

    /// Returns the part's range in its matrix or vector.
    fn range(self, config: &AttentionConfig) -> Range<usize> {
        let length = |part: Self| part.shape(config).dims().iter().product::<usize>();
        let start = match self {
            InputWeight | QueryWeight | InputBias | QueryBias | OutputWeight | OutputBias => 0,
            KeyWeight => length(QueryWeight),
            ValueWeight => length(QueryWeight) + length(KeyWeight),
            KeyBias => length(QueryBias),
            ValueBias => length(QueryBias) + length(KeyBias),
        };
        start..start + length(self)
    }
}

impl AttentionState {
    /// Draws the parameters that `torch.nn.MultiheadAttention` draws after `torch.manual_seed(seed)`, bit for bit.
    ///
    /// Configurations that PyTorch cannot express follow the same order: the output projection, then each input matrix.
    pub(crate) fn init(config: &AttentionConfig) -> Result<Self> {
        Self::draw(config, &mut Mt19937::new(config.seed))
    }

    /// Draws the parameters from a generator in its current state.
    pub(crate) fn draw(config: &AttentionConfig, generator: &mut Mt19937) -> Result<Self> {
        let mut state = Self::zeroed(config)?;
        let inputs = config.query_width();
        generator.fill_linear_weight(inputs, &mut state.output_weight);
        if let Some(bias) = &mut state.output_bias {
            // torch.nn.Linear draws its bias, and MultiheadAttention then sets it to zero.
            generator.fill_linear_bias(inputs, bias);
            bias.fill(0.0);
        }
        let matrices: &[Part] =
            if config.is_packed() { &[InputWeight] } else { &[QueryWeight, KeyWeight, ValueWeight] };
        for part in matrices {
            let (rows, columns) = part.shape(config).rows_and_columns();
            generator.fill_xavier_uniform(rows, columns, &mut state.input_weight[part.range(config)]);
        }
        Ok(state)
    }

    /// Loads the parameters from the entries below a prefix, by the names of PyTorch, BERT, Llama or Whisper.
    ///
    /// Missing, extra and wrongly shaped entries are errors, and so is a mixture of naming schemes. Entries outside the
    /// prefix are ignored.
    pub(crate) fn load(config: &AttentionConfig, entries: &[Entry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let prefix = dotted(options.prefix);
        let entries = below(entries, &prefix);
        let naming = Naming::recognize(&entries, config, &prefix)?;
        let mut state = Self::zeroed(config)?;
        let mut found = Vec::new();
        for &(name, entry) in &entries {
            if naming.companions.contains(&name) {
                continue;
            }
            let part = match naming.part(name, config, entry) {
                Err(_) if !options.strict => continue,
                part => part?,
            };
            if found.contains(&part) {
                return Err(fault(&entry.name, "one entry of a name", "two"));
            }
            check_shape(config, part, entry)?;
            found.push(part);
            state.slice_mut(part).copy_from_slice(entry.data);
        }
        let missing = naming.names.iter().find(|(_, part)| {
            let wanted = config.use_bias || !part.is_bias();
            wanted && !found.contains(part) && !(naming.optional.contains(part) && found.contains(&QueryBias))
        });
        match missing {
            Some((name, part)) => {
                let expected = format_args!("an entry of shape {}", part.shape(config));
                let reason = if part.is_bias() { "no such entry, though use_bias is true" } else { "no such entry" };
                Err(fault(format_args!("{prefix}{name}"), expected, reason))
            }
            None => Ok(state),
        }
    }

    /// Returns names, shapes and elements in the order of PyTorch's state dict.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let naming = if self.config.is_packed() { PACKED } else { SEPARATE };
        let wanted = naming.names.iter().filter(|(_, part)| self.config.use_bias || !part.is_bias());
        wanted
            .map(|&(name, part)| Entry {
                name: Cow::Borrowed(name),
                shape: part.shape(&self.config).dims().to_vec(),
                data: self.slice(part),
            })
            .collect()
    }

    /// Returns the number of trainable values in the layer.
    pub fn num_parameters(&self) -> usize {
        self.entries().iter().map(|entry| entry.data.len()).sum()
    }

    /// Returns the configuration that determines the shapes.
    pub fn config(&self) -> &AttentionConfig {
        &self.config
    }

    /// Returns all input projections as one matrix `[(numHeads + 2 · kvHeads) · headDim, modelDim]`, or `None` if the
    /// input sizes differ.
    pub fn input_weight(&self) -> Option<&[f32]> {
        self.config.is_packed().then_some(&self.input_weight)
    }

    /// Returns the query projection, `[numHeads · headDim, modelDim]`.
    pub fn query_weight(&self) -> &[f32] {
        self.slice(QueryWeight)
    }

    /// Returns the key projection, `[kvHeads · headDim, kDim]`.
    pub fn key_weight(&self) -> &[f32] {
        self.slice(KeyWeight)
    }

    /// Returns the value projection, `[kvHeads · headDim, vDim]`.
    pub fn value_weight(&self) -> &[f32] {
        self.slice(ValueWeight)
    }

    /// Returns the biases of query, key and value, concatenated.
    pub fn input_bias(&self) -> Option<&[f32]> {
        self.input_bias.as_deref()
    }

    /// Returns the query bias, `[numHeads · headDim]`.
    pub fn query_bias(&self) -> Option<&[f32]> {
        self.config.use_bias.then(|| self.slice(QueryBias))
    }

    /// Returns the key bias, `[kvHeads · headDim]`.
    pub fn key_bias(&self) -> Option<&[f32]> {
        self.config.use_bias.then(|| self.slice(KeyBias))
    }

    /// Returns the value bias, `[kvHeads · headDim]`.
    pub fn value_bias(&self) -> Option<&[f32]> {
        self.config.use_bias.then(|| self.slice(ValueBias))
    }

    /// Returns the output projection, `[modelDim, numHeads · headDim]`.
    pub fn output_weight(&self) -> &[f32] {
        &self.output_weight
    }

    /// Returns the output bias, `[modelDim]`.
    pub fn output_bias(&self) -> Option<&[f32]> {
        self.output_bias.as_deref()
    }

    fn zeroed(config: &AttentionConfig) -> Result<Self> {
        let bias = |length| config.use_bias.then(|| try_zeroed("parameters", length)).transpose();
        Ok(Self {
            config: config.clone(),
            input_weight: try_zeroed("parameters", ValueWeight.range(config).end)?,
            input_bias: bias(ValueBias.range(config).end)?,
            output_weight: try_zeroed("parameters", OutputWeight.range(config).end)?,
            output_bias: bias(config.model_dim())?,
        })
    }

    fn slice(&self, part: Part) -> &[f32] {
        let whole = match part {
            InputWeight | QueryWeight | KeyWeight | ValueWeight => &self.input_weight,
            InputBias | QueryBias | KeyBias | ValueBias => self.input_bias.as_deref().unwrap_or_default(),
            OutputWeight => &self.output_weight,
            OutputBias => self.output_bias.as_deref().unwrap_or_default(),
        };
        &whole[part.range(&self.config)]
    }

    fn slice_mut(&mut self, part: Part) -> &mut [f32] {
        let whole = match part {
            InputWeight | QueryWeight | KeyWeight | ValueWeight => &mut self.input_weight,
            InputBias | QueryBias | KeyBias | ValueBias => self.input_bias.as_deref_mut().unwrap_or_default(),
            OutputWeight => &mut self.output_weight,
            OutputBias => self.output_bias.as_deref_mut().unwrap_or_default(),
        };
        &mut whole[part.range(&self.config)]
    }
}

impl Naming {
    /// Returns the naming scheme of the entries, recognized by the names of their input projections.
    fn recognize(entries: &[(&str, &Entry<'_>)], config: &AttentionConfig, prefix: &str) -> Result<&'static Self> {
        let has = |name: &str| entries.iter().any(|(found, _)| *found == name);
        let projections = if has("o_proj.weight") { &LLAMA } else { &WHISPER };
        let namings: [&'static Self; 4] = [&PACKED, &SEPARATE, &BERT, projections];
        // Collect the matching schemes, each with the first of its names that is present.
        let mut found = Vec::new();
        for naming in namings {
            if let Some((name, _)) = naming.names.iter().find(|(name, part)| part.is_distinctive() && has(name)) {
                found.push((naming, *name));
            }
        }
        match *found {
            [(naming, _)] => Ok(naming),
            [(_, first), (_, second), ..] => {
                let expected = format_args!("one set of names, as '{prefix}{first}' is there");
                Err(fault(format_args!("{prefix}{second}"), expected, "an entry of another set"))
            }
            [] => {
                let own = if config.is_packed() { &PACKED } else { &SEPARATE };
                let others = alternatives(&namings.map(|it| it.names[0].0));
                let mut actual = String::new();
                for (_, entry) in entries.iter().take(5) {
                    actual.push_str(&entry.name);
                    actual.push_str(", ");
                }
                actual.push_str(if entries.is_empty() { "no entries" } else { "…" });
                let expected = format_args!("an entry of this name, or one of {others}");
                Err(fault(format_args!("{prefix}{}", own.names[0].0), expected, &actual))
            }
        }
    }

    /// Returns the part with this name, or the error for an unknown entry.
    fn part(&self, name: &str, config: &AttentionConfig, entry: &Entry<'_>) -> Result<Part> {
        match self.names.iter().find(|(known, _)| *known == name) {
            Some((_, part)) if part.is_bias() && !config.use_bias => {
                Err(fault(&entry.name, "no biases, as use_bias is false", "a bias"))
            }
            Some(&(_, part)) => Ok(part),
            None => {
                let known = self.names.iter().filter(|(_, part)| config.use_bias || !part.is_bias());
                let known: Vec<&str> = known.map(|(name, _)| *name).collect();
                Err(unknown(entry, &known))
            }
        }
    }
}

fn check_shape(config: &AttentionConfig, part: Part, entry: &Entry<'_>) -> Result<()> {
    if part == InputWeight && !config.is_packed() {
        let actual = Shape::new(&entry.name, &entry.shape)?;
        let (model_dim, k_dim, v_dim) = (config.model_dim(), config.k_dim(), config.v_dim());
        let expected = format_args!(
            "separate projections, as model_dim {model_dim}, k_dim {k_dim} and v_dim {v_dim} are not the same"
        );
        return Err(Error::shape(&entry.name, expected, actual));
    }
    entry.check_shape(part.shape(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn config(json: &str) -> AttentionConfig {
        serde_json::from_str::<AttentionConfig>(json).unwrap().resolved().unwrap()
    }

    fn small() -> AttentionConfig {
        config(r#"{"numHeads":2,"headDim":2}"#)
    }

    /// Returns owned entries under these names, each filled with different values.
    fn dict(config: &AttentionConfig, naming: &Naming, prefix: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let filled = |(index, &(name, part)): (usize, &(&str, Part))| {
            let shape = part.shape(config).dims().to_vec();
            let length = shape.iter().product();
            let data = (0..length).map(|element| (index * 1000 + element) as f32).collect();
            (format!("{prefix}{name}"), shape, data)
        };
        naming.names.iter().enumerate().map(filled).collect()
    }

    fn borrowed(owned: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<Entry<'_>> {
        owned.iter().map(|(name, shape, data)| Entry { name: name.into(), shape: shape.clone(), data }).collect()
    }

    fn load_fault(config: &AttentionConfig, owned: &[(String, Vec<usize>, Vec<f32>)], prefix: &str) -> Error {
        AttentionState::load(config, &borrowed(owned), prefix.into()).unwrap_err()
    }

    /// Hashes the bits of the values into one word.
    fn digest(values: &[f32]) -> u32 {
        values.iter().fold(0u32, |sum, value| sum.wrapping_mul(16_777_619) ^ value.to_bits())
    }

    #[test]
    fn initial_parameters_match_torch_bit_for_bit() {
        // torch.manual_seed(seed); torch.nn.MultiheadAttention(…).state_dict(), digested as above.
        type Case = (&'static str, u64, &'static [(&'static str, u32)]);
        let cases: [Case; 5] = [
            (
                r#"{"numHeads":2,"headDim":4,"seed":42}"#,
                42,
                &[
                    ("in_proj_weight", 0xfbfa_caee),
                    ("in_proj_bias", 0),
                    ("out_proj.weight", 0xa697_8097),
                    ("out_proj.bias", 0),
                ],
            ),
            (
                r#"{"numHeads":2,"headDim":4,"seed":4294967301,"useBias":false}"#,
                (1 << 32) + 5,
                &[("in_proj_weight", 0xcd3a_c145), ("out_proj.weight", 0x1079_9538)],
            ),
            (
                r#"{"numHeads":2,"headDim":4,"kDim":6,"vDim":10}"#,
                0,
                &[
                    ("q_proj_weight", 0xf08a_f16e),
                    ("k_proj_weight", 0xcff9_2de6),
                    ("v_proj_weight", 0x80ae_db63),
                    ("in_proj_bias", 0),
                    ("out_proj.weight", 0x4afb_fbc6),
                    ("out_proj.bias", 0),
                ],
            ),
            (
                r#"{"numHeads":4,"headDim":8,"kDim":32,"vDim":32}"#,
                0,
                &[
                    ("in_proj_weight", 0xd432_2605),
                    ("in_proj_bias", 0),
                    ("out_proj.weight", 0x1f65_c99a),
                    ("out_proj.bias", 0),
                ],
            ),
            (
                r#"{"numHeads":6,"headDim":8,"kDim":40,"vDim":40,"seed":42}"#,
                42,
                &[
                    ("q_proj_weight", 0xbac8_e488),
                    ("k_proj_weight", 0x9e8a_1bc3),
                    ("v_proj_weight", 0x0efe_7de7),
                    ("in_proj_bias", 0),
                    ("out_proj.weight", 0xf632_c3a3),
                    ("out_proj.bias", 0),
                ],
            ),
        ];
        for (json, seed, expected) in cases {
            let config = config(json);
            assert_eq!(config.seed, seed);
            let state = AttentionState::init(&config).unwrap();
            let entries = state.entries();
            let found: Vec<_> = entries.iter().map(|entry| (&*entry.name, digest(entry.data))).collect();
            assert_eq!(found, expected, "{json}");
        }
    }

    #[test]
    fn shapes_follow_from_the_configuration() {
        let state = |json| AttentionState::init(&config(json)).unwrap();
        let shapes = |state: &AttentionState| -> Vec<(String, Vec<usize>)> {
            state.entries().into_iter().map(|entry| (entry.name.into_owned(), entry.shape)).collect()
        };
        let grouped = state(r#"{"numHeads":4,"headDim":8,"kvHeads":2,"modelDim":20}"#);
        let expected = [
            ("in_proj_weight", vec![64, 20]),
            ("in_proj_bias", vec![64]),
            ("out_proj.weight", vec![20, 32]),
            ("out_proj.bias", vec![20]),
        ];
        assert_eq!(shapes(&grouped), expected.map(|(name, shape)| (name.to_owned(), shape)));
        assert_eq!(grouped.num_parameters(), 64 * 20 + 64 + 20 * 32 + 20);
        assert_eq!(grouped.input_weight().unwrap().len(), 64 * 20);
        assert_eq!((grouped.query_weight().len(), grouped.key_weight().len()), (32 * 20, 16 * 20));
        assert_eq!((grouped.query_bias().unwrap().len(), grouped.value_bias().unwrap().len()), (32, 16));
        let crossed = state(r#"{"numHeads":4,"headDim":8,"kvHeads":1,"kDim":5,"vDim":7,"useBias":false}"#);
        let expected = [
            ("q_proj_weight", vec![32, 32]),
            ("k_proj_weight", vec![8, 5]),
            ("v_proj_weight", vec![8, 7]),
            ("out_proj.weight", vec![32, 32]),
        ];
        assert_eq!(shapes(&crossed), expected.map(|(name, shape)| (name.to_owned(), shape)));
        assert_eq!((crossed.input_weight(), crossed.input_bias(), crossed.key_bias()), (None, None, None));
        assert_eq!((crossed.key_weight().len(), crossed.value_weight().len()), (40, 56));
    }

    #[test]
    fn a_state_dict_survives_a_round_trip_through_its_entries() {
        for json in [
            r#"{"numHeads":2,"headDim":2,"seed":1}"#,
            r#"{"numHeads":4,"headDim":3,"kvHeads":2,"kDim":5,"seed":2}"#,
            r#"{"numHeads":2,"headDim":2,"useBias":false}"#,
        ] {
            let config = config(json);
            let state = AttentionState::init(&config).unwrap();
            assert_eq!(AttentionState::load(&config, &state.entries(), "".into()).unwrap(), state);
        }
    }

    #[test]
    fn every_naming_fills_the_same_parts() {
        for naming in [&SEPARATE, &BERT, &LLAMA, &WHISPER] {
            for prefix in ["", "encoder.layer.0.attention", "encoder.layer.0.attention."] {
                for json in
                    [r#"{"numHeads":2,"headDim":2}"#, r#"{"numHeads":4,"headDim":2,"kvHeads":2,"kDim":3,"vDim":5}"#]
                {
                    let config = config(json);
                    let dotted = if prefix.is_empty() { "" } else { "encoder.layer.0.attention." };
                    let mut owned = dict(&config, naming, dotted);
                    if !prefix.is_empty() {
                        // A name that merely starts like the prefix, without being below it.
                        owned.push(("encoder.layer.0.attentional".into(), vec![1], vec![0.0]));
                        owned.push(("embeddings.weight".into(), vec![1], vec![0.0]));
                    }
                    let state = AttentionState::load(&config, &borrowed(&owned), prefix.into()).unwrap();
                    for (name, part) in naming.names {
                        let (_, _, data) = owned.iter().find(|(found, ..)| found.ends_with(name)).unwrap();
                        assert_eq!(state.slice(*part), data, "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn separate_projections_make_the_packed_matrix() {
        let config = small();
        let owned = dict(&config, &SEPARATE, "");
        let state = AttentionState::load(&config, &borrowed(&owned), "".into()).unwrap();
        let joined: Vec<f32> = owned[..3].iter().flat_map(|(.., data)| data.clone()).collect();
        assert_eq!(state.entries()[0].name, "in_proj_weight");
        assert_eq!(state.entries()[0].data, joined);
        let packed = dict(&config, &PACKED, "");
        let state = AttentionState::load(&config, &borrowed(&packed), "".into()).unwrap();
        let (.., matrix) = &packed[0];
        assert_eq!((state.query_weight(), state.value_weight()), (&matrix[..16], &matrix[32..]));
    }

    #[test]
    fn a_layer_without_biases_loads_a_dict_without_biases() {
        let config = config(r#"{"numHeads":2,"headDim":2,"useBias":false}"#);
        for naming in [&PACKED, &SEPARATE, &BERT, &LLAMA, &WHISPER] {
            let mut owned = dict(&config, naming, "");
            let error = load_fault(&config, &owned, "");
            assert_eq!(error.code, Code::Format);
            assert!(error.argument.contains("bias"), "{error}");
            owned.retain(|(name, ..)| !name.contains("bias"));
            AttentionState::load(&config, &borrowed(&owned), "".into()).unwrap();
            // A layer with biases still requires them.
            let error = load_fault(&small(), &owned, "");
            assert!(error.argument.contains("bias"), "{error}");
        }
    }

    #[test]
    fn the_biases_that_whisper_and_qwen_lack_are_zeros() {
        let config = small();
        for (naming, absent, part) in [(&WHISPER, "k_proj.bias", KeyBias), (&LLAMA, "o_proj.bias", OutputBias)] {
            let mut owned = dict(&config, naming, "");
            owned.retain(|(name, ..)| name != absent);
            let state = AttentionState::load(&config, &borrowed(&owned), "".into()).unwrap();
            assert_eq!(state.slice(part), [0.0; 4]);
            owned.retain(|(name, ..)| name != "v_proj.bias");
            assert_eq!(load_fault(&config, &owned, "").argument, "v_proj.bias");
        }
        let mut owned = dict(&config, &LLAMA, "");
        owned.retain(|(name, ..)| name != "k_proj.bias");
        assert_eq!(load_fault(&config, &owned, "").argument, "k_proj.bias");
    }

    #[test]
    fn the_norm_of_a_bert_checkpoint_is_ignored() {
        let config = small();
        let mut owned = dict(&config, &BERT, "attention.");
        owned.push(("attention.output.LayerNorm.weight".into(), vec![4], vec![1.0; 4]));
        owned.push(("attention.output.LayerNorm.beta".into(), vec![4], vec![1.0; 4]));
        AttentionState::load(&config, &borrowed(&owned), "attention".into()).unwrap();
        owned.push(("attention.self.distance_embedding.weight".into(), vec![1], vec![1.0]));
        assert_eq!(load_fault(&config, &owned, "attention").argument, "attention.self.distance_embedding.weight");
    }

    #[test]
    fn entries_that_do_not_fit_are_reported_by_name() {
        let config = small();
        let mut owned = dict(&config, &PACKED, "attn.");
        let error = load_fault(&config, &owned, "other");
        assert_eq!(
            (error.code, error.argument.as_str(), error.actual.as_str()),
            (Code::Format, "other.in_proj_weight", "no entries")
        );
        let error = load_fault(&config, &owned, "");
        assert!(error.actual.contains("attn.out_proj.bias"), "{error}");

        owned[2].1 = vec![2, 8];
        let error = load_fault(&config, &owned, "attn");
        assert_eq!((error.code, error.argument.as_str()), (Code::Shape, "attn.out_proj.weight"));
        assert_eq!((error.expected.as_str(), error.actual.as_str()), ("[4, 4]", "[2, 8]"));

        let mut owned = dict(&config, &PACKED, "");
        let removed = owned.remove(1);
        let error = load_fault(&config, &owned, "");
        assert_eq!((error.code, error.argument.as_str()), (Code::Format, "in_proj_bias"));
        assert_eq!(error.expected, "an entry of shape [12]");
        owned.extend([removed.clone(), removed]);
        assert_eq!(load_fault(&config, &owned, "").actual, "two");

        let mut owned = dict(&config, &PACKED, "");
        owned.push(("bias_k".into(), vec![1, 1, 4], vec![0.0; 4]));
        let error = load_fault(&config, &owned, "");
        assert_eq!((error.code, error.argument.as_str()), (Code::Format, "bias_k"));
        assert_eq!(error.expected, "one of 'in_proj_weight', 'in_proj_bias', 'out_proj.weight' or 'out_proj.bias'");

        let mut owned = dict(&config, &PACKED, "");
        owned.extend(dict(&config, &BERT, ""));
        let error = load_fault(&config, &owned, "");
        assert_eq!((error.code, error.argument.as_str()), (Code::Format, "self.query.weight"));

        let crossed = self::config(r#"{"numHeads":2,"headDim":2,"kDim":6}"#);
        let error = load_fault(&crossed, &dict(&config, &PACKED, ""), "");
        assert_eq!((error.code, error.argument.as_str()), (Code::Shape, "in_proj_weight"));
    }
}

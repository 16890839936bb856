//! The parameters of an attention layer: PyTorch's initialization, and the names of PyTorch and of trained models.

use std::borrow::Cow;

use crate::error::{Error, Result, alternatives};
use crate::layers::entries::{LoadOptions, StoredEntry, TypedEntry, below, dotted, fault};
use crate::layers::parameters::{Initial, Name, Naming, Parameter, Parameters, Part};
use crate::math::linear::Projection;
use crate::math::norm::NormKind;
use crate::math::random::Mt19937;
use crate::options::{AttentionConfig, NormOver};
use crate::tensor::{Shape, try_zeroed};

use Part::{
    ExtraKey, ExtraValue, KeyBias, KeyNormBias, KeyNormWeight, KeyWeight, OutputBias, OutputWeight, QueryBias,
    QueryNormBias, QueryNormWeight, QueryWeight, RelativeBias, Sinks, ValueBias, ValueWeight,
};

/// The projections of an attention layer, each `[out, in]` and row-major, and its other parameters.
///
/// The projections of query, key and value are consecutive, so for equal input sizes they also form a single matrix.
/// Functions that return a weight return nothing if the layer keeps it in another type than 32-bit floats; see
/// [`Self::entries`].
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionState {
    config: AttentionConfig,
    parameters: Parameters,
}

/// Names that are the same in every family.
const COMMON: &[Name] = &[
    ("q_norm.weight", QueryNormWeight, QueryNormWeight),
    ("q_norm.bias", QueryNormBias, QueryNormBias),
    ("k_norm.weight", KeyNormWeight, KeyNormWeight),
    ("k_norm.bias", KeyNormBias, KeyNormBias),
    ("bias_k", ExtraKey, ExtraKey),
    ("bias_v", ExtraValue, ExtraValue),
    ("sinks", Sinks, Sinks),
    ("relative_attention_bias.weight", RelativeBias, RelativeBias),
];

/// The projections of `torch.nn.MultiheadAttention`, with inputs of different sizes.
const SEPARATE_WEIGHTS: &[Name] = &[
    ("q_proj_weight", QueryWeight, QueryWeight),
    ("k_proj_weight", KeyWeight, KeyWeight),
    ("v_proj_weight", ValueWeight, ValueWeight),
];

/// The biases and the output projection of `torch.nn.MultiheadAttention`, whose biases of query, key and value are one
/// vector. Where only some of them exist, each has a name of its own.
const TORCH_REST: &[Name] = &[
    ("in_proj_bias", QueryBias, ValueBias),
    ("q_proj_bias", QueryBias, QueryBias),
    ("k_proj_bias", KeyBias, KeyBias),
    ("v_proj_bias", ValueBias, ValueBias),
    ("bias_k", ExtraKey, ExtraKey),
    ("bias_v", ExtraValue, ExtraValue),
    ("out_proj.weight", OutputWeight, OutputWeight),
    ("out_proj.bias", OutputBias, OutputBias),
];

/// `torch.nn.MultiheadAttention` with inputs of equal size.
const PACKED: Naming = Naming {
    names: &[&[("in_proj_weight", QueryWeight, ValueWeight)], SEPARATE_WEIGHTS, TORCH_REST, COMMON],
    optional: &[],
    companions: &[],
};

/// `torch.nn.MultiheadAttention` with inputs of different sizes.
const SEPARATE: Naming = Naming { names: &[SEPARATE_WEIGHTS, TORCH_REST, COMMON], optional: &[], companions: &[] };

/// BERT's `attention` module. It also contains the norm after the residual connection (with other names in older
/// checkpoints). The norm is not part of the attention, but rejecting it would reject every BERT checkpoint.
const BERT: Naming = Naming {
    names: &[
        &[
            ("self.query.weight", QueryWeight, QueryWeight),
            ("self.key.weight", KeyWeight, KeyWeight),
            ("self.value.weight", ValueWeight, ValueWeight),
            ("self.query.bias", QueryBias, QueryBias),
            ("self.key.bias", KeyBias, KeyBias),
            ("self.value.bias", ValueBias, ValueBias),
            ("output.dense.weight", OutputWeight, OutputWeight),
            ("output.dense.bias", OutputBias, OutputBias),
        ],
        COMMON,
    ],
    optional: &[],
    companions: &[
        "output.LayerNorm.weight",
        "output.LayerNorm.bias",
        "output.LayerNorm.gamma",
        "output.LayerNorm.beta",
    ],
};

/// The input projections of Llama and Whisper.
const PROJECTIONS: &[Name] = &[
    ("q_proj.weight", QueryWeight, QueryWeight),
    ("k_proj.weight", KeyWeight, KeyWeight),
    ("v_proj.weight", ValueWeight, ValueWeight),
    ("q_proj.bias", QueryBias, QueryBias),
    ("k_proj.bias", KeyBias, KeyBias),
    ("v_proj.bias", ValueBias, ValueBias),
];

/// The `self_attn` module of Llama and related models; Qwen2 has biases everywhere except in `o_proj`.
const LLAMA: Naming = Naming {
    names: &[
        PROJECTIONS,
        &[("o_proj.weight", OutputWeight, OutputWeight), ("o_proj.bias", OutputBias, OutputBias)],
        COMMON,
    ],
    optional: &[OutputBias],
    companions: &[],
};

/// Whisper's `self_attn` and `encoder_attn` modules, which have no bias for keys.
const WHISPER: Naming = Naming {
    names: &[
        PROJECTIONS,
        &[("out_proj.weight", OutputWeight, OutputWeight), ("out_proj.bias", OutputBias, OutputBias)],
        COMMON,
    ],
    optional: &[KeyBias],
    companions: &[],
};

/// Returns the parameters of an attention layer with this configuration.
fn table(config: &AttentionConfig) -> Vec<Parameter> {
    let (query, kv, model) = (config.query_rows(), config.kv_width(), config.model_dim());
    let joined = config.query_width();
    let (k_dim, v_dim) = (config.k_dim(), config.v_dim());
    let biases = config.use_bias();
    let zeros = Initial::Constant(0.0);
    // PyTorch draws the packed matrix as one.
    let xavier = |rows, columns| Initial::Xavier(if config.is_packed() { query + 2 * kv } else { rows }, columns);
    let mut table = vec![
        (true, QueryWeight, Shape::of([query, model]), xavier(query, model)),
        (true, KeyWeight, Shape::of([kv, k_dim]), xavier(kv, k_dim)),
        (true, ValueWeight, Shape::of([kv, v_dim]), xavier(kv, v_dim)),
        (biases.query, QueryBias, Shape::of([query]), zeros),
        (biases.key, KeyBias, Shape::of([kv]), zeros),
        (biases.value, ValueBias, Shape::of([kv]), zeros),
        (true, OutputWeight, Shape::of([model, joined]), Initial::LinearWeight(joined)),
        (biases.output, OutputBias, Shape::of([model]), Initial::ZeroedLinearBias(joined)),
    ];
    // `xavier_normal_` of one row.
    let extra = Initial::Normal(1.0 / (kv as f64).sqrt());
    if let Some(norm) = config.qk_norm {
        let size = |width| Shape::of([if norm.over == NormOver::Head { config.head_dim } else { width }]);
        let (ones, has_bias) = (Initial::Constant(1.0 - norm.weight_offset), norm.kind() == NormKind::Layer);
        table.extend([
            (true, QueryNormWeight, size(joined), ones),
            (has_bias, QueryNormBias, size(joined), zeros),
            (true, KeyNormWeight, size(kv), ones),
            (has_bias, KeyNormBias, size(kv), zeros),
        ]);
    }
    table.extend([
        (config.add_bias_kv, ExtraKey, Shape::of([1, 1, kv]), extra),
        (config.add_bias_kv, ExtraValue, Shape::of([1, 1, kv]), extra),
        (config.sinks, Sinks, Shape::of([config.num_heads]), zeros),
    ]);
    if let Some(bias) = config.relative_bias {
        let shape = Shape::of([bias.buckets(), config.num_heads]);
        table.push((true, RelativeBias, shape, Initial::Normal(1.0 / (model as f64).sqrt())));
    }
    let present = table.into_iter().filter(|(is_present, ..)| *is_present);
    present.map(|(_, part, shape, initial)| Parameter { part, shape, initial }).collect()
}

impl AttentionState {
    /// Draws the parameters that `torch.nn.MultiheadAttention` draws after `torch.manual_seed(seed)`, bit for bit.
    ///
    /// Configurations that PyTorch cannot express follow the same order: the output projection, then each input matrix.
    pub(crate) fn init(config: &AttentionConfig) -> Result<Self> {
        Self::draw(config, Some(&mut Mt19937::new(config.seed())))
    }

    /// Draws the parameters from a generator in its current state; without one they are zeros.
    pub(crate) fn draw(config: &AttentionConfig, generator: Option<&mut Mt19937>) -> Result<Self> {
        let parameters = Parameters::draw(table(config), config.weight_type(), &[OutputWeight, OutputBias], generator)?;
        Ok(Self { config: config.clone(), parameters })
    }

    /// Loads the parameters from the entries below a prefix, by the names of PyTorch, BERT, Llama or Whisper.
    ///
    /// Missing, extra and wrongly shaped entries are errors, and so is a mixture of naming schemes. Entries outside the
    /// prefix are ignored.
    pub(crate) fn load(config: &AttentionConfig, entries: &[TypedEntry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let prefix = dotted(options.prefix);
        let own = below(entries, &prefix);
        let naming = recognize(&own, config, &prefix)?;
        if let Some((_, entry)) = own.iter().find(|(name, _)| *name == PACKED.names[0][0].0)
            && !config.is_packed()
        {
            return Err(packed_matrix(config, entry)?);
        }
        let options = LoadOptions { prefix: &prefix, ..options };
        let parameters = Parameters::load((table(config), config.weight_type()), naming, entries, options, "")?;
        Ok(Self { config: config.clone(), parameters })
    }

    /// Returns names, shapes and elements in the order of PyTorch's state dict.
    pub fn entries(&self) -> Vec<StoredEntry<'_>> {
        self.parameters.entries(torch_naming(&self.config))
    }

    /// Returns the elements of each of [`Self::entries`] for changes in place, or `None` for those of another type than
    /// 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        let naming = torch_naming(&self.config);
        self.parameters.floats_mut(naming)
    }

    /// Returns names, shapes and elements under the names of Llama's attention.
    pub(crate) fn llama_entries(&self) -> Vec<StoredEntry<'_>> {
        self.parameters.entries(&LLAMA)
    }

    /// Returns the elements of each of [`Self::llama_entries`], like [`Self::floats_mut`].
    #[cfg(feature = "training")]
    pub(crate) fn llama_floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.parameters.floats_mut(&LLAMA)
    }

    /// Returns the number of trainable values in the layer.
    pub fn num_parameters(&self) -> usize {
        self.entries().iter().map(StoredEntry::elements).sum()
    }

    /// Returns the number of bytes.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes()
    }

    /// Returns the matrix of a projection.
    pub(crate) fn projection(&self, part: Part) -> Projection<'_> {
        self.parameters.projection(part).unwrap_or(Projection::NONE)
    }

    /// Returns the matrix of all input projections, as [`Self::input_weight`].
    pub(crate) fn input_projection(&self) -> Option<Projection<'_>> {
        self.config.is_packed().then(|| self.parameters.joint_projection(QueryWeight, ValueWeight)).flatten()
    }

    /// Returns the configuration that determines the shapes.
    pub fn config(&self) -> &AttentionConfig {
        &self.config
    }

    /// Returns a parameter, or `None` if the layer has none of its kind.
    pub fn part(&self, part: Part) -> Option<&[f32]> {
        self.parameters.get(part)
    }

    /// Returns all input projections as one matrix `[(numHeads + 2 · kvHeads) · headDim, modelDim]` without gates, or
    /// `None` if the input sizes differ.
    pub fn input_weight(&self) -> Option<&[f32]> {
        self.config.is_packed().then(|| self.parameters.span(QueryWeight, ValueWeight)).flatten()
    }

    /// Returns the query projection, `[numHeads · headDim, modelDim]`; with gates, each head's are after its queries.
    pub fn query_weight(&self) -> &[f32] {
        self.part(QueryWeight).unwrap_or_default()
    }

    /// Returns the key projection, `[kvHeads · headDim, kDim]`.
    pub fn key_weight(&self) -> &[f32] {
        self.part(KeyWeight).unwrap_or_default()
    }

    /// Returns the value projection, `[kvHeads · headDim, vDim]`.
    pub fn value_weight(&self) -> &[f32] {
        self.part(ValueWeight).unwrap_or_default()
    }

    /// Returns the biases of query, key and value, concatenated, if there are all three.
    pub fn input_bias(&self) -> Option<&[f32]> {
        self.parameters.span(QueryBias, ValueBias)
    }

    /// Returns the biases of query, key and value, concatenated, with zeros for absent ones; `None` if all are absent.
    pub(crate) fn joined_input_bias(&self) -> Result<Option<Cow<'_, [f32]>>> {
        if let Some(bias) = self.input_bias() {
            return Ok(Some(Cow::Borrowed(bias)));
        }
        let (query, kv) = (self.config.query_rows(), self.config.kv_width());
        let places = [(QueryBias, 0, query), (KeyBias, query, kv), (ValueBias, query + kv, kv)];
        if places.iter().all(|&(part, ..)| self.part(part).is_none()) {
            return Ok(None);
        }
        let mut joined = try_zeroed("working memory", query + 2 * kv)?;
        for (part, start, width) in places {
            if let Some(bias) = self.part(part) {
                joined[start..start + width].copy_from_slice(bias);
            }
        }
        Ok(Some(Cow::Owned(joined)))
    }

    /// Returns the query bias, `[numHeads · headDim]`.
    pub fn query_bias(&self) -> Option<&[f32]> {
        self.part(QueryBias)
    }

    /// Returns the key bias, `[kvHeads · headDim]`.
    pub fn key_bias(&self) -> Option<&[f32]> {
        self.part(KeyBias)
    }

    /// Returns the value bias, `[kvHeads · headDim]`.
    pub fn value_bias(&self) -> Option<&[f32]> {
        self.part(ValueBias)
    }

    /// Returns the output projection, `[modelDim, numHeads · headDim]`.
    pub fn output_weight(&self) -> &[f32] {
        self.part(OutputWeight).unwrap_or_default()
    }

    /// Returns the output bias, `[modelDim]`.
    pub fn output_bias(&self) -> Option<&[f32]> {
        self.part(OutputBias)
    }
}

/// Returns the names that PyTorch gives a layer of this configuration.
fn torch_naming(config: &AttentionConfig) -> &'static Naming {
    if config.is_packed() { &PACKED } else { &SEPARATE }
}

/// Returns the naming scheme of the entries, recognized by the names of their input projections.
fn recognize(entries: &[(&str, &TypedEntry<'_>)], config: &AttentionConfig, prefix: &str) -> Result<&'static Naming> {
    let has = |name: &str| entries.iter().any(|(found, _)| *found == name);
    let projections = if has("o_proj.weight") { &LLAMA } else { &WHISPER };
    let torch = torch_naming(config);
    // Names of several schemes are no sign of one: those of a whole, and those of the output projection.
    let packed = PACKED.names[0];
    let schemes =
        [(&PACKED, packed), (&SEPARATE, SEPARATE_WEIGHTS), (&BERT, &BERT.names[0][..6]), (projections, PROJECTIONS)];
    let found = |(naming, names): (&'static Naming, &'static [Name])| {
        names.iter().find(|(name, ..)| has(name)).map(|(name, ..)| (naming, *name))
    };
    match *schemes.into_iter().filter_map(found).collect::<Vec<_>>() {
        [(naming, _)] => Ok(if naming.names.contains(&SEPARATE_WEIGHTS) { torch } else { naming }),
        [(_, first), (_, second), ..] => {
            let expected = format_args!("one set of names, as '{prefix}{first}' is there");
            Err(fault(format_args!("{prefix}{second}"), expected, "an entry of another set"))
        }
        [] => {
            let others = alternatives(&schemes.map(|(_, names)| names[0].0));
            let mut actual = String::new();
            for (_, entry) in entries.iter().take(5) {
                actual.push_str(&entry.name);
                actual.push_str(", ");
            }
            actual.push_str(if entries.is_empty() { "no entries" } else { "…" });
            let expected = format_args!("an entry of this name, or one of {others}");
            Err(fault(format_args!("{prefix}{}", torch.names[0][0].0), expected, &actual))
        }
    }
}

/// Returns the error for one matrix of all projections in a layer whose inputs differ in size.
#[cold]
fn packed_matrix(config: &AttentionConfig, entry: &TypedEntry<'_>) -> Result<Error> {
    let actual = Shape::new(&entry.name, &entry.shape)?;
    let (model_dim, k_dim, v_dim) = (config.model_dim(), config.k_dim(), config.v_dim());
    let expected = format_args!(
        "separate projections, as model_dim {model_dim}, k_dim {k_dim} and v_dim {v_dim} are not the same"
    );
    Ok(Error::shape(&entry.name, expected, actual))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::math::weight::{WeightType, Weights};

    fn config(json: &str) -> AttentionConfig {
        serde_json::from_str::<AttentionConfig>(json).unwrap().resolved().unwrap()
    }

    fn small() -> AttentionConfig {
        config(r#"{"numHeads":2,"headDim":2}"#)
    }

    /// Returns owned entries under these names, each filled with different values.
    fn dict(config: &AttentionConfig, naming: &Naming, prefix: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let parameters = Parameters::zeroed(table(config), WeightType::F32).unwrap();
        let filled = |(index, entry): (usize, StoredEntry<'_>)| {
            let data = (0..entry.elements()).map(|element| (index * 1000 + element) as f32).collect();
            (format!("{prefix}{}", entry.name), entry.shape, data)
        };
        parameters.entries(naming).into_iter().enumerate().map(filled).collect()
    }

    fn borrowed(owned: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<TypedEntry<'_>> {
        let entries = owned.iter().map(|(name, shape, data)| TypedEntry {
            name: name.into(),
            shape: shape.clone(),
            data: Weights::F32(data),
        });
        entries.collect()
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
            assert_eq!(config.seed(), seed);
            let state = AttentionState::init(&config).unwrap();
            let entries = state.entries();
            let found: Vec<_> = entries.iter().map(|entry| (&*entry.name, digest(entry.floats().unwrap()))).collect();
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
            let owned: Vec<_> = state
                .entries()
                .into_iter()
                .map(|entry| (entry.name.to_string(), entry.shape.clone(), entry.floats().unwrap().to_vec()))
                .collect();
            assert_eq!(AttentionState::load(&config, &borrowed(&owned), "".into()).unwrap(), state);
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
                    for entry in state.parameters.entries(naming) {
                        let (_, _, data) = owned.iter().find(|(found, ..)| found.ends_with(&*entry.name)).unwrap();
                        assert_eq!(entry.floats().unwrap(), data, "{}", entry.name);
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
        assert_eq!(state.entries()[0].floats().unwrap(), joined);
        let packed = dict(&config, &PACKED, "");
        let state = AttentionState::load(&config, &borrowed(&packed), "".into()).unwrap();
        let (.., matrix) = &packed[0];
        assert_eq!((state.query_weight(), state.value_weight()), (&matrix[..16], &matrix[32..]));
    }

    #[test]
    fn a_layer_without_biases_loads_a_dict_without_biases() {
        let config = config(r#"{"numHeads":2,"headDim":2,"useBias":false}"#);
        for naming in [&PACKED, &SEPARATE, &BERT, &LLAMA, &WHISPER] {
            let mut owned = dict(&small(), naming, "");
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
    fn each_projection_has_the_bias_that_the_configuration_gives_it() {
        let config = config(r#"{"numHeads":2,"headDim":2,"useBias":{"key":false,"output":false}}"#);
        let state = AttentionState::init(&config).unwrap();
        let names: Vec<String> = state.entries().into_iter().map(|entry| entry.name.into_owned()).collect();
        assert_eq!(names, ["in_proj_weight", "q_proj_bias", "v_proj_bias", "out_proj.weight"]);
        assert_eq!(state.num_parameters(), 4 * 4 * 4 + 8);
        assert_eq!((state.query_bias().unwrap().len(), state.key_bias(), state.input_bias()), (4, None, None));
        let mut owned = dict(&config, &PACKED, "");
        let state = AttentionState::load(&config, &borrowed(&owned), "".into()).unwrap();
        let joined = state.joined_input_bias().unwrap().unwrap();
        assert_eq!((&joined[..4], &joined[4..8], &joined[8..]), (&*owned[1].2, &[0.0; 4][..], &*owned[2].2));
        let removed = owned.remove(2);
        assert_eq!(load_fault(&config, &owned, "").argument, "v_proj_bias");
        owned.push(("in_proj_bias".into(), vec![12], vec![0.0; 12]));
        assert_eq!(load_fault(&config, &owned, "").actual, "a bias of every projection");
        owned.pop();
        owned.extend([removed, ("out_proj.bias".into(), vec![4], vec![0.0; 4])]);
        assert_eq!(load_fault(&config, &owned, "").actual, "a bias");
    }

    #[test]
    fn norms_of_queries_and_keys_have_names_and_shapes_of_their_own() {
        let shapes = |norm: &str, naming: &Naming| -> Vec<(String, Vec<usize>)> {
            let config = config(&format!(r#"{{"numHeads":4,"headDim":3,"kvHeads":2,"qkNorm":{norm}}}"#));
            let owned = dict(&config, naming, "");
            AttentionState::load(&config, &borrowed(&owned), "".into()).unwrap();
            let norms = owned.into_iter().filter(|(name, ..)| name.contains("norm"));
            norms.map(|(name, shape, _)| (name, shape)).collect()
        };
        for naming in [&PACKED, &SEPARATE, &BERT, &LLAMA, &WHISPER] {
            let found = shapes(r#"{"over":"head","weightOffset":1}"#, naming);
            assert_eq!(found, [("q_norm.weight".to_owned(), vec![3]), ("k_norm.weight".to_owned(), vec![3])]);
            let found = shapes(r#"{"over":"model","kind":"layer"}"#, naming);
            let sizes: Vec<usize> = found.iter().map(|(_, shape)| shape[0]).collect();
            assert_eq!((sizes, &*found[3].0), (vec![12, 12, 6, 6], "k_norm.bias"));
        }
        let config = config(r#"{"numHeads":2,"headDim":2,"qkNorm":{"over":"head","weightOffset":1}}"#);
        let state = AttentionState::init(&config).unwrap();
        assert_eq!(state.part(QueryNormWeight), Some(&[0.0; 2][..]));
        let without = dict(&small(), &PACKED, "");
        assert_eq!(load_fault(&config, &without, "").argument, "q_norm.weight");
        let with = dict(&config, &PACKED, "");
        assert_eq!(load_fault(&small(), &with, "").argument, "q_norm.weight");
    }

    #[test]
    fn the_biases_that_whisper_and_qwen_lack_are_zeros() {
        let config = small();
        for (naming, absent, part) in [(&WHISPER, "k_proj.bias", KeyBias), (&LLAMA, "o_proj.bias", OutputBias)] {
            let mut owned = dict(&config, naming, "");
            owned.retain(|(name, ..)| name != absent);
            let state = AttentionState::load(&config, &borrowed(&owned), "".into()).unwrap();
            assert_eq!(state.part(part).unwrap(), [0.0; 4]);
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
        assert_eq!(error.expected, "an entry of shape [12], as use_bias is true");
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

//! `torch.nn.Linear` and `torch.nn.Embedding`: one matrix of parameters, and a bias.

use std::borrow::Cow;

use crate::context::Context;
use crate::error::{Error, Result, alternatives};
use crate::layers::entries::{dotted, fault};
use crate::layers::{LoadOptions, TypedEntry};
use crate::math::linear::{Finish, Projection, project_weights};
use crate::math::quantized::Packed;
use crate::math::random::Mt19937;
use crate::math::weight::{OwnedWeights, Quantized, WeightType, Weights};
use crate::ranges;
use crate::tensor::{Shape, Tensor, check_output, try_zeroed};

/// The configuration of a [`Linear`] layer. Both sizes are required.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct LinearConfig {
    /// Size of the input.
    pub in_features: usize,
    /// Size of the output.
    pub out_features: usize,
    /// Adds a bias; true by default.
    pub use_bias: bool,
    /// The type of the weight; the bias has 32 bits.
    pub weight_type: WeightType,
    /// Seed of the parameters; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { in_features: 0, out_features: 0, use_bias: true, weight_type: WeightType::F32, seed: 0 }
    }
}

/// The configuration of an [`Embedding`]. Both sizes are required.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct EmbeddingConfig {
    /// The number of rows.
    pub num_embeddings: usize,
    /// Size of a row.
    pub embedding_dim: usize,
    /// The type of the rows.
    pub weight_type: WeightType,
    /// Seed of the parameters; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

/// The weight of a layer. Only a linear layer packs 8 bits, for its product.
#[derive(Debug, Clone)]
enum Matrix {
    Plain(OwnedWeights),
    Packed(Packed),
}

/// The parameters of both layers: `weight`, a matrix, and `bias`, one number for each of its rows.
#[derive(Debug, Clone)]
struct Parameters {
    rows: usize,
    columns: usize,
    weight: Matrix,
    bias: Option<Vec<f32>>,
}

impl Parameters {
    /// Creates parameters; `weight` is converted, and packed if it then has 8 bits and `packs` is true.
    fn new(
        [rows, columns]: [usize; 2],
        weight: Weights<'_>,
        to: WeightType,
        packs: bool,
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        let weight = match OwnedWeights::convert("weight", weight, to, columns)? {
            OwnedWeights::Q8(values, scales) if packs => {
                Matrix::Packed(Packed::new(Quantized { values: &values, scales: &scales }, rows, columns)?)
            }
            plain => Matrix::Plain(plain),
        };
        Ok(Self { rows, columns, weight, bias })
    }

    fn bytes(&self) -> usize {
        let bias = self.bias.as_deref().map_or(0, size_of_val);
        bias + match &self.weight {
            Matrix::Plain(weights) => weights.borrow().bytes(),
            Matrix::Packed(packed) => packed.bytes(),
        }
    }

    /// Passes the parameters to `visit` in their own types.
    fn visit(&self, visit: &mut dyn FnMut(&[TypedEntry<'_>]) -> Result<()>) -> Result<()> {
        let unpacked;
        let data = match &self.weight {
            Matrix::Plain(weights) => weights.borrow(),
            Matrix::Packed(packed) => {
                unpacked = packed.unpacked(self.rows, self.columns)?;
                Weights::Q8(Quantized { values: &unpacked.0, scales: &unpacked.1 })
            }
        };
        let entry = |name, shape, data| TypedEntry { name: Cow::Borrowed(name), shape, data };
        let weight = entry("weight", vec![self.rows, self.columns], data);
        match &self.bias {
            Some(bias) => visit(&[weight, entry("bias", vec![self.rows], Weights::F32(bias))]),
            None => visit(&[weight]),
        }
    }

    /// Returns parameters of the same shapes from the entries below a prefix.
    fn loaded(
        &self,
        entries: &[TypedEntry<'_>],
        options: LoadOptions<'_>,
        to: WeightType,
        packs: bool,
    ) -> Result<Self> {
        let prefix = dotted(options.prefix);
        let entries: Vec<_> =
            entries.iter().filter_map(|entry| Some((entry.name.strip_prefix(&*prefix)?, entry))).collect();
        let find = |name: &str, shape: Shape| {
            let Some((_, entry)) = entries.iter().find(|(below, _)| *below == name) else {
                let expected = format_args!("an entry of shape {shape}");
                return Err(fault(format_args!("{prefix}{name}"), expected, "no such entry"));
            };
            let actual = Shape::new(&entry.name, &entry.shape)?;
            if actual != shape {
                return Err(Error::shape(&entry.name, shape, actual));
            }
            Ok(entry.data)
        };
        let weight = find("weight", Shape::of([self.rows, self.columns]))?;
        let mut bias = None;
        if self.bias.is_some() {
            let given = find("bias", Shape::of([self.rows]))?;
            if let OwnedWeights::F32(values) = OwnedWeights::convert("bias", given, WeightType::F32, self.rows)? {
                bias = Some(values);
            }
        }
        let known: &[&str] = if self.bias.is_some() { &["weight", "bias"] } else { &["weight"] };
        if let Some((_, entry)) = entries.iter().find(|(name, _)| options.strict && !known.contains(name)) {
            let expected = format_args!("one of {}", alternatives(known));
            return Err(fault(&entry.name, expected, "an entry that is no parameter of this layer"));
        }
        Self::new([self.rows, self.columns], weight, to, packs, bias)
    }
}

/// `torch.nn.Linear`: `y = x Wᵀ + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    config: LinearConfig,
    parameters: Parameters,
}

impl Linear {
    /// Creates a layer with the parameters that PyTorch's draws after `torch.manual_seed(seed)`, bit for bit.
    ///
    /// ```
    /// use ruvector_attention::layers::dense::{Linear, LinearConfig};
    ///
    /// let layer = Linear::new(LinearConfig { in_features: 4, out_features: 2, ..Default::default() })?;
    /// assert_eq!(layer.bytes(), (2 * 4 + 2) * 4);
    /// # Ok::<(), ruvector_attention::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OPTION` for sizes or a seed out of range, `MEMORY`.
    pub fn new(config: LinearConfig) -> Result<Self> {
        ranges::count("in_features", config.in_features)?;
        ranges::count("out_features", config.out_features)?;
        ranges::seed("seed", config.seed)?;
        let LinearConfig { in_features, out_features, use_bias, weight_type, seed } = config;
        let mut weight = try_zeroed("parameters", out_features.saturating_mul(in_features))?;
        let mut bias = try_zeroed("parameters", if use_bias { out_features } else { 0 })?;
        let mut generator = Mt19937::new(seed);
        generator.fill_linear_weight(in_features, &mut weight);
        generator.fill_linear_bias(in_features, &mut bias);
        let (shape, bias) = ([out_features, in_features], use_bias.then_some(bias));
        let parameters = Parameters::new(shape, Weights::F32(&weight), weight_type, true, bias)?;
        Ok(Self { config, parameters })
    }

    /// Returns the configuration.
    pub fn config(&self) -> LinearConfig {
        self.config
    }

    /// Passes `weight` and `bias` in their own types to `visit`.
    ///
    /// # Errors
    /// Any error that `visit` returns; `MEMORY`.
    pub fn visit_entries(&self, visit: &mut dyn FnMut(&[TypedEntry<'_>]) -> Result<()>) -> Result<()> {
        self.parameters.visit(visit)
    }

    /// Returns the number of bytes of the parameters.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes()
    }

    /// Returns the same layer with the parameters that `entries` hold below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit, `DOMAIN` for values that the layer's type cannot hold, `MEMORY`.
    pub fn loaded(&self, entries: &[TypedEntry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let config = self.config;
        Ok(Self { config, parameters: self.parameters.loaded(entries, options, config.weight_type, true)? })
    }

    /// Computes `x Wᵀ + b` for x `[…, in_features]` into `output […, out_features]`.
    ///
    /// # Errors
    /// `SHAPE` if x or the output does not fit, `MEMORY`.
    pub fn forward(&self, context: Context<'_>, x: Tensor<'_>, output: &mut [f32]) -> Result<()> {
        if x.shape.rank() == 0 || x.shape.rows_and_columns().1 != self.config.in_features {
            return Err(Error::shape("x", format_args!("[…, {}]", self.config.in_features), x.shape));
        }
        let Parameters { rows: outputs, columns: depth, weight, bias } = &self.parameters;
        let rows = x.shape.rows_and_columns().0;
        check_output("output", output, rows.saturating_mul(*outputs))?;
        let weight = match weight {
            Matrix::Plain(weights) => Projection::Given(weights.borrow()),
            Matrix::Packed(packed) => Projection::Packed(packed),
        };
        let sizes = [rows, *depth, *outputs];
        project_weights(context, x.data, sizes, weight, bias.as_deref(), Finish::default(), output)
    }
}

/// `torch.nn.Embedding`: rows of a table by their indices.
#[derive(Debug, Clone)]
pub struct Embedding {
    config: EmbeddingConfig,
    parameters: Parameters,
}

impl Embedding {
    /// Creates a table of N(0, 1), drawn as in PyTorch after `torch.manual_seed(seed)`, within a few units in the last
    /// place.
    ///
    /// # Errors
    /// `OPTION` for sizes or a seed out of range, `MEMORY`.
    pub fn new(config: EmbeddingConfig) -> Result<Self> {
        ranges::count("num_embeddings", config.num_embeddings)?;
        ranges::count("embedding_dim", config.embedding_dim)?;
        ranges::seed("seed", config.seed)?;
        let EmbeddingConfig { num_embeddings, embedding_dim, weight_type, seed } = config;
        let mut weight = try_zeroed("parameters", num_embeddings.saturating_mul(embedding_dim))?;
        Mt19937::new(seed).fill_normal(&mut weight);
        let shape = [num_embeddings, embedding_dim];
        let parameters = Parameters::new(shape, Weights::F32(&weight), weight_type, false, None)?;
        Ok(Self { config, parameters })
    }

    /// Returns the configuration.
    pub fn config(&self) -> EmbeddingConfig {
        self.config
    }

    /// Passes `weight` in their own types to `visit`.
    ///
    /// # Errors
    /// Any error that `visit` returns; `MEMORY`.
    pub fn visit_entries(&self, visit: &mut dyn FnMut(&[TypedEntry<'_>]) -> Result<()>) -> Result<()> {
        self.parameters.visit(visit)
    }

    /// Returns the number of bytes of the parameters.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes()
    }

    /// Returns the same layer with the parameters that `entries` hold below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit, `DOMAIN` for values that the layer's type cannot hold, `MEMORY`.
    pub fn loaded(&self, entries: &[TypedEntry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let config = self.config;
        Ok(Self { config, parameters: self.parameters.loaded(entries, options, config.weight_type, false)? })
    }

    /// Writes the row of each index, in 32 bits, to `output [ids, embedding_dim]`.
    ///
    /// # Errors
    /// `OPTION` for an index out of range, `SHAPE` if the output has the wrong length.
    pub fn forward(&self, context: Context<'_>, ids: &[i32], output: &mut [f32]) -> Result<()> {
        let EmbeddingConfig { num_embeddings, embedding_dim, .. } = self.config;
        let Matrix::Plain(weights) = &self.parameters.weight else { return Ok(()) };
        check_output("output", output, ids.len().saturating_mul(embedding_dim))?;
        for (place, (&id, output)) in ids.iter().zip(output.chunks_exact_mut(embedding_dim)).enumerate() {
            match usize::try_from(id).ok().filter(|&row| row < num_embeddings) {
                Some(row) => weights.borrow().read_row(context.level, row, output),
                None => {
                    let expected = format_args!("an integer from 0 to {}", num_embeddings - 1);
                    return Err(Error::option(format!("ids[{place}]"), expected, id));
                }
            }
        }
        Ok(())
    }
}

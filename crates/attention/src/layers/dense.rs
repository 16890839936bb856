//! `torch.nn.Linear` and `torch.nn.Embedding`: one matrix of parameters, and a bias.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::layers::entries::{LoadOptions, StoredEntry, TypedEntry, dotted};
use crate::layers::parameters::{Initial, Naming, Parameter, Parameters, Part};
use crate::math::linear::{Finish, Projection, project_weights};
use crate::math::random::Mt19937;
use crate::math::weight::WeightType;
use crate::ranges;
use crate::tensor::{Shape, Tensor, check_output};

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

impl LinearConfig {
    fn table(&self) -> Vec<Parameter> {
        let &Self { in_features, out_features, use_bias, .. } = self;
        let row = |part, shape, initial| Parameter { part, shape, initial };
        let weight = Shape::of([out_features, in_features]);
        let mut table = vec![row(Part::Linear1Weight, weight, Initial::LinearWeight(in_features))];
        if use_bias {
            table.push(row(Part::Linear1Bias, Shape::of([out_features]), Initial::LinearBias(in_features)));
        }
        table
    }
}

impl EmbeddingConfig {
    fn table(&self) -> Vec<Parameter> {
        let shape = Shape::of([self.num_embeddings, self.embedding_dim]);
        vec![Parameter { part: Part::TableWeight, shape, initial: Initial::Normal(1.0) }]
    }
}

/// Returns the parameters that entries hold below a prefix.
fn load(
    table: (Vec<Parameter>, WeightType),
    naming: &Naming,
    entries: &[TypedEntry<'_>],
    options: LoadOptions<'_>,
) -> Result<Parameters> {
    let prefix = dotted(options.prefix);
    Parameters::load(table, naming, entries, LoadOptions { prefix: &prefix, ..options }, "")
}

/// The names of a projection and its bias.
const LINEAR: Naming = Naming {
    names: &[&[("weight", Part::Linear1Weight, Part::Linear1Weight), ("bias", Part::Linear1Bias, Part::Linear1Bias)]],
    optional: &[],
    companions: &[],
};

/// The name of a table.
const TABLE: Naming =
    Naming { names: &[&[("weight", Part::TableWeight, Part::TableWeight)]], optional: &[], companions: &[] };

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
        Self::init(config, Some(&mut Mt19937::new(config.seed)))
    }

    /// Creates a layer of zeros, for parameters that are loaded next.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn zeroed(config: LinearConfig) -> Result<Self> {
        Self::init(config, None)
    }

    fn init(config: LinearConfig, generator: Option<&mut Mt19937>) -> Result<Self> {
        ranges::count("in_features", config.in_features)?;
        ranges::count("out_features", config.out_features)?;
        ranges::seed("seed", config.seed)?;
        Ok(Self { config, parameters: Parameters::draw(config.table(), config.weight_type, &[], generator)? })
    }

    /// Returns the configuration.
    pub fn config(&self) -> LinearConfig {
        self.config
    }

    /// Returns `weight` and `bias`.
    pub fn entries(&self) -> Vec<StoredEntry<'_>> {
        self.parameters.entries(&LINEAR)
    }

    /// Returns the elements of each of [`Self::entries`] for changes in place, or `None` for those of another type than
    /// 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.parameters.floats_mut(&LINEAR)
    }

    /// Returns the number of bytes of the parameters.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes()
    }

    /// Returns the same layer with the parameters that `entries` hold below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit, `DOMAIN` for values that the layer's type cannot hold,
    /// `MEMORY`.
    pub fn loaded(&self, entries: &[TypedEntry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let table = (self.config.table(), self.config.weight_type);
        Ok(Self { config: self.config, parameters: load(table, &LINEAR, entries, options)? })
    }

    /// Computes `x Wᵀ + b` for x `[…, in_features]` into `output […, out_features]`.
    ///
    /// # Errors
    /// `SHAPE` if x or the output does not fit, `MEMORY`.
    pub fn forward(&self, context: Context<'_>, x: Tensor<'_>, output: &mut [f32]) -> Result<()> {
        if x.shape.rank() == 0 || x.shape.rows_and_columns().1 != self.config.in_features {
            return Err(Error::shape("x", format_args!("[…, {}]", self.config.in_features), x.shape));
        }
        let LinearConfig { in_features: depth, out_features: outputs, .. } = self.config;
        let rows = x.shape.rows_and_columns().0;
        check_output("output", output, rows.saturating_mul(outputs))?;
        let weight = self.parameters.projection(Part::Linear1Weight).unwrap_or(Projection::NONE);
        let bias = self.parameters.get(Part::Linear1Bias);
        project_weights(context, x.data, [rows, depth, outputs], weight, bias, Finish::default(), output)
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
        let parameters =
            Parameters::draw(config.table(), config.weight_type, &[], Some(&mut Mt19937::new(config.seed)))?;
        Ok(Self { config, parameters })
    }

    /// Returns the configuration.
    pub fn config(&self) -> EmbeddingConfig {
        self.config
    }

    /// Returns `weight`.
    pub fn entries(&self) -> Vec<StoredEntry<'_>> {
        self.parameters.entries(&TABLE)
    }

    /// Returns the elements of each of [`Self::entries`] for changes in place, or `None` for those of another type than
    /// 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.parameters.floats_mut(&TABLE)
    }

    /// Returns the number of bytes of the parameters.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes()
    }

    /// Returns the same layer with the parameters that `entries` hold below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit, `DOMAIN` for values that the layer's type cannot hold,
    /// `MEMORY`.
    pub fn loaded(&self, entries: &[TypedEntry<'_>], options: LoadOptions<'_>) -> Result<Self> {
        let table = (self.config.table(), self.config.weight_type);
        Ok(Self { config: self.config, parameters: load(table, &TABLE, entries, options)? })
    }

    /// Writes the row of each index, in 32 bits, to `output [ids, embedding_dim]`.
    ///
    /// # Errors
    /// `OPTION` for an index out of range, `SHAPE` if the output has the wrong length.
    pub fn forward(&self, context: Context<'_>, ids: &[i32], output: &mut [f32]) -> Result<()> {
        let EmbeddingConfig { num_embeddings, embedding_dim, .. } = self.config;
        let table = self.parameters.projection(Part::TableWeight);
        let Some(weights) = table.and_then(Projection::rows) else { return Ok(()) };
        check_output("output", output, ids.len().saturating_mul(embedding_dim))?;
        for (place, (&id, output)) in ids.iter().zip(output.chunks_exact_mut(embedding_dim)).enumerate() {
            match usize::try_from(id).ok().filter(|&row| row < num_embeddings) {
                Some(row) => weights.read_row(context.level, row, output),
                None => {
                    let expected = format_args!("an integer from 0 to {}", num_embeddings - 1);
                    return Err(Error::option(format!("ids[{place}]"), expected, id));
                }
            }
        }
        Ok(())
    }
}

//! The configuration of latent attention.

use crate::attention::rotary::Rotary;
use crate::error::{Error, Result};
use crate::layers::parameters::{Initial, Parameter, Part};
use crate::math::weight::WeightType;
use crate::ranges;
use crate::sizes::MOST_ELEMENTS;
use crate::tensor::Shape;

/// The configuration of latent attention. `model_dim`, `num_heads`, `latent_rank`, `nope_dim`, `rotary_dim` and
/// `value_dim` are required.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct LatentConfig {
    /// The size of input and output rows.
    pub model_dim: usize,
    /// The number of heads.
    pub num_heads: usize,
    /// The size of the latent of queries; by default queries are projected directly.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub query_rank: Option<usize>,
    /// The size of the latent of keys and values.
    pub latent_rank: usize,
    /// The number of a head's query and key features without positions.
    pub nope_dim: usize,
    /// The number of a head's query and key features that are rotated; keys share them between heads. Even.
    pub rotary_dim: usize,
    /// The size of a head's values.
    pub value_dim: usize,
    /// The rotation of the `rotary_dim` features.
    pub rotary: Rotary,
    /// Added to the variance by the norms of the latents, less than 1; 10⁻⁶ by default.
    pub epsilon: f32,
    /// Restricts query `i` to the keys `j ≤ i + query_offset` unless a call says otherwise; false by default.
    pub causal: bool,
    /// The factor of the scores in calls that give none; 1/√(nope_dim + rotary_dim) by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub scale: Option<f32>,
    /// Adds biases to the projections to the latents and of the output; false by default.
    pub use_bias: bool,
    /// The type of the projections' matrices; 32-bit floats by default. Biases and norms always have 32 bits.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "WeightType::is_f32"))]
    pub weight_type: WeightType,
    /// The seed of the initial parameters, less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for LatentConfig {
    fn default() -> Self {
        Self {
            model_dim: 0,
            num_heads: 0,
            query_rank: None,
            latent_rank: 0,
            nope_dim: 0,
            rotary_dim: 0,
            value_dim: 0,
            rotary: Rotary::default(),
            epsilon: 1e-6,
            causal: false,
            scale: None,
            use_bias: false,
            weight_type: WeightType::F32,
            seed: 0,
        }
    }
}

impl LatentConfig {
    /// Returns the size of a head's queries and keys.
    pub fn head_dim(&self) -> usize {
        self.nope_dim + self.rotary_dim
    }

    /// Returns the size of a row of the cache: the latent and the rotated features.
    pub fn cached_dim(&self) -> usize {
        self.latent_rank + self.rotary_dim
    }

    /// Returns the configuration with every default filled in.
    ///
    /// # Errors
    /// `OPTION` if a value is out of range or does not fit the others.
    pub fn resolved(mut self) -> Result<Self> {
        for (name, count) in [
            ("model_dim", self.model_dim),
            ("num_heads", self.num_heads),
            ("latent_rank", self.latent_rank),
            ("nope_dim", self.nope_dim),
            ("rotary_dim", self.rotary_dim),
            ("value_dim", self.value_dim),
        ] {
            ranges::count(name, count)?;
        }
        ranges::optional_count("query_rank", self.query_rank)?;
        ranges::probability("epsilon", self.epsilon)?;
        ranges::finite("scale", self.scale)?;
        ranges::seed("seed", self.seed)?;
        if !self.rotary_dim.is_multiple_of(2) {
            return Err(Error::value("rotary_dim", "an even integer of at least 2", self.rotary_dim));
        }
        let rotary = self.rotary.resolved(self.rotary_dim).map_err(|error| error.within("rotary"))?;
        if rotary.dim != Some(self.rotary_dim) {
            let expected = format_args!("rotary_dim {}, or nothing", self.rotary_dim);
            return Err(Error::value("dim", expected, "").within("rotary"));
        }
        self.rotary = rotary;
        let widest = self.nope_dim.saturating_add(self.rotary_dim).saturating_add(self.value_dim);
        let ranks = self.query_rank.unwrap_or(0).max(self.latent_rank).saturating_add(self.rotary_dim);
        let fits = |width: usize, inputs: usize| width.checked_mul(inputs).is_some_and(|n| n <= MOST_ELEMENTS);
        let inner = self.num_heads.saturating_mul(widest);
        for (name, width, inputs) in
            [("num_heads", inner, ranks.max(self.model_dim)), ("latent_rank", ranks, self.model_dim)]
        {
            if !fits(width, inputs) {
                return Err(Error::option(
                    name,
                    format_args!("projections of at most {MOST_ELEMENTS} elements"),
                    format_args!("{width} rows of {inputs}"),
                ));
            }
        }
        Ok(self)
    }

    /// Returns the parameters.
    pub(crate) fn table(&self) -> Vec<Parameter> {
        use Part::{
            LatentBias, LatentNormWeight, LatentUpWeight, LatentWeight, OutputBias, OutputWeight, QueryLatentBias,
            QueryLatentNormWeight, QueryLatentWeight, QueryUpWeight, QueryWeight,
        };
        let (model, heads) = (self.model_dim, self.num_heads);
        let (queries, values) = (heads * self.head_dim(), heads * self.value_dim);
        let rank = self.query_rank.unwrap_or(0);
        let (is_direct, biases) = (self.query_rank.is_none(), self.use_bias);
        let linear = |outputs, inputs| (Shape::of([outputs, inputs]), Initial::LinearWeight(inputs));
        let bias = |outputs, inputs| (Shape::of([outputs]), Initial::LinearBias(inputs));
        let ones = |size| (Shape::of([size]), Initial::Constant(1.0));
        let up = heads * (self.nope_dim + self.value_dim);
        let table = [
            (is_direct, QueryWeight, linear(queries, model)),
            (true, OutputWeight, linear(model, values)),
            (biases, OutputBias, bias(model, values)),
            (!is_direct, QueryLatentWeight, linear(rank, model)),
            (biases && !is_direct, QueryLatentBias, bias(rank, model)),
            (!is_direct, QueryLatentNormWeight, ones(rank)),
            (!is_direct, QueryUpWeight, linear(queries, rank)),
            (true, LatentWeight, linear(self.cached_dim(), model)),
            (biases, LatentBias, bias(self.cached_dim(), model)),
            (true, LatentNormWeight, ones(self.latent_rank)),
            (true, LatentUpWeight, linear(up, self.latent_rank)),
        ];
        let present = table.into_iter().filter(|(is_present, ..)| *is_present);
        present.map(|(_, part, (shape, initial))| Parameter { part, shape, initial }).collect()
    }
}

//! Attention over a low-rank latent (DeepSeek-AI 2024, "DeepSeek-V2"): keys and values of all heads are projections of
//! one latent vector per position. A few rotated key features are shared by all heads.

mod config;

use crate::attention::mask::Visibility;
use crate::attention::rotary::{self, Angles, Positions, RotaryArrays, Rows};
use crate::attention::{self, Arrays, Outputs, Problem, Strides, WeightsOf, check_volume};
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::layers::entries::{Entry, LoadOptions, dotted};
use crate::layers::parameters::{Naming, Parameters, Part};
use crate::math::linear::project;
use crate::math::norm::{Norm, NormKind, Segments};
use crate::math::random::Mt19937;
use crate::options::{LayerOptions, Layout};
use crate::sizes::KEY_BLOCK;
use crate::tensor::{Tensor, check_output, check_requested, try_zeroed};

pub use config::LatentConfig;

/// Latent attention: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct LatentAttention {
    config: LatentConfig,
    parameters: Parameters,
}

/// DeepSeek's names.
const DEEPSEEK: Naming = Naming {
    names: &[&[
        ("q_proj.weight", Part::QueryWeight, Part::QueryWeight),
        ("q_a_proj.weight", Part::QueryLatentWeight, Part::QueryLatentWeight),
        ("q_a_proj.bias", Part::QueryLatentBias, Part::QueryLatentBias),
        ("q_a_layernorm.weight", Part::QueryLatentNormWeight, Part::QueryLatentNormWeight),
        ("q_b_proj.weight", Part::QueryUpWeight, Part::QueryUpWeight),
        ("kv_a_proj_with_mqa.weight", Part::LatentWeight, Part::LatentWeight),
        ("kv_a_proj_with_mqa.bias", Part::LatentBias, Part::LatentBias),
        ("kv_a_layernorm.weight", Part::LatentNormWeight, Part::LatentNormWeight),
        ("kv_b_proj.weight", Part::LatentUpWeight, Part::LatentUpWeight),
        ("o_proj.weight", Part::OutputWeight, Part::OutputWeight),
        ("o_proj.bias", Part::OutputBias, Part::OutputBias),
    ]],
    optional: &[],
    companions: &[],
};

/// A call whose inputs and options were checked.
struct Plan<'a> {
    batch: usize,
    length: usize,
    visibility: Visibility<'a>,
    positions: Positions<'a>,
    angles: Angles,
    weights_of: WeightsOf,
    scale: f32,
    softcap: f32,
}

impl LatentAttention {
    /// Creates a layer whose projections are initialized as by `torch.nn.Linear`, from a seed.
    ///
    /// ```
    /// use ruvector_attention::layers::latent::{LatentAttention, LatentConfig};
    ///
    /// let config = LatentConfig {
    ///     model_dim: 32,
    ///     num_heads: 4,
    ///     latent_rank: 8,
    ///     nope_dim: 6,
    ///     rotary_dim: 4,
    ///     value_dim: 5,
    ///     ..LatentConfig::default()
    /// };
    /// assert_eq!(LatentAttention::new(config)?.config().cached_dim(), 12);
    /// # Ok::<(), ruvector_attention::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OPTION` if the configuration is invalid, `MEMORY` if an allocation fails.
    pub fn new(config: LatentConfig) -> Result<Self> {
        let config = config.resolved()?;
        let parameters = Parameters::draw(config.table(), &[], &mut Mt19937::new(config.seed))?;
        Ok(Self { config, parameters })
    }

    /// Returns the configuration with every default filled in.
    pub fn config(&self) -> &LatentConfig {
        &self.config
    }

    /// Returns names, shapes and elements of all parameters.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        self.parameters.entries(&DEEPSEEK)
    }

    /// Returns a layer of the same configuration with the parameters of a state dict below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit.
    pub fn loaded<'a>(&self, entries: &[Entry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<Self> {
        let options = options.into();
        let prefix = dotted(options.prefix);
        let options = LoadOptions { prefix: &prefix, ..options };
        let parameters = Parameters::load(self.config.table(), &DEEPSEEK, entries, options, "")?;
        Ok(Self { config: self.config.clone(), parameters })
    }

    /// Computes the output `[B, L, modelDim]` of x with the same shape and, if requested, the weights: `[B, H, L, L]`,
    /// or `[B, L, L]` for their mean. Query i has position `i + queryOffset` and key j position j, unless `rotary` has
    /// positions.
    ///
    /// # Errors
    /// `SHAPE` if shapes or lengths do not fit, `OPTION` if an option is out of range, `MEMORY`.
    pub fn forward(
        &self,
        context: Context<'_>,
        (x, rotary): (Tensor<'_>, RotaryArrays<'_>),
        options: &LayerOptions,
        arrays: Arrays<'_>,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let plan = self.plan((x, rotary), options, arrays, weights.as_deref())?;
        check_output("out", output, x.data.len())?;
        if x.data.is_empty() {
            return Ok(());
        }
        let rows = plan.batch * plan.length;
        let context = Context { is_packed: plan.visibility.sequences.is_some(), ..context };
        context.announce_work(self.operations(rows, plan.visibility.mean_keys(plan.length)));
        let mut queries = self.queries(context, x.data, rows)?;
        let mut latents = self.latents(context, x.data, rows)?;
        self.rotate(context, &plan, &mut queries, &mut latents)?;
        let joined = self.attend(context, plan, &queries, &latents, weights)?;
        self.project(context, &joined, Part::OutputWeight, Some(Part::OutputBias), self.config.model_dim, output)
    }

    /// Checks all arguments of a call except the output.
    fn plan<'a>(
        &self,
        (x, rotary): (Tensor<'_>, RotaryArrays<'a>),
        options: &LayerOptions,
        arrays: Arrays<'a>,
        weights: Option<&[f32]>,
    ) -> Result<Plan<'a>> {
        options.check()?;
        arrays.check_results(options.weights || weights.is_some(), options.average_weights)?;
        let config = &self.config;
        let [batch, length] = match *x.shape.dims() {
            [batch, length, last] if last == config.model_dim => [batch, length],
            _ => return Err(Error::shape("x", format_args!("[B, L, {}]", config.model_dim), x.shape)),
        };
        let shape = [batch, config.num_heads, length, length];
        check_volume(shape, config.head_dim().max(config.value_dim))?;
        let causal = options.causal.unwrap_or(config.causal);
        let offset = options.query_offset.unwrap_or(0);
        let visibility = Visibility::new(shape, 4, causal, options.window, offset, &arrays)?;
        let positions = Positions::new(rotary.positions, config.rotary.sections.is_some(), [batch, length])?;
        let angles = Angles::new(config.rotary, rotary.frequencies)?;
        let last = visibility.last_position(batch, length).max(length as i64);
        angles.check_position(positions.largest().unwrap_or(last.min(i32::MAX.into())))?;
        check_requested("weights", options.weights, weights.is_some())?;
        let weights_of = if options.average_weights { WeightsOf::MeanHead } else { WeightsOf::EachHead };
        if let Some(weights) = weights {
            let maps = if weights_of == WeightsOf::MeanHead { 1 } else { config.num_heads };
            check_output("weights", weights, batch * maps * length * length)?;
        }
        let scale = options.scale.or(config.scale).unwrap_or(1.0 / (config.head_dim() as f32).sqrt());
        Ok(Plan {
            batch,
            length,
            visibility,
            positions,
            angles,
            weights_of,
            scale,
            softcap: options.softcap.unwrap_or(0.0),
        })
    }

    fn operations(&self, rows: usize, keys: usize) -> u64 {
        let config = &self.config;
        let (heads, model, rank) = (config.num_heads, config.model_dim, config.latent_rank);
        let queries = match config.query_rank {
            Some(rank) => operations([2, rows, rank, model + heads * config.head_dim()]),
            None => operations([2, rows, model, heads * config.head_dim()]),
        };
        let head = config.head_dim() + config.value_dim;
        [
            queries,
            operations([2, rows, model, config.cached_dim() + heads * config.value_dim]),
            operations([2, rows, rank, heads * (config.nope_dim + config.value_dim)]),
            operations([rows * heads, keys, 2 * head + 16]),
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// Multiplies rows by a weight `[width, …]`, and adds its bias if there is one.
    fn project(
        &self,
        context: Context<'_>,
        x: &[f32],
        weight: Part,
        bias: Option<Part>,
        width: usize,
        output: &mut [f32],
    ) -> Result<()> {
        let weight = self.parameters.get(weight).unwrap_or_default();
        let bias = bias.and_then(|bias| self.parameters.get(bias));
        let depth = weight.len() / width;
        project(context, x, output.len() / width, depth, weight, width, bias, output)
    }

    fn norm(&self, weight: Part) -> Norm<'_> {
        Norm {
            kind: NormKind::Rms,
            weight: self.parameters.get(weight),
            weight_offset: 0.0,
            bias: None,
            epsilon: self.config.epsilon,
        }
    }

    /// Projects x to queries `[rows, heads, nopeDim + rotaryDim]`.
    fn queries(&self, context: Context<'_>, x: &[f32], rows: usize) -> Result<Vec<f32>> {
        let width = self.config.num_heads * self.config.head_dim();
        let mut queries = try_zeroed("working memory", rows * width)?;
        let Some(rank) = self.config.query_rank else {
            self.project(context, x, Part::QueryWeight, None, width, &mut queries)?;
            return Ok(queries);
        };
        let mut latents = try_zeroed("working memory", rows * rank)?;
        self.project(context, x, Part::QueryLatentWeight, Some(Part::QueryLatentBias), rank, &mut latents)?;
        self.norm(Part::QueryLatentNormWeight).apply(context, &mut latents, rank);
        self.project(context, &latents, Part::QueryUpWeight, None, width, &mut queries)?;
        Ok(queries)
    }

    /// Projects x to rows `[rows, latentRank + rotaryDim]`, and normalizes their latents.
    fn latents(&self, context: Context<'_>, x: &[f32], rows: usize) -> Result<Vec<f32>> {
        let (rank, width) = (self.config.latent_rank, self.config.cached_dim());
        let mut latents = try_zeroed("working memory", rows * width)?;
        self.project(context, x, Part::LatentWeight, Some(Part::LatentBias), width, &mut latents)?;
        let segments = Segments { row: width, columns: 0..rank, step: rank, size: rank };
        self.norm(Part::LatentNormWeight).apply_within(context, &mut latents, &segments);
        Ok(latents)
    }

    /// Rotates the last features of queries and of keys by their positions.
    fn rotate(&self, context: Context<'_>, plan: &Plan<'_>, queries: &mut [f32], latents: &mut [f32]) -> Result<()> {
        let LatentConfig { num_heads: heads, nope_dim, latent_rank, .. } = self.config;
        let &Plan { batch, length, ref positions, ref angles, .. } = plan;
        let (size, width) = (self.config.head_dim(), self.config.cached_dim());
        let query_strides = Strides::new(Layout::Blhd, heads, length, size);
        let key_strides = Strides::new(Layout::Blhd, 1, length, width);
        let rows = Rows { data: &mut queries[nope_dim..], strides: query_strides, batch, heads, length };
        let position = |b, i, axis| positions.get(b, i, axis).unwrap_or_else(|| plan.visibility.position(b, i) as f64);
        rotary::rotate(context, angles, rows, &position)?;
        let rows = Rows { data: &mut latents[latent_rank..], strides: key_strides, batch, heads: 1, length };
        rotary::rotate(context, angles, rows, &|b, j, axis| {
            positions.get(b, j, axis).unwrap_or_else(|| plan.visibility.key_position(j) as f64)
        })
    }

    /// Expands the latents to keys and values of every head, and attends to them: `[B, L, heads, valueDim]`.
    fn attend(
        &self,
        context: Context<'_>,
        plan: Plan<'_>,
        queries: &[f32],
        latents: &[f32],
        weights: Option<&mut [f32]>,
    ) -> Result<Vec<f32>> {
        let LatentConfig { num_heads: heads, nope_dim, rotary_dim, value_dim, latent_rank, .. } = self.config;
        let Plan { batch, length, visibility, weights_of, scale, softcap, .. } = plan;
        let (rows, size, width) = (batch * length, self.config.head_dim(), self.config.cached_dim());
        // 1. Keys and values without positions, side by side in each head: `[rows, heads, nopeDim + valueDim]`.
        let mut plain = try_zeroed("working memory", rows * latent_rank)?;
        for (plain, latent) in plain.chunks_exact_mut(latent_rank).zip(latents.chunks_exact(width)) {
            plain.copy_from_slice(&latent[..latent_rank]);
        }
        let pair = nope_dim + value_dim;
        let mut expanded = try_zeroed("working memory", rows * heads * pair)?;
        self.project(context, &plain, Part::LatentUpWeight, None, heads * pair, &mut expanded)?;
        // 2. Keys: a head's own features, and the rotated ones of all heads.
        let mut keys = try_zeroed("working memory", rows * heads * size)?;
        for (row, latent) in latents.chunks_exact(width).enumerate() {
            for head in row * heads..(row + 1) * heads {
                let (own, shared) = keys[head * size..][..size].split_at_mut(nope_dim);
                own.copy_from_slice(&expanded[head * pair..][..nope_dim]);
                shared.copy_from_slice(&latent[latent_rank..][..rotary_dim]);
            }
        }
        // 3. Attention over all heads.
        let strides = |size| Strides::new(Layout::Blhd, heads, length, size);
        let problem = Problem {
            q: queries,
            k: &keys,
            v: &expanded[nope_dim..],
            q_strides: strides(size),
            k_strides: strides(size),
            v_strides: strides(pair),
            output_strides: strides(value_dim),
            batch,
            heads,
            kv_heads: heads,
            queries: length,
            keys: length,
            first_rows: None,
            head_dim: size,
            value_dim,
            scale,
            softcap,
            visibility,
            key_block: KEY_BLOCK,
            dropout: None,
            ball: None,
            section: None,
        };
        let mut joined = try_zeroed("working memory", rows * heads * value_dim)?;
        let outputs = Outputs { output: &mut joined, weights, ..Outputs::default() };
        attention::attend(context, &problem, outputs, weights_of, None)?;
        Ok(joined)
    }
}

//! Attention over a low-rank latent (DeepSeek-AI 2024, "DeepSeek-V2"): keys and values of all heads are projections of
//! one latent vector per position. A few rotated key features are shared by all heads. A cache holds both side by side,
//! and nothing per head.

mod config;

use crate::attention::cache::Block;
use crate::attention::head_rows::Stored;
use crate::attention::mask::Visibility;
use crate::attention::rotary::{self, Angles, Positions, Rows};
use crate::attention::{self, Arrays, Outputs, Problem, Strides, WeightsOf, check_volume};
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::layers::cached::{Cached, check_cache, visibility};
use crate::layers::entries::{LoadOptions, StoredEntry, TypedEntry, dotted};
use crate::layers::multi_head::Inputs;
use crate::layers::parameters::{Naming, Parameters, Part};
use crate::math::linear::{Finish, Projection, project, project_weights};
use crate::math::norm::{Norm, NormKind, Segments};
use crate::math::random::Mt19937;
use crate::math::weight::Weights;
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
    /// The number of keys: that of the rows, or of all that a cache holds.
    keys: usize,
    visibility: Visibility<'a>,
    cached: Option<&'a Cached<'a>>,
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
        let parameters =
            Parameters::draw(config.table(), config.weight_type, &[], Some(&mut Mt19937::new(config.seed)))?;
        Ok(Self { config, parameters })
    }

    /// Returns the configuration with every default filled in.
    pub fn config(&self) -> &LatentConfig {
        &self.config
    }

    /// Returns names, shapes and elements of all parameters.
    pub fn entries(&self) -> Vec<StoredEntry<'_>> {
        self.parameters.entries(&DEEPSEEK)
    }

    /// Returns the elements of each of [`Self::entries`] for changes in place, or `None` for those of another type than
    /// 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.parameters.floats_mut(&DEEPSEEK)
    }

    /// Returns the number of bytes of the parameters.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes()
    }

    /// Returns a layer of the same configuration with the parameters of a state dict below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit.
    pub fn loaded<'a>(&self, entries: &[TypedEntry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<Self> {
        let options = options.into();
        let prefix = dotted(options.prefix);
        let options = LoadOptions { prefix: &prefix, ..options };
        let table = (self.config.table(), self.config.weight_type);
        let parameters = Parameters::load(table, &DEEPSEEK, entries, options, "")?;
        Ok(Self { config: self.config.clone(), parameters })
    }

    /// Returns the number of keys that a call attends to.
    ///
    /// # Errors
    /// The errors of [`Self::forward`] about the input and the cache.
    pub fn num_keys(&self, inputs: Inputs<'_>, options: &LayerOptions, arrays: Arrays<'_>) -> Result<usize> {
        match self.place(inputs, options, arrays)? {
            Some(cached) => Ok(cached.placement.keys),
            None => Ok(inputs.query.shape.dims().get(1).copied().unwrap_or(0)),
        }
    }

    /// Computes the output `[B, L, modelDim]` of an input x with the same shape and, if requested, the weights: `[B, H,
    /// L, S]`, or `[B, L, S]` for their mean. Query i has position `i + queryOffset` and key j position j, unless the
    /// inputs have positions. The inputs have neither key nor value; their cache has one head with keys of
    /// [`LatentConfig::cached_dim`] features, of which the latent ones are the value.
    ///
    /// # Errors
    /// `SHAPE` if shapes or lengths do not fit, `OPTION` if an option is out of range, `MEMORY`.
    pub fn forward<'a>(
        &self,
        context: Context<'_>,
        inputs: impl Into<Inputs<'a>>,
        options: &LayerOptions,
        arrays: Arrays<'_>,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let inputs = inputs.into();
        let x = inputs.query;
        let cached = self.place(inputs, options, arrays)?;
        let plan = self.plan(inputs, options, arrays, weights.as_deref(), cached.as_ref())?;
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
        let joined = self.attend(context, &plan, &queries, &latents, weights)?;
        self.project(context, &joined, Part::OutputWeight, Some(Part::OutputBias), self.config.model_dim, output)
    }

    /// Checks the input x and the cache of a call, and finds the place of its rows there.
    fn place<'a>(&self, inputs: Inputs<'a>, options: &LayerOptions, arrays: Arrays<'a>) -> Result<Option<Cached<'a>>> {
        let [batch, length] = self.dims(inputs.query)?;
        let Some(cache) = inputs.cache else { return Ok(None) };
        check_cache(cache, [batch, 1, self.config.cached_dim(), self.config.latent_rank], true)?;
        Cached::after(cache, "x", length, options, arrays).map(Some)
    }

    /// Returns batch size and length of the input.
    fn dims(&self, x: Tensor<'_>) -> Result<[usize; 2]> {
        match *x.shape.dims() {
            [batch, length, last] if last == self.config.model_dim => Ok([batch, length]),
            _ => Err(Error::shape("x", format_args!("[B, L, {}]", self.config.model_dim), x.shape)),
        }
    }

    /// Checks all arguments of a call except the output.
    fn plan<'a>(
        &self,
        Inputs { query: x, rotary, .. }: Inputs<'a>,
        options: &LayerOptions,
        arrays: Arrays<'a>,
        weights: Option<&[f32]>,
        cached: Option<&'a Cached<'a>>,
    ) -> Result<Plan<'a>> {
        options.check()?;
        arrays.check_results(options.weights || weights.is_some(), options.average_weights)?;
        let config = &self.config;
        let [batch, length] = self.dims(x)?;
        let keys = cached.map_or(length, |cached| cached.placement.keys);
        let shape = [batch, config.num_heads, length, keys];
        check_volume(shape, config.head_dim().max(config.value_dim))?;
        let causal = options.causal.unwrap_or(config.causal);
        let visibility = visibility(cached, shape, (causal, options.window), options.query_offset, &arrays)?;
        let positions = Positions::new(rotary.positions, config.rotary.sections.is_some(), [batch, length])?;
        let angles = Angles::new(config.rotary, rotary.frequencies)?;
        let of_cache = |b| cached.and_then(|cached| cached.position(b, length)).map(|position| position as i64);
        let last = (0..batch).filter_map(of_cache).max();
        let last = last.unwrap_or_else(|| visibility.last_position(batch, length)).max(keys as i64);
        angles.check_position(positions.largest().unwrap_or(last.min(i32::MAX.into())))?;
        check_requested("weights", options.weights, weights.is_some())?;
        let weights_of = if options.average_weights { WeightsOf::MeanHead } else { WeightsOf::EachHead };
        if let Some(weights) = weights {
            let maps = if weights_of == WeightsOf::MeanHead { 1 } else { config.num_heads };
            check_output("weights", weights, batch * maps * length * keys)?;
        }
        let scale = options.scale.or(config.scale).unwrap_or(1.0 / (config.head_dim() as f32).sqrt());
        Ok(Plan {
            batch,
            length,
            keys,
            visibility,
            cached,
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
        let weight = self.parameters.projection(weight).unwrap_or(Projection::NONE);
        let bias = bias.and_then(|bias| self.parameters.get(bias));
        let rows = output.len() / width;
        let depth = x.len().checked_div(rows).unwrap_or(0);
        project_weights(context, x, [rows, depth, width], weight, bias, Finish::default(), output)
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
        let &Plan { batch, length, cached, visibility, ref positions, ref angles, .. } = plan;
        let (size, width) = (self.config.head_dim(), self.config.cached_dim());
        let query_strides = Strides::new(Layout::Blhd, heads, length, size);
        let key_strides = Strides::new(Layout::Blhd, 1, length, width);
        let given = |b, i, axis| positions.get(b, i, axis).or_else(|| cached?.position(b, i));
        let rows = Rows { data: &mut queries[nope_dim..], strides: query_strides, batch, heads, length };
        let position = |b, i, axis| given(b, i, axis).unwrap_or_else(|| visibility.position(b, i) as f64);
        rotary::rotate(context, angles, rows, &position)?;
        let rows = Rows { data: &mut latents[latent_rank..], strides: key_strides, batch, heads: 1, length };
        let position = |b, j, axis| given(b, j, axis).unwrap_or_else(|| visibility.key_position(j) as f64);
        rotary::rotate(context, angles, rows, &position)
    }

    /// Attends to the latents of the call, or with a cache to all that it then holds: `[B, L, heads, valueDim]`.
    fn attend(
        &self,
        context: Context<'_>,
        plan: &Plan<'_>,
        queries: &[f32],
        latents: &[f32],
        mut weights: Option<&mut [f32]>,
    ) -> Result<Vec<f32>> {
        let LatentConfig { num_heads: heads, value_dim, .. } = self.config;
        let Plan { batch, length, .. } = *plan;
        let mut joined = try_zeroed("working memory", batch * length * heads * value_dim)?;
        let strides = Strides::new(Layout::Blhd, 1, length, self.config.cached_dim());
        let block = Block { data: latents, strides, length };
        let mut run = |stored: Stored<'_>| match self.up_weight(plan) {
            Some(up) => self.attend_latents(context, plan, (queries, stored, up), &mut joined, weights.take()),
            None => self.attend_expanded(context, plan, (queries, stored), &mut joined, weights.take()),
        };
        match plan.cached {
            None => run(block.into())?,
            Some(cached) => cached.with_appended([block; 2], &mut |[stored, _]| run(stored))?,
        }
        Ok(joined)
    }

    /// Returns the weight that expands latents if it costs less to apply it to queries and outputs: for few rows over a
    /// long cache.
    fn up_weight(&self, plan: &Plan<'_>) -> Option<&[f32]> {
        let LatentConfig { nope_dim, rotary_dim, value_dim, latent_rank: rank, .. } = self.config;
        let [rows, keys] = [plan.length as f64, plan.keys as f64];
        let expansion = (rank * (nope_dim + value_dim)) as f64;
        let over_latents = rows * keys * (2 * rank + rotary_dim) as f64 + (rows + 1.0) * expansion;
        let over_heads = rows * keys * (nope_dim + rotary_dim + value_dim) as f64 + keys * expansion;
        let is_cheaper = plan.cached.is_some() && over_latents < over_heads;
        is_cheaper.then(|| self.parameters.get(Part::LatentUpWeight)).flatten()
    }

    /// Expands the stored latents to keys and values of every head, and attends to them.
    fn attend_expanded(
        &self,
        context: Context<'_>,
        plan: &Plan<'_>,
        (queries, stored): (&[f32], Stored<'_>),
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let LatentConfig { num_heads: heads, nope_dim, rotary_dim, value_dim, latent_rank, .. } = self.config;
        let Plan { batch, keys: length, cached, weights_of, .. } = *plan;
        let (rows, size) = (batch * length, self.config.head_dim());
        let width = latent_rank + rotary_dim;
        // Rows that a batch entry does not have stay zero.
        let mut latents = try_zeroed("working memory", rows * width)?;
        for (b, latents) in latents.chunks_exact_mut((length * width).max(1)).enumerate() {
            let [first, count] = cached.map_or([0, length], |Cached { placement, .. }| {
                [placement.first_rows[b], placement.kv_lengths[b] as usize]
            });
            let row = stored.strides.row(b, 0, first) / width;
            stored.data.read_rows(context.level, row, [width; 2], &mut latents[..count * width]);
        }
        // 1. Keys and values without positions, side by side in each head: `[rows, heads, nopeDim + valueDim]`.
        let mut plain = try_zeroed("working memory", rows * latent_rank)?;
        gather(&latents, [width, 0, latent_rank], &mut plain);
        let pair = nope_dim + value_dim;
        let mut expanded = try_zeroed("working memory", rows * heads * pair)?;
        self.project(context, &plain, Part::LatentUpWeight, None, heads * pair, &mut expanded)?;
        // 2. Keys: a head's own features, and the rotated ones of all heads.
        let mut keys = try_zeroed("working memory", rows * heads * size)?;
        for (index, latent) in latents.chunks_exact(width).enumerate() {
            for head in index * heads..(index + 1) * heads {
                let (own, shared) = keys[head * size..][..size].split_at_mut(nope_dim);
                own.copy_from_slice(&expanded[head * pair..][..nope_dim]);
                shared.copy_from_slice(&latent[latent_rank..]);
            }
        }
        // 3. Attention over all heads.
        let block =
            |data, size| Stored { data: Weights::F32(data), strides: Strides::new(Layout::Blhd, heads, length, size) };
        let blocks = [block(&keys, size), block(&expanded[nope_dim..], pair)];
        let problem = self.problem(plan, queries, blocks, heads, [size, value_dim]);
        let outputs = Outputs { output, weights, ..Outputs::default() };
        attention::attend(context, &problem, outputs, weights_of, None)
    }

    /// Attends to the stored latents, which all heads share: a head's weight for keys is applied to its queries, and
    /// that for values to its outputs. `up` is `[heads, nopeDim + valueDim, latentRank]`.
    fn attend_latents(
        &self,
        context: Context<'_>,
        plan: &Plan<'_>,
        (queries, stored, up): (&[f32], Stored<'_>, &[f32]),
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let LatentConfig { num_heads: heads, nope_dim, value_dim, latent_rank: rank, .. } = self.config;
        let (rows, size, width) = (plan.batch * plan.length, self.config.head_dim(), self.config.cached_dim());
        let allocate = |size: usize| try_zeroed("working memory", size);
        let (mut over_latents, mut attended) = (allocate(rows * heads * width)?, allocate(rows * heads * rank)?);
        // The values of one head, the result of a product with its weight, and a transposed weight.
        let mut plain = allocate(rows * nope_dim.max(rank))?;
        let mut product = allocate(rows * rank.max(value_dim))?;
        let mut transposed = allocate(rank * nope_dim)?;
        let heads_of_up = || up.chunks_exact((nope_dim + value_dim) * rank).enumerate();
        // 1. Queries over latents, and their rotated features.
        for (head, up) in heads_of_up() {
            for (index, row) in up.chunks_exact(rank).take(nope_dim).enumerate() {
                let column = transposed[index..].iter_mut().step_by(nope_dim);
                column.zip(row).for_each(|(to, &weight)| *to = weight);
            }
            gather(queries, [heads * size, head * size, nope_dim], &mut plain);
            let x = &plain[..rows * nope_dim];
            project(context, x, rows, nope_dim, &transposed, rank, None, &mut product[..rows * rank])?;
            scatter(&product, [heads * width, head * width, rank], &mut over_latents);
        }
        for (query, given) in over_latents.chunks_exact_mut(width).zip(queries.chunks_exact(size)) {
            query[rank..].copy_from_slice(&given[nope_dim..]);
        }
        // 2. Attention to one key and value for all heads.
        let first_rows = plan.cached.map(|cached| &*cached.placement.first_rows);
        let problem = self.problem(plan, &over_latents, [stored; 2], 1, [width, rank]);
        let outputs = Outputs { output: &mut attended, weights, ..Outputs::default() };
        attention::attend(context, &Problem { first_rows, ..problem }, outputs, plan.weights_of, None)?;
        // 3. Values of each head.
        for (head, up) in heads_of_up() {
            gather(&attended, [heads * rank, head * rank, rank], &mut plain);
            let (x, values) = (&plain[..rows * rank], &up[nope_dim * rank..]);
            project(context, x, rows, rank, values, value_dim, None, &mut product[..rows * value_dim])?;
            scatter(&product, [heads * value_dim, head * value_dim, value_dim], output);
        }
        Ok(())
    }

    /// Returns the problem of a call over keys and values of `kv_heads` heads.
    fn problem<'p>(
        &self,
        plan: &Plan<'p>,
        queries: &'p [f32],
        [k, v]: [Stored<'p>; 2],
        kv_heads: usize,
        [head_dim, value_dim]: [usize; 2],
    ) -> Problem<'p> {
        let heads = self.config.num_heads;
        let strides = |size| Strides::new(Layout::Blhd, heads, plan.length, size);
        Problem {
            q: queries,
            k: k.data,
            v: v.data,
            q_strides: strides(head_dim),
            k_strides: k.strides,
            v_strides: v.strides,
            output_strides: strides(value_dim),
            batch: plan.batch,
            heads,
            kv_heads,
            queries: plan.length,
            keys: plan.keys,
            first_rows: None,
            head_dim,
            value_dim,
            scale: plan.scale,
            softcap: plan.softcap,
            visibility: plan.visibility,
            key_block: KEY_BLOCK,
            dropout: None,
            ball: None,
            section: None,
        }
    }
}

/// Copies `size` values from `first` on of each row of `width` values to contiguous rows.
fn gather(rows: &[f32], [width, first, size]: [usize; 3], contiguous: &mut [f32]) {
    for (to, row) in contiguous.chunks_exact_mut(size).zip(rows.chunks_exact(width)) {
        to.copy_from_slice(&row[first..][..size]);
    }
}

/// The reverse of [`gather`].
fn scatter(contiguous: &[f32], [width, first, size]: [usize; 3], rows: &mut [f32]) {
    for (row, from) in rows.chunks_exact_mut(width).zip(contiguous.chunks_exact(size)) {
        row[first..][..size].copy_from_slice(from);
    }
}

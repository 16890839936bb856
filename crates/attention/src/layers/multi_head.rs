//! Multi-head attention like `torch.nn.MultiheadAttention(batch_first=True)`: input projections, heads, output
//! projection. Self-attention and cross-attention are the same layer with fewer inputs.

use crate::attention::bias::RelativeBias;
use crate::attention::cache::{Block, KvCache};
use crate::attention::head_rows::Stored;
use crate::attention::mask::Visibility;
use crate::attention::packed::Sequences;
use crate::attention::rotary::{self, Angles, Positions, RotaryArrays, Rows};
use crate::attention::{self, Arrays, Outputs, Problem, Strides, WeightsOf};
use crate::context::{Context, Partition, operations};
use crate::error::{Error, Result};
use crate::layers::attention_state::AttentionState;
use crate::layers::cached::{Cached, check_cache, check_not_packed, visibility};
use crate::layers::entries::{LoadOptions, TypedEntry};
use crate::layers::extra_keys::{Attended, ExtraKeys};
use crate::layers::parameters::Part;
use crate::layers::relative_bias;
use crate::math::gate::Gates;
use crate::math::linear::{Finish, project_weights};
use crate::math::norm::{Norm, Segments};
use crate::math::random::Dropout;
use crate::options::{AttentionConfig, LayerKind, LayerOptions, Layout, NormOver, QkNorm};
use crate::sizes::KEY_BLOCK;
use crate::tensor::{Tensor, check_output, check_requested, try_zeroed};

/// An attention layer: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct MultiHeadAttention {
    state: AttentionState,
}

/// The inputs of one call. The value defaults to the key, and the key to the query.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// `[B, L, modelDim]`.
    pub query: Tensor<'a>,
    /// `[B, S, kDim]`.
    pub key: Option<Tensor<'a>>,
    /// `[B, S, vDim]`.
    pub value: Option<Tensor<'a>>,
    /// The positions of the query's rows, and of its keys if there is no key input; frequencies in place of those of
    /// the configuration. Only for layers with rotary positions.
    pub rotary: RotaryArrays<'a>,
    /// Receives this call's keys and values, after those of earlier calls, and is attended to as a whole. For
    /// cross-attention, the first call fills it and later calls only read it; they need no key.
    pub cache: Option<&'a KvCache>,
}

impl<'a> Inputs<'a> {
    /// Returns inputs at their default positions.
    pub fn new(query: Tensor<'a>, key: Option<Tensor<'a>>, value: Option<Tensor<'a>>) -> Self {
        Self { query, key, value, rotary: RotaryArrays::default(), cache: None }
    }
}

impl<'a> From<Tensor<'a>> for Inputs<'a> {
    fn from(query: Tensor<'a>) -> Self {
        Self::new(query, None, None)
    }
}

/// A layer's q, k and v after projection, each `[B, length, heads · headDim]` with strided rows.
struct Projected {
    data: Vec<f32>,
    /// The offsets of k and v, and the strides of the rows of q and of k and v.
    key: usize,
    value: usize,
    query_row: usize,
    kv_row: usize,
}

/// A call whose inputs and options were checked.
pub(crate) struct Plan<'a> {
    batch: usize,
    queries: usize,
    keys: usize,
    visibility: Visibility<'a>,
    positions: Positions<'a>,
    cached: Option<&'a Cached<'a>>,
    /// Set if the layer has rotary positions.
    angles: Option<Angles>,
    /// The layer's own relative bias of each batch entry, or one for all of them.
    relative: Option<Vec<f32>>,
    weights_of: WeightsOf,
    scale: f32,
    softcap: f32,
    dropout: Option<Dropout>,
}

impl<'a> Plan<'a> {
    /// Returns true if the call is one of packed sequences.
    pub(crate) fn is_packed(&self) -> bool {
        self.visibility.sequences.is_some()
    }

    /// Returns the cumulative lengths of the rows of packed sequences.
    pub(crate) fn row_offsets(&self) -> Option<&'a [i32]> {
        self.visibility.sequences.map(Sequences::row_offsets)
    }
}

impl MultiHeadAttention {
    /// Creates a layer from its parameters.
    pub(crate) fn with_state(state: AttentionState) -> Self {
        Self { state }
    }

    /// Creates a layer with the parameters that `torch.nn.MultiheadAttention` draws after `torch.manual_seed(seed)`.
    ///
    /// ```
    /// use ruvector_attention::layers::multi_head::MultiHeadAttention;
    /// use ruvector_attention::options::AttentionConfig;
    ///
    /// let config = AttentionConfig { num_heads: 4, head_dim: 8, seed: Some(42), ..AttentionConfig::default() };
    /// let layer = MultiHeadAttention::new(config)?;
    /// assert_eq!(layer.config().model_dim(), 32);
    /// # Ok::<(), ruvector_attention::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OPTION` if the configuration is invalid, `MEMORY` if an allocation fails.
    pub fn new(config: AttentionConfig) -> Result<Self> {
        Ok(Self { state: AttentionState::init(&config.resolved()?)? })
    }

    /// Returns the configuration with every default filled in.
    pub fn config(&self) -> &AttentionConfig {
        self.state.config()
    }

    /// Returns the parameters with their names and shapes.
    pub fn state(&self) -> &AttentionState {
        &self.state
    }

    /// Returns the elements of each of the entries of [`Self::state`] for changes in place, or `None` for
    /// those of another type than 32-bit floats.
    #[cfg(feature = "training")]
    pub fn floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.state.floats_mut()
    }

    /// Returns the elements of the parameters by Llama's names, like [`Self::floats_mut`].
    #[cfg(feature = "training")]
    pub(crate) fn llama_floats_mut(&mut self) -> Vec<Option<&mut [f32]>> {
        self.state.llama_floats_mut()
    }

    /// Loads the parameters from a state dict, by the names of PyTorch, BERT, Llama or Whisper below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit; the layer is then unchanged.
    pub fn load<'a>(&mut self, entries: &[TypedEntry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<()> {
        *self = self.loaded(entries, options)?;
        Ok(())
    }

    /// Returns a layer of the same configuration with the parameters of a state dict, under the rules of
    /// [`Self::load`].
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit.
    pub fn loaded<'a>(&self, entries: &[TypedEntry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<Self> {
        Ok(Self { state: AttentionState::load(self.config(), entries, options.into())? })
    }

    /// Computes the output `[B, L, modelDim]` and, if requested, the weights: `[B, H, L, S]`, or `[B, L, S]` for their
    /// mean.
    ///
    /// If the configuration has `rotary`, query i is rotated by position `i + queryOffset` and key j by position j,
    /// unless the inputs have positions of their own. In a call of packed sequences, both count from the start of their
    /// sequence.
    /// Dropout acts in training only.
    ///
    /// # Errors
    /// `SHAPE` if shapes or lengths do not fit, `OPTION` if an option is out of range, `MEMORY`.
    pub fn forward(
        &self,
        context: Context<'_>,
        inputs: Inputs<'_>,
        options: &LayerOptions,
        arrays: Arrays<'_>,
        training: bool,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let cached = self.place(inputs, options, arrays)?;
        let plan = self.plan(inputs, options, arrays, training, weights.as_deref(), cached.as_ref())?;
        check_output("out", output, inputs.query.data.len())?;
        let Some(partition) = self.partition(context, &plan, weights.is_some()) else { return Ok(()) };
        self.run(context.with_partition(partition), inputs, plan, Finish::default(), output, weights)
    }

    /// Returns the part of the call to compute. If the call cannot be split, part 0 does everything and the others
    /// nothing.
    ///
    /// A call can be split only for a single sequence in which every head has its own keys and values; only then do its
    /// steps divide rows into the same blocks.
    pub(crate) fn partition(&self, context: Context<'_>, plan: &Plan<'_>, has_weights: bool) -> Option<Partition> {
        let partition = context.partition;
        let config = self.config();
        let has_blocks = plan.queries >= partition.count * context.level.block_rows();
        let is_one = plan.batch == 1 && !plan.is_packed();
        if is_one && has_blocks && config.kv_heads() == config.num_heads && !has_weights {
            return Some(partition);
        }
        (partition.index == 0).then_some(Partition::WHOLE)
    }

    /// Checks all arguments of a call except the output.
    pub(crate) fn plan<'a>(
        &'a self,
        inputs: Inputs<'a>,
        options: &LayerOptions,
        arrays: Arrays<'a>,
        training: bool,
        weights: Option<&[f32]>,
        cached: Option<&'a Cached<'a>>,
    ) -> Result<Plan<'a>> {
        options.check()?;
        arrays.check_results(options.weights || weights.is_some(), options.average_weights)?;
        let config = self.config();
        let [batch, queries] = dims("q", inputs.query, config.model_dim())?;
        let keys = match cached {
            Some(Cached { placement, is_filled: true, .. }) => placement.keys,
            _ => {
                let keys = self.check_keys(inputs, batch)?;
                cached.map_or(keys, |cached| cached.placement.keys)
            }
        };
        let heads = config.num_heads;
        let shape = [batch, heads, queries, keys];
        let (causal, window) = (options.causal.or(config.causal).unwrap_or(false), options.window.or(config.window));
        self.check_parameters(&arrays)?;
        let arrays = Arrays { sinks: self.state.part(Part::Sinks).or(arrays.sinks), ..arrays };
        let visibility = visibility(cached, shape, (causal, window), options.query_offset, &arrays)?;
        let relative = self.relative_bias(&visibility, [batch, queries])?;
        let (positions, angles) = self.angles(inputs.rotary, [batch, queries])?;
        if let Some(angles) = &angles {
            let of_cache = |b| cached.and_then(|cached| cached.position(b, queries)).map(|position| position as i64);
            let cached = (0..batch).filter_map(of_cache).max();
            let last = cached.unwrap_or_else(|| visibility.last_position(batch, queries)).max(keys as i64);
            angles.check_position(positions.largest().unwrap_or(last.min(i32::MAX.into())))?;
        }
        check_requested("weights", options.weights, weights.is_some())?;
        let weights_of = if options.average_weights { WeightsOf::MeanHead } else { WeightsOf::EachHead };
        if let Some(weights) = weights {
            let maps = if weights_of == WeightsOf::MeanHead { 1 } else { heads };
            check_output("weights", weights, batch * maps * queries * (keys + config.extra_keys()))?;
        }
        Ok(Plan {
            batch,
            queries,
            keys,
            visibility,
            positions,
            cached,
            angles,
            relative,
            weights_of,
            scale: options.scale.unwrap_or(config.scale()),
            softcap: options.softcap.or(config.softcap).unwrap_or(0.0),
            dropout: training.then(|| Dropout::new(config.dropout(), options.seed.unwrap_or(config.seed()))).flatten(),
        })
    }

    /// Checks that no array takes the place of a parameter.
    fn check_parameters(&self, arrays: &Arrays<'_>) -> Result<()> {
        let given = [
            ("relative_bias", Part::RelativeBias, arrays.relative_bias.is_some()),
            ("sinks", Part::Sinks, arrays.sinks.is_some()),
        ];
        match given.into_iter().find(|&(_, part, is_given)| is_given && self.state.part(part).is_some()) {
            Some((name, ..)) => Err(Error::option(name, "no value: the layer has it as a parameter", "one")),
            None => Ok(()),
        }
    }

    /// Returns the biases of the layer's table of distances, if it has one.
    fn relative_bias(&self, visibility: &Visibility<'_>, [batch, queries]: [usize; 2]) -> Result<Option<Vec<f32>>> {
        let Some((config, table)) = self.config().relative_bias.zip(self.state.part(Part::RelativeBias)) else {
            return Ok(None);
        };
        let offsets = visibility.offsets();
        let is_same = offsets.is_none_or(|offsets| offsets.windows(2).all(|pair| pair[0] == pair[1]));
        let (entries, lengths) = match visibility.sequences {
            Some(_) if !is_same => {
                let expected = "the same value for every packed sequence: the layer has a relative bias";
                return Err(Error::option("query_offset", expected, "different ones"));
            }
            Some(sequences) => (1, sequences.longest()),
            None => (if is_same { 1 } else { batch }, [queries, visibility.keys()]),
        };
        // The position of the first row, of a sequence's in a packed call.
        let first =
            |b: usize| offsets.and_then(|offsets| offsets.get(b)).map_or(visibility.offset(), |&offset| offset.into());
        let offsets: Vec<i64> = (0..entries).map(first).collect();
        relative_bias::biases(&config, table, lengths, &offsets).map(Some)
    }

    /// Checks the key and value inputs of `batch` entries. Returns their length.
    fn check_keys(&self, inputs: Inputs<'_>, batch: usize) -> Result<usize> {
        let config = self.config();
        let key = inputs.key.unwrap_or(inputs.query);
        let [key_batch, keys] = dims("k", key, config.k_dim())?;
        let value = inputs.value.unwrap_or(key);
        let value_dims = dims("v", value, config.v_dim())?;
        if key_batch != batch {
            return Err(Error::shape("k", format!("batch size {batch} to fit q"), key.shape));
        }
        if value_dims != [batch, keys] {
            return Err(Error::shape("v", format!("[{batch}, {keys}, {}] to fit k", config.v_dim()), value.shape));
        }
        Ok(keys)
    }

    /// Returns the number of keys that a call attends to.
    ///
    /// # Errors
    /// The errors of [`Self::forward`] about the inputs and the cache.
    pub fn num_keys(&self, inputs: Inputs<'_>, options: &LayerOptions, arrays: Arrays<'_>) -> Result<usize> {
        match self.place(inputs, options, arrays)? {
            Some(cached) => Ok(cached.placement.keys),
            None => Ok(inputs.key.unwrap_or(inputs.query).shape.dims().get(1).copied().unwrap_or(0)),
        }
    }

    /// Checks a call's cache, and finds the place of its rows there.
    pub(crate) fn place<'a>(
        &self,
        inputs: Inputs<'a>,
        options: &LayerOptions,
        arrays: Arrays<'a>,
    ) -> Result<Option<Cached<'a>>> {
        let Some(cache) = inputs.cache else { return Ok(None) };
        let config = self.config();
        let [batch, queries] = dims("q", inputs.query, config.model_dim())?;
        check_cache(cache, [batch, config.kv_heads(), config.head_dim, config.head_dim], false)?;
        let (of, lengths) = (cache.config(), arrays.kv_lengths);
        if config.kind != LayerKind::CrossAttention {
            let keys = self.check_keys(inputs, batch)?;
            if keys != queries {
                let expected = format_args!("a length of {queries}: the cache takes a key for each query");
                return Err(Error::shape("k", expected, keys));
            }
            return Cached::after(cache, "q", keys, options, arrays).map(Some);
        }
        check_not_packed(&arrays)?;
        if of.window.is_some() {
            return Err(Error::option("cache", "one without a window: cross-attention sees every key", "a window"));
        }
        let is_filled = cache.length() > 0;
        let placement = match inputs.key {
            _ if is_filled && lengths.is_some() => {
                return Err(Error::option("kv_lengths", "no value: the cache knows its lengths", "an Int32Array"));
            }
            None if !is_filled => return Err(Error::shape("k", "a context to fill the empty cache", "none")),
            Some(key) if is_filled && key.shape.dims().get(1) != Some(&cache.length()) => {
                let expected = format_args!("the context of length {} that filled the cache", cache.length());
                return Err(Error::shape("k", expected, key.shape));
            }
            _ if is_filled => cache.place_all(),
            _ => cache.place_block("k", self.check_keys(inputs, batch)?, lengths)?,
        };
        Ok(Some(Cached { cache, placement, lengths, is_filled, continues: false }))
    }

    /// Checks the positions of a call's rows, and returns them with the layer's angles.
    fn angles<'a>(
        &self,
        RotaryArrays { positions, frequencies }: RotaryArrays<'a>,
        rows: [usize; 2],
    ) -> Result<(Positions<'a>, Option<Angles>)> {
        let Some(rotary) = self.config().rotary else {
            return match positions.is_some() || frequencies.is_some() {
                true => Err(Error::option("positions", "none: the layer has no rotary positions", "an array")),
                false => Ok((Positions::new(None, false, rows)?, None)),
            };
        };
        let positions = Positions::new(positions, rotary.sections.is_some(), rows)?;
        Ok((positions, Some(Angles::new(rotary, frequencies)?)))
    }

    /// Operations in one call, including the second pass when weights are requested.
    pub(crate) fn operations(&self, plan: &Plan<'_>, has_weights: bool) -> u64 {
        let config = self.config();
        let (rows, keys) = (plan.batch * plan.queries, plan.batch * plan.keys);
        let pass = attention::pass_operations(
            rows * config.num_heads,
            plan.visibility.mean_keys(plan.queries),
            2 * config.head_dim,
            plan.visibility.causal(),
        );
        [
            operations([2, rows, config.model_dim(), config.query_rows() + config.query_width()]),
            operations([2, keys, config.k_dim() + config.v_dim(), config.kv_width()]),
            pass.saturating_mul(if has_weights { 2 } else { 1 }),
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// Runs a checked call; `inputs` must have the shapes that `plan` was made for.
    pub(crate) fn run(
        &self,
        context: Context<'_>,
        inputs: Inputs<'_>,
        plan: Plan<'_>,
        finish: Finish<'_>,
        output: &mut [f32],
        mut weights: Option<&mut [f32]>,
    ) -> Result<()> {
        context.announce_work(self.operations(&plan, weights.is_some()));
        let config = self.config();
        let Plan { batch, queries, cached, .. } = plan;
        let is_filled = cached.is_some_and(|cached| cached.is_filled);
        let key = inputs.key.unwrap_or(inputs.query);
        let value = inputs.value.unwrap_or(key);
        let context = Context { is_packed: plan.is_packed(), ..context };
        // The rows of the key input, of which a filled cache needs none.
        let keys = if is_filled { 0 } else { key.shape.dims()[1] };
        // Every part needs all keys and values.
        let whole = context.with_partition(Partition::WHOLE);
        let mut projected = self.project_inputs(whole, inputs, key, value, batch * queries, batch * keys)?;
        let strides = |rows: usize, row: usize| Strides { batch: rows * row, head: config.head_dim, row };
        // A gate follows each head's query.
        let query_head = config.query_rows() / config.num_heads;
        let query_strides = Strides { head: query_head, ..strides(queries, projected.query_row) };
        if let Some(norm) = &config.qk_norm {
            self.normalize(context, norm, &mut projected);
        }
        if let Some(angles) = &plan.angles {
            let rows = Rows {
                data: &mut projected.data,
                strides: query_strides,
                batch,
                heads: config.num_heads,
                length: queries,
            };
            rotary::rotate(context, angles, rows, &|b, i, axis| {
                let own = plan.positions.get(b, i, axis).or_else(|| cached?.position(b, i));
                own.unwrap_or_else(|| plan.visibility.position(b, i) as f64)
            })?;
            let rows = Rows {
                data: &mut projected.data[projected.key..],
                strides: strides(keys, projected.kv_row),
                batch,
                heads: config.kv_heads(),
                length: keys,
            };
            // The query's positions are those of a separate key only by chance.
            let own = inputs.key.is_none().then_some(plan.positions);
            rotary::rotate(context, angles, rows, &|b, j, axis| {
                own.and_then(|own| own.get(b, j, axis))
                    .or_else(|| cached?.position(b, j))
                    .unwrap_or_else(|| plan.visibility.key_position(j) as f64)
            })?;
        }
        let width = config.query_width();
        let mut joined = try_zeroed("working memory", batch * queries * width)?;
        let stored = |start: usize| Block {
            data: &projected.data[start..],
            strides: strides(keys, projected.kv_row),
            length: keys,
        };
        let blocks = [stored(projected.key), stored(projected.value)];
        let q = (&*projected.data, query_strides);
        match cached {
            None => self.attend_stored(context, &plan, q, blocks.map(Stored::from), &mut joined, weights.take())?,
            Some(cached) => cached.with_appended(blocks, &mut |stored| {
                self.attend_stored(context, &plan, q, stored, &mut joined, weights.take())
            })?,
        }
        if config.output_gate {
            let gates = Gates { data: &projected.data, row: projected.query_row, size: config.head_dim };
            gates.apply(context, &mut joined, width);
        }
        let (weight, bias) = (self.state.projection(Part::OutputWeight), self.state.output_bias());
        let sizes = [batch * queries, width, config.model_dim()];
        project_weights(context, &joined, sizes, weight, bias, finish, output)
    }

    /// Attends from projected queries to projected or stored keys and values.
    fn attend_stored(
        &self,
        context: Context<'_>,
        plan: &Plan<'_>,
        (q, q_strides): (&[f32], Strides),
        [k, v]: [Stored<'_>; 2],
        output: &mut [f32],
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        let config = self.config();
        let mut visibility = plan.visibility;
        if let Some(values) = &plan.relative {
            let lengths = visibility.sequences.map_or([plan.queries, plan.keys], Sequences::longest);
            let length = config.num_heads * (lengths[0] + lengths[1]).saturating_sub(1);
            let entries = values.len() / length.max(1);
            visibility.relative = Some(RelativeBias::of_entries(values, entries, config.num_heads, lengths));
        }
        let problem = Problem {
            q,
            k: k.data,
            v: v.data,
            q_strides,
            k_strides: k.strides,
            v_strides: v.strides,
            output_strides: Strides::new(Layout::Blhd, config.num_heads, plan.queries, config.head_dim),
            batch: plan.batch,
            heads: config.num_heads,
            kv_heads: config.kv_heads(),
            queries: plan.queries,
            keys: plan.keys,
            first_rows: plan.cached.map(|cached| &*cached.placement.first_rows),
            head_dim: config.head_dim,
            value_dim: config.head_dim,
            scale: plan.scale,
            softcap: plan.softcap,
            visibility,
            key_block: KEY_BLOCK,
            dropout: plan.dropout,
            ball: None,
            section: None,
        };
        self.attend(context, &problem, output, weights, plan.weights_of)
    }

    /// Attends to the keys of a call, and to those that the layer adds.
    fn attend(
        &self,
        context: Context<'_>,
        problem: &Problem<'_>,
        output: &mut [f32],
        weights: Option<&mut [f32]>,
        weights_of: WeightsOf,
    ) -> Result<()> {
        let Some(extra) = ExtraKeys::of(&self.state) else {
            let outputs = Outputs { output, weights, ..Outputs::default() };
            return attention::attend(context, problem, outputs, weights_of, None);
        };
        let mut log_sum_exp = try_zeroed("working memory", problem.rows())?;
        let mut each = try_zeroed("weights", if weights.is_some() { problem.rows() * problem.keys } else { 0 })?;
        let outputs = Outputs {
            output: &mut *output,
            weights: weights.is_some().then_some(&mut each[..]),
            log_sum_exp: Some(&mut log_sum_exp),
            top: None,
        };
        attention::attend(context, problem, outputs, WeightsOf::EachHead, None)?;
        let attended = Attended { output, log_sum_exp: &log_sum_exp, weights: &each };
        extra.add(context, problem, attended, weights, weights_of == WeightsOf::MeanHead)
    }

    /// Normalizes the projected queries and keys.
    fn normalize(&self, context: Context<'_>, norm: &QkNorm, projected: &mut Projected) {
        let (state, config) = (&self.state, self.config());
        let &mut Projected { key, value, query_row, kv_row, ref mut data } = projected;
        let (query_width, kv_width) = (config.query_rows(), config.kv_width());
        // Rows of a joint projection hold q, k and v side by side.
        let is_joint = kv_row > kv_width;
        let (queries, keys, first_key) =
            if is_joint { (0..data.len(), 0..data.len(), query_width) } else { (0..key, key..value, 0) };
        let parts = [
            (queries, query_row, 0, query_width, Part::QueryNormWeight, Part::QueryNormBias),
            (keys, kv_row, first_key, kv_width, Part::KeyNormWeight, Part::KeyNormBias),
        ];
        for (rows, row, first, width, weight, bias) in parts {
            let size = if norm.over == NormOver::Head { config.head_dim } else { width };
            // A gate follows each head's query.
            let step = if config.output_gate && weight == Part::QueryNormWeight { 2 * size } else { size };
            let segments = Segments { row, columns: first..first + width, step, size };
            let norm = Norm {
                kind: norm.kind(),
                weight: state.part(weight),
                weight_offset: norm.weight_offset,
                bias: state.part(bias),
                epsilon: norm.epsilon(),
            };
            norm.apply_within(context, &mut data[rows], &segments);
        }
    }

    /// Projects q, k and v: with one product if they share an input and have 32 bits, otherwise with three.
    fn project_inputs(
        &self,
        context: Context<'_>,
        inputs: Inputs<'_>,
        key: Tensor<'_>,
        value: Tensor<'_>,
        query_rows: usize,
        kv_rows: usize,
    ) -> Result<Projected> {
        let (state, config) = (&self.state, self.config());
        let (query_width, kv_width) = (config.query_rows(), config.kv_width());
        let is_joint = inputs.key.is_none() && inputs.value.is_none() && kv_rows == query_rows;
        if let (Some(weight), true) = (state.input_projection(), is_joint) {
            let width = query_width + 2 * kv_width;
            let mut data = try_zeroed("working memory", query_rows * width)?;
            let (x, sizes) = (inputs.query.data, [query_rows, config.model_dim(), width]);
            let bias = state.joined_input_bias()?;
            project_weights(context, x, sizes, weight, bias.as_deref(), Finish::default(), &mut data)?;
            // Without rows, the second column has no offset to start at.
            let start = |column: usize| column.min(data.len());
            let (key, value) = (start(query_width), start(query_width + kv_width));
            return Ok(Projected { key, value, query_row: width, kv_row: width, data });
        }
        let mut data = try_zeroed("working memory", query_rows * query_width + 2 * kv_rows * kv_width)?;
        let (q, kv) = data.split_at_mut(query_rows * query_width);
        let (k, v) = kv.split_at_mut(kv_rows * kv_width);
        let parts = [
            (inputs.query, [query_rows, config.model_dim(), query_width], Part::QueryWeight, state.query_bias(), q),
            (key, [kv_rows, config.k_dim(), kv_width], Part::KeyWeight, state.key_bias(), k),
            (value, [kv_rows, config.v_dim(), kv_width], Part::ValueWeight, state.value_bias(), v),
        ];
        // The key of a filled cache has no rows.
        for (x, sizes, weight, bias, output) in parts.into_iter().filter(|(_, [rows, ..], ..)| *rows > 0) {
            project_weights(context, x.data, sizes, state.projection(weight), bias, Finish::default(), output)?;
        }
        let key = query_rows * query_width;
        Ok(Projected { key, value: key + kv_rows * kv_width, query_row: query_width, kv_row: kv_width, data })
    }
}

/// Returns batch size and length of an input whose last dimension is `size`.
fn dims(argument: &str, input: Tensor<'_>, size: usize) -> Result<[usize; 2]> {
    match *input.shape.dims() {
        [batch, length, last] if last == size => Ok([batch, length]),
        _ => Err(Error::shape(argument, format!("[B, length, {size}]"), input.shape)),
    }
}

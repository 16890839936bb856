//! Multi-head attention like `torch.nn.MultiheadAttention(batch_first=True)`: input projections, heads, output
//! projection. Self-attention and cross-attention are the same layer with fewer inputs.

use crate::attention::mask::Visibility;
use crate::attention::packed::Sequences;
use crate::attention::rotary::{self, Rows};
use crate::attention::{self, Arrays, Outputs, Problem, Strides, WeightsOf};
use crate::context::{Context, Partition, operations};
use crate::error::{Error, Result};
use crate::layers::attention_state::AttentionState;
use crate::layers::entries::{Entry, LoadOptions};
use crate::layers::extra_keys::{Attended, ExtraKeys};
use crate::layers::parameters::Part;
use crate::math::gate::Gates;
use crate::math::linear::{Finish, project, project_and};
use crate::math::norm::{Norm, Segments};
use crate::math::random::Dropout;
use crate::options::{AttentionConfig, LayerOptions, Layout, NormOver, QkNorm};
use crate::sizes::KEY_BLOCK;
use crate::tensor::{Tensor, check_output, check_requested, try_zeroed};

/// An attention layer: its configuration and its parameters.
#[derive(Debug, Clone)]
pub struct MultiHeadAttention {
    state: AttentionState,
}

/// The inputs of one call. The value defaults to the key, and the key to the query.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `[B, L, modelDim]`.
    pub query: Tensor<'a>,
    /// `[B, S, kDim]`.
    pub key: Option<Tensor<'a>>,
    /// `[B, S, vDim]`.
    pub value: Option<Tensor<'a>>,
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
    /// let config = AttentionConfig { num_heads: 4, head_dim: 8, seed: 42, ..AttentionConfig::default() };
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

    /// Loads the parameters from a state dict, by the names of PyTorch, BERT, Llama or Whisper below a prefix.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit; the layer is then unchanged.
    pub fn load<'a>(&mut self, entries: &[Entry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<()> {
        *self = self.loaded(entries, options)?;
        Ok(())
    }

    /// Returns a layer of the same configuration with the parameters of a state dict, under the rules of
    /// [`Self::load`].
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` if an entry does not fit.
    pub fn loaded<'a>(&self, entries: &[Entry<'_>], options: impl Into<LoadOptions<'a>>) -> Result<Self> {
        Ok(Self { state: AttentionState::load(self.config(), entries, options.into())? })
    }

    /// Computes the output `[B, L, modelDim]` and, if requested, the weights: `[B, H, L, S]`, or `[B, L, S]` for their
    /// mean.
    ///
    /// If the configuration has `rotary`, query i is rotated by position `i + queryOffset` and key j by position j. In a
    /// call of packed sequences, both count from the start of their sequence.
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
        let plan = self.plan(inputs, options, arrays, training, weights.as_deref())?;
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
        &self,
        inputs: Inputs<'_>,
        options: &LayerOptions,
        arrays: Arrays<'a>,
        training: bool,
        weights: Option<&[f32]>,
    ) -> Result<Plan<'a>> {
        options.check()?;
        arrays.check_results(options.weights || weights.is_some(), options.average_weights)?;
        let config = self.config();
        let [batch, queries] = dims("q", inputs.query, config.model_dim())?;
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
        let heads = config.num_heads;
        let shape = [batch, heads, queries, keys];
        let (causal, window) = (options.causal.or(config.causal).unwrap_or(false), options.window.or(config.window));
        let visibility = Visibility::new(shape, 4, causal, window, options.query_offset.unwrap_or(0), &arrays)?;
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
            weights_of,
            scale: options.scale.unwrap_or(config.scale()),
            softcap: options.softcap.or(config.softcap).unwrap_or(0.0),
            dropout: training.then(|| Dropout::new(config.dropout(), options.seed.unwrap_or(config.seed()))).flatten(),
        })
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
        weights: Option<&mut [f32]>,
    ) -> Result<()> {
        context.announce_work(self.operations(&plan, weights.is_some()));
        let config = self.config();
        let Plan { batch, queries, keys, .. } = plan;
        let key = inputs.key.unwrap_or(inputs.query);
        let value = inputs.value.unwrap_or(key);
        let context = Context { is_packed: plan.is_packed(), ..context };
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
        if let Some(rotary) = config.rotary {
            let rows = Rows {
                data: &mut projected.data,
                strides: query_strides,
                batch,
                heads: config.num_heads,
                length: queries,
            };
            rotary::rotate(context, rotary, 1.0, rows, &|b, i| plan.visibility.position(b, i) as f64)?;
            let rows = Rows {
                data: &mut projected.data[projected.key..],
                strides: strides(keys, projected.kv_row),
                batch,
                heads: config.kv_heads(),
                length: keys,
            };
            rotary::rotate(context, rotary, 1.0, rows, &|_, j| plan.visibility.key_position(j) as f64)?;
        }
        let problem = Problem {
            q: &projected.data,
            k: &projected.data[projected.key..],
            v: &projected.data[projected.value..],
            q_strides: query_strides,
            k_strides: strides(keys, projected.kv_row),
            v_strides: strides(keys, projected.kv_row),
            output_strides: Strides::new(Layout::Blhd, config.num_heads, queries, config.head_dim),
            batch,
            heads: config.num_heads,
            kv_heads: config.kv_heads(),
            queries,
            keys,
            head_dim: config.head_dim,
            value_dim: config.head_dim,
            scale: plan.scale,
            softcap: plan.softcap,
            visibility: plan.visibility,
            key_block: KEY_BLOCK,
            dropout: plan.dropout,
            ball: None,
            section: None,
        };
        let width = config.query_width();
        let mut joined = try_zeroed("working memory", batch * queries * width)?;
        self.attend(context, &problem, &mut joined, weights, plan.weights_of)?;
        if config.output_gate {
            let gates = Gates { data: &projected.data, row: projected.query_row, size: config.head_dim };
            gates.apply(context, &mut joined, width);
        }
        let (weight, bias) = (self.state.output_weight(), self.state.output_bias());
        project_and(context, &joined, batch * queries, width, weight, config.model_dim(), bias, finish, output)
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

    /// Projects q, k and v: with one product if they share an input, otherwise with three.
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
        if let (Some(weight), None, None) = (state.input_weight(), inputs.key, inputs.value) {
            let width = query_width + 2 * kv_width;
            let mut data = try_zeroed("working memory", query_rows * width)?;
            let (x, depth) = (inputs.query.data, config.model_dim());
            let bias = state.joined_input_bias()?;
            project(context, x, query_rows, depth, weight, width, bias.as_deref(), &mut data)?;
            // Without rows, the second column has no offset to start at.
            let start = |column: usize| column.min(data.len());
            let (key, value) = (start(query_width), start(query_width + kv_width));
            return Ok(Projected { key, value, query_row: width, kv_row: width, data });
        }
        let mut data = try_zeroed("working memory", query_rows * query_width + 2 * kv_rows * kv_width)?;
        let (q, kv) = data.split_at_mut(query_rows * query_width);
        let (k, v) = kv.split_at_mut(kv_rows * kv_width);
        let parts = [
            (inputs.query, query_rows, config.model_dim(), state.query_weight(), query_width, state.query_bias(), q),
            (key, kv_rows, config.k_dim(), state.key_weight(), kv_width, state.key_bias(), k),
            (value, kv_rows, config.v_dim(), state.value_weight(), kv_width, state.value_bias(), v),
        ];
        for (x, rows, depth, weight, width, bias, output) in parts {
            project(context, x.data, rows, depth, weight, width, bias, output)?;
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

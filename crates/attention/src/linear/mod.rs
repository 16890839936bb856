//! Linear attention: checks and plans here, the work in the rooms below.
//!
//! - `projection`: ω of FAVOR+;
//! - `features`: φ;
//! - `sums`: taking keys into `Σ φ(k) vᵀ` and `Σ φ(k)`, and reading output rows from them;
//! - `recurrent`: the rules without feature maps and normalization, with decay and the delta rule;
//! - [`stream`]: sums that stay between calls.
//!
//! Letters: B batch, H heads, L queries, S keys, D head size, E value head size, F features. Time and memory grow with
//! L + S. The state kept of the keys, F·(E + 1) sums per head, does not grow with S.

mod features;
mod projection;
mod recurrent;
mod rows;
pub mod stream;
mod sums;

use crate::attention::{self, Arrays, Problem, Strides};
use crate::context::rows::SharedMut;
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::options::{AttentionOptions, Layout as Order};
use crate::ranges;
use crate::scratch;
use crate::simd::{Kernel, Level, Simd, scatter_rows};
use crate::sizes::MOST_ELEMENTS;
use crate::tensor::{Shape, Tensor, check_output, check_requested, try_zeroed};

pub use features::FeatureMap;
use features::Features;
use rows::Rows;
use sums::{CHUNK, Head, Item, Layout, Merge, Sums, clear, scratch_len};

/// The least keys of which one item makes sums.
const PART: usize = 2048;
/// The most parts that a head's keys are cut into; where there are no threads to share them, one.
const MOST_PARTS: usize = if cfg!(target_family = "wasm") { 1 } else { 16 };
/// Rows of one work item.
const ROW_BLOCK: usize = 256;

/// The rule by which keys and values enter the state of linear attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum LinearRule {
    /// Sums of feature maps, divided by the sum of the weights.
    #[default]
    Kernel,
    /// `S_t = S_{t−1} + k_t ⊗ v_t`, read as `scale · S_tᵀ q_t` like the states of all following rules.
    Linear,
    /// `S_t = e^decay_t S_{t−1} + k_t ⊗ v_t`.
    Gated,
    /// `S_t = S_{t−1} + k_t ⊗ β_t (v_t − S_{t−1}ᵀ k_t)`.
    Delta,
    /// `S_t = e^decay_t S_{t−1} + k_t ⊗ β_t (v_t − (e^decay_t S_{t−1})ᵀ k_t)`.
    GatedDelta,
}

/// The configuration of linear attention. `model_dim` has to be given.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct LinearConfig {
    /// The size of 3-D inputs, all heads together.
    pub model_dim: usize,
    /// The heads that 3-D inputs are split into, a divisor of `model_dim`; 1 by default.
    pub num_heads: usize,
    /// F. Only FAVOR+ accepts a value other than D; its default is the fewest whole blocks of D that hold `D · ln D`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub feature_dim: Option<usize>,
    /// φ of the rule 'kernel'; [`FeatureMap::Elu`] by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub feature_map: Option<FeatureMap>,
    /// The rule; [`LinearRule::Kernel`] by default. All others are causal.
    pub rule: LinearRule,
    /// The key/value heads of 3-D inputs, a divisor of `num_heads` and by default the same; not for the rule 'kernel'.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub kv_heads: Option<usize>,
    /// The factor of the output; `1/√D` by default; not for the rule 'kernel'.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub scale: Option<f32>,
    /// ω of FAVOR+ is drawn from it; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self {
            model_dim: 0,
            num_heads: 1,
            feature_dim: None,
            feature_map: None,
            rule: LinearRule::Kernel,
            kv_heads: None,
            scale: None,
            seed: 0,
        }
    }
}

impl LinearConfig {
    /// The configuration with every default filled in, if every value is in range and all fit each other.
    ///
    /// # Errors
    /// `OPTION` for a value that does not fit.
    pub fn resolved(self) -> Result<Self> {
        ranges::count("num_heads", self.num_heads)?;
        ranges::optional_count("feature_dim", self.feature_dim)?;
        ranges::seed("seed", self.seed)?;
        ranges::count("model_dim", self.model_dim)?;
        let Self { model_dim, num_heads, .. } = self;
        if !model_dim.is_multiple_of(num_heads) {
            return Err(Error::value("num_heads", format_args!("a divisor of model_dim {model_dim}"), num_heads));
        }
        let size = model_dim / num_heads;
        if self.rule != LinearRule::Kernel {
            return self.resolved_recurrent();
        }
        self.check_rule(&[("kv_heads", self.kv_heads.is_some()), ("scale", self.scale.is_some())])?;
        let feature_map = self.feature_map.unwrap_or_default();
        let projects = feature_map == FeatureMap::FavorPlus;
        let default = if projects { projection::default_features(size) } else { size };
        let feature_dim = self.feature_dim.unwrap_or(default);
        if !projects && feature_dim != size {
            let expected =
                format_args!("{size}, a head's size: only feature_map 'favor+' has another number of features");
            return Err(Error::value("feature_dim", expected, feature_dim));
        }
        if feature_dim.checked_mul(size).is_none_or(|elements| elements > MOST_ELEMENTS) {
            let expected = format_args!("at most {MOST_ELEMENTS} elements in feature_dim × model_dim / num_heads");
            return Err(Error::option("feature_dim", expected, format_args!("{feature_dim} × {size}")));
        }
        Ok(Self { feature_dim: Some(feature_dim), feature_map: Some(feature_map), ..self })
    }

    fn resolved_recurrent(self) -> Result<Self> {
        self.check_rule(&[
            ("feature_map", self.feature_map.is_some()),
            ("feature_dim", self.feature_dim.is_some()),
            ("seed", self.seed != 0),
        ])?;
        ranges::optional_count("kv_heads", self.kv_heads)?;
        ranges::finite("scale", self.scale)?;
        let kv_heads = self.kv_heads.unwrap_or(self.num_heads);
        if !self.num_heads.is_multiple_of(kv_heads) {
            let expected = format_args!("a divisor of num_heads {}", self.num_heads);
            return Err(Error::value("kv_heads", expected, kv_heads));
        }
        Ok(Self { kv_heads: Some(kv_heads), ..self })
    }

    /// Refuses the given ones of these options, which the rule does not have.
    fn check_rule(&self, options: &[(&str, bool)]) -> Result<()> {
        match options.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                let expected = format_args!("none: the rule '{}' does not use it", self.rule.name());
                Err(Error::option(name, expected, "a value"))
            }
            None => Ok(()),
        }
    }
}

/// The options of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct LinearOptions {
    /// Query `i` sees the keys `j ≤ i`. Always true, and false by default for the rule 'kernel'.
    pub causal: Option<bool>,
    /// Return the state after the last position; not for the rule 'kernel'.
    pub return_state: bool,
}

/// The tensors of a call. Gates and states belong to the rules other than 'kernel', and have G key/value heads.
#[derive(Debug, Clone, Copy)]
pub struct LinearTensors<'a> {
    /// The queries, `[B, H, L, D]` or `[B, L, H·D]`.
    pub q: Tensor<'a>,
    /// The keys, `[B, H, S, D]` or `[B, S, H·D]`; `[B, G, L, D]` or `[B, L, G·D]` for the other rules.
    pub k: Tensor<'a>,
    /// The values, like the keys with E in place of D.
    pub v: Tensor<'a>,
    /// The number of keys of each batch entry, `[B]`; for the rule 'kernel' alone.
    pub kv_lengths: Option<&'a [i32]>,
    /// Logarithms of the factors of the state: one for each head, `[B, G, L]` or `[B, L, G]`, or one for each of its
    /// rows, `[B, G, L, D]` or `[B, L, G·D]`.
    pub decay: Option<Tensor<'a>>,
    /// The weight of each correction, `[B, G, L]`, `[B, 1, L]`, or `[B, L, G]`, `[B, L, 1]`.
    pub beta: Option<Tensor<'a>>,
    /// The state before the first position, `[B, G, D, E]`; zeros by default.
    pub state: Option<Tensor<'a>>,
}

impl<'a> LinearTensors<'a> {
    /// Queries, keys and values alone.
    pub fn new([q, k, v]: [Tensor<'a>; 3]) -> Self {
        Self { q, k, v, kv_lengths: None, decay: None, beta: None, state: None }
    }
}

/// The memory that a call writes.
#[derive(Debug)]
pub struct LinearOutputs<'a> {
    /// The output rows, in the shape of q with E in place of D.
    pub output: &'a mut [f32],
    /// The state after the last position, `[B, G, D, E]`; required if the options ask for it.
    pub state: Option<&'a mut [f32]>,
}

/// Attention whose weights are products of positive features, `φ(q)·φ(k)`, so that keys and values can be summed up
/// before any query is known.
///
/// `out_i = φ(q_i)ᵀ (Σ_j φ(k_j) v_jᵀ) / (φ(q_i)ᵀ Σ_j φ(k_j))`: Katharopoulos et al. 2020, "Transformers are RNNs";
/// FAVOR+ is from Choromanski et al. 2021, "Rethinking attention with Performers".
#[derive(Debug, Clone)]
pub struct LinearAttention {
    config: LinearConfig,
    map: Features,
}

/// A checked call. Each pair of a batch entry and a head is a separate problem.
struct Plan<'a> {
    problem: Problem<'a>,
    layout: Layout,
    /// The number of values in a pair's sums; 0 without an output.
    sums_len: usize,
}

/// A pass over all pairs. Item `n` of a pair adds its keys, starting at `n · part`, to the sums, and writes its rows,
/// starting at `n · block`.
struct Pass<'a> {
    items: usize,
    part: usize,
    block: usize,
    is_causal: bool,
    sums: PassSums<'a>,
}

/// The storage of the sums of a pass.
enum PassSums<'a> {
    /// Separate sums for each item, one after the other.
    Own(SharedMut<'a, f32>),
    /// Shared sums for each pair, and the stride between pairs.
    Shared(&'a [f32], usize),
}

impl LinearAttention {
    /// Linear attention of this configuration.
    ///
    /// ```
    /// use ruvector_attention::linear::{FeatureMap, LinearAttention, LinearConfig};
    ///
    /// let feature_map = FeatureMap::FavorPlus;
    /// let config = LinearConfig { model_dim: 64, feature_map: Some(feature_map), ..LinearConfig::default() };
    /// let attention = LinearAttention::new(config)?;
    /// assert_eq!(attention.config().feature_dim, Some(320)); // the 5 blocks of 64 that hold 64 · ln 64
    /// # Ok::<(), ruvector_attention::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OPTION` for a configuration that does not fit, `MEMORY`.
    pub fn new(config: LinearConfig) -> Result<Self> {
        let config = config.resolved()?;
        let size = config.model_dim / config.num_heads;
        let feature_map = config.feature_map.unwrap_or_default();
        let map = Features::new(feature_map, size, config.feature_dim.unwrap_or(size), config.seed)?;
        Ok(Self { config, map })
    }

    /// The configuration with every default filled in.
    pub fn config(&self) -> &LinearConfig {
        &self.config
    }

    /// The number of features of a head.
    pub fn feature_dim(&self) -> usize {
        self.map.features
    }

    /// FAVOR+'s `ω / D^¼`, `[F, D]`, for tests; empty for the other feature maps.
    #[doc(hidden)]
    pub fn projection(&self) -> &[f32] {
        &self.map.projection
    }

    /// The number of key/value heads of 3-D inputs.
    fn kv_heads(&self) -> usize {
        self.config.kv_heads.unwrap_or(self.config.num_heads)
    }

    /// Returns the last dimension of the output for values of this shape.
    pub fn output_width(&self, v: Shape) -> usize {
        let last = v.dims().last().copied().unwrap_or(0);
        if v.rank() == 3 { last / self.kv_heads() * self.config.num_heads } else { last }
    }

    /// Returns the shape `[B, G, D, E]` of the state for values of this shape.
    pub fn state_shape(&self, v: Shape) -> [usize; 4] {
        let (size, kv_heads) = (self.map.size, self.kv_heads());
        match *v.dims() {
            [batch, _, width] => [batch, kv_heads, size, width / kv_heads],
            [batch, heads, _, value_dim] => [batch, heads, size, value_dim],
            // Rejected by every call.
            _ => [0; 4],
        }
    }

    /// Computes `[B, H, L, E]` from q `[B, H, L, D]`, k `[B, H, S, D]` and v `[B, H, S, E]`, or `[B, L, H·E]` from q
    /// `[B, L, H·D]` and so on, with H the heads of the configuration. A row that sees no key is zeros. The rules other
    /// than 'kernel' take as many keys as queries, of G key/value heads, and compute `LinearAttention` of ONNX's opset
    /// 27.
    ///
    /// # Errors
    /// `SHAPE` where shapes or lengths do not fit, `OPTION` where a length is out of range or a tensor or option does
    /// not belong to the rule, `MEMORY`.
    pub fn forward(
        &self,
        context: Context<'_>,
        tensors: LinearTensors<'_>,
        options: LinearOptions,
        mut outputs: LinearOutputs<'_>,
    ) -> Result<()> {
        let is_causal = self.check_options(tensors, options, &outputs)?;
        if self.config.rule != LinearRule::Kernel {
            let plan = recurrent::Plan::new(self, context, tensors, &outputs)?;
            if plan.write_empty(&mut outputs) {
                return Ok(());
            }
            let mut states = try_zeroed("working memory", plan.states_len()?)?;
            plan.run(context, &mut states, outputs);
            return Ok(());
        }
        let LinearTensors { q, k, v, kv_lengths, .. } = tensors;
        let output = outputs.output;
        let plan = self.plan(context, [q, k, v], kv_lengths, output)?;
        if output.is_empty() {
            return Ok(());
        }
        let &Problem { batch, heads, queries, keys, .. } = &plan.problem;
        let len = plan.sums_len;
        // Cut by the number of keys alone, so that the result depends on nothing else.
        let part = PART.max(keys.div_ceil(MOST_PARTS).next_multiple_of(CHUNK));
        let parts = if is_causal || MOST_PARTS == 1 { 1 } else { keys.div_ceil(part).max(1) };
        let mut sums = new_sums(batch * heads * parts, len)?;
        let output = SharedMut::new(output);
        if is_causal {
            self.run(context, &plan, &Pass::causal(&plan, &mut sums), &output);
            return Ok(());
        }
        let own = PassSums::Own(SharedMut::new(&mut sums));
        let part = if parts == 1 { keys } else { part };
        let items = queries.div_ceil(ROW_BLOCK);
        let writing = self.operations(&plan, items, ROW_BLOCK);
        context.announce_work(self.operations(&plan, parts, part).saturating_add(writing));
        self.run(context, &plan, &Pass { items: parts, part, block: 0, is_causal: false, sums: own }, &output);
        if parts > 1 && MOST_PARTS > 1 {
            for sums in sums.chunks_exact_mut(parts * len) {
                let (first, others) = sums.split_at_mut(len);
                context.level.run(Merge { first, others });
            }
        }
        let shared = PassSums::Shared(&sums, parts * len);
        self.run(context, &plan, &Pass { items, part: 0, block: ROW_BLOCK, is_causal: false, sums: shared }, &output);
        Ok(())
    }

    /// Checks that the options and the optional tensors belong to the rule. Returns true if the call is causal.
    fn check_options(
        &self,
        tensors: LinearTensors<'_>,
        options: LinearOptions,
        outputs: &LinearOutputs<'_>,
    ) -> Result<bool> {
        let is_recurrent = self.config.rule != LinearRule::Kernel;
        if !is_recurrent {
            self.config.check_rule(&[
                ("decay", tensors.decay.is_some()),
                ("beta", tensors.beta.is_some()),
                ("state", tensors.state.is_some()),
                ("return_state", options.return_state),
            ])?;
        } else if options.causal == Some(false) {
            let expected = format_args!("true, as the rule '{}' is causal", self.config.rule.name());
            return Err(Error::value("causal", expected, false));
        }
        check_requested("state", options.return_state, outputs.state.is_some())?;
        Ok(is_recurrent || options.causal.unwrap_or(false))
    }

    /// Checks a call without running it. Returns true if it is causal.
    #[cfg(feature = "training")]
    pub(crate) fn check_call(
        &self,
        context: Context<'_>,
        tensors: LinearTensors<'_>,
        options: LinearOptions,
        outputs: &LinearOutputs<'_>,
    ) -> Result<bool> {
        let is_causal = self.check_options(tensors, options, outputs)?;
        if self.config.rule == LinearRule::Kernel {
            let LinearTensors { q, k, v, kv_lengths, .. } = tensors;
            self.plan(context, [q, k, v], kv_lengths, outputs.output)?;
        } else {
            recurrent::Plan::new(self, context, tensors, outputs)?;
        }
        Ok(is_causal)
    }

    /// Operations in a pass over every pair, each of `items` items of `rows` rows.
    fn operations(&self, plan: &Plan<'_>, items: usize, rows: usize) -> u64 {
        let projection = if self.map.is_exponential() { self.map.size } else { 16 };
        let pairs = plan.problem.batch * plan.problem.heads;
        operations([2, pairs, items, rows, self.map.features, plan.layout.value_dim + projection])
    }

    /// Runs a pass over every pair.
    fn run(&self, context: Context<'_>, plan: &Plan<'_>, pass: &Pass<'_>, output: &SharedMut<'_, f32>) {
        let &Plan { ref problem, layout, sums_len: len } = plan;
        let &Pass { items, part, block, is_causal, ref sums } = pass;
        let &Problem { batch, heads, queries, keys, .. } = problem;
        context.for_each(batch * heads * items, self.operations(plan, items, part + block), |item| {
            let (pair, index) = (item / items, item % items);
            let (b, h) = (pair / heads, pair % heads);
            // All keys up to the last one's position are those of the batch entry.
            let keys = problem.visibility.range(b, keys).1;
            let within = |size: usize, end: usize| (index * size).min(end)..((index + 1) * size).min(end);
            let rows = |data, strides: Strides, size| Rows {
                data,
                start: b * strides.batch + h * strides.head,
                stride: strides.row,
                size,
            };
            let head = Head {
                level: context.level,
                map: &self.map,
                layout,
                queries: rows(problem.q, problem.q_strides, problem.head_dim),
                keys: rows(problem.k.floats(), problem.k_strides, problem.head_dim),
                values: rows(problem.v.floats(), problem.v_strides, problem.value_dim),
                output,
                results: rows(&[], problem.output_strides, problem.value_dim),
            };
            let sums = match sums {
                // SAFETY: each item has separate sums.
                PassSums::Own(sums) => Sums::Own(unsafe { sums.slice(item * len, len) }),
                PassSums::Shared(sums, stride) => Sums::Shared(&sums[pair * stride..][..len]),
            };
            let (keys, rows) = (within(part, keys), within(block, queries));
            sums::run(context.level, Item { head, sums, keys, rows, is_causal });
        });
    }

    /// Computes φ of every head of x, `[B, L, H·D]` or `[B, H, L, D]`, with F in place of D. FAVOR+ treats rows as
    /// queries: c is the largest exponent of each row, so each row's largest feature is 1/√F.
    ///
    /// # Errors
    /// `SHAPE` where shapes do not fit, `MEMORY`.
    pub fn feature_map(&self, context: Context<'_>, x: Tensor<'_>, output: &mut [f32]) -> Result<()> {
        if self.config.rule != LinearRule::Kernel {
            let expected = "'kernel': only this rule has a feature map";
            return Err(Error::option("rule", expected, format_args!("'{}'", self.config.rule.name())));
        }
        self.check("x", x.shape)?;
        let Self { map, .. } = self;
        let rows = x.data.len() / map.size;
        check_output("output", output, rows.saturating_mul(map.features))?;
        let lanes = context.level.tile_lanes();
        scratch::reserve((map.size + map.features).saturating_mul(lanes))?;
        let output = SharedMut::new(output);
        let operations = operations([rows, map.features, if map.is_exponential() { 2 * map.size } else { 16 }]);
        context.for_each(rows.div_ceil(ROW_BLOCK), operations, |item| {
            let first = item * ROW_BLOCK;
            let rows = first..rows.min(first + ROW_BLOCK);
            let level = context.level;
            level.run(MapRows { level, map, x: x.data, rows, output: &output });
        });
        Ok(())
    }

    /// Checks the shape of queries.
    fn check(&self, argument: &str, shape: Shape) -> Result<()> {
        let (model_dim, size) = (self.config.model_dim, self.map.size);
        match *shape.dims() {
            [_, _, last] if last == model_dim => Ok(()),
            [_, _, _, last] if last == size => Ok(()),
            _ => {
                let expected = format_args!("[B, L, {model_dim}] or [B, H, L, {size}], as model_dim and num_heads say");
                Err(Error::shape(argument, expected, shape))
            }
        }
    }

    /// Checks that shapes, lengths and output fit each other, and that there is working memory.
    fn plan<'a>(
        &self,
        context: Context<'_>,
        [q, k, v]: [Tensor<'a>; 3],
        kv_lengths: Option<&'a [i32]>,
        output: &[f32],
    ) -> Result<Plan<'a>> {
        self.check("q", q.shape)?;
        let arrays = Arrays { kv_lengths, ..Arrays::default() };
        let mut problem = attention::plan(context, q, k, Some(v), &AttentionOptions::default(), arrays)?;
        if problem.kv_heads != problem.heads {
            let expected = format_args!("{} heads, as many as q has", problem.heads);
            return Err(Error::shape("k", expected, format_args!("{} in {}", problem.kv_heads, k.shape)));
        }
        if q.shape.rank() == 3 {
            let heads = self.config.num_heads;
            if !problem.value_dim.is_multiple_of(heads) {
                return Err(Error::shape(
                    "v",
                    format_args!("a last dimension that num_heads {heads} divides"),
                    v.shape,
                ));
            }
            problem.heads = heads;
            problem.head_dim /= heads;
            problem.value_dim /= heads;
            let strides = |length, size| Strides::new(Order::Blhd, heads, length, size);
            problem.q_strides = strides(problem.queries, problem.head_dim);
            problem.k_strides = strides(problem.keys, problem.head_dim);
            problem.v_strides = strides(problem.keys, problem.value_dim);
            problem.output_strides = strides(problem.queries, problem.value_dim);
        }
        check_output("out", output, problem.rows() * problem.value_dim)?;
        let (features, value_dim) = (self.map.features, problem.value_dim);
        let layout = Layout { features, value_dim, lanes: context.level.tile_lanes() };
        let mut sums_len = 0;
        if !output.is_empty() {
            sums_len = layout.len()?;
            scratch::reserve(scratch_len(&self.map, layout))?;
        }
        Ok(Plan { problem, layout, sums_len })
    }
}

impl<'a> Pass<'a> {
    /// The pass that takes each pair's keys in and writes its rows, one after the other.
    fn causal(plan: &Plan<'_>, sums: &'a mut [f32]) -> Self {
        let &Problem { queries, keys, .. } = &plan.problem;
        let sums = PassSums::Own(SharedMut::new(sums));
        Self { items: 1, part: keys.min(queries), block: queries, is_causal: true, sums }
    }
}

/// Allocates `count` sums of no keys, one after the other.
fn new_sums(count: usize, len: usize) -> Result<Vec<f32>> {
    let mut sums = try_zeroed("working memory", count.saturating_mul(len))?;
    sums.chunks_exact_mut(len).for_each(clear);
    Ok(sums)
}

/// Features of rows that lie one behind the other.
struct MapRows<'a> {
    level: Level,
    map: &'a Features,
    x: &'a [f32],
    rows: std::ops::Range<usize>,
    output: &'a SharedMut<'a, f32>,
}

impl Kernel for MapRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { level, map, x, rows, output } = self;
        let lanes = VECTORS * S::LANES;
        let mut scratch = scratch::Scratch::take((map.size + map.features) * lanes);
        let (inputs, tile) = scratch.values().split_at_mut(map.size * lanes);
        for first in rows.clone().step_by(lanes) {
            let count = lanes.min(rows.end - first);
            let rows_of = |size| Rows { data: &[], start: 0, stride: size, size }.starts(first, count);
            map.of_rows::<S, ROWS, VECTORS>((level, simd), x, &rows_of(map.size)[..count], inputs, tile);
            // SAFETY: items differ in rows.
            unsafe { scatter_rows(simd, tile, lanes, map.features, output, &rows_of(map.features)[..count]) };
        }
    }
}

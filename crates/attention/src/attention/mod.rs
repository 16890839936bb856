//! Scaled dot-product attention. This file checks and plans calls; the submodules do the work.
//!
//! - [`mask`]: visible keys of a query row, and the bias on its scores;
//! - `bias`: biases that depend on the distance alone;
//! - `packed`: sequences one after the other, each attending to itself;
//! - `score`: one tile of scores with queries in lanes, shared by every pass that needs scores;
//! - `ball`: scores and outputs if rows are points of a hyperbolic ball;
//! - `head_rows`: keys or values of one head, in the type that they are stored in;
//! - `forward`: work items of the pass that computes the output, in two forms, `tiled` and `decode`;
//! - [`rotary`]: rotary position embedding of queries and keys;
//! - [`cache`]: keys and values kept between calls;
//! - [`merge`]: merging of attention over separate parts of the keys;
//! - `second_pass`: weights or scores, if requested.
//!
//! Letters: B batch, H query heads, G key/value heads, L queries, S keys, D head size, E value head size.

pub(crate) mod ball;
pub(crate) mod bias;
pub mod cache;
mod decode;
mod forward;
pub(crate) mod head_rows;
pub mod mask;
pub mod merge;
pub(crate) mod packed;
pub mod rotary;
pub(crate) mod score;
mod second_pass;
mod tile_products;
pub(crate) mod tiled;

use std::mem::take;

use crate::context::{Context, Section, operations};
use crate::error::{Error, Result};
use crate::math::random::Dropout;
use crate::math::weight::Weights;
use crate::options::{AttentionOptions, Layout, Stage};
use crate::sizes::{KEY_BLOCK, MAX_KEY_BLOCK};
use crate::tensor::{Shape, Tensor, check_output, check_requested, try_zeroed};
use ball::Ball;
use head_rows::HeadRows;
use mask::{Mask, Visibility};

/// The array-valued options of an attention call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrays<'a> {
    /// Broadcast to `[B, H, L, S]`; rank 1 to 4.
    pub mask: Option<Mask<'a>>,
    /// The key position of query 0 for each batch entry, `[B]`, or for each packed sequence; overrides the scalar
    /// option.
    pub query_offset: Option<&'a [i32]>,
    /// Valid keys of each batch entry, `[B]`.
    pub kv_lengths: Option<&'a [i32]>,
    /// Cumulative lengths `[n + 1]` of sequences packed along L, from 0 to L. Each row then sees its own sequence
    /// alone; `causal`, `window` and `relative_bias` count rows and keys from its start.
    pub cu_seqlens: Option<&'a [i32]>,
    /// The cumulative lengths of the sequences' keys; by default those of the rows.
    pub cu_seqlens_keys: Option<&'a [i32]>,
    /// `[H or 1, L + S − 1]`: added at place j − i + L − 1 to the score of row i and key j, after the soft cap. For
    /// packed sequences L and S are those of the longest.
    pub relative_bias: Option<Tensor<'a>>,
    /// A logit of each head, `[H]`, that takes part in the softmax of its rows and has no value.
    pub sinks: Option<&'a [f32]>,
}

impl Arrays<'_> {
    /// Checks that no weights are requested of packed sequences.
    ///
    /// # Errors
    /// `OPTION` if they are.
    pub fn check_results(&self, weights: bool, average_weights: bool) -> Result<()> {
        let requests = [("weights", weights), ("average_weights", average_weights)];
        match requests.into_iter().find(|(_, is_requested)| *is_requested) {
            Some((name, _)) if self.cu_seqlens.is_some() => {
                let expected = "no request for the weights of packed sequences, which take one call for each sequence";
                Err(Error::option(name, expected, true))
            }
            _ => Ok(()),
        }
    }

    /// Checks that there are only masks, offsets and lengths, for mechanisms without packed sequences, relative biases
    /// and sinks.
    pub(crate) fn check_masks_alone(&self) -> Result<()> {
        let given = [
            ("cu_seqlens", self.cu_seqlens.is_some()),
            ("cu_seqlens_keys", self.cu_seqlens_keys.is_some()),
            ("relative_bias", self.relative_bias.is_some()),
            ("sinks", self.sinks.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(Error::option(name, "no value: this mechanism does not have it", "one")),
            None => Ok(()),
        }
    }
}

/// Destinations for the results of an attention call. Every result that the options request must have one.
#[derive(Debug, Default)]
pub struct Outputs<'a> {
    /// `[B, H, L, E]`, or `[B, L, H, E]` in layout `blhd`.
    pub output: &'a mut [f32],
    /// `[B, H, L, S]`.
    pub weights: Option<&'a mut [f32]>,
    /// `[B, H, L]`.
    pub log_sum_exp: Option<&'a mut [f32]>,
    /// `[B, H, L, k]`: the k largest weights of each row, and the indices of their keys.
    pub top: Option<(&'a mut [f32], &'a mut [i32])>,
}

impl Outputs<'_> {
    /// Returns true if there is nothing to compute.
    fn are_empty(&self) -> bool {
        let floats =
            [self.weights.as_deref(), self.log_sum_exp.as_deref(), self.top.as_ref().map(|(values, _)| &**values)];
        self.output.is_empty() && floats.into_iter().all(|results| results.is_none_or(<[f32]>::is_empty))
    }
}

/// Strides of q, k, v or the output: the distances between batch entries, heads and rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    pub batch: usize,
    pub head: usize,
    pub row: usize,
}

impl From<Strides> for [usize; 3] {
    fn from(strides: Strides) -> Self {
        [strides.batch, strides.head, strides.row]
    }
}

impl Strides {
    pub(crate) fn new(layout: Layout, heads: usize, rows: usize, size: usize) -> Self {
        match layout {
            Layout::Bhld => Self { batch: heads * rows * size, head: rows * size, row: size },
            Layout::Blhd => Self { batch: heads * rows * size, head: size, row: heads * size },
        }
    }

    pub(crate) fn row(&self, b: usize, h: usize, i: usize) -> usize {
        b * self.batch + h * self.head + i * self.row
    }
}

/// A checked attention problem; code below this level does not check shapes again.
#[derive(Clone, Copy)]
pub(crate) struct Problem<'a> {
    pub q: &'a [f32],
    pub k: Weights<'a>,
    /// Empty if only the weights are requested; `value_dim` is then 0.
    pub v: Weights<'a>,
    pub q_strides: Strides,
    pub k_strides: Strides,
    pub v_strides: Strides,
    pub output_strides: Strides,
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub queries: usize,
    pub keys: usize,
    /// The row of key 0 in the memory of each batch entry; 0 by default.
    pub first_rows: Option<&'a [usize]>,
    pub head_dim: usize,
    pub value_dim: usize,
    pub scale: f32,
    pub softcap: f32,
    pub visibility: Visibility<'a>,
    pub dropout: Option<Dropout>,
    /// Keys of one tile.
    pub key_block: usize,
    /// Set if rows are points of a ball; scale, softcap and dropout then do not apply, and heads are not grouped.
    pub ball: Option<Ball<'a>>,
    /// The position of the problem in a larger call, if it is a section of one.
    pub section: Option<Section>,
}

/// Returns the number of keys in one tile under these options.
fn key_block(options: &AttentionOptions) -> usize {
    options.block_size.unwrap_or(KEY_BLOCK).min(MAX_KEY_BLOCK)
}

impl Problem<'_> {
    /// Returns the number of query heads that share one key/value head.
    pub(crate) fn group(&self) -> usize {
        self.heads.checked_div(self.kv_heads).unwrap_or(0)
    }

    /// Returns the keys of one head.
    pub(crate) fn key_rows(&self, b: usize, g: usize) -> HeadRows<'_> {
        self.head_rows(self.k, self.k_strides, b, g)
    }

    /// Returns the values of one head.
    pub(crate) fn value_rows(&self, b: usize, g: usize) -> HeadRows<'_> {
        self.head_rows(self.v, self.v_strides, b, g)
    }

    fn head_rows<'b>(&self, data: Weights<'b>, strides: Strides, b: usize, g: usize) -> HeadRows<'b> {
        let first = self.first_rows.map_or(0, |rows| rows[b]);
        HeadRows::new(data, strides.row(b, g, first), strides.row)
    }

    /// Returns the keys of one head, stored as 32-bit floats, and the distance between them.
    #[cfg(feature = "training")]
    pub(crate) fn head_keys(&self, b: usize, g: usize) -> (&[f32], usize) {
        self.key_rows(b, g).floats(0)
    }

    /// Returns the values of one head, stored as 32-bit floats, and the distance between them.
    #[cfg(feature = "training")]
    pub(crate) fn head_values(&self, b: usize, g: usize) -> (&[f32], usize) {
        self.value_rows(b, g).floats(0)
    }

    /// Returns the memory for `keys` keys of one head, and that for their values, if they are widened before use.
    fn widened_len(&self, keys: usize) -> [usize; 2] {
        [(self.k, self.head_dim), (self.v, self.value_dim)]
            .map(|(data, size)| if matches!(data, Weights::F32(_)) { 0 } else { keys * size })
    }

    /// Returns the number of output rows: one per batch entry, head and query.
    pub(crate) fn rows(&self) -> usize {
        self.batch * self.heads * self.queries
    }

    /// Returns the query head of row `row` of key/value head `head`, which counts over all batch entries.
    pub(crate) fn query_head(&self, head: usize, row: usize) -> usize {
        let group = self.group();
        head % self.kv_heads * group + row % group
    }

    /// Returns the index of row (b, h, i) among the output rows.
    fn row(&self, [b, h, i]: [usize; 3]) -> usize {
        (b * self.heads + h) * self.queries + i
    }

    /// Operations in one pass over all pairs of queries and keys.
    pub(crate) fn operations(&self) -> u64 {
        let keys = self.visibility.mean_keys(self.queries);
        pass_operations(self.rows(), keys, self.head_dim + self.value_dim, self.visibility.causal())
    }
}

/// Operations in one pass over `rows` queries and `keys` keys.
pub(crate) fn pass_operations(rows: usize, keys: usize, size: usize, causal: bool) -> u64 {
    operations([rows, keys, 2 * size + 16]) / if causal { 2 } else { 1 }
}

/// Computes `torch.nn.functional.scaled_dot_product_attention`, extended by [`AttentionOptions`].
///
/// q is `[B, H, L, D]`, k `[B, G, S, D]` and v `[B, G, S, E]`, where G divides H. In layout `blhd`, lengths come before
/// heads: `[B, L, H, D]` and so on. Three dimensions, `[B, L, D]`, mean one head.
///
/// # Errors
/// `SHAPE` if shapes, lengths or outputs do not fit, `OPTION` if an option is out of range, `MEMORY`.
pub fn scaled_dot_product_attention(
    context: Context<'_>,
    q: Tensor<'_>,
    k: Tensor<'_>,
    v: Tensor<'_>,
    options: &AttentionOptions,
    arrays: Arrays<'_>,
    outputs: Outputs<'_>,
) -> Result<()> {
    options.check_no_stage()?;
    arrays.check_results(options.weights || outputs.weights.is_some(), false)?;
    let problem = plan(context, q, k, Some(v), options, arrays)?;
    attend_into(context, &problem, options, outputs)
}

/// Checks the outputs of a planned problem and runs it.
pub(crate) fn attend_into(
    context: Context<'_>,
    problem: &Problem<'_>,
    options: &AttentionOptions,
    outputs: Outputs<'_>,
) -> Result<()> {
    let top_weights = options.top_weights;
    let rows = problem.rows();
    check_output("out", outputs.output, rows.saturating_mul(problem.value_dim))?;
    if let Some(weights) = &outputs.weights {
        check_output("weights", weights, rows.saturating_mul(problem.keys))?;
    }
    if let Some(log_sum_exp) = &outputs.log_sum_exp {
        check_output("log_sum_exp", log_sum_exp, rows)?;
    }
    if let Some(count) = top_weights
        && count > problem.most_keys()
    {
        let expected = format!("an integer from 1 to {}, the number of keys", problem.most_keys());
        return Err(Error::value("top_weights", expected, count));
    }
    check_requested("weights", options.weights, outputs.weights.is_some())?;
    check_requested("log_sum_exp", options.log_sum_exp, outputs.log_sum_exp.is_some())?;
    check_requested("top_weights", top_weights.is_some(), outputs.top.is_some())?;
    if let Some((values, indices)) = &outputs.top {
        let expected = rows.saturating_mul(top_weights.unwrap_or(0));
        check_output("top_weights", values, expected)?;
        check_output("top_weights", indices, expected)?;
    }
    attend(context, problem, outputs, WeightsOf::EachHead, None)
}

/// Computes the weights alone, or the scores at an earlier stage (the ONNX operator's `qk_matmul_output`): `[B, H, L,
/// S]`.
///
/// # Errors
/// The same as [`scaled_dot_product_attention`].
pub fn attention_weights(
    context: Context<'_>,
    q: Tensor<'_>,
    k: Tensor<'_>,
    options: &AttentionOptions,
    arrays: Arrays<'_>,
    output: &mut [f32],
) -> Result<()> {
    options.check_weights_alone()?;
    if arrays.cu_seqlens.is_some() {
        let expected = "no value: weights of packed sequences take one call for each sequence";
        return Err(Error::option("cu_seqlens", expected, "an Int32Array"));
    }
    let problem = plan(context, q, k, None, options, arrays)?;
    check_output("output", output, problem.rows().saturating_mul(problem.keys))?;
    if output.is_empty() {
        return Ok(());
    }
    match options.stage.unwrap_or_default() {
        Stage::Weights => {
            let outputs = Outputs { weights: Some(output), ..Outputs::default() };
            attend(context, &problem, outputs, WeightsOf::EachHead, None)
        }
        stage => second_pass::scores(context, &problem, stage, output),
    }
}

/// The heads that a row of weights covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightsOf {
    /// `[B, H, L, S]`.
    EachHead,
    /// `[B, L, S]`: the mean over the heads.
    MeanHead,
}

/// Runs a checked problem. `moments`, `[B, H, L, 2]`, receives the moments of points of a ball: W, and c times the sum
/// of squared distances, both divided by the sum of weights like the output.
pub(crate) fn attend(
    context: Context<'_>,
    problem: &Problem<'_>,
    mut outputs: Outputs<'_>,
    weights_of: WeightsOf,
    moments: Option<&mut [f32]>,
) -> Result<()> {
    // Without outputs, the number of empty rows may be too large to iterate over.
    if outputs.are_empty() {
        return Ok(());
    }
    let needs_second_pass = outputs.weights.is_some() || outputs.top.is_some();
    let rows = if needs_second_pass { problem.rows() } else { 0 };
    let passes = 1 + u64::from(outputs.weights.is_some()) + u64::from(outputs.top.is_some());
    let operations = problem.operations().saturating_mul(passes);
    // The first section of a call announces the work of all sections.
    let first_of = problem.section.filter(|section| section.head == 0 && section.first[2] == 0);
    context.announce_work(first_of.map_or(operations, |whole| {
        operations.saturating_mul((whole.rows * whole.heads) as u64) / problem.rows() as u64
    }));
    let mut statistics =
        second_pass::Statistics { max: try_zeroed("working memory", rows)?, sum: try_zeroed("working memory", rows)? };
    forward::run(context, problem, take(&mut outputs.output), outputs.log_sum_exp, moments, &mut statistics)?;
    if let Some(weights) = outputs.weights {
        second_pass::weights(context, problem, &statistics, weights, weights_of)?;
    }
    if let Some((values, indices)) = outputs.top {
        second_pass::top_weights(context, problem, &statistics, values, indices)?;
    }
    Ok(())
}

/// Batch, heads, length and size of one input.
struct Dims {
    batch: usize,
    heads: usize,
    length: usize,
    size: usize,
}

impl Dims {
    /// Reads the dimensions of `shape`. `letters` are the names of heads, length and size in messages.
    fn of(argument: &str, shape: Shape, layout: Layout, [heads, length, size]: [&str; 3]) -> Result<Self> {
        match (shape.dims(), layout) {
            (&[batch, length, size], _) => Ok(Self { batch, heads: 1, length, size }),
            (&[batch, heads, length, size], Layout::Bhld) | (&[batch, length, heads, size], Layout::Blhd) => {
                Ok(Self { batch, heads, length, size })
            }
            (_, Layout::Bhld) => Err(format!("[B, {heads}, {length}, {size}]")),
            (_, Layout::Blhd) => Err(format!("[B, {length}, {heads}, {size}]")),
        }
        .map_err(|four| Error::shape(argument, format!("{four} or [B, {length}, {size}]"), shape))
    }
}

/// Checks that the shapes fit each other, and plans the problem.
pub(crate) fn plan<'a>(
    context: Context<'_>,
    q: Tensor<'a>,
    k: Tensor<'a>,
    v: Option<Tensor<'a>>,
    options: &AttentionOptions,
    arrays: Arrays<'a>,
) -> Result<Problem<'a>> {
    options.check()?;
    let layout = options.layout;
    let queries = Dims::of("q", q.shape, layout, ["H", "L", "D"])?;
    let keys = Dims::of("k", k.shape, layout, ["G", "S", "D"])?;
    let fits = |argument: &str, tensor: Tensor<'_>, what: &str, expected: usize, actual: usize| {
        if tensor.shape.rank() != q.shape.rank() {
            let expected = format!("{} dimensions, as many as q has", q.shape.rank());
            return Err(Error::shape(argument, expected, tensor.shape));
        }
        if expected != actual {
            let expected = format!("{what} {expected} to fit {}", if argument == "k" { "q" } else { "k" });
            return Err(Error::shape(argument, expected, format_args!("{actual} in {}", tensor.shape)));
        }
        Ok(())
    };
    fits("k", k, "batch size", queries.batch, keys.batch)?;
    fits("k", k, "head size", queries.size, keys.size)?;
    let groups_fit = if keys.heads == 0 { queries.heads == 0 } else { queries.heads.is_multiple_of(keys.heads) };
    if !groups_fit {
        let expected = format!("a number of heads that divides q's {}", queries.heads);
        return Err(Error::shape("k", expected, format_args!("{} in {}", keys.heads, k.shape)));
    }
    let mut value_dim = 0;
    if let Some(v) = v {
        let values = Dims::of("v", v.shape, layout, ["G", "S", "E"])?;
        fits("v", v, "batch size", keys.batch, values.batch)?;
        fits("v", v, "number of heads", keys.heads, values.heads)?;
        fits("v", v, "length", keys.length, values.length)?;
        value_dim = values.size;
    }
    let shape = [queries.batch, queries.heads, queries.length, keys.length];
    check_volume(shape, queries.size.max(value_dim))?;
    let strides = |dims: &Dims, size| Strides::new(layout, dims.heads, dims.length, size);
    let section = context.section.copied();
    let first = section.map_or([0; 3], |section| section.first);
    let mut visibility = Visibility::new(
        shape,
        q.shape.rank(),
        options.causal,
        options.window,
        options.query_offset.unwrap_or(0),
        &arrays,
    )?;
    visibility.first = first[2];
    Ok(Problem {
        q: q.data,
        k: Weights::F32(k.data),
        v: Weights::F32(v.map_or(&[], |v| v.data)),
        q_strides: strides(&queries, queries.size),
        k_strides: strides(&keys, keys.size),
        v_strides: strides(&keys, value_dim),
        output_strides: strides(&queries, value_dim),
        batch: queries.batch,
        heads: queries.heads,
        kv_heads: keys.heads,
        queries: queries.length,
        keys: keys.length,
        first_rows: None,
        head_dim: queries.size,
        value_dim,
        // With D = 0 every score is an empty sum, so the factor does not matter.
        scale: options.scale.unwrap_or(1.0 / (queries.size.max(1) as f32).sqrt()),
        softcap: options.softcap,
        visibility,
        dropout: Dropout::new(options.dropout, options.seed).map(|dropout| dropout.from(first)),
        key_block: key_block(options),
        ball: None,
        section,
    })
}

/// Checks sizes derived from the dimensions for overflow: a zero dimension permits huge ones, as no data backs them.
pub(crate) fn check_volume([batch, heads, queries, keys]: [usize; 4], size: usize) -> Result<()> {
    let elements =
        [batch, heads, queries, size.max(1)].iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    // Random numbers are drawn from 32-bit row indices, and key indices are returned as i32.
    if u32::try_from(batch.max(heads).max(queries)).is_err() || i32::try_from(keys).is_err() {
        let actual = format_args!("batch {batch}, heads {heads}, queries {queries}, keys {keys}");
        return Err(Error::shape("q", "batch, heads and queries below 2^32, and keys below 2^31", actual));
    }
    if elements.is_none() {
        let expected = format_args!("a product of batch, heads, queries and head size of at most {}", usize::MAX);
        return Err(Error::shape("q", expected, format_args!("{batch} × {heads} × {queries} × {size}")));
    }
    Ok(())
}

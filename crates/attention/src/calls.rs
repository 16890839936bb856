//! The door through which both bindings call: one table of operations, one of the objects that live between calls.
//!
//! A call is an operation's number, a header, a JSON text of options, and arrays. The header is
//! `[threads, training, part, parts, objects, id, …, rank, dim, …, rank, dim, …]`: the thread limit, whether a layer trains,
//! which part of how many is to be computed, the objects that the call works on, then the shape of each tensor argument in
//! order, the mask's last where one is given. Bindings only convert; a mechanism that is added here is there for both.

use std::any::Any;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use crate::encoder::TransformerEncoderLayer;
use crate::error::{Code, Error, Result};
use crate::graph;
use crate::hyperbolic::{ForwardOptions, HyperbolicAttention, functions::FunctionOptions};
use crate::math::activation::{self, Activation};
use crate::math::{linear, norm, pool, softmax, stats};
use crate::multi_head::{Inputs, MultiHeadAttention};
use crate::options::{AttentionOptions, LayerKind, LayerOptions};
use crate::sdpa::cache::{self, KvCache};
use crate::sdpa::head;
use crate::sdpa::mask::Mask;
use crate::sdpa::merge::{self, MergeOptions};
use crate::sdpa::parts::{Outside, Parts};
use crate::sdpa::rotary::{self, RotaryOptions};
use crate::sdpa::{self, Arrays, Outputs};
use crate::simd::Level;
use crate::tensor::{MAX_RANK, Tensor};
use crate::threads::{self, Context, Observer, Share};
use crate::weights::{Entry, describe_entries, parse_entries, read_entry, widen};

type Operation = fn(&mut Call<'_>) -> Result<()>;

/// What a caller can ask for by number: the place in this table.
const OPERATIONS: &[(&str, Operation)] = &[
    ("scaledDotProductAttention", scaled_dot_product_attention),
    ("attentionWeights", attention_weights),
    ("scaledDotProductOptions", |call| head::check_scaled_dot_product(call.options)),
    ("flashOptions", |call| head::check_flash(call.options)),
    ("flashAttention", flash_attention),
    ("mergeAttention", merge_attention),
    ("rotaryEmbedding", rotary_embedding),
    ("kvCacheAppend", kv_cache_append),
    ("kvCacheAttend", kv_cache_attend),
    ("kvCacheTruncate", kv_cache_truncate),
    ("softmax", row_softmax),
    ("linear", affine),
    ("multiHeadAttention", multi_head_attention),
    ("widen", widen_elements),
    ("stats", statistics),
    ("normalize", normalized),
    ("propagate", graph::calls::propagate),
    ("edgeSoftmax", graph::calls::edge_softmax),
    ("inDegrees", graph::calls::in_degrees),
    ("graphLayer", graph::calls::forward),
    ("linearAttention", crate::linear::calls::forward),
    ("linearFeatureMap", crate::linear::calls::feature_map),
    ("linearStreamStep", crate::linear::calls::step),
    ("linearStreamReset", crate::linear::calls::reset),
    ("hyperbolicAttention", hyperbolic_attention),
    ("hyperbolicFunction", hyperbolic_function),
    ("hyperbolicDistances", hyperbolic_distances),
    ("hyperbolicMidpoint", hyperbolic_midpoint),
    ("layerNorm", layer_norm),
    ("rmsNorm", rms_norm),
    ("gelu", gelu),
    ("silu", silu),
    ("meanPool", mean_pool),
    ("transformerEncoderLayer", transformer_encoder_layer),
    // The fault tests' way to what must never happen, on every thread on which calls run.
    ("provokePanic", |call| panic!("{}", call.options.unwrap_or_default())),
];

/// Makes an object of a kind from its configuration, a JSON object.
fn make(kind: &str, config: &str, integers: [Option<&[i32]>; 2]) -> Result<Arc<dyn Object>> {
    Ok(match kind {
        "multi-head" => Arc::new(MultiHeadAttention::new(config, LayerKind::MultiHead)?),
        "self" => Arc::new(MultiHeadAttention::new(config, LayerKind::SelfAttention)?),
        "cross" => Arc::new(MultiHeadAttention::new(config, LayerKind::CrossAttention)?),
        "encoder-layer" => Arc::new(TransformerEncoderLayer::new(config)?),
        _ if kind.starts_with("graph") => return graph::calls::make(kind, config, integers),
        "kv-cache" => Arc::new(KvCache::new(config)?),
        "linear" => Arc::new(crate::linear::LinearAttention::new(config)?),
        "linear-stream" => Arc::new(crate::linear::stream::Stream::new(config)?),
        "hyperbolic" => Arc::new(HyperbolicAttention::new(config)?),
        _ => return Err(Error::new(Code::Internal, "kind", "a kind of object", kind)),
    })
}

/// The arrays of a call, as they come; what is absent is `None`.
#[derive(Debug, Default)]
pub struct Slots<'a> {
    /// Tensors and arrays of 32-bit floats; a float mask is the last.
    pub inputs: [Option<&'a [f32]>; 4],
    /// A boolean mask, or the bytes of a file.
    pub bytes: Option<&'a [u8]>,
    /// Arrays of integers: offsets or positions, then lengths.
    pub integers: [Option<&'a [i32]>; 2],
    /// Where results go.
    pub outputs: [Option<&'a mut [f32]>; 4],
    /// Where indices go.
    pub indices: Option<&'a mut [i32]>,
}

impl Slots<'_> {
    /// The same arrays for a shorter time.
    pub fn reborrow(&mut self) -> Slots<'_> {
        Slots {
            inputs: self.inputs,
            bytes: self.bytes,
            integers: self.integers,
            outputs: self.outputs.each_mut().map(Option::as_deref_mut),
            indices: self.indices.as_deref_mut(),
        }
    }
}

/// Runs the operation of this number.
pub fn call(operation: u32, header: &[f64], options: Option<&str>, slots: Slots<'_>) -> Result<()> {
    run(find_operation(operation)?, header, find_objects(header)?, options, slots)
}

/// Words of 32 bits in all arrays of a call with which [`call_in_parts`] is worth its time and can count in 32 bits.
pub const WORDS_IN_PARTS: Range<u64> = 1 << 20..1 << 30;

/// Runs an operation on arrays outside of this memory, of which one part is here at a time. `None`, and nothing has been
/// written, for an operation that needs all of them at once; also where something is wrong, which [`call`] then reports.
pub fn call_in_parts(
    operation: u32,
    header: &[f64],
    options: Option<&str>,
    integers: [Option<&[i32]>; 2],
    outside: &dyn Outside,
) -> Option<Result<()>> {
    let &(name, operation) = OPERATIONS.get(operation as usize)?;
    let has_values = match name {
        "scaledDotProductAttention" | "flashAttention" => true,
        "attentionWeights" => false,
        _ => return None,
    };
    // Heads come last in layout `blhd`, so that none of them lies together.
    if options.is_some_and(|json| json.as_bytes().windows(4).any(|text| text == b"blhd")) {
        return None;
    }
    let parts = Parts::new(header, integers, has_values, outside.lengths())?;
    let share = share(header).ok()?;
    Some(parts.run(outside, &mut |header, slots| {
        let mut call = Call::new(header, Vec::new(), options, slots)?;
        share.run(|| operation(&mut call))
    }))
}

/// A call whose objects are at hand, so that any thread can run it.
pub struct Pending {
    operation: Operation,
    header: Vec<f64>,
    objects: Vec<Arc<dyn Object>>,
    options: Option<String>,
}

impl Pending {
    /// Finds what the call needs of this thread's.
    pub fn new(operation: u32, header: &[f64], options: Option<String>) -> Result<Self> {
        let (operation, objects) = (find_operation(operation)?, find_objects(header)?);
        Ok(Self { operation, header: header.to_vec(), objects, options })
    }

    /// Runs it, once.
    pub fn run(&mut self, observer: &dyn Observer, slots: Slots<'_>) -> Result<()> {
        let objects = std::mem::take(&mut self.objects);
        threads::observed(observer, || run(self.operation, &self.header, objects, self.options.as_deref(), slots))
    }
}

fn find_operation(number: u32) -> Result<Operation> {
    let found = OPERATIONS.get(number as usize).map(|&(_, operation)| operation);
    found.ok_or_else(|| Error::new(Code::Internal, "operation", "a number in the table", number))
}

fn run(
    operation: Operation,
    header: &[f64],
    objects: Vec<Arc<dyn Object>>,
    options: Option<&str>,
    slots: Slots<'_>,
) -> Result<()> {
    let mut call = Call::new(header, objects, options, slots)?;
    share(header)?.run(|| operation(&mut call))
}

/// Which part of a split call is to be computed.
fn share(header: &[f64]) -> Result<Share> {
    let &[_, _, part, parts, ..] = header else { return Err(cut_short()) };
    Ok(Share { index: part as usize, count: (parts as usize).max(1) })
}

/// The names of the operations in the order of their numbers, separated by commas.
pub fn operations() -> String {
    let mut names = String::new();
    for (name, _) in OPERATIONS {
        names.push_str(if names.is_empty() { "" } else { "," });
        names.push_str(name);
    }
    names
}

/// One call, its header read as far as the shapes.
pub(crate) struct Call<'a> {
    pub context: Context,
    /// Whether a layer trains.
    pub training: bool,
    /// The scalar options.
    pub options: Option<&'a str>,
    objects: Vec<Arc<dyn Object>>,
    shapes: &'a [f64],
    slots: Slots<'a>,
    next_input: usize,
}

impl<'a> Call<'a> {
    fn new(
        header: &'a [f64],
        objects: Vec<Arc<dyn Object>>,
        options: Option<&'a str>,
        slots: Slots<'a>,
    ) -> Result<Self> {
        let (_, shapes) = split_header(header)?;
        Ok(Self {
            context: Context { level: Level::current(), threads: (header[0] as usize).max(1) },
            training: header[1] != 0.0,
            options,
            objects,
            shapes,
            slots,
            next_input: 0,
        })
    }

    /// The object of this type that stands at `index` of the call's.
    pub fn object<T: Object>(&self, index: usize) -> Result<&T> {
        let object = self.objects.get(index).map(|object| &**object as &dyn Any);
        object
            .and_then(|object| object.downcast_ref())
            .ok_or_else(|| Error::new(Code::Internal, "object", std::any::type_name::<T>(), "another"))
    }

    /// The next tensor, which has to be there.
    pub fn tensor(&mut self, argument: &str) -> Result<Tensor<'a>> {
        self.optional_tensor(argument)?
            .ok_or_else(|| Error::new(Code::Internal, argument, "an array in the slot of the tensor", "none"))
    }

    /// The next tensor, or the absence of one.
    pub fn optional_tensor(&mut self, argument: &str) -> Result<Option<Tensor<'a>>> {
        self.optional_input().map(|data| self.with_shape(argument, data)).transpose()
    }

    /// The next array of floats without a shape of its own, or the absence of one.
    pub fn optional_input(&mut self) -> Option<&'a [f32]> {
        self.next_input += 1;
        self.slots.inputs.get(self.next_input - 1).copied().flatten()
    }

    /// The array of integers at `index`, or the absence of one.
    pub fn integers(&self, index: usize) -> Option<&'a [i32]> {
        self.slots.integers.get(index).copied().flatten()
    }

    /// The mask, whose shape comes after those of all tensors, and what else says which keys are seen.
    pub fn arrays(&mut self) -> Result<Arrays<'a>> {
        let mask = match (self.slots.bytes, self.slots.inputs[3]) {
            (Some(mask), _) => Some(Mask::Boolean(self.with_shape("mask", mask)?)),
            (None, Some(mask)) => Some(Mask::Float(self.with_shape("mask", mask)?)),
            (None, None) => None,
        };
        Ok(Arrays { mask, query_offset: self.integers(0), kv_lengths: self.integers(1) })
    }

    /// Where the first result goes; nowhere if there is none.
    pub fn output(&mut self) -> &'a mut [f32] {
        self.optional_output(0).unwrap_or_default()
    }

    /// Where the result at `index` goes, if it is asked for. Taken once.
    pub fn optional_output(&mut self, index: usize) -> Option<&'a mut [f32]> {
        self.slots.outputs.get_mut(index).and_then(Option::take)
    }

    /// Where indices go, if they are asked for. Taken once.
    pub fn indices(&mut self) -> Option<&'a mut [i32]> {
        self.slots.indices.take()
    }

    /// Where the results of attention go.
    pub fn attention_outputs(&mut self) -> Outputs<'a> {
        Outputs {
            output: self.output(),
            weights: self.optional_output(1),
            log_sum_exp: self.optional_output(2),
            top: self.optional_output(3).zip(self.indices()),
        }
    }

    /// The tensor over `data` whose shape comes next.
    fn with_shape<'t, T>(&mut self, argument: &str, data: &'t [T]) -> Result<Tensor<'t, T>> {
        let (&rank, rest) = self.shapes.split_first().ok_or_else(cut_short)?;
        let rank = rank as usize;
        if rank > MAX_RANK {
            let actual = format_args!("{rank} dimensions");
            return Err(Error::shape(argument, format_args!("at most {MAX_RANK} dimensions"), actual));
        }
        let (shape, rest) = rest.split_at_checked(rank).ok_or_else(cut_short)?;
        self.shapes = rest;
        let mut dims = [0; MAX_RANK];
        for (dim, &given) in dims.iter_mut().zip(shape) {
            // Whole numbers below 2⁵³: JavaScript checked them. What exceeds this machine's sizes saturates.
            *dim = given as usize;
        }
        Tensor::new(argument, data, &dims[..rank])
    }
}

/// The numbers of the objects, and the shapes.
fn split_header(header: &[f64]) -> Result<(&[f64], &[f64])> {
    let [_, _, _, _, count, rest @ ..] = header else { return Err(cut_short()) };
    rest.split_at_checked(*count as usize).ok_or_else(cut_short)
}

fn find_objects(header: &[f64]) -> Result<Vec<Arc<dyn Object>>> {
    split_header(header)?.0.iter().map(|&id| find(id as u32)).collect()
}

#[cold]
fn cut_short() -> Error {
    Error::new(Code::Internal, "header", "a shape for each tensor", "fewer")
}

// ── Operations ──────────────────────────────────────────────────────────────────────────────────────────────────────

fn scaled_dot_product_attention(call: &mut Call<'_>) -> Result<()> {
    attend_with(call, AttentionOptions::parse)
}

fn flash_attention(call: &mut Call<'_>) -> Result<()> {
    attend_with(call, AttentionOptions::parse_for_flash)
}

fn attend_with(call: &mut Call<'_>, parse: fn(Option<&str>) -> Result<AttentionOptions>) -> Result<()> {
    let (q, k, v) = (call.tensor("q")?, call.tensor("k")?, call.tensor("v")?);
    let options = parse(call.options)?;
    let (arrays, outputs) = (call.arrays()?, call.attention_outputs());
    sdpa::scaled_dot_product_attention(call.context, q, k, v, &options, arrays, outputs)
}

fn attention_weights(call: &mut Call<'_>) -> Result<()> {
    let (q, k) = (call.tensor("q")?, call.tensor("k")?);
    let options = AttentionOptions::parse_for_weights(call.options)?;
    let arrays = call.arrays()?;
    sdpa::attention_weights(call.context, q, k, &options, arrays, call.output())
}

fn merge_attention(call: &mut Call<'_>) -> Result<()> {
    let (outputs, log_sum_exps) = (call.tensor("parts")?, call.tensor("parts")?);
    let options = MergeOptions::parse(call.options)?;
    let (output, log_sum_exp) = (call.output(), call.optional_output(1).unwrap_or_default());
    merge::merge_attention(call.context, outputs, log_sum_exps, options, output, log_sum_exp)
}

fn rotary_embedding(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    let options = RotaryOptions::parse(call.options)?;
    rotary::rotary_embedding(call.context, x, options, call.integers(0), call.output())
}

fn kv_cache_append(call: &mut Call<'_>) -> Result<()> {
    let (k, v) = (call.tensor("k")?, call.tensor("v")?);
    call.object::<KvCache>(0)?.append(k, v)
}

fn kv_cache_attend(call: &mut Call<'_>) -> Result<()> {
    let q = call.tensor("q")?;
    let options = AttentionOptions::parse_for_cache(call.options)?;
    let (arrays, outputs) = (call.arrays()?, call.attention_outputs());
    call.object::<KvCache>(0)?.attend(call.context, q, &options, arrays, outputs)
}

fn kv_cache_truncate(call: &mut Call<'_>) -> Result<()> {
    call.object::<KvCache>(0)?.truncate(cache::parse_length(call.options)?)
}

fn row_softmax(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    softmax::softmax(call.context, x, call.output())
}

fn affine(call: &mut Call<'_>) -> Result<()> {
    let (x, weight, bias) = (call.tensor("x")?, call.tensor("weight")?, call.optional_tensor("bias")?);
    linear::linear(call.context, x, weight, bias, call.output())
}

fn multi_head_attention(call: &mut Call<'_>) -> Result<()> {
    let (query, key, value) = (call.tensor("q")?, call.optional_tensor("k")?, call.optional_tensor("v")?);
    let options = LayerOptions::parse(call.options)?;
    let arrays = call.arrays()?;
    let (output, weights) = (call.output(), call.optional_output(1));
    let inputs = Inputs { query, key, value };
    let layer: &MultiHeadAttention = call.object(0)?;
    layer.forward(call.context, inputs, &options, arrays, call.training, output, weights)
}

fn hyperbolic_attention(call: &mut Call<'_>) -> Result<()> {
    let inputs = [call.tensor("q")?, call.tensor("k")?, call.tensor("v")?];
    let options = ForwardOptions::parse(call.options)?;
    let arrays = call.arrays()?;
    let (output, weights) = (call.output(), call.optional_output(1));
    let space: &HyperbolicAttention = call.object(0)?;
    space.forward(call.context, inputs, &options, arrays, output, weights)
}

fn hyperbolic_function(call: &mut Call<'_>) -> Result<()> {
    let options = FunctionOptions::parse(call.options)?;
    let [first, second, third] = options.function.names();
    let arguments = [call.optional_tensor(first)?, call.optional_tensor(second)?, call.optional_tensor(third)?];
    let output = call.output();
    call.object::<HyperbolicAttention>(0)?.apply(call.context, &options, arguments, output)
}

fn hyperbolic_distances(call: &mut Call<'_>) -> Result<()> {
    let (a, b, output) = (call.tensor("a")?, call.tensor("b")?, call.output());
    call.object::<HyperbolicAttention>(0)?.distance_matrix(call.context, a, b, output)
}

fn hyperbolic_midpoint(call: &mut Call<'_>) -> Result<()> {
    let (points, weights, output) = (call.tensor("points")?, call.optional_tensor("weights")?, call.output());
    call.object::<HyperbolicAttention>(0)?.midpoint(call.context, points, weights, output)
}

/// The options are the element type of a safetensors file.
fn widen_elements(call: &mut Call<'_>) -> Result<()> {
    widen(call.options.unwrap_or_default(), call.slots.bytes.unwrap_or_default(), call.output())
}

fn layer_norm(call: &mut Call<'_>) -> Result<()> {
    normed(call, true, &["weight", "bias"], 1e-5)
}

/// The default epsilon is PyTorch's for 32 bits.
fn rms_norm(call: &mut Call<'_>) -> Result<()> {
    normed(call, false, &["weight"], f32::EPSILON)
}

fn normed(call: &mut Call<'_>, centred: bool, vectors: &[&str], epsilon: f32) -> Result<()> {
    let (x, weight, bias) = (call.tensor("x")?, call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    let epsilon = stats::parse_epsilon(call.options, vectors, epsilon)?;
    norm::norm(call.context, x, centred, weight, bias, epsilon, call.output())
}

fn gelu(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    activation::activate(call.context, activation::parse_gelu(call.options)?, x, call.output())
}

fn silu(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    activation::activate(call.context, Activation::Silu, x, call.output())
}

fn mean_pool(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    pool::mean_pool(call.context, x, call.integers(0), pool::parse_normalize(call.options)?, call.output())
}

fn transformer_encoder_layer(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("x")?;
    let options = LayerOptions::parse(call.options)?;
    let arrays = call.arrays()?;
    let (output, weights) = (call.output(), call.optional_output(1));
    let layer: &TransformerEncoderLayer = call.object(0)?;
    layer.forward(call.context, x, &options, arrays, call.training, output, weights)
}

fn statistics(call: &mut Call<'_>) -> Result<()> {
    let found = stats::stats(call.tensor("tensor")?.data);
    let values = [found.mean as f32, found.deviation as f32, found.smallest, found.largest];
    call.output().iter_mut().zip(values).for_each(|(output, value)| *output = value);
    Ok(())
}

fn normalized(call: &mut Call<'_>) -> Result<()> {
    let x = call.tensor("tensor")?;
    let epsilon = stats::parse_epsilon(call.options, &[], 1e-5)?;
    stats::normalize(x, epsilon, call.output())
}

// ── Objects ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// What lives between calls: layers with parameters, and whatever else is too dear to make anew for each call.
pub trait Object: Any + Send + Sync {
    /// The configuration with every default filled in, as JSON.
    fn config(&self) -> String;

    /// The parameters in PyTorch's order; objects without parameters have none.
    fn entries(&self) -> Vec<Entry<'_>> {
        Vec::new()
    }

    /// Shows everything to `visit` by which [`Object::with_entries`] makes the same object again.
    ///
    /// # Errors
    /// Those of `visit`.
    fn visit_entries(&self, visit: &mut dyn FnMut(&[Entry<'_>]) -> Result<()>) -> Result<()> {
        visit(&self.entries())
    }

    /// The same object with the parameters that `entries` hold below `prefix`, under any of the known names.
    ///
    /// # Errors
    /// `SHAPE` or `FORMAT` for entries that do not fit.
    fn with_entries(&self, _entries: &[Entry<'_>], _prefix: &str) -> Result<Arc<dyn Object>> {
        Err(Error::new(Code::Internal, "state", "an object with parameters", "one without"))
    }
}

thread_local! {
    /// The objects of this thread, and so of one JavaScript environment: an object's number is its place.
    static OBJECTS: RefCell<Vec<Option<Arc<dyn Object>>>> = const { RefCell::new(Vec::new()) };
}

fn find(id: u32) -> Result<Arc<dyn Object>> {
    let object = OBJECTS.with_borrow(|objects| objects.get(id as usize).cloned().flatten());
    // lib/ never names an object that it has freed.
    object.ok_or_else(|| Error::new(Code::Internal, "object", "one that is still held", id))
}

/// Makes an object of a kind from its configuration, a JSON object, and gives its number.
pub fn create(kind: &str, config: &str, integers: [Option<&[i32]>; 2]) -> Result<u32> {
    Ok(keep(make(kind, config, integers)?))
}

/// A further number for an object as it is now: it stays so under this one, whatever becomes of the other.
pub fn hold(id: u32) -> Result<u32> {
    find(id).map(keep)
}

fn keep(object: Arc<dyn Object>) -> u32 {
    OBJECTS.with_borrow_mut(|objects| {
        let id = objects.iter().position(Option::is_none).unwrap_or(objects.len());
        objects.resize(objects.len().max(id + 1), None);
        objects[id] = Some(object);
        id as u32
    })
}

/// Lets go of an object; calls that are still at work on it go on.
pub fn free(id: u32) {
    let freed = OBJECTS.with_borrow_mut(|objects| objects.get_mut(id as usize).and_then(Option::take));
    drop(freed);
}

/// An object's configuration with every default filled in, as JSON.
pub fn describe(id: u32) -> Result<String> {
    Ok(find(id)?.config())
}

/// Names and shapes of an object's parameters as a JSON list of `{ "name", "shape" }`.
pub fn state_entries(id: u32) -> Result<String> {
    let mut described = String::new();
    find(id)?.visit_entries(&mut |entries| {
        described = describe_entries(entries);
        Ok(())
    })?;
    Ok(described)
}

/// Copies the parameter at `index` of an object to `output`.
pub fn read_state(id: u32, index: u32, output: &mut [f32]) -> Result<()> {
    find(id)?.visit_entries(&mut |entries| read_entry(entries, index as usize, output))
}

/// Takes the parameters of a state dict that lie below `prefix`, or fails and changes nothing.
pub fn load_state(id: u32, entries: &str, data: &[&[f32]], prefix: &str) -> Result<()> {
    let loaded = find(id)?.with_entries(&parse_entries(entries, data)?, prefix)?;
    OBJECTS.with_borrow_mut(|objects| objects[id as usize] = Some(loaded));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call_on<'a>(header: &'a [f64], inputs: [Option<&'a [f32]>; 4]) -> Result<Call<'a>> {
        Call::new(header, find_objects(header)?, None, Slots { inputs, ..Slots::default() })
    }

    #[test]
    fn shapes_are_read_in_order_and_a_short_header_is_a_fault() {
        let data = [0.5; 6];
        let inputs = [Some(&data[..]), Some(&data[..1]), None, Some(&data[..])];
        let mut call = call_on(&[3.0, 1.0, 0.0, 1.0, 0.0, 2.0, 2.0, 3.0, 0.0, 1.0, 6.0], inputs).unwrap();
        assert_eq!((call.context.threads, call.training), (3, true));
        assert_eq!(call.tensor("a").unwrap().shape.dims(), [2, 3]);
        assert_eq!(call.tensor("b").unwrap().shape.dims(), [] as [usize; 0]);
        assert!(call.optional_tensor("c").unwrap().is_none());
        assert_eq!(call.tensor("d").unwrap().shape.dims(), [6]);
        for header in [
            &[1.0, 0.0][..],
            &[1.0, 0.0, 0.0, 1.0, 1.0],
            &[1.0, 0.0, 0.0, 1.0, 0.0],
            &[1.0, 0.0, 0.0, 1.0, 0.0, 3.0, 2.0],
        ] {
            let fault = call_on(header, inputs).and_then(|mut call| call.tensor("a").map(|_| ())).unwrap_err();
            assert_eq!(fault.code, Code::Internal, "{header:?}");
        }
        assert_eq!(call_on(&[1.0, 0.0, 0.0, 1.0, 0.0, 9.0], inputs).unwrap().tensor("a").unwrap_err().argument, "a");
    }

    #[test]
    fn a_dimension_beyond_every_memory_is_a_shape_error() {
        let mut call =
            call_on(&[1.0, 0.0, 0.0, 1.0, 0.0, 3.0, 1e15, 1e15, 1e15], [Some(&[0.0; 4]), None, None, None]).unwrap();
        assert_eq!(call.tensor("x").unwrap_err().code, Code::Shape);
    }

    #[test]
    fn objects_are_known_by_number_until_they_are_freed() {
        let make = |seed: u32| {
            let config = format!(r#"{{"numHeads":1,"headDim":2,"seed":{seed}}}"#);
            create("self", &config, [None; 2]).unwrap()
        };
        let (first, second) = (make(1), make(2));
        assert_ne!(first, second);
        let mut weight = [0.0; 12];
        read_state(first, 0, &mut weight).unwrap();
        load_state(second, &state_entries(second).unwrap(), &[&weight, &[1.0; 6], &[2.0; 4], &[3.0; 2]], "").unwrap();
        let mut read = [0.0; 12];
        read_state(second, 0, &mut read).unwrap();
        assert_eq!(read, weight);
        assert!(load_state(second, "[]", &[], "").is_err());
        assert!(describe(second).unwrap().contains("\"seed\":2"));
        let held = hold(second).unwrap();
        load_state(second, &state_entries(first).unwrap(), &[&[0.0; 12], &[1.0; 6], &[2.0; 4], &[3.0; 2]], "").unwrap();
        read_state(held, 0, &mut read).unwrap();
        assert_eq!(read, weight);
        free(held);
        free(second);
        free(second);
        assert_eq!(describe(second).unwrap_err().code, Code::Internal);
        assert_eq!(make(3), second);
        assert_eq!(create("other", "{}", [None; 2]).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let names = operations();
        let mut names: Vec<&str> = names.split(',').collect();
        assert_eq!(names.len(), OPERATIONS.len());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPERATIONS.len());
        assert_eq!(
            call(u32::MAX, &[1.0, 0.0, 0.0, 1.0, 0.0], None, Slots::default()).unwrap_err().code,
            Code::Internal
        );
    }
}

//! Recurrent linear attention: a state `S [D, E]` for each key/value head, which every position decays, updates and
//! reads.
//!
//! With `a_t = e^decay_t` (1 without decay) and ⊗ the outer product:
//!
//! - `linear`, `gated`: `S_t = a_t S_{t−1} + k_t ⊗ v_t`;
//! - `delta`, `gated_delta`: `S_t = a_t S_{t−1} + k_t ⊗ β_t (v_t − (a_t S_{t−1})ᵀ k_t)`;
//! - `output_t = scale · S_tᵀ q_t`.
//!
//! This is `LinearAttention` of ONNX's opset 27. Long sequences are computed in chunks (`chunk`), short ones position
//! by position (`step`).

mod chunk;
mod state;
mod step;

use crate::context::rows::SharedMut;
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::linear::rows::Rows;
use crate::linear::{LinearAttention, LinearOutputs, LinearRule, LinearTensors};
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Level, Simd};
use crate::tensor::{Shape, Tensor, check_output};

use chunk::Buffers;
pub(super) use state::StateLayout;
use state::decay;

/// Chunks shorter than this run faster position by position.
const FEW: usize = 4;

/// A checked call.
pub(super) struct Plan<'a> {
    batch: usize,
    /// Query heads per key/value head.
    group: usize,
    pub kv_heads: usize,
    length: usize,
    scale: f32,
    is_delta: bool,
    pub layout: StateLayout,
    q: Heads<'a>,
    k: Heads<'a>,
    v: Heads<'a>,
    output: Heads<'static>,
    decay: Option<Heads<'a>>,
    beta: Option<Heads<'a>>,
    state: Option<Tensor<'a>>,
}

/// The rows of every head of a tensor.
#[derive(Clone, Copy)]
struct Heads<'a> {
    data: &'a [f32],
    /// Distances between batch entries, heads and rows.
    strides: [usize; 3],
    size: usize,
}

impl<'a> Heads<'a> {
    /// Creates the view of a tensor of `heads` heads with `length` rows of `size` values: `[B, L, H·size]` if
    /// `is_joined`, else `[B, H, L, size]`.
    fn new(data: &'a [f32], is_joined: bool, [heads, length, size]: [usize; 3]) -> Self {
        // Tensors without elements may have dimensions of any size.
        let rows = length.saturating_mul(size);
        let batch = heads.saturating_mul(rows);
        let strides = if is_joined { [batch, size, heads.saturating_mul(size)] } else { [batch, rows, size] };
        Self { data, strides, size }
    }

    fn rows(&self, b: usize, head: usize) -> Rows<'a> {
        let [batch, heads, stride] = self.strides;
        Rows { data: self.data, start: b * batch + head * heads, stride, size: self.size }
    }
}

impl LinearRule {
    fn has_decay(self) -> bool {
        matches!(self, Self::Gated | Self::GatedDelta)
    }

    fn has_beta(self) -> bool {
        matches!(self, Self::Delta | Self::GatedDelta)
    }

    /// Returns the rule's name in the public interface.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Linear => "linear",
            Self::Gated => "gated",
            Self::Delta => "delta",
            Self::GatedDelta => "gated_delta",
        }
    }
}

impl<'a> Plan<'a> {
    /// Checks that shapes, options and outputs fit each other, and that scratch memory is available.
    pub(super) fn new(
        attention: &LinearAttention,
        context: Context<'_>,
        tensors: LinearTensors<'a>,
        outputs: &LinearOutputs<'_>,
    ) -> Result<Self> {
        let LinearTensors { q, k, v, kv_lengths, decay, beta, state } = tensors;
        let rule = attention.config.rule;
        attention.check("q", q.shape)?;
        if kv_lengths.is_some() {
            return Err(Error::option("kv_lengths", "none: only the rule 'kernel' takes lengths", "lengths"));
        }
        let size = attention.map.size;
        let is_joined = q.shape.rank() == 3;
        let (batch, heads, length) = match *q.shape.dims() {
            [batch, length, _] => (batch, attention.config.num_heads, length),
            [batch, heads, length, _] => (batch, heads, length),
            _ => (0, 0, 0),
        };
        let kv_heads = match *k.shape.dims() {
            [_, kv_heads, _, _] if !is_joined => kv_heads,
            _ => attention.kv_heads(),
        };
        // Without heads, there is no group to share a state.
        if heads > 0 && (kv_heads == 0 || !heads.is_multiple_of(kv_heads)) {
            let expected = format_args!("a number of heads that divides q's {heads}");
            return Err(Error::shape("k", expected, format_args!("{kv_heads} in {}", k.shape)));
        }
        let sequence = Sequence { is_joined, batch, kv_heads, length };
        expect("k", k.shape, sequence.rows(kv_heads, size))?;
        let value_dim = match *v.shape.dims() {
            [_, _, width] if is_joined => width / kv_heads,
            [_, _, _, size] => size,
            _ => 0,
        };
        expect("v", v.shape, sequence.rows(kv_heads, value_dim))?;
        let has_beta = rule.has_beta();
        let shapes = [sequence.scalars(kv_heads), sequence.rows(kv_heads, size)];
        let decay = sequence.gate("decay", decay, (rule, rule.has_decay()), shapes, [kv_heads, size])?;
        let shapes = [sequence.scalars(kv_heads), sequence.scalars(1)];
        let beta = sequence.gate("beta", beta, (rule, has_beta), shapes, [1, 1])?;
        let dims = [batch, kv_heads, size, value_dim];
        if let Some(state) = state {
            expect("state", state.shape, Shape::of(dims))?;
        }
        let rows = batch.saturating_mul(heads).saturating_mul(length);
        check_output("out", outputs.output, rows.saturating_mul(value_dim))?;
        if let Some(state) = &outputs.state {
            check_output("state", state, dims.iter().fold(1, |len: usize, &dim| len.saturating_mul(dim)))?;
        }
        let lanes = context.level.tile_lanes();
        let layout = StateLayout { size, value_dim, lanes, has_errors: !has_beta };
        let group = heads / kv_heads.max(1);
        if rows > 0 {
            scratch::reserve(Buffers::len(layout, group))?;
        }
        Ok(Self {
            batch,
            group,
            kv_heads,
            length,
            scale: attention.config.scale.unwrap_or(1.0 / (size as f32).sqrt()),
            is_delta: has_beta,
            layout,
            q: Heads::new(q.data, is_joined, [heads, length, size]),
            k: Heads::new(k.data, is_joined, [kv_heads, length, size]),
            v: Heads::new(v.data, is_joined, [kv_heads, length, value_dim]),
            output: Heads::new(&[], is_joined, [heads, length, value_dim]),
            decay,
            beta,
            state,
        })
    }

    /// Computes the result of a call without positions, whose sizes no data backs. Returns false for any other call.
    pub(super) fn write_empty(&self, outputs: &mut LinearOutputs<'_>) -> bool {
        if self.length == 0
            && let Some(target) = &mut outputs.state
        {
            match self.state {
                Some(state) => target.copy_from_slice(state.data),
                None => target.fill(0.0),
            }
        }
        self.length == 0
    }

    /// Returns the number of values in the states of all heads, one after the other.
    pub(super) fn states_len(&self) -> Result<usize> {
        Ok(self.layout.len()?.saturating_mul(self.batch * self.kv_heads))
    }

    /// Checks that the sizes are those of a stream.
    pub(super) fn check_stream(&self, batch: usize, kv_heads: Option<usize>, value_dim: usize) -> Result<()> {
        let found = [self.batch, self.kv_heads, self.layout.value_dim];
        let expected = [batch, kv_heads.unwrap_or(self.kv_heads), value_dim];
        let names = ["q", "k", "v"];
        let what = ["the stream's batch size", "the number of heads of earlier steps,", "the stream's value_dim"];
        for (index, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            if found != expected {
                return Err(Error::shape(names[index], format_args!("{} {expected}", what[index]), found));
            }
        }
        Ok(())
    }

    /// Advances the states, from the call's own state if there is one, and writes the outputs.
    pub(super) fn run(&self, context: Context<'_>, states: &mut [f32], outputs: LinearOutputs<'_>) {
        let Self { batch, group, kv_heads, length, layout, .. } = *self;
        let items = batch * kv_heads;
        if items == 0 {
            return;
        }
        let len = states.len() / items;
        if let Some(state) = self.state {
            for (n, states) in states.chunks_exact_mut(len.max(1)).enumerate() {
                layout.read(&state.data[n * layout.size * layout.value_dim..], states);
            }
        }
        let output = SharedMut::new(outputs.output);
        let shared = SharedMut::new(states);
        let cost = operations([2, items, length, layout.size, layout.value_dim, 2 + group]);
        context.for_each(items, cost, |item| {
            let (b, head) = (item / kv_heads, item % kv_heads);
            let rows = |heads: &Heads<'static>| heads.rows(b, head * group);
            let head = Head {
                level: context.level,
                layout,
                group,
                length,
                scale: self.scale,
                is_delta: self.is_delta,
                queries: self.q.rows(b, head * group),
                query_step: self.q.strides[1],
                keys: self.k.rows(b, head),
                values: self.v.rows(b, head),
                results: rows(&self.output),
                result_step: self.output.strides[1],
                decay: self.decay.map(|decay| decay.rows(b, head)),
                beta: self.beta.map(|beta| beta.rows(b, head)),
                output: &output,
            };
            // SAFETY: each item has a separate state.
            run(context.level, Item { head, state: unsafe { shared.slice(item * len, len) } });
        });
        if let Some(target) = outputs.state {
            for (n, states) in states.chunks_exact(len.max(1)).enumerate() {
                layout.write(states, &mut target[n * layout.size * layout.value_dim..]);
            }
        }
    }
}

/// The dimensions that tensors of keys, values and gates share.
struct Sequence {
    /// True for `[B, L, G·size]`, false for `[B, G, L, size]`.
    is_joined: bool,
    batch: usize,
    kv_heads: usize,
    length: usize,
}

impl Sequence {
    /// Returns the shape of a tensor with rows for `heads` heads.
    fn rows(&self, heads: usize, size: usize) -> Shape {
        let &Self { is_joined, batch, length, .. } = self;
        if is_joined { Shape::of([batch, length, heads * size]) } else { Shape::of([batch, heads, length, size]) }
    }

    /// Returns the shape of a gate with one value for each position of `heads` heads.
    fn scalars(&self, heads: usize) -> Shape {
        let &Self { is_joined, batch, length, .. } = self;
        Shape::of(if is_joined { [batch, length, heads] } else { [batch, heads, length] })
    }

    /// Checks a gate, which must be there exactly if the rule has it. The second of its two shapes has rows of `width`
    /// values for `heads` heads.
    fn gate<'a>(
        &self,
        argument: &str,
        gate: Option<Tensor<'a>>,
        (rule, is_needed): (LinearRule, bool),
        shapes: [Shape; 2],
        [heads, width]: [usize; 2],
    ) -> Result<Option<Heads<'a>>> {
        if gate.is_some() != is_needed {
            let words = ["none", "a tensor"];
            let expected = format_args!("{} for the rule '{}'", words[usize::from(is_needed)], rule.name());
            return Err(Error::option(argument, expected, words[usize::from(!is_needed)]));
        }
        let Some(gate) = gate else { return Ok(None) };
        let [heads, width] = match shapes.iter().position(|shape| shape.dims() == gate.shape.dims()) {
            Some(0) => [self.kv_heads, 1],
            Some(_) => [heads, width],
            None => {
                return Err(Error::shape(argument, format_args!("{} or {}", shapes[0], shapes[1]), gate.shape));
            }
        };
        let mut heads_of = Heads::new(gate.data, self.is_joined, [heads, self.length, width]);
        if heads < self.kv_heads {
            // All heads read the same rows.
            heads_of.strides[1] = 0;
        }
        Ok(Some(heads_of))
    }
}

/// Checks that a tensor has this shape.
#[inline(never)]
fn expect(argument: &str, shape: Shape, expected: Shape) -> Result<()> {
    if shape.dims() == expected.dims() { Ok(()) } else { Err(Error::shape(argument, expected, shape)) }
}

/// One key/value head and the query heads that read its state.
#[derive(Clone, Copy)]
struct Head<'a> {
    level: Level,
    layout: StateLayout,
    /// The number of query heads.
    group: usize,
    length: usize,
    scale: f32,
    is_delta: bool,
    /// The rows of the first query head; the other heads follow at distances of `query_step`.
    queries: Rows<'a>,
    query_step: usize,
    keys: Rows<'a>,
    values: Rows<'a>,
    /// The positions of the first query head's rows in the output.
    results: Rows<'a>,
    result_step: usize,
    /// Logarithms of the factors of the state: one for each row of it, or one for all.
    decay: Option<Rows<'a>>,
    beta: Option<Rows<'a>>,
    output: &'a SharedMut<'a, f32>,
}

impl Head<'_> {
    /// Returns β of position `t`.
    fn beta(&self, t: usize) -> f32 {
        self.beta.map_or(1.0, |beta| beta.row(t)[0])
    }

    /// Returns query `t` of a head of the group.
    fn query(&self, member: usize, t: usize) -> &[f32] {
        Rows { start: self.queries.start + member * self.query_step, ..self.queries }.row(t)
    }

    /// Returns the columns of output row `t` of a head of the group that are in block `block` of the value features.
    ///
    /// # Safety
    /// The columns must not be in use already. Each output row belongs to one item.
    #[allow(clippy::mut_from_ref, reason = "the callers keep the rows apart")]
    unsafe fn result(&self, member: usize, t: usize, block: usize) -> &mut [f32] {
        let StateLayout { value_dim, lanes, .. } = self.layout;
        let (first, results) = (block * lanes, self.results);
        let start = results.start + member * self.result_step + t * results.stride + first;
        // SAFETY: the caller guarantees that nothing else uses the columns.
        unsafe { self.output.slice(start, lanes.min(value_dim - first)) }
    }

    /// Multiplies the state by position `t`'s decay.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn decay_state<S: Simd>(&self, simd: S, t: usize, state: &mut [f32], buffers: &mut Buffers<'_>) {
        let Some(rows) = self.decay else { return };
        match *rows.row(t) {
            [exponent] => buffers.factors.fill(factor(f64::from(exponent))),
            ref exponents => {
                let factors = buffers.factors.iter_mut().zip(exponents);
                factors.for_each(|(target, &exponent)| *target = factor(f64::from(exponent)));
            }
        }
        for block in 0..self.layout.blocks() {
            decay(simd, self.layout.block(state, block), self.layout.lanes, buffers.factors);
        }
    }
}

/// Returns `e^exponent − 1`: without the 1, the factors of small decays keep their digits over many positions.
#[inline(never)]
fn factor(exponent: f64) -> f32 {
    (exponent.exp() - 1.0) as f32
}

/// Work on one key/value head: every position, in order.
struct Item<'a> {
    head: Head<'a>,
    state: &'a mut [f32],
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { head, state } = self;
        let mut scratch = Scratch::take(Buffers::len(head.layout, head.group));
        let mut buffers = Buffers::new(head.layout, head.group, scratch.values());
        let mut first = 0;
        while first < head.length {
            let count = head.chunk_len(first, &mut buffers);
            head.decay_state(simd, first, state, &mut buffers);
            if count < FEW || !head.run_chunk::<S, ROWS, VECTORS>(simd, first, count, state, &mut buffers) {
                for t in first..first + count {
                    if t > first {
                        head.decay_state(simd, t, state, &mut buffers);
                    }
                    head.step::<S, ROWS, VECTORS>(simd, t, state, &mut buffers);
                }
            }
            first += count;
        }
    }
}

/// Runs an item, from one place, so that each kernel is compiled only once.
#[inline(never)]
fn run(level: Level, item: Item<'_>) {
    level.run(item);
}

//! Attention over arrays outside of this module's memory. Data is copied in for one key/value head of a batch entry at
//! a time, and within it for one block of query rows after another. Memory for copies thus depends on the size of a
//! part, not on that of the call.
//!
//! Each part is a separate call that produces the same bits as the whole call: blocks end where work items end, and
//! every decision based on the number of rows uses the number in the whole call.

use std::cell::RefCell;
use std::ops::Range;

use ruvector_attention::context::{Observation, Observer, Section};
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::simd::Level;
use ruvector_attention::tensor::{Shape, try_zeroed};
use ruvector_attention::{Context, Result};

use crate::builder::Builder;
use crate::call::{Outside, Slot, Start};
use crate::memory::{Array, ArrayMut, CallMemory, Element, Results};
use crate::operations::{OPERATIONS, Operation};
use crate::options::{Names, read};
use crate::table::{observed_by, run};

/// The total number of elements in a call's arrays for which computing in parts pays off.
pub const PARTS_FROM: Range<u64> = 1 << 20..1 << 30;

/// The maximum number of values in one block: its query rows, their results and their part of a mask. Small in unit
/// tests, so that small calls have several blocks.
const BLOCK_VALUES: usize = if cfg!(test) { 1 << 9 } else { 1 << 17 };

/// Arrays of a call that are outside of this module's memory, identified by their index in the call's list of arrays.
pub trait Distant {
    /// Returns the number of elements of an array.
    fn len(&self, array: usize) -> usize;
    /// Copies floats of an array, starting at `start`.
    fn read(&self, array: usize, start: usize, target: &mut [f32]);
    /// Copies bytes of an array, starting at `start`.
    fn read_bytes(&self, array: usize, start: usize, target: &mut [u8]);
    /// Copies integers of an array, starting at its first element.
    fn read_integers(&self, array: usize, target: &mut [i32]);
    /// Allocates a result of `len` floats named `name`. Results are numbered from 0 in order of creation.
    ///
    /// # Errors
    /// `MEMORY` if it cannot be allocated; `SHAPE` for the first result if the caller's memory for it has another
    /// length.
    fn create(&self, name: &str, len: u64) -> Result<()>;
    /// Overwrites floats of a result, starting at `start`.
    fn write(&self, result: usize, start: usize, source: &[f32]);
}

/// Runs an operation on arrays outside of this module's memory, copying one part at a time. Returns `None`, without
/// having written anything, if the operation needs all arrays at once or the call is invalid; [`call`](crate::call)
/// then reports the error.
pub fn call_in_parts(
    operation: u32,
    memory: &mut CallMemory,
    options: Option<&str>,
    distant: &dyn Distant,
    observer: Option<&dyn Observer>,
) -> Option<Result<()>> {
    let operation = OPERATIONS.get(operation as usize)?;
    let has_values = match operation.name {
        "scaledDotProductAttention" | "flashAttention" => true,
        "attentionWeights" => false,
        _ => return None,
    };
    // In layout `blhd` the rows of a head are not contiguous.
    if options.is_some_and(|json| json.as_bytes().windows(4).any(|text| text == b"blhd")) {
        return None;
    }
    let parts = Parts::new(operation, memory, options, has_values, distant)?;
    let observation = observer.map(Observation::new);
    Some(parts.run(observed_by(observation.as_ref()), operation, memory, options, distant))
}

/// The source of an input, in the call's memory or outside of it.
#[derive(Clone, Copy)]
enum Source {
    /// The start of the input in its area.
    Here(usize),
    /// The index of the input in the list of arrays.
    There(usize),
}

/// The division of a call into parts.
struct Parts {
    /// q, k, v, the mask, the relative bias and the sinks; absent inputs are never read.
    sources: [Source; 6],
    /// queryOffset and kvLengths, one value per batch entry.
    integers: [Option<Vec<i32>>; 2],
    /// B, H, L and D of the queries, G and S of the keys, E of the values.
    dims: [usize; 7],
    /// The mask's dimensions `[B, H, L, S]`, each possibly 1; 0 without a mask.
    mask: [usize; 4],
    is_boolean: bool,
    /// The number of heads of the relative bias: 1, H, or 0 without one.
    bias_heads: usize,
    has_sinks: bool,
    /// The number of values per row of each result; 0 if it is not requested.
    widths: [usize; 3],
    /// The maximum number of results of the operation.
    num_results: usize,
    /// The shapes of the results.
    shapes: [[f64; 4]; 3],
    /// The number of dimensions of the queries, and so of the output.
    rank: usize,
    /// The number of queries in one block.
    queries: usize,
}

impl Parts {
    /// Plans the parts. Returns `None` if the call cannot be divided or is invalid.
    fn new(
        operation: &'static Operation,
        memory: &CallMemory,
        options: Option<&str>,
        has_values: bool,
        distant: &dyn Distant,
    ) -> Option<Self> {
        let start = Start::new(&memory.header).ok()?;
        let names = Names { inputs: operation.inputs, takes_out: operation.takes_out, without: &[] };
        let AttentionOptions { weights, log_sum_exp, top_weights, .. } = read(options, names).ok()?;
        let mut slots = start.slots();
        let mut next = |name: &str| slots.next(name).ok();
        let (q, k) = (next("q")??, next("k")??);
        let v = if has_values { Some(next("v")??) } else { None };
        let (mask, offsets, limits) = (next("mask")?, next("queryOffset")?, next("kvLengths")?);
        let (bias, packed, packed_keys) = (next("relativeBias")?, next("cuSeqlens")?, next("cuSeqlensKeys")?);
        let sinks = next("sinks")?;
        // Rows of packed sequences are not in blocks of one length.
        if packed.is_some() || packed_keys.is_some() {
            return None;
        }
        let source = |slot: &Slot| match slot.place < 0.0 {
            true => Source::There((-1.0 - slot.place) as usize),
            false => Source::Here(slot.place as usize),
        };
        // Lengths as doubles: their products are exact within the range of memory sizes.
        let dims_of = |slot: &Slot, is_mask: bool| {
            let dims = slot.shape.dims();
            let mut shape = [1.0; 4];
            match *dims {
                // An input without a heads dimension.
                [b, l, d] if !is_mask => shape = [b, 1, l, d].map(|dim| dim as f64),
                _ if is_mask || dims.len() == 4 => {
                    let last = shape.get_mut(4usize.checked_sub(dims.len())?..)?;
                    last.iter_mut().zip(dims).for_each(|(to, &dim)| *to = dim as f64);
                }
                _ => return None,
            }
            let length = match source(slot) {
                Source::There(array) => distant.len(array),
                Source::Here(_) => slot.shape.checked_len()?,
            };
            (shape.iter().product::<f64>() == length as f64 && length > 0).then_some(shape)
        };
        let rank = q.shape.rank();
        let same_rank = |shape: Shape| shape.rank() == rank;
        let [batch, heads, queries, size] = dims_of(&q, false)?;
        let keys_shape = dims_of(&k, false)?;
        let [_, groups, keys, _] = keys_shape;
        let values_shape = match &v {
            Some(v) => dims_of(v, false)?,
            None => [batch, groups, keys, 0.0],
        };
        let is_fit = keys_shape == [batch, groups, keys, size]
            && values_shape[..3] == keys_shape[..3]
            && (heads as usize).is_multiple_of(groups as usize)
            && same_rank(k.shape)
            && v.as_ref().is_none_or(|v| same_rank(v.shape));
        let mut mask_dims = [0.0; 4];
        if let Some(mask) = &mask {
            let dims = dims_of(mask, true)?;
            // For three-dimensional inputs, a mask of three dimensions starts with the batch, not with the heads.
            let is_fit = dims.iter().zip([batch, heads, queries, keys]).all(|(&dim, whole)| dim == 1.0 || dim == whole);
            if !is_fit || rank == 3 && mask.shape.rank() == 3 {
                return None;
            }
            mask_dims = dims;
        }
        let has_length = |slot: &Slot| match source(slot) {
            Source::There(array) => Some(distant.len(array)) == slot.shape.checked_len(),
            Source::Here(_) => true,
        };
        let mut bias_heads = 0;
        if let Some(bias) = &bias {
            let &[rows, columns] = bias.shape.dims() else { return None };
            let has_rows = rows == 1 || rows as f64 == heads;
            if !has_rows || columns as f64 != queries + keys - 1.0 || !has_length(bias) {
                return None;
            }
            bias_heads = rows;
        }
        if let Some(sinks) = &sinks
            && (*sinks.shape.dims() != [heads as usize] || !has_length(sinks))
        {
            return None;
        }
        let numbers = |slot: &Option<Slot>| {
            let Some(slot) = slot else { return Some(None) };
            let mut values: Vec<i32> = try_zeroed("arrays", batch as usize).ok()?;
            if slot.shape.checked_len()? != values.len() {
                return None;
            }
            match source(slot) {
                Source::Here(start) => values.copy_from_slice(memory.integers.get(start..start + batch as usize)?),
                Source::There(array) => distant.read_integers(array, &mut values),
            }
            Some(Some(values))
        };
        let integers = [numbers(&offsets)?, numbers(&limits)?];
        let are_limits = integers[1].iter().flatten().all(|&limit| limit >= 0 && f64::from(limit) <= keys);
        if !(is_fit && are_limits) || top_weights.is_some() {
            return None;
        }
        let value_size = values_shape[3];
        let asked =
            if has_values { [value_size, f64::from(weights) * keys, f64::from(log_sum_exp)] } else { [keys, 0.0, 0.0] };
        let output = if rank == 3 { [batch, queries, asked[0], 0.0] } else { [batch, heads, queries, asked[0]] };
        let output = if has_values { output } else { [batch, heads, queries, keys] };
        let shapes = [output, [batch, heads, queries, keys], [batch, heads, queries, 0.0]];
        let dims = [batch, heads, queries, size, groups, keys, value_size].map(|dim| dim as usize);
        let mask_dims = mask_dims.map(|dim| dim as usize);
        let widths = asked.map(|width| width as usize);
        let a_query = dims[1] / dims[4]
            * (dims[3] + widths.iter().sum::<usize>() + if mask_dims[2] > 1 { mask_dims[3] } else { 0 });
        let block = Level::current().block_rows();
        let queries = ((BLOCK_VALUES / a_query.max(1) / block).max(1) * block).min(dims[2]);
        let absent = Source::Here(0);
        let source_of = |slot: &Option<Slot>| slot.as_ref().map_or(absent, source);
        Some(Self {
            sources: [source(&q), source(&k), source_of(&v), source_of(&mask), source_of(&bias), source_of(&sinks)],
            bias_heads,
            has_sinks: sinks.is_some(),
            integers,
            dims,
            mask: mask_dims,
            is_boolean: mask.is_some_and(|mask| mask.element == Element::U8),
            widths,
            num_results: if has_values { 3 } else { 1 },
            shapes,
            rank: if has_values { rank } else { 4 },
            queries,
        })
    }

    /// Runs the operation on each part.
    fn run(
        &self,
        context: Context<'_>,
        operation: &'static Operation,
        memory: &mut CallMemory,
        options: Option<&str>,
        distant: &dyn Distant,
    ) -> Result<()> {
        let [batch, heads, length, size, groups, keys, value_size] = self.dims;
        let (group, widths, mask) = (heads / groups, self.widths, self.mask);
        let mask_heads = if mask[1] > 1 { group } else { mask[1] };
        let mask_rows = if mask[2] > 1 { self.queries } else { mask[2] };
        let mask_len = mask_heads * mask_rows * mask[3];
        let (mask_floats, mask_bytes) = if self.is_boolean { (0, mask_len) } else { (mask_len, 0) };
        // Allocate all memory before writing the first result, so that nothing is written if it runs out.
        for (&name, &width) in operation.results.iter().zip(&widths).filter(|&(_, &width)| width > 0) {
            let rows = [batch, heads, length, width];
            distant.create(name, rows.iter().fold(1, |product, &dim| product.saturating_mul(dim as u64)))?;
        }
        let rows = group * self.queries;
        let floats = keys * (size + value_size) + rows * (size + widths.iter().sum::<usize>());
        let bias_rows = if self.bias_heads > 1 { group } else { self.bias_heads };
        let (bias_length, sinks_len) = (length + keys - 1, if self.has_sinks { group } else { 0 });
        let bias_floats = bias_rows * (self.queries + keys - 1);
        let mut here = try_zeroed("arrays", floats + mask_floats + bias_floats + sinks_len)?;
        let mut mask_bytes = try_zeroed("arrays", mask_bytes)?;
        let rest = &mut &mut here[..];
        let (k, v, q) = (take(rest, keys * size), take(rest, keys * value_size), take(rest, rows * size));
        let mut results = widths.map(|width| take(rest, rows * width));
        let mask_floats = take(rest, mask_floats);
        let (bias, sinks) = (take(rest, bias_floats), take(rest, sinks_len));
        let Start { threads, partition, .. } = Start::new(&memory.header)?;
        let read = |input: usize, start: usize, target: &mut [f32]| match self.sources[input] {
            Source::Here(place) => target.copy_from_slice(&memory.floats[place + start..][..target.len()]),
            Source::There(array) => distant.read(array, start, target),
        };
        let read_bytes = |start: usize, target: &mut [u8]| match self.sources[3] {
            Source::Here(place) => target.copy_from_slice(&memory.bytes[place + start..][..target.len()]),
            Source::There(array) => distant.read_bytes(array, start, target),
        };
        for place in 0..batch * groups * length.div_ceil(self.queries) {
            let (head, first) =
                (place / length.div_ceil(self.queries), place % length.div_ceil(self.queries) * self.queries);
            let (b, count) = (head / groups, self.queries.min(length - first));
            // The first row of the group's query head h, counted over all batch entries.
            let row = |h: usize| (head * group + h) * length + first;
            if first == 0 {
                read(1, head * k.len(), k);
                if value_size > 0 {
                    read(2, head * v.len(), v);
                }
            }
            for h in 0..group {
                read(0, row(h) * size, &mut q[h * count * size..][..count * size]);
            }
            let rows_here = if mask[2] > 1 { count } else { mask[2] };
            let mask_head = rows_here * mask[3];
            for h in 0..mask_heads {
                let at = |dim: usize, index: usize| if dim > 1 { index } else { 0 };
                let outer = at(mask[0], b) * mask[1] + at(mask[1], head % groups * group + h);
                let start = (outer * mask[2] + at(mask[2], first)) * mask[3];
                if self.is_boolean {
                    read_bytes(start, &mut mask_bytes[h * mask_head..][..mask_head]);
                } else {
                    read(3, start, &mut mask_floats[h * mask_head..][..mask_head]);
                }
            }
            // The biases of `count` rows from `first` on are a part of each head's.
            let bias_here = count + keys - 1;
            for h in 0..bias_rows {
                let bias_head = if self.bias_heads > 1 { head % groups * group + h } else { 0 };
                let start = bias_head * bias_length + length - count - first;
                read(4, start, &mut bias[h * bias_here..][..bias_here]);
            }
            if self.has_sinks {
                read(5, head % groups * group, sinks);
            }
            let mut call = Builder::new(threads, &[]).part(partition.index, partition.count);
            call.add(Array::F32(&q[..group * count * size]), &[1, group, count, size]);
            call.add(Array::F32(k), &[1, 1, keys, size]);
            if operation.inputs[2].name == "v" {
                call.add(Array::F32(v), &[1, 1, keys, value_size]);
            }
            let mask_len = mask_heads * mask_head;
            let mask_shape = [1, mask_heads, rows_here, mask[3]];
            match self.is_boolean {
                _ if mask_len == 0 => call.absent(),
                true => call.add(Array::U8(&mask_bytes[..mask_len]), &mask_shape),
                false => call.add(Array::F32(&mask_floats[..mask_len]), &mask_shape),
            }
            for values in &self.integers {
                match values {
                    Some(values) => call.add(Array::I32(&values[b..=b]), &[1]),
                    None => call.absent(),
                }
            }
            match bias_rows {
                0 => call.absent(),
                rows => call.add(Array::F32(&bias[..rows * bias_here]), &[rows, bias_here]),
            }
            call.absent();
            call.absent();
            match self.has_sinks {
                true => call.add(Array::F32(sinks), &[group]),
                false => call.absent(),
            }
            let mut lengths = widths.map(|width| group * count * width).into_iter();
            let prepared = results.each_mut().map(|results| {
                let results = &mut results[..lengths.next().unwrap_or(0)];
                // Rows that belong to another part of a split call stay zero.
                results.fill(0.0);
                results
            });
            let first = [b, head % groups * group, first];
            let section = Section { rows: group * length, heads: batch * groups, head, first };
            let results_here =
                Prepared(RefCell::new(prepared.into_iter().filter(|results| !results.is_empty()).collect()));
            let Builder { mut memory, arrays, .. } = call;
            let outside = Outside { arrays: &arrays, results: &results_here };
            let context = Context { section: Some(&section), ..context };
            run(context, operation, &mut memory, options, &[], outside, None)?;
            let asked = widths.iter().enumerate().filter(|&(_, &width)| width > 0);
            for (result, (slot, &width)) in asked.enumerate() {
                for h in 0..group {
                    distant.write(result, row(h) * width, &results[slot][h * count * width..][..count * width]);
                }
            }
        }
        self.describe(&mut memory.results);
        Ok(())
    }

    /// Describes the results to the other side.
    fn describe(&self, results: &mut [f64]) {
        results.fill(-1.0);
        let (mut next, mut result) = (0, 0.0);
        for (slot, &width) in self.widths.iter().enumerate().take(self.num_results) {
            if width == 0 {
                results[next] = 0.0;
                next += 1;
                continue;
            }
            result -= 1.0;
            let rank = [self.rank, 4, 3][slot];
            results[next..next + 3].copy_from_slice(&[Element::F32.number(), result, rank as f64]);
            results[next + 3..][..rank].copy_from_slice(&self.shapes[slot][..rank]);
            next += 3 + rank;
        }
    }
}

/// Preallocated results, in order.
struct Prepared<'a>(RefCell<std::collections::VecDeque<&'a mut [f32]>>);

impl Results for Prepared<'_> {
    fn allocate(&self, _: Element, len: usize) -> Option<ArrayMut<'_>> {
        let prepared = self.0.borrow_mut().pop_front().filter(|memory| memory.len() == len);
        prepared.map(ArrayMut::F32)
    }
}

/// Splits the first `len` values off `rest`.
fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (part, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::number;
    use crate::memory::Owned;
    use crate::table::call;
    use ruvector_attention::Error;
    use ruvector_attention::math::random::philox4x32;

    /// Test arrays that are actually in this module's memory.
    struct Near<'a> {
        arrays: &'a [Array<'a>],
        results: RefCell<Vec<Vec<f32>>>,
        /// The maximum length of a result.
        room: usize,
    }

    impl Distant for Near<'_> {
        fn len(&self, array: usize) -> usize {
            self.arrays[array].len()
        }

        fn read(&self, array: usize, start: usize, target: &mut [f32]) {
            target.copy_from_slice(&self.arrays[array].f32().unwrap()[start..][..target.len()]);
        }

        fn read_bytes(&self, array: usize, start: usize, target: &mut [u8]) {
            target.copy_from_slice(&self.arrays[array].u8().unwrap()[start..][..target.len()]);
        }

        fn read_integers(&self, array: usize, target: &mut [i32]) {
            target.copy_from_slice(self.arrays[array].i32().unwrap());
        }

        fn create(&self, name: &str, len: u64) -> Result<()> {
            if len > self.room as u64 {
                return Err(Error::memory(name, len as usize));
            }
            // Filled with NaN, so that values that were never written are detected.
            self.results.borrow_mut().push(vec![f32::NAN; len as usize]);
            Ok(())
        }

        fn write(&self, result: usize, start: usize, source: &[f32]) {
            self.results.borrow_mut()[result][start..][..source.len()].copy_from_slice(source);
        }
    }

    /// The random numbers of one case.
    struct Draws {
        case: u32,
        next: u32,
    }

    impl Draws {
        fn word(&mut self) -> u32 {
            self.next += 1;
            philox4x32([self.next, 0, 0, 0], [self.case, 7])[0]
        }

        /// Draws an integer from 0 to `most`.
        fn up_to(&mut self, most: usize) -> usize {
            self.word() as usize % (most + 1)
        }

        fn coin(&mut self) -> bool {
            self.word() & 1 == 1
        }

        fn floats(&mut self, len: usize) -> Vec<f32> {
            (0..len).map(|_| self.word() as f32 / 2e9 - 1.0).collect()
        }
    }

    fn bits<'a>(values: impl IntoIterator<Item = &'a Vec<f32>>) -> Vec<Vec<u32>> {
        values.into_iter().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
    }

    /// Compares a random call in parts with the whole call, for each part of a split call.
    fn compare(case: u32) {
        let draws = &mut Draws { case, next: 0 };
        let is_flat = draws.up_to(4) == 0;
        let (batch, groups) = (1 + draws.up_to(1), if is_flat { 1 } else { 1 + draws.up_to(2) });
        let heads = groups * if is_flat { 1 } else { 1 + draws.up_to(2) };
        let queries = [1, 3, 40, 150, 333][draws.up_to(4)];
        // From 4097 keys on, calls with few rows split their keys.
        let keys = [1, 7, 70, 130, if queries < 4 { 4200 } else { 65 }][draws.up_to(4)];
        let (size, value_size) = (1 + draws.up_to(16), 1 + draws.up_to(9));
        let has_values = draws.up_to(3) > 0;
        let q = draws.floats(batch * heads * queries * size);
        let (k, v) = (draws.floats(batch * groups * keys * size), draws.floats(batch * groups * keys * value_size));
        let mask_shape = [batch, heads, queries, keys].map(|dim| if draws.coin() { dim } else { 1 });
        let mask_len = mask_shape.iter().product();
        let mask: Vec<f32> =
            draws.floats(mask_len).iter().map(|&x| if x < -0.5 { f32::NEG_INFINITY } else { x }).collect();
        let bytes: Vec<u8> = (0..mask_len).map(|_| u8::from(draws.up_to(3) > 0)).collect();
        let mask_kind = draws.up_to(2);
        let leading = mask_shape.iter().take_while(|&&dim| dim == 1).count().min(3);
        // Without a heads dimension, a mask of three dimensions has another meaning.
        let mask_shape = &mask_shape[if is_flat && leading == 1 { 0 } else { leading }..];
        let offsets: Vec<i32> = (0..batch).map(|_| draws.up_to(50) as i32 - 20).collect();
        let limits: Vec<i32> = (0..batch).map(|_| draws.up_to(keys) as i32).collect();
        let integers = [draws.coin().then_some(&offsets[..]), draws.coin().then_some(&limits[..])];
        let bias_heads = if draws.coin() { 1 } else { heads };
        let bias = draws.coin().then(|| draws.floats(bias_heads * (queries + keys - 1)));
        let sinks = draws.coin().then(|| draws.floats(heads));
        let (causal, softcap, dropout) = (draws.coin(), draws.up_to(1) * 2, draws.up_to(1) as f32 * 0.25);
        let offset = draws.up_to(60) as i64 - 30;
        let window = [draws.up_to(40) as i64 - 1, draws.up_to(40) as i64 - 1];
        let (asks_weights, asks_sums) = (draws.coin(), draws.coin());
        let mut options =
            format!(r#"{{"causal":{causal},"queryOffset":{offset},"softcap":{softcap},"dropout":{dropout},"seed":5"#);
        if draws.coin() {
            options += &format!(r#","window":[{},{}]"#, window[0], window[1]);
        }
        let name = if has_values {
            options += &format!(r#","weights":{asks_weights},"logSumExp":{asks_sums}"#);
            "scaledDotProductAttention"
        } else {
            let stage = ["scores", "softcapped", "biased", "weights"][draws.up_to(3)];
            options += &format!(r#","stage":"{stage}""#);
            "attentionWeights"
        };
        options += "}";
        let shares: &[[usize; 2]] = if has_values && !asks_weights { &[[0, 1], [0, 2], [1, 2]] } else { &[[0, 1]] };
        for &[index, count] in shares {
            let build = || {
                let mut call = Builder::new(1, &[]).part(index, count);
                let shapes =
                    [[batch, heads, queries, size], [batch, groups, keys, size], [batch, groups, keys, value_size]];
                for (data, shape) in [&q, &k, &v].into_iter().zip(shapes).take(if has_values { 3 } else { 2 }) {
                    let flat = [shape[0], shape[2], shape[3]];
                    call.add(Array::F32(data), if is_flat { &flat } else { &shape });
                }
                match mask_kind {
                    0 => call.absent(),
                    1 => call.add(Array::F32(&mask), mask_shape),
                    _ => call.add(Array::U8(&bytes), mask_shape),
                }
                for values in integers {
                    match values {
                        Some(values) => call.add(Array::I32(values), &[batch]),
                        None => call.absent(),
                    }
                }
                match &bias {
                    Some(bias) => call.add(Array::F32(bias), &[bias_heads, queries + keys - 1]),
                    None => call.absent(),
                }
                call.absent();
                call.absent();
                match &sinks {
                    Some(sinks) => call.add(Array::F32(sinks), &[heads]),
                    None => call.absent(),
                }
                call
            };
            let (mut whole, results) = (build(), Owned::default());
            let outside = Outside { arrays: &whole.arrays, results: &results };
            call(number(name).unwrap(), &mut whole.memory, Some(&options), outside, None, None).unwrap();
            let expected = results.into_arrays();
            let expected: Vec<Vec<f32>> =
                expected.iter().map(|array| array.as_array().f32().unwrap().to_vec()).collect();
            let mut parts = build();
            let near = Near { arrays: &parts.arrays, results: RefCell::default(), room: usize::MAX };
            let done = call_in_parts(number(name).unwrap(), &mut parts.memory, Some(&options), &near, None);
            done.unwrap_or_else(|| panic!("case {case} has no parts: {options}")).unwrap();
            assert_eq!(bits(&*near.results.borrow()), bits(&expected), "case {case}, {options}");
            assert_eq!(parts.memory.results, whole.memory.results, "case {case}, {options}");
        }
    }

    #[test]
    fn parts_have_the_bits_of_the_whole_call_for_any_options() {
        (0..100).for_each(compare);
    }

    #[test]
    fn an_invalid_call_has_no_parts_or_fails_before_anything_is_written() {
        let data = [0.5; 24];
        let limits = [4];
        for (q, k, options, limits, room) in [
            ([1, 2, 3, 4], [1, 2, 3, 2], "{}", None, 24),
            ([1, 2, 3, 4], [1, 2, 3, 4], "{}", None, 23),
            ([1, 2, 3, 4], [1, 2, 3, 4], "{}", Some(&limits[..]), 24),
            ([1, 2, 3, 4], [1, 2, 3, 4], r#"{"casual":true}"#, None, 24),
            ([1, 2, 3, 4], [1, 2, 3, 4], r#"{"layout":"blhd"}"#, None, 24),
        ] {
            let mut call = Builder::new(1, &[]);
            [q, k, k].iter().for_each(|shape| call.add(Array::F32(&data), shape));
            call.absent();
            call.absent();
            match limits {
                Some(limits) => call.add(Array::I32(limits), &[1]),
                None => call.absent(),
            }
            (0..4).for_each(|_| call.absent());
            let near = Near { arrays: &call.arrays, results: RefCell::default(), room };
            let number = number("scaledDotProductAttention").unwrap();
            let done = call_in_parts(number, &mut call.memory, Some(options), &near, None);
            assert!(done.is_none_or(|done| done.is_err()), "{options}");
            assert!(near.results.borrow().iter().flatten().all(|value| value.is_nan()));
        }
    }
}

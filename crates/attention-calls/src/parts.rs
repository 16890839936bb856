//! Attention over arrays outside of this memory. One key/value head of a batch entry comes in at a time, then one block of
//! its query rows after another, so that the memory for copies follows the part and not the call.
//!
//! A part is a call of its own, and gives the bits that the whole would give: blocks end where work items end, and
//! whatever depends on the number of rows is decided by that of the whole.

use ruvector_attention::Result;
use ruvector_attention::context::Section;
use ruvector_attention::simd::Level;
use ruvector_attention::tensor::try_zeroed;

use crate::call::Slots;

/// Values of one block: its query rows, their results and their part of a mask. Small in unit tests, so that small calls
/// have blocks.
const BLOCK_VALUES: usize = if cfg!(test) { 1 << 9 } else { 1 << 17 };

/// Arrays of a call that lie outside of this memory, under the numbers of their slots.
pub trait Outside {
    /// How many elements each array has.
    fn lengths(&self) -> Lengths;
    /// Copies the elements of an input from `start` on.
    fn read(&self, input: usize, start: usize, target: &mut [f32]);
    /// Copies the bytes from `start` on.
    fn read_bytes(&self, start: usize, target: &mut [u8]);
    /// Overwrites the elements of a result from `start` on.
    fn write(&self, output: usize, start: usize, source: &[f32]);
}

/// The lengths of the arrays of a call; `None` for those that are absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lengths {
    /// Of tensors and arrays of 32-bit floats; a float mask is the last.
    pub inputs: [Option<usize>; 4],
    /// Of a boolean mask.
    pub bytes: Option<usize>,
    /// Of results.
    pub outputs: [Option<usize>; 4],
    /// Of indices.
    pub indices: Option<usize>,
}

/// How a call divides.
pub(crate) struct Parts<'a> {
    header: &'a [f64],
    integers: [Option<&'a [i32]>; 2],
    /// B, H, L and D of the queries, G and S of the keys, E of the values.
    dims: [usize; 7],
    /// Of a mask, `[B, H, L, S]` or 1 each; 0 where there is none.
    mask: [usize; 4],
    is_boolean: bool,
    /// Values of a row in each result; 0 for one that nobody asks for.
    widths: [usize; 4],
    /// Queries of one block.
    queries: usize,
}

impl<'a> Parts<'a> {
    /// `None` where the call has no parts, and where something is wrong with it.
    pub(crate) fn new(
        header: &'a [f64],
        integers: [Option<&'a [i32]>; 2],
        has_values: bool,
        lengths: Lengths,
    ) -> Option<Self> {
        let mut rest = header.get(5..).filter(|_| header[4] == 0.0)?;
        // Shapes as numbers of the header, whose products are exact as far as there is memory.
        let mut next = |length: usize, is_mask: bool| {
            let (&rank, after) = rest.split_first()?;
            let (dims, after) = after.split_at_checked(rank as usize)?;
            rest = after;
            let mut shape = [1.0; 4];
            match *dims {
                // Without a dimension of heads.
                [b, l, d] if !is_mask => shape = [b, 1.0, l, d],
                _ if is_mask || dims.len() == 4 => {
                    shape.get_mut(4usize.checked_sub(dims.len())?..)?.copy_from_slice(dims)
                }
                _ => return None,
            }
            (shape.iter().product::<f64>() == length as f64 && length > 0).then_some((shape, dims.len()))
        };
        let [q_len, k_len, v_len, mask_len] = lengths.inputs;
        let ((q, rank), (k, k_rank)) = (next(q_len?, false)?, next(k_len?, false)?);
        let [batch, heads, queries, size] = q;
        let [_, groups, keys, _] = k;
        let (v, v_rank) = if has_values { next(v_len?, false)? } else { ([batch, groups, keys, 0.0], rank) };
        let is_fit = k == [batch, groups, keys, size]
            && v[..3] == k[..3]
            && (heads as usize).is_multiple_of(groups as usize)
            && [k_rank, v_rank] == [rank; 2];
        let mut mask = [0.0; 4];
        if let Some(length) = lengths.bytes.or(mask_len) {
            let (dims, mask_rank) = next(length, true)?;
            // With three dimensions it is not the heads that a mask of three starts with.
            let is_fit = dims.iter().zip([batch, heads, queries, keys]).all(|(&dim, whole)| dim == 1.0 || dim == whole);
            if !is_fit || rank == 3 && mask_rank == 3 {
                return None;
            }
            mask = dims;
        }
        let [offsets, limits] = integers;
        let are_per_batch = integers.iter().flatten().all(|values| values.len() as f64 == batch);
        let are_limits = limits.is_none_or(|limits| limits.iter().all(|&limit| limit >= 0 && f64::from(limit) <= keys));
        let asked = [if has_values { v[3] } else { keys }, keys, 1.0];
        let rows = batch * heads * queries;
        let mut widths = [0; 4];
        for slot in 0..asked.len() {
            if let Some(length) = lengths.outputs[slot] {
                if rows * asked[slot] != length as f64 {
                    return None;
                }
                widths[slot] = asked[slot] as usize;
            }
        }
        let has_results = lengths.outputs[0].is_some() && lengths.outputs[3].is_none() && lengths.indices.is_none();
        if !(is_fit && are_per_batch && are_limits && has_results) {
            return None;
        }
        let dims = [batch, heads, queries, size, groups, keys, v[3]].map(|dim| dim as usize);
        let mask = mask.map(|dim| dim as usize);
        let a_query =
            dims[1] / dims[4] * (dims[3] + widths.iter().sum::<usize>() + if mask[2] > 1 { mask[3] } else { 0 });
        let block = Level::current().block_rows();
        let queries = ((BLOCK_VALUES / a_query.max(1) / block).max(1) * block).min(dims[2]);
        let integers = [offsets, limits];
        Some(Self { header, integers, dims, mask, is_boolean: lengths.bytes.is_some(), widths, queries })
    }

    /// Calls `call` with the position, the header and the arrays of each section.
    pub(crate) fn run(
        &self,
        outside: &dyn Outside,
        call: &mut dyn FnMut(&Section, &[f64], Slots<'_>) -> Result<()>,
    ) -> Result<()> {
        let [batch, heads, length, size, groups, keys, value_size] = self.dims;
        let (group, widths, mask) = (heads / groups, self.widths, self.mask);
        let mask_heads = if mask[1] > 1 { group } else { mask[1] };
        let mask_rows = if mask[2] > 1 { self.queries } else { mask[2] };
        let mask_len = mask_heads * mask_rows * mask[3];
        let (mask_floats, mask_bytes) = if self.is_boolean { (0, mask_len) } else { (mask_len, 0) };
        // All memory is taken before the first result is written, so that nothing is written where it is too little.
        let rows = group * self.queries;
        let floats = keys * (size + value_size) + rows * (size + widths.iter().sum::<usize>());
        let mut memory = try_zeroed("arrays", floats + mask_floats)?;
        let mut mask_bytes = try_zeroed("arrays", mask_bytes)?;
        let rest = &mut &mut memory[..];
        let (k, v, q) = (take(rest, keys * size), take(rest, keys * value_size), take(rest, rows * size));
        let mut results = widths.map(|width| take(rest, rows * width));
        let mask_floats = take(rest, mask_floats);
        for place in 0..batch * groups * length.div_ceil(self.queries) {
            let (head, first) =
                (place / length.div_ceil(self.queries), place % length.div_ceil(self.queries) * self.queries);
            let (b, count) = (head / groups, self.queries.min(length - first));
            // Of the group's query heads, those of all batch entries.
            let row = |h: usize| (head * group + h) * length + first;
            if first == 0 {
                outside.read(1, head * k.len(), k);
                outside.read(2, head * v.len(), v);
            }
            for h in 0..group {
                outside.read(0, row(h) * size, &mut q[h * count * size..][..count * size]);
            }
            let rows_here = if mask[2] > 1 { count } else { mask[2] };
            let mask_head = rows_here * mask[3];
            for h in 0..mask_heads {
                let at = |dim: usize, index: usize| if dim > 1 { index } else { 0 };
                let outer = at(mask[0], b) * mask[1] + at(mask[1], head % groups * group + h);
                let start = (outer * mask[2] + at(mask[2], first)) * mask[3];
                if self.is_boolean {
                    outside.read_bytes(start, &mut mask_bytes[h * mask_head..][..mask_head]);
                } else {
                    outside.read(3, start, &mut mask_floats[h * mask_head..][..mask_head]);
                }
            }
            let shapes =
                [[group, count, size], [1, keys, size], [1, keys, value_size], [mask_heads, rows_here, mask[3]]];
            let mut header = [1.0; 5 + 4 * 5];
            header[..5].copy_from_slice(&self.header[..5]);
            let mask_len = mask_heads * mask_head;
            let mut at = 5;
            for shape in shapes.iter().filter(|shape| shape[2] > 0) {
                header[at] = 4.0;
                for dim in 0..3 {
                    header[at + 2 + dim] = shape[dim] as f64;
                }
                at += 5;
            }
            let mut lengths = widths.map(|width| group * count * width).into_iter();
            let outputs = results.each_mut().map(|results| {
                let results = &mut results[..lengths.next().unwrap_or(0)];
                // The rows that another part of a split call computes stay zero.
                results.fill(0.0);
                (!results.is_empty()).then_some(results)
            });
            let slots = Slots {
                inputs: [
                    Some(&q[..group * count * size]),
                    Some(&*k),
                    (value_size > 0).then_some(&*v),
                    mask_floats.get(..mask_len).filter(|mask| !mask.is_empty()),
                ],
                bytes: mask_bytes.get(..mask_len).filter(|mask| !mask.is_empty()),
                integers: self.integers.map(|values| values.map(|values| &values[b..=b])),
                outputs,
                indices: None,
            };
            let first = [b, head % groups * group, first];
            let section = Section { rows: group * length, heads: batch * groups, head, first };
            call(&section, &header, slots)?;
            for (slot, &width) in widths.iter().enumerate() {
                for h in 0..if width > 0 { group } else { 0 } {
                    outside.write(slot, row(h) * width, &results[slot][h * count * width..][..count * width]);
                }
            }
        }
        Ok(())
    }
}

/// Cuts the first `len` values off `rest`.
fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (part, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    part
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use ruvector_attention::math::random::philox4x32;

    use crate::table::{call, call_in_parts, operations};

    /// Arrays that are in this memory after all.
    struct Here<'a> {
        slots: Slots<'a>,
        outputs: RefCell<[Option<Vec<f32>>; 4]>,
    }

    impl Outside for Here<'_> {
        fn lengths(&self) -> Lengths {
            Lengths {
                inputs: self.slots.inputs.map(|input| input.map(<[f32]>::len)),
                bytes: self.slots.bytes.map(<[u8]>::len),
                outputs: self.outputs.borrow().each_ref().map(|output| output.as_ref().map(Vec::len)),
                indices: None,
            }
        }

        fn read(&self, input: usize, start: usize, target: &mut [f32]) {
            if let Some(input) = self.slots.inputs[input] {
                target.copy_from_slice(&input[start..][..target.len()]);
            }
        }

        fn read_bytes(&self, start: usize, target: &mut [u8]) {
            target.copy_from_slice(&self.slots.bytes.unwrap()[start..][..target.len()]);
        }

        fn write(&self, output: usize, start: usize, source: &[f32]) {
            let mut outputs = self.outputs.borrow_mut();
            outputs[output].as_mut().unwrap()[start..][..source.len()].copy_from_slice(source);
        }
    }

    /// Random numbers of one case.
    struct Draws {
        case: u32,
        next: u32,
    }

    impl Draws {
        fn word(&mut self) -> u32 {
            self.next += 1;
            philox4x32([self.next, 0, 0, 0], [self.case, 7])[0]
        }

        /// From 0 to `most`.
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

    fn number(name: &str) -> u32 {
        operations().split(',').position(|other| other == name).unwrap() as u32
    }

    fn shape_into(header: &mut Vec<f64>, shape: &[usize]) {
        header.push(shape.len() as f64);
        header.extend(shape.iter().map(|&dim| dim as f64));
    }

    fn bits(values: &[Option<Vec<f32>>; 4]) -> Vec<Vec<u32>> {
        values.iter().flatten().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
    }

    /// Compares a random call in parts with the whole one, for each share of a split call.
    fn compare(case: u32) {
        let draws = &mut Draws { case, next: 0 };
        let is_flat = draws.up_to(4) == 0;
        let (batch, groups) = (1 + draws.up_to(1), if is_flat { 1 } else { 1 + draws.up_to(2) });
        let heads = groups * if is_flat { 1 } else { 1 + draws.up_to(2) };
        let queries = [1, 3, 40, 150, 333][draws.up_to(4)];
        // Few rows divide their keys from 4097 on.
        let keys = [1, 7, 70, 130, if queries < 4 { 4200 } else { 65 }][draws.up_to(4)];
        let (size, value_size) = (1 + draws.up_to(16), 1 + draws.up_to(9));
        let has_values = draws.up_to(3) > 0;
        let mut header = vec![1.0, 0.0, 0.0, 1.0, 0.0];
        for shape in [[batch, heads, queries, size], [batch, groups, keys, size], [batch, groups, keys, value_size]]
            .iter()
            .take(if has_values { 3 } else { 2 })
        {
            let flat = [shape[0], shape[2], shape[3]];
            shape_into(&mut header, if is_flat { &flat } else { shape });
        }
        let q = draws.floats(batch * heads * queries * size);
        let (k, v) = (draws.floats(batch * groups * keys * size), draws.floats(batch * groups * keys * value_size));
        let mask_shape = [batch, heads, queries, keys].map(|dim| if draws.coin() { dim } else { 1 });
        let mask_len = mask_shape.iter().product();
        let mask: Vec<f32> =
            draws.floats(mask_len).iter().map(|&x| if x < -0.5 { f32::NEG_INFINITY } else { x }).collect();
        let bytes: Vec<u8> = (0..mask_len).map(|_| u8::from(draws.up_to(3) > 0)).collect();
        let mask_kind = draws.up_to(2);
        if mask_kind > 0 {
            let leading = mask_shape.iter().take_while(|&&dim| dim == 1).count().min(3);
            // Three dimensions mean something else where there is no dimension of heads.
            let leading = if is_flat && leading == 1 { 0 } else { leading };
            shape_into(&mut header, &mask_shape[leading..]);
        }
        let offsets: Vec<i32> = (0..batch).map(|_| draws.up_to(50) as i32 - 20).collect();
        let limits: Vec<i32> = (0..batch).map(|_| draws.up_to(keys) as i32).collect();
        let integers = [draws.coin().then_some(&offsets[..]), draws.coin().then_some(&limits[..])];
        let (causal, softcap, dropout) = (draws.coin(), draws.up_to(1) * 2, draws.up_to(1) as f32 * 0.25);
        let offset = draws.up_to(60) as i64 - 30;
        let window = [draws.up_to(40) as i64 - 1, draws.up_to(40) as i64 - 1];
        let (asks_weights, asks_sums) = (draws.coin(), draws.coin());
        let mut options =
            format!(r#"{{"causal":{causal},"queryOffset":{offset},"softcap":{softcap},"dropout":{dropout},"seed":5"#);
        if draws.coin() {
            options += &format!(r#","window":[{},{}]"#, window[0], window[1]);
        }
        let (name, widths) = if has_values {
            options += &format!(r#","weights":{asks_weights},"logSumExp":{asks_sums}"#);
            let widths = [Some(value_size), asks_weights.then_some(keys), asks_sums.then_some(1), None];
            ("scaledDotProductAttention", widths)
        } else {
            let stage = ["scores", "softcapped", "biased", "weights"][draws.up_to(3)];
            options += &format!(r#","stage":"{stage}""#);
            ("attentionWeights", [Some(keys), None, None, None])
        };
        options += "}";
        let slots = Slots {
            inputs: [Some(&q), Some(&k), has_values.then_some(&v), (mask_kind == 1).then_some(&mask)],
            bytes: (mask_kind == 2).then_some(&bytes),
            integers,
            ..Slots::default()
        };
        let shares: &[[f64; 2]] =
            if widths[1].is_none() && has_values { &[[0.0, 1.0], [0.0, 2.0], [1.0, 2.0]] } else { &[[0.0, 1.0]] };
        for share in shares {
            header[2..4].copy_from_slice(share);
            let room = |value: f32| widths.map(|width| width.map(|width| vec![value; batch * heads * queries * width]));
            let mut expected = room(0.0);
            let whole = Slots {
                inputs: slots.inputs,
                bytes: slots.bytes,
                integers,
                outputs: expected.each_mut().map(Option::as_deref_mut),
                indices: None,
            };
            call(number(name), &header, Some(&options), whole, None).unwrap();
            // Marked, so that what nobody writes differs.
            let slots = Slots { inputs: slots.inputs, bytes: slots.bytes, integers, ..Slots::default() };
            let here = Here { slots, outputs: RefCell::new(room(f32::NAN)) };
            let done = call_in_parts(number(name), &header, Some(&options), integers, &here, None);
            done.unwrap_or_else(|| panic!("case {case} has no parts: {header:?}")).unwrap();
            assert_eq!(bits(&here.outputs.into_inner()), bits(&expected), "case {case}, {header:?}, {options}");
        }
    }

    #[test]
    fn parts_give_the_bits_of_the_whole_for_any_options() {
        (0..100).for_each(compare);
    }

    #[test]
    fn a_call_with_a_mistake_has_no_parts_or_fails_before_anything_is_written() {
        let data = [0.5; 24];
        let limits = [4];
        for (q, k, options, limits, outputs) in [
            ([1, 2, 3, 4], [1, 2, 3, 2], "{}", None, [24, 6]),
            ([1, 2, 3, 4], [1, 2, 3, 4], "{}", None, [23, 6]),
            ([1, 2, 3, 4], [1, 2, 3, 4], "{}", None, [24, 5]),
            ([1, 2, 3, 4], [1, 2, 3, 4], "{}", Some(&limits[..]), [24, 6]),
            ([1, 2, 3, 4], [1, 2, 3, 4], r#"{"casual":true}"#, None, [24, 6]),
            ([1, 2, 3, 4], [1, 2, 3, 4], r#"{"layout":"blhd"}"#, None, [24, 6]),
        ] {
            let mut header = vec![1.0, 0.0, 0.0, 1.0, 0.0];
            [q, k, k].iter().for_each(|shape| shape_into(&mut header, shape));
            let slots = Slots { inputs: [Some(&data[..]), Some(&data[..]), Some(&data[..]), None], ..Slots::default() };
            let [output, sums] = outputs.map(|length| Some(vec![7.0; length]));
            let here = Here { slots, outputs: RefCell::new([output, None, sums, None]) };
            let number = number("scaledDotProductAttention");
            let done = call_in_parts(number, &header, Some(options), [None, limits], &here, None);
            assert!(done.is_none_or(|done| done.is_err()), "{options}");
            assert!(here.outputs.into_inner().iter().flatten().flatten().all(|&value| value == 7.0));
        }
    }
}

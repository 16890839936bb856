//! Visibility of keys: causal limits, windows, key lengths, and masks broadcast without a copy.

use crate::attention::Arrays;
use crate::attention::bias::RelativeBias;
use crate::attention::packed::Sequences;
use crate::error::{Error, Result};
use crate::simd::{Simd, gather_columns};
use crate::sizes::MAX_TILE_LANES;
use crate::tensor::{Tensor, check_lengths, check_per_batch};

/// A mask; the element type determines its meaning.
#[derive(Debug, Clone, Copy)]
pub enum Mask<'a> {
    /// Non-zero means the key is visible.
    Boolean(Tensor<'a, u8>),
    /// Added to the scores; −∞ hides the key.
    Float(Tensor<'a, f32>),
}

/// The rules that decide whether row (b, h, i) sees key j, and what is added to its scores and to its sum.
#[derive(Clone, Copy)]
pub(crate) struct Visibility<'a> {
    keys: usize,
    /// The number of keys visible after and before the row's position; `None` means all.
    right: Option<i64>,
    left: Option<i64>,
    offset: i64,
    offsets: Option<&'a [i32]>,
    /// The index of row 0 among the queries of the whole call.
    pub first: usize,
    kv_lengths: Option<&'a [i32]>,
    /// The number of rows of each batch entry that see keys; all by default.
    pub query_lengths: Option<&'a [i32]>,
    mask: Option<BroadcastMask<'a>>,
    pub relative: Option<RelativeBias<'a>>,
    /// A logit of each head that takes part in softmax and has no value.
    sinks: Option<&'a [f32]>,
    pub sequences: Option<Sequences<'a>>,
}

/// A mask with the strides of B, H, L and S; the stride of a broadcast dimension is 0.
#[derive(Clone, Copy)]
struct BroadcastMask<'a> {
    elements: Elements<'a>,
    strides: [usize; 4],
}

#[derive(Clone, Copy)]
enum Elements<'a> {
    Boolean(&'a [u8]),
    Float(&'a [f32]),
}

/// A mask's effect on a range of rows and keys as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cover {
    /// Every row sees every key, and no bias is added.
    Everything,
    /// No row sees any key.
    Nothing,
    /// Some keys may be hidden, or a bias is added.
    Some,
}

impl<'a> Visibility<'a> {
    /// Checks the arrays against `[B, H, L, S]`. `rank` is the rank of q: if it is 3, a mask may have three dimensions
    /// too.
    pub(crate) fn new(
        shape: [usize; 4],
        rank: usize,
        causal: bool,
        window: Option<[i64; 2]>,
        offset: i64,
        arrays: &Arrays<'a>,
    ) -> Result<Self> {
        let [batch, heads, queries, keys] = shape;
        let sequences = Sequences::new(shape, arrays)?;
        check_lengths("kv_lengths", arrays.kv_lengths, batch, keys, "keys")?;
        match (sequences, arrays.query_offset) {
            (Some(sequences), Some(offsets)) if offsets.len() != sequences.count() => {
                let expected = format_args!("a length of {}, one for each sequence", sequences.count());
                let actual = format_args!("a length of {}", offsets.len());
                return Err(Error::shape("query_offset", expected, actual));
            }
            (Some(_), _) => {}
            (None, offsets) => check_per_batch("query_offset", offsets, batch)?,
        }
        if let Some(sinks) = arrays.sinks
            && sinks.len() != heads
        {
            let expected = format_args!("a length of {heads}, one for each head");
            return Err(Error::shape("sinks", expected, format_args!("a length of {}", sinks.len())));
        }
        let longest = sequences.map_or([queries, keys], Sequences::longest);
        let relative = arrays.relative_bias.map(|bias| RelativeBias::new(bias, heads, longest)).transpose()?;
        let side = |side: i64| (side >= 0).then_some(side);
        let [left, right] = window.map_or([None, None], |window| window.map(side));
        Ok(Self {
            keys,
            right: if causal { Some(0) } else { right },
            left,
            offset,
            offsets: arrays.query_offset,
            first: 0,
            kv_lengths: arrays.kv_lengths,
            query_lengths: None,
            mask: arrays.mask.map(|mask| BroadcastMask::new(mask, shape, rank)).transpose()?,
            relative,
            sinks: arrays.sinks,
            sequences,
        })
    }

    /// Returns the number of keys.
    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    /// Returns the position of the first row where batch entries or sequences have none of their own.
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    /// Returns the positions of the first rows, if batch entries or sequences have their own.
    pub(crate) fn offsets(&self) -> Option<&'a [i32]> {
        self.offsets
    }

    /// Returns the rules of one packed sequence with `keys` keys, whose rows and keys count from its start.
    pub(crate) fn of_sequence(&self, sequence: usize, keys: usize) -> Self {
        let offset = self.offsets.map_or(self.offset, |offsets| i64::from(offsets[sequence]));
        Self { keys, offset, offsets: None, sequences: None, ..*self }
    }

    /// Returns the maximum and the sum of exponentials that the softmax of a row of head h starts with.
    pub(crate) fn start(&self, h: usize) -> [f32; 2] {
        match self.sinks {
            Some(sinks) if sinks[h] != f32::NEG_INFINITY => [sinks[h], 1.0],
            _ => [f32::MIN, 0.0],
        }
    }

    /// Returns true if rows see only keys at or before their own position.
    pub(crate) fn causal(&self) -> bool {
        self.right == Some(0)
    }

    /// Returns true if there is a Boolean or float mask.
    pub(crate) fn has_mask(&self) -> bool {
        self.mask.is_some()
    }

    /// Returns true if a mask or a relative bias may hide keys that are in a row's range.
    pub(crate) fn may_bias_hide(&self) -> bool {
        self.has_mask() || self.relative.is_some_and(|bias| bias.may_hide)
    }

    /// Returns the key position of row i of batch entry b; in a packed call, counted from the start of its sequence.
    pub(crate) fn position(&self, b: usize, i: usize) -> i64 {
        let (b, i) = match self.sequences {
            None => (b, i),
            Some(sequences) => {
                let sequence = sequences.of_row(i);
                (sequence, i - sequences.rows(sequence).start)
            }
        };
        (self.first + i) as i64 + self.offsets.map_or(self.offset, |offsets| i64::from(offsets[b]))
    }

    /// Returns a position that no row of any batch entry, or of any sequence, exceeds.
    pub(crate) fn last_position(&self, batch: usize, rows: usize) -> i64 {
        let last = match self.sequences {
            Some(_) => (0..rows).map(|row| self.position(0, row)).max(),
            None => (0..batch).map(|b| self.position(b, rows)).max(),
        };
        last.unwrap_or(0)
    }

    /// Returns the position of key j; in a packed call, counted from the start of its sequence.
    pub(crate) fn key_position(&self, j: usize) -> usize {
        self.sequences.map_or(j, |sequences| j - sequences.keys(sequences.of_key(j)).start)
    }

    /// Returns the number of keys that a row may see, averaged over `rows` rows and rounded up.
    pub(crate) fn mean_keys(&self, rows: usize) -> usize {
        self.sequences.map_or(self.keys, |sequences| sequences.pairs().div_ceil(rows.max(1) as u64) as usize)
    }

    /// Returns the range `start .. end` that contains every key visible to row i of batch entry b.
    pub(crate) fn range(&self, b: usize, i: usize) -> (usize, usize) {
        let keys = self.kv_lengths.map_or(self.keys as i64, |lengths| i64::from(lengths[b]));
        let position = self.position(b, i);
        let end = self.right.map_or(keys, |right| position.saturating_add(right).saturating_add(1).clamp(0, keys));
        let start = self.left.map_or(0, |left| position.saturating_sub(left).clamp(0, end));
        match self.query_lengths {
            Some(lengths) if i >= lengths[b] as usize => (0, 0),
            _ => (start as usize, end as usize),
        }
    }

    /// Returns true if row (b, h, i) sees key j.
    pub(crate) fn sees(&self, [b, h, i]: [usize; 3], j: usize) -> bool {
        let (start, end) = self.range(b, i);
        let is_shown = |mask: BroadcastMask<'_>| {
            let index = self.mask_row(b, h, i) + j * mask.strides[3];
            match mask.elements {
                Elements::Boolean(elements) => elements[index] != 0,
                Elements::Float(elements) => elements[index] != f32::NEG_INFINITY,
            }
        };
        (start..end).contains(&j) && self.mask.is_none_or(is_shown)
    }

    /// Returns the start of the mask's row for (b, h, i), or 0 without a mask.
    pub(crate) fn mask_row(&self, b: usize, h: usize, i: usize) -> usize {
        self.mask.map_or(0, |mask| b * mask.strides[0] + h * mask.strides[1] + i * mask.strides[2])
    }

    /// Returns the mask's effect on the keys `from .. to` of the mask rows that start at `rows`.
    #[inline(always)]
    pub(crate) fn cover(&self, rows: &[usize], from: usize, to: usize) -> Cover {
        let Some(mask) = self.mask else { return Cover::Everything };
        let Elements::Boolean(elements) = mask.elements else { return Cover::Some };
        let stride = mask.strides[3];
        let count = if stride == 0 { 1 } else { to - from };
        let rows = if rows.iter().all(|&row| row == rows[0]) { &rows[..1] } else { rows };
        let (mut hides, mut shows) = (false, false);
        for &row in rows {
            let (hidden, shown) = kinds(&elements[row + from * stride..][..count]);
            hides |= hidden;
            shows |= shown;
            if hides && shows {
                return Cover::Some;
            }
        }
        if hides { Cover::Nothing } else { Cover::Everything }
    }

    /// Writes the bias of `count` keys from `first` on, for the mask row that starts at `row`; −∞ for hidden keys.
    #[inline(always)]
    pub(crate) fn bias_row<S: Simd>(&self, simd: S, row: usize, first: usize, count: usize, bias: &mut [f32]) {
        let Some(mask) = self.mask else { return };
        let bias = &mut bias[..count];
        let stride = mask.strides[3];
        let start = row + first * stride;
        match mask.elements {
            Elements::Boolean(elements) if stride == 1 => {
                let mut elements = elements[start..][..count].chunks_exact(S::LANES);
                let mut vectors = bias.chunks_exact_mut(S::LANES);
                for (bias, elements) in (&mut vectors).zip(&mut elements) {
                    simd.store(bias, simd.boolean_bias(elements));
                }
                for (bias, &element) in vectors.into_remainder().iter_mut().zip(elements.remainder()) {
                    *bias = boolean_bias(element);
                }
            }
            Elements::Boolean(elements) => bias.fill(boolean_bias(elements[start])),
            Elements::Float(elements) if stride == 1 => bias.copy_from_slice(&elements[start..][..count]),
            Elements::Float(elements) => bias.fill(elements[start]),
        }
    }

    /// Writes the bias of `count` keys from `first` on, for the mask rows of a tile's lanes: `[keys][lanes]`. `buffer`
    /// holds `count` values for each lane while Booleans are widened.
    #[inline(always)]
    pub(crate) fn bias_tile<S: Simd>(
        &self,
        simd: S,
        rows: &[usize],
        first: usize,
        count: usize,
        lanes: usize,
        buffer: &mut [f32],
        tile: &mut [f32],
    ) {
        let Some(mask) = self.mask else { return };
        if rows.iter().all(|&row| row == rows[0]) {
            // All queries share one mask row, as with key padding: every lane of a key gets the same bias.
            self.bias_row(simd, rows[0], first, count, buffer);
            for (lanes, &bias) in tile.chunks_exact_mut(lanes).zip(&buffer[..count]) {
                lanes.fill(bias);
            }
            return;
        }
        let mut starts = [0; MAX_TILE_LANES];
        let starts = &mut starts[..rows.len()];
        match mask.elements {
            Elements::Float(elements) if mask.strides[3] == 1 => {
                starts.iter_mut().zip(rows).for_each(|(start, row)| *start = row + first);
                gather_columns(simd, elements, starts, count, tile, lanes);
            }
            _ => {
                for (lane, &row) in rows.iter().enumerate() {
                    starts[lane] = lane * count;
                    self.bias_row(simd, row, first, count, &mut buffer[lane * count..]);
                }
                gather_columns(simd, buffer, starts, count, tile, lanes);
            }
        }
    }
}

/// Returns whether any element is zero, and whether any is not.
fn kinds(elements: &[u8]) -> (bool, bool) {
    let (words, rest) = elements.as_chunks::<8>();
    let (mut zero, mut other) = (rest.contains(&0), rest.iter().any(|&element| element != 0));
    for &word in words {
        let word = u64::from_le_bytes(word);
        const ONES: u64 = u64::MAX / 255;
        // Nonzero if some byte is 0: only then does the subtraction borrow and set a top bit that was clear.
        zero |= word.wrapping_sub(ONES) & !word & (ONES << 7) != 0;
        other |= word != 0;
        if zero && other {
            break;
        }
    }
    (zero, other)
}

fn boolean_bias(element: u8) -> f32 {
    if element == 0 { f32::NEG_INFINITY } else { 0.0 }
}

impl<'a> BroadcastMask<'a> {
    fn new(mask: Mask<'a>, shape: [usize; 4], rank: usize) -> Result<Self> {
        let (elements, mask_shape) = match mask {
            Mask::Boolean(tensor) => (Elements::Boolean(tensor.data), tensor.shape),
            Mask::Float(tensor) => (Elements::Float(tensor.data), tensor.shape),
        };
        let [batch, heads, queries, keys] = shape;
        let dims = mask_shape.dims();
        // If there is only one head because q has no heads dimension, a mask of three dimensions is [B, L, S].
        let dims = match *dims {
            [b, l, s] if rank == 3 => vec![b, 1, l, s],
            _ => dims.to_vec(),
        };
        let fits = (1..=4).contains(&dims.len())
            && dims.iter().rev().zip(shape.iter().rev()).all(|(&dim, &whole)| dim == 1 || dim == whole);
        if !fits {
            let is_padding = *mask_shape.dims() == [batch, keys];
            let hint = if is_padding { "; padding is kv_lengths, or a mask of shape [B, 1, 1, S]" } else { "" };
            let expected = if rank == 3 {
                format!("a shape that broadcasts to [{batch}, {queries}, {keys}]{hint}")
            } else {
                format!("a shape of 1 to 4 dimensions that broadcasts to [{batch}, {heads}, {queries}, {keys}]{hint}")
            };
            return Err(Error::shape("mask", expected, mask_shape));
        }
        let mut strides = [0; 4];
        let mut stride = 1;
        for (axis, &dim) in dims.iter().enumerate().rev() {
            if dim != 1 {
                strides[axis + 4 - dims.len()] = stride;
            }
            stride *= dim;
        }
        Ok(Self { elements, strides })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};

    /// Kernel that writes the bias of a mask row (field 1) for the keys from the third on.
    struct BiasRow<'a>(&'a Visibility<'a>, usize, &'a mut [f32]);

    impl Kernel for BiasRow<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            self.0.bias_row(simd, self.1, 2, self.2.len(), self.2);
        }
    }

    fn visibility(keys: usize, causal: bool, window: Option<[i64; 2]>, offset: i64) -> Visibility<'static> {
        Visibility::new([1, 1, 8, keys], 4, causal, window, offset, &Arrays::default()).unwrap()
    }

    #[test]
    fn ranges_follow_causality_window_and_offset() {
        assert_eq!(visibility(8, false, None, 5).range(0, 3), (0, 8));
        assert_eq!(visibility(8, true, None, 0).range(0, 3), (0, 4));
        assert_eq!(visibility(8, true, None, -4).range(0, 3), (0, 0));
        assert_eq!(visibility(8, true, None, 100).range(0, 3), (0, 8));
        assert_eq!(visibility(8, false, Some([1, 2]), 0).range(0, 3), (2, 6));
        assert_eq!(visibility(8, true, Some([1, 2]), 0).range(0, 3), (2, 4));
        assert_eq!(visibility(8, false, Some([1, -1]), 0).range(0, 3), (2, 8));
        assert_eq!(visibility(8, false, Some([-1, 0]), 0).range(0, 3), (0, 4));
        assert_eq!(visibility(8, false, Some([0, 0]), 20).range(0, 3), (8, 8));
        assert_eq!(visibility(8, true, Some([i64::MAX, i64::MAX]), 0).range(0, 3), (0, 4));
    }

    #[test]
    fn a_mask_broadcasts_from_any_dimension() {
        let shape = [2, 3, 4, 5];
        let data: Vec<f32> = (0..120).map(|index| index as f32).collect();
        for dims in [[2, 3, 4, 5], [1, 3, 1, 5], [2, 1, 4, 1], [1, 1, 1, 1], [1, 1, 4, 5]] {
            let length: usize = dims.iter().product();
            let tensor = Tensor::new("mask", &data[..length], &dims).unwrap();
            let arrays = Arrays { mask: Some(Mask::Float(tensor)), ..Arrays::default() };
            let visibility = Visibility::new(shape, 4, false, None, 0, &arrays).unwrap();
            for (b, h, i) in [(0, 0, 0), (1, 2, 3), (0, 1, 2)] {
                for level in Level::available() {
                    let mut bias = [f32::NAN; 3];
                    level.run(BiasRow(&visibility, visibility.mask_row(b, h, i), &mut bias));
                    for (offset, bias) in bias.into_iter().enumerate() {
                        let index = [b, h, i, 2 + offset];
                        let expected = index.iter().zip(dims).fold(0, |sum, (&at, dim)| sum * dim + at.min(dim - 1));
                        assert_eq!(bias, expected as f32, "{dims:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn zero_booleans_hide_keys_and_uniform_tiles_are_recognized() {
        for hidden in 0..40 {
            let data: Vec<u8> = (0..40).map(|key| if key == hidden { 0 } else { [1, 128, 255][key % 3] }).collect();
            let none = [0u8; 40];
            for (data, alone) in [(&data[..], true), (&none[..], false)] {
                let mask = Mask::Boolean(Tensor::new("mask", data, &[1, 40]).unwrap());
                let arrays = Arrays { mask: Some(mask), ..Arrays::default() };
                let visibility = Visibility::new([1, 1, 3, 40], 4, false, None, 0, &arrays).unwrap();
                for level in Level::available() {
                    let mut bias = [f32::NAN; 38];
                    level.run(BiasRow(&visibility, 0, &mut bias));
                    let expected = |key: usize| if data[key] == 0 { f32::NEG_INFINITY } else { 0.0 };
                    assert!(bias.iter().enumerate().all(|(index, &bias)| bias == expected(index + 2)));
                }
                for from in 0..40 {
                    for to in from + 1..=40 {
                        let is_inside = (from..to).contains(&hidden);
                        let expected = match (alone, is_inside) {
                            (false, _) => Cover::Nothing,
                            (true, false) => Cover::Everything,
                            (true, true) if to - from == 1 => Cover::Nothing,
                            (true, true) => Cover::Some,
                        };
                        assert_eq!(visibility.cover(&[0, 0, 0], from, to), expected, "{hidden} {from}..{to}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_mask_that_does_not_broadcast_is_rejected() {
        let data = [1u8; 200];
        for dims in [&[][..], &[4], &[2, 5], &[3, 3, 4, 5], &[1, 2, 3, 4, 5]] {
            let length: usize = dims.iter().product();
            let tensor = Tensor::new("mask", &data[..length], dims).unwrap();
            let arrays = Arrays { mask: Some(Mask::Boolean(tensor)), ..Arrays::default() };
            let error = Visibility::new([2, 3, 4, 5], 4, false, None, 0, &arrays).err().unwrap();
            assert_eq!(error.argument, "mask", "{dims:?}");
        }
    }
}

//! Packed sequences: several sequences one after the other along L, each attending to its own keys alone.
//!
//! A call over packed sequences runs one problem per sequence. Each problem has the shape of its sequence, so its sums
//! have the order that they have in a call of their own.

use std::ops::Range;

use crate::attention::{Arrays, Problem};
use crate::error::{Error, Result};
use crate::math::weight::Weights;
use crate::tensor::check_offsets;

/// The rows and keys of packed sequences.
#[derive(Clone, Copy)]
pub(crate) struct Sequences<'a> {
    rows: &'a [i32],
    keys: &'a [i32],
}

impl<'a> Sequences<'a> {
    /// Checks the offsets against `[B, H, L, S]`. Returns `None` if the call is not packed.
    pub(crate) fn new(shape: [usize; 4], arrays: &Arrays<'a>) -> Result<Option<Self>> {
        let [batch, _, queries, keys] = shape;
        let Some(rows) = arrays.cu_seqlens else {
            return match arrays.cu_seqlens_keys {
                Some(_) => Err(Error::option("cu_seqlens_keys", "no value without cuSeqlens", "an Int32Array")),
                None => Ok(None),
            };
        };
        let key_offsets = arrays.cu_seqlens_keys.unwrap_or(rows);
        if batch != 1 {
            let expected = "batch size 1: packed sequences follow each other along the length";
            return Err(Error::shape("cu_seqlens", expected, format_args!("batch size {batch}")));
        }
        check_offsets("cu_seqlens", rows, queries, "queries")?;
        let argument = if arrays.cu_seqlens_keys.is_some() { "cu_seqlens_keys" } else { "cu_seqlens" };
        check_offsets(argument, key_offsets, keys, "keys")?;
        if key_offsets.len() != rows.len() {
            let expected = format_args!("a length of {}, as cuSeqlens has", rows.len());
            return Err(Error::shape("cu_seqlens_keys", expected, format_args!("a length of {}", key_offsets.len())));
        }
        let refused = [("mask", arrays.mask.is_some()), ("kv_lengths", arrays.kv_lengths.is_some())];
        if let Some((name, _)) = refused.into_iter().find(|(_, is_given)| *is_given) {
            return Err(Error::option(name, "no value: cuSeqlens says which keys a row sees", "one"));
        }
        Ok(Some(Self { rows, keys: key_offsets }))
    }

    /// Returns the number of sequences.
    pub(crate) fn count(self) -> usize {
        self.rows.len() - 1
    }

    /// Returns the cumulative lengths of the rows.
    pub(crate) fn row_offsets(self) -> &'a [i32] {
        self.rows
    }

    /// Returns the rows of a sequence.
    pub(crate) fn rows(self, sequence: usize) -> Range<usize> {
        self.rows[sequence] as usize..self.rows[sequence + 1] as usize
    }

    /// Returns the keys of a sequence.
    pub(crate) fn keys(self, sequence: usize) -> Range<usize> {
        self.keys[sequence] as usize..self.keys[sequence + 1] as usize
    }

    /// Returns the sequence of a row.
    pub(crate) fn of_row(self, row: usize) -> usize {
        self.rows.partition_point(|&start| start as usize <= row) - 1
    }

    /// Returns the sequence of a key.
    pub(crate) fn of_key(self, key: usize) -> usize {
        self.keys.partition_point(|&start| start as usize <= key) - 1
    }

    /// Returns the largest numbers of rows and of keys that any sequence has.
    pub(crate) fn longest(self) -> [usize; 2] {
        let sizes = (0..self.count()).map(|sequence| [self.rows(sequence).len(), self.keys(sequence).len()]);
        sizes.fold([0; 2], |longest, size| [longest[0].max(size[0]), longest[1].max(size[1])])
    }

    /// Returns the number of pairs of a row and a key of the same sequence.
    pub(crate) fn pairs(self) -> u64 {
        let pairs = |sequence| self.rows(sequence).len() as u64 * self.keys(sequence).len() as u64;
        (0..self.count()).map(pairs).sum()
    }
}

impl<'a> Problem<'a> {
    /// Returns the problem of a sequence, whose rows and keys count from the sequence's start.
    pub(crate) fn of_sequence(&self, sequences: Sequences<'_>, sequence: usize) -> Problem<'a> {
        let (rows, keys) = (sequences.rows(sequence), sequences.keys(sequence));
        // An empty sequence may start behind the last element.
        let from = |data: &'a [f32], start: usize| data.get(start..).unwrap_or_default();
        Problem {
            q: from(self.q, rows.start * self.q_strides.row),
            // Only caches store other types, and they hold no packed sequences.
            k: Weights::F32(from(self.k.floats(), keys.start * self.k_strides.row)),
            v: Weights::F32(from(self.v.floats(), keys.start * self.v_strides.row)),
            queries: rows.len(),
            keys: keys.len(),
            visibility: self.visibility.of_sequence(sequence, keys.len()),
            ..*self
        }
    }

    /// Returns the problem that a query belongs to, and the query at which it starts: of its sequence in a packed call.
    pub(crate) fn at(&self, query: usize) -> (Problem<'a>, usize) {
        match self.visibility.sequences {
            None => (*self, 0),
            Some(sequences) => {
                let sequence = sequences.of_row(query);
                (self.of_sequence(sequences, sequence), sequences.rows(sequence).start)
            }
        }
    }

    /// Returns the largest number of keys that a row may see.
    pub(super) fn most_keys(&self) -> usize {
        self.visibility.sequences.map_or(self.keys, |sequences| sequences.longest()[1])
    }

    /// Returns where blocks of at most `size` rows start, with `group` rows for each query, and the end of the last.
    /// Rows of different sequences are in different blocks.
    pub(super) fn block_bounds(&self, sequences: Sequences<'_>, group: usize, size: usize) -> Vec<usize> {
        let mut bounds = Vec::with_capacity(sequences.count() + group * self.queries / size + 1);
        for sequence in 0..sequences.count() {
            let rows = sequences.rows(sequence);
            bounds.extend((group * rows.start..group * rows.end).step_by(size));
        }
        bounds.push(group * self.queries);
        bounds
    }
}

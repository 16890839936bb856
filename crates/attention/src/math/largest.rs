//! The largest values of a row with their indices, found in one pass over its parts.

/// A list of the largest values so far, in descending order. On a tie the lower index comes first, and NaN precedes
/// everything, as in `torch.topk`.
pub(crate) struct Largest<'a> {
    values: &'a mut [f32],
    indices: &'a mut [i32],
    held: usize,
}

impl<'a> Largest<'a> {
    /// Creates an empty list in this memory, which is as long as the list may become.
    pub(crate) fn new(values: &'a mut [f32], indices: &'a mut [i32]) -> Self {
        Self { values, indices, held: 0 }
    }

    /// Continues a list after `held` offers, which have left their best in this memory.
    pub(crate) fn resume(values: &'a mut [f32], indices: &'a mut [i32], held: usize) -> Self {
        let held = held.min(values.len());
        Self { values, indices, held }
    }

    /// Offers the values of a row.
    pub(crate) fn offer(&mut self, row: &[f32]) {
        for (index, &value) in row.iter().enumerate() {
            self.offer_one(value, index as i32);
        }
    }

    /// Offers one value, whose index is larger than that of any earlier value that equals it.
    #[inline(always)]
    pub(crate) fn offer_one(&mut self, value: f32, index: i32) {
        let goes_before = |a: f32, b: f32| a > b || (a.is_nan() && !b.is_nan());
        if self.held == self.values.len() && !self.values.last().is_some_and(|&last| goes_before(value, last)) {
            return;
        }
        let slot = self.values[..self.held].partition_point(|&other| !goes_before(value, other));
        self.held = self.values.len().min(self.held + 1);
        self.values.copy_within(slot..self.held - 1, slot + 1);
        self.indices.copy_within(slot..self.held - 1, slot + 1);
        self.values[slot] = value;
        self.indices[slot] = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_on_a_tie_the_lower_index() {
        let (mut values, mut indices) = ([0.0; 3], [0; 3]);
        Largest::new(&mut values, &mut indices).offer(&[0.1, 0.5, 0.0, 0.5, 0.2]);
        assert_eq!((values, indices), ([0.5, 0.5, 0.2], [1, 3, 4]));
        Largest::new(&mut values, &mut indices).offer(&[0.0; 4]);
        assert_eq!((values, indices), ([0.0; 3], [0, 1, 2]));
        Largest::new(&mut values, &mut indices).offer(&[0.3, f32::NAN, 0.4, 0.1]);
        assert!(values[0].is_nan());
        assert_eq!((&values[1..], indices), (&[0.4, 0.3][..], [1, 2, 0]));
    }

    #[test]
    fn a_row_in_parts_gives_the_same_list() {
        let (mut values, mut indices) = ([0.0; 3], [0; 3]);
        Largest::new(&mut values, &mut indices).offer(&[0.1, 0.5]);
        let mut rest = Largest::resume(&mut values, &mut indices, 2);
        [0.0, 0.5, 0.2].into_iter().zip(2..).for_each(|(value, index)| rest.offer_one(value, index));
        assert_eq!((values, indices), ([0.5, 0.5, 0.2], [1, 3, 4]));
    }
}

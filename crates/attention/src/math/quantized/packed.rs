//! Weights of 8 bits in the order in which the kernels read them.

use bytemuck::{Zeroable, bytes_of, bytes_of_mut};

use crate::error::Result;
use crate::math::weight::Quantized;
use crate::simd::{Level, QUAD_OFFSET, Quads, narrow_f16, widen_f16};
use crate::sizes::GROUP;
use crate::tensor::try_zeroed;

/// Outputs in a panel of packed weights: the lanes of the widest vector.
pub(super) const PANEL: usize = 16;

/// Words of four bytes in one group of a panel.
const WORDS: usize = PANEL * GROUP / 4;

/// One group of a panel: integers, four bytes to a word, and the scale of each output.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(super) struct PanelGroup {
    pub values: [i32; WORDS],
    pub scales: [f32; PANEL],
}

// SAFETY: zeros are integers and floats.
unsafe impl Zeroable for PanelGroup {}

/// The order of a panel's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Pairs of consecutive depths for each output, `[GROUP / 2, PANEL, 2]`, signed.
    Pairs,
    /// Fours of consecutive depths for each output, `[GROUP / 4, PANEL, 4]`, plus [`QUAD_OFFSET`].
    Quads,
}

impl Order {
    /// Returns the best order for a level with or without products in fours.
    pub(super) fn of(quads: Option<Quads>) -> Self {
        if quads.is_some() { Self::Quads } else { Self::Pairs }
    }

    /// Returns the number of consecutive depths.
    fn depths(self) -> usize {
        if self == Self::Quads { 4 } else { 2 }
    }

    /// Returns the bits that differ from those of the signed integer.
    fn flipped(self) -> u8 {
        if self == Self::Quads { QUAD_OFFSET } else { 0 }
    }
}

/// Writes a group of one output, `DEPTHS` consecutive depths at a time.
fn write_lane<const DEPTHS: usize>(bytes: &mut [u8], lane: usize, row: &[i8], flipped: u8) {
    let (whole, rest) = row.as_chunks::<DEPTHS>();
    let mut places = bytes.chunks_exact_mut(DEPTHS * PANEL);
    for (values, place) in whole.iter().zip(&mut places) {
        place[DEPTHS * lane..][..DEPTHS].copy_from_slice(&values.map(|value| value as u8 ^ flipped));
    }
    if let Some(place) = places.next() {
        place[DEPTHS * lane..].iter_mut().zip(rest).for_each(|(to, &value)| *to = value as u8 ^ flipped);
    }
}

/// Weights in panels of outputs, `[panels, groups]`. Outputs and depths beyond the matrix are zeros.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Packed {
    order: Order,
    groups: Vec<PanelGroup>,
}

impl Packed {
    /// Packs a matrix `[outputs, depth]`.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(super) fn new(weight: Quantized<'_>, outputs: usize, depth: usize, order: Order) -> Result<Self> {
        let groups = depth.div_ceil(GROUP);
        let count = outputs.div_ceil(PANEL).saturating_mul(groups);
        let mut packed: Vec<PanelGroup> = try_zeroed("packed weights", count)?;
        // One group after the other, which stays in the first cache until its last lane is written.
        for (index, place) in packed.iter_mut().enumerate() {
            let (panel, group) = (index / groups, index % groups);
            let first = panel * PANEL;
            let depths = group * GROUP..depth.min((group + 1) * GROUP);
            let bytes = bytes_of_mut(&mut place.values);
            bytes.fill(order.flipped());
            for (lane, output) in (first..outputs.min(first + PANEL)).enumerate() {
                place.scales[lane] = widen_f16(weight.scales[output * groups + group]);
                let row = &weight.values[output * depth..][depths.clone()];
                match order {
                    Order::Pairs => write_lane::<2>(bytes, lane, row, order.flipped()),
                    Order::Quads => write_lane::<4>(bytes, lane, row, order.flipped()),
                }
            }
        }
        Ok(Self { order, groups: packed })
    }

    /// Packs a matrix in the best order for the level in use.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(crate) fn for_this_machine(weight: Quantized<'_>, outputs: usize, depth: usize) -> Result<Self> {
        Self::new(weight, outputs, depth, Order::of(Quads::of(Level::current())))
    }

    /// Returns the matrix `[outputs, depth]` as it was before packing: its integers and the bits of its scales.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(crate) fn unpacked(&self, outputs: usize, depth: usize) -> Result<(Vec<i8>, Vec<u16>)> {
        let groups = depth.div_ceil(GROUP);
        let mut values: Vec<i8> = try_zeroed("weights", outputs * depth)?;
        let mut scales: Vec<u16> = try_zeroed("weights", outputs * groups)?;
        for output in 0..outputs {
            let (panel, lane) = (output / PANEL, output % PANEL);
            for group in 0..groups {
                let place = &self.groups[panel * groups + group];
                scales[output * groups + group] = narrow_f16(place.scales[lane]);
                let first = output * depth + group * GROUP;
                let row = &mut values[first..first + GROUP.min(depth - group * GROUP)];
                let depths = self.order.depths();
                for (values, from) in row.chunks_mut(depths).zip(bytes_of(&place.values).chunks_exact(depths * PANEL)) {
                    for (value, &from) in values.iter_mut().zip(&from[depths * lane..]) {
                        *value = (from ^ self.order.flipped()) as i8;
                    }
                }
            }
        }
        Ok((values, scales))
    }

    /// Returns the same matrix `[outputs, depth]` in another order.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(super) fn reordered(&self, outputs: usize, depth: usize, order: Order) -> Result<Self> {
        let (values, scales) = self.unpacked(outputs, depth)?;
        Self::new(Quantized { values: &values, scales: &scales }, outputs, depth, order)
    }

    /// Returns the order of the bytes.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Returns the groups of a panel, of which there are `groups`.
    pub(super) fn panel(&self, panel: usize, groups: usize) -> &[PanelGroup] {
        &self.groups[panel * groups..][..groups]
    }

    /// Returns the number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.groups)
    }
}

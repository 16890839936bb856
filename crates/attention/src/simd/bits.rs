//! Constants of the binary format of f32 that every level shares.

/// The bits of √½: what lies above them in a number's bits is its exponent, rounded so that mantissas surround 1.
pub(super) const SQRT_HALF: i32 = std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32;

//! Binary format constants, and the macro that declares vector types; shared by every level.

/// The bits of √½. The part of a number's bits above them is its exponent, rounded so that mantissas surround 1.
pub(super) const SQRT_HALF: i32 = std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32;

/// 2^112, the ratio of the exponent biases of f32 and f16. The magnitude of an f16, shifted left by 13 bits and read as
/// an f32, times 2^112 is its value, also for subnormal numbers. The exponent of infinity and NaN is set separately.
pub(super) const HALF_SCALE: f32 = f32::from_bits((127 + 112) << 23);
/// The magnitude of an infinite f16, shifted left by 13 bits.
pub(super) const HALF_INFINITY: i32 = 31 << 23;

/// Widens an f16, exactly.
#[inline(always)]
pub fn widen_f16(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let (sign, magnitude) = ((bits & 0x8000) << 16, (bits & 0x7fff) << 13);
    let exponent = if magnitude >= HALF_INFINITY as u32 { f32::INFINITY.to_bits() } else { 0 };
    f32::from_bits((f32::from_bits(magnitude) * HALF_SCALE).to_bits() | sign | exponent)
}

/// Rounds to the nearest f16, halves to even; from 65,520 on to infinity. NaN stays NaN.
pub fn narrow_f16(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    if magnitude > f32::INFINITY.to_bits() {
        return sign | 0x7e00;
    }
    // Adding 0.5 leaves a subnormal f16, a multiple of 2⁻²⁴, rounded in the low bits of the sum.
    if magnitude < (127 - 14) << 23 {
        return sign | ((f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()) as u16;
    }
    // The exponent's bias falls from 127 to 15. Adding half of the last place, less one if that is even, rounds.
    let rounded = (magnitude - (112 << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
    sign | rounded.min(0x7c00) as u16
}

/// Rounds to the nearest bfloat16, halves to even. NaN stays NaN.
pub fn narrow_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16 }
}

/// Declares a vector of f32 over a register type, with operators for vectors and for scalars on the right.
///
/// A value exists only where a token of the level exists, so its operators are safe.
macro_rules! vector {
    ($name:ident($register:ty), $splat:path: $($trait:ident $method:ident $intrinsic:path),*) => {
        /// A vector of f32.
        #[derive(Debug, Clone, Copy)]
        #[repr(transparent)]
        pub struct $name($register);
        impl $crate::simd::Vector for $name {}
        $(
            impl std::ops::$trait for $name {
                type Output = Self;
                #[inline(always)]
                #[allow(unused_unsafe, reason = "some levels have safe intrinsics")]
                fn $method(self, other: Self) -> Self {
                    // SAFETY: the vector exists only where its instruction set is available.
                    Self(unsafe { $intrinsic(self.0, other.0) })
                }
            }
            impl std::ops::$trait<f32> for $name {
                type Output = Self;
                #[inline(always)]
                #[allow(unused_unsafe, reason = "some levels have safe intrinsics")]
                fn $method(self, other: f32) -> Self {
                    // SAFETY: the vector exists only where its instruction set is available.
                    Self(unsafe { $intrinsic(self.0, $splat(other)) })
                }
            }
        )*
    };
}
pub(super) use vector;

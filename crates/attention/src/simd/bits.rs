//! Binary format constants, and the macro that declares vector types; shared by every level.

/// The bits of √½. The part of a number's bits above them is its exponent, rounded so that mantissas surround 1.
pub(super) const SQRT_HALF: i32 = std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32;

/// 2^112, the ratio of the exponent biases of f32 and f16. The magnitude of an f16, shifted left by 13 bits and read as
/// an f32, times 2^112 is its value, also for subnormal numbers. The exponent of infinity and NaN is set separately.
#[allow(dead_code, reason = "unused where the level has an instruction for it")]
pub(super) const HALF_SCALE: f32 = f32::from_bits((127 + 112) << 23);
/// The magnitude of an infinite f16, shifted left by 13 bits.
#[allow(dead_code, reason = "unused where the level has an instruction for it")]
pub(super) const HALF_INFINITY: i32 = 31 << 23;

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

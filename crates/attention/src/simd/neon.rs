//! AArch64's 128 bits; thirty-two registers allow a tall tile.

use std::arch::aarch64::*;

use super::bits::SQRT_HALF;
use super::{Kernel, Simd};

#[derive(Clone, Copy)]
pub(super) struct Neon(());

pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Neon, 8, 2>(Neon(()))
}

/// Writes each method as one expression of intrinsics.
macro_rules! intrinsics {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: NEON is part of every AArch64 target that Rust's standard library supports.
            unsafe { $body }
        }
    )*};
}

impl Simd for Neon {
    const LANES: usize = 4;
    type F = float32x4_t;
    type M = uint32x4_t;

    #[inline(always)]
    fn load(self, src: &[f32]) -> float32x4_t {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough.
        unsafe { vld1q_f32(src.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, dst: &mut [f32], x: float32x4_t) {
        assert!(dst.len() >= 4);
        // SAFETY: the slice is long enough.
        unsafe { vst1q_f32(dst.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> float32x4_t {
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // SAFETY: NEON is part of every AArch64 target that Rust's standard library supports.
        unsafe {
            let wide = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(u64::from(word)))));
            vreinterpretq_f32_u32(vandq_u32(vceqzq_u32(wide), vdupq_n_u32(f32::NEG_INFINITY.to_bits())))
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, src: *const f32) -> float32x4_t {
        // SAFETY: the caller vouches for four values.
        unsafe { vld1q_f32(src) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, dst: *mut f32, x: float32x4_t) {
        // SAFETY: the caller vouches for four values.
        unsafe { vst1q_f32(dst, x) }
    }
    intrinsics! {
        fn splat(x: f32) -> float32x4_t = vdupq_n_f32(x);
        fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcgtq_f32(b, a), b, a);
        fn lt(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcltq_f32(a, b);
        fn and(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vandq_u32(a, b);
        fn select(mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(mask, a, b);
        fn any(mask: uint32x4_t) -> bool = vmaxvq_u32(mask) != 0;
        fn sqrt(x: float32x4_t) -> float32x4_t = vsqrtq_f32(x);
        fn split(x: float32x4_t) -> (float32x4_t, float32x4_t) = {
            let bits = vreinterpretq_s32_f32(x);
            let exponent = vshrq_n_s32::<23>(vsubq_s32(bits, vdupq_n_s32(SQRT_HALF)));
            let mantissa = vsubq_s32(bits, vshlq_n_s32::<23>(exponent));
            (vreinterpretq_f32_s32(mantissa), vcvtq_f32_s32(exponent))
        };
        fn bits_to_exponent(x: float32x4_t) -> float32x4_t =
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(vreinterpretq_s32_f32(x)));
        fn reduce_sum(x: float32x4_t) -> f32 = {
            let pairs = vadd_f32(vget_low_f32(x), vget_high_f32(x));
            vget_lane_f32::<0>(pairs) + vget_lane_f32::<1>(pairs)
        };
        fn reduce_max(x: float32x4_t) -> f32 = vmaxnmvq_f32(vmaxnmq_f32(x, vdupq_n_f32(f32::NEG_INFINITY)));
    }
}

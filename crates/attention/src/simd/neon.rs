//! AArch64 with 128-bit NEON; its thirty-two registers allow a tall tile.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::bits::{HALF_INFINITY, HALF_SCALE, SQRT_HALF, vector};
use super::{Kernel, Simd};

/// The token of NEON, which every AArch64 target of Rust's standard library has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Neon(());

impl Neon {
    /// Creates the token.
    pub const fn new() -> Self {
        Self(())
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run::<Self, 8, 2>(self)
    }

    /// Returns true if the machine has the dot product of bytes, which most have since 2018.
    pub(super) fn has_quads(self) -> bool {
        is_aarch64_feature_detected!("dotprod")
    }
}

vector!(F32x4(float32x4_t), vdupq_n_f32: Add add vaddq_f32, Sub sub vsubq_f32, Mul mul vmulq_f32, Div div vdivq_f32);

/// Defines methods whose bodies are a single expression of intrinsics.
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
    type F = F32x4;
    type M = uint32x4_t;
    type I = int32x4_t;

    #[inline(always)]
    fn load(self, src: &[f32]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough.
        F32x4(unsafe { vld1q_f32(src.as_ptr()) })
    }
    #[inline(always)]
    fn store(self, dst: &mut [f32], x: F32x4) {
        assert!(dst.len() >= 4);
        // SAFETY: the slice is long enough.
        unsafe { vst1q_f32(dst.as_mut_ptr(), x.0) }
    }
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> F32x4 {
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // SAFETY: NEON is part of every AArch64 target that Rust's standard library supports.
        unsafe {
            let wide = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(u64::from(word)))));
            let bias = vandq_u32(vceqzq_u32(wide), vdupq_n_u32(f32::NEG_INFINITY.to_bits()));
            F32x4(vreinterpretq_f32_u32(bias))
        }
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough, and NEON is part of every AArch64 target.
        unsafe {
            let bits = vmovl_u16(vld1_u16(src.as_ptr()));
            let sign = vshlq_n_u32::<16>(vandq_u32(bits, vdupq_n_u32(0x8000)));
            let magnitude = vshlq_n_u32::<13>(vandq_u32(bits, vdupq_n_u32(0x7fff)));
            let is_infinite = vcgeq_u32(magnitude, vdupq_n_u32(HALF_INFINITY as u32));
            let exponent = vandq_u32(is_infinite, vdupq_n_u32(f32::INFINITY.to_bits()));
            let value = vmulq_f32(vreinterpretq_f32_u32(magnitude), vdupq_n_f32(HALF_SCALE));
            F32x4(vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(value), vorrq_u32(sign, exponent))))
        }
    }
    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough, and NEON is part of every AArch64 target.
        F32x4(unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(src.as_ptr()))) })
    }
    #[inline(always)]
    fn load_i8(self, src: &[i8]) -> F32x4 {
        let word = u32::from_le_bytes([src[0] as u8, src[1] as u8, src[2] as u8, src[3] as u8]);
        // SAFETY: NEON is part of every AArch64 target that Rust's standard library supports.
        unsafe {
            let wide = vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(u64::from(word)))));
            F32x4(vcvtq_f32_s32(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, src: *const f32) -> F32x4 {
        // SAFETY: the caller guarantees four readable values.
        F32x4(unsafe { vld1q_f32(src) })
    }
    #[inline(always)]
    unsafe fn store_ptr(self, dst: *mut f32, x: F32x4) {
        // SAFETY: the caller guarantees four writable values.
        unsafe { vst1q_f32(dst, x.0) }
    }
    #[inline(always)]
    fn load_int(self, src: &[i32]) -> int32x4_t {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough, and NEON is part of every AArch64 target.
        unsafe { vld1q_s32(src.as_ptr()) }
    }
    #[inline(always)]
    fn store_pairs(self, dst: &mut [i32], [low, high]: [F32x4; 2]) {
        assert!(dst.len() >= 4);
        // SAFETY: the slice is long enough, and NEON is part of every AArch64 target.
        unsafe {
            let pairs = vcombine_s16(vmovn_s32(vcvtq_s32_f32(low.0)), vmovn_s32(vcvtq_s32_f32(high.0)));
            vst1q_s32(dst.as_mut_ptr(), vreinterpretq_s32_s16(pairs));
        }
    }
    #[inline(always)]
    fn store_quads(self, dst: &mut [f32], [low, high]: [F32x4; 2]) -> i32 {
        assert!(dst.len() >= 2);
        // SAFETY: the slice is long enough, and NEON is part of every AArch64 target.
        unsafe {
            let (low, high) = (vcvtq_s32_f32(low.0), vcvtq_s32_f32(high.0));
            let pairs = vcombine_s16(vmovn_s32(low), vmovn_s32(high));
            vst1_s8(dst.as_mut_ptr().cast(), vmovn_s16(pairs));
            vaddvq_s32(vaddq_s32(low, high))
        }
    }
    #[inline(always)]
    unsafe fn add_quads(self, sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        let mut sum = sum;
        // The intrinsic is unstable in Rust 1.95. SAFETY: the caller guarantees the instruction.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
                sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
    #[inline(always)]
    unsafe fn load_pairs(self, src: *const i8) -> int32x4_t {
        // SAFETY: the caller guarantees eight readable values, and NEON is part of every AArch64 target.
        unsafe { vreinterpretq_s32_s16(vmovl_s8(vld1_s8(src))) }
    }
    intrinsics! {
        fn splat_int(x: i32) -> int32x4_t = vdupq_n_s32(x);
        fn add_pairs(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t = {
            let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(a, b)))
        };
        fn with_bits(x: int32x4_t) -> F32x4 = F32x4(vreinterpretq_f32_s32(x));
        fn to_float(x: int32x4_t) -> F32x4 = F32x4(vcvtq_f32_s32(x));
        fn splat(x: f32) -> F32x4 = F32x4(vdupq_n_f32(x));
        fn mul_add(a: F32x4, b: F32x4, c: F32x4) -> F32x4 = F32x4(vfmaq_f32(c.0, a.0, b.0));
        fn max(a: F32x4, b: F32x4) -> F32x4 = F32x4(vbslq_f32(vcgtq_f32(b.0, a.0), b.0, a.0));
        fn lt(a: F32x4, b: F32x4) -> uint32x4_t = vcltq_f32(a.0, b.0);
        fn and(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vandq_u32(a, b);
        fn select(mask: uint32x4_t, a: F32x4, b: F32x4) -> F32x4 = F32x4(vbslq_f32(mask, a.0, b.0));
        fn any(mask: uint32x4_t) -> bool = vmaxvq_u32(mask) != 0;
        fn sqrt(x: F32x4) -> F32x4 = F32x4(vsqrtq_f32(x.0));
        fn split(x: F32x4) -> (F32x4, F32x4) = {
            let bits = vreinterpretq_s32_f32(x.0);
            let exponent = vshrq_n_s32::<23>(vsubq_s32(bits, vdupq_n_s32(SQRT_HALF)));
            let mantissa = vsubq_s32(bits, vshlq_n_s32::<23>(exponent));
            (F32x4(vreinterpretq_f32_s32(mantissa)), F32x4(vcvtq_f32_s32(exponent)))
        };
        fn bits_to_exponent(x: F32x4) -> F32x4 =
            F32x4(vreinterpretq_f32_s32(vshlq_n_s32::<23>(vreinterpretq_s32_f32(x.0))));
        fn reduce_sum(x: F32x4) -> f32 = {
            let pairs = vadd_f32(vget_low_f32(x.0), vget_high_f32(x.0));
            vget_lane_f32::<0>(pairs) + vget_lane_f32::<1>(pairs)
        };
        fn reduce_max(x: F32x4) -> f32 = vmaxnmvq_f32(vmaxnmq_f32(x.0, vdupq_n_f32(f32::NEG_INFINITY)));
    }
}

//! WebAssembly's 128 bits; built a second time with relaxed-simd, where multiply-add may fuse.

use std::arch::wasm32::*;

use super::bits::SQRT_HALF;
use super::{Kernel, Simd};

#[derive(Clone, Copy)]
pub(super) struct Simd128;

pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Simd128, 2, 4>(Simd128)
}

impl Simd for Simd128 {
    const LANES: usize = 4;
    type F = v128;
    type M = v128;

    #[inline(always)]
    fn splat(self, x: f32) -> v128 {
        f32x4_splat(x)
    }
    #[inline(always)]
    fn load(self, src: &[f32]) -> v128 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly loads have no alignment.
        unsafe { v128_load(src.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, dst: &mut [f32], x: v128) {
        assert!(dst.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly stores have no alignment.
        unsafe { v128_store(dst.as_mut_ptr().cast(), x) }
    }
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> v128 {
        assert!(bytes.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly loads have no alignment.
        let bytes = unsafe { v128_load32_zero(bytes.as_ptr().cast()) };
        let wide = u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes));
        v128_and(i32x4_eq(wide, i32x4_splat(0)), f32x4_splat(f32::NEG_INFINITY))
    }
    #[inline(always)]
    unsafe fn load_ptr(self, src: *const f32) -> v128 {
        // SAFETY: the caller vouches for four values.
        unsafe { v128_load(src.cast()) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, dst: *mut f32, x: v128) {
        // SAFETY: the caller vouches for four values.
        unsafe { v128_store(dst.cast(), x) }
    }
    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[inline(always)]
    fn div(self, a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    #[inline(always)]
    fn mul_add(self, a: v128, b: v128, c: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        return f32x4_add(f32x4_mul(a, b), c);
    }
    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        f32x4_pmax(a, b)
    }
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn at_least(self, x: v128, bound: f32) -> v128 {
        // The compiler makes pmax, and any choice by `lt`, a relaxed_max, which may lose NaN. It leaves integers alone:
        // the bits of what lies below a negative bound run from its own to those of −∞, and NaN's lie beyond.
        let bits = bound.to_bits();
        let offset = i32x4_sub(x, u32x4_splat(bits));
        let below = u32x4_lt(offset, u32x4_splat(f32::NEG_INFINITY.to_bits() - bits + 1));
        v128_bitselect(f32x4_splat(bound), x, below)
    }
    #[inline(always)]
    fn lt(self, a: v128, b: v128) -> v128 {
        f32x4_lt(a, b)
    }
    #[inline(always)]
    fn and(self, a: v128, b: v128) -> v128 {
        v128_and(a, b)
    }
    #[inline(always)]
    fn select(self, mask: v128, a: v128, b: v128) -> v128 {
        v128_bitselect(a, b, mask)
    }
    #[inline(always)]
    fn any(self, mask: v128) -> bool {
        v128_any_true(mask)
    }
    #[inline(always)]
    fn sqrt(self, x: v128) -> v128 {
        f32x4_sqrt(x)
    }
    #[inline(always)]
    fn split(self, x: v128) -> (v128, v128) {
        let exponent = i32x4_shr(i32x4_sub(x, i32x4_splat(SQRT_HALF)), 23);
        (i32x4_sub(x, i32x4_shl(exponent, 23)), f32x4_convert_i32x4(exponent))
    }
    #[inline(always)]
    fn bits_to_exponent(self, x: v128) -> v128 {
        i32x4_shl(x, 23)
    }
    #[inline(always)]
    fn reduce_sum(self, x: v128) -> f32 {
        let pairs = f32x4_add(x, i32x4_shuffle::<2, 3, 0, 0>(x, x));
        f32x4_extract_lane::<0>(pairs) + f32x4_extract_lane::<1>(pairs)
    }
    #[inline(always)]
    fn reduce_sums(self, [a, b, c, d]: [v128; 4]) -> [f32; 4] {
        // Pairs of lanes two apart, a and b in turns.
        let ab = f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let cd = f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        let mut sums = [0.0; 4];
        self.store(&mut sums, f32x4_add(i32x4_shuffle::<0, 1, 4, 5>(ab, cd), i32x4_shuffle::<2, 3, 6, 7>(ab, cd)));
        sums
    }
    #[inline(always)]
    fn reduce_max(self, x: v128) -> f32 {
        let x = f32x4_pmax(f32x4_splat(f32::NEG_INFINITY), x);
        let pairs = f32x4_pmax(x, i32x4_shuffle::<2, 3, 2, 3>(x, x));
        f32x4_extract_lane::<0>(f32x4_pmax(pairs, i32x4_shuffle::<1, 1, 1, 1>(pairs, pairs)))
    }
}

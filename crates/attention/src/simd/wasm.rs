//! WebAssembly with 128-bit SIMD; built a second time with relaxed-simd, where multiply-add may fuse.

use std::arch::wasm32::*;

use super::bits::{HALF_INFINITY, HALF_SCALE, SQRT_HALF, vector};
use super::{Kernel, Simd};

/// The names of both builds, in one string: data then has the same addresses in both, and the patch from one module to
/// the other stays small.
const NAMES: &str = "relaxed-simd128";

/// The name of this build.
pub(super) const NAME: &str = if cfg!(target_feature = "relaxed-simd") {
    NAMES.split_at("relaxed-simd".len()).0
} else {
    NAMES.split_at("relaxed-".len()).1
};

/// The token of `simd128`, which this module requires at compile time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Simd128(());

impl Simd128 {
    /// Creates the token.
    pub const fn new() -> Self {
        Self(())
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run::<Self, 2, 4>(self)
    }
}

impl Simd128 {
    /// Returns true if the relaxed dot product is that of VNNI and multiply-add fuses. An engine may also take the
    /// second factor of the dot product as signed, add pairs of products with saturation, or round twice.
    pub(super) fn has_quads(self) -> bool {
        let ([a, b], x) = std::hint::black_box(([-1, 127], 1.0 + 1.0 / 4096.0));
        // SAFETY: the result decides whether kernels may use it.
        let sums = unsafe { self.add_quads(i32x4_splat(0), i8x16_splat(a), i8x16_splat(b)) };
        // 2⁻²⁴, unless the square was rounded.
        let rest = self.mul_add(self.splat(x), self.splat(x), self.splat(-1.0 - 1.0 / 2048.0));
        i32x4_extract_lane::<0>(sums) == 4 * 255 * 127 && f32x4_extract_lane::<0>(rest.0) != 0.0
    }
}

vector!(F32x4(v128), f32x4_splat: Add add f32x4_add, Sub sub f32x4_sub, Mul mul f32x4_mul, Div div f32x4_div);

/// Defines methods whose bodies are a single expression of intrinsics.
macro_rules! intrinsics {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret {
            $body
        }
    )*};
}

impl Simd for Simd128 {
    const LANES: usize = 4;
    type F = F32x4;
    type M = v128;
    type I = v128;

    #[inline(always)]
    fn load(self, src: &[f32]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly loads have no alignment.
        F32x4(unsafe { v128_load(src.as_ptr().cast()) })
    }
    #[inline(always)]
    fn store(self, dst: &mut [f32], x: F32x4) {
        assert!(dst.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly stores have no alignment.
        unsafe { v128_store(dst.as_mut_ptr().cast(), x.0) }
    }
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> F32x4 {
        assert!(bytes.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly loads have no alignment.
        let bytes = unsafe { v128_load32_zero(bytes.as_ptr().cast()) };
        let wide = u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes));
        F32x4(v128_and(i32x4_eq(wide, i32x4_splat(0)), f32x4_splat(f32::NEG_INFINITY)))
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly loads have no alignment.
        let bits = u32x4_extend_low_u16x8(unsafe { v128_load64_zero(src.as_ptr().cast()) });
        let sign = u32x4_shl(v128_and(bits, u32x4_splat(0x8000)), 16);
        let magnitude = u32x4_shl(v128_and(bits, u32x4_splat(0x7fff)), 13);
        let is_infinite = i32x4_ge(magnitude, i32x4_splat(HALF_INFINITY));
        let exponent = v128_and(is_infinite, f32x4_splat(f32::INFINITY));
        F32x4(v128_or(f32x4_mul(magnitude, f32x4_splat(HALF_SCALE)), v128_or(sign, exponent)))
    }
    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly loads have no alignment.
        let bits = unsafe { v128_load64_zero(src.as_ptr().cast()) };
        F32x4(u32x4_shl(u32x4_extend_low_u16x8(bits), 16))
    }
    #[inline(always)]
    fn load_i8(self, src: &[i8]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly loads have no alignment.
        let bytes = unsafe { v128_load32_zero(src.as_ptr().cast()) };
        F32x4(f32x4_convert_i32x4(i32x4_extend_low_i16x8(i16x8_extend_low_i8x16(bytes))))
    }
    #[inline(always)]
    unsafe fn load_ptr(self, src: *const f32) -> F32x4 {
        // SAFETY: the caller guarantees four readable values.
        F32x4(unsafe { v128_load(src.cast()) })
    }
    #[inline(always)]
    unsafe fn store_ptr(self, dst: *mut f32, x: F32x4) {
        // SAFETY: the caller guarantees four writable values.
        unsafe { v128_store(dst.cast(), x.0) }
    }
    #[inline(always)]
    fn mul_add(self, a: F32x4, b: F32x4, c: F32x4) -> F32x4 {
        #[cfg(target_feature = "relaxed-simd")]
        return F32x4(f32x4_relaxed_madd(a.0, b.0, c.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        return a * b + c;
    }
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn at_least(self, x: F32x4, bound: f32) -> F32x4 {
        // The compiler turns pmax, and any selection by `lt`, into a relaxed_max, which may lose NaN. It leaves
        // integers alone: the bits of numbers below a negative bound range from its own to those of −∞, and NaN's come
        // after them.
        let bits = bound.to_bits();
        let offset = i32x4_sub(x.0, u32x4_splat(bits));
        let below = u32x4_lt(offset, u32x4_splat(f32::NEG_INFINITY.to_bits() - bits + 1));
        F32x4(v128_bitselect(f32x4_splat(bound), x.0, below))
    }
    #[inline(always)]
    fn load_int(self, src: &[i32]) -> v128 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough; WebAssembly loads have no alignment.
        unsafe { v128_load(src.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_pairs(self, dst: &mut [i32], [low, high]: [F32x4; 2]) {
        assert!(dst.len() >= 4);
        let pairs = i16x8_narrow_i32x4(i32x4_trunc_sat_f32x4(low.0), i32x4_trunc_sat_f32x4(high.0));
        // SAFETY: the slice is long enough; WebAssembly stores have no alignment.
        unsafe { v128_store(dst.as_mut_ptr().cast(), pairs) }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, src: *const i8) -> v128 {
        // SAFETY: the caller guarantees eight readable values; WebAssembly loads have no alignment.
        unsafe { i16x8_load_extend_i8x8(src) }
    }
    #[inline(always)]
    fn store_quads(self, dst: &mut [f32], [low, high]: [F32x4; 2]) -> i32 {
        assert!(dst.len() >= 2);
        let (low, high) = (i32x4_trunc_sat_f32x4(low.0), i32x4_trunc_sat_f32x4(high.0));
        let pairs = i16x8_narrow_i32x4(low, high);
        // SAFETY: the slice is long enough; WebAssembly stores have no alignment.
        unsafe { v128_store64_lane::<0>(i8x16_narrow_i16x8(pairs, pairs), dst.as_mut_ptr().cast()) };
        let sums = i32x4_add(low, high);
        let sums = i32x4_add(sums, i32x4_shuffle::<2, 3, 2, 3>(sums, sums));
        i32x4_extract_lane::<0>(sums) + i32x4_extract_lane::<1>(sums)
    }
    #[inline(always)]
    unsafe fn add_quads(self, sum: v128, a: v128, b: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return i32x4_relaxed_dot_i8x16_i7x16_add(b, a, sum);
        // The place of the instruction in the other build: with the same functions, the patch stays small.
        #[cfg(not(target_feature = "relaxed-simd"))]
        return self.add_pairs(sum, a, b);
    }
    intrinsics! {
        fn splat_int(x: i32) -> v128 = i32x4_splat(x);
        fn add_pairs(sum: v128, a: v128, b: v128) -> v128 = i32x4_add(sum, i32x4_dot_i16x8(a, b));
        fn with_bits(x: v128) -> F32x4 = F32x4(x);
        fn to_float(x: v128) -> F32x4 = F32x4(f32x4_convert_i32x4(x));
        fn splat(x: f32) -> F32x4 = F32x4(f32x4_splat(x));
        fn max(a: F32x4, b: F32x4) -> F32x4 = F32x4(f32x4_pmax(a.0, b.0));
        fn lt(a: F32x4, b: F32x4) -> v128 = f32x4_lt(a.0, b.0);
        fn and(a: v128, b: v128) -> v128 = v128_and(a, b);
        fn select(mask: v128, a: F32x4, b: F32x4) -> F32x4 = F32x4(v128_bitselect(a.0, b.0, mask));
        fn any(mask: v128) -> bool = v128_any_true(mask);
        fn sqrt(x: F32x4) -> F32x4 = F32x4(f32x4_sqrt(x.0));
        fn split(x: F32x4) -> (F32x4, F32x4) = {
            let exponent = i32x4_shr(i32x4_sub(x.0, i32x4_splat(SQRT_HALF)), 23);
            (F32x4(i32x4_sub(x.0, i32x4_shl(exponent, 23))), F32x4(f32x4_convert_i32x4(exponent)))
        };
        fn bits_to_exponent(x: F32x4) -> F32x4 = F32x4(i32x4_shl(x.0, 23));
        fn reduce_sum(x: F32x4) -> f32 = {
            let pairs = f32x4_add(x.0, i32x4_shuffle::<2, 3, 0, 0>(x.0, x.0));
            f32x4_extract_lane::<0>(pairs) + f32x4_extract_lane::<1>(pairs)
        };
        fn reduce_sums(x: [F32x4; 4]) -> [f32; 4] = {
            let [F32x4(a), F32x4(b), F32x4(c), F32x4(d)] = x;
            // Pairs of lanes two apart, alternating between a and b.
            let ab = f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
            let cd = f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
            let (first, second) = (i32x4_shuffle::<0, 1, 4, 5>(ab, cd), i32x4_shuffle::<2, 3, 6, 7>(ab, cd));
            let mut sums = [0.0; 4];
            Simd128(()).store(&mut sums, F32x4(f32x4_add(first, second)));
            sums
        };
        fn reduce_max(x: F32x4) -> f32 = {
            let x = f32x4_pmax(f32x4_splat(f32::NEG_INFINITY), x.0);
            let pairs = f32x4_pmax(x, i32x4_shuffle::<2, 3, 2, 3>(x, x));
            f32x4_extract_lane::<0>(f32x4_pmax(pairs, i32x4_shuffle::<1, 1, 1, 1>(pairs, pairs)))
        };
    }
}

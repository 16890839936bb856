//! x86-64: SSE2 (the baseline), AVX2 with FMA, AVX-512.

use std::arch::x86_64::*;

use super::bits::SQRT_HALF;
use super::{Kernel, Simd};

// Each token can be made only in this file, by the function that carries its target features.
#[derive(Clone, Copy)]
pub(super) struct Sse2(());
#[derive(Clone, Copy)]
pub(super) struct Avx2(());
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// Whether the machine has AVX2 with FMA.
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Whether the machine has AVX-512 as every processor with it has had since Skylake: floats, bytes, and shorter vectors.
pub(super) fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

pub(super) fn run_sse2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Sse2, 2, 4>(Sse2(()))
}

pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma")]
    fn inner<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2, 4, 2>(Avx2(()))
    }
    assert!(has_avx2());
    // SAFETY: both features were just detected.
    unsafe { inner(kernel) }
}

pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn inner<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512, 8, 2>(Avx512(()))
    }
    assert!(has_avx512());
    // SAFETY: the features were just detected.
    unsafe { inner(kernel) }
}

/// Writes each method as one expression of intrinsics.
macro_rules! intrinsics {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {$(
        #[inline(always)]
        #[allow(unused_unsafe, reason = "a mask of bits needs no intrinsic")]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: the token exists only where its instruction set was detected.
            unsafe { $body }
        }
    )*};
}

/// The loads and stores of a level, checked for slices and unchecked for pointers.
macro_rules! memory {
    ($load:ident, $store:ident) => {
        #[inline(always)]
        fn prefetch(self, data: &[f32], at: usize) {
            // SAFETY: every address may be prefetched, and x86-64 has the instruction.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().wrapping_add(at).cast()) }
        }
        #[inline(always)]
        fn load(self, src: &[f32]) -> Self::F {
            assert!(src.len() >= Self::LANES);
            // SAFETY: the slice is long enough, and the token proves the instruction set.
            unsafe { $load(src.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, dst: &mut [f32], x: Self::F) {
            assert!(dst.len() >= Self::LANES);
            // SAFETY: the slice is long enough, and the token proves the instruction set.
            unsafe { $store(dst.as_mut_ptr(), x) }
        }
        #[inline(always)]
        unsafe fn load_ptr(self, src: *const f32) -> Self::F {
            // SAFETY: the caller vouches for the memory, the token for the instruction set.
            unsafe { $load(src) }
        }
        #[inline(always)]
        unsafe fn store_ptr(self, dst: *mut f32, x: Self::F) {
            // SAFETY: the caller vouches for the memory, the token for the instruction set.
            unsafe { $store(dst, x) }
        }
    };
}

impl Simd for Sse2 {
    const LANES: usize = 4;
    type F = __m128;
    type M = __m128;

    memory!(_mm_loadu_ps, _mm_storeu_ps);
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> __m128 {
        let word = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let zero = _mm_setzero_si128();
            let wide = _mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(word), zero), zero);
            _mm_and_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(wide, zero)), _mm_set1_ps(f32::NEG_INFINITY))
        }
    }
    intrinsics! {
        fn splat(x: f32) -> __m128 = _mm_set1_ps(x);
        fn add(a: __m128, b: __m128) -> __m128 = _mm_add_ps(a, b);
        fn sub(a: __m128, b: __m128) -> __m128 = _mm_sub_ps(a, b);
        fn mul(a: __m128, b: __m128) -> __m128 = _mm_mul_ps(a, b);
        fn div(a: __m128, b: __m128) -> __m128 = _mm_div_ps(a, b);
        fn mul_add(a: __m128, b: __m128, c: __m128) -> __m128 = _mm_add_ps(_mm_mul_ps(a, b), c);
        // maxps gives its second operand where either is NaN.
        fn max(a: __m128, b: __m128) -> __m128 = _mm_max_ps(b, a);
        fn lt(a: __m128, b: __m128) -> __m128 = _mm_cmplt_ps(a, b);
        fn and(a: __m128, b: __m128) -> __m128 = _mm_and_ps(a, b);
        fn select(mask: __m128, a: __m128, b: __m128) -> __m128 =
            _mm_or_ps(_mm_and_ps(mask, a), _mm_andnot_ps(mask, b));
        fn any(mask: __m128) -> bool = _mm_movemask_ps(mask) != 0;
        fn sqrt(x: __m128) -> __m128 = _mm_sqrt_ps(x);
        fn split(x: __m128) -> (__m128, __m128) = {
            let bits = _mm_castps_si128(x);
            let exponent = _mm_srai_epi32::<23>(_mm_sub_epi32(bits, _mm_set1_epi32(SQRT_HALF)));
            let mantissa = _mm_sub_epi32(bits, _mm_slli_epi32::<23>(exponent));
            (_mm_castsi128_ps(mantissa), _mm_cvtepi32_ps(exponent))
        };
        fn bits_to_exponent(x: __m128) -> __m128 = _mm_castsi128_ps(_mm_slli_epi32::<23>(_mm_castps_si128(x)));
        fn reduce_sum(x: __m128) -> f32 = {
            let pairs = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)))
        };
        fn reduce_sums(x: [__m128; 4]) -> [f32; 4] = {
            let [a, b, c, d] = x;
            // Pairs of lanes two apart, a and b in turns.
            let ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
            sums
        };
        fn reduce_max(x: __m128) -> f32 = {
            let x = _mm_max_ps(x, _mm_set1_ps(f32::NEG_INFINITY));
            let pairs = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)))
        };
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type F = __m256;
    type M = __m256;

    memory!(_mm256_loadu_ps, _mm256_storeu_ps);
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> __m256 {
        assert!(bytes.len() >= 8);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.as_ptr().cast()));
            let hidden = _mm256_cmpeq_epi32(wide, _mm256_setzero_si256());
            _mm256_and_ps(_mm256_castsi256_ps(hidden), _mm256_set1_ps(f32::NEG_INFINITY))
        }
    }
    intrinsics! {
        fn splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(b, a);
        fn lt(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        fn and(a: __m256, b: __m256) -> __m256 = _mm256_and_ps(a, b);
        fn select(mask: __m256, a: __m256, b: __m256) -> __m256 = _mm256_blendv_ps(b, a, mask);
        fn any(mask: __m256) -> bool = _mm256_movemask_ps(mask) != 0;
        fn sqrt(x: __m256) -> __m256 = _mm256_sqrt_ps(x);
        fn split(x: __m256) -> (__m256, __m256) = {
            let bits = _mm256_castps_si256(x);
            let exponent = _mm256_srai_epi32::<23>(_mm256_sub_epi32(bits, _mm256_set1_epi32(SQRT_HALF)));
            let mantissa = _mm256_sub_epi32(bits, _mm256_slli_epi32::<23>(exponent));
            (_mm256_castsi256_ps(mantissa), _mm256_cvtepi32_ps(exponent))
        };
        fn bits_to_exponent(x: __m256) -> __m256 =
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(x)));
        fn reduce_sum(x: __m256) -> f32 =
            Sse2(()).reduce_sum(_mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x)));
        fn reduce_sums(x: [__m256; 4]) -> [f32; 4] = {
            let [a, b, c, d] = x;
            let half = |x| _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            Sse2(()).reduce_sums([half(a), half(b), half(c), half(d)])
        };
        fn reduce_max(x: __m256) -> f32 = {
            let x = _mm256_max_ps(x, _mm256_set1_ps(f32::NEG_INFINITY));
            Sse2(()).reduce_max(_mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x)))
        };
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const HAS_SCALE: bool = true;
    type F = __m512;
    type M = __mmask16;

    memory!(_mm512_loadu_ps, _mm512_storeu_ps);
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> __m512 {
        assert!(bytes.len() >= 16);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            _mm512_maskz_mov_ps(_mm512_testn_epi32_mask(wide, wide), _mm512_set1_ps(f32::NEG_INFINITY))
        }
    }
    intrinsics! {
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(b, a);
        fn lt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        fn and(a: __mmask16, b: __mmask16) -> __mmask16 = a & b;
        fn select(mask: __mmask16, a: __m512, b: __m512) -> __m512 = _mm512_mask_blend_ps(mask, b, a);
        fn any(mask: __mmask16) -> bool = mask != 0;
        fn sqrt(x: __m512) -> __m512 = _mm512_sqrt_ps(x);
        fn split(x: __m512) -> (__m512, __m512) = {
            let bits = _mm512_castps_si512(x);
            let exponent = _mm512_srai_epi32::<23>(_mm512_sub_epi32(bits, _mm512_set1_epi32(SQRT_HALF)));
            let mantissa = _mm512_sub_epi32(bits, _mm512_slli_epi32::<23>(exponent));
            (_mm512_castsi512_ps(mantissa), _mm512_cvtepi32_ps(exponent))
        };
        fn fraction(x: __m512) -> __m512 = _mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF }>(x);
        fn scale(mantissa: __m512, x: __m512) -> __m512 = _mm512_scalef_ps(mantissa, x);
        fn bits_to_exponent(x: __m512) -> __m512 =
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(x)));
        fn reduce_sum(x: __m512) -> f32 = {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x)));
            Avx2(()).reduce_sum(_mm256_add_ps(_mm512_castps512_ps256(x), upper))
        };
        fn reduce_sums(x: [__m512; 4]) -> [f32; 4] = {
            let [a, b, c, d] = x;
            let upper = |x| _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x)));
            let half = |x| _mm256_add_ps(_mm512_castps512_ps256(x), upper(x));
            Avx2(()).reduce_sums([half(a), half(b), half(c), half(d)])
        };
        fn reduce_max(x: __m512) -> f32 = {
            let x = _mm512_max_ps(x, _mm512_set1_ps(f32::NEG_INFINITY));
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x)));
            Avx2(()).reduce_max(_mm256_max_ps(_mm512_castps512_ps256(x), upper))
        };
    }
}

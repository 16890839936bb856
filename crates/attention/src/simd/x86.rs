//! x86-64: SSE2 (the baseline), AVX2 with FMA, AVX-512.

use std::arch::x86_64::*;

use super::bits::{HALF_INFINITY, HALF_SCALE, SQRT_HALF, vector};
use super::{Kernel, SIDE, Simd};

/// The token of SSE2, which every x86-64 processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sse2(());

/// The token of AVX2 with FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

/// The token of AVX-512 (F, BW, DQ, VL), the subset of every AVX-512 processor since Skylake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

impl Sse2 {
    /// Creates the token.
    pub const fn new() -> Self {
        Self(())
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run::<Self, 2, 4>(self)
    }
}

impl Avx2 {
    /// Returns the token if the machine has the instruction set.
    pub fn detect() -> Option<Self> {
        let is_detected =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        is_detected.then_some(Self(()))
    }

    /// Creates the token without detection.
    ///
    /// # Safety
    /// The machine must have AVX2, FMA and F16C.
    pub const unsafe fn new_unchecked() -> Self {
        Self(())
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn inner<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
            kernel.run::<Avx2, 4, 2>(token)
        }
        // SAFETY: the token exists only where the features do.
        unsafe { inner(self, kernel) }
    }

    /// Runs a kernel that may use [`Simd::add_quads`].
    ///
    /// # Safety
    /// The machine must have AVX-VNNI.
    #[target_feature(enable = "avxvnni,avx2,fma,f16c")]
    pub(super) unsafe fn run_with_quads<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run::<Self, 4, 2>(self)
    }
}

impl Avx512 {
    /// Returns the token if the machine has the instruction set.
    pub fn detect() -> Option<Self> {
        let is_detected = Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        is_detected.then_some(Self(()))
    }

    /// Creates the token without detection.
    ///
    /// # Safety
    /// The machine must have AVX-512 F, BW, DQ and VL, AVX2, FMA and F16C.
    pub const unsafe fn new_unchecked() -> Self {
        Self(())
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn inner<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
            kernel.run::<Avx512, 8, 2>(token)
        }
        // SAFETY: the token exists only where the features do.
        unsafe { inner(self, kernel) }
    }

    /// Runs a kernel that may use [`Simd::add_quads`].
    ///
    /// # Safety
    /// The machine must have AVX512-VNNI.
    #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    pub(super) unsafe fn run_with_quads<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run::<Self, 8, 2>(self)
    }
}

vector!(F32x4(__m128), _mm_set1_ps: Add add _mm_add_ps, Sub sub _mm_sub_ps, Mul mul _mm_mul_ps, Div div _mm_div_ps);
vector!(
    F32x8(__m256), _mm256_set1_ps:
    Add add _mm256_add_ps, Sub sub _mm256_sub_ps, Mul mul _mm256_mul_ps, Div div _mm256_div_ps
);
vector!(
    F32x16(__m512), _mm512_set1_ps:
    Add add _mm512_add_ps, Sub sub _mm512_sub_ps, Mul mul _mm512_mul_ps, Div div _mm512_div_ps
);

/// Defines methods whose bodies are a single expression of intrinsics.
macro_rules! intrinsics {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {$(
        #[inline(always)]
        #[allow(unused_unsafe, reason = "operators and bit masks need no intrinsic")]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: the token exists only where its instruction set was detected.
            unsafe { $body }
        }
    )*};
}

/// Defines the loads and stores of a level, checked for slices and unchecked for pointers.
macro_rules! memory {
    ($vector:ident, $load:ident, $store:ident) => {
        #[inline(always)]
        fn prefetch<T>(self, data: &[T], at: usize) {
            // SAFETY: every address may be prefetched, and x86-64 has the instruction.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().wrapping_add(at).cast()) }
        }
        #[inline(always)]
        fn load(self, src: &[f32]) -> $vector {
            assert!(src.len() >= Self::LANES);
            // SAFETY: the slice is long enough, and the token proves the instruction set.
            $vector(unsafe { $load(src.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, dst: &mut [f32], x: $vector) {
            assert!(dst.len() >= Self::LANES);
            // SAFETY: the slice is long enough, and the token proves the instruction set.
            unsafe { $store(dst.as_mut_ptr(), x.0) }
        }
        #[inline(always)]
        unsafe fn load_ptr(self, src: *const f32) -> $vector {
            // SAFETY: the caller guarantees the memory, the token the instruction set.
            $vector(unsafe { $load(src) })
        }
        #[inline(always)]
        unsafe fn store_ptr(self, dst: *mut f32, x: $vector) {
            // SAFETY: the caller guarantees the memory, the token the instruction set.
            unsafe { $store(dst, x.0) }
        }
    };
}

impl Simd for Sse2 {
    const LANES: usize = 4;
    type F = F32x4;
    type M = __m128;
    type I = __m128i;

    memory!(F32x4, _mm_loadu_ps, _mm_storeu_ps);
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> F32x4 {
        let word = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let zero = _mm_setzero_si128();
            let wide = _mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(word), zero), zero);
            F32x4(_mm_and_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(wide, zero)), _mm_set1_ps(f32::NEG_INFINITY)))
        }
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough, and SSE2 is part of x86-64.
        unsafe {
            let bits = _mm_unpacklo_epi16(_mm_loadl_epi64(src.as_ptr().cast()), _mm_setzero_si128());
            let sign = _mm_slli_epi32::<16>(_mm_and_si128(bits, _mm_set1_epi32(0x8000)));
            let magnitude = _mm_slli_epi32::<13>(_mm_and_si128(bits, _mm_set1_epi32(0x7fff)));
            let is_infinite = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(HALF_INFINITY - 1));
            let exponent = _mm_and_si128(is_infinite, _mm_set1_epi32(f32::INFINITY.to_bits() as i32));
            let value = _mm_mul_ps(_mm_castsi128_ps(magnitude), _mm_set1_ps(HALF_SCALE));
            F32x4(_mm_or_ps(value, _mm_castsi128_ps(_mm_or_si128(sign, exponent))))
        }
    }
    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> F32x4 {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough, and SSE2 is part of x86-64.
        unsafe {
            let bits = _mm_loadl_epi64(src.as_ptr().cast());
            F32x4(_mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), bits)))
        }
    }
    #[inline(always)]
    fn load_i8(self, src: &[i8]) -> F32x4 {
        let word = i32::from_le_bytes([src[0] as u8, src[1] as u8, src[2] as u8, src[3] as u8]);
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let zero = _mm_setzero_si128();
            // Move each byte to the top of its lane, from where an arithmetic shift extends its sign.
            let high = _mm_unpacklo_epi16(zero, _mm_unpacklo_epi8(zero, _mm_cvtsi32_si128(word)));
            F32x4(_mm_cvtepi32_ps(_mm_srai_epi32::<24>(high)))
        }
    }
    #[inline(always)]
    fn load_int(self, src: &[i32]) -> __m128i {
        assert!(src.len() >= 4);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe { _mm_loadu_si128(src.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_pairs(self, dst: &mut [i32], [low, high]: [F32x4; 2]) {
        assert!(dst.len() >= 4);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let pairs = _mm_packs_epi32(_mm_cvttps_epi32(low.0), _mm_cvttps_epi32(high.0));
            _mm_storeu_si128(dst.as_mut_ptr().cast(), pairs);
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, src: *const i8) -> __m128i {
        // SAFETY: the caller guarantees 8 readable values, and the token proves the instruction set.
        unsafe {
            let bytes = _mm_loadl_epi64(src.cast());
            _mm_srai_epi16::<8>(_mm_unpacklo_epi8(bytes, bytes))
        }
    }
    intrinsics! {
        fn splat_int(x: i32) -> __m128i = _mm_set1_epi32(x);
        fn add_pairs(sum: __m128i, a: __m128i, b: __m128i) -> __m128i = _mm_add_epi32(sum, _mm_madd_epi16(a, b));
        fn to_float(x: __m128i) -> F32x4 = F32x4(_mm_cvtepi32_ps(x));
        fn splat(x: f32) -> F32x4 = F32x4(_mm_set1_ps(x));
        fn mul_add(a: F32x4, b: F32x4, c: F32x4) -> F32x4 = a * b + c;
        // maxps returns its second operand if either is NaN.
        fn max(a: F32x4, b: F32x4) -> F32x4 = F32x4(_mm_max_ps(b.0, a.0));
        fn lt(a: F32x4, b: F32x4) -> __m128 = _mm_cmplt_ps(a.0, b.0);
        fn and(a: __m128, b: __m128) -> __m128 = _mm_and_ps(a, b);
        fn select(mask: __m128, a: F32x4, b: F32x4) -> F32x4 =
            F32x4(_mm_or_ps(_mm_and_ps(mask, a.0), _mm_andnot_ps(mask, b.0)));
        fn any(mask: __m128) -> bool = _mm_movemask_ps(mask) != 0;
        fn sqrt(x: F32x4) -> F32x4 = F32x4(_mm_sqrt_ps(x.0));
        fn split(x: F32x4) -> (F32x4, F32x4) = {
            let bits = _mm_castps_si128(x.0);
            let exponent = _mm_srai_epi32::<23>(_mm_sub_epi32(bits, _mm_set1_epi32(SQRT_HALF)));
            let mantissa = _mm_sub_epi32(bits, _mm_slli_epi32::<23>(exponent));
            (F32x4(_mm_castsi128_ps(mantissa)), F32x4(_mm_cvtepi32_ps(exponent)))
        };
        fn bits_to_exponent(x: F32x4) -> F32x4 =
            F32x4(_mm_castsi128_ps(_mm_slli_epi32::<23>(_mm_castps_si128(x.0))));
        fn reduce_sum(x: F32x4) -> f32 = {
            let pairs = _mm_add_ps(x.0, _mm_movehl_ps(x.0, x.0));
            _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)))
        };
        fn reduce_sums(x: [F32x4; 4]) -> [f32; 4] = {
            let [F32x4(a), F32x4(b), F32x4(c), F32x4(d)] = x;
            // Pairs of lanes two apart, alternating between a and b.
            let ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
            sums
        };
        fn reduce_max(x: F32x4) -> f32 = {
            let x = _mm_max_ps(x.0, _mm_set1_ps(f32::NEG_INFINITY));
            let pairs = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)))
        };
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type F = F32x8;
    type M = __m256;
    type I = __m256i;

    memory!(F32x8, _mm256_loadu_ps, _mm256_storeu_ps);
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> F32x8 {
        assert!(bytes.len() >= 8);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.as_ptr().cast()));
            let hidden = _mm256_cmpeq_epi32(wide, _mm256_setzero_si256());
            F32x8(_mm256_and_ps(_mm256_castsi256_ps(hidden), _mm256_set1_ps(f32::NEG_INFINITY)))
        }
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> F32x8 {
        assert!(src.len() >= 8);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        F32x8(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(src.as_ptr().cast())) })
    }
    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> F32x8 {
        assert!(src.len() >= 8);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(src.as_ptr().cast()));
            F32x8(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)))
        }
    }
    #[inline(always)]
    fn load_i8(self, src: &[i8]) -> F32x8 {
        assert!(src.len() >= 8);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        F32x8(unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(src.as_ptr().cast()))) })
    }
    #[inline(always)]
    fn load_int(self, src: &[i32]) -> __m256i {
        assert!(src.len() >= 8);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe { _mm256_loadu_si256(src.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_pairs(self, dst: &mut [i32], [low, high]: [F32x8; 2]) {
        assert!(dst.len() >= 8);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let pairs = _mm256_packs_epi32(_mm256_cvttps_epi32(low.0), _mm256_cvttps_epi32(high.0));
            _mm256_storeu_si256(dst.as_mut_ptr().cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs));
        }
    }
    #[inline(always)]
    fn store_quads(self, dst: &mut [f32], [low, high]: [F32x8; 2]) -> i32 {
        assert!(dst.len() >= 4);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let (low, high) = (_mm256_cvttps_epi32(low.0), _mm256_cvttps_epi32(high.0));
            let pairs = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let quads = _mm_packs_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            _mm_storeu_si128(dst.as_mut_ptr().cast(), quads);
            let sums = _mm256_add_epi32(low, high);
            let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let sums = _mm_add_epi32(sums, _mm_unpackhi_epi64(sums, sums));
            _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_shuffle_epi32::<1>(sums)))
        }
    }
    #[inline(always)]
    unsafe fn add_quads(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller guarantees the instruction.
        unsafe { _mm256_dpbusd_avx_epi32(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, src: *const i8) -> __m256i {
        // SAFETY: the caller guarantees 16 readable values, and the token proves the instruction set.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(src.cast())) }
    }
    intrinsics! {
        fn splat_int(x: i32) -> __m256i = _mm256_set1_epi32(x);
        fn add_pairs(sum: __m256i, a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
        fn with_bits(x: __m256i) -> F32x8 = F32x8(_mm256_castsi256_ps(x));
        fn to_float(x: __m256i) -> F32x8 = F32x8(_mm256_cvtepi32_ps(x));
        fn splat(x: f32) -> F32x8 = F32x8(_mm256_set1_ps(x));
        fn mul_add(a: F32x8, b: F32x8, c: F32x8) -> F32x8 = F32x8(_mm256_fmadd_ps(a.0, b.0, c.0));
        fn max(a: F32x8, b: F32x8) -> F32x8 = F32x8(_mm256_max_ps(b.0, a.0));
        fn lt(a: F32x8, b: F32x8) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0);
        fn and(a: __m256, b: __m256) -> __m256 = _mm256_and_ps(a, b);
        fn select(mask: __m256, a: F32x8, b: F32x8) -> F32x8 = F32x8(_mm256_blendv_ps(b.0, a.0, mask));
        fn any(mask: __m256) -> bool = _mm256_movemask_ps(mask) != 0;
        fn sqrt(x: F32x8) -> F32x8 = F32x8(_mm256_sqrt_ps(x.0));
        fn split(x: F32x8) -> (F32x8, F32x8) = {
            let bits = _mm256_castps_si256(x.0);
            let exponent = _mm256_srai_epi32::<23>(_mm256_sub_epi32(bits, _mm256_set1_epi32(SQRT_HALF)));
            let mantissa = _mm256_sub_epi32(bits, _mm256_slli_epi32::<23>(exponent));
            (F32x8(_mm256_castsi256_ps(mantissa)), F32x8(_mm256_cvtepi32_ps(exponent)))
        };
        fn bits_to_exponent(x: F32x8) -> F32x8 =
            F32x8(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(x.0))));
        fn reduce_sum(x: F32x8) -> f32 =
            Sse2::new().reduce_sum(F32x4(_mm256_castps256_ps128(x.0)) + F32x4(_mm256_extractf128_ps::<1>(x.0)));
        fn reduce_sums(x: [F32x8; 4]) -> [f32; 4] = {
            // A closure may stay a function of its own, in which each instruction is a call.
            let mut halves = [F32x4(_mm_setzero_ps()); 4];
            for (n, half) in halves.iter_mut().enumerate() {
                *half = F32x4(_mm256_castps256_ps128(x[n].0)) + F32x4(_mm256_extractf128_ps::<1>(x[n].0));
            }
            Sse2::new().reduce_sums(halves)
        };
        fn reduce_max(x: F32x8) -> f32 = {
            let x = _mm256_max_ps(x.0, _mm256_set1_ps(f32::NEG_INFINITY));
            Sse2::new().reduce_max(F32x4(_mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x))))
        };
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const HAS_SCALE: bool = true;
    const TRANSPOSES: bool = true;
    type F = F32x16;
    type M = __mmask16;
    type I = __m512i;

    memory!(F32x16, _mm512_loadu_ps, _mm512_storeu_ps);
    #[inline(always)]
    unsafe fn transpose(self, from: &[*const f32; SIDE], to: &[*mut f32; SIDE]) {
        // SAFETY: the caller guarantees the memory, the token the instruction set.
        unsafe {
            let mut rows = [_mm512_setzero_ps(); SIDE];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = _mm512_loadu_ps(from[r]);
            }
            // Within each 128 bits, 4 × 4 values of four rows: pairs of rows, then pairs of pairs.
            let mut fours = rows;
            for (g, fours) in fours.chunks_exact_mut(4).enumerate() {
                let rows = &rows[4 * g..];
                let low = [_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpacklo_ps(rows[2], rows[3])];
                let high = [_mm512_unpackhi_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[2], rows[3])];
                fours[0] = _mm512_shuffle_ps::<0b01_00_01_00>(low[0], low[1]);
                fours[1] = _mm512_shuffle_ps::<0b11_10_11_10>(low[0], low[1]);
                fours[2] = _mm512_shuffle_ps::<0b01_00_01_00>(high[0], high[1]);
                fours[3] = _mm512_shuffle_ps::<0b11_10_11_10>(high[0], high[1]);
            }
            // Then the 4 × 4 blocks of 128 bits: `fours[4 · g + c]` has column c of each block, for rows from 4 · g on.
            for c in 0..4 {
                let [a, b, e, f] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
                let low = [_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b10_00_10_00>(e, f)];
                let high = [_mm512_shuffle_f32x4::<0b11_01_11_01>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(e, f)];
                _mm512_storeu_ps(to[c], _mm512_shuffle_f32x4::<0b10_00_10_00>(low[0], low[1]));
                _mm512_storeu_ps(to[4 + c], _mm512_shuffle_f32x4::<0b10_00_10_00>(high[0], high[1]));
                _mm512_storeu_ps(to[8 + c], _mm512_shuffle_f32x4::<0b11_01_11_01>(low[0], low[1]));
                _mm512_storeu_ps(to[12 + c], _mm512_shuffle_f32x4::<0b11_01_11_01>(high[0], high[1]));
            }
        }
    }
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> F32x16 {
        assert!(bytes.len() >= 16);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            F32x16(_mm512_maskz_mov_ps(_mm512_testn_epi32_mask(wide, wide), _mm512_set1_ps(f32::NEG_INFINITY)))
        }
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> F32x16 {
        assert!(src.len() >= 16);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        F32x16(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(src.as_ptr().cast())) })
    }
    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> F32x16 {
        assert!(src.len() >= 16);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(src.as_ptr().cast()));
            F32x16(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)))
        }
    }
    #[inline(always)]
    fn load_i8(self, src: &[i8]) -> F32x16 {
        assert!(src.len() >= 16);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        F32x16(unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(src.as_ptr().cast()))) })
    }
    #[inline(always)]
    fn load_int(self, src: &[i32]) -> __m512i {
        assert!(src.len() >= 16);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe { _mm512_loadu_si512(src.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_pairs(self, dst: &mut [i32], [low, high]: [F32x16; 2]) {
        assert!(dst.len() >= 16);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let pairs = _mm512_packs_epi32(_mm512_cvttps_epi32(low.0), _mm512_cvttps_epi32(high.0));
            let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
            _mm512_storeu_si512(dst.as_mut_ptr().cast(), _mm512_permutexvar_epi64(order, pairs));
        }
    }
    #[inline(always)]
    fn store_quads(self, dst: &mut [f32], [low, high]: [F32x16; 2]) -> i32 {
        assert!(dst.len() >= 8);
        // SAFETY: the slice is long enough, and the token proves the instruction set.
        unsafe {
            let (low, high) = (_mm512_cvttps_epi32(low.0), _mm512_cvttps_epi32(high.0));
            _mm_storeu_si128(dst.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(low));
            _mm_storeu_si128(dst[4..].as_mut_ptr().cast(), _mm512_cvtepi32_epi8(high));
            _mm512_reduce_add_epi32(_mm512_add_epi32(low, high))
        }
    }
    #[inline(always)]
    unsafe fn add_quads(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller guarantees the instruction.
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, src: *const i8) -> __m512i {
        // SAFETY: the caller guarantees 32 readable values, and the token proves the instruction set.
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(src.cast())) }
    }
    intrinsics! {
        fn splat_int(x: i32) -> __m512i = _mm512_set1_epi32(x);
        fn add_pairs(sum: __m512i, a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
        fn with_bits(x: __m512i) -> F32x16 = F32x16(_mm512_castsi512_ps(x));
        fn to_float(x: __m512i) -> F32x16 = F32x16(_mm512_cvtepi32_ps(x));
        fn splat(x: f32) -> F32x16 = F32x16(_mm512_set1_ps(x));
        fn mul_add(a: F32x16, b: F32x16, c: F32x16) -> F32x16 = F32x16(_mm512_fmadd_ps(a.0, b.0, c.0));
        fn max(a: F32x16, b: F32x16) -> F32x16 = F32x16(_mm512_max_ps(b.0, a.0));
        fn lt(a: F32x16, b: F32x16) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0);
        fn and(a: __mmask16, b: __mmask16) -> __mmask16 = a & b;
        fn select(mask: __mmask16, a: F32x16, b: F32x16) -> F32x16 = F32x16(_mm512_mask_blend_ps(mask, b.0, a.0));
        fn any(mask: __mmask16) -> bool = mask != 0;
        fn sqrt(x: F32x16) -> F32x16 = F32x16(_mm512_sqrt_ps(x.0));
        fn split(x: F32x16) -> (F32x16, F32x16) = {
            let bits = _mm512_castps_si512(x.0);
            let exponent = _mm512_srai_epi32::<23>(_mm512_sub_epi32(bits, _mm512_set1_epi32(SQRT_HALF)));
            let mantissa = _mm512_sub_epi32(bits, _mm512_slli_epi32::<23>(exponent));
            (F32x16(_mm512_castsi512_ps(mantissa)), F32x16(_mm512_cvtepi32_ps(exponent)))
        };
        fn fraction(x: F32x16) -> F32x16 = F32x16(_mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF }>(x.0));
        fn scale(mantissa: F32x16, x: F32x16) -> F32x16 = F32x16(_mm512_scalef_ps(mantissa.0, x.0));
        fn bits_to_exponent(x: F32x16) -> F32x16 =
            F32x16(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(x.0))));
        fn reduce_sum(x: F32x16) -> f32 = {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x.0)));
            Avx2(()).reduce_sum(F32x8(_mm512_castps512_ps256(x.0)) + F32x8(upper))
        };
        fn reduce_sums(x: [F32x16; 4]) -> [f32; 4] = {
            let mut halves = [F32x8(_mm256_setzero_ps()); 4];
            for (n, half) in halves.iter_mut().enumerate() {
                let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x[n].0));
                *half = F32x8(_mm512_castps512_ps256(x[n].0)) + F32x8(_mm256_castpd_ps(upper));
            }
            Avx2(()).reduce_sums(halves)
        };
        fn reduce_max(x: F32x16) -> f32 = {
            let x = _mm512_max_ps(x.0, _mm512_set1_ps(f32::NEG_INFINITY));
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x)));
            Avx2(()).reduce_max(F32x8(_mm256_max_ps(_mm512_castps512_ps256(x), upper)))
        };
    }
}

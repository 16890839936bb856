//! Arrays of four values: the level for machines without a faster one, and the easiest to read.

use super::bits::{SQRT_HALF, vector, widen_f16};
use super::{Kernel, Simd};

/// The token of plain arrays, which work on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Portable(());

impl Portable {
    /// Creates the token.
    pub const fn new() -> Self {
        Self(())
    }

    /// A function of its own, so that it is not compiled as one with the kernel of another level.
    #[inline(never)]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run::<Self, 2, 4>(self)
    }
}

/// Applies the operation on one lane to all four.
mod lanes {
    #[inline(always)]
    pub(super) fn zip<R>(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> R) -> [R; 4] {
        std::array::from_fn(|lane| f(a[lane], b[lane]))
    }
    #[inline(always)]
    pub(super) fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    pub(super) fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    pub(super) fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    pub(super) fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    pub(super) fn div(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a / b)
    }
}

vector!(F32x4([f32; 4]), lanes::splat: Add add lanes::add, Sub sub lanes::sub, Mul mul lanes::mul, Div div lanes::div);

impl Simd for Portable {
    const LANES: usize = 4;
    type F = F32x4;
    type M = [bool; 4];
    type I = [i32; 4];

    #[inline(always)]
    fn splat(self, x: f32) -> F32x4 {
        F32x4([x; 4])
    }
    #[inline(always)]
    fn load(self, src: &[f32]) -> F32x4 {
        F32x4([src[0], src[1], src[2], src[3]])
    }
    #[inline(always)]
    fn store(self, dst: &mut [f32], x: F32x4) {
        dst[..4].copy_from_slice(&x.0);
    }
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> F32x4 {
        F32x4(std::array::from_fn(|lane| if bytes[lane] == 0 { f32::NEG_INFINITY } else { 0.0 }))
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> F32x4 {
        F32x4(std::array::from_fn(|lane| widen_f16(src[lane])))
    }
    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> F32x4 {
        F32x4(std::array::from_fn(|lane| f32::from_bits(u32::from(src[lane]) << 16)))
    }
    #[inline(always)]
    fn load_i8(self, src: &[i8]) -> F32x4 {
        F32x4(std::array::from_fn(|lane| f32::from(src[lane])))
    }
    #[inline(always)]
    unsafe fn load_ptr(self, src: *const f32) -> F32x4 {
        // SAFETY: the caller guarantees four readable values.
        F32x4(unsafe { src.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store_ptr(self, dst: *mut f32, x: F32x4) {
        // SAFETY: the caller guarantees four writable values.
        unsafe { dst.cast::<[f32; 4]>().write_unaligned(x.0) }
    }
    #[inline(always)]
    fn mul_add(self, a: F32x4, b: F32x4, c: F32x4) -> F32x4 {
        a * b + c
    }
    #[inline(always)]
    fn max(self, a: F32x4, b: F32x4) -> F32x4 {
        F32x4(lanes::zip(a.0, b.0, |a, b| if b > a { b } else { a }))
    }
    #[inline(always)]
    fn lt(self, a: F32x4, b: F32x4) -> Self::M {
        lanes::zip(a.0, b.0, |a, b| a < b)
    }
    #[inline(always)]
    fn and(self, a: Self::M, b: Self::M) -> Self::M {
        std::array::from_fn(|lane| a[lane] && b[lane])
    }
    #[inline(always)]
    fn select(self, mask: Self::M, a: F32x4, b: F32x4) -> F32x4 {
        F32x4(std::array::from_fn(|lane| if mask[lane] { a.0[lane] } else { b.0[lane] }))
    }
    #[inline(always)]
    fn any(self, mask: Self::M) -> bool {
        mask.contains(&true)
    }
    #[inline(always)]
    fn sqrt(self, x: F32x4) -> F32x4 {
        F32x4(x.0.map(f32::sqrt))
    }
    #[inline(always)]
    fn split(self, x: F32x4) -> (F32x4, F32x4) {
        let bits = x.0.map(|x| x.to_bits() as i32);
        let exponent = bits.map(|bits| (bits - SQRT_HALF) >> 23);
        let mantissa = |lane: usize| f32::from_bits((bits[lane] - (exponent[lane] << 23)) as u32);
        (F32x4(std::array::from_fn(mantissa)), F32x4(exponent.map(|exponent| exponent as f32)))
    }
    #[inline(always)]
    fn bits_to_exponent(self, x: F32x4) -> F32x4 {
        F32x4(x.0.map(|x| f32::from_bits(x.to_bits() << 23)))
    }
    #[inline(always)]
    fn reduce_sum(self, x: F32x4) -> f32 {
        let [a, b, c, d] = x.0;
        (a + c) + (b + d)
    }
    #[inline(always)]
    fn reduce_max(self, x: F32x4) -> f32 {
        x.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> [i32; 4] {
        [x; 4]
    }
    #[inline(always)]
    fn load_int(self, src: &[i32]) -> [i32; 4] {
        [src[0], src[1], src[2], src[3]]
    }
    #[inline(always)]
    fn store_pairs(self, dst: &mut [i32], [low, high]: [F32x4; 2]) {
        let (low, high) = (low.0.map(|x| x as i32), high.0.map(|x| x as i32));
        let pair = |low: i32, high: i32| low & 0xffff | high << 16;
        dst[..4].copy_from_slice(&[
            pair(low[0], low[1]),
            pair(low[2], low[3]),
            pair(high[0], high[1]),
            pair(high[2], high[3]),
        ]);
    }
    #[inline(always)]
    unsafe fn load_pairs(self, src: *const i8) -> [i32; 4] {
        // SAFETY: the caller guarantees eight readable values.
        let pairs = unsafe { src.cast::<[[i8; 2]; 4]>().read_unaligned() };
        pairs.map(|[low, high]| i32::from(low) & 0xffff | i32::from(high) << 16)
    }
    #[inline(always)]
    fn add_pairs(self, sum: [i32; 4], a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        let half = |x: i32, shift: u32| x << (16 - shift) >> 16;
        let product = |lane: usize, shift: u32| half(a[lane], shift) * half(b[lane], shift);
        std::array::from_fn(|lane| sum[lane] + product(lane, 0) + product(lane, 16))
    }
    #[inline(always)]
    fn to_float(self, x: [i32; 4]) -> F32x4 {
        F32x4(x.map(|x| x as f32))
    }
}

//! Arrays of four: the level for machines without a faster one, and the plainest to read.

use super::bits::SQRT_HALF;
use super::{Kernel, Simd};

#[derive(Clone, Copy)]
pub(super) struct Portable;

pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Portable, 2, 4>(Portable)
}

#[inline(always)]
fn zip(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Simd for Portable {
    const LANES: usize = 4;
    type F = [f32; 4];
    type M = [bool; 4];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; 4]
    }
    #[inline(always)]
    fn load(self, src: &[f32]) -> Self::F {
        [src[0], src[1], src[2], src[3]]
    }
    #[inline(always)]
    fn store(self, dst: &mut [f32], x: Self::F) {
        dst[..4].copy_from_slice(&x);
    }
    #[inline(always)]
    fn boolean_bias(self, bytes: &[u8]) -> Self::F {
        std::array::from_fn(|lane| if bytes[lane] == 0 { f32::NEG_INFINITY } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn load_ptr(self, src: *const f32) -> Self::F {
        // SAFETY: the caller vouches for four values.
        unsafe { src.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, dst: *mut f32, x: Self::F) {
        // SAFETY: the caller vouches for four values.
        unsafe { dst.cast::<[f32; 4]>().write_unaligned(x) }
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if b > a { b } else { a })
    }
    #[inline(always)]
    fn lt(self, a: Self::F, b: Self::F) -> Self::M {
        std::array::from_fn(|lane| a[lane] < b[lane])
    }
    #[inline(always)]
    fn and(self, a: Self::M, b: Self::M) -> Self::M {
        std::array::from_fn(|lane| a[lane] && b[lane])
    }
    #[inline(always)]
    fn select(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|lane| if mask[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    fn any(self, mask: Self::M) -> bool {
        mask.contains(&true)
    }
    #[inline(always)]
    fn sqrt(self, x: Self::F) -> Self::F {
        x.map(f32::sqrt)
    }
    #[inline(always)]
    fn split(self, x: Self::F) -> (Self::F, Self::F) {
        let exponent = x.map(|x| (x.to_bits() as i32 - SQRT_HALF) >> 23);
        let mantissa = |lane: usize| f32::from_bits((x[lane].to_bits() as i32 - (exponent[lane] << 23)) as u32);
        (std::array::from_fn(mantissa), exponent.map(|exponent| exponent as f32))
    }
    #[inline(always)]
    fn bits_to_exponent(self, x: Self::F) -> Self::F {
        x.map(|x| f32::from_bits(x.to_bits() << 23))
    }
    #[inline(always)]
    fn reduce_sum(self, x: Self::F) -> f32 {
        (x[0] + x[2]) + (x[1] + x[3])
    }
    #[inline(always)]
    fn reduce_max(self, x: Self::F) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

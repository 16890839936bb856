//! All SIMD code: one trait, one file of intrinsics per instruction set, and the choice between them.
//!
//! A [`Simd`] value is a token: it exists only where its instruction set is available, so its methods are safe to call.
//! A [`Level`] holds the token of its instruction set, so safe code cannot name a level that the machine lacks. Kernels
//! are written once, as a [`Kernel`] generic over the token, and compiled once for every level.
//!
//! An instruction is compiled as such only where it is inlined into the function that [`Level::run`] enters; anywhere
//! else it is a call. So kernels are `inline(always)`, and they loop in place of closures over vectors: whether a
//! closure, or `std::array::from_fn`, is inlined depends on the caller's build profile.

pub mod amx;
mod bits;
// We never ship WebAssembly without SIMD, and with SIMD the portable level would only double the module size.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
mod quads;
mod rows;
mod tile;
mod transpose;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "x86_64", not(portable_only)))]
mod x86;

use std::ops::{Add, Div, Mul, Sub};
use std::sync::OnceLock;

use crate::sizes::BLOCK_TILES;

pub use bits::{narrow_bf16, narrow_f16, widen_f16};
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub use portable::Portable;
pub use quads::{QUAD_OFFSET, Quads};
pub use rows::{Groups, Halves, SIDE_BY_SIDE, Source, add_rows, dots, reduce_rows};
pub use tile::{Accumulate, Matrix, Order, ReduceKind, product};
pub use transpose::{SIDE, gather_columns, scatter_lanes, scatter_rows};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::Simd128;
#[cfg(all(target_arch = "x86_64", not(portable_only)))]
pub use x86::{Avx2, Avx512, Sse2};

/// A vector of f32 with operators that round like the instructions of its level. There is no operator for a product
/// plus a sum: [`Simd::mul_add`] may or may not fuse them, depending on the level.
pub trait Vector:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f32, Output = Self>
    + Sub<f32, Output = Self>
    + Mul<f32, Output = Self>
    + Div<f32, Output = Self>
{
}

/// The operations that kernels need on vectors of `LANES` f32 values.
pub trait Simd: Copy + Send + Sync + 'static {
    /// The number of f32 values in a vector.
    const LANES: usize;
    /// True if vectors are wide enough for half-width tiles to pay for their code size.
    const HAS_HALF_TILES: bool = Self::LANES >= 8;
    /// True if there are instructions that split a number and scale another by its integer part.
    const HAS_SCALE: bool = false;
    /// True if [`Simd::transpose`] is available.
    const TRANSPOSES: bool = false;
    /// A vector.
    type F: Vector;
    /// A Boolean for each lane.
    type M: Copy;
    /// A vector of `LANES` i32 values, or of twice as many i16 values in pairs.
    type I: Copy;

    /// Returns `x` in every lane.
    fn splat(self, x: f32) -> Self::F;
    /// Returns each value in every lane of a vector of its own.
    #[inline(always)]
    fn splat_each<const COUNT: usize>(self, values: [f32; COUNT]) -> [Self::F; COUNT] {
        let mut vectors = [self.splat(0.0); COUNT];
        for (vector, value) in vectors.iter_mut().zip(values) {
            *vector = self.splat(value);
        }
        vectors
    }
    /// Loads the first `COUNT · LANES` values of `src`.
    #[inline(always)]
    fn load_each<const COUNT: usize>(self, src: &[f32]) -> [Self::F; COUNT] {
        let mut vectors = [self.splat(0.0); COUNT];
        for (index, vector) in vectors.iter_mut().enumerate() {
            *vector = self.load(&src[index * Self::LANES..]);
        }
        vectors
    }
    /// Loads the first `LANES` values of `src`.
    fn load(self, src: &[f32]) -> Self::F;
    /// Writes the lanes to the first `LANES` values of `dst`.
    fn store(self, dst: &mut [f32], x: Self::F);
    /// Returns the bias of a Boolean mask for the first `LANES` bytes: −∞ where the byte is 0, else 0.
    fn boolean_bias(self, bytes: &[u8]) -> Self::F;
    /// Loads the first `LANES` values of `src`, the bits of f16 (IEEE 754 binary16). The conversion is exact.
    fn load_f16(self, src: &[u16]) -> Self::F;
    /// Loads the first `LANES` values of `src`, the bits of bfloat16. The conversion is exact.
    fn load_bf16(self, src: &[u16]) -> Self::F;
    /// Loads the first `LANES` values of `src`. The conversion is exact.
    fn load_i8(self, src: &[i8]) -> Self::F;
    /// Loads the `LANES` values at `src`.
    ///
    /// # Safety
    /// `src` must be valid for reads of `LANES` values.
    unsafe fn load_ptr(self, src: *const f32) -> Self::F;
    /// Writes the lanes to `dst`.
    ///
    /// # Safety
    /// `dst` must be valid for writes of `LANES` values.
    unsafe fn store_ptr(self, dst: *mut f32, x: Self::F);
    /// Transposes the block of [`SIDE`] rows of as many values that start at `from`, to rows that start at `to`.
    /// Available only if [`Simd::TRANSPOSES`].
    ///
    /// # Safety
    /// Each row must be valid for reads or writes of `SIDE` values.
    unsafe fn transpose(self, _from: &[*const f32; SIDE], _to: &[*mut f32; SIDE]) {
        unreachable!("asked for only where TRANSPOSES says so")
    }
    /// Prefetches `data[at]`, which may be out of bounds; a no-op where the level has no instruction for it.
    #[inline(always)]
    fn prefetch<T>(self, _data: &[T], _at: usize) {}
    /// Returns `a · b + c`, fused if the instruction set can.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Returns the larger of each pair of lanes. If either is NaN: `a`, or with relaxed-simd either of them.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// Returns `x`, but at least `bound`, which must be negative; NaN stays NaN at every level.
    #[inline(always)]
    fn at_least(self, x: Self::F, bound: f32) -> Self::F {
        self.max(x, self.splat(bound))
    }
    /// Returns `a < b`, which is false if either is NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// Returns the lanes that are set in both masks.
    fn and(self, a: Self::M, b: Self::M) -> Self::M;
    /// Returns `a` where the mask is set, else `b`.
    fn select(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F;
    /// Returns true if any lane is set.
    fn any(self, mask: Self::M) -> bool;
    /// Returns true if any lane of any mask is set.
    #[inline(always)]
    fn any_of<const COUNT: usize>(self, masks: &[Self::M; COUNT]) -> bool {
        let mut found = false;
        for &mask in masks {
            found |= self.any(mask);
        }
        found
    }
    /// Returns the square root; NaN for a negative number.
    fn sqrt(self, x: Self::F) -> Self::F;
    /// Returns mantissa and exponent of a positive normal number: `x = mantissa · 2^exponent`, the mantissa from √½ to
    /// √2.
    fn split(self, x: Self::F) -> (Self::F, Self::F);
    /// Returns `x − ⌊x⌋`, and 0 for −∞. Available only if [`Simd::HAS_SCALE`].
    fn fraction(self, _x: Self::F) -> Self::F {
        unreachable!("asked for only where HAS_SCALE says so")
    }
    /// Returns `mantissa · 2^⌊x⌋`. Available only if [`Simd::HAS_SCALE`].
    fn scale(self, _mantissa: Self::F, _x: Self::F) -> Self::F {
        unreachable!("asked for only where HAS_SCALE says so")
    }
    /// Shifts the bits of each lane left by 23, into the exponent field.
    fn bits_to_exponent(self, x: Self::F) -> Self::F;
    /// Returns the sum of the lanes, added in a fixed order.
    fn reduce_sum(self, x: Self::F) -> f32;
    /// Returns the sum of the lanes of each vector, added in the order of [`Simd::reduce_sum`].
    #[inline(always)]
    fn reduce_sums(self, x: [Self::F; 4]) -> [f32; 4] {
        let [a, b, c, d] = x;
        [self.reduce_sum(a), self.reduce_sum(b), self.reduce_sum(c), self.reduce_sum(d)]
    }
    /// Returns the largest lane, ignoring NaN.
    fn reduce_max(self, x: Self::F) -> f32;
    /// Returns `x` in every lane.
    fn splat_int(self, x: i32) -> Self::I;
    /// Loads the first `LANES` values of `src`.
    fn load_int(self, src: &[i32]) -> Self::I;
    /// Loads the `2 · LANES` values at `src` as pairs of i16.
    ///
    /// # Safety
    /// `src` must be valid for reads of `2 · LANES` values.
    unsafe fn load_pairs(self, src: *const i8) -> Self::I;
    /// Writes `2 · LANES` values, rounded toward zero, as pairs of i16 to the first `LANES` values of `dst`. Values
    /// that are NaN or beyond i16 write any number.
    fn store_pairs(self, dst: &mut [i32], x: [Self::F; 2]);
    /// Writes `2 · LANES` values, rounded toward zero, as fours of i8 to the bits of the first `LANES / 2` values of
    /// `dst`, and returns their sum. Values that are NaN or beyond i8 write any number. Available only where [`Quads`]
    /// runs the kernel.
    fn store_quads(self, _dst: &mut [f32], _x: [Self::F; 2]) -> i32 {
        unreachable!("asked for only where Quads runs the kernel")
    }
    /// Returns `sum + a₀ · b₀ + a₁ · b₁` in each lane, for pairs of i16 in `a` and `b`, not both of them −32,768 twice.
    fn add_pairs(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// Returns `sum + Σ aᵢ · bᵢ` in each lane, for four bytes in `a` and `b`. Those of `b` are signed, and those of `a`
    /// are unsigned if [`QUAD_OFFSET`] is not 0.
    ///
    /// # Safety
    /// [`Quads::run`] must run the kernel.
    unsafe fn add_quads(self, _sum: Self::I, _a: Self::I, _b: Self::I) -> Self::I {
        unreachable!("asked for only where Quads runs the kernel")
    }
    /// Returns the floats that have these bits. Available only where [`Quads`] runs the kernel.
    fn with_bits(self, _x: Self::I) -> Self::F {
        unreachable!("asked for only where Quads runs the kernel")
    }
    /// Converts i32 values, rounding those beyond 24 bits.
    fn to_float(self, x: Self::I) -> Self::F;
}

/// A computation compiled once for every instruction set. `ROWS × VECTORS` is the register tile that suits the level.
pub trait Kernel {
    /// The result of the computation.
    type Output;
    /// Runs the computation. Implementations must be `#[inline(always)]`, or the intrinsics are not inlined into them.
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> Self::Output;
}

/// An instruction set that kernels can run on, with its token: a value exists only on a machine that supports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// Plain arrays of four values, for any machine.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    Portable(Portable),
    /// x86-64's baseline: 128 bits, no fused multiply-add.
    #[cfg(all(target_arch = "x86_64", not(portable_only)))]
    Sse2(Sse2),
    /// x86-64 with AVX2, FMA and F16C: 256 bits.
    #[cfg(all(target_arch = "x86_64", not(portable_only)))]
    Avx2(Avx2),
    /// x86-64 with AVX-512 (F, BW, DQ, VL): 512 bits.
    #[cfg(all(target_arch = "x86_64", not(portable_only)))]
    Avx512(Avx512),
    /// AArch64's 128 bits.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    /// WebAssembly's 128 bits, compiled with or without relaxed-simd's fused multiply-add.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128(Simd128),
}

impl Level {
    /// Returns the levels of this machine, lowest first.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        [
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Some(Self::Portable(Portable::new())),
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Some(Self::Sse2(Sse2::new())),
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Avx2::detect().map(Self::Avx2),
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Avx512::detect().map(Self::Avx512),
            #[cfg(target_arch = "aarch64")]
            Some(Self::Neon(Neon::new())),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Some(Self::Simd128(Simd128::new())),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns the lowest level, which every machine of this architecture has.
    pub const fn lowest() -> Self {
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        return Self::Portable(Portable::new());
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return Self::Simd128(Simd128::new());
    }

    /// Returns the name that `backend().simd` reports.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Self::Portable(_) => "portable",
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Self::Sse2(_) => "sse2",
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Self::Avx2(_) => "avx2",
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128(_) => wasm::NAME,
        }
    }

    /// Returns the level in use: the machine's highest one, or the lower one named by the environment variable
    /// `RUVECTOR_ATTENTION_SIMD`. The name of a level that the machine lacks is ignored.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Level> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let wanted = std::env::var("RUVECTOR_ATTENTION_SIMD").ok();
            Self::available()
                .find(|level| Some(level.name()) == wanted.as_deref())
                .or_else(|| Self::available().next_back())
                .unwrap_or(Self::lowest())
        })
    }

    /// Returns the number of query rows that one register tile of this level holds side by side.
    pub fn tile_lanes(self) -> usize {
        struct TileLanes;
        impl Kernel for TileLanes {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) -> usize {
                VECTORS * S::LANES
            }
        }
        self.run(TileLanes)
    }

    /// Returns the number of rows in one work item of attention or of a projection.
    pub fn block_rows(self) -> usize {
        BLOCK_TILES * self.tile_lanes()
    }

    /// Runs the kernel as compiled for this level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Self::Portable(token) => token.run(kernel),
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Self::Sse2(token) => token.run(kernel),
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Self::Avx2(token) => token.run(kernel),
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Self::Avx512(token) => token.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(token) => token.run(kernel),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128(token) => token.run(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Converts the values of a slice to f32, `LANES` at a time.
    struct Extend<'a> {
        bits: &'a [u16],
        values: &'a mut [f32],
        format: &'a str,
    }

    impl Kernel for Extend<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            for (bits, values) in self.bits.chunks_exact(S::LANES).zip(self.values.chunks_exact_mut(S::LANES)) {
                let mut bytes = [0; 16];
                for (byte, &bits) in bytes.iter_mut().zip(bits) {
                    *byte = bits as i8;
                }
                let extended = match self.format {
                    "f16" => simd.load_f16(bits),
                    "bf16" => simd.load_bf16(bits),
                    _ => simd.load_i8(&bytes),
                };
                simd.store(values, extended);
            }
        }
    }

    /// Computes the value of an f16 from its definition.
    fn half(bits: u16) -> f32 {
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023) / 1024.0);
        let magnitude = match exponent {
            0 => fraction * 2f32.powi(-14),
            31 if fraction == 0.0 => f32::INFINITY,
            31 => f32::NAN,
            _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
        };
        if bits >> 15 == 1 { -magnitude } else { magnitude }
    }

    #[test]
    fn extending_loads_are_exact_for_every_value_of_each_format() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        type Extension = fn(u16) -> f32;
        let formats: [(&str, Extension); 3] = [
            ("f16", half),
            ("bf16", |bits| f32::from_bits(u32::from(bits) << 16)),
            ("i8", |bits| f32::from(bits as i8)),
        ];
        for level in Level::available() {
            for (format, expected) in formats {
                let mut values = vec![0.0; bits.len()];
                level.run(Extend { bits: &bits, values: &mut values, format });
                for (&bits, value) in bits.iter().zip(values) {
                    let expected = expected(bits);
                    let is_same = value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan());
                    assert!(is_same, "{format} {bits:#06x} at {}: {value} for {expected}", level.name());
                }
            }
        }
    }

    /// Stores values as pairs.
    struct Pairs<'a>(&'a [f32], &'a mut [i32]);

    impl Kernel for Pairs<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            for (values, pairs) in self.0.chunks_exact(2 * S::LANES).zip(self.1.chunks_exact_mut(S::LANES)) {
                simd.store_pairs(pairs, simd.load_each(values));
            }
        }
    }

    #[test]
    fn pairs_are_stored_in_order_and_rounded_toward_zero() {
        let values: Vec<f32> = (-512..512).map(|value| value as f32 / 4.0).collect();
        let expected: Vec<i32> =
            values.chunks(2).map(|pair| pair[0] as i32 & 0xffff | (pair[1] as i32) << 16).collect();
        for level in Level::available() {
            let mut pairs = vec![0; values.len() / 2];
            level.run(Pairs(&values, &mut pairs));
            assert_eq!(pairs, expected, "{}", level.name());
        }
    }

    #[test]
    fn the_lowest_level_is_the_first_that_is_available_and_the_current_one_is_among_them() {
        assert_eq!(Level::available().next(), Some(Level::lowest()));
        assert!(Level::available().any(|level| level == Level::current()));
    }
}

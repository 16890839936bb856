//! The only place with intrinsics: one trait, a file an instruction set, and the choice between them.
//!
//! A [`Simd`] value is a token: it exists only where its instruction set was detected, which is what makes its methods safe
//! to call. Kernels are written once, as a [`Kernel`] generic over the token, and compiled once for every level.

// WebAssembly without SIMD is built for nobody, and with it the portable level would only double the module.
mod bits;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
mod rows;
mod tile;
mod transpose;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::atomic::{AtomicU8, Ordering};

pub use rows::{SIDE_BY_SIDE, add_rows, dots};
pub use tile::{Along, Matrix, Start, product};
pub use transpose::{gather_columns, scatter_rows};

/// The most query rows that any level holds side by side in its lanes.
pub const MAX_TILE_LANES: usize = 32;

/// Tiles of rows that one work item holds: what shares a tile of keys or weights while it is in the cache.
pub const BLOCK_TILES: usize = 4;

/// A vector of `LANES` f32 values and the operations that the kernels need on it.
pub trait Simd: Copy + Send + Sync + 'static {
    /// How many f32 values a vector holds.
    const LANES: usize;
    /// Whether so many rows fill a vector that tiles of half the width are worth their code.
    const HAS_HALF_TILES: bool = Self::LANES >= 8;
    /// Whether there are instructions that split a number and scale another by its whole part.
    const HAS_SCALE: bool = false;
    /// A vector.
    type F: Copy;
    /// A truth value for each lane.
    type M: Copy;

    /// The value in every lane.
    fn splat(self, x: f32) -> Self::F;
    /// The first `LANES` values of `src`.
    fn load(self, src: &[f32]) -> Self::F;
    /// Writes the lanes to the first `LANES` values of `dst`.
    fn store(self, dst: &mut [f32], x: Self::F);
    /// What a boolean mask adds to scores: 0 where one of the first `LANES` bytes is not 0, −∞ where it is.
    fn boolean_bias(self, bytes: &[u8]) -> Self::F;
    /// The `LANES` values at `src`.
    ///
    /// # Safety
    /// `src` must be valid for reads of `LANES` values.
    unsafe fn load_ptr(self, src: *const f32) -> Self::F;
    /// Writes the lanes to `dst`.
    ///
    /// # Safety
    /// `dst` must be valid for writes of `LANES` values.
    unsafe fn store_ptr(self, dst: *mut f32, x: Self::F);
    /// Begins to fetch what lies `at` behind the start of `data`, be it inside or not, where there is an instruction for that.
    #[inline(always)]
    fn prefetch(self, _data: &[f32], _at: usize) {}
    /// `a + b`.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a − b`.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a · b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a · b + c`, fused where the instruction set can.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger; where either is NaN, it is `a`, or with relaxed-simd either of them.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `x`, but at least `bound`, which is negative; NaN stays at every level.
    #[inline(always)]
    fn at_least(self, x: Self::F, bound: f32) -> Self::F {
        self.max(x, self.splat(bound))
    }
    /// `a < b`, false where either is NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// Both.
    fn and(self, a: Self::M, b: Self::M) -> Self::M;
    /// `a` where the mask is set, else `b`.
    fn select(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F;
    /// Whether any lane is set.
    fn any(self, mask: Self::M) -> bool;
    /// The square root; NaN for what is negative.
    fn sqrt(self, x: Self::F) -> Self::F;
    /// Mantissa and exponent of a positive normal number: `x = mantissa · 2^exponent`, the mantissa from √½ to √2.
    fn split(self, x: Self::F) -> (Self::F, Self::F);
    /// `x − ⌊x⌋`, and 0 for −∞. Only where [`Simd::HAS_SCALE`].
    fn fraction(self, _x: Self::F) -> Self::F {
        unreachable!("asked for only where HAS_SCALE says so")
    }
    /// `mantissa · 2^⌊x⌋`. Only where [`Simd::HAS_SCALE`].
    fn scale(self, _mantissa: Self::F, _x: Self::F) -> Self::F {
        unreachable!("asked for only where HAS_SCALE says so")
    }
    /// Shifts the bits of each lane left by 23, into the exponent field.
    fn bits_to_exponent(self, x: Self::F) -> Self::F;
    /// The sum of the lanes, in a fixed order.
    fn reduce_sum(self, x: Self::F) -> f32;
    /// The sum of the lanes of each, in the order of [`Simd::reduce_sum`].
    #[inline(always)]
    fn reduce_sums(self, x: [Self::F; 4]) -> [f32; 4] {
        let [a, b, c, d] = x;
        [self.reduce_sum(a), self.reduce_sum(b), self.reduce_sum(c), self.reduce_sum(d)]
    }
    /// The largest lane; NaN lanes are passed over.
    fn reduce_max(self, x: Self::F) -> f32;
}

/// A computation that is compiled once for every instruction set. `ROWS × VECTORS` is the register tile that suits the level.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The computation; implementations are `#[inline(always)]`, or the intrinsics would not be inlined into it.
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> Self::Output;
}

/// An instruction set that kernels can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Plain arrays of four, for any machine.
    Portable = 1,
    /// x86-64's baseline: 128 bits, no fused multiply-add.
    Sse2,
    /// x86-64 with AVX2 and FMA: 256 bits.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL): 512 bits.
    Avx512,
    /// AArch64's 128 bits.
    Neon,
    /// WebAssembly's 128 bits.
    Simd128,
    /// WebAssembly's 128 bits with a fused multiply-add where the machine has one.
    RelaxedSimd,
}

impl Level {
    const ALL: [Self; 7] =
        [Self::Portable, Self::Sse2, Self::Avx2, Self::Avx512, Self::Neon, Self::Simd128, Self::RelaxedSimd];

    /// The name that `backend().simd` gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Sse2 => "sse2",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::Simd128 => "simd128",
            Self::RelaxedSimd => "relaxed-simd",
        }
    }

    /// The levels that this machine has, lowest first.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.is_available())
    }

    fn is_available(self) -> bool {
        match self {
            Self::Portable => !cfg!(all(target_arch = "wasm32", target_feature = "simd128")),
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::has_avx512(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            Self::Simd128 => cfg!(all(target_arch = "wasm32", target_feature = "simd128")),
            Self::RelaxedSimd => cfg!(all(target_arch = "wasm32", target_feature = "relaxed-simd")),
            #[allow(unreachable_patterns, reason = "every other pair of level and architecture")]
            _ => false,
        }
    }

    /// The level in use: the highest that the machine has, or the lower one that the environment variable
    /// `RUVECTOR_ATTENTION_SIMD` names. A name that the machine does not have is passed over.
    pub fn current() -> Self {
        static CURRENT: AtomicU8 = AtomicU8::new(0);
        let known = CURRENT.load(Ordering::Relaxed);
        if let Some(level) = Self::ALL.into_iter().find(|level| *level as u8 == known) {
            return level;
        }
        let wanted = std::env::var("RUVECTOR_ATTENTION_SIMD").ok();
        let level = Self::available()
            .find(|level| Some(level.name()) == wanted.as_deref())
            .or_else(|| Self::available().next_back())
            .unwrap_or(Self::Portable);
        CURRENT.store(level as u8, Ordering::Relaxed);
        level
    }

    /// Query rows that one register tile of this level holds side by side.
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

    /// Rows of one work item of attention or of a projection.
    pub fn block_rows(self) -> usize {
        BLOCK_TILES * self.tile_lanes()
    }

    /// Runs the kernel compiled for this level.
    ///
    /// # Panics
    /// If the machine does not have the level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        debug_assert!(self.is_available(), "{} is not available here", self.name());
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => x86::run_sse2(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::run_avx2(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::run_avx512(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::run(kernel),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            _ => wasm::run(kernel),
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            _ => portable::run(kernel),
        }
    }
}

//! Instructions that only some machines of a level have: sums of four products of bytes.

use super::{Kernel, Level};

/// The number to add to the bytes of the first factor of [`Simd::add_quads`](super::Simd::add_quads). x86 and
/// WebAssembly multiply unsigned by signed bytes, AArch64 signed by signed ones.
pub const QUAD_OFFSET: u8 = if cfg!(target_arch = "aarch64") { 0 } else { 128 };

/// A level on a machine that adds four products of bytes at a time: AVX-512 with AVX512-VNNI, AVX2 with AVX-VNNI, NEON
/// with the dot product, and WebAssembly if its relaxed dot product takes one factor as unsigned and does not saturate.
#[derive(Debug, Clone, Copy)]
pub struct Quads(Level);

impl Quads {
    /// Returns the level if this machine has the instructions beside it.
    pub fn of(level: Level) -> Option<Self> {
        let is_detected = match level {
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Level::Avx512(_) => is_x86_feature_detected!("avx512vnni"),
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Level::Avx2(_) => is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "aarch64")]
            Level::Neon(token) => token.has_quads(),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Level::Simd128(token) => token.has_quads(),
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            _ => false,
        };
        is_detected.then_some(Self(level))
    }

    /// Runs a kernel, which may use [`Simd::add_quads`](super::Simd::add_quads).
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: the value exists only where the instructions were detected.
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Level::Avx512(token) => unsafe { token.run_with_quads(kernel) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "x86_64", not(portable_only)))]
            Level::Avx2(token) => unsafe { token.run_with_quads(kernel) },
            other => other.run(kernel),
        }
    }
}

//! A scalar emulation of tile products. It gives the bits of the instruction, which adds up even and odd products in
//! two chains of fused multiply-adds, adds the two, and then adds their sum, with denormals flushed at each step.

use super::{BYTE_WORDS, IntegerTile, Registers, SIDE, Tile};
use crate::simd::QUAD_OFFSET;

/// The registers.
#[derive(Default)]
pub struct Emulated([Tile; 8]);

impl Registers for Emulated {
    fn zero<const T: usize>(&mut self) {
        self.0[T] = Tile::ZERO;
    }

    fn load<const T: usize>(&mut self, tile: &Tile) {
        self.0[T] = *tile;
    }

    fn store<const T: usize>(&self, tile: &mut Tile) {
        *tile = self.0[T];
    }

    fn add_products<const C: usize, const A: usize, const B: usize>(&mut self) {
        let Self(registers) = self;
        let (a, b) = (registers[A], registers[B]);
        multiply(&mut registers[C], &a, &b);
    }
}

impl Emulated {
    /// Computes [`super::ByteTiles::multiply`].
    pub fn multiply_bytes(x: &[f32], stride: usize, weights: &[i32; BYTE_WORDS], sums: &mut IntegerTile) {
        for (row, sums) in sums.0.chunks_exact_mut(SIDE).enumerate() {
            let words = &x[row * stride..][..BYTE_WORDS / SIDE];
            for (output, sum) in sums.iter_mut().enumerate() {
                *sum = 0;
                for (&x, w) in words.iter().zip(weights.chunks_exact(SIDE)) {
                    for (x, w) in x.to_bits().to_le_bytes().into_iter().zip(w[output].to_le_bytes()) {
                        *sum += i32::from(x as i8) * if QUAD_OFFSET > 0 { i32::from(w) } else { i32::from(w as i8) };
                    }
                }
            }
        }
    }
}

fn multiply(c: &mut Tile, a: &Tile, b: &Tile) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        #[target_feature(enable = "avx2,fma")]
        fn with_fma(c: &mut Tile, a: &Tile, b: &Tile) {
            multiply_rows(c, a, b);
        }
        // SAFETY: the features were just detected.
        return unsafe { with_fma(c, a, b) };
    }
    multiply_rows(c, a, b);
}

#[inline(always)]
fn multiply_rows(c: &mut Tile, a: &Tile, b: &Tile) {
    for (c, a) in c.0.chunks_exact_mut(SIDE).zip(a.0.chunks_exact(SIDE)) {
        let (mut even, mut odd) = ([0.0; SIDE], [0.0; SIDE]);
        for (&x, b) in a.iter().zip(b.0.chunks_exact(SIDE)) {
            for (column, &y) in b.iter().enumerate() {
                even[column] = flush(low(x).mul_add(low(y), even[column]));
                odd[column] = flush(high(x).mul_add(high(y), odd[column]));
            }
        }
        for (column, c) in c.iter_mut().enumerate() {
            *c = flush(flush(*c) + flush(even[column] + odd[column]));
        }
    }
}

/// Returns the first value of a pair.
#[inline(always)]
fn low(pair: f32) -> f32 {
    flush(f32::from_bits(pair.to_bits() << 16))
}

/// Returns the second value of a pair.
#[inline(always)]
fn high(pair: f32) -> f32 {
    flush(f32::from_bits(pair.to_bits() & 0xffff_0000))
}

/// Returns zero, with the same sign, for a denormal number.
#[inline(always)]
fn flush(x: f32) -> f32 {
    let is_normal = x.abs() >= f32::MIN_POSITIVE || x.is_nan();
    if is_normal { x } else { 0f32.copysign(x) }
}

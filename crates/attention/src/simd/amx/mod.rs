//! Intel's AMX: eight tile registers of 16 rows of 64 bytes, and products of bfloat16 tiles added up in f32, or of bytes
//! added up in i32 by [`ByteTiles`].
//!
//! [`Registers`] has two implementations: the instructions, and a scalar emulation of the same bits for tests on
//! machines without them. A [`TileUnit`] holds the token of one of them, as a [`Level`](super::Level) does for vectors.

#[cfg(not(target_family = "wasm"))]
mod emulated;
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
mod hardware;

#[cfg(not(target_family = "wasm"))]
use std::sync::atomic::{AtomicU8, Ordering};

use bytemuck::Zeroable;

/// The values in one row of a tile, and the number of its rows.
pub const SIDE: usize = 16;

/// The contents of a tile register, 16 rows of 16 values: sums, or the bits of pairs of bfloat16 at consecutive depths.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Tile(pub [f32; SIDE * SIDE]);

// SAFETY: zeros are floats.
unsafe impl Zeroable for Tile {}

impl Tile {
    /// A tile of zeros.
    pub const ZERO: Self = Self([0.0; SIDE * SIDE]);

    /// Returns values as groups of tiles; a rest that does not fill a group is left out.
    ///
    /// # Panics
    /// If the values do not start at a cache line.
    pub fn groups_mut<const COUNT: usize>(values: &mut [f32]) -> &mut [[Self; COUNT]] {
        // SAFETY: a tile is an array of values, and any bits are values.
        let (before, groups, _) = unsafe { values.align_to_mut() };
        assert!(before.is_empty(), "values off a cache line");
        groups
    }
}

impl Default for Tile {
    fn default() -> Self {
        Self::ZERO
    }
}

/// The operations on tile registers, which are numbered from 0 to 7.
pub trait Registers {
    /// Fills a register with zeros.
    fn zero<const T: usize>(&mut self);
    /// Loads a register.
    fn load<const T: usize>(&mut self, tile: &Tile);
    /// Stores a register.
    fn store<const T: usize>(&self, tile: &mut Tile);
    /// Adds the products of A `[16, 32]` and B `[32, 16]` to C: `C[m][n] += Σ A[m][k] · B[k][n]`. A tile of B holds the
    /// values of two consecutive depths as a pair. Denormal numbers count as zero.
    fn add_products<const C: usize, const A: usize, const B: usize>(&mut self);
}

/// The pieces of 16 rows, or columns, of a matrix and 32 depths, largest first: each value is the sum of its pieces.
pub type Pieces = [Tile; 3];

/// A unit that is configured for the current thread.
pub struct Configured<'a> {
    /// WebAssembly has none, so that the compiler leaves out code that uses this type.
    #[allow(dead_code, reason = "see above")]
    unit: TileUnit,
    multiplier: &'a mut (dyn Multiplier + 'static),
}

impl Configured<'_> {
    /// Computes four tiles of sums, two rows of A times two columns of B: the sums over all steps of the six largest
    /// products of pieces. In each step the smallest products come first. If both rows of A are the same, only the
    /// first two results are set.
    pub fn multiply(&mut self, a: [&[Pieces]; 2], b: [&[Pieces]; 2], sums: &mut [Tile; 4]) {
        self.multiplier.multiply(a, b, sums);
    }
}

/// [`Configured::multiply`] for one kind of registers.
trait Multiplier {
    fn multiply(&mut self, a: [&[Pieces]; 2], b: [&[Pieces]; 2], sums: &mut [Tile; 4]);
}

impl<R: Registers + 'static> Multiplier for R {
    fn multiply(&mut self, a: [&[Pieces]; 2], b: [&[Pieces]; 2], sums: &mut [Tile; 4]) {
        if std::ptr::eq(a[0], a[1]) {
            multiply::<R, false>(self, a, b, sums);
        } else {
            multiply::<R, true>(self, a, b, sums);
        }
    }
}

#[inline(always)]
fn multiply<R: Registers, const BOTH: bool>(
    registers: &mut R,
    a: [&[Pieces]; 2],
    b: [&[Pieces]; 2],
    sums: &mut [Tile; 4],
) {
    registers.zero::<0>();
    registers.zero::<1>();
    registers.zero::<2>();
    registers.zero::<3>();
    for ((a0, a1), (b0, b1)) in a[0].iter().zip(a[1]).zip(b[0].iter().zip(b[1])) {
        load_a::<R, BOTH>(registers, &a0[2], &a1[2]);
        load_b(registers, &b0[0], &b1[0]);
        add_products::<R, BOTH>(registers);
        load_a::<R, BOTH>(registers, &a0[1], &a1[1]);
        add_products::<R, BOTH>(registers);
        load_b(registers, &b0[1], &b1[1]);
        add_products::<R, BOTH>(registers);
        load_a::<R, BOTH>(registers, &a0[0], &a1[0]);
        add_products::<R, BOTH>(registers);
        load_b(registers, &b0[2], &b1[2]);
        add_products::<R, BOTH>(registers);
        load_b(registers, &b0[0], &b1[0]);
        add_products::<R, BOTH>(registers);
    }
    let [s0, s1, s2, s3] = sums;
    registers.store::<0>(s0);
    registers.store::<1>(s1);
    if BOTH {
        registers.store::<2>(s2);
        registers.store::<3>(s3);
    }
}

#[inline(always)]
fn load_a<R: Registers, const BOTH: bool>(registers: &mut R, a0: &Tile, a1: &Tile) {
    registers.load::<4>(a0);
    if BOTH {
        registers.load::<5>(a1);
    }
}

#[inline(always)]
fn load_b<R: Registers>(registers: &mut R, b0: &Tile, b1: &Tile) {
    registers.load::<6>(b0);
    registers.load::<7>(b1);
}

#[inline(always)]
fn add_products<R: Registers, const BOTH: bool>(registers: &mut R) {
    registers.add_products::<0, 4, 6>();
    registers.add_products::<1, 4, 7>();
    if BOTH {
        registers.add_products::<2, 5, 6>();
        registers.add_products::<3, 5, 7>();
    }
}

/// Words of four bytes in 32 depths of 16 outputs.
pub const BYTE_WORDS: usize = SIDE * 8;

/// The sums of 16 rows and 16 outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct IntegerTile(pub [i32; SIDE * SIDE]);

impl IntegerTile {
    /// A tile of zeros.
    pub const ZERO: Self = Self([0; SIDE * SIDE]);
}

/// A unit that is configured for products of bytes on the current thread, until it is dropped.
pub enum ByteTiles {
    /// AMX.
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
    Amx(hardware::ByteRegisters),
    /// The emulation of AMX, for tests.
    #[cfg(not(target_family = "wasm"))]
    Emulated,
}

impl ByteTiles {
    /// Computes the products of 16 rows and 16 outputs over 32 depths: `sums[r][o] = Σ x[r][k] · w[k][o]`. The bytes of
    /// a row of x are signed and in 8 words, `stride` words behind those of the row before. Those of the weights are
    /// unsigned where [`QUAD_OFFSET`](super::QUAD_OFFSET) is not 0, as on every machine with AMX; each word has four
    /// depths of an output.
    ///
    /// # Panics
    /// If `x` ends before the last row.
    #[inline(always)]
    pub fn multiply(&mut self, x: &[f32], stride: usize, weights: &[i32; BYTE_WORDS], sums: &mut IntegerTile) {
        assert!(x.len() >= (SIDE - 1) * stride + BYTE_WORDS / SIDE);
        match self {
            // SAFETY: `x` is long enough.
            #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
            Self::Amx(registers) => unsafe { registers.multiply(x, stride, weights, sums) },
            #[cfg(not(target_family = "wasm"))]
            Self::Emulated => emulated::Emulated::multiply_bytes(x, stride, weights, sums),
            #[cfg(target_family = "wasm")]
            _ => {
                let _ = (weights, sums);
                match *self {}
            }
        }
    }
}

/// A unit for products of tiles. A value exists only where the machine has it and the system has granted its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TileUnit {
    /// AMX with bfloat16 and bytes.
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
    Amx(hardware::Amx),
    /// The emulation of AMX, for tests.
    #[cfg(not(target_family = "wasm"))]
    Emulated,
}

/// The unit in use: not determined yet, none, AMX, or the emulation.
#[cfg(not(target_family = "wasm"))]
static CURRENT: AtomicU8 = AtomicU8::new(UNKNOWN);
#[cfg(not(target_family = "wasm"))]
const UNKNOWN: u8 = 0;
#[cfg(not(target_family = "wasm"))]
const NONE: u8 = 1;
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
const AMX: u8 = 2;
#[cfg(not(target_family = "wasm"))]
const EMULATED: u8 = 3;

#[cfg(not(target_family = "wasm"))]
impl TileUnit {
    /// Returns the unit in use: the one that was [requested](Self::request), here or by the environment variable
    /// `RUVECTOR_ATTENTION_SIMD=amx`, if the machine has it; `amx-emulated` selects the emulation.
    pub fn current() -> Option<Self> {
        match CURRENT.load(Ordering::Relaxed) {
            UNKNOWN => {
                match std::env::var("RUVECTOR_ATTENTION_SIMD").as_deref() {
                    Ok("amx-emulated") => CURRENT.store(EMULATED, Ordering::Relaxed),
                    Ok("amx") if Self::request().is_ok() => {}
                    _ => CURRENT.store(NONE, Ordering::Relaxed),
                }
                Self::current()
            }
            #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
            AMX => hardware::Amx::granted().map(Self::Amx),
            EMULATED => Some(Self::Emulated),
            _ => None,
        }
    }

    /// Asks the system for AMX, for all threads of the process from now on. Products and attention then use it where it
    /// pays. The request cannot be withdrawn: the system then refuses signal stacks below `AT_MINSIGSTKSZ`, which is
    /// about 12 KB, to every thread of the process.
    ///
    /// # Errors
    /// The reason for which AMX cannot be used. Nothing changes then.
    pub fn request() -> Result<(), &'static str> {
        if CURRENT.load(Ordering::Relaxed) == EMULATED {
            return Ok(());
        }
        #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
        return hardware::Amx::request().map(|()| CURRENT.store(AMX, Ordering::Relaxed));
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(portable_only))))]
        Err("only Linux on x86-64 has AMX")
    }

    /// Returns the name that `backend().simd` reports.
    pub fn name(self) -> &'static str {
        if self == Self::Emulated { "amx-emulated" } else { "amx" }
    }

    /// Returns the number of rows from which a product pays for splitting its weight in the same call. The emulation
    /// never pays, and is for tests, which are small.
    pub fn rows_that_pay(self) -> usize {
        if self == Self::Emulated { SIDE } else { 128 }
    }

    /// Configures the unit for the current thread as long as `work` runs.
    #[inline]
    pub fn run(self, work: impl FnOnce(Configured<'_>)) {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
            Self::Amx(token) => work(Configured { unit: self, multiplier: &mut token.registers() }),
            Self::Emulated => work(Configured { unit: self, multiplier: &mut emulated::Emulated::default() }),
        }
    }

    /// Configures the unit for products of bytes on the current thread, until the result is dropped.
    pub fn byte_tiles(self) -> ByteTiles {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
            Self::Amx(token) => ByteTiles::Amx(token.byte_registers()),
            Self::Emulated => ByteTiles::Emulated,
        }
    }
}

/// WebAssembly has no such unit; code that uses one is left out of its modules.
#[cfg(target_family = "wasm")]
impl TileUnit {
    /// Returns `None`.
    pub fn current() -> Option<Self> {
        None
    }

    /// Cannot be called.
    pub fn name(self) -> &'static str {
        match self {}
    }

    /// Cannot be called.
    pub fn rows_that_pay(self) -> usize {
        match self {}
    }

    /// Cannot be called.
    pub fn run(self, _: impl FnOnce(Configured<'_>)) {
        match self {}
    }

    /// Cannot be called.
    pub fn byte_tiles(self) -> ByteTiles {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::QUAD_OFFSET;
    use super::*;

    /// C += A B in registers.
    fn add_product(registers: &mut impl Registers, c: &mut Tile, a: &Tile, b: &Tile) {
        registers.load::<0>(c);
        registers.load::<4>(a);
        registers.load::<6>(b);
        registers.add_products::<0, 4, 6>();
        registers.store::<0>(c);
    }

    fn emulate(c: &mut Tile, a: &Tile, b: &Tile) {
        add_product(&mut emulated::Emulated::default(), c, a, b);
    }

    /// Tiles of random bits with these exponents.
    fn tiles(exponents: std::ops::Range<u32>) -> impl FnMut() -> Tile {
        let mut state = 1u64;
        let mut bits = move |exponents: &std::ops::Range<u32>| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let random = (state >> 32) as u32;
            random & 0x807f | (exponents.start + random % exponents.len() as u32) << 7
        };
        move || Tile(std::array::from_fn(|_| f32::from_bits(bits(&exponents) | bits(&exponents) << 16)))
    }

    #[test]
    fn the_emulation_computes_products_of_pairs() {
        let mut tile = tiles(120..134);
        let (a, b, start) = (tile(), tile(), tile());
        let mut sums = start;
        emulate(&mut sums, &a, &b);
        let pair = |x: f32| [x.to_bits() << 16, x.to_bits() & 0xffff_0000].map(|bits| f64::from(f32::from_bits(bits)));
        for (index, &sum) in sums.0.iter().enumerate() {
            let (m, n) = (index / SIDE, index % SIDE);
            let terms = (0..SIDE).flat_map(|k| {
                let ([x0, x1], [y0, y1]) = (pair(a.0[m * SIDE + k]), pair(b.0[k * SIDE + n]));
                [x0 * y0, x1 * y1]
            });
            let (mut expected, mut size) = (f64::from(start.0[index]), f64::from(start.0[index].abs()));
            for term in terms {
                (expected, size) = (expected + term, size + term.abs());
            }
            assert!((f64::from(sum) - expected).abs() <= 4e-7 * size, "{sum} for {expected} at {m}, {n}");
        }
    }

    #[test]
    fn the_emulation_flushes_denormals() {
        // 2⁻¹²⁷ as an input, as a product, and as a sum.
        let tile = |bits: u32| Tile([f32::from_bits(bits); SIDE * SIDE]);
        let small = (127 - 64) << 7;
        for [a, b, c] in [[0x0040, 127 << 7, 0], [small, (127 - 63) << 7, 0], [0, 0, 0x0040 << 16]] {
            let mut sums = tile(c);
            emulate(&mut sums, &tile(a), &tile(b));
            assert_eq!(sums, Tile::ZERO);
        }
    }

    /// Words of random bytes, and weights, for one product of bytes with this stride.
    fn bytes(stride: usize) -> (Vec<f32>, [i32; BYTE_WORDS]) {
        let mut state = stride as u64;
        let mut word = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 32) as u32
        };
        let x = (0..SIDE * stride).map(|_| f32::from_bits(word())).collect();
        (x, std::array::from_fn(|_| word() as i32))
    }

    #[test]
    fn the_emulation_adds_up_products_of_signed_and_unsigned_bytes() {
        let stride = 11;
        let (x, weights) = bytes(stride);
        let mut sums = IntegerTile::ZERO;
        ByteTiles::Emulated.multiply(&x, stride, &weights, &mut sums);
        for (index, &sum) in sums.0.iter().enumerate() {
            let (row, output) = (index / SIDE, index % SIDE);
            let expected = (0..32).fold(0, |sum, depth| {
                let x = (x[row * stride + depth / 4].to_bits() >> (8 * (depth % 4))) as i8;
                let w = (weights[depth / 4 * SIDE + output] >> (8 * (depth % 4))) as u8;
                sum + i32::from(x) * if QUAD_OFFSET > 0 { i32::from(w) } else { i32::from(w as i8) }
            });
            assert_eq!(sum, expected, "at {row}, {output}");
        }
    }

    /// Returns the token of the machine, or prints the reason that there is none.
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
    fn machine() -> Option<hardware::Amx> {
        match TileUnit::request() {
            Ok(()) => Some(hardware::Amx::granted().expect("a token after its request")),
            Err(reason) => {
                println!("AMX not run: {reason}");
                None
            }
        }
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
    fn the_machine_multiplies_bytes_as_the_emulation_does() {
        let Some(amx) = machine() else { return };
        let mut tiles = ByteTiles::Amx(amx.byte_registers());
        for stride in 8..40 {
            let (x, weights) = bytes(stride);
            let [mut sums, mut emulated] = [IntegerTile::ZERO; 2];
            tiles.multiply(&x, stride, &weights, &mut sums);
            ByteTiles::Emulated.multiply(&x, stride, &weights, &mut emulated);
            assert_eq!(sums, emulated);
        }
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(portable_only)))]
    fn the_machine_has_the_same_bits_as_the_emulation() {
        let Some(amx) = machine() else { return };
        let mut registers = amx.registers();
        for exponents in [120..134, 100..154, 40..70, 0..130] {
            let mut tile = tiles(exponents);
            for _ in 0..100 {
                let (a, b, mut sums) = (tile(), tile(), tile());
                let mut emulated = sums;
                add_product(&mut registers, &mut sums, &a, &b);
                emulate(&mut emulated, &a, &b);
                let is_same = |x: f32, y: f32| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
                assert!(sums.0.iter().zip(emulated.0).all(|(&x, y)| is_same(x, y)));
            }
        }
    }
}

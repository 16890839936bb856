//! AMX's instructions, and the request to the system that has to come before them.
//!
//! The intrinsics are not stable, but the assembler knows the instructions, without a target feature. Compilers leave
//! the tile registers alone, so they keep their contents from one `asm!` to the next.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{BYTE_WORDS, IntegerTile, Registers, SIDE, Tile};
use crate::simd::{Avx512, Level};

/// The token of AMX with products of bfloat16 and of bytes, granted to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amx(());

static IS_GRANTED: AtomicBool = AtomicBool::new(false);

/// `arch_prctl` and its request for a state component, and the component of the tiles.
const ARCH_PRCTL: i64 = 158;
const REQUEST_PERMISSION: u64 = 0x1023;
const TILE_DATA: u64 = 18;

/// Returned by the system if a thread's signal stack is too small for the tiles.
const ENOSPC: i64 = -28;

impl Amx {
    /// Returns the token if the system has granted AMX to this process.
    pub fn granted() -> Option<Self> {
        IS_GRANTED.load(Ordering::Relaxed).then_some(Self(()))
    }

    /// Asks the system for AMX. Without a grant, the first instruction would end the process.
    pub fn request() -> Result<(), &'static str> {
        if !matches!(Level::current(), Level::Avx512(_)) {
            return Err(match Avx512::detect() {
                Some(_) => "a lower instruction set is selected",
                None => "the processor has none",
            });
        }
        if !has_tiles() {
            return Err("the processor has none");
        }
        if !saves_tiles() {
            return Err("the operating system does not save its registers");
        }
        match request_permission() {
            0 => IS_GRANTED.store(true, Ordering::Relaxed),
            ENOSPC => return Err("the signal stack of a thread is too small for it (ENOSPC)"),
            _ => return Err("the operating system refuses it"),
        }
        Ok(())
    }

    /// Configures the registers of this thread for tiles of 16 rows, until the result is dropped.
    pub fn registers(self) -> TileRegisters {
        self.configured(&WHOLE);
        TileRegisters(())
    }

    /// Configures the registers of this thread for products of bytes, until the result is dropped.
    pub fn byte_registers(self) -> ByteRegisters {
        self.configured(&BYTES);
        ByteRegisters(TileRegisters(()))
    }

    fn configured(self, configuration: &'static Configuration) {
        // SAFETY: the token exists only where the processor has the instruction and the system allows it.
        unsafe { asm!("ldtilecfg [{}]", in(reg) configuration, options(nostack, preserves_flags, readonly)) };
    }
}

/// Returns true if the processor has tiles of 16 × 64 bytes, products of bfloat16 and bytes, and names for their state.
fn has_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const PRODUCTS_AND_TILES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    let leaves = __cpuid(0).eax;
    if leaves < 0x1d || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // The first palette: bytes of a row, number of registers, number of rows.
    let palette = __cpuid_count(0x1d, 1);
    __cpuid_count(7, 0).edx & PRODUCTS_AND_TILES == PRODUCTS_AND_TILES
        && palette.ebx == 8 << 16 | 64
        && palette.ecx & 0xffff == SIDE as u32
}

/// Returns true if the system saves the tiles and their configuration; asks a processor that has tiles.
fn saves_tiles() -> bool {
    const TILES: u32 = 1 << 17 | 1 << 18;
    let enabled: u32;
    // SAFETY: `has_tiles` has found OSXSAVE, and so the instruction.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nostack, preserves_flags, nomem)) };
    enabled & TILES == TILES
}

/// Returns 0, or the negative number of an error.
fn request_permission() -> i64 {
    let result;
    // SAFETY: the call reads and writes no memory of the process.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
            out("rcx") _, out("r11") _, options(nostack));
    }
    result
}

/// The operand of `ldtilecfg`: the size of each register.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    const fn new(row_bytes: [u16; 8], rows: [u8; 8]) -> Self {
        let mut all = Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let mut register = 0;
        while register < rows.len() {
            all.row_bytes[register] = row_bytes[register];
            all.rows[register] = rows[register];
            register += 1;
        }
        all
    }
}

/// Every register is a whole tile.
static WHOLE: Configuration = Configuration::new([64; 8], [16; 8]);

/// Registers 0 to 3 are sums, 4 and 5 have 32 bytes of each of 16 rows, 6 and 7 have 32 depths of 16 outputs.
static BYTES: Configuration = Configuration::new([64, 64, 64, 64, 32, 32, 64, 64], [16, 16, 16, 16, 16, 16, 8, 8]);

/// The configured registers of this thread, which dropping releases.
pub struct TileRegisters(());

impl Drop for TileRegisters {
    fn drop(&mut self) {
        // SAFETY: only a token creates the value.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

impl Registers for TileRegisters {
    #[inline(always)]
    fn zero<const T: usize>(&mut self) {
        const { assert!(T < 8) };
        // SAFETY: the registers are configured.
        unsafe { asm!("tilezero tmm{t}", t = const T, options(nostack, preserves_flags, nomem)) };
    }

    #[inline(always)]
    fn load<const T: usize>(&mut self, tile: &Tile) {
        const { assert!(T < 8) };
        // SAFETY: the registers are configured for 16 rows of 64 bytes, which a tile has one after the other.
        unsafe {
            asm!("tileloadd tmm{t}, [{at} + {stride}*1]", t = const T, at = in(reg) tile, stride = in(reg) 64usize,
                options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    fn store<const T: usize>(&self, tile: &mut Tile) {
        const { assert!(T < 8) };
        // SAFETY: as for `load`.
        unsafe {
            asm!("tilestored [{at} + {stride}*1], tmm{t}", t = const T, at = in(reg) tile, stride = in(reg) 64usize,
                options(nostack, preserves_flags));
        }
    }

    #[inline(always)]
    fn add_products<const C: usize, const A: usize, const B: usize>(&mut self) {
        const { assert!(C < 8 && A < 8 && B < 8 && C != A && C != B && A != B) };
        // SAFETY: the registers are configured, each for 16 rows of 64 bytes. Nothing else changes.
        unsafe {
            asm!("tdpbf16ps tmm{c}, tmm{a}, tmm{b}", c = const C, a = const A, b = const B,
                options(nostack, preserves_flags, nomem));
        }
    }
}

/// The registers of this thread, configured for products of bytes, until it is dropped.
pub struct ByteRegisters(#[allow(dead_code, reason = "dropping it releases the registers")] TileRegisters);

impl ByteRegisters {
    /// Computes [`super::ByteTiles::multiply`].
    ///
    /// # Safety
    /// `x` must have 8 words for each of 16 rows, `stride` words apart.
    #[inline(always)]
    pub unsafe fn multiply(&mut self, x: &[f32], stride: usize, weights: &[i32; BYTE_WORDS], sums: &mut IntegerTile) {
        // SAFETY: the registers are configured for these sizes, and the caller guarantees those of `x`.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tileloadd tmm4, [{x} + {x_stride}*1]",
                "tileloadd tmm6, [{weights} + {stride}*1]",
                "tdpbsud tmm0, tmm4, tmm6",
                "tilestored [{sums} + {stride}*1], tmm0",
                x = in(reg) x.as_ptr(), x_stride = in(reg) stride * size_of::<f32>(), weights = in(reg) weights,
                sums = in(reg) sums, stride = in(reg) 64usize, options(nostack, preserves_flags)
            );
        }
    }
}

//! Sizes of tiles and blocks, all in one place: what a kernel works on at a time, and why so much.
//!
//! Shapes alone decide what a block is, never the number of threads, so that results have the same bits on any machine of a
//! level. The register tile, `ROWS × VECTORS`, is part of each level in [`simd`](crate::simd).

/// Values of a cache line. Tiles start on one, or half of their loads would straddle two.
pub const CACHE_LINE: usize = 16;

/// The most rows that any level holds side by side in its lanes: two vectors of sixteen.
pub const MAX_TILE_LANES: usize = 32;

/// Tiles of rows in one work item: they share a tile of keys or weights while it is in the cache.
pub const BLOCK_TILES: usize = 4;

/// Keys of one tile by default: with a head size of 64 they fill half of the first-level cache.
pub const KEY_BLOCK: usize = 64;

/// The most keys of a tile, whatever the options request.
pub const MAX_KEY_BLOCK: usize = 1 << 12;

/// Keys of one part where few rows see many keys.
pub const PART_KEYS: usize = 4096;

/// Rows of attention that run faster along their length than in the lanes of a tile, most of which they leave empty.
pub const FEW_ROWS: usize = 8;

/// Keys that decoding reads at a time: so few that the work on one block hides the wait for the next.
pub const DECODE_KEYS: usize = 16;

/// Positions that rotary embedding turns in one work item.
pub const ROTARY_ROWS: usize = 32;

/// Values of a tile of x in a projection: half of the first-level cache.
pub const PROJECTION_TILE: usize = 4096;

/// The most output features of one work item of a projection: a tile of x is gathered once for all of them.
pub const PROJECTION_COLUMNS: usize = 512;

/// The fewest, where several threads would be left without work.
pub const SMALL_PROJECTION_COLUMNS: usize = 128;

/// Rows of a projection that run faster along their length than in lanes that they do not fill.
pub const FEW_PROJECTION_ROWS: usize = 6;

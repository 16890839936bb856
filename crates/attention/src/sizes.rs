//! Sizes of tiles and blocks: how much a kernel works on at a time, and why.
//!
//! Blocks depend on shapes alone, never on the number of threads, so results have the same bits on every machine with
//! the same instruction set. The register tile, `ROWS × VECTORS`, belongs to each level in [`simd`](crate::simd).

/// Values in a cache line. Tiles are aligned to cache lines; otherwise half of their loads would cross from one to the
/// next.
pub const CACHE_LINE: usize = 16;

/// The maximum number of rows that any level holds side by side in its lanes: two vectors of sixteen.
pub const MAX_TILE_LANES: usize = 32;

/// Tiles of rows in one work item. They share a tile of keys or weights while it is in the cache.
pub const BLOCK_TILES: usize = 4;

/// The default number of keys in a tile. With a head size of 64 they fill half of the L1 cache.
pub const KEY_BLOCK: usize = 64;

/// The maximum number of keys in a tile, whatever the options request.
pub const MAX_KEY_BLOCK: usize = 1 << 12;

/// The number of keys in one part, if a few rows see many keys.
pub const PART_KEYS: usize = 4096;

/// The maximum number of attention rows that run faster along their length than in the lanes of a mostly empty tile.
pub const FEW_ROWS: usize = 8;

/// The number of keys that decoding reads at a time: enough for their softmax to cost little, and few enough for a
/// block of keys and one of values to stay in the cache.
pub const DECODE_KEYS: usize = 64;

/// The number of positions that rotary embedding rotates in one work item.
pub const ROTARY_ROWS: usize = 32;

/// The number of values in a tile of x in a projection: half of the L1 cache.
pub const PROJECTION_TILE: usize = 4096;

/// The maximum number of output features in one work item of a projection, which gathers each tile of x only once.
pub const PROJECTION_COLUMNS: usize = 512;

/// The reduced maximum if some threads would otherwise have no work.
pub const SMALL_PROJECTION_COLUMNS: usize = 128;

/// The maximum number of projection rows that run faster along their length than in partly filled lanes.
pub const FEW_PROJECTION_ROWS: usize = 6;

/// Values of a row that share a scale.
pub const GROUP: usize = 32;

/// The maximum number of elements in one parameter of a layer.
pub const MOST_ELEMENTS: usize = i32::MAX as usize;

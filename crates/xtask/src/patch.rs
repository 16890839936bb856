//! Patches between two builds of a module, so that a package holds one module and the few bytes that differ.
//!
//! A patch is a list of runs. Each run first inserts bytes from the patch, then copies bytes from the base. Numbers are
//! LEB128, as in WebAssembly:
//!
//! 1. `MAGIC`
//! 2. the length of the base, the length of the result, and the checksum of the result (four bytes, little-endian)
//! 3. the number of runs
//! 4. the number of bytes that each run inserts
//! 5. the shift of each copy: its start in the base, less the end of the previous copy and the bytes inserted since,
//!    as a zigzag number
//! 6. the number of bytes that each run copies
//! 7. all inserted bytes
//!
//! Numbers of one kind are adjacent because they compress better that way. `lib/loaders/patch.js` applies patches.

use std::cell::LazyCell;
use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

const MAGIC: [u8; 4] = *b"\0rap";
/// The number of bytes by which copies are found anywhere in the base.
const WINDOW: usize = 8;
/// Occurrences of a window that are compared: those closest to the expected position.
const CANDIDATES: usize = 32;
/// Shifts within this distance are tried for copies that are shorter than a window.
const NEIGHBORHOOD: usize = 24;
/// The length from which a copy without a shift is taken without comparing others.
const LONG_COPY: usize = 64;
/// The minimum length of a copy.
const MIN_COPY: usize = 4;

/// One run of a patch.
struct Run {
    inserted: usize,
    shift: i64,
    copied: usize,
}

/// Creates the patch that turns `base` into `result`, and verifies it.
pub fn create(base: &[u8], result: &[u8]) -> Result<Vec<u8>> {
    let patch = encode(base, result);
    ensure!(apply(base, &patch)? == result, "the patch does not reproduce the module");
    Ok(patch)
}

fn encode(base: &[u8], result: &[u8]) -> Vec<u8> {
    let mut runs = Vec::new();
    let mut literals = Vec::new();
    // Equal modules, as in development builds, need no search.
    let windows = LazyCell::new(|| windows(base));
    // The end of the previous copy in the base, and the start of the bytes to insert.
    let (mut source, mut start, mut position) = (0, 0, 0);
    while position < result.len() {
        let expected = source + (position - start);
        let straight = common(base, result, expected, position);
        let found = if straight >= LONG_COPY {
            Some((expected, straight))
        } else {
            best_copy(base, result, &windows, expected, position)
        };
        match found {
            None => position += 1,
            Some((from, copied)) => {
                literals.extend_from_slice(&result[start..position]);
                runs.push(Run { inserted: position - start, shift: from as i64 - expected as i64, copied });
                (source, position) = (from + copied, position + copied);
                start = position;
            }
        }
    }
    literals.extend_from_slice(&result[start..]);
    runs.push(Run { inserted: result.len() - start, shift: 0, copied: 0 });

    let mut patch = MAGIC.to_vec();
    write_number(&mut patch, base.len() as u64);
    write_number(&mut patch, result.len() as u64);
    patch.extend_from_slice(&checksum(result).to_le_bytes());
    write_number(&mut patch, runs.len() as u64);
    runs.iter().for_each(|run| write_number(&mut patch, run.inserted as u64));
    runs.iter().for_each(|run| write_number(&mut patch, ((run.shift << 1) ^ (run.shift >> 63)) as u64));
    runs.iter().for_each(|run| write_number(&mut patch, run.copied as u64));
    patch.extend_from_slice(&literals);
    patch
}

/// Returns the positions of every window of the base, in ascending order.
fn windows(base: &[u8]) -> HashMap<&[u8], Vec<usize>> {
    let mut positions: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (position, window) in base.windows(WINDOW).enumerate() {
        positions.entry(window).or_default().push(position);
    }
    positions
}

/// Finds the copy that saves most bytes at `position`: its start in the base and its length.
fn best_copy(
    base: &[u8],
    result: &[u8],
    windows: &HashMap<&[u8], Vec<usize>>,
    expected: usize,
    position: usize,
) -> Option<(usize, usize)> {
    let anywhere = result.get(position..position + WINDOW).and_then(|window| windows.get(window));
    let anywhere = anywhere.map_or(&[][..], |positions| {
        let middle = positions.partition_point(|&start| start < expected);
        &positions[middle.saturating_sub(CANDIDATES / 2)..positions.len().min(middle + CANDIDATES / 2)]
    });
    let nearby = expected.saturating_sub(NEIGHBORHOOD)..=expected + NEIGHBORHOOD;
    nearby
        .chain(anywhere.iter().copied())
        .filter_map(|start| {
            let length = common(base, result, start, position);
            let saved = length as i64 - cost(start.abs_diff(expected));
            (length >= MIN_COPY && saved > 0).then_some((saved, start, length))
        })
        .max_by_key(|&(saved, start, _)| (saved, std::cmp::Reverse(start)))
        .map(|(_, start, length)| (start, length))
}

/// The number of equal bytes from these positions on.
fn common(base: &[u8], result: &[u8], start: usize, position: usize) -> usize {
    let base = base.get(start..).unwrap_or_default();
    base.iter().zip(&result[position..]).take_while(|(a, b)| a == b).count()
}

/// The approximate size of a run in bytes.
fn cost(shift: usize) -> i64 {
    2 + match shift {
        0 => 0,
        1..64 => 1,
        64..8192 => 2,
        _ => 3,
    }
}

/// Applies a patch as `lib/loaders/patch.js` does.
fn apply(base: &[u8], patch: &[u8]) -> Result<Vec<u8>> {
    let mut rest = patch.strip_prefix(&MAGIC).context("no patch")?;
    ensure!(read_number(&mut rest)? == base.len() as u64, "the patch is for another module");
    let length = read_number(&mut rest)?;
    let (sum, mut rest) = rest.split_first_chunk().context("the patch is cut short")?;
    let runs = read_number(&mut rest)? as usize;
    let mut column = || (0..runs).map(|_| read_number(&mut rest)).collect::<Result<Vec<_>>>();
    let (inserted, shifts, copied) = (column()?, column()?, column()?);
    let mut result = Vec::new();
    let mut source = 0;
    for ((inserted, shift), copied) in inserted.into_iter().zip(shifts).zip(copied) {
        let (literals, after) = rest.split_at_checked(inserted as usize).context("the patch is cut short")?;
        result.extend_from_slice(literals);
        rest = after;
        source += inserted as i64 + ((shift >> 1) as i64 ^ -((shift & 1) as i64));
        // The last run copies nothing, from beyond the base if it inserts many bytes.
        let rest_of_base = base.get(usize::try_from(source)?..).unwrap_or_default();
        result.extend_from_slice(rest_of_base.get(..copied as usize).context("a copy is outside the module")?);
        source += copied as i64;
    }
    ensure!(result.len() as u64 == length && checksum(&result).to_le_bytes() == *sum, "the patch is damaged");
    Ok(result)
}

/// Hashes bytes as little-endian words, the last one filled with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.chunks(4).fold(0_u32, |sum, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum.rotate_left(5) ^ u32::from_le_bytes(word)).wrapping_mul(0x9E37_79B1)
    })
}

/// Appends a number in LEB128.
pub fn write_number(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

/// Reads a number in LEB128, which patches share with WebAssembly.
pub fn read_number(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first().context("the bytes end in a number")?;
        *rest = after;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    anyhow::bail!("a number is too long")
}

#[cfg(test)]
mod tests {
    use super::{apply, create};

    fn noise(seed: u32, length: usize) -> Vec<u8> {
        let mut state = seed;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    #[test]
    fn a_patch_reproduces_any_module() {
        let base = noise(1, 5000);
        let edited: Vec<u8> = [&base[100..2000], b"inserted", &base[1500..4000], &noise(2, 300)].concat();
        for result in [&base[..], &edited, &[], &noise(3, 777), &base[..1]] {
            assert!(create(&base, result).is_ok());
            assert!(create(&[], result).is_ok());
        }
    }

    #[test]
    fn a_patch_costs_few_bytes_per_difference() {
        let base = noise(1, 20_000);
        let mut result = base.clone();
        for position in (500..20_000).step_by(1000) {
            result[position] ^= 1;
        }
        let patch = create(&base, &result).unwrap();
        assert!(patch.len() < 160, "{} bytes for 20 differences", patch.len());
    }

    #[test]
    fn a_patch_that_is_cut_short_or_for_another_module_is_rejected() {
        let base = noise(1, 3000);
        let result = [&base[..1000], b"inserted", &base[1000..]].concat();
        let patch = create(&base, &result).unwrap();
        for length in 0..patch.len() {
            assert!(apply(&base, &patch[..length]).is_err(), "{length} bytes");
        }
        let other = noise(2, 3000);
        assert!(apply(&other, &patch).is_err());
        assert!(apply(&base[1..], &patch).is_err());
    }
}

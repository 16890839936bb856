//! Turns panics into traps, which need no messages, source locations and arguments of calls. A panic is a fault of this
//! package, and the backend recovers from a trap in the same way. Development builds keep the messages.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Result, ensure};

use crate::module::{
    HEADER, bytes, custom_name, function_names, functions, imported_functions, number, sections, take,
};
use crate::patch::write_number;

/// Functions of the standard library that do nothing but panic, or the beginnings of their names.
const PANICS: [&str; 11] = [
    "core::panicking::",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "core::result::unwrap_failed",
    "core::slice::index::slice_index_fail",
    "core::slice::copy_from_slice_impl::len_mismatch_fail",
    "core::str::slice_error_fail",
    "core::cell::panic_already_",
    "std::thread::local::panic_access_error",
    "alloc::raw_vec::handle_error",
    "alloc::raw_vec::capacity_overflow",
];

/// The function that every formatted panic calls.
const PANIC: &str = "core::panicking::panic_fmt";

/// A body without local variables whose only instruction is `unreachable`.
const TRAP: [u8; 3] = [0, 0x00, 0x0B];

/// Returns the module with traps for panics, and with zeros for the source locations that their messages contained.
/// wasm-opt then removes the calls, their arguments and the zeros.
pub fn without_panics(module: &[u8]) -> Result<Vec<u8>> {
    let (mut imports, mut names) = (0, Vec::new());
    for section in sections(module)? {
        match section.id {
            0 if custom_name(section.contents)? == b"name" => names = function_names(section.contents)?,
            2 => imports = imported_functions(section.contents)?,
            _ => {}
        }
    }
    let panics: BTreeSet<usize> =
        names.iter().filter(|(_, name)| is_panic(name)).filter_map(|&(index, _)| index.checked_sub(imports)).collect();
    let has_panic = names.iter().any(|(_, name)| plain(name).starts_with(PANIC));
    ensure!(has_panic, "the module has no function {PANIC}: the names of the standard library have changed");
    let mut result = module[..HEADER].to_vec();
    for section in sections(module)? {
        let contents = match section.id {
            10 => with_traps(section.contents, &panics)?,
            11 => without_locations(section.contents)?,
            _ => section.contents.to_vec(),
        };
        result.push(section.id);
        push_bytes(&mut result, &contents);
    }
    Ok(result)
}

fn is_panic(name: &str) -> bool {
    let name = plain(name);
    PANICS.iter().any(|start| name.starts_with(start))
}

/// Returns a function's name without the hash of its crate: `core::fmt::write` for
/// `core[0123456789abcdef]::fmt::write`.
fn plain(name: &str) -> String {
    match (name.split_once('['), name.split_once("]::")) {
        (Some((library, _)), Some((_, path))) if library.chars().all(char::is_alphanumeric) => {
            format!("{library}::{path}")
        }
        _ => name.to_owned(),
    }
}

fn push_bytes(output: &mut Vec<u8>, bytes: &[u8]) {
    write_number(output, bytes.len() as u64);
    output.extend_from_slice(bytes);
}

/// Returns the section of code with traps as the bodies of these functions.
fn with_traps(contents: &[u8], panics: &BTreeSet<usize>) -> Result<Vec<u8>> {
    let functions = functions(contents)?;
    let mut result = Vec::new();
    write_number(&mut result, functions.len() as u64);
    for (index, function) in functions.iter().enumerate() {
        push_bytes(&mut result, if panics.contains(&index) { &TRAP } else { function.body });
    }
    Ok(result)
}

/// Returns the section of data with zeros for every source location and for the names of its file. A location is the
/// address and length of a file's name, a line and a column.
fn without_locations(contents: &[u8]) -> Result<Vec<u8>> {
    const LOCATION: usize = 16;
    let segments = segments(contents)?;
    let mut result = contents.to_vec();
    for segment in &segments {
        // Locations are aligned in memory.
        let first = segment.bytes.start + segment.address.wrapping_neg() % 4;
        for start in (first..).step_by(4).take_while(|start| start + LOCATION <= segment.bytes.end) {
            let [address, length, line, column] = [0, 4, 8, 12].map(|field| word(contents, start + field));
            let is_position = (1..100_000).contains(&line) && (1..1000).contains(&column);
            let file = segments.iter().find_map(|segment| segment.find(address, length)).filter(|_| is_position);
            if let Some(file) = file.filter(|file| contents[file.clone()].ends_with(b".rs")) {
                result[start..start + LOCATION].fill(0);
                result[file].fill(0);
            }
        }
    }
    Ok(result)
}

/// Bytes that are copied to memory when the module starts.
struct Segment {
    /// Their address in memory.
    address: usize,
    /// Their position in the section.
    bytes: Range<usize>,
}

impl Segment {
    /// Returns the position of `length` bytes at an address in memory.
    fn find(&self, address: usize, length: usize) -> Option<Range<usize>> {
        let start = address.checked_sub(self.address)? + self.bytes.start;
        Some(start..start.checked_add(length)?).filter(|range| range.end <= self.bytes.end)
    }
}

fn segments(contents: &[u8]) -> Result<Vec<Segment>> {
    let mut rest = contents;
    (0..number(&mut rest)?)
        .map(|_| {
            ensure!(take(&mut rest, 2)? == [0, 0x41], "a segment of data has no constant address");
            let address = number(&mut rest)?;
            ensure!(take(&mut rest, 1)? == [0x0B], "the address of a segment is not one constant");
            let length = bytes(&mut rest)?.len();
            let end = contents.len() - rest.len();
            Ok(Segment { address, bytes: end - length..end })
        })
        .collect()
}

fn word(contents: &[u8], start: usize) -> usize {
    let bytes = contents[start..start + 4].first_chunk().copied().unwrap_or_default();
    u32::from_le_bytes(bytes) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::tests::module;

    #[test]
    fn names_with_and_without_hashes_of_crates_are_recognized() {
        assert!(is_panic("core[c5930c85a12de822]::panicking::panic_fmt"));
        assert!(is_panic("core::panicking::panic_bounds_check::h0123456789abcdef"));
        assert!(is_panic("alloc[3ca501edff3f0c7c]::raw_vec::handle_error"));
        assert!(!is_panic("std[a543996e6e7dbf1e]::panicking::panic_count::is_zero_slow_path"));
        assert!(!is_panic("<[f32] as core[c5930c85a12de822]::panicking::Trait>::run"));
        assert!(!is_panic("core[c5930c85a12de822]::fmt::write"));
    }

    #[test]
    fn only_panics_become_traps() {
        let module = module(&[(1, "a"), (2, "core[0]::panicking::panic_fmt")]);
        let result = without_panics(&module).unwrap();
        let code = sections(&result).unwrap().into_iter().find(|section| section.id == 10).unwrap();
        assert_eq!(code.contents, [2, 2, 0, 0x0B, 3, 0, 0, 0x0B]);
        assert_eq!(result.len(), module.len());
    }

    #[test]
    fn a_module_without_the_known_names_is_rejected() {
        assert!(without_panics(&module(&[(1, "a")])).is_err());
    }

    #[test]
    fn locations_and_names_of_files_are_cleared_and_nothing_else() {
        let location = |line: u32| [1024u32, 5, line, 9].map(u32::to_le_bytes).concat();
        // At the addresses 1024, 1032, 1048 and 1064: a name, a location, a location with line 0, and a text.
        let data = [&b"it.rs..."[..], &location(7), &location(0), b"text"].concat();
        let contents = [&[1, 0, 0x41, 0x80, 0x08, 0x0B, data.len() as u8][..], &data].concat();
        let cleared = [&[0; 5][..], b"...", &[0; 16], &location(0), b"text"].concat();
        assert_eq!(without_locations(&contents).unwrap()[7..], cleared);
        assert_eq!(segments(&contents).unwrap()[0].find(1064, 4), Some(47..51));
        assert_eq!(segments(&contents).unwrap()[0].find(1064, 5), None);
    }
}

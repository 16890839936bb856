//! The sizes of a module by room: the folders of the kernels, the calls, the binding, libraries, and data.

use anyhow::{Result, ensure};

use crate::module::{HEADER, Section, custom_name, function_names, functions, imported_functions, sections};

/// A part of a module.
struct Room {
    name: &'static str,
    /// The room of a function is the one whose path occurs first in the function's name.
    paths: &'static [&'static str],
    /// The maximum number of bytes in each module, in the order of `wasm::MODULES`. An inlined function counts where it
    /// is inlined.
    limits: [usize; 3],
}

/// Rooms of functions; [`LIBRARIES`] and [`DATA`] have the rest.
const ROOMS: [Room; 10] = [
    Room { name: "attention", paths: &["ruvector_attention::attention::"], limits: [61_000, 61_000, 63_000] },
    Room { name: "layers", paths: &["ruvector_attention::layers::"], limits: [59_000, 59_000, 59_000] },
    Room { name: "linear", paths: &["ruvector_attention::linear::"], limits: [34_000, 0, 35_000] },
    Room { name: "hyperbolic", paths: &["ruvector_attention::hyperbolic::"], limits: [9_000, 0, 18_000] },
    Room { name: "graph", paths: &["ruvector_attention::graph::"], limits: [19_000, 0, 22_000] },
    Room { name: "training", paths: &["ruvector_attention::training::"], limits: [0, 0, 33_000] },
    Room {
        name: "convolution, mathematics",
        paths: &["ruvector_attention::convolution::", "ruvector_attention::math::", "ruvector_attention::simd::"],
        limits: [37_500, 37_500, 42_000],
    },
    Room { name: "other kernel code", paths: &["ruvector_attention::"], limits: [68_000, 63_000, 124_000] },
    Room { name: "calls", paths: &["ruvector_attention_calls::"], limits: [161_000, 110_000, 205_000] },
    Room {
        name: "binding",
        paths: &["ruvector_attention_wasm::", " shim", "wasm_bindgen::", "js_sys::", "talc::", "__wbg", "__wbindgen"],
        limits: [28_000, 28_000, 34_000],
    },
];
const LIBRARIES: &str = "standard library";
const DATA: &str = "data, tables and types";
/// Limits of these two.
const REST: [[usize; 3]; 2] = [[29_000, 24_000, 36_000], [37_000, 27_000, 42_000]];

/// The number of bytes in each room, in the order of the table.
pub type Sizes = [usize; ROOMS.len() + 2];

/// Measures a module that has a name section.
pub fn measure(module: &[u8]) -> Result<Sizes> {
    let mut sizes = [0; ROOMS.len() + 2];
    let [libraries, data] = [ROOMS.len(), ROOMS.len() + 1];
    let (mut imports, mut bodies, mut names) = (0, Vec::new(), Vec::new());
    for Section { id, contents, length } in sections(module)? {
        match id {
            0 if custom_name(contents)? == b"name" => names = function_names(contents)?,
            2 => imports = imported_functions(contents)?,
            10 => bodies = functions(contents)?,
            _ => sizes[data] += length,
        }
    }
    ensure!(!names.is_empty(), "the module has no names of functions");
    for (index, function) in bodies.into_iter().enumerate() {
        let name = names.iter().find(|(number, _)| *number == imports + index).map_or("", |(_, name)| name);
        sizes[room_of(name).unwrap_or(libraries)] += function.length;
    }
    Ok(sizes)
}

fn room_of(name: &str) -> Option<usize> {
    let found = |room: &Room| room.paths.iter().filter_map(|path| name.find(path)).min();
    // Among rooms at the same position the first one wins, whose path is longer.
    (0..ROOMS.len()).filter_map(|room| Some((found(&ROOMS[room])?, room))).min().map(|(_, room)| room)
}

/// Returns the module without its name section.
pub fn without_names(module: &[u8]) -> Result<Vec<u8>> {
    let mut stripped = module[..HEADER].to_vec();
    let mut start = HEADER;
    for Section { id, contents, length } in sections(module)? {
        if id != 0 || custom_name(contents)? != b"name" {
            stripped.extend_from_slice(&module[start..start + length]);
        }
        start += length;
    }
    Ok(stripped)
}

/// Formats the sizes of all modules as a table.
pub fn table(columns: &[(&str, Sizes)]) -> String {
    let mut text = format!("{:26}", "bytes by room");
    columns.iter().for_each(|(name, _)| text += &format!("{name:>18}"));
    for room in 0..ROOMS.len() + 2 {
        text += &format!("\n{:26}", name_of(room));
        columns.iter().for_each(|(_, sizes)| text += &format!("{:>18}", sizes[room]));
    }
    text + "\n"
}

fn name_of(room: usize) -> &'static str {
    ROOMS.get(room).map_or(if room == ROOMS.len() { LIBRARIES } else { DATA }, |room| room.name)
}

/// Lists the rooms of a module that exceed their limits. `module` is its number in `wasm::MODULES`.
pub fn excesses(name: &str, module: usize, sizes: &Sizes) -> Vec<String> {
    (0..sizes.len())
        .filter_map(|room| {
            let limit = ROOMS.get(room).map_or_else(|| REST[room - ROOMS.len()], |room| room.limits)[module];
            let (size, room) = (sizes[room], name_of(room));
            (size > limit).then(|| format!("{name}: `{room}` has {size} bytes, which is more than {limit}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{DATA, LIBRARIES, ROOMS, measure, name_of, room_of, table, without_names};
    use crate::module::tests::module;

    #[test]
    fn functions_are_counted_in_the_rooms_of_their_names() {
        let sizes = measure(&module(&[(1, "ruvector_attention::layers::run"), (2, "core::fmt::write")])).unwrap();
        let nonzero: Vec<_> = (0..sizes.len()).filter(|&room| sizes[room] > 0).map(name_of).collect();
        assert_eq!(nonzero, ["layers", LIBRARIES, DATA]);
        assert_eq!([sizes[1], sizes[ROOMS.len()]], [3, 4]);
        assert!(table(&[("one", sizes)]).contains("layers"));
    }

    #[test]
    fn a_function_belongs_to_the_first_path_in_its_name() {
        let room = |name| room_of(name).map(name_of);
        assert_eq!(room("<ruvector_attention::graph::A as ruvector_attention::simd::Kernel>::run"), Some("graph"));
        assert_eq!(
            room("ruvector_attention::context::rows::<impl ruvector_attention::linear::A>"),
            Some("other kernel code")
        );
        assert_eq!(room("ruvector_attention_calls::operations::linear::create"), Some("calls"));
        assert_eq!(room("call multivalue shim"), Some("binding"));
        assert_eq!(room("core::fmt::write"), None);
    }

    #[test]
    fn names_are_removed_and_nothing_else() {
        let named = module(&[(1, "a")]);
        let stripped = without_names(&named).unwrap();
        assert_eq!(named[..stripped.len()], stripped);
        assert!(measure(&stripped).is_err());
        assert_eq!(without_names(&stripped).unwrap(), stripped);
    }
}

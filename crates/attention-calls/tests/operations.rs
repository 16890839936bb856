//! Checks that `lib/runtime/operations.js` matches the table of operations, or writes it if `UPDATE_OPERATIONS` is set.

#![allow(missing_docs, reason = "test names are sentences")]

use std::fmt::Write;
use std::{env, fs};

use ruvector_attention_calls::{BYTES, Element, FLOATS, HEADER, INTEGERS, OPERATIONS, RESULTS};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../lib/runtime/operations.js");
const ELEMENTS: [Element; 6] = [Element::F32, Element::F64, Element::U16, Element::I8, Element::U8, Element::I32];

fn module() -> String {
    let mut text = String::from(
        "// Generated from the table of operations in crates/attention-calls by\n\
         // `UPDATE_OPERATIONS=1 cargo test -p ruvector-attention-calls --test operations`.\n\n\
         /** Each operation by its name: its number, and how many inputs it has. */\n\
         export const OPERATIONS = {\n",
    );
    for (number, operation) in OPERATIONS.iter().enumerate() {
        let comma = if number + 1 < OPERATIONS.len() { "," } else { "" };
        let inputs: Vec<&str> = operation.inputs.iter().map(|input| input.name).collect();
        writeln!(text, "  // ({}) => ({})", inputs.join(", "), operation.results.join(", ")).unwrap();
        writeln!(text, "  {}: {{ number: {number}, inputs: {} }}{comma}", operation.name, inputs.len()).unwrap();
    }
    text.push_str("}\n\n/** @typedef {keyof typeof OPERATIONS} Operation */\n\n");
    text.push_str("/** Element types under their numbers in headers. */\nexport const ELEMENTS = Object.freeze({\n");
    for (index, element) in ELEMENTS.iter().enumerate() {
        let comma = if index + 1 < ELEMENTS.len() { "," } else { "" };
        writeln!(text, "  {}: {}{comma}", element.array_name(), element.number()).unwrap();
    }
    text.push_str("})\n\n/** The sizes of the areas of a call's memory, in elements. */\n");
    let sizes =
        [("HEADER", HEADER), ("RESULTS", RESULTS), ("FLOATS", FLOATS), ("INTEGERS", INTEGERS), ("BYTES", BYTES)];
    for (name, size) in sizes {
        writeln!(text, "export const {name} = {size}").unwrap();
    }
    text
}

#[test]
fn lib_knows_every_operation_of_the_table() {
    let expected = module();
    if env::var_os("UPDATE_OPERATIONS").is_some() {
        fs::write(PATH, &expected).unwrap();
    }
    let found = fs::read_to_string(PATH).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == expected, "run `UPDATE_OPERATIONS=1 cargo test -p ruvector-attention-calls --test operations`");
}

//! Checks that the modules of lib/ generated from tables of the crates match these, or writes them if
//! `UPDATE_OPERATIONS` is set.

#![allow(missing_docs, reason = "test names are sentences")]

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use ruvector_attention::graph::parameters::{Row, Table};
use ruvector_attention_calls::{BYTES, Element, FLOATS, HEADER, INTEGERS, OPERATIONS, RESULTS};

const COMMAND: &str = "UPDATE_OPERATIONS=1 cargo test -p ruvector-attention-calls --test operations";
const ELEMENTS: [Element; 6] = [Element::F32, Element::F64, Element::U16, Element::I8, Element::U8, Element::I32];

/// Layers and their types in PyTorch Geometric, in the order of the tables.
const GRAPH_LAYERS: [[&str; 2]; 6] = [
    ["GraphConvolution", "GCNConv"],
    ["GraphSage", "SAGEConv"],
    ["GraphAttention", "GATConv"],
    ["GraphAttention", "GATConv"],
    ["GraphAttention", "GATv2Conv"],
    ["GraphTransformer", "TransformerConv"],
];

fn operations() -> String {
    let mut text =
        format!("// Generated from the table of operations in crates/attention-calls by\n// `{COMMAND}`.\n\n");
    text.push_str("/** Each operation by its name: its number, and how many inputs it has. */\n");
    text.push_str("export const OPERATIONS = {\n");
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

fn graph_parameters() -> String {
    let mut text =
        format!("// Generated from the tables of crates/attention/src/graph/parameters.rs by\n// `{COMMAND}`.\n\n");
    text.push_str(
        "/**\n * A parameter: its name in PyTorch Geometric, the layers that have it, and its dimensions.\n *\n",
    );
    text.push_str(" * @typedef {{ name: string, when: string, shape: string }} Row\n */\n\n");
    text.push_str("/** @type {readonly { layer: string, type: string, rows: readonly Row[] }[]} */\n");
    text.push_str("export const GRAPH_PARAMETERS = [\n");
    let tables: Vec<String> = GRAPH_LAYERS.iter().zip(Table::all()).map(graph_layer).collect();
    writeln!(text, "{}\n]", tables.join(",\n")).unwrap();
    text
}

fn graph_layer(([layer, kind], table): (&[&str; 2], &Table)) -> String {
    let row = |row: &Row| {
        let when = format!("{:?}", row.when).to_lowercase();
        format!("      {{ name: '{}', when: '{when}', shape: '{}' }}", row.name, row.shape())
    };
    let rows: Vec<String> = table.rows().iter().map(row).collect();
    format!("  {{\n    layer: '{layer}',\n    type: '{kind}',\n    rows: [\n{}\n    ]\n  }}", rows.join(",\n"))
}

/// Compares a module with its text, after writing it if that is wanted.
fn check(module: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lib").join(module);
    if env::var_os("UPDATE_OPERATIONS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == expected, "run `{COMMAND}`");
}

#[test]
fn lib_knows_every_operation_of_the_table() {
    check("runtime/operations.js", &operations());
}

#[test]
fn lib_knows_every_parameter_of_graph_layers() {
    check("names/graph-parameters.js", &graph_parameters());
}

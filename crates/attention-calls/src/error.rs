//! Errors in the form that the bindings throw.

use ruvector_attention::Error;

use crate::json::push_string;

/// Converts an error into the JSON text that the bindings throw and `lib/checks/errors.js` reads.
pub fn to_json(error: &Error) -> String {
    let mut json = String::new();
    let mut separator = '{';
    for (name, text) in [
        ("code", error.code.name()),
        ("argument", &error.argument),
        ("expected", &error.expected),
        ("actual", &error.actual),
    ] {
        json.push(separator);
        push_string(&mut json, name);
        json.push(':');
        push_string(&mut json, text);
        separator = ',';
    }
    json.push('}');
    json
}

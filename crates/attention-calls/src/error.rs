//! Errors in the form that the bindings throw.

use ruvector_attention::Error;

use crate::json::push_string;
use crate::options::UNKNOWN_NAME;

/// Options and arguments of several words, as Rust names them in errors.
const NAMES: [&str; 23] = [
    "average_weights",
    "block_size",
    "edge_attr",
    "edge_features",
    "edge_weight",
    "feature_dim",
    "feature_map",
    "feed_forward_dim",
    "head_dim",
    "in_features",
    "k_dim",
    "kv_heads",
    "kv_lengths",
    "log_sum_exp",
    "model_dim",
    "negative_slope",
    "num_heads",
    "out_features",
    "query_offset",
    "top_weights",
    "use_bias",
    "v_dim",
    "value_dim",
];

/// Returns the error with options and arguments named as in the public interface. A name that the caller made up stays.
pub(crate) fn public(error: Error) -> Error {
    if error.actual == UNKNOWN_NAME { error } else { error.rewritten(public_names) }
}

/// Replaces Rust's names of options and arguments by those of the public interface: `num_heads` by `numHeads`.
fn public_names(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_name = |&byte: &u8| byte == b'_' || byte.is_ascii_alphanumeric();
        let len = rest.bytes().take_while(is_name).count();
        let (name, others) = rest.split_at_checked(len).unwrap_or((rest, ""));
        let mut after_underscore = false;
        let is_known = NAMES.contains(&name);
        for letter in name.chars() {
            match letter {
                '_' if is_known => after_underscore = true,
                _ => result.push(if std::mem::take(&mut after_underscore) {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }),
            }
        }
        let mut letters = others.chars();
        result.extend(letters.next());
        rest = letters.as_str();
    }
    result
}

/// Converts an error into the JSON text that the bindings throw and `lib/checks/errors.js` reads.
pub fn to_json(error: &Error) -> String {
    let error = &public(error.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_written_as_in_the_public_interface_and_all_else_stays() {
        for (text, expected) in [
            ("num_heads", "numHeads"),
            ("parts[0].log_sum_exp", "parts[0].logSumExp"),
            (
                "at most 9 elements in feature_dim × model_dim / num_heads",
                "at most 9 elements in featureDim × modelDim / numHeads",
            ),
            ("self_attn.in_proj_weight", "self_attn.in_proj_weight"),
            ("my_num_heads, num_heads_, Num_heads", "my_num_heads, num_heads_, Num_heads"),
            ("", ""),
            ("… é_k_dim k_dim é", "… é_k_dim kDim é"),
        ] {
            assert_eq!(public_names(text), expected);
        }
    }
}

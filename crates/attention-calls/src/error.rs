//! Errors in the form that the bindings throw.

use ruvector_attention::Error;

use crate::json::push_string;

/// The actual value in errors about options that do not exist, whose argument is the name that the caller gave.
pub(crate) const UNKNOWN_NAME: &str = "an unknown name";

/// Options and arguments of several words, as Rust names them in errors.
const NAMES: [&str; 45] = [
    "add_self_loops",
    "average_weights",
    "block_size",
    "context_cache",
    "context_lengths",
    "cross_attention",
    "cu_seqlens",
    "cu_seqlens_keys",
    "edge_attr",
    "edge_features",
    "edge_weight",
    "embedding_dim",
    "feature_dim",
    "feature_map",
    "feed_forward_dim",
    "fill_value",
    "head_dim",
    "in_features",
    "k_dim",
    "kv_heads",
    "kv_lengths",
    "latent_rank",
    "log_sum_exp",
    "max_distance",
    "model_dim",
    "negative_slope",
    "nope_dim",
    "num_embeddings",
    "num_heads",
    "out_features",
    "output_gate",
    "qk_norm",
    "query_offset",
    "query_rank",
    "relative_bias",
    "return_state",
    "rotary_dim",
    "top_weights",
    "use_bias",
    "v_dim",
    "value_dim",
    "weight_offset",
    "weight_type",
    "x_source",
    "x_target",
];

/// Replaces Rust's names of options and arguments by those of the public interface: `num_heads` by `numHeads`.
pub(crate) fn public_names(text: &str) -> String {
    let ends_name = |letter: char| letter != '_' && !letter.is_ascii_alphanumeric();
    let mut result = String::new();
    for piece in text.split_inclusive(ends_name) {
        let name = piece.trim_end_matches(ends_name);
        if NAMES.contains(&name) {
            let mut words = name.split('_');
            result.extend(words.next());
            for word in words {
                let mut letters = word.chars();
                result.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
                result.push_str(letters.as_str());
            }
            result.extend(piece.strip_prefix(name));
        } else {
            result.push_str(piece);
        }
    }
    result
}

/// Converts an error into the JSON text that the bindings throw and `lib/checks/errors.js` reads, with the names of the
/// public interface. The unknown name of an option stays as the caller wrote it.
pub fn to_json(error: &Error) -> String {
    let named = |text: &str| if error.actual == UNKNOWN_NAME { text.to_owned() } else { public_names(text) };
    let mut json = String::new();
    let mut separator = '{';
    for (name, text) in [
        ("code", error.code.name()),
        ("argument", &named(&error.argument)),
        ("expected", &named(&error.expected)),
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

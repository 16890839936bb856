//! Invalid inputs: each one must cause an error that names the argument, before anything is written.

use ruvector_attention::attention::mask::Mask;
use ruvector_attention::attention::{Arrays, Outputs, scaled_dot_product_attention};
use ruvector_attention::options::AttentionOptions;
use ruvector_attention::{Code, Context, Tensor};

const VALUES: [f32; 512] = [1.0; 512];
const BYTES: [u8; 512] = [1; 512];

fn tensor<'a>(name: &str, dims: &[usize]) -> Tensor<'a> {
    Tensor::new(name, &VALUES[..dims.iter().product()], dims).unwrap()
}

/// Returns the error of a call, which must leave its output untouched.
fn fault(dims: [&[usize]; 3], options: &AttentionOptions, arrays: Arrays<'_>, elements: usize) -> (Code, String) {
    let [q, k, v] = [("q", dims[0]), ("k", dims[1]), ("v", dims[2])].map(|(name, dims)| tensor(name, dims));
    let mut output = vec![7.0; elements];
    let outputs = Outputs { output: &mut output, ..Outputs::default() };
    let error = scaled_dot_product_attention(Context::default(), q, k, v, options, arrays, outputs).unwrap_err();
    assert!(output.iter().all(|&value| value == 7.0), "{error} came after the output was written");
    (error.code, error.argument.clone())
}

#[test]
fn shapes_that_do_not_fit_are_reported_with_their_argument() {
    let defaults = AttentionOptions::default();
    let faults: [([&[usize]; 3], &str); 12] = [
        ([&[4, 3], &[4, 3], &[4, 3]], "q"),
        ([&[1, 1, 1, 4, 3], &[1, 1, 4, 3], &[1, 1, 4, 3]], "q"),
        ([&[1, 1, 4, 3], &[1, 4, 3], &[1, 4, 3]], "k"),
        ([&[1, 4, 3], &[1, 4, 3], &[1, 1, 4, 3]], "v"),
        ([&[2, 1, 4, 3], &[1, 1, 4, 3], &[1, 1, 4, 3]], "k"),
        ([&[1, 1, 4, 3], &[1, 1, 4, 2], &[1, 1, 4, 3]], "k"),
        ([&[1, 3, 4, 3], &[1, 2, 4, 3], &[1, 2, 4, 3]], "k"),
        ([&[1, 2, 4, 3], &[1, 4, 4, 3], &[1, 4, 4, 3]], "k"),
        ([&[1, 2, 4, 3], &[1, 2, 4, 3], &[1, 1, 4, 3]], "v"),
        ([&[1, 2, 4, 3], &[1, 2, 4, 3], &[1, 2, 5, 3]], "v"),
        ([&[2, 1, 4, 3], &[2, 1, 4, 3], &[1, 1, 4, 3]], "v"),
        ([&[1, 2, 4, 3], &[1, 0, 4, 3], &[1, 0, 4, 3]], "k"),
    ];
    for (dims, argument) in faults {
        assert_eq!(fault(dims, &defaults, Arrays::default(), 24), (Code::Shape, argument.into()), "{dims:?}");
    }
}

#[test]
fn an_output_of_the_wrong_length_is_rejected() {
    let dims: &[usize] = &[1, 2, 4, 3];
    for elements in [0, 23, 25] {
        let found = fault([dims; 3], &AttentionOptions::default(), Arrays::default(), elements);
        assert_eq!(found.0, Code::Shape);
    }
}

#[test]
fn a_mask_that_does_not_broadcast_is_rejected() {
    let dims: &[usize] = &[2, 3, 4, 5];
    let masks: [&[usize]; 7] = [&[4], &[2, 5], &[4, 4], &[2, 4, 5], &[3, 1, 4, 5], &[2, 3, 5, 4], &[1, 2, 3, 4, 4]];
    for mask in masks {
        let elements = mask.iter().product::<usize>();
        let boolean = Mask::Boolean(Tensor::new("mask", &BYTES[..elements], mask).unwrap());
        for mask in [boolean, Mask::Float(tensor("mask", mask))] {
            let arrays = Arrays { mask: Some(mask), ..Arrays::default() };
            let keys: &[usize] = &[2, 3, 5, 5];
            let found = fault([dims, keys, keys], &AttentionOptions::default(), arrays, 120);
            assert_eq!(found, (Code::Shape, "mask".into()));
        }
    }
}

#[test]
fn a_mask_of_padding_is_told_how_padding_is_given() {
    let (queries, keys): (&[usize], &[usize]) = (&[2, 3, 4, 5], &[2, 3, 6, 5]);
    let expected = |mask: &[usize]| {
        let [q, k] = [queries, keys].map(|dims| tensor("", dims));
        let arrays = Arrays { mask: Some(Mask::Float(tensor("mask", mask))), ..Arrays::default() };
        let mut output = [0.0; 120];
        let outputs = Outputs { output: &mut output, ..Outputs::default() };
        let options = AttentionOptions::default();
        let result = scaled_dot_product_attention(Context::default(), q, k, k, &options, arrays, outputs);
        result.unwrap_err().expected.clone()
    };
    assert!(expected(&[2, 6]).ends_with("; padding is kv_lengths, or a mask of shape [B, 1, 1, S]"));
    assert!(!expected(&[3, 6]).contains("kv_lengths"));
}

#[test]
fn arrays_of_one_value_per_batch_entry_are_checked() {
    let dims: &[usize] = &[2, 1, 4, 3];
    let defaults = AttentionOptions::default();
    let lengths = |values| Arrays { kv_lengths: Some(values), ..Arrays::default() };
    assert_eq!(fault([dims; 3], &defaults, lengths(&[1]), 24), (Code::Shape, "kv_lengths".into()));
    assert_eq!(fault([dims; 3], &defaults, lengths(&[1, 2, 3]), 24), (Code::Shape, "kv_lengths".into()));
    assert_eq!(fault([dims; 3], &defaults, lengths(&[1, 5]), 24), (Code::Option, "kv_lengths".into()));
    assert_eq!(fault([dims; 3], &defaults, lengths(&[-1, 2]), 24), (Code::Option, "kv_lengths".into()));
    let offsets = Arrays { query_offset: Some(&[0]), ..Arrays::default() };
    assert_eq!(fault([dims; 3], &defaults, offsets, 24), (Code::Shape, "query_offset".into()));
}

#[test]
fn more_top_weights_than_keys_are_rejected() {
    let dims: &[usize] = &[1, 1, 4, 3];
    let options = AttentionOptions { top_weights: Some(5), ..AttentionOptions::default() };
    assert_eq!(fault([dims; 3], &options, Arrays::default(), 12), (Code::Option, "top_weights".into()));
}

//! Merged parts of the keys against one call over all keys.

use proptest::prelude::*;
use ruvector_attention::attention::merge::{MergeOptions, merge_attention};
use ruvector_attention::attention::{Arrays, Outputs, scaled_dot_product_attention};
use ruvector_attention::options::{AttentionOptions, Layout};
use ruvector_attention::{Code, Context, Tensor};

use crate::support::{Random, assert_near, contexts};

/// Returns output and log-sum-exp of one call.
fn attend(
    context: Context<'_>,
    dims: [&[usize]; 3],
    data: [&[f32]; 3],
    options: &AttentionOptions,
    lengths: &[i32],
) -> [Vec<f32>; 2] {
    let [q, k, v] = [0, 1, 2].map(|index| Tensor::new("x", data[index], dims[index]).unwrap());
    let rows = data[0].len() / dims[0].last().unwrap();
    let (mut output, mut log_sum_exp) = (vec![f32::NAN; rows * dims[2].last().unwrap()], vec![f32::NAN; rows]);
    let outputs = Outputs { output: &mut output, log_sum_exp: Some(&mut log_sum_exp), ..Outputs::default() };
    let arrays = Arrays { kv_lengths: Some(lengths), ..Arrays::default() };
    scaled_dot_product_attention(context, q, k, v, options, arrays, outputs).unwrap();
    [output, log_sum_exp]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_split_anywhere_match_one_call(
        (batch, kv_heads, group) in (1usize..=2, 1usize..=2, 1usize..=3),
        (queries, keys) in (0usize..=20, 1usize..=90),
        (size, value_size) in (1usize..=20, 0usize..=20),
        cuts in prop::collection::vec(0.0f64..=1.0, 0..=5),
        (blhd, valid, seed) in (any::<bool>(), 0.0f64..=1.0, any::<u64>()),
    ) {
        let mut random = Random::new(seed);
        let heads = kv_heads * group;
        let layout = if blhd { Layout::Blhd } else { Layout::Bhld };
        let dims = |heads: usize, length: usize, size: usize| match layout {
            Layout::Bhld => vec![batch, heads, length, size],
            Layout::Blhd => vec![batch, length, heads, size],
        };
        let mut ends: Vec<usize> = cuts.iter().map(|cut| (cut * keys as f64) as usize).chain([keys]).collect();
        ends.sort_unstable();
        let lengths: Vec<i32> = (0..batch).map(|b| if b == 0 { (valid * keys as f64) as i32 } else { keys as i32 }).collect();
        let q = random.normals(batch * heads * queries * size);
        let k = random.normals(batch * kv_heads * keys * size);
        let v = random.normals(batch * kv_heads * keys * value_size);
        // Selects the rows of keys `from .. to` of every batch entry and head.
        let part = |data: &[f32], size: usize, from: usize, to: usize| -> Vec<f32> {
            let rows = if blhd { kv_heads } else { 1 };
            data.chunks(keys * rows * size.max(1)).flat_map(|head| head[from * rows * size..to * rows * size].to_vec()).collect()
        };
        let options = AttentionOptions { layout, log_sum_exp: true, ..AttentionOptions::default() };
        let query_dims = dims(heads, queries, size);
        for context in contexts() {
            let whole_dims = [&query_dims[..], &dims(kv_heads, keys, size), &dims(kv_heads, keys, value_size)];
            let [expected, expected_sum] = attend(context, whole_dims, [&q, &k, &v], &options, &lengths);
            let (mut outputs, mut sums, mut from) = (vec![], vec![], 0);
            for &to in &ends {
                let part_lengths: Vec<i32> = lengths.iter().map(|&length| (length - from as i32).clamp(0, (to - from) as i32)).collect();
                let part_dims = [&query_dims[..], &dims(kv_heads, to - from, size), &dims(kv_heads, to - from, value_size)];
                let (k, v) = (part(&k, size, from, to), part(&v, value_size, from, to));
                let [output, sum] = attend(context, part_dims, [&q, &k, &v], &options, &part_lengths);
                outputs.extend(output);
                sums.extend(sum);
                from = to;
            }
            let output_dims = [vec![ends.len()], dims(heads, queries, value_size)].concat();
            let (mut found, mut found_sum) = (vec![f32::NAN; expected.len()], vec![f32::NAN; expected_sum.len()]);
            merge_attention(
                context,
                Tensor::new("parts", &outputs, &output_dims).unwrap(),
                Tensor::new("parts", &sums, &[ends.len(), batch, heads, queries]).unwrap(),
                MergeOptions { layout },
                &mut found,
                &mut found_sum,
            ).unwrap();
            let doubles = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
            assert_near(&found, &doubles(&expected), 2e-6, "output");
            assert_near(&found_sum, &doubles(&expected_sum), 2e-6, "log_sum_exp");
        }
    }
}

fn merge(outputs: &[f32], sums: &[f32], rows: usize, size: usize) -> (Vec<f32>, Vec<f32>) {
    let parts = sums.len() / rows;
    let (mut output, mut sum) = (vec![7.0; rows * size], vec![7.0; rows]);
    let outputs = Tensor::new("parts", outputs, &[parts, 1, rows, size]).unwrap();
    let sums = Tensor::new("parts", sums, &[parts, 1, 1, rows]).unwrap();
    merge_attention(Context::default(), outputs, sums, MergeOptions::default(), &mut output, &mut sum).unwrap();
    (output, sum)
}

#[test]
fn a_part_without_visible_keys_adds_nothing_whatever_its_output() {
    let (none, nan) = (f32::NEG_INFINITY, f32::NAN);
    let (output, sum) = merge(&[1.0, nan, nan, nan, 4.0, nan], &[0.5, none, none, none, 2.0, none], 3, 1);
    assert_eq!((output[0], output[1], output[2]), (1.0, 4.0, 0.0));
    assert_eq!(sum, [0.5, 2.0, none]);
}

#[test]
fn a_nan_spoils_its_own_row_and_huge_sums_do_not_overflow() {
    let (output, sum) = merge(&[1.0, 2.0, 3.0, 4.0], &[f32::NAN, 1e4, 0.0, 1e4], 2, 1);
    assert!(output[0].is_nan() && sum[0].is_nan());
    assert_eq!((output[1], sum[1]), (3.0, 1e4 + 2f32.ln()));
    assert_eq!(merge(&[1.0, 2.0], &[-1e30, -1e30], 1, 1).0, [1.5]);
}

#[test]
fn parts_that_do_not_fit_are_rejected() {
    let data = [1.0; 48];
    let run = |output_dims: &[usize], sum_dims: &[usize], elements: usize| {
        let outputs = Tensor::new("parts", &data[..output_dims.iter().product()], output_dims).unwrap();
        let sums = Tensor::new("parts", &data[..sum_dims.iter().product()], sum_dims).unwrap();
        let (mut output, mut sum) = (vec![7.0; elements], vec![7.0; 6]);
        merge_attention(Context::default(), outputs, sums, MergeOptions::default(), &mut output, &mut sum)
            .map_err(|error| (error.code, error.argument.clone()))
    };
    assert_eq!(run(&[2, 1, 2, 3, 4], &[2, 1, 2, 3], 24), Ok(()));
    assert_eq!(run(&[2, 1, 2, 3, 4], &[2, 1, 3, 2], 24), Err((Code::Shape, "parts[0].log_sum_exp".into())));
    assert_eq!(run(&[2, 1, 2, 3, 4], &[1, 1, 2, 3], 24), Err((Code::Shape, "parts[0].log_sum_exp".into())));
    assert_eq!(run(&[2, 2, 3], &[2, 1, 2, 3], 6), Err((Code::Shape, "parts[0].output".into())));
    assert_eq!(run(&[2, 1, 2, 3, 4], &[2, 1, 2, 3], 23), Err((Code::Shape, "output".into())));
    assert_eq!(run(&[], &[], 1), Err((Code::Shape, "parts[0].output".into())));
}

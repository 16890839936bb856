//! Rotary position embedding against the oracle, alone and inside a layer.

use proptest::prelude::*;
use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::rotary::{RotaryArrays, RotaryOptions, rotary_embedding};
use ruvector_attention::layers::multi_head::{Inputs, MultiHeadAttention};
use ruvector_attention::options::{LayerOptions, Layout};
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle as reference;

use crate::support::{Random, assert_near, contexts, from_json};

/// The source of the rows' positions.
#[derive(Debug, Clone, Copy)]
enum Positions {
    Default,
    Shared,
    EachBatch,
}

fn at(positions: Option<&[i32]>) -> RotaryArrays<'_> {
    let positions = positions.map(|positions| Tensor::new("positions", positions, &[positions.len()]).unwrap());
    RotaryArrays { positions, ..RotaryArrays::default() }
}

/// Returns the index in a row of the value that is rotated together with the one at `at`.
fn partner(at: usize, half: usize, interleaved: bool) -> usize {
    match at {
        at if at >= 2 * half => at,
        at if interleaved => at ^ 1,
        at => (at + half) % (2 * half),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rotary_positions_match_the_oracle(
        (batch, heads, length) in (1usize..=3, 1usize..=3, 0usize..=70),
        (half, rest) in (0usize..=40, 0usize..=5),
        interleaved in any::<bool>(),
        rank in 3usize..=4,
        blhd in any::<bool>(),
        positions in prop::sample::select(vec![Positions::Default, Positions::Shared, Positions::EachBatch]),
        base in prop::sample::select(vec![10_000.0, 1.0, 500_000.0, 12.5]),
        scale in prop::sample::select(vec![1.0, 0.25, 0.0, 1.0 / 3.0]),
        (factor, own, sectioned) in (prop::sample::select(vec![1.0, 1.25]), any::<bool>(), any::<bool>()),
        seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let heads = if rank == 3 { 1 } else { heads };
        let size = 2 * half + rest;
        let layout = if blhd { Layout::Blhd } else { Layout::Bhld };
        let dims = match (rank, layout) {
            (3, _) => vec![batch, length, size],
            (_, Layout::Bhld) => vec![batch, heads, length, size],
            (_, Layout::Blhd) => vec![batch, length, heads, size],
        };
        let dim = (half > 0 && (rest > 0 || seed % 2 == 0)).then_some(2 * half);
        prop_assume!(dim.is_some() || size % 2 == 0);
        let half = dim.unwrap_or(size) / 2;
        let first = random.below(half + 1);
        let second = random.below(half - first + 1);
        let sections = sectioned.then(|| [first, second, half - first - second].map(|count| count as u64));
        let frequencies: Option<Vec<f64>> = (own && half > 0).then(|| random.normals(half).iter().map(|&x| f64::from(x.tanh())).collect());
        let options = RotaryOptions { base, interleaved, dim, scale, factor, sections, layout };
        let axes = if sectioned { 3 } else { 1 };
        let count = match positions {
            Positions::Default => None,
            Positions::Shared => Some((axes * length, 1)),
            Positions::EachBatch => Some((axes * batch * length, batch)),
        };
        let positions: Option<Vec<i32>> = count.map(|(count, _)| (0..count).map(|_| random.below(1_000_001) as i32).collect());
        let shape = |entries| if sectioned { vec![3, entries, length] } else { vec![entries, length] };
        let arrays = RotaryArrays {
            positions: positions.as_ref().map(|data| match count {
                Some((_, entries)) if seed % 3 == 0 => Tensor::new("positions", data, &shape(entries)).unwrap(),
                _ => Tensor::new("positions", data, &[data.len()]).unwrap(),
            }),
            frequencies: frequencies.as_deref(),
        };
        let data = random.normals(batch * heads * length * size);
        let x = Tensor::new("x", &data, &dims).unwrap();
        let expected = reference::rotary::rotary_embedding(x, &options, arrays);
        for context in contexts() {
            let mut found = vec![f32::NAN; data.len()];
            rotary_embedding(context, x, options, arrays, &mut found).unwrap();
            for (index, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
                // Two products and their sum are rounded, and so are sine and cosine: 3 · 2⁻²⁴ of both values.
                let magnitude = data[index].abs() + data[partner(index % size, half, interleaved) + index / size * size].abs();
                let error = (f64::from(found) - expected).abs();
                prop_assert!(
                    error <= 2e-7 * factor * f64::from(magnitude),
                    "{} [{index}]: {found} instead of {expected}",
                    context.level.name()
                );
            }
        }
    }

    #[test]
    fn scores_of_rotated_rows_depend_only_on_the_distance_of_their_positions(
        (first, second, shift) in (0i32..=1000, 0i32..=1000, 0i32..=100_000), interleaved in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let (q, k) = (random.normals(64), random.normals(64));
        let options = RotaryOptions { interleaved, ..RotaryOptions::default() };
        let turned = |data: &[f32], position: i32| {
            let x = Tensor::new("x", data, &[1, 1, 64]).unwrap();
            let mut found = vec![0.0; 64];
            rotary_embedding(Context::default(), x, options, at(Some(&[position])), &mut found).unwrap();
            found
        };
        let score = |shift: i32| -> f32 {
            turned(&q, first + shift).iter().zip(turned(&k, second + shift)).map(|(q, k)| q * k).sum()
        };
        prop_assert!((score(0) - score(shift)).abs() < 2e-4);
    }

    #[test]
    fn a_layer_rotates_its_queries_and_keys(
        (batch, queries, keys) in (1usize..=3, 0usize..=40, 1usize..=50),
        (kv_heads, group, half, rest) in (1usize..=2, 1usize..=3, 1usize..=9, 0usize..=3),
        self_attention in any::<bool>(),
        (interleaved, causal, offsets) in (any::<bool>(), any::<bool>(), any::<bool>()),
        query_offset in -50i64..=5000,
        seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let (heads, size) = (kv_heads * group, 2 * half + rest);
        let config = format!(
            r#"{{"numHeads":{heads},"headDim":{size},"kvHeads":{kv_heads},"modelDim":24,"seed":{},
                "rotary":{{"base":1000,"interleaved":{interleaved},"dim":{}}}}}"#,
            seed >> 11,
            2 * half
        );
        let layer = MultiHeadAttention::new(from_json(&config)).unwrap();
        let (q, k) = (random.normals(batch * queries * 24), random.normals(batch * keys * 24));
        let query = Tensor::new("q", &q, &[batch, queries, 24]).unwrap();
        let key = (!self_attention).then(|| Tensor::new("k", &k, &[batch, keys, 24]).unwrap());
        let offsets: Option<Vec<i32>> = offsets.then(|| (0..batch).map(|_| random.below(90) as i32 - 20).collect());
        let arrays = Arrays { query_offset: offsets.as_deref(), ..Arrays::default() };
        let options = LayerOptions { causal: Some(causal), query_offset: Some(query_offset), ..LayerOptions::default() };
        let inputs = [query, key.unwrap_or(query), key.unwrap_or(query)];
        let expected = reference::multi_head(layer.state(), inputs, false, &options, arrays);
        for context in contexts() {
            let mut output = vec![f32::NAN; q.len()];
            let inputs = Inputs::new(query, key, None);
            layer.forward(context, inputs, &options, arrays, false, &mut output, None).unwrap();
            assert_near(&output, &expected.output, 1e-5, context.level.name());
        }
    }
}

#[test]
fn rotation_is_the_same_for_every_number_of_threads() {
    let data = Random::new(1).normals(2 * 8 * 700 * 64);
    let x = Tensor::new("x", &data, &[2, 8, 700, 64]).unwrap();
    let run = |threads| {
        let mut found = vec![f32::NAN; data.len()];
        let context = Context::new(Level::current(), threads);
        rotary_embedding(context, x, RotaryOptions::default(), at(None), &mut found).unwrap();
        found
    };
    assert!(run(1) == run(2) && run(1) == run(3));
}

#[test]
fn invalid_arguments_are_reported_by_name_before_anything_is_written() {
    let data = [1.0; 2 * 3 * 6];
    let run = |dims: &[usize], json: &str, positions: Option<&[i32]>| {
        let x = Tensor::new("x", &data[..dims.iter().product()], dims).unwrap();
        let mut output = vec![7.0; x.data.len()];
        let result = rotary_embedding(Context::default(), x, from_json(json), at(positions), &mut output);
        result.map_err(|error| {
            assert!(output.iter().all(|&value| value == 7.0));
            (error.code, error.argument.clone())
        })
    };
    let fault = |code, argument: &str| Err((code, argument.to_owned()));
    assert_eq!(run(&[2, 3, 6], "{}", Some(&[0, 1, i32::MAX])), Ok(()));
    assert_eq!(run(&[2, 3, 5], "{}", None), fault(Code::Option, "dim"));
    assert_eq!(run(&[2, 3, 5], r#"{"dim":4}"#, None), Ok(()));
    assert_eq!(run(&[2, 3, 6], r#"{"dim":8}"#, None), fault(Code::Option, "dim"));
    assert_eq!(run(&[6, 6], "{}", None), fault(Code::Shape, "x"));
    assert_eq!(run(&[2, 3, 6], "{}", Some(&[0, 1])), fault(Code::Shape, "positions"));
    assert_eq!(run(&[2, 3, 6], "{}", Some(&[0, 1, -1])), fault(Code::Option, "positions"));
    assert_eq!(run(&[2, 3, 6], r#"{"scale":3}"#, Some(&[0, 1, i32::MAX])), fault(Code::Option, "scale"));
    for (json, argument) in [
        (r#"{"dim":3}"#, "dim"),
        (r#"{"dim":0}"#, "dim"),
        (r#"{"base":0.5}"#, "base"),
        (r#"{"scale":-1}"#, "scale"),
        (r#"{"factor":-1}"#, "factor"),
        (r#"{"sections":[1,1,2]}"#, "sections"),
    ] {
        assert_eq!(run(&[2, 3, 6], json, None), fault(Code::Option, argument), "{json}");
    }
    let sections = r#"{"sections":[1,1,1]}"#;
    assert_eq!(run(&[2, 3, 6], sections, Some(&[0; 9])), Ok(()));
    assert_eq!(run(&[2, 3, 6], sections, Some(&[0; 18])), Ok(()));
    assert_eq!(run(&[2, 3, 6], sections, Some(&[0; 3])), fault(Code::Shape, "positions"));
}

#[test]
fn frequencies_that_do_not_fit_are_rejected() {
    let x = Tensor::new("x", &[1.0; 12], &[1, 2, 6]).unwrap();
    let run = |frequencies: &[f64]| {
        let arrays = RotaryArrays { frequencies: Some(frequencies), ..RotaryArrays::default() };
        let options = RotaryOptions { dim: Some(4), ..RotaryOptions::default() };
        let result = rotary_embedding(Context::default(), x, options, arrays, &mut [0.0; 12]);
        result.map_err(|error| (error.code, error.argument.clone()))
    };
    assert_eq!(run(&[1.0, 0.5]), Ok(()));
    assert_eq!(run(&[1.0]), Err((Code::Shape, "frequencies".into())));
    assert_eq!(run(&[1.0, f64::NAN]), Err((Code::Option, "frequencies".into())));
}

//! Progress that an observer receives in calls of several steps: fractions must grow evenly up to 1.

#![allow(missing_docs, reason = "test names are sentences")]

use std::sync::Mutex;

use ruvector_attention::context::Observer;
use ruvector_attention_calls::{Array, Builder};

/// Records every fraction.
#[derive(Default)]
struct Heard(Mutex<Vec<f32>>);

impl Observer for Heard {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn progress(&self, fraction: f32) {
        self.0.lock().unwrap().push(fraction);
    }
}

/// Runs one call on one thread, and returns the fractions that it reported.
fn heard(operation: &str, objects: &[u32], inputs: &[&[usize]], options: &str) -> Vec<f32> {
    let wave = |length: usize| (0..length).map(|i| (i as f32 * 0.37).sin() * 0.01).collect();
    let data: Vec<Vec<f32>> = inputs.iter().map(|shape| wave(shape.iter().product())).collect();
    let mut call = Builder::new(1, objects);
    for (data, shape) in data.iter().zip(inputs) {
        call.add(Array::F32(data), shape);
    }
    let observer = Heard::default();
    call.run_observed(operation, Some(options), Some(&observer)).unwrap();
    observer.0.into_inner().unwrap()
}

#[test]
fn progress_of_calls_in_several_steps_never_decreases_and_ends_at_one() {
    let object = |kind: &str, config: &str| Builder::new(1, &[]).create(kind, config).unwrap();
    let source: Vec<i32> = (0..4000).map(|edge| edge * 7 % 500).collect();
    let target: Vec<i32> = (0..4000).map(|edge| edge * 13 % 500).collect();
    let mut edges = Builder::new(1, &[]);
    [&source, &target].into_iter().for_each(|ends| edges.add(Array::I32(ends), &[ends.len()]));
    let graph = edges.create("createGraph", r#"{"numNodes":500}"#).unwrap();
    let gat = object("createGraphAttention", r#"{"inFeatures":64,"outFeatures":16,"numHeads":4}"#);
    let gcn = object("createGraphConvolution", r#"{"inFeatures":64,"outFeatures":16}"#);
    let nodes: &[usize] = &[500, 64];
    let x: &[usize] = &[1, 256, 64];
    let encoder = object("createTransformerEncoderLayer", r#"{"modelDim":64,"numHeads":4,"feedForwardDim":256}"#);
    let heads = object("createSelfAttention", r#"{"numHeads":4,"headDim":16}"#);
    let linear = object("createLinearAttention", r#"{"modelDim":64,"numHeads":4}"#);
    let hyperbolic = object("createHyperbolicAttention", r#"{"curvature":-1,"numHeads":4}"#);
    const WEIGHTS: &str = r#"{"weights":true}"#;
    let calls = [
        ("encoder", heard("transformerEncoderLayer", &[encoder], &[x], "{}")),
        ("encoder and weights", heard("transformerEncoderLayer", &[encoder], &[x], WEIGHTS)),
        ("heads", heard("multiHeadAttention", &[heads], &[x], "{}")),
        ("heads and weights", heard("multiHeadAttention", &[heads], &[x], WEIGHTS)),
        ("linear", heard("linearAttention", &[linear], &[x, x, x], "{}")),
        ("gat", heard("graphLayer", &[gat, graph], &[nodes], "{}")),
        ("gcn", heard("graphLayer", &[gcn, graph], &[nodes], "{}")),
        ("hyperbolic", heard("hyperbolicAttention", &[hyperbolic], &[x, x, x], WEIGHTS)),
    ];
    for (name, heard) in calls {
        assert!(heard.len() > 3, "{name}: {heard:?}");
        assert!(heard.is_sorted(), "{name}: {heard:?}");
        // Steps that are not announced, such as norms, are at most a few percent.
        assert!(heard[heard.len() - 2] < 1.0 && heard[heard.len() - 1] > 0.95, "{name}: {heard:?}");
    }
}

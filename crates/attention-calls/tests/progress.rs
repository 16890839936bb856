//! Progress that an observer receives of calls in several steps: fractions that grow evenly up to 1.

#![allow(missing_docs, reason = "test names are sentences")]

use std::sync::Mutex;

use ruvector_attention::context::Observer;
use ruvector_attention_calls::{self as calls, Slots};

/// Keeps every fraction.
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
fn heard(operation: &str, objects: &[u32], inputs: &[&[usize]], options: &str, outputs: &[usize]) -> Vec<f32> {
    let operation = calls::operations().split(',').position(|name| name == operation).unwrap();
    let mut header = vec![1.0, 0.0, 0.0, 1.0, objects.len() as f64];
    header.extend(objects.iter().map(|&id| f64::from(id)));
    for shape in inputs {
        header.push(shape.len() as f64);
        header.extend(shape.iter().map(|&dim| dim as f64));
    }
    let wave = |length: usize| (0..length).map(|i| (i as f32 * 0.37).sin() * 0.01).collect();
    let data: Vec<Vec<f32>> = inputs.iter().map(|shape| wave(shape.iter().product())).collect();
    let mut results: Vec<Vec<f32>> = outputs.iter().map(|&length| vec![0.0; length]).collect();
    let mut results = results.iter_mut();
    let slots = Slots {
        inputs: std::array::from_fn(|index| data.get(index).map(Vec::as_slice)),
        outputs: std::array::from_fn(|_| results.next().map(Vec::as_mut_slice)),
        ..Slots::default()
    };
    let observer = Heard::default();
    calls::call(operation as u32, &header, Some(options), slots, Some(&observer)).unwrap();
    observer.0.into_inner().unwrap()
}

#[test]
fn progress_of_calls_in_several_steps_never_goes_back_and_reaches_the_whole_at_the_end() {
    let object = |kind: &str, config: &str| calls::create(kind, config, [None, None]).unwrap();
    let source: Vec<i32> = (0..4000).map(|edge| edge * 7 % 500).collect();
    let target: Vec<i32> = (0..4000).map(|edge| edge * 13 % 500).collect();
    let graph = calls::create("graph", r#"{"numNodes":500}"#, [Some(&source), Some(&target)]).unwrap();
    let gat = object("graph-attention", r#"{"inFeatures":64,"outFeatures":16,"numHeads":4}"#);
    let gcn = object("graph-convolution", r#"{"inFeatures":64,"outFeatures":16}"#);
    let nodes: &[usize] = &[500, 64];
    let x: &[usize] = &[1, 256, 64];
    let size = 256 * 64;
    let encoder = object("encoder-layer", r#"{"modelDim":64,"numHeads":4,"feedForwardDim":256}"#);
    let heads = object("self", r#"{"numHeads":4,"headDim":16}"#);
    let linear = object("linear", r#"{"modelDim":64,"numHeads":4}"#);
    let hyperbolic = object("hyperbolic", r#"{"curvature":-1,"numHeads":4}"#);
    let calls = [
        ("encoder", heard("transformerEncoderLayer", &[encoder], &[x], "{}", &[size])),
        ("encoder and weights", heard("transformerEncoderLayer", &[encoder], &[x], "{}", &[size, 4 * 256 * 256])),
        ("heads", heard("multiHeadAttention", &[heads], &[x], "{}", &[size])),
        ("heads and weights", heard("multiHeadAttention", &[heads], &[x], "{}", &[size, 4 * 256 * 256])),
        ("linear", heard("linearAttention", &[linear], &[x, x, x], "{}", &[size])),
        ("gat", heard("graphLayer", &[gat, graph], &[nodes], "{}", &[500 * 64])),
        ("gcn", heard("graphLayer", &[gcn, graph], &[nodes], "{}", &[500 * 16])),
        ("hyperbolic", heard("hyperbolicAttention", &[hyperbolic], &[x, x, x], "{}", &[size, 4 * 256 * 256])),
    ];
    for (name, heard) in calls {
        assert!(heard.len() > 3, "{name}: {heard:?}");
        assert!(heard.is_sorted(), "{name}: {heard:?}");
        // Steps that nobody foresees, such as norms, are a few per cent at most.
        assert!(heard[heard.len() - 2] < 1.0 && heard[heard.len() - 1] > 0.95, "{name}: {heard:?}");
    }
}

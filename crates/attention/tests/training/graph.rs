//! Gradients of messages along edges, and of attention over them, against differences of the oracle.

use proptest::prelude::*;
use ruvector_attention::graph::Graph;
use ruvector_attention::graph::aggregate::Reduce;
use ruvector_attention::math::random::Dropout;
use ruvector_attention::training::graph::attention::{
    EdgeAttentionOptions, EdgeGradients, EdgeTensors, edge_attention, edge_attention_backward,
};
use ruvector_attention::training::graph::messages::{PropagateTensors, edge_softmax_backward, propagate_backward};
use ruvector_attention::{Context, Tensor};
use ruvector_attention_oracle::graph::{self as oracle, EdgeOptions, EdgeParts, Edges};

use crate::support::{Random, assert_near, contexts};
use crate::{assert_gradient, assert_gradient_of, doubles, largest, product, slopes};

/// A random graph: between two node sets, or with self-loops, repeated edges, and a last node without edges.
fn graph([sources, targets]: [usize; 2], count: usize, random: &mut Random) -> (Graph, Edges) {
    let mut draw = |nodes: usize| (0..count).map(|_| random.below(nodes.max(2) - 1) as i32).collect::<Vec<_>>();
    let (source, target) = (draw(sources), draw(targets));
    let graph = match sources == targets {
        true => Graph::from_edges(sources, &source, &target),
        false => Graph::between(sources, targets, &source, &target),
    };
    (graph.unwrap(), Edges::new([sources, targets], [&source, &target], None, None))
}

/// The kinds of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Additive,
    Joint,
    Product,
}

/// Inputs as floats, with the shape of each; no elements for an absent one.
struct Inputs([(Vec<f32>, Vec<usize>); 6]);

impl Inputs {
    fn draw(
        kind: Kind,
        nodes: [usize; 2],
        sizes: [usize; 4],
        options: EdgeAttentionOptions,
        random: &mut Random,
    ) -> Self {
        let ([sources, targets], [heads, channels, edges, size]) = (nodes, sizes);
        let joined = |nodes| vec![nodes, heads, channels];
        let has_edges = size > 0;
        let of_loops = options.add_self_loops && options.fill_value.is_some();
        Self(
            match kind {
                Kind::Additive => [
                    joined(sources),
                    vec![sources, heads],
                    vec![targets, heads],
                    vec![],
                    if has_edges { vec![edges, heads] } else { vec![] },
                    if has_edges && of_loops { vec![1, heads] } else { vec![] },
                ],
                Kind::Joint | Kind::Product => [
                    joined(sources),
                    if kind == Kind::Product { joined(sources) } else { vec![] },
                    joined(targets),
                    if kind == Kind::Joint { vec![1, heads, channels] } else { vec![] },
                    if has_edges { vec![edges, size] } else { vec![] },
                    if has_edges { vec![heads * channels, size] } else { vec![] },
                ],
            }
            .map(|shape| match shape.is_empty() {
                true => (vec![], shape),
                false => (random.normals(shape.iter().product()), shape),
            }),
        )
    }

    fn tensors(&self) -> EdgeTensors<'_> {
        let [values, sources, targets, attention, edges, projection] = self
            .0
            .each_ref()
            .map(|(data, shape)| (!shape.is_empty()).then(|| Tensor::new("input", data, shape).unwrap()));
        EdgeTensors { values: values.unwrap(), sources, targets: targets.unwrap(), attention, edges, projection }
    }

    /// Inputs in doubles, one of them replaced.
    fn parts(&self, index: usize, replaced: &[f64]) -> EdgeParts {
        let mut given = self.0.each_ref().map(|(data, _)| doubles(data));
        given[index] = replaced.to_vec();
        let [values, sources, targets, attention, edges, projection] = given;
        EdgeParts { values, sources, targets, attention, edges, projection }
    }

    fn backward(
        &self,
        context: Context<'_>,
        graph: &Graph,
        gradient: &[f32],
        options: EdgeAttentionOptions,
    ) -> [Vec<f32>; 6] {
        let mut found = self.0.each_ref().map(|(data, _)| vec![f32::NAN; data.len()]);
        let [values, sources, targets, attention, edges, projection] = &mut found;
        let tensors = self.tensors();
        let shape = tensors.values.shape.with_first(graph.num_targets());
        let gradient = Tensor::new("gradient", gradient, shape.dims()).unwrap();
        let gradients = EdgeGradients { values, sources, targets, attention, edges, projection };
        edge_attention_backward(context, graph, gradient, tensors, options, gradients).unwrap();
        found
    }
}

const NAMES: [&str; 6] = ["values", "sources", "targets", "attention", "edges", "projection"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gradients_of_attention_over_edges_match_differences(
        kind in prop::sample::select(vec![Kind::Additive, Kind::Joint, Kind::Product]),
        nodes in (2usize..=6, 2usize..=6, any::<bool>()),
        sizes in (1usize..=5, 1usize..=9, 0usize..=14, 0usize..=3),
        (add_self_loops, fill_value) in (any::<bool>(), prop::option::of(Just(0.5f32))),
        dropout in prop::sample::select(vec![0.0f32, 0.4]),
        seed in any::<u64>(),
    ) {
        let (sources, targets, is_one_set) = nodes;
        let nodes = [sources, if is_one_set { sources } else { targets }];
        let (heads, channels, count, size) = sizes;
        // Products take the edges given.
        let add_self_loops = add_self_loops && kind != Kind::Product;
        let options = EdgeAttentionOptions { add_self_loops, fill_value, dropout, seed: 7, ..Default::default() };
        let of_oracle = EdgeOptions {
            sizes: [heads, channels],
            is_additive: kind == Kind::Additive,
            slope: f64::from(options.negative_slope),
            add_self_loops,
            fill_value,
            dropout: Dropout::new(dropout, 7),
        };
        // Differences are not taken where a slope changes within a step.
        let mut random = Random::new(seed);
        let (graph, edges, inputs) = loop {
            let (graph, edges) = graph(nodes, count, &mut random);
            let inputs = Inputs::draw(kind, nodes, [heads, channels, count, size], options, &mut random);
            let (expected, closest) = oracle::edge_attention(&edges, &inputs.parts(0, &doubles(&inputs.0[0].0)), of_oracle);
            if closest < 1e-2 {
                continue;
            }
            let mut output = vec![f32::NAN; expected.len()];
            edge_attention(Context::default(), &graph, inputs.tensors(), options, &mut output).unwrap();
            assert_near(&output, &expected, 1e-5, "output");
            break (graph, edges, inputs);
        };
        let gradient = random.normals(nodes[1] * heads * channels);
        let expected: Vec<Vec<f64>> = (0..6)
            .map(|index| {
                slopes(&doubles(&inputs.0[index].0), &|values| {
                    product(&oracle::edge_attention(&edges, &inputs.parts(index, values), of_oracle).0, &gradient)
                })
            })
            .collect();
        let scale = expected.iter().map(|values| largest(values)).fold(1e-1, f64::max);
        for context in contexts() {
            let found = inputs.backward(context, &graph, &gradient, options);
            for ((found, expected), name) in found.iter().zip(&expected).zip(NAMES) {
                assert_gradient_of(found, expected, scale, &format!("{kind:?} {name}"));
            }
        }
    }

    #[test]
    fn gradients_of_messages_match_differences(
        nodes in (1usize..=6, 1usize..=6),
        sizes in (1usize..=3, 1usize..=20, 0usize..=20),
        reduce in prop::sample::select(vec![Reduce::Sum, Reduce::Mean, Reduce::Max, Reduce::Min]),
        is_weighted in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let (nodes, (heads, channels, count), mut random) = ([nodes.0, nodes.1], sizes, Random::new(seed));
        let (graph, edges) = graph(nodes, count, &mut random);
        let features = heads * channels;
        // Messages differ by more than the steps of differences.
        let distinct = |count: usize, random: &mut Random| {
            let mut values: Vec<f32> = (0..count).map(|at| 0.25 + at as f32 / 16.0).collect();
            (1..count).rev().for_each(|at| values.swap(at, random.below(at + 1)));
            values
        };
        let x = distinct(nodes[0] * features, &mut random);
        let weight: Vec<f32> = (0..count * heads).map(|at| 1.0 + (at % 7) as f32 * 0.37 + random.uniform() as f32 * 0.01).collect();
        let gradient = random.normals(nodes[1] * features);
        let loss = |x: &[f64], weight: &[f64]| {
            let sums = (0..heads).map(|head| {
                let columns = |row: &[f64]| row[head * channels..(head + 1) * channels].to_vec();
                let mut edges = edges.clone();
                if is_weighted {
                    edges.weight = weight.iter().skip(head).step_by(heads).copied().collect();
                }
                let output = oracle::propagate(&edges, &x.chunks(features).flat_map(columns).collect::<Vec<_>>(), channels, reduce);
                let gradient: Vec<f32> = gradient.chunks(features).flat_map(|row| row[head * channels..(head + 1) * channels].to_vec()).collect();
                product(&output, &gradient)
            });
            sums.sum::<f64>()
        };
        let (wide_x, wide_weight) = (doubles(&x), doubles(&weight));
        let expected = slopes(&wide_x, &|x| loss(x, &wide_weight));
        let of_weight = if is_weighted { slopes(&wide_weight, &|weight| loss(&wide_x, weight)) } else { vec![] };
        let tensor = |data, dims: &[usize]| Tensor::new("input", data, dims).unwrap();
        let shape = |nodes| [nodes, heads, channels];
        let tensors = PropagateTensors {
            gradient: tensor(&gradient, &shape(nodes[1])),
            x: tensor(&x, &shape(nodes[0])),
            edge_weight: is_weighted.then(|| tensor(&weight, &[count, heads])),
        };
        // Close messages make differences meaningless.
        let is_smooth = matches!(reduce, Reduce::Sum | Reduce::Mean) || !is_weighted;
        for context in contexts().filter(|_| is_smooth) {
            let [mut for_x, mut for_weight] = [x.len(), of_weight.len()].map(|len| vec![f32::NAN; len]);
            propagate_backward(context, &graph, tensors, reduce, &mut for_x, Some(&mut for_weight)).unwrap();
            assert_gradient(&for_x, &expected, "x");
            assert_gradient(&for_weight, &of_weight, "weight");
        }
    }

    #[test]
    fn gradients_of_the_softmax_over_edges_match_differences(count in 0usize..=20, heads in 1usize..=3, seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let (graph, edges) = graph([5, 4], count, &mut random);
        let [scores, gradient] = [random.normals(count * heads), random.normals(count * heads)];
        let weights = oracle::edge_softmax(&edges, &doubles(&scores), heads);
        let expected = slopes(&doubles(&scores), &|scores| product(&oracle::edge_softmax(&edges, scores, heads), &gradient));
        let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let tensor = |data| Tensor::new("input", data, &[count, heads]).unwrap();
        for context in contexts() {
            let mut found = vec![f32::NAN; count * heads];
            edge_softmax_backward(context, &graph, tensor(&gradient), tensor(&weights), &mut found).unwrap();
            assert_gradient_of(&found, &expected, 0.1, "scores");
        }
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let mut random = Random::new(3);
    let (nodes, count, size) = (700, 100_000, 5);
    let (graph, _) = graph([nodes, nodes], count, &mut random);
    for kind in [Kind::Additive, Kind::Joint, Kind::Product] {
        let options =
            EdgeAttentionOptions { add_self_loops: kind != Kind::Product, dropout: 0.3, ..Default::default() };
        let inputs = Inputs::draw(kind, [nodes, nodes], [3, 8, count, size], options, &mut random);
        let gradient = random.normals(nodes * 24);
        let bits = [1, 2].map(|threads| {
            let context = Context { threads, ..Context::default() };
            let found = inputs.backward(context, &graph, &gradient, options);
            found.map(|values| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
        });
        assert_eq!(bits[0], bits[1]);
    }
}

#[test]
fn equal_extremes_share_a_gradient_evenly() {
    let graph = Graph::from_edges(3, &[0, 1, 2], &[0, 0, 0]).unwrap();
    let (x, gradient) = ([2.0, 2.0, 1.0], [6.0, 1.0, 1.0]);
    let tensors = PropagateTensors {
        gradient: Tensor::new("gradient", &gradient, &[3, 1]).unwrap(),
        x: Tensor::new("x", &x, &[3, 1]).unwrap(),
        edge_weight: None,
    };
    let mut found = [f32::NAN; 3];
    propagate_backward(Context::default(), &graph, tensors, Reduce::Max, &mut found, None).unwrap();
    assert_eq!(found, [3.0, 3.0, 0.0]);
}

#[test]
fn inputs_that_do_not_fit_are_errors() {
    let graph = Graph::from_edges(3, &[0, 1], &[1, 2]).unwrap();
    let options = EdgeAttentionOptions::default();
    let data = [0.0; 12];
    let tensor = |dims: &[usize]| Tensor::new("input", &data[..dims.iter().product()], dims).unwrap();
    let fitting = EdgeTensors {
        values: tensor(&[3, 2, 2]),
        sources: Some(tensor(&[3, 2])),
        targets: tensor(&[3, 2]),
        attention: None,
        edges: Some(tensor(&[2, 2])),
        projection: None,
    };
    let mut output = [0.0; 12];
    edge_attention(Context::default(), &graph, fitting, options, &mut output).unwrap();
    for (argument, tensors) in [
        ("values", EdgeTensors { values: tensor(&[2, 2, 2]), ..fitting }),
        ("values", EdgeTensors { values: tensor(&[3, 4]), ..fitting }),
        ("targets", EdgeTensors { targets: tensor(&[3, 2, 2]), ..fitting }),
        ("sources", EdgeTensors { sources: Some(tensor(&[2, 2])), ..fitting }),
        ("attention", EdgeTensors { attention: Some(tensor(&[2, 2])), ..fitting }),
        ("attention", EdgeTensors { sources: None, targets: tensor(&[3, 2, 2]), ..fitting }),
        ("edges", EdgeTensors { edges: Some(tensor(&[3, 2])), ..fitting }),
        ("edges", EdgeTensors { edges: Some(tensor(&[2, 3])), ..fitting }),
        ("projection", EdgeTensors { projection: Some(tensor(&[3])), ..fitting }),
    ] {
        let error = edge_attention(Context::default(), &graph, tensors, options, &mut output).unwrap_err();
        assert_eq!(error.argument, argument);
    }
    let keys = EdgeTensors { sources: Some(tensor(&[3, 2, 2])), targets: tensor(&[3, 2, 2]), edges: None, ..fitting };
    let closed = EdgeAttentionOptions { add_self_loops: true, ..options };
    edge_attention(Context::default(), &graph, keys, options, &mut output).unwrap();
    assert_eq!(
        edge_attention(Context::default(), &graph, keys, closed, &mut output).unwrap_err().argument,
        "add_self_loops"
    );
    let excessive = EdgeAttentionOptions { dropout: 1.5, ..options };
    assert_eq!(
        edge_attention(Context::default(), &graph, fitting, excessive, &mut output).unwrap_err().argument,
        "dropout"
    );
}

//! Graphs and graph layers against the oracle, and properties promised by the semantics.

use proptest::prelude::*;
use ruvector_attention::graph::Graph;
use ruvector_attention::graph::aggregate::{Reduce, propagate};
use ruvector_attention::graph::layer::{GraphLayer, Inputs};
use ruvector_attention::graph::options::{
    ConvolutionConfig, GraphAttentionConfig, GraphConfig, GraphOptions, GraphTransformerConfig, Kind, SageConfig,
};
use ruvector_attention::graph::softmax::edge_softmax;
use ruvector_attention::layers::Entry;
use ruvector_attention::simd::Level;
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle::graph::{self as reference, Edges};

use crate::support::{Random, assert_near, contexts, from_json};

/// A graph as a list of edges, with the features of its edges and nodes.
#[derive(Debug, Clone)]
struct Case {
    /// As many as nodes unless there are two node sets.
    sources: usize,
    nodes: usize,
    two_sets: bool,
    source: Vec<i32>,
    target: Vec<i32>,
    features: usize,
    seed: u64,
}

impl Case {
    /// Draws a graph with some repeated edges and some self-loops, in which the last tenth of the nodes has no edges.
    fn new(nodes: usize, edges: usize, features: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let connected = nodes - nodes / 10;
        let (mut source, mut target): (Vec<i32>, Vec<i32>) = (vec![], vec![]);
        for edge in 0..if nodes == 0 { 0 } else { edges } {
            let (from, to) = match random.uniform() {
                share if share < 0.1 && edge > 0 => (source[edge - 1], target[edge - 1]),
                share if share < 0.2 => [random.below(connected) as i32; 2].into(),
                _ => (random.below(connected) as i32, random.below(connected) as i32),
            };
            source.push(from);
            target.push(to);
        }
        Self { sources: nodes, nodes, two_sets: false, source, target, features, seed }
    }

    /// The same edges as edges of another set of sources.
    fn with_sources(mut self, sources: usize) -> Self {
        match sources {
            0 => (self.source, self.target) = (vec![], vec![]),
            _ => self.source.iter_mut().for_each(|source| *source %= sources as i32),
        }
        Self { sources, two_sets: true, ..self }
    }

    fn graph(&self) -> Graph {
        match self.two_sets {
            true => Graph::between(self.sources, self.nodes, &self.source, &self.target).unwrap(),
            false => Graph::from_edges(self.nodes, &self.source, &self.target).unwrap(),
        }
    }

    fn edges(&self, features: Option<&[f32]>, weight: Option<&[f32]>) -> Edges {
        Edges::new([self.sources, self.nodes], [&self.source, &self.target], features, weight)
    }
}

fn case() -> impl Strategy<Value = Case> {
    let nodes = || prop_oneof![Just(0usize), 1usize..=3, 4usize..=60];
    let edges = prop_oneof![Just(0usize), 1usize..=20, 20usize..=400];
    (nodes(), edges, 1usize..=40, any::<u64>(), prop::option::of(nodes())).prop_map(
        |(nodes, edges, features, seed, sources)| {
            let case = Case::new(nodes, edges, features, seed);
            match sources {
                Some(sources) => case.with_sources(sources),
                None => case,
            }
        },
    )
}

fn layer_config() -> impl Strategy<Value = (Kind, String, usize)> {
    let kinds = vec![Kind::Convolution, Kind::Sage, Kind::Attention, Kind::Attention, Kind::Transformer];
    let numbers = (1usize..=20, 1usize..=5, 0usize..=5, 1u8..=2);
    let reduce = prop::sample::select(vec!["sum", "mean", "max", "min"]);
    (prop::sample::select(kinds), numbers, any::<[bool; 7]>(), prop::sample::select(vec![0.0f32, 0.4]), reduce)
        .prop_map(
            |(
                kind,
                (outputs, heads, edge, version),
                [bias, concat, loops, flag, more, residual, filled],
                dropout,
                reduce,
            )| {
                let edge_option = if edge > 0 { format!(r#","edgeFeatures":{edge}"#) } else { String::new() };
                let heads = format!(r#","numHeads":{heads},"concat":{concat},"dropout":{dropout}{edge_option}"#);
                let own = match kind {
                    Kind::Convolution => {
                        format!(r#","addSelfLoops":{},"normalize":{flag},"improved":{more}"#, loops && flag)
                    }
                    Kind::Sage => {
                        format!(r#","normalize":{flag},"reduce":"{reduce}","rootWeight":{residual},"project":{more}"#)
                    }
                    Kind::Attention => {
                        let fill = if filled { r#","fillValue":-0.75"# } else { "" };
                        let own = format!(r#""addSelfLoops":{loops},"version":{version},"negativeSlope":0.3"#);
                        format!(r#"{heads},{own},"residual":{residual}{fill}"#)
                    }
                    Kind::Transformer => format!(r#"{heads},"beta":{flag}"#),
                };
                let edge = if kind.attends() { edge } else { 0 };
                (kind, format!(r#""outFeatures":{outputs},"useBias":{bias}{own}"#), edge)
            },
        )
}

fn config_of(kind: Kind, json: &str) -> GraphConfig {
    match kind {
        Kind::Convolution => from_json::<ConvolutionConfig>(json).into(),
        Kind::Sage => from_json::<SageConfig>(json).into(),
        Kind::Attention => from_json::<GraphAttentionConfig>(json).into(),
        Kind::Transformer => from_json::<GraphTransformerConfig>(json).into(),
    }
}

fn new_layer(kind: Kind, json: &str) -> GraphLayer {
    GraphLayer::new(config_of(kind, json)).unwrap()
}

/// Returns the configuration with features of two node sets.
fn between(config: GraphConfig, features: [usize; 2]) -> GraphConfig {
    let in_features = features.into();
    match config {
        GraphConfig::Convolution(config) => config.into(),
        GraphConfig::Sage(config) => SageConfig { in_features, ..config }.into(),
        GraphConfig::Attention(config) => GraphAttentionConfig { in_features, ..config }.into(),
        GraphConfig::Transformer(config) => GraphTransformerConfig { in_features, ..config }.into(),
    }
}

/// Creates a layer without zeros among its parameters.
fn layer(config: GraphConfig, random: &mut Random) -> GraphLayer {
    let layer = GraphLayer::new(config).unwrap();
    let data: Vec<Vec<f32>> = layer
        .parameters()
        .entries()
        .iter()
        .map(|entry| {
            let width = 1.0 / (entry.shape.last().copied().unwrap_or(1) as f32).sqrt();
            random.normals(entry.elements()).iter().map(|value| value * width).collect()
        })
        .collect();
    let entries: Vec<Entry<'_>> = layer
        .parameters()
        .entries()
        .iter()
        .zip(&data)
        .map(|(entry, data)| Entry { name: entry.name.to_string().into(), shape: entry.shape.clone(), data })
        .collect();
    layer.loaded(&entries, "").unwrap()
}

/// A layer, and all inputs of one call.
struct Call {
    layer: GraphLayer,
    case: Case,
    x: Vec<f32>,
    x_target: Option<Vec<f32>>,
    edge_attr: Option<(Vec<f32>, usize)>,
    edge_weight: Option<Vec<f32>>,
}

impl Call {
    fn new(kind: Kind, config: &str, case: Case, edge_features: usize, weighted: bool) -> Self {
        let mut random = Random::new(case.seed ^ 0x51);
        // A layer with a weight for each end if the numbers of features differ, and sometimes if they are the same.
        let targets = case.features + case.seed as usize % 3;
        let is_pair = case.two_sets && (targets != case.features || case.seed & 64 == 0);
        let config = format!(r#"{{"inFeatures":{},"seed":{},{config}}}"#, case.features, case.seed >> 11);
        let config = config_of(kind, &config);
        let config = if is_pair { between(config, [case.features, targets]) } else { config };
        let edges = case.source.len();
        Self {
            layer: layer(config, &mut random),
            x: random.normals(case.sources * case.features),
            x_target: case.two_sets.then(|| random.normals(case.nodes * if is_pair { targets } else { case.features })),
            edge_attr: (edge_features > 0).then(|| (random.normals(edges * edge_features), edge_features)),
            edge_weight: (weighted && kind == Kind::Convolution)
                .then(|| (0..edges).map(|_| random.uniform() as f32 + 0.1).collect()),
            case,
        }
    }

    fn run(&self, context: Context<'_>, training: bool) -> (Vec<f32>, Vec<f32>) {
        let (graph, config) = (self.case.graph(), self.layer.settings());
        let inputs = Inputs {
            x: Tensor::new("x", &self.x, &[self.case.sources, config.in_features[0]]).unwrap(),
            x_target: self
                .x_target
                .as_ref()
                .map(|x| Tensor::new("x_target", x, &[self.case.nodes, config.in_features[1]]).unwrap()),
            edge_attr: self
                .edge_attr
                .as_ref()
                .map(|(data, size)| Tensor::new("edge_attr", data, &[self.case.source.len(), *size]).unwrap()),
            edge_weight: self.edge_weight.as_deref(),
        };
        let attends = config.kind.attends();
        let options = GraphOptions { weights: attends, seed: None };
        let mut output = vec![f32::NAN; self.case.nodes * config.output_width()];
        let edges = if attends { self.layer.num_weighted_edges(&graph) } else { 0 };
        let mut weights = vec![f32::NAN; edges * config.num_heads];
        let place = attends.then_some(&mut weights[..]);
        self.layer.forward(context, &graph, inputs, &options, training, &mut output, place).unwrap();
        (output, weights)
    }

    fn expected(&self, training: bool) -> reference::Output {
        let features = self.edge_attr.as_ref().map(|(data, _)| data.as_slice());
        let edges = self.case.edges(features, self.edge_weight.as_deref());
        let (x, is_weighted) = ([&self.x, self.x_target.as_deref().unwrap_or(&self.x)], self.edge_weight.is_some());
        reference::forward(&self.layer, &edges, x, is_weighted, training, self.layer.settings().seed)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_layer_matches_the_oracle(
        (kind, config, edge_features) in layer_config(), case in case(), weighted in any::<bool>(), training in any::<bool>(),
    ) {
        let case = if kind == Kind::Convolution { Case { sources: case.nodes, two_sets: false, ..case } } else { case };
        prop_assume!(kind != Kind::Convolution || case.source.iter().all(|&source| (source as usize) < case.nodes));
        let call = Call::new(kind, &config, case, edge_features, weighted);
        let expected = call.expected(training);
        for context in contexts() {
            let (output, weights) = call.run(context, training);
            assert_near(&output, &expected.output, 3e-5, &format!("{} output", context.level.name()));
            assert_near(&weights, &expected.weights, 1e-5, &format!("{} weights", context.level.name()));
        }
    }

    #[test]
    fn propagate_matches_the_oracle(
        case in case(), weighted in any::<bool>(), spoiled in any::<bool>(),
        reduce in prop::sample::select(vec![Reduce::Sum, Reduce::Mean, Reduce::Max, Reduce::Min]),
    ) {
        let mut random = Random::new(case.seed);
        let mut x = random.normals(case.sources * case.features);
        if spoiled && !x.is_empty() {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
                let place = random.below(x.len());
                x[place] = value;
            }
        }
        let weight = weighted.then(|| random.normals(case.source.len()));
        let graph = case.graph();
        let doubles: Vec<f64> = x.iter().map(|&value| value.into()).collect();
        let expected = reference::propagate(&case.edges(None, weight.as_deref()), &doubles, case.features, reduce);
        let x = Tensor::new("x", &x, &[case.sources, case.features]).unwrap();
        for context in contexts() {
            let mut output = vec![7.0; case.nodes * case.features];
            let weight = weight.as_ref().map(|weight| Tensor::new("edge_weight", weight, &[weight.len()]).unwrap());
            propagate(context, &graph, x, reduce, weight, &mut output).unwrap();
            assert_near(&output, &expected, 1e-5, context.level.name());
        }
    }

    #[test]
    fn propagate_of_heads_equals_propagate_of_each_head(
        case in case(), heads in 1usize..=4,
        reduce in prop::sample::select(vec![Reduce::Sum, Reduce::Mean, Reduce::Max, Reduce::Min]),
    ) {
        let mut random = Random::new(case.seed);
        let Case { sources, nodes, features, .. } = case;
        let (graph, edges) = (case.graph(), case.source.len());
        let (data, weights) = (random.normals(sources * heads * features), random.normals(edges * heads));
        let x = Tensor::new("x", &data, &[sources, heads, features]).unwrap();
        for context in contexts() {
            let mut output = vec![7.0; nodes * heads * features];
            let weight = Tensor::new("edge_weight", &weights, &[edges, heads]).unwrap();
            propagate(context, &graph, x, reduce, Some(weight), &mut output).unwrap();
            for head in 0..heads {
                let part = |values: &[f32]| -> Vec<f32> {
                    let rows = values.chunks(heads * features);
                    rows.flat_map(|row| row[head * features..][..features].to_vec()).collect()
                };
                let (own_x, own_weights) = (part(&data), weights[head.min(weights.len())..].iter().step_by(heads));
                let own_weights: Vec<f32> = own_weights.copied().collect();
                let own_x = Tensor::new("x", &own_x, &[sources, features]).unwrap();
                let weight = Tensor::new("edge_weight", &own_weights, &[edges]).unwrap();
                let mut expected = vec![7.0; nodes * features];
                propagate(context, &graph, own_x, reduce, Some(weight), &mut expected).unwrap();
                prop_assert_eq!(part(&output), expected);
            }
        }
    }

    #[test]
    fn edge_softmax_matches_the_oracle(case in case(), heads in 1usize..=6, hidden in 0.0f64..=1.0) {
        let mut random = Random::new(case.seed);
        let edges = case.source.len();
        let mut scores = random.normals(edges * heads);
        scores.iter_mut().for_each(|score| *score = if random.uniform() < hidden { f32::NEG_INFINITY } else { *score * 9.0 });
        let doubles: Vec<f64> = scores.iter().map(|&score| score.into()).collect();
        let expected = reference::edge_softmax(&case.edges(None, None), &doubles, heads);
        let scores = Tensor::new("scores", &scores, &[edges, heads]).unwrap();
        for context in contexts() {
            let mut weights = vec![7.0; edges * heads];
            edge_softmax(context, &case.graph(), scores, &mut weights).unwrap();
            assert_near(&weights, &expected, 1e-6, context.level.name());
        }
    }
}

/// Returns one call of each layer with all of its features, over a graph of `nodes` nodes and `edges` edges.
fn calls(nodes: usize, edges: usize) -> Vec<Call> {
    let attention = r#""outFeatures":9,"numHeads":3,"dropout":0.3,"edgeFeatures":2"#;
    [
        (Kind::Convolution, r#""outFeatures":17"#.to_owned(), 0),
        (Kind::Sage, r#""outFeatures":17,"normalize":true"#.to_owned(), 0),
        (Kind::Sage, r#""outFeatures":17,"reduce":"max""#.to_owned(), 0),
        (Kind::Attention, format!(r#"{attention},"version":1"#), 2),
        (Kind::Attention, format!(r#"{attention},"version":2"#), 2),
        (Kind::Transformer, format!(r#"{attention},"beta":true"#), 2),
    ]
    .map(|(kind, config, edge)| Call::new(kind, &config, Case::new(nodes, edges, 12, 8), edge, true))
    .into()
}

#[test]
fn every_layer_computes_the_same_bits_for_every_number_of_threads() {
    for call in calls(9000, 60_000) {
        for level in Level::available() {
            let alone = call.run(Context::new(level, 1), true);
            assert!(alone.0.iter().chain(&alone.1).all(|value| value.is_finite()));
            for threads in [2, 3, 5] {
                let kind = call.layer.settings().kind;
                assert!(
                    call.run(Context::new(level, threads), true) == alone,
                    "{kind:?} {} on {threads}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn a_nan_spoils_only_the_nodes_that_it_reaches() {
    for mut call in calls(30, 60) {
        let clean = call.run(Context::default(), false).0;
        let node = call.case.source[7] as usize;
        call.x[node * call.case.features + 3] = f32::NAN;
        let found = call.run(Context::default(), false).0;
        let width = call.layer.output_width();
        let kind = call.layer.settings().kind;
        for (at, (found, clean)) in found.chunks(width).zip(clean.chunks(width)).enumerate() {
            let edges = call.case.source.iter().zip(&call.case.target);
            let reached = at == node || { edges }.any(|(from, to)| (*from as usize, *to as usize) == (node, at));
            let spoiled = found.iter().any(|value| value.is_nan());
            assert_eq!(spoiled, reached, "{kind:?} node {at}");
            assert!(spoiled || found == clean, "{kind:?} node {at}");
        }
    }
}

#[test]
fn invalid_inputs_are_reported_with_their_argument_before_anything_is_written() {
    let numbers = [1.0f32; 64];
    let graph = Graph::from_edges(4, &[0, 1, 2], &[1, 2, 2]).unwrap();
    let tensor = |name, dims: &[usize]| Tensor::new(name, &numbers[..dims.iter().product()], dims).unwrap();
    let fault =
        |kind, config: &str, x: &[usize], attr: Option<&[usize]>, weight: Option<usize>, asked, sizes: [usize; 2]| {
            let layer = new_layer(kind, &format!(r#"{{"inFeatures":3,"outFeatures":2{config}}}"#));
            let inputs = Inputs {
                x: tensor("x", x),
                x_target: None,
                edge_attr: attr.map(|dims| tensor("edge_attr", dims)),
                edge_weight: weight.map(|length| &numbers[..length]),
            };
            let (mut output, mut weights) = (vec![7.0; sizes[0]], vec![7.0; sizes[1]]);
            let options = GraphOptions { weights: asked, seed: None };
            let place = asked.then_some(&mut weights[..]);
            let result = layer.forward(Context::default(), &graph, inputs, &options, false, &mut output, place);
            let error = result.unwrap_err();
            assert!(output.iter().chain(&weights).all(|&value| value == 7.0), "{error}");
            (error.code, error.argument.clone())
        };
    let x: &[usize] = &[4, 3];
    let edges = r#","edgeFeatures":2"#;
    let shape = |argument: &str| (Code::Shape, argument.to_owned());
    let option = |argument: &str| (Code::Option, argument.to_owned());
    assert_eq!(fault(Kind::Sage, "", &[4, 2], None, None, false, [8, 0]), shape("x"));
    assert_eq!(fault(Kind::Sage, "", &[3, 3], None, None, false, [8, 0]), shape("x"));
    assert_eq!(fault(Kind::Sage, "", &[1, 4, 3], None, None, false, [8, 0]), shape("x"));
    assert_eq!(fault(Kind::Sage, "", x, None, None, false, [7, 0]), shape("output"));
    assert_eq!(fault(Kind::Sage, "", x, None, Some(3), false, [8, 0]), option("edge_weight"));
    assert_eq!(fault(Kind::Sage, "", x, None, None, true, [8, 3]), option("weights"));
    assert_eq!(fault(Kind::Convolution, "", x, None, Some(2), false, [8, 0]), shape("edge_weight"));
    assert_eq!(fault(Kind::Convolution, "", x, Some(&[3, 2]), None, false, [8, 0]), option("edge_attr"));
    assert_eq!(fault(Kind::Attention, "", x, Some(&[3, 2]), None, false, [8, 0]), option("edge_attr"));
    assert_eq!(fault(Kind::Attention, edges, x, None, None, false, [8, 0]), option("edge_attr"));
    assert_eq!(fault(Kind::Attention, edges, x, Some(&[3, 1]), None, false, [8, 0]), shape("edge_attr"));
    assert_eq!(fault(Kind::Attention, edges, x, Some(&[2, 2]), None, false, [8, 0]), shape("edge_attr"));
    // The two edges that are not self-loops, and a self-loop for each of the four nodes.
    assert_eq!(fault(Kind::Attention, "", x, None, None, true, [8, 5]), shape("weights"));
    assert_eq!(fault(Kind::Transformer, "", x, None, None, true, [8, 6]), shape("weights"));
}

#[test]
fn state_dicts_load_under_every_naming_or_not_at_all() {
    let layer = new_layer(Kind::Attention, r#"{"inFeatures":2,"outFeatures":1,"version":1}"#);
    static NUMBERS: [f32; 4] = [0.5, -1.0, 2.0, 3.0];
    let entry = |name: &'static str, shape: &[usize]| Entry {
        name: name.into(),
        shape: shape.into(),
        data: &NUMBERS[..shape.iter().product()],
    };
    let load = |entries: &[Entry<'_>], prefix: &str| {
        layer.loaded(entries, prefix).map_err(|error| (error.code, error.argument.clone()))
    };
    let own = [entry("a.att_src", &[1, 1, 1]), entry("a.att_dst", &[1, 1, 1]), entry("a.bias", &[1])];
    let with = |further: &[Entry<'static>]| [own.to_vec(), further.to_vec()].concat();
    let fault = |code, argument: &str| Err((code, argument.to_owned()));
    let weight = |result: Result<GraphLayer, _>| result.map(|layer| layer.parameters().get("lin.weight").to_vec());
    for names in [&["a.lin.weight"][..], &["a.lin_src.weight"], &["a.lin_src.weight", "a.lin_dst.weight"]] {
        let entries: Vec<_> = names.iter().map(|name| entry(name, &[1, 2])).chain([entry("b.other", &[1])]).collect();
        assert_eq!(weight(load(&with(&entries), "a")), Ok(vec![0.5, -1.0]), "{names:?}");
        assert_eq!(weight(load(&with(&entries), "a.")), Ok(vec![0.5, -1.0]), "{names:?}");
    }
    let other = Entry { name: "a.lin_dst.weight".into(), shape: vec![1, 2], data: &NUMBERS[1..3] };
    let differing = with(&[entry("a.lin_src.weight", &[1, 2]), other]);
    assert_eq!(weight(load(&differing, "a")), fault(Code::Format, "a.lin_dst.weight"));
    assert_eq!(weight(load(&own, "a")), fault(Code::Format, "a.lin.weight"));
    assert_eq!(weight(load(&own, "")), fault(Code::Format, "a.att_src"));
    assert_eq!(weight(load(&with(&[entry("a.lin.weight", &[2, 1])]), "a")), fault(Code::Shape, "a.lin.weight"));
    let further = with(&[entry("a.lin.weight", &[1, 2]), entry("a.res.weight", &[1, 2])]);
    assert_eq!(weight(load(&further, "a")), fault(Code::Format, "a.res.weight"));
}

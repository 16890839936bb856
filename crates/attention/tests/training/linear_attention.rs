//! Gradients of linear attention against differences of the oracle.

use ruvector_attention::linear::{FeatureMap, LinearAttention, LinearConfig, LinearOptions, LinearRule, LinearTensors};
use ruvector_attention::simd::Level;
use ruvector_attention::training::linear_attention::{
    LinearAttentionGradients, ResultGradients, feature_map_backward, linear_attention_backward,
};
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle::linear;

use crate::support::Random;
use crate::{assert_gradient, grid_slopes, on_grid, product};

fn tensor<'a>(data: &'a [f32], dims: &[usize]) -> Tensor<'a> {
    Tensor::new("x", data, dims).unwrap()
}

/// The inputs of a call by their places: q, k, v, decay, beta and state. Empty ones are not given.
struct Inputs {
    data: [Vec<f32>; 6],
    dims: [Vec<usize>; 6],
    lengths: Option<Vec<i32>>,
}

impl Inputs {
    fn new(dims: [&[usize]; 6], lengths: Option<Vec<i32>>) -> Self {
        let mut random = Random::new(11);
        let dims = dims.map(<[usize]>::to_vec);
        let data = [0, 1, 2, 3, 4, 5].map(|place| {
            let len = if dims[place].is_empty() { 0 } else { dims[place].iter().product() };
            let values = on_grid(random.normals(len));
            // Decays are below 0, and keys short enough for the delta rules to stay small.
            let factor = if place == 3 {
                -0.25
            } else if place == 4 || place == 1 {
                0.5
            } else {
                1.0
            };
            values.into_iter().map(|value| if place == 3 { value.abs() * factor } else { value * factor }).collect()
        });
        Self { data, dims, lengths }
    }

    fn tensors<'a>(&'a self, data: [&'a [f32]; 6]) -> LinearTensors<'a> {
        let given = |place: usize| (!self.dims[place].is_empty()).then(|| tensor(data[place], &self.dims[place]));
        let required = |place: usize| tensor(data[place], &self.dims[place]);
        LinearTensors {
            kv_lengths: self.lengths.as_deref(),
            decay: given(3),
            beta: given(4),
            state: given(5),
            ..LinearTensors::new([required(0), required(1), required(2)])
        }
    }

    /// Checks all gradients against differences.
    fn check(&self, config: LinearConfig, causal: bool) {
        let attention = LinearAttention::new(config).unwrap();
        let is_kernel = attention.config().rule == LinearRule::Kernel;
        let slices = self.data.each_ref().map(|data| &data[..]);
        let run = |data: [&[f32]; 6]| -> [Vec<f64>; 2] {
            let tensors = self.tensors(data);
            match is_kernel {
                true => [
                    linear::linear_attention(&attention, [tensors.q, tensors.k, tensors.v], causal, tensors.kv_lengths),
                    vec![],
                ],
                false => linear::recurrent(&attention, tensors),
            }
        };
        let sizes = run(slices).map(|values| values.len());
        let mut random = Random::new(3);
        let [gradient, state_gradient] = sizes.map(|len| random.normals(len));
        let tensors = self.tensors(slices);
        let shape = tensors.q.shape.with_last(attention.output_width(tensors.v.shape));
        let results = ResultGradients {
            output: tensor(&gradient, shape.dims()),
            state: (!is_kernel).then(|| tensor(&state_gradient, &attention.state_shape(tensors.v.shape))),
        };
        let options = LinearOptions { causal: Some(causal), ..LinearOptions::default() };
        let backward = |threads: usize| {
            let mut found = self.data.each_ref().map(|data| vec![f32::NAN; data.len()]);
            let [q, k, v, decay, beta, state] = found.each_mut().map(|data| &mut data[..]);
            let given = |place: usize, data| (!self.dims[place].is_empty()).then_some(data);
            let gradients = LinearAttentionGradients {
                q,
                k,
                v,
                decay: given(3, decay),
                beta: given(4, beta),
                state: given(5, state),
            };
            linear_attention_backward(
                &attention,
                Context::new(Level::current(), threads),
                tensors,
                options,
                results,
                gradients,
            )
            .unwrap();
            found
        };
        let found = backward(1);
        assert!(found == backward(3));
        for (place, found) in found.iter().enumerate().filter(|(_, found)| !found.is_empty()) {
            let loss = |values: &[f32]| {
                let mut moved = slices;
                moved[place] = values;
                let [output, state] = run(moved);
                let state = if is_kernel { 0.0 } else { product(&state, &state_gradient) };
                product(&output, &gradient) + state
            };
            assert_gradient(found, &grid_slopes(slices[place], &loss), &format!("{:?} {place}", attention.config()));
        }
    }
}

#[test]
fn gradients_of_kernels_match_differences() {
    for feature_map in [FeatureMap::Elu, FeatureMap::FavorPlus] {
        for causal in [false, true] {
            let config = |num_heads| LinearConfig {
                model_dim: 4 * num_heads,
                num_heads,
                feature_map: Some(feature_map),
                ..LinearConfig::default()
            };
            let four = [&[2, 2, 5, 4][..], &[2, 2, 7, 4], &[2, 2, 7, 3], &[], &[], &[]];
            Inputs::new(four, Some(vec![7, 4])).check(config(2), causal);
            let three = [&[1, 6, 8][..], &[1, 3, 8], &[1, 3, 10], &[], &[], &[]];
            Inputs::new(three, None).check(config(2), causal);
        }
    }
}

#[test]
fn gradients_of_recurrent_rules_match_differences() {
    for rule in [LinearRule::Linear, LinearRule::Gated, LinearRule::Delta, LinearRule::GatedDelta] {
        let has_decay = matches!(rule, LinearRule::Gated | LinearRule::GatedDelta);
        let has_beta = matches!(rule, LinearRule::Delta | LinearRule::GatedDelta);
        let choose = |is_given: bool, dims: &'static [usize]| if is_given { dims } else { &[] };
        let config = LinearConfig { model_dim: 12, num_heads: 4, kv_heads: Some(2), rule, ..LinearConfig::default() };
        let four = [
            &[1, 4, 35, 3][..],
            &[1, 2, 35, 3],
            &[1, 2, 35, 2],
            choose(has_decay, &[1, 2, 35]),
            choose(has_beta, &[1, 1, 35]),
            &[1, 2, 3, 2],
        ];
        Inputs::new(four, None).check(config.clone(), true);
        let three =
            [&[2, 4, 12][..], &[2, 4, 6], &[2, 4, 8], choose(has_decay, &[2, 4, 6]), choose(has_beta, &[2, 4, 2]), &[]];
        Inputs::new(three, None).check(LinearConfig { scale: Some(0.7), ..config }, true);
    }
}

#[test]
fn the_gradient_of_a_feature_map_matches_differences() {
    for feature_map in [FeatureMap::Elu, FeatureMap::FavorPlus] {
        let config =
            LinearConfig { model_dim: 6, num_heads: 2, feature_map: Some(feature_map), ..LinearConfig::default() };
        let attention = LinearAttention::new(config).unwrap();
        let mut random = Random::new(5);
        let x = on_grid(random.normals(2 * 3 * 6));
        let width = 2 * attention.feature_dim();
        let gradient = random.normals(6 * width);
        let mut found = vec![f32::NAN; x.len()];
        feature_map_backward(
            &attention,
            Context::default(),
            tensor(&gradient, &[2, 3, width]),
            tensor(&x, &[2, 3, 6]),
            &mut found,
        )
        .unwrap();
        let expected = grid_slopes(&x, &|x| product(&linear::feature_map(&attention, x), &gradient));
        assert_gradient(&found, &expected, &format!("{feature_map:?}"));
    }
}

#[test]
fn gradients_that_do_not_fit_are_errors() {
    let attention = LinearAttention::new(LinearConfig { model_dim: 4, ..LinearConfig::default() }).unwrap();
    let x = [0.5; 12];
    let q = tensor(&x, &[1, 3, 4]);
    let check = |output: Tensor<'_>, state: Option<Tensor<'_>>| {
        let [mut a, mut b, mut c] = [[0.0; 12]; 3];
        let gradients =
            LinearAttentionGradients { q: &mut a, k: &mut b, v: &mut c, decay: None, beta: None, state: None };
        let tensors = LinearTensors::new([q; 3]);
        let results = ResultGradients { output, state };
        let error = linear_attention_backward(
            &attention,
            Context::default(),
            tensors,
            LinearOptions::default(),
            results,
            gradients,
        )
        .unwrap_err();
        (error.code, error.argument.clone())
    };
    assert_eq!(check(tensor(&x, &[1, 4, 3]), None), (Code::Shape, "gradient".into()));
    assert_eq!(check(q, Some(q)), (Code::Option, "state_gradient".into()));
}

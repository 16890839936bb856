//! Gradients of hyperbolic geometry against differences of the oracle's formulas, for points with free coordinates.

use ruvector_attention::attention::Arrays;
use ruvector_attention::attention::mask::Mask;
use ruvector_attention::hyperbolic::functions::{Function, FunctionOptions};
use ruvector_attention::hyperbolic::{HyperbolicAttention, HyperbolicConfig, HyperbolicOptions, InputKind, Manifold};
use ruvector_attention::training::hyperbolic::{
    distances_backward, function_backward, hyperbolic_backward, midpoint_backward,
};
use ruvector_attention::{Code, Context, Tensor};
use ruvector_attention_oracle::hyperbolic::Space;

use crate::support::Random;
use crate::{assert_gradient, doubles, product, slopes};

fn tensor<'a>(data: &'a [f32], dims: &[usize]) -> Tensor<'a> {
    Tensor::new("x", data, dims).unwrap()
}

/// A space, its oracle, and the number of coordinates of a point of three dimensions.
fn spaces(inputs: InputKind) -> Vec<(HyperbolicAttention, Space, usize)> {
    let of = |curvature: f64, manifold: Manifold| {
        let config = HyperbolicConfig { curvature, manifold, temperature: 0.8, inputs, num_heads: 1 };
        let lorentz = manifold == Manifold::Lorentz;
        let size = if lorentz && inputs == InputKind::Manifold { 4 } else { 3 };
        (HyperbolicAttention::new(config).unwrap(), Space { c: -curvature, lorentz }, size)
    };
    vec![
        of(-1.0, Manifold::Poincare),
        of(-0.25, Manifold::Poincare),
        of(-1.0, Manifold::Lorentz),
        of(-2.0, Manifold::Lorentz),
    ]
}

/// Draws points of the model.
fn points(random: &mut Random, space: Space, count: usize) -> Vec<f32> {
    let point = |random: &mut Random| -> Vec<f32> {
        let tangent: Vec<f64> = random.normals(3).into_iter().map(|x| 0.6 * f64::from(x)).collect();
        space.exp_origin(&tangent).into_iter().map(|x| x as f32).collect()
    };
    (0..count).flat_map(|_| point(random)).collect()
}

/// The points in doubles that the floats stand for: on the hyperboloid, the first coordinate follows from the others.
fn exact(space: Space, size: usize, points: &[f32]) -> Vec<f64> {
    doubles(points).chunks(size).flat_map(|point| space.on_manifold(point)).collect()
}

#[test]
fn gradients_of_distances_match_differences() {
    for (attention, space, size) in spaces(InputKind::Manifold) {
        let mut random = Random::new(3);
        let [a, b] = [4, 5].map(|count| points(&mut random, space, count));
        let [exact_a, exact_b] = [&a, &b].map(|points| exact(space, size, points));
        let gradient = random.normals(20);
        let matrix = |a: &[f64], b: &[f64]| -> f64 {
            let distances: Vec<f64> =
                a.chunks(size).flat_map(|a| b.chunks(size).map(|b| space.distance(a, b)).collect::<Vec<_>>()).collect();
            product(&distances, &gradient)
        };
        let (mut for_a, mut for_b) = (vec![f32::NAN; a.len()], vec![f32::NAN; b.len()]);
        let inputs = [tensor(&a, &[4, size]), tensor(&b, &[5, size])];
        distances_backward(
            &attention,
            Context::default(),
            tensor(&gradient, &[4, 5]),
            inputs,
            [&mut for_a, &mut for_b],
        )
        .unwrap();
        assert_gradient(&for_a, &slopes(&exact_a, &|a| matrix(a, &exact_b)), "a");
        assert_gradient(&for_b, &slopes(&exact_b, &|b| matrix(&exact_a, b)), "b");

        // A single row for all receives the sum.
        let one = &exact_b[..size];
        let pairs = |a: &[f64], b: &[f64]| -> f64 {
            product(&a.chunks(size).map(|a| space.distance(a, b)).collect::<Vec<f64>>(), &gradient[..4])
        };
        let mut for_one = vec![f32::NAN; size];
        let arguments = [Some(tensor(&a, &[4, size])), Some(tensor(&b[..size], &[1, size]))];
        let options = FunctionOptions { function: Function::Distance, ..FunctionOptions::default() };
        function_backward(
            &attention,
            Context::default(),
            &options,
            (tensor(&gradient[..4], &[4]), arguments),
            [&mut for_a, &mut for_one],
        )
        .unwrap();
        assert_gradient(&for_a, &slopes(&exact_a, &|a| pairs(a, one)), "a of pairs");
        assert_gradient(&for_one, &slopes(one, &|b| pairs(&exact_a, b)), "b of pairs");
    }
}

#[test]
fn gradients_of_maps_at_the_origin_match_differences() {
    for (attention, space, size) in spaces(InputKind::Manifold) {
        let mut random = Random::new(4);
        let vectors: Vec<f32> = random.normals(12).into_iter().map(|x| 0.5 * x).collect();
        let gradient = random.normals(4 * size);
        let options = |function| FunctionOptions { function, ..FunctionOptions::default() };
        let mut found = vec![f32::NAN; 12];
        let arguments = [Some(tensor(&vectors, &[4, 3])), None];
        let given = (tensor(&gradient, &[4, size]), arguments);
        function_backward(&attention, Context::default(), &options(Function::ExpMap0), given, [&mut found, &mut []])
            .unwrap();
        let exp = |x: &[f64]| product(&x.chunks(3).flat_map(|x| space.exp_origin(x)).collect::<Vec<f64>>(), &gradient);
        assert_gradient(&found, &slopes(&doubles(&vectors), &exp), "expMap0");

        let given = points(&mut random, space, 4);
        let mut found = vec![f32::NAN; given.len()];
        let arguments = [Some(tensor(&given, &[4, size])), None];
        let call = (tensor(&gradient[..12], &[4, 3]), arguments);
        function_backward(&attention, Context::default(), &options(Function::LogMap0), call, [&mut found, &mut []])
            .unwrap();
        // For free coordinates of the hyperboloid, geoopt's distance from the origin is that of the first one.
        let root = space.c.sqrt();
        let log = |x: &[f64]| -> Vec<f64> {
            if !space.lorentz {
                return space.log_origin(x);
            }
            let length = x[1..].iter().map(|x| x * x).sum::<f64>().sqrt();
            x[1..].iter().map(|coordinate| (root * x[0]).acosh() / root * coordinate / length).collect()
        };
        let loss = |x: &[f64]| product(&x.chunks(size).flat_map(log).collect::<Vec<f64>>(), &gradient[..12]);
        assert_gradient(&found, &slopes(&exact(space, size, &given), &loss), "logMap0");
    }
}

#[test]
fn gradients_of_midpoints_match_differences() {
    for (attention, space, size) in spaces(InputKind::Manifold) {
        let mut random = Random::new(6);
        let given = points(&mut random, space, 5);
        let weights: Vec<f32> = (0..10).map(|_| random.uniform() as f32 + 0.1).collect();
        let gradient = random.normals(2 * size);
        let middle = |points: &[f64], weights: &[f64]| -> f64 {
            let points: Vec<Vec<f64>> = points.chunks(size).map(<[f64]>::to_vec).collect();
            product(
                &weights.chunks(5).flat_map(|weights| space.midpoint(&points, weights, size)).collect::<Vec<f64>>(),
                &gradient,
            )
        };
        let (mut for_points, mut for_weights) = (vec![f32::NAN; given.len()], vec![f32::NAN; 10]);
        let inputs = (tensor(&given, &[5, size]), Some(tensor(&weights, &[2, 5])));
        midpoint_backward(
            &attention,
            Context::default(),
            tensor(&gradient, &[2, size]),
            inputs,
            (&mut for_points, Some(&mut for_weights)),
        )
        .unwrap();
        let (points, weights) = (exact(space, size, &given), doubles(&weights));
        assert_gradient(&for_points, &slopes(&points, &|points| middle(points, &weights)), "points");
        assert_gradient(&for_weights, &slopes(&weights, &|weights| middle(&points, weights)), "weights");
    }
}

#[test]
fn gradients_of_attention_match_differences() {
    for inputs in [InputKind::Manifold, InputKind::Tangent] {
        for (attention, space, size) in spaces(inputs) {
            let is_tangent = inputs == InputKind::Tangent;
            let mut random = Random::new(8);
            let (queries, keys) = (4, 6);
            let rows = [queries, keys, keys].map(|count| match is_tangent {
                true => random.normals(count * 3).into_iter().map(|x| 0.5 * x).collect(),
                false => points(&mut random, space, count),
            });
            let gradient = random.normals(queries * size);
            let mask = random.normals(keys);
            let point = |row: &[f64]| if is_tangent { space.exp_origin(row) } else { row.to_vec() };
            let run = |[q, k, v]: [&[f64]; 3]| -> f64 {
                let points = |rows: &[f64]| -> Vec<Vec<f64>> { rows.chunks(size).map(point).collect() };
                let (keys, values) = (points(k), points(v));
                let width = values[0].len();
                let row = |(i, query): (usize, Vec<f64>)| -> Vec<f64> {
                    // Causal from the second key on.
                    let seen = i + 2;
                    let scores: Vec<f64> = keys[..seen]
                        .iter()
                        .zip(&mask)
                        .map(|(key, &bias)| f64::from(bias) - space.distance(&query, key) / 0.8)
                        .collect();
                    let weights = ruvector_attention_oracle::softmax(&scores).0;
                    let middle = space.midpoint(&values[..seen], &weights, width);
                    if is_tangent { space.log_origin(&middle) } else { middle }
                };
                product(&points(q).into_iter().enumerate().flat_map(row).collect::<Vec<f64>>(), &gradient)
            };
            let dims = [queries, keys, keys].map(|count| [1, count, size]);
            let tensors = [0, 1, 2].map(|n| tensor(&rows[n], &dims[n]));
            let options = HyperbolicOptions { causal: true, query_offset: Some(1), ..HyperbolicOptions::default() };
            let arrays = Arrays { mask: Some(Mask::Float(tensor(&mask, &[1, 1, keys]))), ..Arrays::default() };
            let mut found = rows.each_ref().map(|rows| vec![f32::NAN; rows.len()]);
            let outputs = found.each_mut().map(|found| &mut found[..]);
            hyperbolic_backward(
                &attention,
                Context::default(),
                (tensor(&gradient, &[1, queries, size]), tensors),
                &options,
                arrays,
                outputs,
            )
            .unwrap();
            let exact = rows.each_ref().map(|rows| if is_tangent { doubles(rows) } else { exact(space, size, rows) });
            for (place, found) in found.iter().enumerate() {
                let loss = |rows: &[f64]| {
                    let mut moved = exact.each_ref().map(|rows| &rows[..]);
                    moved[place] = rows;
                    run(moved)
                };
                assert_gradient(found, &slopes(&exact[place], &loss), &format!("{inputs:?} {space:?} {place}"));
            }
        }
    }
}

#[test]
fn equal_points_have_no_gradient_and_other_functions_are_errors() {
    let (attention, _, _) = spaces(InputKind::Manifold).swap_remove(0);
    let (a, one) = ([0.1, 0.2, 0.3], [1.0]);
    let arguments = [Some(tensor(&a, &[1, 3])), Some(tensor(&a, &[1, 3]))];
    let [mut for_a, mut for_b] = [[f32::NAN; 3]; 2];
    let run = |function, gradient: Tensor<'_>, outputs: [&mut [f32]; 2]| {
        let options = FunctionOptions { function, ..FunctionOptions::default() };
        function_backward(&attention, Context::default(), &options, (gradient, arguments), outputs)
    };
    run(Function::Distance, tensor(&one, &[1]), [&mut for_a[..], &mut for_b[..]]).unwrap();
    assert_eq!((for_a, for_b), ([0.0; 3], [0.0; 3]));
    let error = run(Function::MobiusAdd, tensor(&a, &[1, 3]), [&mut for_a[..], &mut for_b[..]]).unwrap_err();
    assert_eq!((error.code, &*error.argument), (Code::Option, "function"));
}

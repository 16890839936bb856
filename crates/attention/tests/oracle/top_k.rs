//! Exact search at every level against sorted measures in 64 bits.

use ruvector_attention::math::top_k::{Metric, TopK, top_k};
use ruvector_attention::{Code, Context, Result, Tensor};

use crate::support::{Random, contexts};

const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::Euclidean];

/// Searches `vectors [count, depth]` for each row of `queries`.
fn search(
    context: Context<'_>,
    metric: Metric,
    depth: usize,
    [queries, vectors]: [&[f32]; 2],
    k: usize,
) -> Result<(Vec<f32>, Vec<i32>)> {
    let rows = queries.len() / depth;
    let (mut values, mut indices) = (vec![f32::NAN; rows * k], vec![-1; rows * k]);
    let queries = Tensor::new("queries", queries, &[rows, depth])?;
    let vectors = Tensor::new("vectors", vectors, &[vectors.len() / depth, depth])?;
    let output = TopK { values: &mut values, indices: &mut indices };
    top_k(context, queries, vectors, k, metric, output)?;
    Ok((values, indices))
}

/// Returns the measure in 64 bits.
fn measure(metric: Metric, query: &[f32], vector: &[f32]) -> f64 {
    let sum = |term: fn(f64, f64) -> f64, a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| term(f64::from(a), f64::from(b))).sum()
    };
    let dot = |a: &[f32], b: &[f32]| sum(|a, b| a * b, a, b);
    match metric {
        Metric::Dot => dot(query, vector),
        Metric::Cosine => dot(query, vector) / (dot(query, query) * dot(vector, vector)).sqrt(),
        Metric::Euclidean => sum(|a, b| (a - b) * (a - b), query, vector).sqrt(),
    }
}

#[test]
fn the_best_are_those_of_sorted_measures_at_every_edge_of_tiles_blocks_and_parts() {
    let mut random = Random::new(7);
    for context in contexts() {
        for threads in [1, 3] {
            for (rows, count, depth, k) in
                [(1, 1, 1, 1), (2, 3, 5, 3), (7, 65, 33, 9), (9, 64, 16, 64), (70, 130, 20, 4), (3, 4100, 8, 12)]
            {
                let (queries, vectors) = (random.normals(rows * depth), random.normals(count * depth));
                for metric in METRICS {
                    let context = Context { threads, ..context };
                    let (values, indices) = search(context, metric, depth, [&queries, &vectors], k).unwrap();
                    for (row, query) in queries.chunks_exact(depth).enumerate() {
                        let mut measures: Vec<f64> =
                            vectors.chunks_exact(depth).map(|vector| measure(metric, query, vector)).collect();
                        let list = row * k..(row + 1) * k;
                        for (&value, &index) in values[list.clone()].iter().zip(&indices[list.clone()]) {
                            assert!((f64::from(value) - measures[index as usize]).abs() < 1e-4);
                        }
                        measures
                            .sort_by(|a, b| if metric == Metric::Euclidean { a.total_cmp(b) } else { b.total_cmp(a) });
                        for (&value, &expected) in values[list].iter().zip(&measures) {
                            assert!((f64::from(value) - expected).abs() < 1e-4, "{metric:?}: {value} for {expected}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn on_a_tie_the_lower_index_comes_first_in_any_number_of_parts() {
    let vectors: Vec<f32> = (0..5000).map(|index| ((index * 7) % 5) as f32).collect();
    for context in contexts() {
        for (threads, rows) in [(1, 1), (4, 1), (4, 9)] {
            let context = Context { threads, ..context };
            for metric in [Metric::Dot, Metric::Euclidean] {
                let queries = vec![if metric == Metric::Dot { 1.0 } else { 9.0 }; rows];
                let (_, indices) = search(context, metric, 1, [&queries, &vectors], 40).unwrap();
                // Every fifth vector is 4, the largest.
                let expected: Vec<i32> = (0..40).map(|place| 2 + 5 * place).collect();
                for indices in indices.chunks_exact(40) {
                    assert_eq!(indices, expected, "{metric:?} on {threads} threads");
                }
            }
        }
    }
}

#[test]
fn lengths_of_any_magnitude_give_cosines_and_a_length_of_zero_gives_zero() {
    for context in contexts() {
        let vectors = [1e-30, 0.0, 3e30, 3e30, 0.0, 0.0];
        let (values, indices) = search(context, Metric::Cosine, 2, [&[1e30, 0.0], &vectors], 3).unwrap();
        assert_eq!(indices, [0, 1, 2]);
        assert!((values[0] - 1.0).abs() < 1e-6 && (values[1] - 0.5f32.sqrt()).abs() < 1e-6 && values[2] == 0.0);
    }
}

#[test]
fn a_query_of_nan_spoils_its_own_row_and_k_has_a_range() {
    for context in contexts() {
        for metric in METRICS {
            let queries = [f32::NAN, 1.0, 1.0, 0.5];
            let vectors = [1.0, 0.0, 0.0, 2.0, 3.0, 3.0];
            let (values, _) = search(context, metric, 2, [&queries, &vectors], 2).unwrap();
            assert!(
                values[..2].iter().all(|value| value.is_nan()) && values[2..].iter().all(|value| value.is_finite())
            );
            for k in [0, 4] {
                let error = search(context, metric, 2, [&queries, &vectors], k).unwrap_err();
                assert_eq!((error.code, error.argument.as_str()), (Code::Option, "k"));
            }
        }
    }
}

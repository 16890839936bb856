//! The gradients of the rule 'kernel'.
//!
//! With the weights `φ(q_i)·φ(k_j)` and their sum Z, the gradient of a row's sums and of Z is `g_i = (o'_i, −o'_i·o_i)
//! / Z_i`, for values with a 1 behind them. Then `φ(q_i)' = S_i g_i` for the sums S of keys that the row sees, and
//! `φ(k_j)' = R_j v_j` and `v_j' = R_jᵀ φ(k_j)` for the sums `R = Σ φ(q_i) ⊗ g_i` of rows that see the key.

use std::ops::Range;

use super::products::{add_outer, add_product, add_transposed, dot, write};
use super::{Heads, LinearAttentionGradients};
use crate::context::{Context, operations};
use crate::error::Result;
use crate::linear::{FeatureMap, LinearAttention, LinearTensors};
use crate::simd::{Kernel, Simd};
use crate::tensor::{Tensor, check_output, try_zeroed};
use crate::training::check_gradient;

/// Computes the gradients.
pub(super) fn run(
    attention: &LinearAttention,
    context: Context<'_>,
    (tensors, is_causal): (LinearTensors<'_>, bool),
    gradient: Tensor<'_>,
    gradients: LinearAttentionGradients<'_>,
) -> Result<()> {
    let LinearTensors { q, k, v, kv_lengths, .. } = tensors;
    let is_joined = q.shape.rank() == 3;
    let heads = |tensor: Tensor<'_>| Heads::new(tensor.shape, attention.config().num_heads, is_joined);
    let [queries, keys, values, outputs] = [heads(q), heads(k), heads(v), heads(gradient)];
    let count = queries.batch * queries.heads;
    let [mut for_q, mut for_k, mut for_v] = [
        try_zeroed("working memory", count * queries.len())?,
        try_zeroed("working memory", count * keys.len())?,
        try_zeroed("working memory", count * values.len())?,
    ];
    let map = FeatureMaps::new(attention);
    let cost = operations([queries.length + keys.length, map.features, 6 * values.size + 8]);
    if count == 0 {
        return Ok(());
    }
    let targets = [&mut for_q[..], &mut for_k, &mut for_v];
    context.for_each_rows(count, 1, operations([count, 2]).saturating_mul(cost), targets, |item, targets| {
        let (b, head) = (item.start / queries.heads, item.start % queries.heads);
        let visible = kv_lengths.map_or(keys.length, |lengths| lengths[b] as usize);
        context.level.run(Head {
            map,
            queries: queries.read(q.data, b, head, 0..queries.length),
            keys: keys.read(k.data, b, head, 0..visible),
            values: values.read(v.data, b, head, 0..visible),
            gradients: outputs.read(gradient.data, b, head, 0..outputs.length),
            sizes: [queries.size, values.size],
            is_causal,
            targets,
        });
    });
    for (heads, rows, target) in
        [(queries, for_q, gradients.q), (keys, for_k, gradients.k), (values, for_v, gradients.v)]
    {
        target.fill(0.0);
        heads.add(&rows, heads.heads, target);
    }
    Ok(())
}

/// φ in doubles.
#[derive(Clone, Copy)]
struct FeatureMaps<'a> {
    kind: FeatureMap,
    features: usize,
    /// `ω / D^¼`, `[F, D]`, for FAVOR+.
    projection: &'a [f32],
}

impl<'a> FeatureMaps<'a> {
    fn new(attention: &'a LinearAttention) -> Self {
        let kind = attention.config().feature_map.unwrap_or_default();
        Self { kind, features: attention.feature_dim(), projection: attention.projection() }
    }

    /// Returns the features of rows of `size` values; for FAVOR+ their exponents.
    fn exponents(&self, rows: &[f64], size: usize, is_key: bool) -> Vec<f64> {
        if self.kind != FeatureMap::FavorPlus {
            let feature = |&x: &f64| match self.kind {
                FeatureMap::Elu if x > 0.0 => x + 1.0,
                FeatureMap::Elu => x.exp(),
                _ => x.max(0.0) + f64::from(1e-3f32),
            };
            return rows.iter().map(feature).collect();
        }
        let half = 0.5 / (size as f64).sqrt();
        let row = |row: &[f64]| {
            let square = if is_key { half * dot(row, row) } else { 0.0 };
            let exponent = |direction: &[f32]| -> f64 {
                direction.iter().zip(row).map(|(&factor, x)| f64::from(factor) * x).sum::<f64>() - square
            };
            self.projection.chunks_exact(size).map(exponent).collect::<Vec<f64>>()
        };
        rows.chunks_exact(size).flat_map(row).collect()
    }

    /// Turns exponents of FAVOR+ into features; `shift` is subtracted.
    fn exponentiate(&self, exponents: &mut [f64]) {
        if self.kind == FeatureMap::FavorPlus {
            let shift = largest(exponents);
            exponents.iter_mut().for_each(|exponent| *exponent = (*exponent - shift).exp());
        }
    }

    /// Adds the gradient of a row whose features have the gradient `slopes`. Exponents of keys include the square.
    fn add_row(&self, [row, features, slopes]: [&[f64]; 3], is_key: bool, target: &mut [f64]) {
        if self.kind != FeatureMap::FavorPlus {
            for (((target, &x), feature), slope) in target.iter_mut().zip(row).zip(features).zip(slopes) {
                *target += match self.kind {
                    _ if x > 0.0 => *slope,
                    FeatureMap::Elu => slope * feature,
                    _ => 0.0,
                };
            }
            return;
        }
        let mut total = 0.0;
        for ((direction, feature), slope) in self.projection.chunks_exact(row.len()).zip(features).zip(slopes) {
            let slope = feature * slope;
            total += slope;
            target.iter_mut().zip(direction).for_each(|(target, &factor)| *target += slope * f64::from(factor));
        }
        if is_key {
            let factor = total / (row.len() as f64).sqrt();
            target.iter_mut().zip(row).for_each(|(target, x)| *target -= factor * x);
        }
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MIN, f64::max)
}

/// One item.
struct Head<'a> {
    map: FeatureMaps<'a>,
    queries: Vec<f64>,
    /// The keys and values that rows may see.
    keys: Vec<f64>,
    values: Vec<f64>,
    gradients: Vec<f64>,
    /// D and E.
    sizes: [usize; 2],
    is_causal: bool,
    targets: [&'a mut [f32]; 3],
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) {
        let Self { map, queries, keys, values, gradients, sizes: [size, value_dim], is_causal, targets } = self;
        let [for_q, for_k, for_v] = targets;
        let (features, width) = (map.features, value_dim + 1);
        let (rows, count) = (queries.len() / size, keys.len() / size);

        // Step 1: the features; factors that all features of a query share, or those of all keys, cancel.
        let mut query_features = map.exponents(&queries, size, false);
        query_features.chunks_exact_mut(features).for_each(|row| map.exponentiate(row));
        let mut key_features = map.exponents(&keys, size, true);
        map.exponentiate(&mut key_features);
        let of = |data: &[f64], index: usize, width: usize| data[index * width..][..width].to_vec();
        let value = |j: usize| {
            let mut value = of(&values, j, value_dim);
            value.push(1.0);
            value
        };

        // Step 2: sums over the keys that each row sees, and the gradients of queries and of the rows' sums.
        let mut sums = vec![0.0; features * width];
        let mut row_gradients = vec![0.0; rows * width];
        let add_keys = |sums: &mut [f64], keys: Range<usize>| {
            keys.for_each(|j| add_outer(sums, &key_features[j * features..][..features], &value(j)));
        };
        if !is_causal {
            add_keys(&mut sums, 0..count);
        }
        for i in 0..rows {
            if is_causal && i < count {
                add_keys(&mut sums, i..i + 1);
            }
            let query = &query_features[i * features..][..features];
            let mut found = vec![0.0; width];
            add_transposed(&sums, query, &mut found);
            let total = found[value_dim];
            // A row that sees no key is zeros.
            if total == 0.0 {
                continue;
            }
            let gradient = &gradients[i * value_dim..][..value_dim];
            let along = dot(gradient, &found[..value_dim]) / total;
            let row_gradient = &mut row_gradients[i * width..][..width];
            for (target, gradient) in row_gradient.iter_mut().zip(gradient.iter().chain([&-along])) {
                *target = gradient / total;
            }
            let mut slopes = vec![0.0; features];
            add_product(&sums, row_gradient, &mut slopes);
            let mut target = vec![0.0; size];
            map.add_row([&queries[i * size..][..size], query, &slopes], false, &mut target);
            write(&mut for_q[i * size..], &target);
        }

        // Step 3: sums over the rows that see each key, and the gradients of keys and values.
        sums.fill(0.0);
        let add_rows = |sums: &mut [f64], rows: Range<usize>| {
            rows.for_each(|i| {
                add_outer(sums, &query_features[i * features..][..features], &row_gradients[i * width..][..width]);
            });
        };
        // Later rows see no further keys.
        let seen = if is_causal { count.min(rows) } else { count };
        add_rows(&mut sums, if is_causal { seen..rows } else { 0..rows });
        for j in (0..seen).rev() {
            if is_causal {
                add_rows(&mut sums, j..j + 1);
            }
            let key = &key_features[j * features..][..features];
            let (mut slopes, mut for_value) = (vec![0.0; features], vec![0.0; width]);
            add_product(&sums, &value(j), &mut slopes);
            add_transposed(&sums, key, &mut for_value);
            let mut target = vec![0.0; size];
            map.add_row([&keys[j * size..][..size], key, &slopes], true, &mut target);
            write(&mut for_k[j * size..], &target);
            write(&mut for_v[j * value_dim..][..value_dim], &for_value);
        }
    }
}

/// Computes the gradient of [`LinearAttention::feature_map`], called with the same x.
///
/// # Errors
/// Errors of the forward call, and `SHAPE` for a gradient of another shape.
pub fn feature_map_backward(
    attention: &LinearAttention,
    context: Context<'_>,
    gradient: Tensor<'_>,
    x: Tensor<'_>,
    output: &mut [f32],
) -> Result<()> {
    let heads = if x.shape.rank() == 3 { attention.config().num_heads } else { 1 };
    check_gradient(gradient, x.shape.with_last(heads * attention.feature_dim()))?;
    // The forward call checks x.
    let mut features = try_zeroed("working memory", gradient.data.len())?;
    attention.feature_map(context, x, &mut features)?;
    check_output("output", output, x.data.len())?;
    if output.is_empty() {
        return Ok(());
    }
    let map = FeatureMaps::new(attention);
    let size = attention.config().model_dim / attention.config().num_heads;
    let (count, rows_per_item) = (x.data.len() / size, 64);
    context.for_each_rows(
        count,
        rows_per_item,
        operations([count, map.features, 4 * size]),
        [output],
        |item, [output]| {
            for (index, output) in item.zip(output.chunks_exact_mut(size)) {
                let row: Vec<f64> = x.data[index * size..][..size].iter().map(|&x| x.into()).collect();
                let slopes =
                    gradient.data[index * map.features..][..map.features].iter().map(|&slope| f64::from(slope));
                let (mut features, mut slopes) = (map.exponents(&row, size, false), slopes.collect::<Vec<f64>>());
                if map.kind == FeatureMap::FavorPlus {
                    // The largest exponent is subtracted from all, so that its feature is constant.
                    let exponents = features.clone();
                    map.exponentiate(&mut features);
                    let factor = 1.0 / (map.features as f64).sqrt();
                    slopes.iter_mut().for_each(|slope| *slope *= factor);
                    let total = dot(&slopes, &features);
                    let max = largest(&exponents);
                    if let Some(place) = exponents.iter().position(|&exponent| exponent == max) {
                        slopes[place] -= total;
                    }
                }
                let mut target = vec![0.0; size];
                map.add_row([&row, &features, &slopes], false, &mut target);
                write(output, &target);
            }
        },
    );
    Ok(())
}

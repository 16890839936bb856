//! The relative bias of T5 as a parameter: distances between queries and keys fall into buckets, each with a bias for
//! every head (Raffel et al. 2020).

use crate::error::Result;
use crate::options::BucketConfig;
use crate::tensor::try_zeroed;

/// Returns the biases `[entries, H, L + S − 1]` of a table `[buckets, H]`, with one entry for each query offset. Place
/// p of an entry belongs to the distance `p − L + 1 − offset` from a query to a key.
pub(crate) fn biases(
    config: &BucketConfig,
    table: &[f32],
    [queries, keys]: [usize; 2],
    offsets: &[i64],
) -> Result<Vec<f32>> {
    let heads = table.len() / config.buckets();
    let length = queries.saturating_add(keys).saturating_sub(1);
    let elements = length.saturating_mul(heads).saturating_mul(offsets.len());
    let mut biases = try_zeroed("working memory", elements)?;
    for (biases, &offset) in biases.chunks_exact_mut((heads * length).max(1)).zip(offsets) {
        for place in 0..length {
            let bucket = bucket(config, place as i64 - queries as i64 + 1 - offset);
            for (head, &bias) in table[bucket * heads..][..heads].iter().enumerate() {
                biases[head * length + place] = bias;
            }
        }
    }
    Ok(biases)
}

/// Returns the bucket of a distance. Half of the buckets hold one distance each, the others ranges that grow with the
/// logarithm: in single precision like the reference, since its rounding decides between two buckets.
fn bucket(config: &BucketConfig, distance: i64) -> usize {
    let is_bidirectional = config.bidirectional();
    let half = config.buckets() / if is_bidirectional { 2 } else { 1 };
    let start = if is_bidirectional && distance > 0 { half } else { 0 };
    let steps = if is_bidirectional { distance } else { distance.min(0) }.unsigned_abs() as usize;
    let exact = half / 2;
    if steps < exact {
        return start + steps;
    }
    if steps >= config.max_distance() {
        return start + half - 1;
    }
    let logarithm = f64::from(steps as f32 / exact as f32).ln() as f32;
    let most = (config.max_distance() as f64 / exact as f64).ln() as f32;
    let share = logarithm / most * (half - exact) as f32;
    start + (half - 1).min(exact + share as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_fall_into_the_buckets_of_the_reference() {
        // T5Attention._relative_position_bucket of transformers 5, with 32 buckets and a maximum distance of 128.
        let config = |bidirectional| BucketConfig { bidirectional: Some(bidirectional), ..BucketConfig::default() };
        let distances = [-200, -128, -127, -64, -16, -15, -8, -7, -1, 0, 1, 7, 8, 16, 40, 90, 91, 200];
        let found = |bidirectional| distances.map(|distance| bucket(&config(bidirectional), distance));
        assert_eq!(found(true), [15, 15, 15, 14, 10, 9, 8, 7, 1, 0, 17, 23, 24, 26, 28, 30, 31, 31]);
        assert_eq!(found(false), [31, 31, 31, 26, 16, 15, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}

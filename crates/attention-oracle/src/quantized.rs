//! Products with weights of 8 bits in groups of 32, from the definition.

/// Quantizes a group: the scale `max |x| / 127` in 32 bits, and integers, halves away from zero.
fn quantize(group: &[f32]) -> (f32, Vec<i64>) {
    let scale = group.iter().fold(0.0f32, |largest, value| largest.max(value.abs())) / 127.0;
    let inverse = 1.0 / scale;
    let round = |value: &f32| if inverse.is_finite() { (value * inverse).round() as i64 } else { 0 };
    (scale, group.iter().map(round).collect())
}

/// Returns the value of an f16.
pub fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-14),
        _ => (1.0 + fraction) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// Computes `x Wᵀ`, with integers exact and sums over groups in 64 bits. Also returns, for each output, the sum of the
/// magnitudes of its groups, to which rounding errors are relative.
pub fn product(x: &[f32], depth: usize, values: &[i8], scales: &[u16]) -> Vec<[f64; 2]> {
    let groups = depth.div_ceil(32);
    let mut output = Vec::new();
    for row in x.chunks(depth) {
        let row: Vec<_> = row.chunks(32).map(quantize).collect();
        for (weights, scales) in values.chunks(depth).zip(scales.chunks(groups)) {
            let mut sums = [0.0; 2];
            for ((weights, &bits), (scale, integers)) in weights.chunks(32).zip(scales).zip(&row) {
                let sum: i64 = weights.iter().zip(integers).map(|(&weight, x)| i64::from(weight) * x).sum();
                let product = sum as f64 * half(bits) * f64::from(*scale);
                sums[0] += product;
                sums[1] += product.abs();
            }
            output.push(sums);
        }
    }
    output
}

//! Random numbers: PyTorch's own stream for seeded parameters, and a counter-based one for dropout, which depends on
//! positions alone.

use crate::math::angle::sin_cos;

/// The Mersenne Twister MT19937 as PyTorch's CPU generator runs it after `torch.manual_seed(seed)`.
///
/// Matsumoto & Nishimura 1998. PyTorch seeds it with the low 32 bits of the seed.
pub struct Mt19937 {
    state: [u32; Self::STATES],
    next: usize,
}

impl Mt19937 {
    const STATES: usize = 624;
    const SHIFT: usize = 397;

    /// The generator at the start of its stream.
    pub fn new(seed: u64) -> Self {
        let mut state = [0; Self::STATES];
        state[0] = seed as u32;
        for j in 1..Self::STATES {
            let previous: u32 = state[j - 1];
            state[j] = 1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(j as u32);
        }
        Self { state, next: Self::STATES }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == Self::STATES {
            self.regenerate();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn regenerate(&mut self) {
        for j in 0..Self::STATES {
            let y = (self.state[j] & 0x8000_0000) | (self.state[(j + 1) % Self::STATES] & 0x7fff_ffff);
            let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[j] = self.state[(j + Self::SHIFT) % Self::STATES] ^ (y >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// Fills `out` as `torch.Tensor.uniform_(-bound, bound)` does for float32, bit for bit.
    ///
    /// PyTorch takes 24 bits a value and rounds once, by a fused multiply-add; in doubles product and sum are exact,
    /// which is the same.
    pub fn fill_uniform(&mut self, bound: f64, out: &mut [f32]) {
        let bound = bound as f32;
        let width = f64::from(2.0 * bound);
        for value in out {
            let unit = f64::from(self.next_u32() & 0x00ff_ffff) / f64::from(1 << 24);
            *value = (unit * width - f64::from(bound)) as f32;
        }
    }

    /// Fills a `[rows, columns]` matrix as `torch.nn.init.xavier_uniform_`.
    pub fn fill_xavier_uniform(&mut self, rows: usize, columns: usize, out: &mut [f32]) {
        let deviation = (2.0 / (rows + columns) as f64).sqrt();
        self.fill_uniform(3f64.sqrt() * deviation, out);
    }

    /// Fills a weight over `columns` inputs as `torch.nn.Linear` does: `kaiming_uniform_` with `a = √5`.
    pub fn fill_linear_weight(&mut self, columns: usize, out: &mut [f32]) {
        let slope = 5f64.sqrt();
        let gain = (2.0 / (1.0 + slope * slope)).sqrt();
        self.fill_uniform(3f64.sqrt() * (gain / (columns as f64).sqrt()), out);
    }

    /// Fills a bias over `columns` inputs as `torch.nn.Linear` does.
    pub fn fill_linear_bias(&mut self, columns: usize, out: &mut [f32]) {
        self.fill_uniform(1.0 / (columns as f64).sqrt(), out);
    }
}

impl Mt19937 {
    /// Fills `out` as `torch.Tensor.normal_()` does for contiguous float32, to a few units in the last place: PyTorch
    /// uses its own vectorized functions.
    ///
    /// Box & Muller 1958. Sixteen values or more are drawn in blocks of sixteen, uniform numbers first; the last block
    /// ends at the last value, and is drawn again if it overlaps the one before. Fewer values are drawn one by one.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        const BLOCK: usize = 16;
        if out.len() < BLOCK {
            for pair in out.chunks_mut(2) {
                let (angle, square) = (self.next_unit(), self.next_unit());
                let normals = box_muller(1.0 - square, angle);
                pair.iter_mut().zip(normals).for_each(|(value, normal)| *value = normal as f32);
            }
            return;
        }
        self.fill_unit(out);
        let rest = out.len() % BLOCK;
        out.chunks_exact_mut(BLOCK).for_each(transform_block);
        if rest > 0 {
            let start = out.len() - BLOCK;
            self.fill_unit(&mut out[start..]);
            transform_block(&mut out[start..]);
        }
    }

    /// Fills `out` with multiples of 2⁻²⁴ in [0, 1).
    fn fill_unit(&mut self, out: &mut [f32]) {
        out.iter_mut().for_each(|value| *value = (self.next_u32() & 0x00ff_ffff) as f32 / (1 << 24) as f32);
    }

    /// Returns a multiple of 2⁻⁵³ in [0, 1).
    fn next_unit(&mut self) -> f64 {
        let bits = u64::from(self.next_u32()) << 32 | u64::from(self.next_u32());
        (bits & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }
}

/// Turns eight uniform numbers and eight fractions of a full turn into sixteen of N(0, 1).
fn transform_block(block: &mut [f32]) {
    let (units, turns) = block.split_at_mut(block.len() / 2);
    for (unit, turn) in units.iter_mut().zip(turns) {
        let [a, b] = box_muller(f64::from(1.0 - *unit), f64::from(*turn));
        (*unit, *turn) = (a as f32, b as f32);
    }
}

/// Two independent numbers of N(0, 1) from a uniform number in (0, 1] and a fraction of a full turn.
fn box_muller(unit: f64, turn: f64) -> [f64; 2] {
    let radius = (-2.0 * natural_logarithm(unit)).sqrt();
    let (sine, cosine) = sin_cos(std::f64::consts::TAU * turn);
    [radius * cosine, radius * sine]
}

/// Philox4x32-10: four random words for a key and a counter, whatever was drawn before.
///
/// Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
#[cfg_attr(target_family = "wasm", inline(never))]
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let low = u64::from(counter[0]) * 0xd251_1f53;
        let high = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (high >> 32) as u32 ^ counter[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ counter[3] ^ key[1],
            low as u32,
        ];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// Normally distributed numbers from Philox, with the same bits on every machine: mathematics libraries, which differ
/// between systems, are not used.
///
/// Marsaglia's polar method. Attempt `n` takes the block with counter `(n, n ≫ 32, 0, 0)` and the seed as key.
pub struct Normals {
    key: [u32; 2],
    attempt: u64,
    spare: Option<f64>,
}

impl Normals {
    /// The sequence that belongs to the seed.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], attempt: 0, spare: None }
    }

    /// The next number of N(0, 1).
    pub fn draw(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let [a, b, c, d] = philox4x32([self.attempt as u32, (self.attempt >> 32) as u32, 0, 0], self.key);
            self.attempt += 1;
            let (x, y) = (between_minus_one_and_one(a, b), between_minus_one_and_one(c, d));
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * natural_logarithm(square) / square).sqrt();
                self.spare = Some(y * factor);
                return x * factor;
            }
        }
    }
}

/// Evenly distributed, by 53 of the bits.
fn between_minus_one_and_one(high: u32, low: u32) -> f64 {
    let bits = (u64::from(high) << 21) | u64::from(low >> 11);
    bits as f64 / (1u64 << 52) as f64 - 1.0
}

/// `ln x` for a normal number above 0, within a few units in the last place.
pub fn natural_logarithm(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    // x = 2^exponent · fraction, the fraction between √½ and √2.
    let (mut exponent, mut fraction) =
        ((x.to_bits() >> 52) as f64 - 1023.0, f64::from_bits(x.to_bits() & MANTISSA | 1f64.to_bits()));
    if fraction > std::f64::consts::SQRT_2 {
        (exponent, fraction) = (exponent + 1.0, fraction / 2.0);
    }
    // ln fraction = 2 artanh(ratio) by its series, whose terms shrink by 34 each.
    let ratio = (fraction - 1.0) / (fraction + 1.0);
    let series = (0..12).rev().fold(0.0, |sum, n| sum * ratio * ratio + 1.0 / f64::from(2 * n + 1));
    exponent * std::f64::consts::LN_2 + 2.0 * ratio * series
}

/// Dropout of attention weights: which weights drop depends on the seed and the weight's position alone.
///
/// Weight `j` of row `(b, h, i)` has the word `j mod 4` of the Philox block with counter `(⌊j/4⌋, i, h, b)` and the
/// seed as key;
/// it drops where that word is below `probability · 2³²`.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    key: [u32; 2],
    threshold: u32,
    scale: f32,
    /// (b, h, i) of the first row.
    first: [usize; 3],
}

impl Dropout {
    /// Dropout with this probability, in [0, 1); `None` for 0, which drops nothing.
    pub fn new(probability: f32, seed: u64) -> Option<Self> {
        (probability > 0.0).then(|| Self {
            key: [seed as u32, (seed >> 32) as u32],
            threshold: (f64::from(probability) * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - f64::from(probability))) as f32,
            first: [0; 3],
        })
    }

    /// The same for a part of the rows, whose first one is row (b, h, i) of the whole.
    pub fn from(self, first: [usize; 3]) -> Self {
        Self { first, ..self }
    }

    /// The factors of the four weights from key `4 · block` on: 0 where a weight drops, `1/(1 − probability)` where it
    /// stays.
    pub fn factors(&self, [b, h, i]: [usize; 3], block: usize) -> [f32; 4] {
        let [first_b, first_h, first_i] = self.first;
        philox4x32([block, first_i + i, first_h + h, first_b + b].map(|index| index as u32), self.key)
            .map(|word| if word < self.threshold { 0.0 } else { self.scale })
    }

    /// Multiplies the weights of the keys from `first` on in row `[b, h, i]` by their factors.
    pub fn apply<'a>(&self, row: [usize; 3], first: usize, weights: impl Iterator<Item = &'a mut f32>) {
        let mut factors = self.factors(row, first / 4);
        for (key, weight) in (first..).zip(weights) {
            if key.is_multiple_of(4) && key != first {
                factors = self.factors(row, key / 4);
            }
            *weight *= factors[key % 4];
        }
    }
}

/// Dropout of the elements of a matrix with `[B, L]` rows, under the same seed as that of attention weights. Each
/// stream uses the index of a head that does not exist.
#[derive(Debug, Clone, Copy)]
pub struct RowDropout<'a> {
    /// The key and probability of dropout.
    pub dropout: Dropout,
    /// The index of the matrix within its layer.
    pub stream: u32,
    /// L.
    pub length: usize,
    /// The cumulative lengths of packed sequences, each of which drops what it would drop alone.
    pub cu_seqlens: Option<&'a [i32]>,
}

impl RowDropout<'_> {
    /// Multiplies the elements from column `first` on of row `b · L + i` by their factors.
    #[inline(never)]
    pub fn apply(&self, row: usize, first: usize, values: &mut [f32]) {
        let head = (u32::MAX - self.stream) as usize;
        let (b, i) = match self.cu_seqlens {
            None => (row / self.length, row % self.length),
            Some(offsets) => {
                let next = offsets.partition_point(|&start| start as usize <= row);
                (0, row - offsets[next - 1] as usize)
            }
        };
        self.dropout.apply([b, head, i], first, values.iter_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uniform(seed: u64, bound: f64, length: usize) -> Vec<u32> {
        let mut values = vec![0.0; length];
        Mt19937::new(seed).fill_uniform(bound, &mut values);
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn the_twister_matches_the_words_of_its_authors() {
        // The C++ standard fixes the 10,000th word of std::mt19937, whose default seed this is.
        let mut generator = Mt19937::new(5489);
        for _ in 1..10_000 {
            generator.next_u32();
        }
        assert_eq!(generator.next_u32(), 4_123_659_995);
    }

    #[test]
    fn uniform_values_match_torch_bit_for_bit() {
        // torch.manual_seed(7); torch.empty(3).uniform_(-0.0613, 0.0613)
        assert_eq!(uniform(7, 0.0613, 3), [0x3b8c_4bda, 0xbd17_407b, 0x3c9f_e70d]);
        // torch.manual_seed(2**32 + 7); torch.empty(20).uniform_(-0.0613, 0.0613)[[0, 1, 2, 15, 16, 19]]
        let values = uniform((1 << 32) + 7, 0.0613, 20);
        let expected = [0x3b8c_4bda, 0xbd17_407b, 0x3c9f_e70d, 0xbc8d_531b, 0x3cdd_5632, 0xbd44_f52a];
        assert_eq!([0, 1, 2, 15, 16, 19].map(|index| values[index]), expected);
    }

    #[test]
    fn philox_matches_the_known_answers_of_random123() {
        let known = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in known {
            assert_eq!(philox4x32(counter, key), expected);
        }
    }

    #[test]
    fn the_logarithm_matches_the_mathematics_library() {
        for step in 0..100_000 {
            let x = 1e-300 * 1.014f64.powi(step);
            if !x.is_finite() {
                break;
            }
            assert!((natural_logarithm(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(0.1), "{x}");
        }
        assert_eq!(natural_logarithm(1.0), 0.0);
    }

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let mut normals = Normals::new((1 << 40) + 3);
        let drawn: Vec<f64> = (0..200_000).map(|_| normals.draw()).collect();
        let moment = |power| drawn.iter().map(|x: &f64| x.powi(power)).sum::<f64>() / drawn.len() as f64;
        for (power, expected, tolerance) in [(1, 0.0, 0.01), (2, 1.0, 0.02), (3, 0.0, 0.04), (4, 3.0, 0.1)] {
            assert!((moment(power) - expected).abs() < tolerance, "moment {power} is {}", moment(power));
        }
        let within = drawn.iter().filter(|x| x.abs() < 1.0).count() as f64 / drawn.len() as f64;
        assert!((within - 0.6827).abs() < 0.005);
        let neighbours = drawn.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / drawn.len() as f64;
        assert!(neighbours.abs() < 0.01);
    }

    #[test]
    fn normal_numbers_are_the_same_bits_on_every_machine() {
        let first = |seed| {
            let mut normals = Normals::new(seed);
            [(); 3].map(|()| normals.draw().to_bits())
        };
        // By the same formulas in Python's doubles.
        assert_eq!(first(0), [0xbfe4_9724_3147_e87f, 0x3ff8_09b3_21e6_1337, 0x3ff5_1524_dfb1_17f1]);
        assert_ne!(first(0), first(1));
        assert_ne!(first(0), first(1 << 32));
    }

    #[test]
    fn dropout_depends_only_on_the_position() {
        let dropout = Dropout::new(0.5, 11).unwrap();
        let mut whole = vec![1.0; 37];
        dropout.apply([1, 2, 3], 0, whole.iter_mut());
        for first in 0..37 {
            for last in first..=37 {
                let mut part = vec![1.0; last - first];
                dropout.apply([1, 2, 3], first, part.iter_mut());
                assert_eq!(part, whole[first..last], "{first}..{last}");
            }
        }
        for other in [[0, 2, 3], [1, 0, 3], [1, 2, 0]] {
            let mut values = vec![1.0; 37];
            dropout.apply(other, 0, values.iter_mut());
            assert_ne!(values, whole);
        }
    }

    #[test]
    fn dropout_keeps_the_expected_share_and_scales_it() {
        for probability in [0.1, 0.25, 0.9] {
            let mut weights = vec![1.0; 100_000];
            Dropout::new(probability, 3).unwrap().apply([0; 3], 0, weights.iter_mut());
            let dropped = weights.iter().filter(|&&weight| weight == 0.0).count() as f32 / weights.len() as f32;
            assert!((dropped - probability).abs() < 0.005, "{dropped} of {probability}");
            assert!(weights.iter().all(|&weight| weight == 0.0 || weight == 1.0 / (1.0 - probability)));
        }
        assert!(Dropout::new(0.0, 3).is_none());
        let nearly_all = Dropout::new(1.0 - f32::EPSILON / 2.0, 3).unwrap();
        assert_eq!(nearly_all.factors([0; 3], 0), [0.0; 4]);
    }
}

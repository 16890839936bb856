//! The share of the peak that the microkernel reaches with each shape of register tile, at every instruction set of
//! this machine, on one thread: `cargo bench -- tiles`. The peak is that of independent multiply-adds in registers.

use std::hint::black_box;
use std::time::Instant;

use ruvector_attention::simd::{Accumulate, Kernel, Level, Matrix, Simd, product};

/// The problem is attention's: keys of 64 values times the queries in the lanes of a tile.
const DEPTH: usize = 64;
const KEYS: usize = 96;
/// The multiply-adds in flight: 8 chains hide 4 cycles at two a cycle, and fit in 16 registers.
const CHAINS: usize = 8;
const ROUNDS: usize = 20;
const CALLS: usize = 400;

/// The peak in GFLOP/s.
struct Peak;

impl Kernel for Peak {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> f64 {
        const STEPS: usize = 100_000;
        let factor = simd.splat(black_box(0.5));
        let mut sums = [simd.splat(1.0); CHAINS];
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..STEPS {
                for sum in &mut sums {
                    *sum = simd.mul_add(*sum, factor, factor);
                }
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        for &sum in &sums {
            black_box(simd.reduce_sum(sum));
        }
        (2 * STEPS * CHAINS * S::LANES) as f64 / best / 1e9
    }
}

/// The speed in GFLOP/s of a tile of `R` rows and `V` vectors.
struct Tile<const R: usize, const V: usize>;

impl<const R: usize, const V: usize> Kernel for Tile<R, V> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> f64 {
        let lanes = V * S::LANES;
        let keys: Vec<f32> = (0..KEYS * DEPTH).map(|index| index as f32).collect();
        let queries = vec![0.5; DEPTH * lanes];
        let mut scores = vec![0.0; KEYS * lanes];
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..CALLS {
                let keys = Matrix::row_major(black_box(&keys), DEPTH);
                product::<S, R, V>(simd, keys, KEYS, DEPTH, &queries, black_box(&mut scores), Accumulate::Overwrite);
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        (2 * CALLS * KEYS * DEPTH * lanes) as f64 / best / 1e9
    }
}

macro_rules! shapes {
    ($($rows:literal x $vectors:literal),*) => {
        [$((concat!($rows, "×", $vectors), |level| level.run(Tile::<$rows, $vectors>))),*]
    };
}

/// The name of a tile's shape, and its speed.
type Shape = (&'static str, fn(Level) -> f64);

const SHAPES: [Shape; 14] = shapes![
    1 x 2, 2 x 2, 2 x 4, 3 x 4, 4 x 1, 4 x 2, 4 x 3, 6 x 1, 6 x 2, 8 x 1, 8 x 2, 8 x 3, 12 x 1, 12 x 2
];

fn main() {
    // A filter that names another benchmark leaves this one out.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if filter.is_some_and(|filter| !filter.contains("tiles")) {
        return;
    }
    print!("{:10}{:>15}", "tiles", "peak GFLOP/s");
    SHAPES.iter().for_each(|(name, _)| print!("{name:>7}"));
    println!();
    for level in Level::available() {
        let peak = level.run(Peak);
        print!("{:10}{peak:>15.1}", level.name());
        SHAPES.iter().for_each(|(_, speed)| print!("{:>7.2}", speed(level) / peak));
        println!();
    }
}

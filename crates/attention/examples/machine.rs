//! Measures this machine's limits, as a reference for the benchmark: multiply-adds on registers, and reads of memory.
//!
//! Prints the instruction set in use, then answers each line of standard input with one number: `peak THREADS` in GF/s,
//! `read THREADS BYTES` in GB/s over a buffer of that size.

use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ruvector_attention::simd::{Kernel, Level, Simd};

/// The measuring time for one answer.
const SPAN: Duration = Duration::from_millis(8);

/// Independent chains of multiply-adds: more than latency times execution ports, and no more than there are registers.
const CHAINS: usize = if cfg!(target_arch = "aarch64") { 24 } else { 12 };

/// Runs multiply-adds for the measuring time; returns the number of floating-point operations.
struct MultiplyAdds;

impl Kernel for MultiplyAdds {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> f64 {
        const STEPS: usize = 20_000;
        let (factor, term) = (simd.splat(black_box(0.999)), simd.splat(black_box(0.001)));
        let mut sums = [simd.splat(0.1); CHAINS];
        let start = Instant::now();
        let mut blocks = 0;
        while start.elapsed() < SPAN {
            for _ in 0..STEPS {
                for sum in &mut sums {
                    *sum = simd.mul_add(*sum, factor, term);
                }
            }
            blocks += 1;
        }
        for sum in sums {
            black_box(simd.reduce_sum(sum));
        }
        (blocks * STEPS * CHAINS * S::LANES * 2) as f64
    }
}

/// Sums a buffer repeatedly for the measuring time; returns the number of bytes read.
struct Reads<'a>(&'a [f32]);

impl Kernel for Reads<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> f64 {
        const VECTORS_A_STEP: usize = 8;
        let start = Instant::now();
        let mut passes = 0;
        while start.elapsed() < SPAN {
            let mut sums = [simd.splat(0.0); VECTORS_A_STEP];
            for step in self.0.chunks_exact(VECTORS_A_STEP * S::LANES) {
                for (sum, lanes) in sums.iter_mut().zip(step.chunks_exact(S::LANES)) {
                    *sum = *sum + simd.load(lanes);
                }
            }
            for sum in sums {
                black_box(simd.reduce_sum(sum));
            }
            passes += 1;
        }
        (passes * size_of_val(self.0)) as f64
    }
}

/// Runs `work` on `threads` threads at once, and returns the sum of their results per nanosecond.
fn rate(threads: usize, work: impl Fn(usize) -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let measure = |index| {
        barrier.wait();
        let start = Instant::now();
        let amount = work(index);
        amount / start.elapsed().as_nanos() as f64
    };
    let measure = &measure;
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|index| scope.spawn(move || measure(index))).collect();
        measure(0) + others.into_iter().map(|other| other.join().expect("no panic")).sum::<f64>()
    })
}

fn answer(level: Level, line: &str, buffer: &mut Vec<f32>) -> Option<f64> {
    let mut words = line.split_whitespace();
    let command = words.next()?;
    let threads = words.next()?.parse().ok().filter(|&threads| threads > 0)?;
    match command {
        "peak" => Some(rate(threads, |_| level.run(MultiplyAdds))),
        "read" => {
            let bytes: usize = words.next()?.parse().ok()?;
            // Written to, so that every page is backed by physical memory.
            buffer.resize(bytes / size_of::<f32>(), 1.0);
            let part = buffer.len().div_ceil(threads).max(1);
            let parts: Vec<_> = buffer.chunks(part).collect();
            Some(rate(threads, |index| parts.get(index).map_or(0.0, |part| level.run(Reads(part)))))
        }
        _ => None,
    }
}

fn main() -> io::Result<()> {
    let level = Level::current();
    let mut output = io::stdout();
    writeln!(output, "{}", level.name())?;
    output.flush()?;
    let mut buffer = Vec::new();
    for line in io::stdin().lock().lines() {
        match answer(level, &line?, &mut buffer) {
            Some(number) => writeln!(output, "{number:.3}")?,
            None => writeln!(output, "usage: peak THREADS | read THREADS BYTES")?,
        }
        output.flush()?;
    }
    Ok(())
}

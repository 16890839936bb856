//! Runs the fuzz targets on bytes from seeds, starting with those that once caused a failure.
//! `crates/attention-calls/fuzz` runs the same targets under libFuzzer. `FUZZ_SECONDS` extends these runs, and
//! `FUZZ_SEED` selects other seeds.

mod door;

use std::time::{Duration, Instant};

/// Generates up to two thousand bytes from a seed (SplitMix64).
fn bytes(mut state: u64) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let length = next() as usize % 2000;
    (0..length).map(|_| next() as u8).collect()
}

/// Reports the seed that failed.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FAILED with the bytes of seed {:#x}", self.0);
        }
    }
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Seeds that once caused a failure: arrays for the largest weights in a call that does not request them.
const FOUND: &[u64] = &[0x2_0003_304d];

/// Runs a target on the recorded seeds, then on bytes from new seeds until the time is over.
fn fuzz(name: &str, target: fn(&[u8])) {
    for &seed in FOUND {
        target(&bytes(seed));
    }
    let first = variable("FUZZ_SEED", 1) << 32;
    let end = Instant::now() + Duration::from_secs(variable("FUZZ_SECONDS", 2));
    let mut runs = 0;
    while Instant::now() < end {
        let case = Case(first + runs);
        target(&bytes(case.0));
        runs += 1;
    }
    println!("{name}: {runs} runs");
    assert!(runs > 0);
}

#[test]
fn any_input_leads_to_a_result_or_an_error() {
    fuzz("door", door::run);
}

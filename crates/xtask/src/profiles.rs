//! Times the kernels in a program outside the workspace, built with each release profile that a user may have.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Values of `codegen-units` and `lto`; the first profile is that of this workspace. Without `lto`, cargo optimizes
/// across the units of each crate.
const PROFILES: [[&str; 2]; 6] =
    [["1", "'fat'"], ["1", "'thin'"], ["1", "'off'"], ["16", "false"], ["16", "'off'"], ["16", "'fat'"]];
const CALLS: [&str; 5] = ["attention", "causal", "decode", "product", "q8_0"];
/// The lowest speed of a profile, relative to the fastest.
const LEAST: f64 = 0.95;
/// Rounds in which every program runs once; each profile has its best.
const ROUNDS: usize = 7;

/// Builds the program with every profile, prints the speeds, and fails if one profile is slower than [`LEAST`] allows.
pub fn compare() -> Result<()> {
    let programs = PROFILES.into_iter().map(build).collect::<Result<Vec<_>>>()?;
    let mut speeds = [[0_f64; CALLS.len()]; PROFILES.len()];
    for _ in 0..ROUNDS {
        for (speeds, program) in speeds.iter_mut().zip(&programs) {
            for (best, speed) in speeds.iter_mut().zip(run(program)?) {
                *best = best.max(speed);
            }
        }
    }
    print!("{}", table(&speeds));
    let slow = slow_profiles(&speeds);
    ensure!(slow.is_empty(), "less than {LEAST} of the fastest profile: {}", slow.join("; "));
    Ok(())
}

fn build([units, lto]: [&str; 2]) -> Result<PathBuf> {
    let folder = Path::new("target/profiles");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--manifest-path", "benchmark/profiles/Cargo.toml", "--target-dir"])
        .arg(folder)
        .args(["--config", &format!("profile.release.codegen-units={units}")])
        .args(["--config", &format!("profile.release.lto={lto}")])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the build with {units} units and lto = {lto} failed");
    let built = folder.join("release").join(format!("profiles{}", std::env::consts::EXE_SUFFIX));
    let program = folder.join(format!("{units}-{}{}", lto.trim_matches('\''), std::env::consts::EXE_SUFFIX));
    std::fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(program)
}

fn run(program: &Path) -> Result<Vec<f64>> {
    let output = Command::new(program).output().with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(output.status.success(), "{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| line.parse().with_context(|| format!("no speed: {line}"))).collect()
}

fn table(speeds: &[[f64; CALLS.len()]]) -> String {
    let mut text = format!("{:8}{:>8}", "units", "lto");
    CALLS.iter().for_each(|call| text += &format!("{:>18}", format!("{call} GFLOP/s")));
    for ([units, lto], speeds) in PROFILES.iter().zip(speeds) {
        text += &format!("\n{units:8}{:>8}", lto.trim_matches('\''));
        speeds.iter().for_each(|speed| text += &format!("{speed:>18.1}"));
    }
    text + "\n"
}

fn slow_profiles(speeds: &[[f64; CALLS.len()]]) -> Vec<String> {
    let fastest = |call: usize| speeds.iter().map(|speeds| speeds[call]).fold(0.0, f64::max);
    let mut slow = Vec::new();
    for ([units, lto], speeds) in PROFILES.iter().zip(speeds) {
        for (call, speed) in speeds.iter().enumerate() {
            if *speed < LEAST * fastest(call) {
                slow.push(format!("{} with {units} units and lto = {lto}", CALLS[call]));
            }
        }
    }
    slow
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_profiles_are_named() {
        let mut speeds = [[100.0, 50.0, 20.0, 70.0, 300.0]; PROFILES.len()];
        speeds[3][1] = 48.0;
        assert!(slow_profiles(&speeds).is_empty());
        speeds[2][0] = 94.0;
        assert_eq!(slow_profiles(&speeds), ["attention with 1 units and lto = 'off'"]);
    }
}

//! Builds that cargo alone cannot do. `cargo xtask wasm` creates the contents of `packages/wasm/`: the WebAssembly
//! module, the patch to its second variant, and the glue. `cargo xtask profiles` compares the profiles of its users.

mod glue;
mod module;
mod patch;
mod profiles;
mod rooms;
mod streams;
mod traps;
mod wasm;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["wasm"] => wasm::build(),
        ["wasm", "--dev"] => wasm::build_for_development(),
        ["wasm", "--faults"] => wasm::build_with_faults(),
        ["profiles"] => profiles::compare(),
        ["size"] => wasm::print_sizes(),
        _ => {
            eprintln!("usage: cargo xtask wasm [--dev | --faults], cargo xtask size, or cargo xtask profiles");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `cargo fuzz run safetensors`: see tests/fuzz/safetensors.rs.
#![no_main]

#[path = "../../tests/fuzz/safetensors.rs"]
mod safetensors;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| safetensors::run(bytes));

//! `cargo fuzz run door`: see tests/fuzz/door.rs.
#![no_main]

#[path = "../../tests/fuzz/door.rs"]
mod door;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| door::run(bytes));

//! `src/project.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none project`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::project::hold(bytes));

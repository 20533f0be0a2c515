//! `src/config.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::config::hold(bytes));

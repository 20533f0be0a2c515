//! `src/retry_after.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none retry_after`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::retry_after::hold(bytes));

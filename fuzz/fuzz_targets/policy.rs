//! `src/policy.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none policy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::policy::hold(bytes));

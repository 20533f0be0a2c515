//! `src/manifest.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::manifest::hold(bytes));

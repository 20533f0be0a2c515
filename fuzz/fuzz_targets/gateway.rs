//! `src/gateway.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none gateway`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::gateway::hold(bytes));

//! `src/queue.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none queue`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::queue::hold(bytes));

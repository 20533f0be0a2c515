//! `src/spool.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none spool`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::spool::hold(bytes));

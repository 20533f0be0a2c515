//! `src/answer.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none answer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::answer::hold(bytes));

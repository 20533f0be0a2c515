//! `src/protocol.rs` under libFuzzer: `cargo +nightly fuzz run --sanitizer none protocol`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetryd_fuzz::protocol::hold(bytes));

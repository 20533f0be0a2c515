//! The value rules on any bytes: no panic, an answer of bounded length, and nothing left in it to find.
//!
//! `cargo +nightly fuzz run redact`; what is found goes to `corpus/redact/`, which `cargo test` reads on stable.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use telemetry_policy::redact::{self, Subject};

static ALICE: LazyLock<Subject> = LazyLock::new(|| {
    Subject::new(
        ["alice", "Alice Liddell", "bob.jones"],
        ["/home/alice", "C:\\Users\\Alice", "/Users/bob.jones"],
    )
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let out = redact::text(&text, &ALICE);
    assert!(out.len() <= 3 * text.len() + 8);
    assert_eq!(redact::text(&out, &ALICE), out);
});

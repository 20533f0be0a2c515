//! The protocol's vectors cover the protocol's closed lists: nothing can be answered that no case shows.
//!
//! The runner plays every file of the directory, so that a new file needs no registration; what could be missing is a
//! file, and that is what is looked for here.

use crate::{hold, tree};

/// Where the cases are.
const CASES: &str = "tests/vectors/protocol/";

/// Errors that a client can bring about by what it writes.
const ERRORS: [&str; 5] = [
    "invalid_json",
    "invalid_event",
    "too_large",
    "unknown_op",
    "unsupported_protocol",
];

/// Errors that need more than a line: shown by a test with a real daemon in that state.
const ERRORS_OF_STATE: [&str; 0] = [];

/// Statuses that an event can be answered with.
const STATUSES: [&str; 4] = ["queued", "synced", "duplicate", "declined"];

/// Control requests that are answered.
const OPS: [&str; 14] = [
    "hello", "register", "status", "metrics", "flush", "pause", "resume", "queue", "sent", "tail", "tools",
    "config", "reload", "stop",
];

#[test]
fn every_error_status_and_control_request_occurs_in_a_vector() {
    let cases: Vec<_> = tree::all()
        .into_iter()
        .filter(|file| file.path.starts_with(CASES))
        .collect();
    if cases.is_empty() {
        return;
    }
    let shown = |key: &str, word: &str| {
        let written = [format!("\"{key}\":\"{word}\""), format!("\"{key}\": \"{word}\"")];
        cases
            .iter()
            .any(|case| written.iter().any(|form| case.text.contains(form)))
    };
    let errors = ERRORS
        .iter()
        .filter(|word| !shown("error", word))
        .map(|word| format!("error {word}"));
    let statuses = STATUSES
        .iter()
        .filter(|word| !shown("status", word))
        .map(|word| format!("status {word}"));
    let ops = OPS
        .iter()
        .filter(|word| !shown("op", word))
        .map(|word| format!("op {word}"));
    hold(
        "tests/vectors/protocol/ shows every answer",
        &errors.chain(statuses).chain(ops).collect::<Vec<_>>(),
    );
}

#[test]
fn every_error_that_no_line_can_bring_about_is_shown_by_a_test() {
    let outer: Vec<_> = tree::rust()
        .into_iter()
        .filter(|file| file.path.starts_with("tests/") || file.is_test())
        .collect();
    let unseen = ERRORS_OF_STATE.iter().filter(|word| {
        let quoted = format!("\"{word}\"");
        !outer
            .iter()
            .any(|file| !file.path.starts_with("tests/house/") && file.text.contains(&quoted))
    });
    let broken: Vec<String> = unseen.map(|word| format!("error {word}")).collect();
    hold(
        "an error that depends on the daemon's state is shown by a test with a real daemon",
        &broken,
    );
}

//! The protocol's vectors cover the protocol's closed lists: nothing can be answered that no case shows.
//!
//! The runner plays every file of the directory, so that a new file needs no registration; what could be missing is a
//! file, and that is what is looked for here.

use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::request::OPS;

use crate::tree::File;
use crate::{hold, tree};

/// Where the cases are.
const CASES: &str = "tests/vectors/protocol/";

/// Errors that no line alone brings about: the daemon, the disk or the caller has to be in a certain state.
/// They are shown by a vector that sets the state up, or by a test of their own which says the word.
const OF_STATE: [ErrorCode; 5] = [
    ErrorCode::NotAllowed,
    ErrorCode::RateLimited,
    ErrorCode::QueueFull,
    ErrorCode::Storage,
    ErrorCode::ShuttingDown,
];

/// A defect has no test; where one is known it is mended.
const OF_DEFECTS: [ErrorCode; 1] = [ErrorCode::Internal];

/// The statuses that an event can be answered with so far.
const STATUSES: [&str; 4] = ["queued", "synced", "duplicate", "declined"];

/// Whether one of the files writes this pair of key and word.
fn shown(cases: &[File], key: &str, word: &str) -> bool {
    let written = [format!("\"{key}\":\"{word}\""), format!("\"{key}\": \"{word}\"")];
    cases
        .iter()
        .any(|case| written.iter().any(|form| case.text.contains(form)))
}

#[test]
fn every_error_status_and_control_request_occurs_in_a_vector() {
    let cases: Vec<File> = tree::all()
        .into_iter()
        .filter(|file| file.path.starts_with(CASES))
        .collect();
    let by_line = ErrorCode::ALL
        .iter()
        .filter(|code| !OF_STATE.contains(code) && !OF_DEFECTS.contains(code));
    let wanted = by_line
        .map(|code| ("error", code.as_str()))
        .chain(STATUSES.map(|word| ("status", word)))
        .chain(OPS.iter().map(|word| ("op", *word)));
    let broken: Vec<String> = wanted
        .filter(|(key, word)| !shown(&cases, key, word))
        .map(|(key, word)| format!("{key} {word}"))
        .collect();
    hold("tests/vectors/protocol/ shows every answer", &broken);
}

#[test]
fn every_error_that_no_line_can_bring_about_is_shown_by_a_test() {
    let tests: Vec<File> = tree::all()
        .into_iter()
        .filter(|file| file.path.starts_with("tests/") || file.is_test())
        .filter(|file| !file.path.starts_with("tests/house/"))
        .collect();
    let said = |code: &ErrorCode| {
        let words = [format!("\"{code}\""), format!("ErrorCode::{code:?}")];
        tests
            .iter()
            .any(|file| words.iter().any(|word| file.text.contains(word)))
    };
    let broken: Vec<String> = OF_STATE
        .iter()
        .filter(|code| !said(code))
        .map(|code| format!("error {code}"))
        .collect();
    hold(
        "an error that depends on a state is shown by a test that brings the state about",
        &broken,
    );
}

//! What every file of the house has: a header, one subject, nothing left open, no lint silenced for good.

use crate::{hold, tree};

/// Files with more lines than this before their unit tests are perhaps two rooms.
const LONG: usize = 400;

/// Those that are longer all the same, each with the reason. Tests are not counted: a table of cases may be long.
const LONG_WITH_REASON: [(&str, &str); 1] = [(
    "crates/telemetry-queue/src/types.rs",
    "the queue's vocabulary, one small type after the other",
)];

/// Names that say nothing about what is inside.
const NAMELESS: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "shared"];

#[test]
fn every_rust_file_begins_with_what_it_is_for() {
    let broken: Vec<String> = tree::rust()
        .into_iter()
        .filter(|file| {
            let said = file
                .text
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("//! "))
                .unwrap_or("");
            said.len() < 10 || said.starts_with("placeholder")
        })
        .map(|file| format!("{}: no //! header", file.path))
        .collect();
    hold(
        "every Rust file begins with a //! header that says what the room is for",
        &broken,
    );
}

#[test]
fn a_file_over_400_lines_has_a_reason() {
    let mut broken = Vec::new();
    for file in tree::rust().into_iter().filter(|file| !file.is_test()) {
        let lines = file.before_tests().count();
        let listed = LONG_WITH_REASON.iter().any(|(path, _)| *path == file.path);
        if lines > LONG && !listed {
            broken.push(format!("{}: {lines} lines, perhaps two rooms", file.path));
        } else if lines <= LONG && listed {
            broken.push(format!("{}: {lines} lines, needs no exception", file.path));
        }
    }
    let gone = LONG_WITH_REASON
        .iter()
        .filter(|(path, _)| !tree::root().join(path).exists());
    broken.extend(gone.map(|(path, _)| format!("{path}: an exception for a file that is gone")));
    hold(
        "files have one subject; a long one is listed with its reason",
        &broken,
    );
}

#[test]
fn no_file_is_named_after_nothing() {
    let broken: Vec<String> = tree::rust()
        .into_iter()
        .filter(|file| {
            file.path
                .trim_end_matches(".rs")
                .split('/')
                .any(|part| NAMELESS.contains(&part))
        })
        .map(|file| file.path)
        .collect();
    hold(
        "no util, common, helpers, misc: a name says what is inside",
        &broken,
    );
}

#[test]
fn nothing_is_left_open_and_no_lint_is_silenced_for_good() {
    // Put together from halves, so that this file does not find itself.
    let open = [
        concat!("#[al", "low("),
        concat!("#![al", "low("),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!(" XX", "X"),
        concat!("#[ig", "nore]"), // one with a reason writes a fixture, by hand
    ];
    let mut broken = Vec::new();
    for file in tree::all()
        .into_iter()
        .filter(|file| [".rs", ".py", ".sh"].iter().any(|end| file.path.ends_with(end)))
    {
        for (number, line) in file.lines() {
            let found = open.iter().filter(|word| line.contains(**word));
            broken.extend(found.map(|word| format!("{}:{number}: {word}", file.path)));
        }
    }
    hold(
        "what is there is finished; a lint is expected with a reason, never allowed",
        &broken,
    );
}

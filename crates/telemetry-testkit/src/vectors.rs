//! The protocol's test vectors, run against the real daemon.
//!
//! The files under `tests/vectors/protocol/*.ndjson` are published: with PROTOCOL.md they are what somebody
//! needs to write another client or another daemon, so their format is described here in full.
//!
//! # A file
//!
//! One case a file, one JSON object a line; empty lines are skipped. The first line is the header:
//!
//! ```json
//! {"name": "an event is queued", "spec": "event (the default)"}
//! ```
//!
//! `name` is a sentence that is true of every daemon, `spec` the heading or promise of PROTOCOL.md that says
//! so. Both are required.
//!
//! # Set-up
//!
//! Before the first step, and each as often as needed:
//!
//! | line | |
//! |---|---|
//! | `{"config": "toml"}` | the daemon's configuration, in place of the usual one (one destination); `${endpoint}` in it is the URL of an endpoint that takes everything |
//! | `{"manifest": "toml", "as": "kedro"}` | a manifest in the user's `tools.d/kedro.toml` |
//! | `{"file": {"path": "machine/opt-out", "text": ""}}` | a file in the home; `config/`, `state/` and `machine/` stand for the user's config and state directories and for what replaces `/etc/telemetryd`, `home/` for `$HOME` |
//! | `{"env": {"NAME": "value"}}` | variables of the daemon |
//! | `{"endpoint": "toml"}` | how the endpoint misbehaves, in the words of `telemetryctl sink --script` |
//!
//! # Steps
//!
//! In order, on one connection that is opened by the first. With `"on": "name"` beside it, a step is about
//! another connection, opened when it is first named.
//!
//! | line | |
//! |---|---|
//! | `{"send": {…}}` | sends that object as one line |
//! | `{"send": {"raw": "text"}}` | sends that text and a newline, whatever it is. In place of the text a list of parts: texts, and `{"repeat": "x", "times": 70000}` |
//! | `{"send": {"raw": "text", "newline": false}}` | sends it without the newline: a line that is not finished |
//! | `{"expect": {…}}` | the next answer line matches (below) |
//! | `{"expect_nothing": true}` | no answer line comes for 200 ms |
//! | `{"expect_closed": true}` | the daemon closes, and says nothing before |
//! | `{"finish": true}` | says that nothing more will be sent, and goes on listening |
//! | `{"close": true}` | closes |
//! | `{"expect_delivered": {…}}` | an event that matches arrives at the endpoint |
//! | `{"expect_not_delivered": {…}}` | no event that matches has arrived so far |
//!
//! At the end of a file, an answer that no step expected is an error.
//!
//! # Matching
//!
//! An expected object matches one that has at least its keys with matching values; an expected array one of
//! the same length with matching items; every other value its equal. A string in angle brackets is a pattern:
//!
//! | pattern | matches |
//! |---|---|
//! | `"<any>"` | every value |
//! | `"<absent>"` | that the key is not there |
//! | `"<string>"` `"<int>"` `"<number>"` `"<bool>"` `"<object>"` `"<array>"` `"<null>"` | every value of that type |
//! | `"<uuid>"` | a hyphenated UUID |
//! | `"<time>"` | RFC 3339 |
//! | `"<contains TEXT>"`, `"<lacks TEXT>"` | a string with that text in it, or without it |
//! | `"<one of A, B>"` | one of these strings |
//! | `"<PATTERN as NAME>"` | what the pattern matches, and remembers it |
//! | `"<same NAME>"` | an equal of what was remembered; in `send`, it is put in |

mod case;
mod matching;
mod play;

use std::fs;
use std::path::{Path, PathBuf};

pub use case::{Case, Line, Setup, Step};
pub use play::{play, run};

/// Reads all vectors of a folder, in the order of their names.
///
/// # Panics
/// When the folder cannot be read or is empty, or a file is no vector.
#[must_use]
pub fn read_folder(folder: &Path) -> Vec<Case> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder that can be read").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "ndjson"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no vectors in {}", folder.display());
    paths.iter().map(|path| read_file(path)).collect()
}

/// Reads one vector.
///
/// # Panics
/// When the file cannot be read or is no vector, with the line.
#[must_use]
pub fn read_file(path: &Path) -> Case {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let file = path.file_stem().unwrap_or_default().to_string_lossy();
    Case::parse(&file, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

//! The configuration: found in files, environment and flags, checked all at once, each value with its origin.
//!
//! Two types: what was found ([`mod@file`]: every key with its place, unjudged), and what the program may use
//! ([`Checked`]). In the order of the way through it: [`places`] says where files are, [`read`] takes their
//! text, [`mod@file`] and [`environment`] make layers of it, [`inspect`] holds each layer to the table of keys in
//! [`default`], [`check`] makes the one out of all of them, reading each key through [`effective`]. Everything is bounded (I6); what is secret is
//! never shown. To reload is to call [`load`] again and to keep the old [`Checked`] if it fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

mod check;
mod checked;
mod default;
mod effective;
mod encoding;
mod environment;
mod file;
mod gateway;
mod inline;
mod inspect;
mod locks;
mod origin;
mod places;
mod problem;
mod read;
mod suggest;
#[cfg(test)]
mod tests;
mod transport;
mod units;
mod url;
mod value;

pub use self::checked::{Checked, Daemon, Defaults, Limits, Rate, ToolOverride, Unregistered};
pub use self::environment::Environment;
pub use self::inline::{inline, replace, with_inline};
pub use self::origin::{MASK, Origin, Origins, Shown};
pub use self::places::Places;
pub use self::problem::{Problem, Problems};
pub use telemetry_protocol::place::Mode;

/// The flags of the command line that are settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config FILE`: read instead of the standard places. Absolute, so that a reload finds it again after
    /// `--background` has left the directory.
    pub config: Option<PathBuf>,
    /// `--idle-exit DURATION`, as it was given.
    pub idle_exit: Option<String>,
}

/// A configuration that holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What the program may use.
    pub checked: Checked,
    /// Where each setting came from.
    pub origins: Origins,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// Reads and checks everything. Nothing is opened or made beside the config files.
///
/// # Errors
/// All problems of all places at once.
pub fn load(places: &Places, flags: &Flags, environment: &Environment) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let files = match &flags.config {
        Some(file) => vec![file.clone()],
        None => places
            .config
            .iter()
            .flat_map(|directory| read::files(directory, &mut problems))
            .collect(),
    };
    let uid = rustix::process::geteuid().as_raw();
    let locks = locks::Locks::read(&places.machine, uid, &mut problems);
    let machines = places.config.first();
    let mut all = file::File::empty();
    let mut whole = true;
    for path in &files {
        let Some(text) = read::text(path, uid, &mut problems) else {
            whole = false;
            continue;
        };
        let (layer, readable) = parse(path, &text, &mut problems);
        whole &= readable;
        if !machines.is_some_and(|directory| path.starts_with(directory)) {
            locks.hold(&layer, &mut problems);
        }
        all.over(layer);
    }
    for layer in [environment.layer(&mut problems), flag_layer(flags)] {
        inspect::inspect(&layer, &mut problems);
        locks.hold(&layer, &mut problems);
        all.over(layer);
    }
    finished(places.mode, &all, whole, files, problems)
}

/// What one text says, alone: the pure part of [`load`], which `path` is only named to.
///
/// # Errors
/// All problems of the text at once.
pub fn of_text(mode: Mode, path: &Path, text: &str) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let (layer, whole) = parse(path, text, &mut problems);
    finished(mode, &layer, whole, vec![path.to_owned()], problems)
}

/// What all layers together say, where nothing is wrong with it.
fn finished(
    mode: Mode,
    all: &file::File,
    whole: bool,
    files: Vec<PathBuf>,
    mut problems: Problems,
) -> Result<Loaded, Problems> {
    // Parts of what should be compared are missing otherwise, and would be reported as missing.
    let checked = whole.then(|| check::check(mode, all, &mut problems));
    match checked {
        Some((checked, origins)) if problems.is_empty() => Ok(Loaded {
            checked,
            origins,
            files,
        }),
        _ => {
            problems.sort(&files);
            Err(problems)
        }
    }
}

/// One file's layer, and whether all of it could be read. What was read beside a syntax error is checked
/// too, so that all is said at once; but not what the error itself makes look wrong: its line, and where
/// that was a table's header, the keys of that table.
fn parse(path: &Path, text: &str, problems: &mut Problems) -> (file::File, bool) {
    let mut syntax = Problems::default();
    let layer = file::File::parse(path, text, &mut syntax);
    let mut found = Problems::default();
    inspect::inspect(&layer, &mut found);
    let headers: Vec<u32> = (1..)
        .zip(text.lines())
        .filter(|(_, text)| text.trim_start().starts_with('['))
        .map(|(line, _)| line)
        .collect();
    let bad = syntax.iter().filter_map(|problem| problem.place.line());
    let suspects: Vec<std::ops::Range<u32>> = bad
        .map(|bad| match headers.binary_search(&bad) {
            Ok(at) => bad..headers.get(at + 1).copied().unwrap_or(u32::MAX),
            Err(_) => bad..bad + 1,
        })
        .collect();
    let suspect = |line: u32| suspects.iter().any(|lines| lines.contains(&line));
    for problem in &found {
        if !problem.place.line().is_some_and(suspect) {
            problems.add(problem.clone());
        }
    }
    let readable = syntax.is_empty();
    for problem in &syntax {
        problems.add(problem.clone());
    }
    (layer, readable)
}

fn flag_layer(flags: &Flags) -> file::File {
    let mut layer = file::File::empty();
    if let Some(text) = &flags.idle_exit {
        let origin = Origin::Flag { flag: "--idle-exit" };
        let path = ["daemon".to_owned(), "idle_exit".to_owned()];
        layer.join(file::File::single(
            &path,
            file::Node::Leaf(file::string(text, &origin)),
            &origin,
        ));
    }
    layer
}

/// Every effective setting with its origin, sorted by key, secrets masked.
#[must_use]
pub fn show(loaded: &Loaded) -> Vec<Shown> {
    loaded.origins.shown()
}

/// The sample: every key, commented out at its default, with one sentence.
#[must_use]
pub fn default_text() -> &'static str {
    include_str!("../../../../config/telemetryd.toml")
}

impl Checked {
    /// The configuration of a mode when nobody has set anything.
    #[must_use]
    pub fn of_nothing(mode: Mode) -> Arc<Self> {
        let mut problems = Problems::default();
        Arc::new(check::check(mode, &file::File::empty(), &mut problems).0)
    }
}

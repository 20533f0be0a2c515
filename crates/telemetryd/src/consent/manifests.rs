//! Manifests on disk: four places, the first that has one for a tool wins, whole (TOOLS.md).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use telemetry_policy::gather::{Found, Look as _};
use telemetry_policy::{Manifest, Origin, Registered};
use telemetry_protocol::limits::is_tool_name;
use tracing::warn;

use super::Eyes;
use crate::config::{Mode, Places};

/// A manifest larger than this is refused unread.
pub const MAX_BYTES: u64 = 256 * 1024;

/// A file that is no manifest, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestProblem {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

impl ManifestProblem {
    /// Whether the file should be the manifest of `tool`, by its name.
    #[must_use]
    pub fn is_about(&self, tool: &str) -> bool {
        self.file.file_stem().is_some_and(|stem| stem == tool)
    }
}

impl std::fmt::Display for ManifestProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "error: {}:{}: {}",
            self.file.display(),
            self.line,
            self.message
        )
    }
}

/// What became of a manifest that a tool brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Kept, and in force.
    Registered,
    /// It was there already, to the letter.
    Unchanged,
    /// One from the admin, the package manager or the user exists and counts.
    Installed,
}

impl Registration {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Unchanged => "unchanged",
            Self::Installed => "installed",
        }
    }
}

/// A file that should be a manifest, and who put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    origin: Origin,
}

/// Reads all places. A file with a mistake disturbs no other tool; its own tool (by the file's name) then
/// has no manifest at all, rather than one from a lower place.
#[must_use]
pub fn load(places: &Places) -> (BTreeMap<String, Registered>, Vec<ManifestProblem>) {
    read_all(&files(places))
}

/// What is in all places, in the order in which they count.
pub(super) fn files(places: &Places) -> Vec<File> {
    let origins = [Origin::Admin, Origin::Package, Origin::User];
    let own = registered_dir(places);
    let installed = places.manifests.iter().zip(origins);
    let directories = installed.chain(own.iter().map(|own| (own, Origin::Registered)));
    directories
        .flat_map(|(directory, origin)| {
            let files = toml_files(directory).into_iter();
            files.map(move |path| File { path, origin })
        })
        .collect()
}

/// Reads these files, as [`load`] does.
pub(super) fn read_all(files: &[File]) -> (BTreeMap<String, Registered>, Vec<ManifestProblem>) {
    let mut manifests = BTreeMap::new();
    let mut broken = BTreeSet::new();
    let mut problems = Vec::new();
    for File { path, origin } in files {
        match read(path) {
            Ok(manifest) => {
                if !broken.contains(&manifest.name) {
                    manifests.entry(manifest.name.clone()).or_insert(Registered {
                        manifest,
                        origin: *origin,
                        source: path.display().to_string(),
                    });
                }
            }
            Err(mistakes) => {
                let stem = path.file_stem().unwrap_or_default();
                broken.insert(stem.to_string_lossy().into_owned());
                problems.extend(mistakes);
            }
        }
    }
    (manifests, problems)
}

/// A line for each mistake.
pub(super) fn report(problems: &[ManifestProblem]) {
    for problem in problems {
        warn!(file = %problem.file.display(), line = problem.line, "{}", problem.message);
    }
}

/// Keeps a manifest that a tool brought, unless one from above counts. The caller has parsed it.
///
/// # Errors
/// When it cannot be written.
pub fn register(
    state: &Path,
    manifests: &BTreeMap<String, Registered>,
    name: &str,
    text: &str,
) -> Result<Registration, String> {
    if manifests
        .get(name)
        .is_some_and(|known| known.origin != Origin::Registered)
    {
        return Ok(Registration::Installed);
    }
    debug_assert!(is_tool_name(name), "the manifest was parsed");
    let path = state.join(REGISTERED).join(format!("{name}.toml"));
    if matches!(Eyes.look(&path), Found::File(kept) if kept == text) {
        return Ok(Registration::Unchanged);
    }
    crate::files::replace(&path, text.as_bytes())
        .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(Registration::Registered)
}

/// Where registered manifests are kept. A machine-wide daemon has none: what it lets through is the admin's.
pub(super) fn registered_dir(places: &Places) -> Option<PathBuf> {
    (places.mode == Mode::User).then(|| places.state.join(REGISTERED))
}

const REGISTERED: &str = "tools.d";

fn toml_files(directory: &Path) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warn!(directory = %directory.display(), %error, "cannot read manifests");
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> Result<Manifest, Vec<ManifestProblem>> {
    let problem = |line, message| ManifestProblem {
        file: file.to_owned(),
        line,
        message,
    };
    let text = match Eyes.look(file) {
        Found::File(text) if text.len() as u64 <= MAX_BYTES => text,
        Found::File(_) => return Err(vec![problem(1, format!("larger than {MAX_BYTES} bytes"))]),
        Found::Unreadable(why) => return Err(vec![problem(1, format!("cannot be read: {why}"))]),
        Found::Directory(_) => return Err(vec![problem(1, "is a directory".to_owned())]),
        Found::Absent => return Err(vec![problem(1, "is gone".to_owned())]),
    };
    let manifest = Manifest::parse(&text).map_err(|mistakes| -> Vec<_> {
        mistakes.into_iter().map(|m| problem(m.line, m.message)).collect()
    })?;
    if let Err((line, mistakes)) = destination(&manifest) {
        return Err(mistakes
            .into_iter()
            .map(|message| problem(line, message))
            .collect());
    }
    Ok(manifest)
}

/// Whether the destination that a manifest brings is a good one.
///
/// # Errors
/// Its line, and what is wrong with it.
pub(crate) fn destination(manifest: &Manifest) -> Result<(), (u32, Vec<String>)> {
    let (Some(inline), Some(name)) = (&manifest.inline, &manifest.destination) else {
        return Ok(());
    };
    crate::config::inline(name, inline)
        .map(drop)
        .map_err(|wrong| (inline.line, wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(home: &Path) -> Places {
        Places {
            mode: Mode::User,
            config: vec![home.join("config")],
            consent: home.join("config"),
            state: home.join("state"),
            manifests: ["etc", "usr", "user"]
                .iter()
                .map(|name| home.join(name).join("tools.d"))
                .collect(),
            machine: vec![home.join("machine")],
            socket: home.join("t.sock"),
        }
    }

    #[test]
    fn what_a_tool_brings_never_replaces_what_was_installed() {
        let home = tempfile::tempdir().unwrap();
        let places = places(home.path());
        let text = "name = \"t\"\nevents = \"any\"\n";
        let none = BTreeMap::new();
        assert_eq!(
            register(&places.state, &none, "t", text),
            Ok(Registration::Registered)
        );
        assert_eq!(
            register(&places.state, &none, "t", text),
            Ok(Registration::Unchanged)
        );
        assert_eq!(load(&places).0["t"].origin, Origin::Registered);
        std::fs::create_dir_all(&places.manifests[2]).unwrap();
        std::fs::write(places.manifests[2].join("t.toml"), text).unwrap();
        let (manifests, _) = load(&places);
        assert_eq!(manifests["t"].origin, Origin::User);
        assert_eq!(
            register(&places.state, &manifests, "t", text),
            Ok(Registration::Installed)
        );
    }

    #[test]
    fn what_is_no_file_is_said_and_holds_nobody_up() {
        let home = tempfile::tempdir().unwrap();
        let places = places(home.path());
        std::fs::create_dir_all(&places.manifests[2]).unwrap();
        std::os::unix::fs::symlink("/dev/zero", places.manifests[2].join("endless.toml")).unwrap();
        std::fs::create_dir(places.manifests[2].join("directory.toml")).unwrap();
        let fifo = places.manifests[2].join("fifo.toml");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        let (manifests, problems) = load(&places);
        assert!(manifests.is_empty());
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn a_broken_manifest_disturbs_no_other_tool_and_lets_no_lower_one_through() {
        let home = tempfile::tempdir().unwrap();
        let places = places(home.path());
        std::fs::create_dir_all(&places.manifests[2]).unwrap();
        std::fs::write(
            places.manifests[2].join("a.toml"),
            "name = \"a\"\nevents = \"any\"\n",
        )
        .unwrap();
        std::fs::write(
            places.manifests[2].join("b.toml"),
            "name = \"b\"\neventz = \"any\"\n",
        )
        .unwrap();
        register(
            &places.state,
            &BTreeMap::new(),
            "b",
            "name = \"b\"\nevents = \"any\"\n",
        )
        .unwrap();
        let (manifests, problems) = load(&places);
        assert_eq!(manifests.keys().collect::<Vec<_>>(), ["a"]);
        assert!(
            problems
                .iter()
                .any(|p| p.line == 2 && p.message.contains("did you mean events?")),
            "{problems:?}"
        );
    }
}

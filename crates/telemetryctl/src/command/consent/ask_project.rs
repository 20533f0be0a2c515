//! The answer in the project's own file: the first that the tool's manifest names, so that everybody who works in the
//! project has it. A file that is made for it is the person's own, and goes into `.gitignore` where there is one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use telemetry_client::{Question, RealFiles};
use telemetry_policy::gather::{Found, Look};
use telemetry_policy::opt_out::ToolFile;
use telemetry_policy::{OptOuts, own_files, tool_file};

use super::file::turn;
use crate::Context;
use crate::daemon::{Daemon, PATIENCE};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;

/// The project's file.
#[derive(Debug)]
pub(super) struct Target {
    root: PathBuf,
    file: ToolFile,
    before: Option<String>,
}

impl Target {
    /// The file of the project that somebody is in, or is to be made there.
    pub(super) fn find(context: &Context, tool: &str, project: Option<&Path>) -> Result<Self, Failure> {
        let gathered = policy::gathered(context);
        let manifest = gathered.policy().manifest(tool).map(|r| &r.manifest);
        let Some(file) = manifest.and_then(|m| m.opt_outs.project_files.first()) else {
            return Err(
                Failure::failed(format!("{tool} has no file in a project that it would look at"))
                    .hint("--save user keeps the answer for all projects"),
            );
        };
        let first = OptOuts {
            project_files: vec![file.clone()],
            ..OptOuts::default()
        };
        let surroundings = &context.surroundings;
        let start = match (project, &surroundings.working) {
            (Some(project), _) => project.canonicalize().unwrap_or_else(|_| project.to_owned()),
            (None, Some(working)) => working.clone(),
            (None, None) => return Err(Failure::failed("the working directory is gone")),
        };
        let home = surroundings.home.as_deref();
        let root = own_files::project_root(&first, &start, home, &RealFiles).unwrap_or(start);
        let path = root.join(&file.path);
        let before = match RealFiles.look(&path) {
            Found::Absent => None,
            Found::File(text) => Some(text),
            Found::Directory(_) => return Err(refused(&path).caused_by("it is a directory")),
            Found::Unreadable(reason) => return Err(refused(&path).caused_by(reason)),
        };
        Ok(Self {
            root,
            file: file.clone(),
            before,
        })
    }

    /// Writes the answer; says which files changed.
    pub(super) fn save(&self, yes: bool) -> Result<Vec<String>, Failure> {
        let path = self.root.join(&self.file.path);
        // As the project's other directories are: the turn would make it the user's alone.
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let _turn = path.parent().and_then(turn);
        // Somebody may have said a word while this one was thought about.
        let before = match RealFiles.look(&path) {
            Found::File(text) => text,
            _ => self.before.clone().unwrap_or_default(),
        };
        let after = tool_file::edited(&self.file, &before, yes).map_err(|why| {
            refused(&path)
                .caused_by(why)
                .hint("correct it by hand; as long as it cannot be read, it denies")
        })?;
        made.and_then(|()| replace(&path, after.as_bytes()))
            .map_err(|error| {
                let exit = match error.kind() {
                    io::ErrorKind::PermissionDenied => Exit::NotPermitted,
                    _ => Exit::Failed,
                };
                Failure::new(exit, format!("cannot write {}", path.display())).caused_by_io(&error)
            })?;
        let mut changed = vec![path.display().to_string()];
        if self.before.is_none() {
            changed.extend(self.ignore());
        }
        Ok(changed)
    }

    /// Adds a file that was made to the project's `.gitignore`, where there is one that does not have it.
    fn ignore(&self) -> Option<String> {
        let path = self.root.join(".gitignore");
        let text = fs::read_to_string(&path).ok()?;
        let name = self.file.path.as_str();
        if text
            .lines()
            .any(|line| line.trim().trim_start_matches('/') == name)
        {
            return None;
        }
        let begin = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        let mut file = fs::OpenOptions::new().append(true).open(&path).ok()?;
        writeln!(file, "{begin}{name}").ok()?;
        Some(path.display().to_string())
    }

    /// What is queued of the project is erased by the daemon, where one runs; the next does not know the project any more
    /// than this one, and is told by the next client that meets the file.
    pub(super) fn erase(&self, context: &Context, tool: &str) {
        let question = Question {
            tool,
            project: Some(&self.root),
            invocation: None,
        };
        let names = policy::gathered(context).project_names(&question, &RealFiles);
        let Ok(mut daemon) = Daemon::reach(context) else {
            return;
        };
        for name in names {
            let request = json!({ "op": "consent", "action": "deny", "tool": tool, "project": name });
            if daemon.ask(&request, PATIENCE).is_err() {
                return;
            }
        }
    }
}

/// In place, so that its owner and mode stay; it is a few lines. Whoever reads half of one is denied.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real.exists() {
        return fs::write(&real, bytes);
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&real)?
        .write_all(bytes)
}

fn refused(path: &Path) -> Failure {
    Failure::failed(format!("cannot change {}", path.display()))
}

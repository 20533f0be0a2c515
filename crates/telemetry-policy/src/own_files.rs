//! Which of a tool's own files answer for it (CONSENT.md, layers 3 and 4), read through lent eyes: those of the
//! user, and those of the project. One that cannot be read denies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use telemetry_protocol::consent::{Fact, Layer, Verdict};

use crate::gather::{Found, Look, why};
use crate::opt_out::{OptOuts, ToolFile};
use crate::policy::Registered;
use crate::tool_file;

/// Where the files are in which users of `home` may have answered the tools themselves.
#[must_use]
pub fn user_files(manifests: &BTreeMap<String, Registered>, home: &Path) -> Vec<PathBuf> {
    let files = manifests.values().flat_map(|r| &r.manifest.opt_outs.user_files);
    files.filter_map(|file| below_home(file, home)).collect()
}

/// Reads the rest of layer 3: what stands in the user-wide files of the tools, by tool.
pub fn answers(
    manifests: &BTreeMap<String, Registered>,
    home: &Path,
    eyes: &dyn Look,
) -> BTreeMap<String, Vec<Fact>> {
    let mut answers = BTreeMap::new();
    for (name, registered) in manifests {
        let files = &registered.manifest.opt_outs.user_files;
        let facts: Vec<Fact> = files
            .iter()
            .filter_map(|file| answer(file, &below_home(file, home)?, Layer::User, eyes))
            .collect();
        if !facts.is_empty() {
            answers.insert(name.clone(), facts);
        }
    }
    answers
}

fn below_home(file: &ToolFile, home: &Path) -> Option<PathBuf> {
    match file.path.strip_prefix("~/") {
        Some(below) => Some(home.join(below)),
        None => file.path.starts_with("/var/").then(|| PathBuf::from(&file.path)),
    }
}

/// Reads layer 4: each of the files that the manifest names, in the nearest parent of `start` that has it, up
/// to and with `home`, outside of it up to the mount point. One fact at least, where the manifest names a file.
pub fn project(opt_outs: &OptOuts, start: &Path, home: Option<&Path>, eyes: &dyn Look) -> Vec<Fact> {
    let parents = parents(start, home, eyes);
    // In the home itself the same file may be the user's, who is asked before the project.
    let files = opt_outs.user_files.iter();
    let users: Vec<PathBuf> = files.filter_map(|file| below_home(file, home?)).collect();
    let mut facts = Vec::new();
    for file in &opt_outs.project_files {
        let there = |path: &PathBuf| !users.contains(path) && eyes.look(path) != Found::Absent;
        if let Some(path) = parents.iter().map(|parent| parent.join(&file.path)).find(there) {
            facts.extend(answer(file, &path, Layer::Project, eyes));
        }
    }
    if facts.is_empty() && !opt_outs.project_files.is_empty() {
        let names: Vec<&str> = opt_outs
            .project_files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        facts.push(Fact {
            layer: Layer::Project,
            verdict: None,
            source: "-".to_owned(),
            line: None,
            detail: format!("no word in {}, here or above", names.join(" or ")),
        });
    }
    facts
}

/// The project's directory, as its own files tell it: the nearest parent of `start` that has one of them, else `start`
/// itself; `None` where the manifest names no file, so that its tool knows no projects.
pub fn project_root(
    opt_outs: &OptOuts,
    start: &Path,
    home: Option<&Path>,
    eyes: &dyn Look,
) -> Option<PathBuf> {
    let files = &opt_outs.project_files;
    let has = |parent: &&PathBuf| {
        files
            .iter()
            .any(|file| eyes.look(&parent.join(&file.path)) != Found::Absent)
    };
    let parents = parents(start, home, eyes);
    let nearest = parents.iter().find(has).cloned();
    (!files.is_empty()).then(|| nearest.unwrap_or_else(|| start.to_owned()))
}

/// `start` and its parents as far as somebody who works in `start` can have meant them.
fn parents(start: &Path, home: Option<&Path>, eyes: &dyn Look) -> Vec<PathBuf> {
    let inside = home.filter(|home| start.starts_with(home));
    let mut parents = Vec::new();
    let mut device = eyes.device(start);
    for parent in start.ancestors() {
        let next = eyes.device(parent);
        if inside.is_none() && device.is_some() && next.is_some() && next != device {
            break;
        }
        device = next.or(device);
        parents.push(parent.to_owned());
        if inside == Some(parent) {
            break;
        }
    }
    parents
}

fn answer(file: &ToolFile, path: &Path, layer: Layer, eyes: &dyn Look) -> Option<Fact> {
    let fact = |verdict, line, detail: &str| Fact {
        layer,
        verdict: Some(verdict),
        source: path.display().to_string(),
        line,
        detail: detail.to_owned(),
    };
    let text = match eyes.look(path) {
        Found::Absent => return None,
        Found::File(text) => text,
        other => {
            return Some(fact(
                Verdict::Deny,
                None,
                &format!("cannot be read: {}", why(&other)),
            ));
        }
    };
    match tool_file::read(file, &text) {
        Ok(None) => None,
        Ok(Some(answer)) => {
            let verdict = if answer.yes { Verdict::Allow } else { Verdict::Deny };
            Some(fact(verdict, Some(answer.line), &answer.shown))
        }
        Err(mistake) => Some(fact(Verdict::Deny, Some(mistake.line), &mistake.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opt_out::Format;

    struct Map(BTreeMap<PathBuf, Found>);

    impl Look for Map {
        fn look(&self, path: &Path) -> Found {
            self.0.get(path).cloned().unwrap_or(Found::Absent)
        }

        fn owner(&self, _: &Path) -> Option<u32> {
            None
        }

        fn device(&self, path: &Path) -> Option<u64> {
            Some(if path.starts_with("/mnt/disk") { 2 } else { 1 })
        }
    }

    fn kedro() -> OptOuts {
        OptOuts {
            project_files: vec![ToolFile {
                path: ".telemetry".into(),
                format: Format::Yaml,
                key: vec!["consent".into()],
            }],
            ..OptOuts::default()
        }
    }

    fn met(file: &str, start: &str) -> Option<Verdict> {
        let eyes = Map(BTreeMap::from([(
            PathBuf::from(file),
            Found::File("consent: false\n".into()),
        )]));
        project(&kedro(), Path::new(start), Some(Path::new("/h/user")), &eyes)[0].verdict
    }

    #[test]
    fn a_projects_file_is_looked_for_up_to_the_home_and_outside_up_to_the_mount_point() {
        let deny = Some(Verdict::Deny);
        assert_eq!(met("/h/user/p/.telemetry", "/h/user/p/src/x"), deny);
        assert_eq!(met("/h/user/.telemetry", "/h/user/p/src"), deny);
        assert_eq!(met("/h/.telemetry", "/h/user/p/src"), None);
        assert_eq!(met("/.telemetry", "/srv/p"), deny);
        assert_eq!(met("/mnt/disk/.telemetry", "/mnt/disk/p"), deny);
        assert_eq!(met("/mnt/.telemetry", "/mnt/disk/p"), None);
    }

    #[test]
    fn a_projects_directory_is_the_one_that_has_its_file() {
        let eyes = Map(BTreeMap::from([(
            PathBuf::from("/h/user/p/.telemetry"),
            Found::File(String::new()),
        )]));
        let root = |opt_outs: &OptOuts, start: &str| {
            project_root(opt_outs, Path::new(start), Some(Path::new("/h/user")), &eyes)
        };
        assert_eq!(root(&kedro(), "/h/user/p/src/x"), Some("/h/user/p".into()));
        assert_eq!(root(&kedro(), "/h/user/q/src"), Some("/h/user/q/src".into()));
        assert_eq!(root(&OptOuts::default(), "/h/user/p"), None);
    }
}

//! Which files say what, without touching one: whoever may do I/O lends its eyes ([`Look`]), so that
//! the daemon and the clients read the same places by the same rules. What cannot be read denies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use telemetry_protocol::limits::is_tool_name;

use crate::consent_file::UserConsent;
use crate::machine::Machine;
use crate::manifest::{Manifest, Origin};
use crate::policy::Registered;
use crate::policy_file::PolicyFile;

/// What is found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing at all.
    Absent,
    /// A file, with its text.
    File(String),
    /// A directory, with the names in it.
    Directory(Vec<String>),
    /// Something that cannot be read: a dangling link, no permission, a special file; with the reason.
    Unreadable(String),
}

/// Eyes on a file system.
pub trait Look {
    /// What is at `path`. A link that leads nowhere is [`Found::Unreadable`], not absent.
    fn look(&self, path: &Path) -> Found;

    /// Whose it is, links followed; `None` where that cannot be told.
    fn owner(&self, path: &Path) -> Option<u32>;

    /// The device that it is on: a number that differs beyond a mount point. `None` where that cannot be told.
    fn device(&self, path: &Path) -> Option<u64>;
}

/// Reads layer 1 in each of the machine directories (`opt-out`, `opt-out.d`, `policy.d`). `uid` is the
/// asking process's own: a policy that belongs neither to it nor to root denies.
pub fn machine(directories: &[PathBuf], uid: u32, eyes: &dyn Look) -> Machine {
    let mut machine = Machine::default();
    for directory in directories {
        let opt_out = directory.join("opt-out");
        // The file denies by being there, whatever it is or contains.
        if eyes.look(&opt_out) == Found::Absent {
            machine.looked_for(&opt_out.display().to_string());
        } else {
            machine.deny_everything(&opt_out.display().to_string(), "exists");
        }
        let per_tool = directory.join("opt-out.d");
        match eyes.look(&per_tool) {
            Found::Absent => {}
            Found::Directory(names) => {
                for name in names {
                    let source = per_tool.join(&name).display().to_string();
                    if is_tool_name(&name) {
                        machine.deny_tool(&name, &source, "exists");
                    } else if !name.starts_with('.') && !name.ends_with('~') {
                        machine.deny_everything(&source, "names no tool");
                    }
                }
            }
            other => machine.deny_everything(&per_tool.display().to_string(), why(&other)),
        }
        let policies = directory.join("policy.d");
        match eyes.look(&policies) {
            Found::Absent => {}
            Found::Directory(names) => {
                for path in std::iter::once(policies.clone()).chain(policy_files(&policies, &names)) {
                    machine_policy(&mut machine, &path, path != policies, uid, eyes);
                }
            }
            other => machine.deny_everything(&policies.display().to_string(), why(&other)),
        }
    }
    machine
}

/// The names of a `policy.d` that count: `*.toml`, but not what editors leave behind.
pub fn policy_files(directory: &Path, names: &[String]) -> Vec<PathBuf> {
    let counts = |name: &&String| name.ends_with(".toml") && !name.starts_with('.');
    names
        .iter()
        .filter(counts)
        .map(|name| directory.join(name))
        .collect()
}

fn machine_policy(machine: &mut Machine, path: &Path, is_file: bool, uid: u32, eyes: &dyn Look) {
    let source = path.display().to_string();
    if let Some(owner) = eyes.owner(path).filter(|owner| *owner != 0 && *owner != uid) {
        let detail = format!("belongs to uid {owner}, neither to root nor to uid {uid}");
        return machine.deny_everything(&source, &detail);
    }
    if is_file {
        machine.add(match eyes.look(path) {
            Found::File(text) => PolicyFile::parse(&source, &text),
            other => PolicyFile::unreadable(&source, why(&other)),
        });
    }
}

/// Reads layer 3: the user's `consent.toml` in `config`.
pub fn user(config: &Path, eyes: &dyn Look) -> UserConsent {
    word(&config.join("consent.toml"), eyes)
}

/// Reads layer 3 from a file of any name: a machine-wide daemon keeps one for each uid.
pub fn word(path: &Path, eyes: &dyn Look) -> UserConsent {
    let source = path.display().to_string();
    match eyes.look(path) {
        Found::Absent => UserConsent::absent(&source),
        Found::File(text) => UserConsent::parse(&source, &text),
        other => UserConsent::unreadable(&source, why(&other)),
    }
}

/// One manifest a tool, of the first place that has it: one that cannot be read leaves its tool (by the file's
/// name) without any, rather than with one from a lower place. Then the tool is off (I3).
pub fn manifests(places: &[(Origin, PathBuf)], eyes: &dyn Look) -> BTreeMap<String, Registered> {
    let mut found = BTreeMap::new();
    let mut broken = BTreeSet::new();
    for (origin, directory) in places {
        let Found::Directory(names) = eyes.look(directory) else {
            continue;
        };
        for (name, stem) in names
            .iter()
            .filter_map(|name| Some((name, name.strip_suffix(".toml")?)))
        {
            let path = directory.join(name);
            let manifest = match eyes.look(&path) {
                Found::File(text) => Manifest::parse(&text).ok(),
                _ => None,
            };
            match manifest {
                None => {
                    broken.insert(stem.to_owned());
                }
                Some(manifest) if broken.contains(&manifest.name) => {}
                Some(manifest) => {
                    found.entry(manifest.name.clone()).or_insert_with(|| Registered {
                        manifest,
                        origin: *origin,
                        source: path.display().to_string(),
                    });
                }
            }
        }
    }
    found
}

pub(crate) fn why(found: &Found) -> &str {
    match found {
        Found::Unreadable(reason) => reason,
        Found::Directory(_) => "is a directory",
        Found::File(_) => "is a file, not a directory",
        Found::Absent => "does not exist",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_protocol::consent::Verdict;

    struct Map(BTreeMap<PathBuf, Found>);

    impl Look for Map {
        fn look(&self, path: &Path) -> Found {
            self.0.get(path).cloned().unwrap_or(Found::Absent)
        }

        fn owner(&self, path: &Path) -> Option<u32> {
            Some(if path.ends_with("foreign.toml") { 66 } else { 7 })
        }

        fn device(&self, _: &Path) -> Option<u64> {
            None
        }
    }

    fn denied(path: &str, found: Found, tool: &str) -> bool {
        let eyes = Map(BTreeMap::from([(PathBuf::from(path), found)]));
        let machine = machine(&["/m".into()], 7, &eyes);
        machine
            .facts(tool)
            .iter()
            .any(|fact| fact.verdict == Some(Verdict::Deny))
    }

    #[test]
    fn an_opt_out_denies_by_being_there_whatever_it_is() {
        for found in [
            Found::File(String::new()),
            Found::File("false".into()),
            Found::Directory(vec![]),
            Found::Unreadable("dangling link".into()),
        ] {
            assert!(denied("/m/opt-out", found, "kedro"));
        }
        assert!(!denied("/elsewhere/opt-out", Found::File(String::new()), "kedro"));
    }

    #[test]
    fn a_tools_opt_out_denies_that_tool_alone() {
        let found = || Found::Directory(vec!["dlt".into(), ".hidden".into(), "dlt~".into()]);
        assert!(denied("/m/opt-out.d", found(), "dlt"));
        assert!(!denied("/m/opt-out.d", found(), "kedro"));
        assert!(
            denied("/m/opt-out.d", Found::Directory(vec!["Kedro".into()]), "kedro"),
            "a slip of the pen denies"
        );
        assert!(denied("/m/opt-out.d", Found::File(String::new()), "kedro"));
    }

    #[test]
    fn a_policy_that_cannot_be_obeyed_denies_and_an_ordinary_one_does_not() {
        let denied = |name: &str, found: Option<Found>| {
            let mut files = BTreeMap::from([(
                PathBuf::from("/m/policy.d"),
                Found::Directory(vec![name.to_owned()]),
            )]);
            files.extend(found.map(|found| (PathBuf::from("/m/policy.d").join(name), found)));
            machine(&["/m".into()], 7, &Map(files))
                .denies_everything()
                .is_some()
        };
        let file = |text: &str| Some(Found::File(text.to_owned()));
        assert!(denied("10.toml", file("telemetry = \"off\"")));
        assert!(denied("10.toml", Some(Found::Directory(vec![]))));
        assert!(denied(
            "10.toml",
            Some(Found::Unreadable("is a dangling link".into()))
        ));
        assert!(denied("10.toml", None), "it went away between the two looks");
        assert!(denied("foreign.toml", file("")), "somebody else's");
        assert!(!denied("10.toml", file("")));
        assert!(!denied("README", None));
        assert!(!denied(".#10.toml", None));
    }

    #[test]
    fn the_first_place_counts_and_a_broken_manifest_lets_no_lower_one_through() {
        let good = |name: &str| Found::File(format!("name = \"{name}\"\nevents = \"any\"\n"));
        let names = |names: &[&str]| Found::Directory(names.iter().map(|n| (*n).to_owned()).collect());
        let eyes = Map(BTreeMap::from([
            ("/1".into(), names(&["a.toml", "b.toml"])),
            ("/2".into(), names(&["a.toml", "b.toml", "c.toml"])),
            ("/1/a.toml".into(), good("a")),
            ("/1/b.toml".into(), Found::File("name = ".into())),
            ("/2/a.toml".into(), good("a")),
            ("/2/b.toml".into(), good("b")),
            ("/2/c.toml".into(), good("c")),
        ]));
        let found = manifests(
            &[(Origin::Admin, "/1".into()), (Origin::User, "/2".into())],
            &eyes,
        );
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(found["a"].origin, Origin::Admin);
    }

    #[test]
    fn a_consent_file_that_is_a_directory_denies() {
        let eyes = Map(BTreeMap::from([(
            PathBuf::from("/c/consent.toml"),
            Found::Directory(vec![]),
        )]));
        assert!(user(Path::new("/c"), &eyes).denies_everything().is_some());
        assert!(user(Path::new("/d"), &eyes).denies_everything().is_none());
    }
}

//! Which files say what, without touching one: whoever may do I/O lends its eyes ([`Look`]), so that
//! the daemon and the clients read the same places by the same rules. What cannot be read denies.

use std::path::{Path, PathBuf};

use telemetry_protocol::limits::is_tool_name;

use crate::consent_file::UserConsent;
use crate::machine::Machine;

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
}

/// Reads layer 1 in each of the machine directories (`opt-out`, `opt-out.d`, `policy.d`), and the
/// variables of the asking process that deny every tool.
pub fn machine(directories: &[PathBuf], eyes: &dyn Look, is_set: &dyn Fn(&str) -> bool) -> Machine {
    let mut machine = Machine::default();
    for directory in directories {
        let opt_out = directory.join("opt-out");
        // The file denies by being there, whatever it is or contains.
        if eyes.look(&opt_out) != Found::Absent {
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
                for name in names.iter().filter(|name| name.ends_with(".toml")) {
                    let source = policies.join(name).display().to_string();
                    machine.deny_everything(
                        &source,
                        "this version cannot read policies yet, so it obeys the strictest",
                    );
                }
            }
            other => machine.deny_everything(&policies.display().to_string(), why(&other)),
        }
    }
    if is_set("DO_NOT_TRACK") {
        machine.deny_by_environment("DO_NOT_TRACK");
    }
    machine
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

fn why(found: &Found) -> &str {
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
    use std::collections::BTreeMap;
    use telemetry_protocol::consent::{Layer, Verdict};

    struct Map(BTreeMap<PathBuf, Found>);

    impl Look for Map {
        fn look(&self, path: &Path) -> Found {
            self.0.get(path).cloned().unwrap_or(Found::Absent)
        }
    }

    fn denied(path: &str, found: Found, tool: &str) -> bool {
        let eyes = Map(BTreeMap::from([(PathBuf::from(path), found)]));
        let machine = machine(&["/m".into()], &eyes, &|_| false);
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
    fn a_policy_that_cannot_be_read_yet_denies() {
        assert!(denied(
            "/m/policy.d",
            Found::Directory(vec!["10-ours.toml".into()]),
            "kedro"
        ));
        assert!(!denied(
            "/m/policy.d",
            Found::Directory(vec!["README".into()]),
            "kedro"
        ));
    }

    #[test]
    fn do_not_track_in_the_asking_process_denies() {
        let machine = machine(&[], &Map(BTreeMap::new()), &|name| name == "DO_NOT_TRACK");
        assert_eq!(
            machine.denies_everything().map(|fact| fact.layer),
            Some(Layer::Environment)
        );
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

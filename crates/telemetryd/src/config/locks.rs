//! Keys that the admin's policies lock (`locked = ["queue", "limits.rate"]`): nothing below the machine's own files
//! may set them, neither a user's file nor the environment nor a flag.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry_policy::gather;
use telemetry_policy::policy_file::Locked;

use super::default;
use super::file::{File, Node, Table};
use super::origin::Origin;
use super::problem::{Problem, Problems};
use crate::consent::Eyes;

/// The locks of all policies.
pub(super) struct Locks {
    keys: Vec<(Vec<String>, Locked)>,
}

impl Locks {
    /// Reads the policies. One that cannot be read locks nothing, for it denies everything. A lock on what is no
    /// key is a problem: it would protect nothing.
    pub(super) fn read(machine: &[PathBuf], uid: u32, problems: &mut Problems) -> Self {
        let policies = gather::machine(machine, uid, &Eyes);
        let mut keys = Vec::new();
        for lock in policies.locked() {
            let mut path: Vec<String> = lock.key.split('.').map(str::to_owned).collect();
            if default::find(&path).is_none() && default::children(&path).is_empty() {
                let place = Origin::File {
                    path: Arc::from(Path::new(&lock.at.source)),
                    line: lock.at.line,
                };
                problems.add(Problem::new(&place, "locked: this names no key of the config").key(&lock.key));
                continue;
            }
            // Who says one word of it replaces it whole.
            if path.len() > 3 && path[0] == "destinations" && path[2] == "auth" {
                path.truncate(3);
            }
            keys.push((path, lock.clone()));
        }
        Self { keys }
    }

    /// A problem for every locked key that this layer sets.
    pub(super) fn hold(&self, layer: &File, problems: &mut Problems) {
        if !self.keys.is_empty() {
            self.walk(&layer.root, &mut Vec::new(), problems);
        }
    }

    fn walk(&self, table: &Table, path: &mut Vec<String>, problems: &mut Problems) {
        for (name, node) in &table.entries {
            path.push(name.clone());
            let lock = self
                .keys
                .iter()
                .find(|(key, _)| path.starts_with(key) || key == path);
            match (node, lock) {
                (Node::Table(below), None) => self.walk(below, path, problems),
                (Node::Leaf(_), None) => {}
                (Node::Leaf(found), Some((_, lock))) => problems.add(locked(&found.origin, path, lock)),
                (Node::Table(below), Some((_, lock))) => problems.add(locked(first(below), path, lock)),
            }
            path.pop();
        }
    }
}

/// Where the first thing below a table stands.
fn first(table: &Table) -> &Origin {
    match table.entries.values().next() {
        Some(Node::Leaf(found)) => &found.origin,
        Some(Node::Table(below)) => first(below),
        None => &table.origin,
    }
}

fn locked(place: &Origin, path: &[String], lock: &Locked) -> Problem {
    let message = format!("is locked by {}:{}", lock.at.source, lock.at.line);
    Problem::new(place, message)
        .key(path.join("."))
        .hint("leave it away; only the machine's own files may set it")
}

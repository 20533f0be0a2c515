//! The hash by which a queued row knows its project: keyed by a secret of the person's own, so that nobody else can
//! look a project's name up, and so that a project's denial can find its rows (I3, I13). It never leaves the machine.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use telemetry_queue::Id;
use tracing::warn;

/// Bytes of the secret (TOOLS.md, "Identity": as long as those).
const SECRET: usize = 32;
/// Bytes of a block of SHA-256 (FIPS 180-4).
const BLOCK: usize = 64;

/// One person's key.
#[derive(Debug)]
pub(super) struct Projects {
    file: PathBuf,
    secret: Option<[u8; SECRET]>,
}

impl Projects {
    /// The key, where one was made.
    pub(super) fn read(file: PathBuf) -> Self {
        let secret = crate::files::read(&file)
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        Self { file, secret }
    }

    /// The hash of this tool's project, for a row that is about to be stored. The first makes the key.
    pub(super) fn id(&mut self, tool: &str, project: &str) -> Id {
        let secret = *self.secret.get_or_insert_with(|| {
            let secret = random();
            if let Err(error) = crate::files::replace(&self.file, &secret) {
                warn!(%error, "cannot keep the key of projects; a project's denial finds its rows until the daemon ends");
            }
            secret
        });
        hash(&secret, tool, project)
    }

    /// The same for whoever looks for rows: without a key there are none.
    pub(super) fn known(&self, tool: &str, project: &str) -> Option<Id> {
        self.secret.as_ref().map(|secret| hash(secret, tool, project))
    }

    /// Forgets the key: what it told apart is gone.
    pub(super) fn forget(&mut self) {
        self.secret = None;
        let _ = std::fs::remove_file(&self.file);
    }
}

/// 32 bytes that nobody can guess: 244 random bits, spread.
fn random() -> [u8; SECRET] {
    let mut hash = Sha256::new();
    for _ in 0..2 {
        hash.update(uuid::Uuid::new_v4().as_bytes());
    }
    hash.finalize().into()
}

/// HMAC-SHA-256 (RFC 2104) of tool and project, cut to an id.
fn hash(secret: &[u8; SECRET], tool: &str, project: &str) -> Id {
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        for (byte, key) in block.iter_mut().zip(secret) {
            *byte ^= key;
        }
        Sha256::new().chain_update(block)
    };
    let inner = pad(0x36)
        .chain_update(b"project\0")
        .chain_update(tool.as_bytes())
        .chain_update(b"\0")
        .chain_update(project.as_bytes())
        .finalize();
    let outer: [u8; SECRET] = pad(0x5c).chain_update(inner).finalize().into();
    let mut id = Id::default();
    id.copy_from_slice(&outer[..16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projects_hash_is_told_by_person_tool_and_project_and_survives_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let mut ann = Projects::read(at("ann"));
        assert_eq!(ann.known("kedro", "/p"), None, "nobody asked for a row yet");
        let id = ann.id("kedro", "/p");
        assert_ne!(id, ann.id("dlt", "/p"));
        assert_ne!(id, ann.id("kedro", "/q"));
        assert_ne!(id, Projects::read(at("ben")).id("kedro", "/p"));
        let mut again = Projects::read(at("ann"));
        assert_eq!(again.known("kedro", "/p"), Some(id));
        again.forget();
        assert_ne!(Projects::read(at("ann")).id("kedro", "/p"), id);
    }

    #[test]
    fn the_hash_is_the_one_of_the_rfc() {
        // Another implementation's HMAC-SHA-256 of "project\0t\0p" under 32 bytes of 7.
        let id = hash(&[7; SECRET], "t", "p");
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "4c2ec24d5a17be48904a9d7b6c98defb");
    }
}

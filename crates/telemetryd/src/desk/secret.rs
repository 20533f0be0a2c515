//! One tool's secret and the consent epoch that it is of, at hand and in the file (I3).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use telemetry_policy::pseudonym::{Pseudonyms, Secret};

/// One tool's secret.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) pseudonyms: Pseudonyms,
    /// The consent epoch in which it was made.
    pub(super) epoch: u64,
    /// This daemon saw its epoch: a lower one is of before. Of what was read, another epoch may mean that the
    /// epochs were lost.
    pub(super) seen: bool,
}

impl Held {
    pub(super) fn made(lasting: bool, epoch: u64) -> Self {
        Self {
            pseudonyms: Pseudonyms::new(random(), lasting),
            epoch,
            seen: true,
        }
    }

    /// Whether another epoch has begun since it was made.
    pub(super) const fn over(&self, epoch: u64) -> bool {
        epoch > self.epoch || (epoch < self.epoch && !self.seen)
    }
}

/// A secret in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    secret: String,
    epoch: u64,
}

/// What a file keeps. What cannot be read is made anew: an id that nobody knows any more harms nobody.
pub(super) fn read(path: &Path) -> BTreeMap<String, Held> {
    let kept: BTreeMap<String, Kept> = crate::files::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    kept.into_iter()
        .filter_map(|(tool, kept)| {
            let held = Held {
                pseudonyms: Pseudonyms::new(unhex(&kept.secret)?, true),
                epoch: kept.epoch,
                seen: false,
            };
            Some((tool, held))
        })
        .collect()
}

pub(super) fn serialized(user: &BTreeMap<String, Held>) -> BTreeMap<&str, Kept> {
    let lasting = user.iter().filter(|(_, held)| held.pseudonyms.lasting());
    lasting
        .map(|(tool, held)| {
            let (secret, epoch) = (held.pseudonyms.kept(), held.epoch);
            (tool.as_str(), Kept { secret, epoch })
        })
        .collect()
}

fn unhex(text: &str) -> Option<Secret> {
    let mut secret = Secret::default();
    if text.len() != 2 * secret.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(secret)
}

/// 32 bytes that nobody can guess, from the system's generator (its 6 fixed bits of 128 spread by SHA-256).
pub(super) fn random() -> Secret {
    let mut hash = Sha256::new();
    for _ in 0..3 {
        hash.update(uuid::Uuid::new_v4().as_bytes());
    }
    hash.finalize().into()
}

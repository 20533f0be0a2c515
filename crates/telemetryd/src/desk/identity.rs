//! The secrets behind the pseudonyms: 32 random bytes for each user and tool, made when the tool's first event is
//! admitted and never before, kept in one file a machine (TOOLS.md, "Identity").
//!
//! A secret is of one consent epoch and stands beside its number: after a withdrawal, or a "forget", another one is
//! made at the next event, however short it was and whether or not anybody ran to see it (I3).
//!
//! The file is named by a digest of the machine's id: on a cloned machine, or in a home that two machines share, the
//! other one's file is not ours. In a container whose state does not last, and where the file cannot be written,
//! there is a secret for hashes alone, forgotten with the daemon; then nothing stands for the user.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use telemetry_policy::Policy;
use telemetry_policy::Reach;
use telemetry_policy::pseudonym::Pseudonyms;
use tracing::warn;

use super::secret::{Held, Kept, random, read, serialized};
use crate::config::{Mode, Places};

/// Users whose secrets are at hand (I6); past it all are read again.
const USERS: usize = 1024;
/// Tools of one user that can have secrets (I6): four times as many as may have rows.
const TOOLS: usize = 256;

/// What stands for the user of one tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// The tool.
    pub tool: String,
    /// Its `anonymous_id` for this user on this machine, where the tool gives no key of its own.
    pub anonymous_id: String,
}

/// Where secrets are kept.
#[derive(Debug)]
pub struct Identity {
    directory: PathBuf,
    file: String,
    mode: Mode,
    lasting: bool,
    secrets: Mutex<Secrets>,
}

/// The secrets that are at hand.
#[derive(Debug, Default)]
pub struct Secrets {
    users: HashMap<u32, BTreeMap<String, Held>>,
    /// For an event of an epoch that is over, which is never sent.
    passing: Option<Pseudonyms>,
}

impl Identity {
    /// Reads nothing yet. `explicit`: somebody named the state directory, and by that says that it lasts.
    #[must_use]
    pub fn open(places: &Places, explicit: bool) -> Self {
        Self {
            directory: places.state.join("identity"),
            file: format!("{}.json", machine()),
            mode: places.mode,
            lasting: explicit || lasts(&places.state),
            secrets: Mutex::default(),
        }
    }

    /// Whether what stands for a user today will stand for it tomorrow.
    #[must_use]
    pub fn lasting(&self) -> bool {
        self.lasting
    }

    /// The secrets, for as long as the guard is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands for this user, of one tool or of all that have something. Makes nothing.
    #[must_use]
    pub fn known(&self, uid: u32, tool: Option<&str>) -> Vec<Id> {
        let mut secrets = self.lock();
        let user = secrets.user(self, uid);
        user.iter_mut()
            .filter(|(name, held)| held.pseudonyms.lasting() && tool.is_none_or(|tool| tool == *name))
            .map(|(name, held)| Id {
                tool: name.clone(),
                anonymous_id: held.pseudonyms.user(None).to_owned(),
            })
            .collect()
    }

    /// Forgets the secrets of one tool of this user, or of all: what was sent cannot be joined with what will be.
    /// Returns what stood for the user until now.
    ///
    /// # Errors
    /// When the file cannot be replaced; the secrets are then gone from memory, and the next daemon finds them again
    /// (and makes no use of them where a new epoch has begun).
    pub fn forget(&self, uid: u32, tool: Option<&str>) -> std::io::Result<Vec<Id>> {
        let forgotten = self.known(uid, tool);
        self.keep(uid, |name, _| tool.is_some_and(|tool| tool != name))?;
        Ok(forgotten)
    }

    /// Keeps those of this user's secrets alone for which `stays` holds.
    fn keep(&self, uid: u32, stays: impl Fn(&str, &Held) -> bool) -> std::io::Result<()> {
        let mut secrets = self.lock();
        let person = self.person(uid);
        let user = secrets.user(self, uid);
        let before = user.len();
        user.retain(|name, held| stays(name, held));
        if user.len() == before {
            return Ok(());
        }
        let kept = serialized(user);
        if kept.is_empty() {
            match std::fs::remove_file(self.path(person)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else {
            self.save(person, &kept)?;
        }
        Ok(())
    }

    /// Forgets the secrets of every tool that nobody may send for any more, and those of epochs that are over: a new
    /// consent begins anew. What was made in a later epoch than this policy's stays.
    pub fn withdrawn(&self, person: u32, policy: &Policy) {
        let stays = |tool: &str, held: &Held| {
            let tool = policy.tool_with_rows(tool);
            let withdrawn = tool.reach() == Reach::Nobody && held.epoch <= tool.epoch;
            !withdrawn && !held.over(tool.epoch)
        };
        if let Err(error) = self.keep(person, stays) {
            warn!(%error, "cannot forget the identities of tools whose consent was withdrawn");
        }
    }

    /// A user's daemon has one person, whoever connects to it.
    const fn person(&self, uid: u32) -> u32 {
        match self.mode {
            Mode::User => 0,
            Mode::System => uid,
        }
    }

    fn path(&self, person: u32) -> PathBuf {
        match self.mode {
            Mode::User => self.directory.join(&self.file),
            Mode::System => self.directory.join(person.to_string()).join(&self.file),
        }
    }

    fn save(&self, person: u32, secrets: &BTreeMap<&str, Kept>) -> std::io::Result<()> {
        let text = serde_json::to_vec(secrets).map_err(std::io::Error::other)?;
        crate::files::replace(&self.path(person), &text)
    }
}

impl Secrets {
    /// What stands for things of this user and tool in this consent epoch. Makes the secret where there is none of
    /// it; of an epoch that is over nothing is made again, and nothing stands for the user.
    pub(super) fn of(&mut self, identity: &Identity, uid: u32, tool: &str, epoch: u64) -> &mut Pseudonyms {
        let Self { users, passing } = self;
        let user = Self::of_user(users, identity, uid);
        let is_held = match user.get_mut(tool) {
            Some(held) if epoch < held.epoch && held.seen => {
                return passing.insert(Pseudonyms::new(random(), false));
            }
            Some(held) if !held.over(epoch) => {
                held.seen = true;
                true
            }
            _ => false,
        };
        if !is_held {
            if user.len() >= TOOLS && !user.contains_key(tool) {
                // Of tools that were never heard of again; theirs are made anew.
                user.pop_first();
            }
            user.insert(tool.to_owned(), Held::made(identity.lasting, epoch));
            if identity.lasting
                && let Err(error) = identity.save(identity.person(uid), &serialized(user))
            {
                warn!(%error, "cannot keep the secret of a tool's pseudonyms; its events go without a user's");
                user.insert(tool.to_owned(), Held::made(false, epoch));
            }
        }
        match user.get_mut(tool) {
            Some(held) => &mut held.pseudonyms,
            // It was held, or was made just now.
            None => passing.insert(Pseudonyms::new(random(), false)),
        }
    }

    fn user(&mut self, identity: &Identity, uid: u32) -> &mut BTreeMap<String, Held> {
        Self::of_user(&mut self.users, identity, uid)
    }

    fn of_user<'u>(
        users: &'u mut HashMap<u32, BTreeMap<String, Held>>,
        identity: &Identity,
        uid: u32,
    ) -> &'u mut BTreeMap<String, Held> {
        let person = identity.person(uid);
        if users.len() >= USERS && !users.contains_key(&person) {
            users.clear();
        }
        users.entry(person).or_insert_with(|| match identity.lasting {
            true => read(&identity.path(person)),
            false => BTreeMap::new(),
        })
    }
}

/// Which machine this is, in 32 digits from which nobody learns its id (machine-id(5) asks for that). Machines
/// without one (macOS) all have the same; there a shared home is not noticed.
fn machine() -> String {
    let id = ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .into_iter()
        .find_map(|path| {
            crate::files::text(Path::new(path))
                .ok()
                .filter(|id| id.trim().len() == 32)
        });
    let digest = Sha256::new()
        .chain_update(b"telemetryd machine 1\0")
        .chain_update(id.as_deref().unwrap_or_default().trim())
        .finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether what is written here is there tomorrow: not in memory, and not in the writable layer of a container.
#[cfg(target_os = "linux")]
fn lasts(state: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC`, statfs(2).
    const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];
    let existing = state.ancestors().find(|path| path.exists()).unwrap_or(state);
    let kind = rustix::fs::statfs(existing)
        .ok()
        .and_then(|found| u32::try_from(found.f_type & 0xFFFF_FFFF).ok());
    if kind.is_some_and(|kind| IN_MEMORY.contains(&kind)) {
        return false;
    }
    // Docker and Podman leave these; what is on a volume is on another device than the root.
    let container = ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|path| Path::new(path).exists());
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    !container || device(existing) != device(Path::new("/"))
}

#[cfg(not(target_os = "linux"))]
fn lasts(_: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(state: &Path, file: &str, lasting: bool) -> Identity {
        Identity {
            directory: state.join("identity"),
            file: file.to_owned(),
            mode: Mode::User,
            lasting,
            secrets: Mutex::default(),
        }
    }

    fn user(identity: &Identity, tool: &str) -> String {
        user_in(identity, tool, 1)
    }

    fn user_in(identity: &Identity, tool: &str, epoch: u64) -> String {
        let mut secrets = identity.lock();
        secrets.of(identity, 1000, tool, epoch).user(None).to_owned()
    }

    #[test]
    fn a_secret_is_made_late_and_lasts_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let open = || identity(home.path(), "m.json", true);
        let first = open();
        assert!(first.known(1000, None).is_empty());
        assert!(!first.path(0).exists(), "nobody asked for one");
        let (a, b) = (user(&first, "a"), user(&first, "b"));
        assert_ne!(a, b);
        let again = open();
        assert_eq!((user(&again, "a"), user(&again, "b")), (a.clone(), b.clone()));
        let forgotten = again.forget(1000, Some("a")).unwrap();
        assert_eq!(
            forgotten,
            [Id {
                tool: "a".into(),
                anonymous_id: a.clone()
            }]
        );
        let third = open();
        assert_eq!(third.known(1000, None).len(), 1);
        assert_ne!(user(&third, "a"), a);
        assert_eq!(user(&third, "b"), b);
        third.forget(1000, None).unwrap();
        assert!(!third.path(0).exists());
    }

    #[test]
    fn another_machine_over_the_same_state_has_its_own() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (
            identity(home.path(), "m1.json", true),
            identity(home.path(), "m2.json", true),
        );
        assert_ne!(user(&one, "t"), user(&other, "t"));
    }

    #[test]
    fn what_does_not_last_stands_for_nobody_and_is_written_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let passing = identity(home.path(), "m.json", false);
        assert!(!passing.lock().of(&passing, 1000, "t", 1).lasting());
        assert!(passing.known(1000, None).is_empty());
        assert!(!home.path().join("identity").exists());
    }

    #[test]
    fn a_withdrawal_makes_the_next_consent_begin_anew() {
        use telemetry_policy::UserConsent;
        use telemetry_policy::policy::Parts;
        let home = tempfile::tempdir().unwrap();
        let identity = identity(home.path(), "m.json", true);
        let policy = |word: &str| {
            let user = UserConsent::parse("c", &format!("[tools]\nt = {word}"));
            Policy::new(Parts {
                user,
                ..Parts::default()
            })
        };
        let before = user(&identity, "t");
        identity.withdrawn(0, &policy("true"));
        assert_eq!(user(&identity, "t"), before);
        identity.withdrawn(0, &policy("false"));
        assert_ne!(user(&identity, "t"), before);
    }

    #[test]
    fn another_epoch_has_another_secret_whoever_saw_the_withdrawal() {
        use telemetry_policy::policy::Parts;
        let home = tempfile::tempdir().unwrap();
        let open = || identity(home.path(), "m.json", true);
        let first = open();
        let before = user_in(&first, "t", 1);
        let during = user_in(&first, "t", 3);
        assert_ne!(during, before);
        // What was read before the withdrawal and comes after it has no user, and changes nothing.
        assert!(!first.lock().of(&first, 1000, "t", 1).lasting());
        assert_eq!(user_in(&first, "t", 3), during);
        first.withdrawn(0, &Policy::new(Parts::default()));
        assert_eq!(
            user_in(&first, "t", 3),
            during,
            "a policy of before takes nothing"
        );
        let again = open();
        assert_eq!(user_in(&again, "t", 3), during);
        let after = user_in(&open(), "t", 5);
        assert!(after != during && after != before);
        // Epochs that were lost begin at 1.
        let lost = user_in(&open(), "t", 1);
        assert!(lost != after && lost != before);
        assert_eq!(user_in(&open(), "t", 1), lost);
    }
}

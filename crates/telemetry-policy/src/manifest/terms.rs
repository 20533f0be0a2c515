//! The small words of a manifest: identity, context, ci, sample, privacy.

use sha2::{Digest, Sha256};
use toml::de::DeValue;

use super::reader::{At, Reader};

/// Where a user's pseudonym comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum User {
    /// From this tool's secret on this machine.
    #[default]
    Random,
    /// The tool's own id, if it is shaped like one.
    FromTool,
    /// There is none.
    None,
}

/// Where a project's pseudonym comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Project {
    /// The tool's key of it, hashed under this tool's secret.
    #[default]
    Hashed,
    /// The tool's own id, if it is shaped like one: the same on all machines of a team.
    FromTool,
    /// There is none.
    None,
}

/// `identity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Of the user.
    pub user: User,
    /// Of the project.
    pub project: Project,
}

/// `ci`: what happens to events from continuous integration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ci {
    /// They are sent like all others.
    #[default]
    Send,
    /// They are declined.
    Skip,
}

/// What may be known of the machine and of the client's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts(u16);

/// The names of `context`, in the order in which they are shown.
pub const FACTS: [&str; 9] = [
    "os",
    "arch",
    "cpu",
    "ci",
    "runtime",
    "library",
    "exec_info",
    "venv",
    "conda",
];

impl Default for Facts {
    fn default() -> Self {
        Self((1 << FACTS.len()) - 1)
    }
}

impl Facts {
    /// Whether `name` may be known.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        let at = FACTS.iter().position(|known| *known == name);
        at.is_some_and(|at| self.0 & (1 << at) != 0)
    }

    /// Those that may be known, in order.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        let known = move |(at, name): (usize, &'static str)| (self.0 & (1 << at) != 0).then_some(name);
        FACTS.into_iter().enumerate().filter_map(known)
    }
}

/// The share of events that is kept, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample(u32);

const WHOLE: u32 = 1_000_000;

impl Default for Sample {
    fn default() -> Self {
        Self(WHOLE)
    }
}

impl Sample {
    /// From a share between 0 and 1; `None` outside.
    #[must_use]
    pub fn of(share: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a million"
        )]
        (0.0..=1.0)
            .contains(&share)
            .then(|| Self((share * f64::from(WHOLE)).round() as u32))
    }

    /// The share.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// Whether the event of this id is kept: the first eight bytes of the id's SHA-256, as a fraction of all that
    /// they can be. The same event is always judged in the same way, by whoever judges it.
    #[must_use]
    pub fn keeps(self, id: &[u8; 16]) -> bool {
        if self.0 == WHOLE {
            return true;
        }
        let digest = Sha256::digest(id);
        let first = digest
            .iter()
            .take(8)
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        u128::from(first) * u128::from(WHOLE) < u128::from(self.0) << 64
    }
}

/// Who answers for what is collected, in words for the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    /// Who decides about the data.
    pub controller: Option<String>,
    /// Whom to write to.
    pub contact: Option<String>,
    /// Where the policy stands.
    pub policy_url: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// How long it is kept there.
    pub retention: Option<String>,
}

pub(super) fn identity<'d>(reader: &mut Reader<'_, 'd>, at: At<'_, 'd>) -> Identity {
    const USERS: [(&str, User); 3] = [
        ("random", User::Random),
        ("from_tool", User::FromTool),
        ("none", User::None),
    ];
    const PROJECTS: [(&str, Project); 3] = [
        ("hashed", Project::Hashed),
        ("from_tool", Project::FromTool),
        ("none", Project::None),
    ];
    let mut identity = Identity::default();
    if at.value.as_str() == Some("none") {
        return Identity {
            user: User::None,
            project: Project::None,
        };
    }
    let expected = "\"none\" or a table: { user = \"random\", project = \"hashed\" }";
    let Some(table) = reader.table(at, expected) else {
        return identity;
    };
    for entry in reader.entries(at.path, table) {
        match entry.name {
            "user" => identity.user = reader.word(entry.at(), &USERS).unwrap_or_default(),
            "project" => identity.project = reader.word(entry.at(), &PROJECTS).unwrap_or_default(),
            other => reader.unknown(at.path, other, entry.line, &["user", "project"]),
        }
    }
    identity
}

pub(super) fn facts(reader: &mut Reader<'_, '_>, at: At<'_, '_>) -> Facts {
    let expected = format!(
        "an array of some of {}",
        FACTS.map(|name| format!("{name:?}")).join(", ")
    );
    let mut facts = Facts(0);
    for name in reader.strings(at, &expected).unwrap_or_default() {
        match FACTS.iter().position(|known| *known == &*name) {
            Some(place) => facts.0 |= 1 << place,
            None => reader.unknown(at.path, &name, at.line, &FACTS),
        }
    }
    facts
}

pub(super) fn ci(reader: &mut Reader<'_, '_>, at: At<'_, '_>) -> Ci {
    reader
        .word(at, &[("send", Ci::Send), ("skip", Ci::Skip)])
        .unwrap_or_default()
}

pub(super) fn sample(reader: &mut Reader<'_, '_>, at: At<'_, '_>) -> Sample {
    let share = match at.value {
        DeValue::Float(share) => share.as_str().parse().ok(),
        DeValue::Integer(share) => share.as_str().parse().ok(),
        _ => None,
    };
    let sample = share.and_then(Sample::of);
    if sample.is_none() {
        reader.expected(at, "a share between 0.0 and 1.0");
    }
    sample.unwrap_or_default()
}

pub(super) fn privacy<'d>(reader: &mut Reader<'_, 'd>, at: At<'_, 'd>) -> Privacy {
    const KEYS: &[&str] = &["controller", "contact", "policy_url", "purpose", "retention"];
    let mut privacy = Privacy::default();
    let Some(table) = reader.table(at, "a table: { controller = \"…\", contact = \"…\" }") else {
        return privacy;
    };
    for entry in reader.entries(at.path, table) {
        let field = match entry.name {
            "controller" => &mut privacy.controller,
            "contact" => &mut privacy.contact,
            "policy_url" => &mut privacy.policy_url,
            "purpose" => &mut privacy.purpose,
            "retention" => &mut privacy.retention,
            other => {
                reader.unknown(at.path, other, entry.line, KEYS);
                continue;
            }
        };
        *field = reader.string(entry.at());
    }
    privacy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_keeps_its_share_and_always_the_same_events() {
        let ids: Vec<[u8; 16]> = (0_u128..20_000)
            .map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes())
            .collect();
        for share in [0.0, 0.1, 0.5, 0.999, 1.0] {
            let sample = Sample::of(share).unwrap();
            let kept = ids.iter().filter(|id| sample.keeps(id)).count();
            let expected = share * 20_000.0;
            assert!((kept as f64 - expected).abs() <= 300.0, "{share}: {kept}");
            assert!(ids.iter().all(|id| sample.keeps(id) == sample.keeps(id)));
        }
        assert!(Sample::of(1.5).is_none() && Sample::of(f64::NAN).is_none());
    }

    #[test]
    fn a_larger_sample_keeps_all_that_a_smaller_one_keeps() {
        let (small, large) = (Sample::of(0.2).unwrap(), Sample::of(0.3).unwrap());
        for n in 0_u128..5000 {
            let id = n.to_be_bytes();
            assert!(!small.keeps(&id) || large.keeps(&id));
        }
    }
}

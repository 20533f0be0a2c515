//! The log of consent: every change of a decision, by whatever road it came, with what was erased for it. One file a
//! person, bounded (I6, I13); what is shown of it, `telemetry_protocol::consent_log` says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use telemetry_policy::{Policy, Tool};
use telemetry_protocol::consent::Verdict;
use telemetry_protocol::consent_log::{self, Change};
use telemetry_protocol::time::Rfc3339;
use telemetry_queue::Purged;
use tracing::warn;

/// Bytes of one person's log (I6): about a thousand changes. Over it the older half goes.
const MAX_BYTES: u64 = 256 * 1024;

/// How a change came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// Something changed while no daemon looked.
    #[default]
    Found,
    /// A file changed: the person's, the tool's, the machine's or a policy.
    File,
    /// Somebody said so over the socket.
    Command,
    /// A notice was shown.
    Notice,
    /// Manifests or settings were read anew.
    Manifest,
    /// A client met the denial of a project.
    Project,
    /// Everything was to be forgotten.
    Forget,
}

impl How {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::File => "file",
            Self::Command => "command",
            Self::Notice => "notice",
            Self::Manifest => "manifest",
            Self::Project => "project",
            Self::Forget => "forget",
        }
    }
}

/// What was decided, by whom, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    on: bool,
    by: String,
    source: String,
}

impl State {
    fn of(tool: &Tool) -> Self {
        let decision = &tool.decision;
        let allowed = decision.verdict == Verdict::Allow;
        let (by, source) = match allowed && tool.notice_missing {
            true => ("notice", &tool.default_source),
            false => (decision.by.as_str(), &decision.source),
        };
        Self {
            on: tool.allowed(),
            by: by.to_owned(),
            source: source.clone(),
        }
    }
}

/// What holds for everybody's tools, as of one look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// What denies every tool.
    everything: Option<State>,
    tools: BTreeMap<String, State>,
}

/// One person's log, and what it was about last.
#[derive(Debug)]
pub(super) struct Changes {
    log: PathBuf,
    file: PathBuf,
    seen: Option<Seen>,
    kept: bool,
}

impl Changes {
    /// What the last daemon saw, where one kept it.
    pub(super) fn read(log: PathBuf, file: PathBuf) -> Self {
        let seen: Option<Seen> = crate::files::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            log,
            file,
            kept: seen.is_some(),
            seen,
        }
    }

    /// Compares with the last look, and writes down what changed. `rows`: tools that have rows, or had.
    pub(super) fn look(&mut self, policy: &Policy, rows: &BTreeSet<String>, how: How, at_ms: i64) {
        let named = policy.tools().map(|(name, _)| name.to_owned());
        let before = self.seen.as_ref().map(|seen| seen.tools.keys().cloned());
        let names: BTreeSet<String> = named
            .chain(rows.iter().cloned())
            .chain(before.into_iter().flatten())
            .collect();
        let tools = names.into_iter().map(|name| {
            let state = State::of(&policy.tool_with_rows(&name));
            (name, state)
        });
        let now = Seen {
            everything: policy.denies_everything().map(|fact| State {
                on: false,
                by: fact.layer.as_str().to_owned(),
                source: fact.source,
            }),
            tools: tools.collect(),
        };
        let changes = self
            .seen
            .as_ref()
            .map_or_else(Vec::new, |before| differences(before, &now));
        let lines: Vec<String> = changes
            .into_iter()
            .map(|(tool, state)| written(tool, &state, how, at_ms).line())
            .collect();
        // A person about whom nothing is kept yet, and who has no rows, leaves no trace by having asked.
        let keep = self.seen.as_ref() != Some(&now) && (self.kept || !lines.is_empty() || !rows.is_empty());
        self.append(&lines);
        if keep {
            self.keep(&now);
        }
        self.seen = Some(now);
    }

    fn keep(&mut self, now: &Seen) {
        let text = serde_json::to_vec(now).map_err(io::Error::other);
        match text.and_then(|text| crate::files::replace(&self.file, &text)) {
            Ok(()) => self.kept = true,
            Err(error) => {
                warn!(%error, "cannot keep what was decided last; the log of consent may lack a change")
            }
        }
    }

    /// What was erased of a tool, for a change that was written before.
    pub(super) fn erased(&self, tool: &str, purged: &Purged, at_ms: i64) {
        let rows = purged.queued + purged.parked;
        if rows + purged.sent_bodies > 0 {
            let at = Rfc3339(at_ms).to_string();
            self.append(&[consent_log::erased(&at, tool, rows, purged.sent_bodies)]);
        }
    }

    /// Something was erased without a decision.
    pub(super) fn note(&self, mut change: Change, how: How, at_ms: i64) {
        change.at = Rfc3339(at_ms).to_string();
        how.as_str().clone_into(&mut change.how);
        self.append(&[change.line()]);
    }

    /// The changes so far, oldest first.
    pub(super) fn all(&self) -> Vec<Change> {
        crate::files::text(&self.log).map_or_else(|_| Vec::new(), |text| consent_log::read(&text))
    }

    fn append(&self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        if let Err(error) = append(&self.log, lines) {
            warn!(file = %self.log.display(), %error, "cannot write the log of consent");
        }
    }
}

/// What changed: of everything, or of a tool for itself.
fn differences(before: &Seen, now: &Seen) -> Vec<(Option<String>, State)> {
    let mut changes = Vec::new();
    let everything = before.everything != now.everything;
    if everything {
        let lifted = || before.everything.clone().map(|was| State { on: true, ..was });
        changes.extend(now.everything.clone().or_else(lifted).map(|state| (None, state)));
    }
    // A tool that is off because everything is, or was, is not news beside that.
    let same = |state: &State, of: &Option<State>| {
        everything
            && of
                .as_ref()
                .is_some_and(|of| (&of.by, &of.source) == (&state.by, &state.source))
    };
    let unknown = State {
        on: false,
        by: "default".to_owned(),
        source: "no manifest".to_owned(),
    };
    for (tool, state) in &now.tools {
        let was = before.tools.get(tool).unwrap_or(&unknown);
        if was != state && !same(state, &now.everything) && !same(was, &before.everything) {
            changes.push((Some(tool.clone()), state.clone()));
        }
    }
    changes
}

fn written(tool: Option<String>, state: &State, how: How, at_ms: i64) -> Change {
    Change {
        at: Rfc3339(at_ms).to_string(),
        tool,
        verdict: Some(if state.on { Verdict::Allow } else { Verdict::Deny }),
        by: state.by.clone(),
        source: state.source.clone(),
        how: how.as_str().to_owned(),
        ..Change::default()
    }
}

fn append(log: &Path, lines: &[String]) -> io::Result<()> {
    let full = std::fs::metadata(log).is_ok_and(|found| found.len() > MAX_BYTES);
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    if full {
        let old = crate::files::text(log)?;
        let half = old.len() / 2;
        let half = (half..old.len())
            .find(|at| old.is_char_boundary(*at))
            .unwrap_or(0);
        let newer = old
            .get(half..)
            .and_then(|rest| rest.split_once('\n'))
            .map_or("", |(_, newer)| newer);
        return crate::files::replace(log, format!("{newer}{text}").as_bytes());
    }
    if !log.exists() {
        return crate::files::replace(log, text.as_bytes());
    }
    let mut file = crate::files::append(log)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_policy::UserConsent;
    use telemetry_policy::policy::Parts;

    fn policy(text: &str) -> Policy {
        Policy::new(Parts {
            user: UserConsent::parse("consent.toml", text),
            ..Parts::default()
        })
    }

    fn told(changes: &Changes) -> Vec<(Option<String>, bool, String, u64)> {
        let all = changes.all().into_iter();
        all.map(|c| (c.tool, c.verdict == Some(Verdict::Allow), c.how, c.purged))
            .collect()
    }

    #[test]
    fn each_change_is_written_once_with_what_was_erased_and_a_restart_finds_what_nobody_saw() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let read = || Changes::read(at("log"), at("seen"));
        let none = BTreeSet::new();
        let mut changes = read();
        changes.look(&policy("[tools]\nt = true"), &none, How::Found, 0);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "no trace");
        changes.look(&policy("[tools]\nt = false"), &none, How::Command, 1);
        let purged = Purged {
            queued: 3,
            parked: 1,
            sent_bodies: 2,
        };
        changes.erased("t", &purged, 2);
        changes.look(&policy("[tools]\nt = false"), &none, How::File, 3);
        changes.look(
            &policy("telemetry = false\n[tools]\nt = true"),
            &none,
            How::File,
            4,
        );
        let mut changes = read();
        changes.look(&policy("[tools]\nt = true"), &none, How::Found, 5);
        let tool = || Some("t".to_owned());
        assert_eq!(
            told(&changes),
            [
                (tool(), false, "command".to_owned(), 4),
                (None, false, "file".to_owned(), 0),
                (None, true, "found".to_owned(), 0),
            ]
        );
        changes.look(&policy(""), &none, How::File, 6);
        assert_eq!(
            changes.all().last().map(|c| c.source.clone()),
            Some("no manifest".into())
        );
    }

    #[test]
    fn a_log_keeps_to_its_bound_and_the_newest() {
        let home = tempfile::tempdir().unwrap();
        let changes = Changes::read(home.path().join("log"), home.path().join("seen"));
        for turn in 0..400_i64 {
            let source = "s".repeat(1000);
            let change = Change {
                source,
                ..Change::default()
            };
            changes.note(change, How::Project, turn);
        }
        let size = std::fs::metadata(home.path().join("log")).unwrap().len();
        assert!(size <= MAX_BYTES + 2000, "{size}");
        let all = changes.all();
        assert_eq!(all.last().unwrap().at, Rfc3339(399).to_string());
        assert!(all.len() > 100, "{}", all.len());
    }
}

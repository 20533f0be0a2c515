//! `consent` and `register`: the user's own word, a project's, and the manifests that tools bring.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_policy::{Manifest, Policy, Reach, Tool};
use telemetry_protocol::consent::{Layer, Verdict};
use telemetry_protocol::consent_log::Change;
use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::request::ConsentAction;
use telemetry_queue::{Filter, Moment, PurgeReason, Purged, Queue, QueueError};
use tracing::info;

use super::{Service, end, refuse};
use crate::config::Mode;
use crate::consent::{Consent, How, Policies};
use crate::ingest::{Answers, Ended};

/// A destination that a manifest brings is waited for at most so long: it is there at once, unless the daemon is ending.
const IN_FORCE: Duration = Duration::from_secs(1);

/// What a request about consent is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'r> {
    pub(super) tool: Option<&'r str>,
    /// The project that denies, as its events name it.
    pub(super) project: Option<&'r str>,
    pub(super) limit: Option<u64>,
}

impl Service {
    pub(super) async fn consent(
        &self,
        action: ConsentAction,
        about: About<'_>,
        uid: u32,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let tool = about.tool;
        let word = match action {
            ConsentAction::Show | ConsentAction::Explain => return self.explain(tool, uid, out).await,
            ConsentAction::Log => return self.consent_log(tool, about.limit, uid, out).await,
            ConsentAction::Noticed => {
                let Some(tool) = tool else {
                    out.error(
                        ErrorCode::InvalidEvent,
                        "tool: missing; expected the tool whose notice was shown",
                    );
                    return Ok(());
                };
                return match self.consent.notice_shown(uid, tool) {
                    Ok(()) => out.line(&json!({ "ok": true, "status": "noticed" })).await,
                    Err(message) => {
                        out.error(ErrorCode::Storage, &message);
                        Ok(())
                    }
                };
            }
            ConsentAction::Allow => Some(true),
            ConsentAction::Deny => {
                if let (Some(tool), Some(project)) = (tool, about.project) {
                    return self.project_denies(tool, project, uid, out).await;
                }
                Some(false)
            }
            ConsentAction::Reset => None,
        };
        let cancelled = self.counters.cancelled(self.whose(uid));
        // A flusher whose request is cancelled may erase rows before we do: what has gone from the books counts.
        let before = self.purged_so_far(uid).await;
        let policy = match self.consent.change(uid, tool, word) {
            Ok(policy) => policy,
            Err(message) => {
                out.error(ErrorCode::Storage, &message);
                return Ok(());
            }
        };
        let spooled = self.consent.erase_spool(&policy);
        match self.purge_withdrawn_of(uid, &policy).await {
            Ok(purged) => {
                let rows = self.purged_so_far(uid).await.saturating_sub(before);
                let verdict = tool.map(|tool| policy.tool_with_rows(tool).decision.verdict.as_str());
                let line = json!({
                    "ok": true, "status": "changed", "verdict": verdict,
                    "purged": rows, "sent_bodies": purged.sent_bodies, "spooled": spooled,
                    "cancelled": self.counters.cancelled(self.whose(uid)) - cancelled, "reached": [self.socket.display().to_string()], "not_reached": [],
                });
                out.line(&line).await
            }
            Err(error) => {
                refuse(&error, out);
                Ok(())
            }
        }
    }

    /// Rows of this person that were ever purged.
    async fn purged_so_far(&self, uid: u32) -> u64 {
        let books = self.queue.books(self.whose(uid)).await.unwrap_or_default();
        books.iter().map(|book| book.purged).sum()
    }

    /// Whose rows a person's word is about.
    fn whose(&self, uid: u32) -> Option<u32> {
        (self.places.mode == Mode::System).then_some(uid)
    }

    /// Erases the rows of every tool of this person that may not send any more.
    async fn purge_withdrawn_of(&self, uid: u32, policy: &Policy) -> Result<Purged, QueueError> {
        purge_below(
            &self.queue,
            &self.consent,
            self.whose(uid),
            self.clock.now(),
            |_, tool| {
                let tool = policy.tool_with_rows(tool);
                covered_from(&tool, tool.epoch + 1)
            },
        )
        .await
    }

    /// A client met the denial of a project: what is queued of it goes, and nothing else changes. Whose file it was only
    /// the client has seen, so only the caller's own rows are meant (I13).
    async fn project_denies(
        &self,
        tool: &str,
        project: &str,
        uid: u32,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let cancelled = self.counters.cancelled(self.whose(uid));
        let mut purged = Purged::default();
        if let Some(id) = self.consent.known_project(uid, tool, project) {
            let filter = Filter {
                uid: Some(uid),
                tool: Some(Arc::from(tool)),
                project: Some(id),
                ..Filter::default()
            };
            match self
                .queue
                .purge(filter, PurgeReason::Consent, self.clock.now())
                .await
            {
                Ok(done) => purged = done,
                Err(error) => {
                    refuse(&error, out);
                    return Ok(());
                }
            }
        }
        let rows = purged.queued + purged.parked;
        if rows + purged.sent_bodies > 0 {
            info!(rows, "a project has denied: its rows are erased");
            let change = Change {
                tool: Some(tool.to_owned()),
                by: Layer::Project.as_str().to_owned(),
                purged: rows,
                sent_bodies: purged.sent_bodies,
                ..Change::default()
            };
            self.consent.note(uid, change, How::Project);
        }
        let line = json!({
            "ok": true, "status": "purged", "purged": rows, "sent_bodies": purged.sent_bodies,
            "cancelled": self.counters.cancelled(self.whose(uid)) - cancelled,
            "reached": [self.socket.display().to_string()], "not_reached": [],
        });
        out.line(&line).await
    }

    /// The changes of the caller's consent, oldest first; of many the newest.
    async fn consent_log(
        &self,
        tool: Option<&str>,
        limit: Option<u64>,
        uid: u32,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let changes = self.changes_of(uid, tool, most);
        for change in &changes {
            out.line(change).await?;
        }
        out.line(&end(changes.len() as u64)).await
    }

    /// The newest changes of a person's consent, oldest first.
    pub(super) fn changes_of(&self, uid: u32, tool: Option<&str>, most: usize) -> Vec<Value> {
        let mut changes = self.consent.log(uid);
        changes.retain(|change| tool.is_none() || change.tool.is_none() || change.tool.as_deref() == tool);
        let newest = changes.len().saturating_sub(most);
        changes.iter().skip(newest).map(|change| change.json()).collect()
    }

    async fn explain(&self, tool: Option<&str>, uid: u32, out: &mut Answers) -> Result<(), Ended> {
        let policy = self.consent.of(uid);
        let names: Vec<String> = match tool {
            Some(tool) => vec![tool.to_owned()],
            None => policy.tools().map(|(name, _)| name.to_owned()).collect(),
        };
        for name in &names {
            out.line(&explained(&policy, name)).await?;
        }
        out.line(&end(names.len() as u64)).await
    }

    pub(super) async fn register(&self, text: &str) -> Value {
        let refused = |code: ErrorCode, message: &str| {
            self.counters.refuse(code);
            json!({ "ok": false, "error": code.as_str(), "message": message })
        };
        let manifest = match Manifest::parse(text) {
            Ok(manifest) => manifest,
            Err(mistakes) => {
                let list = mistakes
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; ");
                return refused(ErrorCode::InvalidEvent, &format!("manifest: {list}"));
            }
        };
        if let Err((line, mistakes)) = crate::consent::manifests::destination(&manifest) {
            let message = format!("manifest: line {line}: {}", mistakes.join("; "));
            return refused(ErrorCode::InvalidEvent, &message);
        }
        if let Err((code, message)) = manifest.may_register() {
            return refused(code, &message);
        }
        if let Some(at) = self.consent.installed_manifests_only() {
            let message = format!(
                "register: {}:{} says that only installed manifests count",
                at.source, at.line
            );
            return refused(ErrorCode::NotAllowed, &message);
        }
        match self.consent.register(&manifest.name, text) {
            Ok(done) => {
                self.until_in_force(&manifest).await;
                json!({ "ok": true, "status": done.as_str() })
            }
            Err(message) => refused(ErrorCode::Storage, &message),
        }
    }

    /// Waits until the destination that a manifest brings stands beside those of the config: a `flush` right after its
    /// registration is to find it.
    async fn until_in_force(&self, manifest: &Manifest) {
        if let (Some(_), Some(name)) = (&manifest.inline, &manifest.destination) {
            let mut settings = self.settings.clone();
            let there = settings.wait_for(|settings| settings.destinations.contains_key(&**name));
            let _ = tokio::time::timeout(IN_FORCE, there).await;
        }
    }
}

/// Erases the rows, queued and parked, and the sent bodies, of every (uid, tool) that has some which consent
/// does not cover any more, as `policies` were; each purge is booked (I2, I3). What is accepted meanwhile, after
/// a later allow, stays.
///
/// # Errors
/// What the queue said; a part may have been purged.
pub(crate) async fn purge_withdrawn(
    queue: &Queue,
    consent: &Consent,
    policies: &Policies,
    now: Moment,
) -> Result<Purged, QueueError> {
    if let Some(policy) = policies.of(0) {
        consent.erase_spool(policy);
    }
    purge_below(queue, consent, None, now, |uid, tool| {
        let of = policies.of(uid).cloned().unwrap_or_else(|| consent.of(uid));
        let tool = of.tool_with_rows(tool);
        covered_from(&tool, tool.epoch + 1)
    })
    .await
}

/// The same before anything can be accepted: of a tool that is denied goes everything, whatever its epoch.
///
/// # Errors
/// What the queue said; a part may have been purged.
pub(crate) async fn purge_withdrawn_at_start(
    queue: &Queue,
    consent: &Consent,
    now: Moment,
) -> Result<Purged, QueueError> {
    consent.erase_spool(&consent.of(0));
    purge_below(queue, consent, None, now, |uid, tool| {
        covered_from(&consent.of(uid).tool_with_rows(tool), u64::MAX)
    })
    .await
}

/// The epoch from which on rows of this tool are covered, where some are not; `nobody`: for a tool that is denied.
fn covered_from(tool: &Tool, nobody: u64) -> Option<u64> {
    match tool.reach() {
        Reach::Nobody => Some(nobody),
        Reach::Claims | Reach::Everybody => (tool.epoch > 1).then_some(tool.epoch),
    }
}

/// Purges, of every (uid, tool) that has books (`whose` alone, or everybody's), what was accepted below the epoch
/// that `below` says, if it says one.
async fn purge_below(
    queue: &Queue,
    consent: &Consent,
    whose: Option<u32>,
    now: Moment,
    below: impl Fn(u32, &str) -> Option<u64>,
) -> Result<Purged, QueueError> {
    let books = queue.books(whose).await?;
    let tools: BTreeSet<(u32, Arc<str>)> = books
        .into_iter()
        .map(|book| (book.lane.uid, book.lane.tool))
        .collect();
    let mut sum = Purged::default();
    for (uid, tool) in tools {
        if let Some(epoch) = below(uid, &tool) {
            let filter = Filter {
                uid: Some(uid),
                tool: Some(Arc::clone(&tool)),
                epoch_below: (epoch < u64::MAX).then_some(epoch),
                ..Filter::default()
            };
            let purged = queue.purge(filter, PurgeReason::Consent, now).await?;
            consent.erased(uid, &tool, &purged);
            sum.queued += purged.queued;
            sum.parked += purged.parked;
            sum.sent_bodies += purged.sent_bodies;
        }
    }
    Ok(sum)
}

pub(super) fn explained(policy: &Policy, name: &str) -> Value {
    let tool = policy.tool_with_rows(name);
    let decision = &tool.decision;
    let chain: Vec<Value> = decision
        .chain
        .iter()
        .map(|link| {
            json!({
                "layer": link.fact.layer.as_str(), "verdict": link.fact.verdict.map_or("none", Verdict::as_str),
                "source": link.fact.source, "line": link.fact.line, "detail": link.fact.detail,
                "decides": link.decides,
            })
        })
        .collect();
    let notice = policy.manifest(name).filter(|_| tool.notice_missing);
    let (verdict, by, source) = match (decision.verdict, notice) {
        (Verdict::Allow, Some(registered)) => ("deny", "notice", &registered.source),
        (verdict, _) => (verdict.as_str(), decision.by.as_str(), &decision.source),
    };
    json!({
        "tool": name, "verdict": verdict, "by": by, "source": source, "chain": chain,
        "notice": notice.map(|r| r.manifest.notice_text.clone()), "wider": tool.wider,
    })
}

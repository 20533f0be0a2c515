//! `consent` and `register`: the user's own word, and the manifests that tools bring.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use telemetry_policy::{Manifest, Policy, Reach, Tool};
use telemetry_protocol::consent::Verdict;
use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::request::ConsentAction;
use telemetry_queue::{Filter, Moment, PurgeReason, Purged, Queue, QueueError};

use super::{Service, end, refuse};
use crate::config::Mode;
use crate::consent::{Consent, Policies};
use crate::ingest::{Answers, Ended};

impl Service {
    pub(super) async fn consent(
        &self,
        action: ConsentAction,
        tool: Option<&str>,
        uid: u32,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let word = match action {
            ConsentAction::Show | ConsentAction::Explain => return self.explain(tool, uid, out).await,
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
            ConsentAction::Deny => Some(false),
            ConsentAction::Reset => None,
        };
        let cancelled = self.counters.cancelled.get();
        let policy = match self.consent.change(uid, tool, word) {
            Ok(policy) => policy,
            Err(message) => {
                out.error(ErrorCode::Storage, &message);
                return Ok(());
            }
        };
        match self.purge_withdrawn_of(uid, &policy).await {
            Ok(purged) => {
                let verdict = tool.map(|tool| policy.tool_with_rows(tool).decision.verdict.as_str());
                let line = json!({
                    "ok": true, "status": "changed", "verdict": verdict,
                    "purged": purged.queued + purged.parked, "sent_bodies": purged.sent_bodies,
                    "cancelled": self.counters.cancelled.get() - cancelled, "reached": [self.socket.display().to_string()], "not_reached": [],
                });
                out.line(&line).await
            }
            Err(error) => {
                refuse(&error, out);
                Ok(())
            }
        }
    }

    /// Erases the rows of every tool of this person that may not send any more.
    async fn purge_withdrawn_of(&self, uid: u32, policy: &Policy) -> Result<Purged, QueueError> {
        let whose = match self.places.mode {
            Mode::User => None,
            Mode::System => Some(uid),
        };
        purge_below(&self.queue, whose, self.clock.now(), |_, tool| {
            let tool = policy.tool_with_rows(tool);
            covered_from(&tool, tool.epoch + 1)
        })
        .await
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

    pub(super) fn register(&self, text: &str) -> Value {
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
            Ok(done) => json!({ "ok": true, "status": done.as_str() }),
            Err(message) => refused(ErrorCode::Storage, &message),
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
    purge_below(queue, None, now, |uid, tool| {
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
    purge_below(queue, None, now, |uid, tool| {
        covered_from(&consent.of(uid).tool_with_rows(tool), u64::MAX)
    })
    .await
}

/// The epoch from which on rows of this tool are covered, where some are not; `nobody`: for a tool that is denied.
fn covered_from(tool: &Tool, nobody: u64) -> Option<u64> {
    match tool.reach() {
        Reach::Nobody => Some(nobody),
        Reach::Claims if tool.epoch > 1 => Some(tool.epoch),
        Reach::Claims | Reach::Everybody => None,
    }
}

/// Purges, of every (uid, tool) that has books (`whose` alone, or everybody's), what was accepted below the epoch
/// that `below` says, if it says one.
async fn purge_below(
    queue: &Queue,
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
                tool: Some(tool),
                epoch_below: (epoch < u64::MAX).then_some(epoch),
                ..Filter::default()
            };
            let purged = queue.purge(filter, PurgeReason::Consent, now).await?;
            sum.queued += purged.queued;
            sum.parked += purged.parked;
            sum.sent_bodies += purged.sent_bodies;
        }
    }
    Ok(sum)
}

fn explained(policy: &Policy, name: &str) -> Value {
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
    json!({
        "tool": name, "verdict": decision.verdict.as_str(), "by": decision.by.as_str(),
        "source": decision.source, "chain": chain,
    })
}

//! `status`: one screen's worth of the daemon (CLI.md, "--json").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use telemetry_protocol::consent::Verdict;
use telemetry_queue::{Book, QueueError, View, Waiting};

use super::caller::Caller;
use super::{Service, when};
use crate::flush::state::{REFUSES_EVERYTHING, State};

impl Service {
    /// The whole of it.
    pub(super) async fn status(&self, caller: Caller) -> Result<Value, QueueError> {
        let books = self.queue.books(caller.whose).await?;
        let settings = Arc::clone(&self.settings.borrow());
        let view = self.view_for(caller).await?;
        let oldest = view
            .destinations
            .iter()
            .filter_map(|(_, waiting)| waiting.oldest)
            .map(|at| at.wall_ms)
            .min();
        let policy = self.consent.of(caller.uid);
        let off = policy.denies_everything();
        let mut status = json!({
            "ok": true,
            "daemon": {
                "version": crate::VERSION,
                "pid": std::process::id(),
                "mode": self.places.mode.as_str(),
                "phase": self.phase.borrow().as_str(),
                "socket": self.socket.display().to_string(),
                "state": self.queue.file().parent().map(|path| path.display().to_string()),
                "state_moved": self.moved,
                "cancelled": self.counters.cancelled(caller.whose),
            },
            "telemetry": {
                "verdict": if off.is_some() { "deny" } else { "allow" },
                "by": off.as_ref().map_or("default", |fact| fact.layer.as_str()),
                "source": off.map(|fact| fact.source.clone()),
            },
            "queue": {
                "events": view.events,
                "bytes": view.bytes,
                "max_bytes": settings.queue.max_bytes,
                "oldest": oldest.map(when),
                "disk_bytes": caller.whose.is_none().then(|| self.queue.bytes_on_disk()),
                "disk_full": view.disk_full,
                "kept_until": oldest.map(|ms| when(ms.saturating_add_unsigned(settings.queue.max_age_ms))),
            },
        });
        status["gateway"] = self.gateway_state();
        status["spool"] = json!({
            "taken": self.counters.spool_taken.get(),
            "dropped": self.counters.spool_dropped.get(),
            "expired": self.counters.spool_expired.get(),
        });
        status["destinations"] = self.destinations(&view, caller).into();
        status["tools"] = self.tool_states(&books, caller).into();
        status["books"] = books.iter().map(book).collect::<Vec<Value>>().into();
        Ok(status)
    }

    /// What waits: the caller's own, or everybody's.
    pub(super) async fn view_for(&self, caller: Caller) -> Result<Arc<View>, QueueError> {
        match caller.whose {
            None => Ok(Arc::clone(&self.queue.view().borrow())),
            Some(uid) => self.queue.view_of(uid).await.map(Arc::new),
        }
    }

    fn destinations(&self, view: &View, caller: Caller) -> Vec<Value> {
        let settings = Arc::clone(&self.settings.borrow());
        let states = self.flush.states();
        let states = states.borrow();
        let with_rows = view
            .destinations
            .iter()
            .filter(|(_, w)| queued(w) > 0)
            .map(|(name, _)| name);
        let names: BTreeSet<&Arc<str>> = settings.destinations.keys().chain(with_rows).collect();
        let now = self.clock.now();
        let one = |name: &Arc<str>| {
            let waiting = view
                .destinations
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, waiting)| waiting);
            let queued = waiting.map_or(0, queued);
            let others_wait = waiting.is_none_or(others_wait);
            let held = states.get(name).filter(|_| self.names_users(caller));
            let state = states
                .get(name)
                .map(|state| state.seen_by(caller.whose, others_wait));
            let mut line = match (settings.destinations.get(name), state) {
                (Some(destination), state) => json!({
                    "name": &**name,
                    "encoding": destination.encoding.word(),
                    "state": state.as_ref().map_or("idle", |s| s.word(now)),
                    "reason": state.as_ref().and_then(|s| s.reason.clone()),
                    "next_try": state.as_ref().and_then(|s| s.next_try.max_by_wall(s.retry_after)).map(when),
                    "last_error": state.as_ref().and_then(|s| s.last_error.clone()),
                    "queued": queued,
                    "max_bytes_learned": state.as_ref().and_then(|s| s.learned_max_bytes),
                    "attempts": state.as_ref().map_or(0, |s| s.attempts),
                    "oldest": waiting.and_then(|w| w.oldest).map(|at| when(at.wall_ms)),
                }),
                (None, _) => json!({
                    "name": &**name,
                    "encoding": null,
                    "state": "held",
                    "reason": "no_destination",
                    "next_try": null,
                    "last_error": null,
                    "queued": queued,
                    "max_bytes_learned": null,
                    "attempts": 0,
                    "oldest": waiting.and_then(|w| w.oldest).map(|at| when(at.wall_ms)),
                }),
            };
            if let Some(state) = held {
                line["held_users"] = held_users(state, waiting);
            }
            line
        };
        names.into_iter().map(one).collect()
    }

    /// A line for each tool; the verdict is the one for the caller.
    fn tool_states(&self, books: &[Book], caller: Caller) -> Vec<Value> {
        let policy = self.consent.of(caller.uid);
        let declined = self.counters.declined(caller.whose);
        let removed = self.counters.removed(caller.whose);
        let named = policy.tools().map(|(name, _)| name.to_owned());
        let names: BTreeSet<String> = named
            .chain(books.iter().map(|book| book.lane.tool.to_string()))
            .chain(declined.keys().cloned())
            .collect();
        let one = |name: &String| {
            let tool = policy.tool_with_rows(name);
            let own: Vec<&Book> = books.iter().filter(|book| *book.lane.tool == **name).collect();
            let sum = |number: fn(&Book) -> u64| own.iter().map(|book| number(book)).sum::<u64>();
            let decision = &tool.decision;
            let (verdict, by, source) = if tool.notice_missing && decision.verdict == Verdict::Allow {
                ("deny", "notice", &tool.default_source)
            } else {
                (decision.verdict.as_str(), decision.by.as_str(), &decision.source)
            };
            json!({
                "tool": name,
                "verdict": verdict,
                "by": by,
                "source": source,
                "queued": sum(|book| book.queued),
                "delivered": sum(|book| book.delivered),
                "parked": sum(|book| book.parked),
                "lost": losses(&[
                    ("evicted", sum(|book| book.evicted)),
                    ("expired", sum(|book| book.expired)),
                    ("purged", sum(|book| book.purged)),
                    ("lost", sum(|book| book.lost)),
                ]),
                "declined": declined.get(name).map_or_else(Map::new, counts),
                "removed": removed.get(name).map_or_else(Map::new, |removed| counts(&removed.values)),
                "wrong_types": removed.get(name).map_or_else(|| json!({}), |removed| json!(removed.wrong)),
                "unlisted_events": removed.get(name).map_or(0, |removed| removed.events),
            })
        };
        names.iter().map(one).collect()
    }
}

/// Everything that waits for a destination, or is on its way.
pub(super) fn queued(waiting: &Waiting) -> u64 {
    waiting.events + waiting.leased + waiting.held_events()
}

/// Whether something waits that is nobody's who is held; true where nothing waits at all.
pub(super) fn others_wait(waiting: &Waiting) -> bool {
    waiting.events + waiting.leased > 0 || waiting.held_events() == 0
}

/// Whose rows wait although those of others go on.
fn held_users(state: &State, waiting: Option<&Waiting>) -> Value {
    let held = state.held_users.iter().map(|(uid, held)| {
        json!({
            "uid": uid, "reason": REFUSES_EVERYTHING, "next_try": when(held.next_try.wall_ms), "last_error": held.last_error,
            "queued": waiting.and_then(|waiting| waiting.held_of(*uid)),
        })
    });
    held.collect()
}

fn losses(reasons: &[(&str, u64)]) -> Map<String, Value> {
    reasons
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(reason, n)| ((*reason).to_owned(), (*n).into()))
        .collect()
}

fn counts(declined: &BTreeMap<&'static str, u64>) -> Map<String, Value> {
    declined
        .iter()
        .map(|(layer, n)| ((*layer).to_owned(), (*n).into()))
        .collect()
}

fn book(book: &Book) -> Value {
    json!({
        "uid": book.lane.uid, "destination": &*book.lane.destination, "tool": &*book.lane.tool,
        "accepted": book.accepted, "delivered": book.delivered, "parked": book.parked, "queued": book.queued,
        "evicted": book.evicted, "expired": book.expired, "purged": book.purged, "lost": book.lost,
    })
}

/// The later of two deadlines, as `next_try` shows it.
trait MaxByWall {
    fn max_by_wall(self, other: Self) -> Option<i64>;
}

impl MaxByWall for Option<crate::flush::state::Deadline> {
    fn max_by_wall(self, other: Self) -> Option<i64> {
        self.map(|d| d.wall_ms).max(other.map(|d| d.wall_ms))
    }
}

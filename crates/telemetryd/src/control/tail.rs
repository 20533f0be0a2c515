//! Watching live: a line per event as it is accepted, declined, delivered or parked. Costs one comparison
//! while nobody watches; a watcher that is too slow is told how many lines it missed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use telemetry_protocol::time::Rfc3339;
use telemetry_queue::Claimed;
use tokio::sync::broadcast;
use uuid::Uuid;

/// Lines that a slow watcher may be behind.
const BEHIND: usize = 4096;

/// One line, and whose it is.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose event.
    pub uid: u32,
    /// Which tool's.
    pub tool: Arc<str>,
    /// What to show.
    pub value: Value,
}

/// The pen; clones write on the same rolls.
#[derive(Clone, Debug, Default)]
pub struct Tail(Arc<Rolls>);

/// The rolls that somebody reads, each made for its first reader: one is 320 KiB. Who watches one user's events has that
/// user's roll, and is behind by that user's events alone (I13); `None` is everybody's.
#[derive(Debug, Default)]
struct Rolls {
    rolls: Mutex<HashMap<Option<u32>, broadcast::Sender<Line>>>,
    /// How many of those there are.
    watched: AtomicUsize,
}

impl Tail {
    /// Whether anybody watches.
    #[must_use]
    pub fn watched(&self) -> bool {
        self.0.watched.load(Ordering::Relaxed) > 0
    }

    /// Begins to watch: one user's events, or everybody's.
    #[must_use]
    pub fn watch(&self, whose: Option<u32>) -> broadcast::Receiver<Line> {
        let mut rolls = self.0.rolls.lock().unwrap_or_else(PoisonError::into_inner);
        rolls.retain(|_, roll| roll.receiver_count() > 0);
        let reader = rolls
            .entry(whose)
            .or_insert_with(|| broadcast::Sender::new(BEHIND))
            .subscribe();
        self.0.watched.store(rolls.len(), Ordering::Relaxed);
        reader
    }

    fn write(&self, line: &Line) {
        let mut rolls = self.0.rolls.lock().unwrap_or_else(PoisonError::into_inner);
        for whose in [Some(line.uid), None] {
            if let Some(roll) = rolls.get(&whose) {
                // It fails where nobody reads any more.
                let _ = roll.send(line.clone());
            }
        }
        rolls.retain(|_, roll| roll.receiver_count() > 0);
        self.0.watched.store(rolls.len(), Ordering::Relaxed);
    }

    /// Something happened to an event, or to several of one tool. `more` is asked only while somebody watches.
    pub fn say(&self, uid: u32, tool: &str, what: &str, at_ms: i64, more: impl FnOnce() -> Value) {
        if self.watched() {
            let mut more = more();
            more["what"] = what.into();
            more["tool"] = tool.into();
            more["at"] = Rfc3339(at_ms).to_string().into();
            self.write(&Line {
                uid,
                tool: Arc::from(tool),
                value: more,
            });
        }
    }

    /// A batch was settled: a line for each of its events that was delivered or parked. Where a batch is only
    /// a piece of the one that was decided, how many were parked is all that is known here.
    pub fn settled(&self, batch: &Claimed, delivered: Option<u16>, parked: u32, at_ms: i64) {
        if !self.watched() || (delivered.is_none() && parked == 0) {
            return;
        }
        let batch_id = Uuid::from_bytes(batch.id).to_string();
        let destination = &*batch.destination;
        if delivered.is_some() || usize::try_from(parked).is_ok_and(|parked| parked == batch.events.len()) {
            let what = if delivered.is_some() {
                "delivered"
            } else {
                "parked"
            };
            for event in &batch.events {
                let id = Uuid::from_bytes(event.id).to_string();
                self.say(batch.uid, &event.tool, what, at_ms, || {
                    json!({ "id": id, "destination": destination, "batch_id": batch_id, "status": delivered })
                });
            }
        } else if let Some(first) = batch.events.first() {
            self.say(
                batch.uid,
                &first.tool,
                "parked",
                at_ms,
                || json!({ "id": null, "destination": destination, "batch_id": batch_id, "events": parked }),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_watches_is_behind_by_its_own_events_alone() {
        let tail = Tail::default();
        assert!(!tail.watched());
        let (mut own, mut all) = (tail.watch(Some(1)), tail.watch(None));
        for uid in std::iter::repeat_n(2, BEHIND + 10).chain([1]) {
            tail.say(uid, "t", "accepted", 0, || json!({}));
        }
        assert_eq!(own.try_recv().map(|line| line.uid), Ok(1));
        assert!(matches!(
            all.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(11))
        ));
        drop((own, all));
        tail.say(1, "t", "accepted", 0, || json!({}));
        assert!(!tail.watched(), "nobody is remembered");
    }
}

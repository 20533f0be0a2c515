//! Watching live: a line per event as it is accepted, declined, delivered or parked. Costs one comparison
//! while nobody watches; a watcher that is too slow is told how many lines it missed.

use std::sync::Arc;

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

/// The pen; clones write on the same roll.
#[derive(Clone, Debug)]
pub struct Tail(broadcast::Sender<Line>);

impl Default for Tail {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Tail {
    /// Whether anybody watches.
    #[must_use]
    pub fn watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Begins to watch.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Line> {
        self.0.subscribe()
    }

    /// Something happened to an event, or to several of one tool. `more` is asked only while somebody watches.
    pub fn say(&self, uid: u32, tool: &str, what: &str, at_ms: i64, more: impl FnOnce() -> Value) {
        if self.watched() {
            let mut more = more();
            more["what"] = what.into();
            more["tool"] = tool.into();
            more["at"] = Rfc3339(at_ms).to_string().into();
            // Nobody watches any more: fine.
            let _ = self.0.send(Line {
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

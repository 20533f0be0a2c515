//! Requests that take their time: `flush` that waits, and `tail`. They hold back those behind them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_queue::View;
use tokio::sync::broadcast::error::RecvError;

use super::caller::Caller;
use super::status::{others_wait, queued};
use super::{Service, refuse};
use crate::flush::{self, state::State};
use crate::ingest::{Answers, Ended};
use crate::phase::{Phase, reached};

/// How long a `flush` waits when nobody says.
const WAIT: Duration = Duration::from_secs(5);

/// What has to leave before a flush is done: for each destination, how many have left by then. Rows are
/// counted, not followed: where a younger one of another tool goes first, by fairness, it counts as well.
type Marks = BTreeMap<Arc<str>, u64>;

/// What waits now, and how many that are.
fn marks(view: &View, destination: Option<&str>) -> (Marks, u64) {
    let wanted = view
        .destinations
        .iter()
        .filter(|(name, _)| destination.is_none_or(|wanted| wanted == &**name));
    let mut sum = 0;
    let marks = wanted
        .map(|(name, waiting)| {
            sum += queued(waiting);
            (Arc::clone(name), waiting.left + queued(waiting))
        })
        .collect();
    (marks, sum)
}

/// What of it has not left.
fn left(marks: &Marks, view: &View) -> Marks {
    let left = marks.iter().map(|(name, mark)| {
        let waiting = view
            .destinations
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, waiting)| waiting);
        // Nothing at all left means done, whatever the counts say.
        let left = waiting.map_or(0, |w| mark.saturating_sub(w.left).min(queued(w)));
        (Arc::clone(name), left)
    });
    left.filter(|(_, left)| *left > 0).collect()
}

impl Service {
    pub(super) async fn flush(
        &self,
        destination: Option<String>,
        wait: bool,
        timeout: Option<Duration>,
        caller: Caller,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        if !self.known(destination.as_deref(), out) {
            return Ok(());
        }
        let waits = match self.view_for(caller).await {
            Ok(view) => view,
            Err(error) => {
                refuse(&error, out);
                return Ok(());
            }
        };
        let (marks, waiting) = marks(&waits, destination.as_deref());
        let whose = caller.whose;
        self.flush
            .order(flush::Command::Flush { destination, whose })
            .await;
        if !wait {
            return out
                .line(&json!({ "ok": true, "settled": 0, "left": waiting }))
                .await;
        }
        let mut view = self.queue.view();
        let mut states = self.flush.states();
        let mut phase = self.phase.clone();
        let deadline = tokio::time::sleep(timeout.unwrap_or(WAIT));
        tokio::pin!(deadline);
        let mut timed_out = false;
        loop {
            let (left, states_now) = match self.view_for(caller).await {
                Ok(view) => (left(&marks, &view), self.states_of(&view, caller)),
                // The queue is closed: nothing more will leave.
                Err(_) => (marks.clone(), BTreeMap::new()),
            };
            let stuck = self.stuck(&left, &states_now);
            if left.values().sum::<u64>() == 0 || timed_out || stuck {
                let left_sum: u64 = left.values().sum();
                let why: Vec<Value> = self.why(&left, &states_now);
                return out
                    .line(&json!({
                        "ok": true, "settled": waiting.saturating_sub(left_sum), "left": left_sum,
                        "timed_out": timed_out && left_sum > 0, "why": why,
                    }))
                    .await;
            }
            tokio::select! {
                changed = view.changed() => timed_out |= changed.is_err(),
                changed = states.changed() => timed_out |= changed.is_err(),
                // The drain goes on with what is left; who waits for it would hold it up.
                () = reached(&mut phase, Phase::Closing) => timed_out = true,
                () = &mut deadline => timed_out = true,
            }
        }
    }

    /// How each destination is to this caller now.
    fn states_of(&self, view: &View, caller: Caller) -> BTreeMap<Arc<str>, State> {
        let states = self.flush.states();
        let states = states.borrow();
        let of = |(name, state): (&Arc<str>, &State)| {
            let known = view.destinations.iter().find(|(known, _)| known == name);
            let others_wait = known.is_none_or(|(_, waiting)| others_wait(waiting));
            let state = state.seen_by(caller.whose, others_wait).into_owned();
            (Arc::clone(name), state)
        };
        states.iter().map(of).collect()
    }

    /// Whether nothing that is left can move now: held, paused, closed, under `Retry-After`, no destination.
    fn stuck(&self, left: &Marks, states: &BTreeMap<Arc<str>, State>) -> bool {
        let now = self.clock.now();
        !left.is_empty()
            && left.keys().all(|name| match states.get(name) {
                None => !self.settings.borrow().destinations.contains_key(name),
                Some(state) => {
                    matches!(state.word(now), "held" | "paused" | "closed")
                        || state.retry_after.is_some_and(|until| until.left(now).is_some())
                }
            })
    }

    fn why(&self, left: &Marks, states: &BTreeMap<Arc<str>, State>) -> Vec<Value> {
        let why = left.iter().map(|(name, count)| match states.get(name) {
            Some(state) => json!({
                "destination": &**name, "left": count, "state": state.word(self.clock.now()), "reason": state.reason,
                "last_error": state.last_error,
            }),
            None => {
                json!({ "destination": &**name, "left": count, "state": "held", "reason": "no_destination" })
            }
        });
        why.collect()
    }

    pub(super) async fn tail(
        &self,
        tool: Option<&str>,
        caller: Caller,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let mut lines = self.tail.watch(caller.whose);
        let mut phase = self.phase.clone();
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                () = out.client_closed() => return Ok(()),
                () = reached(&mut phase, Phase::Closing) => return Ok(()),
            };
            match line {
                Ok(line) if tool.is_none_or(|tool| tool == &*line.tool) => {
                    let mut value = line.value;
                    if self.names_users(caller) {
                        value["uid"] = line.uid.into();
                    }
                    out.line_now(&value).await?;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    out.line_now(&json!({ "what": "missed", "events": missed }))
                        .await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

//! `queue` and `sent`: the rows, for people. Read in pages, so that a long list never blocks the writer.

use std::sync::Arc;

use serde_json::{Value, json};
use telemetry_delivery::{Event, Losses, Meta, preview};
use telemetry_protocol::request::{QueueAction, RowFilter};
use telemetry_queue::{Filter, PurgeReason, QueueError, Row, RowState, Sent};
use uuid::Uuid;

use super::caller::Caller;
use super::{Service, end, refuse, when};
use crate::config::Mode;
use crate::flush::{self, Maps, request_of};
use crate::ingest::{Answers, Ended};

/// Rows of one page: what the queue's thread reads, and this one turns into lines, before somebody else is served.
const PAGE: u32 = 64;
/// Batches that `sent` shows when nobody says how many.
const SENT: u64 = 20;

impl Service {
    pub(super) async fn queue(
        &self,
        action: QueueAction,
        filter: RowFilter,
        (limit, bodies): (Option<u64>, bool),
        caller: Caller,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let now = self.clock.now();
        let users = self.names_users(caller);
        let rows = Filter {
            uid: caller.whose,
            ..rows_of(&filter)
        };
        match action {
            QueueAction::List => {
                self.list(
                    rows,
                    &[RowState::Waiting, RowState::Claimed],
                    limit,
                    (bodies, users),
                    out,
                )
                .await
            }
            QueueAction::Parked => {
                self.list(rows, &[RowState::Parked], limit, (bodies, users), out)
                    .await
            }
            QueueAction::Show(id) => {
                let filter = Filter {
                    uid: caller.whose,
                    ids: Some(vec![id.into_bytes()]),
                    ..Filter::default()
                };
                self.list(filter, &[], Some(1), (true, users), out).await
            }
            QueueAction::NextBatch => self.next_batch(&filter, caller, out).await,
            QueueAction::Purge => {
                let purged = match self.first(rows, &[], limit).await {
                    Ok(filter) => self.queue.purge(filter, PurgeReason::User, now).await,
                    Err(error) => Err(error),
                };
                self.say(
                    purged.map(|p| json!({ "ok": true, "purged": p.queued + p.parked })),
                    out,
                )
                .await
            }
            QueueAction::Requeue => {
                let requeued = match self.first(rows, &[RowState::Parked], limit).await {
                    Ok(filter) => self.queue.requeue(filter, now).await,
                    Err(error) => Err(error),
                };
                self.say(requeued.map(|n| json!({ "ok": true, "requeued": n })), out)
                    .await
            }
        }
    }

    /// The filter, narrowed to the first `limit` rows that it selects.
    async fn first(
        &self,
        filter: Filter,
        states: &[RowState],
        limit: Option<u64>,
    ) -> Result<Filter, QueueError> {
        let Some(limit) = limit else {
            return Ok(filter);
        };
        let (mut ids, mut after) = (Vec::new(), None);
        while (ids.len() as u64) < limit {
            let page = u32::try_from(limit - ids.len() as u64).unwrap_or(PAGE).min(PAGE);
            let page = self.queue.rows(filter.clone(), states, after, page).await?;
            ids.extend(page.rows.iter().map(|row| row.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(Filter {
            ids: Some(ids),
            ..filter
        })
    }

    /// Whether lines say whose they are: where they may be several users'.
    pub(super) fn names_users(&self, caller: Caller) -> bool {
        self.places.mode == Mode::System && caller.whose.is_none()
    }

    async fn list(
        &self,
        filter: Filter,
        states: &[RowState],
        limit: Option<u64>,
        (body, users): (bool, bool),
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let limit = limit.unwrap_or(u64::MAX);
        let (mut after, mut count) = (None, 0);
        while count < limit && out.heard() {
            let page = u32::try_from(limit - count).unwrap_or(PAGE).min(PAGE);
            let page = match self.queue.rows(filter.clone(), states, after, page).await {
                Ok(page) => page,
                Err(error) => {
                    refuse(&error, out);
                    return Ok(());
                }
            };
            for row in &page.rows {
                count += 1;
                let mut line = shown(row, body);
                if users {
                    line["uid"] = row.lane.uid.into();
                }
                out.line(&line).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        out.line(&end(count)).await
    }

    async fn next_batch(&self, filter: &RowFilter, caller: Caller, out: &mut Answers) -> Result<(), Ended> {
        let settings = Arc::clone(&self.settings.borrow());
        let mut count = 0;
        let wanted = filter.destination.as_deref();
        for (name, destination) in settings
            .destinations
            .iter()
            .filter(|(n, _)| wanted.is_none_or(|w| w == &***n))
        {
            let now = self.clock.now();
            let state = self
                .flush
                .states()
                .borrow()
                .get(name)
                .cloned()
                .unwrap_or_default();
            let limits = flush::claim_limits(destination, &state, now);
            let claimed = match self.queue.preview(name, limits, caller.whose, now).await {
                Ok(Some(claimed)) => claimed,
                Ok(None) => continue,
                Err(error) => {
                    refuse(&error, out);
                    return Ok(());
                }
            };
            count += 1;
            let maps = Maps::of(&self.consent.of(claimed.uid), &claimed);
            let shown = preview(destination, &request_of(&claimed, &maps, now));
            let headers: serde_json::Map<String, Value> = shown
                .headers
                .into_iter()
                .map(|(name, value)| (name, value.into()))
                .collect();
            let mut line = json!({
                "destination": &**name, "method": shown.method, "url": shown.url, "headers": headers,
                "batch_id": Uuid::from_bytes(claimed.id).to_string(), "events": claimed.events.len(),
                "body": String::from_utf8_lossy(&shown.body),
            });
            if destination.encoding.shown() != destination.encoding {
                line["body_shown_as"] = "json".into();
            }
            if let Some(problem) = shown.problem {
                line["problem"] = problem.into();
            }
            out.line(&line).await?;
        }
        out.line(&end(count)).await
    }

    pub(super) async fn sent(
        &self,
        limit: Option<u64>,
        tool: Option<String>,
        bodies: bool,
        caller: Caller,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let limit = u32::try_from(limit.unwrap_or(SENT)).unwrap_or(u32::MAX);
        let sent = match self
            .queue
            .sent(limit, caller.whose, tool.map(Arc::from), bodies)
            .await
        {
            Ok(sent) => sent,
            Err(error) => {
                refuse(&error, out);
                return Ok(());
            }
        };
        for batch in &sent {
            let mut line = json!({
                "batch_id": Uuid::from_bytes(batch.id).to_string(),
                "destination": &*batch.destination,
                "at": when(batch.at_ms),
                "status": batch.status,
                "events": batch.events,
                "bytes": batch.bytes,
                "tools": batch.tools.iter().map(|(tool, n)| (tool.to_string(), Value::from(*n))).collect::<serde_json::Map<_, _>>(),
                "url": Meta::from_text(&batch.meta).map(|meta| meta.url),
            });
            if self.names_users(caller) {
                line["uid"] = batch.uid.into();
            }
            if bodies {
                line["body"] = body_of(batch).into();
            }
            out.line(&line).await?;
        }
        out.line(&end(sent.len() as u64)).await
    }
}

/// The body as it went; `None` where the log does not have all of it any more.
fn body_of(batch: &Sent) -> Option<String> {
    let meta = Meta::from_text(&batch.meta)?;
    let erased = batch.members.iter().any(|event| event.payload.is_empty());
    if erased || batch.members.len() != usize::try_from(batch.events).unwrap_or(usize::MAX) {
        return None;
    }
    let events: Vec<Event<'_>> = batch
        .members
        .iter()
        .map(|event| Event {
            id: Uuid::from_bytes(event.id),
            tool: &event.tool,
            payload: &batch.arena[event.payload.clone()],
            age_ms: 0,
            map: None,
        })
        .collect();
    let losses = batch.losses;
    let losses = Losses {
        evicted: losses.evicted,
        expired: losses.expired,
        quota: losses.quota,
    };
    let body = meta.body(Uuid::from_bytes(batch.id), losses, &events);
    Some(String::from_utf8_lossy(&body).into_owned())
}

fn rows_of(filter: &RowFilter) -> Filter {
    Filter {
        tool: filter.tool.as_deref().map(Arc::from),
        destination: filter.destination.as_deref().map(Arc::from),
        ids: filter.id.map(|id| vec![id.into_bytes()]),
        ..Filter::default()
    }
}

fn shown(row: &Row, body: bool) -> Value {
    let (event, time) = head(&row.payload);
    let mut line = json!({
        "id": Uuid::from_bytes(row.id).to_string(),
        "tool": &*row.lane.tool,
        "event": event,
        "time": time,
        "received": when(row.received.wall_ms),
        "destination": &*row.lane.destination,
        "bytes": row.payload.len(),
        "state": match row.state {
            RowState::Waiting => "waiting",
            RowState::Claimed => "claimed",
            RowState::Parked => "parked",
        },
        "batch_id": row.batch.map(|id| Uuid::from_bytes(id).to_string()),
        "attempts": row.attempts,
    });
    if let Some(parked) = &row.parked {
        line["parked_at"] = when(parked.at_ms);
        line["status"] = parked.status.into();
        line["answer"] = String::from_utf8_lossy(&parked.answer).into();
    }
    if body {
        line["body"] = serde_json::from_slice(&row.payload).unwrap_or(Value::Null);
    }
    line
}

/// An event's name and time, which stand at the begin of what is stored: the rest, up to 16 MiB, is not read.
fn head(payload: &[u8]) -> (Value, Value) {
    let first = |bytes: &[u8]| {
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
        let value = values.next()?.ok()?;
        Some((value, values.byte_offset()))
    };
    let begin = || {
        let rest = payload.strip_prefix(b"{\"event\":")?;
        let (event, length) = first(rest)?;
        let (time, _) = first(rest.get(length..)?.strip_prefix(b",\"time\":")?)?;
        Some((event, time))
    };
    begin().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rows_name_and_time_are_read_without_the_rest() {
        let text = br#"{"event":"CLI \"command\"","time":"2026-11-22T00:00:00.000Z","properties":{"a":1}}"#;
        let whole: Value = serde_json::from_slice(text).unwrap();
        let (event, time) = head(text);
        assert_eq!((&event, &time), (&whole["event"], &whole["time"]));
        assert_eq!(head(b"{}"), (Value::Null, Value::Null));
        assert_eq!(head(b"{\"event\":\"a"), (Value::Null, Value::Null));
    }
}

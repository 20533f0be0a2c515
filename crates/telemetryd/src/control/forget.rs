//! `forget`: everything that is kept of the caller goes, the user's own evidence included (I2: what was queued is booked).

use std::sync::Arc;

use serde_json::json;
use telemetry_protocol::consent_log::Change;
use telemetry_protocol::reason::ErrorCode;
use telemetry_queue::{Filter, PurgeReason};
use tracing::info;

use super::caller::Caller;
use super::{Service, refuse};
use crate::consent::How;
use crate::ingest::{Answers, Ended};

impl Service {
    /// Erases the caller's queued and parked rows and the log of what was sent, of `tool` or of all; and answers with
    /// the receipt. What is on its way is cancelled.
    pub(super) async fn forget(
        &self,
        tool: Option<&str>,
        caller: Caller,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let cancelled = self.counters.cancelled(caller.whose);
        let named: Option<Arc<str>> = tool.map(Arc::from);
        // First the epoch, so that nothing of it leaves while it is erased; and at once the secret, so that nothing
        // that is taken during the purge, and stays, carries the old id.
        self.consent.forget(caller.uid, tool);
        let identities = self.identity.forget(caller.uid, tool);
        let spooled = self.consent.forget_spool(tool);
        let filter = Filter {
            uid: caller.whose,
            tool: named.clone(),
            ..Filter::default()
        };
        let sent = self.queue.sent(u32::MAX, caller.whose, named, false).await;
        let purged = match self
            .queue
            .purge(filter, PurgeReason::Forget, self.clock.now())
            .await
        {
            Ok(purged) => purged,
            Err(error) => {
                refuse(&error, out);
                return Ok(());
            }
        };
        let identities = match identities {
            Ok(forgotten) => forgotten.len(),
            Err(error) => {
                let message = format!("cannot forget the identity: {error}; the rest is erased");
                out.error(ErrorCode::Storage, &message);
                return Ok(());
            }
        };
        let (rows, sent) = (purged.queued + purged.parked, sent.map_or(0, |sent| sent.len()));
        info!(rows, sent, "a user wanted to be forgotten: erased");
        let change = Change {
            tool: tool.map(ToOwned::to_owned),
            by: "user".to_owned(),
            purged: rows,
            sent_bodies: purged.sent_bodies,
            ..Change::default()
        };
        self.consent.note(caller.uid, change, How::Forget);
        let line = json!({
            "ok": true, "status": "forgotten", "purged": rows, "sent": sent, "sent_bodies": purged.sent_bodies,
            "spooled": spooled, "identities": identities, "cancelled": self.counters.cancelled(caller.whose) - cancelled,
            "reached": [self.socket.display().to_string()], "not_reached": [],
        });
        out.line(&line).await
    }
}

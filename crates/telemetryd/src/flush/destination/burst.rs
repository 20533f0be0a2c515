//! A burst: one batch after another is asked about again, sent and settled, until the trigger says that it is enough.

use std::sync::Arc;

use telemetry_delivery::{Gate, Meta, Report, Verdict};
use telemetry_protocol::consent::Fact;
use telemetry_queue::{Claimed, Moment, Outcome};
use tokio::sync::mpsc::error::TryRecvError;
use tracing::{debug, warn};

use super::{Flusher, SETTLE_AGAIN, request_of, sleep};
use crate::flush::Maps;
use crate::flush::gate::{BatchGate, Looked};
use crate::flush::state::Condition;
use crate::flush::trigger::Next;
use crate::phase::Phase;

impl Flusher {
    /// Claims and sends until the trigger says that it is enough; or one batch of this uid, which goes early.
    pub(super) async fn burst(&mut self, early: Option<u32>) {
        match early {
            Some(uid) => self.claim_early(uid).await,
            None => self.claim().await,
        }
        while let Some(batch) = self.at_hand() {
            if self.may_go(&batch) {
                if !self.state.sending {
                    self.state.sending = true;
                    self.publish();
                }
                self.one(batch).await;
            } else {
                self.hold_back(batch).await;
            }
            self.end_errand().await;
            let waiting = self.waiting();
            self.release_due(&waiting).await;
            loop {
                match self.orders.try_recv() {
                    Ok(order) => self.obey(order).await,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        self.dismissed = true;
                        break;
                    }
                }
            }
        }
    }

    async fn claim(&mut self) {
        let now = self.shared.clock.now();
        let limits = self.limits(now);
        let name = Arc::clone(&self.settings.name);
        match self.shared.queue.claim(&name, limits, now).await {
            Ok(Some(claimed)) => self.hold_ready(Some(claimed)),
            Ok(None) => {
                // What waits is under lease or on its way out: the view will say when that changes.
                let _ = tokio::time::timeout(SETTLE_AGAIN, self.view.changed()).await;
            }
            Err(error) => {
                warn!(destination = %name, %error, "cannot claim a batch");
                sleep(Some(SETTLE_AGAIN)).await;
            }
        }
    }

    /// Whether the trigger lets a batch go that was claimed a while ago, and nobody has purged anything since.
    fn may_go(&mut self, batch: &Claimed) -> bool {
        if self.dismissed || self.view.borrow().purges_of(batch.uid) != batch.purges {
            return false;
        }
        let mut waiting = self.waiting();
        waiting.events += batch.events.len() as u64;
        waiting.open_batches += 1;
        self.next_with(&waiting) == Next::Send || self.goes_early(batch, &waiting)
    }

    /// Puts a batch back that may not go; claims anew where something may.
    async fn hold_back(&mut self, batch: Claimed) {
        self.end_ahead().await;
        self.early.put_back(&batch);
        let now = self.shared.clock.now();
        self.end(&batch, Outcome::PutBack, false, now).await;
        if !self.dismissed && self.next() == Next::Send {
            self.claim().await;
        }
    }

    /// Sends one batch, and settles it or leaves that to be done beside the next request.
    async fn one(&mut self, batch: Claimed) {
        let consent = Arc::clone(&self.shared.consent);
        let url = self.settings.url.clone();
        let gate = BatchGate::new(&consent, &batch, &url);
        match gate.look() {
            Looked::Open => {}
            Looked::Forbidden(fact) => {
                self.end_ahead().await;
                self.not_allowed(&batch, &fact).await;
                return;
            }
            Looked::Withdrawn => {
                self.end_ahead().await;
                self.withdraw(&gate, &batch).await;
                return;
            }
        }
        let now = self.shared.clock.now();
        let (report, meta) = self.send(&batch, &gate, now).await;
        #[cfg(feature = "kill-points")]
        crate::kill_points::at("after-send");
        self.shared
            .counters
            .requests
            .add(u64::from(report.request_bytes > 0));
        let now = self.shared.clock.now();
        debug!(destination = %self.settings.name, events = batch.events.len(), status = ?report.status, "request ended");
        if report.verdict == Verdict::Cancelled {
            self.shared.counters.cancel(batch.uid);
            self.end_ahead().await;
            self.withdraw(&gate, &batch).await;
            return;
        }
        let refused = report.verdict == Verdict::Bisect;
        match self.judge(&batch, &report, meta, now) {
            outcome @ Outcome::Delivered { .. } => self.was_delivered(batch, outcome, now).await,
            outcome => {
                self.end_ahead().await;
                let next = self.settle(&batch, outcome, now).await;
                if refused && self.are_refused_alone(batch.uid) {
                    self.refused_whole(&batch, now).await;
                    self.publish();
                }
                self.hold_ready(next);
            }
        }
    }

    /// The admin's `destinations.allow` does not cover this address (any more): what was taken for it waits. What
    /// is taken now was asked about before.
    async fn not_allowed(&mut self, batch: &Claimed, fact: &Fact) {
        let now = self.shared.clock.now();
        let place = fact.line.map_or_else(String::new, |line| format!(":{line}"));
        let report = Report {
            verdict: Verdict::Cancelled,
            status: None,
            detail: format!("{}{place}: {}", fact.source, fact.detail),
            answer: Vec::new(),
            retry_after: None,
            request_bytes: 0,
        };
        self.hold(Condition::Held, "not_allowed", &report, now);
        self.end(batch, Outcome::PutBack, false, now).await;
    }

    async fn send(&mut self, batch: &Claimed, gate: &BatchGate<'_>, now: Moment) -> (Report, String) {
        let Some(mut client) = self.client.take() else {
            return (cancelled(), String::new());
        };
        // The gate has just looked: what was published last is what holds.
        let known = self.shared.consent.changes().borrow().of(batch.uid).cloned();
        let manifests = known.unwrap_or_else(|| self.shared.consent.of(batch.uid));
        let maps = Maps::of(&manifests, batch);
        let request = request_of(batch, &maps, now);
        let meta = Meta::new(&self.settings, &request).to_text();
        let mut policy = self.shared.consent.changes();
        let mut phase = self.shared.phase.clone();
        let closed = async {
            loop {
                tokio::select! {
                    changed = policy.changed() => if changed.is_err() || !gate.open() { return },
                    () = crate::phase::reached(&mut phase, Phase::Stopping) => return,
                }
            }
        };
        tokio::pin!(closed);
        let report = {
            let sending = client.send(&request, gate);
            tokio::pin!(sending);
            loop {
                self.work_ahead();
                tokio::select! {
                    // The queue is told in the order in which things happen: what it is to keep of the state, above all.
                    biased;
                    brought = Self::brought(&mut self.errand) => self.take_brought(brought),
                    done = self.ahead.worked() => self.take_work(done),
                    // Dropping the send closes its connection: a withdrawal cancels what is in flight.
                    () = &mut closed => break cancelled(),
                    report = &mut sending => break report,
                    // A pause holds from when it is answered: what goes next waits, though this request goes on. What
                    // the queue does for an order is not waited for here: neither an answer nor a withdrawal may be late.
                    Some(order) = self.orders.recv(), if self.errand.is_none() => self.begin(order),
                }
            }
        };
        // A new one may have come with new settings.
        self.client.get_or_insert(client);
        (report, meta)
    }
}

fn cancelled() -> Report {
    Report {
        verdict: Verdict::Cancelled,
        status: None,
        detail: String::new(),
        answer: Vec::new(),
        retry_after: None,
        request_bytes: 0,
    }
}

//! What happens around a wait: the machine was suspended, or its network came back. Either may have happened to ten
//! thousand machines in the same second, so what is due then goes within `retry.spread`, each at a moment of its own
//! (DELIVERY.md, "When to try again").

use telemetry_delivery::spread;
use telemetry_queue::Waiting;
use tracing::debug;

use super::Flusher;
use crate::flush::network::Watch;
use crate::flush::state::Deadline;

/// A suspend of at least so long, in milliseconds; the two clocks are read one after the other, and that takes time.
const SUSPEND_MS: u64 = 1000;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// Milliseconds that the machine had been suspended since its boot.
    suspended_ms: Option<u64>,
    /// Events waited.
    waited: bool,
    /// Open while events wait for a destination that cannot be reached.
    network: Option<Watch>,
    /// The next try that the network's return has brought forward: once for each failed attempt.
    cut: Option<Deadline>,
}

impl Around {
    /// Waits until the network comes back; for ever where it is not watched. Cancel safe.
    pub(super) async fn network_is_back(&mut self) {
        match &mut self.network {
            Some(network) => network.came_back().await,
            None => std::future::pending().await,
        }
    }
}

impl Flusher {
    /// Looks whether the machine was suspended while events waited: no timer wakes anybody for it, it is seen when the
    /// next piece of a wait is over, or something comes in. And whether the network is to be watched.
    pub(super) fn look_around(&mut self, waiting: &Waiting) {
        let suspended_ms = self.shared.clock.suspended_ms();
        let before = self.around.suspended_ms.replace(suspended_ms);
        let waits = waiting.events > 0;
        let waited = std::mem::replace(&mut self.around.waited, waits);
        if waited && waits && before.is_some_and(|before| suspended_ms.saturating_sub(before) >= SUSPEND_MS) {
            debug!(destination = %self.settings.name, "the machine was suspended");
            self.put_off();
        }
        let watch = waits && self.state.is_away();
        if watch != self.around.network.is_some() {
            self.around.network = watch.then(Watch::open).flatten();
        }
    }

    /// Nothing goes for a part of `retry.spread`, an explicit flush aside.
    fn put_off(&mut self) {
        let now = self.shared.clock.now();
        let seed = self.draw();
        let wait = spread(&self.settings.retry, seed);
        let sooner = |known: Deadline| known.left(now).is_none_or(|left| left < wait);
        if self.state.next_try.is_none_or(sooner) {
            self.state.next_try = Some(Deadline::after(now, wait));
            self.publish();
        }
    }

    /// The network came back: what waits for its next try waits for a part of `retry.spread` at most.
    pub(super) fn try_sooner(&mut self) {
        if !self.state.is_away()
            || self
                .around
                .cut
                .is_some_and(|cut| self.state.next_try == Some(cut))
        {
            return;
        }
        debug!(destination = %self.settings.name, "the network came back");
        let now = self.shared.clock.now();
        let seed = self.draw();
        let wait = spread(&self.settings.retry, seed);
        let later = |known: Deadline| known.left(now).is_some_and(|left| left > wait);
        if self.state.next_try.is_some_and(later) {
            self.state.next_try = Some(Deadline::after(now, wait));
            self.publish();
        }
        self.around.cut = self.state.next_try;
    }
}

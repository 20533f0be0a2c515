//! Tells the service manager what becomes of this daemon (sd_notify(3)): ready, reloading, stopping, and a line
//! for `systemctl status`. Without `NOTIFY_SOCKET` nothing happens. Told at changes only: there is no watchdog to
//! feed, for a timer would wake an idle daemon (I11).

use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState::{self, ExtendTimeoutUsec, Ready, Reloading, Status, Stopping};
use tracing::debug;

/// What leaving takes after the drain: the last transaction, the queue's closing.
const LEAVING: Duration = Duration::from_secs(10);

/// The socket is there and events are taken.
pub fn ready(socket: &Path) {
    tell(&[Ready, Status(&format!("listening at {}", socket.display()))]);
}

/// The settings are read again; [`reloaded`] says how that ended.
pub fn reloading() {
    tell(&[Reloading, Status("reading the settings again")]);
}

/// The new settings hold, or the old ones stay.
pub fn reloaded(taken: bool) {
    let status = if taken {
        "reloaded"
    } else {
        "the new settings are bad, the old ones stay: see the log"
    };
    tell(&[Ready, Status(status)]);
}

/// Nothing new is taken; what waits is sent for at most `limit`. The service manager is asked for that time, so
/// that a longer `daemon.shutdown_drain` needs no other unit.
pub fn stopping(limit: Duration) {
    let micros = u32::try_from(limit.saturating_add(LEAVING).as_micros()).unwrap_or(u32::MAX);
    let status = format!("sending what waits, for at most {} s", limit.as_secs());
    tell(&[Stopping, ExtendTimeoutUsec(micros), Status(&status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        // Whoever started us does not listen; the events do not care.
        debug!(%error, "cannot tell the service manager");
    }
}

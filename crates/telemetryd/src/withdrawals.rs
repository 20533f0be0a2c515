//! What follows from a withdrawal, however it came about: rows are erased, and the identity is forgotten (I3).

use std::sync::Arc;
use std::time::Duration;

use telemetry_queue::{ErrorKind, Queue};
use tracing::{error, info};

use crate::clock::Clock;
use crate::consent::Consent;
use crate::desk::Identity;

/// Erases what was withdrawn whenever the policy changes, however it came about (I3).
pub async fn each(queue: Queue, consent: Arc<Consent>, identity: Arc<Identity>, clock: Arc<dyn Clock>) {
    let mut changes = consent.changes();
    while changes.changed().await.is_ok() {
        let mut said = false;
        loop {
            let policies = Arc::clone(&changes.borrow_and_update());
            match crate::control::purge_withdrawn(&queue, &consent, &policies, clock.now()).await {
                Ok(purged) => {
                    for (person, policy) in policies.people() {
                        identity.withdrawn(person, policy);
                    }
                    if purged.queued + purged.parked > 0 {
                        info!(
                            rows = purged.queued + purged.parked,
                            "consent was withdrawn: rows erased"
                        );
                    }
                    break;
                }
                Err(error) if error.kind == ErrorKind::Closed => return,
                Err(error) if !said => {
                    error!(%error, "cannot erase rows after a withdrawal; they are not sent, and it is tried again");
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(PURGE_AGAIN).await;
        }
    }
}

/// A purge that failed (full disk, I/O error) is tried again after so long.
const PURGE_AGAIN: Duration = Duration::from_secs(5);

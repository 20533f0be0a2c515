//! Keeps the daemon's own socket where its clients look for it: when its file or its directory was deleted (a person
//! tidies up, a cleaner of temporary files), it is bound anew. Connections that are open go on. What somebody else has
//! put in its place is left alone until that is gone.
//!
//! The kernel tells; nothing is polled, and nobody is woken while nothing happens (I11). Where there is no inotify
//! (macOS), a deleted socket is not noticed.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::warn;

use super::{Bound, SocketError, bind, identity};
use crate::watch;

/// After something happened it is looked so much later: whoever deletes a directory deletes the socket first, and is not to
/// find another one in it; and a daemon whose state goes with it has seen that by then, and leaves.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is tried to bind it, where the system says no, before nobody is ever going to come in again.
const TRIES: u32 = 10;

/// Keeps a socket at its path, with these modes of it and its directory; each new listener goes to `listeners`. Returns when
/// it cannot be bound anew; never where there is none of ours.
///
/// # Cancel safety
/// Dropped, the socket's file is removed, if it is still ours.
pub async fn keep(
    bound: Option<Bound>,
    mode: u32,
    directory_mode: u32,
    listeners: mpsc::Sender<UnixListener>,
) -> SocketError {
    let Some(mut bound) = bound else {
        return std::future::pending().await;
    };
    let mut left_alone = None;
    let mut tries = 0;
    loop {
        // First the watch and then the look: nothing that happens falls between them.
        let watch = watch::over(bound.path.parent(), &bound.path);
        let there = identity(&bound.path).ok();
        if there == Some(bound.inode) || there.is_some() && there == left_alone {
            tries = 0;
            // Kept while it pauses: what a daemon has open does not come and go.
            let _kept = watch::fired(watch).await;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let path = bound.path.clone();
        match bind(&path, mode, directory_mode) {
            Ok((listener, anew)) => {
                warn!(socket = %path.display(), "the socket was gone from its place: another one is there now");
                // The old one keeps its inode until its listener goes: it is not taken for the new one.
                bound = anew;
                (left_alone, tries) = (None, 0);
                if listeners.send(listener).await.is_err() {
                    // Nobody listens any more: the daemon is leaving.
                    std::future::pending::<()>().await;
                }
            }
            Err(error @ (SocketError::Taken { .. } | SocketError::NotASocket(_))) if there.is_some() => {
                warn!("nobody can connect: {error}; it is left alone");
                left_alone = there;
            }
            Err(error) => {
                tries += 1;
                if tries >= TRIES {
                    return error;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

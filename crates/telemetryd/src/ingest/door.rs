//! The door: where connections are taken from the listener (I6, I13).
//!
//! Whoever connects stands behind all who connected before, whoever they are: the kernel knows no users there. So who
//! is to be turned away costs a few system calls and nothing else, and while somebody comes in a loop the backlog is
//! kept short: what stands in it is then a few of that user's connections, not four thousand, and who comes by waits
//! in `connect` for its turn, behind as many as have threads for it.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::time::Duration;

use telemetry_protocol::limits::BACKLOG;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Sleep;
use tracing::{debug, warn};

use super::Peer;

/// The backlog while somebody comes in a loop: what is taken in some ten microseconds. (Measured beside four threads that
/// do nothing else: with 16 another visits in four times the time it needs alone, with 4 in three.)
const NARROW: i32 = 1;
/// So many who were turned away within [`CALM`] are a loop: twice as many as one user may have connected.
const LOOP: u32 = 128;
/// The backlog is long again after so long without a loop.
const CALM: Duration = Duration::from_secs(1);
/// Connections that are taken before those that were taken are looked at again.
const IN_A_ROW: u32 = 4;

/// The listener, and how wide its door is.
pub(super) struct Door {
    listener: AsyncFd<UnixListener>,
    /// Taken since the others had their turn.
    taken: u32,
    /// Turned away since the last look.
    away: u32,
    narrow: bool,
    /// The next look; `None`: nobody was turned away lately.
    look: Option<Pin<Box<Sleep>>>,
}

impl Door {
    /// The door of a listener.
    ///
    /// # Errors
    /// The runtime does not take it.
    pub(super) fn new(listener: tokio::net::UnixListener) -> io::Result<Self> {
        let listener = waited_for(listener.into_std()?)?;
        let door = Self {
            listener,
            taken: 0,
            away: 0,
            narrow: false,
            look: None,
        };
        // A service manager's socket may be as narrow as a daemon left it that was killed.
        door.set_width(BACKLOG);
        Ok(door)
    }

    /// Takes from another listener from now on; who stands in the old one's backlog is sent away.
    ///
    /// # Errors
    /// The runtime does not take it: the old one stays.
    pub(super) fn move_to(&mut self, listener: UnixListener) -> io::Result<()> {
        self.listener = waited_for(listener)?;
        if self.narrow {
            self.set_width(NARROW);
        }
        Ok(())
    }

    /// The next who comes, and who that is.
    ///
    /// # Errors
    /// What accepting says; no descriptors are left, say.
    ///
    /// # Cancel safety
    /// Cancel safe: nobody is taken and forgotten.
    pub(super) async fn next(&mut self) -> io::Result<(UnixStream, io::Result<Peer>)> {
        if self.taken >= IN_A_ROW {
            self.taken = 0;
            tokio::task::yield_now().await;
        }
        loop {
            tokio::select! {
                biased;
                () = over(&mut self.look) => self.look_again(),
                ready = self.listener.readable() => match ready?.try_io(|listener| take(listener.get_ref())) {
                    Ok(taken) => {
                        self.taken += 1;
                        return taken;
                    }
                    Err(_nobody) => self.taken = 0,
                },
            }
        }
    }

    /// Who stands in the backlog still. The kernel is asked: what the runtime remembers of it may be old.
    pub(super) fn rest(&self) -> impl Iterator<Item = (UnixStream, io::Result<Peer>)> {
        std::iter::from_fn(|| take(self.listener.get_ref()).ok())
    }

    /// Somebody was turned away.
    pub(super) fn turned_away(&mut self, uid: u32) {
        self.away = self.away.saturating_add(1);
        self.look
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(CALM)));
        if self.away >= LOOP && !self.narrow {
            debug!(uid, "a user connects in a loop and is turned away");
            self.set_width(NARROW);
            self.narrow = true;
        }
    }

    fn look_again(&mut self) {
        let again = std::mem::take(&mut self.away) >= LOOP;
        self.look = again.then(|| Box::pin(tokio::time::sleep(CALM)));
        if !again && self.narrow {
            self.set_width(BACKLOG);
            self.narrow = false;
        }
    }

    /// `listen(2)` on a socket that listens sets its backlog anew; who stands in it stays.
    fn set_width(&self, backlog: i32) {
        if let Err(error) = rustix::net::listen(self.listener.get_ref(), backlog) {
            warn!(%error, "cannot set the listener's backlog");
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if self.narrow {
            self.set_width(BACKLOG);
        }
    }
}

fn waited_for(listener: UnixListener) -> io::Result<AsyncFd<UnixListener>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for types that close or swap their descriptor; std's listener does neither"
    )]
    AsyncFd::with_interest(listener, Interest::READABLE)
}

async fn over(look: &mut Option<Pin<Box<Sleep>>>) {
    match look {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

/// Takes one from the backlog, if there is one.
#[cfg(target_os = "linux")]
fn take(listener: &UnixListener) -> io::Result<(UnixStream, io::Result<Peer>)> {
    use rustix::net::{SocketFlags, accept_with};
    let stream = UnixStream::from(accept_with(
        listener,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
    )?);
    let peer = rustix::net::sockopt::socket_peercred(&stream).map(|cred| Peer {
        uid: cred.uid.as_raw(),
        pid: Some(cred.pid.as_raw_nonzero().get()),
    });
    Ok((stream, peer.map_err(Into::into)))
}

/// The same where tokio knows how to ask who somebody is.
#[cfg(not(target_os = "linux"))]
fn take(listener: &UnixListener) -> io::Result<(UnixStream, io::Result<Peer>)> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let asked = stream.try_clone().and_then(tokio::net::UnixStream::from_std);
    let peer = asked.and_then(|stream| stream.peer_cred()).map(|cred| Peer {
        uid: cred.uid(),
        pid: cred.pid(),
    });
    Ok((stream, peer))
}

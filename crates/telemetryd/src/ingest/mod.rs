//! The way in: connections on the Unix socket, their lines, their answers.
//!
//! A connection reads lines and hands events to the queue a read at a time; its other half answers in the
//! order of the requests. Every complete line that reached the socket is processed, whether or not its
//! client still listens. Bounded everywhere (I6).

mod answers;
mod connection;
mod frame;
mod ids;
mod intake;
mod rate;
mod users;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use telemetry_protocol::answer;
use telemetry_protocol::reason::ErrorCode;
use telemetry_queue::Queue;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

pub use self::answers::{Answers, Ended};
use self::ids::Ids;
use self::rate::Rates;
use self::users::{Seat, Users};
use crate::clock::Clock;
use crate::config::Checked;
use crate::consent::Consent;
use crate::control::Service;
use crate::control::tail::Tail;
use crate::counters::Counters;
use crate::phase::{Phase, PhaseReader};

/// After a failed accept (no file descriptors left), the next try waits so long, or until somebody leaves.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Who is at the other end, by the socket's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The uid; every row carries it.
    pub uid: u32,
    /// The process, where the system says.
    pub pid: Option<i32>,
}

/// What every connection is given.
pub struct Shared {
    /// Where events go.
    pub queue: Queue,
    /// Asked before each read's events.
    pub consent: Arc<Consent>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The daemon's life.
    pub phase: PhaseReader,
    /// Numbers.
    pub counters: Arc<Counters>,
    /// Who watches live.
    pub tail: Tail,
    /// The settings, limits among them.
    pub settings: watch::Receiver<Arc<Checked>>,
    /// Answers control requests.
    pub service: Arc<Service>,
    /// The user whose daemon this is; `None`: everybody's.
    pub uid: Option<u32>,
    /// How many connections are open, for who waits for none.
    pub open: watch::Sender<usize>,
    ids: Mutex<Ids>,
    rates: Mutex<Rates>,
    users: Arc<Users>,
}

/// What [`Shared`] is made of.
#[expect(missing_docs, reason = "the fields of Shared")]
pub struct Parts {
    pub queue: Queue,
    pub consent: Arc<Consent>,
    pub clock: Arc<dyn Clock>,
    pub phase: PhaseReader,
    pub counters: Arc<Counters>,
    pub tail: Tail,
    pub settings: watch::Receiver<Arc<Checked>>,
    pub service: Arc<Service>,
    pub uid: Option<u32>,
    pub open: watch::Sender<usize>,
    /// Event ids come from it (I9).
    pub seed: u64,
}

impl Shared {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            queue,
            consent,
            clock,
            phase,
            counters,
            tail,
            settings,
            service,
            uid,
            open,
            seed,
        } = parts;
        let (ids, rates) = (Mutex::new(Ids::new(seed)), Mutex::default());
        Self {
            queue,
            consent,
            clock,
            phase,
            counters,
            tail,
            settings,
            service,
            uid,
            open,
            ids,
            rates,
            users: Arc::default(),
        }
    }
}

/// Accepts and serves until the daemon drains; then serves what has come, and ends when all have left.
pub async fn run(listener: UnixListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut phase = shared.phase.clone();
    let mut troubled = false;
    loop {
        let room = connections.len() < shared.settings.borrow().limits.max_connections;
        tokio::select! {
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => {
                    troubled = false;
                    admit(stream, &shared, &mut connections);
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    if !troubled {
                        warn!(%error, open = connections.len(), "cannot accept a connection; trying again");
                        troubled = true;
                    }
                    // No descriptors left: whoever leaves gives one back.
                    let _ = tokio::time::timeout(ACCEPT_AGAIN, connections.join_next()).await;
                }
            },
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a connection ended on a defect");
            },
            () = crate::phase::reached(&mut phase, Phase::Closing) => break,
        }
    }
    // Whoever was in the backlog has been let in as far as the client can tell. The kernel is asked: what the
    // runtime remembers of the listener's readiness may be old.
    while let Ok(stream) = rustix::net::accept(&listener) {
        let stream = std::os::unix::net::UnixStream::from(stream);
        if let Ok(stream) = stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream))
        {
            admit(stream, &shared, &mut connections);
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn admit(stream: UnixStream, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let peer = match stream.peer_cred() {
        Ok(cred) => Peer {
            uid: cred.uid(),
            pid: cred.pid(),
        },
        Err(error) => {
            warn!(%error, "a connection without credentials was closed");
            return;
        }
    };
    // User mode: the socket is 0600, so this is the user or root; anybody else came past the permissions.
    if shared.uid.is_some_and(|uid| uid != peer.uid) && peer.uid != 0 {
        warn!(uid = peer.uid, "a connection of another user was closed");
        return;
    }
    let Ok(seat) = seat(peer, shared) else {
        turn_away(&stream, peer, shared);
        if let Some(doorstep) = shared.users.doorstep(peer.uid) {
            connections.spawn(async move {
                doorstep.wait().await;
                drop(stream);
            });
        }
        return;
    };
    debug!(uid = peer.uid, pid = peer.pid, "connection");
    shared.counters.connections.add(1);
    let open = Open::one(&shared.open);
    let shared = Arc::clone(shared);
    connections.spawn(async move {
        connection::serve(stream, peer, seat.as_ref(), &shared).await;
        drop((open, seat));
    });
}

/// The user has as many connections as it may.
struct Crowd;

/// A seat among the user's own; a user's daemon has but one user, and no seats.
fn seat(peer: Peer, shared: &Shared) -> Result<Option<Seat>, Crowd> {
    if shared.uid.is_some() {
        return Ok(None);
    }
    let most = shared.settings.borrow().limits.max_connections_per_user;
    shared.users.seat(peer.uid, most).map(Some).ok_or(Crowd)
}

/// Says why, if that can be said at once, and closes.
fn turn_away(stream: &UnixStream, peer: Peer, shared: &Shared) {
    shared.counters.refuse(ErrorCode::RateLimited);
    debug!(uid = peer.uid, "a user has as many connections as it may");
    let most = shared.settings.borrow().limits.max_connections_per_user;
    let message = format!("this user has {most} connections already (limits.max_connections_per_user)");
    let _ = rustix::io::write(stream, &answer::error(ErrorCode::RateLimited, &message));
}

/// Counts a connection for as long as it lives, however it ends.
struct Open(watch::Sender<usize>);

impl Open {
    fn one(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

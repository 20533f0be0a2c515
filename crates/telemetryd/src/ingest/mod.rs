//! The way in: connections on the Unix socket, their lines, their answers.
//!
//! A connection reads lines and hands events to the queue a read at a time; its other half answers in the
//! order of the requests. Every complete line that reached the socket is processed, whether or not its
//! client still listens. Bounded everywhere (I6).

mod answers;
mod connection;
mod door;
mod frame;
mod ids;
mod intake;
mod outcome;
mod pace;
mod place;
mod rate;
mod request;
mod users;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use telemetry_protocol::answer;
use telemetry_protocol::reason::ErrorCode;
use telemetry_queue::Queue;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

pub use self::answers::{Answers, Ended};
use self::door::Door;
use self::ids::Ids;
use self::pace::Pace;
use self::rate::Rates;
pub use self::request::{NotTaken, all_may_be_taken, request};
use self::users::{Most, Seat, Users};
use crate::clock::Clock;
use crate::config::Checked;
use crate::consent::Consent;
use crate::control::Service;
use crate::control::tail::Tail;
use crate::counters::Counters;
use crate::desk::Desk;
use crate::phase::{Phase, PhaseReader};

/// After a failed accept (no file descriptors left), the next try waits so long, or until somebody leaves.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Where all seats are taken and nobody was idle, it is looked so often whether somebody is by now.
const ROOM_AGAIN: Duration = Duration::from_millis(100);

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
    /// What the policy's door asks for.
    pub desk: Arc<Desk>,
    /// The user whose daemon this is; `None`: everybody's.
    pub uid: Option<u32>,
    /// How many connections are open, for who waits for none.
    pub open: watch::Sender<usize>,
    ids: Mutex<Ids>,
    rates: Mutex<Rates>,
    pace: Mutex<Pace>,
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
    pub desk: Arc<Desk>,
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
            desk,
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
            desk,
            uid,
            open,
            ids,
            rates,
            pace: Mutex::default(),
            users: Arc::default(),
        }
    }
}

/// Serves a connection from within the daemon to its end: the way of what waited in a spool.
pub async fn inside(stream: UnixStream, peer: Peer, shared: &Arc<Shared>) {
    let open = Open::one(&shared.open);
    connection::serve(stream, peer, None, shared).await;
    drop(open);
}

/// Accepts and serves until the daemon drains; then serves what has come, and ends when all have left. Listeners that come
/// take the place of the one before.
pub async fn run(
    listener: UnixListener,
    mut listeners: mpsc::Receiver<std::os::unix::net::UnixListener>,
    shared: Arc<Shared>,
) {
    let mut door = match Door::new(listener) {
        Ok(door) => door,
        Err(error) => return error!(%error, "cannot listen"),
    };
    let mut connections = JoinSet::new();
    let mut phase = shared.phase.clone();
    let mut troubled = false;
    loop {
        let room = has_room(&shared, connections.len());
        tokio::select! {
            accepted = door.next(), if room => match accepted {
                Ok((stream, peer)) => {
                    troubled = false;
                    match admit(stream, peer, &shared, &mut connections) {
                        Ok(()) => tokio::task::yield_now().await,
                        Err(Crowd(uid)) => door.turned_away(uid),
                    }
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
                error!(%error, "a connection ended on a defect");
            },
            Some(listener) = listeners.recv() => {
                // Whoever came to the old one before it was gone is let in.
                for (stream, peer) in door.rest() {
                    let _ = admit(stream, peer, &shared, &mut connections);
                }
                if let Err(error) = door.move_to(listener) {
                    error!(%error, "cannot listen");
                }
            }
            () = tokio::time::sleep(ROOM_AGAIN), if !room && shared.uid.is_none() => {}
            () = crate::phase::reached(&mut phase, Phase::Closing) => break,
        }
    }
    // Whoever was in the backlog has been let in as far as the client can tell.
    for (stream, peer) in door.rest() {
        let _ = admit(stream, peer, &shared, &mut connections);
    }
    drop(door);
    while connections.join_next().await.is_some() {}
}

/// Whether one more can be let in: where all seats are taken, in the place of somebody who is idle.
fn has_room(shared: &Shared, open: usize) -> bool {
    let most = shared.settings.borrow().limits.max_connections;
    match shared.uid {
        Some(_) => open < most,
        // Who waits to be closed has no seat.
        None => shared.users.open() < most || shared.users.somebody_is_idle(),
    }
}

/// # Errors
/// The user has as many connections as it may, and is told so.
fn admit(
    stream: std::os::unix::net::UnixStream,
    peer: io::Result<Peer>,
    shared: &Arc<Shared>,
    connections: &mut JoinSet<()>,
) -> Result<(), Crowd> {
    let peer = match peer {
        Ok(peer) => peer,
        Err(error) => {
            warn!(%error, "a connection without credentials was closed");
            return Ok(());
        }
    };
    // User mode: the socket is 0600, so this is the user or root; anybody else came past the permissions.
    if shared.uid.is_some_and(|uid| uid != peer.uid) && peer.uid != 0 {
        warn!(uid = peer.uid, "a connection of another user was closed");
        return Ok(());
    }
    let seat = match seat(peer, shared) {
        Ok(seat) => seat,
        Err(crowd) => {
            turn_away(&stream, peer, shared);
            if let Some(doorstep) = shared.users.doorstep(peer.uid) {
                connections.spawn(async move {
                    doorstep.wait().await;
                    drop(stream);
                });
            }
            return Err(crowd);
        }
    };
    let stream = match UnixStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            warn!(%error, "a connection was closed: it cannot be waited for");
            return Ok(());
        }
    };
    debug!(uid = peer.uid, pid = peer.pid, "connection");
    shared.counters.connections.add(1);
    let open = Open::one(&shared.open);
    let shared = Arc::clone(shared);
    connections.spawn(async move {
        if seat.is_some() {
            wait_for_its_turn(peer, &shared).await;
        }
        connection::serve(stream, peer, seat.as_ref(), &shared).await;
        drop((open, seat));
    });
    Ok(())
}

/// Who connects in a loop is served one connection after the other, at a pace that others do not feel.
async fn wait_for_its_turn(peer: Peer, shared: &Shared) {
    let now_ms = shared.clock.now().boot_ms;
    let wait = match shared.pace.lock() {
        Ok(mut pace) => pace.wait(peer.uid, now_ms),
        Err(_) => Duration::ZERO,
    };
    if !wait.is_zero() {
        let mut phase = shared.phase.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = crate::phase::reached(&mut phase, Phase::Closing) => {}
        }
    }
}

/// This user has as many connections as it may.
struct Crowd(u32);

/// A seat among the user's own; a user's daemon has but one user, and no seats.
fn seat(peer: Peer, shared: &Shared) -> Result<Option<Seat>, Crowd> {
    if shared.uid.is_some() {
        return Ok(None);
    }
    let most = {
        let limits = &shared.settings.borrow().limits;
        Most {
            of_all: limits.max_connections,
            of_one: limits.max_connections_per_user,
        }
    };
    let seat = shared.users.seat(peer.uid, most);
    seat.map(Some).ok_or(Crowd(peer.uid))
}

/// Says why, if that can be said at once, and closes.
fn turn_away(stream: &std::os::unix::net::UnixStream, peer: Peer, shared: &Shared) {
    shared.counters.refuse(ErrorCode::RateLimited);
    debug!(uid = peer.uid, "a user has as many connections as it may");
    let most = shared.settings.borrow().limits.max_connections_per_user;
    let message = format!(
        "this user has as many connections as it may: {most}, fewer while many users are connected (limits.max_connections_per_user)"
    );
    let _ = rustix::io::write(stream, &answer::error(ErrorCode::RateLimited, &message));
}

/// Counts a connection for as long as it lives, however it ends.
#[derive(Debug)]
pub struct Open(watch::Sender<usize>);

impl Open {
    /// One more.
    #[must_use]
    pub fn one(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

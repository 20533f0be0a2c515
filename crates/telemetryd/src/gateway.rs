//! The gateway's side of the daemon: the door that its lines go through, which is the socket's own
//! ([`ingest::request`]), and when it listens. With telemetry off on the whole machine it does not (I12).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use telemetry_gateway::{Door, Limits, Lines, Listen, Listener, Peer, Refused, Settings};
use telemetry_policy::opt_out::{DO_NOT_TRACK, OptOuts};
use telemetry_policy::{Policy, Variables};
use telemetry_protocol::consent::{Claim, Fact, Layer, Verdict};
use telemetry_protocol::reason::ErrorCode;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinError;
use tracing::{debug, error, info};

use crate::config::Mode;
use crate::ingest::{self, NotTaken, Open, Shared};
use crate::phase::{Phase, reached};
use crate::socket::{self, Bound};
use crate::thread::Thread;

/// A body is at most so large, or twice the longest line. Segment's own bound for a batch is 500 KB.
const BODY: usize = 1024 * 1024;
/// The backlog of TCP: it holds who comes while all connections are taken.
const BACKLOG: u32 = 1024;

/// Where it listens, for `status` and `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It is off.
    #[default]
    Off,
    /// Here.
    Listening(String),
    /// It would, but telemetry is off for everything.
    Closed(Fact),
    /// It cannot, and why.
    Failed(String),
}

/// Open connections by user.
type Guests = Arc<Mutex<HashMap<u32, usize>>>;

/// The door.
struct Ingest {
    shared: Arc<Shared>,
    /// Connections of each user of a machine-wide daemon.
    guests: Guests,
    /// The runtime of the socket's thread.
    socket: Handle,
}

/// A connection, counted until it is dropped.
struct Guest {
    /// Whose, and among whom, in a machine-wide daemon.
    of: Option<(u32, Guests)>,
    _open: Open,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some((uid, guests)) = &self.of else { return };
        let mut guests = guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = guests.get_mut(uid) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                guests.remove(uid);
            }
        }
    }
}

impl Ingest {
    /// Counts one more of this user's; `false`: it has as many as it may (I13).
    fn counted(&self, uid: u32) -> bool {
        let most = self.shared.settings.borrow().limits.max_connections_per_user;
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let open = guests.entry(uid).or_default();
        let room = *open < most;
        if room {
            *open += 1;
        }
        room
    }

    fn policy(&self, uid: u32) -> Arc<Policy> {
        self.shared.consent.of_event(uid, self.shared.clock.now())
    }
}

impl Door for Ingest {
    type Guest = Guest;

    fn arrived(&self, uid: Option<u32>) -> Option<Guest> {
        // A user's daemon has but one user.
        let uid = uid.filter(|_| self.shared.uid.is_none());
        if uid.is_some_and(|uid| !self.counted(uid)) {
            self.shared.counters.refuse(ErrorCode::RateLimited);
            return None;
        }
        self.shared.counters.connections.add(1);
        Some(Guest {
            of: uid.map(|uid| (uid, Arc::clone(&self.guests))),
            _open: Open::one(&self.shared.open),
        })
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.shared.settings.borrow().gateway)
    }

    fn limits(&self) -> Limits {
        let limits = &self.shared.settings.borrow().limits;
        Limits {
            connections: connections(limits.max_connections),
            body: BODY.max(limits.max_event_bytes.saturating_mul(2)),
            patience: limits.answer_timeout,
            life: limits.idle_timeout,
        }
    }

    fn owner(&self) -> Option<u32> {
        self.shared.uid
    }

    fn now_ms(&self) -> u64 {
        self.shared.clock.now().boot_ms
    }

    fn variables(&self) -> BTreeSet<String> {
        let mut variables = BTreeSet::from([DO_NOT_TRACK.to_owned()]);
        if let Some(uid) = self.shared.uid {
            for registered in self.policy(uid).parts().manifests.values() {
                let named = registered.manifest.opt_outs.variables.iter();
                variables.extend(named.map(|variable| variable.name.clone()));
            }
        }
        variables
    }

    fn lists(&self, uid: u32, tool: &str, event: &str) -> bool {
        let policy = self.policy(uid);
        let events = policy
            .manifest(tool)
            .map(|registered| &registered.manifest.terms.events);
        events.is_some_and(|events| events.iter().any(|(name, _)| name == event))
    }

    async fn take(&self, peer: &Peer, lines: Lines) -> Result<(), Refused> {
        // Decided where consent is changed, so that nothing comes between the decision and the queue (I3).
        let taking = take(Arc::clone(&self.shared), peer.clone(), lines);
        let lost = |ended: JoinError| Refused {
            line: None,
            code: ErrorCode::Storage,
            message: format!("the request was not taken: {ended}"),
        };
        self.socket
            .spawn(taking)
            .await
            .unwrap_or_else(|ended| Err(lost(ended)))
    }
}

/// One request, on the socket's thread.
async fn take(shared: Arc<Shared>, peer: Peer, lines: Lines) -> Result<(), Refused> {
    let policy = shared.consent.of_event(peer.uid, shared.clock.now());
    let denied = denied(&peer, &policy, &lines.tool);
    if lines.shows_notice && denied.is_none() {
        shown(&shared, peer.uid, &lines, &policy);
    }
    let who = ingest::Peer {
        uid: peer.uid,
        pid: peer.pid,
    };
    let taken = ingest::request(&shared, who, denied, &lines.lines).await;
    taken.map_err(|NotTaken { line, code, message }| Refused { line, code, message })
}

/// The admin's word is that whatever sends with this key shows the tool's notice. A request that will be refused is
/// nobody's who does.
fn shown(shared: &Shared, uid: u32, lines: &Lines, policy: &Policy) {
    let tool = &lines.tool;
    let missing = policy.tool(tool).is_some_and(|known| known.notice_missing);
    let proper = || ingest::all_may_be_taken(policy, &shared.settings.borrow().limits, &lines.lines);
    if missing
        && proper()
        && let Err(error) = shared.consent.notice_shown(uid, tool)
    {
        debug!(tool, error, "that a notice was shown cannot be kept");
    }
}

/// What the environment of the peer's process says against this tool (CONSENT.md, layer 2). It can only deny.
fn denied(peer: &Peer, policy: &Policy, tool: &str) -> Option<Claim<'static>> {
    let none = OptOuts::default();
    let opt_outs = policy
        .manifest(tool)
        .map_or(&none, |registered| &registered.manifest.opt_outs);
    let facts = peer.environments.iter().flat_map(|environment| {
        let variables: Variables = environment.iter().map(|(name, value)| (name, value)).collect();
        variables.facts(opt_outs)
    });
    let fact = facts
        .into_iter()
        .find(|fact| fact.verdict == Some(Verdict::Deny))?;
    Some(Claim {
        layer: Layer::Environment,
        verdict: Verdict::Deny,
        source: fact.source.into(),
    })
}

/// A quarter of the descriptors that there are at most: the socket's clients always find theirs.
fn connections(most: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let quarter = limit.and_then(|limit| usize::try_from(limit / 4).ok());
    most.min(quarter.unwrap_or(most)).max(1)
}

/// Listens whenever the config says so and telemetry is not off for everything; ends when the daemon closes.
/// `reloads` tells of each reload.
pub async fn run<R>(
    shared: Arc<Shared>,
    mode: Mode,
    state: watch::Sender<State>,
    mut reloads: watch::Receiver<R>,
) {
    let mut settings = shared.settings.clone();
    let mut changes = shared.consent.changes();
    let mut phase = shared.phase.clone();
    let wanted = || {
        let listen = shared.settings.borrow().gateway.listen.clone();
        let off = (listen != Listen::Off).then(|| everything_off(&shared)).flatten();
        (listen, off)
    };
    loop {
        settings.borrow_and_update();
        reloads.borrow_and_update();
        changes.borrow_and_update();
        let now = wanted();
        let (stop, stopped) = watch::channel(false);
        let serving = serve(&now, &shared, mode, &state, stopped);
        tokio::pin!(serving);
        let mut ended = false;
        loop {
            tokio::select! {
                () = &mut serving, if !ended => ended = true,
                changed = settings.changed() => if changed.is_err() || wanted() != now { break },
                // What failed is tried again.
                changed = reloads.changed() => if changed.is_err() || ended { break },
                changed = changes.changed() => if changed.is_err() || wanted() != now { break },
                () = reached(&mut phase, Phase::Closing) => break,
            }
        }
        if !ended {
            // Its end takes a moment, in which nobody is to be told that it listens.
            state.send_replace(State::Off);
        }
        // Whoever is in the middle of a request is answered, unless nobody may be connected any more (I12).
        if !ended && wanted().1.is_none() {
            stop.send_replace(true);
            serving.await;
        }
        if *phase.borrow() >= Phase::Closing {
            return;
        }
    }
}

/// The fact that turns everything off on this machine, or in the daemon's own environment.
fn everything_off(shared: &Shared) -> Option<Fact> {
    let policy = shared.consent.of(shared.uid.unwrap_or(0));
    let parts = policy.parts();
    parts
        .machine
        .denies_everything()
        .cloned()
        .or_else(|| parts.variables.denies_everything())
}

async fn serve(
    (listen, off): &(Listen, Option<Fact>),
    shared: &Arc<Shared>,
    mode: Mode,
    state: &watch::Sender<State>,
    stopped: watch::Receiver<bool>,
) {
    if let Some(fact) = off {
        info!(source = %fact.source, "the gateway does not listen: telemetry is off");
        state.send_replace(State::Closed(fact.clone()));
        return;
    }
    if *listen == Listen::Off {
        state.send_replace(State::Off);
        return;
    }
    // Here and not on the thread: whoever was told that the daemon is ready finds it listening.
    let (listener, place, bound) = match open(listen, mode) {
        Ok(opened) => opened,
        Err(why) => {
            error!("the gateway cannot listen: {why}");
            state.send_replace(State::Failed(why));
            return;
        }
    };
    info!(listen = %place, "the gateway listens");
    state.send_replace(State::Listening(place.clone()));
    // Whoever is served there is served beside the socket's clients, not before them: what is read, unpacked and refused.
    // What is stored is decided here. It ends with this.
    let ingest = Ingest {
        shared: Arc::clone(shared),
        guests: Arc::default(),
        socket: Handle::current(),
    };
    let serving =
        async move { telemetry_gateway::serve(listener.adopted()?, Arc::new(ingest), stopped).await };
    let served = match Thread::start("gateway") {
        Ok(thread) => thread
            .spawn(serving)
            .await
            .unwrap_or_else(|ended| Err(ended.into())),
        Err(why) => Err(why),
    };
    drop(bound);
    match served {
        Ok(()) => info!(listen = %place, "the gateway no longer listens"),
        Err(why) => {
            error!(%why, "the gateway cannot serve");
            state.send_replace(State::Failed(why.to_string()));
        }
    }
}

/// A listener that no runtime has yet.
enum Opened {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Opened {
    /// By the runtime that this runs on.
    fn adopted(self) -> std::io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }
}

/// The listener, its place in words, and its file.
fn open(listen: &Listen, mode: Mode) -> Result<(Opened, String, Option<Bound>), String> {
    match listen {
        Listen::Off => Err("it is off".to_owned()),
        Listen::Tcp(address) => {
            let listener = (|| {
                let socket = if address.is_ipv4() {
                    TcpSocket::new_v4()
                } else {
                    TcpSocket::new_v6()
                }?;
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                let listener = socket.listen(BACKLOG)?;
                Ok((listener.local_addr()?.to_string(), listener.into_std()?))
            })();
            let failed = |error: std::io::Error| format!("{address}: {error}");
            let (place, listener) = listener.map_err(failed)?;
            Ok((Opened::Tcp(listener), place, None))
        }
        Listen::Unix(path) => {
            let (file, directory) = match mode {
                Mode::User => (0o600, 0o700),
                Mode::System => (0o666, 0o755),
            };
            let (listener, bound) = socket::bind(path, file, directory).map_err(|error| error.to_string())?;
            Ok((Opened::Unix(listener), path.display().to_string(), Some(bound)))
        }
    }
}

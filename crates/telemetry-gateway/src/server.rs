//! The server: accepts within a bound, serves each connection within a bound of time, and ends when it is told to.
//!
//! Nobody who is connected and says nothing costs more than a descriptor and a timer, and with nobody connected there
//! is no timer (I11). What becomes of a request is said in `request.rs`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;
use tower_service::Service;

use crate::answer::Refusal;
use crate::body::Room;
use crate::check;
use crate::door::{Door, Peer};
use crate::pace::Pace;
use crate::peers::Peers;
use crate::request::router;

/// After a failed accept (no descriptors left) the next try waits so long, or until somebody leaves.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// Bytes of a request's head, and of what is read ahead of a body. A vendor's SDK sends some hundred.
const HEAD: usize = 16 * 1024;
/// Header lines of a request.
const HEADERS: usize = 64;

/// What is listened on.
#[derive(Debug)]
pub enum Listener {
    /// An address of loopback.
    Tcp(TcpListener),
    /// A Unix socket, which has credentials.
    Unix(UnixListener),
}

/// Serves until `stop` says so (or its sender is gone); then who is connected is answered what was asked, and let go.
///
/// # Errors
/// When it cannot start.
///
/// # Cancel safety
/// Dropped, the listener and all connections are closed, at once.
pub async fn serve<D: Door>(
    listener: Listener,
    door: Arc<D>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let (about, clock) = (Arc::clone(&door), Arc::clone(&door));
    let gateway = Arc::new(Gateway {
        peers: Peers::start(door.owner(), move || about.variables())?,
        room: Room::new(door.limits().body),
        pace: Pace::new(move || clock.now_ms()),
        port: match &listener {
            Listener::Tcp(listener) => Some(listener.local_addr()?.port()),
            Listener::Unix(_) => None,
        },
        door,
    });
    let router = router::<D>();
    let mut connections = JoinSet::new();
    let mut troubled = false;
    loop {
        let room = connections.len() < gateway.door.limits().connections;
        tokio::select! {
            accepted = accept(&listener), if room => match accepted {
                Ok((stream, about)) => {
                    troubled = false;
                    let uid = match about {
                        About::Tcp { .. } => None,
                        About::Unix { uid, .. } => Some(uid),
                    };
                    if let Some(guest) = gateway.door.arrived(uid) {
                        let connection = Connection::new(&gateway, about);
                        let served = connection.serve(stream, router.clone(), stop.clone());
                        connections.spawn(async move {
                            served.await;
                            drop(guest);
                        });
                    }
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    if !troubled {
                        tracing::warn!(%error, open = connections.len(), "the gateway cannot accept a connection; trying again");
                        troubled = true;
                    }
                    let _ = tokio::time::timeout(ACCEPT_AGAIN, connections.join_next()).await;
                }
            },
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a connection of the gateway ended on a defect");
            },
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // No sender any more is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A connection as the two kinds of sockets have it.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What a socket tells of its other end.
#[derive(Debug)]
enum About {
    Tcp { peer: SocketAddr, ours: SocketAddr },
    Unix { uid: u32, pid: Option<i32> },
}

async fn accept(listener: &Listener) -> std::io::Result<(Box<dyn Stream>, About)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            let ours = stream.local_addr()?;
            let _ = stream.set_nodelay(true);
            Ok((Box::new(stream), About::Tcp { peer, ours }))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let cred = stream.peer_cred()?;
            let (uid, pid) = (cred.uid(), cred.pid());
            Ok((Box::new(stream), About::Unix { uid, pid }))
        }
    }
}

/// What all connections share.
pub(crate) struct Gateway<D> {
    pub(crate) door: Arc<D>,
    pub(crate) room: Room,
    pub(crate) pace: Pace,
    peers: Peers,
    /// The port that is listened on.
    port: Option<u16>,
}

/// One connection.
pub(crate) struct Connection<D> {
    pub(crate) gateway: Arc<Gateway<D>>,
    about: About,
    /// Looked up for the first request that is worth it.
    peer: OnceCell<Option<Arc<Peer>>>,
}

impl<D: Door> Connection<D> {
    fn new(gateway: &Arc<Gateway<D>>, about: About) -> Arc<Self> {
        Arc::new(Self {
            gateway: Arc::clone(gateway),
            about,
            peer: OnceCell::new(),
        })
    }

    async fn serve(
        self: Arc<Self>,
        stream: Box<dyn Stream>,
        router: Router,
        mut stop: watch::Receiver<bool>,
    ) {
        let limits = self.gateway.door.limits();
        let service = service_fn(|request| {
            let (connection, router) = (Arc::clone(&self), router.clone());
            async move { Ok::<_, Infallible>(connection.answer(request, router).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.patience)
            .max_buf_size(HEAD)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(served);
        let over = tokio::select! {
            _ = &mut served => false,
            () = stopped(&mut stop) => true,
            () = tokio::time::sleep(limits.life) => true,
        };
        if over {
            // What was asked is answered; nothing more is.
            served.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(limits.patience, served).await;
        }
    }

    /// One request, from its head to its answer. A refusal comes when it is due.
    async fn answer(self: Arc<Self>, request: http::Request<Incoming>, router: Router) -> Response {
        let gateway = Arc::clone(&self.gateway);
        let response = self.judge(request, router).await;
        if !response.status().is_success() {
            gateway.pace.refused().await;
        }
        response
    }

    async fn judge(self: Arc<Self>, mut request: http::Request<Incoming>, mut router: Router) -> Response {
        let settings = self.gateway.door.settings();
        if let Err(refusal) = check::head(request.uri(), request.headers(), &settings, self.gateway.port) {
            return refusal.closing().response();
        }
        request.extensions_mut().insert(self);
        match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Who sends.
    ///
    /// # Errors
    /// Somebody whose requests are not taken here, or nobody that can be told.
    pub(crate) async fn peer(&self) -> Result<Arc<Peer>, Refusal> {
        let (peers, owner) = (&self.gateway.peers, self.gateway.door.owner());
        let find = || async {
            let found = match self.about {
                About::Tcp { peer, ours } => peers.find(Some((peer, ours)), None, true).await,
                // A user's own daemon reads its own processes; a machine-wide one nobody's.
                About::Unix { uid, pid } => peers.find(None, Some((uid, pid)), owner.is_some()).await,
            };
            found.map(Arc::new)
        };
        let Some(peer) = self.peer.get_or_init(find).await.clone() else {
            let untold = "whose request this is cannot be told; nothing was stored";
            return Err(Refusal::forbidden(untold).closing());
        };
        // The permissions of a Unix socket let in its user alone, and root.
        let root = matches!(self.about, About::Unix { .. }) && peer.uid == 0;
        if owner.is_some_and(|owner| owner != peer.uid) && !root {
            return Err(Refusal::forbidden("another user's daemon listens here").closing());
        }
        Ok(peer)
    }
}

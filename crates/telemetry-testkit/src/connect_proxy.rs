//! An HTTP proxy as a company has one: it opens tunnels (CONNECT) for who has its password, resolves names for
//! its clients, and can be told to misbehave.
//!
//! Every tunnel leads to the one address that the test gave, whatever the name: so a test can use a name that no
//! name server knows, and see that the daemon asked none.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use telemetry_sink::Tls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::eventually::DEADLINE;
use crate::port::Port;

/// What the proxy does with a client that asks for a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Manners {
    /// Opens it.
    #[default]
    Open,
    /// Opens it for who sends these Basic credentials (as they stand in the header), and answers 407 to others.
    OpenFor(String),
    /// Answers this, as it is, and closes.
    Answer(String),
    /// Reads the question and says nothing.
    Stall,
    /// Says nothing at all, not even TLS.
    Mute,
}

/// What was asked of it, and what it does.
#[derive(Debug, Default)]
struct Shared {
    manners: Mutex<Manners>,
    asked: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Clone, Debug, Default)]
struct Asked {
    connections: usize,
    heads: Vec<String>,
    closed: usize,
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked());
        self.changed.notify_all();
    }
}

/// A proxy in a thread of its own. Dropping it closes everything.
#[derive(Debug)]
pub struct ConnectProxy {
    port: Port,
    shared: Arc<Shared>,
    scheme: &'static str,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ConnectProxy {
    /// On a free port of 127.0.0.1; every tunnel leads to `to`.
    ///
    /// # Panics
    /// When there is no port or no thread.
    #[must_use]
    pub fn start(to: SocketAddr, manners: Manners) -> Self {
        Self::with(to, manners, None)
    }

    /// The same, reached by TLS.
    ///
    /// # Panics
    /// When there is no port or no thread.
    #[must_use]
    pub fn start_tls(to: SocketAddr, manners: Manners, tls: &Tls) -> Self {
        Self::with(to, manners, Some(tls))
    }

    fn with(to: SocketAddr, manners: Manners, tls: Option<&Tls>) -> Self {
        let port = Port::reserve();
        let shared = Arc::new(Shared {
            manners: Mutex::new(manners),
            ..Shared::default()
        });
        let (end, ended) = oneshot::channel();
        let (sharing, tls) = (Arc::clone(&shared), tls.cloned());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let thread = port.serve("testkit-connect", move |listener| async move {
            tokio::select! {
                _ = ended => {}
                () = accept(listener, to, tls, sharing) => {}
            }
        });
        Self {
            port,
            shared,
            scheme,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL, as `proxy` and `HTTPS_PROXY` take it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address())
    }

    /// The same with `user:password`.
    #[must_use]
    pub fn url_for(&self, user: &str) -> String {
        format!("{}://{user}@{}", self.scheme, self.address())
    }

    /// Behaves so from now on; tunnels that are open stay.
    pub fn behave(&self, manners: Manners) {
        *self.shared.manners.lock().unwrap_or_else(PoisonError::into_inner) = manners;
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.asked().connections
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        let asked = self.shared.asked();
        asked.connections - asked.closed
    }

    /// Heads of the requests so far, as they came.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.shared.asked().heads.clone()
    }

    /// Waits until so many heads have come.
    ///
    /// # Panics
    /// When they have not within [`DEADLINE`].
    #[track_caller]
    pub fn wait_for_heads(&self, count: usize) {
        self.wait(&format!("{count} requests come to the proxy"), |asked| {
            asked.heads.len() >= count
        });
    }

    #[track_caller]
    fn wait(&self, what: &str, done: impl Fn(&Asked) -> bool) {
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.asked(), DEADLINE, |asked| !done(asked))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.1.timed_out(),
            "after {DEADLINE:?} still not: {what}; {:?}",
            waited.0
        );
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, tls: Option<Tls>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Ok((client, _)) = listener.accept() => {
                shared.change(|asked| asked.connections += 1);
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                connections.spawn(async move {
                    connection(client, to, tls, &shared).await;
                    shared.change(|asked| asked.closed += 1);
                });
            }
        }
    }
}

async fn connection(mut client: TcpStream, to: SocketAddr, tls: Option<Tls>, shared: &Shared) {
    let manners = shared
        .manners
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if manners == Manners::Mute {
        to_its_end(&mut client).await;
        return;
    }
    match tls {
        None => serve(client, to, manners, shared).await,
        // A client that does not like the certificate goes away.
        Some(tls) => {
            if let Ok(client) = tls.acceptor().accept(client).await {
                serve(client, to, manners, shared).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    to: SocketAddr,
    manners: Manners,
    shared: &Shared,
) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        // One by one, for what follows is the tunnel's.
        match client.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    shared.change(|asked| asked.heads.push(head.clone()));
    let answer = match &manners {
        Manners::Stall | Manners::Mute => {
            to_its_end(&mut client).await;
            return;
        }
        Manners::Answer(answer) => answer.as_str(),
        Manners::OpenFor(wanted) if !authorized(&head, wanted) => {
            "HTTP/1.1 407 Proxy Authentication Required\r\n\
             Proxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n"
        }
        Manners::Open | Manners::OpenFor(_) => match TcpStream::connect(to).await {
            Err(_) => "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            Ok(mut server) => {
                let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
                if client.write_all(established).await.is_ok() {
                    // How a tunnel ends is for its two ends to notice.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
                return;
            }
        },
    };
    let _ = client.write_all(answer.as_bytes()).await;
    let _ = client.shutdown().await;
}

fn authorized(head: &str, wanted: &str) -> bool {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .any(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value == format!("Basic {wanted}")
        })
}

async fn to_its_end(client: &mut (impl AsyncRead + Unpin)) {
    let mut sink = [0; 1024];
    while matches!(client.read(&mut sink).await, Ok(1..)) {}
}

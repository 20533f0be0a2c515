//! A wire between two ends that fails on order: it stalls, breaks, slows down, or swallows everything.
//!
//! It forwards bytes and knows nothing of HTTP or TLS. A fault holds for the connections that are there and
//! for new ones, until the next is set.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::port::Port;

/// What the wire does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Forwards.
    #[default]
    None,
    /// Accepts and forwards nothing in either direction, until another fault is set; then what waited goes on.
    Stall,
    /// Accepts, reads everything, and forwards nothing: what was read is gone.
    Swallow,
    /// Does not accept: connections are made by the system, and nobody is there.
    NeverAccept,
    /// Accepts and resets at once.
    ResetOnAccept,
    /// Lets so many bytes of a connection through to the server; closes it when one more comes.
    CutRequest(u64),
    /// Lets so many bytes of a connection through to the server; resets it when one more comes.
    ResetRequest(u64),
    /// Lets so many bytes of a connection back; closes it when one more comes.
    CutAnswer(u64),
    /// Lets so many bytes of a connection back; resets it when one more comes.
    ResetAnswer(u64),
    /// No more than this in each direction, in bytes a second.
    Slow(u64),
}

/// How often a second a slow wire moves something.
const SLICES: u32 = 20;

/// Bytes moved at once.
const PIECE: usize = 16 * 1024;

/// A wire in a thread of its own. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    fault: Option<watch::Sender<Fault>>,
    connections: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// From a free port of 127.0.0.1 to `server`.
    ///
    /// # Panics
    /// When there is no port or no thread.
    #[must_use]
    pub fn start(server: SocketAddr, fault: Fault) -> Self {
        let port = Port::reserve();
        let (sender, receiver) = watch::channel(fault);
        let connections = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&connections);
        let thread = port.serve("testkit-proxy", move |listener| async move {
            accept(listener, server, receiver, &counter).await;
        });
        Self {
            port,
            fault: Some(sender),
            connections,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of an endpoint behind it, plain HTTP.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1/events", self.address())
    }

    /// How many connections it accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Does something else from now on.
    pub fn set(&self, fault: Fault) {
        if let Some(sender) = &self.fault {
            sender.send_replace(fault);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.fault.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

/// Accepts until the proxy is dropped.
async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    mut fault: watch::Receiver<Fault>,
    count: &AtomicU64,
) {
    let mut connections = JoinSet::new();
    loop {
        let now = *fault.borrow_and_update();
        tokio::select! {
            biased; // a fault that was set holds for what comes after
            changed = fault.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(_) = connections.join_next() => {}
            Ok((client, _)) = listener.accept(), if now != Fault::NeverAccept => {
                count.fetch_add(1, Ordering::Relaxed);
                if now == Fault::ResetOnAccept {
                    let _ = client.set_zero_linger();
                } else {
                    connections.spawn(connection(client, server, fault.clone()));
                }
            }
        }
    }
}

/// How a connection ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Close,
    Reset,
}

async fn connection(mut client: TcpStream, server: SocketAddr, fault: watch::Receiver<Fault>) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        // As a router in between would: the client learns that there is nobody.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let end = both_ways(&mut client, &mut server, fault).await;
    if end == Some(End::Reset) {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// Forwards until both sides have ended, or one direction ends on order.
async fn both_ways(
    client: &mut TcpStream,
    server: &mut TcpStream,
    fault: watch::Receiver<Fault>,
) -> Option<End> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let there = pump(from_client, to_server, fault.clone(), |fault| match fault {
        Fault::CutRequest(bytes) => Some((bytes, End::Close)),
        Fault::ResetRequest(bytes) => Some((bytes, End::Reset)),
        _ => None,
    });
    let back = pump(from_server, to_client, fault, |fault| match fault {
        Fault::CutAnswer(bytes) => Some((bytes, End::Close)),
        Fault::ResetAnswer(bytes) => Some((bytes, End::Reset)),
        _ => None,
    });
    tokio::pin!(there, back);
    tokio::select! {
        end = &mut there => match end {
            Some(end) => Some(end),
            None => back.await,
        },
        end = &mut back => match end {
            Some(end) => Some(end),
            None => there.await,
        },
    }
}

/// Forwards one direction to its end: `None` when the sender closed, an end failed, or the proxy is gone.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut fault: watch::Receiver<Fault>,
    limit: impl Fn(Fault) -> Option<(u64, End)>,
) -> Option<End> {
    let mut moved = 0u64;
    let mut piece = vec![0; PIECE];
    loop {
        let now = *fault.borrow_and_update();
        let mut room = PIECE as u64;
        if let Some((bytes, _)) = limit(now) {
            room = room.min(bytes.saturating_sub(moved));
        }
        if let Fault::Slow(a_second) = now {
            room = room.min(a_second.div_ceil(u64::from(SLICES)));
            tokio::time::sleep(Duration::from_secs(1) / SLICES).await;
        }
        if now == Fault::Stall {
            if fault.changed().await.is_err() {
                return None;
            }
            continue;
        }
        let room = usize::try_from(room.max(1)).unwrap_or(PIECE);
        tokio::select! {
            biased; // a fault that was set holds for what comes after
            changed = fault.changed() => {
                if changed.is_err() {
                    return None;
                }
            }
            read = from.read(&mut piece[..room]) => match read {
                Ok(0) => {
                    let _ = to.shutdown().await;
                    return None;
                }
                Err(_) => return None,
                Ok(_) if now == Fault::Swallow => {}
                Ok(length) => {
                    if let Some((_, end)) = limit(now).filter(|(bytes, _)| moved >= *bytes) {
                        return Some(end);
                    }
                    moved += length as u64;
                    if to.write_all(&piece[..length]).await.is_err() {
                        return None;
                    }
                }
            },
        }
    }
}

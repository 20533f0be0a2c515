//! A server that follows a script, and what tests say to it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use telemetry_delivery::{
    Auth, Batch, BatchLimits, Compression, Confirm, Destination, Encoding, Event, Gate, Losses, Proxy, Retry,
    Tls,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// What a server saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicU32,
    /// Connections that the client closed.
    pub(crate) closed: AtomicU32,
    pub(crate) requests: Mutex<Vec<Request>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The head as it came.
    pub(crate) head: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let (_, value) = found.next()?;
        assert!(found.next().is_none(), "{name} is there twice");
        Some(value)
    }
}

/// A listening server; its tasks end with it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// One accepted connection.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
    pub(crate) seen: Arc<Seen>,
    /// Counted from 1.
    pub(crate) number: u32,
}

impl Server {
    /// Does `script` for each connection.
    pub(crate) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let witness = Arc::clone(&seen);
        let listening = tokio::spawn(async move {
            let mut peers = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = witness.connections.fetch_add(1, Ordering::SeqCst) + 1;
                peers.spawn(script(Peer {
                    stream,
                    seen: Arc::clone(&witness),
                    number,
                }));
            }
        });
        Self {
            address,
            seen,
            listening,
        }
    }

    /// Answers each request with these bytes.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut peer| {
            let answer = Arc::clone(&answer);
            async move {
                while peer.request().await.is_some() {
                    peer.say(&answer).await;
                }
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/events", self.address)
    }

    pub(crate) fn connections(&self) -> u32 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub(crate) async fn until_closed(&self, connections: u32) {
        until(|| self.seen.closed.load(Ordering::SeqCst) >= connections).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads one request; `None` if the connection ended before its first byte.
    pub(crate) async fn request(&mut self) -> Option<Request> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if matches!(self.stream.read_buf(&mut bytes).await, Err(_) | Ok(0)) {
                self.seen.closed.fetch_add(1, Ordering::SeqCst);
                assert!(bytes.is_empty(), "the client gave up within a head");
                return None;
            }
        };
        let body = bytes.split_off(end);
        let head = String::from_utf8(bytes).unwrap();
        let mut lines = head.lines();
        let line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut request = Request {
            line,
            headers,
            body,
            head: head.clone(),
        };
        let length: usize = request.header("content-length").unwrap().parse().unwrap();
        while request.body.len() < length {
            assert!(
                self.stream.read_buf(&mut request.body).await.unwrap() > 0,
                "the body ends early"
            );
        }
        assert_eq!(request.body.len(), length, "nothing comes after the body");
        self.seen.requests.lock().unwrap().push(request.clone());
        Some(request)
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        // The client may have heard enough.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// How many bytes come before the client closes.
    pub(crate) async fn rest_until_closed(&mut self) -> usize {
        let mut bytes = Vec::new();
        while matches!(self.stream.read_buf(&mut bytes).await, Ok(1..)) {}
        self.seen.closed.fetch_add(1, Ordering::SeqCst);
        bytes.len()
    }
}

/// Waits for a condition, at most 10 s.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("the condition comes true in 10 s");
}

/// 200 with a body of two bytes.
pub(crate) const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

pub(crate) fn destination(url: impl Into<String>) -> Destination {
    Destination {
        name: "default".into(),
        url: url.into(),
        encoding: Encoding::Json,
        headers: Vec::new(),
        auth: Auth::None,
        compression: Compression::None,
        timeout: Duration::from_secs(10),
        batch: BatchLimits {
            max_events: 500,
            max_bytes: 256 * 1024,
            max_wait: Duration::from_secs(60),
        },
        retry: Retry {
            initial: Duration::from_secs(5),
            max: Duration::from_secs(1800),
            spread: Duration::from_secs(120),
        },
        confirm: Confirm::Status,
        tls: Tls::default(),
        proxy: Proxy::None,
        allow_insecure: false,
    }
}

/// What no report, log line or `Debug` may show: it stands in each event.
pub(crate) const CONTENT: &str = "pipeline-of-alice";

pub(crate) const BATCH: Uuid = Uuid::from_u128(0x019a_a6c2_0000_7000_8000_0000_0000_0001);

pub(crate) fn batch() -> Batch<'static> {
    Batch {
        id: BATCH,
        sent_at_ms: 1_795_255_205_120,
        losses: Losses::default(),
        events: vec![Event {
            id: Uuid::from_u128(0x019a_a6c2_0000_7000_8000_0000_0000_00e1),
            tool: "kedro",
            payload: br#"{"event":"CLI command","properties":{"command":"pipeline-of-alice"}}"#,
            age_ms: 7119,
            map: None,
        }],
    }
}

/// A gate that is always open.
pub(crate) struct Open;

impl Gate for Open {
    fn open(&self) -> bool {
        true
    }
}

/// A gate that can be shut, and counts how often it is asked.
#[derive(Default)]
pub(crate) struct Latch {
    pub(crate) shut: AtomicBool,
    pub(crate) asked: AtomicU32,
}

impl Gate for Latch {
    fn open(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        !self.shut.load(Ordering::SeqCst)
    }
}

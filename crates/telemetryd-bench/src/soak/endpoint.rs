//! An endpoint that behaves as it is told to, in threads of its own: takes, refuses, hangs, resets, loses its answer.
//! Remembers when it got each event first, and in which batch.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde_json::Value;
use uuid::Uuid;

use crate::clock;

/// How it treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Manner {
    /// Takes them; 422 for a batch with an event that says it is bad.
    Good,
    /// 503.
    Down,
    /// 429, `Retry-After: 1`.
    Busy,
    /// 413 for more than four hundred events: what is learned of it stays for a day.
    Small,
    /// Takes the request, and resets the connection.
    Reset,
    /// Takes the events, and closes without an answer.
    Lost,
    /// Does not answer until it is told something else.
    Hang,
}

impl Manner {
    /// All that are bad.
    pub(super) const BAD: [Self; 6] = [
        Self::Down,
        Self::Busy,
        Self::Small,
        Self::Reset,
        Self::Lost,
        Self::Hang,
    ];

    fn of(number: u8) -> Self {
        let bad = Self::BAD.into_iter();
        bad.chain([Self::Good])
            .find(|manner| *manner as u8 == number)
            .unwrap_or(Self::Good)
    }
}

/// An event that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Milliseconds since the start, when it came first.
    pub(super) first_ms: u64,
    batch: u128,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By id.
    pub(super) events: HashMap<u128, Arrival>,
    /// Events that came again in another batch than the first time.
    pub(super) in_two_batches: u64,
}

#[derive(Debug)]
struct Shared {
    begun: Instant,
    manner: AtomicU8,
    requests: AtomicU64,
    seen: Mutex<Seen>,
}

/// The endpoint.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Endpoint {
    /// One that takes everything.
    ///
    /// # Errors
    /// When there is no port.
    pub(super) fn new(begun: Instant) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot bind a port of the loopback")?;
        let shared = Arc::new(Shared {
            begun,
            manner: AtomicU8::new(Manner::Good as u8),
            requests: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        let endpoint = Self {
            shared,
            address: listener.local_addr()?,
        };
        let serving = endpoint.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.connection(stream));
            }
        });
        Ok(endpoint)
    }

    /// What the daemon is told.
    pub(super) fn url(&self) -> String {
        format!("http://{}/v1/events", self.address)
    }

    /// From now on.
    pub(super) fn behave(&self, manner: Manner) {
        self.shared.manner.store(manner as u8, Ordering::Relaxed);
    }

    fn manner(&self) -> Manner {
        Manner::of(self.shared.manner.load(Ordering::Relaxed))
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some((batch, events)) = request(&mut stream, &mut buffer) {
            self.shared.requests.fetch_add(1, Ordering::Relaxed);
            let bad = events.iter().any(|(_, bad)| *bad);
            let manner = self.manner();
            let (status, more) = match manner {
                Manner::Down => (503, ""),
                Manner::Busy => (429, "retry-after: 1\r\n"),
                Manner::Small if events.len() > 400 => (413, ""),
                Manner::Good | Manner::Small if bad => (422, ""),
                Manner::Reset => return,
                Manner::Hang => {
                    clock::until(Duration::from_secs(60), Duration::from_millis(20), || {
                        (self.manner() != Manner::Hang).then_some(())
                    });
                    return;
                }
                Manner::Good | Manner::Small | Manner::Lost => (200, ""),
            };
            if status == 200 {
                self.take(batch, &events);
            }
            if manner == Manner::Lost {
                return;
            }
            let answer = format!(
                "HTTP/1.1 {status} So\r\ncontent-type: application/json\r\n{more}content-length: 2\r\n\r\n{{}}"
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn take(&self, batch: u128, events: &[(u128, bool)]) {
        let now_ms = u64::try_from(self.shared.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut seen = self.seen();
        for (id, _) in events {
            let arrival = Arrival {
                first_ms: now_ms,
                batch,
            };
            let known = *seen.events.entry(*id).or_insert(arrival);
            seen.in_two_batches += u64::from(known.batch != batch);
        }
    }
}

/// The next request: its batch, and each event with whether it is bad.
fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(u128, Vec<(u128, bool)>)> {
    let mut piece = [0; 64 * 1024];
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
            let length: usize = field("content-length:")?.trim().parse().ok()?;
            let from = end + 4;
            if buffer.len() >= from + length {
                let body = buffer.get(from..from + length)?;
                let body: Value = match field("content-encoding:") {
                    Some(_) => serde_json::from_reader(GzDecoder::new(body)).ok()?,
                    None => serde_json::from_slice(body).ok()?,
                };
                let id = |value: &Value| Some(Uuid::try_parse(value.as_str()?).ok()?.as_u128());
                let batch = id(&body["batch_id"])?;
                let events = body["events"].as_array()?.iter();
                let events =
                    events.filter_map(|event| Some((id(&event["id"])?, event["properties"]["bad"] == true)));
                let events = events.collect();
                buffer.drain(..from + length);
                return Some((batch, events));
            }
        }
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => buffer.extend_from_slice(&piece[..read]),
            _ => return None,
        }
    }
}

//! The other side: an endpoint in the same runtime, so that nothing happens beside the clock that is moved by hand.
//! Each destination has a path of its own, and misbehaves as it was told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use telemetryd::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::known::{Known, Said};
use crate::laptop::Laptop;

/// How it treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// 200.
    Good,
    /// This status, with a `Retry-After` of so many seconds if there is one.
    Status(u16, Option<u32>),
    /// 422 for a batch that holds an event whose number can be divided by this.
    Poison(u64),
    /// 413 for more than so many events.
    Small(usize),
    /// Takes the request and resets the connection.
    Reset,
    /// Closes the connection before it reads anything.
    Shut,
    /// Never answers.
    Hang,
    /// Answers well after so many seconds.
    Slow(u64),
    /// Takes the events, and the answer is lost on its way.
    Lost,
    /// A web page.
    Portal,
}

/// What is seen of it from outside.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How it treats each destination.
    pub(crate) manners: [Option<Manner>; 2],
    /// Connections opened, requests read, answers written, connections closed: grows while anything happens.
    pub(crate) stirred: u64,
    /// Requests that wait by intent: it hangs, or is slow.
    pub(crate) held: usize,
    /// Connections that are open.
    pub(crate) open: usize,
    /// Requests so far.
    pub(crate) requests: u64,
}

/// The endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) seen: Arc<Mutex<Seen>>,
    known: Arc<Mutex<Known>>,
    laptop: Arc<Laptop>,
}

/// One request, as far as it matters.
struct Request {
    destination: usize,
    batch: Uuid,
    events: Vec<Uuid>,
}

pub(crate) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Endpoint {
    pub(crate) fn new(known: Arc<Mutex<Known>>, laptop: Arc<Laptop>) -> Self {
        let seen = Seen {
            manners: [Some(Manner::Good); 2],
            ..Seen::default()
        };
        Self {
            seen: Arc::new(Mutex::new(seen)),
            known,
            laptop,
        }
    }

    /// Accepts for ever.
    pub(crate) async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let endpoint = self.clone();
            tokio::spawn(async move {
                endpoint.stir(|seen| seen.open += 1);
                endpoint.connection(stream).await;
                endpoint.stir(|seen| seen.open -= 1);
            });
        }
    }

    pub(crate) fn stir<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = lock(&self.seen);
        seen.stirred += 1;
        with(&mut seen)
    }

    async fn connection(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(request) = next(&mut stream, &mut buffer).await {
            if self.answer(&mut stream, &request).await.is_none() {
                return;
            }
        }
    }

    /// `None`: the connection is over.
    async fn answer(&self, stream: &mut TcpStream, request: &Request) -> Option<()> {
        let manner = self.stir(|seen| {
            seen.requests += 1;
            seen.manners[request.destination].unwrap_or(Manner::Good)
        });
        let now = self.laptop.now();
        let boot = self.laptop.boot_number();
        let poisoned = {
            let mut known = lock(&self.known);
            known.arrived(request.destination, request.batch, &request.events, now, boot);
            let poison = match manner {
                Manner::Poison(n) => n,
                _ => u64::MAX,
            };
            known.any_divisible(&request.events, poison)
        };
        let said = match manner {
            Manner::Good | Manner::Slow(_) => Said::Taken,
            Manner::Poison(_) if poisoned => Said::Status(422, None),
            Manner::Small(most) if request.events.len() > most => Said::Status(413, None),
            Manner::Poison(_) | Manner::Small(_) => Said::Taken,
            Manner::Status(status, retry_after) => Said::Status(status, retry_after),
            Manner::Portal => Said::Status(200, None),
            Manner::Lost => Said::TakenUnheard,
            Manner::Reset | Manner::Hang | Manner::Shut => Said::Nothing,
        };
        match manner {
            Manner::Hang => {
                self.held(stream, None).await;
                return None;
            }
            Manner::Slow(seconds) => {
                if !self.held(stream, Some(Duration::from_secs(seconds))).await {
                    return None;
                }
                // It may have given up just now: what was taken is taken.
                lock(&self.known).answered(&request.events, request.destination, Said::TakenUnheard, now);
                return self.write(stream, 200, None, "application/json", "{}").await;
            }
            _ => lock(&self.known).answered(&request.events, request.destination, said, now),
        }
        match (manner, said) {
            (Manner::Portal, _) => {
                self.write(stream, 200, None, "text/html", "<html>sign in</html>")
                    .await
            }
            (_, Said::Taken) => self.write(stream, 200, None, "application/json", "{}").await,
            (_, Said::Status(status, retry_after)) => {
                self.write(stream, status, retry_after, "text/plain", "no").await
            }
            _ => {
                let _ = stream.set_zero_linger();
                None
            }
        }
    }

    /// Waits so long, or for ever; `false`: the client went away.
    async fn held(&self, stream: &mut TcpStream, wait: Option<Duration>) -> bool {
        self.stir(|seen| seen.held += 1);
        let over = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let mut byte = [0];
        let waited = tokio::select! {
            biased;
            _ = stream.read(&mut byte) => false,
            () = over => true,
        };
        self.stir(|seen| seen.held -= 1);
        waited
    }

    async fn write(
        &self,
        stream: &mut TcpStream,
        status: u16,
        retry_after: Option<u32>,
        kind: &str,
        body: &str,
    ) -> Option<()> {
        let retry_after = retry_after.map_or(String::new(), |s| format!("retry-after: {s}\r\n"));
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} So\r\ncontent-type: {kind}\r\n{retry_after}content-length: {length}\r\n\r\n{body}"
        );
        let written = stream.write_all(answer.as_bytes()).await;
        self.stir(|_| ());
        written.ok()
    }
}

/// The next request of a connection.
async fn next(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let field = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim().to_owned())
            };
            let length: usize = field("content-length:")?.parse().ok()?;
            if buffer.len() >= end + 4 + length {
                let body: Value = serde_json::from_slice(&buffer[end + 4..end + 4 + length]).ok()?;
                let destination = usize::from(head.starts_with("post /b "));
                let id = |value: &Value| value.as_str().and_then(|id| Uuid::try_parse(id).ok());
                let batch = id(&body["batch_id"])?;
                assert_eq!(field("idempotency-key:"), Some(batch.to_string()));
                let events = body["events"].as_array()?;
                let events = events.iter().filter_map(|event| id(&event["id"])).collect();
                buffer.drain(..end + 4 + length);
                return Some(Request {
                    destination,
                    batch,
                    events,
                });
            }
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

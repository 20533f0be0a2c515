//! The server: accepts within a bound, reads a request within a bound, decodes, asks the script, books, and
//! answers (I6). Everything that one request needs is here in order; what a sink is made of is in `sink`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::answer::{AnswerBody, Saying};
use crate::clock;
use crate::decode::{self, Head, Undecodable, decode};
use crate::memory::Keep;
use crate::received::{Answer, Content, Received};
use crate::script::{self, Action, Deduplicate, Facts, Play};
use crate::sink::State;
use crate::wire::{Fault, Stream, Switch, Wire};

/// The most bytes of a request's body that are read: 64 MiB, as they come.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// The most connections at once; further ones wait in the backlog.
pub const MAX_CONNECTIONS: usize = 1024;

/// How long a TLS handshake or a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until it is dropped; then every connection ends with it.
///
/// # Cancel safety
/// Dropping it closes the listener and all connections, at once.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return; // never closed
        };
        let accepted = loop {
            tokio::select! {
                accepted = listener.accept() => break accepted,
                Some(_) = connections.join_next() => {}
            }
        };
        match accepted {
            Ok((tcp, _)) => {
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    connection(tcp, state).await;
                    drop(permit);
                });
            }
            // Out of file descriptors, or a peer that left: others may come.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(tcp: TcpStream, state: Arc<State>) {
    let _ = tcp.set_nodelay(true);
    let stream = match &state.tls {
        None => Stream::Plain(tcp),
        Some(tls) => match tokio::time::timeout(HEAD_TIMEOUT, tls.acceptor().accept(tcp)).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
            Ok(Err(_)) | Err(_) => return,
        },
    };
    let wire = Wire::new(stream);
    let switch = wire.switch();
    let service = service_fn(move |request| {
        let (state, switch) = (Arc::clone(&state), switch.clone());
        async move { answer(request, &state, &switch).await.ok_or(Silent) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(true);
    server.http2().timer(TokioTimer::new());
    // How a connection ends is the client's to notice.
    let _ = server.serve_connection(TokioIo::new(wire), service).await;
}

/// The script wants no answer: hyper drops the connection.
#[derive(Debug, Error)]
#[error("the script wants no answer")]
struct Silent;

/// One request, from its head to its answer; `None` where the script wants none.
async fn answer(request: Request<Incoming>, state: &State, switch: &Switch) -> Option<Response<AnswerBody>> {
    let (parts, body) = request.into_parts();
    if parts.version < Version::HTTP_2 {
        // A fault that an answer on this connection was too short for is over.
        switch.set(Fault::None);
    }
    let (number, elapsed) = state.next_request();
    let mut received = Received {
        number,
        at: clock::wall(),
        method: parts.method.to_string(),
        path: parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        version: format!("{:?}", parts.version),
        headers: headers(&parts),
        wire_bytes: 0,
        body: Bytes::new(),
        body_bytes: 0,
        content: Err(Undecodable::BrokeOff { bytes: 0 }),
        answer: Answer::default(),
    };
    let early = state.player().early(&facts(&received, elapsed, None));
    let stop_after = early.as_ref().and_then(|play| match play.action {
        Action::Reset { after } => after,
        _ => None,
    });
    let (wire_body, read) = read(body, stop_after).await;
    received.wire_bytes = wire_body.len() as u64;
    let mut ids = Vec::new();
    received.content = match read {
        _ if parts.method != Method::POST => Err(Undecodable::Method {
            method: received.method.clone(),
        }),
        Err(reason) => Err(reason),
        Ok(()) => undo(&mut received, &wire_body, state, &mut ids),
    };
    drop(wire_body);
    let play = early.or_else(|| {
        let content = received.content.as_ref().ok();
        let body = script::Body {
            bytes: received.body_bytes,
            content,
        };
        state.player().late(&facts(&received, elapsed, Some(body)))
    });
    let received = book(received, play.as_ref(), state, &ids);
    (state.on_request)(&received);
    let saying = Saying {
        action: play.as_ref().map(|play| &play.action),
        undecodable: received.content.as_ref().err(),
        batch_id: received.batch_id(),
        echo: state.player().echo(),
        repeated: received.answer.repeated,
    };
    saying.say(switch).await
}

fn facts<'a>(received: &'a Received, elapsed: Duration, body: Option<script::Body<'a>>) -> Facts<'a> {
    Facts {
        number: received.number,
        elapsed,
        path: &received.path,
        headers: &received.headers,
        body,
    }
}

/// Reads a body to its end, its bound, or the byte where the script stops it.
async fn read(mut body: Incoming, stop_after: Option<u64>) -> (Bytes, Result<(), Undecodable>) {
    let mut whole = BytesMut::new();
    let stop_after = stop_after.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    loop {
        if stop_after.is_some_and(|bytes| whole.len() >= bytes) {
            return (
                Bytes::new(),
                Err(Undecodable::BrokeOff {
                    bytes: whole.len() as u64,
                }),
            );
        }
        match body.frame().await {
            None => break,
            Some(Err(_)) => {
                return (
                    Bytes::new(),
                    Err(Undecodable::BrokeOff {
                        bytes: whole.len() as u64,
                    }),
                );
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    if whole.len() + data.len() > MAX_BODY {
                        return (Bytes::new(), Err(Undecodable::TooLarge { limit: MAX_BODY }));
                    }
                    whole.extend_from_slice(&data);
                }
            }
        }
    }
    (whole.freeze(), Ok(()))
}

/// Undoes the content coding, and decodes or only counts.
fn undo(
    received: &mut Received,
    wire_body: &Bytes,
    state: &State,
    ids: &mut Vec<u128>,
) -> Result<Content, Undecodable> {
    let keep = state.memory.keep();
    let head = Head {
        content_type: received.header("content-type"),
        content_encoding: received.header("content-encoding"),
        path: &received.path,
    };
    let counted = matches!(keep, Keep::Ids | Keep::Counts) && !state.player().reads_events();
    if !counted {
        let (body, content) = decode(head, wire_body);
        received.body_bytes = body.len() as u64;
        received.body = body;
        return content;
    }
    let encoding = decode::encoding(head, b"")?;
    let body = decode::inflate(head.content_encoding, wire_body)?;
    received.body_bytes = body.len() as u64;
    let count = decode::count(&body, |id| {
        if keep == Keep::Ids {
            ids.push(id);
        }
    });
    Ok(Content {
        encoding,
        batch_id: None,
        sent_at: None,
        source: None,
        losses: None,
        events: Vec::new(),
        count,
    })
}

/// Decides whether the events count as arrived, and books the request.
fn book(mut received: Received, play: Option<&Play>, state: &State, ids: &[u128]) -> Arc<Received> {
    let deduplicate = state.player().deduplicate();
    let decoded = received.content.is_ok();
    state.memory.change(|seen| {
        let wanted = play.map_or(decoded, |play| play.store && decoded);
        let known = received.idempotency_key().is_some_and(|id| seen.has_batch(id));
        let repeated = wanted && known && deduplicate == Deduplicate::Batch;
        received.answer = Answer {
            status: None,
            action: play.map_or("accept", |play| play.action.name()),
            stored: wanted && !repeated,
            repeated,
        };
        received.answer.status =
            crate::answer::status(play.map(|play| &play.action), received.content.as_ref().err());
        let received = Arc::new(received);
        seen.book(Arc::clone(&received), ids, deduplicate);
        received
    })
}

fn headers(parts: &Parts) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}

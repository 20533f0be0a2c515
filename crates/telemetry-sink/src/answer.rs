//! From what was decided to what is written: the reply of an action, and the faults of the wire.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use tokio::time::Sleep;

use crate::decode::Undecodable;
use crate::script::{Action, Echo, Reply};
use crate::wire::{Fault, Switch};

pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// The header that echoes a batch's id.
const BATCH_ID: &str = "x-batch-id";
/// What `wrong-id` says: a UUID that nobody makes.
const WRONG_ID: &str = "00000000-0000-0000-0000-000000000000";
/// The page of a captive portal.
const PORTAL: &str =
    "<!DOCTYPE html><title>Welcome</title><p>Please sign in to use the network of this hotel.</p>";

/// What is to be said about one request.
pub(crate) struct Saying<'a> {
    /// `None` where no step of the script acted.
    pub(crate) action: Option<&'a Action>,
    /// Why the body could not be decoded.
    pub(crate) undecodable: Option<&'a Undecodable>,
    /// The batch's id, to echo.
    pub(crate) batch_id: Option<&'a str>,
    /// Where good answers name it.
    pub(crate) echo: Echo,
    /// `deduplicate = "batch"` recognised the batch.
    pub(crate) repeated: bool,
}

/// The status that will be written, `None` where none is. A half answer has one, for those who read so far.
pub(crate) fn status(action: Option<&Action>, undecodable: Option<&Undecodable>) -> Option<u16> {
    match action {
        None => Some(if undecodable.is_some() { 400 } else { 200 }),
        Some(Action::Reply(reply) | Action::Slow { reply, .. }) => Some(reply.status),
        Some(Action::Hang { wait, reply }) => wait.map(|_| reply.status),
        Some(Action::Captive { location }) => Some(if location.is_some() { 302 } else { 200 }),
        Some(Action::Half { .. } | Action::Echo(_) | Action::WrongId(_) | Action::Oversized { .. }) => {
            Some(200)
        }
        Some(Action::Reset { .. } | Action::Close | Action::Garbage { .. }) => None,
    }
}

impl Saying<'_> {
    /// Does it: waits where it has to, sets the wire's fault, and gives the response that hyper writes.
    /// `None` closes the connection without one.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped: it only waits.
    pub(crate) async fn say(&self, switch: &Switch) -> Option<Response<AnswerBody>> {
        let Some(action) = self.action else {
            return Some(match self.undecodable {
                None => self.good(self.echo, self.batch_id),
                Some(reason) => {
                    let body = json!({"success": false, "error": reason.to_string()});
                    response(&Reply::status(400), whole(body.to_string()))
                }
            });
        };
        match action {
            Action::Reply(reply) => Some(self.reply(reply)),
            Action::Hang {
                wait: Some(wait),
                reply,
            } => {
                tokio::time::sleep(*wait).await;
                Some(self.reply(reply))
            }
            Action::Hang { wait: None, .. } => std::future::pending().await,
            Action::Reset { .. } => {
                switch.set(Fault::Reset);
                None
            }
            Action::Close => {
                switch.set(Fault::Close);
                None
            }
            Action::Half { bytes } => {
                switch.set(Fault::Cut(*bytes));
                Some(self.good(self.echo, self.batch_id))
            }
            Action::Captive { location } => Some(captive(location.as_deref())),
            Action::Slow {
                bytes_per_second,
                reply,
            } => {
                let text = self.text(reply);
                Some(response(
                    reply,
                    Slow::new(text.into(), *bytes_per_second).boxed_unsync(),
                ))
            }
            Action::Garbage { bytes } => {
                switch.set(Fault::Instead(bytes.clone()));
                Some(self.good(Echo::None, None))
            }
            Action::Echo(place) => Some(self.good(*place, self.batch_id)),
            Action::WrongId(place) => Some(self.good(*place, Some(WRONG_ID))),
            Action::Oversized { bytes } => {
                let length = usize::try_from(*bytes).unwrap_or(usize::MAX);
                Some(response(&Reply::default(), whole(vec![b'x'; length])))
            }
        }
    }

    /// The ordinary good answer.
    fn good(&self, place: Echo, id: Option<&str>) -> Response<AnswerBody> {
        let mut body = json!({"success": true});
        if self.repeated {
            body["duplicate"] = Value::Bool(true);
        }
        if let (Echo::Body, Some(id)) = (place, id) {
            body["batch_id"] = Value::from(id);
        }
        let mut response = response(&Reply::default(), whole(body.to_string()));
        if let (Echo::Header, Some(id)) = (place, id)
            && let Ok(value) = HeaderValue::from_str(id)
        {
            response.headers_mut().insert(BATCH_ID, value);
        }
        response
    }

    fn reply(&self, reply: &Reply) -> Response<AnswerBody> {
        // A good reply without words of its own is the ordinary good answer with a status.
        if (200..300).contains(&reply.status) && reply.body.is_none() {
            let mut good = self.good(self.echo, self.batch_id);
            let plain = response(reply, whole(""));
            *good.status_mut() = plain.status();
            good.headers_mut().extend(plain.headers().clone());
            return good;
        }
        response(reply, whole(self.text(reply)))
    }

    fn text(&self, reply: &Reply) -> String {
        let good = (200..300).contains(&reply.status);
        reply.body.clone().unwrap_or_else(|| {
            if good {
                json!({"success": true}).to_string()
            } else {
                json!({"success": false, "status": reply.status}).to_string()
            }
        })
    }
}

fn captive(location: Option<&str>) -> Response<AnswerBody> {
    let mut reply = Reply::status(if location.is_some() { 302 } else { 200 });
    reply.content_type = Some("text/html; charset=utf-8".to_owned());
    reply
        .headers
        .extend(location.map(|location| (header::LOCATION.to_string(), location.to_owned())));
    response(&reply, whole(PORTAL))
}

fn whole(body: impl Into<Bytes>) -> AnswerBody {
    Full::new(body.into()).boxed_unsync()
}

/// Headers that HTTP cannot carry are left out: a script file was checked for them, a test's may be odd.
fn response(reply: &Reply, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let content_type = reply.content_type.as_deref().unwrap_or("application/json");
    let own = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in std::iter::once(("content-type", content_type)).chain(own) {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A body that trickles: one byte at a time, as many a second as it is told (in bigger pieces past 20).
struct Slow {
    left: Bytes,
    piece: usize,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Slow {
    fn new(body: Bytes, bytes_per_second: u64) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        let piece = bytes_per_second.div_ceil(20);
        let pause = Duration::from_secs(1).mul_f64(piece as f64 / bytes_per_second as f64);
        let piece = usize::try_from(piece).unwrap_or(usize::MAX);
        Self {
            left: body,
            piece,
            pause,
            sleep: Box::pin(tokio::time::sleep(pause)),
        }
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.sleep.as_mut().poll(context));
        self.sleep = Box::pin(tokio::time::sleep(self.pause));
        let piece = self.piece.min(self.left.len());
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

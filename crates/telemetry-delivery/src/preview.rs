//! What would go next, for people to read before it goes.

use uuid::Uuid;

use crate::encode::{VERSION, encode};
use crate::http::request;
use crate::mask::{self, MASK};
use crate::types::{Auth, Batch, Destination};

/// A request as it would be made, with every credential masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// `POST`.
    pub method: &'static str,
    /// The URL; the values of its query are masked.
    pub url: String,
    /// The headers in their order. Values from the config's `headers` are masked: which of them are keys,
    /// their names do not tell.
    pub headers: Vec<(String, String)>,
    /// The body before compression, byte for byte; a key in it masked, and protobuf as the JSON that says the same.
    pub body: Vec<u8>,
    /// Why an event of the batch can never be sent in this encoding: it will be parked.
    pub problem: Option<String>,
}

/// The request that [`crate::Client::send`] would make of this batch. Reads no credential and no file.
/// (`Host`, `Content-Length` and what HTTP/2 makes of them are the transport's, and not listed.)
#[must_use]
pub fn preview(destination: &Destination, batch: &Batch<'_>) -> Preview {
    let mut headers = request::own_headers(destination, VERSION);
    headers.push(("idempotency-key", batch_id(batch.id)));
    match &destination.auth {
        Auth::None | Auth::HeapAppId(_) | Auth::PosthogKey(_) => {}
        Auth::Bearer(_) => headers.push(("authorization", format!("Bearer {MASK}"))),
        Auth::Basic(_) | Auth::SegmentWriteKey(_) => headers.push(("authorization", format!("Basic {MASK}"))),
    }
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
    let configured = destination
        .headers
        .iter()
        .map(|(name, _)| (name.to_ascii_lowercase(), MASK.to_owned()));
    let encoded = encode(destination.encoding.shown(), batch, MASK);
    Preview {
        method: "POST",
        url: mask::url(&destination.url),
        headers: headers.chain(configured).collect(),
        body: encoded.body,
        problem: encoded.unfit,
    }
}

/// A batch's id as `Idempotency-Key` has it.
pub(crate) fn batch_id(id: Uuid) -> String {
    id.hyphenated().to_string()
}

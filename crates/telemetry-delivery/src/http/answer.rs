//! The answer: its head, and of its body what the verdict and a parked event need.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use uuid::Uuid;

use super::ANSWER_MAX;
use super::connection::Connection;
use crate::encode::refuses;
use crate::retry_after::retry_after;
use crate::types::{Confirm, Encoding};
use crate::verdict::{Answer, Exchange, Verdict, verdict};

/// What came of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) status: u16,
    html: bool,
    echoed_in_head: bool,
    /// Where a redirect leads: scheme and host alone.
    pub(super) location: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// At most [`ANSWER_MAX`] bytes.
    pub(super) body: Vec<u8>,
    /// The body was read to its end or to the bound.
    pub(super) complete: bool,
}

impl Received {
    /// Takes down the head. `sent_at` is the wall clock when the batch was sent.
    pub(super) fn head<B>(head: &Response<B>, batch: Uuid, sent_at: SystemTime) -> Self {
        let headers = head.headers();
        Self {
            status: head.status().as_u16(),
            html: is_html(headers),
            echoed_in_head: headers.values().any(|value| echoes(value.as_bytes(), batch)),
            location: headers
                .get(header::LOCATION)
                .and_then(|value| origin(value.as_bytes())),
            retry_after: wait(headers, sent_at),
            body: Vec::new(),
            complete: false,
        }
    }

    /// Reads the body, to its end or to [`ANSWER_MAX`]. True if it ended: then the connection can be kept.
    ///
    /// # Cancel safety
    /// What was read so far is in `body`.
    pub(super) async fn read(
        &mut self,
        connection: &mut Connection,
        mut body: Incoming,
    ) -> hyper::Result<bool> {
        loop {
            match connection.while_driven(body.frame()).await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        let room = ANSWER_MAX - self.body.len();
                        self.body.extend_from_slice(&data[..data.len().min(room)]);
                        if data.len() > room {
                            self.complete = true;
                            return Ok(false);
                        }
                    }
                }
                None => {
                    self.complete = true;
                    return Ok(true);
                }
            }
        }
    }

    /// What the verdict needs to know.
    pub(super) fn facts(&self, batch: Uuid, encoding: Encoding) -> Answer {
        Answer {
            status: self.status,
            html: self.html,
            echoed: self.echoed_in_head || echoes(&self.body, batch),
            complete: self.complete,
            refused: self.status / 100 == 2 && refuses(encoding, &self.body),
        }
    }
}

/// What an answer means that came whole, and how long it asks to wait (not yet clamped): what [`Client::send`] makes
/// of it, without a connection. Of the body the first [`ANSWER_MAX`] bytes count. `sent_at` is the wall clock that a
/// date is compared with where the answer has none of its own.
///
/// [`Client::send`]: crate::Client::send
#[must_use]
pub fn read_whole(
    answer: &Response<&[u8]>,
    batch: Uuid,
    encoding: Encoding,
    confirm: Confirm,
    sent_at: SystemTime,
) -> (Verdict, Option<Duration>) {
    let mut received = Received::head(answer, batch, sent_at);
    let body = *answer.body();
    received
        .body
        .extend_from_slice(body.get(..ANSWER_MAX).unwrap_or(body));
    received.complete = true;
    let facts = received.facts(batch, encoding);
    (verdict(&Exchange::Answered(facts), confirm), received.retry_after)
}

pub(super) fn is_html(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let essence = value
            .as_bytes()
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

/// What `Retry-After` asks for. A date is compared with the answer's own `Date`, else with `sent_at`: a
/// laptop's clock may be days off.
fn wait(headers: &HeaderMap, sent_at: SystemTime) -> Option<Duration> {
    let now = headers
        .get(header::DATE)
        .and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok())
        .unwrap_or(sent_at);
    retry_after(headers.get(header::RETRY_AFTER)?.as_bytes(), now)
}

/// Whether the batch's id stands in it, in either case.
fn echoes(bytes: &[u8], batch: Uuid) -> bool {
    let mut buffer = Uuid::encode_buffer();
    let id = batch.hyphenated().encode_lower(&mut buffer).as_bytes();
    bytes
        .windows(id.len())
        .any(|window| window.eq_ignore_ascii_case(id))
}

/// Scheme and host of a URL from elsewhere: its path and query may carry anything.
fn origin(location: &[u8]) -> Option<String> {
    let uri: http::Uri = std::str::from_utf8(location).ok()?.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.host()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_web_page_is_told_by_its_type_alone() {
        for html in ["text/html", "Text/HTML; charset=utf-8", " text/html ;x"] {
            assert!(is_html(&with(header::CONTENT_TYPE, html)), "{html}");
        }
        for other in [
            "application/json",
            "text/plain",
            "text/html5",
            "application/json; a=text/html",
        ] {
            assert!(!is_html(&with(header::CONTENT_TYPE, other)), "{other}");
        }
        assert!(!is_html(&HeaderMap::new()));
    }

    #[test]
    fn an_id_is_found_in_either_case_and_only_whole() {
        let id = Uuid::from_u128(0x019a_a6c2_0000_7000_8000_0000_0000_00ab);
        assert!(echoes(format!(r#"{{"ok":"{id}"}}"#).as_bytes(), id));
        assert!(echoes(id.to_string().to_uppercase().as_bytes(), id));
        assert!(!echoes(&id.to_string().as_bytes()[..35], id));
        assert!(!echoes(Uuid::nil().to_string().as_bytes(), id));
    }

    #[test]
    fn a_date_to_wait_for_is_compared_with_the_servers_own() {
        let mut headers = with(header::RETRY_AFTER, "Sat, 21 Nov 2026 10:01:30 GMT");
        headers.insert(
            header::DATE,
            HeaderValue::from_static("Sat, 21 Nov 2026 10:00:00 GMT"),
        );
        // This machine believes it is 1970.
        assert_eq!(
            wait(&headers, SystemTime::UNIX_EPOCH),
            Some(Duration::from_secs(90))
        );
    }

    #[test]
    fn of_a_redirect_only_its_origin_is_kept() {
        assert_eq!(
            origin(b"http://portal.hotel.example/login?u=s3cret").as_deref(),
            Some("http://portal.hotel.example")
        );
        assert_eq!(
            origin(b"https://u:s3cret@a.example:8443/").as_deref(),
            Some("https://a.example")
        );
        assert_eq!(origin(b"/login?u=s3cret"), None);
    }
}

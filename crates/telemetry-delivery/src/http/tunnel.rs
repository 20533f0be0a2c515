//! A way through an HTTP proxy: CONNECT, and what its answer means (RFC 9110, section 9.3.6).
//!
//! Spoken by hand on our own connection, so that the gate and the request's time hold here as everywhere
//! (I3, I6): the caller asks its gate before this is called. Every endpoint is reached by a tunnel, one of
//! plain http (`allow_insecure`) too: so no proxy sees a header that is the endpoint's, a credential least.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::failure::{Failure, Stop};
use super::proxy::Via;
use super::stream::Carrier;
use crate::verdict::{Cause, HoldReason};

/// How long the head of a proxy's answer may be, in bytes (I6).
const HEAD_MAX: usize = 16 * 1024;

/// Asks `via` for a way to `place` (host and port), and leaves `stream` as one to it.
///
/// # Cancel safety
/// Dropping it leaves the stream in the middle of an answer: drop that, too.
pub(super) async fn open(stream: &mut Carrier, via: &Via, place: &str, user_agent: &str) -> Result<(), Stop> {
    let attempted = format!("asking the proxy {} for a way to {place}", via.shown);
    let mut request =
        format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: {user_agent}\r\n").into_bytes();
    if let Some(value) = &via.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let failed = |error: &std::io::Error| Failure::of(&attempted, error, Cause::Proxy);
    stream.write_all(&request).await.map_err(|error| failed(&error))?;
    stream.flush().await.map_err(|error| failed(&error))?;

    let gave_none = |what: &str| Failure {
        cause: Cause::Proxy,
        detail: format!("{attempted}: {what}"),
    };
    let head = head(stream).await.map_err(|stop| match stop {
        Short::Io(error) => failed(&error),
        Short::Ended => gave_none("it closed the connection"),
        Short::TooLong => gave_none("its answer has no end"),
    })?;
    match status(&head.text) {
        // Of us it has heard nothing yet that it could answer: this is not the endpoint.
        Some(200..=299) if head.more => Err(gave_none("it speaks where the endpoint should").into()),
        Some(200..=299) => Ok(()),
        Some(407) => {
            let why = match (&via.authorization, challenges(&head.text)) {
                // RFC 4559, MS-NTHT, RFC 7616: what a company's directory speaks.
                (_, Some(schemes)) => {
                    format!("and wants {schemes}, of which none is spoken here, only Basic")
                }
                (Some(_), None) => "and refused the credentials that it was given".to_owned(),
                (None, None) => "and was given no credentials".to_owned(),
            };
            let advice = HoldReason::ProxyAuthentication.advice();
            Err(Stop::Hold(
                HoldReason::ProxyAuthentication,
                format!("the proxy {} answered 407 {why}: {advice}", via.shown),
            ))
        }
        Some(status) => {
            let phrase = http::StatusCode::from_u16(status).ok();
            let phrase = phrase
                .and_then(|status| status.canonical_reason())
                .unwrap_or_default();
            Err(gave_none(format!("it answered {status} {phrase}").trim_end()).into())
        }
        None => Err(gave_none("what it answered is not HTTP").into()),
    }
}

/// The head of the proxy's answer.
struct Head {
    text: Vec<u8>,
    /// Something came behind it.
    more: bool,
}

/// Why there is none.
enum Short {
    Io(std::io::Error),
    Ended,
    TooLong,
}

async fn head(stream: &mut Carrier) -> Result<Head, Short> {
    let mut text = Vec::new();
    let mut piece = [0; 512];
    loop {
        let read = stream.read(&mut piece).await.map_err(Short::Io)?;
        if read == 0 {
            return Err(Short::Ended);
        }
        // The end may lie across two pieces.
        let from = text.len().saturating_sub(3);
        text.extend_from_slice(&piece[..read]);
        if let Some(at) = memchr::memmem::find(&text[from..], b"\r\n\r\n") {
            let end = from + at + 4;
            return Ok(Head {
                more: text.len() > end,
                text,
            });
        }
        // Who does not speak HTTP is not waited for.
        let start = text.len().min(5);
        if text[..start] != b"HTTP/"[..start] {
            return Ok(Head { text, more: false });
        }
        if text.len() > HEAD_MAX {
            return Err(Short::TooLong);
        }
    }
}

/// The schemes that a 407 asks for, if it names some and Basic is not among them.
fn challenges(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let schemes: Vec<&str> = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split_whitespace().next())
        .map(|scheme| scheme.trim_end_matches(','))
        .collect();
    let basic = schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    (!schemes.is_empty() && !basic).then(|| schemes.join(" or "))
}

/// The status of `HTTP/1.x NNN …`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let after = std::str::from_utf8(line.get(..12)?)
        .ok()?
        .strip_prefix("HTTP/1.")?;
    let (minor, code) = after.split_once(' ')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (minor.len() == 1
        && digits(minor)
        && code.len() == 3
        && digits(code)
        && line.get(12).is_none_or(|&byte| byte == b' '))
    .then(|| code.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{challenges, status};

    #[test]
    fn a_status_line_is_one_of_http_1() {
        for (line, found) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Some(200)),
            ("HTTP/1.0 407\r\n\r\n", Some(407)),
            ("HTTP/1.1 2000\r\n\r\n", None),
            ("HTTP/2 200 OK\r\n\r\n", None),
            ("HTTP/1.1  200\r\n\r\n", None),
            ("HTTP/1.1 +20\r\n\r\n", None),
            ("ICY 200 OK\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(status(line.as_bytes()), found, "{line:?}");
        }
    }

    #[test]
    fn a_proxy_that_wants_what_is_not_spoken_here_is_understood() {
        for (headers, wanted) in [
            ("Proxy-Authenticate: Basic realm=\"x\"", None),
            (
                "Proxy-Authenticate: Negotiate\r\nproxy-authenticate: BASIC realm=\"x\"",
                None,
            ),
            (
                "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM",
                Some("Negotiate or NTLM"),
            ),
            (
                "Proxy-Authenticate: Digest realm=\"x\", nonce=\"y\"",
                Some("Digest"),
            ),
            ("Content-Length: 0", None),
        ] {
            let head = format!("HTTP/1.1 407 Proxy Authentication Required\r\n{headers}\r\n\r\n");
            assert_eq!(challenges(head.as_bytes()).as_deref(), wanted, "{headers}");
        }
    }
}

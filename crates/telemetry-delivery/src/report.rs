//! How a request ended, for the caller to settle and to show.

use std::fmt;
use std::time::Duration;

use crate::verdict::Verdict;

/// How much of an answer a report keeps, in bytes: what is parked with a refused event (DELIVERY.md).
pub const ANSWER_KEPT: usize = 1024;
/// How long `detail` is at most, in bytes.
pub const DETAIL_MAX: usize = 1024;

/// How one request ended. Its `Debug` shows the answer's length, not the answer: a server may echo events.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    /// What is to be done with the batch.
    pub verdict: Verdict,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// One line for people, at most [`DETAIL_MAX`] bytes: never a credential, an event's content or a part
    /// of the answer's body.
    pub detail: String,
    /// The first [`ANSWER_KEPT`] bytes of the answer's body, with the credentials sent masked. May echo
    /// event content: keep it where events are kept.
    pub answer: Vec<u8>,
    /// What `Retry-After` asked for, not yet clamped: for [`crate::backoff()`].
    pub retry_after: Option<Duration>,
    /// Bytes of the request's body as sent, after compression; 0 if no request was begun.
    pub request_bytes: u64,
}

impl Report {
    /// A report without an answer. Shortens `detail` to its bound and to one line.
    pub(crate) fn without_answer(verdict: Verdict, detail: &str) -> Self {
        Self {
            verdict,
            status: None,
            detail: bounded(detail),
            answer: Vec::new(),
            retry_after: None,
            request_bytes: 0,
        }
    }
}

/// At most [`DETAIL_MAX`] bytes, whole characters, no control characters (they come from foreign errors and
/// end in logs and terminals).
pub(crate) fn bounded(detail: &str) -> String {
    let mut line: String = detail
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    line.truncate(line.floor_char_boundary(DETAIL_MAX));
    line
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("verdict", &self.verdict)
            .field("status", &self.status)
            .field("detail", &self.detail)
            .field("answer_bytes", &self.answer.len())
            .field("retry_after", &self.retry_after)
            .field("request_bytes", &self.request_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_bounded_line_of_whole_characters() {
        let detail = bounded(&format!("a\nb\x1b{}", "ä".repeat(DETAIL_MAX)));
        assert!(detail.starts_with("a b ä"));
        assert!(detail.len() <= DETAIL_MAX && detail.len() > DETAIL_MAX - 2);
    }
}

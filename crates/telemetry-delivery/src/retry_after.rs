//! `Retry-After` (RFC 9110, section 10.2.3): seconds or a date, and tolerant of anything else.

use std::time::{Duration, SystemTime};

/// How long a server asks to wait, not yet clamped (that is `backoff`'s): `None` if the value is neither
/// whole seconds nor an HTTP date. A date that is over asks for zero; seconds beyond `u64` are a very long
/// time, not garbage.
///
/// `now` is the wall clock that a date is compared with: best the answer's own `Date`, since a laptop's
/// clock may be wrong.
#[must_use]
pub fn retry_after(header: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(header).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        // 21 November 2026, 10:00:00 UTC.
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_255_200)
    }

    fn of(header: &str) -> Option<Duration> {
        retry_after(header.as_bytes(), now())
    }

    #[test]
    fn seconds_are_understood() {
        assert_eq!(of("0"), Some(Duration::ZERO));
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("  7 "), Some(Duration::from_secs(7)));
        assert_eq!(of("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn all_three_forms_of_a_date_are_understood() {
        for date in [
            "Sat, 21 Nov 2026 10:01:30 GMT",
            "Saturday, 21-Nov-26 10:01:30 GMT",
            "Sat Nov 21 10:01:30 2026",
        ] {
            assert_eq!(of(date), Some(Duration::from_secs(90)), "{date}");
        }
    }

    #[test]
    fn a_date_that_is_over_asks_for_nothing() {
        assert_eq!(of("Fri, 20 Nov 2026 10:00:00 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn garbage_is_no_answer() {
        for garbage in [
            "",
            " ",
            "-1",
            "+5",
            "1.5",
            "soon",
            "12s",
            "Sat, 31 Feb 2026 10:01:30 GMT",
            "\u{0662}",
        ] {
            assert_eq!(of(garbage), None, "{garbage:?}");
        }
        assert_eq!(retry_after(b"\xff\xfe", now()), None);
    }
}

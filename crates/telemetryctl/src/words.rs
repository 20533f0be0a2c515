//! How numbers, ages and foreign text are shown to a person.

use std::time::Duration;

use telemetry_protocol::time::parse_rfc3339;

/// Without what a terminal would obey: text that came from elsewhere goes through here.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}

/// `1 event`, `2 events`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

/// Bytes in the unit that a person would choose.
pub(crate) fn bytes(count: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    const GIB: u64 = 1024 * MIB;
    // Tenths in whole numbers: exact, and no rounding up to the next unit.
    let tenths = |unit: u64| format!("{}.{}", count / unit, count % unit * 10 / unit);
    match count {
        0..KIB => format!("{count} B"),
        KIB..MIB => format!("{} KiB", tenths(KIB)),
        MIB..GIB => format!("{} MiB", tenths(MIB)),
        _ => format!("{} GiB", tenths(GIB)),
    }
}

/// A duration in its largest unit: `3 s`, `5 min`, `2 h`, `6 days`.
pub(crate) fn span(milliseconds: i64) -> String {
    let seconds = milliseconds.unsigned_abs() / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// An RFC 3339 time as an age (`5 min ago`) or a wait (`in 5 min`); as it stands where it is no time.
pub(crate) fn relative(time: &str, now_ms: i64) -> String {
    match parse_rfc3339(time) {
        Some(at) if at > now_ms => format!("in {}", span(at - now_ms)),
        Some(at) => format!("{} ago", span(now_ms - at)),
        None => plain(time),
    }
}

/// An RFC 3339 time to the second, as a column shows it.
pub(crate) fn moment(time: &str) -> String {
    match (parse_rfc3339(time), time.get(..19)) {
        (Some(_), Some(head)) => format!("{}Z", head.replace('T', " ")),
        _ => plain(time),
    }
}

/// Reads a duration as the configuration writes it: `250ms`, `5s`, `5min`, `2h`, `30d`.
///
/// # Errors
/// A sentence for clap, that says what is allowed.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "expected a duration like 250ms, 5s, 5min, 2h or 30d";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| ALLOWED.to_owned())?;
    let unit_ms = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(ALLOWED.to_owned()),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| "a duration that long cannot be counted".to_owned())
}

/// Milliseconds of a duration, for a request.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(plain("a\u{1b}[31mb\u{9b}c\n"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}");
    }

    #[test]
    fn sizes_and_ages_are_in_the_unit_that_a_person_would_choose() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024 * 1024 - 1), "1023.9 KiB");
        assert_eq!(bytes(67_108_864), "64.0 MiB");
        assert_eq!(span(119_000), "119 s");
        assert_eq!(span(-7_200_000), "2 h");
        assert_eq!(relative("1970-01-01T00:00:00Z", 300_000), "5 min ago");
        assert_eq!(relative("1970-01-01T00:10:00Z", 0), "in 10 min");
        assert_eq!(moment("2026-11-21T09:59:58.001Z"), "2026-11-21 09:59:58Z");
        assert_eq!(counted(1, "event"), "1 event");
    }

    #[test]
    fn durations_are_read_as_the_configuration_writes_them() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5min"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in [
            "",
            "5",
            "s",
            "-5s",
            "5 weeks",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}

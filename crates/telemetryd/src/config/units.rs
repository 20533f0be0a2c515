//! Durations (`"250ms"`, `"5s"`, `"2h"`, `"30d"`) and sizes (`"64KiB"`, `1024`), read and written.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::{Span, SpanRelativeTo};

/// One day, as durations count it: 24 hours.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters of a found value that are shown.
const SHOWN: usize = 80;

/// Reads a duration; a day is 24 hours. `None`: not one, or negative.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(exact).ok()
}

/// Writes a duration in the largest unit that holds it exactly.
pub(super) fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    match millis {
        0 => "0s".to_owned(),
        millis => format!("{millis}ms"),
    }
}

/// Reads a size with a unit; `None`: not one. A number alone counts bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// Writes a size in the largest binary unit that holds it exactly.
pub(super) fn size_text(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Writes a value on one line as TOML would, cut to 80 characters, control characters escaped.
pub(super) fn literal(value: &toml::Value) -> String {
    let text = match value {
        toml::Value::String(text) => return quoted(text),
        toml::Value::Table(table) if table.is_empty() => return "{}".to_owned(),
        other => other.to_string(),
    };
    cut(text.chars().map(|c| if c.is_control() { ' ' } else { c }))
}

/// Writes a string in quotes, cut to 80 characters, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

fn cut(mut chars: impl Iterator<Item = char>) -> String {
    let mut text: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

/// Writes a dotted key; segments that are not bare keys are quoted.
pub(super) fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    let segment = |segment: &S| {
        let text = segment.as_ref();
        let bare = !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if bare { text.to_owned() } else { quoted(text) }
    };
    path.iter().map(segment).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit_that_the_contract_names() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5000),
            ("5min", 300_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
            ("1h 30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_none() {
        for text in [
            "",
            "5",
            "-5s",
            "5s ago",
            "five seconds",
            "1 month",
            "1y",
            "s",
            "never",
            "99999999999999999999d",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_the_largest_unit_that_is_exact() {
        for text in ["0s", "250ms", "90s", "5min", "36h", "30d", "1500ms"] {
            assert_eq!(duration_text(duration(text).unwrap()), text);
        }
        assert_eq!(duration_text(Duration::from_secs(120)), "2min");
    }

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("64 kib", 65_536),
            ("1024", 1024),
            ("1kB", 1000),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "KiB", "-1KiB", "1 XiB", "many", "1e3"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_written_in_the_largest_binary_unit_that_is_exact() {
        for (bytes, text) in [
            (65_536, "64KiB"),
            (1 << 40, "1TiB"),
            (1000, "1000B"),
            (0, "0B"),
            (1 << 20, "1MiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }

    #[test]
    fn found_values_stay_on_one_line_and_are_cut() {
        assert_eq!(
            literal(&toml::Value::String("a\nb\u{1b}[31m".into())),
            r#""a\nb\u{1b}[31m""#
        );
        assert!(literal(&toml::Value::String("x".repeat(200))).ends_with("x\"…"));
        let array = toml::Value::Array(vec![toml::Value::String("a\nb".into()), toml::Value::Integer(1)]);
        assert!(!literal(&array).contains('\n'));
    }

    #[test]
    fn a_key_that_is_not_bare_is_quoted() {
        assert_eq!(dotted(&["tools", "a.b", "enabled"]), r#"tools."a.b".enabled"#);
    }
}

//! The log as journald takes it from stderr: a level in front of each line (sd-daemon(3)), and no time, for the
//! journal has its own.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether stderr goes to the journal: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)). A program
/// whose stderr was redirected still has the variable, so both are compared.
#[must_use]
pub fn is_stderr() -> bool {
    let Some(said) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    rustix::fs::fstat(rustix::stdio::stderr()).is_ok_and(|stat| is_it(&said, stat.st_dev, stat.st_ino))
}

fn is_it(said: &str, device: impl fmt::Display, inode: impl fmt::Display) -> bool {
    said == format!("{device}:{inode}")
}

/// The prefix of a line that says why the program ends: what a person is needed for.
pub const ERROR: &str = "<3>";

/// syslog(3)'s numbers.
fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => ERROR,
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// Writes an event as the journal takes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        prefixed(prefix(*event.metadata().level()), &text, &mut writer)
    }
}

/// The journal makes an entry of every line: each has its level.
///
/// # Errors
/// When the writer says no.
pub fn prefixed(prefix: &str, text: &str, writer: &mut impl fmt::Write) -> fmt::Result {
    for line in text.lines() {
        writeln!(writer, "{prefix}{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_is_the_journal_only_where_both_numbers_are_its_own() {
        assert!(is_it("9:1234", 9_u64, 1234_u64));
        for other in ["9:123", "8:1234", "", "9", "9:1234:5"] {
            assert!(!is_it(other, 9_u64, 1234_u64), "{other}");
        }
    }

    #[test]
    fn each_line_of_an_event_has_its_level() {
        let mut text = String::new();
        prefixed(prefix(Level::WARN), "first\nsecond", &mut text).unwrap();
        assert_eq!(text, "<4>first\n<4>second\n");
    }
}

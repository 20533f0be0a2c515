//! How the program can end. Scripts rely on these numbers: they are listed in `--help` and pinned by a test.

use std::process::ExitCode;

/// The exit codes (CLI.md). 77 and 78 are `EX_NOPERM` and `EX_CONFIG` of BSD's sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was done.
    Done = 0,
    /// It was attempted and failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No daemon answers.
    NoDaemon = 3,
    /// Declined by consent, with `--strict`.
    Declined = 4,
    /// Waiting took too long.
    TimedOut = 5,
    /// Not permitted.
    NotPermitted = 77,
    /// The configuration is bad.
    BadConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The last lines of `telemetryctl --help`.
pub(crate) const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 declined by consent (only with --strict), \
5 timed out waiting, 77 not permitted, 78 bad configuration.

Environment: TELEMETRYD_SOCKET, TELEMETRYD_CONFIG_DIR, TELEMETRYD_STATE_DIR and TELEMETRYD_MACHINE_DIR \
name places; TELEMETRYD_BIN names the daemon's program; NO_COLOR turns colour off.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_those_that_scripts_rely_on() {
        let codes = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::NoDaemon, 3),
            (Exit::Declined, 4),
            (Exit::TimedOut, 5),
            (Exit::NotPermitted, 77),
            (Exit::BadConfig, 78),
        ];
        for (exit, code) in codes {
            assert_eq!(exit as u8, code);
            assert!(
                AFTER_HELP.contains(&format!("{code} ")),
                "{code} stands in --help"
            );
        }
    }
}

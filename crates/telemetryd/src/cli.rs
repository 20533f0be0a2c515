//! The daemon's flags (CLI.md, "telemetryd").

use std::path::PathBuf;

use clap::Parser;

/// Collect telemetry events from command-line tools and deliver them in batches
///
/// Runs in the foreground and logs to stderr.
#[derive(Clone, Debug, Parser)]
#[command(name = "telemetryd", version, after_help = AFTER_HELP)]
pub struct Flags {
    /// Use the machine-wide places and policy instead of the user's
    #[arg(long)]
    pub system: bool,
    /// Leave the terminal: own session, log in the state directory
    #[arg(long)]
    pub background: bool,
    /// Read this file instead of the standard places
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen here instead of at the standard place
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Check everything that starting would check, print every problem, and exit
    #[arg(long, group = "job")]
    pub check_config: bool,
    /// Print every effective setting and where it came from, and exit
    #[arg(long, group = "job")]
    pub show_config: bool,
    /// With --show-config: one JSON object a line
    #[arg(long, requires = "show_config")]
    pub json: bool,
    /// Apply consent to the queue while no daemon runs, without any network, and exit
    #[arg(long, group = "job")]
    pub purge: bool,
    /// Write the queue as NDJSON to FILE (- for stdout) while no daemon runs, and exit
    #[arg(long, group = "job", value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Leave when the queue is empty and nobody has been connected for so long
    #[arg(long, value_name = "DURATION")]
    pub idle_exit: Option<String>,
}

const AFTER_HELP: &str = "\
Signals: TERM and INT drain for daemon.shutdown_drain and exit, a second one exits at once;
HUP reloads; USR1 flushes.

Exit codes: 0 done, 1 failed, 2 usage, 77 not permitted, 78 bad configuration or a queue of a newer version.";

#[cfg(test)]
mod tests {
    use super::Flags;
    use clap::CommandFactory;

    #[test]
    fn the_flags_agree_with_each_other() {
        Flags::command().debug_assert();
    }
}

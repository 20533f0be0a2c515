//! `soak`: everything at once with random faults, for as long as `--for` says; balanced books and flat memory at the end.

use anyhow::Result;

use super::Bench;
use crate::report::Report;
use crate::soak;

/// Runs it.
///
/// # Errors
/// When a part of it cannot go on.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("soak");
    let seed = bench.seed.unwrap_or_else(|| fastrand::u64(..));
    report.note(format!("seed {seed}"));
    soak::run(bench, bench.wait.unwrap_or(bench.scale.soak), seed, report)
}

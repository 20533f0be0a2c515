//! A minute of everything at once, with the programs that `build` made: `telemetryd-bench soak`, on a file system of its
//! own that can be filled where one can be made (root, Linux), else beside the other temporary files.

use std::process::Command;

use anyhow::Result;

use crate::programs::target;

/// How long it goes on. Ten minutes were run by hand; `docs/benchmarks.md` has their figures.
const FOR: &str = "60s";

/// Small enough to be filled in a moment, large enough for the queue and what it needs besides.
const IN_A_SMALL_PLACE: &str = "place=$(mktemp -d) && trap 'rmdir \"$place\"' EXIT && \
    mount -t tmpfs -o size=160m,mode=700 tmpfs \"$place\" && \
    (\"$@\" --directory \"$place\"); ended=$?; umount \"$place\"; exit $ended";

/// The command.
pub(crate) fn command() -> Result<Command> {
    let programs = target()?.join("debug");
    let mut command = if can_mount() {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", IN_A_SMALL_PLACE, "sh"]);
        command.arg(programs.join("telemetryd-bench"));
        command
    } else {
        Command::new(programs.join("telemetryd-bench"))
    };
    command
        .args(["soak", "--for", FOR, "--in-memory", "--daemon"])
        .arg(programs.join("telemetryd"))
        .current_dir(crate::programs::root());
    Ok(command)
}

/// Whether a file system can be mounted where nobody else sees it.
fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"])
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}

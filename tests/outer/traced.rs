//! A daemon under strace: every call of some kinds that it made in its life.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use telemetry_testkit::{DEADLINE, Daemon, DaemonBuilder, Home};

/// Whether strace works here; says so where it does not.
pub(crate) fn strace_works() -> bool {
    let works = std::process::Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        crate::stage::skipped("strace is needed and does not work");
    }
    works
}

/// The calls of these kinds that the daemon makes until it has ended, which `live` sees to; `None`: strace does not
/// work here.
pub(crate) fn traced(
    home: &Home,
    builder: DaemonBuilder,
    calls: &str,
    live: impl FnOnce(&Daemon),
) -> Option<String> {
    if !strace_works() {
        return None;
    }
    let trace = home.root().join("trace");
    let _ = fs::remove_file(&trace);
    // strace in front of the program, by a script that stands for it.
    let script = format!(
        "#!/bin/sh\nexec strace -f -qq -s 256 -e trace={calls} -e signal=none -o {} {} \"$@\"\n",
        trace.display(),
        telemetry_testkit::telemetryd().display()
    );
    home.write("traced", script);
    let program = home.root().join("traced");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let mut daemon = builder.program(program).start();
    live(&daemon);
    daemon.wait(DEADLINE).expect_code(0);
    drop(daemon);
    Some(fs::read_to_string(trace).unwrap())
}

//! Where the built programs are. Cargo builds them for no test of another package: `cargo ci` builds them
//! before the tests, and by hand `cargo build -p telemetryd -p telemetryctl` does.

use std::env;
use std::path::{Path, PathBuf};

/// The daemon: `TELEMETRYD_BIN`, or beside the running test.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn telemetryd() -> PathBuf {
    find("telemetryd", "TELEMETRYD_BIN")
}

/// The command line: `TELEMETRYCTL_BIN`, or beside the running test.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn telemetryctl() -> PathBuf {
    find("telemetryctl", "TELEMETRYCTL_BIN")
}

fn find(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable).map(PathBuf::from) {
        assert!(
            path.is_file(),
            "{variable} is {}, and there is no such file",
            path.display()
        );
        return path;
    }
    // A test runs as <target>/<profile>/deps/<test>-<hash>, its own crate's programs as <target>/<profile>/<name>.
    let test = env::current_exe().expect("a process knows its own file");
    let folders: Vec<&Path> = test.ancestors().skip(1).take(2).collect();
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} was not built: looked in {}. Build it with 'cargo build -p {name}' (and the profile of this \
             test), or name it in {variable}",
            folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" and ")
        )
    })
}

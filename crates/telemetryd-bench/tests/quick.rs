//! A smoke run of every scenario against the real daemon: that it ends well and prints figures, not which.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// `TELEMETRYD_BIN`, or the daemon beside this package's own program.
fn daemon() -> PathBuf {
    let bench = PathBuf::from(env!("CARGO_BIN_EXE_telemetryd-bench"));
    let daemon = std::env::var_os("TELEMETRYD_BIN").map_or(bench.with_file_name("telemetryd"), PathBuf::from);
    assert!(
        daemon.is_file(),
        "there is no {}: build it with 'cargo build -p telemetryd'",
        daemon.display()
    );
    daemon
}

#[test]
fn a_quick_run_prints_a_figure_of_every_scenario_and_loses_no_event_over_its_kills() {
    let output = Command::new(env!("CARGO_BIN_EXE_telemetryd-bench"))
        .args(["all", "--quick", "--json", "--in-memory", "--daemon"])
        .arg(daemon())
        .output()
        .expect("the program was built with its tests");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    // What went wrong comes first, and then the figures among which it was said.
    let wrong: Vec<&str> = stdout
        .lines()
        .filter(|line| line.contains("\"wrong\":"))
        .collect();
    assert!(
        output.status.success() && wrong.is_empty(),
        "{}\n{}\n{stderr}\nall that was printed:\n{stdout}",
        output.status,
        wrong.join("\n")
    );
    let mut scenarios = BTreeSet::new();
    for line in stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        if line.get("figure").is_some() {
            assert!(line["median"].is_number() && line["unit"].is_string(), "{line}");
            scenarios.insert(line["scenario"].as_str().unwrap_or_default().to_owned());
        }
    }
    let all = [
        "admission",
        "black-hole",
        "drain",
        "fleet",
        "growth",
        "hostile",
        "idle",
        "kill",
        "latency",
        "limits",
        "manifest",
        "pipeline",
        "soak",
        "start",
        "throughput",
    ];
    let mut all: BTreeSet<String> = all.map(str::to_owned).into();
    // Two users are needed for it, and only root can be them.
    if rustix::process::geteuid().is_root() {
        all.insert("neighbours".to_owned());
    }
    if std::path::Path::new("/usr/sbin/syslog-ng").is_file() {
        all.insert("syslog-ng".to_owned());
    }
    assert_eq!(scenarios, all);
}

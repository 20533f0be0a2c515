//! A machine-wide daemon under strace: it opens nothing in a home, and no internet socket under the machine's opt-out.

use serde_json::json;
use telemetry_testkit::{Collector, Daemon, Home};

use super::{ANN, BEN, ROOT, builder, connect_as, machine};
use crate::stage::{SOON, TOLD, TOOL, destination, event, id};

/// The daemon under strace with these system calls, until root has stopped it; `None`: strace does not work here.
fn traced(home: &Home, calls: &str, config: &str, live: impl FnOnce(&Daemon)) -> Option<String> {
    crate::traced::traced(home, builder(home, config), calls, |daemon| {
        live(daemon);
        let stop = json!({"op": "stop", "drain_ms": 0});
        assert_eq!(connect_as(&home.socket(), ROOT).ask(&stop)["ok"], true);
    })
}

#[test]
fn no_home_is_ever_looked_into() {
    let Some(home) = machine() else {
        return;
    };
    // A home that would be telling, were it looked into.
    let private = home.root().join("private");
    for file in [
        ".config/telemetryd/consent.toml",
        ".config/telemetryd/config.toml",
        "runtime/telemetryd/x",
        ".other/config.toml",
    ] {
        home.write(private.join(file), "telemetry = false\n");
    }
    // A tool whose users say no in a file of their home: a user's own daemon would read it.
    let files =
        "user_files = [{ path = \"~/.other/config.toml\", format = \"toml\", key = \"telemetry\" }]\n";
    home.write(
        home.config_dir().join("tools.d/other.toml"),
        format!("{}{files}", crate::stage::manifest("other")),
    );
    home.set_env("HOME", &private);
    // A toolchain's own libraries may lie in a home.
    home.unset_env("LD_LIBRARY_PATH");
    for (name, below) in [
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_STATE_HOME", ".local/state"),
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_CACHE_HOME", ".cache"),
        ("XDG_RUNTIME_DIR", "runtime"),
    ] {
        home.set_env(name, private.join(below));
    }
    let endpoint = Collector::for_tool(TOOL);
    let config = destination(&endpoint.url(), SOON);
    let trace = traced(&home, "%file", &config, |_| {
        for (uid, n) in [(ANN, 1), (BEN, 2), (ROOT, 3)] {
            let mut tool = connect_as(&home.socket(), uid);
            assert_eq!(tool.ask(&event(n))["status"], "queued");
            for action in ["explain", "deny", "allow", "reset"] {
                tool.send(&json!({"op": "consent", "action": action, "tool": "other"}));
                while tool.answer()["ok"] != true {}
            }
            for op in ["status", "doctor", "metrics", "config"] {
                assert_eq!(tool.ask(&json!({"op": op}))["ok"], true, "{op}");
            }
        }
        assert_eq!(
            connect_as(&home.socket(), ROOT).ask(&json!({"op": "reload"}))["ok"],
            true
        );
        endpoint.wait_for_ids((1..4).map(id));
    });
    let Some(trace) = trace else { return };
    assert!(
        trace.contains("/consent/") && trace.contains("queue.db"),
        "nothing was seen:\n{trace}"
    );
    let homes = [
        private.display().to_string(),
        "/home".to_owned(),
        "/root".to_owned(),
    ];
    for line in trace.lines().filter(|line| !line.contains("execve(")) {
        // The program itself may lie in somebody's home, and asks where it lies.
        let path = line.split('"').nth(1).unwrap_or_default();
        let looked = homes
            .iter()
            .any(|home| path == home || path.starts_with(&format!("{home}/")));
        assert!(!looked, "{line}");
    }
}

#[test]
fn under_the_machines_opt_out_no_internet_socket_is_opened_for_any_user() {
    let Some(home) = machine() else {
        return;
    };
    let endpoint = Collector::for_tool(TOOL);
    // First that the test can see one at all.
    let seen = traced(&home, "%network", &destination(&endpoint.url(), SOON), |_| {
        let mut tool = connect_as(&home.socket(), ANN);
        assert_eq!(tool.ask(&event(1))["status"], "queued");
        endpoint.wait_for_ids([id(1)]);
        // Settled, too: the next daemon would send it again.
        assert_eq!(tool.ask(&json!({"op": "flush", "wait": true}))["left"], 0);
    });
    let Some(seen) = seen else { return };
    assert!(seen.contains("AF_INET"), "nothing was seen:\n{seen}");

    // Rows of both, then the opt-out, then a daemon that would have had something to send.
    let nothing = Collector::builder().expect_nothing().start();
    let mut before = builder(&home, &destination(&nothing.url(), TOLD)).start();
    for (uid, n) in [(ANN, 2), (BEN, 3)] {
        assert_eq!(connect_as(&home.socket(), uid).ask(&event(n))["status"], "queued");
    }
    before.kill9();
    drop(before);
    home.write(home.machine_dir().join("opt-out"), "");
    for _ in 0..2 {
        let trace = traced(&home, "%network", &destination(&nothing.url(), SOON), |_| {
            for uid in [ANN, BEN, ROOT] {
                let mut tool = connect_as(&home.socket(), uid);
                assert_eq!(tool.ask(&event(9))["by"], "machine");
                for op in ["flush", "status", "doctor"] {
                    assert_eq!(tool.ask(&json!({"op": op, "wait": true}))["ok"], true);
                }
            }
            for op in ["reload", "resume", "flush"] {
                let asked = json!({"op": op, "wait": true, "all_users": true});
                assert_eq!(connect_as(&home.socket(), ROOT).ask(&asked)["ok"], true);
            }
        });
        let trace = trace.expect("strace works");
        assert!(trace.contains("AF_UNIX"), "{trace}");
        assert!(
            !trace.contains("AF_INET"),
            "an internet socket was opened:\n{trace}"
        );
    }
}

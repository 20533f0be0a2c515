//! The system calls of a whole life: those that the machine's unit lets through (`SystemCallFilter=`), and none of the
//! internet before the first batch is due.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use telemetry_testkit::{Authority, Collector, DEADLINE, Daemon, Flaw, Home, eventually};

use crate::stage::{SOON, TOLD, TOOL, ask, destination, event, home, id, queue};
use crate::system::{ANN, ROOT, builder, connect_as, machine};

/// The calls of systemd's groups; `None`: systemd is not here.
fn group(name: &str) -> Option<BTreeSet<String>> {
    let said = Command::new("systemd-analyze")
        .args(["syscall-filter", name])
        .output()
        .ok()
        .filter(|said| said.status.success())?;
    let text = String::from_utf8(said.stdout).expect("names of calls are text");
    let mut calls = BTreeSet::new();
    let lines = text.lines().skip(1).map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.starts_with('@') {
            true => calls.extend(group(line)?),
            false => {
                calls.insert(line.to_owned());
            }
        }
    }
    Some(calls)
}

/// What the unit's lines leave, one after another as systemd reads them.
fn allowed() -> Option<BTreeSet<String>> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/system/telemetryd.service");
    let unit = fs::read_to_string(unit).expect("the unit is there");
    // Always there (systemd.exec(5), SystemCallFilter=).
    let mut calls = group("@default")?;
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="));
    for line in lines {
        let (less, words) = match line.strip_prefix('~') {
            Some(words) => (true, words),
            None => (false, line),
        };
        for word in words.split_whitespace() {
            let named = match word.starts_with('@') {
                true => group(word)?,
                false => BTreeSet::from([word.to_owned()]),
            };
            match less {
                true => calls.retain(|call| !named.contains(call)),
                false => calls.extend(named),
            }
        }
    }
    Some(calls)
}

/// The names in a trace: `PID name(…` and `PID <... name resumed>…`.
fn called(trace: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let call = line.split_once(' ')?.1.trim_start();
        let call = call.strip_prefix("<... ").unwrap_or(call);
        if call.starts_with("+++") || call.starts_with("---") {
            return None;
        }
        let end = call.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        (end > 0).then(|| call[..end].to_owned())
    };
    trace.lines().filter_map(name).collect()
}

/// A home for the machine's daemon, and the calls that its unit lets through; `None`: not here.
fn furnished() -> Option<(Home, BTreeSet<String>)> {
    let home = machine()?;
    let Some(allowed) = allowed() else {
        crate::stage::skipped("systemd-analyze is needed");
        return None;
    };
    assert!(allowed.contains("openat") && !allowed.contains("chown") && !allowed.contains("mount"));
    Some((home, allowed))
}

/// Nothing was called but these, and that something was seen.
#[track_caller]
fn within(trace: &str, allowed: &BTreeSet<String>) {
    let called = called(trace);
    assert!(
        called.contains("execve") && called.contains("pwrite64"),
        "{called:?}"
    );
    // SQLite gives a file that root makes to whom the database belongs (`robustFchown`), and asks so of root alone; the
    // unit's daemon is `telemetryd`.
    let as_root = "fchown";
    let outside: Vec<&String> = called
        .iter()
        .filter(|call| !allowed.contains(*call) && *call != as_root)
        .collect();
    assert!(outside.is_empty(), "the unit forbids {outside:?}");
}

#[test]
fn every_system_call_of_a_life_is_one_that_the_unit_lets_through() {
    let Some((home, allowed)) = furnished() else {
        return;
    };
    let endpoint = Collector::builder()
        .expect_tool(TOOL)
        .expect_undecodable() // the probe's HEAD
        .start();
    let config = destination(&endpoint.url(), &format!("{SOON}compression = \"gzip\"\n"));
    let builder = builder(&home, &config);
    let trace = crate::traced::traced(&home, builder, "all", |_| {
        let mut tool = connect_as(&home.socket(), ANN);
        assert_eq!(tool.ask(&event(1))["status"], "queued");
        let synced = json!({"tool": TOOL, "event": "ran", "id": id(2), "ack": "synced"});
        assert_eq!(tool.ask(&synced)["status"], "synced");
        endpoint.wait_for_ids((1..3).map(id));
        for op in ["status", "doctor", "metrics", "config"] {
            assert_eq!(tool.ask(&json!({"op": op}))["ok"], true, "{op}");
        }
        for action in ["deny", "reset"] {
            tool.send(&json!({"op": "consent", "action": action, "tool": TOOL}));
            while tool.answer()["ok"] != true {}
        }
        let mut root = connect_as(&home.socket(), ROOT);
        for op in ["reload", "pause", "resume", "flush", "doctor"] {
            let asked = json!({"op": op, "probe": true, "all_users": true});
            assert_eq!(root.ask(&asked)["ok"], true, "{op}");
        }
        assert_eq!(root.ask(&json!({"op": "stop"}))["ok"], true);
    });
    let Some(trace) = trace else { return };
    within(&trace, &allowed);
}

#[test]
fn nor_does_the_unit_forbid_a_call_of_a_life_with_a_damaged_queue_a_gateway_names_and_tls() {
    let Some((home, allowed)) = furnished() else {
        return;
    };
    let authority = Authority::new();
    let endpoint = Collector::builder()
        .tls(authority.server(Flaw::None).tls())
        .expect_tool(TOOL)
        .expect_duplicates() // what is salvaged may have been delivered
        .start();
    let tls = format!("tls = {{ ca_file = \"{}\" }}\n", authority.ca_file().display());
    let config = |when: &str| destination(&endpoint.url_by_name(), &format!("{when}{tls}"));
    // An event of an earlier life, in a file that is damaged since.
    let mut daemon = builder(&home, &config(TOLD)).start();
    let mut tool = connect_as(&home.socket(), ANN);
    assert_eq!(tool.ask(&event(1))["status"], "queued");
    daemon.kill9();
    drop(daemon);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(home.state_dir().join("queue.db"));
    file.unwrap().write_all_at(&[0x55; 4096], 0).unwrap();
    let gateway = home.runtime_dir().join("gateway.sock");
    let config = config(SOON);
    let config = format!("{config}[gateway]\nlisten = \"{}\"\n", gateway.display());
    let trace = crate::traced::traced(&home, builder(&home, &config), "all", |daemon| {
        let mut http = eventually("the gateway listens", DEADLINE, || {
            UnixStream::connect(&gateway).ok()
        });
        let body = r#"{"event":"e","userId":"u"}"#;
        let head = "POST /t/demo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
        write!(http, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        endpoint.wait_for_events(2);
        // A socket that is deleted comes back.
        fs::remove_file(home.socket()).unwrap();
        eventually("the socket is back", DEADLINE, || {
            home.socket().exists().then_some(())
        });
        assert!(daemon.log().contains("salvaged=1"), "{}", daemon.log());
        let mut root = connect_as(&home.socket(), ROOT);
        let purge = json!({"op": "queue", "action": "purge", "all_users": true});
        assert_eq!(root.ask(&purge)["ok"], true);
        assert_eq!(root.ask(&json!({"op": "stop"}))["ok"], true);
    });
    let Some(trace) = trace else { return };
    within(&trace, &allowed);
}

#[test]
fn no_internet_socket_is_opened_before_the_first_batch_is_due() {
    let endpoint = Collector::for_tool(TOOL);
    let home = home();
    let config = destination(&endpoint.url(), TOLD);
    let calls = |live: &dyn Fn(&Daemon)| {
        let builder = Daemon::builder(&home).config(&config);
        crate::traced::traced(&home, builder, "%network", |daemon| {
            live(daemon);
            assert_eq!(ask(daemon, &json!({"op": "stop", "drain_ms": 0}))["ok"], true);
        })
    };
    let quiet = calls(&|daemon| {
        queue(daemon, (0..20).map(event));
        for op in ["status", "doctor", "metrics", "config", "reload"] {
            assert_eq!(ask(daemon, &json!({"op": op}))["ok"], true, "{op}");
        }
    });
    let Some(quiet) = quiet else { return };
    assert!(quiet.contains("AF_UNIX"), "nothing was seen:\n{quiet}");
    assert!(!quiet.contains("AF_INET"), "before a batch was due:\n{quiet}");
    // And that the test can see one.
    let due = calls(&|daemon| {
        assert_eq!(ask(daemon, &json!({"op": "flush", "wait": true}))["left"], 0);
    });
    assert!(due.expect("strace works").contains("AF_INET"));
    endpoint.wait_for_events(20);
}

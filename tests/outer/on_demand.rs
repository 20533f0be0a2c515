//! A tool of three lines on a machine where no daemon runs and nobody has set one up: its first event waits, a daemon
//! comes by itself from beside the tool, and the event arrives.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use telemetry_testkit::{Collector, DEADLINE, eventually, telemetryctl, telemetryd};

use crate::stage::{SOON, destination};

/// Nobody: no daemon is ever started for root.
const NOBODY: u32 = 65_534;

/// A user's machine: the programs beside each other, a home with a config, no service manager and no socket.
struct Machine {
    root: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    fn new(endpoint: &Collector) -> Self {
        let root = tempfile::tempdir().unwrap();
        let machine = Self {
            variables: Vec::new(),
            root,
        };
        let bin = machine.at("bin");
        for directory in ["bin", "home", "home/.config", "home/.config/telemetryd", "run"] {
            std::fs::create_dir(machine.at(directory)).unwrap();
        }
        for program in [
            telemetryd(),
            telemetryctl(),
            env!("CARGO_BIN_EXE_sample-tool").into(),
            env!("CARGO_BIN_EXE_older-daemon").into(),
            env!("CARGO_BIN_EXE_forking-host").into(),
        ] {
            let name = program.file_name().unwrap();
            // Programs of a debug build are large: a second name where that can be.
            if std::fs::hard_link(&program, bin.join(name)).is_err() {
                std::fs::copy(&program, bin.join(name)).unwrap();
            }
        }
        let config = machine.at("home/.config/telemetryd/config.toml");
        std::fs::write(config, destination(&endpoint.url(), SOON)).unwrap();
        std::fs::set_permissions(machine.root.path(), Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(machine.at("run"), Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            for place in ["home", "home/.config", "home/.config/telemetryd", "run"] {
                chown(machine.at(place), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        machine
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program, arguments).output().unwrap()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.at("bin").join(program));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.at("home"))
            .env("XDG_RUNTIME_DIR", self.at("run"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.at("home"));
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs the tool; what became of its event.
    fn tool(&self) -> String {
        let output = self.run("sample-tool", &[]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Puts the tool's manifest where the daemon knows it from.
    fn installed(&self) {
        let tools = self.at("home/.local/share/telemetryd/tools.d");
        let install = "mkdir -p \"$0\" && \"$1\" --manifest >\"$0/sample.toml\"";
        let (tools, tool) = (tools.to_str().unwrap(), self.at("bin/sample-tool"));
        let output = self.run("/bin/sh", &["-c", install, tools, tool.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(self.at("home/.local/state/telemetryd/spool")).map_or(0, Iterator::count)
    }
}

impl Drop for Machine {
    /// A daemon that came by itself is ended by the test that it came for.
    fn drop(&mut self) {
        let socket = self.at("run/telemetryd/telemetryd.sock");
        if socket.exists() {
            self.run("telemetryctl", &["stop"]);
            eventually("the daemon has gone", DEADLINE, || {
                (!socket.exists()).then_some(())
            });
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn socket(machine: &Machine) -> PathBuf {
    machine.at("run/telemetryd/telemetryd.sock")
}

/// Whether programs can be run as somebody else from there (a folder of root's alone is none).
fn everybody_may_enter(path: &Path) -> bool {
    path.ancestors().all(|above| {
        above
            .metadata()
            .is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    })
}

#[test]
fn the_first_event_of_a_tool_waits_a_daemon_comes_by_itself_and_the_event_arrives() {
    let endpoint = Collector::for_tool("sample");
    let machine = Machine::new(&endpoint);
    if is_root() && !everybody_may_enter(machine.root.path()) {
        return;
    }
    assert_eq!(machine.tool(), "Kept");
    endpoint.wait_for_events(1);
    let event = endpoint.events()[0].clone();
    assert_eq!(
        event["properties"],
        serde_json::json!({"files": 3}),
        "a text does not wait on the disk"
    );
    assert_eq!(event["context"]["library"]["name"], "telemetryd-rust");
    eventually("the spool is empty", DEADLINE, || {
        (machine.spooled() == 0).then_some(())
    });
    // The next one goes straight to the daemon that is there now.
    assert_eq!(machine.tool(), "Handed");
    endpoint.wait_for_events(2);
    let text = endpoint.events()[1]["properties"]["text"].clone();
    assert_eq!(text, "<path>", "and a text is looked through");
    drop(machine);
    endpoint.finish();
}

/// Whether somebody holds the lock of a start on demand.
fn lock_is_held(machine: &Machine) -> bool {
    let lock = std::fs::File::open(machine.at("home/.local/state/telemetryd/start.lock")).unwrap();
    lock.try_lock().is_err()
}

#[test]
fn an_older_daemon_that_was_started_on_demand_leaves_and_the_next_event_starts_the_newer() {
    let endpoint = Collector::for_tool("sample");
    let machine = Machine::new(&endpoint);
    if is_root() && !everybody_may_enter(machine.root.path()) {
        return;
    }
    machine.installed();
    let older = machine
        .command("older-daemon", &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it listens", DEADLINE, || socket(&machine).exists().then_some(()));
    // Asked within the deadline of an event: on a busy machine by one of the next.
    eventually("it has gone", DEADLINE, || {
        assert!(matches!(&*machine.tool(), "Handed" | "Kept"));
        (!socket(&machine).exists()).then_some(())
    });
    let heard = String::from_utf8(older.wait_with_output().unwrap().stdout).unwrap();
    let heard: Vec<&str> = heard.lines().filter(|line| *line != "event").collect();
    assert_eq!(heard.last(), Some(&"stop"), "{heard:?}");
    eventually("the newer is there", DEADLINE, || {
        machine.tool();
        socket(&machine).exists().then_some(())
    });
    endpoint.wait_for_events(1);
    assert!(lock_is_held(&machine), "by the daemon, for as long as it lives");
    // It was asked for today, and is not older.
    assert_eq!(machine.tool(), "Handed");
    assert!(socket(&machine).exists());
    drop(machine);
    endpoint.finish();
}

#[test]
fn a_host_that_forks_while_its_threads_send_goes_on_and_so_do_its_children() {
    let endpoint = Collector::for_tool("sample");
    let machine = Machine::new(&endpoint);
    if is_root() && !everybody_may_enter(machine.root.path()) {
        return;
    }
    let output = machine.run("forking-host", &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let said = |who: &str| text.lines().filter(|line| line.starts_with(who)).count();
    assert_eq!((said("child "), said("host ")), (40, 41), "{text}");
    assert!(!text.contains("Lost") && !text.contains("Unfit"), "{text}");
    // Two of each child, and one of the host after it: each is an event of its own.
    let flush = || {
        machine.run("telemetryctl", &["flush", "--wait", "--timeout", "5s"]);
        let events = endpoint.events();
        let of =
            |least: i64| move |event: &&serde_json::Value| event["properties"]["n"].as_i64() > Some(least);
        let children = events.iter().filter(of(0)).count();
        (children == 120).then_some(events)
    };
    let events = eventually("all have arrived", DEADLINE, flush);
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), events.len());
    drop(machine);
    endpoint.finish();
}

#[test]
fn no_daemon_comes_where_somebody_has_said_so_and_the_event_waits_or_not() {
    let endpoint = Collector::for_tool("sample");
    for (name, value, sent) in [
        ("TELEMETRYD_AUTOSTART", "0", "Kept"),
        ("CI", "true", "Kept"),
        ("DO_NOT_TRACK", "", "Declined"),
    ] {
        let machine = Machine::new(&endpoint).with(name, value);
        if is_root() && !everybody_may_enter(machine.root.path()) {
            return;
        }
        assert_eq!(machine.tool(), sent, "{name}");
        assert!(!socket(&machine).exists(), "{name}");
        assert!(
            !machine.at("home/.local/state/telemetryd/start.lock").exists(),
            "{name}"
        );
        assert_eq!(machine.spooled() > 0, sent == "Kept", "{name}");
    }
    endpoint.finish();
}

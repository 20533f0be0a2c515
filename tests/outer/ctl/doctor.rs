//! `doctor` finds what keeps events from being recorded or sent: each thing is made to happen once, with the real
//! programs, and each comes with a hint.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{
    Authority, Collector, ConnectProxy, Ctl, DEADLINE, Daemon, Exit, Flaw, Home, Manners, Port, eventually,
};

use crate::stage::{SOON, Stage, TOLD, TOOL, destination, event, home, queue, skipped};

/// What was found.
struct Found {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Found {
    fn of(exit: &Exit) -> Self {
        Self {
            code: exit.code,
            checks: exit.json_lines(),
        }
    }

    /// The one check that says this, and that it is in that state; one that is not in order has a hint.
    #[track_caller]
    fn says(&self, check: &str, state: &str, told: &str) -> &Value {
        let found = self.checks.iter().find(|line| {
            line["check"] == check
                && line["state"] == state
                && line["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains(told))
        });
        let found =
            found.unwrap_or_else(|| panic!("no {check} that is {state} for {told}: {:#?}", self.checks));
        assert!(state == "ok" || found["hint"].is_string(), "no hint: {found}");
        found
    }

    fn failed(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|line| line["state"] == "fail");
        failed.filter_map(|line| line["check"].as_str()).collect()
    }
}

#[track_caller]
fn doctor(ctl: &Ctl) -> Found {
    Found::of(&ctl.run(["doctor", "--json"]))
}

#[test]
fn a_gateway_that_cannot_listen_is_found_and_a_reload_tries_again() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let home = home();
    let daemon = Daemon::start(&home, &format!("[gateway]\nlisten = \"{address}\"\n"));
    doctor(&daemon.ctl()).says("gateway", "fail", &address.to_string());
    let shown = daemon.ctl().run(["status"]).expect_code(0).stdout;
    assert!(shown.contains("gateway    failed: "), "{shown}");
    drop(taken);
    daemon.ctl().run(["reload"]).expect_code(0);
    let listens = format!("listens on {address}");
    eventually("it listens", DEADLINE, || {
        let found = doctor(&daemon.ctl());
        found
            .checks
            .iter()
            .any(|check| check["detail"] == listens)
            .then_some(())
    });
    let shown = daemon.ctl().run(["status"]).expect_code(0).stdout;
    assert!(shown.contains(&format!("gateway    {address}")), "{shown}");
}

/// A script that stands for a program.
fn script(home: &Home, name: &str, text: &str) -> PathBuf {
    home.write(name, format!("#!/bin/sh\n{text}\n"));
    let path = home.root().join(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn as_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("root is needed");
    }
    root
}

#[test]
fn all_is_in_order_and_every_line_says_so() {
    let stage = Stage::new(Script::new(), TOLD);
    let found = doctor(&stage.daemon.ctl());
    assert_eq!(
        (found.code, found.failed()),
        (Some(0), vec![]),
        "{:#?}",
        found.checks
    );
    for check in [
        "socket",
        "lock",
        "versions",
        "books",
        "integrity",
        "disk",
        "destination",
        "socket file",
        "state directory",
        "queue file",
        "config directory",
        "disk space",
        "file system",
        "consent",
        "config",
        "clock",
        "service",
    ] {
        found.says(check, "ok", "");
    }
    let text = stage.daemon.ctl().ok(["doctor"]).stdout;
    assert_eq!(
        text.lines().count(),
        found.checks.len(),
        "one line a check: {text}"
    );
}

#[test]
fn no_daemon() {
    let home = home();
    let found = doctor(&Ctl::new(&home));
    assert_eq!((found.code, found.failed()), (Some(3), vec!["socket"]));
    found.says("socket", "fail", "no daemon answers");
}

#[test]
fn a_daemon_that_takes_connections_and_does_not_answer() {
    let home = home();
    fs::create_dir_all(home.socket().parent().unwrap()).unwrap();
    // As a daemon that hangs: the system takes connections for it, and nobody reads them.
    let _wedged = std::os::unix::net::UnixListener::bind(home.socket()).unwrap();
    let found = doctor(&Ctl::new(&home));
    assert_eq!(found.code, Some(1));
    found.says("socket", "fail", "does not answer");
}

#[test]
fn files_that_others_may_read_or_change_and_files_that_are_somebody_elses() {
    let stage = Stage::new(Script::new(), TOLD);
    let ctl = stage.daemon.ctl();
    let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (check, path, wrong, right) in [
        ("state directory", stage.home.state_dir(), 0o755, 0o700),
        (
            "queue file",
            stage.home.state_dir().join("queue.db"),
            0o644,
            0o600,
        ),
        ("socket file", stage.home.socket(), 0o666, 0o600),
        ("config directory", stage.home.config_dir(), 0o777, 0o755),
    ] {
        set(&path, wrong);
        let found = doctor(&ctl);
        set(&path, right);
        let told = found.says(check, "warn", &format!("mode {wrong:04o}"));
        assert!(
            told["detail"]
                .as_str()
                .unwrap()
                .contains(&path.display().to_string())
        );
        assert_eq!(found.code, Some(0), "it works: {:#?}", found.checks);
    }
    set(&stage.home.config_file(), 0o666);
    let found = doctor(&ctl);
    assert_eq!(found.code, Some(1));
    let told = found.says("config", "fail", "everybody may write to the file");
    assert!(told["hint"].as_str().unwrap().contains("chmod o-w"), "{told}");
    set(&stage.home.config_file(), 0o600);
    if as_root() {
        let state = stage.home.state_dir();
        std::os::unix::fs::chown(&state, Some(12_345), None).unwrap();
        let found = doctor(&ctl);
        std::os::unix::fs::chown(&state, Some(0), None).unwrap();
        assert_eq!(found.code, Some(1));
        found.says("state directory", "fail", "belongs to uid 12345");
    }
}

#[test]
fn a_full_disk() {
    let works = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .status();
    if !works.is_ok_and(|status| status.success()) {
        skipped("root and unshare are needed");
        return;
    }
    let home = home();
    let program = script(
        &home,
        "on-a-small-disk",
        &format!(
            "exec unshare -m sh -c 'mount -t tmpfs -o mode=0700,size=24m tmpfs \"$TELEMETRYD_STATE_DIR\" && exec {}'",
            telemetry_testkit::telemetryd().display()
        ),
    );
    let nowhere = Port::reserve();
    let url = format!("http://{}/", nowhere.address());
    home.write_config(&destination(
        &url,
        &format!("{TOLD}[queue]\nmax_bytes = \"8MiB\"\nmax_bytes_per_tool = \"8MiB\"\n"),
    ));
    let daemon = Daemon::builder(&home).program(program).start();
    let pid = daemon.pid().to_string();
    let state = home.state_dir();
    let filler = PathBuf::from(format!("/proc/{pid}/root"))
        .join(state.strip_prefix("/").unwrap())
        .join("filler");
    let mut file = fs::File::create(filler).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    // An event that finds no room, so that the daemon knows it, too.
    let mut tool = daemon.connect();
    eventually("an event is refused", DEADLINE, || {
        let answer = tool.ask(&serde_json::json!({
            "tool": TOOL, "event": "ran", "properties": {"s": "x".repeat(20_000)}
        }));
        (answer["error"] == "storage").then_some(())
    });
    // Where the daemon sees its disk.
    let seen = home
        .command("nsenter")
        .args(["-m", "-t", &pid])
        .arg(telemetry_testkit::telemetryctl())
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8(seen.stdout).unwrap();
    let found = Found {
        code: seen.status.code(),
        checks: said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    };
    assert_eq!(found.code, Some(1));
    found.says("disk", "fail", "the disk full");
    found.says("disk space", "fail", "free at");
}

#[cfg(target_os = "linux")]
#[test]
fn a_network_file_system() {
    // strace says NFS in the kernel's place.
    const NFS: [&str; 5] = [
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-einject=statfs:poke_exit=@arg2=6969000000000000",
    ];
    let tried = Command::new("strace").args(NFS).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        skipped("strace that can change what a system call returns is needed");
        return;
    }
    let home = home();
    let ctl = telemetry_testkit::telemetryctl();
    let output = home
        .command("strace")
        .args(NFS)
        .arg(ctl)
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let checks = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found = Found {
        code: output.status.code(),
        checks,
    };
    let told = found.says("file system", "warn", "is on NFS");
    assert!(told["hint"].as_str().unwrap().contains("/var/tmp"), "{told}");
}

/// Runs a statement on the queue of a daemon that does not run.
fn sql(home: &Home, statement: &str) -> bool {
    let file = home.state_dir().join("queue.db");
    let ran = Command::new("sqlite3").arg(file).arg(statement).status();
    let ran = ran.is_ok_and(|status| status.success());
    if !ran {
        skipped("sqlite3 is needed");
    }
    ran
}

#[test]
fn books_that_do_not_balance() {
    let mut stage = Stage::new(Script::new(), SOON);
    stage.queue([event(1)]);
    assert_eq!(stage.flush()["left"], 0);
    stage.daemon.term();
    if !sql(&stage.home, "UPDATE lane SET accepted = accepted + 7") {
        return;
    }
    stage.daemon.restart();
    let found = doctor(&stage.daemon.ctl());
    assert_eq!(found.code, Some(1));
    let told = found.says("books", "fail", "1 do not balance");
    assert!(told["hint"].as_str().unwrap().contains("report"), "{told}");
}

#[test]
fn a_file_that_is_damaged() {
    let mut stage = Stage::new(Script::new(), TOLD);
    for n in 0..20 {
        let properties = serde_json::json!({"s": "x".repeat(30_000)});
        stage.queue([serde_json::json!({"tool": TOOL, "event": "ran", "id": crate::stage::id(n), "properties": properties})]);
    }
    stage.daemon.term();
    let file = stage.home.state_dir().join("queue.db");
    let mut bytes = fs::read(&file).unwrap();
    // The head of the file's first page: no SQLite file any more.
    bytes[..64].fill(0xAA);
    fs::write(&file, bytes).unwrap();
    stage.daemon.restart();
    let found = doctor(&stage.daemon.ctl());
    let told = found.says("queue file", "warn", "was damaged and set aside on 20");
    assert!(
        told["hint"].as_str().unwrap().contains("booked as lost"),
        "{told}"
    );
}

#[test]
fn a_configuration_with_mistakes_with_and_without_a_daemon() {
    let stage = Stage::new(Script::new(), TOLD);
    stage
        .home
        .write_config("[queue]\nmax_bites = 1\n[limits]\nmax_depth = 1000\n");
    let home = home();
    home.write_config("[queue]\nmax_bites = 1\n[limits]\nmax_depth = 1000\n");
    for (ctl, code) in [(stage.daemon.ctl(), 1), (Ctl::new(&home), 1)] {
        let found = doctor(&ctl);
        assert_eq!(found.code, Some(code), "{:#?}", found.checks);
        let told = found.says("config", "fail", "queue.max_bites: unknown key");
        assert!(
            told["hint"].as_str().unwrap().contains("queue.max_bytes"),
            "{told}"
        );
        found.says("config", "fail", "limits.max_depth");
    }
}

#[test]
fn a_policy_in_force() {
    let stage = Stage::new(Script::new(), TOLD);
    let switch = stage.home.machine_dir().join("opt-out");
    stage.home.write(&switch, "");
    let found = doctor(&stage.daemon.ctl());
    assert_eq!(found.code, Some(0), "it is no fault: {:#?}", found.checks);
    found.says("policy", "warn", &switch.display().to_string());
    // And nobody is asked, whatever is asked for.
    let ctl = stage.daemon.ctl();
    let found = Found::of(&ctl.run(["doctor", "--probe", "--json"]));
    found.says(
        "probe",
        "warn",
        "nobody was asked: off for every tool, by machine",
    );
    assert!(stage.endpoint.requests().is_empty());
}

#[test]
fn a_clock_that_is_behind_the_files() {
    let stage = Stage::new(Script::new(), TOLD);
    let file = fs::File::options()
        .write(true)
        .open(stage.home.state_dir().join("queue.lock"))
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "a file's time is set by the clock")]
    let now = SystemTime::now();
    for (ahead, state, code) in [(3600, "warn", 0), (3 * 86_400, "fail", 1)] {
        file.set_modified(now + Duration::from_secs(ahead)).unwrap();
        let found = doctor(&stage.daemon.ctl());
        let told = found.says("clock", state, "queue.lock was written");
        assert!(told["hint"].as_str().unwrap().contains("set-ntp"), "{told}");
        assert_eq!(found.code, Some(code));
    }
}

#[test]
fn a_service_that_has_failed_or_is_not_enabled() {
    let stage = Stage::new(Script::new(), TOLD);
    let bin = stage.home.root().join("bin");
    fs::create_dir(&bin).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    stage.home.set_env("PATH", format!("{}:{path}", bin.display()));
    for (active, state, told) in [
        ("failed", "fail", "has failed (exit-code)"),
        ("inactive", "warn", "telemetryd.service is inactive"),
        ("active", "ok", "telemetryd.service is active"),
    ] {
        let unit = |id: &str, active: &str| {
            format!(
                "Id={id}\\nLoadState=loaded\\nActiveState={active}\\nUnitFileState=disabled\\nResult=exit-code\\n"
            )
        };
        let said = format!(
            "{}\\n{}",
            unit("telemetryd.service", active),
            unit("telemetryd.socket", "inactive")
        );
        // The machine's has none; the user's has both.
        script(
            &stage.home,
            "bin/systemctl",
            &format!(
                "case $1 in --user) printf '{said}';; *) printf 'Id=telemetryd.service\\nLoadState=not-found\\n';; esac"
            ),
        );
        doctor(&stage.daemon.ctl()).says("service", state, told);
    }
    script(
        &stage.home,
        "bin/systemctl",
        "echo 'Failed to connect to bus: No medium found' >&2; exit 1",
    );
    doctor(&stage.daemon.ctl()).says("service", "ok", "Failed to connect to bus");
}

#[test]
fn a_destination_that_waits_or_is_held_says_what_to_do() {
    let stage = Stage::new(
        Script::new()
            .then(Step::status(503).times(1))
            .then(Step::status(404)),
        TOLD,
    );
    stage.queue([event(1)]);
    for (state, told) in [
        ("warn", "default is backoff: the endpoint answered 503"),
        ("fail", "default is held"),
    ] {
        crate::stage::ask(&stage.daemon, &serde_json::json!({"op": "flush"}));
        eventually("doctor tells it", DEADLINE, || {
            let found = doctor(&stage.daemon.ctl());
            let line = found.checks.iter().find(|line| line["check"] == "destination")?;
            (line["state"] == state && line["detail"].as_str()?.starts_with(told)).then(|| {
                found.says("destination", state, told);
            })
        });
    }
    stage.daemon.ctl().ok(["resume"]);
    stage.daemon.ctl().ok(["pause"]);
    doctor(&stage.daemon.ctl()).says("destination", "warn", "default is paused");
}

#[test]
fn an_endpoint_that_cannot_be_reached_step_by_step() {
    let authority = Authority::new();
    let endpoint = Collector::builder()
        .tls(authority.server(Flaw::None).tls())
        .expect_foreign_requests()
        .expect_undecodable()
        .start();
    let refusing = Collector::builder()
        .script(Script::new().then(Step::status(401)))
        .expect_foreign_requests()
        .expect_undecodable()
        .start();
    let proxy = ConnectProxy::start(endpoint.address(), Manners::OpenFor("eA==".to_owned()));
    let nobody = Port::reserve();
    let ca = format!("ca_file = \"{}\"", authority.ca_file().display());
    let home = home();
    let mut config = String::new();
    for (name, url, more) in [
        ("good", endpoint.url_by_name(), format!("tls = {{ {ca} }}")),
        (
            "no-file",
            endpoint.url(),
            "tls = { ca_file = \"/nonexistent/ca.pem\" }".to_owned(),
        ),
        (
            "no-name",
            "https://no-such-host.invalid/".to_owned(),
            String::new(),
        ),
        (
            "no-server",
            format!("https://{}/", nobody.address()),
            String::new(),
        ),
        (
            "no-tunnel",
            endpoint.url(),
            format!("tls = {{ {ca} }}\nproxy = \"{}\"", proxy.url()),
        ),
        ("no-trust", endpoint.url(), String::new()),
        ("no-credential", refusing.url(), String::new()),
    ] {
        config.push_str(&format!("[destinations.{name}]\nurl = \"{url}\"\n{TOLD}{more}\n"));
    }
    config.push_str("[defaults]\ndestination = \"good\"\n");
    let daemon = Daemon::start(&home, &config);
    queue(&daemon, [event(1)]);
    // Without --probe nobody is asked.
    assert!(
        doctor(&daemon.ctl())
            .checks
            .iter()
            .all(|line| !line["check"].as_str().unwrap().starts_with("probe"))
    );
    let found = Found::of(&daemon.ctl().run(["doctor", "--probe", "--json"]));
    assert_eq!(found.code, Some(1));
    for step in ["settings", "dns", "tcp", "tls", "http"] {
        found.says(&format!("probe {step}"), "ok", "good: ");
    }
    found.says("probe settings", "fail", "no-file: ca_file /nonexistent/ca.pem");
    found.says(
        "probe dns",
        "fail",
        "no-name: looking up the name no-such-host.invalid",
    );
    found.says("probe tcp", "fail", "no-server: connecting to");
    found.says("probe proxy", "fail", "no-tunnel: the proxy http://127.0.0.1");
    found.says("probe tls", "fail", "no-trust: the TLS handshake");
    found.says(
        "probe http",
        "fail",
        "no-credential: the endpoint answers HEAD with 401",
    );
    found.says("clock", "ok", "agrees with the server of good");
    assert_eq!(
        endpoint.counts().unique + refusing.counts().unique,
        0,
        "no event goes"
    );
}

//! The machine's daemon: the package as it is installed, its units, and what they promise.

use serde_json::Value;
use telemetry_testkit::{DEADLINE, Deadline, eventually};

use crate::machine::{ALICE, BOB, ENDPOINT, Machine, Person, package};

/// A file in the home of root, who has one too.
const ROOTS: &str = concat!("/ro", "ot/y");

/// A machine with the package installed and a tool that is on unless denied. Nothing of it runs.
#[track_caller]
fn installed() -> Option<Machine> {
    let (_out, file) = package("0.1.0");
    let machine = Machine::boot_with(&[(&file, "var/telemetryd.deb")])?;
    machine.sh("dpkg --install /var/telemetryd.deb");
    machine.write(
        "/etc/telemetryd/tools.d/demo.toml",
        "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"\n",
    );
    Some(machine)
}

/// And events have somewhere to go, at once or when told.
#[track_caller]
fn configured(max_wait: &str) -> Option<Machine> {
    let machine = installed()?;
    machine.start_endpoint();
    machine.write(
        "/etc/telemetryd/config.toml",
        &format!("[destinations.default]\nurl = \"{ENDPOINT}\"\nbatch = {{ max_wait = \"{max_wait}\" }}\n"),
    );
    Some(machine)
}

/// Sends one event; what it was answered.
#[track_caller]
fn send(machine: &Machine, person: Person, n: u32) -> Value {
    let said = machine.sh_as(
        person,
        &format!("telemetryctl send --strict --json demo ran -p n={n}"),
    );
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The numbers that arrived, sorted.
fn numbers(events: &[Value]) -> Vec<u64> {
    let mut numbers: Vec<u64> = events
        .iter()
        .filter_map(|event| event["properties"]["n"].as_u64())
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn the_first_event_of_an_unprivileged_user_starts_the_daemon_and_two_users_events_arrive() {
    let Some(machine) = configured("50ms") else { return };
    let states = machine
        .try_sh("systemctl is-enabled telemetryd.socket telemetryd.service")
        .stdout;
    assert_eq!(states, "disabled\ndisabled\n", "a package enables nothing");
    assert_eq!(machine.try_sh("pgrep -x telemetryd").code, Some(1));

    machine.sh("systemctl enable --now telemetryd.socket");
    assert_eq!(
        machine.try_sh("pgrep -x telemetryd").code,
        Some(1),
        "nobody has said anything yet"
    );
    send(&machine, ALICE, 1);
    assert_eq!(machine.property("telemetryd.service", "ActiveState"), "active");
    assert_eq!(
        machine.property("telemetryd.service", "StatusText"),
        "listening at /run/telemetryd/telemetryd.sock"
    );
    send(&machine, BOB, 2);
    assert_eq!(numbers(&machine.wait_for_arrived(2)), [1, 2]);

    let doctor = machine.sh_as(BOB, "telemetryctl doctor");
    assert!(doctor.lines().all(|line| line.starts_with("ok ")), "{doctor}");
    let second = machine.try_sh("HOME=/tmp telemetryd --socket /run/telemetryd/telemetryd.sock");
    assert!(
        second
            .stderr
            .contains("already listens at /run/telemetryd/telemetryd.sock"),
        "{}",
        second.stderr
    );

    // Each row was its sender's.
    let books = machine.sh("telemetryctl status --json");
    let books: Value = serde_json::from_str(&books).expect("status is JSON");
    assert!(books["daemon"]["mode"] == "system", "{books}");
    assert_eq!(
        machine
            .sh("stat -c '%U %a' /run/telemetryd/telemetryd.sock /var/lib/telemetryd")
            .trim(),
        "root 666\ntelemetryd 700"
    );
    let log =
        machine.sh("journalctl --unit telemetryd --output json --output-fields PRIORITY,MESSAGE --no-pager");
    let entries: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let ready = entries.iter().find(|entry| {
        entry["MESSAGE"]
            .as_str()
            .is_some_and(|text| text.starts_with("ready version="))
    });
    assert_eq!(
        ready.expect("it says so")["PRIORITY"],
        "6",
        "the journal has our levels: {log}"
    );
}

#[test]
fn killed_again_and_again_under_load_it_loses_nothing_that_was_acknowledged() {
    let Some(machine) = configured("100ms") else {
        return;
    };
    machine.quick_restart();
    machine.sh("systemctl enable --now telemetryd");
    // Each writes down what was acknowledged. A connection that nobody serves yet waits at systemd's socket.
    for (person, first) in [(ALICE, 1000), (BOB, 2000)] {
        let loop_ = format!(
            "for n in $(seq {first} {}); do telemetryctl send --strict demo ran -p n=$n && echo $n >> acked; done",
            first + 150
        );
        machine.sh_as(person, &format!("({loop_}; touch done) >/dev/null 2>&1 &"));
    }
    let acked = |machine: &Machine| machine.sh("cat /home/*/acked 2>/dev/null | sort -n | uniq");
    for round in 1..=6 {
        eventually("some more are acknowledged", DEADLINE, || {
            (acked(&machine).lines().count() >= 30 * round).then_some(())
        });
        let before = machine.daemon_pid();
        machine.sh("systemctl kill --signal KILL telemetryd.service");
        if round % 2 == 0 {
            machine.sh("systemctl restart telemetryd.service");
        }
        eventually("another one runs", DEADLINE, || {
            (![0, before].contains(&machine.daemon_pid())).then_some(())
        });
    }
    eventually("both have said all", DEADLINE * 3, || {
        let done = machine.try_sh("test -e /home/alice/done && test -e /home/bob/done");
        (done.code == Some(0)).then_some(())
    });
    for person in [ALICE, BOB] {
        machine.sh_as(person, "telemetryctl flush --wait");
    }
    let acked: Vec<u64> = acked(&machine)
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    assert!(acked.len() > 180, "most of them: {}", acked.len());
    let arrived = numbers(&machine.arrived());
    let lost: Vec<_> = acked.iter().filter(|n| !arrived.contains(n)).collect();
    assert!(lost.is_empty(), "acknowledged, and never arrived: {lost:?}");
}

#[test]
fn a_reload_takes_good_settings_and_keeps_the_old_ones_when_the_new_are_bad() {
    let Some(machine) = configured("1h") else { return };
    machine.sh("systemctl enable --now telemetryd");
    let pid = machine.daemon_pid();
    let status = |machine: &Machine| machine.property("telemetryd.service", "StatusText");
    for (line, said) in [("lgo = 1", "the old ones stay"), ("log = \"debug\"", "reloaded")] {
        machine.write(
            "/etc/telemetryd/config.d/50-more.toml",
            &format!("[daemon]\n{line}"),
        );
        machine.sh("systemctl reload telemetryd.service");
        eventually(said, DEADLINE, || status(&machine).contains(said).then_some(()));
        assert_eq!(machine.property("telemetryd.service", "ActiveState"), "active");
    }
    assert_eq!(machine.daemon_pid(), pid);
}

#[test]
fn a_killed_daemon_comes_back_by_itself() {
    let Some(machine) = configured("1h") else { return };
    machine.quick_restart();
    machine.sh("systemctl enable --now telemetryd");
    for n in 1..=8 {
        // More often than any default start limit allows.
        send(&machine, ALICE, n);
        let before = machine.daemon_pid();
        machine.sh("systemctl kill --signal KILL telemetryd.service");
        eventually("another one runs", DEADLINE, || {
            (![0, before].contains(&machine.daemon_pid())).then_some(())
        });
    }
    machine.sh("telemetryctl flush --wait --all-users");
    assert_eq!(machine.wait_for_arrived(8).len(), 8);
}

#[test]
fn a_stop_drains_and_what_comes_meanwhile_waits_at_the_socket() {
    let Some(machine) = configured("1h") else { return };
    machine.sh("systemctl enable --now telemetryd");
    for n in 1..=3 {
        send(&machine, ALICE, n);
    }
    assert!(machine.arrived().is_empty());
    machine.sh("systemctl stop telemetryd.service 2>/dev/null");
    assert_eq!(
        numbers(&machine.arrived()),
        [1, 2, 3],
        "when stop returns, it has arrived"
    );
    assert_eq!(machine.property("telemetryd.service", "Result"), "success");
    assert_eq!(
        machine.property("telemetryd.socket", "ActiveState"),
        "active",
        "the socket is systemd's"
    );
    send(&machine, BOB, 4);
    assert_eq!(
        machine.property("telemetryd.service", "ActiveState"),
        "active",
        "started again by its socket"
    );

    machine.sh("systemctl stop telemetryd.socket");
    assert_eq!(
        machine.property("telemetryd.service", "ActiveState"),
        "inactive",
        "with its socket it is over"
    );
    assert_eq!(numbers(&machine.arrived()), [1, 2, 3, 4]);
    assert_eq!(
        machine.try_sh("test -e /run/telemetryd/telemetryd.sock").code,
        Some(1)
    );
}

#[test]
fn homes_are_out_of_reach_and_the_rest_of_the_hardening_is_in_force() {
    let Some(machine) = configured("1h") else { return };
    machine.sh("systemctl enable --now telemetryd");
    send(&machine, ALICE, 1);
    machine.sh(&format!(
        "echo secret > /home/alice/file; chmod 777 /home/alice; chmod 666 /home/alice/file; echo x > {ROOTS}"
    ));
    let pid = machine.daemon_pid();
    // What the daemon could see, looked at by root from its mount namespace: more than it could.
    let inside = |script: &str| machine.try_sh(&format!("nsenter --target {pid} --mount sh -c '{script}'"));
    for home in ["/home/alice/file", ROOTS, "/run/user/2001"] {
        assert_ne!(inside(&format!("test -e {home}")).code, Some(0), "{home}");
        assert_eq!(
            machine.try_sh(&format!("test -e {home}")).code,
            Some(0),
            "{home} is there"
        );
    }
    for place in ["/etc/x", "/usr/x", "/var/x", "/proc/sys/kernel/hostname"] {
        assert_ne!(
            inside(&format!("echo x > {place}")).code,
            Some(0),
            "{place} cannot be written"
        );
    }
    assert_eq!(
        inside("touch /var/lib/telemetryd/x").code,
        Some(0),
        "its state can"
    );
    machine.sh("rm /var/lib/telemetryd/x");
    machine.sh("touch /tmp/ours");
    assert_ne!(inside("test -e /tmp/ours").code, Some(0), "a /tmp of its own");
    assert_ne!(inside("test -e /dev/full && test -e /dev/kmsg").code, Some(0));

    let status = machine.sh(&format!("cat /proc/{pid}/status"));
    let line = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .expect("a line")
    };
    for none in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
        assert_eq!(line(none), "0000000000000000", "{none}");
    }
    assert_eq!(
        (line("NoNewPrivs").as_str(), line("Seccomp").as_str()),
        ("1", "2")
    );
    let uid = machine.sh("id -u telemetryd");
    assert!(
        line("Uid").split_whitespace().all(|own| own == uid.trim()),
        "{}",
        line("Uid")
    );
    // And it works like that: the event is delivered, over the network that it may have.
    machine.sh("telemetryctl flush --wait --all-users");
    assert_eq!(machine.wait_for_arrived(1).len(), 1);
}

#[test]
fn one_touch_silences_the_machine() {
    let Some(machine) = configured("1h") else { return };
    machine.sh("systemctl enable --now telemetryd");
    for n in 1..=3 {
        send(&machine, ALICE, n);
    }
    let pid = machine.daemon_pid();
    machine.sh("touch /etc/telemetryd/opt-out");
    machine.sh(&format!(
        "(strace -f -qq -e trace=socket -o /var/tmp/sockets -p {pid} &) >/dev/null 2>&1"
    ));
    machine.eventually(
        "strace is there",
        &format!("grep -q 'TracerPid:.*[1-9]' /proc/{pid}/status"),
    );
    for person in [ALICE, BOB] {
        let declined = machine.try_sh_as(person, "telemetryctl send --strict demo ran -p n=9");
        assert_eq!(declined.code, Some(4), "{}{}", declined.stdout, declined.stderr);
        // A client that does not look for itself.
        let raw =
            "printf '{\"tool\":\"demo\",\"event\":\"ran\"}\\n' | nc -U -N /run/telemetryd/telemetryd.sock";
        let answer = machine.sh_as(person, raw);
        assert!(
            answer.contains("\"declined\"") && answer.contains("\"by\":\"machine\""),
            "{answer}"
        );
    }
    machine.try_sh("telemetryctl flush --wait --all-users");
    machine.sh("systemctl stop telemetryd.socket telemetryd.service");
    let sockets = machine.sh("cat /var/tmp/sockets");
    assert!(!sockets.contains("AF_INET"), "I12: {sockets}");
    assert!(machine.arrived().is_empty());
    let left = machine
        .sh("setpriv --reuid telemetryd --regid telemetryd --clear-groups telemetryd --system --export -");
    assert_eq!(left, "", "what was queued is erased");
}

#[test]
fn a_bad_configuration_is_tried_again_with_a_pause_and_its_mending_is_found() {
    let Some(machine) = configured("50ms") else { return };
    machine.sh("cp /etc/telemetryd/config.toml /var/good; echo 'lgo = 1' >> /etc/telemetryd/config.toml");
    machine.quick_restart();
    machine.sh("systemctl enable --now telemetryd.socket");
    // Somebody waits at the socket all the time.
    let waiting = "printf '{\"tool\":\"demo\",\"event\":\"ran\",\"properties\":{\"n\":7}}\\n'";
    machine.sh_as(
        ALICE,
        &format!("({waiting} | nc -U /run/telemetryd/telemetryd.sock >/tmp/answer 2>&1 &)"),
    );
    machine.eventually(
        "it has failed a few times",
        "test $(systemctl show --value -p NRestarts telemetryd.service) -ge 7",
    );
    let started =
        machine.sh("journalctl --no-pager -o cat -u telemetryd.service | grep -c 'did you mean\\|lgo'");
    let started: u32 = started.trim().parse().expect("a number");
    let restarts: u32 = machine
        .property("telemetryd.service", "NRestarts")
        .parse()
        .expect("a number");
    assert!(
        started <= 3 * (restarts + 2),
        "{started} lines for {restarts} restarts: it spins"
    );
    assert_eq!(
        machine.property("telemetryd.socket", "ActiveState"),
        "active",
        "nothing latches"
    );
    machine.sh("cp /var/good /etc/telemetryd/config.toml");
    assert_eq!(
        numbers(&machine.wait_for_arrived(1)),
        [7],
        "the one that waited, too"
    );
}

#[test]
fn the_units_are_sound_and_hardened() {
    let Some(machine) = installed() else { return };
    // Where there is no `man`, whether a page exists is seen by its file.
    machine
        .sh("test -e /usr/share/man/man8/telemetryd.8.gz && test -e /usr/share/man/man1/telemetryctl.1.gz");
    let verified = machine.try_sh(
        "man=$(command -v man >/dev/null && echo yes || echo no)
         systemd-analyze verify --man=$man telemetryd.service telemetryd.socket
         cd /usr/lib/systemd/user
         XDG_RUNTIME_DIR=/run/user/2001 systemd-analyze --user verify --man=$man telemetryd.service telemetryd.socket",
    );
    assert_eq!(
        (verified.stdout.as_str(), verified.stderr.as_str()),
        ("", ""),
        "verify is clean"
    );
    let security = machine.sh("systemd-analyze security --offline=yes --no-pager telemetryd.service");
    let overall = security
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .expect("a last line");
    let level = overall
        .split_whitespace()
        .find_map(|word| word.parse::<f64>().ok())
        .expect("a number");
    assert!(level <= 2.0, "{security}");
    machine.sh("systemd-analyze security --offline=yes --threshold=20 telemetryd.service");
}

#[test]
fn an_endpoint_that_is_away_never_ends_the_daemon() {
    let Some(machine) = configured("50ms") else { return };
    machine.write(
        "/etc/telemetryd/config.toml",
        &format!("[destinations.default]\nurl = \"{ENDPOINT}\"\nbatch = {{ max_wait = \"50ms\" }}\nretry = {{ initial = \"50ms\", max = \"200ms\", spread = \"50ms\" }}\n"),
    );
    machine.sh("systemctl stop endpoint; ip link set lo down; systemctl enable --now telemetryd");
    let pid = machine.daemon_pid();
    send(&machine, ALICE, 1);
    let later = Deadline::after(std::time::Duration::from_secs(1));
    eventually("several attempts later", DEADLINE, || {
        later.left().is_none().then_some(())
    });
    assert_eq!(machine.daemon_pid(), pid);
    machine.sh("ip link set lo up; systemctl start endpoint");
    machine.wait_for_arrived(1);
    assert_eq!(machine.daemon_pid(), pid);
}

#[test]
fn a_daemon_that_leaves_when_it_is_idle_is_started_again_by_the_next_event() {
    let Some(machine) = configured("50ms") else { return };
    machine.write(
        "/etc/systemd/system/telemetryd.service.d/idle.conf",
        "[Service]\nExecStart=\nExecStart=/usr/bin/telemetryd --system --idle-exit 200ms\n",
    );
    machine.sh("systemctl daemon-reload && systemctl enable --now telemetryd.socket");
    for n in 1..=8 {
        send(&machine, ALICE, n);
        machine.eventually(
            "it has left",
            "systemctl is-active telemetryd.service | grep -qx inactive",
        );
    }
    assert_eq!(machine.property("telemetryd.service", "Result"), "success");
    assert_eq!(
        machine.property("telemetryd.socket", "ActiveState"),
        "active",
        "more often than TriggerLimit allows"
    );
    assert_eq!(numbers(&machine.wait_for_arrived(8)), (1..=8).collect::<Vec<_>>());
}

#[test]
fn a_drain_that_is_longer_than_the_units_patience_is_asked_for() {
    let Some(machine) = configured("1h") else { return };
    // An endpoint that takes everything and never answers.
    machine.sh("systemctl stop endpoint; systemd-run --quiet --unit mute nc -l -k 127.0.0.1 9000");
    machine.eventually("it listens", "ss -ltn | grep -q 127.0.0.1:9000");
    machine.write(
        "/etc/systemd/system/telemetryd.service.d/short.conf",
        "[Service]\nTimeoutStopSec=500ms\n",
    );
    machine.write(
        "/etc/telemetryd/config.d/50-drain.toml",
        "[daemon]\nshutdown_drain = \"2s\"",
    );
    machine.sh("systemctl daemon-reload; systemctl enable --now telemetryd");
    send(&machine, ALICE, 1);
    machine.sh("systemctl stop telemetryd.socket telemetryd.service");
    assert_eq!(
        machine.property("telemetryd.service", "Result"),
        "success",
        "it was not killed in the middle of its drain"
    );
    machine.sh(
        "systemctl stop mute; systemctl start endpoint telemetryd; telemetryctl flush --wait --all-users",
    );
    assert_eq!(numbers(&machine.wait_for_arrived(1)), [1]);
}

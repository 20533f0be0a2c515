//! One user's daemon under that user's service manager, and `telemetryctl service`, which puts it there.

use serde_json::Value;
use telemetry_testkit::{telemetryctl, telemetryd};

use crate::machine::{ALICE, ENDPOINT, Machine, package};

/// Where a user's own programs are.
const OWN: &str = "/home/alice/own programs";

/// Alice's settings, and her manager.
#[track_caller]
fn logged_in(machine: &Machine) {
    machine.start_endpoint();
    machine.sh("systemctl start manager@alice");
    let config = format!("[destinations.default]\nurl = \"{ENDPOINT}\"\nbatch = {{ max_wait = \"1h\" }}");
    machine.write("/home/alice/.config/telemetryd/config.toml", &config);
    let manifest = "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"";
    machine.write("/home/alice/.local/share/telemetryd/tools.d/demo.toml", manifest);
    machine.sh("chown -R alice:alice /home/alice");
}

/// With the package installed.
#[track_caller]
fn with_the_package() -> Option<Machine> {
    let (_out, file) = package("0.1.0");
    let machine = Machine::boot_with(&[(&file, "var/telemetryd.deb")])?;
    machine.sh("dpkg --install /var/telemetryd.deb");
    logged_in(&machine);
    Some(machine)
}

/// With both programs in a directory, and nothing else.
#[track_caller]
fn with_programs_alone(directory: &str) -> Option<Machine> {
    let machine = Machine::boot_with(&[
        (&telemetryd(), "var/telemetryd"),
        (&telemetryctl(), "var/telemetryctl"),
    ])?;
    machine.sh(&format!(
        "mkdir -p '{directory}' /usr/bin && install -m 755 -t '{directory}' /var/telemetryd /var/telemetryctl; \
         ln -s '{directory}/telemetryctl' /usr/bin/telemetryctl"
    ));
    logged_in(&machine);
    Some(machine)
}

/// What `service` says it did.
#[track_caller]
fn did(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn count(done: &Value, what: &str) -> usize {
    done[what].as_array().expect("a list").len()
}

#[test]
fn the_first_event_starts_a_users_daemon_and_arrives() {
    let Some(machine) = with_the_package() else { return };
    machine.sh_as(ALICE, "systemctl --user enable --now telemetryd.socket");
    assert_eq!(
        machine.try_sh("pgrep -x telemetryd").code,
        Some(1),
        "nobody runs yet"
    );
    machine.sh_as(ALICE, "telemetryctl send --strict demo ran -p n=1");
    machine.sh_as(
        ALICE,
        "systemctl --user is-active telemetryd.service && telemetryctl flush --wait",
    );
    machine.wait_for_arrived(1);
    assert_eq!(
        machine.sh("stat -c '%U %a' /run/user/2001/telemetryd /run/user/2001/telemetryd/telemetryd.sock"),
        "alice 700\nalice 600\n"
    );
}

#[test]
fn service_install_writes_units_that_start_the_users_own_program_and_uninstall_undoes_it() {
    let Some(machine) = with_programs_alone(OWN) else {
        return;
    };
    let before = machine.sh("find /home/alice /etc | sort");
    let install = "telemetryctl service install --json";
    let done = did(&machine.sh_as(ALICE, install));
    assert_eq!(
        (count(&done, "written"), count(&done, "unchanged")),
        (2, 0),
        "{done}"
    );
    let pid = "systemctl --user show --value --property MainPID telemetryd.service";
    let first = machine.sh_as(ALICE, pid);
    assert_eq!(
        machine.sh(&format!("readlink /proc/{}/exe", first.trim())),
        format!("{OWN}/telemetryd\n")
    );
    let again = did(&machine.sh_as(ALICE, install));
    assert_eq!(
        (count(&again, "written"), count(&again, "unchanged")),
        (0, 2),
        "{again}"
    );
    assert_eq!(machine.sh_as(ALICE, pid), first, "what runs runs on");
    let enabled = machine.sh_as(
        ALICE,
        "systemctl --user is-enabled telemetryd.socket telemetryd.service",
    );
    assert_eq!(enabled, "enabled\nenabled\n");

    for n in 0..3 {
        machine.sh_as(ALICE, &format!("telemetryctl send --strict demo ran -p n={n}"));
    }
    machine.sh_as(ALICE, "telemetryctl opt-out --tool other");
    let uninstall = "telemetryctl service uninstall --json";
    let done = did(&machine.sh_as(ALICE, uninstall));
    assert_eq!(
        (count(&done, "removed"), &done["erased"]),
        (3, &Value::from(3)),
        "{done}"
    );
    assert_eq!(machine.try_sh("pgrep -x telemetryd").code, Some(1));
    assert!(machine.arrived().is_empty(), "it did not call home first");
    let mut expected: Vec<&str> = before.lines().collect();
    // What she said, and directories that others use too.
    let consent = "/home/alice/.config/telemetryd/consent.toml";
    expected.push(consent);
    let after = machine.sh("find /home/alice /etc | sort");
    let shared = [
        "systemd",
        ".local/state",
        "default.target.wants",
        "sockets.target.wants",
    ];
    let more: Vec<&str> = after
        .lines()
        .filter(|line| !expected.contains(line))
        .filter(|line| !shared.iter().any(|end| line.contains(end)))
        .collect();
    assert!(more.is_empty(), "left behind: {more:?}");
    assert!(
        !after.contains("telemetryd.service") && !after.contains("telemetryd.socket"),
        "{after}"
    );
    assert!(machine.sh(&format!("cat {consent}")).contains("other = false"));
    assert_eq!(done["kept"], Value::from(vec![consent]));

    let again = did(&machine.sh_as(ALICE, uninstall));
    assert_eq!(
        (count(&again, "removed"), &again["erased"]),
        (0, &Value::from(0)),
        "{again}"
    );
}

#[test]
fn a_packages_units_are_used_as_they_are_and_stay() {
    let Some(machine) = with_the_package() else { return };
    let done = did(&machine.sh_as(ALICE, "telemetryctl service install --json"));
    assert_eq!(count(&done, "written"), 0, "{done}");
    machine.sh_as(
        ALICE,
        "systemctl --user is-active telemetryd.service telemetryd.socket",
    );
    // systemd made the socket, the daemon answers on it: doctor is not confused, nor misses the machine's daemon.
    let doctor = machine.sh_as(ALICE, "telemetryctl doctor");
    assert!(doctor.lines().all(|line| line.starts_with("ok ")), "{doctor}");
    machine.sh_as(ALICE, "telemetryctl service uninstall");
    assert_eq!(machine.try_sh("pgrep -x telemetryd").code, Some(1));
    machine.sh("test -e /usr/lib/systemd/user/telemetryd.service");
    let state = machine
        .try_sh_as(ALICE, "systemctl --user is-enabled telemetryd.socket")
        .stdout;
    assert_eq!(state, "disabled\n");
}

#[test]
fn a_daemon_that_was_started_by_hand_is_not_robbed_of_its_socket() {
    let Some(machine) = with_programs_alone(OWN) else {
        return;
    };
    machine.sh_as(
        ALICE,
        &format!("'{OWN}/telemetryd' --background && telemetryctl send --strict demo ran"),
    );
    let refused = machine.try_sh_as(ALICE, "telemetryctl service install");
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("hint: end it with 'telemetryctl stop'"),
        "{}",
        refused.stderr
    );
    let refused = machine.try_sh_as(ALICE, "telemetryctl service uninstall");
    assert!(
        refused.code == Some(1) && refused.stderr.contains("nothing was erased"),
        "{}",
        refused.stderr
    );
    assert!(
        machine
            .sh_as(ALICE, "telemetryctl status --json")
            .contains("\"events\":1")
    );
}

#[test]
fn for_all_users_it_is_roots_to_install_and_needs_a_program_outside_of_homes() {
    let Some(machine) = with_programs_alone(OWN) else {
        return;
    };
    let refused = machine.try_sh_as(ALICE, "telemetryctl service install --system");
    assert_eq!(refused.code, Some(77), "{}", refused.stderr);
    let refused = machine.try_sh(&format!("'{OWN}/telemetryctl' service install --system"));
    assert!(
        refused.code == Some(1) && refused.stderr.contains("somebody's home"),
        "{}",
        refused.stderr
    );
}

#[test]
fn for_all_users_uninstall_undoes_what_install_did_and_keeps_denials() {
    let Some(machine) = with_programs_alone("/usr/local/bin") else {
        return;
    };
    let before = machine.sh("find /etc /run/systemd /var/lib -path '*telemetry*' | sort");
    let done = did(&machine.sh("telemetryctl service install --system --json"));
    assert_eq!(count(&done, "written"), 4, "{done}");
    machine.write(
        "/etc/telemetryd/tools.d/demo.toml",
        "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"",
    );
    machine.sh("telemetryctl reload");
    machine.sh_as(ALICE, "telemetryctl send --strict demo ran");
    machine.sh("cat /proc/$(systemctl show --value -p MainPID telemetryd)/status | grep -q 'CapBnd:.*0000000000000000'");
    assert_eq!(
        count(
            &did(&machine.sh("telemetryctl service install --system --json")),
            "unchanged"
        ),
        4
    );
    machine.sh(
        "rm /etc/telemetryd/tools.d/demo.toml; rmdir /etc/telemetryd/tools.d; touch /etc/telemetryd/opt-out",
    );
    let done = did(&machine.sh("telemetryctl service uninstall --system --json"));
    assert_eq!(machine.try_sh("pgrep -x telemetryd").code, Some(1));
    let after = machine.sh("find /etc /run/systemd /var/lib -path '*telemetry*' | sort");
    let more: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
    assert_eq!(more, ["/etc/telemetryd", "/etc/telemetryd/opt-out"], "{done}");
}

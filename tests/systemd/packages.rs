//! The packages themselves: installed, used, upgraded over an older version with a queue in it, removed, purged; and
//! that both kinds hold the same.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use telemetry_testkit::{DEADLINE, Running};

use crate::machine::{ALICE, BOB, ENDPOINT, Machine, Person, package};

const OLDER: &str = "/var/older.deb";
const NEWER: &str = "/var/newer.deb";

/// How many rows of that person wait.
#[track_caller]
fn queued(machine: &Machine, person: Person) -> u64 {
    let status = machine.sh_as(person, "telemetryctl status --json");
    let status: Value = serde_json::from_str(&status).expect("status is JSON");
    status["queue"]["events"].as_u64().expect("a number")
}

/// A machine with two packages at hand, and none installed.
#[track_caller]
fn with_packages() -> Option<Machine> {
    let ((_a, older), (_b, newer)) = (package("0.0.9"), package("0.1.0"));
    Machine::boot_with(&[(&older, OLDER), (&newer, NEWER)])
}

#[test]
fn a_package_is_installed_used_upgraded_with_a_queue_in_it_removed_and_purged() {
    let Some(machine) = with_packages() else { return };
    machine.sh(&format!("dpkg --install {OLDER}"));
    machine.write(
        "/etc/telemetryd/config.toml",
        &format!("[destinations.default]\nurl = \"{ENDPOINT}\"\nbatch = {{ max_wait = \"1h\" }}"),
    );
    let manifest = "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"";
    machine.write("/etc/telemetryd/tools.d/demo.toml", manifest);
    machine.sh("systemctl enable --now telemetryd");
    let ours = machine.sh("cat /etc/telemetryd/config.toml");

    // With the endpoint away, so that the old daemon's drain does not empty the queue.
    for (person, n) in [(ALICE, 1), (BOB, 2), (ALICE, 3)] {
        machine.sh_as(person, &format!("telemetryctl send --strict demo ran -p n={n}"));
    }
    let before = machine.daemon_pid();
    machine.sh(&format!("dpkg --install {NEWER} </dev/null"));
    assert_ne!(machine.daemon_pid(), before, "the new program runs");
    assert!(machine.sh("dpkg-query --show telemetryd").contains("0.1.0"));
    assert_eq!(
        machine.sh("cat /etc/telemetryd/config.toml"),
        ours,
        "the admin's settings stay"
    );
    assert_eq!(
        (queued(&machine, ALICE), queued(&machine, BOB)),
        (2, 1),
        "and what was queued"
    );
    machine.start_endpoint();
    machine.sh("telemetryctl resume; telemetryctl flush --wait --all-users");
    assert_eq!(machine.wait_for_arrived(3).len(), 3);

    // Removed: nothing runs or is enabled, nothing is left of the program; settings and state wait.
    machine.sh("systemctl stop endpoint");
    machine.sh_as(ALICE, "telemetryctl send --strict demo ran -p n=4");
    machine.sh("dpkg --remove telemetryd");
    assert_eq!(machine.try_sh("pgrep -x telemetryd").code, Some(1));
    machine.sh("systemctl daemon-reload");
    for unit in ["telemetryd.service", "telemetryd.socket"] {
        assert_eq!(machine.property(unit, "LoadState"), "not-found", "{unit}");
    }
    let left = machine.sh("find /usr /etc /run /var/lib -xdev \\( -name 'telemetry*' -o -path '*/telemetryd/*' \\) ! -path '*/dpkg/*' 2>/dev/null | sort");
    for line in left.lines() {
        let known = ["/etc/telemetryd", "/var/lib/telemetryd", "/run/telemetryd"];
        assert!(
            known.iter().any(|place| line.starts_with(place)),
            "left behind: {line}\n{left}"
        );
    }
    machine.sh(&format!("dpkg --install {NEWER} && systemctl start telemetryd"));
    assert_eq!(queued(&machine, ALICE), 1, "installed again, it goes on");
    assert_eq!(
        machine
            .try_sh("systemctl is-enabled telemetryd.socket")
            .stdout
            .trim(),
        "disabled",
        "by itself it enables nothing"
    );

    // Purged: no event of anybody's is left. Denials are.
    machine.sh("mkdir -p /var/lib/telemetryd/consent; echo 'telemetry = false' > /var/lib/telemetryd/consent/2001.toml");
    machine.sh("printf '[tools]\\ndemo = true\\n' > /var/lib/telemetryd/consent/2002.toml");
    machine.sh("touch /etc/telemetryd/opt-out; systemctl restart telemetryd; dpkg --purge telemetryd");
    let left = machine.sh("find /usr /etc /run /var/lib -xdev \\( -name 'telemetry*' -o -path '*/telemetryd/*' \\) ! -path '*/dpkg/*' -type f 2>/dev/null | sort");
    assert_eq!(
        left,
        "/etc/telemetryd/opt-out\n/etc/telemetryd/tools.d/demo.toml\n/var/lib/telemetryd/consent/2001.toml\n"
    );
}

#[test]
fn a_package_that_was_never_configured_leaves_nothing_when_it_is_purged() {
    let Some(machine) = with_packages() else { return };
    machine.sh(&format!(
        "dpkg --install {NEWER} && systemctl enable --now telemetryd && dpkg --purge telemetryd"
    ));
    let left = machine.sh("find /usr /etc /var /run /tmp /home /opt -xdev \\( -name '*telemetryd*' -o -name '*telemetryctl*' \\) ! -path '/var/telemetry*' -newer /var/newer.deb 2>/dev/null");
    assert_eq!(left, "", "and no link that enables what is not there");
    assert_eq!(machine.try_sh("test -e /var/lib/telemetryd").code, Some(1));
    assert_eq!(
        machine.try_sh("systemctl --failed --quiet | grep telemetry").code,
        Some(1)
    );
}

/// Whether an .rpm cannot be made here; with `CI=true` it must.
fn no_rpmbuild() -> bool {
    let missing = Command::new("rpmbuild").arg("--version").output().is_err();
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!(missing && ci), "it must run here: needs rpmbuild (package rpm)");
    missing
}

#[test]
fn an_rpm_is_installed_upgraded_with_a_queue_in_it_and_erased() {
    if no_rpmbuild() {
        return;
    }
    let ((_a, older), (_b, newer)) = (
        crate::machine::packed("rpm", "0.0.9"),
        crate::machine::packed("rpm", "0.1.0"),
    );
    let Some(machine) = Machine::boot_with(&[(&older, "/var/older.rpm"), (&newer, "/var/newer.rpm")]) else {
        return;
    };
    // A Debian has rpm, and none of the packages that it would ask for.
    let rpm = "rpm --force-debian --nodeps --quiet";
    machine.sh(&format!("{rpm} --install /var/older.rpm"));
    let states = machine
        .try_sh("systemctl is-enabled telemetryd.socket telemetryd.service")
        .stdout;
    assert_eq!(states, "disabled\ndisabled\n", "a package enables nothing");
    let manifest = "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"";
    machine.write("/etc/telemetryd/tools.d/demo.toml", manifest);
    machine.sh("systemctl enable --now telemetryd");
    machine.sh_as(ALICE, "telemetryctl send --strict demo ran");
    let before = machine.daemon_pid();
    machine.sh(&format!("{rpm} --upgrade /var/newer.rpm"));
    assert!(
        ![0, before].contains(&machine.daemon_pid()),
        "the new program runs"
    );
    assert_eq!(queued(&machine, ALICE), 1);
    machine.sh(&format!("{rpm} --erase telemetryd"));
    assert_eq!(machine.try_sh("pgrep -x telemetryd").code, Some(1));
    assert_eq!(
        machine
            .try_sh("test -e /usr/bin/telemetryd -o -e /usr/lib/systemd/system/telemetryd.socket")
            .code,
        Some(1)
    );
    machine.sh("test -e /var/lib/telemetryd/queue.db");
}

#[test]
fn the_rpm_holds_what_the_deb_holds() {
    if no_rpmbuild() {
        return;
    }
    let (_deb, deb) = package("0.1.0");
    let (_rpm, rpm) = crate::machine::packed("rpm", "0.1.0");
    let files = |program: &str, arguments: &[&str], file: &PathBuf| -> Vec<String> {
        let mut command = Command::new(program);
        command.args(arguments).arg(file);
        let said = Running::start(command, None).wait(DEADLINE).expect_code(0).stdout;
        let mut files: Vec<String> = said
            .lines()
            .filter(|line| !line.ends_with('/'))
            .filter_map(|line| line.split_whitespace().last())
            .map(|path| path.trim_start_matches('.').to_owned())
            // Debian has a place of its own for these.
            .map(|path| path.replace("/zsh/vendor-completions/", "/zsh/site-functions/"))
            .collect();
        files.sort();
        files
    };
    let in_deb = files("dpkg-deb", &["--contents"], &deb);
    assert_eq!(in_deb, files("rpm", &["--query", "--package", "--list"], &rpm));
    for needed in [
        "/usr/bin/telemetryd",
        "/usr/bin/telemetryctl",
        "/usr/lib/systemd/system/telemetryd.socket",
        "/usr/lib/systemd/user/telemetryd.socket",
        "/usr/share/man/man1/telemetryctl.1.gz",
        "/usr/share/man/man8/telemetryd.8.gz",
        "/usr/share/bash-completion/completions/telemetryctl",
        "/etc/telemetryd/config.toml",
    ] {
        assert!(in_deb.iter().any(|path| path == needed), "{needed}: {in_deb:?}");
    }
    let config = files("rpm", &["--query", "--package", "--configfiles"], &rpm);
    assert_eq!(config, ["/etc/telemetryd/config.toml"]);
}

//! One user's daemon under that user's service manager.

use crate::machine::{ALICE, ENDPOINT, Machine, package};

/// A machine with the package installed, the endpoint running, and alice logged in.
#[track_caller]
fn with_alice() -> Option<Machine> {
    let (_out, file) = package("0.1.0");
    let machine = Machine::boot_with(&[(&file, "var/telemetryd.deb")])?;
    machine.sh("dpkg --install /var/telemetryd.deb");
    machine.start_endpoint();
    machine.sh("systemctl start manager@alice");
    machine.sh_as(
        ALICE,
        &format!("mkdir -p .config/telemetryd .local/share/telemetryd/tools.d && printf '[destinations.default]\\nurl = \"{ENDPOINT}\"\\nbatch = {{ max_wait = \"50ms\" }}\\n' > .config/telemetryd/config.toml && printf 'name = \"demo\"\\nconsent = \"opt-out\"\\nevents = \"any\"\\n' > .local/share/telemetryd/tools.d/demo.toml"),
    );
    Some(machine)
}

#[test]
fn the_first_event_starts_a_users_daemon_and_arrives() {
    let Some(machine) = with_alice() else { return };
    machine.sh_as(ALICE, "systemctl --user enable --now telemetryd.socket");
    assert_eq!(
        machine.try_sh("pgrep -x telemetryd").code,
        Some(1),
        "nobody runs yet"
    );
    machine.sh_as(ALICE, "telemetryctl send --strict demo ran -p n=1");
    machine.sh_as(ALICE, "systemctl --user is-active telemetryd.service");
    machine.wait_for_arrived(1);
}

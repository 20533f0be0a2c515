//! `service` without a service manager, or with one that answers as the test says. What a real one does with it is in
//! `tests/systemd/`.

#![cfg(target_os = "linux")]

use std::os::unix::fs::PermissionsExt;

use telemetry_testkit::{Ctl, Home};

use super::run;

/// A `systemctl` that writes its arguments down, and then does this.
fn manager(home: &Home, then: &str) {
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}/asked\n{then}\n",
        home.root().display()
    );
    home.write("bin/systemctl", script);
    let program = home.root().join("bin/systemctl");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    home.set_env("PATH", format!("{}/bin:/usr/bin:/bin", home.root().display()));
}

/// Nothing runs and nothing is known; everything else is done.
const NEW: &str = "case \"$*\" in *is-active*) exit 3;; *show*) echo not-found;; esac";

#[test]
fn install_tells_the_manager_in_this_order_and_says_so() {
    let home = Home::new();
    manager(&home, NEW);
    let done = run(&Ctl::new(&home), "service install --json")
        .expect_code(0)
        .json();
    assert_eq!(done["action"], "install");
    assert_eq!(done["written"].as_array().map(Vec::len), Some(2), "{done}");
    let asked = std::fs::read_to_string(home.root().join("asked")).unwrap();
    assert_eq!(
        asked,
        "--user is-active --quiet telemetryd.socket telemetryd.service\n\
         --user daemon-reload\n\
         --user enable telemetryd.socket telemetryd.service\n\
         --user restart telemetryd.service\n"
    );
    let unit = std::fs::read_to_string(home.root().join("config/systemd/user/telemetryd.service")).unwrap();
    assert!(unit.contains("/telemetryd\"\n"), "{unit}");
}

#[test]
fn a_manager_that_cannot_be_reached_is_told_and_the_next_try_goes_on() {
    let home = Home::new();
    manager(
        &home,
        "echo 'Failed to connect to bus: No medium found' >&2; exit 1",
    );
    let refused = run(&Ctl::new(&home), "service install").expect_code(1);
    assert!(
        refused.stderr.contains("caused by: Failed to connect to bus"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("hint: log in as that user first"),
        "{}",
        refused.stderr
    );
    manager(&home, NEW);
    let done = run(&Ctl::new(&home), "service install --json")
        .expect_code(0)
        .json();
    assert_eq!(done["unchanged"].as_array().map(Vec::len), Some(2), "{done}");
}

#[test]
fn uninstall_removes_its_files_and_the_state_where_no_manager_is() {
    let home = Home::new();
    manager(&home, NEW);
    let ctl = Ctl::new(&home);
    run(&ctl, "service install").expect_code(0);
    run(&ctl, "opt-out").expect_code(0);
    std::fs::remove_file(home.root().join("bin/systemctl")).unwrap();
    home.set_env("PATH", home.root().join("bin"));
    run(&ctl, "service uninstall").expect_code(0);
    assert!(
        !home
            .root()
            .join("config/systemd/user/telemetryd.service")
            .exists()
    );
    assert!(!home.state_dir().exists());
    let consent = std::fs::read_to_string(home.config_dir().join("consent.toml")).unwrap();
    assert!(consent.contains("telemetry = false"), "{consent}");
    let refused = run(&ctl, "service install").expect_code(1);
    assert!(
        refused.stderr.contains("hint: without a service manager"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_unit_that_somebody_wrote_by_hand_stays_as_it_is() {
    let home = Home::new();
    manager(&home, NEW);
    home.write(
        "config/systemd/user/telemetryd.service",
        "[Service]\nExecStart=/mine\n",
    );
    let refused = run(&Ctl::new(&home), "service install").expect_code(1);
    assert!(
        refused.stderr.contains("this command has not written it"),
        "{}",
        refused.stderr
    );
    run(&Ctl::new(&home), "service uninstall").expect_code(0);
    let mine = std::fs::read_to_string(home.root().join("config/systemd/user/telemetryd.service")).unwrap();
    assert!(mine.contains("/mine"));
}

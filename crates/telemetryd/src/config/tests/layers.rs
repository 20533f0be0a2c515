//! What goes over what.

use std::time::Duration;

use super::*;

fn log(house: &House) -> String {
    house.checked().daemon.log
}

#[test]
fn nothing_at_all_is_the_defaults() {
    let loaded = House::new().loaded();
    assert_eq!(loaded.checked, *Checked::of_nothing(Mode::User));
    assert_eq!(loaded.files, Vec::<PathBuf>::new());
    assert!(loaded.checked.destinations.is_empty());
}

#[test]
fn the_users_file_goes_over_the_machines() {
    let house = House::with("[daemon]\nlog = \"debug\"");
    house.write(
        "machine/config.toml",
        "[daemon]\nlog = \"warn\"\nshutdown_drain = \"3s\"",
    );
    assert_eq!(log(&house), "debug");
    assert_eq!(house.checked().daemon.shutdown_drain, Duration::from_secs(3));
    assert_eq!(
        house.shown("daemon.log"),
        Some(("\"debug\"".into(), "user/config.toml".into(), Some(2)))
    );
    assert_eq!(
        house.shown("daemon.shutdown_drain"),
        Some(("\"3s\"".into(), "machine/config.toml".into(), Some(3)))
    );
}

#[test]
fn files_of_config_d_go_over_their_directorys_file_in_the_order_of_their_names() {
    let house = House::new();
    house.write("machine/config.toml", "daemon.log = \"error\"");
    house.write("machine/config.d/10-a.toml", "daemon.log = \"warn\"");
    house.write("machine/config.d/20-b.toml", "daemon.log = \"trace\"");
    assert_eq!(log(&house), "trace");
    house.write("user/config.toml", "");
    assert_eq!(log(&house), "trace");
    house.write("user/config.d/00.toml", "daemon.log = \"off\"");
    assert_eq!(log(&house), "off");
    let names: Vec<PathBuf> = [
        "machine/config.toml",
        "machine/config.d/10-a.toml",
        "machine/config.d/20-b.toml",
        "user/config.toml",
        "user/config.d/00.toml",
    ]
    .iter()
    .map(|name| house.path(name))
    .collect();
    assert_eq!(house.loaded().files, names);
}

#[test]
fn only_toml_files_of_config_d_count_and_none_that_an_editor_left_behind() {
    let house = House::new();
    for name in ["a.toml~", "b.conf", ".c.toml", "toml", "d.toml.bak"] {
        house.write(&format!("user/config.d/{name}"), "not = toml = at all");
    }
    assert_eq!(house.loaded().files, Vec::<PathBuf>::new());
}

#[test]
fn the_environment_goes_over_the_files_and_a_flag_over_the_environment() {
    let mut house = House::with("[daemon]\nidle_exit = \"1h\"");
    house.set("TELEMETRYD__DAEMON__IDLE_EXIT", "2h");
    assert_eq!(
        house.shown("daemon.idle_exit"),
        Some(("\"2h\"".into(), "TELEMETRYD__DAEMON__IDLE_EXIT".into(), None))
    );
    house.flags.idle_exit = Some("90s".to_owned());
    assert_eq!(house.checked().daemon.idle_exit, Some(Duration::from_secs(90)));
    assert_eq!(
        house.shown("daemon.idle_exit"),
        Some(("\"90s\"".into(), "--idle-exit".into(), None))
    );
}

#[test]
fn a_named_file_replaces_the_standard_places_and_not_the_environment() {
    let mut house = House::with("daemon.log = \"error\"");
    house.flags.config = Some(house.write("own.toml", "daemon.shutdown_drain = \"1s\""));
    house.set("TELEMETRYD__LIMITS__MAX_DEPTH", "8");
    let checked = house.checked();
    assert_eq!(
        (checked.daemon.log.as_str(), checked.limits.max_depth),
        ("info", 8)
    );
    assert_eq!(house.loaded().files, [house.path("own.toml")]);
}

#[test]
fn a_named_file_that_is_not_there_is_a_problem() {
    let mut house = House::new();
    house.flags.config = Some(house.path("gone.toml"));
    assert_eq!(
        house.problems(),
        "error: gone.toml: cannot read the file\n  caused by: no such file or directory"
    );
}

#[test]
fn tables_are_merged_key_by_key() {
    let house = House::with("destinations.default.batch.max_events = 7");
    house.write(
        "machine/config.toml",
        &destination("batch = { max_events = 5, max_wait = \"1s\" }"),
    );
    let batch = house.checked().destinations["default"].batch;
    assert_eq!(
        (batch.max_events, batch.max_wait, batch.max_bytes),
        (7, Duration::from_secs(1), 256 * 1024)
    );
}

#[test]
fn a_word_and_a_table_replace_each_other() {
    let house = House::with("limits.rate = \"unlimited\"");
    house.write(
        "machine/config.toml",
        "limits.rate = { per_second = 5, burst = 6 }",
    );
    assert_eq!(house.checked().limits.rate, None);
    house.write(
        "user/config.d/x.toml",
        "limits.rate = { per_second = 7, burst = 8 }",
    );
    assert_eq!(
        house.checked().limits.rate,
        Some(Rate {
            per_second: 7,
            burst: 8
        })
    );
}

#[test]
fn credentials_of_one_layer_are_never_mixed_with_those_of_another() {
    let house = House::with("destinations.default.auth.basic_env = \"WHO\"");
    house.write(
        "machine/config.toml",
        &destination("auth.bearer_file = \"/etc/telemetryd/token\""),
    );
    let auth = house.checked().destinations["default"].auth.clone();
    assert_eq!(
        auth,
        telemetry_delivery::Auth::Basic(telemetry_delivery::Secret::Env("WHO".into()))
    );
    house.write("user/config.d/none.toml", "destinations.default.auth = {}");
    assert_eq!(
        house.checked().destinations["default"].auth,
        telemetry_delivery::Auth::None
    );
}

#[test]
fn header_names_are_one_whatever_their_case() {
    let mut house = House::with(&destination("headers = { X-Team = \"a\", X-Other = \"o\" }"));
    house.set("TELEMETRYD__DESTINATIONS__DEFAULT__HEADERS__X-TEAM", "b");
    let headers = house.checked().destinations["default"].headers.clone();
    assert_eq!(
        headers,
        [("X-Other".into(), "o".into()), ("x-team".into(), "b".into())]
    );
}

#[test]
fn a_destination_may_be_made_of_the_environment_alone() {
    let mut house = House::new();
    house.set(
        "TELEMETRYD__DESTINATIONS__DEFAULT__URL",
        "https://example.org/?query=a%20b",
    );
    house.set("TELEMETRYD__DESTINATIONS__DEFAULT__BATCH__MAX_EVENTS", "3");
    house.set("TELEMETRYD__DESTINATIONS__DEFAULT__RETRY", "{ initial = \"1s\" }");
    house.set("TELEMETRYD__DESTINATIONS__DEFAULT__RETRY__MAX", "2s");
    house.set("TELEMETRYD__DESTINATIONS__DEFAULT__ALLOW_INSECURE", "true");
    let checked = house.checked();
    let made = &checked.destinations["default"];
    assert_eq!(
        (made.url.as_str(), made.batch.max_events),
        ("https://example.org/?query=a%20b", 3)
    );
    assert_eq!(
        (made.retry.initial, made.retry.max),
        (Duration::from_secs(1), Duration::from_secs(2))
    );
    assert!(made.allow_insecure);
}

#[test]
fn a_variable_is_toml_if_it_is_and_a_string_otherwise() {
    for value in ["64KiB", "\"64KiB\"", "65536", "65_536", "0x10000"] {
        let mut house = House::new();
        house.set("TELEMETRYD__LIMITS__MAX_EVENT_BYTES", value);
        assert_eq!(house.checked().limits.max_event_bytes, 65_536, "{value}");
    }
}

#[test]
fn a_variable_for_a_string_is_one_even_if_it_looks_like_a_number() {
    for token in ["12345", "true", "1979-05-27", "[x]", "a=b"] {
        let mut house = House::with(&destination(""));
        house.set("TELEMETRYD__DESTINATIONS__DEFAULT__AUTH__BEARER", token);
        let auth = house.checked().destinations["default"].auth.clone();
        assert_eq!(
            auth,
            telemetry_delivery::Auth::Bearer(telemetry_delivery::Secret::Inline(token.into()))
        );
    }
}

#[test]
fn variables_of_another_kind_are_left_alone() {
    let mut house = House::new();
    for name in [
        "TELEMETRYD_STATE_DIR",
        "TELEMETRYDX__A__B",
        "telemetryd__daemon__log",
        "PATH",
    ] {
        house.set(name, "x");
    }
    house.loaded();
}

#[test]
fn in_system_mode_the_rate_is_limited_unless_somebody_says_otherwise() {
    let house = House::new().system();
    assert_eq!(
        house.checked().limits.rate,
        Some(Rate {
            per_second: 1000,
            burst: 10_000
        })
    );
    assert_eq!(
        house.shown("limits.rate.burst"),
        Some(("10000".into(), "default".into(), None))
    );
    assert_eq!(house.shown("limits.rate"), None);
    let house = House::with("limits.rate = \"unlimited\"").system();
    assert_eq!(house.checked().limits.rate, None);
}

#[test]
fn a_reload_sees_what_was_changed() {
    let house = House::with("daemon.log = \"warn\"");
    let before = house.loaded();
    house.write("user/config.toml", "daemon.log = \"debug\"");
    assert_ne!(before, house.loaded());
    house.write("user/config.toml", "daemon.log = 5");
    assert!(house.load().is_err());
}

#[test]
fn what_the_admin_locks_is_set_by_the_machines_files_alone() {
    let mut house = House::with("[queue]\nmax_age = \"1d\"\n[limits]\nmax_depth = 8\n");
    house.write(
        "machine/policy.d/10.toml",
        "locked = [\"limits.rate\",\n\"queue\", \"destinations.default.auth.bearer\"]\n",
    );
    house.places.machine = vec![house.path("machine")];
    house.set("TELEMETRYD__LIMITS__RATE", "unlimited");
    let problems = house.problems();
    for expected in [
        "queue: is locked by machine/policy.d/10.toml:2",
        "TELEMETRYD__LIMITS__RATE: limits.rate: is locked by machine/policy.d/10.toml:1",
    ] {
        assert!(problems.contains(expected), "{expected} in\n{problems}");
    }
    assert!(!problems.contains("max_depth"), "{problems}");
}

#[test]
fn a_lock_on_what_is_no_key_is_a_problem_with_its_place() {
    let mut house = House::with("");
    house.write("machine/policy.d/10.toml", "\nlocked = [\"qeue\"]\n");
    house.places.machine = vec![house.path("machine")];
    assert!(
        house
            .problems()
            .contains("machine/policy.d/10.toml:2: qeue: locked: this names no key"),
        "{}",
        house.problems()
    );
}

//! What each key takes, and what contradicts what.

use std::time::Duration;

use telemetry_policy::manifest::terms::Sample;

use super::*;

#[test]
fn the_defaults_are_those_of_the_contract() {
    let checked = Checked::of_nothing(Mode::User);
    let days = |days: u64| days * 24 * 60 * 60 * 1000;
    assert_eq!(
        checked.daemon,
        Daemon {
            idle_exit: None,
            shutdown_drain: Duration::from_secs(10),
            log: "info".into()
        }
    );
    assert_eq!(
        checked.queue,
        telemetry_queue::Limits {
            max_bytes: 64 << 20,
            max_bytes_per_tool: 16 << 20,
            max_age_ms: days(30),
            parked_max_age_ms: days(30),
            sent_max_age_ms: days(7),
            sent_max_bytes: 4 << 20,
            sent_bodies: true,
        }
    );
    use telemetry_protocol::limits as protocol;
    assert_eq!(
        checked.limits,
        Limits {
            max_event_bytes: protocol::MAX_EVENT_BYTES,
            max_connections: protocol::MAX_CONNECTIONS,
            max_connections_per_user: protocol::MAX_CONNECTIONS_PER_USER,
            idle_timeout: protocol::IDLE_TIMEOUT,
            answer_timeout: protocol::ANSWER_TIMEOUT,
            max_unread: protocol::MAX_UNREAD,
            max_depth: protocol::MAX_DEPTH,
            rate: None,
        }
    );
    assert_eq!(
        checked.defaults,
        Defaults {
            destination: "default".into(),
            unregistered_tools: Unregistered::OptIn
        }
    );
}

#[test]
fn a_tool_has_more_than_all_have_is_a_contradiction() {
    let problems = problems_of("[queue]\nmax_bytes = \"1MiB\"\nmax_bytes_per_tool = \"2MiB\"");
    assert!(problems.contains("config.toml:3: queue.max_bytes_per_tool: found \"2MiB\", allowed is at most queue.max_bytes, which is \"1MiB\""), "{problems}");
    let problems = problems_of("queue.max_bytes_per_tool = \"65MiB\"");
    assert!(
        problems.contains("at most queue.max_bytes, which is \"64MiB\" (its default)"),
        "{problems}"
    );
}

#[test]
fn a_default_gives_way_to_what_is_set() {
    let house = House::with(&format!(
        "queue.max_bytes = \"1MiB\"\n{}",
        destination("retry.max = \"1s\"")
    ));
    let checked = house.checked();
    assert_eq!(checked.queue.max_bytes_per_tool, 1 << 20);
    assert_eq!(
        checked.destinations["default"].retry.initial,
        Duration::from_secs(1)
    );
    assert_eq!(
        house.shown("queue.max_bytes_per_tool"),
        Some(("\"1MiB\"".into(), "default".into(), None))
    );
}

#[test]
fn an_event_that_the_queue_could_never_hold_is_a_contradiction() {
    let problems = problems_of("queue.max_bytes_per_tool = \"64KiB\"\nlimits.max_event_bytes = \"65KiB\"");
    assert!(
        problems
            .contains("limits.max_event_bytes: found \"65KiB\", allowed is at most queue.max_bytes_per_tool"),
        "{problems}"
    );
}

#[test]
fn a_rate_has_both_of_its_numbers() {
    let problems = problems_of("[limits]\nrate = { per_second = 5 }");
    assert!(
        problems.contains("config.toml:2: limits.rate.burst: is missing"),
        "{problems}"
    );
    assert!(problems_of("limits.rate = \"fast\"").contains("allowed is \"unlimited\""));
    assert!(problems_of("limits.rate = { per_second = 0, burst = 1 }").contains("from 1 to 1000000"));
}

#[test]
fn tools_are_overruled_only_to_tighten() {
    let text = format!(
        "[tools.kedro]\nenabled = false\n[tools.dlt]\nconsent = \"opt-in\"\ndestination = \"default\"\n\
         notice = \"required\"\nsample = 0.5\nmax_per_day = 5000\n{}",
        destination("")
    );
    let tools = House::with(&text).checked().tools;
    assert_eq!(
        tools["kedro"],
        ToolOverride {
            destination: None,
            enabled: false,
            opt_in: false,
            notice: false,
            sample: None,
            max_per_day: None,
        }
    );
    assert_eq!(
        tools["dlt"],
        ToolOverride {
            destination: Some("default".into()),
            enabled: true,
            opt_in: true,
            notice: true,
            sample: Sample::of(0.5),
            max_per_day: Some(5000),
        }
    );
    assert!(
        problems_of("[tools.dlt]\nconsent = \"opt-out\"")
            .contains("found \"opt-out\", allowed is \"opt-in\"")
    );
    assert!(problems_of("[tools.dlt]\nsample = 1.5").contains("allowed is a share from 0.0 to 1.0"));
    assert!(problems_of("[tools.dlt]\nnotice = \"none\"").contains("allowed is \"required\""));
}

#[test]
fn bounds_are_named_with_their_units() {
    for (text, why) in [
        (
            "queue.max_bytes = \"1KiB\"",
            "found \"1KiB\", allowed is a size from 16KiB to 1TiB",
        ),
        ("queue.max_bytes = -1", "found -1, allowed is a size"),
        ("queue.max_bytes = 99999999999999999999999", "allowed is a size"),
        ("queue.max_bytes = 1.5", "found 1.5, allowed is a size"),
        (
            "queue.max_bytes = \"64 XiB\"",
            "found \"64 XiB\", allowed is a size",
        ),
        (
            "queue.sent_log.bodies = \"yes\"",
            "found \"yes\", allowed is true or false",
        ),
        (
            "daemon.shutdown_drain = \"11min\"",
            "allowed is a duration from 0s to 10min",
        ),
        (
            "limits.max_connections = \"many\"",
            "allowed is a whole number from 1 to 65536",
        ),
        (
            "limits.max_depth = 129",
            "found 129, allowed is a whole number from 2 to 128",
        ),
        (
            "limits.idle_timeout = 1979-05-27",
            "found 1979-05-27, allowed is a duration",
        ),
        (
            "queue.max_age = [\"1d\"]",
            "found [\"1d\"], allowed is a duration",
        ),
        (
            "defaults.unregistered_tools = \"opt-out\"",
            "allowed is one of \"opt-in\", \"refuse\"",
        ),
    ] {
        let problems = problems_of(text);
        assert!(problems.contains(why), "{text}: {problems}");
    }
}

#[test]
fn log_levels_are_checked_because_the_library_would_take_anything() {
    for good in [
        "info",
        "off",
        "info,telemetryd=debug",
        "warn, telemetry_queue::writer=trace",
    ] {
        assert_eq!(
            House::with(&format!("daemon.log = \"{good}\""))
                .checked()
                .daemon
                .log,
            good
        );
    }
    for bad in [
        "",
        "inof",
        "info,",
        "=debug",
        "telemetryd",
        "info,telemetryd=loud",
        "INFO",
    ] {
        assert!(
            problems_of(&format!("daemon.log = \"{bad}\"")).contains("daemon.log: found"),
            "{bad}"
        );
    }
    assert!(problems_of("daemon.log = \"inof\"").contains("did you mean \"info\"?"));
}

#[test]
fn sizes_may_be_plain_numbers_of_bytes() {
    assert_eq!(
        House::with("queue.max_bytes = 1_000_000")
            .checked()
            .queue
            .max_bytes,
        1_000_000
    );
}

//! What each key takes, and what contradicts what.

use std::time::Duration;

use telemetry_delivery::{Auth, Compression, Confirm, Encoding, Secret};

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
fn a_destination_with_a_url_alone_has_the_contracts_defaults() {
    let checked = House::with(&destination("")).checked();
    let made = &checked.destinations["default"];
    assert_eq!(made.encoding, Encoding::Json);
    assert_eq!(made.compression, Compression::Gzip);
    assert_eq!(made.confirm, Confirm::Status);
    assert_eq!(made.auth, Auth::None);
    assert_eq!(made.timeout, Duration::from_secs(30));
    assert_eq!((made.batch.max_events, made.batch.max_bytes), (500, 256 << 10));
    assert_eq!(made.batch.max_wait, Duration::from_secs(60));
    assert_eq!(made.retry.initial, Duration::from_secs(5));
    assert_eq!(made.retry.max, Duration::from_secs(30 * 60));
    assert_eq!(made.retry.spread, Duration::from_secs(120));
    assert_eq!(
        (made.ca_file.as_ref(), made.allow_insecure, made.headers.len()),
        (None, false, 0)
    );
}

#[test]
fn a_destination_takes_everything_that_it_has() {
    let text = "
        encoding = \"ndjson\"
        compression = \"zstd\"
        confirm = \"batch_id\"
        timeout = \"5s\"
        headers = { X-Team = \"data\" }
        auth = { bearer_file = \"/etc/telemetryd/token\" }
        tls = { ca_file = \"/etc/ca.pem\" }
    ";
    let checked = House::with(&destination(text)).checked();
    let made = &checked.destinations["default"];
    assert_eq!(
        (made.encoding, made.compression, made.confirm),
        (Encoding::Ndjson, Compression::Zstd, Confirm::BatchId)
    );
    assert_eq!(made.headers, [("X-Team".into(), "data".into())]);
    assert_eq!(
        made.auth,
        Auth::Bearer(Secret::File("/etc/telemetryd/token".into()))
    );
    assert_eq!(made.ca_file, Some("/etc/ca.pem".into()));
}

#[test]
fn a_destination_without_a_url_is_said_to_miss_it() {
    let problems = problems_of("\n[destinations.default]\nencoding = \"json\"");
    assert!(
        problems.contains("config.toml:2: destinations.default.url: is missing"),
        "{problems}"
    );
    assert!(problems_of("[destinations.default]").contains("destinations.default.url: is missing"));
}

#[test]
fn plain_http_goes_to_loopback_or_where_it_is_allowed() {
    for (url, more, taken) in [
        ("http://127.0.0.1:8080/x", "", true),
        ("http://localhost/x", "", true),
        ("http://collector.example/x", "", false),
        ("http://collector.example/x", "allow_insecure = true", true),
        ("https://collector.example/x", "", true),
    ] {
        let house = House::with(&format!("[destinations.default]\nurl = \"{url}\"\n{more}"));
        assert_eq!(house.load().is_ok(), taken, "{url} {more}");
    }
    let problems = problems_of("[destinations.default]\nurl = \"http://collector.example/x\"");
    assert_eq!(
        problems,
        "error: user/config.toml:2: destinations.default.url: found \"http://collector.example/x\", allowed is \
         https, and http to loopback only\n  hint: write https, or allow_insecure = true if everybody on the way \
         may read the events"
    );
}

#[test]
fn a_url_without_a_scheme_suggests_https() {
    let problems = problems_of("[destinations.default]\nurl = \"telemetry.example.org/v1\"");
    assert!(
        problems.contains("hint: write \"https://telemetry.example.org/v1\""),
        "{problems}"
    );
}

#[test]
fn an_encoding_of_the_contract_that_is_not_there_yet_is_told_from_a_misspelt_one() {
    for encoding in ["segment", "heap", "posthog", "otlp", "mapped"] {
        let problems = problems_of(&destination(&format!("encoding = \"{encoding}\"")));
        assert!(
            problems.contains(&format!(
                "config.toml:3: destinations.default.encoding: \"{encoding}\" is not supported by this version \
                 yet, allowed is one of \"json\", \"ndjson\""
            )),
            "{problems}"
        );
    }
    let problems = problems_of(&destination("encoding = \"ndjsn\""));
    assert!(
        problems.contains("allowed is one of \"json\", \"ndjson\""),
        "{problems}"
    );
    assert!(problems.contains("did you mean \"ndjson\"?"), "{problems}");
}

#[test]
fn what_is_not_there_yet_is_said_and_never_ignored() {
    for text in [
        "[gateway]\nlisten = \"127.0.0.1:7423\"",
        "[gateway]\nkeys = { mykey = \"dlt\" }",
        "[gateway]\nkeys = { mykey = { tool = \"kedro\" } }",
        "[gateway]\nproxy_hosts = [\"192.0.2.1:8000\"]",
        "[tools.kedro]\nsample = 0.5",
        "[tools.kedro]\nnotice = \"x\"",
        "[tools.kedro]\nmax_per_day = 10",
        &destination("proxy = \"http://proxy.example:3128\""),
        &destination("tls = { client_cert = \"/x\", client_key = \"/y\" }"),
        &destination("tls.ca_only_file = \"/x\""),
        &destination("auth.segment_write_key = \"x\""),
        &destination("auth.posthog_key_env = \"X\""),
        &destination("form = \"track\""),
    ] {
        assert!(
            problems_of(text).contains("not supported by this version yet"),
            "{text}"
        );
    }
}

#[test]
fn what_is_not_there_yet_may_be_set_to_what_happens_anyway() {
    House::with("[gateway]\nlisten = \"off\"\nkeys = {}\nproxy_hosts = []\n[tools.kedro]\nsample = 1.0")
        .loaded();
    House::with(&destination("proxy = \"none\"")).loaded();
    House::with(&destination("proxy = \"from-environment\"")).loaded();
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
fn the_first_wait_is_not_longer_than_the_longest() {
    let problems = problems_of(&destination("retry = { initial = \"2h\" }"));
    assert!(problems.contains("retry.initial: found \"2h\", allowed is at most destinations.default.retry.max, which is \"30min\" (its default)"), "{problems}");
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
fn references_name_destinations_that_exist() {
    let problems = problems_of(&format!("defaults.destination = \"defalt\"\n{}", destination("")));
    assert!(problems.contains("config.toml:1: defaults.destination: found \"defalt\", allowed is the name of a destination: default"), "{problems}");
    assert!(problems.contains("did you mean \"default\"?"), "{problems}");
    let problems = problems_of("[tools.kedro]\ndestination = \"ours\"");
    assert!(
        problems.contains("config.toml:2: tools.kedro.destination: found \"ours\""),
        "{problems}"
    );
    assert!(
        problems.contains("hint: add [destinations.ours] with its url"),
        "{problems}"
    );
}

#[test]
fn a_destination_that_has_problems_of_its_own_is_still_known() {
    let problems = problems_of("[destinations.a]\nurl = 5\n[tools.kedro]\ndestination = \"a\"");
    assert_eq!(problems.matches("error:").count(), 1, "{problems}");
}

#[test]
fn without_any_destination_events_simply_wait() {
    House::with("defaults.destination = \"default\"").loaded();
    House::with("[destinations.other]\nurl = \"https://example.org\"").loaded();
}

#[test]
fn tools_are_overruled_only_to_tighten() {
    let text = format!(
        "[tools.kedro]\nenabled = false\n[tools.dlt]\nconsent = \"opt-in\"\ndestination = \"default\"\n{}",
        destination("")
    );
    let tools = House::with(&text).checked().tools;
    assert_eq!(
        tools["kedro"],
        ToolOverride {
            destination: None,
            enabled: false,
            opt_in: false
        }
    );
    assert_eq!(
        tools["dlt"],
        ToolOverride {
            destination: Some("default".into()),
            enabled: true,
            opt_in: true
        }
    );
    assert!(
        problems_of("[tools.dlt]\nconsent = \"opt-out\"")
            .contains("found \"opt-out\", allowed is \"opt-in\"")
    );
}

#[test]
fn names_of_tools_and_destinations_are_short_lowercase_words() {
    for text in [
        "[tools.Kedro]\nenabled = true",
        "[tools.\"a b\"]\nenabled = true",
        "[destinations.Ours]\nurl = \"https://example.org\"",
    ] {
        assert!(
            problems_of(text).contains("not a name, allowed is [a-z0-9][a-z0-9._-]{0,63}"),
            "{text}"
        );
    }
    let house = House::with("[tools.\"iterative.telemetry\"]\nenabled = false");
    assert!(house.checked().tools.contains_key("iterative.telemetry"));
    assert!(house.shown("tools.\"iterative.telemetry\".enabled").is_some());
}

#[test]
fn files_are_named_by_absolute_paths() {
    for (text, key) in [
        ("auth.bearer_file = \"token\"", "auth.bearer_file"),
        ("auth.basic_file = \"~/token\"", "auth.basic_file"),
        ("tls.ca_file = \"ca.pem\"", "tls.ca_file"),
    ] {
        let problems = problems_of(&destination(text));
        assert!(
            problems.contains(&format!("destinations.default.{key}: found")),
            "{problems}"
        );
        assert!(
            problems.contains("allowed is the absolute path of a file"),
            "{problems}"
        );
    }
}

#[test]
fn credentials_are_given_once() {
    let problems = problems_of(&destination("auth = { bearer_env = \"A\", basic_env = \"B\" }"));
    assert!(
        problems.contains("auth: found basic_env and bearer_env, allowed is one of them"),
        "{problems}"
    );
    let problems = problems_of(&destination(
        "auth = { bearer_env = \"A\" }\nheaders = { Authorization = \"x\" }",
    ));
    assert!(
        problems.contains("headers.Authorization: auth sets this header already"),
        "{problems}"
    );
    House::with(&destination("headers = { Authorization = \"Splunk x\" }")).loaded();
}

#[test]
fn headers_that_each_request_has_cannot_be_set() {
    for name in [
        "Host",
        "content-length",
        "User-Agent",
        "Idempotency-Key",
        "Proxy-Authorization",
        "Connection",
    ] {
        let problems = problems_of(&destination(&format!("headers.{name} = \"x\"")));
        assert!(
            problems.contains(&format!("headers.{name}: this header is made for each request")),
            "{problems}"
        );
    }
    for (header, why) in [
        ("\"a b\" = \"x\"", "not the name of a request header"),
        ("\"a\\nb\" = \"x\"", "not the name of a request header"),
        ("a = \"x\\ny\"", "a string of printable ASCII"),
        ("a = 5", "a string of printable ASCII"),
        ("a = \"x\"\nA = \"y\"", "this header is set twice"),
    ] {
        let problems = problems_of(&destination(&format!("[destinations.default.headers]\n{header}")));
        assert!(problems.contains(why), "{header}: {problems}");
    }
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

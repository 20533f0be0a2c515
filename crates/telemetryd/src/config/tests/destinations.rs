//! `[destinations.NAME]`, and who refers to them.

use std::time::Duration;

use telemetry_delivery::{Auth, Compression, Confirm, Encoding, Identity, Proxy, Roots, Secret, Tls};

use super::*;

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
        (&made.tls, &made.proxy),
        (&Tls::default(), &Proxy::FromEnvironment)
    );
    assert_eq!((made.allow_insecure, made.headers.len()), (false, 0));
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
        tls = { ca_file = \"/etc/ca.pem\", client_cert = \"/c.pem\", client_key = \"/k.pem\" }
        proxy = \"http://u:p@proxy.example:3128\"
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
    assert_eq!(made.tls.roots, Roots::SystemAnd("/etc/ca.pem".into()));
    let identity = Identity {
        cert: "/c.pem".into(),
        key: "/k.pem".into(),
    };
    assert_eq!(made.tls.identity, Some(identity));
    assert_eq!(made.proxy, Proxy::Url("http://u:p@proxy.example:3128".into()));
}

#[test]
fn authorities_are_added_or_replaced_and_not_both() {
    let checked = House::with(&destination("tls.ca_only_file = \"/etc/ca.pem\"")).checked();
    assert_eq!(
        checked.destinations["default"].tls.roots,
        Roots::Only("/etc/ca.pem".into())
    );
    let problems = problems_of(&destination("tls = { ca_file = \"/a\", ca_only_file = \"/b\" }"));
    assert!(
        problems
            .contains("destinations.default.tls.ca_only_file: found beside destinations.default.tls.ca_file")
            && problems.contains("keep one"),
        "{problems}"
    );
}

#[test]
fn a_client_certificate_has_two_files() {
    for (set, missing) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        let problems = problems_of(&destination(&format!("tls.{set} = \"/x\"")));
        assert!(
            problems.contains(&format!("destinations.default.tls.{missing}: is missing")),
            "{problems}"
        );
    }
}

#[test]
fn a_proxy_is_the_environments_or_none_or_one() {
    for (text, made) in [
        ("from-environment", Proxy::FromEnvironment),
        ("none", Proxy::None),
        ("http://proxy:3128", Proxy::Url("http://proxy:3128".into())),
    ] {
        let checked = House::with(&destination(&format!("proxy = \"{text}\""))).checked();
        assert_eq!(checked.destinations["default"].proxy, made);
    }
    let problems = problems_of(&destination("proxy = \"proxy.example:3128\""));
    assert!(
        problems.contains("destinations.default.proxy: the proxy has no scheme")
            && problems.contains("or a URL \"http://host:port\""),
        "{problems}"
    );
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
fn a_misspelt_encoding_is_guessed() {
    let problems = problems_of(&destination("encoding = \"ndjsn\""));
    assert!(
        problems.contains("allowed is one of \"json\", \"ndjson\", \"segment\""),
        "{problems}"
    );
    assert!(problems.contains("did you mean \"ndjson\"?"), "{problems}");
}

#[test]
fn the_first_wait_is_not_longer_than_the_longest() {
    let problems = problems_of(&destination("retry = { initial = \"2h\" }"));
    assert!(problems.contains("retry.initial: found \"2h\", allowed is at most destinations.default.retry.max, which is \"30min\" (its default)"), "{problems}");
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

//! A destination that a manifest brings itself: reached over TLS by the system's trust, with its public key, and by
//! nothing less.

use serde_json::json;

use telemetry_testkit::{Authority, Collector, Ctl, DEADLINE, Daemon, Flaw, Home, eventually};

use crate::stage::{TOOL, ask, booked, event, id, list, status};

/// Retries soon, so that a test sees it try.
const RETRY: &str = "retry = { initial = \"20ms\", max = \"100ms\", spread = \"20ms\" }\n";

/// A manifest that sends there itself, in the form of Segment and with its public key.
fn manifest(url: &str, more: &str) -> String {
    format!(
        "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"\n[destination]\nurl = \"{url}\"\nencoding = \"segment\"\n\
         auth = {{ segment_write_key = \"public-key\" }}\nbatch = {{ max_wait = \"1h\" }}\n{more}"
    )
}

/// An endpoint with a certificate of this authority.
fn endpoint(authority: &Authority, flaw: Flaw) -> Collector {
    let tls = authority.server(flaw).tls();
    Collector::builder().tls(tls).expect_tool(TOOL).start()
}

/// A daemon without any destination of its own, on a system that trusts this authority.
fn daemon(home: &Home, trusted: &Authority) -> Daemon {
    Daemon::builder(home)
        .config("")
        .env("SSL_CERT_FILE", trusted.ca_file())
        .start()
}

fn flush(daemon: &Daemon) -> serde_json::Value {
    ask(
        daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
    )
}

#[test]
fn a_manifests_own_destination_is_reached_over_tls_with_its_public_key() {
    let system = Authority::new();
    let endpoint = endpoint(&system, Flaw::None);
    for registered in [false, true] {
        let home = Home::new();
        let text = manifest(&endpoint.url_by_name(), RETRY);
        if !registered {
            home.write_manifest(TOOL, &text);
        }
        let daemon = daemon(&home, &system);
        if registered {
            // One that a tool brings is opt-in, or its notice comes first.
            let brought = text.replace("opt-out", "opt-in");
            let answer = ask(&daemon, &json!({"op": "register", "manifest": brought}));
            assert_eq!(answer["status"], "registered", "{answer}");
            ask(
                &daemon,
                &json!({"op": "consent", "action": "allow", "tool": TOOL}),
            );
        }
        let before = endpoint.requests().len();
        let n = 1 + u64::from(registered);
        assert_eq!(ask(&daemon, &event(n))["status"], "queued");
        assert_eq!(flush(&daemon)["left"], 0);
        endpoint.wait_for_ids([id(n)]);
        let requests = endpoint.requests();
        assert_eq!(requests.len(), before + 1);
        // public-key:
        assert_eq!(
            requests[before].header("authorization"),
            Some("Basic cHVibGljLWtleTo=")
        );
        let status = status(&daemon);
        assert_eq!(booked(&status, "delivered"), 1);
        let names: Vec<&str> = status["destinations"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|d| d["name"].as_str())
            .collect();
        assert!(names.contains(&"tool:demo"), "{names:?}");
        let shown = Ctl::new(&home).ok(["tools", "show", TOOL]).stdout;
        assert!(
            shown.contains(&endpoint.url_by_name()) && !shown.contains("public-key"),
            "{shown}"
        );
    }
}

#[test]
fn a_manifests_own_destination_with_a_certificate_that_nobody_vouches_for_gets_nothing() {
    let (system, other) = (Authority::new(), Authority::new());
    for (authority, flaw) in [
        (&other, Flaw::None),
        (&system, Flaw::Expired),
        (&system, Flaw::WrongName),
    ] {
        let tls = authority.server(flaw).tls();
        let endpoint = Collector::builder().tls(tls).expect_nothing().start();
        let home = Home::new();
        home.write_manifest(TOOL, &manifest(&endpoint.url_by_name(), RETRY));
        let daemon = daemon(&home, &system);
        assert_eq!(ask(&daemon, &event(1))["status"], "queued");
        ask(&daemon, &json!({"op": "flush"}));
        eventually("the attempt failed, and says why", DEADLINE, || {
            let status = status(&daemon);
            let mine = status["destinations"]
                .as_array()?
                .iter()
                .find(|d| d["name"] == "tool:demo")
                .cloned()?;
            mine["last_error"]
                .as_str()
                .filter(|why| why.contains("certificate"))
                .map(drop)
        });
        assert_eq!(
            list(&daemon, &json!({"op": "queue", "action": "list"})).len(),
            1,
            "{flaw:?}"
        );
    }
}

#[test]
fn a_manifest_cannot_bring_what_would_weaken_its_way_and_an_admin_can_forbid_where_it_goes() {
    let home = Home::new();
    let daemon = Daemon::builder(&home).config("").start();
    for (what, weaker) in [
        ("http", manifest("http://127.0.0.1:9/", "")),
        ("a password", manifest("https://u:p@127.0.0.1:9/", "")),
        (
            "trust of its own",
            manifest("https://127.0.0.1:9/", "tls = { ca_file = \"/x\" }\n"),
        ),
        (
            "a proxy",
            manifest("https://127.0.0.1:9/", "proxy = \"http://127.0.0.1:9\"\n"),
        ),
        (
            "plain text",
            manifest("https://127.0.0.1:9/", "allow_insecure = true\n"),
        ),
        (
            "headers",
            manifest("https://127.0.0.1:9/", "headers = { a = \"b\" }\n"),
        ),
    ] {
        let opt_in = weaker.replace("opt-out", "opt-in");
        let answer = ask(&daemon, &json!({"op": "register", "manifest": opt_in}));
        assert_eq!(answer["ok"], false, "{what}: {answer}");
    }
    home.write_manifest(TOOL, &manifest("https://127.0.0.1:9/v1", RETRY));
    assert_eq!(ask(&daemon, &event(1))["status"], "queued");
    home.write(
        home.machine_dir().join("policy.d/ours.toml"),
        "[destinations]\nallow = [\"https://ours.example\"]\n",
    );
    let answer = ask(&daemon, &event(2));
    assert_eq!(
        (&answer["status"], &answer["by"]),
        (&json!("declined"), &json!("machine")),
        "{answer}"
    );
    eventually("what waited is erased", DEADLINE, || {
        list(&daemon, &json!({"op": "queue", "action": "list"}))
            .is_empty()
            .then_some(())
    });
}

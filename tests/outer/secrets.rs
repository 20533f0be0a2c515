//! TLS and credentials: who is spoken with, what is proved to them, and that no credential is seen anywhere else.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Authority, Collector, DEADLINE, Daemon, Flaw, Home, eventually};

use crate::stage::{TOLD, TOOL, ask, destination, event, home, id, queue, status};

/// What must be nowhere but in the request, and its forms.
const SECRET: &str = "s3cret-T0ken-of-the-test";

fn tls_endpoint(authority: &Authority, flaw: Flaw) -> Collector {
    Collector::builder()
        .tls(authority.server(flaw).tls())
        .expect_tool(TOOL)
        .start()
}

fn ca(authority: &Authority) -> String {
    format!(
        "{TOLD}tls = {{ ca_file = \"{}\" }}\n",
        authority.ca_file().display()
    )
}

fn flush(daemon: &Daemon, timeout_ms: u64) -> Value {
    ask(
        daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": timeout_ms}),
    )
}

#[test]
fn an_endpoint_with_a_certificate_of_the_configured_authority_is_spoken_with() {
    let authority = Authority::new();
    let endpoint = tls_endpoint(&authority, Flaw::None);
    for url in [endpoint.url(), endpoint.url_by_name()] {
        let home = home();
        let daemon = Daemon::start(&home, &destination(&url, &ca(&authority)));
        let ids = queue(&daemon, [json!({"tool": TOOL, "event": "ran"})]);
        assert_eq!(flush(&daemon, 15_000)["left"], 0, "{url}");
        endpoint.wait_for_ids(ids);
    }
}

#[test]
fn an_endpoint_with_any_other_certificate_hears_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (flaw, trusted) in [
        (Flaw::None, TOLD.to_owned()),
        (Flaw::None, ca(&stranger)),
        (Flaw::WrongName, ca(&authority)),
        (Flaw::Expired, ca(&authority)),
    ] {
        let endpoint = Collector::builder()
            .tls(authority.server(flaw).tls())
            .expect_nothing()
            .start();
        let home = home();
        let daemon = Daemon::start(&home, &destination(&endpoint.url_by_name(), &trusted));
        queue(&daemon, [event(1)]);
        ask(&daemon, &json!({"op": "flush"}));
        let shown = eventually("it is in backoff", DEADLINE, || {
            let shown = status(&daemon)["destinations"][0].clone();
            (shown["state"] == "backoff").then_some(shown)
        });
        let error = shown["last_error"].as_str().unwrap_or_default().to_lowercase();
        assert!(
            error.contains("certificate") || error.contains("tls"),
            "{flaw:?}: {error}"
        );
        assert_eq!(shown["queued"], 1);
        endpoint.finish();
    }
}

#[test]
fn a_ca_file_that_cannot_be_read_holds_and_says_which() {
    let endpoint = Collector::builder().expect_nothing().start();
    let home = home();
    let missing = home.root().join("missing.pem");
    let url = endpoint.url().replace("http://", "https://");
    let settings = format!("{TOLD}tls = {{ ca_file = \"{}\" }}\n", missing.display());
    let daemon = Daemon::start(&home, &destination(&url, &settings));
    queue(&daemon, [event(1)]);
    assert_eq!(flush(&daemon, 15_000)["left"], 1);
    let shown = status(&daemon)["destinations"][0].clone();
    assert_eq!(shown["state"], "held", "{shown}");
    assert!(
        shown["last_error"].as_str().unwrap().contains("missing.pem"),
        "{shown}"
    );
}

#[test]
fn plain_http_to_another_host_is_refused_by_the_config_unless_it_is_allowed() {
    let home = home();
    for (url, more, code) in [
        ("http://telemetry.example.org/", "", 78),
        ("http://192.0.2.1/v1", "", 78),
        ("http://127.0.0.1.example.org/", "", 78),
        ("http://telemetry.example.org/", "allow_insecure = true\n", 0),
        ("http://127.0.0.1:9/", "", 0),
        ("http://127.8.8.8:9/", "", 0),
        ("http://[::1]:9/", "", 0),
        ("http://localhost:9/", "", 0),
        ("https://telemetry.example.org/", "", 0),
        ("telemetry.example.org/v1", "", 78),
        ("ftp://telemetry.example.org/v1", "", 78),
    ] {
        home.write_config(&destination(url, more));
        let exit = Daemon::builder(&home).arg("--check-config").run();
        assert_eq!(exit.code, Some(code), "{url} {more}: {}", exit.stderr);
        if code == 78 {
            assert!(
                exit.stderr.contains("destinations.default.url"),
                "{}",
                exit.stderr
            );
            assert!(
                exit.stderr.contains("https"),
                "it says what would be right: {}",
                exit.stderr
            );
        }
    }
}

/// Everything that a person or a program could look at, the request aside.
fn everything_seen(home: &Home, daemon: &Daemon) -> Vec<(String, Vec<u8>)> {
    let mut seen = vec![("the log".to_owned(), daemon.log().into_bytes())];
    for op in [
        json!({"op": "status"}),
        json!({"op": "config"}),
        json!({"op": "doctor"}),
        json!({"op": "metrics"}),
        json!({"op": "queue", "action": "next_batch"}),
        json!({"op": "queue", "action": "list"}),
        json!({"op": "queue", "action": "parked"}),
        json!({"op": "sent", "bodies": true}),
    ] {
        let mut tool = daemon.connect();
        tool.send(&op);
        tool.finish_sending();
        seen.push((op.to_string(), tool.until_closed().join("\n").into_bytes()));
    }
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["queue", "next-batch"],
        &["queue", "next-batch", "--json"],
        &["sent", "--bodies"],
        &["doctor"],
        &["config", "show"],
        &["config", "show", "--json"],
    ] {
        let exit = daemon.ctl().run(args);
        seen.push((
            format!("telemetryctl {}", args.join(" ")),
            format!("{}{}", exit.stdout, exit.stderr).into_bytes(),
        ));
    }
    for folder in [home.state_dir(), home.runtime_dir()] {
        files(&folder, &mut seen);
    }
    seen
}

pub(crate) fn files(folder: &Path, seen: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder of the test's home") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, seen);
        } else if let Ok(bytes) = fs::read(&path) {
            seen.push((path.display().to_string(), bytes));
        }
    }
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn a_credential_is_in_the_request_and_nowhere_else_however_it_was_given() {
    // base64 of "user:" and the secret.
    let basic = "dXNlcjpzM2NyZXQtVDBrZW4tb2YtdGhlLXRlc3Q=";
    let file = |home: &Home, name: &str, text: &str| {
        let path = home.root().join(name);
        fs::write(&path, text).expect("a file of the test's home");
        path.display().to_string()
    };
    for kind in [
        "bearer",
        "bearer_file",
        "bearer_env",
        "basic",
        "basic_file",
        "basic_env",
    ] {
        let home = home();
        let is_basic = kind.starts_with("basic");
        let text = if is_basic {
            format!("user:{SECRET}")
        } else {
            SECRET.to_owned()
        };
        let value = match kind {
            "bearer" | "basic" => text.clone(),
            "bearer_file" | "basic_file" => file(&home, "token", &format!("{text}\n")),
            _ => "TEST_CREDENTIAL".to_owned(),
        };
        // The server echoes what it got, as some do, and refuses: the answer is shown and parked.
        let sent = if is_basic { basic } else { SECRET };
        let echo = format!("no: Authorization: {sent}, password {SECRET}, key={SECRET}");
        let script = Script::new()
            .then(
                telemetry_testkit::sink::Step::status(400)
                    .body(&echo)
                    .event("poison"),
            )
            .then(telemetry_testkit::sink::Step::status(503).body(&echo).times(1));
        let endpoint = Collector::builder().script(script).expect_tool(TOOL).start();
        let url = format!("{}?key={SECRET}", endpoint.url());
        let config = format!(
            "[daemon]\nlog = \"trace\"\n{}auth = {{ {kind} = \"{value}\" }}\nheaders = {{ X-Api-Key = \"{SECRET}\" }}\nproxy = \"http://user:{SECRET}@127.0.0.1:9\"\n",
            destination(&url, TOLD)
        );
        home.write_config(&config);
        let mut daemon = Daemon::builder(&home).env("TEST_CREDENTIAL", &text).start();
        queue(
            &daemon,
            [
                event(1),
                json!({"tool": TOOL, "event": "poison", "id": id(2)}),
                event(3),
            ],
        );
        ask(&daemon, &json!({"op": "flush"}));
        eventually("the first attempt failed", DEADLINE, || {
            (status(&daemon)["destinations"][0]["attempts"] == 1).then_some(())
        });
        let mut seen = everything_seen(&home, &daemon);
        assert_eq!(flush(&daemon, 15_000)["left"], 0, "{kind}");
        queue(&daemon, [event(4)]);
        daemon.signal(Signal::HUP);
        seen.extend(everything_seen(&home, &daemon));
        let expected = if is_basic {
            format!("Basic {basic}")
        } else {
            format!("Bearer {SECRET}")
        };
        for request in endpoint.requests() {
            assert_eq!(request.header("authorization"), Some(expected.as_str()), "{kind}");
        }
        for (place, bytes) in seen {
            for form in [SECRET, basic] {
                assert!(
                    !contains(&bytes, form),
                    "{kind}: a credential is in {place}: {}",
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }
}

#[test]
fn a_credential_that_is_not_there_holds_until_it_is() {
    let home = home();
    let endpoint = Collector::for_tool(TOOL);
    let token = home.root().join("token");
    let settings = format!("{TOLD}auth = {{ bearer_file = \"{}\" }}\n", token.display());
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), &settings));
    queue(&daemon, [event(1)]);
    assert_eq!(flush(&daemon, 15_000)["left"], 1);
    assert_eq!(status(&daemon)["destinations"][0]["state"], "held");
    assert!(endpoint.requests().is_empty(), "nothing is sent without it");
    fs::write(&token, "later\n").expect("a file of the test's home");
    assert_eq!(ask(&daemon, &json!({"op": "resume"}))["ok"], true);
    assert_eq!(flush(&daemon, 15_000)["left"], 0);
    assert_eq!(
        endpoint.requests()[0].header("authorization"),
        Some("Bearer later")
    );
}

#[test]
fn a_mistake_in_a_config_shows_no_credential() {
    let home = home();
    home.write_config(&destination(
        "https://telemetry.example.org/",
        &format!("auth = {{ bearer = \"{SECRET}\", basic = \"{SECRET}\", baerer = \"{SECRET}\" }}\nheaders = {{ Authorization = \"{SECRET}\" }}\n"),
    ));
    let exit = Daemon::builder(&home).arg("--check-config").run().expect_code(78);
    assert!(
        !exit.stderr.contains(SECRET) && !exit.stdout.contains(SECRET),
        "{}",
        exit.stderr
    );
    home.write_config(&destination(
        &format!("https://user:{SECRET}@telemetry.example.org/?k={SECRET}"),
        "",
    ));
    let exit = Daemon::builder(&home).arg("--check-config").run().expect_code(78);
    assert!(!exit.stderr.contains(SECRET), "{}", exit.stderr);
}

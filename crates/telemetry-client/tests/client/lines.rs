//! A tool's three lines, against a daemon that reads, one that does not, and none (I10).

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use serde_json::json;
use telemetry_client::{Client, Sent, clock};

use crate::home::{Home, MANIFEST, full, next};

#[test]
fn an_event_is_one_line_behind_the_manifest_that_the_daemon_lacks() {
    let home = Home::new().with("GITLAB_CI", "true");
    let heard = home.daemon();
    let client = home
        .client()
        .version("1.2.3")
        .project("secret-project")
        .user("u-1");
    assert_eq!(
        client
            .event("ran")
            .prop("n", 3)
            .prop("ok", true)
            .prop("x", f64::NAN)
            .send(),
        Sent::Handed
    );
    let register = next(&heard);
    assert_eq!(
        (&register["op"], &register["manifest"]),
        (&json!("register"), &json!(MANIFEST))
    );
    let event = next(&heard);
    assert_eq!(event["tool"], "mytool");
    assert_eq!(event["event"], "ran");
    assert_eq!(event["ack"], "none");
    assert_eq!(event["version"], "1.2.3");
    assert_eq!(event["properties"], json!({"n": 3, "ok": true, "x": null}));
    assert_eq!(
        (&event["project"], &event["user"]),
        (&json!("secret-project"), &json!("u-1"))
    );
    assert_eq!(event["context"]["ci_name"], "gitlab");
    assert_eq!(event["context"]["library"]["name"], "telemetryd-rust");
    let id = event["id"].as_str().expect("an id");
    assert_eq!(uuid::Uuid::parse_str(id).expect("a UUID").get_version_num(), 7);
    assert!(
        event["time"]
            .as_i64()
            .is_some_and(|time| time > 1_700_000_000_000)
    );
    assert!(event.get("consent").is_none());
}

#[test]
fn a_manifest_that_the_daemon_has_is_not_said_again() {
    let home = Home::new();
    let heard = home.daemon();
    home.write("state/tools.d/mytool.toml", MANIFEST);
    assert_eq!(home.client().event("ran").send(), Sent::Handed);
    assert_eq!(next(&heard)["event"], "ran");
}

#[test]
fn a_newer_manifest_of_the_tools_own_is_said_and_an_installed_one_never_is() {
    let home = Home::new();
    let heard = home.daemon();
    home.write(
        "state/tools.d/mytool.toml",
        &MANIFEST.replace("It is on.", "It was on."),
    );
    home.client().event("one").send();
    assert_eq!(next(&heard)["op"], "register");
    assert_eq!(next(&heard)["event"], "one");
    home.write(
        ".local/share/telemetryd/tools.d/mytool.toml",
        &MANIFEST.replace("It is on.", "Mine."),
    );
    home.client().event("two").send();
    assert_eq!(next(&heard)["event"], "two");
}

#[test]
fn with_a_denial_nothing_is_connected_to_and_nothing_is_made() {
    let denied = |home: Home, client: &dyn Fn(Client) -> Client| {
        let listener = UnixListener::bind(home.path("d.sock")).expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        let before = home.names();
        assert_eq!(client(home.client()).event("ran").send(), Sent::Declined);
        assert!(listener.accept().is_err(), "somebody connected");
        assert_eq!(home.names(), before);
    };
    denied(Home::new().with("DO_NOT_TRACK", ""), &|client| client);
    denied(Home::new().with("MYTOOL_OFF", "1"), &|client| client);
    denied(Home::new(), &|client| client.consent(false));
    let machine = Home::new();
    machine.write("machine/opt-out", "");
    denied(machine, &|client| client.consent(true));
    let user = Home::new();
    user.write("config/consent.toml", "[tools]\nmytool = false\n");
    denied(user, &|client| client);
}

#[test]
fn a_projects_denial_erases_what_is_queued_of_it_and_says_nothing_else() {
    let home = Home::new();
    let heard = home.daemon();
    home.write("work/.telemetry", "consent: false\n");
    let client = home.client().project_dir(&home.path("work"));
    assert_eq!(
        client.event("ran").prop("secret", "s3cret").send(),
        Sent::Declined
    );
    let request = next(&heard);
    assert_eq!(
        (&request["op"], &request["action"]),
        (&json!("consent"), &json!("deny"))
    );
    assert_eq!(request["tool"], "mytool");
    assert_eq!(request["project"], home.path("work").to_string_lossy().as_ref());
    assert!(heard.recv_timeout(Duration::from_millis(20)).is_err());
}

#[test]
fn an_events_project_is_where_its_files_are_unless_the_tool_knows_better() {
    let home = Home::new();
    let heard = home.daemon();
    home.write("state/tools.d/mytool.toml", MANIFEST);
    home.write("work/.telemetry", "consent: true\n");
    let client = home.client().project_dir(&home.path("work"));
    client.event("ran").send();
    let event = next(&heard);
    assert_eq!(event["project"], home.path("work").to_string_lossy().as_ref());
    assert_eq!(event["consent"]["layer"], "project");
    client.project("p-1").event("ran").send();
    assert_eq!(next(&heard)["project"], "p-1");
}

#[test]
fn a_notice_is_due_until_it_was_shown() {
    let home = Home::new();
    let manifest = MANIFEST.replace("notice_required = \"tool\"", "notice_required = true");
    let client = Client::from_manifest(&manifest).in_surroundings(home.surroundings());
    let notice = client.notice().expect("it is due");
    assert_eq!(notice.text, "It is on.");
    client.noticed(&notice);
    assert_eq!(client.notice(), None);
    assert_eq!(home.client().notice(), None, "a tool that shows its own");
}

#[test]
fn a_yes_that_only_the_tool_can_see_is_said() {
    let home = Home::new();
    let heard = home.daemon();
    home.client().consent(true).event("ran").send();
    next(&heard);
    let consent = next(&heard)["consent"].clone();
    assert_eq!(
        (&consent["layer"], &consent["verdict"]),
        (&json!("invocation"), &json!("allow"))
    );
}

#[test]
fn nobody_there_is_nothing_to_worry_about() {
    let home = Home::new();
    assert_eq!(home.client().event("ran").send(), Sent::Lost);
    assert_eq!(home.names(), [""; 0]);
    drop(UnixListener::bind(home.path("d.sock")).expect("a socket"));
    assert_eq!(home.client().event("ran").send(), Sent::Lost);
}

#[test]
fn a_full_backlog_costs_the_deadline_and_no_more() {
    let home = Home::new();
    let _full = full(&home.path("d.sock"));
    let began = clock::after(Duration::ZERO);
    assert_eq!(home.client().event("ran").send(), Sent::Lost);
    // Twenty milliseconds, on a machine that may be busy with other tests.
    let took = clock::after(Duration::ZERO).saturating_duration_since(began);
    assert!(took < Duration::from_secs(2), "{took:?}");
    // It is remembered that nobody takes anything there.
    std::fs::remove_file(home.path("state/spool/wedged")).expect("a marker");
    let patient = home.client().deadline(Duration::from_millis(300));
    let began: Instant = clock::after(Duration::ZERO);
    patient.event("ran").send();
    assert!(clock::after(Duration::ZERO).saturating_duration_since(began) >= Duration::from_millis(290));
}

#[test]
fn a_daemon_that_does_not_read_costs_the_deadline_and_no_more() {
    let home = Home::new();
    let _deaf = UnixListener::bind(home.path("d.sock")).expect("a socket");
    // Nobody has said that the manifest is known: the event is said all the same.
    assert_eq!(home.client().event("ran").send(), Sent::Handed);
    home.write("state/tools.d/mytool.toml", MANIFEST);
    let client = home.client();
    // One line fits into the socket's buffer; the daemon reads it when it wakes up.
    assert_eq!(
        client.event("ran").prop("text", "x".repeat(50_000)).send(),
        Sent::Handed
    );
}

#[test]
fn what_is_no_event_is_not_sent() {
    let home = Home::new();
    let client = home.client();
    for name in ["", "a\nb", &"x".repeat(129)] {
        assert_eq!(client.event(name).send(), Sent::Unfit);
    }
    assert_eq!(
        client.event("ran").prop("text", "x".repeat(70_000)).send(),
        Sent::Unfit
    );
    let broken = Client::from_manifest("name = \"mytool\"\nevens = \"any\"\n");
    assert_eq!(broken.event("ran").send(), Sent::Unfit);
    assert!(
        broken.problems().iter().any(|problem| problem.contains("line 2")),
        "{:?}",
        broken.problems()
    );
}

#[test]
fn a_tools_drop_and_its_threads_may_send() {
    struct Tool(Client);
    impl Drop for Tool {
        fn drop(&mut self) {
            self.0.event("ended").send();
        }
    }
    let home = Home::new();
    let heard = home.daemon();
    home.write("state/tools.d/mytool.toml", MANIFEST);
    let tool = Tool(home.client());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| tool.0.event("ran").send());
        }
    });
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _tool = tool;
        std::panic::resume_unwind(Box::new("the tool's own"));
    }));
    assert!(unwound.is_err());
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(next(&heard)["id"].to_string());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

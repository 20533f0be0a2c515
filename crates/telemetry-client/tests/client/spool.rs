//! Where nobody answers: what may wait waits in the spool, and what may not is lost.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_client::{Client, Sent, clock};

use crate::home::{Home, full, names};

/// A manifest whose events may wait on the disk.
const LISTED: &str = "name = \"mytool\"\nconsent = \"opt-out\"\nnotice = \"It is on.\"\nnotice_required = \"tool\"\n\
    [events.ran]\nproperties.n = \"integer\"\nproperties.free = \"string\"\n\
    properties.command = { type = \"string\", mask = \"command\" }\n";

impl Home {
    fn keeping(&self) -> Client {
        let client = Client::from_manifest(LISTED);
        assert_eq!(client.problems(), [""; 0]);
        client.in_surroundings(self.surroundings())
    }

    /// The files of the spool, by name.
    fn spooled(&self) -> Vec<String> {
        names(std::fs::read_dir(self.path("state/spool")).into_iter().flatten())
    }

    fn spooled_events(&self) -> Vec<Value> {
        let events = self
            .spooled()
            .into_iter()
            .filter(|name| name.ends_with(".ndjson"));
        events
            .map(|name| {
                let text = std::fs::read_to_string(self.path("state/spool").join(&name)).expect("a file");
                let event: Value =
                    serde_json::from_str(text.strip_suffix('\n').expect("a line")).expect("JSON");
                assert_eq!(
                    name,
                    format!("{}.mytool.ndjson", event["id"].as_str().expect("an id"))
                );
                event
            })
            .collect()
    }
}

#[test]
fn where_nobody_answers_what_may_wait_waits_beside_its_manifest() {
    use telemetry_protocol::mask::Vocabulary;
    let home = Home::new();
    let client = home.keeping().project("secret-p").user("secret-u").version("1.0");
    let masked = client.mask(["run", "secret-arg"], &Vocabulary::default());
    let event = client
        .event("ran")
        .prop("n", 3)
        .prop("free", "secret-text")
        .prop("more", 1);
    assert_eq!(event.command("command", &masked).send(), Sent::Kept);
    let waiting = home.spooled_events();
    let [event] = waiting.as_slice() else {
        panic!("{waiting:?}")
    };
    assert_eq!(
        event["properties"],
        json!({"n": 3, "command": "mytool ***** *****"})
    );
    assert_eq!(
        (&event["event"], &event["version"]),
        (&json!("ran"), &json!("1.0"))
    );
    assert!(event["time"].is_i64() && event["context"]["library"].is_object());
    assert!(
        event.get("ack").is_none() && !event.to_string().contains("secret"),
        "{event}"
    );
    assert!(home.spooled().contains(&"mytool.toml".to_owned()));
    let kept = std::fs::read_to_string(home.path("state/spool/mytool.toml")).expect("a manifest");
    assert_eq!(kept, LISTED);
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(home.path(name))
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("state/spool"), mode("state/spool/mytool.toml")),
        (0o700, 0o600)
    );
}

#[test]
fn where_consent_is_not_certain_nothing_waits_and_nothing_is_made() {
    let lost = |home: Home, client: &dyn Fn(&Home) -> Client| {
        let sent = client(&home).event("ran").prop("n", 1).send();
        assert!(matches!(sent, Sent::Lost | Sent::Declined), "{sent:?}");
        assert_eq!(home.spooled(), [""; 0]);
    };
    lost(Home::new().with("DO_NOT_TRACK", "1"), &Home::keeping);
    lost(Home::new(), &|home| home.keeping().consent(false));
    let policies = Home::new();
    policies.write("machine/policy.d/1.toml", "");
    lost(policies, &Home::keeping);
    let of =
        |text: String| move |home: &Home| Client::from_manifest(&text).in_surroundings(home.surroundings());
    lost(Home::new(), &of(LISTED.replace("opt-out", "opt-in")));
    lost(
        Home::new(),
        &of(LISTED.replace("notice_required = \"tool\"", "notice_required = true")),
    );
    lost(
        Home::new().with("CI", "true"),
        &of(LISTED.replace("consent", "ci = \"skip\"\nconsent")),
    );
    lost(Home::new(), &|home| {
        Client::named("mytool").in_surroundings(home.surroundings())
    });
    let unlisted = |home: &Home| home.keeping();
    let home = Home::new();
    assert_eq!(unlisted(&home).event("other").send(), Sent::Lost);
    assert_eq!(home.spooled(), [""; 0]);
    assert_eq!(
        home.client().event("ran").send(),
        Sent::Lost,
        "any event: nobody knows what its name says"
    );
}

#[test]
fn an_allow_lets_the_events_of_an_opt_in_tool_wait() {
    let home = Home::new();
    let text = LISTED.replace("opt-out", "opt-in");
    let client = Client::from_manifest(&text)
        .in_surroundings(home.surroundings())
        .consent(true);
    assert_eq!(client.event("ran").prop("n", 1).send(), Sent::Kept);
    assert_eq!(home.spooled_events()[0]["consent"]["layer"], "invocation");
}

#[test]
fn a_wedged_daemon_costs_the_deadline_once() {
    let home = Home::new();
    home.write("state/tools.d/mytool.toml", LISTED);
    let _full = full(&home.path("d.sock"));
    let patient = home.keeping().deadline(Duration::from_millis(300));
    assert_eq!(patient.event("ran").prop("n", 1).send(), Sent::Kept);
    assert!(home.spooled().contains(&"wedged".to_owned()));
    let began = clock::after(Duration::ZERO);
    assert_eq!(patient.event("ran").prop("n", 2).send(), Sent::Kept);
    assert!(clock::after(Duration::ZERO).saturating_duration_since(began) < Duration::from_millis(250));
    assert_eq!(home.spooled_events().len(), 2);
    // Half a minute later somebody asks again.
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let marker = std::fs::File::options()
        .write(true)
        .open(home.path("state/spool/wedged"))
        .expect("a file");
    marker.set_modified(long_ago).expect("a time");
    let began = clock::after(Duration::ZERO);
    patient.event("ran").send();
    assert!(clock::after(Duration::ZERO).saturating_duration_since(began) >= Duration::from_millis(290));
}

#[test]
fn a_thousand_events_wait_and_the_oldest_makes_room_and_is_counted() {
    let home = Home::new();
    home.write("state/tools.d/mytool.toml", LISTED);
    let client = home.keeping();
    assert_eq!(client.event("ran").prop("n", 0).send(), Sent::Kept);
    let first = home.spooled();
    for n in 1..1_000_u32 {
        let id = format!("0199aaaa-0000-7000-8000-{n:012x}");
        home.write(&format!("state/spool/{id}.mytool.ndjson"), "{}\n");
    }
    let old = "00000000-0001-7000-8000-000000000000.mytool.ndjson";
    home.write(&format!("state/spool/{old}"), "{}\n");
    home.write("state/spool/notes.txt", "mine");
    // These are of 2025 and may be older than thirty days by now: whichever way, all are counted.
    assert_eq!(client.event("ran").prop("n", 1).send(), Sent::Kept);
    let names = home.spooled();
    let events = names.iter().filter(|name| name.ends_with(".ndjson")).count();
    assert!(events <= 1_000 && names.contains(&first[0]) && names.contains(&"notes.txt".to_owned()));
    let length =
        |name: &str| std::fs::metadata(home.path("state/spool").join(name)).map_or(0, |found| found.len());
    let counted = length("mytool.dropped") + length("mytool.expired");
    assert_eq!(counted, 1_002 - events as u64);
    assert!(length("mytool.expired") >= 1 && !names.contains(&old.to_owned()));
}

#[test]
fn a_spool_that_is_not_the_users_own_is_not_used() {
    for trap in ["link", "open"] {
        let home = Home::new();
        let place = home.path("state/spool");
        std::fs::create_dir_all(home.path("state")).expect("a directory");
        if trap == "link" {
            std::fs::create_dir_all(home.path("elsewhere")).expect("a directory");
            std::os::unix::fs::symlink(home.path("elsewhere"), &place).expect("a link");
        } else {
            use std::os::unix::fs::PermissionsExt;
            std::fs::create_dir_all(&place).expect("a directory");
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        }
        assert_eq!(
            home.keeping().event("ran").prop("n", 1).send(),
            Sent::Lost,
            "{trap}"
        );
        assert_eq!(home.spooled(), [""; 0], "{trap}");
    }
}

#[test]
fn a_home_that_cannot_be_written_to_is_nothing_to_worry_about() {
    let mut home = Home::new();
    for (name, value) in &mut home.variables {
        if name == "TELEMETRYD_STATE_DIR" {
            "/proc/no-such-place".clone_into(value);
        }
    }
    assert_eq!(home.keeping().event("ran").prop("n", 1).send(), Sent::Lost);
}

/// What `docs/tool-authors.md` shows of Rust is the example that is built beside this test.
#[test]
fn a_machine_wide_daemon_is_handed_the_spool_after_the_clients_own_event() {
    let home = Home::new();
    home.write("state/tools.d/mytool.toml", LISTED);
    let name = |n: u32| format!("0199aaaa-0000-7000-8000-{n:012x}.mytool.ndjson");
    for n in 1..=3 {
        let id = format!("0199aaaa-0000-7000-8000-{n:012x}");
        let line = format!("{{\"tool\":\"mytool\",\"event\":\"ran\",\"id\":\"{id}\"}}\n");
        home.write(&format!("state/spool/{}", name(n)), &line);
    }
    home.write(&format!("state/spool/{}", name(4)), "{\"torn");
    home.write(&format!("state/spool/{}", name(5)), "");
    let listener = UnixListener::bind(home.path("d.sock")).expect("a socket");
    let daemon = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let mut out = stream.try_clone().expect("a socket");
        let mut answers = [
            "{\"ok\":true,\"status\":\"queued\"}\n",
            "{\"ok\":false,\"error\":\"rate_limited\",\"message\":\"later\"}\n",
            "{\"ok\":true,\"status\":\"declined\",\"by\":\"user\"}\n",
        ]
        .into_iter();
        let mut heard = Vec::new();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).expect("a line is JSON");
            if line["ack"] != "none" {
                let answer = answers.next().expect("three waited");
                out.write_all(answer.as_bytes()).expect("the client reads");
            }
            heard.push(line["id"].as_str().expect("an id").to_owned());
        }
        heard
    });
    let mut surroundings = home.surroundings();
    // Somebody else's daemon, as the credentials of the socket say it.
    surroundings.uid += 1;
    let client = Client::from_manifest(LISTED).in_surroundings(surroundings);
    let patient = client.deadline(Duration::from_secs(10));
    assert_eq!(patient.event("ran").prop("n", 1).send(), Sent::Handed);
    let heard = daemon.join().expect("the daemon");
    assert_eq!(heard.len(), 4, "its own event first: {heard:?}");
    assert!(heard[1..].iter().all(|id| id.starts_with("0199aaaa")));
    assert_eq!(home.spooled(), [name(2), "mytool.dropped".to_owned()]);
}

//! A tool's three lines, against a daemon that is a thread of the test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telemetry_client::{Client, Sent, Surroundings, clock};

const MANIFEST: &str = "name = \"mytool\"\nconsent = \"opt-out\"\nnotice = \"It is on.\"\nnotice_required = \"tool\"\n\
    opt_out_env = [\"MYTOOL_OFF\"]\nproject_files = [{ path = \".telemetry\", format = \"yaml\", key = \"consent\" }]\n\
    events = \"any\"\n";

/// A home of its own, and what is set in it.
struct Home {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a home");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let variables = [
            ("HOME", at("")),
            ("TELEMETRYD_CONFIG_DIR", at("config")),
            ("TELEMETRYD_STATE_DIR", at("state")),
            ("TELEMETRYD_SOCKET", at("d.sock")),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { directory, variables }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    fn surroundings(&self) -> Surroundings {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let uid = rustix::process::getuid().as_raw();
        let mut found = Surroundings::read(variables.collect(), None, uid, &|_| false);
        // The developer's own machine may have opted out: that is not what is asked here.
        found.machine = vec![self.path("machine")];
        found.working = Some(self.directory.path().to_owned());
        found
    }

    fn client(&self) -> Client {
        let client = Client::from_manifest(MANIFEST);
        assert_eq!(client.problems(), [""; 0]);
        client.in_surroundings(self.surroundings())
    }

    /// A daemon that reads; what it heard, line by line.
    fn daemon(&self) -> Receiver<Value> {
        let listener = UnixListener::bind(self.path("d.sock")).expect("a socket");
        let (said, heard) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut answers = stream.try_clone().expect("a socket");
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let line: Value = serde_json::from_str(&line).expect("a line is JSON");
                    if line["ack"] != "none" {
                        let _ = answers.write_all(b"{\"ok\":true}\n");
                    }
                    if said.send(line).is_err() {
                        return;
                    }
                }
            }
        });
        heard
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).expect("a home");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }
}

fn next(heard: &Receiver<Value>) -> Value {
    heard
        .recv_timeout(Duration::from_secs(10))
        .expect("a line in time")
}

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

/// Fills the backlog of a listener that takes nobody.
fn full(path: &Path) -> (UnixListener, Vec<telemetry_client::Connection>) {
    let listener = UnixListener::bind(path).expect("a socket");
    rustix::net::listen(&listener, 0).expect("a backlog of none");
    let mut held = Vec::new();
    let soon = || clock::after(Duration::from_millis(5));
    while let Ok(connection) = telemetry_client::connect::connect(&[path.to_owned()], soon()) {
        held.push(connection);
        assert!(held.len() < 64, "a backlog of 0 holds a few at most");
    }
    (listener, held)
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
        let entries = std::fs::read_dir(self.path("state/spool")).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
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
fn the_page_for_authors_shows_the_example() {
    let page = include_str!("../../../docs/tool-authors.md");
    let example = include_str!("../examples/mytool.rs");
    let (_, code) = example.split_once("\n\n").expect("a header");
    assert!(
        page.contains(&format!("```rust\n{code}```")),
        "docs/tool-authors.md differs from examples/mytool.rs"
    );
    let manifest = include_str!("../examples/telemetry.toml");
    let home = Home::new();
    let heard = home.daemon();
    let client = Client::from_manifest(manifest).in_surroundings(home.surroundings());
    assert_eq!(client.problems(), [""; 0]);
    assert!(client.notice().is_some());
    // The arguments are those of the test's runner: none of them is a word of the vocabulary.
    let line = client.command_line();
    assert!(
        line.as_str().split(' ').skip(1).all(|word| word == "*****"),
        "{line:?}"
    );
    assert_eq!(
        client.event("command").command("command", &line).send(),
        Sent::Handed
    );
    assert_eq!(next(&heard)["op"], "register");
    assert_eq!(next(&heard)["properties"]["command"], line.as_str());
}

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

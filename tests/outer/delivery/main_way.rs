//! The main way: an event leaves as TOOLS.md shows it, with the headers of DELIVERY.md, in batches by count, bytes and
//! age.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, DEADLINE, Daemon, eventually};

use crate::stage::{SOON, Stage, TOLD, TOOL, destination, event, home, id, queue, status};

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn an_event_reaches_the_endpoint_with_its_headers_and_in_the_shape_that_is_promised() {
    let stage = Stage::new(Script::new(), SOON);
    stage.queue([json!({
        "tool": TOOL, "event": "CLI command", "id": id(1), "time": "2026-11-21T09:59:58.001Z", "version": "1.7.0",
        "properties": {"command": "run", "n": 1}, "context": {"runtime": {"name": "python"}},
        "project": "a project", "user": "somebody",
    })]);
    stage.endpoint.wait_for_events(1);
    let batches = stage.endpoint.batches();
    let request = &batches[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/v1/events")
    );
    let version = status(&stage.daemon)["daemon"]["version"]
        .as_str()
        .expect("a version")
        .to_owned();
    assert_eq!(
        request.header("user-agent"),
        Some(format!("telemetryd/{version}").as_str())
    );
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(request.header("idempotency-key"), body["batch_id"].as_str());
    assert_eq!(
        keys(&body),
        BTreeSet::from(["batch_id", "sent_at", "source", "losses", "events"])
    );
    assert_eq!(body["source"], json!({"name": "telemetryd", "version": version}));
    assert_eq!(body["losses"], json!({"evicted": 0, "expired": 0, "quota": 0}));
    let sent = &body["events"][0];
    let promised = [
        "id",
        "tool",
        "tool_version",
        "event",
        "time",
        "age_ms",
        "anonymous_id",
        "project_id",
        "properties",
        "context",
    ];
    assert_eq!(keys(sent), BTreeSet::from(promised), "{sent}");
    assert!(sent["age_ms"].as_u64().is_some_and(|age| age < 60_000), "{sent}");
    for (key, value) in [
        ("id", json!(id(1))),
        ("tool", json!(TOOL)),
        ("tool_version", json!("1.7.0")),
        ("event", json!("CLI command")),
        ("time", json!("2026-11-21T09:59:58.001Z")),
        ("properties", json!({"command": "run", "n": 1})),
    ] {
        assert_eq!(sent[key], value, "{key}");
    }
    assert_eq!(sent["context"]["runtime"], json!({"name": "python"}));
    assert_eq!(sent["context"]["os"]["name"], std::env::consts::OS);
    assert!(!request.body.windows(8).any(|part| part == b"somebody"));
}

#[test]
fn properties_leave_to_the_letter_as_they_came() {
    let stage = Stage::new(Script::new(), SOON);
    let properties =
        r#"{"n":1.10,"big":123456789012345678901234567890,"e":1E5,"s":"\u00e9\/","o":{"b":1,"a":[]}}"#;
    let mut tool = stage.daemon.connect();
    tool.send_line(&format!(
        r#"{{"tool":"demo","event":"ran","properties":{properties}}}"#
    ));
    assert_eq!(tool.answer()["status"], "queued");
    stage.endpoint.wait_for_events(1);
    let body = String::from_utf8(stage.endpoint.batches()[0].body.to_vec()).expect("UTF-8");
    assert!(body.contains(properties), "{body}");
}

#[test]
fn every_encoding_and_compression_is_understood_by_the_endpoint() {
    for (more, coding) in [
        ("compression = \"none\"\n", None),
        ("compression = \"gzip\"\n", Some("gzip")),
        ("compression = \"zstd\"\n", Some("zstd")),
        ("encoding = \"ndjson\"\n", Some("gzip")),
        ("encoding = \"ndjson\"\ncompression = \"zstd\"\n", Some("zstd")),
    ] {
        let stage = Stage::new(Script::new(), &format!("{SOON}{more}"));
        let ids = stage.queue((0..30).map(event));
        stage.endpoint.wait_for_ids(ids);
        for request in stage.endpoint.requests() {
            assert_eq!(request.header("content-encoding"), coding, "{more}");
        }
    }
}

#[test]
fn the_url_is_used_whole_and_configured_headers_are_sent() {
    let endpoint = Collector::for_tool(TOOL);
    let url = format!("http://{}/a/b?query=INSERT%20INTO%20t&x=1", endpoint.address());
    let home = home();
    let headers = format!("headers = {{ X-Team = \"data\", X-Other = \"1\" }}\n{SOON}");
    let daemon = Daemon::start(&home, &destination(&url, &headers));
    queue(&daemon, [event(1)]);
    endpoint.wait_for_events(1);
    let request = &endpoint.requests()[0];
    assert_eq!(request.path, "/a/b?query=INSERT%20INTO%20t&x=1");
    assert_eq!(
        (request.header("x-team"), request.header("x-other")),
        (Some("data"), Some("1"))
    );
}

#[test]
fn a_batch_goes_when_it_has_its_count_and_the_rest_waits() {
    let batch = "batch = { max_events = 3, max_wait = \"1h\" }\n";
    let stage = Stage::new(Script::new(), batch);
    let ids = stage.queue((0..8).map(event));
    stage.endpoint.wait_for_ids(&ids[..6]);
    let sizes = |stage: &Stage| {
        stage
            .endpoint
            .batches()
            .iter()
            .map(|b| b.events().len())
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(&stage), [3, 3]);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids(&ids);
    assert_eq!(sizes(&stage), [3, 3, 2]);
}

#[test]
fn a_batch_goes_when_it_has_its_bytes_and_no_body_is_larger() {
    let batch = "batch = { max_bytes = \"4KiB\", max_wait = \"1h\" }\n";
    let stage = Stage::new(Script::new(), batch);
    let big = |n| json!({"tool": TOOL, "event": "ran", "id": id(n), "properties": {"s": "x".repeat(900)}});
    let ids = stage.queue((0..20).map(big));
    stage.endpoint.wait_for_ids(&ids[..12]);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids(&ids);
    for request in stage.endpoint.batches() {
        assert!(
            request.body_bytes <= 4096,
            "a body of {} bytes",
            request.body_bytes
        );
        assert!(
            request.events().len() > 1 || request.body_bytes < 2048,
            "batches are not torn into single events"
        );
    }
}

#[test]
fn a_batch_goes_by_itself_when_its_oldest_event_has_waited() {
    let stage = Stage::new(Script::new(), "batch = { max_wait = \"200ms\" }\n");
    stage.queue([event(1), event(2)]);
    stage.endpoint.wait_for_events(2);
    assert_eq!(stage.endpoint.batches().len(), 1, "both went together");
}

#[test]
fn events_arrive_in_the_order_of_their_tool() {
    let stage = Stage::new(
        Script::new(),
        "batch = { max_events = 50, max_wait = \"50ms\" }\n",
    );
    let ids = stage.queue((0..1_000).map(event));
    stage.endpoint.wait_for_ids(&ids);
    let arrived: Vec<String> = stage
        .endpoint
        .events()
        .iter()
        .map(|e| e["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(arrived, ids);
}

#[test]
fn a_tool_goes_to_its_own_destination_and_a_broken_one_does_not_hold_back_the_other() {
    let endpoint = Collector::builder().expect_tool("other").start();
    let home = home();
    let nowhere = telemetry_testkit::Port::reserve();
    let config = format!(
        "[destinations.default]\nurl = \"http://{}/\"\n{SOON}[destinations.second]\nurl = \"{}\"\n{SOON}\
         [tools.other]\ndestination = \"second\"\n",
        nowhere.address(),
        endpoint.url()
    );
    let daemon = Daemon::start(&home, &config);
    queue(&daemon, [event(1)]);
    for n in 2..6 {
        queue(&daemon, [json!({"tool": "other", "event": "ran", "id": id(n)})]);
        endpoint.wait_for_ids([id(n)]);
    }
    eventually("the second has settled all", DEADLINE, || {
        (status(&daemon)["destinations"][1]["queued"] == 0).then_some(())
    });
    let shown = status(&daemon);
    assert_eq!(shown["destinations"][0]["queued"], 1, "{shown}");
}

#[test]
fn a_destination_that_is_gone_from_the_config_keeps_its_rows_until_it_is_back() {
    let stage = Stage::new(Script::new(), TOLD);
    stage.queue([event(1)]);
    let config = destination(&stage.endpoint.url(), TOLD);
    stage
        .home
        .write_config(&config.replace("destinations.default", "destinations.another"));
    // The default destination must exist, so another becomes it; the row stays with the old name.
    stage.home.write_config(&format!(
        "{}[defaults]\ndestination = \"another\"\n",
        config.replace("destinations.default", "destinations.another")
    ));
    assert_eq!(
        crate::stage::ask(&stage.daemon, &json!({"op": "reload"}))["ok"],
        true
    );
    let shown = status(&stage.daemon);
    let gone = shown["destinations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["name"] == "default")
        .expect("it has rows");
    assert_eq!(
        (&gone["state"], &gone["reason"]),
        (&json!("held"), &json!("no_destination"))
    );
    assert_eq!(stage.flush()["left"], 1);
    stage.home.write_config(&config);
    assert_eq!(
        crate::stage::ask(&stage.daemon, &json!({"op": "reload"}))["ok"],
        true
    );
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(1)]);
}

#[test]
fn a_changed_url_applies_to_what_is_queued_already() {
    let home = home();
    let nowhere = telemetry_testkit::Port::reserve();
    let mut daemon = Daemon::start(
        &home,
        &destination(&format!("http://{}/", nowhere.address()), TOLD),
    );
    queue(&daemon, [event(1)]);
    assert_eq!(
        crate::stage::ask(&daemon, &json!({"op": "flush", "wait": true, "timeout_ms": 300}))["left"],
        1
    );
    let endpoint = Collector::for_tool(TOOL);
    home.write_config(&destination(&endpoint.url(), TOLD));
    daemon.signal(rustix::process::Signal::HUP);
    eventually("it is reloaded", DEADLINE, || {
        daemon.log().contains("reloaded").then_some(())
    });
    assert_eq!(
        crate::stage::ask(
            &daemon,
            &json!({"op": "flush", "wait": true, "timeout_ms": 15_000})
        )["left"],
        0
    );
    endpoint.wait_for_ids([id(1)]);
}

#[test]
fn an_event_that_is_larger_than_a_batch_goes_alone() {
    let stage = Stage::new(
        Script::new(),
        "batch = { max_bytes = \"1KiB\", max_wait = \"20ms\" }\n",
    );
    let big = |n| json!({"tool": TOOL, "event": "ran", "id": id(n), "properties": {"s": "x".repeat(60_000)}});
    let ids = stage.queue((0..5).map(big));
    stage.endpoint.wait_for_ids(&ids);
    assert!(
        stage
            .endpoint
            .batches()
            .iter()
            .all(|batch| batch.events().len() == 1)
    );
}

#[test]
fn a_flush_that_waits_does_not_wait_for_what_comes_after_it() {
    let stage = Stage::new(Script::new(), "batch = { max_events = 20, max_wait = \"1h\" }\n");
    stage.queue((0..50).map(event));
    let end = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut tool = stage.daemon.connect();
            let mut n = 1_000;
            while !end.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                assert_eq!(tool.ask(&event(n))["status"], "queued");
            }
        });
        for _ in 0..10 {
            let answer = stage.flush();
            assert_eq!(
                (&answer["left"], &answer["timed_out"]),
                (&json!(0), &json!(false)),
                "{answer}"
            );
        }
        end.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn what_is_purged_while_it_is_on_its_way_is_booked_once() {
    use telemetry_testkit::sink::Step;
    let stage = Stage::new(
        Script::new().then(Step::hang(std::time::Duration::from_millis(400)).times(1)),
        TOLD,
    );
    stage.queue((0..10).map(event));
    crate::stage::ask(&stage.daemon, &json!({"op": "flush"}));
    stage.endpoint.wait_for_requests(1);
    let purged = crate::stage::ask(
        &stage.daemon,
        &json!({"op": "queue", "action": "purge", "tool": TOOL}),
    );
    assert_eq!(purged["ok"], true, "{purged}");
    stage.queue([event(100)]);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(100)]);
    let shown = eventually("all is settled", DEADLINE, || {
        let shown = status(&stage.daemon);
        (shown["queue"]["events"] == 0).then_some(shown)
    });
    use crate::stage::booked;
    assert_eq!(
        (
            booked(&shown, "accepted"),
            booked(&shown, "delivered") + booked(&shown, "purged")
        ),
        (11, 11)
    );
}

#[test]
fn large_batches_are_shown_whole() {
    let large = "batch = { max_events = 100000, max_bytes = \"8MiB\", max_wait = \"1h\" }\n[queue]\nsent_log = { max_bytes = \"64MiB\" }\n";
    let stage = Stage::new(Script::new(), large);
    let big = |n| json!({"tool": TOOL, "event": "ran", "id": id(n), "properties": {"s": "x".repeat(4_000)}});
    stage.queue((0..1_500).map(big));
    let next = stage.daemon.ctl().ok(["queue", "next-batch", "--json"]).json();
    assert!(next["body"].as_str().is_some_and(|body| body.len() > 5_000_000));
    assert_eq!(stage.flush()["left"], 0);
    let sent = stage.daemon.ctl().ok(["sent", "--bodies", "--json"]).json_lines();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["events"], 1_500);
}

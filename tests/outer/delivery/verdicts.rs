//! Each row of the table of verdicts, through the whole daemon: one destination a row, one event each, and what `status`
//! and the queue say of it afterwards.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Collector, DEADLINE, Daemon, Home, Port, eventually};

use crate::stage::{Stage, TOLD, TOOL, ask, booked, event, id, list, manifest, queue, status, waiting};

/// A daemon with a destination for each row, and a tool of the same name for each.
struct Rows {
    daemon: Daemon,
    endpoint: Collector,
}

impl Rows {
    fn start(rows: &[(String, Step)]) -> Self {
        let mut script = Script::new();
        for (name, step) in rows {
            script = script.then(step.clone().path(&format!("/{name}")).times(1));
        }
        let endpoint = Collector::builder().script(script).expect_any_tool().start();
        let urls = rows
            .iter()
            .map(|(name, _)| (name.clone(), format!("http://{}/{name}", endpoint.address())));
        let daemon = daemon_for(&urls.collect::<Vec<_>>(), "");
        Self { daemon, endpoint }
    }
}

/// A daemon with these destinations, and a tool of the same name for each.
fn daemon_for(urls: &[(String, String)], more: &str) -> Daemon {
    let home = Home::new();
    let mut config = format!("[defaults]\ndestination = \"{}\"\n", urls[0].0);
    for (name, url) in urls {
        home.write_manifest(name, &format!("{}destination = \"{name}\"\n", manifest(name)));
        config.push_str(&format!("[destinations.{name}]\nurl = \"{url}\"\n{TOLD}{more}"));
    }
    Daemon::start(&home, &config)
}

/// One event of each tool, and a flush of everything; the destinations by name.
fn attempt(daemon: &Daemon, names: impl Iterator<Item = String>) -> BTreeMap<String, Value> {
    queue(daemon, names.map(|name| json!({"tool": name, "event": "ran"})));
    settle(daemon, |destination| {
        destination["queued"] == 0 || destination["attempts"] != 0
    })
}

/// Flushes, and waits until that is true of every destination.
fn settle(daemon: &Daemon, done: impl Fn(&Value) -> bool) -> BTreeMap<String, Value> {
    ask(daemon, &json!({"op": "flush"}));
    eventually("every destination had its answer", DEADLINE, || {
        let shown = status(daemon);
        let destinations = shown["destinations"].as_array().unwrap().clone();
        destinations
            .iter()
            .all(|d| d["state"] != "sending" && done(d))
            .then(|| {
                destinations
                    .into_iter()
                    .map(|d| (d["name"].as_str().unwrap().to_owned(), d))
                    .collect()
            })
    })
}

/// The last answer of a destination was a good one.
fn is_empty(destination: &Value) -> bool {
    destination["queued"] == 0
}

fn named(prefix: &str, statuses: &[u16]) -> Vec<(String, Step)> {
    statuses
        .iter()
        .map(|status| (format!("{prefix}{status}"), Step::status(*status)))
        .collect()
}

#[test]
fn a_2xx_delivers() {
    let rows = Rows::start(&named("s", &[200, 201, 202, 203, 204, 206, 299]));
    let states = attempt(
        &rows.daemon,
        ["s200", "s201", "s202", "s203", "s204", "s206", "s299"]
            .map(str::to_owned)
            .into_iter(),
    );
    for (name, state) in states {
        assert_eq!(
            (&state["state"], &state["queued"]),
            (&json!("idle"), &json!(0)),
            "{name}"
        );
    }
    assert_eq!(booked(&status(&rows.daemon), "delivered"), 7);
    assert_eq!(rows.endpoint.requests().len(), 7);
}

#[test]
fn a_server_that_has_trouble_is_tried_again_and_a_flush_goes_past_the_backoff() {
    let cases = named("s", &[408, 425, 429, 500, 502, 503, 504, 505, 507, 599]);
    let rows = Rows::start(&cases);
    let states = attempt(&rows.daemon, cases.iter().map(|(name, _)| name.clone()));
    for (name, state) in states {
        assert_eq!(
            (&state["state"], &state["queued"], &state["attempts"]),
            (&json!("backoff"), &json!(1), &json!(1)),
            "{name}"
        );
        assert!(
            state["last_error"]
                .as_str()
                .is_some_and(|error| error.contains(&name[1..])),
            "{state}"
        );
        assert!(state["next_try"].is_string(), "{state}");
    }
    assert_eq!(rows.endpoint.counts().unique, 0);
    for (name, state) in settle(&rows.daemon, is_empty) {
        assert_eq!(
            (&state["state"], &state["queued"], &state["last_error"]),
            (&json!("idle"), &json!(0), &json!(null)),
            "{name}"
        );
    }
    assert_eq!(rows.endpoint.counts().unique, 10);
}

#[test]
fn an_operators_fault_holds_the_destination_and_loses_nothing() {
    let cases = named("s", &[401, 403, 404, 405, 407, 411, 415, 421, 426, 501]);
    let rows = Rows::start(&cases);
    let states = attempt(&rows.daemon, cases.iter().map(|(name, _)| name.clone()));
    for (name, state) in states {
        assert_eq!(
            (&state["state"], &state["queued"]),
            (&json!("held"), &json!(1)),
            "{name}"
        );
        assert!(
            state["reason"].is_string() && state["last_error"].as_str().unwrap().contains(&name[1..]),
            "{state}"
        );
    }
    // A flush does not go past a hold, and says so at once.
    let answer = ask(
        &rows.daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
    );
    assert_eq!(
        (&answer["left"], &answer["timed_out"]),
        (&json!(10), &json!(false)),
        "{answer}"
    );
    assert_eq!(rows.endpoint.requests().len(), 10);
    assert_eq!(ask(&rows.daemon, &json!({"op": "resume"}))["ok"], true);
    for (name, state) in settle(&rows.daemon, is_empty) {
        assert_eq!(
            (&state["state"], &state["queued"]),
            (&json!("idle"), &json!(0)),
            "{name}"
        );
    }
}

#[test]
fn a_refused_event_is_parked_with_the_servers_status_and_answer() {
    let statuses = [
        400, 402, 406, 409, 412, 414, 417, 418, 422, 423, 431, 451, 499, 413,
    ];
    let cases: Vec<(String, Step)> = statuses
        .iter()
        .map(|status| {
            (
                format!("s{status}"),
                Step::status(*status).body(&format!("no {status} here")),
            )
        })
        .collect();
    let rows = Rows::start(&cases);
    attempt(&rows.daemon, cases.iter().map(|(name, _)| name.clone()));
    let parked = crate::stage::parked(&rows.daemon);
    assert_eq!(parked.len(), statuses.len(), "{parked:?}");
    for row in parked {
        let status = row["status"].as_u64().expect("the server's status");
        assert_eq!(row["tool"], format!("s{status}"));
        assert_eq!(row["answer"], format!("no {status} here"), "{row}");
        assert_eq!(row["state"], "parked");
    }
    assert_eq!(booked(&status(&rows.daemon), "parked"), statuses.len() as u64);
    assert!(waiting(&rows.daemon).is_empty());
    assert_eq!(
        ask(&rows.daemon, &json!({"op": "queue", "action": "requeue"}))["requeued"],
        statuses.len()
    );
    settle(&rows.daemon, is_empty);
    eventually("the parked events arrive after all", DEADLINE, || {
        (rows.endpoint.counts().unique == statuses.len() as u64).then_some(())
    });
}

#[test]
fn an_answer_is_kept_to_its_first_kibibyte() {
    let script = Script::new().then(Step::status(422).body(&"y".repeat(100_000)));
    let stage = Stage::new(script, TOLD);
    stage.queue([event(1)]);
    assert_eq!(stage.flush()["left"], 0);
    let parked = crate::stage::parked(&stage.daemon);
    assert_eq!(parked[0]["answer"].as_str().map(str::len), Some(1024));
}

#[test]
fn a_web_page_never_counts_as_delivered() {
    let mut cases: Vec<(String, Step)> = [300u16, 301, 302, 303, 307, 308]
        .iter()
        .map(|status| {
            (
                format!("s{status}"),
                Step::status(*status).header("Location", "/elsewhere"),
            )
        })
        .collect();
    cases.push(("page".to_owned(), Step::captive()));
    cases.push((
        "created".to_owned(),
        Step::status(201)
            .content_type("text/html; charset=utf-8")
            .body("<html>"),
    ));
    let rows = Rows::start(
        &cases
            .iter()
            .map(|(name, step)| (name.clone(), step.clone().store(false)))
            .collect::<Vec<_>>(),
    );
    let states = attempt(&rows.daemon, cases.iter().map(|(name, _)| name.clone()));
    for (name, state) in states {
        assert_eq!(
            (&state["state"], &state["queued"]),
            (&json!("captive"), &json!(1)),
            "{name}: {state}"
        );
    }
    assert!(
        rows.endpoint
            .requests()
            .iter()
            .all(|request| request.path != "/elsewhere"),
        "redirects are not followed"
    );
    for (name, state) in settle(&rows.daemon, is_empty) {
        assert_eq!(
            (&state["state"], &state["queued"]),
            (&json!("idle"), &json!(0)),
            "{name}"
        );
    }
}

#[test]
fn a_destination_that_is_gone_is_closed_and_its_events_wait() {
    let stage = Stage::new(Script::new().then(Step::status(410)), TOLD);
    stage.queue([event(1)]);
    assert_eq!(stage.flush()["left"], 1);
    assert_eq!(stage.destination()["state"], "closed");
    stage.queue([event(2)]);
    let answer = stage.flush();
    assert_eq!(
        (&answer["left"], &answer["timed_out"]),
        (&json!(2), &json!(false)),
        "{answer}"
    );
    assert_eq!(waiting(&stage.daemon).len(), 2);
    assert_eq!(stage.endpoint.requests().len(), 1, "it is not asked again");
    let said = stage
        .daemon
        .log()
        .lines()
        .filter(|line| line.contains("destination"))
        .count();
    assert_eq!(said, 1, "{}", stage.daemon.log());
}

#[test]
fn a_connection_that_fails_in_any_way_is_tried_again() {
    let cases: Vec<(String, Step)> = [
        ("reset", Step::reset()),
        ("reset-early", Step::reset_after(0)),
        ("close", Step::close()),
        ("half", Step::half(40)),
        (
            "garbage",
            Step::garbage(b"\x15\x03\x01\x00\x02\x02\x46this is no HTTP\r\n\r\n"),
        ),
        ("hang", Step::hang_for_ever()),
        ("slow", Step::slow(1).body(&"x".repeat(1000)).store(false)),
    ]
    .map(|(name, step)| (name.to_owned(), step))
    .to_vec();
    let mut script = Script::new();
    for (name, step) in &cases {
        // A kept connection may be tried a second time at once; here none is kept.
        script = script.then(step.clone().path(&format!("/{name}")).times(1));
    }
    let endpoint = Collector::builder()
        .script(script)
        .expect_any_tool()
        .expect_undecodable()
        .start();
    let nowhere = Port::reserve();
    let mut urls: Vec<(String, String)> = cases
        .iter()
        .map(|(name, _)| (name.clone(), format!("http://{}/{name}", endpoint.address())))
        .collect();
    urls.push(("refused".to_owned(), format!("http://{}/", nowhere.address())));
    urls.push(("dns".to_owned(), "https://no-such-host.invalid/".to_owned()));
    let daemon = daemon_for(&urls, "timeout = \"500ms\"\n");
    let states = attempt(&daemon, urls.iter().map(|(name, _)| name.clone()));
    for (name, state) in &states {
        assert_eq!(
            (&state["state"], &state["queued"], &state["attempts"]),
            (&json!("backoff"), &json!(1), &json!(1)),
            "{name}: {state}"
        );
        assert!(
            state["last_error"]
                .as_str()
                .is_some_and(|error| !error.is_empty()),
            "{state}"
        );
    }
    let again = settle(&daemon, |d| {
        is_empty(d) || d["name"] == "refused" || d["name"] == "dns"
    });
    for (name, _) in &cases {
        assert_eq!(
            (&again[name]["state"], &again[name]["queued"]),
            (&json!("idle"), &json!(0)),
            "{name}"
        );
    }
    assert_eq!(booked(&status(&daemon), "delivered"), cases.len() as u64);
}

#[test]
fn with_confirm_only_the_batchs_own_id_delivers() {
    use telemetry_testkit::sink::Echo;
    for (echo, step) in [
        (Echo::Body, Step::status(200).body("{}").store(false)),
        (Echo::Header, Step::wrong_id(Echo::Header)),
        (Echo::Body, Step::wrong_id(Echo::Body)),
    ] {
        let script = Script::new().then(step.times(1)).echo(echo);
        let stage = Stage::new(script, &format!("{TOLD}confirm = \"batch_id\"\n"));
        stage.queue([event(1)]);
        assert_eq!(
            ask(
                &stage.daemon,
                &json!({"op": "flush", "wait": true, "timeout_ms": 300})
            )["left"],
            1
        );
        eventually("it is in backoff", DEADLINE, || {
            (stage.destination()["state"] == "backoff").then_some(())
        });
        assert_eq!(stage.flush()["left"], 0);
        stage.endpoint.wait_for_ids([id(1)]);
    }
}

#[test]
fn an_endpoint_that_stores_and_fails_to_say_so_gets_the_same_batch_again() {
    let script = Script::new()
        .then(Step::status(503).store(true).times(2))
        .then(Step::close().store(true).times(1));
    let endpoint = Collector::builder()
        .script(script)
        .expect_tool(TOOL)
        .expect_duplicates()
        .start();
    let mut stage = Stage::before(endpoint, TOLD);
    stage.queue((0..20).map(event));
    for round in 0..3 {
        ask(&stage.daemon, &json!({"op": "flush"}));
        stage.endpoint.wait_for_requests(round + 1);
        eventually("the answer was heard", DEADLINE, || {
            (stage.destination()["attempts"] == round + 1).then_some(())
        });
        // What comes meanwhile does not join a batch that has its id; nor does a restart give it another.
        stage.queue([event(1_000 + round as u64)]);
        stage.daemon.restart();
    }
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids((0..20).map(id));
    let keys: Vec<String> = stage
        .endpoint
        .requests()
        .iter()
        .filter(|request| request.ids().any(|one| one == id(0)))
        .map(|request| request.idempotency_key().unwrap().to_owned())
        .collect();
    assert!(
        keys.len() >= 2 && keys.windows(2).all(|pair| pair[0] == pair[1]),
        "{keys:?}"
    );
}

#[test]
fn an_answer_without_end_delivers_and_is_not_held_in_memory() {
    let stage = Stage::new(Script::new().then(Step::oversized(200 << 20)), TOLD);
    stage.queue([event(1)]);
    assert_eq!(stage.flush()["left"], 0);
    let peak = crate::stage::peak_kib(&stage.daemon);
    assert!(peak < 60 * 1024, "{peak} KiB at most");
    assert_eq!(list(&stage.daemon, &json!({"op": "sent"})).len(), 1);
}

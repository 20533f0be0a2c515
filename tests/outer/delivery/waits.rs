//! When it is tried again: backoff, `Retry-After`, holds and pauses, over restarts; and what is said of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{DEADLINE, eventually};

use crate::stage::{SOON, Stage, TOLD, ask, destination, event, id, waiting};

/// A flush that does not wait, then a state.
fn until_state(stage: &Stage, state: &str) -> Value {
    ask(&stage.daemon, &json!({"op": "flush"}));
    eventually(&format!("the destination is in {state}"), DEADLINE, || {
        let shown = stage.destination();
        (shown["state"] == state && shown["attempts"] != 0).then_some(shown)
    })
}

#[test]
fn a_retry_after_survives_a_kill_and_a_flush_does_not_pass_it() {
    for header in ["3600".to_owned(), http_date(3600)] {
        let mut stage = Stage::new(
            Script::new().then(Step::status(429).header("Retry-After", &header)),
            TOLD,
        );
        stage.queue([event(1)]);
        let before = until_state(&stage, "backoff");
        stage.daemon.restart();
        let after = stage.destination();
        assert_eq!(
            (&after["state"], &after["attempts"]),
            (&json!("backoff"), &json!(1))
        );
        let seconds = |shown: &Value| shown["next_try"].as_str().map(|time| time[..18].to_owned());
        assert_eq!(seconds(&before), seconds(&after), "{before} {after}");
        let answer = stage.flush();
        assert_eq!(
            (&answer["left"], &answer["timed_out"]),
            (&json!(1), &json!(false)),
            "{answer}"
        );
        stage.daemon.signal(Signal::USR1);
        assert_eq!(stage.flush()["left"], 1);
        assert_eq!(
            stage.endpoint.requests().len(),
            1,
            "nothing goes before the server's time"
        );
    }
}

/// RFC 9110, section 5.6.7.
fn http_date(seconds_from_now: u64) -> String {
    #[expect(clippy::disallowed_methods, reason = "a server's clock is the wall's")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_secs();
    let at = now + seconds_from_now;
    // Days to a date, after Howard Hinnant's civil_from_days.
    let (days, second) = (at / 86_400, at % 86_400);
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (
        doy - (153 * mp + 2) / 5 + 1,
        if mp < 10 { mp + 3 } else { mp - 9 },
    );
    let year = yoe + era * 400 + u64::from(month <= 2);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize];
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{weekday}, {day:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT",
        months[month as usize - 1]
    )
}

#[test]
fn a_retry_after_beyond_a_day_is_a_day_and_one_that_is_none_says_nothing() {
    let wall = |time: &Value| {
        telemetry_protocol::time::parse_rfc3339(time.as_str().expect("a time")).expect("RFC 3339")
    };
    for (header, least, most) in [
        // And as long again, at most `retry.max`: others were told the same.
        ("99999999999", 86_000, 93_700),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_000, 93_700),
        ("7200", 7_100, 14_500),
        ("-5", 0, 3_700),
        ("soon", 0, 3_700),
        ("0", 0, 3_700),
    ] {
        let stage = Stage::new(
            Script::new().then(Step::status(503).header("Retry-After", header)),
            TOLD,
        );
        stage.queue([event(1)]);
        let shown = until_state(&stage, "backoff");
        let received = waiting(&stage.daemon)[0]["received"].clone();
        let seconds = (wall(&shown["next_try"]) - wall(&received)) / 1000;
        assert!(
            (least..=most).contains(&seconds),
            "{header}: tried again after {seconds} s"
        );
    }
}

#[test]
fn a_short_retry_after_is_waited_for_and_then_it_goes_by_itself() {
    let stage = Stage::new(
        Script::new().then(Step::status(503).header("Retry-After", "1").times(1)),
        SOON,
    );
    stage.queue([event(1)]);
    stage.endpoint.wait_for_ids([id(1)]);
    let requests = stage.endpoint.requests();
    let between = requests[1]
        .at
        .duration_since(requests[0].at)
        .expect("in this order");
    assert!(between >= Duration::from_millis(950), "{between:?}");
}

#[test]
fn a_backoff_survives_a_kill_and_a_flush_goes_past_it() {
    let mut stage = Stage::new(Script::new().then(Step::status(503).times(1)), TOLD);
    stage.queue([event(1)]);
    let before = until_state(&stage, "backoff");
    stage.daemon.restart();
    stage.queue([event(2)]);
    let after = stage.destination();
    assert_eq!(
        (&after["state"], &after["attempts"]),
        (&json!("backoff"), &json!(1))
    );
    assert_eq!(
        before["next_try"].as_str().map(|t| &t[..18]),
        after["next_try"].as_str().map(|t| &t[..18])
    );
    assert_eq!(after["last_error"], before["last_error"]);
    assert_eq!(stage.endpoint.requests().len(), 1, "a restart does not hammer");
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(1), id(2)]);
}

#[test]
fn attempts_go_on_by_themselves_and_are_told_once() {
    let mut stage = Stage::new(
        Script::new(),
        "batch = { max_wait = \"10ms\" }\nretry = { initial = \"10ms\", max = \"30ms\", spread = \"0s\" }\n",
    );
    stage.endpoint.refuse_connections();
    stage.queue([event(1)]);
    eventually("it was tried eight times", DEADLINE, || {
        (stage.destination()["attempts"].as_u64() >= Some(8)).then_some(())
    });
    stage.queue([event(2)]);
    stage.endpoint.resume();
    stage.endpoint.wait_for_ids([id(1), id(2)]);
    eventually("it is idle again", DEADLINE, || {
        (stage.destination()["state"] == "idle").then_some(())
    });
    let log = stage.daemon.log();
    assert_eq!(log.matches("cannot be reached").count(), 1, "{log}");
    assert_eq!(log.matches("is back").count(), 1, "{log}");
}

#[test]
fn a_hold_ends_at_once_when_a_setting_was_changed() {
    let script = Script::new().then(Step::status(401).times(1));
    let mut stage = Stage::new(script, TOLD);
    stage.queue([event(1)]);
    until_state(&stage, "held");
    assert_eq!(stage.flush()["left"], 1);
    assert_eq!(stage.endpoint.requests().len(), 1);
    let mended =
        format!("{TOLD}auth = {{ bearer = \"new\" }}\n").replace("max_wait = \"1h\"", "max_wait = \"10ms\"");
    stage
        .home
        .write_config(&destination(&stage.endpoint.url(), &mended));
    stage.daemon.signal(Signal::HUP);
    stage.endpoint.wait_for_ids([id(1)]);
    assert_eq!(
        stage.endpoint.requests()[1].header("authorization"),
        Some("Bearer new")
    );
}

#[test]
fn after_a_start_or_a_reload_a_destination_that_is_held_is_asked_once_more() {
    let mut stage = Stage::new(Script::new().then(Step::status(403)), TOLD);
    stage.queue([event(1)]);
    until_state(&stage, "held");
    for requests in [2, 3] {
        if requests == 2 {
            stage.daemon.restart();
        } else {
            assert_eq!(ask(&stage.daemon, &json!({"op": "reload"}))["ok"], true);
        }
        ask(&stage.daemon, &json!({"op": "flush"}));
        stage.endpoint.wait_for_requests(requests);
        eventually("it is held again", DEADLINE, || {
            (stage.destination()["state"] == "held").then_some(())
        });
        assert_eq!(stage.flush()["left"], 1);
        assert_eq!(stage.endpoint.requests().len(), requests);
    }
    assert_eq!(waiting(&stage.daemon).len(), 1);
}

#[test]
fn a_pause_survives_a_kill_until_it_is_resumed() {
    let mut stage = Stage::new(Script::new(), SOON);
    assert_eq!(ask(&stage.daemon, &json!({"op": "pause"}))["ok"], true);
    stage.queue([event(1)]);
    stage.daemon.restart();
    stage.queue([event(2)]);
    assert_eq!(stage.destination()["state"], "paused");
    stage.daemon.signal(Signal::USR1);
    assert_eq!(stage.flush()["left"], 2);
    assert_eq!(stage.endpoint.requests().len(), 0);
    assert_eq!(ask(&stage.daemon, &json!({"op": "resume"}))["ok"], true);
    stage.endpoint.wait_for_ids([id(1), id(2)]);
}

#[test]
fn what_was_evicted_and_expired_is_told_to_the_endpoint_once() {
    let config =
        "batch = { max_wait = \"1h\" }\n[queue]\nmax_bytes = \"64KiB\"\nmax_bytes_per_tool = \"32KiB\"\n";
    let stage = Stage::new(Script::new(), config);
    let big = |n| json!({"tool": "demo", "event": "ran", "id": id(n), "properties": {"s": "x".repeat(900)}});
    stage.queue((0..100).map(big));
    let shown = crate::stage::status(&stage.daemon);
    let evicted = crate::stage::booked(&shown, "evicted");
    assert!(evicted > 0, "{shown}");
    assert!(shown["queue"]["bytes"].as_u64().unwrap() <= 64 << 10, "{shown}");
    assert_eq!(stage.flush()["left"], 0);
    stage.queue([event(1_000)]);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_events((101 - evicted) as usize);
    let told: Vec<u64> = stage
        .endpoint
        .batches()
        .iter()
        .filter_map(|b| Some(b.losses()?.evicted))
        .collect();
    assert_eq!(told.iter().sum::<u64>(), evicted, "{told:?}");
    // The oldest went: the newest are there.
    stage.endpoint.wait_for_ids([id(99), id(1_000)]);
}

#[test]
fn what_is_too_old_expires_and_is_booked() {
    let stage = Stage::new(
        Script::new(),
        "batch = { max_wait = \"1h\" }\n[queue]\nmax_age = \"1s\"\n",
    );
    stage.queue((0..10).map(event));
    // Ages are looked at on the next wake: an event makes one.
    let mut n = 1_000;
    eventually("the old ones are gone", DEADLINE, || {
        n += 1;
        stage.queue([event(n)]);
        (crate::stage::booked(&crate::stage::status(&stage.daemon), "expired") >= 10).then_some(())
    });
    assert_eq!(stage.flush()["left"], 0);
    assert!(!stage.endpoint.ids().contains(&id(3)));
    let told: u64 = stage
        .endpoint
        .batches()
        .iter()
        .filter_map(|b| Some(b.losses()?.expired))
        .sum();
    assert_eq!(
        told,
        crate::stage::booked(&crate::stage::status(&stage.daemon), "expired")
    );
}

#[test]
fn what_is_on_its_way_neither_expires_nor_is_evicted() {
    let settings = "batch = { max_events = 10, max_wait = \"1h\" }\n[queue]\nmax_age = \"1s\"\nmax_bytes = \"64KiB\"\nmax_bytes_per_tool = \"32KiB\"\n";
    let stage = Stage::new(
        Script::new().then(Step::hang(Duration::from_secs(3)).times(1)),
        settings,
    );
    let first = stage.queue((0..10).map(event));
    stage.endpoint.wait_for_requests(1);
    // Room is made and ages are looked at while it is away.
    let big =
        |n| json!({"tool": "demo", "event": "ran", "id": id(n), "properties": {"s": "x".repeat(2_500)}});
    let mut n = 100;
    eventually("others expired or were evicted", DEADLINE, || {
        n += 20;
        stage.queue((n..n + 20).map(big));
        let shown = crate::stage::status(&stage.daemon);
        let both = crate::stage::booked(&shown, "evicted") > 0 && crate::stage::booked(&shown, "expired") > 0;
        (both || stage.endpoint.requests().len() > 1).then_some(())
    });
    stage.endpoint.wait_for_ids(&first);
    eventually("all is settled", DEADLINE, || {
        stage.flush();
        (crate::stage::status(&stage.daemon)["queue"]["events"] == 0).then_some(())
    });
}

#[test]
fn a_smaller_queue_after_a_reload_keeps_the_newest() {
    let stage = Stage::new(Script::new(), TOLD);
    let big =
        |n| json!({"tool": "demo", "event": "ran", "id": id(n), "properties": {"s": "x".repeat(1_000)}});
    stage.queue((0..200).map(big));
    let smaller = "[queue]\nmax_bytes = \"64KiB\"\nmax_bytes_per_tool = \"64KiB\"\n";
    stage
        .home
        .write_config(&destination(&stage.endpoint.url(), &format!("{TOLD}{smaller}")));
    assert_eq!(ask(&stage.daemon, &json!({"op": "reload"}))["ok"], true);
    let rows = waiting(&stage.daemon);
    assert!(!rows.is_empty() && rows.len() < 70, "{} rows", rows.len());
    assert_eq!(rows.last().unwrap()["id"], id(199));
    let shown = crate::stage::status(&stage.daemon);
    assert_eq!(crate::stage::booked(&shown, "evicted") as usize, 200 - rows.len());
    assert!(shown["queue"]["bytes"].as_u64().unwrap() <= 64 << 10, "{shown}");
}

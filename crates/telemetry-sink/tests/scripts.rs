//! Script files: what they may say, how mistakes are named, and the example scripts.

use std::time::Duration;

use serde_json::json;
use telemetry_sink::{Action, Deduplicate, Echo, Encoding, Reply, Script, Step};

fn read(text: &str) -> Script {
    text.parse()
        .unwrap_or_else(|error| panic!("{error}\nin:\n{text}"))
}

fn problems(text: &str) -> Vec<String> {
    text.parse::<Script>()
        .expect_err("it is wrong")
        .to_string()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_empty_file_is_an_endpoint_without_faults() {
    assert_eq!(read(""), Script::new());
}

#[test]
fn every_action_can_be_written() {
    let with = |body: &str| read(&format!("[[step]]\n{body}")).steps.remove(0);
    let cases = [
        ("action = \"accept\"", Step::status(200)),
        (
            "action = \"status\"\nstatus = 429\nheaders = { Retry-After = \"2\" }\nbody = \"slow down\"\ncontent_type = \"text/plain\"",
            Step::status(429)
                .header("Retry-After", "2")
                .body("slow down")
                .content_type("text/plain"),
        ),
        ("action = \"too-large\"\nover = \"4KiB\"", Step::too_large(4096)),
        (
            "action = \"refuse\"\nevent = \"poison\"",
            Step::status(400).event("poison"),
        ),
        (
            "action = \"refuse\"\nstatus = 422\nproperty = { name = \"n\", equals = 7 }",
            Step::status(422).property("n", Some(json!(7))),
        ),
        ("action = \"hang\"", Step::hang_for_ever()),
        (
            "action = \"hang\"\nfor = \"2s\"",
            Step::hang(Duration::from_secs(2)),
        ),
        (
            "action = \"hang\"\nfor = \"2s\"\nstatus = 504",
            Action::Hang {
                wait: Some(Duration::from_secs(2)),
                reply: Reply::status(504),
            }
            .into(),
        ),
        ("action = \"reset\"", Step::reset()),
        ("action = \"reset\"\nbytes = 100", Step::reset_after(100)),
        ("action = \"close\"", Step::close()),
        ("action = \"half\"\nbytes = 12", Step::half(12)),
        ("action = \"captive\"", Step::captive()),
        (
            "action = \"captive\"\nlocation = \"http://portal/\"",
            Step::captive_redirect("http://portal/"),
        ),
        ("action = \"slow\"\nbytes_per_second = 3", Step::slow(3)),
        ("action = \"garbage\"\nbody = \"\\u0000\"", Step::garbage(b"\0")),
        ("action = \"echo\"\nin = \"header\"", Step::echo(Echo::Header)),
        ("action = \"wrong-id\"", Step::wrong_id(Echo::Body)),
        (
            "action = \"oversized\"\nbytes = \"128KiB\"",
            Step::oversized(131_072),
        ),
    ];
    for (text, step) in cases {
        assert_eq!(with(text), step, "{text}");
    }
}

#[test]
fn every_condition_can_be_written() {
    let script = read(
        r#"
        deduplicate = "events"
        echo = "header"

        [[step]]
        action = "close"
        nth = 3
        every = 5
        after = "1s"
        until = "2min"
        path = "/v1/events"
        header = { name = "X-Team", equals = "data" }
        bytes_over = 10
        events_over = 0
        encoding = "ndjson"
        tool = "kedro"
        event = "CLI command"
        property = "poison"
        times = 2
        store = true
        "#,
    );
    let mut step = Step::close()
        .nth(3)
        .every(5)
        .after(Duration::from_secs(1))
        .until(Duration::from_secs(120))
        .path("/v1/events")
        .bytes_over(10)
        .events_over(0)
        .tool("kedro")
        .event("CLI command")
        .property("poison", None)
        .times(2)
        .store(true);
    step.when.encoding = Some(Encoding::Ndjson);
    step.when.header = Some(("x-team".to_owned(), "data".to_owned()));
    assert_eq!(
        script,
        Script::new()
            .then(step)
            .deduplicate(Deduplicate::Events)
            .echo(Echo::Header)
    );
}

#[test]
fn all_mistakes_are_named_at_once_with_line_and_suggestion() {
    let text = r#"
dedupilcate = "batch"

[[step]]
action = "status"
stauts = 503

[[step]]
action = "statsu"

[[step]]
times = 3

[[step]]
action = "hang"
for = 5
over = 3
"#;
    assert_eq!(
        problems(text),
        [
            "line 2: unknown key `dedupilcate` in a script; did you mean `deduplicate`?",
            "line 4: `status` needs a `status`",
            "line 6: unknown key `stauts` in a step with action = \"status\"; did you mean `status`?",
            "line 9: `action` must be one of accept, status, too-large, refuse, hang, reset, close, half, captive, \
             slow, garbage, echo, wrong-id, oversized; did you mean `status`?",
            "line 11: a step needs an `action`",
            "line 16: `for` must be a duration such as \"250ms\", \"5s\" or \"2min\"",
            "line 17: unknown key `over` in a step with action = \"hang\"",
        ]
    );
}

#[test]
fn values_out_of_range_are_named() {
    for (text, wanted) in [
        (
            "action = \"status\"\nstatus = 99",
            "line 3: `status` must be a status from 200 to 599",
        ),
        (
            "action = \"close\"\ntimes = 0",
            "line 3: `times` must be a whole number, 1 or more",
        ),
        (
            "action = \"too-large\"",
            "line 1: `too-large` needs `over`, the most bytes that are taken",
        ),
        (
            "action = \"refuse\"",
            "line 1: `refuse` needs `tool`, `event` or `property`: what it will not take",
        ),
        (
            "action = \"oversized\"\nbytes = \"2GiB\"",
            "line 3: `bytes` must be a size up to \"1GiB\"",
        ),
        (
            "action = \"reset\"\nbytes = 0\nevent = \"x\"",
            "line 1: a reset with `bytes` comes before the body is read: it cannot ask what is in it",
        ),
        (
            "action = \"status\"\nstatus = 200\nheaders = { \"a b\" = \"c\" }",
            "line 4: `a b` must be a header and its value a string",
        ),
    ] {
        assert_eq!(problems(&format!("[[step]]\n{text}")), [wanted], "{text}");
    }
    let broken = problems("deduplicate = \n");
    assert!(broken[0].starts_with("line 1: "), "{broken:?}");
    assert_eq!(
        problems("step = 1"),
        ["line 1: `step` must be written as [[step]]"]
    );
}

#[test]
fn the_example_scripts_are_scripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut read_scripts = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of examples") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let script: Script = text
            .parse()
            .unwrap_or_else(|error| panic!("{}:\n{error}", path.display()));
        assert!(!script.steps.is_empty(), "{} does nothing", path.display());
        read_scripts += 1;
    }
    assert!(
        read_scripts >= 3,
        "only {read_scripts} examples in {}",
        folder.display()
    );
}

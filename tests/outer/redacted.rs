//! I4: what the value rules know is found nowhere, wherever in an event it stood; and what a manifest does not let through
//! is found nowhere, whatever it was. Nowhere: the state directory, the log, what the endpoint got, what the programs show.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, Daemon, Home};

use crate::stage::{TOLD, TOOL, ask, destination, endpoint, home, id, queue};

/// Letters of a word that stands for free text.
const WORD: usize = 16;

/// Every text in which a rule has to find something, with the part of it that must not be seen again.
fn secrets() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/redaction");
    let mut all = Vec::new();
    for name in ["addresses", "paths", "secrets", "web"] {
        let file = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let vectors: Value = serde_json::from_str(&file).unwrap();
        let homes = vectors["subject"]["homes"].as_array().unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            // A near miss stays what it is.
            let Some(becomes) = case["becomes"].as_str() else {
                continue;
            };
            // Whose home it is, the daemon of this test knows of its own user alone.
            let of_somebody = homes.iter().any(|home| text.contains(home.as_str().unwrap()));
            let same = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
                a.zip(b).take_while(|(a, b)| a == b).count()
            };
            let begin = same(&mut text.chars(), &mut becomes.chars());
            let end = same(&mut text.chars().rev(), &mut becomes.chars().rev());
            let count = text.chars().count();
            let part: String = text
                .chars()
                .skip(begin)
                .take(count.saturating_sub(begin + end))
                .collect();
            // What is shorter may stand anywhere by chance.
            if text != becomes && part.len() >= 12 && !of_somebody {
                all.push((text.to_owned(), part));
            }
        }
    }
    assert!(all.len() > 100, "only {} texts", all.len());
    all
}

/// A value with the texts in it, at places that chance chooses.
fn somewhere(random: &mut fastrand::Rng, texts: &mut Vec<String>, depth: u32) -> Value {
    let Some(text) = texts.pop() else {
        return json!(random.u32(..));
    };
    match random.u32(0..if depth > 3 { 2 } else { 5 }) {
        0 => text.into(),
        1 => format!("before {text} and after").into(),
        2 => json!([
            somewhere(random, texts, depth + 1),
            text,
            somewhere(random, texts, depth + 1)
        ]),
        3 => Value::Object(Map::from_iter([(text, somewhere(random, texts, depth + 1))])),
        _ => json!({ "a": text, "b": { "c": somewhere(random, texts, depth + 1) } }),
    }
}

/// All that can be seen of what went through a daemon.
fn everything(daemon: &Daemon, home: &Home, bodies: Vec<Vec<u8>>) -> Vec<u8> {
    let mut files = Vec::new();
    crate::secrets::files(&home.state_dir(), &mut files);
    let mut seen: Vec<u8> = bodies.concat();
    seen.extend(files.into_iter().flat_map(|(_, bytes)| bytes));
    for args in [
        vec!["status", "--json"],
        vec!["sent", "--bodies", "--json"],
        vec!["tools", "list", "--json"],
    ] {
        let exit = daemon.ctl().run(&args);
        seen.extend(format!("{}{}", exit.stdout, exit.stderr).into_bytes());
    }
    seen.extend(daemon.log().into_bytes());
    seen
}

/// The same while so many events wait, and after they have left.
fn seen_before_and_after(daemon: &Daemon, home: &Home, endpoint: &Collector, events: usize) -> Vec<u8> {
    let mut seen = everything(daemon, home, Vec::new());
    ask(
        daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
    );
    endpoint.wait_for_events(events);
    let requests = endpoint.requests().into_iter();
    let bodies = requests.map(|request| request.body.to_vec()).collect();
    seen.extend(everything(daemon, home, bodies));
    seen
}

#[test]
fn what_the_rules_know_is_found_nowhere_wherever_it_stood() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let settings = destination(&endpoint.url(), &format!("{TOLD}compression = \"none\"\n"));
    let daemon = Daemon::start(&home, &settings);
    let mut watcher = daemon.connect();
    watcher.send(&json!({"op": "tail"}));
    let all = secrets();
    let mut random = fastrand::Rng::with_seed(4);
    let mut texts: Vec<String> = all.iter().map(|(text, _)| text.clone()).collect();
    let mut events = Vec::new();
    for round in 0..4 {
        random.shuffle(&mut texts);
        for (nth, some) in texts.chunks(3).enumerate() {
            let mut some = some.to_vec();
            let short = some[0].chars().filter(|c| !c.is_control()).collect::<String>();
            let mut event = json!({
                "tool": TOOL, "event": "ran", "id": id(round * 10_000 + nth as u64),
                "properties": { "p": somewhere(&mut random, &mut some, 0), "q": somewhere(&mut random, &mut some, 0) },
                "context": { "free": somewhere(&mut random, &mut some, 0) },
            });
            if round == 1 && (1..=128).contains(&short.len()) {
                event["event"] = short.as_str().into();
            }
            if round == 2 {
                event["context"] =
                    json!({ "runtime": { "name": short, "version": short }, "exec_info": [short] });
            }
            if round == 3 && short.len() <= 64 {
                event["version"] = short.as_str().into();
                event["project"] = short.as_str().into();
                event["user"] = short.as_str().into();
            }
            events.push(event);
        }
    }
    let count = events.len();
    queue(&daemon, events);
    let seen = seen_before_and_after(&daemon, &home, &endpoint, count);
    let seen = String::from_utf8_lossy(&seen);
    for (text, part) in &all {
        let escaped = serde_json::to_string(part).unwrap();
        for form in [part.as_str(), escaped.trim_matches('"')] {
            assert!(!seen.contains(form), "{form:?} of {text:?}");
        }
    }
}

#[test]
fn free_text_that_a_manifest_does_not_let_through_is_found_nowhere() {
    let endpoint = endpoint(Script::new());
    let home = home();
    home.write_manifest(
        TOOL,
        &format!(
            "name = \"{TOOL}\"\nconsent = \"opt-out\"\n[events.ran]\n\
             properties.hashed = {{ type = \"string\", hash = true }}\n\
             properties.dropped = {{ type = \"string\", drop = true }}\n\
             properties.line = {{ type = \"string\", mask = \"command\" }}\n\
             properties.level = {{ type = \"string\", enum = [\"a\"], else = \"other\" }}\n\
             properties.count = \"integer\"\n\
             properties.object = {{ type = \"object\", properties = {{ n = \"integer\" }} }}\n\
             properties.\"kind.*\" = {{ type = \"integer\", keys = {{ prefix = [\"public.\"], else = \"custom\" }} }}\n"
        ),
    );
    let settings = destination(&endpoint.url(), &format!("{TOLD}compression = \"none\"\n"));
    let daemon = Daemon::start(&home, &settings);
    let mut random = fastrand::Rng::with_seed(5);
    let mut free = Vec::new();
    let events: Vec<Value> = (0..200)
        .map(|n| {
            let mut word = || {
                let word: String = std::iter::repeat_with(|| random.lowercase()).take(WORD).collect();
                free.push(word.clone());
                word
            };
            json!({
                "tool": TOOL, "event": "ran", "id": id(n), "project": word(), "user": word(),
                "properties": {
                    "hashed": word(), "dropped": word(), "line": format!("demo run --x={} /{}", word(), word()),
                    "level": word(), "count": word(), "object": { word(): word(), "n": word() },
                    format!("kind.{}", word()): 1, word(): word(), "unlisted": [word(), { "a": word() }],
                },
                "context": { word(): word(), "ci": false, "runtime": { word(): word() } },
            })
        })
        .collect();
    queue(&daemon, events);
    let seen = seen_before_and_after(&daemon, &home, &endpoint, 200);
    let words: HashSet<&[u8]> = free.iter().map(|word| word.as_bytes()).collect();
    let again = seen.windows(WORD).find(|window| words.contains(window));
    assert!(
        again.is_none(),
        "{:?} was seen again",
        again.map(String::from_utf8_lossy)
    );
    let refused = ask(
        &daemon,
        &json!({"tool": TOOL, "event": free[0], "properties": {}}),
    );
    assert_eq!(refused["error"], "not_allowed", "{refused}");
}

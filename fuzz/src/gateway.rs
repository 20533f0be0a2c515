//! The body of a request at the gateway, in every dialect: refused in words, or made into event lines that are JSON
//! objects of the tool whose key it had, whatever the body says of tools.

use serde_json::value::RawValue;
use telemetry_gateway::dialect::{self, Body, Line, Wrong, any, evidently, heap, jitsu, lines, segment};
use telemetry_protocol::json;

/// Levels that one line has at most: those of a body, and those that a dialect puts around them.
const DEPTH: usize = 160;

/// The body.
pub fn hold(bytes: &[u8]) {
    made(lines::lines(bytes, "own-tool"), bytes.len());
    let Ok(body) = Body::scan(bytes) else {
        return;
    };
    let _ = (segment::key(&body), heap::key(&body));
    for lists in [true, false] {
        let lists = |_: &str| lists;
        made(segment::one(&body, "own-tool", &lists), bytes.len());
        made(segment::many(&body, "own-tool", &lists), bytes.len());
        made(jitsu::lines(&body, "own-tool", &lists), bytes.len());
        made(any::lines(&body, "own-tool", &lists), bytes.len());
    }
    made(heap::lines(&body, "own-tool"), bytes.len());
    if evidently::is_one(&body) {
        made(evidently::lines(&body, "own-tool"), bytes.len());
    }
}

fn made(lines: Result<Vec<Line>, Wrong>, length: usize) {
    let lines = match lines {
        Ok(lines) => lines,
        Err(dialect::Wrong(why)) => {
            assert!(!why.is_empty());
            return;
        }
    };
    assert!(lines.len() <= length, "{} lines of {length} bytes", lines.len());
    let mut members = Vec::new();
    for Line { line, .. } in lines {
        let shown = String::from_utf8_lossy(&line);
        serde_json::from_slice::<&RawValue>(&line).unwrap_or_else(|error| panic!("{error}: {shown}"));
        let object =
            json::scan(&line, DEPTH, &mut members).unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert_eq!(object.get("tool"), Some("\"own-tool\""), "{shown}");
        assert!(object.get("op").is_none(), "an event asks for nothing: {shown}");
    }
}

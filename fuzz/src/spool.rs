//! A file of the spool: its name and its bytes are one event of one tool, one manifest, or nothing; never a request
//! that somebody smuggles in under the daemon's own connection.

use serde_json::value::RawValue;
use telemetry_protocol::event::Event;
use telemetry_protocol::json;
use telemetry_protocol::limits::{MAX_DEPTH, MAX_EVENT_BYTES};
use telemetryd::spool::line_of;

/// The name, a line feed, the bytes.
pub fn hold(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[..end]);
    let content = bytes.get(end + 1..).unwrap_or_default();
    let Ok(line) = line_of(&name, content.to_vec(), MAX_EVENT_BYTES) else {
        return;
    };
    let text = line.strip_suffix(b"\n").expect("a line ends");
    assert!(!text.contains(&b'\n') && text.len() <= MAX_EVENT_BYTES);
    serde_json::from_slice::<&RawValue>(text).expect("a line is JSON");
    let mut members = Vec::new();
    let object = json::scan(text, MAX_DEPTH, &mut members).expect("a line is an object");
    match name.ends_with(".toml") {
        true => assert_eq!(object.get("op"), Some("\"register\"")),
        false => {
            assert!(object.get("op").is_none() && object.get("ack").is_none());
            let event = Event::parse(&object).expect("a line is an event");
            assert!(name.contains(event.tool), "{name} is of another tool");
        }
    }
}

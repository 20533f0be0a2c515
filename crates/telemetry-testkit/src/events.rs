//! Event lines from a seed: the same seed gives the same lines, ids and times included.

use fastrand::Rng;
use serde_json::{Map, Value, json};
use telemetry_protocol::time::Rfc3339;

/// 2026-11-21T10:00:00Z: generated times and ids begin here, and never at the real time.
const BEGIN_MS: u64 = 1_795_255_200_000;

/// The size that the project's figures speak of, newline aside.
const SIZE: usize = 350;

/// Events as tools name them, with and without a space.
const NAMES: [&str; 5] = [
    "CLI command",
    "command_run",
    "pipeline_extract",
    "Kedro Project Statistics",
    "startup",
];

/// Letters beyond ASCII, a quote and a backslash among them, so that every encoder is tried.
const LETTERS: [char; 10] = ['a', 'e', 'z', '0', '_', '-', 'é', '漢', '"', '\\'];

/// One generated event.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its id, a UUIDv7.
    pub id: String,
    /// The line without its newline.
    pub text: String,
}

impl Line {
    /// It as JSON.
    ///
    /// # Panics
    /// Never: it was written from JSON.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text).expect("a generated line is JSON")
    }
}

/// A generator. It is an iterator without end.
#[derive(Clone, Debug)]
pub struct Events {
    rng: Rng,
    made: u64,
    tool: String,
    size: usize,
    ack: Option<&'static str>,
}

impl Events {
    /// Of the tool `demo`, 350 bytes each, without `ack`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            made: 0,
            tool: "demo".to_owned(),
            size: SIZE,
            ack: None,
        }
    }

    /// Of that tool.
    #[must_use]
    pub fn tool(mut self, tool: &str) -> Self {
        self.tool = tool.to_owned();
        self
    }

    /// Of exactly so many bytes, newline aside; or as few as an event can have.
    #[must_use]
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// With that `ack`.
    #[must_use]
    pub fn ack(mut self, ack: &'static str) -> Self {
        self.ack = Some(ack);
        self
    }

    /// The next line.
    #[must_use]
    pub fn line(&mut self) -> Line {
        let at = BEGIN_MS + self.made;
        self.made += 1;
        let mut random = [0; 10];
        self.rng.fill(&mut random);
        let id = uuid::Builder::from_unix_timestamp_millis(at, &random).into_uuid();
        let mut event = json!({
            "tool": self.tool,
            "event": NAMES[self.rng.usize(..NAMES.len())],
            "id": id,
            "time": Rfc3339(i64::try_from(at).unwrap_or(i64::MAX)).to_string(),
            "version": "1.2.3",
            "properties": {},
        });
        if let Some(ack) = self.ack {
            event["ack"] = Value::from(ack);
        }
        let bare = event.to_string().len();
        let text = self.fill(&mut event, self.size.saturating_sub(bare));
        Line {
            id: id.to_string(),
            text,
        }
    }

    /// The next line, as JSON.
    #[must_use]
    pub fn event(&mut self) -> Value {
        self.line().value()
    }

    /// So many lines, joined for one write, newlines and all; and their ids.
    #[must_use]
    pub fn burst(&mut self, count: usize) -> (Vec<u8>, Vec<String>) {
        let mut bytes = Vec::with_capacity(count * (self.size + 1));
        let mut ids = Vec::with_capacity(count);
        for line in self.take(count) {
            bytes.extend_from_slice(line.text.as_bytes());
            bytes.push(b'\n');
            ids.push(line.id);
        }
        (bytes, ids)
    }

    /// Puts properties of many shapes into an event, and one that takes up what is left of `room` bytes.
    fn fill(&mut self, event: &mut Value, room: usize) -> String {
        /// `"pad":""`.
        const PAD: usize = 8;
        let mut properties = Map::new();
        let mut left = room;
        for index in 0..8 {
            let (key, value) = self.property(index);
            // Without its braces, and with the comma after it, since the pad always follows.
            let takes = json!({ key.as_str(): value }).to_string().len() - 1;
            if left >= takes + PAD {
                left -= takes;
                properties.insert(key, value);
            }
        }
        if left >= PAD {
            properties.insert("pad".to_owned(), Value::from("x".repeat(left - PAD)));
        }
        event["properties"] = Value::Object(properties);
        event.to_string()
    }

    fn property(&mut self, index: usize) -> (String, Value) {
        let value = match self.rng.u8(..7) {
            0 => Value::from(self.rng.i64(..)),
            1 => Value::from(self.rng.bool()),
            2 => Value::from(f64::from(self.rng.u32(..)) / 64.0),
            3 => Value::Null,
            4 => json!([self.rng.u8(..), self.word(), true]),
            5 => json!({"deep": {"deeper": self.word()}}),
            _ => Value::from(self.word()),
        };
        (format!("p{index}"), value)
    }

    fn word(&mut self) -> String {
        let length = self.rng.usize(1..24);
        (0..length)
            .map(|_| LETTERS[self.rng.usize(..LETTERS.len())])
            .collect()
    }
}

impl Iterator for Events {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        Some(self.line())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_lines_and_another_gives_others() {
        let lines = |seed| Events::seeded(seed).take(50).collect::<Vec<_>>();
        assert_eq!(lines(7), lines(7));
        assert_ne!(lines(7), lines(8));
    }

    #[test]
    fn lines_have_the_size_that_was_asked_for_to_the_byte() {
        for size in [300, 350, 400, 1000, 65536] {
            for line in Events::seeded(1).size(size).take(200) {
                assert_eq!(line.text.len(), size, "{}", line.text);
                assert!(line.value()["properties"].is_object());
            }
        }
    }

    #[test]
    fn times_begin_at_a_fixed_moment() {
        assert_eq!(Events::seeded(1).event()["time"], "2026-11-21T10:00:00.000Z");
    }

    #[test]
    fn ids_are_different_and_of_version_7() {
        let ids: BTreeSet<String> = Events::seeded(3).take(1000).map(|line| line.id).collect();
        assert_eq!(ids.len(), 1000);
        assert!(
            ids.iter()
                .all(|id| Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 7))
        );
    }

    #[test]
    fn a_burst_is_its_lines() {
        let (bytes, ids) = Events::seeded(5).tool("kedro").ack("none").burst(3);
        let lines: Vec<Value> = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect();
        assert_eq!(
            lines
                .iter()
                .map(|line| line["id"].as_str().expect("an id").to_owned())
                .collect::<Vec<_>>(),
            ids
        );
        assert!(
            lines
                .iter()
                .all(|line| line["tool"] == "kedro" && line["ack"] == "none")
        );
    }
}

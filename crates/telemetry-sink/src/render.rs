//! A request as people and programs read it: `telemetryctl sink` prints the one, and writes the other to
//! `--out`. Credentials are masked in both.

use std::fmt::Write;
use std::time::SystemTime;

use serde_json::{Value, json};
use telemetry_protocol::time::Rfc3339;

use crate::received::Received;

/// The most characters of a value that a person is shown.
const VALUE_MAX: usize = 160;

/// Headers whose value is a secret, but for the scheme of an `Authorization`.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

impl Received {
    /// Some lines for a person, without colour: what came, what was in it, what became of it. Ends with a newline.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = self.render_into(&mut text);
        text
    }

    fn render_into(&self, text: &mut String) -> std::fmt::Result {
        write!(
            text,
            "#{} {} {}  {}",
            self.number,
            self.method,
            plain(&self.path),
            bytes(self.wire_bytes)
        )?;
        if let Some(coding) = self.header("content-encoding") {
            write!(text, " {} ({} undone)", plain(coding), bytes(self.body_bytes))?;
        }
        if let Some(id) = self.batch_id() {
            write!(text, "  batch {}", plain(id))?;
        }
        match &self.content {
            Ok(content) => writeln!(text, "  {} {}", content.encoding, events(content.count))?,
            Err(reason) => writeln!(text, "\n  cannot decode it: {reason}")?,
        }
        if let Some(losses) = self.losses().filter(|losses| !losses.is_zero()) {
            writeln!(
                text,
                "  reported as lost: {} evicted, {} expired, {} over quota",
                losses.evicted, losses.expired, losses.quota
            )?;
        }
        for event in self.events() {
            let own = |key: &str| plain(event.get(key).and_then(Value::as_str).unwrap_or("?"));
            write!(text, "  {}  {}", own("tool"), own("event"))?;
            if let Some(time) = event.get("time").and_then(Value::as_str) {
                write!(text, "  {}", plain(time))?;
            }
            writeln!(text, "  {}", own("id"))?;
            for key in ["properties", "context"] {
                if let Some(value) = event.get(key) {
                    leaves(text, key, value)?;
                }
            }
        }
        writeln!(text, "  -> {}", self.outcome())
    }

    /// What became of it, in a few words.
    fn outcome(&self) -> String {
        let answer = &self.answer;
        let mut words = match answer.status {
            Some(status) => status.to_string(),
            None => "no answer".to_owned(),
        };
        if answer.action != "accept" {
            let _ = write!(words, " ({})", answer.action);
        }
        if answer.repeated {
            words.push_str(", came before");
        } else if !answer.stored {
            words.push_str(", not kept");
        }
        words
    }

    /// One JSON object on one line, without a newline: `number`, `at`, `method`, `path`, `headers`,
    /// `wire_bytes`, `body_bytes`, then `encoding`, `batch_id`, `sent_at`, `source`, `losses`, `events` or
    /// `undecodable`, and `status`, `action`, `stored`. Absent is null.
    #[must_use]
    pub fn to_json_line(&self) -> String {
        let headers: serde_json::Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(masked(name, value))))
            .collect();
        let since_epoch = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = i64::try_from(since_epoch.as_millis())
            .map(|at| Rfc3339(at).to_string())
            .ok();
        let mut line = json!({
            "number": self.number,
            "at": at,
            "method": self.method,
            "path": self.path,
            "version": self.version,
            "headers": headers,
            "wire_bytes": self.wire_bytes,
            "body_bytes": self.body_bytes,
            "batch_id": self.batch_id(),
            "status": self.answer.status,
            "action": self.answer.action,
            "stored": self.answer.stored,
            "repeated": self.answer.repeated,
        });
        match &self.content {
            Ok(content) => {
                line["encoding"] = Value::from(content.encoding.name());
                line["sent_at"] = Value::from(content.sent_at.clone());
                line["source"] = content.source.clone().unwrap_or_default();
                line["losses"] = content.losses.map_or(Value::Null, |losses| {
                    json!({"evicted": losses.evicted, "expired": losses.expired, "quota": losses.quota})
                });
                line["events"] = Value::from(content.events.clone());
            }
            Err(reason) => line["undecodable"] = Value::from(reason.to_string()),
        }
        line.to_string()
    }
}

/// A header's value as it may be shown: the scheme of credentials, and stars.
fn masked(name: &str, value: &str) -> String {
    if !SECRET.contains(&name) {
        return value.to_owned();
    }
    match value.split_once(' ') {
        Some((scheme, _)) if name.ends_with("authorization") => format!("{scheme} *****"),
        _ => "*****".to_owned(),
    }
}

/// The leaves of a value, each with its path, a line each.
fn leaves(text: &mut String, path: &str, value: &Value) -> std::fmt::Result {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                leaves(text, &format!("{path}.{}", plain(key)), value)?;
            }
            Ok(())
        }
        Value::Object(_) => Ok(()),
        _ => {
            let mut shown = value.to_string();
            if shown.chars().count() > VALUE_MAX {
                shown = shown.chars().take(VALUE_MAX).chain(['…']).collect();
            }
            writeln!(text, "      {path} = {}", plain(&shown))
        }
    }
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}

fn events(count: usize) -> String {
    if count == 1 {
        "1 event".to_owned()
    } else {
        format!("{count} events")
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::bytes::Bytes;

    use super::*;
    use crate::decode::{Head, decode};
    use crate::received::Answer;

    fn received(body: &str) -> Received {
        let (body, content) = decode(Head::default(), &Bytes::copy_from_slice(body.as_bytes()));
        Received {
            number: 3,
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_719_205_120),
            method: "POST".to_owned(),
            path: "/v1/events".to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: vec![("authorization".to_owned(), "Bearer s3cret".to_owned())],
            wire_bytes: 2048,
            body_bytes: body.len() as u64,
            body,
            content,
            answer: Answer {
                status: Some(200),
                action: "accept",
                stored: true,
                repeated: false,
            },
        }
    }

    const BATCH: &str = r#"{"batch_id":"b1","losses":{"evicted":0,"expired":2,"quota":0},"events":[
        {"id":"e1","tool":"kedro","event":"CLI \u001b[31mcommand","time":"2026-11-21T09:59:58Z",
         "properties":{"command":"kedro run","n":{"deep":1}},"context":{}}]}"#;

    #[test]
    fn a_person_sees_what_came_and_what_became_of_it() {
        assert_eq!(
            received(BATCH).render(),
            "#3 POST /v1/events  2.0 KiB  batch b1  json 1 event\n  \
               reported as lost: 0 evicted, 2 expired, 0 over quota\n  \
               kedro  CLI \u{fffd}[31mcommand  2026-11-21T09:59:58Z  e1\n      \
                   properties.command = \"kedro run\"\n      \
                   properties.n.deep = 1\n  \
               -> 200\n"
        );
    }

    #[test]
    fn a_body_that_cannot_be_decoded_is_said_to_be_so() {
        let text = received("{\"events\":[]}").render();
        assert!(
            text.contains("cannot decode it: events: a batch has at least one event"),
            "{text}"
        );
    }

    #[test]
    fn the_line_for_programs_masks_credentials() {
        let line = received(BATCH).to_json_line();
        let value: Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!(value["headers"]["authorization"], "Bearer *****");
        assert_eq!(value["at"], "2025-11-21T10:00:05.120Z");
        assert_eq!(value["losses"]["expired"], 2);
        assert_eq!(value["events"][0]["id"], "e1");
        assert!(!line.contains('\n') && !line.contains("s3cret"));
    }
}

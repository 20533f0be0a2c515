//! The events that are measured: lines of 350 bytes with an id of the client's making, and what the queue
//! stores of each, for the bare insert of the same rows.

use std::ops::Range;

use uuid::Uuid;

/// Bytes of an event line, its newline not among them.
pub(crate) const LINE: usize = 350;

/// The tool that speaks.
pub(crate) const TOOL: &str = "bench";

/// When an event is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    None,
    Queued,
    Synced,
}

impl Ack {
    /// As the protocol writes it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Queued => "queued",
            Self::Synced => "synced",
        }
    }
}

/// Makes event lines. Ids are UUIDv7; a run's token and its note differ from event to event, at the beginning and at
/// the end of its properties: the rest is what a tool says again and again.
#[derive(Debug)]
pub(crate) struct Lines {
    line: Vec<u8>,
    id_at: usize,
    own: Own,
}

/// What is an event's own.
#[derive(Debug)]
struct Own {
    token: Range<usize>,
    note: Range<usize>,
    /// What notes are cut from.
    words: Vec<u8>,
    random: fastrand::Rng,
}

impl Own {
    /// Finds the places in a line, or in what is stored of one.
    fn within(line: &[u8]) -> Self {
        let behind = |mark: &str| {
            let mark = mark.as_bytes();
            let at = line.windows(mark.len()).position(|here| here == mark);
            at.map_or(0, |at| at + mark.len())
        };
        let (token, note) = (behind(MARK), behind(NOTE));
        let length = line[note..].iter().take_while(|&&byte| byte != b'"').count();
        let mut random = fastrand::Rng::new();
        Self {
            token: token..token + TOKEN,
            note: note..note + length,
            words: words(&mut random),
            random,
        }
    }

    fn write(&mut self, line: &mut [u8]) {
        let mut bits = self.random.u64(..);
        for byte in &mut line[self.token.clone()] {
            *byte = b"0123456789abcdef"[(bits & 15) as usize];
            bits >>= 4;
        }
        let from = self.random.usize(..self.words.len() - self.note.len());
        line[self.note.clone()].copy_from_slice(&self.words[from..from + self.note.len()]);
    }
}

/// Bytes of the run's token.
const TOKEN: usize = 16;

impl Lines {
    /// Lines with that `ack`.
    pub(crate) fn new(ack: Ack) -> Self {
        Self::of(TOOL, ack)
    }

    /// Lines of another tool, of the same length.
    pub(crate) fn of(tool: &str, ack: Ack) -> Self {
        let id = Uuid::nil();
        let ack = ack.word();
        let head = format!(
            r#"{{"id":"{id}","tool":"{tool}","event":"command_run","version":"1.4.2","ack":"{ack}","properties":{}"#,
            head_of_properties()
        );
        let tail = r#""}}"#;
        let padding = LINE.saturating_sub(head.len() + tail.len());
        let line = format!("{head}{}{tail}\n", " ".repeat(padding)).into_bytes();
        Self {
            id_at: head.find(&id.to_string()).unwrap_or_default(),
            own: Own::within(&line),
            line,
        }
    }

    /// Appends one line, newline included, and returns its id.
    pub(crate) fn push(&mut self, to: &mut Vec<u8>) -> Uuid {
        let id = Uuid::now_v7();
        self.push_with(id, to);
        id
    }

    /// Appends the line of an id that was made before.
    pub(crate) fn push_with(&mut self, id: Uuid, to: &mut Vec<u8>) {
        let from = to.len();
        to.extend_from_slice(&self.line);
        let line = &mut to[from..];
        let mut text = Uuid::encode_buffer();
        line[self.id_at..self.id_at + 36].copy_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
        self.own.write(line);
    }
}

/// Makes the rows of the bare insert: what the daemon stores of such a line.
#[derive(Debug)]
pub(crate) struct Rows {
    own: Own,
    payload: Vec<u8>,
}

impl Rows {
    /// Rows like the one that a daemon has stored of a line.
    pub(crate) fn like(stored: &str) -> Self {
        Self {
            own: Own::within(stored.as_bytes()),
            payload: stored.as_bytes().to_vec(),
        }
    }

    /// The next row's id and payload.
    pub(crate) fn next(&mut self) -> (Uuid, &[u8]) {
        self.own.write(&mut self.payload);
        (Uuid::now_v7(), &self.payload)
    }
}

/// What stands before the token.
const MARK: &str = r#""run":"0"#;

/// What stands before the note.
const NOTE: &str = r#""note":""#;

fn head_of_properties() -> String {
    let token = "0".repeat(TOKEN);
    format!(
        r#"{{{MARK}{token}","command":"kedro run --pipeline *****","duration_ms":1834,"exit_code":0,{NOTE}"#
    )
}

/// Some KiB of words in any order: text, neither random nor one letter.
fn words(random: &mut fastrand::Rng) -> Vec<u8> {
    const WORDS: &str = "nodes and datasets of the default pipeline were loaded run in order saved; ";
    let words: Vec<&str> = WORDS.split_inclusive(' ').collect();
    let mut text = String::new();
    while text.len() < 4096 {
        text.push_str(words[random.usize(..words.len())]);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_350_bytes_and_is_json_with_its_own_id() {
        for ack in [Ack::None, Ack::Queued, Ack::Synced] {
            let mut buffer = Vec::new();
            let mut lines = Lines::new(ack);
            let ids = [lines.push(&mut buffer), lines.push(&mut buffer)];
            let text = String::from_utf8(buffer).unwrap();
            let mut runs = Vec::new();
            for (line, id) in text.lines().zip(ids) {
                assert_eq!(line.len(), LINE);
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(event["id"], id.to_string());
                assert_eq!(event["ack"], ack.word());
                runs.push(event["properties"]["run"].as_str().unwrap().to_owned());
            }
            assert_eq!((text.lines().count(), runs[0].len()), (2, TOKEN + 1));
            assert_ne!(runs[0], runs[1]);
        }
    }

    #[test]
    fn a_row_differs_from_the_next_in_its_token_and_its_note() {
        let stored = r#"{"event":"e","properties":{"run":"0ffffffffffffffff","n":1,"note":"............"},"context":{}}"#;
        let mut rows = Rows::like(stored);
        let mut row = || -> serde_json::Value { serde_json::from_slice(rows.next().1).unwrap() };
        let (first, second) = (row(), row());
        for key in ["run", "note"] {
            assert_ne!(first["properties"][key], second["properties"][key]);
        }
        for row in [&first, &second] {
            assert_eq!(row.to_string().len(), stored.len());
            assert_eq!((&row["event"], &row["properties"]["n"]), (&"e".into(), &1.into()));
        }
    }
}

//! The events that are measured: lines of 350 bytes with an id of the client's making, and what the queue
//! stores of each, for the bare insert of the same rows.

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

/// Makes event lines. Ids are UUIDv7, and a run's token differs from event to event: the rest is what a tool
/// says again and again.
#[derive(Debug)]
pub(crate) struct Lines {
    line: Vec<u8>,
    id_at: usize,
    token_at: usize,
    random: fastrand::Rng,
}

/// Bytes of the run's token.
const TOKEN: usize = 16;

impl Lines {
    /// Lines with that `ack`.
    pub(crate) fn new(ack: Ack) -> Self {
        let id = Uuid::nil();
        let ack = ack.word();
        let head = format!(
            r#"{{"tool":"{TOOL}","event":"command_run","id":"{id}","version":"1.4.2","ack":"{ack}","properties":{}"#,
            head_of_properties()
        );
        let tail = r#""}}"#;
        let padding = LINE.saturating_sub(head.len() + tail.len());
        let line = format!("{head}{}{tail}\n", filler(padding)).into_bytes();
        let find = |what: &str| head.find(what).unwrap_or_default();
        Self {
            id_at: find(&id.to_string()),
            token_at: find(MARK) + MARK.len(),
            line,
            random: fastrand::Rng::new(),
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
        self.token(&mut line[self.token_at..self.token_at + TOKEN]);
    }

    fn token(&mut self, place: &mut [u8]) {
        let mut bits = self.random.u64(..);
        for byte in place {
            *byte = b"0123456789abcdef"[(bits & 15) as usize];
            bits >>= 4;
        }
    }
}

/// Makes the rows of the bare insert: what the daemon stores of such a line.
#[derive(Debug)]
pub(crate) struct Rows {
    lines: Lines,
    payload: Vec<u8>,
    token_at: usize,
}

impl Rows {
    /// Rows like the one that a daemon has stored of a line.
    pub(crate) fn like(stored: &str) -> Self {
        let token_at = stored.find(MARK).map_or(0, |at| at + MARK.len());
        Self {
            lines: Lines::new(Ack::Queued),
            payload: stored.as_bytes().to_vec(),
            token_at,
        }
    }

    /// The next row's id and payload.
    pub(crate) fn next(&mut self) -> (Uuid, &[u8]) {
        let place = self.token_at..self.token_at + TOKEN;
        self.lines.token(&mut self.payload[place]);
        (Uuid::now_v7(), &self.payload)
    }
}

/// What stands before the token.
const MARK: &str = r#""run":"0"#;

fn head_of_properties() -> String {
    let token = "0".repeat(TOKEN);
    format!(
        r#"{{{MARK}{token}","command":"kedro run --pipeline *****","duration_ms":1834,"exit_code":0,"note":""#
    )
}

/// Words to fill a line up with: text, neither random nor one letter.
fn filler(length: usize) -> String {
    const WORDS: &str = "nodes and datasets of the default pipeline were loaded, run in order and saved; ";
    WORDS.chars().cycle().take(length).collect()
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
    fn a_row_differs_from_the_next_in_its_token_alone() {
        let stored = r#"{"event":"command_run","properties":{"run":"0ffffffffffffffff","n":1},"context":{}}"#;
        let mut rows = Rows::like(stored);
        let mut row = || String::from_utf8(rows.next().1.to_vec()).unwrap();
        let (first, second) = (row(), row());
        assert_ne!(first, second);
        for row in [first, second] {
            assert_eq!(
                (row.len(), &row[..40], &row[56..]),
                (stored.len(), &stored[..40], &stored[56..])
            );
        }
    }
}

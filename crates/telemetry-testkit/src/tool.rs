//! A tool's connection to the daemon, without a library between: whole lines, half lines, silence.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::eventually::{DEADLINE, Deadline};

/// What was heard on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A line, its newline removed.
    Line(String),
    /// Nothing, for as long as was listened.
    Nothing,
    /// The other side closed, after all lines that came before.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Tool {
    stream: UnixStream,
    /// Read, and not yet handed out.
    unread: Vec<u8>,
}

impl Tool {
    /// Connects.
    ///
    /// # Errors
    /// As the operating system says: nobody there, no right to.
    pub fn try_connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    /// Connects.
    ///
    /// # Panics
    /// When nobody is there.
    #[must_use]
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        Self::try_connect(socket)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", socket.display()))
    }

    /// The stream itself, for what has no method here.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends one JSON value as a line.
    #[track_caller]
    pub fn send(&mut self, value: &Value) {
        self.send_line(&value.to_string());
    }

    /// Sends text and a newline.
    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are: half a line, two lines, no UTF-8.
    ///
    /// # Panics
    /// When the other side does not take them within [`DEADLINE`], or has closed.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes)
            .unwrap_or_else(|error| panic!("cannot send {} bytes: {error}", bytes.len()));
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the other side does not take them within [`DEADLINE`], or has closed.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent, and goes on listening.
    pub fn finish_sending(&self) {
        // The other side may have closed first.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Listens for one line.
    ///
    /// # Panics
    /// When the connection fails otherwise than by being closed, or a line is no UTF-8.
    #[track_caller]
    pub fn hear(&mut self, wait: Duration) -> Heard {
        let deadline = Deadline::after(wait);
        let mut searched = 0;
        loop {
            if let Some(at) = self.unread[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=searched + at).collect();
                line.pop();
                return Heard::Line(String::from_utf8(line).expect("an answer is UTF-8"));
            }
            searched = self.unread.len();
            let Some(left) = deadline.left() else {
                return Heard::Nothing;
            };
            // A timeout of less than a microsecond would be none at all.
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .expect("a timeout that is not zero");
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => {
                    let rest = String::from_utf8_lossy(&self.unread);
                    assert!(rest.is_empty(), "closed in the middle of a line: {rest}");
                    return Heard::Closed;
                }
                Ok(length) => self.unread.extend_from_slice(&piece[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Heard::Closed,
                Err(error) => panic!("cannot listen: {error}"),
            }
        }
    }

    /// The next line, parsed.
    ///
    /// # Panics
    /// When none comes within [`DEADLINE`], or it is no JSON.
    #[track_caller]
    pub fn answer(&mut self) -> Value {
        match self.hear(DEADLINE) {
            Heard::Line(line) => {
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}"))
            }
            other => panic!("no answer but {other:?}"),
        }
    }

    /// Sends one value and gives the next line.
    #[track_caller]
    pub fn ask(&mut self, value: &Value) -> Value {
        self.send(value);
        self.answer()
    }

    /// Waits until the other side closes, and gives the lines that it said before.
    ///
    /// # Panics
    /// When it has not closed within [`DEADLINE`].
    #[track_caller]
    pub fn until_closed(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.hear(DEADLINE) {
                Heard::Line(line) => lines.push(line),
                Heard::Closed => return lines,
                Heard::Nothing => panic!("after {DEADLINE:?} still not closed"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pair() -> (Tool, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        (
            Tool {
                stream: ours,
                unread: Vec::new(),
            },
            theirs,
        )
    }

    #[test]
    fn lines_are_heard_one_by_one_however_they_were_written() {
        let (mut tool, mut theirs) = pair();
        theirs
            .write_all(b"{\"a\":1}\n{\"b\"")
            .expect("a buffer that is empty");
        assert_eq!(tool.answer(), json!({"a": 1}));
        assert_eq!(tool.hear(Duration::from_millis(5)), Heard::Nothing);
        theirs.write_all(b":2}\n").expect("a buffer that is empty");
        assert_eq!(tool.answer(), json!({"b": 2}));
        drop(theirs);
        assert_eq!(tool.hear(DEADLINE), Heard::Closed);
    }

    #[test]
    fn what_was_said_before_closing_is_heard() {
        let (mut tool, mut theirs) = pair();
        theirs.write_all(b"one\ntwo\n").expect("a buffer that is empty");
        drop(theirs);
        assert_eq!(tool.until_closed(), ["one", "two"]);
    }
}

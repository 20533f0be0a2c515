//! Lines to the daemon and lines back, each with a deadline (I10). An answer's line is bounded (I6); a
//! list is read a line at a time and never held as a whole.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::clock;

/// The most bytes of one answer line. The longest are the body of a batch (`queue next-batch`) and the
/// metrics; a daemon that sends more is broken.
pub const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Bytes asked for at once: a page of answers of an event each.
const CHUNK: usize = 16 * 1024;

/// Talking failed.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The deadline passed.
    #[error("no answer in time")]
    TimedOut,
    /// The daemon closed the connection before it answered.
    #[error("the connection was closed before the answer")]
    Closed,
    /// A line is over [`MAX_ANSWER`], or is not UTF-8.
    #[error("the answer is not a line of this protocol")]
    NotALine,
    /// The system said something else.
    #[error("{}", .0.kind())]
    Io(io::Error),
}

/// A connection to the daemon. It closes when it is dropped; complete lines that were sent are processed
/// all the same (PROTOCOL.md).
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Where the unread part of `buffer` begins.
    start: usize,
    /// Up to where `buffer` is known to hold no newline.
    searched: usize,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream, path: PathBuf) -> Self {
        Self {
            stream,
            path,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
        }
    }

    /// The socket that took the connection.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who listens at the other end, where the system says it (Linux).
    #[must_use]
    pub fn peer_pid(&self) -> Option<i32> {
        peer_pid(&self.stream)
    }

    /// The user whose daemon it is, where the system says it (Linux).
    #[must_use]
    pub fn peer_uid(&self) -> Option<u32> {
        peer_uid(&self.stream)
    }

    /// Sends bytes: one line or more, each with its newline.
    ///
    /// # Errors
    /// [`TalkError`]; after one it is unknown how much was sent.
    pub fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), TalkError> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.stream, bytes, flags()) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(TalkError::Closed),
                Err(errno) => return Err(TalkError::Io(errno.into())),
            }
        }
        Ok(())
    }

    /// The next line, without its newline. It is lent from the connection's buffer until the next call.
    ///
    /// # Errors
    /// [`TalkError`]; the end of the stream is [`TalkError::Closed`].
    pub fn line(&mut self, deadline: Instant) -> Result<&str, TalkError> {
        let end = loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', unsearched) {
                break self.searched + at;
            }
            self.searched = self.buffer.len();
            if self.searched - self.start > MAX_ANSWER {
                return Err(TalkError::NotALine);
            }
            self.fill(deadline)?;
        };
        let line = self.start..end;
        self.start = end + 1;
        self.searched = self.start;
        let bytes = self.buffer.get(line).unwrap_or_default();
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        std::str::from_utf8(bytes).map_err(|_| TalkError::NotALine)
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), TalkError> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        let mut chunk = [0; CHUNK];
        loop {
            match rustix::net::recv(&self.stream, &mut chunk[..], RecvFlags::empty()) {
                Ok((0, _)) => return Err(TalkError::Closed),
                Ok((read, _)) => {
                    self.buffer
                        .extend_from_slice(chunk.get(..read).unwrap_or_default());
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline)?,
                Err(Errno::CONNRESET) => return Err(TalkError::Closed),
                Err(errno) => return Err(TalkError::Io(errno.into())),
            }
        }
    }

    fn wait(&self, what: PollFlags, deadline: Instant) -> Result<(), TalkError> {
        loop {
            let left = clock::left(deadline);
            if left.is_zero() {
                return Err(TalkError::TimedOut);
            }
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.stream, what)], timeout.as_ref()) {
                Ok(0) => {}
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(TalkError::Io(errno.into())),
            }
        }
    }
}

/// A host whose SIGPIPE kills must not be killed by a daemon that went (I10).
const fn flags() -> SendFlags {
    #[cfg(not(target_vendor = "apple"))]
    {
        SendFlags::NOSIGNAL
    }
    #[cfg(target_vendor = "apple")]
    {
        SendFlags::empty()
    }
}

#[cfg(target_os = "linux")]
fn peer_pid(stream: &UnixStream) -> Option<i32> {
    let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(peer.pid.as_raw_nonzero().get())
}

#[cfg(target_os = "linux")]
fn peer_uid(stream: &UnixStream) -> Option<u32> {
    let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(peer.uid.as_raw())
}

#[cfg(not(target_os = "linux"))]
fn peer_pid(_: &UnixStream) -> Option<i32> {
    None
}

#[cfg(not(target_os = "linux"))]
fn peer_uid(_: &UnixStream) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::time::Duration;

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Connection::new(ours, "/t.sock".into()), theirs)
    }

    fn soon() -> Instant {
        clock::after(Duration::from_secs(5))
    }

    fn at_once() -> Instant {
        clock::after(Duration::from_millis(20))
    }

    #[test]
    fn lines_come_one_by_one_however_they_were_cut() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"one\r\ntwo\nth").unwrap();
        assert_eq!(ours.line(soon()).unwrap(), "one");
        assert_eq!(ours.line(soon()).unwrap(), "two");
        assert!(matches!(ours.line(at_once()), Err(TalkError::TimedOut)));
        theirs.write_all(b"ree\n").unwrap();
        assert_eq!(ours.line(soon()).unwrap(), "three");
        drop(theirs);
        assert!(matches!(ours.line(soon()), Err(TalkError::Closed)));
    }

    #[test]
    fn a_daemon_that_does_not_read_does_not_hold_its_client() {
        let (mut ours, _theirs) = pair();
        let flood = vec![b'x'; 4 * 1024 * 1024];
        assert!(matches!(ours.send(&flood, at_once()), Err(TalkError::TimedOut)));
    }

    #[test]
    fn a_daemon_that_has_gone_is_an_error_and_no_signal() {
        let (mut ours, theirs) = pair();
        drop(theirs);
        assert!(matches!(ours.send(b"line\n", soon()), Err(TalkError::Closed)));
    }

    #[test]
    fn long_lines_are_read_whole_in_linear_time() {
        let (mut ours, mut theirs) = pair();
        let long = "y".repeat(3_000_000);
        let text = format!("{long}\n");
        let writer = std::thread::spawn(move || theirs.write_all(text.as_bytes()).unwrap());
        assert_eq!(ours.line(soon()).unwrap().len(), long.len());
        writer.join().unwrap();
    }

    #[test]
    fn what_is_sent_arrives() {
        let (mut ours, mut theirs) = pair();
        ours.send(b"{\"op\":\"status\"}\n", soon()).unwrap();
        drop(ours);
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"op\":\"status\"}\n");
    }
}

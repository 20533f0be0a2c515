//! The way to the daemon: the first candidate that takes the connection, within a deadline (I10).
//!
//! A Unix socket whose backlog is full makes `connect` wait without end. Linux bounds that wait by
//! `SO_SNDTIMEO` (unix(7) and socket(7)), which costs one system call and wakes at once when there is
//! room; a non-blocking `connect` would answer `EAGAIN` and could only be tried again and again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use telemetry_protocol::place::check_socket_path;

use crate::clock;
use crate::connection::Connection;

/// No candidate took the connection.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach telemetryd at {}", .path.display())]
pub struct ConnectError {
    /// The candidate that tells most: one that exists and refuses goes before one that does not exist.
    pub path: PathBuf,
    /// Why that one did not take it.
    #[source]
    pub cause: Refusal,
    /// The other candidates that were tried, in order.
    pub others: Vec<(PathBuf, Refusal)>,
}

/// Why one candidate did not take the connection.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no socket: no daemon was ever started, or it has gone and cleaned up.
    #[error("there is no socket")]
    Absent,
    /// A socket of a daemon that is gone.
    #[error("connection refused")]
    Refused,
    /// The file may not be used by this user.
    #[error("permission denied")]
    NotPermitted,
    /// The daemon lives, but has not taken the connection in time: its backlog is full, or it hangs.
    #[error("it did not take the connection in time")]
    Busy,
    /// The path cannot be a socket's.
    #[error("{0}")]
    BadPath(String),
    /// There was no place to look at: no variable says where a user's socket is.
    #[error("nothing says where its socket is: neither XDG_RUNTIME_DIR nor HOME is set")]
    Nowhere,
    /// The system said something else.
    #[error("{}", .0.kind())]
    Io(io::Error),
}

impl Refusal {
    /// Whether the next candidate is tried: a daemon that lives and does not answer is not passed over.
    fn goes_on(&self) -> bool {
        !matches!(self, Self::Busy | Self::NotPermitted)
    }
}

/// Connects to the first of `candidates` that takes it, until `deadline`. Nothing is created.
///
/// # Errors
/// [`ConnectError`], with the reason of each candidate.
pub fn connect(candidates: &[PathBuf], deadline: Instant) -> Result<Connection, ConnectError> {
    let mut tried = Vec::new();
    for path in candidates {
        match connect_one(path, deadline) {
            Ok(stream) => return Ok(Connection::new(stream, path.clone())),
            Err(refusal) => {
                let goes_on = refusal.goes_on();
                tried.push((path.clone(), refusal));
                if !goes_on {
                    break;
                }
            }
        }
    }
    Err(most_telling(tried))
}

fn most_telling(mut tried: Vec<(PathBuf, Refusal)>) -> ConnectError {
    let at = tried
        .iter()
        .rposition(|(_, refusal)| !matches!(refusal, Refusal::Absent))
        .unwrap_or(tried.len().saturating_sub(1));
    if at >= tried.len() {
        return ConnectError {
            path: PathBuf::from(telemetry_protocol::place::SYSTEM_SOCKET),
            cause: Refusal::Nowhere,
            others: tried,
        };
    }
    let (path, cause) = tried.remove(at);
    ConnectError {
        path,
        cause,
        others: tried,
    }
}

fn connect_one(path: &Path, deadline: Instant) -> Result<UnixStream, Refusal> {
    check_socket_path(path).map_err(Refusal::BadPath)?;
    let address = SocketAddrUnix::new(path).map_err(refusal)?;
    let socket = open().map_err(refusal)?;
    loop {
        let left = clock::left(deadline);
        // Zero would mean "without end" to the system.
        let wait = left.max(Duration::from_millis(1));
        set_socket_timeout(&socket, Timeout::Send, Some(wait)).map_err(refusal)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => break,
            // A signal of the host's; what is left of the deadline is used up.
            Err(Errno::INTR) if !left.is_zero() => {}
            Err(errno) => return Err(refusal(errno)),
        }
    }
    ready(&socket).map_err(refusal)?;
    Ok(UnixStream::from(socket))
}

/// From here on waiting is `poll`'s, with the deadline of each call.
fn ready(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::io::ioctl_fionbio(socket.as_fd(), true)
}

#[cfg(not(target_vendor = "apple"))]
fn open() -> Result<OwnedFd, Errno> {
    use rustix::net::{SocketFlags, socket_with};
    socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
}

#[cfg(target_vendor = "apple")]
fn open() -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok(socket)
}

fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Refusal::Absent,
        Errno::CONNREFUSED => Refusal::Refused,
        Errno::ACCESS | Errno::PERM => Refusal::NotPermitted,
        Errno::AGAIN | Errno::TIMEDOUT | Errno::INTR => Refusal::Busy,
        other => Refusal::Io(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn soon() -> Instant {
        clock::after(Duration::from_millis(200))
    }

    #[test]
    fn the_next_candidate_is_tried_when_one_is_absent_or_refuses() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        drop(UnixListener::bind(at("dead")).unwrap());
        let _live = UnixListener::bind(at("live")).unwrap();
        let connection = connect(&[at("absent"), at("dead"), at("live")], soon()).unwrap();
        assert_eq!(connection.path(), at("live"));
    }

    #[test]
    fn the_error_says_which_path_and_why_and_what_else_was_tried() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        drop(UnixListener::bind(at("dead")).unwrap());
        let error = connect(&[at("dead"), at("absent")], soon()).unwrap_err();
        assert_eq!(error.path, at("dead"));
        assert!(matches!(error.cause, Refusal::Refused));
        assert!(matches!(error.others.as_slice(), [(path, Refusal::Absent)] if *path == at("absent")));
        assert!(matches!(
            connect(&[], soon()).unwrap_err().cause,
            Refusal::Nowhere
        ));
    }

    #[test]
    fn a_full_backlog_does_not_block_past_the_deadline() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("full");
        let listener = open().unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let mut held = Vec::new();
        let error = loop {
            let deadline = clock::after(Duration::from_millis(50));
            match connect(std::slice::from_ref(&path), deadline) {
                Ok(connection) => held.push(connection),
                Err(error) => break error,
            }
            assert!(held.len() < 16, "a backlog of 0 holds a few at most");
        };
        assert!(
            matches!(error.cause, Refusal::Busy | Refusal::Refused),
            "{error:?}"
        );
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused_with_the_reason() {
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
        let error = connect(&[long], soon()).unwrap_err();
        assert!(error.cause.to_string().contains("bytes long"), "{error:?}");
    }
}

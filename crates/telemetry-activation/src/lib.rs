//! The listening socket that a service manager hands over: systemd's `LISTEN_FDS` (sd_listen_fds(3)), launchd's
//! `launch_activate_socket` (launch(3)).
//!
//! Both give a bare number. Making an owned descriptor of it is an unsafe act, and it has this crate to itself so that
//! it can be read at one sitting: the numbers are taken once in the life of a process, each becomes owned before anything is asked of it, and whatever is no listening Unix stream socket is refused.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, sockopt};

/// More would never be ours. `LISTEN_FDS` is text from outside, so it has a bound (I6).
const MOST: usize = 16;

/// What was handed over is not what was expected.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The service manager's variables do not hold what they should.
    #[error("cannot read what the service manager says about inherited sockets (LISTEN_PID, LISTEN_FDS)")]
    Variables(#[source] io::Error),
    /// launchd says no.
    #[error("cannot take the socket '{name}' over from launchd: {reason}")]
    Launchd {
        /// The key under `Sockets` in the plist.
        name: String,
        /// What launchd said.
        reason: String,
    },
    /// There is one room for a socket, and more came.
    #[error("{count} sockets were inherited ({names}); this program takes one, '{expected}'")]
    TooMany {
        /// How many.
        count: usize,
        /// Their names, as the unit gives them.
        names: String,
        /// The name of the one that is taken.
        expected: String,
    },
    /// The name says that it is meant for something else.
    #[error(
        "the inherited socket is called '{name}'; this program takes '{expected}' (FileDescriptorName= in the unit)"
    )]
    Name {
        /// Its name.
        name: String,
        /// The name of the one that is taken.
        expected: String,
    },
    /// It is something else than a listening Unix stream socket.
    #[error(
        "the inherited descriptor is {found}; a listening Unix stream socket is expected (ListenStream=/PATH)"
    )]
    Kind {
        /// What it is.
        found: &'static str,
    },
    /// The system said no.
    #[error("cannot look at the inherited socket")]
    Io(#[source] io::Error),
}

/// A socket that listens already, and belongs to the service manager: its file is not ours to remove.
#[derive(Debug)]
pub struct Inherited {
    /// Non-blocking, closed on exec.
    pub listener: UnixListener,
    /// Where clients find it; `None` for one without a path.
    pub path: Option<PathBuf>,
}

/// Taken already in this process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The socket `name` from whoever started this process, if somebody handed one over. Later calls answer `None`:
/// a descriptor has one owner.
///
/// # Errors
/// When something else was handed over: it is a mistake in the unit, and the program should not start.
pub fn take(name: &str) -> Result<Option<Inherited>, ActivationError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(None);
    }
    let numbers = given(name)?;
    let [(number, called)] = numbers.as_slice() else {
        if numbers.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = numbers.iter().map(|(_, called)| called.as_str()).collect();
        return Err(ActivationError::TooMany {
            count: numbers.len(),
            names: names.join(", "),
            expected: name.to_owned(),
        });
    };
    if !names_it(called, name) {
        return Err(ActivationError::Name {
            name: called.clone(),
            expected: name.to_owned(),
        });
    }
    check(own(*number)).map(Some)
}

/// Whether a descriptor of this name is meant: systemd calls it after its unit where the unit says nothing, and
/// `systemd-socket-activate` leaves the name away.
fn names_it(called: &str, name: &str) -> bool {
    ["", "unknown", name].contains(&called) || called.strip_suffix(".socket") == Some(name)
}

#[expect(
    unsafe_code,
    reason = "a number becomes an owned descriptor: here and nowhere else"
)]
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the service manager opened the descriptor for this process, as the environment says with our own pid
    // (or launchd, in its answer); `TAKEN` lets nobody take it twice; nothing else in the process knows the number.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// The numbers that were handed over, with their names.
#[cfg(target_os = "linux")]
fn given(_: &str) -> Result<Vec<(RawFd, String)>, ActivationError> {
    let named = sd_notify::listen_fds_with_names().map_err(ActivationError::Variables)?;
    Ok(named.take(MOST).collect())
}

/// The numbers that were handed over, with their names.
#[cfg(target_os = "macos")]
fn given(name: &str) -> Result<Vec<(RawFd, String)>, ActivationError> {
    match raunch::activate_socket(name) {
        Ok(numbers) => Ok(numbers
            .into_iter()
            .take(MOST)
            .map(|n| (n, name.to_owned()))
            .collect()),
        // Started by hand, or by a plist without a socket.
        Err(raunch::Error::NotManaged | raunch::Error::NotInPlist) => Ok(Vec::new()),
        Err(error) => Err(ActivationError::Launchd {
            name: name.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// Nobody hands sockets over here.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn given(_: &str) -> Result<Vec<(RawFd, String)>, ActivationError> {
    Ok(Vec::new())
}

fn check(descriptor: OwnedFd) -> Result<Inherited, ActivationError> {
    let address = match rustix::net::getsockname(&descriptor) {
        Ok(address) => address,
        Err(rustix::io::Errno::NOTSOCK) => return Err(ActivationError::Kind { found: "no socket" }),
        Err(error) => return Err(ActivationError::Io(error.into())),
    };
    if address.address_family() != AddressFamily::UNIX {
        return Err(ActivationError::Kind {
            found: "a socket of another family than AF_UNIX",
        });
    }
    if sockopt::socket_type(&descriptor).map_err(|e| ActivationError::Io(e.into()))? != SocketType::STREAM {
        return Err(ActivationError::Kind {
            found: "a Unix socket of another type than stream",
        });
    }
    // macOS has the constant and does not implement it; launchd hands over nothing that does not listen.
    #[cfg(not(target_os = "macos"))]
    if !sockopt::socket_acceptconn(&descriptor).map_err(|e| ActivationError::Io(e.into()))? {
        return Err(ActivationError::Kind {
            found: "a Unix stream socket that does not listen (Accept=yes?)",
        });
    }
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)
        .map_err(|e| ActivationError::Io(e.into()))?;
    let listener = UnixListener::from(descriptor);
    listener.set_nonblocking(true).map_err(ActivationError::Io)?;
    let path = listener
        .local_addr()
        .map_err(ActivationError::Io)?
        .as_pathname()
        .map(std::path::Path::to_owned);
    Ok(Inherited { listener, path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn refused(descriptor: impl Into<OwnedFd>) -> String {
        check(descriptor.into()).unwrap_err().to_string()
    }

    #[test]
    fn only_a_listening_unix_stream_socket_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("t.sock");
        let taken = check(UnixListener::bind(&path).unwrap().into()).unwrap();
        assert_eq!(taken.path, Some(path));

        #[cfg(not(target_os = "macos"))]
        assert!(refused(std::os::unix::net::UnixStream::pair().unwrap().0).contains("does not listen"));
        assert!(refused(UnixDatagram::unbound().unwrap()).contains("another type"));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(refused(tcp).contains("another family"));
        assert!(refused(std::fs::File::open("/dev/null").unwrap()).contains("no socket"));
    }

    #[test]
    fn a_name_is_the_sockets_own_its_units_or_none() {
        for called in ["telemetryd", "telemetryd.socket", "", "unknown"] {
            assert!(names_it(called, "telemetryd"), "{called}");
        }
        for called in ["gateway", "telemetryd.service", "telemetryd2"] {
            assert!(!names_it(called, "telemetryd"), "{called}");
        }
    }
}

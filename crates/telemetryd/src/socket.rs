//! The listening socket: bound to a temporary name, made private, then renamed, so that nobody ever
//! meets it half made. One that a service manager hands over is used as it is. A dead daemon's socket is replaced; a live one's owner is named.

mod kept;

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use telemetry_activation::Inherited;
use telemetry_protocol::limits::BACKLOG;
use telemetry_protocol::place::check_socket_path;

pub use self::kept::keep;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path is too long for a Unix socket.
    #[error("{0}")]
    TooLong(String),
    /// Somebody listens there.
    #[error("another daemon{} already listens at {}", .pid.map(owner).unwrap_or_default(), .path.display())]
    Taken {
        /// Where.
        path: PathBuf,
        /// Who, where the system says.
        pid: Option<i32>,
    },
    /// The file there is no socket, so it is not ours to remove.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The system said no.
    #[error("cannot {attempt} {}", .path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A bound socket; its file is removed when this is dropped, if it is still the one that was made.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    inode: (u64, u64),
}

impl Bound {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Nothing to be done about it at this point; the next daemon replaces a dead socket.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The listening socket: the one that was handed over, or else one that is bound here. Only the latter has a file
/// of ours.
///
/// # Errors
/// As [`bind`].
pub fn open(
    inherited: Option<Inherited>,
    path: &Path,
    mode: u32,
    directory_mode: u32,
) -> Result<(UnixListener, Option<Bound>), SocketError> {
    match inherited {
        Some(inherited) => Ok((inherited.listener, None)),
        None => bind(path, mode, directory_mode).map(|(listener, bound)| (listener, Some(bound))),
    }
}

/// Binds `path` with this `mode` (0600 for a user's, 0666 for the machine's), making its directory
/// with `directory_mode` where there is none.
///
/// # Errors
/// When the path is too long, taken by a live daemon or by something that is no socket, or the system
/// says no.
pub fn bind(path: &Path, mode: u32, directory_mode: u32) -> Result<(UnixListener, Bound), SocketError> {
    check_socket_path(path).map_err(SocketError::TooLong)?;
    let io = |attempt, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::Io {
            attempt,
            path,
            source,
        }
    };
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    make_directory(directory, directory_mode).map_err(io("make the directory", directory))?;
    let is_free = refuse_live(path)?;

    let temporary = directory.join(format!(".sock-{}", std::process::id()));
    if check_socket_path(&temporary).is_err() {
        return Err(SocketError::TooLong(
            check_socket_path(&temporary).err().unwrap_or_default(),
        ));
    }
    let _ = std::fs::remove_file(&temporary);
    let listener = listen(&temporary).map_err(io("bind", &temporary))?;
    let made = (|| {
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
        put(&temporary, path, is_free)?;
        identity(path)
    })();
    match made {
        Ok(inode) => Ok((
            listener,
            Bound {
                path: path.to_owned(),
                inode,
            },
        )),
        Err(source) => {
            let _ = std::fs::remove_file(&temporary);
            if is_free && source.kind() == io::ErrorKind::AlreadyExists {
                refuse_live(path)?;
            }
            Err(SocketError::Io {
                attempt: "put the socket at",
                path: path.to_owned(),
                source,
            })
        }
    }
}

/// Gives the socket its name; where that was free, nobody's who took it a moment ago.
fn put(temporary: &Path, path: &Path, is_free: bool) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if is_free {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
            // Not every file system can tell.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            done => return Ok(done?),
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = is_free;
    std::fs::rename(temporary, path)
}

/// Makes the directory where there is none; whatever the umask is, others can come to a socket that is theirs too.
fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode))
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    // Not `UnixListener::bind`: its backlog is 128, and 2,000 tools may start at once.
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether nothing is there; a dead daemon's socket is something.
fn refuse_live(path: &Path) -> Result<bool, SocketError> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(SocketError::Io {
            attempt: "look at",
            path: path.to_owned(),
            source,
        }),
        Ok(found) if !found.file_type().is_socket() => Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => match probe(path) {
            Ok(pid) => Err(SocketError::Taken {
                path: path.to_owned(),
                pid,
            }),
            Err(Errno::CONNREFUSED) => Ok(false),
            Err(Errno::NOENT) => Ok(true),
            Err(error) => Err(SocketError::Io {
                attempt: "probe",
                path: path.to_owned(),
                source: error.into(),
            }),
        },
    }
}

/// Connects without waiting: who listens, where the system says. A full backlog is a live daemon too.
fn probe(path: &Path) -> Result<Option<i32>, Errno> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(peer_pid(&UnixStream::from(socket))),
        Err(Errno::AGAIN | Errno::INPROGRESS) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn peer_pid(stream: &UnixStream) -> Option<i32> {
    rustix::net::sockopt::socket_peercred(stream)
        .ok()
        .map(|peer| peer.pid.as_raw_nonzero().get())
}

#[cfg(not(target_os = "linux"))]
fn peer_pid(_: &UnixStream) -> Option<i32> {
    None
}

/// Who listens, in brackets: by its name too where it is no daemon, for a service manager listens for one.
fn owner(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim_end() {
        "" | "telemetryd" => format!(" (pid {pid})"),
        name => format!(" (pid {pid}, {name})"),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// As many descriptors as the system lets us have: `limits.max_connections` is over the usual soft limit.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Fewer connections at once, then; they wait in the backlog.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_private_and_goes_with_its_daemon() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run/t.sock");
        let (_listener, bound) = bind(&path, 0o600, 0o700).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            std::fs::metadata(path.parent().unwrap())
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_daemons_socket_is_replaced_and_a_live_ones_owner_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("t.sock");
        let (listener, bound) = bind(&path, 0o600, 0o700).unwrap();
        let taken = bind(&path, 0o600, 0o700).unwrap_err().to_string();
        assert!(taken.contains(&format!("pid {}", std::process::id())), "{taken}");
        drop((listener, bound));
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left over by a daemon that was killed");
        bind(&path, 0o600, 0o700).unwrap();
    }

    #[test]
    fn somebody_elses_file_is_not_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("t.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(
            bind(&path, 0o600, 0o700),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_path_that_is_too_long_is_refused_with_the_reason() {
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
        assert!(
            bind(&long, 0o600, 0o700)
                .unwrap_err()
                .to_string()
                .contains("bytes long")
        );
    }
}

//! A watch on the files of consent: a withdrawal is noticed although nobody asks (CONSENT.md, "Epochs").
//!
//! The kernel says when something in a directory changes; then the files are looked at as for an event. Nothing is
//! polled, and nobody is woken while nothing changes (I11). It only makes withdrawals quick: whoever takes or sends an
//! event looks for himself, since network file systems do not notify.
//!
//! Where there is no inotify (macOS), a change is seen when somebody asks.

use std::io;
use std::path::PathBuf;

use super::person::Files;
use super::stamp::manifest_paths;
use crate::config::{Mode, Places};

/// After a change, files are left alone for so long: one look serves a storm of changes, and a withdrawal is still
/// obeyed well within two seconds.
#[cfg(target_os = "linux")]
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// A file, there or not: whatever happens in its directory.
    File(PathBuf),
    /// A directory, there or not: whatever happens in it, and that it comes and goes.
    Directory(PathBuf),
}

/// Everything whose change may change a policy, with the tools' own user-wide files. What a machine-wide daemon keeps of
/// its users only it changes itself.
pub(super) fn watched(places: &Places, user_files: &[PathBuf]) -> Vec<Watched> {
    let word = (places.mode == Mode::User).then(|| Watched::File(Files::of(places, 0).consent));
    let machine = places.machine.iter().flat_map(|directory| {
        [
            Watched::File(directory.join("opt-out")),
            Watched::Directory(directory.join("opt-out.d")),
            Watched::Directory(directory.join("policy.d")),
        ]
    });
    let manifests = manifest_paths(places).map(Watched::Directory);
    let own = user_files.iter().cloned().map(Watched::File);
    word.into_iter()
        .chain(own)
        .chain(machine)
        .chain(manifests)
        .collect()
}

/// Looks whenever one of these may have changed, what is not there yet included. What `these` are may follow from
/// the look. Returns where nothing can be watched.
///
/// # Errors
/// The system has no more watches, or none of this kind.
pub(super) async fn each_change(these: impl Fn() -> Vec<Watched>, look: impl Fn()) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    loop {
        // First the watch and then the look: nothing that changes falls between them.
        let before = these();
        let watch = inotify::Watch::over(&before)?;
        look();
        if these() != before {
            continue;
        }
        watch.fired().await?;
        tokio::time::sleep(PAUSE).await;
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (these, look);
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(target_os = "linux")]
mod inotify {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    use rustix::io::Errno;
    use tokio::io::unix::AsyncFd;

    use super::Watched;

    /// One use of inotify: it is made anew after each change, so that it is always over what is there.
    pub(super) struct Watch(AsyncFd<OwnedFd>);

    impl Watch {
        pub(super) fn over(these: &[Watched]) -> io::Result<Self> {
            let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            for watched in these {
                match watched {
                    Watched::File(path) => {
                        watch_holder(&inotify, path, CONTENT)?;
                        // A link's target may be edited where it really is.
                        if path.is_symlink()
                            && let Ok(target) = path.canonicalize()
                        {
                            watch_holder(&inotify, &target, CONTENT)?;
                        }
                    }
                    Watched::Directory(path) => {
                        add(&inotify, path, CONTENT)?;
                        watch_holder(&inotify, path, APPEARS)?;
                    }
                }
            }
            #[expect(
                deprecated,
                reason = "its successor is unsafe for types that change their descriptor; an OwnedFd never does"
            )]
            AsyncFd::new(inotify).map(Self)
        }

        /// Waits until something has changed.
        pub(super) async fn fired(&self) -> io::Result<()> {
            self.0.readable().await.map(drop)
        }
    }

    /// What changes the content of a directory, or of a file in it.
    const CONTENT: WatchFlags = WatchFlags::CREATE
        .union(WatchFlags::DELETE)
        .union(WatchFlags::MOVE)
        .union(WatchFlags::MODIFY)
        .union(WatchFlags::ATTRIB)
        .union(GOES);

    /// What makes a directory appear in another.
    const APPEARS: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO).union(GOES);

    const GOES: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);

    /// The directory that holds the path and, where that is not there or is replaced as a whole, those above it.
    fn watch_holder(inotify: &OwnedFd, path: &Path, what: WatchFlags) -> io::Result<()> {
        let Some(holder) = path.parent() else {
            return Ok(());
        };
        add(inotify, holder, what)?;
        for above in holder.ancestors().skip(1) {
            if add(inotify, above, APPEARS)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether there is a directory to be watched now.
    fn add(inotify: &OwnedFd, directory: &Path, what: WatchFlags) -> io::Result<bool> {
        match add_watch(
            inotify,
            directory,
            what | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD,
        ) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

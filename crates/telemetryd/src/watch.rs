//! A watch over a file and the directory that it is in: whoever takes one of them away is noticed although nobody asks.
//! Nothing is polled, and nobody is woken while nothing happens (I11). Where there is no inotify (macOS), it never fires.

#[cfg(target_os = "linux")]
pub(crate) use self::inotify::{fired, over};
#[cfg(not(target_os = "linux"))]
pub(crate) use self::nothing::{fired, over};

#[cfg(target_os = "linux")]
mod inotify {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    use tokio::io::unix::AsyncFd;
    use tracing::debug;

    /// One use: made anew after each time it fired, and never read from.
    pub(crate) struct Watch(AsyncFd<OwnedFd>);

    /// Fires when one of them is deleted or moved, or the file's attributes change. What is not there is not watched:
    /// whoever asks looks at both once it is made.
    pub(crate) fn over(directory: Option<&Path>, file: &Path) -> Option<Watch> {
        make(directory, file)
            .inspect_err(|error| debug!(%error, file = %file.display(), "a file is not watched"))
            .ok()
    }

    fn make(directory: Option<&Path>, file: &Path) -> io::Result<Watch> {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let goes = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        // The file and not what happens in its directory, which may be a busy one. One that is open or bound is not
        // deleted: its number of names changes.
        let of_file = goes | WatchFlags::ATTRIB | WatchFlags::DONT_FOLLOW;
        let _ = add_watch(&inotify, file, of_file);
        if let Some(directory) = directory {
            let _ = add_watch(&inotify, directory, goes | WatchFlags::ONLYDIR);
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that change their descriptor; an OwnedFd never does"
        )]
        AsyncFd::new(inotify).map(Watch)
    }

    /// Waits until something has happened, and gives the watch back; without a watch, without end.
    pub(crate) async fn fired(watch: Option<Watch>) -> Watch {
        match watch {
            Some(watch) if watch.0.readable().await.is_ok() => watch,
            _ => std::future::pending().await,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod nothing {
    use std::path::Path;

    pub(crate) fn over(_: Option<&Path>, _: &Path) {}

    pub(crate) async fn fired((): ()) {
        std::future::pending().await
    }
}

//! A watch on the spool: an event that is renamed into it is noticed although nobody asks. Nothing is polled, and
//! nobody is woken while nothing appears (I11). Where there is no inotify, what waits is taken at the next start.

#[cfg(target_os = "linux")]
pub(super) use self::inotify::{again, fired, over};
#[cfg(not(target_os = "linux"))]
pub(super) use self::nothing::{again, fired, over};

#[cfg(target_os = "linux")]
mod inotify {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    use tokio::io::unix::AsyncFd;
    use tracing::debug;

    /// One use: made anew after each time it fired, and never read from.
    pub(in super::super) struct Watch(AsyncFd<OwnedFd>);

    /// A watch over the directory or, where there is none yet, over the one in which it will appear.
    pub(in super::super) fn over(directory: &Path) -> Option<Watch> {
        match make(directory) {
            Ok(watch) => Some(watch),
            Err(error) => {
                debug!(%error, "the spool is not watched");
                None
            }
        }
    }

    /// The next one. The one before is kept until then, so that what a daemon has open does not come and go; where the
    /// system has no room for both, it goes first.
    pub(in super::super) fn again(before: Option<Watch>, directory: &Path) -> Option<Watch> {
        match make(directory) {
            Ok(watch) => Some(watch),
            Err(_) => {
                drop(before);
                over(directory)
            }
        }
    }

    fn make(directory: &Path) -> io::Result<Watch> {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let goes = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        if add_watch(&inotify, directory, WatchFlags::MOVED_TO | goes).is_err() {
            let above = directory.parent().unwrap_or(directory);
            add_watch(&inotify, above, WatchFlags::CREATE | WatchFlags::MOVED_TO | goes)?;
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that change their descriptor; an OwnedFd never does"
        )]
        AsyncFd::new(inotify).map(Watch)
    }

    /// Waits until something has appeared; without a watch, without end.
    pub(in super::super) async fn fired(watch: &Option<Watch>) {
        match watch {
            Some(Watch(inotify)) if inotify.readable().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod nothing {
    use std::path::Path;

    pub(in super::super) fn over(_: &Path) {}

    pub(in super::super) fn again((): (), _: &Path) {}

    pub(in super::super) async fn fired((): &()) {
        std::future::pending().await
    }
}

//! Whether the state directory was taken away under the daemon. SQLite writes on into a file that has no name any more:
//! everything would be acknowledged, and be lost with the process (I1). So the daemon is told, and ends.
//!
//! The kernel tells; nothing is polled, and nobody is woken while nothing happens (I11). Where there is no inotify
//! (macOS), a deleted directory is not noticed.

use std::path::Path;
use std::time::Duration;

use crate::watch;

/// The file of the queue.
const QUEUE: &str = "queue.db";

/// After something happened it is looked again so soon: a storm of changes costs little.
const PAUSE: Duration = Duration::from_millis(100);

/// So often a missing file is looked for before it counts as gone: one that was corrupt is set aside, and the next one
/// made in its place.
const LOOKS: u32 = 20;

/// Returns when the directory, or the queue's file in it, is gone; never where that cannot be told.
///
/// # Cancel safety
/// Cancel safe.
pub async fn gone(directory: &Path) {
    let was = place(directory);
    if was.is_none() {
        std::future::pending::<()>().await;
    }
    let mut missing = 0;
    loop {
        // First the watch and then the look: nothing that happens falls between them.
        let watch = watch::over(Some(directory), &directory.join(QUEUE));
        if place(directory) != was {
            return;
        }
        match directory.join(QUEUE).try_exists() {
            Ok(false) if missing >= LOOKS => return,
            Ok(false) => missing += 1,
            _ => {
                missing = 0;
                // Kept while it pauses: what a daemon has open does not come and go.
                let _kept = watch::fired(watch).await;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Which directory it is, whatever its name.
fn place(directory: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(directory).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::task::Poll;

    /// Whether it is told within a moment.
    async fn told(directory: &Path, change: impl FnOnce()) -> bool {
        let told = tokio::time::timeout(PAUSE * (LOOKS + 10), gone(directory));
        tokio::pin!(told);
        // Once, so that the watch is there.
        let waits = std::future::poll_fn(|context| Poll::Ready(told.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        change();
        told.await.is_ok()
    }

    fn state() -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(home.path().join("state")).expect("a temporary directory");
        std::fs::write(home.path().join("state").join(QUEUE), "rows").expect("a temporary directory");
        home
    }

    #[tokio::test]
    async fn a_directory_that_is_deleted_moved_or_replaced_is_told_and_so_is_the_queues_file() {
        type Change = fn(&Path);
        let changes: [Change; 4] = [
            |state| std::fs::remove_dir_all(state).unwrap(),
            |state| std::fs::rename(state, state.with_extension("moved")).unwrap(),
            |state| {
                std::fs::rename(state, state.with_extension("old")).unwrap();
                std::fs::create_dir(state).unwrap();
                std::fs::write(state.join(QUEUE), "other rows").unwrap();
            },
            |state| std::fs::remove_file(state.join(QUEUE)).unwrap(),
        ];
        for change in changes {
            let home = state();
            let state = home.path().join("state");
            // As the daemon has it.
            let open = std::fs::File::open(state.join(QUEUE)).unwrap();
            assert!(told(&state, || change(&state)).await);
            drop(open);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_set_aside_and_made_anew_is_none_of_it() {
        let home = state();
        let state = home.path().join("state");
        let change = || {
            std::fs::rename(state.join(QUEUE), state.join("queue.db.corrupt-1")).unwrap();
            std::fs::write(state.join(QUEUE), "").unwrap();
        };
        assert!(!told(&state, change).await);
    }
}

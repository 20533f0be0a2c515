//! What is left on the disk when a daemon is killed, or when the power goes: copies of the state directory, taken by
//! the queue's own thread at a named point, where it writes nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::endpoint::lock;

/// Simulations that run at the same time, each in a thread: each has a trap of its own.
pub(crate) const LANES: usize = 4;

/// A kill that waits for the queue's thread to come by.
#[derive(Debug)]
struct Trap {
    point: &'static str,
    left: u32,
    from: PathBuf,
    to: PathBuf,
    sprung: bool,
}

static TRAPS: [Mutex<Option<Trap>>; LANES] = [const { Mutex::new(None) }; LANES];

/// Called by the queue at its named points.
fn probe<const LANE: usize>(point: &'static str) {
    if std::thread::current().name() != Some("queue-writer") {
        return;
    }
    let mut trap = lock(&TRAPS[LANE]);
    let Some(trap) = trap.as_mut().filter(|trap| !trap.sprung && trap.point == point) else {
        return;
    };
    trap.left -= 1;
    if trap.left == 0 {
        copy(&trap.from, &trap.to).unwrap();
        trap.sprung = true;
        // No hook is told: nobody has made a mistake.
        std::panic::resume_unwind(Box::new("killed"));
    }
}

/// The probe of a lane.
pub(crate) fn probe_of(lane: usize) -> fn(&'static str) {
    [probe::<0>, probe::<1>, probe::<2>, probe::<3>][lane]
}

/// Sets the trap: the daemon dies when the queue comes to `point` for the `nth` time; what is on the disk then is in
/// `to`.
pub(crate) fn set(lane: usize, point: &'static str, nth: u32, from: &Path, to: &Path) {
    *lock(&TRAPS[lane]) = Some(Trap {
        point,
        left: nth,
        from: from.to_owned(),
        to: to.to_owned(),
        sprung: false,
    });
}

/// Whether it has died.
pub(crate) fn sprung(lane: usize) -> bool {
    lock(&TRAPS[lane]).as_ref().is_some_and(|trap| trap.sprung)
}

/// Whether a trap is set, sprung or not.
pub(crate) fn is_set(lane: usize) -> bool {
    lock(&TRAPS[lane]).is_some()
}

/// Takes the trap away.
pub(crate) fn clear(lane: usize) {
    *lock(&TRAPS[lane]) = None;
}

/// Copies a directory, without what dies with its process.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mode = fs::metadata(from)?.permissions();
    fs::set_permissions(to, mode)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() && entry.file_name() != "queue.db-shm" {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The queue's file and its WAL as they were when the last fsync was answered for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    file: Vec<u8>,
    wal: Vec<u8>,
}

impl Synced {
    /// What is there now, both files of one moment: the queue's thread may be at work on them meanwhile.
    pub(crate) fn of(state: &Path) -> Self {
        let read = || Self {
            file: fs::read(state.join("queue.db")).unwrap_or_default(),
            wal: fs::read(state.join("queue.db-wal")).unwrap_or_default(),
        };
        let mut now = read();
        loop {
            let again = read();
            if again == now {
                return now;
            }
            now = again;
        }
    }

    /// The power goes: in `state` is what was written, and what of it was not synced may be gone. `luck` says how much.
    pub(crate) fn cut(&self, state: &Path, luck: u64) -> io::Result<()> {
        let now = Self::of(state);
        let wal_only_grew = now.file == self.file && now.wal.starts_with(&self.wal);
        match luck % 3 {
            // All of it came to the disk.
            0 => Ok(()),
            // A torn tail of the WAL.
            1 if wal_only_grew => {
                let extra = now.wal.len() - self.wal.len();
                let kept = self.wal.len() + usize::try_from(luck).unwrap_or(0) % (extra + 1);
                fs::write(state.join("queue.db-wal"), &now.wal[..kept])
            }
            _ => {
                fs::write(state.join("queue.db"), &self.file)?;
                fs::write(state.join("queue.db-wal"), &self.wal)
            }
        }
    }
}

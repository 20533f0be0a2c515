//! What may take long: purges and what is put back. A slice at a time, each after a turn of the others, so that nobody
//! waits for another's many rows (I13); several are carried on in turn.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Writer, recover};
use crate::command::{Command, Purge, Reply};
use crate::store::purge::Purging;
use crate::types::{Filter, Moment, PurgeReason, Purged};

/// A long work that was begun.
pub(super) enum Long {
    Purge(Box<Purging>, Reply<Purged>),
    Requeue {
        filter: Filter,
        after: u64,
        back: u64,
        reply: Reply<u64>,
    },
}

/// How often it is looked after a slice whether somebody has something else to do, before the next slice.
const LOOKS: u32 = 16;

/// Between two looks. What a user erases or puts back is so about a third of the writer's time, and 64 MiB are some
/// seconds of it.
const LOOK: Duration = Duration::from_micros(250);

/// Those that are under way, the one whose turn it is first.
#[derive(Default)]
pub(super) struct Longs {
    works: VecDeque<Long>,
    /// Looks that are left before the next slice.
    looks: u32,
}

impl Longs {
    /// After a command: whether the pause between two slices goes on. It does not for ever, however many come.
    pub(super) fn pause_goes_on(&mut self) -> bool {
        self.looks = self.looks.saturating_sub(1);
        self.looks > 0
    }

    /// The one whose turn it is. What is put back waits for the purges of the same user: behind where they began it would
    /// escape them (I3).
    fn next(&mut self) -> Option<Long> {
        let waits = |work: &Long| match work {
            Long::Purge(..) => false,
            Long::Requeue { filter, .. } => self.works.iter().any(|other| match other {
                Long::Purge(purge, _) => {
                    let (one, other) = (filter.uid, purge.filter.uid);
                    one.is_none() || other.is_none() || one == other
                }
                Long::Requeue { .. } => false,
            }),
        };
        let at = self.works.iter().position(|work| !waits(work))?;
        self.works.remove(at)
    }
}

impl Writer {
    pub(super) fn begin_purge(&mut self, purge: &Purge, reply: Reply<Purged>) {
        // A reader would keep the erased pages in the WAL.
        self.integrity.stop();
        let work = self.store.begin_purge(&purge.filter, purge.reason);
        self.longs.works.push_back(Long::Purge(Box::new(work), reply));
    }

    pub(super) fn begin_requeue(&mut self, filter: Filter, reply: Reply<u64>) {
        let (after, back) = (0, 0);
        let work = Long::Requeue {
            filter,
            after,
            back,
            reply,
        };
        self.longs.works.push_back(work);
    }

    /// Between two slices: waits a little, and is to look whether a command has come; `false`: that was long enough.
    pub(super) fn pauses(&mut self) -> bool {
        let over = self.longs.works.is_empty() || self.closing.load(Ordering::Acquire);
        if over || self.longs.looks == 0 {
            return false;
        }
        self.longs.looks -= 1;
        #[expect(
            clippy::disallowed_methods,
            reason = "there is no condition to wait for but the time"
        )]
        std::thread::sleep(LOOK);
        true
    }

    /// One slice of the one whose turn it is; `false`: there is none.
    pub(super) fn long_work(&mut self) -> bool {
        let Some(work) = self.longs.next() else {
            return false;
        };
        if self.broken
            && let Err(error) = self.reopen()
        {
            recover::refuse(work.into_command(), &error);
            return true;
        }
        let unfinished = match work {
            Long::Purge(work, reply) => self.purge_on(work, reply),
            Long::Requeue {
                filter,
                after,
                back,
                reply,
            } => self.requeue_on(filter, after, back, reply),
        };
        self.longs.works.extend(unfinished);
        self.publish();
        self.checkpoint_when_due();
        true
    }

    fn requeue_on(&mut self, filter: Filter, after: u64, back: u64, reply: Reply<u64>) -> Option<Long> {
        const ATTEMPT: &str = "cannot put parked events back";
        match self.store.requeue_on(&filter, after) {
            Ok((rows, Some(after))) => {
                let back = back + rows;
                self.longs.looks = if rows > 0 { LOOKS } else { 0 };
                return Some(Long::Requeue {
                    filter,
                    after,
                    back,
                    reply,
                });
            }
            Ok((rows, None)) => self.answer(reply, ATTEMPT, Ok(back + rows)),
            Err(error) => self.answer(reply, ATTEMPT, Err(error)),
        }
        None
    }

    fn purge_on(&mut self, mut work: Box<Purging>, reply: Reply<Purged>) -> Option<Long> {
        let before = work.purged;
        let slice = self.purge_slice(&mut work);
        let slice = self.with_relief(slice, |writer| writer.purge_slice(&mut work));
        let result = match slice {
            Ok(true) => {
                // What consent no longer covers goes at once; what erased nothing cost little.
                if work.purged != before && work.reason != PurgeReason::Consent {
                    self.longs.looks = LOOKS;
                }
                return Some(Long::Purge(work, reply));
            }
            Ok(false) => Ok(work.purged),
            Err(error) => {
                // It may have erased a part.
                self.erased = true;
                Err(error)
            }
        };
        let result = self.empty_the_wal(result);
        self.answer(reply, "cannot purge", result);
        None
    }

    /// A slice of what is erased, and then of what is swept; `false`: both are done.
    fn purge_slice(&mut self, work: &mut Purging) -> rusqlite::Result<bool> {
        let rest = if let Some(page) = work.sweeping {
            // Again: another purge that has ended meanwhile has emptied the WAL, but not of what is swept from now on.
            self.erased = true;
            self.store.sweep(page)?
        } else {
            if self.store.purge_on(work)? {
                return Ok(true);
            }
            self.place.erase_corrupt(None);
            // One that erased nothing costs nothing.
            self.erased |= work.purged != Purged::default();
            // Who withdraws means what has expired or was delivered, too: it has left its row, and neither the space
            // between the rows nor the WAL.
            if work.reason != PurgeReason::User {
                self.erased |= std::mem::take(&mut self.store.let_go);
            }
            match self.erased {
                true if self.store.can_sweep() => self.store.last_page()?,
                true => {
                    tracing::warn!(
                        "this build's SQLite does not show its pages: what it leaves between rows stays"
                    );
                    0
                }
                false => 0,
            }
        };
        work.sweeping = Some(rest);
        Ok(rest > 0)
    }

    /// Erased means erased: from the WAL, too.
    fn empty_the_wal(&mut self, result: rusqlite::Result<Purged>) -> rusqlite::Result<Purged> {
        if !self.erased {
            return result;
        }
        // It may have begun since the purge did, and would keep the WAL. It is begun anew.
        self.integrity.stop();
        let emptied = self.checkpoint("TRUNCATE");
        let emptied = self.with_relief(emptied, |writer| writer.checkpoint("TRUNCATE"));
        let purged = result?;
        if emptied? {
            self.erased = false;
            Ok(purged)
        } else {
            Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                Some("erased, but another process that reads the file keeps its WAL".to_owned()),
            ))
        }
    }
}

impl Long {
    /// As it was asked for, to be refused.
    fn into_command(self) -> Command {
        match self {
            Self::Purge(work, reply) => {
                let purge = Purge {
                    filter: work.filter,
                    reason: work.reason,
                    at: Moment::default(),
                };
                Command::Purge(Box::new(purge), reply)
            }
            Self::Requeue { filter, reply, .. } => {
                Command::Requeue(Box::new(filter), Moment::default(), reply)
            }
        }
    }
}

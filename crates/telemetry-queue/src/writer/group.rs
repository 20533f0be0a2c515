//! A group: appends, claims and settlements in one transaction. A failing one must not take the others with it.

use std::io::ErrorKind;
use std::time::Duration;

use rusqlite::ffi;

use crate::command::{Claim, Command, Reply, Settle};
use crate::error::{Class, classify};
use crate::types::{Append, Appended, ClaimLimits, Claimed, Id, QueueError, Settled};

use super::{GROUP_BYTES, GROUP_COMMANDS, Writer};

/// A group of fewer bytes is small: what a transaction costs once is then more than a quarter of all.
const SMALL: usize = 200 * 1024;

/// A group of fewer bytes is a single client's few events, which wait for nobody.
const FEW: usize = 8 * 1024;

/// How long a small group waits for more, once: the time in which a busy connection brings its next events.
const WAIT: Duration = Duration::from_micros(100);

/// One command of a group.
pub(super) enum Job {
    Append(Append, Reply<Vec<Appended>>),
    Claim(Claim, Reply<Option<Claimed>>),
    Settle(Settle, Reply<Settled>),
    SettleAndClaim(Settle, ClaimLimits, Reply<(Settled, Option<Claimed>)>),
}

/// What was done, not yet told.
enum Done {
    Append(Vec<Appended>),
    Claim(Option<Claimed>),
    Settle(Settled),
    SettleAndClaim(Settled, Option<Claimed>),
}

impl Job {
    /// The command as a job of a group, or itself.
    pub(super) fn from(command: Command) -> Result<Self, Command> {
        match command {
            Command::Append(append, reply) => Ok(Self::Append(append, reply)),
            Command::Claim(claim, reply) => Ok(Self::Claim(claim, reply)),
            Command::Settle(settle, reply) => Ok(Self::Settle(settle, reply)),
            Command::SettleAndClaim(settle, limits, reply) => Ok(Self::SettleAndClaim(settle, limits, reply)),
            other => Err(other),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append(append, _) => append.arena.len(),
            _ => 0,
        }
    }

    pub(super) fn is_append(&self) -> bool {
        matches!(self, Self::Append(..))
    }

    /// Answers; gives back the id of a batch that nobody heard of, because the caller has gone away.
    fn answer(self, done: Done) -> Option<Id> {
        let unheard = match (self, done) {
            (Self::Append(_, reply), Done::Append(answers)) => {
                // The events are queued, whether somebody wants to know or not.
                drop(reply.send(Ok(answers)));
                None
            }
            (Self::Claim(_, reply), Done::Claim(claimed)) => reply.send(Ok(claimed)).err(),
            (Self::Settle(_, reply), Done::Settle(settled)) => {
                drop(reply.send(Ok(settled)));
                None
            }
            (Self::SettleAndClaim(_, _, reply), Done::SettleAndClaim(settled, claimed)) => {
                let back = reply.send(Ok((settled, claimed))).err();
                back.map(|answer| answer.map(|(_, claimed)| claimed))
            }
            _ => {
                debug_assert!(false, "each job has an answer of its kind");
                None
            }
        };
        unheard?.ok()?.map(|claimed| claimed.id)
    }

    fn fail(self, error: rusqlite::Error) {
        match self {
            Self::Append(_, reply) => {
                drop(reply.send(Err(QueueError::sqlite("cannot append events", error))))
            }
            Self::Claim(_, reply) => drop(reply.send(Err(QueueError::sqlite("cannot claim a batch", error)))),
            Self::Settle(_, reply) => {
                drop(reply.send(Err(QueueError::sqlite("cannot settle a batch", error))))
            }
            Self::SettleAndClaim(_, _, reply) => {
                drop(reply.send(Err(QueueError::sqlite("cannot settle a batch", error))));
            }
        }
    }
}

impl Writer {
    /// The first job and those that wait already. While several connections bring many events, a small group waits
    /// once for more: a larger one costs each of its events less. One connection alone would wait for itself.
    pub(super) fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.bytes();
        let mut jobs = vec![first];
        let mut may_wait = self.several;
        while jobs.len() < GROUP_COMMANDS && bytes < GROUP_BYTES {
            let Ok(command) = self.commands.try_recv() else {
                if !std::mem::take(&mut may_wait) || !(FEW..SMALL).contains(&bytes) {
                    break;
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "there is no condition to wait for but the time"
                )]
                std::thread::sleep(WAIT);
                continue;
            };
            match Job::from(command) {
                Ok(job) => {
                    bytes += job.bytes();
                    jobs.push(job);
                }
                Err(other) => {
                    self.next = Some(other);
                    break;
                }
            }
        }
        self.several = jobs.iter().filter(|job| job.is_append()).count() > 1;
        jobs
    }

    /// Does a group and answers.
    pub(super) fn do_group(&mut self, jobs: Vec<Job>) {
        if jobs.iter().any(Job::is_append)
            && let Err(error) = self.keep_reserve(&jobs)
        {
            let (appends, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(Job::is_append);
            self.refuse_appends(appends, &error);
            if !others.is_empty() {
                self.do_group(others);
            }
            return;
        }
        let error = match self.attempt(&jobs) {
            Ok(done) => return self.succeed(jobs, done),
            Err(error) => self.unmask(error),
        };
        match classify(&error) {
            Class::Corrupt => self.recover(&error.to_string()),
            Class::Full => {
                self.relieve();
            }
            Class::Denied | Class::Other => {}
        }
        if self.broken {
            for job in jobs {
                job.fail(again(&error));
            }
            return;
        }
        // Now in small steps: delivery frees rows and must go on.
        self.store.sparing = true;
        let (appends, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(Job::is_append);
        for job in others {
            self.alone(job);
        }
        if classify(&error) == Class::Full {
            self.refuse_appends(appends, &error);
        } else {
            for job in appends {
                self.alone(job);
            }
        }
        self.store.sparing = false;
    }

    /// A quota that is used up is a full disk.
    pub(super) fn unmask(&mut self, error: rusqlite::Error) -> rusqlite::Error {
        let writing = error
            .sqlite_error()
            .is_some_and(|code| code.extended_code == ffi::SQLITE_IOERR_WRITE);
        if writing && self.reserve.finds_no_room() {
            rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), Some(error.to_string()))
        } else {
            error
        }
    }

    /// Sets aside the room that the WAL may need to come into the file, this group's share included.
    fn keep_reserve(&mut self, jobs: &[Job]) -> rusqlite::Result<()> {
        let bytes: usize = jobs.iter().map(Job::bytes).sum();
        let share = 2 * bytes as u64 + crate::reserve::STEP / 2;
        let mut kept = self.reserve.ensure(Self::wal_bytes() + share);
        if kept.is_err() && Self::wal_bytes() > 0 {
            // An empty WAL needs less.
            self.bring_wal_in();
            kept = self.reserve.ensure(Self::wal_bytes() + share);
        }
        if kept.is_err() && self.store.state.queued == 0 {
            // What was queued has left, and its place in the file is free: only what these need has to be there.
            self.reserve.forgive();
            kept = self.reserve.ensure(Self::wal_bytes() + share);
        }
        kept.map_err(|error| {
            let code = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ffi::SQLITE_FULL,
                _ => ffi::SQLITE_IOERR,
            };
            rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(format!("no room is left: {error}")))
        })
    }

    /// The disk was full: is there room again, though nobody brings events?
    pub(super) fn look_for_room(&mut self) {
        if !self.reserve.finds_no_room() {
            self.has_room();
        }
    }

    fn has_room(&mut self) {
        if std::mem::take(&mut self.disk_full) {
            tracing::info!("there is room on the disk again");
        }
    }

    fn refuse_appends(&mut self, appends: Vec<Job>, error: &rusqlite::Error) {
        if appends.is_empty() {
            return;
        }
        if classify(error) == Class::Full && !self.disk_full {
            tracing::warn!(error = %error, "no room on the disk: new events are refused, delivery goes on");
            self.disk_full = true;
        }
        self.publish();
        for job in appends {
            job.fail(again(error));
        }
    }

    fn alone(&mut self, job: Job) {
        let jobs = [job];
        let mut result = self.attempt(&jobs);
        // The room that is kept is for what makes room.
        if !jobs[0].is_append() {
            result = self.with_relief(result, |writer| writer.attempt(&jobs));
        }
        let [job] = jobs;
        match result {
            Ok(done) => self.succeed(vec![job], done),
            Err(error) => {
                self.note(Some(&error));
                job.fail(error);
            }
        }
    }

    fn succeed(&mut self, jobs: Vec<Job>, done: Vec<Done>) {
        if jobs.iter().any(Job::is_append) {
            self.has_room();
        }
        // Whoever has an answer sees what it changed.
        self.show();
        for (job, done) in jobs.into_iter().zip(done) {
            if let Some(batch) = job.answer(done) {
                self.store.end_lease(&batch);
            }
        }
    }

    /// One transaction over all jobs.
    fn attempt(&mut self, jobs: &[Job]) -> rusqlite::Result<Vec<Done>> {
        let synced = jobs
            .iter()
            .any(|job| matches!(job, Job::Append(append, _) if append.synced));
        if synced {
            self.write_anew()?;
            self.store.connection.pragma_update(None, "synchronous", "FULL")?;
        }
        let result = self.store.transaction(|store| {
            let mut done = Vec::with_capacity(jobs.len());
            let (mut appended, mut added) = (false, false);
            if !store.sparing && jobs.iter().any(Job::is_append) {
                store.trim_sent_ahead()?;
            }
            for job in jobs {
                done.push(match job {
                    Job::Append(append, _) => {
                        store.ages.tell(append.at);
                        let answers = store.append(append)?;
                        appended = true;
                        added |= answers.contains(&Appended::Queued);
                        Done::Append(answers)
                    }
                    Job::Claim(claim, _) => {
                        store.ages.tell(claim.at);
                        store.expire()?;
                        Done::Claim(store.claim(claim)?)
                    }
                    Job::Settle(settle, _) => {
                        store.ages.tell(settle.at);
                        Done::Settle(store.settle(settle)?)
                    }
                    Job::SettleAndClaim(settle, limits, _) => {
                        store.ages.tell(settle.at);
                        let destination = store.destination_of(&settle.batch);
                        let settled = store.settle(settle)?;
                        store.expire()?;
                        let claimed = match destination {
                            Some(destination) if !settled.refuses_everything => store.claim(&Claim {
                                destination,
                                uid: None,
                                limits: *limits,
                                at: settle.at,
                            })?,
                            _ => None,
                        };
                        Done::SettleAndClaim(settled, claimed)
                    }
                });
            }
            if appended {
                store.make_room()?;
            }
            store.age_out()?;
            if synced && !added {
                // Duplicates only: the events were committed before, this commit's fsync covers them too.
                store.execute("UPDATE meta SET touched = touched + 1", [])?;
            }
            Ok(done)
        });
        if synced {
            self.store
                .connection
                .pragma_update(None, "synchronous", "NORMAL")?;
        }
        self.mind_syncs(result.as_ref().err());
        result
    }
}

/// An error for one more caller.
fn again(error: &rusqlite::Error) -> rusqlite::Error {
    match error.sqlite_error() {
        Some(code) => rusqlite::Error::SqliteFailure(*code, Some(error.to_string())),
        None => rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ERROR), Some(error.to_string())),
    }
}

//! What is done about a damaged file: it is set aside, what can be read is salvaged into a new one, and the thread
//! goes on with that. I5: the rest is booked as lost.

use rusqlite::Connection;

use super::Writer;
use crate::command::{Command, Reply};
use crate::error::{Class, classify, classify_at_start};
use crate::file::{Opened, Place};
use crate::integrity::{Found, Integrity};
use crate::store::Store;
use crate::types::{ErrorKind, Id, Moment, OpenReport, QueueError};

/// Reads the small tables, and salvages where they cannot be read.
pub(crate) fn load(
    store: &mut Store,
    place: &Place,
    report: &mut OpenReport,
    at: Moment,
) -> Result<(), QueueError> {
    match store.load() {
        Ok(unbalanced) => {
            report.unbalanced = unbalanced;
            Ok(())
        }
        Err(error) if classify_at_start(&error) == Class::Corrupt => {
            let old = std::mem::replace(&mut store.connection, scratch()?);
            drop(old);
            let aside = place.set_aside(at, &error.to_string())?;
            let Opened {
                connection,
                boot,
                report: again,
            } = place.open(at)?;
            let mut fresh = Store::new(connection, store.limits, boot, at);
            fresh.probe = store.probe;
            *store = fresh;
            *report = OpenReport {
                unclean: true,
                set_aside: Some(aside),
                ..again
            };
            report.unbalanced = store
                .load()
                .map_err(|error| QueueError::sqlite("cannot read the salvaged queue", error))?;
            Ok(())
        }
        Err(error) => Err(QueueError::sqlite("cannot read the queue's books", error)),
    }
}

/// What stands in for a file that was closed.
fn scratch() -> Result<Connection, QueueError> {
    Connection::open_in_memory().map_err(|error| QueueError::sqlite("cannot open a scratch database", error))
}

impl Writer {
    /// After a failure outside of a group: a damaged file is set aside.
    pub(super) fn note(&mut self, error: Option<&rusqlite::Error>) {
        if let Some(error) = error
            && classify(error) == Class::Corrupt
        {
            self.recover(&error.to_string());
        }
    }

    /// Takes note of what the integrity check found.
    pub(super) fn hear_integrity_check(&mut self) {
        match self.integrity.take() {
            Some(Found::Damage(fault)) => {
                self.recover(&fault);
                self.store.checked.integrity = Some(fault);
            }
            // Sound to SQLite, and yet not what the books say: a page that holds what it held before, or another's.
            // Once only: if it were a fault of ours, it would be found again in the salvaged file.
            Some(Found::Sound) if !self.mended && self.store.checked.differs() => {
                self.mended = true;
                self.recover("the rows are not those that the books have");
            }
            Some(Found::Sound | Found::Unknown) | None => {}
        }
        self.store.checked.integrity_pending = self.integrity.is_pending();
    }

    /// Sets the damaged file aside, salvages what can be read into a new one, and goes on with that.
    pub(super) fn recover(&mut self, why: &str) {
        self.integrity.stop();
        self.integrity = Integrity::default();
        match scratch() {
            Ok(scratch) => drop(std::mem::replace(&mut self.store.connection, scratch)),
            Err(error) => tracing::error!(error = %error, "cannot close the damaged file"),
        }
        self.broken = true;
        let result = self
            .place
            .set_aside(self.store.ages.now, why)
            .and_then(|_| self.reopen());
        if let Err(error) = result {
            tracing::error!(error = %error, "cannot go on with a new file yet");
        }
    }

    /// Opens the file again; batches that are under lease stay so where they were saved.
    pub(super) fn reopen(&mut self) -> Result<(), QueueError> {
        let at = self.store.ages.now;
        let leases: Vec<Id> = self.store.state.leases.keys().copied().collect();
        let Opened {
            connection,
            boot,
            mut report,
        } = self.place.open(at)?;
        let mut store = Store::new(connection, self.store.limits, boot, at);
        store.probe = self.store.probe;
        load(&mut store, &self.place, &mut report, at)?;
        for id in leases {
            let found = store
                .state
                .batches
                .values()
                .find(|batch| batch.id == id)
                .map(|batch| batch.n);
            if let Some(n) = found {
                store.state.lease(n);
            }
        }
        self.store = store;
        self.broken = false;
        self.watch_wal();
        Ok(())
    }
}

/// Answers a command that cannot be carried out.
pub(super) fn refuse(command: Command, why: &QueueError) {
    fn send<T>(reply: Reply<T>, why: &QueueError) {
        let kind = if why.kind == ErrorKind::DiskFull {
            ErrorKind::DiskFull
        } else {
            ErrorKind::Io
        };
        drop(reply.send(Err(QueueError {
            kind,
            attempt: format!("the queue's file is not open: {why}"),
            source: None,
        })));
    }
    match command {
        Command::Append(_, reply) => send(reply, why),
        Command::Claim(_, reply) | Command::Preview(_, reply) => send(reply, why),
        Command::Settle(_, reply) => send(reply, why),
        Command::SettleAndClaim(_, _, reply) => send(reply, why),
        Command::Purge(_, reply) => send(reply, why),
        Command::Requeue(_, _, reply) => send(reply, why),
        Command::Rows(_, reply) => send(reply, why),
        Command::Sent { reply, .. } => send(reply, why),
        Command::ViewOf(_, reply) => send(reply, why),
        Command::Books(_, reply) => send(reply, why),
        Command::DestinationStates(reply) => send(reply, why),
        Command::HoldUsers(_, _, reply)
        | Command::SetDestinationState(_, _, reply)
        | Command::SetLimits(_, reply)
        | Command::Checkpoint(reply) => {
            send(reply, why);
        }
        Command::Checked(reply) => send(reply, why),
        Command::Check | Command::Wake => {}
    }
}

//! Commands that are carried out one at a time, between groups.

use super::Writer;
use crate::command::{Command, Reply};
use crate::store::Store;
use crate::types::{Moment, QueueError};

impl Writer {
    /// Commands that are not part of a group.
    pub(super) fn single(&mut self, command: Command) {
        match command {
            Command::Preview(claim, reply) => {
                self.tell(claim.at);
                let result = self.store.preview(&claim);
                self.answer(reply, "cannot look at the next batch", result);
            }
            Command::Purge(purge, reply) => {
                self.tell(purge.at);
                self.begin_purge(&purge, reply);
            }
            Command::Requeue(filter, at, reply) => {
                self.tell(at);
                self.begin_requeue(*filter, reply);
            }
            Command::Rows(rows, reply) => {
                let result = self.store.page(&rows);
                self.answer(reply, "cannot list events", result);
            }
            Command::Sent {
                limit,
                uid,
                tool,
                bodies,
                reply,
            } => {
                let result = self.store.list_sent(limit, uid, tool.as_deref(), bodies);
                self.answer(reply, "cannot list what was sent", result);
            }
            Command::Books(uid, reply) => drop(reply.send(Ok(self.store.books(uid)))),
            Command::ViewOf(uid, reply) => {
                let view = self.store.view_of(uid, self.disk_full);
                drop(reply.send(Ok(view)));
            }
            Command::DestinationStates(reply) => {
                let states = self.store.state.destination_states.clone().into_iter().collect();
                drop(reply.send(Ok(states)));
            }
            Command::SetDestinationState(name, state, reply) => {
                let store = |writer: &mut Self| {
                    let set = |store: &mut Store| store.set_destination_state(&name, &state);
                    writer.store.transaction(set)
                };
                let result = store(self);
                let result = self.with_relief(result, store);
                self.answer(reply, "cannot store a destination's state", result);
            }
            Command::HoldUsers(name, users, reply) => {
                self.store.hold_users(&name, &users);
                self.answer(reply, "cannot hold users", Ok(()));
            }
            Command::SetLimits(limits, reply) => {
                self.store.limits = limits;
                self.bound_wal();
                self.store.next_expiry = 0;
                let result = self.store.transaction(|store| {
                    store.apply_quotas()?;
                    store.make_room()
                });
                if let Err(error) = &result {
                    tracing::warn!(error = %error, "cannot make the queue comply with its new limits yet");
                }
                // The limits hold from now on, whether or not something could go at once.
                self.answer(reply, "cannot apply the limits", Ok(()));
                self.note(result.err().as_ref());
            }
            Command::Checked(reply) => drop(reply.send(Ok(self.store.checked()))),
            Command::Check => {
                // Nobody knows what an earlier owner let go of. Before, the owner is not ready yet: what it erases at its
                // start is to wait for no sweep that erases nothing more.
                self.inherit_let_go();
                if self.integrity.is_owed() {
                    self.integrity.start(&self.place, self.to_self.clone());
                }
            }
            Command::Checkpoint(reply) => {
                let result = self.checkpoint("TRUNCATE").map(|_| ());
                self.answer(reply, "cannot bring the WAL into the file", result);
            }
            Command::Wake => {}
            Command::Append(..) | Command::Claim(..) | Command::Settle(..) | Command::SettleAndClaim(..) => {
                debug_assert!(false, "these are jobs of a group");
            }
        }
    }

    /// Takes note of the time, and of what it took away.
    pub(super) fn tell(&mut self, at: Moment) {
        self.store.ages.tell(at);
        if self.store.is_over_age()
            && let Err(error) = self.store.transaction(Store::age_out)
        {
            self.note(Some(&error));
        }
    }

    /// Sends an answer; a damaged file is dealt with.
    pub(super) fn answer<T>(&mut self, reply: Reply<T>, attempt: &str, result: rusqlite::Result<T>) {
        // Whoever has the answer sees what it changed.
        self.publish();
        match result {
            // A caller that went away needs no answer.
            Ok(value) => drop(reply.send(Ok(value))),
            Err(error) => {
                self.note(Some(&error));
                drop(reply.send(Err(QueueError::sqlite(attempt, error))));
            }
        }
    }
}

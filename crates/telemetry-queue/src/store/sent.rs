//! The sent log: what left this machine. Its entries are the batches that were delivered, its bodies the segments
//! where they lay all along; only its limits erase them.

use std::sync::Arc;

use super::Store;
use super::load::{count, losses, member, small, stored};
use super::segments::Edit;
use super::state::{Batch, Member, SentEntry};
use crate::types::{Id, Sent};

/// What an entry counts for beside its events' bytes and its metadata: rows of `sent` and `member`, rounded up.
const ENTRY: u64 = 256;

/// What an event without its payload counts for.
const STRIPPED_EVENT: u64 = 64;

/// Bodies that one answer holds at most.
const BODIES: usize = 1024 * 1024;

/// Entries that one transaction erases at most, and their bytes: two batches for each that comes in, so that the
/// log always falls behind its limit.
const TRIM_ENTRIES: usize = 64;
/// See [`TRIM_ENTRIES`].
const TRIM_BYTES: u64 = 1024 * 1024;

/// Room made in the log before events are appended: what is delivered until the next time finds its place there, and
/// the log is trimmed by the transactions that need pages.
const AHEAD: u64 = 1024 * 1024;

impl Store {
    /// Enters a delivered batch, whose member rows are still there. The tallies are the caller's.
    pub(crate) fn log_sent(&mut self, batch: &Batch, status: u16, meta: &str) -> rusqlite::Result<()> {
        let mut n = batch.n;
        // The log's order is its numbers': a batch that overtook others gets a new one.
        if self.state.sent.back().is_some_and(|last| last.n > n) {
            n = self.take_batch_number();
            self.execute(
                "UPDATE member SET batch = ?2 WHERE batch = ?1",
                [stored(batch.n), stored(n)],
            )?;
        }
        let bytes = batch.bytes.saturating_sub(crate::segment::cost(0) * batch.events);
        let mut kept = ENTRY + meta.len() as u64;
        if self.limits.sent_bodies {
            kept += batch.bytes;
        } else {
            kept += STRIPPED_EVENT * batch.events;
            self.let_go = true;
            for member in &batch.members {
                self.edit_range(member.lane, member.first, member.last, |_, _| Edit::Strip)?;
            }
        }
        for member in &batch.members {
            self.state.lanes[member.lane].logged += member.events;
        }
        let at = self.ages.stamp();
        self.execute(
            "INSERT INTO sent (n, id, uid, destination, wall_ms, boot_ms, boot, status, events, bytes, kept, meta,
               evicted, expired, quota)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            rusqlite::params![
                stored(n),
                batch.id,
                batch.uid,
                &*self.state.destinations[batch.destination].name,
                at.received.wall_ms,
                stored(at.received.boot_ms),
                at.boot,
                status,
                stored(batch.events),
                stored(bytes),
                stored(kept),
                meta,
                stored(batch.losses.evicted),
                stored(batch.losses.expired),
                stored(batch.losses.quota),
            ],
        )?;
        let uid = batch.uid;
        self.state.add_sent(SentEntry { n, uid, kept, at });
        Ok(())
    }

    /// Whether the log is over its limits.
    pub(crate) fn sent_is_over(&self) -> bool {
        self.sent_is_above(self.limits.sent_max_bytes)
    }

    fn sent_is_above(&self, bytes: u64) -> bool {
        let oldest = self.state.sent.front();
        self.state.sent_kept > bytes
            || oldest.is_some_and(|oldest| self.ages.age(&oldest.at) > self.limits.sent_max_age_ms)
    }

    /// Makes room in the log for what comes next, before it comes: the pages that this frees are written again in
    /// the same transaction, and so never go through the WAL as erased ones only.
    pub(crate) fn trim_sent_ahead(&mut self) -> rusqlite::Result<()> {
        let limit = self.limits.sent_max_bytes;
        self.trim_sent_to(limit - AHEAD.min(limit / 4))
    }

    /// Erases what is over the log's limits, oldest first, a slice of it.
    pub(crate) fn trim_sent(&mut self) -> rusqlite::Result<()> {
        self.trim_sent_to(self.limits.sent_max_bytes)
    }

    fn trim_sent_to(&mut self, most: u64) -> rusqlite::Result<()> {
        let (mut entries, mut bytes) = (0, 0);
        while self.sent_is_above(most) && entries < TRIM_ENTRIES && bytes < TRIM_BYTES {
            let Some(entry) = self.state.sent.remove(self.first_to_go()) else {
                break;
            };
            self.state.less_sent(entry.uid, entry.kept);
            (entries, bytes) = (entries + 1, bytes + entry.kept);
            for member in self.sent_members(entry.n)? {
                self.drop_range(member.lane, member.first, member.last)?;
                let lane = &mut self.state.lanes[member.lane];
                lane.logged = lane.logged.saturating_sub(member.events);
                let live = lane.tallies.queued + lane.logged;
                if lane.ids.len() > 8192 && lane.ids.len() as u64 / 4 > live {
                    self.forget_stale_ids(member.lane)?;
                }
            }
            self.execute("DELETE FROM member WHERE batch = ?1", [stored(entry.n)])?;
            self.execute("DELETE FROM sent WHERE n = ?1", [stored(entry.n)])?;
        }
        self.erase_in_heap()
    }

    /// Which entry goes first: one that is too old, else the oldest of the uid that keeps most. What one user sends
    /// erases nothing of what another has as evidence, as long as that is less.
    fn first_to_go(&self) -> usize {
        let oldest = self.state.sent.front();
        let too_old = oldest.is_some_and(|oldest| self.ages.age(&oldest.at) > self.limits.sent_max_age_ms);
        if too_old || self.state.sent_of.len() < 2 {
            return 0;
        }
        let largest = self.state.sent_of.iter().map(|(uid, kept)| (*kept, *uid)).max();
        let of = |uid: u32| self.state.sent.iter().position(|entry| entry.uid == uid);
        largest.and_then(|(_, uid)| of(uid)).unwrap_or(0)
    }

    /// The members of an entry.
    pub(crate) fn sent_members(&self, n: u64) -> rusqlite::Result<Vec<Member>> {
        let mut members = Vec::new();
        let mut select = self.connection.prepare_cached(
            "SELECT lane, first, last, events, bytes FROM member WHERE batch = ?1 ORDER BY lane, first",
        )?;
        let mut rows = select.query([stored(n)])?;
        while let Some(row) = rows.next()? {
            if let Some(&lane) = self.state.lane_numbers.get(&small(row, 0)?) {
                members.push(member(row, 1, lane)?);
            }
        }
        Ok(members)
    }

    /// The newest entries, newest last.
    pub(crate) fn list_sent(
        &self,
        limit: u32,
        uid: Option<u32>,
        tool: Option<&str>,
        bodies: bool,
    ) -> rusqlite::Result<Vec<Sent>> {
        let mut found = Vec::new();
        let mut room = if bodies { BODIES } else { 0 };
        let mut select = self.connection.prepare_cached(
            "SELECT n, id, uid, destination, wall_ms, status, events, bytes, meta, evicted, expired, quota
             FROM sent ORDER BY n DESC",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()?
            && found.len() < limit as usize
        {
            if uid.is_some_and(|uid| small::<u32>(row, 2).is_ok_and(|of| of != uid)) {
                continue;
            }
            let members = self.sent_members(count(row, 0)?)?;
            let mut tools: Vec<(Arc<str>, u32)> = Vec::new();
            for member in &members {
                let name = &self.state.lanes[member.lane].lane.tool;
                let events = u32::try_from(member.events).unwrap_or(u32::MAX);
                match tools.iter_mut().find(|(tool, _)| tool == name) {
                    Some((_, sum)) => *sum += events,
                    None => tools.push((Arc::clone(name), events)),
                }
            }
            if tool.is_some_and(|tool| tools.iter().all(|(name, _)| &**name != tool)) {
                continue;
            }
            let name = row.get_ref(3)?.as_str()?;
            let mut sent = Sent {
                id: row.get::<_, Id>(1)?,
                uid: small(row, 2)?,
                destination: match self.state.destination_names.get_key_value(name) {
                    Some((name, _)) => Arc::clone(name),
                    None => Arc::from(name),
                },
                at_ms: row.get(4)?,
                status: small(row, 5)?,
                events: small(row, 6)?,
                bytes: count(row, 7)?,
                tools,
                meta: row.get(8)?,
                losses: losses(row, 9)?,
                members: Vec::new(),
                arena: Vec::new(),
            };
            if room > 0 {
                (sent.arena, sent.members) = self.read_members(&members)?;
                room = room.saturating_sub(sent.arena.len());
            }
            found.push(sent);
        }
        found.reverse();
        Ok(found)
    }
}

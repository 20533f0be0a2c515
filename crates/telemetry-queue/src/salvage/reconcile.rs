//! Makes batches, ranges and books agree with the events that were found.
//!
//! I5: whatever the corrupt file's books have beyond what was found is booked as lost.
//! I8: a batch keeps its id only if all its members were found.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Transaction, params};

use super::Salvaged;
use super::carry::Target;
use super::shape::Books;
use crate::schema::{SEQ_BITS, seq_of};
use crate::segment::{Builder, Segment, cost};

/// Where the salvaged rows begin: numbers up to these were in the new file before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shifts {
    pub(super) batch: i64,
    pub(super) parked: i64,
}

/// A member range, and what was found in it.
#[derive(Clone, Debug)]
struct Range {
    first: u64,
    last: u64,
    batch: i64,
    sent: bool,
    events: i64,
    found: i64,
}

/// What was found of one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// Members of batches.
    in_batches: i64,
    /// In no range: waiting, or delivered by a batch whose row or ranges are lost.
    doubtful: i64,
    /// Bytes of both, as the limits count them.
    bytes: i64,
    /// Events that a neighbouring segment has too.
    doubled: i64,
    last_seq: i64,
}

/// Sorts out all salvaged rows; see the module.
pub(super) fn reconcile(
    into: &Transaction<'_>,
    targets: impl Iterator<Item = Target>,
    shifts: Shifts,
) -> rusqlite::Result<Salvaged> {
    into.execute(
        "DELETE FROM batch WHERE n > ?1 AND n IN (SELECT n FROM sent)",
        [shifts.batch],
    )?;
    into.execute(
        "DELETE FROM member WHERE batch > ?1 AND batch NOT IN (SELECT n FROM batch)
         AND batch NOT IN (SELECT n FROM sent)",
        [shifts.batch],
    )?;
    let mut broken: BTreeSet<i64> = into
        .prepare(
            "SELECT n FROM batch WHERE n > ?1 AND
             events <> (SELECT coalesce(sum(events), 0) FROM member WHERE batch = batch.n)",
        )?
        .query_map([shifts.batch], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut salvaged = Salvaged::default();
    for target in targets {
        lane(into, target, shifts, &mut broken, &mut salvaged)?;
    }
    dissolve(into, &broken, shifts.batch)?;
    Ok(salvaged)
}

fn lane(
    into: &Transaction<'_>,
    target: Target,
    shifts: Shifts,
    broken: &mut BTreeSet<i64>,
    salvaged: &mut Salvaged,
) -> rusqlite::Result<()> {
    let mut ranges = ranges(into, target)?;
    let mut found = count(into, target, &mut ranges)?;
    // The books know how many were queued: more than that in doubt are deliveries whose row is lost. Claims take
    // the oldest, so those are the oldest ones.
    let surplus = target.books.map_or(0, |books| {
        (found.in_batches + found.doubtful - books.queued).max(0)
    });
    let surplus = surplus.min(found.doubtful);
    if surplus > 0 || found.doubled > 0 {
        found.bytes -= rewrite(into, target, &ranges, surplus)?;
        found.doubtful -= surplus;
    }
    for range in ranges.iter().filter(|range| range.found != range.events) {
        if !range.sent {
            broken.insert(range.batch);
        }
        let key = params![range.batch, target.lane, range.first.cast_signed(), range.found];
        let sql = match range.found {
            0 => "DELETE FROM member WHERE batch = ?1 AND lane = ?2 AND first = ?3 AND ?4 = 0",
            _ => "UPDATE member SET events = ?4 WHERE batch = ?1 AND lane = ?2 AND first = ?3",
        };
        into.prepare_cached(sql)?.execute(key)?;
    }
    let queued = found.in_batches + found.doubtful;
    let (parked, parked_bytes): (i64, i64) = into.query_row(
        "SELECT count(*), coalesce(sum(bytes), 0) FROM parked WHERE lane = ?1 AND n > ?2",
        [target.lane, shifts.parked],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let books = target.books;
    let sum = |part: fn(&Books) -> i64| books.as_ref().map_or(0, part);
    let left = sum(|books| books.delivered + books.evicted + books.expired + books.purged + books.lost);
    let known = queued + parked + left;
    let accepted = sum(|books| books.accepted).max(known);
    let lost = accepted - known;
    into.prepare_cached(
        "UPDATE lane SET accepted = accepted + ?2, delivered = delivered + ?3, parked = parked + ?4,
         queued = queued + ?5, evicted = evicted + ?6, expired = expired + ?7, purged = purged + ?8,
         lost = lost + ?9, bytes = bytes + ?10, parked_bytes = parked_bytes + ?11,
         next_seq = max(next_seq, ?12) WHERE n = ?1",
    )?
    .execute(params![
        target.lane,
        accepted,
        sum(|books| books.delivered),
        parked,
        queued,
        sum(|books| books.evicted),
        sum(|books| books.expired),
        sum(|books| books.purged),
        sum(|books| books.lost) + lost,
        found.bytes,
        parked_bytes,
        (sum(|books| books.next_seq) + target.shift).max(found.last_seq + 1),
    ])?;
    salvaged.rows += (queued + parked).unsigned_abs();
    salvaged.lost += lost.unsigned_abs();
    Ok(())
}

/// The member ranges of a lane, by where they begin.
fn ranges(into: &Transaction<'_>, target: Target) -> rusqlite::Result<Vec<Range>> {
    into.prepare_cached(
        "SELECT first, last, batch, events, batch IN (SELECT n FROM sent) FROM member
         WHERE lane = ?1 AND first > ?2 ORDER BY first",
    )?
    .query_map([target.lane, target.shift], |row| {
        Ok(Range {
            first: row.get::<_, i64>(0)?.unsigned_abs(),
            last: row.get::<_, i64>(1)?.unsigned_abs(),
            batch: row.get(2)?,
            events: row.get(3)?,
            sent: row.get(4)?,
            found: 0,
        })
    })?
    .collect()
}

/// Goes through the salvaged segments of a lane: key, body, and where the next one begins.
fn segments(
    into: &Transaction<'_>,
    target: Target,
    mut visit: impl FnMut(i64, &Segment<'_>, u64) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let end = (target.lane + 1) << SEQ_BITS;
    let mut from = (target.lane << SEQ_BITS) + target.shift + 1;
    let next = |from: i64| -> rusqlite::Result<Option<i64>> {
        into.prepare_cached("SELECT key FROM segment WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1")?
            .query_row([from, end], |row| row.get(0))
            .optional()
    };
    let mut here = next(from)?;
    while let Some(key) = here {
        from = key + 1;
        here = next(from)?;
        let body: Vec<u8> = into
            .prepare_cached("SELECT body FROM segment WHERE key = ?1")?
            .query_row([key], |row| row.get(0))?;
        if let Some(segment) = Segment::read(key, &body) {
            visit(key, &segment, here.map_or(u64::MAX, seq_of))?;
        }
    }
    Ok(())
}

/// The range that a number is in. Numbers must be asked for in ascending order.
struct Cursor(usize);

impl Cursor {
    fn find(&mut self, ranges: &[Range], seq: u64) -> Option<usize> {
        while ranges.get(self.0).is_some_and(|range| range.last < seq) {
            self.0 += 1;
        }
        ranges
            .get(self.0)
            .is_some_and(|range| range.first <= seq)
            .then_some(self.0)
    }
}

fn count(into: &Transaction<'_>, target: Target, ranges: &mut [Range]) -> rusqlite::Result<Found> {
    let mut found = Found::default();
    let mut cursor = Cursor(0);
    segments(into, target, |_, segment, end| {
        for frame in segment.frames() {
            if frame.seq >= end {
                found.doubled += 1;
                continue;
            }
            found.last_seq = found.last_seq.max(frame.seq.cast_signed());
            let at = cursor.find(ranges, frame.seq);
            if let Some(range) = at.map(|at| &mut ranges[at]) {
                range.found += 1;
                if range.sent {
                    continue;
                }
                found.in_batches += 1;
            } else {
                found.doubtful += 1;
            }
            found.bytes += cost(frame.payload.len()).cast_signed();
        }
        Ok(())
    })?;
    let reserved = ranges
        .iter()
        .map(|range| range.last.cast_signed())
        .max()
        .unwrap_or(0);
    found.last_seq = found.last_seq.max(reserved);
    Ok(found)
}

/// Leaves out doubled events, and the `surplus` oldest of those in doubt. Returns the bytes of the latter.
fn rewrite(into: &Transaction<'_>, target: Target, ranges: &[Range], surplus: i64) -> rusqlite::Result<i64> {
    let mut left = surplus;
    let mut bytes = 0;
    let mut cursor = Cursor(0);
    segments(into, target, |key, segment, end| {
        let mut kept = Builder::new(seq_of(key), segment.stamp());
        let mut dropped = false;
        for frame in segment.frames() {
            let doubled = frame.seq >= end;
            let delivered = !doubled && left > 0 && cursor.find(ranges, frame.seq).is_none();
            if delivered {
                left -= 1;
                bytes += cost(frame.payload.len()).cast_signed();
            }
            if doubled || delivered {
                dropped = true;
            } else {
                kept.push(&frame);
            }
        }
        if !dropped {
            return Ok(());
        }
        if kept.len() == 0 {
            into.prepare_cached("DELETE FROM segment WHERE key = ?1")?
                .execute([key])?;
        } else {
            into.prepare_cached("UPDATE segment SET body = ?2 WHERE key = ?1")?
                .execute(params![key, kept.finish(key)])?;
        }
        Ok(())
    })?;
    Ok(bytes)
}

/// Lets the members of broken batches wait again, and with them those of batches cut from the same root: it could
/// not be told any more when the root is decided. What the batches were to report as lost is reported by others.
fn dissolve(into: &Transaction<'_>, broken: &BTreeSet<i64>, batch_shift: i64) -> rusqlite::Result<()> {
    into.execute_batch("CREATE TEMP TABLE broken (n INTEGER PRIMARY KEY)")?;
    for n in broken {
        into.prepare_cached("INSERT INTO broken VALUES (?1)")?
            .execute([n])?;
    }
    // A root whose pieces are not all there (or which lost some to a purge, which looks the same).
    into.execute(
        "INSERT OR IGNORE INTO broken SELECT n FROM batch WHERE n > ?1
         AND (root <> n OR refused <> 0 OR root IN (SELECT n FROM root)) AND NOT EXISTS
           (SELECT 1 FROM root JOIN (SELECT root AS of, sum(events) AS there, sum(events * (refused <> 0)) AS waits
              FROM batch GROUP BY root) ON of = n
            WHERE n = batch.root AND there + delivered = root.events AND waits = root.refused)",
        [batch_shift],
    )?;
    into.execute_batch(
        "INSERT OR IGNORE INTO broken SELECT n FROM batch
           WHERE root IN (SELECT root FROM batch WHERE n IN broken);
         INSERT INTO loss SELECT uid, destination, sum(evicted), sum(expired), sum(quota) FROM batch
           WHERE n IN broken GROUP BY uid, destination
           ON CONFLICT DO UPDATE SET evicted = evicted + excluded.evicted,
           expired = expired + excluded.expired, quota = quota + excluded.quota;
         DELETE FROM member WHERE batch IN broken;
         DELETE FROM batch WHERE n IN broken;
         DROP TABLE broken;",
    )?;
    into.execute(
        "DELETE FROM root WHERE n > ?1 AND n NOT IN (SELECT root FROM batch)",
        [batch_shift],
    )?;
    // Places in the destinations' order are taken once: the salvaged batches come behind those that were there.
    into.execute(
        "UPDATE batch SET ord = ord + 16777216
           + coalesce((SELECT max(ord) FROM batch WHERE n <= ?1), 0)
           - (SELECT min(ord) FROM batch WHERE n > ?1)
         WHERE n > ?1 AND ?1 > 0",
        [batch_shift],
    )?;
    Ok(())
}

//! Carries rows over: each is given the numbers that the new file has for its lane, its boot and its batch.
//!
//! I5: what cannot be given a place is not written; `reconcile` books it.

use std::collections::BTreeMap;

use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{OptionalExtension, Transaction, params, params_from_iter};

use super::Salvaged;
use super::pages::{Pages, Value};
use super::reconcile::{self, Shifts};
use super::shape::{self, Books, LaneRow, MemberRow, Shape};
use crate::schema::{MAX_SEQ, SEQ_BITS};
use crate::segment::{Builder, Frame, Segment, Stamp};
use crate::store::heap::{self, HEAP};

/// Pages between two calls of the probe.
const PROBE_EVERY: u32 = 8;

/// The largest number of a boot that is believed: one a second for sixty years.
const MAX_BOOT: i64 = 1 << 31;

/// The longest name of a destination or a tool that is believed.
const LONGEST_NAME: usize = 256;

/// Where the events of a lane of the corrupt file go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// The lane's number in the new file.
    pub(super) lane: i64,
    /// Added to each sequence number: 0 unless the new file's lane has used some already.
    pub(super) shift: i64,
    /// The books as the corrupt file has them, where they are credible.
    pub(super) books: Option<Books>,
}

/// The work of one salvage.
pub(super) struct Carrier<'a> {
    into: &'a Transaction<'a>,
    pages: &'a Pages,
    probe: Option<fn(&'static str)>,
    lanes: BTreeMap<i64, Target>,
    boots: BTreeMap<i64, i64>,
    /// Whether the new file has rows of its own already: then old numbers of boots are translated.
    translate_boots: bool,
    /// Added to the numbers of batches and sent rows, and of parked rows.
    batch_shift: i64,
    parked_shift: i64,
    /// Whole events whose lane has no name any more.
    nameless: u64,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(
        into: &'a Transaction<'a>,
        pages: &'a Pages,
        probe: Option<fn(&'static str)>,
    ) -> rusqlite::Result<Self> {
        let number = |sql: &str| into.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Self {
            into,
            pages,
            probe,
            lanes: BTreeMap::new(),
            boots: BTreeMap::new(),
            translate_boots: number("SELECT count(*) FROM lane")? > 0,
            batch_shift: number(
                "SELECT coalesce(max(n), 0) FROM (SELECT n FROM batch UNION ALL SELECT n FROM sent
                 UNION ALL SELECT n FROM root)",
            )?,
            parked_shift: number("SELECT coalesce(max(n), 0) FROM parked")?,
            nameless: 0,
        })
    }

    /// Reads the corrupt file twice: for lanes and boots, then for everything else.
    pub(super) fn carry(mut self) -> rusqlite::Result<Salvaged> {
        let mut lanes = BTreeMap::new();
        let mut boots = BTreeMap::new();
        self.each(|_, shape| {
            match shape {
                Shape::Lane(lane) => keep_better(&mut lanes, lane),
                Shape::Boot { n, id } if n <= MAX_BOOT => {
                    boots.insert(n, id);
                }
                _ => {}
            }
            Ok(())
        })?;
        if !self.translate_boots && !boots.is_empty() {
            // Nothing refers to the new file's own yet; the caller signs it again.
            self.into.execute("DELETE FROM boot", [])?;
        }
        for (n, id) in boots {
            self.boot(n, &id)?;
        }
        for lane in lanes.into_values() {
            self.lane(&lane)?;
        }
        self.each(Self::row)?;
        let shifts = Shifts {
            batch: self.batch_shift,
            parked: self.parked_shift,
        };
        let mut salvaged = reconcile::reconcile(self.into, self.lanes.values().copied(), shifts)?;
        salvaged.lost += self.nameless;
        self.reached();
        Ok(salvaged)
    }

    /// Goes through all rows of the corrupt file.
    fn each(
        &mut self,
        mut row: impl FnMut(&mut Self, Shape) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let pages = self.pages;
        let mut page = Vec::new();
        for number in 1..=pages.count() {
            if number % PROBE_EVERY == 0 {
                self.reached();
            }
            if !pages.read(number, &mut page) {
                continue;
            }
            pages.rows(number, &page, |cell| match shape::shape(cell) {
                Some(shape) => row(self, shape),
                None => Ok(()),
            })?;
        }
        Ok(())
    }

    fn reached(&self) {
        if let Some(probe) = self.probe {
            probe("salvage");
        }
    }

    fn boot(&mut self, n: i64, id: &[u8; 16]) -> rusqlite::Result<()> {
        if self.translate_boots {
            let known = self
                .into
                .query_row("SELECT n FROM boot WHERE id = ?1", [id], |row| row.get(0))
                .optional()?;
            // A number without a row is an older boot: 0 never has one.
            self.boots.insert(n, known.unwrap_or(0));
        } else {
            self.into.execute(
                "INSERT OR IGNORE INTO boot (n, id) VALUES (?1, ?2)",
                params![n, id],
            )?;
            self.boots.insert(n, n);
        }
        Ok(())
    }

    fn boot_of(&self, n: i64) -> i64 {
        if self.translate_boots {
            self.boots.get(&n).copied().unwrap_or(0)
        } else {
            n
        }
    }

    fn lane(&mut self, lane: &LaneRow) -> rusqlite::Result<()> {
        let there = self
            .into
            .prepare_cached(
                "SELECT n, next_seq - 1 FROM lane WHERE uid = ?1 AND destination = ?2 AND tool = ?3",
            )?
            .query_row(params![lane.uid, lane.destination, lane.tool], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let (n, shift) = match there {
            Some(there) => there,
            None => {
                self.into
                    .prepare_cached(
                        "INSERT INTO lane (n, uid, destination, tool) SELECT
                         CASE WHEN EXISTS (SELECT 1 FROM lane WHERE n = ?1)
                         THEN (SELECT max(n) + 1 FROM lane) ELSE ?1 END, ?2, ?3, ?4",
                    )?
                    .execute(params![lane.n, lane.uid, lane.destination, lane.tool])?;
                (self.into.last_insert_rowid(), 0)
            }
        };
        self.lanes.insert(
            lane.n,
            Target {
                lane: n,
                shift,
                books: lane.books,
            },
        );
        Ok(())
    }

    /// Writes one row of the second pass. What does not fit together is sorted out by `reconcile`.
    fn row(&mut self, shape: Shape) -> rusqlite::Result<()> {
        match shape {
            Shape::Boot { .. } | Shape::Lane(_) => Ok(()),
            Shape::Segment { key, body } => self.segment(key, &body),
            Shape::Batch { n, mut rest } => {
                // id, root, …, boot
                if let Some(Value::Integer(root)) = rest.get_mut(1) {
                    *root = root.saturating_add(self.batch_shift);
                }
                self.translate(&mut rest, 17);
                self.insert(
                    "INSERT OR IGNORE INTO batch VALUES",
                    n.checked_add(self.batch_shift),
                    None,
                    &rest,
                )
            }
            Shape::Root { n, rest } => self.insert(
                "INSERT OR IGNORE INTO root VALUES",
                n.checked_add(self.batch_shift),
                None,
                &rest,
            ),
            Shape::Sent { n, mut rest } => {
                self.translate(&mut rest, 5);
                self.insert(
                    "INSERT OR IGNORE INTO sent VALUES",
                    n.checked_add(self.batch_shift),
                    None,
                    &rest,
                )
            }
            Shape::Parked { n, lane, mut rest } => {
                let Some(target) = self.lanes.get(&lane).copied() else {
                    self.nameless += 1;
                    return Ok(());
                };
                self.translate(&mut rest, 5);
                self.translate(&mut rest, 8);
                let n = n.checked_add(self.parked_shift);
                self.insert("INSERT OR IGNORE INTO parked VALUES", n, Some(target.lane), &rest)
            }
            Shape::Member(member) => self.member(&member),
            Shape::Loss {
                uid,
                destination,
                losses: [evicted, expired, quota],
            } => {
                self.into
                    .prepare_cached(
                        "INSERT INTO loss VALUES (?1, ?2, max(?3, 0), max(?4, 0), max(?5, 0))
                         ON CONFLICT DO UPDATE SET evicted = evicted + excluded.evicted,
                         expired = expired + excluded.expired, quota = quota + excluded.quota",
                    )?
                    .execute(params![uid, destination, evicted, expired, quota])?;
                Ok(())
            }
            Shape::Destination { name, state } => {
                self.into
                    .prepare_cached("INSERT OR IGNORE INTO destination VALUES (?1, ?2)")?
                    .execute([name, state])?;
                Ok(())
            }
            Shape::Salvage { file, rows, lost } => {
                self.into
                    .prepare_cached("INSERT OR IGNORE INTO salvage VALUES (?1, ?2, ?3)")?
                    .execute(params![file, rows, lost])?;
                Ok(())
            }
        }
    }

    fn translate(&self, values: &mut [Value], boot: usize) {
        if let Some(Value::Integer(boot)) = values.get_mut(boot) {
            *boot = self.boot_of(*boot);
        }
    }

    /// Inserts a row whose columns are `n`, `second` (where given) and `rest`; one whose number is absurd
    /// is left out.
    fn insert(
        &self,
        verb: &str,
        n: Option<i64>,
        second: Option<i64>,
        rest: &[Value],
    ) -> rusqlite::Result<()> {
        let Some(n) = n else { return Ok(()) };
        let columns = 1 + usize::from(second.is_some()) + rest.len();
        let sql = format!("{verb} (?{})", ",?".repeat(columns - 1));
        let numbers = std::iter::once(n)
            .chain(second)
            .map(|number| ToSqlOutput::Owned(Sql::Integer(number)));
        let values = rest.iter().map(|value| match value {
            Value::Null => ToSqlOutput::Owned(Sql::Null),
            Value::Integer(number) => ToSqlOutput::Owned(Sql::Integer(*number)),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Blob(blob) => ToSqlOutput::Borrowed(ValueRef::Blob(blob)),
        });
        self.into
            .prepare_cached(&sql)?
            .execute(params_from_iter(numbers.chain(values)))?;
        Ok(())
    }

    fn segment(&mut self, key: i64, body: &[u8]) -> rusqlite::Result<()> {
        // A row that only says where its segment is reads as none.
        let (key, body) = heap::unwrapped(key, body).unwrap_or((key, body));
        let Some(segment) = Segment::read(key, body) else {
            return Ok(());
        };
        let lane = key >> SEQ_BITS;
        let Some(target) = self.lanes.get(&lane).copied() else {
            self.nameless += segment.frames().count() as u64;
            return Ok(());
        };
        let stamp = segment.stamp();
        let boot = self.boot_of(i64::from(stamp.boot));
        if target.lane == lane && target.shift == 0 && boot == i64::from(stamp.boot) {
            return put(self.into, key, body);
        }
        let shift = target.shift.unsigned_abs();
        let stamp = Stamp {
            boot: u32::try_from(boot).unwrap_or(0),
            ..stamp
        };
        let mut moved = Builder::new(crate::schema::seq_of(key) + shift, stamp);
        for frame in segment.frames() {
            moved.push(&Frame {
                seq: frame.seq + shift,
                ..frame
            });
        }
        let key = (target.lane << SEQ_BITS) | moved.base().min(MAX_SEQ).cast_signed();
        put(self.into, key, &moved.finish(key))
    }

    fn member(&self, member: &MemberRow) -> rusqlite::Result<()> {
        let Some(target) = self.lanes.get(&member.lane) else {
            return Ok(());
        };
        let credible = member.batch > 0
            && member.first > 0
            && member.last >= member.first
            && member.last <= MAX_SEQ.cast_signed()
            && member.events > 0;
        if !credible {
            return Ok(());
        }
        self.into
            .prepare_cached("INSERT OR IGNORE INTO member VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                member.batch.saturating_add(self.batch_shift),
                target.lane,
                member.first + target.shift,
                member.last + target.shift,
                member.events,
                member.bytes,
            ])?;
        Ok(())
    }
}

/// Writes a segment. Of two with one key (a page that was moved, and its old place not yet overwritten when the
/// power went) the larger is kept.
fn put(into: &Transaction<'_>, key: i64, body: &[u8]) -> rusqlite::Result<()> {
    into.prepare_cached(
        "INSERT INTO segment VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = excluded.body
         WHERE length(excluded.body) > length(body)",
    )?
    .execute(params![key, body])?;
    Ok(())
}

/// Of the two places that name a lane (its row, and the index of names) the one with books is kept.
fn keep_better(lanes: &mut BTreeMap<i64, LaneRow>, lane: LaneRow) {
    let named = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
    let credible = (1..i64::from(HEAP)).contains(&lane.n)
        && u32::try_from(lane.uid).is_ok()
        && named(&lane.destination)
        && named(&lane.tool);
    if credible && lanes.get(&lane.n).is_none_or(|there| there.books.is_none()) {
        lanes.insert(lane.n, lane);
    }
}

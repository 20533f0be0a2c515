//! The schema: what every released version of `queue.db` looked like, and how each becomes the next.
//!
//! I2 and I5 rest on the shape of these tables: an event is in exactly one place, so that its move from
//! one to the other and the books' move are one transaction.
//!
//! - **A lane** is one (uid, destination, tool). Its row holds the books and the next sequence number,
//!   which is never used twice.
//! - **Queued events and the sent log's bodies** lie in `segment`, packed (see [`crate::segment`]).
//!   Nothing in a segment says where its events stand; ranges of sequence numbers do:
//!   in a range of an open or refused `batch`: claimed. In a range of a `sent` row: delivered.
//!   In no range: waiting. So a delivery moves two rows, however many events it had.
//!   Rows behind the last lane's hold the small segments of many lanes (`store/heap.rs`).
//! - **Parked events** have left the segments; each is a row of `parked`.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

/// `PRAGMA application_id`: "tlmq". It tells our file from any other SQLite file.
pub(crate) const APPLICATION_ID: i32 = 0x746c_6d71;

/// Bits of a segment's key that hold the sequence number; the lane's number is above them.
pub(crate) const SEQ_BITS: u32 = 40;

/// The largest sequence number: a lane takes 2^40 events in its life.
pub(crate) const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;

/// A segment's key: lane and the first sequence number that it may hold.
pub(crate) fn key(lane: u32, seq: u64) -> i64 {
    (i64::from(lane) << SEQ_BITS) | i64::try_from(seq.min(MAX_SEQ)).unwrap_or(0)
}

/// The first sequence number of a segment's key.
pub(crate) fn seq_of(key: i64) -> u64 {
    key.unsigned_abs() & MAX_SEQ
}

/// Version 1.
const V1: &str = "
-- One row. `clean`: the last owner closed the queue. `touched` changes so that a commit has something to sync.
CREATE TABLE meta (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  clean   INTEGER NOT NULL,
  touched INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 1, 0);

-- Boots of the machine by number, the newest few; a number without a row is an older boot.
CREATE TABLE boot (
  n  INTEGER PRIMARY KEY,
  id BLOB NOT NULL
) STRICT;

-- Who, where to, what; the books; bytes of its queued and of its parked events as the limits count them.
CREATE TABLE lane (
  n            INTEGER PRIMARY KEY,
  uid          INTEGER NOT NULL,
  destination  TEXT NOT NULL,
  tool         TEXT NOT NULL,
  next_seq     INTEGER NOT NULL DEFAULT 1,
  accepted     INTEGER NOT NULL DEFAULT 0,
  delivered    INTEGER NOT NULL DEFAULT 0,
  parked       INTEGER NOT NULL DEFAULT 0,
  queued       INTEGER NOT NULL DEFAULT 0,
  evicted      INTEGER NOT NULL DEFAULT 0,
  expired      INTEGER NOT NULL DEFAULT 0,
  purged       INTEGER NOT NULL DEFAULT 0,
  lost         INTEGER NOT NULL DEFAULT 0,
  bytes        INTEGER NOT NULL DEFAULT 0,
  parked_bytes INTEGER NOT NULL DEFAULT 0,
  UNIQUE (uid, destination, tool)
) STRICT;

-- key = lane << 40 | the first sequence number that the body may hold; a body ends before the next key.
CREATE TABLE segment (
  key  INTEGER PRIMARY KEY,
  body BLOB NOT NULL
) STRICT;

-- Batches that were formed and not settled, by number (never of a `sent` row too).
-- `ord`: their order within a destination. `refused`: 0 while it can be claimed; otherwise the status with
-- which its one event was refused, and it waits until its root is decided. wall_ms, boot_ms, boot: when its
-- oldest event was received. evicted, expired, quota: the losses that it reports.
CREATE TABLE batch (
  n           INTEGER PRIMARY KEY,
  id          BLOB NOT NULL,
  root        INTEGER NOT NULL,
  root_events INTEGER NOT NULL,
  uid         INTEGER NOT NULL,
  destination TEXT NOT NULL,
  ord         INTEGER NOT NULL,
  refused     INTEGER NOT NULL DEFAULT 0,
  answer      BLOB,
  attempts    INTEGER NOT NULL DEFAULT 0,
  error       TEXT,
  evicted     INTEGER NOT NULL DEFAULT 0,
  expired     INTEGER NOT NULL DEFAULT 0,
  quota       INTEGER NOT NULL DEFAULT 0,
  events      INTEGER NOT NULL,
  bytes       INTEGER NOT NULL,
  wall_ms     INTEGER NOT NULL,
  boot_ms     INTEGER NOT NULL,
  boot        INTEGER NOT NULL
) STRICT;

-- The members of a batch or of a sent row, as ranges (both ends included). `events` and `bytes` count what
-- is there: a range may have holes.
CREATE TABLE member (
  batch  INTEGER NOT NULL,
  lane   INTEGER NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  events INTEGER NOT NULL,
  bytes  INTEGER NOT NULL,
  PRIMARY KEY (batch, lane, first)
) STRICT, WITHOUT ROWID;

-- A batch that was cut in pieces, by its number: what became of its events so far.
-- `status`: with which its refused events were refused, 0 for none yet; `mixed`: they differ.
CREATE TABLE root (
  n         INTEGER PRIMARY KEY,
  events    INTEGER NOT NULL,
  refused   INTEGER NOT NULL DEFAULT 0,
  delivered INTEGER NOT NULL DEFAULT 0,
  status    INTEGER NOT NULL DEFAULT 0,
  mixed     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The sent log. `kept`: bytes of bodies and row, as its limit counts them.
CREATE TABLE sent (
  n           INTEGER PRIMARY KEY,
  id          BLOB NOT NULL,
  uid         INTEGER NOT NULL,
  destination TEXT NOT NULL,
  wall_ms     INTEGER NOT NULL,
  boot_ms     INTEGER NOT NULL,
  boot        INTEGER NOT NULL,
  status      INTEGER NOT NULL,
  events      INTEGER NOT NULL,
  bytes       INTEGER NOT NULL,
  kept        INTEGER NOT NULL,
  meta        TEXT NOT NULL,
  evicted     INTEGER NOT NULL DEFAULT 0,
  expired     INTEGER NOT NULL DEFAULT 0,
  quota       INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Refused events that are kept; the second moment is when they were parked. n grows with that moment.
CREATE TABLE parked (
  n              INTEGER PRIMARY KEY,
  lane           INTEGER NOT NULL,
  id             BLOB NOT NULL,
  project        BLOB,
  epoch          INTEGER NOT NULL,
  wall_ms        INTEGER NOT NULL,
  boot_ms        INTEGER NOT NULL,
  boot           INTEGER NOT NULL,
  parked_wall_ms INTEGER NOT NULL,
  parked_boot_ms INTEGER NOT NULL,
  parked_boot    INTEGER NOT NULL,
  bytes          INTEGER NOT NULL,
  status         INTEGER NOT NULL,
  answer         BLOB NOT NULL,
  payload        BLOB NOT NULL
) STRICT;

-- Losses that no batch reports yet.
CREATE TABLE loss (
  uid         INTEGER NOT NULL,
  destination TEXT NOT NULL,
  evicted     INTEGER NOT NULL DEFAULT 0,
  expired     INTEGER NOT NULL DEFAULT 0,
  quota       INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (uid, destination)
) STRICT, WITHOUT ROWID;

-- What delivery keeps for a destination: opaque here.
CREATE TABLE destination (
  name  TEXT PRIMARY KEY,
  state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Corrupt files whose rows were carried into this one, by file name: written in the transaction that
-- carried them.
CREATE TABLE salvage (
  file TEXT PRIMARY KEY,
  rows INTEGER NOT NULL,
  lost INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The versions in order.
fn migrations() -> Migrations<'static> {
    Migrations::new(vec![M::up(V1)])
}

/// The version that this program writes (`PRAGMA user_version`).
pub(crate) const VERSION: i64 = 1;

/// [`fingerprint`] of a file of [`VERSION`].
pub(crate) const FINGERPRINT: u32 = 427_875_201;

/// A checksum of the tables as the file itself describes them: the one page that no checksum of a segment covers
/// and on which every statement rests.
///
/// # Errors
///
/// The description cannot be read.
pub(crate) fn fingerprint(connection: &Connection) -> rusqlite::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut select =
        connection.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        for column in 0..3 {
            hasher.update(row.get_ref(column)?.as_str()?.as_bytes());
            hasher.update(b"\0");
        }
    }
    Ok(hasher.finalize())
}

/// Brings a file of an older version, or an empty one, to [`VERSION`], each step in a transaction of its own.
///
/// # Errors
///
/// What rusqlite_migration says; the file is then at the version of the last step that was committed.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), rusqlite_migration::Error> {
    migrations().to_latest(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_are_valid_and_end_at_the_version_we_write() {
        migrations().validate().unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, VERSION);
        assert_eq!(
            fingerprint(&connection).unwrap(),
            FINGERPRINT,
            "what a file of this version looks like"
        );
    }

    #[test]
    fn a_key_gives_back_its_lane_and_sequence_number() {
        for (lane, seq) in [(1, 1), (7, MAX_SEQ), ((1 << 23) - 1, 12_345)] {
            assert_eq!(
                (key(lane, seq) >> SEQ_BITS, seq_of(key(lane, seq))),
                (i64::from(lane), seq)
            );
        }
    }
}

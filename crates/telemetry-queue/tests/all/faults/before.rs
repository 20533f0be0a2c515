//! A queue with something of everything, and the comparison with what is left of it after its file was damaged.

use std::collections::BTreeMap;
use std::path::Path;

use telemetry_queue::{Append, Book, Id, Lane, Row, RowState, Sent};
use tempfile::TempDir;

use super::set_aside;
use crate::support::{
    Bench, after, assert_balanced, at_most, bisect, delivered, events, id, lane, options, payload, push,
    retry, scratch, total,
};

/// What a queue showed before its file was damaged.
pub(super) struct Before {
    directory: TempDir,
    pub(super) rows: BTreeMap<(Lane, Id), Row>,
    pub(super) books: Vec<Book>,
    pub(super) sent: Vec<Sent>,
    open: Vec<Id>,
}

/// A closed queue with something of everything: waiting, claimed, parked, delivered.
pub(super) fn filled() -> Before {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    let lanes = [
        lane(1, "a", "kedro"),
        lane(1, "a", "dlt"),
        lane(1, "b", "dlt"),
        lane(2, "a", "evidently"),
    ];
    for turn in 0..10_u64 {
        for (at, lane) in (0..).zip(&lanes) {
            let first = turn * 1_000 + at * 100;
            bench
                .append(events(
                    lane,
                    first..first + 60,
                    120 + 37 * turn as usize,
                    after(turn),
                ))
                .unwrap();
        }
        // And what lies in the heap: few events of each, in one group.
        let mut together = Append {
            at: after(turn),
            ..Append::default()
        };
        for (at, lane) in (0..).zip(&lanes) {
            for number in turn * 1_000 + at * 100 + 60..turn * 1_000 + at * 100 + 70 {
                push(&mut together, lane, id(number), &payload(number, 200));
            }
        }
        bench.append(together).unwrap();
    }
    // One event far larger than a page.
    bench
        .append(events(&lanes[2], 50_000..50_001, 60_000, after(10)))
        .unwrap();
    for _ in 0..3 {
        let claimed = bench.claim("a", at_most(50), after(20)).unwrap();
        bench.settle(claimed.id, delivered(), after(20));
    }
    for _ in 0..4 {
        let claimed = bench.claim("a", at_most(1), after(21)).unwrap();
        bench.settle(claimed.id, bisect(422), after(21));
    }
    let claimed = bench.claim("a", at_most(40), after(22)).unwrap();
    bench.settle(claimed.id, retry(), after(22));
    let claimed = bench.claim("b", at_most(30), after(22)).unwrap();
    bench.settle(claimed.id, retry(), after(22));
    assert_balanced(&bench);
    let rows: BTreeMap<_, _> = bench
        .rows()
        .into_iter()
        .map(|row| (((*row.lane).clone(), row.id), row))
        .collect();
    let mut open: Vec<Id> = rows.values().filter_map(|row| row.batch).collect();
    open.sort_unstable();
    open.dedup();
    assert_eq!(open.len(), 2);
    let (books, sent) = (bench.books(), bench.sent());
    bench.close();
    Before {
        directory,
        rows,
        books,
        sent,
        open,
    }
}

impl Before {
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn row_count(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Opens a directory whose file was damaged and compares; returns the queue and how many rows were saved.
    pub(super) fn compare(&self, directory: &Path) -> (Bench, u64) {
        let bench = Bench::open(&options(directory), after(1_000)).unwrap();
        bench.until_checked();
        assert_balanced(&bench);
        let rows = bench.rows();
        for row in &rows {
            let before = &self.rows[&((*row.lane).clone(), row.id)];
            assert_eq!(before.payload, row.payload);
            assert_eq!(before.received, row.received);
            assert_eq!(before.state == RowState::Parked, row.state == RowState::Parked);
            assert_eq!(before.parked, row.parked);
            if let Some(batch) = row.batch {
                assert_eq!(before.batch, Some(batch), "an event has joined a batch");
            }
        }
        // A batch is there with all its members or not at all.
        for batch in &self.open {
            let members = self.rows.values().filter(|row| row.batch == Some(*batch)).count();
            let there = rows.iter().filter(|row| row.batch == Some(*batch)).count();
            assert!(there == 0 || there == members, "{there} of {members} members");
        }
        let after = bench.books();
        for book in &after {
            let before = self.books.iter().find(|before| before.lane == book.lane).unwrap();
            let known = [book.delivered, book.evicted, book.expired, book.purged];
            if book.accepted == before.accepted {
                assert_eq!(
                    known,
                    [before.delivered, before.evicted, before.expired, before.purged]
                );
                assert_eq!(
                    book.lost,
                    before.parked + before.queued - book.parked - book.queued
                );
            }
        }
        for sent in bench.sent() {
            let before = self.sent.iter().find(|before| before.id == sent.id).unwrap();
            assert_eq!(
                (before.status, before.events, &before.meta),
                (sent.status, sent.events, &sent.meta)
            );
        }
        let saved = rows.len() as u64;
        if bench.report.set_aside.is_some() {
            assert_eq!(bench.report.salvaged, saved, "{:?}", bench.report);
            assert!(bench.report.lost >= total(&after).lost, "{:?}", bench.report);
            assert_eq!(set_aside(directory).len(), 1);
        }
        (bench, saved)
    }
}

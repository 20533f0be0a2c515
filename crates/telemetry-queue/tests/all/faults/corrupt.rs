//! Damage in the file itself: what can be read is there afterwards, the rest is booked as lost.

use std::collections::BTreeMap;
use std::path::Path;

use telemetry_queue::{Book, Filter, Id, Lane, PurgeReason, Row, RowState, Sent};
use tempfile::TempDir;

use super::{copy_of, file, overwrite, set_aside};
use crate::support::{
    Bench, START, after, assert_balanced, at_most, bisect, delivered, events, lane, options, retry, scratch,
    total,
};

/// What a queue showed before its file was damaged.
struct Before {
    directory: TempDir,
    rows: BTreeMap<(Lane, Id), Row>,
    books: Vec<Book>,
    sent: Vec<Sent>,
    open: Vec<Id>,
}

/// A closed queue with something of everything: waiting, claimed, parked, delivered.
fn filled() -> Before {
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
    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Opens a directory whose file was damaged and compares; returns the queue and how many rows were saved.
    fn compare(&self, directory: &Path) -> (Bench, u64) {
        let bench = Bench::open(&options(directory), after(1_000)).unwrap();
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

/// What is wrong is found when it is met, at the latest by reading everything.
fn meet_everything(bench: &Bench) {
    for destination in ["a", "b"] {
        bench.deliver_all(destination, after(2_000));
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn every_row_survives_a_bad_header() {
    let before = filled();
    for (at, bytes) in [(0, 16), (0, 100), (16, 8), (100, 400), (0, 4_096), (0, 16_384)] {
        let copy = copy_of(before.path());
        overwrite(&file(copy.path()), at, &vec![0x55; bytes]);
        let (bench, saved) = before.compare(copy.path());
        assert_eq!(saved, before.rows(), "{bytes} bytes at {at} were overwritten");
        assert_eq!(bench.total().lost, 0);
        assert_eq!(bench.sent().len(), before.sent.len());
        let open = bench.rows().iter().filter(|row| row.batch.is_some()).count();
        assert_eq!(open, 70, "both batches have their ids and members");
        bench.close();
    }
}

#[test]
fn a_page_that_is_torn_costs_what_was_on_it_and_nothing_else() {
    let before = filled();
    let pages = length(&file(before.path())) / 16_384;
    assert!(pages > 20, "{pages} pages");
    for page in 1..pages {
        let copy = copy_of(before.path());
        // The second half was not written when the power went.
        overwrite(&file(copy.path()), page * 16_384 + 8_192, &[0; 8_192]);
        let (bench, at_start) = before.compare(copy.path());
        meet_everything(&bench);
        bench.until("the background check is complete", |bench| {
            bench.wait(bench.queue().checked()).unwrap().complete
        });
        assert_balanced(&bench);
        let total = bench.total();
        assert!(total.lost <= 200, "page {page}: {total:?}");
        assert!(
            total.delivered + total.parked + total.lost >= before.rows(),
            "page {page}: {at_start} {total:?}"
        );
        bench.close();
    }
}

#[test]
fn any_page_may_be_garbage() {
    let before = filled();
    let pages = length(&file(before.path())) / 16_384;
    for page in 0..pages {
        let copy = copy_of(before.path());
        let garbage: Vec<u8> = (0..16_384_u64)
            .map(|at| (at * 167 + page * 31 + at / 7) as u8)
            .collect();
        overwrite(&file(copy.path()), page * 16_384, &garbage);
        eprintln!("page {page}");
        let (bench, _) = before.compare(copy.path());
        eprintln!("{:?}", bench.report);
        meet_everything(&bench);
        assert_balanced(&bench);
        bench.close();
        // And it was for good.
        let bench = Bench::open(&options(copy.path()), after(3_000)).unwrap();
        assert_eq!(
            (bench.report.set_aside.as_ref(), bench.report.salvaged),
            (None, 0),
            "page {page}"
        );
        assert_balanced(&bench);
        bench.close();
    }
}

#[test]
fn a_file_that_ends_early_is_salvaged() {
    let before = filled();
    let whole = length(&file(before.path()));
    for keep in [whole / 2, whole - 1, 16_384 * 3, 16_384, 4_096, 99, 1] {
        let copy = copy_of(before.path());
        let truncated = std::fs::OpenOptions::new()
            .write(true)
            .open(file(copy.path()))
            .unwrap();
        truncated.set_len(keep).unwrap();
        let (bench, _) = before.compare(copy.path());
        meet_everything(&bench);
        assert_balanced(&bench);
        let again = bench
            .append(events(&lane(1, "a", "kedro"), 90_000..90_010, 100, after(3_000)))
            .unwrap();
        assert_eq!(again.len(), 10);
        bench.close();
    }
}

#[test]
fn a_zero_length_file_is_an_empty_queue() {
    let directory = scratch();
    std::fs::write(file(directory.path()), []).unwrap();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..10, 100, START))
        .unwrap();
    assert_balanced(&bench);
    bench.close();
}

#[test]
fn garbage_in_place_of_the_file_is_set_aside() {
    for garbage in [
        vec![0; 100_000],
        vec![0xff; 100_000],
        b"this is not a database, but a letter".repeat(2_000),
    ] {
        let directory = scratch();
        std::fs::write(file(directory.path()), &garbage).unwrap();
        let bench = Bench::start(directory.path());
        let aside = bench.report.set_aside.clone().expect("it was set aside");
        assert_eq!(std::fs::read(&aside).unwrap(), garbage, "it was left as it was");
        assert_eq!((bench.report.salvaged, bench.report.lost), (0, 0));
        bench
            .append(events(&lane(1, "a", "t"), 0..10, 100, START))
            .unwrap();
        assert_balanced(&bench);
        bench.close();
    }
}

#[test]
fn another_programs_database_is_set_aside_and_not_touched() {
    let directory = scratch();
    let other = rusqlite::Connection::open(file(directory.path())).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (a, b); INSERT INTO theirs VALUES (1, 2)")
        .unwrap();
    drop(other);
    let bench = Bench::start(directory.path());
    let aside = bench.report.set_aside.clone().expect("it was set aside");
    bench.close();
    let other = rusqlite::Connection::open(aside).unwrap();
    let two: i64 = other
        .query_row("SELECT b FROM theirs", [], |row| row.get(0))
        .unwrap();
    assert_eq!(two, 2);
}

#[test]
fn an_event_whose_checksum_is_wrong_is_never_sent_and_never_stops_the_others() {
    let before = filled();
    // A payload, somewhere in the file: find it and change one byte of it.
    let bytes = std::fs::read(file(before.path())).unwrap();
    let victim = before
        .rows
        .values()
        .rfind(|row| row.state == RowState::Waiting && row.payload.len() < 1_000)
        .unwrap();
    let at = bytes
        .windows(victim.payload.len())
        .position(|window| window == victim.payload)
        .unwrap();
    overwrite(&file(before.path()), at as u64 + 40, b"~");
    let bench = Bench::start(before.path());
    let mut seen = 0;
    for destination in ["a", "b"] {
        while let Some(claimed) = bench.claim(destination, at_most(100), after(100)) {
            for event in &claimed.events {
                assert_ne!(
                    (claimed.uid, event.id),
                    (victim.lane.uid, victim.id),
                    "a damaged event was claimed"
                );
                seen += 1;
            }
            bench.settle(claimed.id, delivered(), after(100));
        }
    }
    let total = bench.total();
    assert!(total.lost > 0 && total.lost < 200, "{total:?}");
    assert_eq!(seen + total.lost + total.parked, before.rows());
    assert_eq!(total.queued, 0);
    assert_balanced(&bench);
}

#[test]
fn salvage_that_is_killed_in_the_middle_is_done_at_the_next_start() {
    let before = filled();
    overwrite(&file(before.path()), 0, &[0x55; 4_096]);
    let mut kills = 0;
    for times in 1.. {
        let copy = copy_of(before.path());
        let killed = crate::kill::opens_and_is_killed(copy.path(), "salvage", times);
        kills += u32::from(killed);
        let bench = Bench::open(&options(copy.path()), after(1_000)).unwrap();
        assert_eq!(bench.rows().len() as u64, before.rows(), "killed at {times}");
        assert_balanced(&bench);
        let total = bench.total();
        assert_eq!(
            total.accepted,
            crate::support::total(&before.books).accepted,
            "killed at {times}"
        );
        assert_eq!(total.lost, 0);
        bench.close();
        if !killed {
            break;
        }
    }
    assert!(kills > 3, "{kills} kills");
}

#[test]
fn a_corrupt_file_is_erased_after_seven_days_or_by_the_first_purge() {
    for purge in [true, false] {
        let before = filled();
        overwrite(&file(before.path()), 0, &[0x55; 4_096]);
        let (bench, _) = before.compare(before.path());
        assert_eq!(set_aside(before.path()).len(), 1);
        if purge {
            bench.purge(Filter::default(), PurgeReason::User, after(2_000));
            assert_eq!(set_aside(before.path()), Vec::<std::path::PathBuf>::new());
            bench.close();
        } else {
            bench.close();
            let mut options = options(before.path());
            options.boot_id = [9; 16];
            let bench = Bench::open(&options, after(8 * crate::support::DAY_MS)).unwrap();
            bench.until("the corrupt file is erased", |bench| {
                // A wake: nothing runs on an idle queue.
                bench
                    .append(events(
                        &lane(1, "a", "kedro"),
                        0..1,
                        10,
                        after(8 * crate::support::DAY_MS),
                    ))
                    .unwrap();
                set_aside(before.path()).is_empty()
            });
            bench.close();
        }
    }
}

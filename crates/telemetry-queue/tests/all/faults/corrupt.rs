//! Damage in the file itself: what can be read is there afterwards, the rest is booked as lost.

use std::path::Path;

use telemetry_queue::RowState;

use super::before::filled;
use super::{copy_of, file, overwrite};
use crate::support::{
    Bench, START, after, assert_balanced, at_most, delivered, events, lane, options, scratch,
};

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
        assert_eq!(
            saved,
            before.row_count(),
            "{bytes} bytes at {at} were overwritten"
        );
        assert_eq!(bench.total().lost, 0);
        assert_eq!(bench.sent().len(), before.sent.len());
        let open = bench.rows().iter().filter(|row| row.batch.is_some()).count();
        assert_eq!(open, 70, "both batches have their ids and members");
        bench.close();
    }
}

#[test]
fn a_version_that_no_program_writes_is_damage_and_every_row_survives_it() {
    let before = filled();
    let copy = copy_of(before.path());
    // user_version, a signed number, at byte 60 of the header: found by the fuzzer.
    overwrite(&file(copy.path()), 60, &[0xff, 0xff, 0x00, 0xff]);
    let (bench, saved) = before.compare(copy.path());
    assert!(bench.report.set_aside.is_some(), "{:?}", bench.report);
    assert_eq!((saved, bench.total().lost), (before.row_count(), 0));
    bench.close();
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
        bench.until_checked();
        assert_balanced(&bench);
        let total = bench.total();
        assert!(total.lost <= 200, "page {page}: {total:?}");
        assert!(
            total.delivered + total.parked + total.lost >= before.row_count(),
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
    assert_eq!(seen + total.lost + total.parked, before.row_count());
    assert_eq!(total.queued, 0);
    assert_balanced(&bench);
}

#[test]
fn damage_that_is_met_while_running_stops_nothing_and_keeps_what_is_under_lease() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    // More than SQLite's cache holds, so that the damage is read.
    for turn in 0..40_u64 {
        let first = turn * 1_000;
        bench
            .append(events(&lane(1, "a", "t"), first..first + 400, 600, after(turn)))
            .unwrap();
    }
    bench.wait(bench.queue().checkpoint()).unwrap();
    let leased = bench.claim("a", at_most(100), after(100)).unwrap();
    bench.wait(bench.queue().checkpoint()).unwrap();
    let pages = length(&file(directory.path())) / 16_384;
    overwrite(&file(directory.path()), (pages / 2) * 16_384, &[0xaa; 16_384]);
    let mut sent = 0;
    while let Some(claimed) = bench.claim("a", at_most(500), after(101)) {
        sent += claimed.events.len() as u64;
        bench.settle(claimed.id, delivered(), after(101));
        bench
            .append(events(&lane(1, "b", "t"), sent..sent + 1, 100, after(102)))
            .unwrap();
    }
    bench.settle(leased.id, delivered(), after(103));
    assert_eq!(super::set_aside(directory.path()).len(), 1, "the damage was met");
    let book = bench
        .books()
        .into_iter()
        .find(|book| &*book.lane.destination == "a")
        .unwrap();
    assert!(book.balanced(), "{book:?}");
    assert!(book.lost > 0 && book.lost < 60, "{book:?}");
    assert_eq!((book.delivered, book.queued), (100 + sent, 0), "{book:?}");
    assert_balanced(&bench);
}

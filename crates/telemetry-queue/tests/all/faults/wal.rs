//! Damage in the WAL: what was committed before it is there, what came after it is as if the power had gone.

use telemetry_queue::Id;
use tempfile::TempDir;

use super::copy_of;
use crate::support::{
    Bench, START, after, assert_balanced, at_most, delivered, events, id, lane, options, scratch,
};

/// An open queue whose last appends are in the WAL only; `turns` of ten events each.
fn in_wal(directory: &TempDir, turns: u64) -> Bench {
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..100, 200, START))
        .unwrap();
    bench.wait(bench.queue().checkpoint()).unwrap();
    for turn in 0..turns {
        let first = 1_000 + turn * 10;
        bench
            .append(events(&lane(1, "a", "t"), first..first + 10, 200, after(turn)))
            .unwrap();
    }
    bench
}

#[test]
fn a_truncated_wal_costs_the_last_transactions_and_nothing_else() {
    let directory = scratch();
    let bench = in_wal(&directory, 20);
    let whole = std::fs::metadata(directory.path().join("queue.db-wal"))
        .unwrap()
        .len();
    assert!(whole > 20 * 4_096, "{whole} bytes of WAL");
    let mut fewest = u64::MAX;
    for step in 0..40 {
        let copy = copy_of(directory.path());
        let wal = std::fs::OpenOptions::new()
            .write(true)
            .open(copy.path().join("queue.db-wal"))
            .unwrap();
        wal.set_len(whole * step / 40).unwrap();
        let reopened = Bench::open(&options(copy.path()), after(1_000)).unwrap();
        assert_eq!(
            reopened.report.set_aside, None,
            "a torn end of the WAL is no corruption"
        );
        assert_eq!(reopened.report.unbalanced, []);
        assert_balanced(&reopened);
        let ids: Vec<Id> = reopened.rows().iter().map(|row| row.id).collect();
        let there = ids.len() as u64;
        let expected: Vec<Id> = (0..100).chain(1_000..900 + there).map(id).collect();
        assert_eq!(
            ids, expected,
            "what is there is what came first, whole transactions of it"
        );
        assert_eq!(there % 10, 0);
        fewest = fewest.min(there);
        reopened.close();
    }
    assert_eq!(fewest, 100, "what had been brought into the file");
    bench.close();
}

#[test]
fn garbage_in_the_wal_costs_what_comes_after_it_and_nothing_else() {
    let directory = scratch();
    let bench = in_wal(&directory, 20);
    let whole = std::fs::metadata(directory.path().join("queue.db-wal"))
        .unwrap()
        .len();
    for step in 0..20 {
        let copy = copy_of(directory.path());
        super::overwrite(&copy.path().join("queue.db-wal"), whole * step / 20, &[0x55; 600]);
        let reopened = Bench::open(&options(copy.path()), after(1_000)).unwrap();
        assert_eq!(reopened.report.set_aside, None);
        assert_balanced(&reopened);
        assert!(reopened.rows().len() >= 100);
        reopened.close();
    }
    bench.close();
}

#[test]
fn a_corrupt_file_is_salvaged_together_with_its_wal() {
    let directory = scratch();
    let bench = in_wal(&directory, 20);
    let claimed = bench.claim("a", at_most(50), after(100)).unwrap();
    bench.settle(claimed.id, delivered(), after(100));
    let copy = copy_of(directory.path());
    super::overwrite(&super::file(copy.path()), 0, &[0x55; 100]);
    let reopened = Bench::open(&options(copy.path()), after(1_000)).unwrap();
    assert_balanced(&reopened);
    let total = reopened.total();
    // The WAL has a newer first page: SQLite may well open the file without noticing anything.
    assert_eq!(
        (total.accepted, total.delivered, total.queued, total.lost),
        (300, 50, 250, 0)
    );
    bench.close();
}

#[test]
fn a_synced_event_is_in_the_wal_when_it_is_answered() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    let mut append = events(&lane(1, "a", "t"), 0..10, 200, START);
    append.synced = true;
    bench.append(append.clone()).unwrap();
    let copy = copy_of(directory.path());
    let reopened = Bench::open(&options(copy.path()), after(1)).unwrap();
    assert!(reopened.report.unclean);
    assert_eq!(reopened.rows().len(), 10);
    // Again: duplicates, which are as durable.
    let answers = reopened.append(append).unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| *answer == telemetry_queue::Appended::Duplicate)
    );
}

//! When the check in the background begins, and what holds before it did.

use std::path::Path;

use telemetry_queue::{Append, Appended, Filter, PurgeReason, Purged};

use crate::support::{
    Bench, START, after, assert_balanced, at_most, events, id, lane, options, push, scratch,
};

/// A queue that was closed with five thousand events and is open again.
fn unchecked(directory: &Path) -> Bench {
    let bench = Bench::start(directory);
    bench
        .append(events(&lane(1, "a", "t"), 0..5_000, 300, START))
        .unwrap();
    bench.close();
    Bench::open_unchecked(&options(directory), after(1)).unwrap()
}

#[test]
fn before_the_check_is_begun_nothing_is_read_that_nobody_asks_for() {
    let directory = scratch();
    let bench = unchecked(directory.path());
    for _ in 0..200 {
        // The writer is between two commands each time, with nothing to do.
        assert_eq!(bench.total().queued, 5_000);
        let checked = bench.wait(bench.queue().checked()).unwrap();
        assert_eq!((checked.rows, checked.complete), (0, false));
    }
    assert_balanced(&bench);
    bench.wait(bench.queue().begin_check()).unwrap();
    bench.until_checked();
    let checked = bench.wait(bench.queue().checked()).unwrap();
    assert_eq!((checked.rows, checked.differences.len()), (5_000, 0));
    bench.close();
}

#[test]
fn an_event_that_waits_is_known_again_and_a_batch_is_counted_before_the_check_is_begun() {
    let directory = scratch();
    let bench = unchecked(directory.path());
    let lane = lane(1, "a", "t");
    let claimed = bench.claim("a", at_most(10), after(1)).unwrap();
    assert_eq!(claimed.events.len(), 10);
    let mut append = Append {
        at: after(2),
        ..Append::default()
    };
    for number in [4_999, 5_000] {
        push(&mut append, &lane, id(number), b"{}");
    }
    let answers = bench.append(append).unwrap();
    assert!(
        matches!(answers[..], [Appended::Duplicate, Appended::Queued]),
        "{answers:?}"
    );
    assert_eq!(bench.wait(bench.queue().checked()).unwrap().rows, 5_000);
    assert_balanced(&bench);
    bench.close();
}

#[test]
fn a_file_that_was_to_be_checked_and_never_was_is_checked_by_its_next_owner() {
    let directory = scratch();
    assert!(crate::kill::opens_and_is_killed(directory.path(), "opened", 1));
    for _ in 0..2 {
        let bench = Bench::open_unchecked(&options(directory.path()), START).unwrap();
        assert!(bench.report.unclean);
        assert!(!bench.wait(bench.queue().checked()).unwrap().complete);
        bench.close();
    }
    let bench = Bench::start(directory.path());
    assert!(bench.report.unclean);
    bench.until_checked();
    bench.close();
    let bench = Bench::start(directory.path());
    assert!(!bench.report.unclean);
    bench.close();
}

#[test]
fn so_is_one_whose_check_was_begun_and_not_finished() {
    let directory = scratch();
    unchecked(directory.path()).close();
    assert!(crate::kill::opens_and_is_killed(directory.path(), "opened", 1));
    // Closed at once: how far the check has come by then is chance.
    let owed = (0..50).any(|_| {
        let bench = Bench::start(directory.path());
        let was_unclean = bench.report.unclean;
        bench.close();
        let bench = Bench::start(directory.path());
        let owed = was_unclean && bench.report.unclean;
        bench.until_checked();
        bench.close();
        assert!(crate::kill::opens_and_is_killed(directory.path(), "opened", 1));
        owed
    });
    assert!(owed, "of fifty checks none was closed before it came to its end");
}

#[test]
fn before_it_is_begun_a_purge_that_erases_nothing_waits_for_nobody_who_reads() {
    let directory = scratch();
    let bench = unchecked(directory.path());
    let reader = rusqlite::Connection::open(directory.path().join("queue.db")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")
        .unwrap();
    bench
        .append(events(&lane(1, "a", "t"), 9_000..9_001, 300, after(2)))
        .unwrap();
    let of_nobody = || Filter {
        tool: Some("nobody".into()),
        ..Filter::default()
    };
    let purged = bench.purge(of_nobody(), PurgeReason::Consent, after(3));
    assert_eq!(purged, Purged::default());
    // Afterwards it sweeps what an earlier owner has let go of, and then the WAL has to be emptied.
    bench.wait(bench.queue().begin_check()).unwrap();
    let purge = bench.queue().purge(of_nobody(), PurgeReason::Consent, after(4));
    assert!(bench.wait(purge).is_err(), "the WAL is read");
    drop(reader);
    bench.purge(of_nobody(), PurgeReason::Consent, after(5));
    bench.close();
}

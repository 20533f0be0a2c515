//! Files written by every released schema still open, with their rows and books.

use std::path::{Path, PathBuf};

use telemetry_queue::RowState;

use crate::support::{
    BOOT, Bench, START, after, assert_balanced, at_most, bisect, delivered, events, id, lane, options,
    payload, retry, scratch,
};

/// See `tests/schemas/README.md`.
fn released(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/schemas/v{version}.db"))
}

/// Makes the file of the schema that this program writes: run by hand once a release, see the README there.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_file_of_this_schema() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1000, "default", "kedro"), 0..40, 150, START))
        .unwrap();
    bench
        .append(events(&lane(1000, "default", "dlt"), 100..120, 300, after(1)))
        .unwrap();
    bench
        .append(events(
            &lane(1001, "other", "evidently"),
            200..205,
            3_000,
            after(2),
        ))
        .unwrap();
    let claimed = bench.claim("default", at_most(10), after(3)).unwrap();
    bench.settle(claimed.id, delivered(), after(3));
    for _ in 0..2 {
        let claimed = bench.claim("default", at_most(1), after(4)).unwrap();
        bench.settle(claimed.id, bisect(422), after(4));
    }
    let claimed = bench.claim("default", at_most(12), after(5)).unwrap();
    bench.settle(claimed.id, retry(), after(5));
    bench
        .wait(
            bench
                .queue()
                .set_destination_state(&"default".into(), "{\"state\":1}".into()),
        )
        .unwrap();
    bench.close();
    std::fs::copy(directory.path().join("queue.db"), released(1)).unwrap();
}

#[test]
fn a_file_of_schema_1_opens_with_its_rows_and_books() {
    let directory = scratch();
    std::fs::copy(released(1), directory.path().join("queue.db")).unwrap();
    assert_eq!(options(directory.path()).boot_id, BOOT);
    let bench = Bench::open(&options(directory.path()), after(100)).unwrap();
    assert_eq!(
        (bench.report.unclean, bench.report.set_aside.as_ref()),
        (false, None)
    );
    assert_eq!(bench.report.unbalanced, []);
    assert_balanced(&bench);
    let total = bench.total();
    assert_eq!(
        (total.accepted, total.delivered, total.parked, total.queued),
        (65, 10, 2, 53)
    );
    for row in bench.rows() {
        let number = u64::from_be_bytes(row.id[8..].try_into().unwrap());
        assert_eq!(row.id, id(number));
        assert_eq!(row.payload, payload(number, row.payload.len()));
    }
    assert_eq!(bench.rows_in(RowState::Claimed).len(), 12);
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].events, sent[0].members.len()), (1, 10, 10));
    let states = bench.wait(bench.queue().destination_states()).unwrap();
    assert_eq!(states, [("default".into(), "{\"state\":1}".to_owned())]);
    let again = bench.claim("default", at_most(500), after(101)).unwrap();
    assert_eq!((again.events.len(), again.attempts), (12, 1));
    let duplicates = bench
        .append(events(&lane(1000, "default", "kedro"), 0..40, 150, after(102)))
        .unwrap();
    assert!(
        duplicates
            .iter()
            .all(|answer| *answer == telemetry_queue::Appended::Duplicate)
    );
    bench.close();
}

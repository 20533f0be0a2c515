//! Salvage as a whole: killed, put off, repeated, and its leavings erased.

use std::path::PathBuf;

use telemetry_queue::{Filter, PurgeReason};

use super::before::filled;
use super::{copy_of, file, leavings, overwrite, set_aside};
use crate::support::{Bench, DAY_MS, START, after, assert_balanced, events, lane, options, scratch, total};

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
        assert_eq!(bench.rows().len() as u64, before.row_count(), "killed at {times}");
        assert_balanced(&bench);
        let after = bench.total();
        assert_eq!(after.accepted, total(&before.books).accepted, "killed at {times}");
        assert_eq!(after.lost, 0);
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
            assert_eq!(leavings(before.path()), Vec::<PathBuf>::new());
            bench.close();
        } else {
            bench.close();
            let mut options = options(before.path());
            options.boot_id = [9; 16];
            let bench = Bench::open(&options, after(8 * DAY_MS)).unwrap();
            bench.until("the corrupt file is erased", |bench| {
                // A wake: nothing runs on an idle queue.
                bench
                    .append(events(&lane(1, "a", "kedro"), 0..1, 10, after(8 * DAY_MS)))
                    .unwrap();
                leavings(before.path()).is_empty()
            });
            bench.close();
        }
    }
}

#[test]
fn a_start_that_died_between_setting_aside_the_file_and_its_wal_loses_neither() {
    // Some of what was acknowledged is in the file, some in the WAL only.
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..100, 200, START))
        .unwrap();
    bench.wait(bench.queue().checkpoint()).unwrap();
    bench
        .append(events(&lane(1, "a", "t"), 100..200, 200, START))
        .unwrap();
    let aside = format!("queue.db.corrupt-{}", START.wall_ms / 1000);
    let copy = copy_of(directory.path());
    overwrite(&file(copy.path()), 0, &[0x55; 100]);
    std::fs::rename(file(copy.path()), copy.path().join(aside)).unwrap();
    let reopened = Bench::open(&options(copy.path()), after(10_000)).unwrap();
    assert_balanced(&reopened);
    assert_eq!(reopened.rows().len(), 200);
    assert_eq!(reopened.total().lost, 0);
    reopened.purge(Filter::default(), PurgeReason::User, after(10_001));
    assert_eq!(
        leavings(copy.path()),
        Vec::<PathBuf>::new(),
        "a purge leaves nothing of it"
    );
}

#[test]
fn salvage_that_was_put_off_comes_behind_what_was_queued_meanwhile() {
    let before = filled();
    let directory = scratch();
    // A queue with rows, batches and parked rows of its own, in the same lanes.
    let other = filled();
    std::fs::copy(file(other.path()), file(directory.path())).unwrap();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "kedro"), 70_000..70_010, 100, after(100)))
        .unwrap();
    bench.close();
    std::fs::copy(
        file(before.path()),
        directory.path().join("queue.db.corrupt-1767225600"),
    )
    .unwrap();
    let mut options = options(directory.path());
    options.boot_id = [9; 16];
    let bench = Bench::open(&options, after(1_000)).unwrap();
    assert_eq!(
        (bench.report.salvaged, bench.report.lost),
        (before.row_count(), 0)
    );
    for book in bench.books() {
        assert!(book.balanced(), "{book:?}");
    }
    let (one, both) = (total(&before.books), bench.total());
    assert_eq!(both.accepted, 2 * one.accepted + 10);
    assert_eq!((both.queued, both.parked), (2 * one.queued + 10, 2 * one.parked));
    assert_eq!(both.delivered, 2 * one.delivered);
    assert_eq!(bench.rows().len() as u64, 2 * before.row_count() + 10);
    assert_eq!(bench.sent().len(), 2 * before.sent.len());
    bench.until_checked();
    assert_eq!(bench.wait(bench.queue().checked()).unwrap().differences, []);
    let sent = bench.deliver_all("a", after(1_001)) + bench.deliver_all("b", after(1_001));
    assert_eq!(sent, both.queued);
    let left = bench.total();
    assert_eq!((left.queued, left.delivered), (0, both.delivered + both.queued));
    assert!(left.balanced());
    bench.close();
    let bench = Bench::open(&options, after(2_000)).unwrap();
    assert_eq!(
        (bench.report.set_aside.as_ref(), bench.report.salvaged),
        (None, 0),
        "it is done once"
    );
    assert_balanced(&bench);
}

#[test]
fn ages_survive_salvage() {
    let directory = scratch();
    let mut options = options(directory.path());
    for boot in 1..4_u8 {
        options.boot_id = [boot; 16];
        let at = after(u64::from(boot) * DAY_MS);
        let bench = Bench::open(&options, at).unwrap();
        let first = u64::from(boot) * 100;
        bench
            .append(events(&lane(1, "a", "t"), first..first + 10, 100, at))
            .unwrap();
        bench.close();
    }
    overwrite(&file(directory.path()), 0, &[0x55; 100]);
    let bench = Bench::open(&options, after(4 * DAY_MS)).unwrap();
    assert_eq!(bench.report.salvaged, 30);
    let claimed = bench.claim("a", crate::support::ALL, after(4 * DAY_MS)).unwrap();
    let this_boot: Vec<bool> = claimed.events.iter().map(|event| event.this_boot).collect();
    assert_eq!(this_boot, [[false; 10], [false; 10], [true; 10]].concat());
}

#[test]
fn a_second_corruption_does_not_bring_back_what_the_first_one_saved() {
    let before = filled();
    overwrite(&file(before.path()), 0, &[0x55; 4_096]);
    let (bench, saved) = before.compare(before.path());
    // Everything of the first is delivered, and something new is queued.
    let sent = bench.deliver_all("a", after(1_001)) + bench.deliver_all("b", after(1_001));
    let parked = bench.total().parked;
    assert_eq!(sent + parked, saved);
    let append = events(&lane(1, "a", "kedro"), 90_000..90_100, 200, after(1_002));
    bench.append(append).unwrap();
    let total_before = bench.total();
    bench.close();
    for damage in [(0, 4_096), (16_384, 16_384)] {
        let copy = scratch();
        for entry in std::fs::read_dir(before.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        overwrite(&file(copy.path()), damage.0, &vec![0x55; damage.1]);
        let bench = Bench::open(&options(copy.path()), after(10_000)).unwrap();
        bench.until_checked();
        assert_balanced(&bench);
        assert_eq!(bench.total(), total_before);
        assert_eq!(bench.deliver_all("a", after(10_001)), 100);
        bench.close();
    }
}

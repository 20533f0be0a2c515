//! A wall clock that is wrong: nothing expires by it, nothing is kept for ever by it.

use telemetry_queue::Moment;

use crate::support::{
    BOOT, Bench, DAY_MS, START, assert_balanced, at_most, bisect, delivered, events, lane, options, scratch,
};

const YEAR_MS: i64 = 365 * 86_400_000;

/// The wall clock is set by `wall_ms`; a minute passes.
fn set(wall_ms: i64) -> Moment {
    Moment {
        wall_ms: START.wall_ms + wall_ms + 60_000,
        boot_ms: START.boot_ms + 60_000,
    }
}

#[test]
fn a_clock_set_by_a_year_while_the_queue_is_open_expires_nothing() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let directory = scratch();
        let bench = Bench::start(directory.path());
        bench
            .append(events(&lane(1, "a", "t"), 0..100, 200, START))
            .unwrap();
        let claimed = bench.claim("a", at_most(1), START).unwrap();
        bench.settle(claimed.id, bisect(422), START);
        let claimed = bench.claim("a", at_most(9), START).unwrap();
        bench.settle(claimed.id, delivered(), START);
        bench
            .append(events(&lane(1, "a", "t"), 200..300, 200, set(jump)))
            .unwrap();
        let claimed = bench.claim("a", at_most(1), set(jump)).unwrap();
        bench.settle(claimed.id, delivered(), set(jump));
        let total = bench.total();
        assert_eq!(
            (total.expired, total.queued, total.parked, total.delivered),
            (0, 189, 1, 10),
            "{jump}"
        );
        assert_eq!(bench.sent().len(), 2);
        assert_balanced(&bench);
        bench.close();
    }
}

#[test]
fn a_clock_set_by_a_year_while_the_queue_is_closed_expires_nothing_of_this_boot() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let directory = scratch();
        let bench = Bench::start(directory.path());
        bench
            .append(events(&lane(1, "a", "t"), 0..100, 200, START))
            .unwrap();
        bench.close();
        let bench = Bench::open(&options(directory.path()), set(jump)).unwrap();
        bench
            .append(events(&lane(1, "a", "t"), 200..300, 200, set(jump)))
            .unwrap();
        assert_eq!(bench.total().expired, 0, "{jump}");
        assert_eq!(bench.deliver_all("a", set(jump)), 200);
    }
}

#[test]
fn a_clock_that_was_a_year_behind_in_an_earlier_boot_does_not_keep_rows_for_ever() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..100, 200, START))
        .unwrap();
    bench.close();
    // The next boot's clock stands a year before: the rows are of the future, and are kept.
    let mut options = options(directory.path());
    options.boot_id = [8; 16];
    let early = Moment {
        wall_ms: START.wall_ms - YEAR_MS,
        boot_ms: 1_000,
    };
    let bench = Bench::open(&options, early).unwrap();
    bench
        .append(events(&lane(1, "a", "t"), 200..201, 200, early))
        .unwrap();
    assert_eq!(bench.total().expired, 0);
    bench.close();
    // A month after the clock is right again they are gone.
    options.boot_id = [9; 16];
    let late = Moment {
        wall_ms: START.wall_ms + 31 * DAY_MS.cast_signed(),
        boot_ms: 1_000,
    };
    let bench = Bench::open(&options, late).unwrap();
    bench
        .append(events(&lane(1, "a", "t"), 300..301, 200, late))
        .unwrap();
    bench.until("the old rows have expired", |bench| {
        bench.claim("b", at_most(1), late);
        bench.total().expired >= 100
    });
    assert_balanced(&bench);
}

#[test]
fn rows_expire_by_the_boot_clock_and_those_in_flight_do_not() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..100, 200, START))
        .unwrap();
    let claimed = bench.claim("a", at_most(30), START).unwrap();
    let late = Moment {
        wall_ms: START.wall_ms,
        boot_ms: START.boot_ms + 31 * DAY_MS,
    };
    bench
        .append(events(&lane(1, "a", "t"), 200..201, 200, late))
        .unwrap();
    bench.until("the waiting rows have expired", |bench| {
        bench.claim("b", at_most(1), late);
        bench.total().expired >= 70
    });
    let total = bench.total();
    assert_eq!(
        (total.expired, total.queued),
        (70, 31),
        "those in flight and the new one are there"
    );
    bench.settle(claimed.id, delivered(), late);
    assert_eq!(bench.total().delivered, 30);
    let last = bench.claim("a", at_most(100), late).unwrap();
    assert_eq!((last.events.len(), last.losses.expired), (1, 70));
    assert_balanced(&bench);
}

#[test]
fn a_boot_id_is_remembered_and_another_one_is_told_apart() {
    let directory = scratch();
    let mut options = options(directory.path());
    for (boot, this_boot) in [(BOOT, true), ([8; 16], false), (BOOT, true)] {
        options.boot_id = boot;
        let bench = Bench::open(&options, START).unwrap();
        if bench.rows().is_empty() {
            bench
                .append(events(&lane(1, "a", "t"), 0..1, 200, START))
                .unwrap();
        }
        let claimed = bench.claim("a", at_most(1), START).unwrap();
        assert_eq!(claimed.events[0].this_boot, this_boot);
        bench.close();
    }
}

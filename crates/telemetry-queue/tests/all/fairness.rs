//! I13: nobody crowds out what is another's.

use std::sync::Arc;

use telemetry_queue::{Append, Appended};

use crate::support::{
    ALL, Bench, START, after, assert_balanced, at_most, delivered, events, id, lane, options, payload, push,
    retry, scratch,
};

#[test]
fn a_noisy_tool_does_not_hold_back_the_others() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "noisy"), 0..20_000, 300, START))
        .unwrap();
    bench
        .append(events(&lane(1, "a", "quiet"), 100_000..100_010, 300, START))
        .unwrap();
    let first = bench.claim("a", at_most(500), START).unwrap();
    let quiet = first
        .events
        .iter()
        .filter(|event| &*event.tool == "quiet")
        .count();
    assert_eq!(
        quiet,
        10,
        "the quiet tool's events wait behind {} of the noisy one",
        first.events.len()
    );
}

#[test]
fn a_noisy_uid_does_not_hold_back_the_others() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..20_000, 300, START))
        .unwrap();
    bench
        .append(events(&lane(2, "a", "t"), 100_000..101_000, 300, START))
        .unwrap();
    let mut bytes = [0_u64; 2];
    for _ in 0..4 {
        let claimed = bench.claim("a", at_most(500), START).unwrap();
        bytes[claimed.uid as usize - 1] += claimed.arena.len() as u64;
        bench.settle(claimed.id, delivered(), START);
    }
    assert_eq!(bytes[0], bytes[1], "bytes of the noisy and of the quiet uid");
}

#[test]
fn large_events_of_one_uid_do_not_starve_small_ones_of_another() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..400, 20_000, START))
        .unwrap();
    bench
        .append(events(&lane(2, "a", "t"), 10_000..20_000, 100, START))
        .unwrap();
    let mut bytes = [0_u64; 2];
    for _ in 0..40 {
        let claimed = bench.claim("a", at_most(20), START).unwrap();
        bytes[claimed.uid as usize - 1] += claimed.arena.len() as u64;
        bench.settle(claimed.id, delivered(), START);
    }
    // In turn by bytes: the small ones get through many batches for each of the large ones.
    assert!(bytes[1] >= 39 * 20 * 100 - 2_000 * 20, "{bytes:?}");
}

#[test]
fn a_uid_that_was_idle_has_no_credit_to_spend() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..4_000, 300, START))
        .unwrap();
    for _ in 0..20 {
        let claimed = bench.claim("a", at_most(100), START).unwrap();
        bench.settle(claimed.id, delivered(), START);
    }
    bench
        .append(events(&lane(2, "a", "t"), 10_000..14_000, 300, START))
        .unwrap();
    let mut turns = Vec::new();
    for _ in 0..10 {
        let claimed = bench.claim("a", at_most(100), START).unwrap();
        turns.push(claimed.uid);
        bench.settle(claimed.id, delivered(), START);
    }
    let ones = turns.iter().filter(|uid| **uid == 1).count();
    assert!(
        (4..=6).contains(&ones),
        "uid 1 is held back by the newcomer: {turns:?}"
    );
}

#[test]
fn the_tools_of_a_uid_share_a_batch_that_is_cut_by_bytes() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    for tool in 0..4_u64 {
        let lane = lane(1, "a", &format!("t{tool}"));
        bench
            .append(events(&lane, tool * 10_000..tool * 10_000 + 2_000, 500, START))
            .unwrap();
    }
    let mut limits = ALL;
    limits.max_bytes = 256 << 10;
    let claimed = bench.claim("a", limits, START).unwrap();
    for tool in 0..4 {
        let share = claimed
            .events
            .iter()
            .filter(|event| *event.tool == *format!("t{tool}"))
            .count();
        assert!(
            share * 6 > claimed.events.len(),
            "t{tool} has {share} of {}",
            claimed.events.len()
        );
    }
}

#[test]
fn the_65th_tool_of_a_uid_is_refused_and_the_other_uids_are_not() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    let mut append = Append {
        at: START,
        ..Append::default()
    };
    for tool in 0..65 {
        push(
            &mut append,
            &lane(1, "a", &format!("t{tool}")),
            id(tool),
            &payload(tool, 50),
        );
    }
    // A known tool may go to a further destination.
    push(&mut append, &lane(1, "b", "t0"), id(100), &payload(100, 50));
    push(&mut append, &lane(2, "a", "t64"), id(101), &payload(101, 50));
    let answers = bench.append(append).unwrap();
    assert_eq!(
        answers
            .iter()
            .filter(|answer| **answer == Appended::Queued)
            .count(),
        66
    );
    assert_eq!(answers[64], Appended::Refused);
    assert_balanced(&bench);
    bench.close();
    // The 64 are those of the file, not of the process.
    let bench = Bench::open(&options(directory.path()), after(1)).unwrap();
    let again = bench
        .append(events(&lane(1, "a", "t64"), 200..201, 50, after(1)))
        .unwrap();
    assert_eq!(again, [Appended::Refused]);
}

#[test]
fn the_largest_tool_of_the_largest_user_is_evicted_first() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.max_bytes = 2 << 20;
    let bench = Bench::open(&options, START).unwrap();
    bench
        .append(events(&lane(1, "a", "small"), 0..500, 300, START))
        .unwrap();
    bench
        .append(events(&lane(2, "a", "small"), 10_000..10_500, 300, START))
        .unwrap();
    for turn in 0..20 {
        let first = 20_000 + turn * 500;
        bench
            .append(events(
                &lane(2, "a", "large"),
                first..first + 500,
                300,
                after(turn),
            ))
            .unwrap();
        assert_balanced(&bench);
        assert!(bench.view().bytes <= options.limits.max_bytes);
    }
    for book in bench.books() {
        let large = book.lane == *lane(2, "a", "large");
        assert_eq!(book.evicted > 0, large, "{book:?}");
    }
    // The newest of it are there.
    let rows = bench.rows();
    let newest = rows.iter().rfind(|row| &*row.lane.tool == "large").unwrap();
    assert_eq!(newest.id, id(29_999));
    let mut reported = 0;
    while let Some(claimed) = bench.claim("a", at_most(1_000), after(100)) {
        reported += claimed.losses.evicted;
        bench.settle(claimed.id, delivered(), after(100));
    }
    assert_eq!(reported, bench.total().evicted, "each loss is reported once");
}

#[test]
fn a_tool_is_held_to_its_own_limit_while_the_queue_has_room() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.max_bytes_per_tool = 256 << 10;
    let bench = Bench::open(&options, START).unwrap();
    let lanes: [Arc<_>; 2] = [lane(1, "a", "t"), lane(1, "b", "t")];
    for turn in 0..10 {
        for (at, lane) in (0..).zip(&lanes) {
            let first = turn * 1_000 + at * 500;
            bench
                .append(events(lane, first..first + 200, 300, START))
                .unwrap();
        }
    }
    assert!(
        bench.view().bytes <= options.limits.max_bytes_per_tool,
        "{} bytes",
        bench.view().bytes
    );
    assert!(bench.total().evicted > 0);
    assert_balanced(&bench);
}

#[test]
fn what_one_user_sends_erases_nothing_of_anothers_sent_log() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.sent_max_bytes = 256 << 10;
    let bench = Bench::open(&options, START).unwrap();
    let deliver = |bench: &Bench, uid: u32, first: u64, at| {
        bench
            .append(events(&lane(uid, "a", "t"), first..first + 50, 300, at))
            .unwrap();
        assert_eq!(bench.deliver_all("a", at), 50);
    };
    // The oldest of all are the quiet user's.
    deliver(&bench, 2, 0, START);
    for turn in 1..40 {
        deliver(&bench, 1, turn * 1_000, after(turn));
    }
    let whose = |bench: &Bench| bench.sent().iter().map(|sent| sent.uid).collect::<Vec<u32>>();
    assert_eq!(whose(&bench).iter().filter(|uid| **uid == 2).count(), 1);
    assert!(whose(&bench).len() < 30, "the noisy one's oldest are gone");
    bench.close();
    // Whose they are is known again after a start.
    let bench = Bench::open(&options, after(100)).unwrap();
    for turn in 100..140 {
        deliver(&bench, 1, turn * 1_000, after(turn));
    }
    assert_eq!(whose(&bench).iter().filter(|uid| **uid == 2).count(), 1);
    assert_balanced(&bench);
}

#[test]
fn one_users_rows_are_seen_and_claimed_as_if_there_were_nobody_else() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    for (uid, ids) in [(1, 0..300), (2, 1_000..1_007)] {
        bench
            .append(events(&lane(uid, "a", "t"), ids, 100, after(u64::from(uid))))
            .unwrap();
    }
    let view = |uid| bench.wait(bench.queue().view_of(uid)).unwrap();
    let of = |uid| view(uid).destinations[0].1.clone();
    assert_eq!((view(1).events, view(2).events, view(3).events), (300, 7, 0));
    assert!(view(3).destinations.is_empty());
    assert_eq!(view(1).bytes + view(2).bytes, bench.view().bytes);
    assert_eq!(of(2).oldest, Some(after(2)));
    let name: Arc<str> = Arc::from("a");
    let claim = |uid| bench.wait(bench.queue().claim_of(&name, uid, at_most(5), after(9)));
    assert!(claim(3).unwrap().is_none());
    let his = claim(2).unwrap().unwrap();
    assert_eq!((his.uid, his.events.len()), (2, 5));
    assert_eq!((of(2).events, of(2).leased, of(2).left), (2, 5, 0));
    // A batch of another that was formed before is not taken in its place.
    let hers = claim(1).unwrap().unwrap();
    bench.settle(hers.id, retry(), after(9));
    let more = claim(2).unwrap().unwrap();
    assert_eq!((more.uid, more.events.len()), (2, 2));
    assert!(claim(2).unwrap().is_none());
    for batch in [his, more] {
        bench.settle(batch.id, delivered(), after(10));
    }
    assert_eq!((of(2).left, of(2).events, of(2).leased), (7, 0, 0));
    assert_eq!((of(1).open_batches, of(1).events), (1, 300));
    assert_balanced(&bench);
}

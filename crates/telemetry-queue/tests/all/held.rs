//! I13: a user whose rows are held holds up nobody else, and whose batches are cut does not go before all others.

use telemetry_queue::{ClaimLimits, Filter, PurgeReason};

use crate::support::{Bench, START, at_most, bisect, delivered, events, lane, scratch, split};

fn bench() -> (tempfile::TempDir, Bench) {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    (directory, bench)
}

fn hold(bench: &Bench, users: &[u32]) {
    bench
        .wait(bench.queue().hold_users(&"a".into(), users.to_vec()))
        .unwrap();
}

#[test]
fn the_rows_of_a_held_user_wait_and_those_of_others_go() {
    let (_directory, bench) = bench();
    bench
        .append(events(&lane(1, "a", "t"), 0..20, 100, START))
        .unwrap();
    bench
        .append(events(&lane(1, "b", "t"), 20..25, 100, START))
        .unwrap();
    bench
        .append(events(&lane(2, "a", "t"), 30..34, 100, START))
        .unwrap();
    // One of its batches was formed before, another is under way.
    let formed = bench.claim("a", at_most(5), START).unwrap();
    assert_eq!(formed.uid, 1);
    bench.settle(formed.id, split(), START);
    let under_way = bench.claim("a", at_most(5), START).unwrap();
    hold(&bench, &[1]);
    let waiting = bench.view().destinations[0].1.clone();
    assert_eq!((waiting.events, waiting.leased, waiting.open_batches), (4, 2, 0));
    assert_eq!((waiting.held_of(1), waiting.held_events()), (Some(18), 18));
    let his = bench.claim("a", at_most(500), START).unwrap();
    assert_eq!((his.uid, his.events.len()), (2, 4));
    bench.settle(his.id, delivered(), START);
    bench.settle(under_way.id, delivered(), START);
    assert!(bench.claim("a", at_most(500), START).is_none());
    let own = bench.wait(bench.queue().claim_of(&"a".into(), 1, at_most(500), START));
    assert!(own.unwrap().is_none());
    assert!(
        bench.claim("b", at_most(500), START).is_some(),
        "another destination"
    );
    // A purge is seen, and what is released goes.
    let one = Filter {
        uid: Some(1),
        destination: Some("a".into()),
        ids: Some(vec![crate::support::id(19)]),
        ..Filter::default()
    };
    bench.purge(one, PurgeReason::User, START);
    assert_eq!(bench.view().destinations[0].1.held_of(1), Some(17));
    hold(&bench, &[]);
    assert_eq!(bench.deliver_all("a", START), 17);
}

#[test]
fn a_batch_that_is_cut_in_many_lets_others_come_to_their_turn() {
    let (_directory, bench) = bench();
    bench
        .append(events(&lane(1, "a", "t"), 0..64, 100, START))
        .unwrap();
    bench
        .append(events(&lane(2, "a", "t"), 100..108, 100, START))
        .unwrap();
    let in_turn = |most| ClaimLimits {
        in_a_row: std::num::NonZeroU32::new(4),
        ..at_most(most)
    };
    let first = bench.claim("a", in_turn(64), START).unwrap();
    bench.settle(first.id, bisect(400), START);
    let mut whose = Vec::new();
    while let Some(claimed) = bench.claim("a", in_turn(2), START) {
        whose.push(claimed.uid);
        let outcome = if claimed.uid == 1 {
            bisect(400)
        } else {
            delivered()
        };
        bench.settle(claimed.id, outcome, START);
        if whose.len() == 25 {
            break;
        }
    }
    let his: Vec<usize> = (0..25).filter(|at| whose[*at] == 2).collect();
    assert_eq!(his, [4, 9, 14, 19], "{whose:?}");
}

#[test]
fn a_purge_of_many_rows_lets_others_come_to_their_turn() {
    let (_directory, bench) = bench();
    for n in 0..20 {
        bench
            .append(events(&lane(1, "a", "t"), n * 1000..(n + 1) * 1000, 400, START))
            .unwrap();
    }
    bench
        .append(events(&lane(2, "a", "t"), 50_000..50_004, 400, START))
        .unwrap();
    let claimed = bench.claim("a", at_most(2), START).unwrap();
    let queue = bench.queue().clone();
    let mine = Filter {
        uid: Some(1),
        ..Filter::default()
    };
    let purged = bench.wait(async {
        let purge = queue.purge(mine, PurgeReason::User, START);
        tokio::pin!(purge);
        for n in 0..4 {
            let append = queue.append(events(&lane(2, "a", "t"), [60_000 + n], 400, START));
            tokio::select! {
                biased;
                _ = &mut purge => panic!("{n} events waited for twenty thousand of another user"),
                appended = append => drop(appended.unwrap()),
            }
        }
        // What its user sends meanwhile is not among what was there.
        let own = queue
            .append(events(&lane(1, "a", "t"), [70_000], 400, START))
            .await;
        own.unwrap();
        purge.await.unwrap()
    });
    assert_eq!(purged.queued, 20_000);
    assert_eq!(bench.rows().len(), 9);
    let view = bench.view();
    assert!(view.purges_of(1) > 0);
    assert_eq!(view.purges_of(2), 0, "nobody purged anything of his");
    assert_eq!(claimed.purges, 0);
    crate::support::assert_balanced(&bench);
}

#[test]
fn a_queue_that_is_closed_first_ends_a_purge_that_was_begun() {
    let (directory, bench) = bench();
    for n in 0..10 {
        bench
            .append(events(&lane(1, "a", "t"), n * 1000..(n + 1) * 1000, 400, START))
            .unwrap();
    }
    let queue = bench.queue().clone();
    let asked = queue.purge(Filter::default(), PurgeReason::User, START);
    let mut asked = Box::pin(asked);
    bench.wait(async {
        tokio::select! {
            biased;
            _ = &mut asked => panic!("it takes longer"),
            () = std::future::ready(()) => {}
        }
    });
    bench.close();
    drop(asked);
    assert!(Bench::start(directory.path()).rows().is_empty());
}

#[test]
fn without_that_limit_all_pieces_go_before_anything_else() {
    let (_directory, bench) = bench();
    bench
        .append(events(&lane(1, "a", "t"), 0..8, 100, START))
        .unwrap();
    bench
        .append(events(&lane(2, "a", "t"), 100..108, 100, START))
        .unwrap();
    let first = bench.claim("a", at_most(8), START).unwrap();
    bench.settle(first.id, bisect(400), START);
    for _ in 0..14 {
        let piece = bench.claim("a", at_most(8), START).unwrap();
        assert_eq!(piece.uid, 1);
        bench.settle(piece.id, bisect(400), START);
    }
}

//! Many callers at once, callers that go away, and what they are told.

use std::collections::BTreeMap;
use std::sync::Mutex;

use telemetry_queue::{Append, Appended, Filter, Id, PurgeReason, QueueError, RowState};

use crate::support::{
    ALL, Bench, Random, START, after, assert_balanced, at_most, bisect, delivered, events, id, lane, options,
    payload, push, retry, scratch, split,
};

#[test]
fn an_event_that_several_send_at_once_is_one_event() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    let queued: Mutex<BTreeMap<Id, u32>> = Mutex::default();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (queue, queued) = (bench.queue().clone(), &queued);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut random = Random::new(thread);
                for turn in 0..60 {
                    // The same ids from all, each in its own order, some of them to another destination.
                    let mut append = Append {
                        at: after(turn),
                        ..Append::default()
                    };
                    for _ in 0..10 {
                        let number = random.below(400);
                        let destination = if number.is_multiple_of(3) { "b" } else { "a" };
                        push(
                            &mut append,
                            &lane(1, destination, "t"),
                            id(number),
                            &payload(number, 100),
                        );
                    }
                    let ids: Vec<Id> = append.events.iter().map(|event| event.id).collect();
                    let answers = runtime.block_on(queue.append(append)).unwrap();
                    let mut queued = queued.lock().unwrap();
                    for (id, answer) in ids.into_iter().zip(answers) {
                        *queued.entry(id).or_default() += u32::from(answer == Appended::Queued);
                    }
                }
            });
        }
    });
    let queued = queued.into_inner().unwrap();
    assert!(
        queued.values().all(|times| *times == 1),
        "an event was queued twice, or never"
    );
    assert_eq!(bench.rows().len(), queued.len());
    assert_balanced(&bench);
}

#[test]
fn an_event_is_known_while_it_is_queued_parked_or_in_the_sent_log_also_after_a_restart() {
    let directory = scratch();
    let mut bench = Bench::start(directory.path());
    let lane = lane(1, "a", "t");
    bench.append(events(&lane, 0..30, 200, START)).unwrap();
    let claimed = bench.claim("a", at_most(10), START).unwrap();
    bench.settle(claimed.id, delivered(), START);
    let claimed = bench.claim("a", at_most(1), START).unwrap();
    bench.settle(claimed.id, bisect(422), START);
    let claimed = bench.claim("a", at_most(5), START).unwrap();
    bench.settle(claimed.id, retry(), START);
    for restart in 0..3 {
        let again = bench.append(events(&lane, 0..30, 200, after(restart))).unwrap();
        assert_eq!(again, [Appended::Duplicate; 30], "after {restart} restarts");
        // Another tool's, another user's events are others.
        for (other, uid, tool) in [(40, 1, "u"), (50, 2, "t")] {
            let lane = crate::support::lane(uid, "a", tool);
            let answers = bench
                .append(events(&lane, [other + restart], 200, after(restart)))
                .unwrap();
            assert_eq!(answers, [Appended::Queued]);
        }
        bench.close();
        bench = Bench::open(&options(directory.path()), after(restart)).unwrap();
    }
    assert_balanced(&bench);
}

#[test]
fn a_caller_that_does_not_wait_for_its_answer_changes_nothing_but_that() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    // Sent, and not listened to: the events stay queued.
    for turn in 0..20_u64 {
        let append = events(&lane(1, "a", "t"), turn * 10..turn * 10 + 10, 100, after(turn));
        drop(bench.wait(bench.queue().send_append(append)).unwrap());
    }
    assert_eq!(bench.total().queued, 200);
    // Claimed, and not listened to: nobody knows of the lease, so that it must not last. The writer is kept at work,
    // so that the caller is gone before there is an answer.
    let work = events(&lane(1, "b", "t"), 1000..9000, 100, after(29));
    let work = bench.wait(bench.queue().send_append(work)).unwrap();
    bench.wait(async {
        let destination = "a".into();
        let claim = bench.queue().claim(&destination, at_most(50), after(30));
        let mut claim = std::pin::pin!(claim);
        let waker = std::task::Waker::noop();
        let _ = claim.as_mut().poll(&mut std::task::Context::from_waker(waker));
    });
    bench.wait(work).unwrap().unwrap();
    bench.until("the batch can be claimed", |bench| {
        bench.view().destinations[0].1.leased == 0
    });
    assert_eq!(bench.deliver_all("a", after(31)), 200);
    assert_balanced(&bench);
}

#[test]
fn a_closed_queue_says_so() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    let queue = bench.queue().clone();
    bench
        .append(events(&lane(1, "a", "t"), 0..10, 100, START))
        .unwrap();
    bench.close();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let closed = |error: QueueError| error.kind == telemetry_queue::ErrorKind::Closed;
    assert!(
        runtime
            .block_on(queue.append(events(&lane(1, "a", "t"), 0..1, 1, START)))
            .is_err_and(closed)
    );
    assert!(
        runtime
            .block_on(queue.claim(&"a".into(), ALL, START))
            .is_err_and(closed)
    );
    assert!(runtime.block_on(queue.books(None)).is_err_and(closed));
}

#[test]
fn each_loss_is_reported_once_whatever_becomes_of_the_batch_that_reports_it() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.max_bytes = 40_000;
    options.limits.max_age_ms = 50_000;
    let mut bench = Bench::open(&options, START).unwrap();
    let mut random = Random::new(42);
    let mut reported = 0;
    let mut now = 0;
    for turn in 0..200_u64 {
        let lane = lane(1, "a", ["x", "y"][random.below(2) as usize]);
        let first = turn * 100;
        bench
            .append(events(&lane, first..first + random.below(20), 300, after(now)))
            .unwrap();
        now += random.below(4_000);
        if let Some(claimed) = bench.claim("a", at_most(20), after(now)) {
            let outcome = match random.below(6) {
                0 => retry(),
                1 => telemetry_queue::Outcome::Release,
                2 if claimed.events.len() > 1 => split(),
                3 => bisect(422),
                _ => {
                    reported += claimed.losses.evicted + claimed.losses.expired;
                    delivered()
                }
            };
            bench.settle(claimed.id, outcome, after(now));
        }
        if random.below(20) == 0 {
            bench.close();
            bench = Bench::open(&options, after(now)).unwrap();
        }
    }
    bench
        .append(events(&lane(1, "a", "x"), 900_000..900_001, 300, after(now)))
        .unwrap();
    while let Some(claimed) = bench.claim("a", at_most(100), after(now)) {
        reported += claimed.losses.evicted + claimed.losses.expired;
        bench.settle(claimed.id, delivered(), after(now));
    }
    let total = bench.total();
    assert!(total.evicted > 100 && total.expired > 0, "{total:?}");
    assert_eq!(reported, total.evicted + total.expired);
    assert_balanced(&bench);
}

#[test]
fn a_preview_is_what_the_next_claim_takes() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    for (uid, tool) in [(1, "x"), (1, "y"), (2, "x")] {
        let first = u64::from(uid) * 1_000 + u64::from(tool.as_bytes()[0]) * 10_000;
        bench
            .append(events(&lane(uid, "a", tool), first..first + 60, 400, START))
            .unwrap();
    }
    let destination = "a".into();
    for turn in 0..20 {
        let limits = at_most(25);
        let before = bench.books();
        let preview = bench
            .wait(bench.queue().preview(&destination, limits, None, START))
            .unwrap();
        assert_eq!(bench.books(), before);
        let claimed = bench.claim("a", limits, START);
        let ids = |batch: &telemetry_queue::Claimed| -> Vec<Id> {
            batch.events.iter().map(|event| event.id).collect()
        };
        assert_eq!(preview.as_ref().map(ids), claimed.as_ref().map(ids));
        let Some(claimed) = claimed else { break };
        assert_eq!(preview.map(|preview| preview.uid), Some(claimed.uid));
        let outcome = [delivered(), retry(), split()][turn % 3].clone();
        bench.settle(claimed.id, outcome, START);
    }
}

#[test]
fn rows_are_listed_by_filter_and_page() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    for uid in [1, 2] {
        for tool in ["x", "y"] {
            let first = u64::from(uid) * 1_000 + u64::from(tool.as_bytes()[0]) * 10_000;
            bench
                .append(events(&lane(uid, "a", tool), first..first + 70, 300, START))
                .unwrap();
        }
    }
    let claimed = bench.claim("a", at_most(1), START).unwrap();
    bench.settle(claimed.id, bisect(422), START);
    bench.claim("a", at_most(33), START).unwrap();
    let list = |filter: Filter, states: &[RowState], limit: u32| {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = bench
                .wait(bench.queue().rows(filter.clone(), states, after, limit))
                .unwrap();
            assert!(page.rows.len() <= limit as usize);
            rows.extend(
                page.rows
                    .into_iter()
                    .map(|row| (row.lane.uid, row.lane.tool.clone(), row.id)),
            );
            match page.next {
                Some(next) => after = Some(next),
                None => return rows,
            }
        }
    };
    let all = list(Filter::default(), &[], 1_000);
    assert_eq!(all.len(), 280);
    for limit in [1, 7, 64, 280] {
        assert_eq!(list(Filter::default(), &[], limit), all, "pages of {limit}");
    }
    assert_eq!(
        list(
            Filter {
                uid: Some(2),
                ..Filter::default()
            },
            &[],
            50
        )
        .len(),
        140
    );
    assert_eq!(
        list(
            Filter {
                tool: Some("x".into()),
                ..Filter::default()
            },
            &[],
            50
        )
        .len(),
        140
    );
    assert_eq!(list(Filter::default(), &[RowState::Parked], 50).len(), 1);
    assert_eq!(list(Filter::default(), &[RowState::Claimed], 50).len(), 33);
    assert_eq!(
        list(Filter::default(), &[RowState::Waiting, RowState::Parked], 50).len(),
        247
    );
    let ids = vec![all[3].2, all[200].2, id(77)];
    assert_eq!(
        list(
            Filter {
                ids: Some(ids),
                ..Filter::default()
            },
            &[],
            50
        )
        .len(),
        2
    );
}

#[test]
fn what_is_delivered_while_its_tool_is_forgotten_is_not_waiting_afterwards() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    let lane = lane(1, "a", "t");
    for round in 0..10_u64 {
        let ids = |from: u64, many: u64| round * 100_000 + from..round * 100_000 + from + many;
        for part in 0..6 {
            bench
                .append(events(&lane, ids(part * 500, 500), 300, START))
                .unwrap();
        }
        let queue = bench.queue();
        let forget = queue.purge(Filter::default(), PurgeReason::Forget, START);
        let traffic = async {
            for turn in 0..30 {
                let append = events(&lane, ids(50_000 + turn * 20, 20), 300, START);
                queue.append(append).await.unwrap();
                while let Some(claimed) = queue.claim(&"a".into(), at_most(7), START).await.unwrap() {
                    queue.settle(claimed.id, delivered(), None, START).await.unwrap();
                }
            }
        };
        let (forgotten, ()) = bench.wait(async { tokio::join!(forget, traffic) });
        forgotten.unwrap();
        assert_balanced(&bench);
        assert_eq!(bench.rows().len(), 0, "round {round}");
        let again = bench.purge(Filter::default(), PurgeReason::Forget, START);
        assert_eq!(again.queued, 0, "round {round}");
        assert_balanced(&bench);
    }
    let report = bench.try_close();
    assert!(report.is_ok());
    let bench = Bench::start(directory.path());
    assert_balanced(&bench);
}

#[test]
fn what_is_put_back_while_a_purge_goes_on_does_not_escape_it() {
    for reason in [PurgeReason::User, PurgeReason::Consent, PurgeReason::Forget] {
        let directory = scratch();
        let bench = Bench::start(directory.path());
        let lane = lane(1, "a", "t");
        bench.append(events(&lane, 0..40, 300, START)).unwrap();
        for _ in 0..40 {
            let claimed = bench.claim("a", at_most(1), START).unwrap();
            bench.settle(claimed.id, bisect(422), START);
        }
        assert_eq!(bench.total().parked, 40);
        for part in 0..10 {
            let ids = 1000 + part * 500..1500 + part * 500;
            bench.append(events(&lane, ids, 300, START)).unwrap();
        }
        let queue = bench.queue();
        let purge = queue.purge(Filter::default(), reason, START);
        let back = queue.requeue(Filter::default(), START);
        let (purged, back) = bench.wait(async { tokio::join!(purge, back) });
        assert_eq!(purged.unwrap().parked, 40, "{reason:?}");
        assert_eq!(back.unwrap(), 0, "{reason:?}");
        assert_eq!(bench.rows().len(), 0, "{reason:?}");
        assert_balanced(&bench);
    }
}

//! Erased means erased, and the file is only as large as what is in it.

use std::path::Path;

use telemetry_queue::{Filter, Outcome, PurgeReason, Purged};

use super::file;
use crate::support::{
    Bench, Random, START, after, assert_balanced, at_most, bisect, delivered, events, id, lane, options,
    payload, push, scratch,
};

/// Whether the bytes are anywhere in any file of the directory.
fn anywhere(directory: &Path, bytes: &[u8]) -> Vec<String> {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let holds = |path: &std::path::PathBuf| {
        let contents = std::fs::read(path).unwrap();
        contents.windows(bytes.len()).any(|window| window == bytes)
    };
    entries
        .filter(holds)
        .map(|path| path.display().to_string())
        .collect()
}

#[test]
fn a_purge_leaves_no_byte_of_what_it_purged_anywhere() {
    // Sizes around everything that matters: small, a page, several pages, many. And in the heap, where the small segments
    // of many lanes are, or not.
    let sizes = [30, 200, 4_000, 9_000, 16_300, 40_000];
    let cases = sizes.into_iter().flat_map(|size| [(size, 0), (size, 5)]);
    for (size, others) in cases {
        let directory = scratch();
        let bench = Bench::start(directory.path());
        let (keep, purge) = (lane(1, "a", "keep"), lane(1, "a", "purge"));
        let secret = format!("secret-{size}-that-nobody-may-find");
        let mut body = secret.clone().into_bytes();
        body.resize(size.max(body.len()), b'.');
        body.extend_from_slice(b"and-its-end-too");
        for turn in 0..6_u64 {
            let mut append = events(&keep, turn * 100..turn * 100 + 20, 300, after(turn));
            for number in 0..20 {
                push(&mut append, &purge, id(10_000 + turn * 100 + number), &body);
            }
            for other in 0..others {
                let number = 20_000 + turn * 100 + other;
                push(
                    &mut append,
                    &lane(1, "a", &format!("other{other}")),
                    id(number),
                    b"{}",
                );
            }
            bench.append(append).unwrap();
        }
        // Some delivered (the sent log keeps bodies), some parked, some in a batch, some under lease.
        let claimed = bench.claim("a", at_most(100), after(10)).unwrap();
        bench.settle(claimed.id, delivered(), after(10));
        for _ in 0..4 {
            let claimed = bench.claim("a", at_most(1), after(10)).unwrap();
            bench.settle(claimed.id, bisect(422), after(10));
        }
        let claimed = bench.claim("a", at_most(30), after(10)).unwrap();
        bench.settle(claimed.id, crate::support::retry(), after(10));
        let leased = bench.claim("a", at_most(30), after(10)).unwrap();
        assert!(!anywhere(directory.path(), secret.as_bytes()).is_empty());
        let filter = Filter {
            tool: Some("purge".into()),
            ..Filter::default()
        };
        let receipt = bench.purge(filter, PurgeReason::Consent, after(11));
        assert!(receipt.queued > 0 && receipt.sent_bodies > 0, "{receipt:?}");
        for needle in [secret.as_bytes(), b"and-its-end-too"] {
            assert_eq!(
                anywhere(directory.path(), needle),
                Vec::<String>::new(),
                "{size} bytes: {receipt:?}"
            );
        }
        assert_balanced(&bench);
        let purged = bench
            .books()
            .into_iter()
            .find(|book| &*book.lane.tool == "purge")
            .unwrap();
        assert_eq!((purged.queued, purged.parked), (0, 0));
        assert_eq!(purged.purged, receipt.queued + receipt.parked);
        bench.settle(leased.id, delivered(), after(12));
        assert_balanced(&bench);
        let kept = bench
            .books()
            .into_iter()
            .find(|book| &*book.lane.tool == "keep")
            .unwrap();
        assert_eq!((kept.accepted, kept.purged), (120, 0));
        bench.close();
        assert_eq!(
            anywhere(directory.path(), secret.as_bytes()),
            Vec::<String>::new()
        );
    }
}

#[test]
fn a_withdrawal_that_finds_nothing_leaves_no_byte_of_what_had_expired() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.max_age_ms = 1000;
    let bench = Bench::open(&options, START).unwrap();
    let mut append = events(&lane(1, "a", "other"), 0..5, 300, START);
    let secret = b"a-body-that-waited-for-too-long";
    push(&mut append, &lane(1, "a", "t"), id(99), secret);
    bench.append(append).unwrap();
    assert!(bench.claim("a", at_most(10), after(5000)).is_none());
    let filter = Filter {
        tool: Some("t".into()),
        ..Filter::default()
    };
    let receipt = bench.purge(filter, PurgeReason::Consent, after(5001));
    assert_eq!(receipt.queued, 0, "it had expired");
    assert_eq!(anywhere(directory.path(), secret), Vec::<String>::new());
}

#[test]
fn delivered_bodies_are_erased_where_the_log_keeps_none() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.sent_bodies = false;
    let bench = Bench::open(&options, START).unwrap();
    let mut append = events(&lane(1, "a", "t"), 0..10, 300, START);
    push(
        &mut append,
        &lane(1, "a", "t"),
        id(99),
        b"a-body-that-is-delivered-and-forgotten",
    );
    bench.append(append.clone()).unwrap();
    bench.deliver_all("a", after(1));
    bench.close();
    assert_eq!(
        anywhere(directory.path(), b"delivered-and-forgotten"),
        Vec::<String>::new()
    );
    // The ids are still known.
    let bench = Bench::open(&options, after(2)).unwrap();
    let answers = bench.append(append).unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| *answer == telemetry_queue::Appended::Duplicate),
        "{answers:?}"
    );
}

#[test]
fn the_sent_log_keeps_to_its_limits_oldest_first() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.sent_max_bytes = 100_000;
    let bench = Bench::open(&options, START).unwrap();
    for turn in 0..50_u64 {
        bench
            .append(events(
                &lane(1, "a", "t"),
                turn * 100..turn * 100 + 20,
                500,
                after(turn),
            ))
            .unwrap();
        bench.deliver_all("a", after(turn));
        let sent = bench.sent();
        let bytes: u64 = sent.iter().map(|sent| sent.bytes).sum();
        assert!(bytes <= 100_000, "{bytes} bytes");
        assert_eq!(
            sent.last().unwrap().members.last().unwrap().id,
            id(turn * 100 + 19)
        );
    }
    assert!(bench.sent().len() >= 5);
    // And to its age: 7 days.
    let late = after(8 * crate::support::DAY_MS);
    bench
        .append(events(&lane(1, "a", "t"), 100_000..100_001, 500, late))
        .unwrap();
    bench.until("the log is empty", |bench| {
        bench.claim("b", at_most(1), late);
        bench.sent().is_empty()
    });
    assert_balanced(&bench);
    // What was in the log is not known any more.
    let again = bench.append(events(&lane(1, "a", "t"), 0..1, 500, late)).unwrap();
    assert_eq!(again, [telemetry_queue::Appended::Queued]);
}

#[test]
fn the_file_shrinks_after_a_drain() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.sent_max_bytes = 100_000;
    options.limits.max_bytes_per_tool = 64 << 20;
    let bench = Bench::open(&options, START).unwrap();
    for turn in 0..40_u64 {
        let first = turn * 1_000;
        bench
            .append(events(&lane(1, "a", "t"), first..first + 1_000, 800, after(turn)))
            .unwrap();
    }
    bench.wait(bench.queue().checkpoint()).unwrap();
    let full = std::fs::metadata(file(directory.path())).unwrap().len();
    assert!(full > 32 << 20, "{full} bytes");
    bench.deliver_all("a", after(100));
    // What is left is the room that the queue keeps for what comes next.
    let mut shrunk = 0;
    bench.until("the file has shrunk", |bench| {
        bench.wait(bench.queue().checkpoint()).unwrap();
        shrunk = std::fs::metadata(file(directory.path())).unwrap().len();
        shrunk < full / 3
    });
    bench.close();
    let drained = std::fs::metadata(file(directory.path())).unwrap().len();
    assert!(drained <= shrunk, "{drained} of {full} bytes");
}

#[test]
fn file_and_wal_stay_within_their_limit_while_events_are_evicted() {
    for bytes in [300, 1_000, 12_000] {
        let directory = scratch();
        let mut options = options(directory.path());
        options.limits.max_bytes = 32 << 20;
        options.limits.max_bytes_per_tool = 32 << 20;
        options.limits.sent_max_bytes = 2 << 20;
        let bench = Bench::open(&options, START).unwrap();
        let mut most = 0;
        let count = 1_000_000 / bytes as u64;
        for turn in 0..48_u64 {
            let lane = lane(1, "a", ["x", "y"][turn as usize % 2]);
            let first = turn * 100_000;
            bench
                .append(events(&lane, first..first + count, bytes, after(turn)))
                .unwrap();
            if turn % 8 == 0
                && let Some(claimed) = bench.claim("a", at_most(100), after(turn))
            {
                bench.settle(claimed.id, delivered(), after(turn));
            }
            most = most.max(bench.queue().bytes_on_disk());
            assert!(bench.view().bytes <= options.limits.max_bytes);
        }
        assert!(bench.total().evicted > 0);
        assert_balanced(&bench);
        let limit = options.limits.max_bytes / 4 * 5;
        assert!(
            most <= limit,
            "{bytes} bytes an event: {most} of {limit} bytes on the disk"
        );
    }
}

#[test]
fn an_event_costs_at_most_520_bytes_on_the_disk() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    for turn in 0..20_u64 {
        bench
            .append(events(
                &lane(1, "a", "t"),
                turn * 10_000..turn * 10_000 + 1_000,
                351,
                after(turn),
            ))
            .unwrap();
    }
    bench.close();
    let length = std::fs::metadata(file(directory.path())).unwrap().len();
    assert!(length / 20_000 <= 520, "{} bytes an event", length / 20_000);
}

/// Where rows come and go for a while, SQLite moves what stands on a page to its neighbours and leaves a copy where it
/// was, in the part of the page that nothing uses: `secure_delete` overwrites the row later, and not the copy.
#[test]
fn what_was_moved_from_page_to_page_before_its_purge_is_found_nowhere_either() {
    for seed in 1..=12_u64 {
        let directory = scratch();
        let bench = Bench::start(directory.path());
        let tools = ["keep", "other", "third", "purge"].map(|tool| lane(1, "a", tool));
        let mut dice = seed;
        let mut throw = |sides: u64| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        let mut number = 0;
        for turn in 0..150 {
            let mut append = events(&tools[0], 0..0, 300, after(turn));
            for _ in 0..=throw(30) {
                let which = throw(4) as usize;
                number += 1;
                let mut body = format!("secret-of-{}-{number}", tools[which].tool).into_bytes();
                body.resize(200 + throw(300) as usize, b'.');
                push(&mut append, &tools[which], id(number), &body);
            }
            bench.append(append).unwrap();
            match throw(3) {
                0 => continue,
                1 => {
                    if let Some(claimed) = bench.claim("a", at_most(20), after(turn)) {
                        bench.settle(claimed.id, delivered(), after(turn));
                    }
                }
                _ if turn % 10 == 0 => {
                    let filter = Filter {
                        tool: Some(tools[1 + throw(3) as usize].tool.clone()),
                        ..Filter::default()
                    };
                    bench.purge(filter, PurgeReason::Consent, after(turn));
                }
                _ => {}
            }
        }
        let filter = Filter {
            tool: Some("purge".into()),
            ..Filter::default()
        };
        bench.purge(filter, PurgeReason::Consent, after(200));
        let left = anywhere(directory.path(), b"secret-of-purge-");
        assert_eq!(left, Vec::<String>::new(), "seed {seed}");
        assert!(!anywhere(directory.path(), b"secret-of-keep-").is_empty());
        assert_balanced(&bench);
    }
}

#[test]
fn of_two_purges_at_once_neither_leaves_what_it_swept_for_a_later_checkpoint() {
    // The one that has less to erase is done while the other one sweeps; how much less, is what the turns say.
    for turns in [84, 90, 96, 102] {
        let directory = scratch();
        let bench = Bench::start(directory.path());
        let tools = ["keep", "too", "three", "second", "first"].map(|tool| lane(1, "a", tool));
        let mut number = 0;
        for turn in 0..600 {
            let mut append = events(&tools[0], 0..0, 300, after(turn));
            for tool in tools
                .iter()
                .filter(|tool| turn >= turns || *tool.tool != *"first")
            {
                for _ in 0..6 {
                    number += 1;
                    let mut body = format!("secret-of-{}-{number}", tool.tool).into_bytes();
                    body.extend(payload(number, 200 + (number * 37 % 500) as usize));
                    push(&mut append, tool, id(number), &body);
                }
            }
            bench.append(append).unwrap();
        }
        let purge = |tool: &str| {
            let filter = Filter {
                tool: Some(tool.into()),
                ..Filter::default()
            };
            bench.queue().purge(filter, PurgeReason::Consent, after(800))
        };
        let (first, second) = bench.wait(async { tokio::join!(purge("first"), purge("second")) });
        assert!(first.unwrap().queued > 0 && second.unwrap().queued > 0);
        let wal = std::fs::metadata(directory.path().join("queue.db-wal"))
            .unwrap()
            .len();
        // What is swept and not yet brought into the file still stands there.
        assert_eq!(wal, 0, "{turns}");
        assert_balanced(&bench);
    }
}

#[test]
fn what_waits_for_one_destination_does_not_stay_on_half_empty_pages_while_another_takes_its_own() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    let lanes: Vec<_> = (0..20)
        .map(|at| lane(1, ["a", "b"][at % 2], &format!("t{}", at / 2)))
        .collect();
    for turn in 0..1_000 {
        let mut append = events(&lanes[0], 0..0, 0, after(turn));
        for (number, lane) in (turn * 20..).zip(&lanes) {
            push(&mut append, lane, id(number), &payload(number, 1_000));
        }
        bench.append(append).unwrap();
        if turn % 50 == 49 {
            bench.deliver_all("a", after(turn));
        }
    }
    let (waiting, total) = (10_000 * 1_000, bench.total());
    assert_eq!((total.queued, total.evicted), (10_000, 0));
    bench.close();
    let file = file(directory.path()).metadata().unwrap().len();
    // And what the sent log keeps.
    assert!(file < waiting * 13 / 10 + (4 << 20), "{file}");
}

#[test]
fn a_withdrawal_erases_what_was_delivered_from_the_wal_too_where_the_log_keeps_no_bodies() {
    let directory = scratch();
    let mut options = options(directory.path());
    options.limits.sent_bodies = false;
    let bench = Bench::open(&options, START).unwrap();
    let lane = lane(1, "a", "t");
    let secret = b"delivered-and-nobody-may-find-it";
    for turn in 0..5_u64 {
        let mut append = events(&lane, [], 300, after(turn));
        for number in 0..20 {
            push(&mut append, &lane, id(turn * 100 + number), secret);
        }
        bench.append(append).unwrap();
    }
    assert_eq!(bench.deliver_all("a", after(10)), 100);
    bench.purge(Filter::default(), PurgeReason::Consent, after(20));
    assert_eq!(anywhere(directory.path(), secret), Vec::<String>::new());
    assert_balanced(&bench);
}

#[test]
fn a_withdrawal_after_a_start_leaves_no_byte_of_what_had_expired_before() {
    for seed in 1..=8 {
        let directory = scratch();
        let mut options = options(directory.path());
        options.limits.max_age_ms = 1000;
        let bench = Bench::open(&options, START).unwrap();
        let tools = ["young", "old"].map(|tool| lane(1, "a", tool));
        let mut random = Random::new(seed);
        // One tool's are old, another's among them are not.
        for turn in 0..60 {
            for (lane, at) in [(&tools[1], after(turn)), (&tools[0], after(900 + turn))] {
                let mut append = events(lane, [], 300, at);
                for number in 0..=random.below(15) {
                    let mut body = format!("{}-waits", lane.tool).into_bytes();
                    body.resize(200 + random.below(300) as usize, b'.');
                    push(&mut append, lane, id(at.boot_ms * 100 + number), &body);
                }
                bench.append(append).unwrap();
            }
        }
        let claimed = bench.claim("a", at_most(10), after(1500)).unwrap();
        bench.settle(claimed.id, Outcome::Release, after(1500));
        bench.close();
        let bench = Bench::open(&options, after(1600)).unwrap();
        assert!(!bench.report.unclean);
        let filter = Filter {
            tool: Some("old".into()),
            ..Filter::default()
        };
        let purged = bench.purge(filter, PurgeReason::Consent, after(1601));
        assert_eq!(purged, Purged::default(), "they had expired");
        let left = anywhere(directory.path(), b"old-waits");
        assert_eq!(left, Vec::<String>::new(), "seed {seed}");
        assert!(!anywhere(directory.path(), b"young-waits").is_empty());
    }
}

//! A disk that is full: new events are refused, what is there stays, delivery goes on, and it recovers by itself.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use telemetry_queue::{Appended, ErrorKind};

use super::owner::skip;
use super::unshare;
use crate::support::{
    Bench, Random, after, assert_balanced, at_most, bisect, delivered, events, lane, options, scratch, split,
};

/// Tools whose events share a disk: each has pages of its own.
const TOOLS: u64 = 40;

/// Runs one of the tests below on a file system of its own, so many MiB large.
fn on_a_disk_of(mib: u32, child: &str) {
    let Some(mut command) = unshare() else {
        return skip("no private mount namespace can be made here");
    };
    let mount = scratch();
    let script = "mount -t tmpfs -o size=$4m,mode=700 tmpfs \"$1\" && exec \"$2\" \"$3\" --exact --nocapture";
    let output = command
        .args(["sh", "-c", script, "sh"])
        .arg(mount.path())
        .arg(std::env::current_exe().unwrap())
        .arg(child)
        .arg(mib.to_string())
        .env("TELEMETRYD_FULL_DISK", mount.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("the disk was full and is not any more"), "{said}");
}

/// Takes all that is left of the disk.
fn fill(directory: &Path) {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("other"))
        .unwrap();
    let mut size = 1 << 20;
    let mut at = file.metadata().unwrap().len();
    while size >= 512 {
        if file.write_all_at(&vec![1; size], at).is_ok() {
            at += size as u64;
        } else {
            size /= 2;
        }
    }
}

#[test]
fn a_full_disk_refuses_new_events_keeps_the_old_ones_and_recovers_by_itself() {
    on_a_disk_of(6, "faults::disk::child");
}

#[test]
fn a_file_that_is_corrupt_on_a_full_disk_is_salvaged_when_there_is_room() {
    on_a_disk_of(6, "faults::disk::corrupt_child");
}

#[test]
fn all_is_delivered_while_others_take_whatever_room_a_full_disk_has() {
    on_a_disk_of(12, "faults::disk::greedy_child");
}

#[test]
fn a_disk_that_events_alone_have_filled_takes_events_again_when_all_are_delivered() {
    on_a_disk_of(8, "faults::disk::drained_child");
}

/// Events of many tools, until the disk is full; how many.
fn until_it_is_full(bench: &Bench) -> u64 {
    let names: Vec<String> = (0..TOOLS).map(|tool| format!("t{tool}")).collect();
    let lanes: Vec<_> = names.iter().map(|name| lane(1, "a", name)).collect();
    let mut accepted = 0;
    for turn in 0..10_000 {
        for (at, lane) in lanes.iter().enumerate() {
            let first = turn * 1_000 + 10 * at as u64;
            match bench.append(events(lane, first..first + 10, 500, after(turn))) {
                Ok(answers) => accepted += answers.len() as u64,
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::DiskFull, "{error:?}");
                    return accepted;
                }
            }
        }
    }
    panic!("so small a disk holds no four million events");
}

/// New events are taken; the first time the room for them may have to be found.
fn takes_events(bench: &Bench, turn: u64) {
    let late = || events(&lane(1, "a", "late"), 90_000_000..90_000_010, 500, after(turn));
    let answers = bench.append(late()).or_else(|_| bench.append(late()));
    assert_eq!(answers.unwrap(), [Appended::Queued; 10]);
}

/// Not a test of its own: see above.
#[test]
fn greedy_child() {
    let Some(directory) = std::env::var_os("TELEMETRYD_FULL_DISK").map(PathBuf::from) else {
        return;
    };
    let bench = Bench::start(&directory.join("state"));
    let accepted = until_it_is_full(&bench);
    assert_eq!(bench.total().queued, accepted);
    let mut random = Random::new(1);
    while let Some(claimed) = bench.claim("a", at_most(1 + random.below(30) as u32), after(20_000)) {
        fill(&directory);
        let outcome = match random.below(4) {
            0 => bisect(400),
            1 => split(),
            _ => delivered(),
        };
        bench.settle(claimed.id, outcome, after(20_000));
        fill(&directory);
    }
    assert_eq!(bench.total().delivered + bench.total().parked, accepted);
    assert_balanced(&bench);
    std::fs::remove_file(directory.join("other")).unwrap();
    takes_events(&bench, 30_000);
    bench.close();
    println!("the disk was full and is not any more");
}

/// Not a test of its own: see above.
#[test]
fn drained_child() {
    let Some(directory) = std::env::var_os("TELEMETRYD_FULL_DISK").map(PathBuf::from) else {
        return;
    };
    let bench = Bench::start(&directory.join("state"));
    let accepted = until_it_is_full(&bench);
    assert_eq!(bench.deliver_all("a", after(20_000)), accepted);
    takes_events(&bench, 20_001);
    bench.close();
    println!("the disk was full and is not any more");
}

/// Not a test of its own: see above.
#[test]
fn corrupt_child() {
    let Some(directory) = std::env::var_os("TELEMETRYD_FULL_DISK").map(PathBuf::from) else {
        return;
    };
    let state = directory.join("state");
    let bench = Bench::start(&state);
    for turn in 0..10_u64 {
        let first = turn * 1_000;
        bench
            .append(events(&lane(1, "a", "t"), first..first + 100, 1_000, after(turn)))
            .unwrap();
    }
    bench.close();
    super::overwrite(&super::file(&state), 0, &[0x55; 4_096]);
    fill(&directory);
    // Starting succeeds or says that the disk is full; either way nothing is lost by it.
    for turn in 0..3 {
        match Bench::open(&options(&state), after(100 + turn)) {
            Ok(bench) => {
                assert_balanced(&bench);
                let _ = bench.try_close();
            }
            Err(error) => assert_eq!(error.kind, ErrorKind::DiskFull, "{error:?}"),
        }
        fill(&directory);
    }
    std::fs::remove_file(directory.join("other")).unwrap();
    let bench = Bench::open(&options(&state), after(200)).unwrap();
    assert_balanced(&bench);
    let total = bench.total();
    assert_eq!((total.accepted, total.queued, total.lost), (1_000, 1_000, 0));
    assert_eq!(bench.deliver_all("a", after(201)), 1_000);
    bench.close();
    println!("the disk was full and is not any more");
}

/// Not a test of its own: what the one above runs on its small file system.
#[test]
fn child() {
    let Some(directory) = std::env::var_os("TELEMETRYD_FULL_DISK") else {
        return;
    };
    let directory = PathBuf::from(directory);
    let state = directory.join("state");
    let bench = Bench::start(&state);
    let lane = lane(1, "a", "t");
    let mut accepted = 0;
    let mut refused = None;
    for turn in 0..100_u64 {
        match bench.append(events(
            &lane,
            turn * 1_000..turn * 1_000 + 100,
            1_000,
            after(turn),
        )) {
            Ok(answers) => accepted += answers.len() as u64,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("6 MiB hold no 10 MB");
    assert_eq!(refused.kind, ErrorKind::DiskFull, "{refused:?}");
    assert!(accepted > 1_000, "{accepted} events");
    assert_balanced(&bench);
    assert!(bench.view().disk_full);
    assert_eq!(bench.total().queued, accepted, "what was acknowledged is there");
    // It is not one failure only: the disk stays full, and each append says so.
    for turn in 200..210_u64 {
        let again = bench.append(events(
            &lane,
            turn * 1_000..turn * 1_000 + 100,
            1_000,
            after(turn),
        ));
        assert_eq!(again.unwrap_err().kind, ErrorKind::DiskFull);
    }
    assert_eq!(bench.total().queued, accepted);
    // Delivery goes on, and makes room.
    let mut sent = 0;
    while let Some(claimed) = bench.claim("a", at_most(100), after(300)) {
        sent += claimed.events.len() as u64;
        bench.settle(claimed.id, delivered(), after(300));
        if sent >= accepted / 2 {
            break;
        }
    }
    assert!(sent >= accepted / 2, "delivery has stopped at {sent}");
    assert_balanced(&bench);
    // A fifth of the disk is taken by another program, and given back: nobody has to restart anything.
    let other = directory.join("other");
    fill(&directory);
    let mut full = false;
    for turn in 400..500_u64 {
        match bench.append(events(
            &lane,
            turn * 1_000..turn * 1_000 + 100,
            1_000,
            after(turn),
        )) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::DiskFull);
                full = true;
                break;
            }
        }
    }
    bench.books();
    assert!(full && bench.view().disk_full);
    std::fs::remove_file(&other).unwrap();
    let answers = bench
        .append(events(&lane, 900_000..900_010, 1_000, after(600)))
        .unwrap();
    assert_eq!(answers, [Appended::Queued; 10]);
    assert_balanced(&bench);
    assert!(!bench.view().disk_full);
    // Starting with a full disk succeeds, too, and delivers.
    fill(&directory);
    bench.close();
    fill(&directory);
    let bench = Bench::open(&options(&state), after(700)).unwrap();
    assert_balanced(&bench);
    let claimed = bench
        .claim("a", at_most(10), after(700))
        .expect("delivery goes on with a full disk");
    bench.settle(claimed.id, delivered(), after(700));
    std::fs::remove_file(&other).unwrap();
    bench.deliver_all("a", after(701));
    assert_eq!(bench.total().queued, 0);
    assert_balanced(&bench);
    bench.close();
    println!("the disk was full and is not any more");
}

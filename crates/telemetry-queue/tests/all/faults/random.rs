//! Damage of any kind, anywhere: whatever was done to the file, the queue starts, delivers and balances.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::before::{Before, filled};
use super::{copy_of, file};
use crate::support::{Bench, after, assert_balanced, events, lane, options};

/// What is done to the file at one place.
#[derive(Clone, Debug)]
enum Damage {
    /// Bytes are overwritten by others.
    Garbage { at: u32, bytes: Vec<u8> },
    /// Some bits are flipped.
    Flipped { at: u32, bits: u8 },
    /// A sector was never written.
    Zeroed { sector: u16 },
    /// A page's place holds what belongs to another.
    Misplaced { from: u16, to: u16 },
    /// The file ends here.
    Truncated { at: u32 },
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => (any::<u32>(), prop::collection::vec(any::<u8>(), 1..2_000))
            .prop_map(|(at, bytes)| Damage::Garbage { at, bytes }),
        3 => (any::<u32>(), 1u8..).prop_map(|(at, bits)| Damage::Flipped { at, bits }),
        3 => any::<u16>().prop_map(|sector| Damage::Zeroed { sector }),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(from, to)| Damage::Misplaced { from, to }),
        1 => any::<u32>().prop_map(|at| Damage::Truncated { at }),
    ]
}

fn apply(contents: &mut Vec<u8>, damage: &Damage) {
    let length = contents.len().max(1);
    match damage {
        Damage::Garbage { at, bytes } => {
            let at = *at as usize % length;
            let end = (at + bytes.len()).min(contents.len());
            let count = end.saturating_sub(at);
            contents[at..end].copy_from_slice(&bytes[..count]);
        }
        Damage::Flipped { at, bits } => {
            if let Some(byte) = contents.get_mut(*at as usize % length) {
                *byte ^= bits;
            }
        }
        Damage::Zeroed { sector } => {
            let at = usize::from(*sector) * 512 % length;
            let end = (at + 512).min(contents.len());
            contents[at..end].fill(0);
        }
        Damage::Misplaced { from, to } => {
            let pages = (length / 16_384).max(1);
            let (from, to) = (
                usize::from(*from) % pages * 16_384,
                usize::from(*to) % pages * 16_384,
            );
            if from + 16_384 <= contents.len() && to + 16_384 <= contents.len() {
                contents.copy_within(from..from + 16_384, to);
            }
        }
        Damage::Truncated { at } => contents.truncate(*at as usize % length),
    }
}

fn survives(before: &Before, damages: &[Damage]) {
    let copy = copy_of(before.path());
    let mut contents = std::fs::read(file(copy.path())).unwrap();
    for damage in damages {
        apply(&mut contents, damage);
    }
    std::fs::write(file(copy.path()), contents).unwrap();
    let bench = match Bench::open(&options(copy.path()), after(1_000)) {
        Ok(bench) => bench,
        // The version in the header was hit, and says that a newer program wrote the file: left alone.
        Err(error) if error.kind == telemetry_queue::ErrorKind::NewerSchema => return,
        Err(error) => panic!("{error:?}"),
    };
    bench.until_checked();
    assert_balanced(&bench);
    let queued = bench.total().queued;
    // What was never there is never there. (With books and log both lost, what was delivered cannot be told from what
    // was not: it goes again rather than not at all.)
    let logged: u64 = before.sent.iter().map(|sent| u64::from(sent.events)).sum();
    assert!(
        queued <= before.row_count() + logged,
        "{queued} of {}",
        before.row_count()
    );
    let sent = bench.deliver_all("a", after(2_000)) + bench.deliver_all("b", after(2_000));
    assert!(sent <= queued);
    let append = events(&lane(1, "a", "new"), 90_000..90_010, 100, after(2_001));
    assert_eq!(bench.append(append).unwrap().len(), 10);
    assert_balanced(&bench);
    bench.close();
    let bench = Bench::open(&options(copy.path()), after(3_000)).unwrap();
    assert_eq!(bench.deliver_all("a", after(3_001)), 10);
    assert_balanced(&bench);
    bench.close();
}

/// `PROPTEST_CASES` raises it.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(24)
}

#[test]
fn damage_of_any_kind_anywhere_stops_nothing() {
    let before = filled();
    let config = Config {
        cases: cases(),
        max_shrink_iters: 300,
        failure_persistence: None,
        ..Config::default()
    };
    proptest!(config, |(damages in prop::collection::vec(damage(), 1..5))| {
        survives(&before, &damages);
    });
}

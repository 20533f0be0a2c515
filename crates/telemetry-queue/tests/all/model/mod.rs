//! The queue against a `Vec`: any sequence of operations, and after each the laws of QUEUE.md, promises
//! 2 and 3 (I1, I2, I5, I8). What the queue chooses for itself (which rows it evicts, how it cuts a
//! batch) is not predicted but judged.

use proptest::prelude::*;
use proptest::test_runner::Config;

mod drain;
mod judge;
mod world;

use world::World;

/// How a leased batch ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Delivered,
    Retry,
    Split,
    Bisect(u16),
    Release,
    PutBack,
}

/// An event to append: a new one, or one that was appended before.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) lane: u8,
    pub(crate) again: Option<u16>,
    pub(crate) bytes: u16,
    pub(crate) project: Option<u8>,
}

/// Which rows a purge or a requeue means; each field is left out where it is `None`.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    pub(crate) uid: Option<u8>,
    pub(crate) tool: Option<u8>,
    pub(crate) destination: Option<bool>,
    pub(crate) project: Option<u8>,
    pub(crate) epoch_below: Option<u8>,
    pub(crate) ids: Option<Vec<u16>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append {
        drafts: Vec<Draft>,
        synced: bool,
    },
    Claim {
        destination: bool,
        max_events: u8,
        max_bytes: Option<u16>,
    },
    Settle {
        lease: u8,
        ending: Ending,
        claim_next: bool,
    },
    Tick {
        ms: u32,
    },
    NewEpoch,
    Purge {
        which: Which,
        forget: bool,
    },
    Requeue {
        which: Which,
    },
    Restart {
        reboot: bool,
    },
    Crash,
}

/// Limits small enough to be met.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) max_bytes: u64,
    pub(crate) max_bytes_per_tool: u64,
    pub(crate) max_age_ms: u64,
    pub(crate) sent_max_bytes: u64,
    pub(crate) sent_bodies: bool,
}

fn setting() -> impl Strategy<Value = Setting> {
    (
        prop_oneof![Just(64 << 20), 3_000u64..20_000],
        prop_oneof![Just(16 << 20), 1_500u64..8_000],
        prop_oneof![Just(30 * 86_400_000), 5_000u64..60_000],
        prop_oneof![Just(4 << 20), 500u64..5_000],
        any::<bool>(),
    )
        .prop_map(
            |(max_bytes, max_bytes_per_tool, max_age_ms, sent_max_bytes, sent_bodies)| Setting {
                max_bytes,
                max_bytes_per_tool,
                max_age_ms,
                sent_max_bytes,
                sent_bodies,
            },
        )
}

fn draft() -> impl Strategy<Value = Draft> {
    let again = prop_oneof![6 => Just(None), 1 => any::<u16>().prop_map(Some)];
    let project = prop_oneof![3 => Just(None), 1 => (0u8..3).prop_map(Some)];
    let bytes = prop_oneof![8 => 1u16..300, 1 => 300u16..2_000, 1 => Just(0u16)];
    (0u8..12, again, bytes, project).prop_map(|(lane, again, bytes, project)| Draft {
        lane,
        again,
        bytes,
        project,
    })
}

fn which() -> impl Strategy<Value = Which> {
    use prop::option::weighted;
    (
        weighted(0.4, 0u8..2),
        weighted(0.3, 0u8..3),
        weighted(0.3, any::<bool>()),
        weighted(0.2, 0u8..3),
        weighted(0.2, 0u8..6),
        weighted(0.3, prop::collection::vec(any::<u16>(), 0..6)),
    )
        .prop_map(|(uid, tool, destination, project, epoch_below, ids)| Which {
            uid,
            tool,
            destination,
            project,
            epoch_below,
            ids,
        })
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        4 => Just(Ending::Delivered),
        2 => Just(Ending::Retry),
        2 => Just(Ending::Split),
        3 => Just(Ending::Bisect(422)),
        1 => Just(Ending::Bisect(400)),
        1 => Just(Ending::Release),
        2 => Just(Ending::PutBack),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let drafts = prop::collection::vec(draft(), 1..20);
    prop_oneof![
        6 => (drafts, prop::bool::weighted(0.1)).prop_map(|(drafts, synced)| Step::Append { drafts, synced }),
        5 => (any::<bool>(), 1u8..30, prop::option::weighted(0.3, 100u16..3_000)).prop_map(
            |(destination, max_events, max_bytes)| Step::Claim { destination, max_events, max_bytes }
        ),
        8 => (any::<u8>(), ending(), prop::bool::weighted(0.3)).prop_map(|(lease, ending, claim_next)| {
            Step::Settle { lease, ending, claim_next }
        }),
        2 => (1u32..20_000).prop_map(|ms| Step::Tick { ms }),
        1 => Just(Step::NewEpoch),
        1 => (which(), any::<bool>()).prop_map(|(which, forget)| Step::Purge { which, forget }),
        1 => which().prop_map(|which| Step::Requeue { which }),
        1 => any::<bool>().prop_map(|reboot| Step::Restart { reboot }),
        1 => Just(Step::Crash),
    ]
}

/// `PROPTEST_CASES` raises it.
fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(64);
    Config {
        cases,
        max_shrink_iters: 4_000,
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_accepted_event_is_in_exactly_one_place_whatever_happens(
        setting in setting(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(&setting);
        for step in &steps {
            world.take(step);
        }
        world.drain();
    }
}

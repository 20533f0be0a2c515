//! What is packed is read again; damage is noticed.

use proptest::prelude::*;

use super::*;
use crate::schema;

type Given = (u64, Id, Option<Id>, bool, Vec<u8>);

fn given() -> impl Strategy<Value = (u64, Vec<Given>)> {
    let id = proptest::array::uniform16(any::<u8>());
    let event = (
        1..1_000_000_u64,
        id,
        proptest::option::of(id),
        any::<bool>(),
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "(os: linux, version: [12]){0,9}[ab]{0,9}".prop_map(String::into_bytes),
        ],
    );
    (1..1_u64 << 39, proptest::collection::vec(event, 1..50))
}

fn stamp() -> Stamp {
    let received = Moment {
        wall_ms: -7,
        boot_ms: 1 << 60,
    };
    Stamp {
        received,
        boot: 77,
        epoch: u64::MAX,
    }
}

fn packed(lane: u32, base: u64, events: &[Given]) -> (i64, Vec<u8>, Vec<u64>) {
    let mut builder = Builder::new(base, stamp());
    let mut seq = base;
    let mut seqs = Vec::new();
    for (step, id, project, stripped, payload) in events {
        seqs.push(seq);
        builder.push(&Frame {
            seq,
            id,
            project: project.as_ref(),
            stripped: *stripped,
            payload: Payload::whole(payload),
        });
        seq += step;
    }
    let key = schema::key(lane, base);
    (key, builder.finish(key), seqs)
}

proptest! {
    #[test]
    fn what_is_packed_is_read_again((base, events) in given()) {
        let (key, body, seqs) = packed(3, base, &events);
        let segment = Segment::read(key, &body).ok_or_else(|| TestCaseError::fail("it is damaged"))?;
        prop_assert_eq!(segment.stamp(), stamp());
        let frames: Vec<Frame<'_>> = segment.frames().collect();
        prop_assert_eq!(frames.len(), events.len());
        for ((frame, (_, id, project, stripped, payload)), seq) in frames.iter().zip(&events).zip(seqs) {
            prop_assert_eq!((frame.seq, frame.id, frame.project), (seq, id, project.as_ref()));
            prop_assert_eq!((frame.stripped, frame.payload.len()), (*stripped, payload.len()));
            prop_assert_eq!(&frame.payload.to_vec(), payload);
        }
    }

    #[test]
    fn damage_anywhere_is_noticed(
        (base, events) in given(), at in any::<prop::sample::Index>(), change in 1..=u8::MAX, cut in any::<bool>(),
    ) {
        let (key, mut body, _) = packed(3, base, &events);
        let at = at.index(body.len());
        if cut {
            body.truncate(at);
        } else {
            body[at] ^= change;
        }
        prop_assert!(Segment::read(key, &body).is_none());
    }

    #[test]
    fn a_body_under_another_key_is_noticed((base, events) in given()) {
        let (_, body, _) = packed(3, base, &events);
        prop_assert!(Segment::read(schema::key(4, base), &body).is_none());
        prop_assert!(Segment::read(schema::key(3, base + 1), &body).is_none());
    }

    #[test]
    fn garbage_is_no_segment_and_no_panic(body in proptest::collection::vec(any::<u8>(), 0..200), key in any::<i64>()) {
        prop_assert!(Segment::read(key, &body).is_none());
        if let Some(segment) = Segment::peek(key, &body) {
            prop_assert!(segment.frames().count() <= body.len());
        }
    }
}

/// Fills a segment with such payloads; how many they were, and the body.
fn filled(payload: impl Fn(u64) -> Vec<u8>) -> (u64, Vec<u8>) {
    let mut builder = Builder::new(1, stamp());
    let mut seq = 1;
    while !builder.is_full_for(&payload(seq), true) && builder.len() < 20_000 {
        builder.push(&Frame {
            seq,
            id: &[1; 16],
            project: Some(&[2; 16]),
            stripped: false,
            payload: Payload::whole(&payload(seq)),
        });
        seq += 1;
    }
    (seq - 1, builder.finish(schema::key(1, 1)))
}

#[test]
fn a_full_segment_leaves_no_page_overflowing() {
    for length in [0, 1, 350, 2_000, 8_000, 16_000] {
        let random = |seq| {
            let mut random = proptest::test_runner::TestRng::from_seed(
                proptest::test_runner::RngAlgorithm::ChaCha,
                &[seq as u8; 32],
            );
            let mut payload = vec![0; length];
            random.fill_bytes(&mut payload);
            payload
        };
        let (count, body) = filled(random);
        assert!(
            body.len() <= TARGET || count == 1,
            "{} bytes of events of {length}",
            body.len()
        );
    }
}

#[test]
fn what_events_have_in_common_is_stored_once_and_still_counted() {
    let payload = |seq: u64| format!("{}{seq:08}{}", "a".repeat(200), "z".repeat(200)).into_bytes();
    let (count, body) = filled(payload);
    assert!(
        (body.len() as u64) < count * 64,
        "{count} events in {} bytes",
        body.len()
    );
    let unpacked = count as usize * payload(1).len();
    assert!(
        (UNPACKED - 408..=UNPACKED).contains(&unpacked) || body.len() > TARGET - 64,
        "{unpacked}"
    );
    let key = schema::key(1, 1);
    let segment = Segment::read(key, &body).unwrap();
    for frame in segment.frames() {
        assert_eq!(frame.payload.to_vec(), payload(frame.seq));
    }
}

#[test]
fn an_erased_payload_stays_in_no_other() {
    let payloads: [&[u8]; 4] = [
        b"",
        b"secret-0123456789-alike",
        b"public-0123456789-alike",
        b"public-0123456789-alike",
    ];
    let mut builder = Builder::new(1, stamp());
    for (seq, payload) in (1..).zip(payloads) {
        let payload = Payload::whole(payload);
        builder.push(&Frame {
            seq,
            id: &[1; 16],
            project: None,
            stripped: false,
            payload,
        });
    }
    let key = schema::key(1, 1);
    let body = builder.finish(key);
    let mut left = Builder::new(1, stamp());
    for frame in Segment::read(key, &body)
        .unwrap()
        .frames()
        .filter(|frame| frame.seq != 2)
    {
        left.push(&frame);
    }
    let body = left.finish(key);
    assert!(!body.windows(6).any(|bytes| bytes == b"secret"));
    let read: Vec<_> = Segment::read(key, &body)
        .unwrap()
        .frames()
        .map(|frame| frame.payload.to_vec())
        .collect();
    assert_eq!(read, [payloads[0], payloads[2], payloads[3]]);
}

#[test]
fn events_share_a_stamp_when_they_were_received_nearly_together_and_no_consent_changed_between() {
    let stamp = |wall_ms, boot_ms, boot, epoch| Stamp {
        received: Moment { wall_ms, boot_ms },
        boot,
        epoch,
    };
    let one = stamp(1_000, 500, 1, 3);
    for (other, near) in [
        (one, true),
        (stamp(1_010, 510, 1, 3), true),
        (stamp(990, 490, 1, 3), true),
        (stamp(1_011, 511, 1, 3), false),
        // The wall clock was set.
        (stamp(5_000, 501, 1, 3), false),
        (stamp(1_000, 500, 2, 3), false),
        (stamp(1_000, 500, 1, 4), false),
    ] {
        assert_eq!(one.is_near(&other), near, "{other:?}");
    }
}

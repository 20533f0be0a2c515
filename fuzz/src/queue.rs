//! A queue file of any bytes, found at the start: the queue opens, takes an event and gives it back, and its books
//! balance; or it says that a newer version made the file (I5).

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::{env, fs};

use telemetry_queue::{
    Append, Appended, ClaimLimits, ErrorKind, Lane, Limits, Moment, NewEvent, Options, Outcome, Queue, open,
};
use tempfile::TempDir;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const NOW: Moment = Moment {
    wall_ms: 1_795_255_200_000,
    boot_ms: 60_000,
};
const CLAIM: ClaimLimits = ClaimLimits {
    max_events: 100,
    max_bytes: 1 << 20,
    per_batch: 100,
    per_event: 100,
    in_a_row: None,
};

/// What a queue leaves that was closed with five events and a batch that failed.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let directory = scratch();
    run(async {
        let (queue, owner, _) = open(options(directory.path()), NOW).expect("a new queue opens");
        append(&queue, 0..5).await;
        let claimed = queue.claim(&"d".into(), CLAIM, NOW).await.expect("a claim");
        let failed = Outcome::Retry {
            error: "status".to_owned(),
        };
        let batch = claimed.expect("there are events").id;
        queue
            .settle(batch, failed, None, NOW)
            .await
            .expect("it is settled");
        owner.close().expect("a new queue closes");
    });
    fs::read(directory.path().join("queue.db")).expect("there is a file")
});

/// `S…`: the file itself. `w…`: its write-ahead log, beside a good file. Anything else: changes to a good file, each of
/// two bytes for the place, one for how far (in 256ths of a page), one for how much, and the bytes.
pub fn hold(bytes: &[u8]) {
    let directory = scratch();
    let file = directory.path().join("queue.db");
    match bytes.split_first() {
        Some((b'S', _)) => fs::write(&file, bytes),
        Some((b'w', log)) => {
            fs::write(&file, &*GOOD).and_then(|()| fs::write(directory.path().join("queue.db-wal"), log))
        }
        _ => fs::write(&file, changed(bytes)),
    }
    .expect("there is room");
    run(async {
        let (queue, owner, _) = match open(options(directory.path()), NOW) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(matches!(error.kind, ErrorKind::NewerSchema), "{error:?}");
                return;
            }
        };
        for book in queue.books(None).await.expect("there are books") {
            assert!(book.balanced(), "{book:?}");
        }
        assert_eq!(append(&queue, 100..101).await, [Appended::Queued]);
        let mut found = false;
        for _ in 0..100 {
            let Some(batch) = queue.claim(&"d".into(), CLAIM, NOW).await.expect("a claim") else {
                break;
            };
            found |= batch.events.iter().any(|event| event.id == id(100));
            let delivered = Outcome::Delivered {
                status: 200,
                meta: String::new(),
            };
            queue
                .settle(batch.id, delivered, None, NOW)
                .await
                .expect("it is settled");
        }
        assert!(found, "what was taken is given back");
        for book in queue.books(None).await.expect("there are books") {
            assert!(book.balanced(), "{book:?}");
        }
        owner.close().expect("it closes");
    });
}

fn changed(mut changes: &[u8]) -> Vec<u8> {
    let mut file = GOOD.clone();
    while let Some((&[high, low, fine, many], rest)) = changes.split_first_chunk::<4>() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(many % 32)));
        let at = usize::from(u16::from_be_bytes([high, low])) * 16 + usize::from(fine % 16);
        let at = at % file.len();
        for (place, byte) in file[at..].iter_mut().zip(bytes) {
            *place = *byte;
        }
        changes = rest;
    }
    file
}

fn id(number: u8) -> [u8; 16] {
    [number; 16]
}

async fn append(queue: &Queue, numbers: std::ops::Range<u8>) -> Vec<Appended> {
    let lane = Arc::new(Lane {
        uid: 1000,
        destination: "d".into(),
        tool: "t".into(),
    });
    let arena = br#"{"event":"ran"}"#.to_vec();
    let events = numbers.map(|number| NewEvent {
        lane: Arc::clone(&lane),
        id: id(number),
        project: None,
        epoch: 1,
        payload: 0..arena.len(),
    });
    let append = Append {
        events: events.collect(),
        at: NOW,
        arena,
        ..Append::default()
    };
    queue.append(append).await.expect("an event is taken")
}

fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        boot_id: [7; 16],
        limits: Limits {
            max_bytes: 64 << 20,
            max_bytes_per_tool: 16 << 20,
            max_age_ms: 30 * DAY_MS,
            parked_max_age_ms: 30 * DAY_MS,
            sent_max_age_ms: 7 * DAY_MS,
            sent_max_bytes: 4 << 20,
            sent_bodies: true,
        },
        job: false,
        probe: None,
    }
}

/// In memory where there is such a place.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new_in(env::temp_dir()))
        .expect("a directory")
}

fn run(task: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(task);
}

//! Every vector of the protocol against the real daemon, each with a daemon of its own, some at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use telemetry_testkit::vectors::{Case, read_folder, run};

/// So many at once: most of a vector's time is waiting for an answer, or for silence.
const AT_ONCE: usize = 8;

#[test]
fn the_daemon_answers_every_vector_as_the_protocol_says() {
    let cases = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/protocol"));
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The panic was printed with its file and line, and the daemon's log after it.
                    if catch_unwind(AssertUnwindSafe(|| run(case))).is_err() {
                        failed.lock().unwrap().push(case.file.clone());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {} vectors fail: {failed:?}",
        failed.len(),
        cases.len()
    );
}

#[test]
fn every_vector_is_told_by_a_sentence_of_its_own() {
    let cases = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/protocol"));
    let mut names: Vec<&str> = cases.iter().map(|case: &Case| case.name.as_str()).collect();
    names.sort_unstable();
    let twice: Vec<&[&str]> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(cases.len() >= 60, "only {} vectors", cases.len());
}

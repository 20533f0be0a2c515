//! An order comes while a request is under way, and the queue is slow to keep it: the request's end does not wait for it.

use std::io::Read;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use telemetry_testkit::{DEADLINE, eventually};
use telemetryd::clock::SystemClock;
use telemetryd::flush::Command;

use crate::stage::{Way, block_on};

/// While it is set, the queue commits nothing.
static SLOW: AtomicBool = AtomicBool::new(false);

fn probe(point: &'static str) {
    while point == "before-commit" && SLOW.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
}

/// An endpoint that never answers: says where it is, and tells of the first byte and of the end of a connection.
fn endpoint() -> (String, mpsc::Receiver<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let mut first = true;
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
            if std::mem::take(&mut first) {
                told.send("asked").unwrap();
            }
        }
        let _ = told.send("closed");
    });
    (url, heard)
}

#[test]
fn a_request_is_cancelled_though_the_queue_is_slow_to_keep_a_pause() {
    let (url, heard) = endpoint();
    let soon = "batch = { max_wait = \"10ms\" }\n";
    let way = Way::to(&url, soon, Arc::new(SystemClock), Some(probe));
    way.event([9; 16]);
    assert_eq!(heard.recv_timeout(DEADLINE), Ok("asked"));
    SLOW.store(true, Ordering::Relaxed);
    let pausing = std::thread::spawn({
        let handle = way.flush.clone();
        move || {
            block_on(handle.order(Command::Pause {
                destination: None,
                hold: None,
            }));
        }
    });
    eventually("the pause has come", DEADLINE, || {
        let states = way.flush.states();
        let paused = states.borrow().get("default").is_some_and(|state| state.paused);
        paused.then_some(())
    });
    way.ender.stop();
    let closed = heard.recv_timeout(DEADLINE);
    let too_early = pausing.is_finished();
    SLOW.store(false, Ordering::Relaxed);
    assert!(!too_early, "who paused is told when it is kept");
    assert_eq!(closed, Ok("closed"), "while the queue was slow");
    pausing.join().unwrap();
}

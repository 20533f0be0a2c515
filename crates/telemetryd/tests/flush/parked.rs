//! An event that its endpoint finds too large is parked alone: what came after it waits for its own time all the same.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};

use telemetry_testkit::{DEADLINE, eventually};
use telemetryd::clock::SystemClock;
use telemetryd::flush::Command;

use crate::stage::{Way, block_on};

/// Tells of each request, and says that it is too large when it is let.
fn endpoint() -> (String, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (told, heard) = mpsc::channel();
    let (let_go, may) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            request.extend_from_slice(&buffer[..read]);
            if !whole(&request) {
                continue;
            }
            request.clear();
            told.send(()).unwrap();
            if may.recv().is_err() {
                return;
            }
            let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).unwrap();
        }
    });
    (url, heard, let_go)
}

/// Whether the body is as long as its head says.
fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.unwrap().parse().unwrap()
}

#[test]
fn what_came_after_an_event_that_is_parked_alone_waits_for_its_own_time() {
    let (url, heard, let_go) = endpoint();
    let late = "batch = { max_wait = \"1h\" }\ncompression = \"none\"\n";
    let way = Way::to(&url, late, Arc::new(SystemClock), None);
    way.event([1; 16]);
    block_on(way.flush.order(Command::Flush {
        destination: None,
        whose: None,
    }));
    assert_eq!(heard.recv_timeout(DEADLINE), Ok(()));
    way.event([2; 16]);
    let_go.send(()).unwrap();
    let went = eventually("the request is over", DEADLINE, || {
        let states = way.flush.states();
        let at_rest = states.borrow().get("default").is_some_and(|state| !state.sending);
        let went = heard.try_recv().is_ok();
        (at_rest || went).then_some(went)
    });
    assert!(!went, "the second went before its time");
    let books = block_on(way.queue.books(None)).unwrap();
    let [book] = &books[..] else { panic!("{books:?}") };
    assert_eq!((book.parked, book.queued), (1, 1));
}

//! An order comes while a request is under way, and the queue is slow to keep it: the request's end does not wait for it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Read;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use telemetry_queue::{Append, Lane, NewEvent};
use telemetry_testkit::{DEADLINE, eventually};
use telemetryd::clock::{Clock, SystemClock};
use telemetryd::config::{self, Environment, Flags, Mode, Places};
use telemetryd::consent::{Consent, Known};
use telemetryd::control::tail::Tail;
use telemetryd::counters::Counters;
use telemetryd::flush::{self, Command};
use telemetryd::phase::Ender;
use tokio::sync::watch;

/// While it is set, the queue commits nothing.
static SLOW: AtomicBool = AtomicBool::new(false);

fn probe(point: &'static str) {
    while point == "before-commit" && SLOW.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
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
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    for folder in ["config", "data/telemetryd/tools.d"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    let manifest = "name = \"demo\"\nevents = \"any\"\nconsent = \"opt-out\"\n";
    std::fs::write(at("data/telemetryd/tools.d/demo.toml"), manifest).unwrap();
    let (url, heard) = endpoint();
    let config = format!("[destinations.default]\nurl = \"{url}\"\nbatch = {{ max_wait = \"10ms\" }}\n");
    std::fs::write(at("config/config.toml"), config).unwrap();
    let environment: Environment = [
        ("TELEMETRYD_CONFIG_DIR", at("config")),
        ("TELEMETRYD_STATE_DIR", at("state")),
        ("TELEMETRYD_MACHINE_DIR", at("machine")),
        ("XDG_DATA_HOME", at("data")),
    ]
    .into_iter()
    .collect();
    let places = Places::find(Mode::User, &environment, 7, &|_| false).unwrap();
    let checked = Arc::new(
        config::load(&places, &Flags::default(), &environment)
            .unwrap()
            .checked,
    );
    let options = telemetry_queue::Options {
        directory: places.state.clone(),
        boot_id: [7; 16],
        limits: checked.queue,
        probe: Some(probe),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (queue, owner, _) = telemetry_queue::open(options, clock.now()).unwrap();
    let consent = Consent::open(
        places,
        &Arc::default(),
        &checked,
        &Known::new(),
        Arc::clone(&clock),
    );
    let (ender, phase) = Ender::new();
    let (settings, reader) = watch::channel(checked);
    let shared = flush::Shared {
        queue: queue.clone(),
        consent: Arc::new(consent),
        clock: Arc::clone(&clock),
        phase,
        counters: Arc::new(Counters::default()),
        tail: Tail::default(),
        seed: 7,
        percent: 100,
        by_user: false,
    };
    let (room, handle) = flush::new(shared, reader);
    let flushing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(room.run());
        drop(settings);
    });
    block_on(handle.arranged());
    let payload = br#"{"event":"ran","time":"2026-11-22T00:00:00.000Z"}"#.to_vec();
    let lane = Arc::new(Lane {
        uid: 7,
        destination: Arc::from("default"),
        tool: Arc::from("demo"),
    });
    let append = Append {
        events: vec![NewEvent {
            lane,
            id: [9; 16],
            project: None,
            epoch: 1,
            payload: 0..payload.len(),
        }],
        arena: payload,
        at: clock.now(),
        ..Append::default()
    };
    block_on(queue.append(append)).unwrap();
    assert_eq!(heard.recv_timeout(DEADLINE), Ok("asked"));
    SLOW.store(true, Ordering::Relaxed);
    let pausing = std::thread::spawn({
        let handle = handle.clone();
        move || {
            block_on(handle.order(Command::Pause {
                destination: None,
                hold: None,
            }));
        }
    });
    eventually("the pause has come", DEADLINE, || {
        let states = handle.states();
        let paused = states.borrow().get("default").is_some_and(|state| state.paused);
        paused.then_some(())
    });
    ender.stop();
    let closed = heard.recv_timeout(DEADLINE);
    assert!(!pausing.is_finished(), "who paused is told when it is kept");
    SLOW.store(false, Ordering::Relaxed);
    assert_eq!(closed, Ok("closed"), "while the queue was slow");
    pausing.join().unwrap();
    flushing.join().unwrap();
    owner.close().unwrap();
}

//! The way out of the daemon for one tool of one user: its queue, what was said of it, and its flusher on the thread
//! that flushers have in a daemon.

use std::sync::Arc;

use telemetry_queue::{Append, Lane, NewEvent, Owner, Queue};
use telemetryd::clock::Clock;
use telemetryd::config::{self, Checked, Environment, Flags, Mode, Places};
use telemetryd::consent::{Consent, Known};
use telemetryd::control::tail::Tail;
use telemetryd::counters::Counters;
use telemetryd::flush;
use telemetryd::phase::Ender;
use telemetryd::thread::Thread;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Whose queue it is.
const UID: u32 = 7;

/// What is called at the queue's named points.
pub(crate) type Probe = fn(&'static str);

/// The way out.
pub(crate) struct Way {
    pub(crate) queue: Queue,
    pub(crate) flush: flush::Handle,
    pub(crate) ender: Ender,
    clock: Arc<dyn Clock>,
    flushing: Option<JoinHandle<()>>,
    owner: Option<Owner>,
    /// As long as flushers read them.
    _settings: watch::Sender<Arc<Checked>>,
    _thread: Thread,
    _home: tempfile::TempDir,
}

impl Way {
    /// To this URL, with these lines about the destination beside it.
    pub(crate) fn to(url: &str, of_destination: &str, clock: Arc<dyn Clock>, probe: Option<Probe>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let places = furnish(home.path(), url, of_destination);
        let checked = config::load(&places, &Flags::default(), &environment(home.path()));
        let checked = Arc::new(checked.unwrap().checked);
        let options = telemetry_queue::Options {
            directory: places.state.clone(),
            boot_id: clock.boot(),
            limits: checked.queue,
            job: false,
            probe,
        };
        let (queue, owner, _) = telemetry_queue::open(options, clock.now()).unwrap();
        let of_clock = Arc::clone(&clock);
        let consent = Consent::open(places, &Arc::default(), &checked, &Known::new(), of_clock);
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
        let (room, flush) = flush::new(shared, reader);
        let thread = Thread::start("delivery").unwrap();
        let flushing = thread.spawn(room.run());
        block_on(flush.arranged());
        Self {
            queue,
            flush,
            ender,
            clock,
            flushing: Some(flushing),
            owner: Some(owner),
            _settings: settings,
            _thread: thread,
            _home: home,
        }
    }

    /// An event comes in, now.
    pub(crate) fn event(&self, id: [u8; 16]) {
        let payload = br#"{"event":"ran","time":"2026-11-22T00:00:00.000Z"}"#.to_vec();
        let lane = Arc::new(Lane {
            uid: UID,
            destination: Arc::from("default"),
            tool: Arc::from("demo"),
        });
        let append = Append {
            events: vec![NewEvent {
                lane,
                id,
                project: None,
                epoch: 1,
                payload: 0..payload.len(),
            }],
            arena: payload,
            at: self.clock.now(),
            ..Append::default()
        };
        block_on(self.queue.append(append)).unwrap();
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.ender.stop();
        let ended = self.flushing.take().map(block_on);
        let closed = self.owner.take().map(Owner::close);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
            closed.unwrap().unwrap();
        }
    }
}

/// What a user's daemon finds: a tool that may send, and where to.
fn furnish(home: &std::path::Path, url: &str, of_destination: &str) -> Places {
    for folder in ["config", "data/telemetryd/tools.d"] {
        std::fs::create_dir_all(home.join(folder)).unwrap();
    }
    let manifest = "name = \"demo\"\nevents = \"any\"\nconsent = \"opt-out\"\n";
    std::fs::write(home.join("data/telemetryd/tools.d/demo.toml"), manifest).unwrap();
    let config = format!("[destinations.default]\nurl = \"{url}\"\n{of_destination}");
    std::fs::write(home.join("config/config.toml"), config).unwrap();
    Places::find(Mode::User, &environment(home), UID, &|_| false).unwrap()
}

fn environment(home: &std::path::Path) -> Environment {
    [
        ("TELEMETRYD_CONFIG_DIR", home.join("config")),
        ("TELEMETRYD_STATE_DIR", home.join("state")),
        ("TELEMETRYD_MACHINE_DIR", home.join("machine")),
        ("XDG_DATA_HOME", home.join("data")),
    ]
    .into_iter()
    .collect()
}

/// Waits for it on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

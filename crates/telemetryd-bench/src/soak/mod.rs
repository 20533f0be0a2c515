//! Everything at once, for as long as one likes: tools by every door, an endpoint that does what it should not, and a
//! hand that kills, ends, reloads, purges, withdraws and fills the disk, by a seed. At the end the books are held against
//! what the tools were told and what the endpoint got.

mod endpoint;
mod memory;
mod verdict;
mod writers;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use self::endpoint::{Endpoint, Manner};
use self::memory::Sample;
use self::writers::{Door, Field, Habit};
use crate::clock;
use crate::daemon::{Daemon, Home, Settings};
use crate::report::Report;
use crate::scenario::Bench;

/// Written by every door that answers; never denied, never purged, never bad: each of its events has to arrive, or is
/// booked as evicted.
const STEADY: &str = "steady";
/// Written without an answer.
const BLIND: &str = "blind";
/// Denied and allowed in turn.
const WAVERING: &str = "wavering";
/// Purged now and then.
const PURGED: &str = "purged";
/// Now and then more than fits, and bad events among them.
const FLOOD: &str = "flood";

/// An endpoint is bad, and sending is paused, for so long at most: what is steady is to fit meanwhile.
const BAD: Duration = Duration::from_secs(10);
/// See [`BAD`].
const PAUSE_MS: u64 = 8000;

/// Runs in parallel: what each writer does.
fn habits() -> Vec<Habit> {
    let habit = |tool, door, at_once, pause_ms, pad, bad| Habit {
        tool,
        door,
        at_once,
        pause: Duration::from_millis(pause_ms),
        pad,
        bad,
    };
    vec![
        habit(STEADY, Door::Socket("queued"), 16, 20, 150, 0),
        habit(STEADY, Door::Socket("synced"), 4, 20, 150, 0),
        habit(STEADY, Door::Gateway, 8, 50, 150, 0),
        habit(STEADY, Door::Spool, 3, 200, 50, 0),
        habit(BLIND, Door::Socket("none"), 8, 30, 150, 0),
        habit(WAVERING, Door::Socket("queued"), 8, 30, 150, 0),
        habit(PURGED, Door::Socket("queued"), 8, 40, 150, 0),
        habit(FLOOD, Door::Socket("queued"), 2000, 4000, 3000, 997),
    ]
}

/// How often each thing was done.
type Done = BTreeMap<&'static str, u64>;

/// The run.
struct Soak<'h> {
    home: &'h Home,
    daemon: Option<Daemon<'h>>,
    endpoint: Endpoint,
    field: Arc<Field>,
    random: fastrand::Rng,
    done: Done,
    samples: Vec<Sample>,
    life: u32,
    /// Milliseconds at which a denial was answered.
    denials: Vec<u64>,
    denied: bool,
    /// The endpoint misbehaves since then.
    bad_since: Option<Instant>,
    may_fill: bool,
    max_events: u32,
    wrong: Vec<String>,
}

/// Runs it for so long.
///
/// # Errors
/// When a part of it cannot go on.
pub(crate) fn run(bench: &Bench, wait: Duration, seed: u64, report: &mut Report) -> Result<()> {
    let begun = clock::now();
    let endpoint = Endpoint::new(begun)?;
    let home = bench.home(&Settings::to(&endpoint.url()))?;
    for tool in [STEADY, BLIND, WAVERING, PURGED, FLOOD] {
        let manifest = format!("name = \"{tool}\"\nconsent = \"opt-out\"\nevents = \"any\"\n");
        fs::write(
            home.root().join(format!("data/telemetryd/tools.d/{tool}.toml")),
            manifest,
        )?;
    }
    make_private(&home.root().join("state/spool"))?;
    let field = Field::new(home.root(), begun);
    let mut soak = Soak {
        home: &home,
        daemon: None,
        endpoint,
        field: Arc::clone(&field),
        random: fastrand::Rng::with_seed(seed),
        done: Done::new(),
        samples: Vec::new(),
        life: 0,
        denials: Vec::new(),
        denied: false,
        bad_since: None,
        may_fill: is_small(home.root()),
        max_events: 500,
        wrong: Vec::new(),
    };
    soak.write_config()?;
    soak.start()?;
    let writers: Vec<_> = habits().into_iter().map(|habit| field.start(habit)).collect();
    let ended = soak.misbehave(begun, wait);
    let mended = soak.mend();
    field.done.store(true, Ordering::Relaxed);
    for writer in writers {
        let written = writer
            .join()
            .unwrap_or_else(|_| anyhow::bail!("a writer panicked"));
        if let Err(error) = written {
            soak.wrong.push(format!("{error:#}"));
        }
    }
    ended?;
    mended?;
    soak.judge(report, begun)
}

fn make_private(directory: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    Ok(())
}

/// A file system that may be filled: one that is so small that it was made for this.
fn is_small(directory: &std::path::Path) -> bool {
    const SMALL: u64 = 1 << 30;
    rustix::fs::statvfs(directory).is_ok_and(|found| found.f_blocks.saturating_mul(found.f_frsize) < SMALL)
}

impl<'h> Soak<'h> {
    fn write_config(&self) -> Result<()> {
        let text = format!(
            "[daemon]\nshutdown_drain = \"1s\"\nlog = \"warn\"\n[queue]\nmax_bytes = \"24MiB\"\nmax_bytes_per_tool = \"16MiB\"\n\
             [gateway]\nlisten = \"{}\"\n[destinations.default]\nurl = \"{}\"\ntimeout = \"2s\"\n\
             batch = {{ max_events = {}, max_wait = \"200ms\" }}\nretry = {{ initial = \"50ms\", max = \"1s\", spread = \"0s\" }}\n",
            self.home.root().join("g").display(),
            self.endpoint.url(),
            self.max_events
        );
        Ok(fs::write(self.home.root().join("config/config.toml"), text)?)
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn start(&mut self) -> Result<()> {
        self.daemon = Some(self.home.start()?);
        self.life += 1;
        self.balanced()
    }

    fn balanced(&mut self) -> Result<()> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let books = daemon.books()?;
        if !books.balanced {
            self.wrong.push(format!("the books do not balance: {books:?}"));
        }
        Ok(())
    }

    fn order(&mut self, request: &Value) -> Result<()> {
        match &self.daemon {
            Some(daemon) => daemon.order(request).map(drop),
            None => Ok(()),
        }
    }

    /// Does one bad thing after the other. In the last third nobody ends the daemon: its memory is looked at.
    fn misbehave(&mut self, begun: Instant, wait: Duration) -> Result<()> {
        let mut sampled = 0.0;
        while begun.elapsed() < wait {
            clock::pause(Duration::from_millis(self.random.u64(100..900)));
            let at = begun.elapsed().as_secs_f64();
            if at - sampled >= 0.5
                && let Some(daemon) = &self.daemon
            {
                sampled = at;
                let (resident, _) = daemon.process().resident();
                let life = self.life;
                self.samples.push(Sample { at, life, resident });
            }
            if self.bad_since.is_some_and(|since| since.elapsed() > BAD) {
                self.endpoint_is_good();
            }
            let quiet = begun.elapsed() > wait * 2 / 3;
            self.one_thing(quiet)?;
        }
        Ok(())
    }

    fn endpoint_is_good(&mut self) {
        self.endpoint.behave(Manner::Good);
        self.bad_since = None;
        self.count("endpoint good");
    }

    fn one_thing(&mut self, quiet: bool) -> Result<()> {
        match self.random.u8(..40) {
            0..=7 => self.endpoint_is_good(),
            8..=13 => {
                let manner = Manner::BAD[self.random.usize(..Manner::BAD.len())];
                self.endpoint.behave(manner);
                self.bad_since.get_or_insert_with(clock::now);
                self.count("endpoint bad");
            }
            14..=15 if !quiet => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.kill9();
                }
                self.daemon = None;
                self.count("kill -9");
                self.start()?;
            }
            16 if !quiet => {
                if let Some(daemon) = self.daemon.take() {
                    daemon.term()?;
                }
                self.count("SIGTERM");
                self.start()?;
            }
            17..=18 => {
                let action = if self.denied { "allow" } else { "deny" };
                self.order(&json!({ "op": "consent", "action": action, "tool": WAVERING }))?;
                self.denied = !self.denied;
                if self.denied {
                    self.denials.push(self.field.now_ms());
                }
                self.count("consent");
            }
            19 => {
                self.max_events = [20, 100, 500][self.random.usize(..3)];
                self.write_config()?;
                self.order(&json!({ "op": "reload" }))?;
                self.count("reload");
            }
            20 => {
                self.order(&json!({ "op": "queue", "action": "purge", "tool": PURGED }))?;
                self.count("purge");
            }
            21 => {
                self.order(&json!({ "op": "pause", "for_ms": PAUSE_MS }))?;
                self.count("pause");
            }
            22 => {
                self.order(&json!({ "op": "flush" }))?;
                self.count("flush");
            }
            23 if self.may_fill => {
                self.fill_the_disk()?;
                self.count("full disk");
            }
            _ => self.balanced()?,
        }
        Ok(())
    }

    /// Takes all that is left, for a moment.
    fn fill_the_disk(&mut self) -> Result<()> {
        let ballast = self.home.root().join("ballast");
        let mut file = File::create(&ballast)?;
        let mut size = 1 << 20;
        while size >= 512 {
            if file.write_all(&vec![1; size]).is_err() {
                size /= 2;
            }
        }
        drop(file);
        clock::pause(Duration::from_millis(1000));
        let books = self.balanced();
        fs::remove_file(&ballast)?;
        books
    }

    /// Everything is put right.
    fn mend(&mut self) -> Result<()> {
        self.endpoint.behave(Manner::Good);
        if self.daemon.is_none() {
            self.start()?;
        }
        self.order(&json!({ "op": "consent", "action": "allow", "tool": WAVERING }))?;
        self.order(&json!({ "op": "resume" }))
    }
}

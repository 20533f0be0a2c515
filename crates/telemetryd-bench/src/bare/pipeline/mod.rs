//! The bare pipeline: the daemon's job at its physical minimum, in a process of its own, so that its CPU is measured
//! alone. Lines from Unix sockets are parsed as JSON, go into a bare table in groups, and are answered after the commit;
//! batches are read from the table, posted over one connection, and deleted once they are answered.
//!
//! It has no policy, no consent, no books, no limits, no retries, no second look at an id, and keeps nothing of what it
//! sent: what the daemon adds to this is what the ratios of `pipeline` show. It is no strawman: a thread for each client
//! reads and parses, one writes, one sends; groups are as large as what waits, and the next batch is read from the table
//! while the endpoint is at work on one.

mod read;
mod write;

mod send;

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::bare::table::{Setup, create};
use crate::clock;
use crate::process::Process;

/// Says to a process of this program that it is the pipeline, and where its files and its socket are.
const PART: &str = "TELEMETRYD_BENCH_PIPELINE";
/// Host and port of its endpoint.
const ENDPOINT: &str = "TELEMETRYD_BENCH_ENDPOINT";

/// The table has large pages.
const LARGE: &str = "TELEMETRYD_BENCH_LARGE_PAGES";

/// The table's file, and the socket.
const FILE: &str = "bare.db";
const SOCKET: &str = "s";

/// Reads that wait for the writer, at most.
const MESSAGES: usize = 64;

/// Becomes the pipeline, where this process is one: until whoever started it closes its stdin.
pub(crate) fn part() -> Option<Result<()>> {
    let directory = PathBuf::from(std::env::var_os(PART)?);
    let endpoint = std::env::var(ENDPOINT).ok()?;
    let setup = match std::env::var_os(LARGE) {
        Some(_) => Setup::LargePages,
        None => Setup::Plain,
    };
    Some(serve(&directory, &endpoint, setup))
}

fn serve(directory: &Path, endpoint: &str, setup: Setup) -> Result<()> {
    let marks = Arc::new(Marks::default());
    let (tell, told) = mpsc::sync_channel(MESSAGES);
    let table = create(&directory.join(FILE), setup)?;
    let sender = send::Sender::new(directory, endpoint, Arc::clone(&marks), tell.clone())?;
    let listener = UnixListener::bind(directory.join(SOCKET)).context("cannot bind the pipeline's socket")?;
    thread("bare-write", move || write::run(&table, &told, &marks))?;
    thread("bare-send", move || sender.run())?;
    thread("bare-accept", move || read::accept(&listener, &tell))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A thread that says why it ended.
fn thread(name: &str, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let said = name.to_owned();
    let work = move || {
        if let Err(error) = work() {
            crate::report::tell(&error.context(format!("{said} has ended")));
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
    Ok(())
}

/// What the sender may take from the table, in sequence numbers.
#[derive(Debug, Default)]
struct Marks {
    marks: Mutex<Mark>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Committed up to here.
    committed: u64,
    /// Up to here a batch may be less than full: the clients had gone.
    flush: u64,
}

impl Marks {
    fn committed(&self, seq: u64, nobody_there: bool) {
        let mut mark = self.lock();
        mark.committed = seq;
        if nobody_there {
            mark.flush = seq;
        }
        drop(mark);
        self.changed.notify_one();
    }

    /// Waits until more than `taken` may be taken: a full batch, or what there is when the clients have gone. `false`
    /// where there is none and it is not waited for.
    fn batch_behind(&self, taken: u64, wait: bool) -> bool {
        let mut mark = self.lock();
        while mark.committed < taken + send::BATCH && mark.flush <= taken {
            if !wait {
                return false;
            }
            mark = self.changed.wait(mark).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Mark> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipeline that runs. Dropped, it is killed and reaped, and its directory goes.
#[derive(Debug)]
pub(crate) struct Pipeline {
    child: Child,
    directory: TempDir,
}

impl Pipeline {
    /// Starts one below `directory`, and waits until its socket takes a connection.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn start(directory: &Path, url: &str, setup: Setup) -> Result<Self> {
        let endpoint = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next());
        let directory = tempfile::Builder::new().prefix("tmdb").tempdir_in(directory)?;
        let child = Command::new(std::env::current_exe()?)
            .env(PART, directory.path())
            .envs((setup == Setup::LargePages).then_some((LARGE, "yes")))
            .env(ENDPOINT, endpoint.context("no address of an endpoint")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the bare pipeline")?;
        let pipeline = Self { child, directory };
        let ready = clock::until(Duration::from_secs(20), Duration::from_millis(1), || {
            UnixStream::connect(pipeline.socket()).ok()
        });
        ensure!(ready.is_some(), "the bare pipeline does not get ready");
        Ok(pipeline)
    }

    /// Where it takes lines.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    /// What the system says of it.
    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }

    /// Waits until it has deleted everything that it delivered; `false` when it has not after `wait`.
    ///
    /// # Errors
    /// When its table cannot be read.
    pub(crate) fn emptied(&self, wait: Duration) -> Result<bool> {
        let table = rusqlite::Connection::open(self.directory.path().join(FILE))?;
        let empty = clock::until(wait, Duration::from_millis(2), || {
            let rows = table.query_row("SELECT count(*) FROM event", [], |row| row.get::<_, i64>(0));
            rows.is_ok_and(|rows| rows == 0).then_some(())
        });
        Ok(empty.is_some())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

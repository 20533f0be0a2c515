//! `sink`: a local endpoint for whoever instruments a tool. It prints what arrives, decoded, and misbehaves
//! when a script says so. It runs until it is interrupted.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use clap::Args;
use serde_json::json;
use telemetry_sink::{Keep, Received, Script, ScriptError, Sink as Endpoint};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::counted;

/// Play the endpoint: print what arrives, and misbehave on purpose if a script says so
#[derive(Debug, Args)]
pub(crate) struct Sink {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A script of misbehaviour (TOML): 429, 503, 413 over N bytes, hang, reset, captive page …
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Also write each request to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Requests that wait to be printed. The endpoint answers on one thread and must not wait for a terminal;
/// what comes beyond is answered and counted, but not shown.
const WAITING: usize = 1024;

impl Sink {
    pub(crate) fn run(self, screen: &mut Screen) -> Result<Exit, Failure> {
        let script = self.script.as_deref().map_or_else(|| Ok(Script::new()), read)?;
        let out = self.out.as_deref().map(create).transpose()?;
        let listener = TcpListener::bind(self.listen).map_err(|error| {
            Failure::failed(format!("cannot listen at {}", self.listen)).caused_by_io(&error)
        })?;
        let (show, shown) = sync_channel::<Arc<Received>>(WAITING);
        let missed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&missed);
        let endpoint = Endpoint::with(script, Keep::Last(0), None, move |received| {
            if show.try_send(Arc::clone(received)).is_err() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let running = endpoint
            .start_in_thread(listener)
            .map_err(|error| Failure::failed("cannot start the endpoint").caused_by_io(&error))?;
        let url = format!("{}://{}/", endpoint.scheme(), running.address());
        if screen.json {
            screen.value(&json!({ "url": url }))?;
        } else {
            screen.line(&url)?;
        }
        screen.flush()?;
        if !screen.json {
            screen.talk("give this URL to a destination; Ctrl-C ends it");
        }
        print(&shown, &missed, out, screen)
    }
}

/// Prints until nobody listens any more, or Ctrl-C ends the process.
fn print(
    shown: &Receiver<Arc<Received>>,
    missed: &AtomicU64,
    mut out: Option<BufWriter<File>>,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    while let Ok(received) = shown.recv() {
        let line = received.to_json_line();
        if let Some(out) = &mut out {
            writeln!(out, "{line}")
                .and_then(|()| out.flush())
                .map_err(|error| Failure::failed("cannot write to the file").caused_by_io(&error))?;
        }
        if screen.json {
            screen.line(&line)?;
        } else {
            screen.raw(received.render().as_bytes())?;
        }
        screen.flush()?;
        let missed = missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            screen.talk(&format!(
                "{} came too fast to be shown",
                counted(missed, "request")
            ));
        }
    }
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Script, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("cannot read {}", path.display())).caused_by_io(&error))?;
    text.parse().map_err(|error: ScriptError| {
        let failure = Failure::new(Exit::BadConfig, format!("{} is not a script", path.display()));
        error.problems.iter().fold(failure, |failure, problem| {
            failure.caused_by(format_args!("line {}: {}", problem.line, problem.message))
        })
    })
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    File::create(path)
        .map(BufWriter::new)
        .map_err(|error| Failure::failed(format!("cannot write {}", path.display())).caused_by_io(&error))
}

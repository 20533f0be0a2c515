//! The log: to stderr (as the journal takes it, where stderr is the journal), or in the background to a file that never grows past 1 MiB. Never an event's
//! content, never a credential.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::journal;

/// Two files of half the bound: the current one and the one before it.
const HALF: u64 = 512 * 1024;

/// Changes the level while the daemon runs.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// Sets the levels, in the words of `daemon.log`.
    pub fn set(&self, levels: &str) {
        // The config was checked with the same parser, and the subscriber lives as long as the process.
        let _ = self.0.reload(targets(levels));
    }
}

fn targets(levels: &str) -> Targets {
    levels
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO))
}

/// Begins to log at these levels: to `file`, or to stderr.
///
/// # Errors
/// When the file cannot be opened.
pub fn begin(levels: &str, file: Option<&Path>) -> io::Result<Level> {
    let (filter, handle) = reload::Layer::new(targets(levels));
    let written = tracing_subscriber::fmt::layer().with_target(false);
    // A second call (tests in one process) keeps the first subscriber.
    let _ = match file {
        Some(path) => {
            let file = Mutex::new(Bounded::open(path)?);
            let layer = written
                .with_ansi(false)
                .with_writer(move || Line(file_clone(&file)));
            Registry::default().with(layer.with_filter(filter)).try_init()
        }
        None if journal::is_stderr() => {
            let layer = written
                .with_ansi(false)
                .event_format(journal::Lines)
                .with_writer(io::stderr);
            Registry::default().with(layer.with_filter(filter)).try_init()
        }
        None => {
            let ansi = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            let layer = written.with_ansi(ansi).with_writer(io::stderr);
            Registry::default().with(layer.with_filter(filter)).try_init()
        }
    };
    Ok(Level(handle))
}

fn file_clone(file: &Mutex<Bounded>) -> io::Result<File> {
    file.lock().unwrap_or_else(PoisonError::into_inner).current()
}

/// One line's writer; a log that cannot be written is no reason to stop.
struct Line(io::Result<File>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Ok(file) => file.write(bytes),
            Err(_) => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bounded {
    path: PathBuf,
    file: File,
}

impl Bounded {
    fn open(path: &Path) -> io::Result<Self> {
        let file = crate::files::append(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    fn current(&mut self) -> io::Result<File> {
        if self.file.metadata()?.len() >= HALF {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Self::open(&self.path)?;
        }
        self.file.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_never_grows_past_its_bound() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("telemetryd.log");
        let mut log = Bounded::open(&path).unwrap();
        for _ in 0..400 {
            log.current().unwrap().write_all(&[b'x'; 8192]).unwrap();
        }
        let total: u64 = std::fs::read_dir(home.path())
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .sum();
        assert!(total <= 2 * (HALF + 8192), "{total}");
    }
}

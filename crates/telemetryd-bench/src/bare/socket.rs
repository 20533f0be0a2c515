//! Bare Unix sockets: a minimal accept loop in a thread of its own, and what a client of it takes.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::clock;
use crate::lines::{Ack, Lines};

/// What the accept loop answers to a line that wants an answer.
const ANSWER: &[u8] =
    b"{\"ok\":true,\"status\":\"queued\",\"id\":\"01900000-0000-7000-8000-000000000000\"}\n";

/// A line that ends the accept loop.
const END: &[u8] = b"end\n";

/// An accept loop: each connection's lines are read to its end; with `answers`, the first line is answered.
#[derive(Debug)]
pub(crate) struct Listener {
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Listener {
    /// Starts one.
    ///
    /// # Errors
    /// When the socket or the thread cannot be had.
    pub(crate) fn new(directory: &Path, answers: bool) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("tmdb").tempdir_in(directory)?;
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).context("cannot bind the bare socket")?;
        let thread = std::thread::Builder::new()
            .name("bare-listener".to_owned())
            .spawn(move || serve(&listener, answers))?;
        Ok(Self {
            path,
            thread: Some(thread),
            _directory: directory,
        })
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Ok(mut stream) = UnixStream::connect(&self.path) {
            let _ = stream.write_all(END);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &UnixListener, answers: bool) {
    let mut buffer = [0; 4096];
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut answered = false;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    if &buffer[..read] == END {
                        return;
                    }
                    if answers && !answered && buffer[..read].ends_with(b"\n") {
                        answered = stream.write_all(ANSWER).is_ok();
                    }
                }
            }
        }
    }
}

/// One short-lived client: connect, write a line, read the answer if one is wanted, close. Microseconds.
///
/// # Errors
/// When the socket refuses, or the answer is not `ok`.
pub(crate) fn visit(path: &Path, line: &[u8], answer: bool) -> Result<f64> {
    let begun = clock::now();
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(line)?;
    if answer {
        let mut buffer = [0; 512];
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..])?;
            ensure!(read > 0, "closed without an answer");
            filled += read;
            if buffer[..filled].ends_with(b"\n") {
                break;
            }
        }
        if !buffer.starts_with(br#"{"ok":true"#) {
            bail!("answered with {}", String::from_utf8_lossy(&buffer[..filled]));
        }
    }
    drop(stream);
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}

/// Lines through a socket, written and read 64 KiB at a time and counted; lines a second.
///
/// # Errors
/// When the socket breaks.
pub(crate) fn lines(count: u64) -> Result<f64> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let mut block = Vec::new();
    let mut made = Lines::new(Ack::None);
    let per_block = 64 * 1024 / 351;
    for _ in 0..per_block {
        made.push(&mut block);
    }
    let blocks = count.div_ceil(per_block);
    let begun = clock::now();
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        for _ in 0..blocks {
            ours.write_all(&block)?;
        }
        Ok(())
    });
    let mut buffer = vec![0; 64 * 1024];
    let mut seen = 0_u64;
    loop {
        let read = theirs.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        seen += buffer[..read]
            .iter()
            .map(|byte| u64::from(*byte == b'\n'))
            .sum::<u64>();
    }
    let took = begun.elapsed().as_secs_f64();
    match writer.join() {
        Ok(wrote) => wrote?,
        Err(_) => bail!("the writer panicked"),
    }
    ensure!(seen == blocks * per_block, "lines were lost in a socket");
    Ok(seen as f64 / took)
}

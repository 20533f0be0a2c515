//! The half that sends: one thread reads batches from the table through a connection of its own, posts them over one
//! kept HTTP/1.1 connection, and says what may be deleted. The next batch is read while the endpoint is at work on one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags};

use super::write::Message;
use super::{FILE, Marks};

/// Events of a batch.
pub(super) const BATCH: u64 = 500;

/// The thread's own.
pub(super) struct Sender {
    table: Connection,
    endpoint: String,
    stream: TcpStream,
    marks: Arc<Marks>,
    writer: SyncSender<Message>,
    /// Read from the table up to here.
    taken: u64,
}

impl Sender {
    /// Opens the table a second time, to read, and connects.
    ///
    /// # Errors
    /// When either cannot be.
    pub(super) fn new(
        directory: &Path,
        endpoint: &str,
        marks: Arc<Marks>,
        writer: SyncSender<Message>,
    ) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let table = Connection::open_with_flags(directory.join(FILE), flags)?;
        let stream = TcpStream::connect(endpoint).context("cannot connect to the endpoint")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            table,
            endpoint: endpoint.to_owned(),
            stream,
            marks,
            writer,
            taken: 0,
        })
    }

    /// Sends until its process ends.
    ///
    /// # Errors
    /// SQLite's, the connection's, and an answer that is not 200.
    pub(super) fn run(mut self) -> Result<()> {
        let (mut body, mut next) = (Vec::new(), Vec::new());
        let mut last = self.batch(true, &mut body)?.context("no batch")?;
        loop {
            self.post(&body)?;
            let following = self.batch(false, &mut next)?;
            self.answer()?;
            self.writer.send(Message::Delivered(last))?;
            std::mem::swap(&mut body, &mut next);
            last = match following {
                Some(last) => last,
                None => self.batch(true, &mut body)?.context("no batch")?,
            };
        }
    }

    /// The next batch: a full one, or after a flush what there is; its last sequence number. `None` where there is none
    /// and it is not waited for.
    fn batch(&mut self, wait: bool, body: &mut Vec<u8>) -> Result<Option<u64>> {
        if !self.marks.batch_behind(self.taken, wait) {
            return Ok(None);
        }
        body.clear();
        body.extend_from_slice(br#"{"events":["#);
        let mut select = self
            .table
            .prepare_cached("SELECT seq, payload FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let mut rows = select.query((i64::try_from(self.taken)?, i64::try_from(BATCH)?))?;
        let begun = body.len();
        while let Some(row) = rows.next()? {
            if body.len() > begun {
                body.push(b',');
            }
            body.extend_from_slice(row.get_ref(1)?.as_blob()?);
            self.taken = u64::try_from(row.get::<_, i64>(0)?)?;
        }
        body.extend_from_slice(b"]}");
        Ok(Some(self.taken))
    }

    fn post(&mut self, body: &[u8]) -> Result<()> {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.endpoint,
            body.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)?;
        Ok(())
    }

    /// Reads one answer: its head, and as much of a body as that names.
    fn answer(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut buffer[filled..])?;
            ensure!(
                read > 0,
                "the endpoint closed the connection, or its answer is too long"
            );
            filled += read;
            let text = String::from_utf8_lossy(&buffer[..filled]);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            if !head.starts_with("HTTP/1.1 200 ") {
                bail!("the endpoint answered {head}");
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then_some(value)?
                    .trim()
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return Ok(());
            }
        }
    }
}

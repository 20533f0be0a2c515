//! The door: a thread that lets clients in, and one for each of them that reads its lines and parses them.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::write::Message;

/// Bytes of one read, and of the longest line.
const READ: usize = 128 * 1024;

/// What one read brought.
pub(super) struct Lines {
    /// Whose they are.
    pub(super) client: Arc<UnixStream>,
    pub(super) bytes: Vec<u8>,
    pub(super) events: Vec<Event>,
}

/// One line of them.
pub(super) struct Event {
    pub(super) id: Uuid,
    /// Where it stands.
    pub(super) line: Range<usize>,
    /// Whether it is answered.
    pub(super) ack: bool,
}

/// A line as it must be. Everything in it is checked to be JSON; the whole line is passed on.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    id: Uuid,
    #[serde(borrow)]
    tool: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    ack: Cow<'a, str>,
    #[serde(borrow)]
    properties: &'a RawValue,
}

/// Lets clients in until its process ends.
///
/// # Errors
/// When there is no thread for one.
pub(super) fn accept(listener: &UnixListener, writer: &SyncSender<Message>) -> Result<()> {
    for stream in listener.incoming() {
        let client = Arc::new(stream?);
        let writer = writer.clone();
        writer.send(Message::Came)?;
        let reading = move || {
            if let Err(error) = read(&client, &writer) {
                crate::report::tell(&error);
            }
            let _ = writer.send(Message::Went);
        };
        std::thread::Builder::new()
            .name("bare-read".to_owned())
            .spawn(reading)?;
    }
    Ok(())
}

/// Reads a client's lines to their end.
fn read(client: &Arc<UnixStream>, writer: &SyncSender<Message>) -> Result<()> {
    let mut buffer = vec![0; READ];
    let mut rest = 0;
    loop {
        let read = client.as_ref().read(&mut buffer[rest..])?;
        if read == 0 {
            return Ok(());
        }
        let filled = rest + read;
        let mut events = Vec::with_capacity(filled / 256);
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', &buffer[from..filled]) {
            events.push(parse(&buffer, from..from + length)?);
            from += length + 1;
        }
        if !events.is_empty() {
            let (client, bytes) = (Arc::clone(client), buffer[..from].to_vec());
            writer.send(Message::Lines(Lines {
                client,
                bytes,
                events,
            }))?;
        }
        buffer.copy_within(from..filled, 0);
        rest = filled - from;
        ensure!(rest < buffer.len(), "a line is too long");
    }
}

fn parse(buffer: &[u8], line: Range<usize>) -> Result<Event> {
    let event: Line<'_> = serde_json::from_slice(&buffer[line.clone()]).context("a line is no event")?;
    ensure!(
        !event.tool.is_empty() && !event.event.is_empty() && event.properties.get().starts_with('{'),
        "an event without a name"
    );
    Ok(Event {
        id: event.id,
        line,
        ack: event.ack == "queued",
    })
}

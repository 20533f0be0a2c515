//! The table's writer: inserts what waits, up to a group, in one transaction, in which what was delivered is deleted;
//! then answers, and tells the sender.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::Result;
use rusqlite::Connection;
use uuid::Uuid;

use super::Marks;
use super::read::Lines;
use crate::bare::table::INSERT;
use crate::clock;

/// Rows of one transaction, at most but for the rest of a read.
const GROUP: u64 = 1000;

/// What the writer is told.
pub(super) enum Message {
    /// A client is there.
    Came,
    /// It sent lines.
    Lines(Lines),
    /// It has gone.
    Went,
    /// Everything up to this sequence number has been delivered.
    Delivered(u64),
}

/// Writes until its process ends.
///
/// # Errors
/// SQLite's.
pub(super) fn run(table: &Connection, messages: &Receiver<Message>, marks: &Marks) -> Result<()> {
    let (mut seq, mut clients) = (0, 0_u32);
    let mut answers: Vec<(Arc<UnixStream>, Vec<u8>)> = Vec::new();
    while let Ok(first) = messages.recv() {
        let full = seq + GROUP;
        let received = (clock::wall() * 1e3) as i64;
        table.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut insert = table.prepare_cached(INSERT)?;
        let mut delivered = None;
        let mut message = Some(first);
        while let Some(told) = message {
            match told {
                Message::Came => clients += 1,
                Message::Went => clients -= 1,
                Message::Delivered(upto) => delivered = Some(upto),
                Message::Lines(lines) => {
                    let mut answer = Vec::with_capacity(lines.events.len() * ANSWER);
                    for event in lines.events {
                        seq += 1;
                        let line = &lines.bytes[event.line];
                        let id = &event.id.as_bytes()[..];
                        insert.execute((i64::try_from(seq)?, id, 1_i64, received, line))?;
                        if event.ack {
                            say(event.id, &mut answer);
                        }
                    }
                    answers.push((lines.client, answer));
                }
            }
            message = match seq < full {
                true => messages.try_recv().ok(),
                false => None,
            };
        }
        drop(insert);
        if let Some(delivered) = delivered {
            table
                .prepare_cached("DELETE FROM event WHERE seq <= ?1")?
                .execute([i64::try_from(delivered)?])?;
        }
        table.prepare_cached("COMMIT")?.execute([])?;
        for (client, answer) in answers.drain(..) {
            // One that has gone is noticed when it is read from.
            let _ = client.as_ref().write_all(&answer);
        }
        marks.committed(seq, clients == 0);
    }
    Ok(())
}

/// Bytes of an answer, its newline among them.
const ANSWER: usize = 76;

fn say(id: Uuid, to: &mut Vec<u8>) {
    let mut text = Uuid::encode_buffer();
    to.extend_from_slice(br#"{"ok":true,"status":"queued","id":""#);
    to.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
    to.extend_from_slice(b"\"}\n");
}

//! A body within its bounds (I6): as it comes, as it is unpacked, and all bodies together.
//!
//! Of one that is too large the rest is read and thrown away for a while, so that the client has sent what it wants
//! to send and reads why it was refused, instead of a connection that was reset.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Refusal;
use crate::check::Packed;
use crate::pace::Pace;

/// All bodies together, in bytes, or four of the largest: what is made of a body takes about three times as much.
const ALL: usize = 8 * 1024 * 1024;
/// Bytes that are thrown away of a body that is too large.
const THROWN_AWAY: usize = 16 * 1024 * 1024;
/// For how long.
const THROWING: Duration = Duration::from_secs(2);
/// So much of a refused body is thrown away whatever others do: who sent a little too much hears so, and does not find its
/// connection broken.
const FREELY: usize = 2 * 1024 * 1024;

/// The room for all bodies.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// What a body takes of the room, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn new(largest: usize) -> Self {
        Self(Arc::new(Semaphore::new(ALL.max(largest.saturating_mul(4)))))
    }
}

impl Held {
    fn more(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(bytes) else {
            return Err(
                Refusal::busy("too many large requests at once; nothing of this one was stored").closing(),
            );
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

/// Reads a body to its end. Of one that is refused, what was read counts against the pace of those.
///
/// # Cancel safety
/// Dropped, what was read is lost, and so is the connection.
pub(crate) async fn read(
    mut body: Body,
    packed: Packed,
    most: usize,
    patience: Duration,
    room: &Room,
    pace: &Pace,
) -> Result<(Vec<u8>, Held), Refusal> {
    let mut held = Held {
        room: Arc::clone(&room.0),
        held: None,
    };
    let mut read = Vec::new();
    let said = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let whole = match said > most {
        true => Ok(false),
        false => tokio::time::timeout(patience, fill(&mut read, &mut body, most, &mut held))
            .await
            .unwrap_or_else(|_late| {
                let late = "the body took too long; nothing of it was stored";
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", late).closing())
            }),
    };
    if !matches!(whole, Ok(true)) {
        pace.wasted(read.len());
        drop((read, held));
        if whole.is_ok() && said <= THROWN_AWAY {
            let _ = tokio::time::timeout(THROWING, throw_away(&mut body, pace)).await;
        }
        return Err(whole.err().unwrap_or_else(|| too_large(most)));
    }
    let unpacked = match packed {
        Packed::Not => read,
        Packed::Gzip => unpack(&read, most, &mut held, pace).inspect_err(|_| pace.wasted(read.len()))?,
    };
    Ok((unpacked, held))
}

/// Reads into `read`; `false`: there is more than the most.
async fn fill(read: &mut Vec<u8>, body: &mut Body, most: usize, held: &mut Held) -> Result<bool, Refusal> {
    while let Some(data) = next(body).await? {
        if read.len() + data.len() > most {
            return Ok(false);
        }
        held.more(data.len())?;
        read.extend_from_slice(&data);
    }
    Ok(true)
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Refusal::bad("the body ended before its time").closing()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn throw_away(body: &mut Body, pace: &Pace) {
    let mut thrown = 0;
    while thrown < THROWN_AWAY {
        if thrown >= FREELY {
            pace.due().await;
        }
        match next(body).await {
            Ok(Some(data)) => {
                thrown += data.len();
                pace.wasted(data.len());
            }
            _ => return,
        }
    }
}

fn too_large(most: usize) -> Refusal {
    let message = format!("the body is larger than {most} bytes, as it comes or unpacked");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).closing()
}

/// Unpacks, a little at a time: never more than one byte over the bound, whatever the body claims.
fn unpack(packed: &[u8], most: usize, held: &mut Held, pace: &Pace) -> Result<Vec<u8>, Refusal> {
    let mut decoder = flate2::read::MultiGzDecoder::new(packed);
    let mut unpacked = Vec::new();
    let mut part = [0; 16 * 1024];
    loop {
        let read = decoder.read(&mut part).map_err(|_| {
            pace.wasted(unpacked.len());
            Refusal::bad("the body is not valid gzip")
        })?;
        if read == 0 {
            return Ok(unpacked);
        }
        if unpacked.len() + read > most {
            pace.wasted(unpacked.len());
            return Err(too_large(most));
        }
        held.more(read)?;
        unpacked.extend_from_slice(&part[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn taken(body: Vec<u8>, packed: Packed, most: usize) -> Result<usize, u16> {
        let (room, pace) = (Room::new(most), Pace::new(|| 0));
        let patience = Duration::from_secs(5);
        let read = read(Body::from(body), packed, most, patience, &room, &pace).await;
        read.map(|(body, _)| body.len())
            .map_err(|refusal| refusal.status.as_u16())
    }

    #[tokio::test]
    async fn a_body_is_bounded_as_it_comes_and_as_it_is_unpacked() {
        assert_eq!(taken(vec![b'x'; 100], Packed::Not, 100).await, Ok(100));
        assert_eq!(taken(vec![b'x'; 101], Packed::Not, 100).await, Err(413));
        assert_eq!(taken(gzip(&[b'x'; 5000]), Packed::Gzip, 5000).await, Ok(5000));
        let bomb = gzip(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(taken(bomb, Packed::Gzip, 1_000_000).await, Err(413));
        assert_eq!(taken(b"no gzip".to_vec(), Packed::Gzip, 100).await, Err(400));
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded_and_room_is_given_back() {
        let (room, pace) = (Room::new(1), Pace::new(|| 0));
        let patience = Duration::from_secs(5);
        let body = || Body::from(vec![0; ALL / 2]);
        let first = read(body(), Packed::Not, ALL, patience, &room, &pace)
            .await
            .unwrap();
        let second = read(body(), Packed::Not, ALL, patience, &room, &pace)
            .await
            .unwrap();
        let third = read(body(), Packed::Not, ALL, patience, &room, &pace).await;
        assert_eq!(third.unwrap_err().status.as_u16(), 503);
        drop((first, second));
        read(body(), Packed::Not, ALL, patience, &room, &pace)
            .await
            .unwrap();
    }
}

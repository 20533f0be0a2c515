//! The second way in: all lines of one request, whose answer is one. They are admitted as a connection's lines are, by
//! the policy of this moment, and become one append: all of them, or none (the gateway, GATEWAY.md).

use std::ops::ControlFlow;
use std::sync::Arc;

use telemetry_policy::Policy;
use telemetry_protocol::answer::EventAnswer;
use telemetry_protocol::consent::Claim;
use telemetry_protocol::event::Event;
use telemetry_protocol::json;
use telemetry_protocol::reason::ErrorCode;
use telemetry_queue::Ticket;

use super::frame::Frame;
use super::intake::{Intake, Reading, Slot};
use super::outcome::Told;
use super::users::{PACE, TURN_BYTES};
use super::{Crowd, Peer, Shared, seat};
use crate::config::Limits;

/// Why nothing of a request was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// The first line that is wrong, from 0, where it is one of them.
    pub line: Option<usize>,
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// Takes all lines, after their commit (I1), or none. What consent declines is taken, and not stored (I3). `denied`:
/// what was read of the peer's process stands against all of them.
///
/// # Errors
/// Why nothing was stored.
///
/// # Cancel safety
/// Dropped, the lines may have been stored or not.
pub async fn request(
    shared: &Arc<Shared>,
    peer: Peer,
    denied: Option<Claim<'static>>,
    lines: &[Vec<u8>],
) -> Result<(), NotTaken> {
    let seat = seat(peer, shared)
        .map_err(|Crowd(_)| whole(ErrorCode::RateLimited, "this user has too many connections"))?;
    let turn = match &seat {
        Some(seat) => seat.turn().await,
        None => None,
    };
    let settings = Arc::clone(&shared.settings.borrow());
    let now = shared.clock.now();
    let policy = shared.consent.of_event(peer.uid, now);
    let mut reading = Reading::new(&policy, &settings.limits, now, lines.iter().map(Vec::len).sum());
    reading.most = usize::MAX;
    let mut intake = Intake::new(shared, peer);
    intake.denied = denied;
    for line in lines {
        let frame = match line.len() > settings.limits.max_event_bytes {
            true => Frame::TooLong(line.len()),
            false => Frame::Line(line),
        };
        if intake.line(&frame, &mut reading) == ControlFlow::Break(()) {
            return Err(whole(
                ErrorCode::InvalidEvent,
                "op: a request of control is no event",
            ));
        }
    }
    let Reading {
        mut append,
        slots,
        over_rate,
        ..
    } = reading;
    if let Some(wrong) = slots.iter().enumerate().find_map(|(at, slot)| match slot {
        Slot::Ready(answer) => refused(at, answer),
        Slot::Event(..) => None,
    }) {
        return Err(wrong);
    }
    let bytes = append.arena.len();
    append.ticket = turn.map(|turn| turn as Ticket);
    let said = match append.is_empty() {
        true => Some(Ok(Vec::new())),
        false => match shared.queue.send_append(append).await {
            Ok(answer) => answer.await.ok(),
            Err(_) => None,
        },
    };
    let told = Told {
        counters: &shared.counters,
        tail: &shared.tail,
        uid: peer.uid,
    };
    let (mut at, mut wrong) = (0, None);
    told.each(said, &slots, |answer| {
        wrong = wrong.take().or_else(|| refused(at, answer));
        at += 1;
    });
    if let Some(seat) = seat
        && (over_rate || seat.busy())
    {
        // As long as it takes others to read as much.
        let turns = u32::try_from(bytes / TURN_BYTES).unwrap_or(u32::MAX);
        tokio::time::sleep(PACE.saturating_mul(turns.saturating_add(1))).await;
    }
    wrong.map_or(Ok(()), Err)
}

/// Whether every line is an event that this policy knows and lists, so that only consent, or want of room, can be in
/// its way.
#[must_use]
pub fn all_may_be_taken(policy: &Policy, limits: &Limits, lines: &[Vec<u8>]) -> bool {
    let mut members = Vec::new();
    lines.iter().all(|line| {
        if line.len() > limits.max_event_bytes {
            return false;
        }
        let Ok(object) = json::scan(line, limits.max_depth, &mut members) else {
            return false;
        };
        let event = Event::parse(&object);
        object.get("op").is_none() && event.is_ok_and(|event| policy.lists(event.tool, &event.event))
    })
}

fn refused(line: usize, answer: &EventAnswer) -> Option<NotTaken> {
    match answer {
        EventAnswer::Error { code, message, .. } => Some(NotTaken {
            line: Some(line),
            code: *code,
            message: message.clone(),
        }),
        _ => None,
    }
}

fn whole(code: ErrorCode, message: &str) -> NotTaken {
    NotTaken {
        line: None,
        code,
        message: message.to_owned(),
    }
}

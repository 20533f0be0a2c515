//! What became of a read's lines, once the queue has said it (I1): an answer for each, in their order. Said to the
//! counters and to who watches, too.

use telemetry_protocol::answer::EventAnswer;
use telemetry_protocol::event::Ack;
use telemetry_protocol::reason::ErrorCode;
use telemetry_queue::{Appended, ErrorKind, QueueError};
use uuid::Uuid;

use super::intake::{Slot, Watched};
use crate::control::tail::Tail;
use crate::counters::Counters;

/// What the queue said of an append; `None`: it is closed.
pub(super) type Said = Option<Result<Vec<Appended>, QueueError>>;

/// Who is told besides the client.
pub(super) struct Told<'t> {
    pub(super) counters: &'t Counters,
    pub(super) tail: &'t Tail,
    /// Whose events they are.
    pub(super) uid: u32,
}

impl Told<'_> {
    /// The answer for each slot, in order; those that want none are left out.
    pub(super) fn each(&self, said: Said, slots: &[Slot], mut hear: impl FnMut(&EventAnswer)) {
        let mut said = match said {
            Some(Ok(outcomes)) => Ok(outcomes.into_iter()),
            Some(Err(error)) => Err(failed(&error)),
            None => Err(Failed {
                code: ErrorCode::ShuttingDown,
                message: "the daemon is shutting down; the event was not taken".to_owned(),
                counted: false,
            }),
        };
        for slot in slots {
            match slot {
                Slot::Ready(answer) => hear(answer),
                Slot::Event(id, ack, watched) => {
                    let answer = match &mut said {
                        Ok(outcomes) => self.one(outcomes.next(), *id, *ack, watched.as_deref()),
                        Err(failed) => {
                            if failed.counted {
                                self.counters.refuse(failed.code);
                            }
                            error(failed.code, &failed.message, *id)
                        }
                    };
                    if *ack != Ack::None {
                        hear(&answer);
                    }
                }
            }
        }
    }

    fn one(&self, outcome: Option<Appended>, id: Uuid, ack: Ack, watched: Option<&Watched>) -> EventAnswer {
        let say = |what| {
            if let Some(Watched { tool, at_ms, line }) = watched {
                self.tail.say(self.uid, tool, what, *at_ms, || line.clone());
            }
        };
        match outcome {
            Some(Appended::Queued) => {
                say("accepted");
                match ack {
                    Ack::Synced => EventAnswer::Synced(id),
                    Ack::None | Ack::Queued => EventAnswer::Queued(id),
                }
            }
            Some(Appended::Duplicate) => {
                self.counters.duplicates.add(1);
                say("duplicate");
                EventAnswer::Duplicate(id)
            }
            Some(Appended::Refused) => {
                say("refused");
                self.counters.refuse(ErrorCode::QueueFull);
                let message =
                    "the queue takes at most 64 tools of a user, and no event larger than its limit";
                error(ErrorCode::QueueFull, message, id)
            }
            None => error(ErrorCode::Internal, "the queue said nothing of this event", id),
        }
    }
}

/// Why none of them was taken.
struct Failed {
    code: ErrorCode,
    message: String,
    counted: bool,
}

fn failed(error: &QueueError) -> Failed {
    let code = match error.kind {
        ErrorKind::Closed => ErrorCode::ShuttingDown,
        _ => ErrorCode::Storage,
    };
    let message = match error.kind {
        ErrorKind::DiskFull => "the disk is full; the event was not stored".to_owned(),
        _ => format!("{error}; the event was not stored"),
    };
    Failed {
        code,
        message,
        counted: true,
    }
}

fn error(code: ErrorCode, message: &str, id: Uuid) -> EventAnswer {
    EventAnswer::Error {
        code,
        message: message.to_owned(),
        id: Some(id),
    }
}

//! One read's lines become one append: each line is scanned once, its event goes through the policy, and
//! only what is admitted becomes bytes for the queue (I3).

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use serde_json::json;
use telemetry_policy::redact::Subject;
use telemetry_policy::{Admission, Occasion, Policy, Report, admit};
use telemetry_protocol::answer::{self, EventAnswer};
use telemetry_protocol::consent::Claim;
use telemetry_protocol::event::{Ack, Event, Rejected};
use telemetry_protocol::json as wire;
use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::request::Control;
use telemetry_protocol::time::Rfc3339;
use telemetry_queue::{Append, Id, Lane, Moment, NewEvent};
use uuid::Uuid;

use super::frame::Frame;
use super::{Peer, Shared};
use crate::config::Limits;

/// What is to be answered for one line, in the order of the lines.
#[derive(Debug)]
pub(super) enum Slot {
    /// Known already.
    Ready(EventAnswer),
    /// The next event of the append; what a watcher is to see of it, while somebody watches.
    Event(Uuid, Ack, Option<Box<Watched>>),
}

/// What a watcher sees of an event.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) tool: Box<str>,
    pub(super) at_ms: i64,
    pub(super) line: serde_json::Value,
}

/// Turns lines into events for the queue. One for each connection: it remembers the lanes that it uses.
pub(super) struct Intake<'s> {
    shared: &'s Shared,
    peer: Peer,
    /// In order of tool and destination.
    lanes: Vec<Arc<Lane>>,
    members: Vec<wire::Member>,
    project: Option<Project>,
    /// Who the strings are about, and what was taken out of the last event.
    subject: Subject,
    report: Report,
    /// What was read of the peer's process, where that is not the client's own word: it stands in its place.
    pub(super) denied: Option<Claim<'static>>,
}

/// The last event's tool, project and epoch, and their hash.
struct Project {
    tool: Box<str>,
    project: Box<str>,
    epoch: u64,
    id: Id,
}

/// Lanes that a connection remembers: a client speaks for one tool, a gateway for a few, and no user has more than 64.
const LANES: usize = 64;

/// Lines that become one append: some hundred more make a transaction no cheaper.
pub(super) const LINES: usize = 512;

/// Bytes of a short line: room for so many is made at once.
const LINE: usize = 256;

/// The lines that become one append, up to a control request.
pub(super) struct Reading<'r> {
    pub(super) policy: &'r Policy,
    pub(super) limits: &'r Limits,
    pub(super) at: Moment,
    /// The same as events without a time of their own say it.
    received: [u8; 24],
    /// The admitted events.
    pub(super) append: Append,
    /// What is to be answered for each line.
    pub(super) slots: Vec<Slot>,
    /// The control request that ended the reading, or why it is none.
    pub(super) control: Option<Result<Control, Rejected>>,
    /// Lines that are enough.
    pub(super) most: usize,
    /// Lines so far, those without an answer too.
    pub(super) lines: usize,
    /// One was over the rate.
    pub(super) over_rate: bool,
}

impl<'r> Reading<'r> {
    pub(super) fn new(policy: &'r Policy, limits: &'r Limits, at: Moment, bytes: usize) -> Self {
        let lines = (bytes / LINE).min(LINES);
        let append = Append {
            // What is stored of a line is up to a third longer: it has the machine's context.
            arena: Vec::with_capacity(bytes + bytes / 3),
            events: Vec::with_capacity(lines),
            at,
            ..Append::default()
        };
        Self {
            policy,
            limits,
            at,
            received: Rfc3339(at.wall_ms).bytes(),
            append,
            slots: Vec::with_capacity(lines),
            control: None,
            most: LINES,
            lines: 0,
            over_rate: false,
        }
    }

    fn ready(&mut self, answer: EventAnswer) {
        self.slots.push(Slot::Ready(answer));
    }
}

impl<'s> Intake<'s> {
    pub(super) fn new(shared: &'s Shared, peer: Peer) -> Self {
        Self {
            shared,
            peer,
            lanes: Vec::new(),
            members: Vec::new(),
            project: None,
            subject: shared.desk.subject(peer.uid),
            report: Report::default(),
            denied: None,
        }
    }

    /// One line; breaks after a control request, or when there are enough.
    pub(super) fn line(&mut self, frame: &Frame<'_>, reading: &mut Reading<'_>) -> ControlFlow<()> {
        self.take(frame, reading);
        reading.lines += 1;
        match reading.control.is_some() || reading.lines >= reading.most {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn take(&mut self, frame: &Frame<'_>, reading: &mut Reading<'_>) {
        let line = match frame {
            Frame::Line(line) => *line,
            Frame::TooLong(length) => {
                self.refuse(
                    reading,
                    answer::too_large(*length, reading.limits.max_event_bytes),
                    Ack::Queued,
                );
                return;
            }
        };
        let mut members = std::mem::take(&mut self.members);
        match wire::scan(line, reading.limits.max_depth, &mut members) {
            Err(error) => {
                let Rejected { code, message } = error.into();
                self.refuse(
                    reading,
                    EventAnswer::Error {
                        code,
                        message,
                        id: None,
                    },
                    Ack::Queued,
                );
            }
            Ok(object) if object.get("op").is_some() => {
                let request = Control::parse(object.text);
                if let Err(rejected) = &request {
                    self.shared.counters.refuse(rejected.code);
                }
                reading.control = Some(request);
            }
            Ok(object) => match Event::parse(&object) {
                Err(Rejected { code, message }) => {
                    let id = object
                        .get("id")
                        .and_then(wire::string)
                        .and_then(|id| Uuid::try_parse(&id).ok());
                    self.refuse(
                        reading,
                        EventAnswer::Error { code, message, id },
                        Ack::of(&object),
                    );
                }
                Ok(mut event) => {
                    if self.denied.is_some() {
                        event.consent.clone_from(&self.denied);
                    }
                    self.event(&event, reading);
                }
            },
        }
        self.members = members;
    }

    fn event(&mut self, event: &Event<'_>, reading: &mut Reading<'_>) {
        let (shared, uid) = (self.shared, self.peer.uid);
        if let Some(rate) = reading.limits.rate {
            let mut rates = shared.rates.lock().unwrap_or_else(PoisonError::into_inner);
            let granted = rates.take(uid, event.tool, rate, reading.at);
            drop(rates);
            if !granted {
                reading.over_rate = true;
                let message = format!(
                    "more than {} events a second, {} at once (limits.rate)",
                    rate.per_second, rate.burst
                );
                let answer = EventAnswer::Error {
                    code: ErrorCode::RateLimited,
                    message,
                    id: event.id,
                };
                return self.refuse(reading, answer, event.ack);
            }
        }
        let make = || {
            shared
                .ids
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .make(reading.at)
        };
        let id = event.id.unwrap_or_else(make);
        let from = reading.append.arena.len();
        let occasion = Occasion {
            id: id.into_bytes(),
            received: reading.received,
            subject: &self.subject,
            machine: shared.desk.machine(),
        };
        let admission = admit(
            event,
            reading.policy,
            &occasion,
            &mut shared.desk.keeper(uid, reading.at),
            &mut self.report,
            &mut reading.append.arena,
        );
        match admission {
            Admission::UnlistedEvent { source } => {
                shared.counters.unlisted(uid, event.tool);
                shared.tail.say(uid, event.tool, "refused", reading.at.wall_ms, || {
                    json!({ "error": ErrorCode::NotAllowed.as_str(), "event": event.event, "source": source })
                });
                let message = format!("event: is not among those that {source} lists");
                let answer = EventAnswer::Error {
                    code: ErrorCode::NotAllowed,
                    message,
                    id: event.id,
                };
                self.refuse(reading, answer, event.ack);
            }
            Admission::SampledOut => {
                shared.counters.decline(uid, event.tool, "sample");
                if event.ack != Ack::None {
                    reading.ready(EventAnswer::SampledOut(id));
                }
            }
            Admission::UnknownTool => {
                let message =
                    "tool: has no manifest here (defaults.unregistered_tools = \"refuse\")".to_owned();
                let answer = EventAnswer::Error {
                    code: ErrorCode::UnknownTool,
                    message,
                    id: event.id,
                };
                self.refuse(reading, answer, event.ack);
            }
            Admission::Declined { by, source } => {
                shared.counters.decline(uid, event.tool, by);
                if by == "quota"
                    && let Some(tool) = reading.policy.tool(event.tool)
                {
                    let lane = self.lane(event.tool, &tool.destination);
                    let known = reading
                        .append
                        .over_quota
                        .iter_mut()
                        .find(|(known, _)| Arc::ptr_eq(known, &lane));
                    match known {
                        Some((_, count)) => *count += 1,
                        None => reading.append.over_quota.push((lane, 1)),
                    }
                }
                shared.tail.say(
                    uid,
                    event.tool,
                    "declined",
                    reading.at.wall_ms,
                    || json!({ "by": by, "source": source }),
                );
                if event.ack != Ack::None {
                    reading.ready(EventAnswer::Declined {
                        by,
                        source,
                        id: event.id,
                    });
                }
            }
            Admission::Admitted { destination, epoch } => {
                if !self.report.is_empty() {
                    shared.counters.remove(uid, event.tool, &self.report);
                }
                reading.append.events.push(NewEvent {
                    lane: self.lane(event.tool, &destination),
                    id: id.into_bytes(),
                    project: self.project(event, epoch),
                    epoch,
                    payload: from..reading.append.arena.len(),
                });
                reading.append.synced |= event.ack == Ack::Synced;
                let watched = shared.tail.watched().then(|| {
                    Box::new(Watched {
                        tool: event.tool.into(),
                        at_ms: reading.at.wall_ms,
                        line: watched(event, id, &destination, &self.report),
                    })
                });
                reading.slots.push(Slot::Event(id, event.ack, watched));
            }
        }
    }

    fn refuse(&self, reading: &mut Reading<'_>, answer: EventAnswer, ack: Ack) {
        if let EventAnswer::Error { code, .. } = &answer {
            self.shared.counters.refuse(*code);
        }
        if ack != Ack::None {
            reading.ready(answer);
        }
    }

    /// The hash by which the row knows its project; asked for once as long as a client stays in one.
    fn project(&mut self, event: &Event<'_>, epoch: u64) -> Option<Id> {
        let project = event.project.as_deref()?;
        // What was forgotten has another key afterwards, and another epoch.
        if let Some(known) = &self.project
            && (&*known.tool, &*known.project, known.epoch) == (event.tool, project, epoch)
        {
            return Some(known.id);
        }
        let id = self.shared.consent.project(self.peer.uid, event.tool, project)?;
        self.project = Some(Project {
            tool: event.tool.into(),
            project: project.into(),
            epoch,
            id,
        });
        Some(id)
    }

    fn lane(&mut self, tool: &str, destination: &Arc<str>) -> Arc<Lane> {
        let found = self
            .lanes
            .binary_search_by(|lane| (&*lane.tool, &*lane.destination).cmp(&(tool, &**destination)));
        let place = match found {
            Ok(at) => return Arc::clone(&self.lanes[at]),
            Err(_) if self.lanes.len() == LANES => {
                self.lanes.clear();
                0
            }
            Err(place) => place,
        };
        self.shared.consent.know(self.peer.uid, tool);
        let lane = Arc::new(Lane {
            uid: self.peer.uid,
            destination: Arc::clone(destination),
            tool: Arc::from(tool),
        });
        self.lanes.insert(place, Arc::clone(&lane));
        lane
    }
}

/// What a watcher is shown of an event that was taken, with what was taken out of it.
fn watched(event: &Event<'_>, id: Uuid, destination: &str, report: &Report) -> serde_json::Value {
    let mut line = json!({ "event": event.event, "id": id.to_string(), "destination": destination });
    if !report.is_empty() {
        let removed = report.names().iter().map(|removed| {
            let mut one = json!({ "name": removed.name, "why": removed.why.as_str() });
            if let Some((expected, found)) = removed.expected {
                one["expected"] = expected.into();
                one["found"] = found.into();
            }
            one
        });
        line["removed"] = removed.collect();
    }
    if report.masked > 0 {
        line["masked"] = report.masked.into();
    }
    line
}

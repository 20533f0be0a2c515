//! The model's side: every event ever appended in a `Vec`, the queue beside it, and how each step is taken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use telemetry_queue::{
    Append, Appended, ClaimLimits, Claimed, Filter, Id, Lane, Moment, NewEvent, Options, Outcome,
    PurgeReason, Settled,
};
use tempfile::TempDir;

use super::judge::{Deeds, Snapshot};
use super::{Draft, Ending, Setting, Step, Which};
use crate::support::{Bench, START, id, limits, options, payload, scratch};

/// Where an event is, as far as the model was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Queued,
    Parked,
    Delivered,
    Gone,
}

/// An event that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: Id,
    pub(super) lane: Arc<Lane>,
    pub(super) payload: Vec<u8>,
    pub(super) project: Option<Id>,
    pub(super) epoch: u64,
    pub(super) received: Moment,
    pub(super) place: Place,
}

/// What tells one event from another.
pub(super) type Name = (u32, Arc<str>, Id);

/// What is known of a batch.
#[derive(Clone, Debug)]
pub(super) struct Formed {
    pub(super) members: Vec<Name>,
    pub(super) attempts: u32,
    pub(super) root_events: u32,
}

pub(super) struct World {
    directory: TempDir,
    bench: Option<Bench>,
    pub(super) options: Options,
    pub(super) now: Moment,
    pub(super) epoch: u64,
    pub(super) events: Vec<Event>,
    /// The newest event of each name.
    pub(super) index: HashMap<Name, usize>,
    /// Every batch ever seen.
    pub(super) formed: BTreeMap<Id, Formed>,
    pub(super) leases: Vec<Claimed>,
    /// Single events that were refused and wait for the others of their root.
    pub(super) refused: BTreeSet<Id>,
    pub(super) before: Snapshot,
    next_id: u64,
}

impl World {
    pub(super) fn new(setting: &Setting) -> Self {
        let directory = scratch();
        let mut options = options(directory.path());
        options.limits = telemetry_queue::Limits {
            max_bytes: setting.max_bytes,
            max_bytes_per_tool: setting.max_bytes_per_tool,
            max_age_ms: setting.max_age_ms,
            parked_max_age_ms: setting.max_age_ms,
            sent_max_bytes: setting.sent_max_bytes,
            sent_bodies: setting.sent_bodies,
            ..limits()
        };
        let bench = Bench::open(&options, START).unwrap();
        Self {
            directory,
            bench: Some(bench),
            options,
            now: START,
            epoch: 1,
            events: Vec::new(),
            index: HashMap::new(),
            formed: BTreeMap::new(),
            leases: Vec::new(),
            refused: BTreeSet::new(),
            before: Snapshot::default(),
            next_id: 0,
        }
    }

    pub(super) fn bench(&self) -> &Bench {
        self.bench.as_ref().unwrap()
    }

    /// Takes one step, and judges what came of it.
    pub(super) fn take(&mut self, step: &Step) {
        let mut deeds = Deeds::default();
        match step {
            Step::Append { drafts, synced } => self.append(drafts, *synced, &mut deeds),
            Step::Claim {
                destination,
                max_events,
                max_bytes,
            } => {
                let limits = ClaimLimits {
                    max_events: u32::from(*max_events),
                    max_bytes: max_bytes.map_or(u64::MAX / 4, u64::from),
                    per_batch: 10,
                    per_event: 5,
                    in_a_row: None,
                };
                let name = destination_of(*destination);
                let claimed = self.bench().claim(name, limits, self.now);
                deeds.claim(name, limits, claimed);
            }
            Step::Settle {
                lease,
                ending,
                claim_next,
            } => {
                if !self.leases.is_empty() {
                    let lease = self.leases.remove(usize::from(*lease) % self.leases.len());
                    self.settle(lease, *ending, *claim_next, &mut deeds);
                }
            }
            Step::Tick { ms } => {
                self.now.wall_ms += i64::from(*ms);
                self.now.boot_ms += u64::from(*ms);
            }
            Step::NewEpoch => self.epoch += 1,
            Step::Purge { which, forget } => {
                let filter = self.filter(which);
                let reason = if *forget {
                    PurgeReason::Forget
                } else {
                    PurgeReason::User
                };
                deeds.receipt = Some(self.bench().purge(filter.clone(), reason, self.now));
                deeds.purge = Some(filter);
            }
            Step::Requeue { which } => {
                let filter = self.filter(which);
                deeds.requeued = Some(self.bench().requeue(filter.clone(), self.now));
                deeds.requeue = Some(filter);
            }
            Step::Restart { reboot } => {
                self.bench.take().unwrap().close();
                if *reboot {
                    // The boot clock starts again, the wall clock goes on.
                    self.options.boot_id[0] = self.options.boot_id[0].wrapping_add(1);
                    self.now = Moment {
                        wall_ms: self.now.wall_ms + 1_000,
                        boot_ms: 10_000,
                    };
                }
                self.reopen(false, &mut deeds);
            }
            Step::Crash => {
                self.crash();
                self.reopen(true, &mut deeds);
            }
        }
        self.judge(deeds);
    }

    /// The files as they are now, in a new directory, as if the machine had stopped here.
    fn crash(&mut self) {
        let directory = scratch();
        for name in ["queue.db", "queue.db-wal"] {
            let from = self.directory.path().join(name);
            if from.exists() {
                std::fs::copy(from, directory.path().join(name)).unwrap();
            }
        }
        self.bench.take().unwrap().close();
        self.options.directory = directory.path().to_owned();
        self.directory = directory;
    }

    fn reopen(&mut self, unclean: bool, deeds: &mut Deeds) {
        let bench = Bench::open(&self.options, self.now).unwrap();
        assert_eq!(bench.report.unclean, unclean, "{:?}", bench.report);
        assert_eq!(bench.report.set_aside, None);
        assert_eq!(bench.report.unbalanced, []);
        bench.until_checked();
        let checked = bench.wait(bench.queue().checked()).unwrap();
        assert_eq!((checked.differences, checked.integrity), (vec![], None));
        self.bench = Some(bench);
        self.leases.clear();
        deeds.restarted = true;
    }

    fn append(&mut self, drafts: &[Draft], synced: bool, deeds: &mut Deeds) {
        let mut append = Append {
            synced,
            at: self.now,
            ..Append::default()
        };
        for draft in drafts {
            let mut lane = lane_of(draft.lane);
            let mut number = self.next_id;
            self.next_id += 1;
            let mut event_id = id(number);
            if let Some(again) = draft.again
                && !self.events.is_empty()
            {
                // An id that was used before, most often by the same tool.
                let first = &self.events[usize::from(again) % self.events.len()];
                event_id = first.id;
                number = u64::from(again);
                if draft.bytes % 4 != 0 {
                    lane = Arc::new(Lane {
                        destination: lane.destination.clone(),
                        ..(*first.lane).clone()
                    });
                }
            }
            let start = append.arena.len();
            append
                .arena
                .extend_from_slice(&payload(number, usize::from(draft.bytes)));
            append.events.push(NewEvent {
                lane,
                id: event_id,
                project: draft.project.map(project_of),
                epoch: self.epoch,
                payload: start..append.arena.len(),
            });
        }
        let answers = self.bench().append(append.clone()).unwrap();
        assert_eq!(answers.len(), append.events.len());
        let room = self
            .options
            .limits
            .max_bytes
            .min(self.options.limits.max_bytes_per_tool);
        for (event, answer) in append.events.iter().zip(answers) {
            let name = (event.lane.uid, event.lane.tool.clone(), event.id);
            let payload = append.arena[event.payload.clone()].to_vec();
            let known = self.is_known(&name) || deeds.appended.iter().any(|at| self.name(*at) == name);
            match answer {
                Appended::Duplicate => {
                    assert!(
                        known || self.may_be_known(&name),
                        "{event:?} is new and was taken for a duplicate"
                    );
                }
                Appended::Refused => assert!(payload.len() as u64 + 128 > room, "{event:?} was refused"),
                Appended::Queued => {
                    assert!(!known, "{event:?} is there already and was queued again");
                    self.index.insert(name, self.events.len());
                    deeds.appended.push(self.events.len());
                    self.events.push(Event {
                        id: event.id,
                        lane: Arc::clone(&event.lane),
                        payload,
                        project: event.project,
                        epoch: event.epoch,
                        received: self.now,
                        place: Place::Queued,
                    });
                }
            }
        }
    }

    fn name(&self, at: usize) -> Name {
        let event = &self.events[at];
        (event.lane.uid, event.lane.tool.clone(), event.id)
    }

    /// Queued or parked. (One that is queued again although the sent log has it is found by the judge.)
    fn is_known(&self, name: &Name) -> bool {
        self.index
            .get(name)
            .is_some_and(|&at| match self.events[at].place {
                Place::Queued | Place::Parked => !self.is_old(&self.events[at]),
                Place::Delivered | Place::Gone => false,
            })
    }

    /// Delivered, and the log still has its batch but does not show it; or about to expire.
    fn may_be_known(&self, name: &Name) -> bool {
        self.index
            .get(name)
            .is_some_and(|&at| self.events[at].place != Place::Gone)
    }

    /// Whether it may have expired by now.
    pub(super) fn is_old(&self, event: &Event) -> bool {
        let age = self.now.wall_ms - event.received.wall_ms;
        age >= self.options.limits.max_age_ms.cast_signed()
    }

    pub(super) fn settle(&mut self, lease: Claimed, ending: Ending, claim_next: bool, deeds: &mut Deeds) {
        let outcome = match ending {
            Ending::Delivered => Outcome::Delivered {
                status: 200,
                meta: "{\"n\":1}".into(),
            },
            Ending::Retry => Outcome::Retry {
                error: "no route to host".into(),
            },
            Ending::Split => Outcome::Split {
                status: 413,
                answer: b"large".to_vec(),
            },
            Ending::Bisect(status) => Outcome::Bisect {
                status,
                answer: b"bad".to_vec(),
            },
            Ending::Release => Outcome::Release,
            Ending::PutBack => Outcome::PutBack,
        };
        let bench = self.bench();
        let settled: Settled = if claim_next {
            let limits = ClaimLimits {
                max_events: 7,
                max_bytes: u64::MAX / 4,
                per_batch: 10,
                per_event: 5,
                in_a_row: None,
            };
            let answer = bench
                .queue()
                .settle_and_claim(lease.id, outcome, None, limits, self.now);
            let (settled, claimed) = bench.wait(answer).unwrap();
            if settled.refuses_everything {
                assert!(
                    claimed.is_none(),
                    "claimed from a destination that refuses everything"
                );
            } else {
                let destination = lease.destination.to_string();
                deeds.claim(&destination, limits, claimed);
            }
            settled
        } else {
            bench.settle(lease.id, outcome, self.now)
        };
        deeds.settled = Some((lease, ending, settled));
    }

    fn filter(&self, which: &Which) -> Filter {
        Filter {
            uid: which.uid.map(|uid| 1000 + u32::from(uid)),
            tool: which.tool.map(|tool| tool_of(tool).into()),
            destination: which
                .destination
                .map(|destination| destination_of(destination).into()),
            project: which.project.map(project_of),
            epoch_below: which.epoch_below.map(u64::from),
            ids: which.ids.as_ref().map(|ids| {
                let known = |at: &u16| self.events.get(usize::from(*at) % self.events.len().max(1));
                ids.iter().filter_map(known).map(|event| event.id).collect()
            }),
        }
    }
}

pub(super) fn destination_of(one: bool) -> &'static str {
    if one { "a" } else { "b" }
}

fn tool_of(tool: u8) -> &'static str {
    ["x", "yy", "zzz"][usize::from(tool)]
}

fn project_of(project: u8) -> Id {
    [0xa0 + project; 16]
}

fn lane_of(lane: u8) -> Arc<Lane> {
    Arc::new(Lane {
        uid: 1000 + u32::from(lane % 2),
        destination: destination_of((lane / 2).is_multiple_of(2)).into(),
        tool: tool_of(lane / 4).into(),
    })
}

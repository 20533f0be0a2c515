//! What the writer knows by heart: lanes with their books, batches, losses. A mirror of the small tables, changed
//! with them in the same transaction and read again from them after a rollback.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::dedupe::IdTable;
use crate::ranges::Ranges;
use crate::segment::{Builder, Stamp};
use crate::types::{Book, Id, Lane, Losses};

/// A lane's place in [`State::lanes`].
pub(crate) type LaneAt = usize;
/// A destination's place in [`State::destinations`].
pub(crate) type DestinationAt = usize;
/// A (uid, tool)'s place in [`State::tools`].
pub(crate) type ToolAt = usize;

/// The tallies of one lane (I5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tallies {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) parked: u64,
    pub(crate) queued: u64,
    pub(crate) evicted: u64,
    pub(crate) expired: u64,
    pub(crate) purged: u64,
    pub(crate) lost: u64,
}

/// One lane.
#[derive(Debug)]
pub(crate) struct LaneState {
    /// Its number in the database.
    pub(crate) number: u32,
    pub(crate) lane: Arc<Lane>,
    pub(crate) destination: DestinationAt,
    pub(crate) tool: ToolAt,
    pub(crate) next_seq: u64,
    pub(crate) tallies: Tallies,
    /// Bytes of its queued events.
    pub(crate) bytes: u64,
    /// Bytes of its parked events.
    pub(crate) parked_bytes: u64,
    /// Queued events that no batch holds.
    pub(crate) waiting: Ranges,
    /// Queued events in batches, refused ones included.
    pub(crate) held: u64,
    /// Events of the sent log whose ids it still holds, about.
    pub(crate) logged: u64,
    /// The oldest waiting event's stamp.
    pub(crate) head: Option<Stamp>,
    /// Ids in its segments, and in its parked rows (by their number).
    pub(crate) ids: IdTable,
    pub(crate) parked_ids: IdTable,
    /// What has to be read before `ids` is complete.
    pub(crate) scan: Option<Scan>,
    /// It is in [`State::changed`].
    pub(crate) dirty: bool,
    /// The segment that is being filled in this transaction.
    pub(crate) open: Option<Builder>,
}

/// The first reading of a lane's segments after the queue was opened: it fills the id table, verifies the
/// checksums and counts the rows behind the books.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan {
    /// Segments from here on are not read yet.
    pub(crate) next: u64,
    /// Where the lane ended when the queue was opened.
    pub(crate) end: u64,
    /// Queued events counted so far.
    pub(crate) counted: u64,
    /// What the books said when the queue was opened.
    pub(crate) booked: u64,
}

impl LaneState {
    /// Waiting events.
    pub(crate) fn waiting_events(&self) -> u64 {
        self.tallies.queued.saturating_sub(self.held)
    }

    pub(crate) fn book(&self) -> Book {
        let Tallies {
            accepted,
            delivered,
            parked,
            queued,
            evicted,
            expired,
            purged,
            lost,
        } = self.tallies;
        let lane = (*self.lane).clone();
        Book {
            lane,
            accepted,
            delivered,
            parked,
            queued,
            evicted,
            expired,
            purged,
            lost,
        }
    }
}

/// A range of a batch's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) lane: LaneAt,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// A batch that was formed and not settled.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) n: u64,
    pub(crate) id: Id,
    pub(crate) root: u64,
    pub(crate) root_events: u32,
    pub(crate) uid: u32,
    pub(crate) destination: DestinationAt,
    pub(crate) order: i64,
    /// Not 0: refused with this status, waiting for its root's decision.
    pub(crate) refused: u16,
    pub(crate) attempts: u32,
    pub(crate) losses: Losses,
    pub(crate) members: Vec<Member>,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest: Stamp,
    /// The id under which it is leased: not its own where its members changed since.
    pub(crate) lease: Option<Id>,
    /// Formed by the claim whose lease still goes on: nobody has heard of its id.
    pub(crate) unheard: bool,
}

/// What became of a batch that was cut into pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Root {
    /// Its events, less those purged.
    pub(crate) events: u64,
    pub(crate) refused: u64,
    pub(crate) delivered: u64,
    pub(crate) status: u16,
    pub(crate) mixed: bool,
    /// Pieces that can still be claimed or are under lease.
    pub(crate) open: u32,
    /// Pieces that were refused and wait.
    pub(crate) waiting: Vec<u64>,
}

/// One uid's turn at a destination.
#[derive(Debug, Default)]
pub(crate) struct UidTurn {
    pub(crate) uid: u32,
    pub(crate) lanes: Vec<LaneAt>,
    /// Bytes it was served, in the destination's virtual time.
    pub(crate) served: u64,
    /// Which lane is next.
    pub(crate) next: usize,
}

/// One destination.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) name: Arc<str>,
    pub(crate) uids: Vec<UidTurn>,
    /// The virtual time at which the last uid was served.
    pub(crate) served: u64,
    /// Batches that can be claimed or are under lease, in order.
    pub(crate) batches: BTreeMap<i64, u64>,
    pub(crate) queued: u64,
    pub(crate) bytes: u64,
    pub(crate) leased: u64,
    pub(crate) leased_bytes: u64,
    pub(crate) accepted: u64,
    /// Events put back from the parked rows since the queue was opened: the view's counters only grow.
    pub(crate) requeued: u64,
    /// Users whose rows are not to be claimed for now.
    pub(crate) held: BTreeSet<u32>,
    /// Whose batch was claimed last that had been formed before, and how many of them one after the other.
    pub(crate) row: (u32, u32),
    /// Its line in the view has to be made anew.
    pub(crate) dirty: bool,
}

/// What one (uid, tool) uses.
#[derive(Debug)]
pub(crate) struct ToolUse {
    pub(crate) uid: u32,
    pub(crate) bytes: u64,
    pub(crate) parked_bytes: u64,
    pub(crate) lanes: Vec<LaneAt>,
}

/// What one uid uses.
#[derive(Debug, Default)]
pub(crate) struct UidUse {
    pub(crate) bytes: u64,
    pub(crate) tools: Vec<ToolAt>,
}

/// One entry of the sent log, as its limits need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentEntry {
    pub(crate) n: u64,
    pub(crate) uid: u32,
    pub(crate) kept: u64,
    pub(crate) at: Stamp,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) lanes: Vec<LaneState>,
    /// Lanes whose rows have to be written before the commit.
    pub(crate) changed: Vec<LaneAt>,
    pub(crate) lane_names: HashMap<Lane, LaneAt>,
    pub(crate) lane_numbers: HashMap<u32, LaneAt>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) destination_names: HashMap<Arc<str>, DestinationAt>,
    pub(crate) tools: Vec<ToolUse>,
    pub(crate) tool_names: HashMap<(u32, Arc<str>), ToolAt>,
    pub(crate) uids: HashMap<u32, UidUse>,
    pub(crate) batches: HashMap<u64, Batch>,
    pub(crate) leases: HashMap<Id, u64>,
    pub(crate) roots: HashMap<u64, Root>,
    pub(crate) losses: HashMap<(u32, DestinationAt), Losses>,
    /// Oldest first.
    pub(crate) sent: VecDeque<SentEntry>,
    pub(crate) sent_kept: u64,
    /// The same for each uid that has entries.
    pub(crate) sent_of: HashMap<u32, u64>,
    pub(crate) parked_rows: u64,
    /// The oldest parked row's stamp of parking, or one that was older.
    pub(crate) parked_oldest: Option<Stamp>,
    pub(crate) destination_states: BTreeMap<Arc<str>, String>,
    pub(crate) next_batch: u64,
    pub(crate) next_parked: u64,
    pub(crate) next_in_heap: u64,
    /// Bytes of all queued events.
    pub(crate) bytes: u64,
    /// Queued events.
    pub(crate) queued: u64,
}

/// Whether the first was received before the second: by boot, then by the boot clock, which no one sets.
pub(crate) fn older(one: &Stamp, other: &Stamp) -> bool {
    (one.boot, one.received.boot_ms) < (other.boot, other.received.boot_ms)
}

/// The older of the two.
pub(crate) fn oldest(one: Option<Stamp>, other: Option<Stamp>) -> Option<Stamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if older(&other, &one) { other } else { one }),
        (one, other) => one.or(other),
    }
}

impl State {
    /// Registers a lane that the database knows under this number.
    pub(crate) fn add_lane(&mut self, number: u32, lane: Arc<Lane>) -> LaneAt {
        let at = self.lanes.len();
        let destination = self.destination(&lane.destination);
        let turns = &mut self.destinations[destination].uids;
        match turns.iter_mut().find(|turn| turn.uid == lane.uid) {
            Some(turn) => turn.lanes.push(at),
            None => turns.push(UidTurn {
                uid: lane.uid,
                lanes: vec![at],
                ..UidTurn::default()
            }),
        }
        let tool = *self
            .tool_names
            .entry((lane.uid, Arc::clone(&lane.tool)))
            .or_insert_with(|| {
                self.tools.push(ToolUse {
                    uid: lane.uid,
                    bytes: 0,
                    parked_bytes: 0,
                    lanes: Vec::new(),
                });
                self.uids
                    .entry(lane.uid)
                    .or_default()
                    .tools
                    .push(self.tools.len() - 1);
                self.tools.len() - 1
            });
        self.tools[tool].lanes.push(at);
        self.lane_names.insert((*lane).clone(), at);
        self.lane_numbers.insert(number, at);
        self.lanes.push(LaneState {
            number,
            lane,
            destination,
            tool,
            next_seq: 1,
            tallies: Tallies::default(),
            bytes: 0,
            parked_bytes: 0,
            waiting: Ranges::default(),
            held: 0,
            logged: 0,
            head: None,
            ids: IdTable::default(),
            parked_ids: IdTable::default(),
            scan: None,
            dirty: false,
            open: None,
        });
        at
    }

    /// A further entry of the sent log, the newest.
    pub(crate) fn add_sent(&mut self, entry: SentEntry) {
        self.sent_kept += entry.kept;
        *self.sent_of.entry(entry.uid).or_default() += entry.kept;
        self.sent.push_back(entry);
    }

    /// So many bytes less are kept of this uid in the sent log.
    pub(crate) fn less_sent(&mut self, uid: u32, bytes: u64) {
        self.sent_kept = self.sent_kept.saturating_sub(bytes);
        if let Some(kept) = self.sent_of.get_mut(&uid) {
            *kept = kept.saturating_sub(bytes);
            if *kept == 0 {
                self.sent_of.remove(&uid);
            }
        }
    }

    /// The place of a destination, which is made where it is new.
    pub(crate) fn destination(&mut self, name: &Arc<str>) -> DestinationAt {
        if let Some(&at) = self.destination_names.get(name) {
            return at;
        }
        let at = self.destinations.len();
        self.destinations.push(Destination {
            name: Arc::clone(name),
            uids: Vec::new(),
            served: 0,
            batches: BTreeMap::new(),
            queued: 0,
            bytes: 0,
            leased: 0,
            leased_bytes: 0,
            accepted: 0,
            requeued: 0,
            held: BTreeSet::new(),
            row: (0, 0),
            dirty: true,
        });
        self.destination_names.insert(Arc::clone(name), at);
        at
    }
}

//! The laws, checked on everything that the queue shows after a step, compared with what it showed before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use telemetry_queue::{
    Book, ClaimLimits, Claimed, Filter, Id, Lane, Purged, Row, RowState, Sent, Settled, View,
};

use super::Ending;
use super::world::{Name, Place, World};
use crate::support::hex;

mod batches;
mod books;
mod log;

/// What a step did, as far as the one who took it knows.
#[derive(Default)]
pub(super) struct Deeds {
    pub(super) appended: Vec<usize>,
    pub(super) claimed: Option<(String, ClaimLimits, Option<Claimed>)>,
    pub(super) settled: Option<(Claimed, Ending, Settled)>,
    pub(super) purge: Option<Filter>,
    pub(super) receipt: Option<Purged>,
    pub(super) requeue: Option<Filter>,
    pub(super) requeued: Option<u64>,
    pub(super) restarted: bool,
}

impl Deeds {
    pub(super) fn claim(&mut self, destination: &str, limits: ClaimLimits, claimed: Option<Claimed>) {
        self.claimed = Some((destination.to_owned(), limits, claimed));
    }
}

/// Everything that the queue shows.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) rows: Vec<Row>,
    pub(super) at: HashMap<Name, usize>,
    pub(super) books: BTreeMap<Lane, Book>,
    /// Members of each open batch.
    pub(super) open: BTreeMap<Id, BTreeSet<Name>>,
    pub(super) sent: Vec<Sent>,
    pub(super) view: Arc<View>,
}

impl World {
    fn look(&self) -> Snapshot {
        let bench = self.bench();
        // The writer may expire something between two questions: then they are asked again.
        let ids = |sent: &[Sent]| sent.iter().map(|sent| sent.id).collect::<Vec<_>>();
        let (books, rows, sent, view) = loop {
            let (books, rows, sent, view) = (bench.books(), bench.rows(), bench.sent(), bench.view());
            if books == bench.books() && ids(&sent) == ids(&bench.sent()) {
                break (books, rows, sent, view);
            }
        };
        let mut now = Snapshot {
            rows,
            sent,
            view,
            ..Snapshot::default()
        };
        for (at, row) in now.rows.iter().enumerate() {
            let name = (row.lane.uid, row.lane.tool.clone(), row.id);
            assert!(
                now.at.insert(name.clone(), at).is_none(),
                "{} is there twice",
                hex(&row.id)
            );
            assert_eq!(row.state == RowState::Claimed, row.batch.is_some(), "{row:?}");
            if let Some(batch) = row.batch {
                now.open.entry(batch).or_default().insert(name);
            }
        }
        for book in books {
            assert!(book.balanced(), "{book:?}");
            assert!(now.books.insert(book.lane.clone(), book).is_none());
        }
        now
    }

    pub(super) fn judge(&mut self, deeds: Deeds) {
        let now = self.look();
        self.rows_are_known(&now);
        self.absent_events_are_booked(&deeds, &now);
        self.order_is_kept(&now);
        self.purge_is_complete(&deeds, &now);
        self.batches_keep_their_members(&deeds, &now);
        if let Some((lease, ending, settled)) = &deeds.settled {
            self.settlement_is_right(lease, *ending, *settled, &now);
        }
        if let Some((destination, limits, claimed)) = &deeds.claimed {
            self.claim_is_right(destination, *limits, claimed.as_ref(), &now, &deeds);
        }
        if let Some((_, _, Some(claimed))) = deeds.claimed {
            self.leases.push(claimed);
        }
        self.refused.retain(|batch| now.open.contains_key(batch));
        self.sent_log_is_right(&now);
        self.view_is_right(&now);
        self.before = now;
    }

    /// The members of a lease that were there before this step: some may have been purged, and appended anew.
    fn under<'a>(&'a self, lease: &'a Claimed) -> impl Iterator<Item = Name> + 'a {
        let rows = lease.events.iter().filter_map(|event| {
            let name = (lease.uid, event.tool.clone(), event.id);
            self.before
                .at
                .get(&name)
                .map(|&row| (name, &self.before.rows[row]))
        });
        rows.filter(|(_, row)| row.batch == Some(lease.id))
            .map(|(name, _)| name)
    }

    /// Each row is an event that was accepted, unchanged, and not one that had left.
    fn rows_are_known(&mut self, now: &Snapshot) {
        for row in &now.rows {
            let name = (row.lane.uid, row.lane.tool.clone(), row.id);
            let event = &mut self.events[self.index[&name]];
            assert_eq!(event.lane, row.lane);
            assert_eq!(event.payload, row.payload);
            assert_eq!(event.received, row.received);
            assert!(
                matches!(event.place, Place::Queued | Place::Parked),
                "{} has left as {:?} and is back",
                hex(&row.id),
                event.place
            );
            assert_eq!(row.state == RowState::Parked, row.parked.is_some());
        }
    }
}

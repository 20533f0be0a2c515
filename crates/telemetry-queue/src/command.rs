//! What travels through the channel to the writer thread: a request, and the place for its answer.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::types::{
    Append, Appended, Book, Checked, ClaimLimits, Claimed, Filter, Id, Limits, Moment, Outcome, Page,
    PurgeReason, Purged, QueueError, RowState, Sent, Settled, View,
};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, QueueError>>;

/// A claim's arguments.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) destination: Arc<str>,
    /// Of this uid alone, out of its turn.
    pub(crate) uid: Option<u32>,
    pub(crate) limits: ClaimLimits,
    pub(crate) at: Moment,
}

/// A settlement's arguments.
#[derive(Debug)]
pub(crate) struct Settle {
    pub(crate) batch: Id,
    pub(crate) outcome: Outcome,
    pub(crate) state: Option<String>,
    pub(crate) at: Moment,
}

/// A question about rows.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) filter: Filter,
    pub(crate) states: Vec<RowState>,
    pub(crate) after: Option<u64>,
    pub(crate) limit: u32,
}

/// A purge's arguments.
#[derive(Debug)]
pub(crate) struct Purge {
    pub(crate) filter: Filter,
    pub(crate) reason: PurgeReason,
    pub(crate) at: Moment,
}

/// A request to the writer thread.
#[derive(Debug)]
pub(crate) enum Command {
    Append(Append, Reply<Vec<Appended>>),
    Claim(Claim, Reply<Option<Claimed>>),
    Settle(Settle, Reply<Settled>),
    SettleAndClaim(Settle, ClaimLimits, Reply<(Settled, Option<Claimed>)>),
    Preview(Claim, Reply<Option<Claimed>>),
    Purge(Box<Purge>, Reply<Purged>),
    Requeue(Box<Filter>, Moment, Reply<u64>),
    Rows(Box<Rows>, Reply<Page>),
    Sent {
        limit: u32,
        uid: Option<u32>,
        tool: Option<Arc<str>>,
        bodies: bool,
        reply: Reply<Vec<Sent>>,
    },
    Books(Option<u32>, Reply<Vec<Book>>),
    ViewOf(u32, Reply<View>),
    DestinationStates(Reply<Vec<(Arc<str>, String)>>),
    SetDestinationState(Arc<str>, String, Reply<()>),
    HoldUsers(Arc<str>, Vec<u32>, Reply<()>),
    SetLimits(Limits, Reply<()>),
    Checked(Reply<Checked>),
    Checkpoint(Reply<()>),
    /// Begins the check in the background.
    Check,
    /// Nothing: wakes the writer, so that it sees that it is to close or that the integrity check has ended.
    Wake,
}

//! What a claim would take, without taking it.

use super::Store;
use crate::command::Claim;
use crate::types::Claimed;

impl Store {
    /// The next batch of a destination, of the claim's uid where it has one; batches under lease are passed over.
    pub(crate) fn preview(&self, claim: &Claim) -> rusqlite::Result<Option<Claimed>> {
        let Some(&destination) = self.state.destination_names.get(&claim.destination) else {
            return Ok(None);
        };
        let place = &self.state.destinations[destination];
        let formed = place.batches.values().filter_map(|n| self.state.batches.get(n));
        let ready = formed.into_iter().find(|batch| {
            batch.lease.is_none()
                && match claim.uid {
                    Some(uid) => uid == batch.uid,
                    None => !place.held.contains(&batch.uid),
                }
        });
        if let Some(batch) = ready {
            let (arena, events) = self.read_members(&batch.members)?;
            return Ok(Some(self.claimed(batch, arena, events)));
        }
        let Some(uid) = claim.uid.or_else(|| self.next_uid(destination, None)) else {
            return Ok(None);
        };
        let losses = self
            .state
            .losses
            .get(&(uid, destination))
            .copied()
            .unwrap_or_default();
        let gathered = self.gather(destination, uid, claim.limits)?;
        Ok(gathered.map(|gathered| self.unformed(&place.name, gathered, losses)))
    }
}

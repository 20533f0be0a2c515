//! `mapped`: one POST an event, whose body is what the manifest's `[map]` builds, and nothing else. For Evidently's two
//! forms and for in-house trackers.

use super::shape::Shaped;
use super::tree::Tree;
use super::{Bound, Limits};
use crate::types::Batch;

/// One event a request.
pub(super) const LIMITS: Limits = Limits {
    max_events: 1,
    ..Limits::NONE
};

/// What a mapping builds is not known here: a batch of one event needs no cut.
pub(super) const BOUND: Bound = Bound {
    per_batch: 0,
    per_event: 0,
};

/// One body. An event whose tool has no `[map]` has none.
pub(super) fn write(out: &mut Vec<u8>, batch: &Batch<'_>) -> Option<String> {
    let event = batch.events.first()?;
    let mut form = Tree::Object(Vec::new());
    let unfit = match event.map.filter(|map| !map.is_empty()) {
        Some(map) => {
            let shaped = Shaped::unmapped(batch, event);
            for field in map.fields() {
                if let Some(value) = shaped.value(field.source(), event.id, true) {
                    form.set(field.names(), value);
                }
            }
            None
        }
        None => Some(format!(
            "the manifest of {:?} has no [map], and the encoding \"mapped\" sends what that builds",
            event.tool
        )),
    };
    form.write(out);
    unfit
}

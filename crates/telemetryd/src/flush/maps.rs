//! `[map]` of the manifests in force, for the tools of one batch: what leaves is built by what holds when it leaves.

use std::sync::Arc;

use telemetry_policy::Policy;
use telemetry_protocol::map::Mapping;
use telemetry_queue::Claimed;

/// The mappings of a batch's tools; few, if any.
pub(crate) struct Maps(Vec<(Arc<str>, Arc<Mapping>)>);

impl Maps {
    /// Of the tools of `batch`, by the policy of the user whose it is.
    pub(crate) fn of(policy: &Policy, batch: &Claimed) -> Self {
        let mut maps: Vec<(Arc<str>, Arc<Mapping>)> = Vec::new();
        let mut before: Option<&Arc<str>> = None;
        for event in &batch.events {
            // Events of one tool stand together, as a rule.
            if before.is_some_and(|tool| *tool == event.tool)
                || maps.iter().any(|(tool, _)| *tool == event.tool)
            {
                continue;
            }
            before = Some(&event.tool);
            let manifest = policy.manifest(&event.tool);
            if let Some(map) = manifest.and_then(|registered| registered.manifest.map.as_ref()) {
                maps.push((Arc::clone(&event.tool), Arc::clone(map)));
            }
        }
        Self(maps)
    }

    /// That of one tool.
    pub(super) fn get(&self, tool: &str) -> Option<&Mapping> {
        let found = self.0.iter().find(|(known, _)| **known == *tool);
        found.map(|(_, map)| &**map)
    }
}

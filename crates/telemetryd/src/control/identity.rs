//! `identity`: what stands for the caller at the endpoints, one line a tool. Asking makes nothing.

use serde_json::json;

use super::caller::Caller;
use super::{Service, end};
use crate::ingest::{Answers, Ended};

impl Service {
    pub(super) async fn identity(
        &self,
        tool: Option<&str>,
        caller: Caller,
        out: &mut Answers,
    ) -> Result<(), Ended> {
        let policy = self.consent.of(caller.uid);
        // What ended with a withdrawal is not shown, though nothing was sent under the new consent yet.
        self.identity.withdrawn(caller.uid, &policy);
        let ids = self.identity.known(caller.uid, tool);
        for id in &ids {
            let contact = policy
                .manifest(&id.tool)
                .and_then(|registered| registered.manifest.privacy.contact.clone());
            let line = json!({ "tool": id.tool, "anonymous_id": id.anonymous_id, "contact": contact });
            out.line(&line).await?;
        }
        out.line(&end(ids.len() as u64)).await
    }
}

//! What root asks of a machine-wide daemon about every user, where the answer is a list for each of them: consent, and
//! its changes. What is the machine's own (manifests, settings) is the same for everybody (I13).

use std::collections::BTreeSet;

use serde_json::Value;
use telemetry_protocol::request::{ConsentAction, Control};

use super::consent::explained;
use super::{Service, end, refuse};
use crate::ingest::{Answers, Ended, Peer};

impl Service {
    /// Answers a request that only asks. Lines about a user say whose they are.
    pub(super) async fn of_everybody(&self, request: Control, out: &mut Answers) -> Result<(), Ended> {
        let Control::Consent {
            action, tool, limit, ..
        } = request
        else {
            // It is about nobody in particular.
            let root = Peer { uid: 0, pid: None };
            return Box::pin(self.serve(request, root, out)).await;
        };
        let books = match self.queue.books(None).await {
            Ok(books) => books,
            Err(error) => {
                refuse(&error, out);
                return Ok(());
            }
        };
        // Who has said something since the start, or has rows or books.
        let known = self
            .consent
            .changes()
            .borrow()
            .people()
            .map(|(uid, _)| uid)
            .collect();
        let mut users: BTreeSet<u32> = known;
        users.extend(books.iter().map(|book| book.lane.uid));
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut count = 0;
        for uid in users {
            let lines = match action {
                ConsentAction::Log => self.changes_of(uid, tool.as_deref(), most),
                _ => self.explained_of(uid, tool.as_deref()),
            };
            for mut line in lines {
                line["uid"] = uid.into();
                out.line(&line).await?;
                count += 1;
            }
        }
        out.line(&end(count)).await
    }

    fn explained_of(&self, uid: u32, tool: Option<&str>) -> Vec<Value> {
        let policy = self.consent.of(uid);
        match tool {
            Some(tool) => vec![explained(&policy, tool)],
            None => policy.tools().map(|(name, _)| explained(&policy, name)).collect(),
        }
    }
}

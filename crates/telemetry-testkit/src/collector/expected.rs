//! What a test told a collector to expect, and what it says of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use telemetry_sink::{Content, Received, Undecodable};

/// What may come. The default is requests of telemetryd without faults, and events of no tool.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) tools: BTreeSet<String>,
    pub(super) any_tool: bool,
    pub(super) undecodable: bool,
    pub(super) broken_off: bool,
    pub(super) duplicates: bool,
    pub(super) foreign: bool,
    pub(super) nothing: bool,
}

impl Expected {
    /// What is wrong with these requests, a line each.
    pub(super) fn complaints(&self, requests: &[Arc<Received>], duplicates: u64) -> Vec<String> {
        let mut complaints = Vec::new();
        // I8: the first request of each batch id, and its events.
        let mut members: BTreeMap<&str, (u64, Vec<&str>)> = BTreeMap::new();
        for received in requests {
            let number = received.number;
            complaints.extend(
                self.judge(received)
                    .into_iter()
                    .map(|wrong| format!("#{number}: {wrong}")),
            );
            if let (Some(id), Ok(_)) = (received.idempotency_key(), &received.content) {
                let ids: Vec<&str> = received.ids().collect();
                let (first, before) = members.entry(id).or_insert_with(|| (number, ids.clone()));
                if *before != ids {
                    complaints.push(format!(
                        "#{number}: batch {id} came with other events than in #{first}"
                    ));
                }
            }
        }
        if duplicates > 0 && !self.duplicates {
            complaints.push(format!(
                "events arrived more than once, {duplicates} times in all"
            ));
        }
        complaints
    }

    /// What is wrong with one request by itself.
    fn judge(&self, received: &Received) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.nothing {
            wrong.push("no request at all was expected".to_owned());
            return wrong;
        }
        match &received.content {
            Err(Undecodable::BrokeOff { .. }) if self.broken_off => {}
            Err(reason) if !self.undecodable => wrong.push(format!("it cannot be decoded: {reason}")),
            Err(_) => {}
            Ok(content) => {
                if !self.any_tool {
                    wrong.extend(strange_tools(content, &self.tools));
                }
                if !self.foreign {
                    wrong.extend(bad_headers(received));
                }
            }
        }
        wrong
    }
}

/// Tools that were not announced, once each.
fn strange_tools(content: &Content, announced: &BTreeSet<String>) -> Vec<String> {
    let tools = content
        .events
        .iter()
        .filter_map(|event| event.get("tool")?.as_str());
    let strange: BTreeSet<&str> = tools.filter(|tool| !announced.contains(*tool)).collect();
    strange
        .into_iter()
        .map(|tool| format!("an event of {tool:?}, which was not announced"))
        .collect()
}

/// The headers that DELIVERY.md promises on every request.
fn bad_headers(received: &Received) -> Vec<String> {
    let mut wrong = Vec::new();
    if !received
        .header("user-agent")
        .is_some_and(|agent| agent.starts_with("telemetryd/"))
    {
        wrong.push(format!("the User-Agent is {:?}", received.header("user-agent")));
    }
    let key = received.idempotency_key();
    if key.is_none_or(|key| uuid::Uuid::try_parse(key).is_err()) {
        wrong.push(format!("the Idempotency-Key is {key:?}"));
    }
    if received.batch_id() != key {
        wrong.push(format!(
            "the body says batch {:?}, the Idempotency-Key {key:?}",
            received.batch_id()
        ));
    }
    wrong
}

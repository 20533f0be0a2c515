//! `tools`: the manifests in force, where each came from, and what holds for its tool.

use serde_json::{Value, json};
use telemetry_policy::Policy;
use telemetry_protocol::consent::ToolDefault;

use super::{Service, end};
use crate::ingest::{Answers, Ended};

impl Service {
    pub(super) async fn tools(&self, tool: Option<&str>, uid: u32, out: &mut Answers) -> Result<(), Ended> {
        let policy = self.consent.of(uid);
        if let Some(name) = tool {
            let mut line = described(&policy, name);
            line["ok"] = true.into();
            return out.line(&line).await;
        }
        let names: Vec<&str> = policy.tools().map(|(name, _)| name).collect();
        for name in &names {
            out.line(&described(&policy, name)).await?;
        }
        out.line(&end(names.len() as u64)).await
    }
}

fn described(policy: &Policy, name: &str) -> Value {
    let tool = policy.tool_with_rows(name);
    let registered = policy.manifest(name);
    let consent = match tool.default {
        ToolDefault::OptOut => "opt-out",
        ToolDefault::OptIn | ToolDefault::Unregistered => "opt-in",
    };
    json!({
        "tool": name,
        "about": registered.and_then(|r| r.manifest.about.clone()),
        "manifest": registered.map(|r| r.source.clone()),
        "origin": registered.map_or("none", |r| r.origin.as_str()),
        "consent": consent,
        "destination": &*tool.destination,
        "events_any": true,
        "events": {},
        "verdict": if tool.allowed() { "allow" } else { "deny" },
        "by": if tool.notice_missing { "notice" } else { tool.decision.by.as_str() },
    })
}

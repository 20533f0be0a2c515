//! `tools`: the manifests in force, where each came from, and what holds for its tool.

use serde_json::{Map, Value, json};
use telemetry_policy::Policy;
use telemetry_policy::manifest::events::{Event, Events, Properties};
use telemetry_policy::manifest::terms::Privacy;
use telemetry_protocol::consent::ToolDefault;

use super::{Service, end, manifest_problem};
use crate::ingest::{Answers, Ended};

impl Service {
    pub(super) async fn tools(&self, tool: Option<&str>, uid: u32, out: &mut Answers) -> Result<(), Ended> {
        let policy = self.consent.of(uid);
        let problems = self.consent.problems();
        if let Some(name) = tool {
            let mut line = described(&policy, name);
            line["ok"] = true.into();
            // Its very text, so that it can be read, checked and compared by whoever asks.
            line["text"] = policy.manifest(name).map(|r| r.manifest.text.clone()).into();
            line["agreed"] = agreed(&policy, name).into();
            let own = problems.iter().filter(|problem| problem.is_about(name));
            line["problems"] = own.map(manifest_problem).collect();
            return out.line(&line).await;
        }
        let names: Vec<&str> = policy.tools().map(|(name, _)| name).collect();
        for name in &names {
            out.line(&described(&policy, name)).await?;
        }
        let mut end = end(names.len() as u64);
        end["problems"] = problems.iter().map(manifest_problem).collect();
        out.line(&end).await
    }
}

fn described(policy: &Policy, name: &str) -> Value {
    let tool = policy.tool_with_rows(name);
    let registered = policy.manifest(name);
    let consent = match tool.default {
        ToolDefault::OptOut => "opt-out",
        ToolDefault::OptIn | ToolDefault::Unregistered => "opt-in",
    };
    let manifest = registered.map(|r| &r.manifest);
    let own = policy.parts().addresses.get(&*tool.destination);
    let brought = manifest.and_then(|m| m.inline.as_ref()).map(|inline| &inline.url);
    json!({
        "tool": name,
        "about": manifest.and_then(|m| m.about.clone()),
        "homepage": manifest.and_then(|m| m.homepage.clone()),
        "manifest": registered.map(|r| r.source.clone()),
        "origin": registered.map_or("none", |r| r.origin.as_str()),
        "consent": consent,
        "destination": &*tool.destination,
        "url": own.or(brought).map(|url| without_query(url)),
        "events_any": matches!(tool.terms.events, Events::Any),
        "events": tool.terms.events.iter().map(|(name, event)| (name, described_event(event))).collect::<Map<_, _>>(),
        "sample": tool.sample.share(),
        "max_per_day": tool.max_per_day,
        "privacy": manifest.map(|m| described_privacy(&m.privacy)),
        "verdict": if tool.allowed() { "allow" } else { "deny" },
        "by": if tool.notice_missing { "notice" } else { tool.decision.by.as_str() },
        "source": if tool.notice_missing { &tool.default_source } else { &tool.decision.source },
        "wider": tool.wider,
    })
}

/// A query may hold a key.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// What this person agreed to, where that is known and is not what is in force.
fn agreed(policy: &Policy, name: &str) -> Option<String> {
    let agreed = policy.parts().agreed.manifests.get(name)?.as_ref()?;
    let now = policy.manifest(name).map(|r| r.manifest.text.as_str());
    (now != Some(agreed.text.as_str())).then(|| agreed.text.clone())
}

fn described_event(event: &Event) -> Value {
    let properties: Value = match &event.properties {
        Properties::Any => "any".into(),
        Properties::Listed(table) => table
            .iter()
            .map(|(name, property)| (name, property.kind.as_str().into()))
            .collect::<Map<String, Value>>()
            .into(),
    };
    json!({ "about": event.about, "properties": properties })
}

fn described_privacy(privacy: &Privacy) -> Value {
    json!({
        "controller": privacy.controller, "contact": privacy.contact, "policy_url": privacy.policy_url,
        "purpose": privacy.purpose, "retention": privacy.retention,
    })
}

//! The admin's word (CONSENT.md, layer 1), as facts that somebody with access to files has gathered.

use std::collections::BTreeMap;

use telemetry_protocol::consent::{Fact, Layer, Verdict};

/// What stands in the machine directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    everything: Vec<Fact>,
    tools: BTreeMap<String, Fact>,
    /// The environment of whoever asks, where it denies every tool (`DO_NOT_TRACK`).
    environment: Vec<Fact>,
}

impl Machine {
    /// `opt-out` exists, or a policy cannot be read: every tool is denied.
    pub fn deny_everything(&mut self, source: &str, detail: &str) {
        self.everything.push(fact(Layer::Machine, source, detail));
    }

    /// `opt-out.d/TOOL` exists.
    pub fn deny_tool(&mut self, tool: &str, source: &str, detail: &str) {
        self.tools
            .entry(tool.to_owned())
            .or_insert_with(|| fact(Layer::Machine, source, detail));
    }

    /// A variable of the asking process denies every tool.
    pub fn deny_by_environment(&mut self, variable: &str) {
        let detail = "is set: an environment variable denies by being present";
        self.environment.push(fact(Layer::Environment, variable, detail));
    }

    /// The facts about `tool`, one a layer at least.
    #[must_use]
    pub fn facts(&self, tool: &str) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self
            .everything
            .iter()
            .chain(self.tools.get(tool))
            .cloned()
            .collect();
        if facts.is_empty() {
            facts.push(silent(Layer::Machine, "no opt-out, no policy"));
        }
        if self.environment.is_empty() {
            facts.push(silent(Layer::Environment, "DO_NOT_TRACK is not set"));
        }
        facts.extend(self.environment.iter().cloned());
        facts
    }

    /// Denies every tool on this machine, if it does (I12: then no internet socket is opened).
    #[must_use]
    pub fn denies_everything(&self) -> Option<&Fact> {
        self.everything.first().or_else(|| self.environment.first())
    }
}

fn fact(layer: Layer, source: &str, detail: &str) -> Fact {
    Fact {
        layer,
        verdict: Some(Verdict::Deny),
        source: source.to_owned(),
        line: None,
        detail: detail.to_owned(),
    }
}

fn silent(layer: Layer, detail: &str) -> Fact {
    Fact {
        layer,
        verdict: None,
        source: "-".to_owned(),
        line: None,
        detail: detail.to_owned(),
    }
}

//! The admin's word (CONSENT.md, layer 1), as facts that somebody with access to files has gathered: the
//! opt-outs, and the policies, of which the strictest counts (denials unite, allow-lists intersect).

use std::collections::BTreeMap;

use telemetry_protocol::consent::{Fact, Layer, Verdict};

use crate::policy_file::{At, Locked, PolicyFile};

/// What stands in the machine directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Opt-outs that were looked for.
    looked: Vec<String>,
    everything: Vec<Fact>,
    tools: BTreeMap<String, Fact>,
    policies: Vec<PolicyFile>,
}

impl Machine {
    /// An opt-out was looked for here, and not found.
    pub fn looked_for(&mut self, opt_out: &str) {
        self.looked.push(opt_out.to_owned());
    }

    /// `opt-out` exists, or something about it cannot be read: every tool is denied.
    pub fn deny_everything(&mut self, source: &str, detail: &str) {
        self.everything.push(fact(source, detail));
    }

    /// `opt-out.d/TOOL` exists.
    pub fn deny_tool(&mut self, tool: &str, source: &str, detail: &str) {
        self.tools
            .entry(tool.to_owned())
            .or_insert_with(|| fact(source, detail));
    }

    /// One more policy.
    pub fn add(&mut self, mut policy: PolicyFile) {
        self.everything.append(&mut policy.everything);
        self.policies.push(policy);
    }

    /// The facts about `tool`: one at least, so that the explanation can say where was looked.
    #[must_use]
    pub fn facts(&self, tool: &str) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self
            .everything
            .iter()
            .chain(self.tools.get(tool))
            .cloned()
            .collect();
        facts.extend(self.policies.iter().filter_map(|policy| policy.denial(tool)));
        if facts.is_empty() {
            let policies = match self.policies.len() {
                0 => "no policy".to_owned(),
                1 => format!("a policy that says nothing against {tool}"),
                n => format!("{n} policies that say nothing against {tool}"),
            };
            let looked = match self.looked.is_empty() {
                true => "opt-out".to_owned(),
                false => self.looked.join(" or "),
            };
            facts.push(Fact {
                layer: Layer::Machine,
                verdict: None,
                source: "-".to_owned(),
                line: None,
                detail: format!("no {looked}, {policies}"),
            });
        }
        facts
    }

    /// Denies every tool on this machine, if it does (I12: then no internet socket is opened).
    #[must_use]
    pub fn denies_everything(&self) -> Option<&Fact> {
        self.everything.first()
    }

    /// What stands against sending to this address, if something does (`destinations.allow`).
    #[must_use]
    pub fn destination_denial(&self, url: &str) -> Option<Fact> {
        self.policies
            .iter()
            .find_map(|policy| policy.destination_denial(url))
    }

    /// Only the admin's and the packages' manifests count (`manifests = "installed"`); where that stands.
    #[must_use]
    pub fn installed_manifests_only(&self) -> Option<&At> {
        self.policies.iter().find_map(|policy| policy.installed.as_ref())
    }

    /// No daemon is started for the asking (`on_demand = "off"`); where that stands.
    #[must_use]
    pub fn no_start_on_demand(&self) -> Option<&At> {
        self.policies
            .iter()
            .find_map(|policy| policy.on_demand_off.as_ref())
    }

    /// The keys of the config that nothing below the machine's own files may set.
    pub fn locked(&self) -> impl Iterator<Item = &Locked> {
        self.policies.iter().flat_map(|policy| &policy.locked)
    }
}

fn fact(source: &str, detail: &str) -> Fact {
    Fact {
        layer: Layer::Machine,
        verdict: Some(Verdict::Deny),
        source: source.to_owned(),
        line: None,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(policies: &[&str]) -> Machine {
        let mut machine = Machine::default();
        for (at, text) in policies.iter().enumerate() {
            machine.add(PolicyFile::parse(&format!("{at}.toml"), text));
        }
        machine
    }

    fn denied(machine: &Machine, tool: &str) -> bool {
        machine
            .facts(tool)
            .iter()
            .any(|fact| fact.verdict == Some(Verdict::Deny))
    }

    #[test]
    fn of_several_policies_the_strictest_counts() {
        let both = machine(&[
            "[tools]\nallow_only = [\"a\", \"b\"]\ndeny = [\"d\"]",
            "[tools]\nallow_only = [\"b\", \"c\"]\n[destinations]\nallow = [\"https://one.example\"]",
            "[destinations]\nallow = [\"https://one.example/x\", \"https://two.example\"]",
        ]);
        for (tool, off) in [("a", true), ("b", false), ("c", true), ("d", true)] {
            assert_eq!(denied(&both, tool), off, "{tool}");
        }
        assert!(both.destination_denial("https://one.example/x").is_none());
        assert!(both.destination_denial("https://one.example/y").is_some());
        assert!(both.destination_denial("https://two.example/").is_some());
    }

    #[test]
    fn one_bad_policy_among_good_ones_denies() {
        assert!(machine(&["", "telemetry = off"]).denies_everything().is_some());
        assert!(machine(&["", "locked = []"]).denies_everything().is_none());
    }

    #[test]
    fn locks_and_words_unite() {
        let both = machine(&[
            "locked = [\"queue\"]",
            "locked = [\"limits\"]\nmanifests = \"installed\"",
        ]);
        assert_eq!(both.locked().count(), 2);
        assert_eq!(
            both.installed_manifests_only().map(|at| at.source.as_str()),
            Some("1.toml")
        );
        assert!(both.no_start_on_demand().is_none());
    }
}

//! The policy in force: one snapshot, asked by reference, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use telemetry_protocol::consent::{Decision, Fact, Layer, ToolDefault, Verdict, decide};

use crate::agreed::Agreed;
use crate::consent_file::UserConsent;
use crate::machine::Machine;
use crate::manifest::events::Found;
use crate::manifest::terms::Sample;
use crate::manifest::{Manifest, Notice, Origin, Terms};
use crate::opt_out::{OptOuts, Variables};
use crate::widens::{asks_again, widens};

/// A manifest in force, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What it says.
    pub manifest: Manifest,
    /// From which of the four places.
    pub origin: Origin,
    /// The file, or "registered".
    pub source: String,
}

/// What the config says over a manifest; it can only tighten consent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Replaces the manifest's destination.
    pub destination: Option<String>,
    /// `false`: nothing of this tool is taken.
    pub disabled: bool,
    /// An opt-out manifest becomes opt-in.
    pub opt_in: bool,
    /// A notice has to be shown, whatever the manifest says.
    pub notice: bool,
    /// Keeps no more than this share.
    pub sample: Option<Sample>,
    /// Takes no more than so many a day.
    pub max_per_day: Option<u64>,
}

/// Whose events of a tool may be taken and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Nobody's.
    Nobody,
    /// Those whose client was allowed at a layer that only it can see; an opt-in tool without the user's word.
    Claims,
    /// Everybody's.
    Everybody,
}

/// What holds for one tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The decision when the client adds nothing of its own.
    pub decision: Decision,
    /// The facts it rests on.
    pub facts: Vec<Fact>,
    /// What decides where nobody speaks.
    pub default: ToolDefault,
    /// Where that stands.
    pub default_source: String,
    /// Where its events go.
    pub destination: Arc<str>,
    /// Grows with each withdrawal; rows accepted under an older one are not sent (I3).
    pub epoch: u64,
    /// Declined by `notice` until it was shown, or the person was asked.
    pub notice_missing: bool,
    /// What the manifest lets through beyond what this person agreed to, in words.
    pub wider: Vec<String>,
    /// What its events are held against; without a manifest: every event, by the value rules.
    pub terms: Arc<Terms>,
    /// The share that is kept.
    pub sample: Sample,
    /// Events of one user and one day.
    pub max_per_day: Option<u64>,
}

impl Tool {
    /// Whether events of this tool may be taken and sent now, the client's own word aside.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.decision.verdict == Verdict::Allow && !self.notice_missing
    }

    /// Whose events may be taken and sent now. What was taken stays covered while this does not fall.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self.decision.verdict {
            _ if self.notice_missing => Reach::Nobody,
            Verdict::Allow => Reach::Everybody,
            Verdict::Deny if self.default == ToolDefault::OptIn && self.decision.by == Layer::Default => {
                Reach::Claims
            }
            Verdict::Deny => Reach::Nobody,
        }
    }
}

/// Everything that the policy is made of, before it is resolved.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The admin's word.
    pub machine: Machine,
    /// The asking process's environment.
    pub variables: Arc<Variables>,
    /// The user's word.
    pub user: UserConsent,
    /// What the user answered in the tools' own files, by tool.
    pub answers: BTreeMap<String, Vec<Fact>>,
    /// Manifests in force, one a tool; shared, for each user has a policy and all have these.
    pub manifests: Arc<BTreeMap<String, Registered>>,
    /// `[tools.NAME]` of the config.
    pub overrides: BTreeMap<String, Override>,
    /// `defaults.destination`.
    pub default_destination: String,
    /// The addresses of the destinations, where the asking process knows the config: the admin may allow some
    /// alone.
    pub addresses: Arc<BTreeMap<String, String>>,
    /// `defaults.unregistered_tools = "refuse"`.
    pub refuse_unregistered: bool,
    /// What this person was told and agreed to.
    pub agreed: Agreed,
    /// Current epochs; absent: 1.
    pub epochs: BTreeMap<String, u64>,
}

/// The policy in force.
#[derive(Clone, Debug)]
pub struct Policy {
    parts: Parts,
    tools: BTreeMap<String, Tool>,
}

impl Policy {
    /// Resolves the parts for every tool that anybody named.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let names: BTreeSet<&str> = parts
            .manifests
            .keys()
            .chain(parts.overrides.keys())
            .map(String::as_str)
            .chain(parts.user.named())
            .collect();
        let tools = names
            .into_iter()
            .map(|name| (name.to_owned(), resolve(&parts, name)))
            .collect();
        Self { parts, tools }
    }

    /// What holds for `tool`; `None` where tools without a manifest are refused.
    #[must_use]
    pub fn tool(&self, tool: &str) -> Option<std::borrow::Cow<'_, Tool>> {
        if self.parts.refuse_unregistered && self.parts.manifest(tool).is_none() {
            return None;
        }
        Some(match self.tools.get(tool) {
            Some(known) => std::borrow::Cow::Borrowed(known),
            None => std::borrow::Cow::Owned(resolve(&self.parts, tool)),
        })
    }

    /// What holds for a tool that may have rows although it is refused now.
    #[must_use]
    pub fn tool_with_rows(&self, tool: &str) -> Tool {
        self.tools
            .get(tool)
            .cloned()
            .unwrap_or_else(|| resolve(&self.parts, tool))
    }

    /// The tools that anybody named, in order.
    pub fn tools(&self) -> impl Iterator<Item = (&str, &Tool)> {
        self.tools.iter().map(|(name, tool)| (name.as_str(), tool))
    }

    /// Whether events of `tool` by this name pass its manifest: every one of a tool that has none, unless such tools
    /// are refused.
    #[must_use]
    pub fn lists(&self, tool: &str, event: &str) -> bool {
        self.tool(tool)
            .is_some_and(|tool| !matches!(tool.terms.events.find(event), Found::Unlisted))
    }

    /// The manifest in force for `tool`.
    #[must_use]
    pub fn manifest(&self, tool: &str) -> Option<&Registered> {
        self.parts.manifest(tool)
    }

    /// The parts it was resolved from.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The fact that denies every tool of this user on this machine, if there is one.
    #[must_use]
    pub fn denies_everything(&self) -> Option<Fact> {
        let (machine, user) = (&self.parts.machine, &self.parts.user);
        machine
            .denies_everything()
            .cloned()
            .or_else(|| self.parts.variables.denies_everything())
            .or_else(|| user.denies_everything().cloned())
    }
}

impl Parts {
    /// The manifest that counts for `tool`; the admin may say that only installed ones do.
    fn manifest(&self, tool: &str) -> Option<&Registered> {
        let installed = |r: &&Registered| matches!(r.origin, Origin::Admin | Origin::Package);
        let any = self.machine.installed_manifests_only().is_none();
        self.manifests
            .get(tool)
            .filter(|registered| any || installed(registered))
    }
}

fn resolve(parts: &Parts, name: &str) -> Tool {
    let registered = parts.manifest(name);
    let overriding = parts.overrides.get(name);
    let destination = overriding
        .and_then(|o| o.destination.as_deref())
        .or_else(|| registered.and_then(|r| r.manifest.destination.as_deref()))
        .unwrap_or(&parts.default_destination);
    let mut facts = parts.machine.facts(name);
    let brought = registered
        .and_then(|r| r.manifest.inline.as_ref())
        .filter(|_| overriding.is_none_or(|o| o.destination.is_none()));
    let address = brought.map_or_else(|| parts.addresses.get(destination), |inline| Some(&inline.url));
    facts.extend(address.and_then(|url| parts.machine.destination_denial(url)));
    if overriding.is_some_and(|o| o.disabled) {
        facts.push(Fact {
            layer: Layer::Machine,
            verdict: Some(Verdict::Deny),
            source: format!("tools.{name}.enabled"),
            line: None,
            detail: "false in the config".to_owned(),
        });
    }
    let none = OptOuts::default();
    facts.extend(
        parts
            .variables
            .facts(registered.map_or(&none, |r| &r.manifest.opt_outs)),
    );
    facts.extend(parts.user.facts(name));
    if registered.is_some() {
        facts.extend(parts.answers.get(name).into_iter().flatten().cloned());
    }
    spoken(&mut facts);
    let (default, default_source) = match registered {
        None => (ToolDefault::Unregistered, "no manifest".to_owned()),
        Some(r) if overriding.is_some_and(|o| o.opt_in) => (
            ToolDefault::OptIn,
            format!("{}, made opt-in by the config", r.source),
        ),
        Some(r) => (r.manifest.consent, r.source.clone()),
    };
    let manifest = registered.map(|r| &r.manifest);
    let wider = match (manifest, parts.agreed.manifests.get(name)) {
        (Some(new), Some(Some(old))) => widens(old, new),
        (Some(_), Some(None)) => vec!["what was agreed to cannot be read".to_owned()],
        _ => Vec::new(),
    };
    let shown = parts.agreed.noticed.contains(name);
    let required =
        overriding.is_some_and(|o| o.notice) || manifest.is_some_and(|m| m.notice == Notice::Required);
    let unseen = required && !shown;
    let unasked = !wider.is_empty() && manifest.is_some_and(asks_again);
    let terms = registered.map_or_else(Arc::default, |r| Arc::clone(&r.manifest.terms));
    Tool {
        decision: decide(&facts, default, &default_source),
        facts,
        default,
        default_source,
        destination: Arc::from(destination),
        epoch: parts.epochs.get(name).copied().unwrap_or(1),
        notice_missing: unseen || unasked,
        wider,
        sample: overriding
            .and_then(|o| o.sample)
            .map_or(terms.sample, |tighter| tighter.min(terms.sample)),
        max_per_day: [terms.max_per_day, overriding.and_then(|o| o.max_per_day)]
            .into_iter()
            .flatten()
            .min(),
        terms,
    }
}

/// Where a layer spoke, "nothing was found" is not said beside it.
pub fn spoken(facts: &mut Vec<Fact>) {
    let said: Vec<Layer> = facts
        .iter()
        .filter(|f| f.verdict.is_some())
        .map(|f| f.layer)
        .collect();
    facts.retain(|fact| fact.verdict.is_some() || !said.contains(&fact.layer));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(manifest: &str) -> Parts {
        let manifest = Manifest::parse(manifest).unwrap();
        let registered = Registered {
            manifest,
            origin: Origin::Admin,
            source: "t.toml".into(),
        };
        Parts {
            manifests: Arc::new(BTreeMap::from([("t".to_owned(), registered)])),
            default_destination: "default".into(),
            ..Parts::default()
        }
    }

    #[test]
    fn the_config_can_tighten_a_manifest_and_send_it_elsewhere() {
        let mut parts = parts("name = \"t\"\nevents = \"any\"\nconsent = \"opt-out\"\ndestination = \"a\"");
        assert!(Policy::new(parts.clone()).tool_with_rows("t").allowed());
        let tighter = Override {
            destination: Some("b".into()),
            opt_in: true,
            ..Override::default()
        };
        parts.overrides.insert("t".into(), tighter);
        let tool = Policy::new(parts.clone()).tool_with_rows("t");
        assert!(!tool.allowed());
        assert_eq!(&*tool.destination, "b");
        parts.user = UserConsent::parse("c", "[tools]\nt = true");
        assert!(Policy::new(parts.clone()).tool_with_rows("t").allowed());
        parts.overrides.insert(
            "t".into(),
            Override {
                disabled: true,
                ..Override::default()
            },
        );
        assert!(!Policy::new(parts).tool_with_rows("t").allowed());
    }

    #[test]
    fn an_opt_in_tool_reaches_those_who_claim_an_allow_until_somebody_denies() {
        let mut parts = parts("name = \"t\"\nevents = \"any\"");
        let reach = |parts: &Parts, tool: &str| Policy::new(parts.clone()).tool_with_rows(tool).reach();
        assert_eq!(reach(&parts, "t"), Reach::Claims);
        assert_eq!(reach(&parts, "no-manifest"), Reach::Nobody);
        parts.user = UserConsent::parse("c", "[tools]\nt = true");
        assert_eq!(reach(&parts, "t"), Reach::Everybody);
        parts.user = UserConsent::parse("c", "[tools]\nt = false");
        assert_eq!(reach(&parts, "t"), Reach::Nobody);
    }

    #[test]
    fn a_required_notice_comes_first() {
        let mut parts =
            parts("name = \"t\"\nevents = \"any\"\nconsent = \"opt-out\"\nnotice_required = true");
        assert!(!Policy::new(parts.clone()).tool_with_rows("t").allowed());
        parts.agreed.noticed.insert("t".into());
        assert!(Policy::new(parts).tool_with_rows("t").allowed());
    }

    #[test]
    fn a_manifest_that_got_wider_than_what_was_agreed_to_asks_again() {
        let mut parts = parts("name = \"t\"\nevents = \"any\"\nconsent = \"opt-out\"");
        let agreed = |text: &str| Agreed {
            manifests: BTreeMap::from([("t".to_owned(), Manifest::parse(text).ok())]),
            ..Agreed::default()
        };
        parts.agreed = agreed("what cannot be read");
        assert!(Policy::new(parts.clone()).tool_with_rows("t").notice_missing);
        parts.agreed = agreed("name = \"t\"\nevents = \"any\"\nconsent = \"opt-in\"");
        let tool = Policy::new(parts.clone()).tool_with_rows("t");
        assert!(tool.notice_missing && tool.reach() == Reach::Nobody && tool.wider.len() == 1);
        parts.agreed = agreed("name = \"t\"\nevents = \"any\"\nconsent = \"opt-out\"");
        assert!(Policy::new(parts).tool_with_rows("t").allowed());
    }

    #[test]
    fn a_tool_without_a_manifest_is_off_or_refused() {
        let mut parts = parts("name = \"t\"\nevents = \"any\"");
        assert!(!Policy::new(parts.clone()).tool("other").unwrap().allowed());
        parts.user = UserConsent::parse("c", "[tools]\nother = true");
        assert!(Policy::new(parts.clone()).tool("other").unwrap().allowed());
        parts.refuse_unregistered = true;
        assert!(Policy::new(parts).tool("other").is_none());
    }
}

//! The consent decision: a pure function of facts (CONSENT.md). Whoever asks, client, command line or
//! daemon, gathers the facts it can see and gets the same answer, with the chain of reasons.

use std::borrow::Cow;

use crate::reason::closed_list;

closed_list! {
    /// Where somebody may have spoken. The first denial in this order decides.
    Layer {
        /// The admin's opt-out and policy.
        Machine = "machine",
        /// Variables of the calling process.
        Environment = "environment",
        /// The user's own files.
        User = "user",
        /// The project's files.
        Project = "project",
        /// The tool's own flag.
        Invocation = "invocation",
        /// The tool's manifest.
        Default = "default",
    }
}

/// What a layer says, and what is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be sent.
    Allow,
    /// It may not.
    Deny,
}

impl Verdict {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a client's process saw; it can only forbid, or answer an opt-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// At which layer.
    pub layer: Layer,
    /// What was said there.
    pub verdict: Verdict,
    /// Where, for people.
    pub source: Cow<'a, str>,
}

/// What the manifest says when nobody else speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolDefault {
    /// On unless denied.
    OptOut,
    /// Off until allowed by `user`, `project` or `invocation`.
    OptIn,
    /// No manifest: off until the user allows it; nobody else can.
    #[default]
    Unregistered,
}

/// Something that was said, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// At which layer.
    pub layer: Layer,
    /// What was said; `None` where somebody looked and found nothing.
    pub verdict: Option<Verdict>,
    /// The file or variable.
    pub source: String,
    /// The line in that file.
    pub line: Option<u32>,
    /// For people: what stands there, or why it counts as a denial.
    pub detail: String,
}

/// One row of the explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What was found.
    pub fact: Fact,
    /// Whether this decides.
    pub decides: bool,
}

/// The answer, with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// May it be sent?
    pub verdict: Verdict,
    /// The layer that decided.
    pub by: Layer,
    /// Where that stands.
    pub source: String,
    /// Every layer's word, in order.
    pub chain: Vec<Link>,
}

/// Decides. Facts may come in any order; within a layer they keep theirs.
/// `default_source` names the manifest, or says that there is none.
#[must_use]
pub fn decide(facts: &[Fact], default: ToolDefault, default_source: &str) -> Decision {
    let mut chain: Vec<Link> = facts
        .iter()
        .map(|fact| Link {
            fact: fact.clone(),
            decides: false,
        })
        .collect();
    chain.sort_by_key(|link| link.fact.layer);
    let (verdict, detail) = match default {
        ToolDefault::OptOut => (Verdict::Allow, "opt-out"),
        ToolDefault::OptIn => (Verdict::Deny, "opt-in"),
        ToolDefault::Unregistered => (Verdict::Deny, "no manifest: off until the user allows it"),
    };
    // Where an opt-in tool is allowed, its default has nothing to say against it.
    let fallback = Fact {
        layer: Layer::Default,
        verdict: Some(verdict),
        source: default_source.to_owned(),
        line: None,
        detail: detail.to_owned(),
    };
    chain.push(Link {
        fact: fallback,
        decides: false,
    });

    let spoken = chain.len() - 1;
    let deny = chain[..spoken]
        .iter()
        .position(|link| link.fact.verdict == Some(Verdict::Deny));
    let allow = || {
        chain[..spoken]
            .iter()
            .position(|link| link.fact.verdict == Some(Verdict::Allow) && may_allow(link.fact.layer, default))
    };
    let decider = deny.or_else(allow).unwrap_or(spoken);
    chain[decider].decides = true;
    let fact = &chain[decider].fact;
    Decision {
        verdict: fact.verdict.unwrap_or(Verdict::Deny),
        by: fact.layer,
        source: fact.source.clone(),
        chain,
    }
}

fn may_allow(layer: Layer, default: ToolDefault) -> bool {
    match layer {
        Layer::User => true,
        Layer::Project | Layer::Invocation => default != ToolDefault::Unregistered,
        Layer::Machine | Layer::Environment | Layer::Default => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fact(layer: Layer, verdict: Verdict) -> Fact {
        Fact {
            layer,
            verdict: Some(verdict),
            source: layer.to_string(),
            line: None,
            detail: String::new(),
        }
    }

    #[test]
    fn the_first_denial_decides_whatever_stands_below() {
        let facts = [
            fact(Layer::Invocation, Verdict::Allow),
            fact(Layer::User, Verdict::Deny),
            fact(Layer::Machine, Verdict::Deny),
        ];
        let decision = decide(&facts, ToolDefault::OptOut, "kedro.toml");
        assert_eq!((decision.verdict, decision.by), (Verdict::Deny, Layer::Machine));
        assert_eq!(decision.chain.iter().filter(|link| link.decides).count(), 1);
    }

    #[test]
    fn without_a_word_the_default_decides() {
        assert_eq!(decide(&[], ToolDefault::OptOut, "m").verdict, Verdict::Allow);
        assert_eq!(decide(&[], ToolDefault::OptIn, "m").verdict, Verdict::Deny);
        assert_eq!(decide(&[], ToolDefault::Unregistered, "-").verdict, Verdict::Deny);
    }

    #[test]
    fn a_tool_without_a_manifest_is_allowed_by_the_user_alone() {
        for layer in [
            Layer::Machine,
            Layer::Environment,
            Layer::Project,
            Layer::Invocation,
        ] {
            assert_eq!(
                decide(&[fact(layer, Verdict::Allow)], ToolDefault::Unregistered, "-").verdict,
                Verdict::Deny
            );
        }
        assert_eq!(
            decide(
                &[fact(Layer::User, Verdict::Allow)],
                ToolDefault::Unregistered,
                "-"
            )
            .verdict,
            Verdict::Allow
        );
    }

    proptest! {
        #[test]
        fn adding_a_denial_never_turns_a_no_into_a_yes(
            spoken in proptest::collection::vec((0_usize..5, any::<bool>()), 0..8),
            layer in 0_usize..5, default in 0..3,
        ) {
            let default = [ToolDefault::OptOut, ToolDefault::OptIn, ToolDefault::Unregistered][default as usize];
            let mut facts: Vec<Fact> = spoken
                .into_iter()
                .map(|(at, yes)| fact(Layer::ALL[at], if yes { Verdict::Allow } else { Verdict::Deny }))
                .collect();
            facts.push(fact(Layer::ALL[layer], Verdict::Deny));
            prop_assert_eq!(decide(&facts, default, "m").verdict, Verdict::Deny);
        }
    }
}

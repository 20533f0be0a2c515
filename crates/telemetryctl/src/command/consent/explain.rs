//! `consent show` and `consent explain`. They need no daemon: the files and this process's environment are
//! read here. Where one answers, its own word joins, for it also knows the configuration and its own
//! environment; a denial of either counts (CONSENT.md).

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use telemetry_client::{Question, RealFiles};
use telemetry_protocol::consent::{Decision, Fact, Layer, ToolDefault, Verdict, decide};

use crate::Context;
use crate::daemon::{Daemon, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;
use crate::screen::{GREEN, Screen, YELLOW, styled};
use crate::words::plain;

/// Which tools.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// This tool alone; default: every tool that is known here
    #[arg(long, value_name = "TOOL", value_parser = super::change::tool)]
    tool: Option<String>,
    /// The project whose files count; default: the working directory
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
}

impl Which {
    pub(super) fn show(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut rows = Vec::new();
        for (tool, decision) in self.decisions(context) {
            if screen.json {
                let verdict = decision.verdict.as_str();
                screen.value(&json!({
                    "tool": tool, "verdict": verdict, "by": decision.by.as_str(), "source": decision.source,
                }))?;
                continue;
            }
            rows.push(vec![
                tool,
                if decision.verdict == Verdict::Allow {
                    "on"
                } else {
                    "off"
                }
                .to_owned(),
                decision.by.to_string(),
                plain(&decision.source),
            ]);
        }
        if screen.json {
            return Ok(Exit::Done);
        }
        if rows.is_empty() {
            screen.talk("no tool is known here: a tool without a manifest is off until you allow it");
        } else {
            screen.table(&["tool", "telemetry", "by", "where that stands"], &[], rows)?;
        }
        Ok(Exit::Done)
    }

    pub(super) fn explain(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let decisions = self.decisions(context);
        if decisions.is_empty() && !screen.json {
            screen.talk("no tool is known here: name one with --tool");
        }
        for (tool, decision) in decisions {
            if screen.json {
                screen.value(&as_json(&tool, &decision))?;
            } else {
                told(&tool, &decision, context, screen)?;
            }
        }
        Ok(Exit::Done)
    }

    fn decisions(&self, context: &Context) -> Vec<(String, Decision)> {
        let gathered = policy::gathered(context);
        let policy = gathered.policy();
        let project = self.project.as_ref();
        let project = project.map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
        let mut daemon = Daemon::reach(context).ok();
        let tools: Vec<String> = match &self.tool {
            Some(tool) => vec![tool.clone()],
            None => {
                let mut tools: Vec<String> = policy.tools().map(|(name, _)| name.to_owned()).collect();
                tools.extend(heard(&mut daemon, known).unwrap_or_default());
                tools.sort_unstable();
                tools.dedup();
                tools
            }
        };
        tools
            .into_iter()
            .map(|tool| {
                let here = policy.tool_with_rows(&tool);
                let said = heard(&mut daemon, |daemon| ask(daemon, &tool)).flatten();
                let question = Question {
                    tool: &tool,
                    project: project.as_deref(),
                    invocation: None,
                };
                let facts = gathered.facts(&question, &RealFiles);
                let decision = joined(facts, here.default, &here.default_source, said.as_ref());
                (tool, decision)
            })
            .collect()
    }
}

/// What a daemon says, where there is one. One that has failed once is not asked again: each time could take
/// as long as the patience with it lasts, and there is still our own word.
fn heard<T>(daemon: &mut Option<Daemon>, ask: impl FnOnce(&mut Daemon) -> Result<T, Failure>) -> Option<T> {
    let said = ask(daemon.as_mut()?);
    if said.is_err() {
        *daemon = None;
    }
    said.ok()
}

/// The decision about one tool as this process sees it, with the daemon's word where one answers.
pub(super) fn decision(context: &Context, tool: &str) -> Decision {
    let which = Which {
        tool: Some(tool.to_owned()),
        project: None,
    };
    let decided = which.decisions(context).pop().map(|(_, decision)| decision);
    // One tool was asked for, one decision comes; without it nothing is allowed.
    decided.unwrap_or_else(|| decide(&[], ToolDefault::Unregistered, "no manifest"))
}

/// The tools that the daemon knows.
fn known(daemon: &mut Daemon) -> Result<Vec<String>, Failure> {
    let mut tools = Vec::new();
    daemon.list(&json!({ "op": "tools", "action": "list" }), |line| {
        tools.push(line.word("tool").to_owned());
        Ok(())
    })?;
    tools.retain(|tool| telemetry_protocol::limits::is_tool_name(tool));
    Ok(tools)
}

/// The daemon's chain about one tool.
fn ask(daemon: &mut Daemon, tool: &str) -> Result<Option<Map<String, Value>>, Failure> {
    let request = json!({ "op": "consent", "action": "explain", "tool": tool });
    let mut said = None;
    daemon.list(&request, |line| {
        said = Some(line.value);
        Ok(())
    })?;
    Ok(said.filter(|said| said.contains_key("chain")))
}

/// Our facts and the daemon's in one decision. The manifest's default is the daemon's to know: it has the
/// registered manifests and the configuration that tightens them.
fn joined(
    mut facts: Vec<Fact>,
    mut default: ToolDefault,
    default_source: &str,
    said: Option<&Map<String, Value>>,
) -> Decision {
    let mut default_source = default_source.to_owned();
    let chain = match said.and_then(|said| said.get("chain")) {
        Some(Value::Array(chain)) => chain.as_slice(),
        _ => &[],
    };
    for link in chain.iter().filter_map(Value::as_object) {
        let Some(fact) = fact(link) else { continue };
        if fact.layer == Layer::Default {
            default_source = fact.source;
            default = match (fact.verdict, fact.detail.starts_with("no manifest")) {
                (Some(Verdict::Allow), _) => ToolDefault::OptOut,
                (_, true) => ToolDefault::Unregistered,
                _ => ToolDefault::OptIn,
            };
            continue;
        }
        let ours = facts
            .iter()
            .any(|own| own.layer == fact.layer && own.source == fact.source);
        if fact.verdict.is_some() && !ours {
            // What was said goes in place of our own "found nothing".
            facts.retain(|own| own.layer != fact.layer || own.verdict.is_some());
            facts.push(fact);
        }
    }
    decide(&facts, default, &default_source)
}

fn fact(link: &Map<String, Value>) -> Option<Fact> {
    Some(Fact {
        layer: Layer::from_word(word(link, "layer"))?,
        verdict: match word(link, "verdict") {
            "deny" => Some(Verdict::Deny),
            "allow" => Some(Verdict::Allow),
            _ => None,
        },
        source: word(link, "source").to_owned(),
        line: link
            .get("line")
            .and_then(Value::as_u64)
            .and_then(|line| u32::try_from(line).ok()),
        detail: word(link, "detail").to_owned(),
    })
}

fn as_json(tool: &str, decision: &Decision) -> Value {
    let chain: Vec<Value> = decision
        .chain
        .iter()
        .map(|link| {
            json!({
                "layer": link.fact.layer.as_str(),
                "verdict": link.fact.verdict.map_or("none", Verdict::as_str),
                "source": link.fact.source,
                "line": link.fact.line,
                "detail": link.fact.detail,
                "decides": link.decides,
            })
        })
        .collect();
    json!({
        "tool": tool,
        "verdict": decision.verdict.as_str(),
        "by": decision.by.as_str(),
        "source": decision.source,
        "chain": chain,
    })
}

fn told(tool: &str, decision: &Decision, context: &Context, screen: &mut Screen) -> Result<(), Failure> {
    let state = match decision.verdict {
        Verdict::Allow => styled(GREEN, "on"),
        Verdict::Deny => styled(YELLOW, "off"),
    };
    screen.line(&format!("{tool}: {state}"))?;
    let working = context.surroundings.working.as_deref();
    let home = context.surroundings.home.as_deref();
    for link in &decision.chain {
        let fact = &link.fact;
        let verdict = fact.verdict.map_or("-", Verdict::as_str);
        let decides = if link.decides { "        <- decides" } else { "" };
        let layer = fact.layer.as_str();
        screen.line(&format!(
            "  {layer:<12} {verdict:<6}  {}{decides}",
            plain(&sentence(fact, working, home))
        ))?;
    }
    Ok(())
}

/// What was found, where, in one line. Places are told from where the person stands.
fn sentence(fact: &Fact, working: Option<&Path>, home: Option<&Path>) -> String {
    let near = |path: &Path, base: Option<&Path>, sign: &str| {
        let below = path.strip_prefix(base?).ok()?;
        Some(format!("{sign}/{}", below.display()))
    };
    let path = Path::new(&fact.source);
    let source = near(path, working, ".")
        .or_else(|| near(path, home, "~"))
        .unwrap_or_else(|| fact.source.clone());
    match (fact.layer, fact.verdict, fact.line) {
        (Layer::Default, ..) if fact.source.starts_with("no manifest") => fact.detail.clone(),
        (Layer::Default, ..) => {
            let name = fact.source.rsplit('/').next().unwrap_or_default();
            format!("manifest {name}: {}", fact.detail)
        }
        (_, None, _) if fact.source == "-" => fact.detail.clone(),
        (_, None, _) => format!("{source} {}", fact.detail),
        (_, Some(_), Some(line)) => format!("{source}:{line}  {}", fact.detail),
        (_, Some(_), None) => format!("{source}  {}", fact.detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(chain: &Value) -> Map<String, Value> {
        json!({ "chain": chain }).as_object().unwrap().clone()
    }

    #[test]
    fn a_denial_that_only_the_daemon_sees_counts() {
        let chain = json!([
            {"layer":"machine","verdict":"deny","source":"tools.kedro.enabled","line":null,"detail":"false in the config","decides":true},
            {"layer":"default","verdict":"allow","source":"kedro.toml","line":null,"detail":"opt-out: on unless denied","decides":false}
        ]);
        let decision = joined(
            Vec::new(),
            ToolDefault::Unregistered,
            "no manifest",
            Some(&said(&chain)),
        );
        assert_eq!((decision.verdict, decision.by), (Verdict::Deny, Layer::Machine));
    }

    #[test]
    fn a_denial_that_only_we_see_counts_whatever_the_daemon_says() {
        let ours = Fact {
            layer: Layer::Environment,
            verdict: Some(Verdict::Deny),
            source: "DO_NOT_TRACK".into(),
            line: None,
            detail: "is set".into(),
        };
        let chain = json!([{"layer":"default","verdict":"allow","source":"kedro.toml","detail":"opt-out"}]);
        let decision = joined(vec![ours], ToolDefault::OptIn, "no manifest", Some(&said(&chain)));
        assert_eq!(
            (decision.verdict, decision.by),
            (Verdict::Deny, Layer::Environment)
        );
    }

    #[test]
    fn an_explanation_reads_like_the_contract() {
        let fact = |layer, verdict, source: &str, line, detail: &str| Fact {
            layer,
            verdict,
            source: source.into(),
            line,
            detail: detail.into(),
        };
        let told = |fact: &Fact| {
            sentence(
                fact,
                Some(Path::new("/home/user/p")),
                Some(Path::new("/home/user")),
            )
        };
        let deny = Some(Verdict::Deny);
        for (fact, expected) in [
            (
                fact(
                    Layer::Machine,
                    None,
                    "-",
                    None,
                    "no /etc/telemetryd/opt-out, no policy",
                ),
                "no /etc/telemetryd/opt-out, no policy",
            ),
            (
                fact(
                    Layer::User,
                    None,
                    "/home/user/.config/telemetryd/consent.toml",
                    None,
                    "does not exist",
                ),
                "~/.config/telemetryd/consent.toml does not exist",
            ),
            (
                fact(
                    Layer::Project,
                    deny,
                    "/home/user/p/.telemetry",
                    Some(1),
                    "consent: false",
                ),
                "./.telemetry:1  consent: false",
            ),
            (
                fact(
                    Layer::Default,
                    Some(Verdict::Allow),
                    "/etc/telemetryd/tools.d/kedro.toml",
                    None,
                    "opt-out",
                ),
                "manifest kedro.toml: opt-out",
            ),
        ] {
            assert_eq!(told(&fact), expected);
        }
    }

    #[test]
    fn a_registered_manifest_is_known_through_the_daemon() {
        let chain = json!([{"layer":"default","verdict":"allow","source":"registered","detail":"opt-out: on unless denied"}]);
        let decision = joined(
            Vec::new(),
            ToolDefault::Unregistered,
            "no manifest",
            Some(&said(&chain)),
        );
        assert_eq!(
            (decision.verdict, decision.source.as_str()),
            (Verdict::Allow, "registered")
        );
    }
}

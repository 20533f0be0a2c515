//! `consent show` and `consent explain`. They need no daemon: the files and this process's environment are
//! read here. Where one answers, its own word joins, for it also knows the configuration and its own
//! environment; a denial of either counts (CONSENT.md).

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use telemetry_client::{Question, RealFiles};
use telemetry_protocol::consent::{Decision, Fact, Layer, ToolDefault, Verdict, decide};

use crate::Context;
use crate::daemon::{Daemon, PATIENCE, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;
use crate::screen::Screen;
use crate::words::plain;

use super::told;

/// Which tools.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// This tool alone; default: every tool that is known here
    #[arg(long, value_name = "TOOL", value_parser = super::change::tool)]
    tool: Option<String>,
    /// The project whose files count; default: the working directory
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
}

/// What holds for one tool, with all that a person has to know about it.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) tool: String,
    /// What the six layers say.
    pub(crate) decision: Decision,
    /// The notice that has to be shown before anything counts, and where it stands.
    pub(crate) notice: Option<(String, String)>,
    /// What the manifest lets through beyond what was agreed to.
    pub(crate) wider: Vec<String>,
    /// Why the file that should be its manifest is none.
    pub(crate) mistakes: Vec<String>,
    /// Events from before a denial that stops collection alone.
    pub(crate) still_queued: Option<u64>,
}

impl Explained {
    /// What comes of it: verdict, by whom, and where that stands.
    pub(crate) fn effective(&self) -> (Verdict, &str, &str) {
        match (&self.notice, self.decision.verdict) {
            (Some((_, source)), Verdict::Allow) => (Verdict::Deny, "notice", source),
            (_, verdict) => (verdict, self.decision.by.as_str(), &self.decision.source),
        }
    }
}

impl Which {
    pub(super) fn show(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut rows = Vec::new();
        for explained in self.decisions(context) {
            let (verdict, by, source) = explained.effective();
            if screen.json {
                screen.value(&json!({
                    "tool": explained.tool, "verdict": verdict.as_str(), "by": by, "source": source,
                }))?;
                continue;
            }
            let state = if verdict == Verdict::Allow { "on" } else { "off" };
            rows.push(vec![
                explained.tool.clone(),
                state.to_owned(),
                by.to_owned(),
                plain(source),
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
        for explained in &decisions {
            if screen.json {
                screen.value(&told::as_json(explained))?;
            } else {
                told::to_a_person(explained, context, screen)?;
            }
        }
        Ok(Exit::Done)
    }

    /// About this tool, or all that are known here.
    pub(crate) fn of(tool: Option<String>, project: Option<PathBuf>) -> Self {
        Self { tool, project }
    }

    pub(crate) fn decisions(&self, context: &Context) -> Vec<Explained> {
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
        let explained: Vec<Explained> = tools
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
                let (notice, wider) = match &said {
                    Some(said) => noticed(said),
                    None => match gathered.notice(&tool) {
                        Some(notice) => (Some((notice.text, here.default_source.clone())), notice.wider),
                        None => (None, Vec::new()),
                    },
                };
                let mistakes = match policy.manifest(&tool) {
                    Some(_) => Vec::new(),
                    None => telemetry_client::consent::mistakes(&context.surroundings, &tool, &RealFiles),
                };
                Explained {
                    mistakes,
                    tool,
                    decision,
                    notice,
                    wider,
                    still_queued: None,
                }
            })
            .collect();
        with_what_is_still_queued(explained, &mut daemon)
    }
}

/// The notice that is due, as the daemon knows it.
fn noticed(said: &Map<String, Value>) -> (Option<(String, String)>, Vec<String>) {
    let wider = said.get("wider").and_then(Value::as_array);
    let wider = wider.into_iter().flatten().filter_map(Value::as_str);
    let wider: Vec<String> = wider.map(ToOwned::to_owned).collect();
    let due = word(said, "by") == "notice";
    let notice = due.then(|| (word(said, "notice").to_owned(), word(said, "source").to_owned()));
    (notice, wider)
}

/// A denial from the environment stops collection only: what was queued before is still there, and a person is told.
fn with_what_is_still_queued(mut explained: Vec<Explained>, daemon: &mut Option<Daemon>) -> Vec<Explained> {
    let by_environment =
        |one: &Explained| one.decision.verdict == Verdict::Deny && one.decision.by == Layer::Environment;
    if explained.iter().any(by_environment) {
        let status = heard(daemon, |daemon| daemon.ask(&json!({ "op": "status" }), PATIENCE));
        let tools = status
            .as_ref()
            .and_then(|status| status.value.get("tools")?.as_array());
        for one in explained.iter_mut().filter(|one| by_environment(one)) {
            let rows = tools.into_iter().flatten().filter_map(Value::as_object);
            let mut own = rows.filter(|row| word(row, "tool") == one.tool);
            one.still_queued = own.next().and_then(|row| row.get("queued")?.as_u64());
        }
    }
    explained
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

/// What holds for one tool as this process sees it, with the daemon's word where one answers.
pub(super) fn about(context: &Context, tool: &str) -> Option<Explained> {
    Which::of(Some(tool.to_owned()), None).decisions(context).pop()
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

//! How an explanation is shown: one line a layer, told from where the person stands; or the same for scripts.

use std::path::Path;

use serde_json::{Value, json};
use telemetry_protocol::consent::{Fact, Layer, Verdict};

use super::explain::Explained;
use crate::Context;
use crate::failure::Failure;
use crate::screen::{GREEN, Screen, YELLOW, styled};
use crate::words::plain;

/// The explanation for scripts.
pub(crate) fn as_json(explained: &Explained) -> Value {
    let decision = &explained.decision;
    let (verdict, by, source) = explained.effective();
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
        "tool": explained.tool,
        "verdict": verdict.as_str(),
        "by": by,
        "source": source,
        "chain": chain,
        "notice": explained.notice.as_ref().map(|(text, _)| text),
        "wider": explained.wider,
        "still_queued": explained.still_queued,
    })
}

/// The explanation for a person.
pub(super) fn to_a_person(
    explained: &Explained,
    context: &Context,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let (tool, decision) = (&explained.tool, &explained.decision);
    let (verdict, by, _) = explained.effective();
    let state = match verdict {
        Verdict::Allow => styled(GREEN, "on"),
        Verdict::Deny => styled(YELLOW, "off"),
    };
    screen.line(&format!("{tool}: {state}"))?;
    let working = context.surroundings.working.as_deref();
    let home = context.surroundings.home.as_deref();
    for link in &decision.chain {
        let fact = &link.fact;
        let verdict = fact.verdict.map_or("-", Verdict::as_str);
        let decides = if link.decides && by != "notice" {
            DECIDES
        } else {
            ""
        };
        let layer = fact.layer.as_str();
        screen.line(&format!(
            "  {layer:<12} {verdict:<6}  {}{decides}",
            plain(&sentence(fact, working, home))
        ))?;
    }
    if let Some((text, _)) = explained.notice.as_ref().filter(|_| by == "notice") {
        let text = plain(text);
        let begin: String = text.chars().take(BEGIN).collect();
        let rest = if begin.len() < text.len() { "…" } else { "" };
        let told = format!("not shown yet: {begin}{rest}");
        screen.line(&format!("  {:<12} {:<6}  {told}{DECIDES}", "notice", "deny"))?;
    }
    for mistake in &explained.mistakes {
        screen.line(&format!("  its manifest cannot be used: {}", plain(mistake)))?;
    }
    for wider in &explained.wider {
        screen.line(&format!(
            "  its manifest lets more through than was agreed to: {}",
            plain(wider)
        ))?;
    }
    if let Some(line) = left_behind(tool, explained.still_queued) {
        screen.line(&format!("  {line}"))?;
    }
    Ok(())
}

/// A denial from the environment stops collection alone: what a person is told about the rest.
pub(crate) fn left_behind(tool: &str, still_queued: Option<u64>) -> Option<String> {
    let count = still_queued.filter(|count| *count > 0)?;
    let (events, are, them) = match count {
        1 => ("event", "is", "it"),
        _ => ("events", "are", "them"),
    };
    Some(format!(
        "{count} earlier {events} {are} still queued; 'telemetryctl opt-out --tool {tool}' removes {them}"
    ))
}

/// Letters of a notice that stand in an explanation; `tools show` has all.
const BEGIN: usize = 60;

const DECIDES: &str = "        <- decides";

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
    fn what_is_left_behind_is_told_where_something_is() {
        assert_eq!(left_behind("t", None), None);
        assert_eq!(left_behind("t", Some(0)), None);
        assert_eq!(
            left_behind("t", Some(12)).as_deref(),
            Some("12 earlier events are still queued; 'telemetryctl opt-out --tool t' removes them")
        );
    }
}

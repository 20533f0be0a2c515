//! `audit`: what an auditor asks. What is declared, for whom it is on or off and why, what left in the last days; and the
//! exit code says whether anything could leave. Consent needs no daemon; what left only the daemon knows.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};
use telemetry_client::RealFiles;
use telemetry_policy::gather::{self, Found, Look};
use telemetry_policy::{Manifest, Registered, UserConsent};
use telemetry_protocol::consent::{Fact, Layer, ToolDefault, Verdict};
use telemetry_protocol::place::{Dirs, Mode};
use telemetry_protocol::time::parse_rfc3339;

use super::consent::explain::{Explained, Which};
use crate::Context;
use crate::clock;
use crate::daemon::{Daemon, word};
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;
use crate::screen::{GREEN, Screen, YELLOW, styled};
use crate::words::{counted, plain};

/// Tell what is declared, for whom it is on, and what left
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT)]
pub(crate) struct Audit {
    /// What left in so many days
    #[arg(long, value_name = "N", default_value_t = 7)]
    days: u32,
}

const ABOUT: &str = "\
The exit code is 1 if anything could leave: a tool is on, here or for another user of the machine's daemon. A variable of \
this shell and a project's file do not count: others may have neither. What left is known for as long as the log of what \
was sent is kept (7 days by default), and only where a daemon answers.";

impl Audit {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let gathered = policy::gathered(context);
        let policy = gathered.policy();
        let everything = policy.denies_everything();
        let tools = Which::of(None, None).decisions(context);
        let people = people(context);
        let left = left(context, self.days)?;
        let on = |one: &Explained| everywhere(one).0 == Verdict::Allow;
        // What others were allowed counts too; a machine's denial is in every tool's word.
        let others = policy.parts().machine.denies_everything().is_none()
            && people.iter().any(|person| person.allows_something(&tools));
        let could_leave = tools.iter().any(on) || others;
        let listed: Vec<Value> = tools
            .iter()
            .map(|one| declared(one, policy.manifest(&one.tool)))
            .collect();
        let verdict = json!({
            "could_leave": could_leave,
            "telemetry": everything.as_ref().map(|fact| json!({
                "verdict": "deny", "by": fact.layer.as_str(), "source": fact.source,
            })),
            "tools": listed,
            "people": people.iter().map(Person::json).collect::<Vec<_>>(),
            "days": self.days,
            "left": left,
        });
        if screen.json {
            screen.value(&verdict)?;
        } else {
            told(&verdict, screen)?;
        }
        match could_leave {
            true => Err(Failure::said(Exit::Failed)),
            false => Ok(Exit::Done),
        }
    }
}

/// What holds in every shell and project of this user: what the machine, the user and the manifest say.
fn everywhere(one: &Explained) -> (Verdict, &str, &str) {
    let facts = || {
        let facts = one.decision.chain.iter().map(|link| &link.fact);
        facts.filter(|fact| matches!(fact.layer, Layer::Machine | Layer::User | Layer::Default))
    };
    let says = |verdict: Verdict| move |fact: &&Fact| fact.verdict == Some(verdict);
    let above = |fact: &&Fact| fact.layer < Layer::Default;
    let decides = facts()
        .filter(above)
        .find(says(Verdict::Deny))
        .or_else(|| facts().filter(above).find(says(Verdict::Allow)))
        .or_else(|| facts().find(|fact| fact.layer == Layer::Default));
    match (decides, &one.notice) {
        (Some(fact), Some((_, source))) if fact.verdict == Some(Verdict::Allow) => {
            (Verdict::Deny, "notice", source)
        }
        (Some(fact), _) => {
            let verdict = fact.verdict.unwrap_or(Verdict::Deny);
            (verdict, fact.layer.as_str(), &fact.source)
        }
        (None, _) => one.effective(),
    }
}

/// What a tool declares, and what holds for it.
fn declared(one: &Explained, registered: Option<&Registered>) -> Value {
    let (verdict, by, source) = everywhere(one);
    let manifest = registered.map(|r| &r.manifest);
    let consent = manifest.map(|m: &Manifest| match m.consent {
        ToolDefault::OptOut => "opt-out",
        ToolDefault::OptIn | ToolDefault::Unregistered => "opt-in",
    });
    json!({
        "tool": one.tool,
        "about": manifest.and_then(|m| m.about.clone()),
        "manifest": registered.map(|r| r.source.clone()),
        "origin": registered.map_or("none", |r| r.origin.as_str()),
        "consent": consent,
        "notice": manifest.and_then(|m| m.notice_text.clone()),
        "verdict": verdict.as_str(), "by": by, "source": source,
        "wider": one.wider,
    })
}

/// What a user said to the machine's daemon.
struct Person {
    uid: String,
    file: String,
    word: UserConsent,
}

impl Person {
    /// Whether this word lets a tool through that nothing else denies.
    fn allows_something(&self, tools: &[Explained]) -> bool {
        if self.word.denies_everything().is_some() {
            return false;
        }
        self.word.named().any(|tool| {
            let allowed = self
                .word
                .facts(tool)
                .iter()
                .any(|fact| fact.verdict == Some(Verdict::Allow));
            let denied_above = tools.iter().any(|one| {
                one.tool == tool && one.decision.verdict == Verdict::Deny && one.decision.by < Layer::User
            });
            allowed && !denied_above
        })
    }

    fn json(&self) -> Value {
        let said = |verdict: Verdict| -> Vec<&str> {
            let named = self.word.named();
            named
                .filter(|tool| {
                    self.word
                        .facts(tool)
                        .iter()
                        .any(|fact| fact.verdict == Some(verdict))
                })
                .collect()
        };
        json!({
            "uid": self.uid, "file": self.file, "everything": self.word.denies_everything().map(|fact| fact.detail.clone()),
            "allowed": said(Verdict::Allow), "denied": said(Verdict::Deny),
        })
    }
}

/// What users said to the machine's daemon, as far as it may be read here (root may).
fn people(context: &Context) -> Vec<Person> {
    let Ok(dirs) = Dirs::find(Mode::System, &|name| {
        context.surroundings.variables.get(name).map(Into::into)
    }) else {
        return Vec::new();
    };
    let directory = dirs.state.join("consent");
    let Found::Directory(names) = RealFiles.look(&directory) else {
        return Vec::new();
    };
    names
        .iter()
        .filter_map(|name| Some((name.strip_suffix(".toml")?, directory.join(name))))
        .filter(|(uid, _)| uid.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|(uid, path)| Person {
            uid: uid.to_owned(),
            file: path.display().to_string(),
            word: gather::word(&path, &RealFiles),
        })
        .collect()
}

/// What left in so many days, by destination and tool; null where no daemon answers.
fn left(context: &Context, days: u32) -> Result<Value, Failure> {
    let Ok(mut daemon) = Daemon::reach(context) else {
        return Ok(Value::Null);
    };
    let since = clock::wall_ms() - i64::from(days) * 86_400_000;
    let root = rustix::process::geteuid().is_root();
    let request = Everybody { all_users: root }.ask(json!({ "op": "sent", "limit": u32::MAX }));
    let mut sums: BTreeMap<(String, String), (u64, u64, String)> = BTreeMap::new();
    daemon.list(&request, |line| {
        let at = line.word("at").to_owned();
        if parse_rfc3339(&at).is_some_and(|at| at < since) {
            return Ok(());
        }
        let tools = line.value.get("tools").and_then(Value::as_object);
        for (tool, count) in tools.into_iter().flatten() {
            let key = (line.word("destination").to_owned(), tool.clone());
            let sum = sums.entry(key).or_default();
            sum.0 += 1;
            sum.1 += count.as_u64().unwrap_or(0);
            sum.2.clone_from(&at);
        }
        Ok(())
    })?;
    let rows = sums.into_iter().map(|((destination, tool), (batches, events, last))| {
        json!({ "destination": destination, "tool": tool, "batches": batches, "events": events, "last": last })
    });
    Ok(rows.collect())
}

fn told(audit: &Value, screen: &mut Screen) -> Result<(), Failure> {
    let objects = |key: &str| -> Vec<&Map<String, Value>> {
        let list = audit.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_object).collect()
    };
    match audit.get("could_leave") {
        Some(Value::Bool(false)) => screen.line(&styled(GREEN, "nothing can leave"))?,
        _ => screen.line(&styled(YELLOW, "something could leave"))?,
    }
    if let Some(Value::Object(off)) = audit.get("telemetry") {
        let why = format!(
            "off for every tool, by {}: {}",
            word(off, "by"),
            word(off, "source")
        );
        screen.line(&plain(&why))?;
    }
    let mut rows = Vec::new();
    for tool in objects("tools") {
        let state = if word(tool, "verdict") == "allow" {
            "on"
        } else {
            "off"
        };
        let cells = [
            word(tool, "tool"),
            state,
            word(tool, "by"),
            word(tool, "consent"),
            word(tool, "origin"),
            word(tool, "source"),
        ];
        rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }
    screen.line("")?;
    if rows.is_empty() {
        screen.line("no tool is declared")?;
    } else {
        screen.table(
            &[
                "tool",
                "telemetry",
                "by",
                "declared",
                "origin",
                "where that stands",
            ],
            &[],
            rows,
        )?;
    }
    for person in objects("people") {
        let list = |key: &str| -> String {
            let names = person.get(key).and_then(Value::as_array);
            let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
            if names.is_empty() {
                "nothing".to_owned()
            } else {
                names.join(", ")
            }
        };
        let what = match word(person, "everything") {
            "" => format!("allows {}, denies {}", list("allowed"), list("denied")),
            why => format!("denies everything ({why})"),
        };
        screen.line(&plain(&format!("uid {}: {what}", word(person, "uid"))))?;
    }
    let days = audit.get("days").and_then(Value::as_u64).unwrap_or(0);
    screen.line("")?;
    match audit.get("left") {
        Some(Value::Array(list)) if list.is_empty() => {
            screen.line(&format!("in {}: nothing left", counted(days, "day")))?;
        }
        Some(Value::Array(_)) => {
            screen.line(&format!("what left in {}:", counted(days, "day")))?;
            let rows = objects("left").into_iter().map(|row| {
                let number = |key: &str| row.get(key).map(Value::to_string).unwrap_or_default();
                vec![
                    plain(word(row, "destination")),
                    plain(word(row, "tool")),
                    number("batches"),
                    number("events"),
                    plain(word(row, "last")),
                ]
            });
            let rows = rows.collect();
            screen.table(
                &["destination", "tool", "batches", "events", "last"],
                &[2, 3],
                rows,
            )?;
        }
        _ => screen.line("what left is not known: no daemon answers")?,
    }
    Ok(())
}

//! `status`: one screen about the daemon, its destinations, the tools, the queue and the books. Without a
//! daemon it says what consent says, which needs none.

use clap::Args;
use serde_json::{Map, Value, json};
use telemetry_protocol::consent::{Layer, Verdict};

use super::consent::spool::Left;
use super::consent::told;
use crate::Context;
use crate::clock;
use crate::daemon::{Daemon, PATIENCE, no_daemon, word};
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;
use crate::screen::{DIM, GREEN, RED, Screen, YELLOW, styled};
use crate::words::{bytes, counted, plain, relative};

/// Show the daemon, its destinations, the tools and the books
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    everybody: Everybody,
}

impl Status {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        match Daemon::reach(context) {
            Ok(mut daemon) => {
                let answer = daemon.ask(&self.everybody.ask(json!({ "op": "status" })), PATIENCE)?;
                if screen.json {
                    screen.line(&answer.without("ok"))?;
                } else {
                    show(&answer.value, self.everybody, context, screen)?;
                    left_behind(&answer.value, context, screen)?;
                }
                Ok(Exit::Done)
            }
            Err(error) => {
                let status = without_daemon(context);
                if screen.json {
                    screen.value(&status)?;
                    return Err(Failure::said(Exit::NoDaemon));
                }
                if let Value::Object(status) = &status {
                    telemetry(status, screen)?;
                    spool(Left::seen(context), screen)?;
                    tools(status, screen)?;
                    screen.line("")?;
                }
                let mut failure = no_daemon(error);
                failure.exit = Exit::NoDaemon;
                Err(failure)
            }
        }
    }
}

/// A variable of this shell stops what comes from it, and nothing else: what was queued before is told.
fn left_behind(status: &Map<String, Value>, context: &Context, screen: &mut Screen) -> Result<(), Failure> {
    let policy = policy::local(context);
    for row in rows(status, "tools") {
        let tool = word(row, "tool");
        let denied = policy.tool_with_rows(tool).facts;
        let first = denied.iter().filter(|fact| fact.verdict == Some(Verdict::Deny));
        if first.map(|fact| fact.layer).min() != Some(Layer::Environment) {
            continue;
        }
        let queued = row.get("queued").and_then(Value::as_u64);
        if let Some(line) = told::left_behind(&plain(tool), queued) {
            screen.line("")?;
            screen.line(&format!("{tool} is off in this shell; {line}"))?;
        }
    }
    Ok(())
}

/// The same object with what this process can see: what it cannot is null.
fn without_daemon(context: &Context) -> Value {
    let policy = policy::local(context);
    let left = Left::seen(context);
    let telemetry = match policy.denies_everything() {
        Some(fact) => json!({ "verdict": "deny", "by": fact.layer.as_str(), "source": fact.source }),
        None => json!({ "verdict": "allow", "by": null, "source": null }),
    };
    let tools: Vec<Value> = policy
        .tools()
        .map(|(name, tool)| {
            json!({
                "tool": name,
                "verdict": if tool.allowed() { "allow" } else { "deny" },
                "by": match tool.decision.verdict {
                    Verdict::Allow if tool.notice_missing => "notice",
                    _ => tool.decision.by.as_str(),
                },
                "source": tool.decision.source,
                "queued": null,
                "delivered": null,
                "lost": null,
                "declined": null,
            })
        })
        .collect();
    json!({
        "daemon": null,
        "telemetry": telemetry,
        "gateway": null,
        "queue": null,
        "spool": { "waiting": left.waiting, "dropped": left.dropped, "expired": left.expired },
        "destinations": null,
        "tools": tools,
        "books": null,
    })
}

fn show(
    status: &Map<String, Value>,
    everybody: Everybody,
    context: &Context,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let now = clock::wall_ms();
    let Some(Value::Object(daemon)) = status.get("daemon") else {
        return Err(Failure::failed("the answer to 'status' lacks the daemon"));
    };
    screen.heading(&format!("telemetryd {}", plain(word(daemon, "version"))))?;
    let pid = daemon.get("pid").map(Value::to_string).unwrap_or_default();
    let (mode, phase) = (plain(word(daemon, "mode")), plain(word(daemon, "phase")));
    screen.line(&format!("  {mode} mode, pid {pid}, {phase}"))?;
    screen.line(&format!("  socket     {}", plain(word(daemon, "socket"))))?;
    telemetry(status, screen)?;
    gateway(status, screen)?;
    queue(status, now, screen)?;
    let mut left = Left::seen(context);
    if let Some(Value::Object(taken)) = status.get("spool") {
        let count = |key: &str| taken.get(key).and_then(Value::as_u64).unwrap_or(0);
        left.dropped += count("dropped");
        left.expired += count("expired");
    }
    spool(left, screen)?;
    destinations(status, now, screen)?;
    tools(status, screen)?;
    books(status, everybody, screen)
}

fn telemetry(status: &Map<String, Value>, screen: &mut Screen) -> Result<(), Failure> {
    let text = match &status.get("telemetry") {
        Some(Value::Object(telemetry)) if word(telemetry, "verdict") == "deny" => {
            let why = format!("off, by {}: {}", word(telemetry, "by"), word(telemetry, "source"));
            styled(YELLOW, &plain(&why))
        }
        _ => "on for the tools that are allowed".to_owned(),
    };
    Ok(screen.line(&format!("  telemetry  {text}"))?)
}

/// Where HTTP is taken, or why it is not although it was asked for.
fn gateway(status: &Map<String, Value>, screen: &mut Screen) -> Result<(), Failure> {
    let Some(Value::Object(gateway)) = status.get("gateway") else {
        return Ok(());
    };
    let text = match word(gateway, "state") {
        "listening" => plain(word(gateway, "listen")),
        state => styled(YELLOW, &plain(&format!("{state}: {}", word(gateway, "reason")))),
    };
    Ok(screen.line(&format!("  gateway    {text}"))?)
}

fn queue(status: &Map<String, Value>, now: i64, screen: &mut Screen) -> Result<(), Failure> {
    let Some(Value::Object(queue)) = status.get("queue") else {
        return Ok(());
    };
    let size = |key: &str| queue.get(key).and_then(Value::as_u64).unwrap_or(0);
    let mut line = format!(
        "  queue      {}, {} of {}",
        counted(size("events"), "event"),
        bytes(size("bytes")),
        bytes(size("max_bytes"))
    );
    let oldest = word(queue, "oldest");
    if !oldest.is_empty() {
        line.push_str(&format!("; the oldest came {}", relative(oldest, now)));
    }
    Ok(screen.line(&line)?)
}

/// What clients left while no daemon ran, and what of it was lost; nothing, as a rule.
fn spool(left: Left, screen: &mut Screen) -> Result<(), Failure> {
    match left.told() {
        Some(told) => Ok(screen.line(&format!("  spool      {}", styled(YELLOW, &told)))?),
        None => Ok(()),
    }
}

fn rows<'a>(status: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    let list = match status.get(key) {
        Some(Value::Array(list)) => list.as_slice(),
        _ => &[],
    };
    list.iter().filter_map(Value::as_object)
}

fn cell(row: &Map<String, Value>, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => plain(text),
        Some(Value::Object(reasons)) => {
            let list: Vec<String> = reasons
                .iter()
                .filter(|(_, count)| count.as_u64() != Some(0))
                .map(|(reason, count)| format!("{count} {}", plain(reason)))
                .collect();
            list.join(", ")
        }
        Some(other) => other.to_string(),
    }
}

fn destinations(status: &Map<String, Value>, now: i64, screen: &mut Screen) -> Result<(), Failure> {
    let mut list: Vec<Vec<String>> = Vec::new();
    let mut talk = Vec::new();
    for row in rows(status, "destinations") {
        let next = word(row, "next_try");
        list.push(vec![
            cell(row, "name"),
            cell(row, "encoding"),
            cell(row, "state"),
            cell(row, "queued"),
            if next.is_empty() {
                String::new()
            } else {
                relative(next, now)
            },
            row.get("max_bytes_learned")
                .and_then(Value::as_u64)
                .map(bytes)
                .unwrap_or_default(),
        ]);
        let (name, state) = (cell(row, "name"), word(row, "state"));
        for held in rows(row, "held_users") {
            let (uid, queued) = (cell(held, "uid"), cell(held, "queued"));
            let reason = format!("{}: {}", cell(held, "reason"), cell(held, "last_error"));
            talk.push(format!(
                "  {name}: {queued} of uid {uid} are held, {}",
                styled(YELLOW, &reason)
            ));
        }
        for (key, style) in [("reason", YELLOW), ("last_error", RED)] {
            let text = cell(row, key);
            // An error of yesterday is no news while all is well.
            if !text.is_empty() && !matches!(state, "idle" | "sending") {
                talk.push(format!("  {name}: {}", styled(style, &text)));
            }
        }
    }
    if list.is_empty() {
        return Ok(());
    }
    screen.line("")?;
    screen.table(
        &[
            "destination",
            "encoding",
            "state",
            "queued",
            "next try",
            "largest batch",
        ],
        &[3],
        list,
    )?;
    for line in talk {
        screen.line(&line)?;
    }
    Ok(())
}

fn tools(status: &Map<String, Value>, screen: &mut Screen) -> Result<(), Failure> {
    let list: Vec<Vec<String>> = rows(status, "tools")
        .map(|row| {
            let allowed = word(row, "verdict") == Verdict::Allow.as_str();
            let why = match (allowed, word(row, "by"), word(row, "source")) {
                (true, ..) | (false, "", _) => String::new(),
                (false, by, source) => plain(&format!("by {by}: {source}")),
            };
            vec![
                cell(row, "tool"),
                if allowed { "on" } else { "off" }.to_owned(),
                cell(row, "queued"),
                cell(row, "delivered"),
                cell(row, "lost"),
                cell(row, "declined"),
                why,
            ]
        })
        .collect();
    if list.is_empty() {
        return Ok(());
    }
    screen.line("")?;
    let head = [
        "tool",
        "telemetry",
        "queued",
        "delivered",
        "lost",
        "declined",
        "why",
    ];
    screen.table(&head, &[2, 3], list)?;
    rows(status, "tools").try_for_each(|row| removed(row, screen))
}

/// What did not fit the tool's manifest: its author should know.
fn removed(row: &Map<String, Value>, screen: &mut Screen) -> Result<(), Failure> {
    let (tool, removed) = (cell(row, "tool"), cell(row, "removed").replace('_', " "));
    if !removed.is_empty() {
        let wrong = row.get("wrong_types").and_then(Value::as_object);
        let wrong: Vec<String> = wrong.into_iter().flatten().map(|(name, _)| plain(name)).collect();
        let wrong = match wrong.is_empty() {
            true => String::new(),
            false => format!("; of a wrong type: {}", wrong.join(", ")),
        };
        screen.line(&format!("  {tool}: removed from its events: {removed}{wrong}"))?;
    }
    match row.get("unlisted_events").and_then(Value::as_u64) {
        None | Some(0) => Ok(()),
        Some(events) => {
            let events = counted(events, "event");
            Ok(screen.line(&format!(
                "  {tool}: refused {events} that its manifest does not list"
            ))?)
        }
    }
}

fn books(status: &Map<String, Value>, everybody: Everybody, screen: &mut Screen) -> Result<(), Failure> {
    const COLUMNS: [&str; 10] = [
        "destination",
        "tool",
        "accepted",
        "delivered",
        "parked",
        "queued",
        "evicted",
        "expired",
        "purged",
        "lost",
    ];
    let mut list = Vec::new();
    let mut balanced = true;
    for row in rows(status, "books") {
        let count = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or(0);
        // I5, seen from outside.
        balanced &= count("accepted") == COLUMNS.iter().skip(3).map(|key| count(key)).sum::<u64>();
        let cells = COLUMNS.iter().map(|key| cell(row, key)).collect();
        list.push(everybody.cell(row, cells));
    }
    if list.is_empty() {
        return Ok(());
    }
    screen.line("")?;
    let (columns, numbers) = everybody.column(COLUMNS.to_vec(), &[2, 3, 4, 5, 6, 7, 8, 9]);
    screen.table(&columns, &numbers, list)?;
    let verdict = match balanced {
        true => styled(GREEN, "the books balance"),
        false => styled(RED, "the books do not balance"),
    };
    screen.line(&format!(
        "{verdict}{}",
        styled(DIM, ": accepted is the sum of the columns behind it")
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_reason_leave_out_the_zeros() {
        let row = json!({"lost": {"evicted": 0, "expired": 3}, "none": null, "n": 4});
        let row = row.as_object().unwrap();
        assert_eq!(cell(row, "lost"), "3 expired");
        assert_eq!(
            (cell(row, "none"), cell(row, "n")),
            (String::new(), "4".to_owned())
        );
    }
}

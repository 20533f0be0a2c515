//! `doctor`: the daemon's half of the checks; the command line adds what can be seen from outside.

use serde_json::{Value, json};
use telemetry_queue::QueueError;

use super::Service;
use super::caller::Caller;
use super::status::others_wait;

/// What a person can do about a tool that has something to tell first.
const UNTOLD: &str = "at a terminal, 'telemetryctl opt-in --tool TOOL' shows it, and the next event counts";

/// What there is to do about events that nobody took in time.
const NO_DAEMON_THEN: &str = "'telemetryctl service install' has a daemon there from the start";

/// What an admin can do about a user whose events are refused.
const REFUSED_WHOLE: &str = "they are tried again by themselves, or by 'telemetryctl resume'; 'telemetryctl queue list --all-users' shows them";
/// What that user can do.
const REFUSED_YOURS: &str = "they are tried again by themselves; 'telemetryctl queue next-batch' shows what is refused, 'telemetryctl queue purge' gives it up";

impl Service {
    pub(super) async fn doctor(&self, caller: Caller) -> Result<Vec<Value>, QueueError> {
        let mut checks = Vec::new();
        let mut add = |check: &str, state: &str, detail: String, hint: Option<&str>| {
            checks.push(json!({ "check": check, "state": state, "detail": detail, "hint": hint }));
        };
        let books = self.queue.books(caller.whose).await?;
        match books.iter().filter(|book| !book.balanced()).count() {
            0 => add("books", "ok", format!("{} balance", books.len()), None),
            n => add(
                "books",
                "fail",
                format!("{n} do not balance"),
                Some("please report this; nothing is deleted"),
            ),
        }
        let checked = self.queue.checked().await?;
        let differing = checked.differences.len();
        match (&checked.integrity, differing) {
            (Some(said), _) => add(
                "integrity",
                "fail",
                said.clone(),
                Some("stop and start the daemon: it salvages what can be read"),
            ),
            (None, 0) if caller.whose.is_some() => {
                add("integrity", "ok", "no damage was found".to_owned(), None);
            }
            (None, 0) if checked.complete => {
                add("integrity", "ok", format!("{} rows counted", checked.rows), None)
            }
            (None, 0) => add(
                "integrity",
                "ok",
                format!("{} rows counted so far", checked.rows),
                None,
            ),
            (None, n) => add(
                "integrity",
                "fail",
                format!("{n} books differ from their rows"),
                Some("please report this"),
            ),
        }
        let view = self.view_for(caller).await?;
        if view.disk_full {
            add(
                "disk",
                "fail",
                "the last write found the disk full".to_owned(),
                Some("free some space; it recovers by itself"),
            );
        } else {
            let max = self.settings.borrow().queue.max_bytes;
            add("disk", "ok", format!("{} of {max} bytes used", view.bytes), None);
        }
        if let Some(moved) = &self.moved {
            add(
                "file system",
                "warn",
                moved.clone(),
                Some("a network file system cannot hold the queue"),
            );
        }
        if let Some((state, detail, hint)) = self.gateway_check() {
            add("gateway", state, detail, hint);
        }
        for problem in self.consent.problems() {
            let detail = format!("{}:{}: {}", problem.file.display(), problem.line, problem.message);
            add(
                "manifests",
                "fail",
                detail,
                Some("the tool has no manifest until this is mended"),
            );
        }
        let lost = [&self.counters.spool_dropped, &self.counters.spool_expired].map(|counter| counter.get());
        if lost != [0, 0] {
            let detail = format!(
                "of what clients left while no daemon ran, {} events had no room and {} grew too old",
                lost[0], lost[1]
            );
            add("spool", "warn", detail, Some(NO_DAEMON_THEN));
        }
        let policy = self.consent.of(caller.uid);
        for (tool, layers) in self.counters.declined(caller.whose) {
            let untold = layers.get("notice").copied().unwrap_or(0);
            if untold > 0 && policy.tool_with_rows(&tool).notice_missing {
                let detail =
                    format!("{untold} events of {tool} were declined: nobody has shown its notice yet");
                add("notice", "warn", detail, Some(UNTOLD));
            }
        }
        for (name, state) in self.flush.states().borrow().iter() {
            let known = view.destinations.iter().find(|(known, _)| known == name);
            let others_wait = known.is_none_or(|(_, waiting)| others_wait(waiting));
            let whole = state;
            let state = state.seen_by(caller.whose, others_wait);
            let apart = state.condition != whole.condition;
            if self.names_users(caller) && !apart {
                for uid in whole.held_users.keys() {
                    let detail = format!("{name} refuses every event of uid {uid}; those of others go on");
                    add("destination", "warn", detail, Some(REFUSED_WHOLE));
                }
            }
            let detail = |word: &str| {
                let error = state
                    .last_error
                    .as_deref()
                    .or(state.reason.as_deref())
                    .unwrap_or("-");
                format!("{name} is {word}: {error}")
            };
            match state.word(self.clock.now()) {
                "held" if apart && caller.whose.is_some() => {
                    let detail = format!("{name} refuses every event of yours");
                    add("destination", "fail", detail, Some(REFUSED_YOURS));
                }
                word @ ("held" | "closed") => add(
                    "destination",
                    "fail",
                    detail(word),
                    Some("mend the setting or the endpoint, then 'telemetryctl resume'"),
                ),
                word @ ("backoff" | "captive" | "paused") => {
                    let hint = match word {
                        "captive" => {
                            "sign in to the network, or check url: a web page answers in the endpoint's place"
                        }
                        "paused" => "'telemetryctl resume' sends again",
                        _ => {
                            "it is tried again by itself; 'telemetryctl doctor --probe' says which step of the way fails"
                        }
                    };
                    add("destination", "warn", detail(word), Some(hint));
                }
                _ => add("destination", "ok", format!("{name} is in order"), None),
            }
        }
        Ok(checks)
    }
}

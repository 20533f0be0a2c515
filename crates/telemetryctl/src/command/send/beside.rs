//! What is said beside the events: the denial of a project erases what is queued of it, a denial in the user's own file
//! is told once to a daemon that cannot see it, and a notice is shown before anything counts (CONSENT.md).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use telemetry_client::notice::Kept;
use telemetry_protocol::consent::{Fact, Layer};
use telemetry_protocol::place::SYSTEM_SOCKET;

use super::line::Ready;
use super::{ANSWER, Link, Sender};
use crate::command::consent::notice;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::screen::{Screen, is_watched};

impl Sender<'_> {
    /// Passes a denial on that the daemon cannot see. With one from the machine or the environment nothing is opened:
    /// the daemon has the machine's word itself, and a variable stops collection alone. Where no daemon is, there is
    /// nothing to be told.
    pub(super) fn pass_on(&mut self, tool: &str, projects: &[String], fact: &Fact) {
        match fact.layer {
            Layer::Project => {
                for project in projects {
                    let request =
                        json!({ "op": "consent", "action": "deny", "tool": tool, "project": project });
                    self.say(&request);
                }
            }
            Layer::User => self.tell_once(tool),
            _ => {}
        }
    }

    /// A machine-wide daemon never looks into a home: it is told of the denial that stands there, once for each state of
    /// the file.
    fn tell_once(&mut self, tool: &str) {
        let surroundings = &self.context.surroundings;
        let sockets = &surroundings.sockets;
        if sockets.explicit.is_none() && !Path::new(SYSTEM_SOCKET).exists() {
            return;
        }
        let Some(user) = surroundings
            .user
            .as_ref()
            .filter(|_| surroundings.sudo_uid.is_none())
        else {
            return;
        };
        let everything = self.consent.policy().parts().user.denies_everything().is_some();
        let (about, name) = match everything {
            true => (json!(null), "everything"),
            false => (json!(tool), tool),
        };
        let marker = user.state.join("told").join(name);
        let state = file_state(&user.config.join("consent.toml"));
        if std::fs::read_to_string(&marker).is_ok_and(|told| told == state) {
            return;
        }
        let hello =
            json!({ "op": "hello", "protocol": telemetry_protocol::PROTOCOL, "client": "telemetryctl" });
        if self.say(&hello).as_deref() != Some("system") {
            return;
        }
        let request = json!({ "op": "consent", "action": "deny", "tool": about });
        if self.say(&request).is_some() {
            // Whoever is told twice is told nothing new.
            let _ = marker.parent().map(std::fs::create_dir_all);
            let _ = std::fs::write(&marker, state);
        }
    }

    /// One request on the way that the events take; what mode the answer tells of, if it is a good one.
    fn say(&mut self, request: &serde_json::Value) -> Option<String> {
        if let Link::Unknown = self.link {
            self.link =
                Daemon::reach(self.context).map_or(Link::Unknown, |daemon| Link::Up(Box::new(daemon)));
        }
        let Link::Up(daemon) = &mut self.link else {
            return None;
        };
        match daemon.ask(request, ANSWER) {
            Ok(answer) => Some(answer.word("mode").to_owned()),
            Err(_) => {
                // What it has not answered must not be taken for an event's answer.
                self.link = Link::Unknown;
                None
            }
        }
    }

    /// Whether the event's tool has something to tell first. A person at a terminal is told now: this event happened
    /// before they could know and is declined, the next one counts. Elsewhere the daemon declines until it was shown.
    pub(super) fn has_to_be_shown(&mut self, event: &Ready, screen: &mut Screen) -> Result<bool, Failure> {
        if !self.notices.contains_key(&event.tool) {
            let due = self.consent.notice(&event.tool).filter(|_| is_watched());
            self.notices.insert(event.tool.clone(), due);
        }
        let Some(notice) = self.notices.get_mut(&event.tool).and_then(Option::take) else {
            return Ok(false);
        };
        let kept = notice::show(&notice, self.context, screen, ANSWER);
        if let Err(error) = &kept {
            screen.talk(&format!(
                "  it cannot be remembered that this was shown: {}",
                error.kind()
            ));
        }
        let source = match kept {
            Ok(Kept::Daemon) => "shown now, and telemetryd knows",
            Ok(Kept::Marker) => "shown now",
            Err(_) => "shown, and not remembered",
        };
        self.tally.declined_by(event, "notice", source, screen)?;
        Ok(true)
    }

    /// Events that a daemon has declined although their notice was shown, as the marker says: it is told so, and has
    /// them once more.
    pub(super) fn once_more(&mut self, group: &[Ready], screen: &mut Screen) -> Result<(), Failure> {
        let ids = self.tally.declined_by_notice();
        let policy = self.consent.policy();
        let shown = |tool: &str| {
            policy.parts().agreed.noticed.contains(tool) && !policy.tool_with_rows(tool).notice_missing
        };
        let again: Vec<&Ready> = group
            .iter()
            .filter(|event| ids.contains(&event.id) && shown(&event.tool))
            .collect();
        let tools: BTreeSet<&str> = again.iter().map(|event| event.tool.as_str()).collect();
        for tool in tools {
            self.say(&json!({ "op": "consent", "action": "noticed", "tool": tool }));
        }
        for event in again {
            let Link::Up(daemon) = &mut self.link else {
                break;
            };
            let answer = match daemon.send(event.line.as_bytes(), ANSWER) {
                Ok(()) => daemon.receive(ANSWER),
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => self.tally.answered_again(&answer, screen)?,
                Err(_) => self.link = Link::Unknown,
            }
        }
        Ok(())
    }
}

/// What tells one state of a file from another.
fn file_state(path: &PathBuf) -> String {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or_else(
        |_| "absent".to_owned(),
        |found| {
            format!(
                "{} {}.{} {}",
                found.ino(),
                found.mtime(),
                found.mtime_nsec(),
                found.len()
            )
        },
    )
}

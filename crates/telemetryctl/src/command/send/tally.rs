//! What became of the events, and which exit code that is.

use std::collections::BTreeSet;

use serde_json::json;
use telemetry_protocol::consent::Fact;

use super::line::Ready;
use crate::daemon::Line;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::{Screen, is_watched};
use crate::words::{counted, plain};

/// How many bad lines of stdin are told one by one.
const TOLD: u64 = 10;

/// The count.
#[derive(Debug)]
pub(super) struct Tally {
    /// Whether somebody wants to hear.
    audible: bool,
    recorded: u64,
    duplicates: u64,
    unanswered: u64,
    declined: u64,
    /// Not taken for a reason that is the daemon's: full, draining, disk.
    refused: u64,
    /// Not taken for a reason that is the caller's.
    wrong: u64,
    /// In the spool, for the next daemon.
    kept: u64,
    unrecorded: u64,
    timed_out: bool,
    no_daemon: bool,
    /// The last reason of each kind, for a person.
    why: Option<String>,
    declined_why: Option<String>,
    /// Ids of events that were declined by their notice; as many as a group has.
    by_notice: BTreeSet<String>,
}

impl Tally {
    pub(super) fn new(verbose: bool) -> Self {
        Self {
            audible: verbose || is_watched(),
            recorded: 0,
            duplicates: 0,
            unanswered: 0,
            declined: 0,
            refused: 0,
            wrong: 0,
            kept: 0,
            unrecorded: 0,
            timed_out: false,
            no_daemon: false,
            why: None,
            declined_why: None,
            by_notice: BTreeSet::new(),
        }
    }

    /// A line of stdin that is no event: the caller's mistake, always told.
    pub(super) fn bad_line(&mut self, number: u64, why: &str, screen: &Screen) {
        self.wrong += 1;
        if self.wrong <= TOLD {
            screen.talk(&format!("error: line {number}: {}", plain(why)));
        }
    }

    /// Consent said no in this process.
    pub(super) fn declined_here(
        &mut self,
        event: &Ready,
        fact: &Fact,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        self.declined_by(event, fact.layer.as_str(), &fact.source, screen)
    }

    /// Something said no in this process.
    pub(super) fn declined_by(
        &mut self,
        event: &Ready,
        by: &str,
        source: &str,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        self.declined += 1;
        self.declined_why = Some(format!("by {by}: {source}"));
        if screen.json {
            screen.value(&json!({
                "ok": true, "status": "declined", "by": by, "source": source, "id": event.id,
            }))?;
        }
        Ok(())
    }

    /// An event that wants no answer.
    pub(super) fn unanswered(&mut self) {
        self.unanswered += 1;
    }

    /// Events that a daemon has declined by their notice, since this was asked last.
    pub(super) fn declined_by_notice(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.by_notice)
    }

    /// The daemon's answer to an event that it had declined by its notice.
    pub(super) fn answered_again(&mut self, answer: &Line, screen: &mut Screen) -> Result<(), Failure> {
        self.declined = self.declined.saturating_sub(1);
        self.answered(answer, screen)
    }

    /// The daemon's answer.
    pub(super) fn answered(&mut self, answer: &Line, screen: &mut Screen) -> Result<(), Failure> {
        if screen.json {
            screen.line(&answer.text)?;
        }
        match (answer.word("status"), answer.word("error")) {
            ("queued" | "synced" | "sampled_out", _) => self.recorded += 1,
            ("duplicate", _) => self.duplicates += 1,
            ("declined", _) => {
                self.declined += 1;
                if answer.word("by") == "notice" {
                    self.by_notice.insert(answer.word("id").to_owned());
                }
                self.declined_why = Some(format!("by {}: {}", answer.word("by"), answer.word("source")));
            }
            (_, code) => {
                let callers = matches!(code, "invalid_json" | "invalid_event" | "too_large");
                *(if callers {
                    &mut self.wrong
                } else {
                    &mut self.refused
                }) += 1;
                let message = plain(answer.word("message"));
                if callers && self.wrong <= TOLD {
                    screen.talk(&format!("error: {message}"));
                }
                self.why = Some(message);
            }
        }
        Ok(())
    }

    /// Nobody answers at all.
    pub(super) fn no_daemon(&mut self, failure: &Failure) {
        self.no_daemon = true;
        self.why = Some(failure.to_string());
    }

    /// The talk broke off.
    pub(super) fn broken(&mut self, failure: &Failure, timed_out: bool) {
        self.timed_out |= timed_out;
        self.no_daemon |= !timed_out;
        self.why = Some(failure.to_string());
    }

    /// A daemon did not answer a moment ago, and is not asked.
    pub(super) fn wedged(&mut self) {
        self.timed_out = true;
        self.why = Some("telemetryd did not answer a moment ago, and was not asked again".to_owned());
    }

    /// An event that nobody took, and that waits in the spool.
    pub(super) fn kept(&mut self, event: &Ready, screen: &mut Screen) -> Result<(), Failure> {
        self.kept += 1;
        if screen.json {
            screen.value(&json!({ "ok": true, "status": "spooled", "id": event.id }))?;
        }
        Ok(())
    }

    /// Events that nobody took, wherever they are now.
    pub(super) fn untaken(&self) -> u64 {
        self.kept + self.unrecorded
    }

    /// An event that nobody took, and that may not wait.
    pub(super) fn unrecorded(&mut self, event: &Ready, screen: &mut Screen) -> Result<(), Failure> {
        self.unrecorded += 1;
        if screen.json {
            let (error, message) = match self.timed_out {
                true => (
                    "timed_out",
                    "telemetryd did not answer in time; the event may have been recorded",
                ),
                false => ("no_daemon", "no daemon answers; nothing was recorded"),
            };
            screen.value(&json!({ "ok": false, "error": error, "message": message, "id": event.id }))?;
        }
        Ok(())
    }

    /// Tells a person, and decides the exit code: the caller's mistakes always count, the rest with
    /// `--strict` alone.
    pub(super) fn end(self, strict: bool, screen: &Screen) -> Result<Exit, Failure> {
        if (self.audible || strict) && !screen.json {
            self.tell(screen);
        }
        let exit = match () {
            () if self.wrong > 0 => Exit::Failed,
            () if !strict => Exit::Done,
            () if self.refused > 0 => Exit::Failed,
            () if self.timed_out => Exit::TimedOut,
            () if self.no_daemon => Exit::NoDaemon,
            () if self.declined > 0 => Exit::Declined,
            () => Exit::Done,
        };
        match exit {
            Exit::Done => Ok(Exit::Done),
            exit => Err(Failure::said(exit)),
        }
    }

    fn tell(&self, screen: &Screen) {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.recorded, "recorded"),
            (self.unanswered, "sent"),
            (self.duplicates, "recorded before"),
            (self.declined, "declined"),
            (self.refused, "refused"),
            (self.kept, "kept for the next daemon"),
            (self.unrecorded, "not recorded"),
            (self.wrong, "not valid"),
        ] {
            if count > 0 {
                parts.push(format!("{} {what}", counted(count, "event")));
            }
        }
        if !parts.is_empty() {
            screen.talk(&parts.join(", "));
        }
        if let Some(why) = &self.declined_why {
            screen.talk(&format!("  declined {}", plain(why)));
        }
        if let Some(why) = self
            .why
            .as_ref()
            .filter(|_| self.kept + self.unrecorded + self.refused > 0)
        {
            for line in why.lines() {
                screen.talk(&format!(
                    "  {}",
                    line.strip_prefix("error: ").unwrap_or(line.trim_start())
                ));
            }
        }
    }
}

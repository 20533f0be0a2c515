//! What clients say to the daemon, and what they hear.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use telemetryd::clock::Clock as _;
use uuid::Uuid;

use crate::disk;
use crate::endpoint::lock;
use crate::known::Word;
use crate::world::{Machine, TOOLS};

impl Machine {
    /// Says these lines as this user, and waits for the answers; a moment passes where one takes long.
    pub(crate) async fn say(&mut self, uid: u32, lines: &[String]) -> Result<Vec<Value>, String> {
        let Some(life) = &mut self.life else {
            return Ok(Vec::new());
        };
        let said = life.say(uid, lines);
        for round in 0..1000 {
            self.rest().await?;
            if said.is_finished() {
                let answers = said.await.unwrap_or_default();
                // It may have died of this very request.
                if disk::sprung(self.estate.lane) {
                    self.rest().await?;
                }
                return Ok(answers);
            }
            if round < 500 {
                // The queue pauses between two slices of a purge, by a clock that is nobody's here.
                #[expect(clippy::disallowed_methods, reason = "there is nothing else to wait for")]
                std::thread::sleep(Duration::from_micros(300));
            } else {
                let moment = Duration::from_millis(100);
                self.pass(moment, moment).await?;
            }
        }
        Err(format!("no answer to {lines:?}"))
    }

    /// One request of control as root or the user; whether it was answered well.
    pub(crate) async fn ask(&mut self, uid: u32, request: &Value) -> Result<bool, String> {
        let lives = self.lives;
        let answers = self.say(uid, &[request.to_string()]).await?;
        let well = answers.first().is_some_and(|answer| answer["ok"] == true);
        if !well && self.lives == lives {
            self.broke(format!("{request} was answered with {answers:?}"));
        }
        Ok(well)
    }

    /// Whether this user's events of this tool are taken.
    pub(crate) fn is_allowed(&self, uid: u32, tool: usize) -> bool {
        !self.machine_off && !self.denied.contains(&(uid, tool))
    }

    /// New events of a tool.
    pub(crate) async fn write(
        &mut self,
        uid: u32,
        tool: usize,
        count: usize,
        ack: &str,
    ) -> Result<(), String> {
        let (now, boot) = (self.estate.laptop.now(), self.estate.laptop.boot_number());
        let mut ids = Vec::new();
        for _ in 0..count {
            self.written += 1;
            let mut bytes = self.random.u128(..).to_be_bytes();
            bytes[6] = 0x70 | (bytes[6] & 0x0f);
            bytes[8] = 0x80 | (bytes[8] & 0x3f);
            let id = Uuid::from_bytes(bytes);
            lock(&self.known).written(id, self.written, uid, tool, now, boot);
            ids.push(id);
        }
        self.tell(format!(
            "{uid} writes {count} events of {} up to number {}, ack {ack}",
            TOOLS[tool], self.written
        ));
        self.send(&ids, ack).await
    }

    /// Sends these events, for the first time or again.
    pub(crate) async fn send(&mut self, ids: &[Uuid], ack: &str) -> Result<(), String> {
        let Some(first) = ids.first() else { return Ok(()) };
        let (uid, tool) = {
            let known = lock(&self.known);
            let event = &known.events[first];
            (event.uid, event.tool)
        };
        let lines: Vec<String> = ids.iter().map(|id| self.line(id, ack)).collect();
        lock(&self.known).said_again(ids);
        let lives = self.lives;
        let answers = self.say(uid, &lines).await?;
        let allowed = self.is_allowed(uid, tool);
        if ack == "none" {
            if !answers.is_empty() {
                self.broke(format!("nothing was to be answered: {answers:?}"));
            }
            if !allowed && self.lives == lives {
                lock(&self.known).forbid("written while it was off", |event| {
                    event.uid == uid && event.tool == tool && event.word == Word::Nothing
                });
            }
            return Ok(());
        }
        if answers.len() != ids.len() && self.lives == lives {
            self.broke(format!("{} lines had {} answers", ids.len(), answers.len()));
        }
        let mut wrong = Vec::new();
        let mut synced = false;
        {
            let mut known = lock(&self.known);
            for (id, answer) in ids.iter().zip(&answers) {
                let Some(event) = known.events.get_mut(id) else {
                    continue;
                };
                let status = answer["status"].as_str().unwrap_or_default();
                match status {
                    "queued" | "synced" | "duplicate" if allowed => {
                        event.word = Word::Acknowledged;
                        synced |= ack == "synced";
                    }
                    "declined" if !allowed => event.word = Word::Refused,
                    _ if answer["error"] == "shutting_down" => {}
                    _ => wrong.push(format!("event {} was answered with {answer}", event.number)),
                }
            }
        }
        for wrong in wrong {
            self.broke(wrong);
        }
        if synced && self.lives == lives {
            self.note_synced();
        }
        Ok(())
    }

    fn line(&self, id: &Uuid, ack: &str) -> String {
        let known = lock(&self.known);
        let event = &known.events[id];
        json!({
            "tool": TOOLS[event.tool], "event": "ran", "id": id.to_string(), "ack": ack,
            "properties": { "mark": mark(event.number), "pad": "x".repeat(self.settings.pad) },
        })
        .to_string()
    }

    /// Marks of events that are on the disk somewhere in the queue.
    pub(crate) fn marks_on_disk(&self) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        for name in ["queue.db", "queue.db-wal"] {
            let bytes = std::fs::read(self.state().join(name)).unwrap_or_default();
            for at in memchr::memmem::find_iter(&bytes, MARK) {
                let digits = bytes.get(at + MARK.len()..at + MARK.len() + 8);
                let number: Option<u64> =
                    digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                found.extend(number);
            }
        }
        found
    }
}

/// What an event's mark begins with.
const MARK: &str = "zebra-";

fn mark(number: u64) -> String {
    format!("{MARK}{number:08}")
}

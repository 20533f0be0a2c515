//! What happens on a machine: drawn from the seed, one step after the other.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::disk;
use crate::endpoint::{Manner, lock};
use crate::known::Word;
use crate::laws;
use crate::world::{Machine, TOOLS, destination_of};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What the config says.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) max_events: usize,
    pub(crate) max_wait: Duration,
    retry_initial: Duration,
    retry_max: Duration,
    spread: Duration,
    timeout: Duration,
    /// The queue is so small that events are evicted.
    pub(crate) small: bool,
    /// Events expire within the simulation.
    pub(crate) short_lived: bool,
    /// Bytes beside what an event needs.
    pub(crate) pad: usize,
}

fn one_of<T: Copy>(random: &mut fastrand::Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

impl Settings {
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        Self {
            max_events: one_of(random, &[1, 3, 10, 50, 500]),
            max_wait: one_of(random, &[SECOND, MINUTE, MINUTE, 10 * MINUTE]),
            retry_initial: one_of(random, &[SECOND, 5 * SECOND]),
            retry_max: one_of(random, &[MINUTE, 30 * MINUTE]),
            spread: one_of(random, &[Duration::ZERO, 2 * MINUTE]),
            timeout: one_of(random, &[5 * SECOND, 30 * SECOND]),
            small: random.u8(..8) == 0,
            short_lived: random.u8(..8) == 0,
            pad: one_of(random, &[0, 40, 40, 900]),
        }
    }

    /// Another choice of what may change while a daemon runs.
    fn redraw(&mut self, random: &mut fastrand::Rng) {
        let drawn = Self::draw(random);
        *self = Self {
            small: self.small,
            short_lived: self.short_lived,
            ..drawn
        };
    }

    /// The config's file.
    pub(crate) fn text(&self, url: &str) -> String {
        let (max_bytes, per_tool) = match self.small {
            true => ("64KiB", "32KiB"),
            false => ("64MiB", "16MiB"),
        };
        let max_age = if self.short_lived { "1h" } else { "30d" };
        let ms = |wait: Duration| format!("\"{}ms\"", wait.as_millis());
        let mut text = format!(
            "[daemon]\nshutdown_drain = \"10s\"\n[limits]\nmax_event_bytes = \"8KiB\"\n[queue]\nmax_bytes = \"{max_bytes}\"\n\
             max_bytes_per_tool = \"{per_tool}\"\nmax_age = \"{max_age}\"\n"
        );
        for (name, path) in [("default", "a"), ("other", "b")] {
            text += &format!(
                "[destinations.{name}]\nurl = \"{url}/{path}\"\ncompression = \"none\"\nproxy = \"none\"\ntimeout = {}\n\
                 batch = {{ max_events = {}, max_wait = {} }}\nretry = {{ initial = {}, max = {}, spread = {} }}\n",
                ms(self.timeout),
                self.max_events,
                ms(self.max_wait),
                ms(self.retry_initial),
                ms(self.retry_max),
                ms(self.spread),
            );
        }
        text
    }
}

/// Lives through a seed: so many steps, then everything is mended and must come to a good end.
pub(crate) async fn live(machine: &mut Machine) -> Result<(), String> {
    let steps = machine.random.usize(10..30);
    for _ in 0..steps {
        step(machine).await?;
        laws::hold(machine).await?;
        if !lock(&machine.known).broken.is_empty() {
            return Ok(());
        }
    }
    laws::end(machine).await
}

fn manner(random: &mut fastrand::Rng) -> Manner {
    match random.u8(..16) {
        0..=3 => Manner::Good,
        4 => Manner::Status(500, None),
        5 => Manner::Status(429, Some(one_of(random, &[0, 10, 300, 7200]))),
        6 => Manner::Status(503, one_of(random, &[None, Some(60)])),
        7 => Manner::Status(one_of(random, &[400, 403, 404, 408, 410, 501]), None),
        8 => Manner::Poison(one_of(random, &[2, 5, 7, 13])),
        9 => Manner::Small(one_of(random, &[0, 1, 4])),
        10 => Manner::Reset,
        11 => Manner::Shut,
        12 => Manner::Hang,
        13 => Manner::Slow(one_of(random, &[1, 4, 10, 60])),
        14 => Manner::Lost,
        _ => Manner::Portal,
    }
}

fn wait(random: &mut fastrand::Rng) -> (Duration, Duration) {
    let total = one_of(
        random,
        &[
            SECOND,
            10 * SECOND,
            MINUTE,
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            30 * HOUR,
        ],
    );
    let total = total.mul_f64(0.5 + random.f64());
    let least = (total / 40).max(SECOND);
    (
        total,
        least.max(one_of(random, &[SECOND, 7 * SECOND, 10 * MINUTE])),
    )
}

async fn step(machine: &mut Machine) -> Result<(), String> {
    let user = machine.random.usize(..machine.users.len());
    let user = machine.users[user];
    let tool = machine.random.usize(..TOOLS.len());
    // Root, in a machine-wide daemon; else the one user there is.
    let boss = machine.estate.uid;
    match machine.random.u8(..100) {
        0..=29 => {
            let count = one_of(&mut machine.random, &[1, 1, 2, 5, 12, 40]);
            let ack = one_of(
                &mut machine.random,
                &["queued", "queued", "queued", "synced", "none"],
            );
            machine.write(user, tool, count, ack).await
        }
        30..=54 => {
            let (total, piece) = wait(&mut machine.random);
            machine.tell(format!("{total:?} pass, {piece:?} at a time"));
            machine.pass(total, piece).await
        }
        55..=69 => {
            let manner = manner(&mut machine.random);
            let destination = destination_of(tool);
            machine.tell(format!("the endpoint of {destination} is {manner:?}"));
            machine.behave(destination, manner);
            Ok(())
        }
        70..=72 => machine.kill(None).await,
        73..=75 => {
            let point = one_of(&mut machine.random, &["before-commit", "after-commit"]);
            let nth = machine.random.u32(1..6);
            machine.tell(format!("it will die {point}, the {nth}. time"));
            machine.trap(point, nth);
            Ok(())
        }
        76..=77 => {
            let luck = machine.random.u64(..);
            machine.kill(Some(luck)).await
        }
        78..=79 => machine.restart().await,
        80 if boss != 0 => taken_back(machine, user, tool).await,
        80..=82 => consent(machine, user, tool).await,
        83..=84 => {
            let off = !machine.machine_off;
            machine.tell(if off {
                "the machine opts out"
            } else {
                "the machine's opt-out goes"
            });
            machine.set_machine_off(off);
            machine.pass(2 * SECOND, SECOND).await?;
            if off {
                lock(&machine.known).forbid("the machine opted out", |_| true);
                machine.note_synced();
            }
            Ok(())
        }
        85..=86 => {
            let by = one_of(
                &mut machine.random,
                &[-31_536_000_000, -60_000, 60_000, 3_600_000],
            );
            machine.tell(format!("the clock is set by {by} ms"));
            lock(&machine.known).wall_was_set = true;
            machine.estate.laptop.set(by);
            Ok(())
        }
        87..=88 => {
            let (total, _) = wait(&mut machine.random);
            machine.tell(format!("the lid is closed for {total:?}"));
            let ms = u64::try_from(total.as_millis()).unwrap();
            machine.passed_ms += ms;
            machine.estate.laptop.sleep(ms);
            machine.rest().await
        }
        89..=91 => {
            machine.tell(format!("{user} asks for a flush"));
            lock(&machine.known).hurried = [true; 2];
            machine.ask(user, &json!({ "op": "flush" })).await.map(drop)
        }
        92 => {
            machine.tell("sending is paused for an hour");
            let request = json!({ "op": "pause", "for_ms": 3_600_000 });
            machine.ask(boss, &request).await.map(drop)
        }
        93..=94 => {
            machine.tell("sending is resumed");
            machine.ask(boss, &json!({ "op": "resume" })).await.map(drop)
        }
        95..=96 => {
            let mut settings = machine.settings.clone();
            settings.redraw(&mut machine.random);
            machine.settings = settings;
            machine.tell(format!("reloaded with {:?}", machine.settings));
            machine.write_settings();
            machine.ask(boss, &json!({ "op": "reload" })).await.map(drop)
        }
        97 => purge(machine, user, tool).await,
        98 => {
            machine.tell(format!("{user} has what was parked tried again"));
            let request = json!({ "op": "queue", "action": "requeue" });
            lock(&machine.known).requeued(user);
            machine.ask(user, &request).await.map(drop)
        }
        _ => again(machine).await,
    }
}

/// The user denies the tool, or allows it again.
async fn consent(machine: &mut Machine, user: u32, tool: usize) -> Result<(), String> {
    let denies = !machine.denied.contains(&(user, tool));
    let action = if denies { "deny" } else { "allow" };
    machine.tell(format!("{user}: {action} {}", TOOLS[tool]));
    let request = json!({ "op": "consent", "action": action, "tool": TOOLS[tool] });
    // One that was not answered is said again.
    for _ in 0..3 {
        if machine.ask(user, &request).await? {
            break;
        }
    }
    if denies {
        machine.denied.insert((user, tool));
        lock(&machine.known).forbid("its user denied the tool", |event| {
            event.uid == user && event.tool == tool
        });
    } else {
        machine.denied.remove(&(user, tool));
    }
    machine.note_synced();
    Ok(())
}

/// The user denies the tool, the daemon dies while it erases, and before the next one starts the user takes the word
/// back: what was written before stays withdrawn, and only the epochs that were kept tell so.
async fn taken_back(machine: &mut Machine, user: u32, tool: usize) -> Result<(), String> {
    if machine.denied.contains(&(user, tool)) {
        return consent(machine, user, tool).await;
    }
    machine.tell(format!(
        "{user}: deny {}, and no more after it dies of that",
        TOOLS[tool]
    ));
    let before = std::fs::read_to_string(machine.word_file()).unwrap_or_default();
    machine.word_meanwhile = Some(before);
    machine.trap("before-commit", 1);
    let request = json!({ "op": "consent", "action": "deny", "tool": TOOLS[tool] });
    let answered = machine.ask(user, &request).await?;
    if machine.word_meanwhile.take().is_some() {
        // There was nothing to erase, and it lives.
        disk::clear(machine.estate.lane);
        machine.denied.insert((user, tool));
    }
    if answered || !machine.denied.contains(&(user, tool)) {
        lock(&machine.known).forbid("its user denied the tool, and took it back", |event| {
            event.uid == user && event.tool == tool
        });
    }
    machine.note_synced();
    Ok(())
}

/// The user erases what is queued of the tool.
async fn purge(machine: &mut Machine, user: u32, tool: usize) -> Result<(), String> {
    machine.tell(format!("{user} purges {}", TOOLS[tool]));
    let request = json!({ "op": "queue", "action": "purge", "tool": TOOLS[tool] });
    for _ in 0..3 {
        if machine.ask(user, &request).await? {
            break;
        }
    }
    lock(&machine.known).forbid("its user purged it", |event| {
        event.uid == user && event.tool == tool && !event.taken
    });
    machine.note_synced();
    Ok(())
}

/// A client that was not answered says it again.
async fn again(machine: &mut Machine) -> Result<(), String> {
    let ids: Vec<Uuid> = {
        let known = lock(&machine.known);
        let unanswered = known
            .events
            .iter()
            .filter(|(_, event)| event.word == Word::Nothing && event.forbidden.is_none());
        let mut ids: Vec<(u64, Uuid)> = unanswered.map(|(id, event)| (event.number, *id)).collect();
        ids.sort_unstable();
        let lane = |id: &Uuid| (known.events[id].uid, known.events[id].tool);
        let first = ids.first().map(|(_, id)| lane(id));
        ids.into_iter()
            .map(|(_, id)| id)
            .filter(|id| Some(lane(id)) == first)
            .collect()
    };
    machine.tell(format!("a client says {} events again", ids.len()));
    machine.send(&ids, "queued").await
}

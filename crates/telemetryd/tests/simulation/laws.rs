//! The laws that are looked at when everything is at rest: the books (I5), and at the end that nothing is missing (I1,
//! I2), nothing is left of what was withdrawn (I3), and nothing goes on (I11).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use telemetry_queue::Book;

use crate::disk;
use crate::endpoint::{Manner, lock};
use crate::known::Word;
use crate::world::{Machine, TOOLS};

/// Looks at something that may be about to change.
const LOOKS: u32 = 50;

/// The sums of one user's tool.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    accepted: u64,
    delivered: u64,
    parked: u64,
    queued: u64,
    evicted: u64,
    expired: u64,
    purged: u64,
    lost: u64,
}

fn sums(books: &[Book]) -> BTreeMap<(u32, usize), Sums> {
    let mut all: BTreeMap<(u32, usize), Sums> = BTreeMap::new();
    for book in books {
        let Some(tool) = TOOLS.iter().position(|tool| **tool == *book.lane.tool) else {
            continue;
        };
        let sums = all.entry((book.lane.uid, tool)).or_default();
        sums.accepted += book.accepted;
        sums.delivered += book.delivered;
        sums.parked += book.parked;
        sums.queued += book.queued;
        sums.evicted += book.evicted;
        sums.expired += book.expired;
        sums.purged += book.purged;
        sums.lost += book.lost;
    }
    all
}

/// After each step. Where it dies meanwhile, of what it does when it has nothing else to do, the next one is looked at.
pub(crate) async fn hold(machine: &mut Machine) -> Result<(), String> {
    match look(machine).await {
        Err(_) if disk::sprung(machine.estate.lane) => look(machine).await,
        looked => looked,
    }
}

async fn look(machine: &mut Machine) -> Result<(), String> {
    machine.rest().await?;
    let (mut books, parked) = machine.books().await?;
    {
        let mut known = lock(&machine.known);
        for event in known.events.values_mut() {
            event.parked = false;
        }
        for id in &parked {
            match known.events.get_mut(id) {
                Some(event) => event.parked = true,
                None => known.broke(format!("{id} is parked, and was written by nobody")),
            }
        }
        // Whoever hurried has what was wanted.
        for destination in 0..2 {
            let name = crate::world::DESTINATIONS[destination];
            let of_it = books.iter().filter(|book| &*book.lane.destination == name);
            if of_it.map(|book| book.queued).sum::<u64>() == 0 {
                known.hurried[destination] = false;
            }
        }
    }
    let life = machine.life.as_ref().ok_or("there is no daemon")?;
    let checked = life.queue.checked().await.map_err(|error| format!("{error:?}"))?;
    let sum = |books: &[Book]| books.iter().map(|book| book.queued).sum::<u64>();
    let mut view = life.queue.view().borrow().events;
    // A purge goes a slice at a time, and what was asked in between is of another moment.
    for _ in 0..LOOKS {
        if view == sum(&books) {
            break;
        }
        machine.rest().await?;
        books = machine.books().await?.0;
        view = waiting(machine);
    }
    if !checked.differences.is_empty() || checked.integrity.is_some() {
        machine.broke(format!("the queue's own check found {checked:?}"));
    }
    for book in books.iter().filter(|book| !book.balanced()) {
        machine.broke(format!("the books do not balance: {book:?}"));
    }
    let queued = sum(&books);
    if queued != view {
        machine.broke(format!(
            "the books say that {queued} are queued, the view says {view}"
        ));
    }
    for ((uid, tool), sums) in sums(&books) {
        one_tool(machine, uid, tool, sums);
    }
    Ok(())
}

/// What the books say of one user's tool, beside what is known from outside.
fn one_tool(machine: &Machine, uid: u32, tool: usize, sums: Sums) {
    let (mut acknowledged, mut perhaps, mut taken) = (0, 0, 0);
    {
        let known = lock(&machine.known);
        for event in known.events.values() {
            if (event.uid, event.tool) == (uid, tool) {
                acknowledged += u64::from(event.word == Word::Acknowledged);
                perhaps += match event.word {
                    Word::Nothing => event.times,
                    _ => event.times - 1,
                };
                taken += u64::from(event.taken);
            }
        }
    }
    let broken = [
        (
            sums.accepted < acknowledged,
            "less is booked than was acknowledged",
        ),
        (
            sums.accepted > acknowledged + perhaps,
            "more is booked than was written",
        ),
        (sums.delivered > taken, "more is booked as delivered than arrived"),
        (sums.lost > 0, "something is booked as lost"),
        (
            sums.evicted > 0 && !machine.settings.small,
            "something was evicted though there is room",
        ),
        (
            sums.expired > 0 && !machine.settings.short_lived && !lock(&machine.known).wall_was_set,
            "something expired before its time",
        ),
    ];
    for (_, what) in broken.into_iter().filter(|(broken, _)| *broken) {
        machine.broke(format!(
            "{what}: {} of {uid}: {acknowledged} acknowledged, {perhaps} perhaps, {taken} arrived; {sums:?}",
            TOOLS[tool]
        ));
    }
}

/// Everything is mended; then all must come to its end.
pub(crate) async fn end(machine: &mut Machine) -> Result<(), String> {
    machine.tell("the end: everything is mended");
    disk::clear(machine.estate.lane);
    for destination in 0..2 {
        machine.behave(destination, Manner::Good);
    }
    let boss = machine.estate.uid;
    machine.ask(boss, &json!({ "op": "resume" })).await?;
    // Longer than a wait, a hold, and a Retry-After. After a boot only the wall clock tells of that: where it was set
    // meanwhile, a day.
    let wall_alone_tells = lock(&machine.known).wall_was_set && machine.estate.laptop.boot_number() > 1;
    let pieces = if wall_alone_tells { 160 } else { 60 };
    let piece = Duration::from_secs(10 * 60);
    for _ in 0..pieces {
        machine.pass(piece, piece).await?;
        if waiting(machine) == 0 {
            break;
        }
    }
    hold(machine).await?;
    if waiting(machine) > 0 {
        machine.broke(format!("{} events were never sent", waiting(machine)));
    }
    everything_is_somewhere(machine).await?;
    nothing_is_left(machine).await?;
    let before = machine.endpoint.stir(|seen| seen.requests);
    let day = Duration::from_secs(24 * 60 * 60);
    machine.pass(day, day / 4).await?;
    let (after, open) = machine.endpoint.stir(|seen| (seen.requests, seen.open));
    if before != after || open > 0 {
        machine.broke(format!(
            "an idle day had {} requests, and {open} connections are open",
            after - before
        ));
    }
    Ok(())
}

fn waiting(machine: &Machine) -> u64 {
    let life = machine.life.as_ref();
    life.map_or(0, |life| life.queue.view().borrow().events)
}

/// Each event that was acknowledged arrived, or is booked elsewhere.
async fn everything_is_somewhere(machine: &mut Machine) -> Result<(), String> {
    let (books, _) = machine.books().await?;
    let sums = sums(&books);
    let (small, short_lived) = (machine.settings.small, machine.settings.short_lived);
    let mut missing: BTreeMap<(u32, usize), Vec<u64>> = BTreeMap::new();
    for event in lock(&machine.known).events.values() {
        if event.word == Word::Acknowledged && !event.taken && !event.parked && event.forbidden.is_none() {
            let lane = missing.entry((event.uid, event.tool)).or_default();
            lane.push(event.number);
        }
    }
    for (lane, mut numbers) in missing {
        numbers.sort_unstable();
        let sums = sums.get(&lane).copied().unwrap_or_default();
        let gone = sums.evicted + sums.expired;
        let may_go = small || short_lived || lock(&machine.known).wall_was_set;
        if !may_go || numbers.len() as u64 > gone {
            machine.broke(format!(
                "{} acknowledged events of {} are missing: {numbers:?}; {sums:?}",
                numbers.len(),
                TOOLS[lane.1]
            ));
        }
    }
    Ok(())
}

/// Nothing of what was withdrawn or declined is on the disk.
async fn nothing_is_left(machine: &mut Machine) -> Result<(), String> {
    machine.rest().await?;
    let marks = machine.marks_on_disk();
    let mut left: Vec<u64> = {
        let known = lock(&machine.known);
        let no = known.events.values().filter(|event| {
            event.word == Word::Refused || event.forbidden.is_some_and(|why| why != "its user purged it")
        });
        no.map(|event| event.number)
            .filter(|number| marks.contains(number))
            .collect()
    };
    left.sort_unstable();
    if !left.is_empty() {
        machine.broke(format!(
            "events that were declined or withdrawn are on the disk: {left:?}"
        ));
    }
    Ok(())
}

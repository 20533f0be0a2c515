//! A process that is killed with -9, at the named points and at random moments, again and again on the
//! same file. I1, I5, I8: what it was told is compared with what is there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use telemetry_queue::{Id, RowState};

use crate::support::{Bench, Random, after, assert_balanced, hex, options, scratch};

mod child;

/// Rounds of each of the two tests; `TELEMETRYD_KILL_ROUNDS` raises it.
fn rounds(of: u32) -> u32 {
    std::env::var("TELEMETRYD_KILL_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(of)
}

/// What the world outside of the killed process knows.
#[derive(Default)]
struct Known {
    /// Events whose append was begun.
    tried: BTreeSet<Id>,
    /// Events whose append was acknowledged.
    acknowledged: BTreeSet<Id>,
    /// What the endpoint received: by event, the batch it came in.
    received: BTreeMap<Id, Id>,
    /// Every batch ever seen, with its members.
    batches: BTreeMap<Id, Vec<Id>>,
    /// Batches whose settling as delivered was begun, and acknowledged.
    settling: BTreeSet<Id>,
    settled: BTreeSet<Id>,
    lines: u64,
    /// Events of one tool that is purged again and again: those begun, and those that a purge has answered for.
    fleeting: BTreeSet<Id>,
    purged: BTreeSet<Id>,
    /// How many processes were killed.
    kills: u32,
}

impl Known {
    /// One line of what the child says; see `child::say`.
    fn hear(&mut self, line: &str) {
        let Some(line) = line.strip_prefix('@') else {
            return;
        };
        self.lines += 1;
        let mut words = line.split(' ');
        let verb = words.next().unwrap();
        let ids: Vec<Id> = words.map(unhex).collect();
        match verb {
            "try" => self.tried.extend(ids),
            "ack" => self.acknowledged.extend(ids),
            "fleeting" => self.fleeting.extend(ids),
            "purged" => self.purged.append(&mut self.fleeting),
            "claim" => self.batch(ids[0], &ids[1..]),
            "received" => {
                // The endpoint: an event that comes again comes in the batch that it came in before.
                let batch = ids[0];
                self.batch(batch, &ids[1..]);
                assert!(
                    !self.settled.contains(&batch),
                    "a settled batch was sent again: {}",
                    hex(&batch)
                );
                for event in &ids[1..] {
                    let first = *self.received.entry(*event).or_insert(batch);
                    assert_eq!(
                        hex(&first),
                        hex(&batch),
                        "event {} came in two batches",
                        hex(event)
                    );
                }
                self.settling.insert(batch);
            }
            "settled" => {
                self.settled.insert(ids[0]);
            }
            _ => panic!("the child said {line:?}"),
        }
    }

    fn batch(&mut self, batch: Id, members: &[Id]) {
        let first = self.batches.entry(batch).or_insert_with(|| members.to_vec());
        assert_eq!(first, members, "batch {} has changed its members", hex(&batch));
    }

    /// Opens the file that the child left and compares.
    fn compare(&mut self, directory: &Path, round: u32) {
        let bench = Bench::open(&options(directory), after(u64::from(round))).unwrap();
        assert_eq!(bench.report.set_aside, None, "a kill is no corruption");
        assert_eq!(bench.report.unbalanced, []);
        assert_balanced(&bench);
        let rows = bench.rows();
        let waiting: BTreeMap<Id, Option<Id>> = rows.iter().map(|row| (row.id, row.batch)).collect();
        assert_eq!(waiting.len(), rows.len(), "an event is there twice");
        let gone: BTreeSet<Id> = self
            .settled
            .iter()
            .flat_map(|batch| self.batches[batch].clone())
            .collect();
        // A batch whose settling was not answered is either settled or as it was.
        for batch in self.settling.difference(&self.settled) {
            let members = &self.batches[batch];
            let there = members
                .iter()
                .filter(|member| waiting.get(*member) == Some(&Some(*batch)))
                .count();
            assert!(
                there == 0 || there == members.len(),
                "batch {} is there in part",
                hex(batch)
            );
        }
        let half_settled: Vec<Id> = self
            .settling
            .difference(&self.settled)
            .filter(|batch| !waiting.contains_key(&self.batches[*batch][0]))
            .copied()
            .collect();
        self.settled.extend(half_settled);
        for event in &self.acknowledged {
            let done = gone.contains(event)
                || self
                    .received
                    .get(event)
                    .is_some_and(|batch| self.settled.contains(batch));
            assert!(
                done || waiting.contains_key(event),
                "round {round}: {} was acknowledged and is lost",
                hex(event)
            );
        }
        for row in &rows {
            assert!(
                !self.purged.contains(&row.id),
                "round {round}: {} was purged and is back",
                hex(&row.id)
            );
            if self.fleeting.contains(&row.id) {
                continue;
            }
            assert!(
                self.tried.contains(&row.id),
                "round {round}: {} was never appended",
                hex(&row.id)
            );
            assert!(
                !gone.contains(&row.id),
                "round {round}: {} is settled and back",
                hex(&row.id)
            );
            if let (Some(batch), RowState::Claimed) = (row.batch, row.state)
                && let Some(members) = self.batches.get(&batch)
            {
                assert!(
                    members.contains(&row.id),
                    "round {round}: {} has joined a batch",
                    hex(&row.id)
                );
            }
        }
        bench.close();
    }
}

fn unhex(word: &str) -> Id {
    let mut id = [0; 16];
    for (index, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&word[2 * index..2 * index + 2], 16).unwrap();
    }
    id
}

/// Runs the child on `directory`; kills it after `lines` lines unless it kills itself before.
fn run(known: &mut Known, directory: &Path, round: u32, point: Option<(&str, u32)>, lines: u64) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "kill::child::is_killed",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("TELEMETRYD_KILL_CHILD", directory)
        .env("TELEMETRYD_KILL_ROUND", round.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .stdout(Stdio::piped());
    if let Some((name, times)) = point {
        command
            .env("TELEMETRYD_KILL_POINT", name)
            .env("TELEMETRYD_KILL_TIMES", times.to_string());
    }
    let mut child = command.spawn().unwrap();
    let mut heard = BufReader::new(child.stdout.take().unwrap());
    // A line that was cut off by the kill was not said: what it was about had not begun.
    let mut next = || {
        let mut line = String::new();
        heard.read_line(&mut line).unwrap();
        line.strip_suffix('\n').map(str::to_owned)
    };
    let until = known.lines + lines;
    while known.lines < until
        && let Some(line) = next()
    {
        known.hear(&line);
    }
    // Nothing is done to a process that has ended already.
    let _ = child.kill();
    while let Some(line) = next() {
        known.hear(&line);
    }
    let status = child.wait().unwrap();
    known.kills += u32::from(status.code().is_none());
    assert!(
        status.code().is_none_or(|code| code == 0),
        "round {round}: the child failed with {status}"
    );
}

/// A process that opens a queue, says what came of it and closes it; killed at the `times`-th time that it
/// comes to a point. Returns whether it was.
pub(crate) fn opens_and_is_killed(directory: &Path, point: &str, times: u32) -> bool {
    let (said, status) = opens(&mut this_program(), directory, Some((point, times)));
    assert!(status.success() || status.code().is_none(), "{status} {said}");
    status.code().is_none()
}

/// What another process is told that opens the queue: `open`, or the kind of the error.
pub(crate) fn tries_to_open(directory: &Path) -> String {
    opens(&mut this_program(), directory, None).0
}

/// The same where the file system is mounted read-only; `None` where that cannot be done.
pub(crate) fn tries_to_open_read_only(directory: &Path) -> Option<String> {
    let mut command = crate::faults::unshare()?;
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    command
        .args(["sh", "-c", script, "sh"])
        .arg(directory)
        .arg(std::env::current_exe().unwrap());
    Some(opens(&mut command, directory, None).0)
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn opens(
    command: &mut Command,
    directory: &Path,
    point: Option<(&str, u32)>,
) -> (String, std::process::ExitStatus) {
    command
        .args(["kill::child::opens", "--exact", "--nocapture", "--test-threads=1"])
        .env("TELEMETRYD_OPEN_CHILD", directory)
        .stdin(Stdio::null());
    if let Some((name, times)) = point {
        command
            .env("TELEMETRYD_KILL_POINT", name)
            .env("TELEMETRYD_KILL_TIMES", times.to_string());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said
        .lines()
        .find_map(|line| line.strip_prefix("@"))
        .map(str::to_owned);
    (
        said.unwrap_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned()),
        output.status,
    )
}

#[test]
fn nothing_acknowledged_is_lost_when_killed_at_random_moments() {
    let directory = scratch();
    let mut known = Known::default();
    let mut random = Random::new(0xdead_beef);
    for round in 0..rounds(150) {
        run(&mut known, directory.path(), round, None, random.below(60));
        // Every third time the next process is the one that finds what this one left.
        if round % 3 != 0 {
            known.compare(directory.path(), round);
        }
    }
    assert!(known.acknowledged.len() > 100, "the child got nowhere");
    assert!(!known.settled.is_empty(), "the child settled nothing");
}

#[test]
fn nothing_acknowledged_is_lost_when_killed_at_the_named_points() {
    let directory = scratch();
    let mut known = Known::default();
    let mut random = Random::new(0xfeed);
    let points = ["before-commit", "after-commit", "received"];
    let rounds = rounds(90);
    for round in 0..rounds {
        let point = points[round as usize % points.len()];
        run(
            &mut known,
            directory.path(),
            round,
            Some((point, 1 + random.below(12) as u32)),
            u64::MAX / 2,
        );
        if random.below(4) != 0 {
            known.compare(directory.path(), round);
        }
    }
    assert!(known.acknowledged.len() > 100, "the child got nowhere");
    assert!(
        known.kills > rounds * 3 / 4,
        "{} kills in {rounds} rounds",
        known.kills
    );
    assert!(!known.settled.is_empty(), "the child settled nothing");
}

#[test]
fn a_kill_while_the_schema_is_made_leaves_a_file_that_opens() {
    for times in 1..=4 {
        let directory = scratch();
        let mut known = Known::default();
        run(
            &mut known,
            directory.path(),
            0,
            Some(("migrate", times)),
            u64::MAX / 2,
        );
        known.compare(directory.path(), 0);
        run(&mut known, directory.path(), 1, None, 20);
        known.compare(directory.path(), 1);
    }
}

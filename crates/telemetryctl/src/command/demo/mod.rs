//! `demo`: the whole way of an event in one command. Three tools record events at once, the endpoint goes
//! away and comes back, the daemon is killed in between, and at the end the books are compared with what
//! arrived. Everything lives in a temporary directory and on loopback, and goes with this process.

mod events;
mod stage;
mod tool;
mod verdict;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use telemetry_sink::Step;

use self::events::TOOLS;
use self::stage::Stage;
use self::tool::{Outcome, Running};
use crate::Context;
use crate::clock;
use crate::daemon::PATIENCE;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;
use crate::screen::{GREEN, RED, Screen, styled};
use crate::words::{bytes, plain};

/// Show the whole way of an event, with an outage and a crash
#[derive(Debug, Args)]
#[command(after_help = "\
Runs in a temporary directory with a daemon and an endpoint of its own, on loopback, in a few seconds. It reads \
and changes nothing of yours and leaves nothing behind. An opt-out of this machine or user is respected.")]
pub(crate) struct Demo {
    /// Events that each tool records in each round
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=2_000))]
    events: u32,
}

/// How long anything in the demo may take before it is called lost.
const LONG: Duration = Duration::from_secs(15);

impl Demo {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        if let Some(fact) = policy::local(context).denies_everything() {
            let why = format!("{} ({}, layer {})", fact.source, fact.detail, fact.layer);
            return respect(&why, screen);
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // Without it Ctrl-C would end this program before it has cleaned up; nothing worse.
            let _ = signal_hook::flag::register(signal, Arc::clone(&interrupted));
        }
        let stage = Stage::set(Arc::clone(&interrupted))?;
        if let Some(why) = stage.tool_that_is_off() {
            return respect(&why, screen);
        }
        let told = Story {
            stage,
            screen,
            events: self.events,
            acknowledged: BTreeSet::new(),
            round: 0,
        }
        .tell();
        match told {
            Err(_) if interrupted.load(Ordering::Relaxed) => {
                screen.talk("interrupted; the daemon is stopped and the directory removed");
                Err(Failure::said(Exit::Failed))
            }
            other => other,
        }
    }
}

/// Somebody has opted out: that holds here too.
fn respect(why: &str, screen: &mut Screen) -> Result<Exit, Failure> {
    if screen.json {
        screen.value(&json!({ "ok": true, "skipped": "opt-out", "source": why }))?;
        return Ok(Exit::Done);
    }
    screen.line("Telemetry is off here, and the demo respects that as everything else does:")?;
    screen.line(&format!("  {}", plain(why)))?;
    screen.line("With it in place no event is recorded, so there is nothing to show.")?;
    screen.line("")?;
    screen.line("The demo sends to itself alone: an endpoint of its own, on loopback, in a temporary")?;
    screen.line("directory. If you want to see it, take that away for a moment and run it again,")?;
    screen.line("for example: env -u DO_NOT_TRACK telemetryctl demo")?;
    Ok(Exit::Done)
}

/// The steps, and what is remembered between them.
struct Story<'a> {
    stage: Stage,
    screen: &'a mut Screen,
    events: u32,
    /// Ids that a tool was told to be safe.
    acknowledged: BTreeSet<String>,
    round: u32,
}

impl Story<'_> {
    fn tell(mut self) -> Result<Exit, Failure> {
        let began = clock::after(Duration::ZERO);
        self.say("Three tools, one daemon, an endpoint that goes away, and a crash in between.")?;
        self.say(&format!(
            "All of it happens in {} and on loopback; nothing of yours is",
            self.stage.home().display()
        ))?;
        self.say("read, sent or kept.")?;
        self.the_daemon_starts()?;
        self.three_tools_at_once()?;
        self.the_endpoint_goes_away()?;
        self.the_daemon_is_killed()?;
        self.the_endpoint_comes_back()?;
        let sum = self.the_books()?;
        self.the_opt_out()?;
        self.stage.strike()?;
        let seconds = clock::since(began).as_secs_f32();
        if self.screen.json {
            self.screen.value(&sum.json(seconds))?;
        } else if sum.holds() {
            self.say("")?;
            self.say("The daemon has stopped, and the directory is gone.")?;
            let verdict = styled(GREEN, "Nothing was lost.");
            self.say(&format!("{verdict} It took {seconds:.1} s."))?;
        }
        if sum.holds() {
            return Ok(Exit::Done);
        }
        let verdict = styled(RED, "Something was lost, or came twice.");
        self.say(&format!("{verdict} Please report this."))?;
        Err(Failure::said(Exit::Failed))
    }

    /// A line for a person, seen at once.
    fn say(&mut self, text: &str) -> Result<(), Failure> {
        if !self.screen.json {
            self.screen.line(text)?;
            self.screen.flush()?;
        }
        Ok(())
    }

    fn step(&mut self, number: u32, text: &str) -> Result<(), Failure> {
        self.say("")?;
        if !self.screen.json {
            self.screen.heading(&format!("{number}. {text}"))?;
            self.screen.flush()?;
        }
        Ok(())
    }

    fn the_daemon_starts(&mut self) -> Result<(), Failure> {
        let pid = self.stage.start()?;
        self.step(1, "A daemon and an endpoint")?;
        self.say(&format!(
            "   telemetryd runs as pid {pid} and listens on a Unix socket."
        ))?;
        let address = self.stage.address();
        self.say(&format!(
            "   Its destination is http://{address}/v1/events, played by this program."
        ))
    }

    fn three_tools_at_once(&mut self) -> Result<(), Failure> {
        self.step(
            2,
            "Kedro, dlt and Evidently record events, three processes at once",
        )?;
        self.say("   The events are those that the real packages were seen to send.")?;
        let outcomes = self.round(None, |_| Ok(()))?;
        self.show(&outcomes)?;
        let expected = self.acknowledged.len() as u64;
        self.stage.flush()?;
        let arrived = self.stage.wait_until_arrived(expected)?;
        self.say(&format!(
            "   \"acknowledged\" means committed to disk. {arrived} have arrived, in {} requests.",
            self.stage.counts().batches
        ))
    }

    fn the_endpoint_goes_away(&mut self) -> Result<(), Failure> {
        self.step(3, "The endpoint goes away, in the middle of an answer")?;
        self.say("   It stores one more batch and dies before it can say so: to the daemon that looks like a failure.")?;
        // What came and was not answered comes again: told apart by its batch's id.
        self.stage
            .play(vec![Step::close().store(true).times(1), Step::status(503)]);
        let before = self.stage.counts().batches;
        let outcomes = self.round(None, |_| Ok(()))?;
        self.stage.wait_for("the endpoint to take a batch", |stage| {
            (stage.counts().batches > before).then_some(())
        })?;
        self.stage.take_endpoint_away();
        self.stage.flush()?;
        let why = self.stage.wait_for("the daemon to notice", Stage::unreachable)?;
        self.show(&outcomes)?;
        let (queued, size) = self.stage.queued()?;
        self.say("   The tools notice nothing: an event is safe once it is in the queue.")?;
        self.say(&format!(
            "   {queued} wait ({}). The destination is in backoff:",
            bytes(size)
        ))?;
        self.say(&format!("   {}", plain(&why)))
    }

    fn the_daemon_is_killed(&mut self) -> Result<(), Failure> {
        self.step(4, "kill -9 to the daemon, while the tools are recording")?;
        let half = self.events as usize / 2;
        let mut pids = (0, 0);
        let outcomes = self.round(Some(half), |(stage, tools)| {
            stage.wait_for("the tools to be on their way", |_| {
                tools.iter().all(|tool| tool.acknowledged() >= half).then_some(())
            })?;
            tools.iter_mut().for_each(Running::go_on);
            let more = half * tools.len() + half / 2;
            stage.wait_for("the tools to go on", |_| {
                let acknowledged: usize = tools.iter().map(Running::acknowledged).sum();
                (acknowledged >= more).then_some(())
            })?;
            pids.0 = stage.kill()?;
            pids.1 = stage.start()?;
            Ok(())
        })?;
        self.say(&format!(
            "   Killed: pid {}. Started again: pid {}.",
            pids.0, pids.1
        ))?;
        self.show(&outcomes)?;
        let sum = |number: fn(&Outcome) -> usize| outcomes.iter().map(|(_, one)| number(one)).sum::<usize>();
        let (again, lost) = (sum(|one| one.again), sum(Outcome::unacknowledged));
        self.say("   The tools sent again, to the new daemon, what the old one had not acknowledged.")?;
        if again > 0 {
            self.say(&format!(
                "   {again} of it had been stored before the crash: known by their ids, kept once."
            ))?;
        }
        if lost > 0 {
            self.say(&format!(
                "   {lost} found no daemon in time and were never acknowledged: their tools know."
            ))?;
        }
        let (queued, size) = self.stage.queued()?;
        self.say(&format!(
            "   The new daemon has found its queue: {queued} wait ({}).",
            bytes(size)
        ))
    }

    fn the_endpoint_comes_back(&mut self) -> Result<(), Failure> {
        self.step(5, "The endpoint is back, and the queue is flushed")?;
        self.stage.give_endpoint_back()?;
        let began = clock::after(Duration::ZERO);
        let (settled, left) = self.stage.flush_and_wait(LONG)?;
        let seconds = clock::since(began).as_secs_f32();
        self.say(&format!("   {settled} delivered in {seconds:.1} s, {left} left."))
    }

    fn the_books(&mut self) -> Result<verdict::Sum, Failure> {
        self.step(6, "The books, and what arrived")?;
        let status = self.stage.status()?;
        let sum = verdict::compare(&status, &self.stage, &self.acknowledged);
        if !self.screen.json {
            verdict::show(&status, &sum, self.screen)?;
            self.screen.flush()?;
        }
        Ok(sum)
    }

    fn the_opt_out(&mut self) -> Result<(), Failure> {
        self.step(7, "The admin opts this machine out: one file")?;
        self.stage.ask(&json!({ "op": "pause" }), PATIENCE)?;
        let mut last = Outcome::default();
        for tool in TOOLS {
            let event = events::lines(tool, 1, self.round);
            last = tool::start(&self.stage, tool, event, None)?.finish()?;
        }
        let before = self.stage.booked("purged")?;
        let file = self.stage.opt_out()?;
        self.say(&format!("   $ touch {}", file.display()))?;
        let purged = self.stage.wait_for("the daemon to obey", |stage| {
            let purged = stage.booked("purged").ok()?.saturating_sub(before);
            (purged > 0 && stage.queued().ok()?.0 == 0).then_some(purged)
        })?;
        self.say(&format!(
            "   {purged} events that still waited are erased; no request is made any more."
        ))?;
        let event = events::lines("kedro", 1, self.round);
        let declined = tool::start(&self.stage, "kedro", event, None)?.finish()?;
        let place = |answer: Option<&Value>| {
            let word = |key: &str| answer.and_then(|a| a[key].as_str()).unwrap_or("?").to_owned();
            format!("{}, by {}: {}", word("status"), word("by"), word("source"))
        };
        self.say(&format!(
            "   kedro records one more: {}",
            place(declined.last.as_ref())
        ))?;
        self.say("   (it has seen the file itself, and opened no socket)")?;
        let asked = json!({ "tool": "kedro", "event": "CLI command" });
        let answer = self.stage.ask(&asked, PATIENCE)?;
        self.say(&format!(
            "   A program that asks the daemon all the same: {}",
            place(Some(&answer))
        ))?;
        let silent = self.stage.booked("queued")? == 0 && last.acknowledged() == 1;
        let obeyed = answer["status"] == "declined" && declined.acknowledged() == 0;
        if silent && obeyed {
            return Ok(());
        }
        Err(Failure::failed("the opt-out was not obeyed").hint("please report this"))
    }

    /// Three tools at once, each with a stop after so many events; `meanwhile` runs while they do.
    fn round(
        &mut self,
        stop: Option<usize>,
        meanwhile: impl FnOnce((&mut Stage, &mut [Running])) -> Result<(), Failure>,
    ) -> Result<Vec<(&'static str, Outcome)>, Failure> {
        self.round += 1;
        let mut running = Vec::new();
        for tool in TOOLS {
            let lines = events::lines(tool, self.events, self.round);
            running.push(tool::start(&self.stage, tool, lines, stop)?);
        }
        meanwhile((&mut self.stage, &mut running))?;
        let mut outcomes = Vec::new();
        for (tool, running) in TOOLS.into_iter().zip(running) {
            let outcome = running.finish()?;
            self.acknowledged.extend(outcome.ids.iter().cloned());
            outcomes.push((tool, outcome));
        }
        Ok(outcomes)
    }

    fn show(&mut self, outcomes: &[(&str, Outcome)]) -> Result<(), Failure> {
        for (tool, outcome) in outcomes {
            let line = format!(
                "   {tool:<10} {:>6} recorded {:>6} acknowledged",
                outcome.sent,
                outcome.acknowledged()
            );
            self.say(&line)?;
        }
        Ok(())
    }
}

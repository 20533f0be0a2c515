//! `send`: records events the way a library would: consent in this process first, then a line to the
//! daemon. It never fails a script for what is not the script's doing, and never holds it for long.

mod beside;
mod input;
mod left;
mod line;
mod tally;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use telemetry_client::connect::Refusal;
use telemetry_client::context::Named;
use telemetry_client::{DEADLINE, Gathered, Notice, Question, RealFiles, TalkError, Unheard};
use telemetry_protocol::consent::{Fact, Layer, Verdict};
use telemetry_protocol::event::Ack;

use crate::Context;
use crate::clock;
use crate::daemon::{Daemon, no_daemon};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

use input::Input;
use line::{Ready, Template};
use tally::Tally;

/// Record an event, as a tool's library would
#[derive(Debug, Args)]
#[command(after_long_help = LINES)]
pub(crate) struct Send {
    /// Who speaks, e.g. kedro
    #[arg(required_unless_present = "stdin")]
    tool: Option<String>,
    /// What happened, e.g. "CLI command"
    #[arg(required_unless_present = "stdin")]
    event: Option<String>,
    /// A property; a JSON number or boolean is one, anything else is a string
    #[arg(short = 'p', long = "property", value_name = "KEY=VALUE", value_parser = line::property)]
    pairs: Vec<(String, String)>,
    /// All properties as a JSON object; -p goes over it
    #[arg(long = "properties", value_name = "OBJ", value_parser = line::object)]
    object: Option<line::Members>,
    /// Read events from stdin, one JSON object a line (see --help)
    #[arg(long)]
    stdin: bool,
    /// The project that the tool works in; default: the working directory. Its files may say no
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    /// When the daemon answers: never, when the event survives its crash, when it survives a power cut
    #[arg(long, value_name = "WHEN", default_value = "queued")]
    ack: When,
    /// Make it an error when nothing was recorded: no daemon, declined, refused
    #[arg(long)]
    strict: bool,
    /// Say what became of the events, also where nobody watches
    #[arg(long, short)]
    verbose: bool,
}

const LINES: &str = "\
With --stdin each line is an event as the protocol has it: {\"tool\":…,\"event\":…,\"properties\":{…}}. What a \
line lacks is filled in: tool, event and ack from the command line, id, time and context here. Properties from the \
command line go under the line's own. A line that is no event is reported with its number and skipped; the \
exit code is then 1. Lines are sent as they come.

A script is never failed for what is not its doing: where no daemon is there, or consent says no, the exit \
code is 0, and nothing is said unless stderr is a terminal or --verbose is given. --strict makes those errors: \
3 where no daemon is there, 4 where consent said no, 5 where it did not answer in time, 1 where it refused.";

/// `ack` on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    None,
    Queued,
    Synced,
}

impl From<When> for Ack {
    fn from(when: When) -> Self {
        match when {
            When::None => Self::None,
            When::Queued => Self::Queued,
            When::Synced => Self::Synced,
        }
    }
}

/// How long the daemon may take to answer a group: a commit on a disk that is busy.
const ANSWER: Duration = Duration::from_secs(1);

/// How long a daemon that went away in the middle of the talk may take to be back: a start takes some tens
/// of milliseconds.
const GRACE: Duration = Duration::from_secs(1);

/// How often is looked whether it is back.
const LOOK: Duration = Duration::from_millis(10);

/// Lines that are sent before their answers are read. Their answers, 80 bytes each, fit into a socket's
/// buffer, so that neither side waits for the other.
const GROUP: usize = 256;

/// Tools and projects whose word is remembered (I6); beyond it, all are asked about again.
const WORDS: usize = 1024;

/// Who speaks for a script (`context.library`).
const PROGRAM: Named<'static> = Named {
    name: "telemetryctl",
    version: Some(env!("CARGO_PKG_VERSION")),
};

/// Bytes that are sent before answers are read.
const GROUP_BYTES: usize = 1024 * 1024;

impl Send {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let template = Template {
            tool: self.tool,
            event: self.event,
            properties: line::over(self.object.unwrap_or_default(), self.pairs),
            ack: self.ack.into(),
        };
        let mut sender = Sender {
            context,
            consent: Gathered::gather(&context.surroundings, &RealFiles),
            project: self.project.map(|path| path.canonicalize().unwrap_or(path)),
            words: BTreeMap::new(),
            placed: None,
            notices: BTreeMap::new(),
            link: Link::Unknown,
            group: Vec::new(),
            bytes: 0,
            grace: GRACE,
            tally: Tally::new(self.verbose),
        };
        if self.stdin {
            let mut input = Input::new(std::io::stdin().lock());
            while let Some((number, text)) = input.next_line()? {
                match text.and_then(|text| template.fill(&text)) {
                    Ok(ready) => sender.take(ready, screen)?,
                    Err(why) => sender.tally.bad_line(number, &why, screen),
                }
                // Somebody who writes a line now and then is not held until a group is full.
                if !input.has_more() {
                    sender.flush(screen)?;
                    screen.flush()?;
                }
            }
        } else {
            let ready = template
                .fill("{}")
                .map_err(|why| Failure::new(Exit::Usage, why))?;
            sender.take(ready, screen)?;
        }
        sender.flush(screen)?;
        sender.tally.end(self.strict, screen)
    }
}

/// What this process knows about events of a tool in a project.
#[derive(Clone)]
struct Word {
    says: Says,
    /// How the project's events name it; empty for a tool that knows no projects.
    projects: Vec<String>,
}

#[derive(Clone)]
enum Says {
    Denied(Fact),
    /// By the project, which the daemon cannot see.
    Allowed(Fact),
    Silent,
}

impl Says {
    fn of(mut facts: Vec<Fact>) -> Self {
        facts.sort_by_key(|fact| fact.layer);
        let at = |verdict: Verdict| move |fact: &Fact| fact.verdict == Some(verdict);
        if let Some(fact) = facts.iter().find(|fact| at(Verdict::Deny)(fact)) {
            return Self::Denied(fact.clone());
        }
        let own = |fact: &Fact| fact.layer > Layer::User && at(Verdict::Allow)(fact);
        facts.into_iter().find(own).map_or(Self::Silent, Self::Allowed)
    }
}

/// The way to the daemon: looked for when the first event may be sent, and not before.
enum Link {
    Unknown,
    Up(Box<Daemon>),
    Down,
}

struct Sender<'a> {
    context: &'a Context,
    consent: Gathered,
    /// What `--project` says.
    project: Option<PathBuf>,
    /// What this process found, by tool and the line's own project.
    words: BTreeMap<(String, Option<PathBuf>), Word>,
    /// Where this process runs, as the lines say it.
    placed: Option<String>,
    /// What is still to be shown before a tool's events count, by tool; `None`: nothing.
    notices: BTreeMap<String, Option<Notice>>,
    link: Link,
    group: Vec<Ready>,
    bytes: usize,
    grace: Duration,
    tally: Tally,
}

impl Sender<'_> {
    /// Takes one event: asks for consent, and keeps it for the group.
    fn take(&mut self, mut ready: Ready, screen: &mut Screen) -> Result<(), Failure> {
        let word = self.word(&ready);
        match &word.says {
            // I3, I10: with a denial nothing is created, and of the event no byte leaves this process.
            Says::Denied(fact) => return self.tally.declined_here(&ready, fact, screen),
            Says::Allowed(fact) => ready.claim(fact),
            Says::Silent => {}
        }
        if let Some(project) = word.projects.first() {
            ready.belongs_to(project);
        }
        if self.has_to_be_shown(&ready, screen)? {
            return Ok(());
        }
        // Looked for only where consent does not say no.
        let variables = &self.context.surroundings.variables;
        let placed = self.placed.get_or_insert_with(|| {
            telemetry_client::Context::of_this_process(variables)
                .value(PROGRAM, None)
                .to_string()
        });
        ready.place(placed);
        self.bytes += ready.line.len();
        self.group.push(ready);
        if self.group.len() >= GROUP || self.bytes >= GROUP_BYTES {
            self.flush(screen)?;
        }
        Ok(())
    }

    /// What this process found about the event's tool and project; who has to hear of a denial is told of it once.
    fn word(&mut self, ready: &Ready) -> Word {
        let own = ready.directory();
        let key = (ready.tool.clone(), own.clone());
        if let Some(word) = self.words.get(&key) {
            return word.clone();
        }
        let question = Question {
            tool: &ready.tool,
            project: own.as_deref().or(self.project.as_deref()),
            invocation: None,
        };
        let word = Word {
            says: Says::of(self.consent.facts(&question, &RealFiles)),
            projects: self.consent.project_names(&question, &RealFiles),
        };
        if let Says::Denied(fact) = &word.says {
            let own = ready.project.iter().filter(|own| !word.projects.contains(own));
            let names: Vec<String> = word.projects.iter().chain(own).cloned().collect();
            self.pass_on(&ready.tool, &names, fact);
        }
        if self.words.len() >= WORDS {
            self.words.clear();
        }
        self.words.insert(key, word.clone());
        word
    }

    /// Sends the group and reads its answers. Where the daemon goes away in between (a restart), what was not
    /// answered is sent once more to its successor: the ids make that safe. Where nobody is there, the next
    /// group looks again; one that does not answer in time is not waited for twice.
    fn flush(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let group = std::mem::take(&mut self.group);
        self.bytes = 0;
        let mut answered = 0;
        loop {
            let rest = group.get(answered..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            if let Link::Unknown = self.link {
                match rest.first().filter(|event| self.wedged(event)) {
                    Some(_) => {
                        self.tally.wedged();
                        self.link = Link::Down;
                    }
                    None => match Daemon::reach_within(self.context, patience(rest)) {
                        Ok(daemon) => self.link = Link::Up(Box::new(daemon)),
                        Err(error) => {
                            if matches!(error.cause, Refusal::Busy) {
                                self.link = Link::Down;
                            }
                            self.tally.no_daemon(&no_daemon(error));
                        }
                    },
                }
            }
            let Link::Up(daemon) = &mut self.link else {
                let down = matches!(self.link, Link::Down);
                let why = if down { Unheard::Wedged } else { Unheard::Nobody };
                return self.leave(rest, why, screen);
            };
            match deliver(daemon, rest, &mut answered, &mut self.tally, screen)? {
                Ok(()) => return self.once_more(&group, screen),
                Err(TalkError::Closed) if !self.grace.is_zero() => self.link = self.successor(),
                Err(error) => {
                    let timed_out = matches!(error, TalkError::TimedOut);
                    self.tally.broken(&daemon.broken("send", &error), timed_out);
                    self.link = if timed_out { Link::Down } else { Link::Unknown };
                    let why = if timed_out {
                        Unheard::Wedged
                    } else {
                        Unheard::Nobody
                    };
                    let rest = group.get(answered..).unwrap_or_default();
                    return self.leave(rest, why, screen);
                }
            }
        }
    }
}

impl Sender<'_> {
    /// A daemon that was there a moment ago and is restarted: its successor, if it comes soon. A process
    /// waits for [`GRACE`] in all, however often that happens.
    fn successor(&mut self) -> Link {
        let began = clock::after(Duration::ZERO);
        let link = loop {
            if let Ok(daemon) = Daemon::reach(self.context) {
                break Link::Up(Box::new(daemon));
            }
            if clock::since(began) >= self.grace {
                break Link::Unknown;
            }
            std::thread::park_timeout(LOOK);
        };
        // Each time costs something, so that one that takes connections and closes them is given up on.
        self.grace = self.grace.saturating_sub(clock::since(began).max(LOOK));
        link
    }
}

/// How long a daemon may take to take these: for one event without an answer as long as a library's.
fn patience(events: &[Ready]) -> Duration {
    match events {
        [event] if event.ack == Ack::None => DEADLINE,
        _ => ANSWER,
    }
}

/// Sends events and reads an answer for each that wants one, in order.
fn deliver(
    daemon: &mut Daemon,
    events: &[Ready],
    answered: &mut usize,
    tally: &mut Tally,
    screen: &mut Screen,
) -> Result<Result<(), TalkError>, Failure> {
    let mut lines = Vec::new();
    for event in events {
        lines.extend_from_slice(event.line.as_bytes());
    }
    if let Err(error) = daemon.send(&lines, patience(events)) {
        return Ok(Err(error));
    }
    for event in events {
        if event.ack == Ack::None {
            tally.unanswered();
        } else {
            match daemon.receive(ANSWER) {
                Ok(answer) => tally.answered(&answer, screen)?,
                Err(error) => return Ok(Err(error)),
            }
        }
        *answered += 1;
    }
    Ok(Ok(()))
}

//! What one process sees at one moment: consent, manifests, whether an event may wait on the disk; and what it says to
//! the daemon.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use telemetry_policy::gather::{Found, Look};
use telemetry_policy::manifest::terms::Ci;
use telemetry_policy::{Manifest, Origin};
use telemetry_protocol::consent::{Fact, Layer, ToolDefault, Verdict};
use telemetry_protocol::limits::MAX_EVENT_BYTES;
use telemetry_protocol::place::SYSTEM_SOCKET;

use crate::client::Client;
use crate::connect::Refusal;
use crate::files::FilesOf;
use crate::spool::Spool;
use crate::{
    Connection, Context, Gathered, Question, RealFiles, Surroundings, TalkError, clock, connect, newer,
};

/// How it went with the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It has the event.
    Handed,
    /// It has the event, and did not say in time whether it knows the manifest: the event may be declined. Its id makes
    /// it one event if it waits besides.
    Unanswered,
    /// It is there and does not take anything in time.
    Wedged,
    /// There is none.
    Nobody,
    /// It is not for this user.
    Forbidden,
}

/// What a process sees.
pub(crate) struct Seen<'c> {
    /// The first layer that denies.
    pub(crate) denied: Option<Layer>,
    /// What the events of this project call it.
    pub(crate) projects: Vec<String>,
    /// An allow that the daemon cannot see for itself.
    pub(crate) allowed: Option<Fact>,
    /// The manifest that the daemon does not have yet.
    pub(crate) register: Option<&'c str>,
    /// The manifest in force, where an event may wait on the disk.
    pub(crate) waits: Option<Manifest>,
    /// No daemon is started for the asking: the admin wants none, or this is CI.
    pub(crate) no_start: bool,
}

impl<'c> Seen<'c> {
    pub(crate) fn look(client: &'c Client, surroundings: &Surroundings, context: &Context) -> Self {
        let own = client.manifest.as_slice();
        let eyes = FilesOf { tool: &client.name };
        let gathered = Gathered::with(surroundings, own, &eyes);
        let question = Question {
            tool: &client.name,
            project: client.project_dir.as_deref(),
            invocation: client.said,
        };
        let facts = gathered.facts(&question, &RealFiles);
        let denials = facts.iter().filter(|fact| fact.verdict == Some(Verdict::Deny));
        let denied = denials.map(|fact| fact.layer).min();
        let allowed = facts
            .into_iter()
            .filter(|fact| fact.verdict == Some(Verdict::Allow) && fact.layer > Layer::User)
            .min_by_key(|fact| fact.layer);
        let known = gathered.policy().manifest(&client.name);
        let own = client.manifest.as_ref().filter(|own| own.may_register().is_ok());
        let register = own.filter(|own| {
            known.is_none_or(|known| {
                known.origin == Origin::Registered
                    && (known.source == "registered" || known.manifest.text != own.text)
            })
        });
        let waits = (denied.is_none() && may_wait(&gathered, &question, surroundings, context))
            .then(|| known.map(|known| known.manifest.clone()))
            .flatten();
        Self {
            denied,
            projects: gathered.project_names(&question, &RealFiles),
            allowed,
            register: register.map(|own| own.text.as_str()),
            waits,
            no_start: context.ci.is_some()
                || gathered.policy().parts().machine.no_start_on_demand().is_some(),
        }
    }

    /// Says the line to the daemon, and to a machine-wide one what waited before it.
    pub(crate) fn say(&self, surroundings: &Surroundings, line: &str, until: Instant) -> Way {
        let mut connection = match connect::connect(&surroundings.sockets.candidates(), until) {
            Ok(connection) => connection,
            Err(error) => {
                return match error.cause {
                    Refusal::Busy => Way::Wedged,
                    Refusal::NotPermitted => Way::Forbidden,
                    _ => Way::Nobody,
                };
            }
        };
        match self.talk(&mut connection, line, until) {
            Err(TalkError::TimedOut) => Way::Wedged,
            Err(_) => Way::Nobody,
            Ok(way) => {
                let machine_wide = connection.path() == Path::new(SYSTEM_SOCKET)
                    || connection.peer_uid().is_some_and(|uid| uid != surroundings.uid);
                match &surroundings.user {
                    Some(user) if machine_wide => Spool::of(&user.state).hand_over(&mut connection, until),
                    Some(user) if self.register.is_none() && !self.no_start => {
                        newer::replace_older(&mut connection, surroundings, &user.state, until);
                    }
                    _ => {}
                }
                way
            }
        }
    }

    /// The line, behind the manifest that the daemon has to know to judge it. Once on a machine: the daemon keeps it
    /// where every later process finds it.
    fn talk(&self, connection: &mut Connection, line: &str, until: Instant) -> Result<Way, TalkError> {
        let machine_wide = connection.path() == Path::new(SYSTEM_SOCKET);
        if let Some(manifest) = self.register.filter(|_| !machine_wide) {
            let request = format!("{}\n", json!({"op": "register", "manifest": manifest}));
            if request.len() <= MAX_EVENT_BYTES {
                connection.send(request.as_bytes(), until)?;
                // Whatever it says, the event is its to judge.
                match connection.line(until).map(drop) {
                    Ok(()) => {}
                    // It is at work on the manifest, most likely, and reads on afterwards.
                    Err(TalkError::TimedOut) => {
                        connection.send(line.as_bytes(), clock::after(Duration::from_millis(1)))?;
                        return Ok(Way::Unanswered);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        connection.send(line.as_bytes(), until)?;
        Ok(Way::Handed)
    }

    /// The denial of a project erases what is queued of it: that is said to a daemon that is there.
    pub(crate) fn pass_on(&self, client: &Client, surroundings: &Surroundings) {
        let until = clock::after(client.deadline);
        let names: Vec<String> = client.project.iter().chain(&self.projects).cloned().collect();
        if let Ok(mut daemon) = connect::connect(&surroundings.sockets.candidates(), until) {
            for name in names {
                let request =
                    json!({ "op": "consent", "action": "deny", "tool": client.name, "project": name });
                let said = daemon.send(format!("{request}\n").as_bytes(), until);
                // One that does not answer in time carries it out when it comes to it.
                if said.is_err() || daemon.line(until).is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether consent is certain enough without the daemon (docs/spool.md, "Who may write"). What is not known is a no.
fn may_wait(
    gathered: &Gathered,
    question: &Question<'_>,
    surroundings: &Surroundings,
    context: &Context,
) -> bool {
    let Some(known) = gathered.policy().manifest(question.tool) else {
        return false;
    };
    let decision = gathered.decide(question, &RealFiles);
    let certain = decision.verdict == Verdict::Allow
        && (decision.by != Layer::Default || known.manifest.consent == ToolDefault::OptOut);
    let skipped = known.manifest.terms.ci == Ci::Skip && context.ci.is_some();
    let borrowed = surroundings.uid == 0 && surroundings.sudo_uid.is_some();
    certain && !skipped && !borrowed && !policies(surroundings) && gathered.notice(question.tool).is_none()
}

/// Whether an admin says more than a client can judge.
fn policies(surroundings: &Surroundings) -> bool {
    surroundings
        .machine
        .iter()
        .any(|directory| match RealFiles.look(&directory.join("policy.d")) {
            Found::Absent => false,
            Found::Directory(names) => !names.is_empty(),
            Found::File(_) | Found::Unreadable(_) => true,
        })
}

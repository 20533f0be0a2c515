//! Who is at the other end of a TCP connection of loopback: Linux says it.
//!
//! The kernel tells whose the peer's socket is, and its inode (`sockets`); the process is the one of that user's that
//! holds a descriptor of it, and `/proc/<pid>/environ` is the environment with which it was started (`processes`). All
//! of that may be reading files of the kernel's for some milliseconds: it has a thread of its own, and all who wait are
//! looked up together. What cannot be read says nothing.

#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod sockets;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};

use crate::door::Peer;

/// Look-ups that wait (I6).
const WAITING: usize = 256;

/// What is asked about one connection.
#[derive(Debug)]
pub(crate) struct Question {
    /// The peer's end and ours; `None` where the socket has credentials.
    pub(crate) ends: Option<(SocketAddr, SocketAddr)>,
    /// The peer, as far as it is known.
    pub(crate) known: Option<(u32, Option<i32>)>,
    /// Its environment is asked for too.
    pub(crate) environment: bool,
    answer: oneshot::Sender<Option<Peer>>,
}

/// Asks the thread that looks up; it ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct Peers(mpsc::Sender<Question>);

impl Peers {
    /// Starts the thread. `owner`: the user whose processes are looked at, others' are nobody's business; `wanted`:
    /// the variables that are kept of an environment.
    pub(crate) fn start(
        owner: Option<u32>,
        wanted: impl Fn() -> BTreeSet<String> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (questions, asked) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("gateway-peers".to_owned())
            .spawn(move || look_up(asked, owner, &wanted))?;
        Ok(Self(questions))
    }

    /// Who it is; `None`: nobody that can be told.
    pub(crate) async fn find(
        &self,
        ends: Option<(SocketAddr, SocketAddr)>,
        known: Option<(u32, Option<i32>)>,
        environment: bool,
    ) -> Option<Peer> {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            ends,
            known,
            environment,
            answer,
        };
        self.0.send(question).await.ok()?;
        answered.await.ok()?
    }
}

fn look_up(mut asked: mpsc::Receiver<Question>, owner: Option<u32>, wanted: &dyn Fn() -> BTreeSet<String>) {
    while let Some(first) = asked.blocking_recv() {
        let mut questions = vec![first];
        while let Ok(more) = asked.try_recv() {
            questions.push(more);
        }
        for (question, peer) in kernel::answers(questions, owner, &wanted()) {
            // Who went away meanwhile does not hear it.
            let _ = question.answer.send(peer);
        }
    }
}

/// The kernel's own answers.
#[cfg(target_os = "linux")]
mod kernel {
    use std::collections::BTreeSet;

    use super::{Peer, Question, processes, sockets::Sockets};

    pub(super) fn answers(
        questions: Vec<Question>,
        owner: Option<u32>,
        wanted: &BTreeSet<String>,
    ) -> Vec<(Question, Option<Peer>)> {
        let mut sockets = Sockets::default();
        let questions: Vec<_> = questions
            .into_iter()
            .map(|question| {
                let socket = match question.known {
                    Some(_) => None,
                    None => question.ends.and_then(|ends| sockets.whose(ends)),
                };
                (question, socket)
            })
            .collect();
        // Only the owner's processes can be read, and only where somebody asks for one.
        let of_owner = |uid: u32| owner.is_none_or(|owner| owner == uid);
        let inodes: Vec<u64> = questions
            .iter()
            .filter(|(question, _)| question.environment)
            .filter_map(|(_, socket)| *socket)
            .filter(|(uid, _)| of_owner(*uid))
            .map(|(_, inode)| inode)
            .collect();
        let holders = processes::holders(&inodes, owner);
        let answer = |(question, socket): (Question, Option<(u32, u64)>)| {
            let (uid, pids) = match (question.known, socket) {
                (Some((uid, pid)), _) => (uid, pid.into_iter().collect()),
                (None, Some((uid, inode))) => (uid, holders.get(&inode).cloned().unwrap_or_default()),
                (None, None) => return (question, None),
            };
            let environments = match question.environment && of_owner(uid) {
                true => pids
                    .iter()
                    .filter_map(|pid: &i32| processes::environment(*pid, uid, wanted))
                    .filter(|kept| !kept.is_empty())
                    .collect(),
                false => Vec::new(),
            };
            let pid = pids.first().copied();
            let peer = Peer {
                uid,
                pid,
                environments,
            };
            (question, Some(peer))
        };
        questions.into_iter().map(answer).collect()
    }
}

/// Other systems have no such tables: a peer on loopback is taken for the owner, and nothing is known of its
/// environment.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::collections::BTreeSet;

    use super::{Peer, Question};

    pub(super) fn answers(
        questions: Vec<Question>,
        owner: Option<u32>,
        _wanted: &BTreeSet<String>,
    ) -> Vec<(Question, Option<Peer>)> {
        let answer = |question: Question| {
            // Nothing here tells whose end of a connection it is, or what its environment was.
            let _ = (question.ends, question.environment);
            let known = question.known.or(owner.map(|owner| (owner, None)));
            let environments = Vec::new();
            let peer = known.map(|(uid, pid)| Peer {
                uid,
                pid,
                environments,
            });
            (question, peer)
        };
        questions.into_iter().map(answer).collect()
    }
}

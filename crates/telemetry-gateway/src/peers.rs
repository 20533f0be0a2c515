//! Who is at the other end of a TCP connection of loopback: Linux says it in its tables of sockets.
//!
//! `/proc/net/tcp` and `tcp6` tell whose the peer's socket is, and its inode; the process is the one of that user's
//! that holds a descriptor of it, and `/proc/<pid>/environ` is the environment with which it was started. All of that
//! is reading files of the kernel's for some milliseconds: it has a thread of its own, and all who wait are looked up
//! together. What cannot be read says nothing.

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

/// The kernel's tables.
#[cfg(target_os = "linux")]
mod kernel {
    use std::collections::{BTreeSet, HashMap};
    use std::fs;
    use std::io::Read;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::unix::fs::MetadataExt;

    use super::{Peer, Question};

    /// Of an environment, so much is read (what `execve` takes by default), and so much kept (I6).
    const READ: u64 = 2 * 1024 * 1024;
    const KEPT: usize = 4 * 1024;
    /// Processes that hold one socket and are looked at.
    const HOLDERS: usize = 16;

    type Ends = (SocketAddr, SocketAddr);

    pub(super) fn answers(
        questions: Vec<Question>,
        owner: Option<u32>,
        wanted: &BTreeSet<String>,
    ) -> Vec<(Question, Option<Peer>)> {
        let sockets = match questions.iter().any(|question| question.ends.is_some()) {
            true => sockets(),
            false => HashMap::new(),
        };
        // Only the owner's processes can be read, and only where somebody asks for one.
        let of_owner = |uid: u32| owner.is_none_or(|owner| owner == uid);
        let inodes = questions.iter().filter(|question| question.environment);
        let inodes = inodes.filter_map(|question| sockets.get(&question.ends?));
        let inodes: Vec<u64> = inodes
            .filter(|(uid, _)| of_owner(*uid))
            .map(|(_, inode)| *inode)
            .collect();
        let holders = holders(&inodes, owner);
        let answer = |question: Question| {
            let (uid, pids) = match (question.known, question.ends) {
                (Some((uid, pid)), _) => (uid, pid.into_iter().collect()),
                (None, Some(ends)) => match sockets.get(&ends) {
                    Some((uid, inode)) => (*uid, holders.get(inode).cloned().unwrap_or_default()),
                    None => return (question, None),
                },
                (None, None) => return (question, None),
            };
            let read = question.environment && of_owner(uid);
            let environment = |pid: &i32| environment(*pid, uid, wanted);
            let environments = match read {
                true => pids
                    .iter()
                    .filter_map(environment)
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

    /// Established TCP connections: whose socket each is, and its inode.
    fn sockets() -> HashMap<Ends, (u32, u64)> {
        let mut sockets = HashMap::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = fs::read_to_string(table).unwrap_or_default();
            sockets.extend(text.lines().skip(1).filter_map(row));
        }
        sockets
    }

    /// One row of proc_net_tcp(5): `sl local rem st tx:rx tr:when retrnsmt uid timeout inode`.
    fn row(line: &str) -> Option<(Ends, (u32, u64))> {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let ends = (end(columns.next()?)?, end(columns.next()?)?);
        // What is half closed by the peer still has an owner; what waits for its time to pass has not.
        let state = columns.next()?;
        let uid = columns.nth(3)?.parse().ok()?;
        let inode = columns.nth(1)?.parse().ok()?;
        (matches!(state, "01" | "04" | "05" | "08") && inode != 0).then_some((ends, (uid, inode)))
    }

    /// `0100007F:1F90`: words of four bytes in the machine's own order; an IPv4 address within an IPv6 one is that.
    fn end(text: &str) -> Option<SocketAddr> {
        let (address, port) = text.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let words = (0..address.len() / 8).map(|at| address.get(at * 8..at * 8 + 8));
        let words = words.map(|word| u32::from_str_radix(word?, 16).ok().map(u32::to_ne_bytes));
        let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
        let ip = match bytes.len() {
            4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Which processes hold each of these sockets.
    fn holders(inodes: &[u64], owner: Option<u32>) -> HashMap<u64, Vec<i32>> {
        let mut holders: HashMap<u64, Vec<i32>> = HashMap::new();
        let links: HashMap<String, u64> = inodes
            .iter()
            .map(|inode| (format!("socket:[{inode}]"), *inode))
            .collect();
        if links.is_empty() {
            return holders;
        }
        let ours = i32::try_from(std::process::id()).ok();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            let theirs = process.metadata().map(|about| about.uid());
            if ours == Some(pid) || owner.is_some_and(|owner| theirs.ok() != Some(owner)) {
                continue;
            }
            for descriptor in fs::read_dir(process.path().join("fd"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let target = fs::read_link(descriptor.path()).ok();
                let inode = target.as_deref().and_then(|target| links.get(target.to_str()?));
                if let Some(inode) = inode {
                    let held = holders.entry(*inode).or_default();
                    if held.len() < HOLDERS && !held.contains(&pid) {
                        held.push(pid);
                    }
                }
            }
        }
        holders
    }

    /// The wanted variables with which a process of this user was started.
    fn environment(pid: i32, uid: u32, wanted: &BTreeSet<String>) -> Option<Vec<(String, String)>> {
        let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
        if file.metadata().ok()?.uid() != uid {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(READ).read_to_end(&mut bytes).ok()?;
        let mut kept = Vec::new();
        let mut size = 0;
        for entry in bytes.split(|byte| *byte == 0) {
            let Some(at) = entry.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let name = String::from_utf8_lossy(&entry[..at]);
            if !wanted.contains(&*name) {
                continue;
            }
            // A value that is too long to keep is still there: being present may be enough.
            let value = &entry[at + 1..];
            let value = String::from_utf8_lossy(&value[..value.len().min(256)]);
            size += name.len() + value.len();
            if size > KEPT {
                break;
            }
            kept.push((name.into_owned(), value.into_owned()));
        }
        Some(kept)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_row_of_the_kernels_table_says_whose_socket_it_is() {
            let row = |ends: &str, state: &str, inode: &str| {
                row(&format!(
                    "  1: {ends} {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0"
                ))
            };
            let (client, server) = (
                "127.0.0.1:50000".parse().unwrap(),
                "127.0.0.1:7423".parse().unwrap(),
            );
            let v4 = "0100007F:C350 0100007F:1CFF";
            let mapped = "0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:1CFF";
            if cfg!(target_endian = "little") {
                assert_eq!(row(v4, "01", "77"), Some(((client, server), (1000, 77))));
                assert_eq!(row(mapped, "01", "77"), Some(((client, server), (1000, 77))));
            }
            assert_eq!(row(v4, "06", "0"), None, "nobody's any more");
            assert_eq!(row("", "", ""), None);
        }

        #[test]
        fn this_very_process_is_found_by_its_socket() {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let ends = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            let (uid, inode) = sockets()[&ends];
            assert_eq!(uid, fs::metadata("/proc/self").unwrap().uid());
            assert!(inode > 0);
            let pid = i32::try_from(std::process::id()).unwrap();
            let path = environment(pid, uid, &BTreeSet::from(["PATH".to_owned()])).unwrap();
            assert_eq!(path.len(), 1);
            assert_eq!(
                environment(pid, uid + 1, &BTreeSet::from(["PATH".to_owned()])),
                None,
                "somebody else's"
            );
        }
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

//! Takes over what clients left in their user's spool while no daemon answered (docs/spool.md).
//!
//! It goes in by the same door as everything else: over a connection within the daemon, whose lines meet consent,
//! limits and counters like those of the socket (I3, I6). A file is removed when its event was answered for, which is
//! after the commit that holds it (I1); should the daemon die in between, the event's id makes the second time a
//! duplicate. Only a user's own daemon looks: a machine-wide one never opens a home (I13).

mod file;
mod watch;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::spool::DIRECTORY;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tracing::{debug, info, warn};

pub use self::file::line_of;
use self::file::{Bad, Name, Waiting};
use crate::config::{Mode, Places};
use crate::ingest::{self, Peer};

/// Said at once, before the answers are read: as much as a client hands to a machine-wide daemon in one call.
const BYTES: usize = 64 * 1024;

/// Files looked at in one pass: as many as a spool holds, and the counting files of every tool beside them (I6).
const FILES: usize = 2_000;

/// What could not be taken (a full disk, a rate) is tried again after so long; and a storm of files is one pass.
const AGAIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Answers after which an event waits on.
const LATER: [ErrorCode; 4] = [
    ErrorCode::RateLimited,
    ErrorCode::QueueFull,
    ErrorCode::Storage,
    ErrorCode::ShuttingDown,
];

/// Takes over what waits, now and whenever a file appears, until the daemon ends. A machine-wide daemon never looks.
pub async fn run(places: Places, uid: u32, shared: Arc<ingest::Shared>) {
    if places.mode == Mode::System {
        return;
    }
    let directory = places.state.join(DIRECTORY);
    let mut watch = watch::over(&directory);
    loop {
        // First the watch and then the look: nothing that appears falls between them.
        let waits_on = match (Pass {
            directory: &directory,
            uid,
            shared: &shared,
        })
        .run()
        .await
        {
            Ok(waits_on) => waits_on,
            Err(error) => {
                warn!(%error, "cannot take over the spool");
                true
            }
        };
        tokio::select! {
            () = watch::fired(&watch) => tokio::time::sleep(PAUSE).await,
            () = tokio::time::sleep(AGAIN), if waits_on => {}
        }
        watch = watch::again(watch, &directory);
    }
}

/// One look at the directory.
struct Pass<'p> {
    directory: &'p Path,
    uid: u32,
    shared: &'p Arc<ingest::Shared>,
}

impl Pass<'_> {
    /// Whether something waits on that could not be taken.
    async fn run(&self) -> io::Result<bool> {
        if !self.is_ours() {
            return Ok(false);
        }
        let mut names = self.names()?;
        self.book(&names);
        names.retain(|name| matches!(name, Name::Event { .. } | Name::Manifest { .. }));
        let more = names.len() > FILES;
        names.truncate(FILES);
        if names.is_empty() {
            return Ok(false);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let peer = Peer {
            uid: self.uid,
            pid: None,
        };
        let serving = ingest::inside(theirs, peer, self.shared);
        let (taking, ()) = tokio::join!(self.take(&names, ours), serving);
        Ok(taking? || more)
    }

    /// A directory of the user's own that nobody else may write to, or none.
    fn is_ours(&self) -> bool {
        match std::fs::symlink_metadata(self.directory) {
            Ok(found) if found.is_dir() && found.uid() == self.uid && found.mode() & 0o022 == 0 => true,
            Ok(_) => {
                warn!(directory = %self.directory.display(), "the spool is not a private directory of this user: left alone");
                false
            }
            Err(_) => false,
        }
    }

    /// Manifests first, then the events in order, which is that of their names.
    fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.directory)? {
            if let Some(name) = entry?.file_name().to_str().and_then(Name::parse) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What clients had no room for, or kept for too long: booked once, by taking the counting file away first.
    fn book(&self, names: &[Name]) {
        for name in names {
            let Name::Count { tool, expired } = name else {
                continue;
            };
            let from = self.directory.join(name.to_string());
            let aside = self.directory.join(format!(".{name}"));
            if std::fs::rename(&from, &aside).is_err() {
                continue;
            }
            let count = std::fs::symlink_metadata(&aside).map_or(0, |found| found.len());
            let counter = match expired {
                true => &self.shared.counters.spool_expired,
                false => &self.shared.counters.spool_dropped,
            };
            counter.add(count);
            warn!(
                tool,
                count, expired, "events were lost in the spool before a daemon came"
            );
            let _ = std::fs::remove_file(&aside);
        }
    }

    /// Says what waits, some at a time, and removes what was answered for.
    async fn take(&self, names: &[Name], stream: UnixStream) -> io::Result<bool> {
        let (read, mut write) = stream.into_split();
        let mut answers = BufReader::new(read).lines();
        let mut taken = 0_u64;
        let mut waits_on = false;
        let most = self.shared.settings.borrow().limits.max_event_bytes;
        let mut rest = names.iter().peekable();
        while let Some(first) = rest.peek() {
            // A manifest is known once it is answered for; an event right behind it might be judged before.
            let manifests = matches!(first, Name::Manifest { .. });
            let mut said = Vec::new();
            let mut lines = Vec::new();
            while lines.len() < BYTES
                && let Some(name) = rest.next_if(|name| manifests == matches!(name, Name::Manifest { .. }))
            {
                match file::read(self.directory, name, self.uid, most) {
                    Ok(Waiting::Line(line)) => {
                        lines.extend_from_slice(&line);
                        said.push(name);
                    }
                    Ok(Waiting::Gone) => {}
                    Err(Bad(why)) => {
                        debug!(%name, why, "a file of the spool is no event: removed");
                        self.shared.counters.refuse(ErrorCode::InvalidEvent);
                        self.remove(name);
                    }
                }
            }
            write.write_all(&lines).await?;
            for name in said {
                // The daemon closes: what was not answered for stays.
                let Some(answer) = answers.next_line().await? else {
                    return Ok(true);
                };
                if LATER
                    .iter()
                    .any(|code| answer.contains(&format!("\"error\":\"{code}\"")))
                {
                    waits_on = true;
                } else {
                    self.remove(name);
                    taken += u64::from(matches!(name, Name::Event { .. }));
                }
            }
        }
        if taken > 0 {
            self.shared.counters.spool_taken.add(taken);
            info!(events = taken, "took over what waited in the spool");
        }
        Ok(waits_on)
    }

    fn remove(&self, name: &Name) {
        // One that is gone already was withdrawn, or handed over by somebody else.
        let _ = std::fs::remove_file(self.directory.join(name.to_string()));
    }
}

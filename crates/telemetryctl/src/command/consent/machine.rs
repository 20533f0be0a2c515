//! `--system`: the admin's switch, a file that exists or not. It needs no daemon and holds for all users;
//! what daemons can be reached are told, so that they purge at once.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use telemetry_protocol::place::{SOCKET_NAME, SYSTEM_SOCKET};

use super::change::{Receipt, Word};
use crate::Context;
use crate::daemon::{Daemon, PATIENCE};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;

/// Makes or removes the file.
pub(super) fn write(context: &Context, tool: Option<&str>, word: Word) -> Result<PathBuf, Failure> {
    let directory = policy::machine_directory(context);
    let path = match tool {
        None => directory.join("opt-out"),
        Some(tool) => directory.join("opt-out.d").join(tool),
    };
    let done = match word {
        Word::Deny => path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            // Whatever is there denies already, and is not ours to empty.
            .and_then(|()| {
                std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&path)
                    .map(drop)
            }),
        Word::Allow | Word::Reset => match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
    };
    match done {
        Ok(()) => Ok(path),
        Err(error) => {
            let verb = if word == Word::Deny { "write" } else { "remove" };
            let what = format!("cannot {verb} {}", path.display());
            Err(match error.kind() {
                io::ErrorKind::PermissionDenied => Failure::new(Exit::NotPermitted, what)
                    .caused_by_io(&error)
                    .hint("it is for every user of this machine: run it as root"),
                _ => Failure::failed(what).caused_by_io(&error),
            })
        }
    }
}

/// Whose daemons have heard of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// This user's own.
    pub(super) own: bool,
    /// The machine's.
    pub(super) machines: bool,
}

/// A daemon that can be reached, and what it had purged and cancelled before anything was said.
pub(super) struct Heard {
    path: PathBuf,
    daemon: Daemon,
    own: bool,
    before: Option<(u64, u64)>,
}

/// Every daemon that can be reached, asked before the file is written: one that sees it by itself may have purged before
/// it is told.
pub(super) fn daemons(context: &Context) -> Vec<Heard> {
    let sockets = &context.surroundings.sockets;
    let own = sockets.candidates();
    // Root may speak to every user's daemon; where one socket is named, nothing else is tried.
    let others = match sockets.explicit {
        None if rustix::process::geteuid().is_root() => users_sockets(),
        _ => Vec::new(),
    };
    let mut paths = own.clone();
    paths.extend(others.into_iter().filter(|path| !own.contains(path)));
    let reached = paths.into_iter().filter_map(|path| {
        let mut daemon = Daemon::reach_at(&path).ok()?;
        let before = counts(&mut daemon);
        let own = own.contains(&path);
        Some(Heard {
            path,
            daemon,
            own,
            before,
        })
    });
    reached.collect()
}

/// Tells them to look: each purges at once. What they have done since the file was written is the receipt.
pub(super) fn tell(daemons: Vec<Heard>, receipt: &mut Receipt) -> Told {
    let mut told = Told::default();
    for mut heard in daemons {
        let place = heard.path.display().to_string();
        let mut machines = heard.path == Path::new(SYSTEM_SOCKET);
        match heard.daemon.ask(&json!({ "op": "reload" }), PATIENCE * 12) {
            Ok(answer) => {
                match (heard.before, counts(&mut heard.daemon)) {
                    (Some((purged, cancelled)), Some(now)) => {
                        receipt.count(now.0.saturating_sub(purged), now.1.saturating_sub(cancelled));
                    }
                    _ => receipt.add(&answer.value),
                }
                receipt.reached.push(place);
                machines |= answer.word("mode") == "system";
            }
            // It runs, and nobody else may have its queue: it sees the file by itself.
            Err(failure) => receipt
                .not_reached
                .push(format!("{place}: {failure}; it looks by itself")),
        }
        told.machines |= machines;
        told.own |= heard.own && !machines;
    }
    told
}

/// What this daemon has purged and cancelled so far, of everybody's.
fn counts(daemon: &mut Daemon) -> Option<(u64, u64)> {
    let root = rustix::process::geteuid().is_root();
    let status = daemon
        .ask(&json!({ "op": "status", "all_users": root }), PATIENCE)
        .ok()?;
    let books = status.value.get("books")?.as_array()?.iter();
    let purged = books.filter_map(|book| book.get("purged")?.as_u64()).sum();
    let cancelled = status.value.get("daemon")?.get("cancelled")?.as_u64()?;
    Some((purged, cancelled))
}

/// Where users' daemons listen (systemd: a directory for each user that is logged in).
fn users_sockets() -> Vec<PathBuf> {
    let users = std::fs::read_dir("/run/user").into_iter().flatten();
    let paths = users.filter_map(|entry| Some(entry.ok()?.path().join("telemetryd").join(SOCKET_NAME)));
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.exists()).collect();
    paths.sort();
    paths
}

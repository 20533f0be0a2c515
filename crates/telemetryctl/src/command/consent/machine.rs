//! `--system`: the admin's switch, a file that exists or not. It needs no daemon and holds for all users;
//! what daemons can be reached are told, so that they purge at once.

use std::io;
use std::path::PathBuf;

use serde_json::json;

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

/// Tells the daemon that answers to read the policy again. Others see the file by themselves, or before
/// they open their socket.
pub(super) fn tell(context: &Context, receipt: &mut Receipt) -> bool {
    let Ok(mut daemon) = Daemon::reach(context) else {
        return false;
    };
    let place = daemon.path().display().to_string();
    match daemon.ask(&json!({ "op": "reload" }), PATIENCE) {
        Ok(answer) => {
            receipt.add(&answer.value);
            receipt.reached.push(place);
        }
        Err(failure) => receipt.not_reached.push(format!("{place}: {failure}")),
    }
    true
}

//! `service`: hands the daemon to the service manager of this user or this machine, and takes it back without a
//! trace. Both can be asked for again at any time: what is done already is left alone.
//!
//! `uninstall` undoes what `install` did, and no more: it removes the files that carry our mark, never a package's;
//! it erases what the daemon kept, and keeps what somebody denied.

mod definitions;
mod manager;
mod place;
mod state;

use std::os::unix::net::UnixStream;

use clap::{Args, Subcommand};
use serde_json::json;
use telemetry_protocol::place::SYSTEM_SOCKET;

use self::manager::Manager;
use self::place::Place;
use crate::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Have the service manager run telemetryd, or no longer
#[derive(Debug, Args)]
pub(crate) struct Service {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the units, enable and start them
    Install(Whose),
    /// Stop the daemon, erase its queue, and remove units and state; denials stay
    Uninstall(Whose),
}

#[derive(Debug, Args)]
struct Whose {
    /// For all users of this machine instead of this user
    #[arg(long)]
    system: bool,
}

/// What was done.
#[derive(Debug, Default)]
struct Done {
    written: Vec<String>,
    unchanged: Vec<String>,
    removed: Vec<String>,
    kept: Vec<String>,
    /// Events that were erased.
    erased: u64,
    /// What the service manager was told.
    told: Vec<String>,
}

impl Service {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let (whose, installing) = match self.action {
            Action::Install(whose) => (whose, true),
            Action::Uninstall(whose) => (whose, false),
        };
        if whose.system && !rustix::process::geteuid().is_root() {
            let what = "cannot change the services of this machine";
            return Err(Failure::new(Exit::NotPermitted, what).hint("run it as root"));
        }
        let place = Place::find(context, whose.system)?;
        let manager = Manager::of_this_machine(whose.system);
        let mut done = Done::default();
        if installing {
            install(&place, &manager, &mut done)?;
        } else {
            uninstall(&place, &manager, &mut done)?;
        }
        show(installing, whose.system, &done, screen)?;
        Ok(Exit::Done)
    }
}

fn install(place: &Place, manager: &Manager, done: &mut Done) -> Result<(), Failure> {
    let program = place.program()?;
    manager.refuse_a_daemon_of_somebody_else(place)?;
    for file in definitions::of(place, manager, &program)? {
        definitions::write(&file, done)?;
    }
    manager.start(place, done)
}

fn uninstall(place: &Place, manager: &Manager, done: &mut Done) -> Result<(), Failure> {
    manager.stop(place, done)?;
    // Before anything is removed: a daemon that still runs (by hand, say) holds the queue, and is not ours to end.
    done.erased = state::count(place)?;
    for path in definitions::all_paths(place, manager) {
        definitions::remove(&path, done)?;
    }
    manager.forget(done);
    state::erase(place, done)
}

fn show(installing: bool, system: bool, done: &Done, screen: &mut Screen) -> Result<(), Failure> {
    if screen.json {
        screen.value(&json!({
            "action": if installing { "install" } else { "uninstall" },
            "system": system,
            "written": done.written,
            "unchanged": done.unchanged,
            "removed": done.removed,
            "kept": done.kept,
            "erased": done.erased,
            "told": done.told,
        }))?;
        return Ok(());
    }
    for (word, paths) in [
        ("wrote", &done.written),
        ("unchanged", &done.unchanged),
        ("removed", &done.removed),
        ("kept", &done.kept),
        ("ran", &done.told),
    ] {
        for path in paths {
            screen.line(&format!("{word:<10} {path}"))?;
        }
    }
    if installing {
        if !system && UnixStream::connect(SYSTEM_SOCKET).is_ok() {
            screen.talk("this machine has a daemon for all users: tools speak to that one first");
        }
        if !system && cfg!(target_os = "linux") {
            screen.talk("it runs while you are logged in; 'loginctl enable-linger' has it run always");
        }
    } else {
        screen.line(&format!("{:<10} queued events: {}", "erased", done.erased))?;
    }
    Ok(())
}

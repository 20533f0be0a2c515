//! `telemetryctl`: everything that a person or a script does with telemetryd, one file a command.
//!
//! It speaks through the socket, and starts `telemetryd` for what has to be done without a daemon; it never
//! opens the database and never reads the daemon's configuration. Data goes to stdout, talk to stderr.

mod cli;
mod command;

mod daemon;
mod everybody;
mod policy;
mod programs;

mod exit;
mod failure;
mod screen;
mod words;

mod clock;

use std::process::ExitCode;

use clap::Parser;
use telemetry_client::Surroundings;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::screen::{RED, Screen, styled};

/// What every command is told.
pub(crate) struct Context {
    /// Where the daemon and the files about consent are.
    pub(crate) surroundings: Surroundings,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = Context {
        surroundings: Surroundings::of_this_process(cli.global.socket.clone()),
    };
    let mut screen = Screen::new(cli.global.colour(), cli.global.json);
    let ended = cli
        .command
        .run(&context, &mut screen)
        .and_then(|exit| screen.flush().map(|()| exit).map_err(Into::into));
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // What was written before belongs in front of the error.
            let closed = screen.flush().is_err();
            if !failure.is_silent() {
                let text = failure.to_string();
                screen.talk(&text.replacen("error:", &styled(RED, "error:"), 1));
            }
            if closed && failure.exit == Exit::Done {
                Exit::Done.into()
            } else {
                failure.exit.into()
            }
        }
    }
}

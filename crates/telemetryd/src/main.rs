//! telemetryd: parse the flags, check the config before anything is opened, run, and say how it ended.

use std::process::ExitCode;

use clap::Parser;
use telemetryd::cli::Flags;
use telemetryd::failure::{self, Failure};
use telemetryd::signals::{Early, unheard};
use telemetryd::world::World;
use telemetryd::{background, jobs, run};

fn main() -> ExitCode {
    // Before anything that takes time.
    let early = Early::hear();
    let flags = Flags::parse();
    match story(&flags, early) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure::tell(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn story(flags: &Flags, early: std::io::Result<Early>) -> Result<(), Failure> {
    let early = early.map_err(unheard)?;
    let world = World::of_this_process(flags)?;
    if jobs::run_if_asked(flags, &world)? {
        return Ok(());
    }
    if flags.background {
        return background::start(&world);
    }
    run::run(world, early)
}

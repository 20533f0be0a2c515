//! `man`: the manual, made from the same text as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Print the manual page, or write those of all commands
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write a page for each command into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, screen: &mut Screen) -> Result<Exit, Failure> {
        let command = Cli::command();
        match self.dir {
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command).render(&mut page)?;
                screen.raw(&page)?;
            }
            Some(dir) => {
                clap_mangen::generate_to(command, &dir).map_err(|error| {
                    Failure::failed(format!("cannot write the pages to {}", dir.display()))
                        .caused_by_io(&error)
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

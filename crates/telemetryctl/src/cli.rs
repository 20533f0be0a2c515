//! The command line as clap reads it. Each command's own options stand in its file under `command/`.

use std::path::PathBuf;

use anstream::ColorChoice;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::Context;
use crate::command::{
    audit, completions, config, consent, demo, doctor, export, flush, forget, identity, man, metrics, opt,
    pause, queue, reload, resume, send, sent, service, sink, status, stop, tail, tools,
};
use crate::exit::{AFTER_HELP, Exit};
use crate::failure::Failure;
use crate::screen::Screen;

/// Control telemetryd, the local telemetry daemon, and say what may be sent
#[derive(Debug, Parser)]
#[command(name = "telemetryctl", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Ask the daemon at this socket and no other
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON: lists are one object a line
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// When to colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Global options"
    )]
    color: When,
}

/// When to colour.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

impl Global {
    pub(crate) fn colour(&self) -> ColorChoice {
        match self.color {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        }
    }
}

/// The commands, in the order of the day: send, look, steer, decide, inspect.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Send(send::Send),
    Status(status::Status),
    Flush(flush::Flush),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Reload(reload::Reload),
    Stop(stop::Stop),
    OptOut(opt::OptOut),
    OptIn(opt::OptIn),
    Consent(consent::Consent),
    Audit(audit::Audit),
    Identity(identity::Identity),
    Forget(forget::Forget),
    Export(export::Export),
    Queue(queue::Queue),
    Sent(sent::Sent),
    Tail(tail::Tail),
    Tools(tools::Tools),
    Doctor(doctor::Doctor),
    Config(config::Config),
    Service(service::Service),
    Metrics(metrics::Metrics),
    Sink(sink::Sink),
    Demo(demo::Demo),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What a person is told, and the exit code.
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        match self {
            Self::Send(it) => it.run(context, screen),
            Self::Status(it) => it.run(context, screen),
            Self::Flush(it) => it.run(context, screen),
            Self::Pause(it) => it.run(context, screen),
            Self::Resume(it) => it.run(context, screen),
            Self::Reload(it) => it.run(context, screen),
            Self::Stop(it) => it.run(context, screen),
            Self::OptOut(it) => it.run(context, screen),
            Self::OptIn(it) => it.run(context, screen),
            Self::Consent(it) => it.run(context, screen),
            Self::Audit(it) => it.run(context, screen),
            Self::Identity(it) => it.run(context, screen),
            Self::Forget(it) => it.run(context, screen),
            Self::Export(it) => it.run(context, screen),
            Self::Queue(it) => it.run(context, screen),
            Self::Sent(it) => it.run(context, screen),
            Self::Tail(it) => it.run(context, screen),
            Self::Tools(it) => it.run(context, screen),
            Self::Doctor(it) => it.run(context, screen),
            Self::Config(it) => it.run(screen),
            Self::Service(it) => it.run(context, screen),
            Self::Metrics(it) => it.run(context, screen),
            Self::Demo(it) => it.run(context, screen),
            Self::Sink(it) => it.run(screen),
            Self::Completions(it) => it.run(screen),
            Self::Man(it) => it.run(screen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_first_line_of_every_help_is_an_imperative_without_a_period() {
        fn check(command: &clap::Command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(
                about.starts_with(char::is_uppercase) && !about.ends_with('.') && !about.contains('\n'),
                "{}: {about:?}",
                command.get_name()
            );
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}

//! `cargo demo`, `cargo ci` and whatever else a contributor would otherwise have to remember.
//!
//! Nothing here is needed to build or run telemetryd: every verb only calls cargo and the built programs
//! in the right order. One file a verb.

#![expect(
    clippy::print_stderr,
    reason = "xtask is a person's tool: it talks on stderr, cargo's own lines between"
)]

mod ci;
mod demo;
mod package;
mod programs;
mod soak;
mod tool;
mod venv;
mod wheel;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask VERB [ARGS…]

Verbs:
  ci      run everything that .ci/run runs, in order, and show what each step took (cargo ci)
  demo    build both programs and show the whole way of an event (cargo demo);
          `--release` builds them optimised, everything else goes to `telemetryctl demo`
  package deb|rpm|tree
          build the programs (--profile dist) and pack them; --programs DIR packs those that are there,
          --out DIR says where to, --version V what it is called, --plain leaves compressing away
  venv NAME REQUIREMENTS
          make target/venvs/NAME with the pinned packages of that file, if need be, and print its interpreter
  wheel   build the wheels of the Python client and of the programs (--profile NAME, dist unless told otherwise;
          --out DIR) and print their paths
  help    print this

Man pages and shell completions come from the program itself: `telemetryctl man`, `telemetryctl completions SHELL`.
";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next().unwrap_or_else(|| "help".into());
    let rest: Vec<_> = args.collect();
    let result = match verb.to_str() {
        Some("ci") => ci::run(&rest),
        Some("demo") => demo::run(&rest),
        Some("package") => package::run(&rest),
        Some("venv") => venv::verb(&rest),
        Some("wheel") => wheel::run(&rest),
        Some("help" | "--help" | "-h") => {
            eprint!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("error: no such verb: {}\n\n{HELP}", verb.to_string_lossy());
            Ok(ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        for cause in error.chain().skip(1) {
            eprintln!("  caused by: {cause}");
        }
        ExitCode::FAILURE
    })
}

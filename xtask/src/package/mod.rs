//! `cargo xtask package deb|rpm|tree`: what is installed, in the two shapes that machines take.
//!
//! One list says what goes where ([`contents`]); `dpkg-deb` and `rpmbuild`, which every packager has, make files of
//! it. The tests of `tests/systemd/` install the same packages, made from the programs that the other tests use.

mod contents;
mod deb;
mod rpm;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::programs::{cargo, target};

/// What is asked for.
struct Asked {
    /// `deb`, `rpm` or `tree`.
    shape: String,
    /// Where the result goes.
    out: PathBuf,
    /// Built programs to pack; without them `--profile dist` is built first.
    programs: PathBuf,
    /// The version in the package's name.
    version: String,
    /// Packs without compressing: for tests.
    plain: bool,
}

/// Builds the programs unless some are named, lays the tree out and packs it. The file's path goes to stdout.
///
/// # Errors
///
/// When something cannot be built, copied or packed.
#[expect(clippy::print_stdout, reason = "the path is the data that is asked for")]
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let asked = read(args)?;
    std::fs::create_dir_all(&asked.out).with_context(|| format!("cannot make {}", asked.out.display()))?;
    let root = match asked.shape.as_str() {
        "tree" => asked.out.clone(),
        shape => asked.out.join(format!("{shape}-root")),
    };
    let items = contents::all(&asked.programs, &asked.shape)?;
    contents::lay_out(&items, &root)?;
    let made = match asked.shape.as_str() {
        "deb" => deb::pack(&asked, &items, &root)?,
        "rpm" => rpm::pack(&asked, &items, &root)?,
        _ => root,
    };
    println!("{}", made.display());
    Ok(ExitCode::SUCCESS)
}

fn read(args: &[OsString]) -> Result<Asked> {
    let mut shape = None;
    let (mut out, mut programs) = (target()?.join("package"), None);
    let (mut version, mut plain) = (env!("CARGO_PKG_VERSION").to_owned(), false);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{} takes a value", word.display()))
        };
        match word.to_str() {
            Some(known @ ("deb" | "rpm" | "tree")) => shape = Some(known.to_owned()),
            Some("--out") => out = value()?.into(),
            Some("--programs") => programs = Some(PathBuf::from(value()?)),
            Some("--version") => version = value()?.to_string_lossy().into_owned(),
            Some("--plain") => plain = true,
            _ => bail!(
                "package: what is {}? (deb, rpm or tree; --out, --programs, --version, --plain)",
                word.display()
            ),
        }
    }
    let programs = match programs {
        Some(programs) => programs,
        None => {
            let mut build = cargo();
            build.args([
                "build",
                "--profile",
                "dist",
                "--package",
                "telemetryd",
                "--package",
                "telemetryctl",
            ]);
            if !build.status().context("cannot start cargo")?.success() {
                bail!("the build failed");
            }
            target()?.join("dist")
        }
    };
    let out = std::path::absolute(out)?;
    let shape = shape.context("package: deb, rpm or tree?")?;
    Ok(Asked {
        shape,
        out,
        programs,
        version,
        plain,
    })
}

/// Runs a program to its end; what it prints goes to stderr.
fn run_program(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// What a program prints, without the newline at the end.
fn said(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::read;

    fn asked(words: &str) -> anyhow::Result<super::Asked> {
        let words: Vec<_> = words.split_whitespace().map(Into::into).collect();
        read(&words)
    }

    #[test]
    fn what_is_asked_for_is_read_in_any_order() {
        let asked = asked("--version 1.2.3 --programs /p deb --plain --out /o").expect("all of it is known");
        assert_eq!(
            (asked.shape.as_str(), asked.version.as_str(), asked.plain),
            ("deb", "1.2.3", true)
        );
        assert_eq!(
            (asked.programs.to_str(), asked.out.to_str()),
            (Some("/p"), Some("/o"))
        );
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (words, said) in [
            ("--programs /p", "deb, rpm or tree?"),
            ("--programs /p snap", "what is snap?"),
            ("deb --programs", "--programs takes a value"),
        ] {
            let error = asked(words).err().expect("an error").to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}

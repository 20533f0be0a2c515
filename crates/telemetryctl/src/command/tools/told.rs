//! What a manifest says, told to a person: on the terminal, and as a page.

use std::fmt::Write as _;

use telemetry_policy::describe::{Line, Section, sections};
use telemetry_policy::{Manifest, manifest};

use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::plain;

/// Shows the sections.
pub(super) fn show(sections: &[Section], screen: &mut Screen) -> Result<(), Failure> {
    for section in sections {
        screen.line("")?;
        screen.heading(&plain(&section.title))?;
        for line in &section.lines {
            let text = match line {
                Line::Says(text) => format!("  {text}"),
                Line::Names { name, what, below } => {
                    let indent = if *below { "      " } else { "  " };
                    format!("{indent}{name}  {what}")
                }
            };
            screen.line(&plain(&text))?;
        }
    }
    Ok(())
}

/// The page about what a tool collects.
pub(super) fn page(manifest: &Manifest) -> String {
    let mut page = format!("# What {} collects\n", manifest.name);
    // Writing to a string does not fail.
    if let Some(about) = &manifest.about {
        let _ = writeln!(page, "\n{about}.");
    }
    let _ = writeln!(
        page,
        "\nEvents go through [telemetryd](https://github.com/telemetryd/telemetryd), which enforces this page: it is made from \
         the manifest that the program obeys, and what is not listed here is removed before it is written anywhere."
    );
    for section in sections(manifest) {
        let _ = writeln!(page, "\n## {}", section.title);
        let mut in_list = false;
        for line in &section.lines {
            let names = matches!(line, Line::Names { .. });
            // A paragraph of its own, and a list of its own.
            if !(in_list && names) {
                page.push('\n');
            }
            in_list = names;
            let _ = match line {
                Line::Says(text) => writeln!(page, "{text}"),
                Line::Names { name, what, below } => {
                    let indent = if *below { "  " } else { "" };
                    writeln!(page, "{indent}- `{name}`: {what}")
                }
            };
        }
    }
    if let (Some(notice), manifest::Notice::Required) = (&manifest.notice_text, manifest.notice) {
        let _ = writeln!(page, "\n## What you are shown first\n\n> {notice}");
    }
    page
}

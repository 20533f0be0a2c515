//! Where data and talk go: data to stdout, talk to stderr. Colour only on a terminal, and never the only
//! carrier of meaning (`--color`, `NO_COLOR`).

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// stdout: written in blocks, for a list may have a million rows.
pub(crate) struct Screen {
    out: BufWriter<AutoStream<Stdout>>,
    choice: ColorChoice,
    /// One object a line, or text for a person.
    pub(crate) json: bool,
}

/// A heading.
pub(crate) const BOLD: Style = Style::new().bold();
/// Fine.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// Off, but nothing is lost.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// A person is needed.
pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
/// Beside the point.
pub(crate) const DIM: Style = Style::new().dimmed();

impl Screen {
    pub(crate) fn new(choice: ColorChoice, json: bool) -> Self {
        Self {
            out: BufWriter::new(AutoStream::new(io::stdout(), choice)),
            choice,
            json,
        }
    }

    /// One line of data.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// One JSON value as one line.
    pub(crate) fn value(&mut self, value: &serde_json::Value) -> io::Result<()> {
        self.line(&value.to_string())
    }

    /// A heading on a line of its own.
    pub(crate) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.line(&styled(BOLD, text))
    }

    /// A table without frames. `right` lists the columns of numbers.
    pub(crate) fn table(&mut self, head: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> io::Result<()> {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(head.to_vec());
        for row in rows {
            table.add_row(row);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// What was written so far is seen now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// One line of talk.
    pub(crate) fn talk(&self, text: &str) {
        // There is nobody to tell that nobody can be told.
        let _ = writeln!(AutoStream::new(io::stderr(), self.choice).lock(), "{text}");
    }
}

/// Whether a person watches stderr.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Text in a style; the stream drops the style where there is no terminal.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

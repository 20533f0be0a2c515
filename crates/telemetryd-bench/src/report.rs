//! What is printed: a table a scenario, or JSON lines; and what went wrong, which is the exit code.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::figure::Figure;

/// Gathers a scenario's lines and prints them when it ends.
#[derive(Debug, Default)]
pub(crate) struct Report {
    json: bool,
    scenario: &'static str,
    figures: Vec<Figure>,
    notes: Vec<String>,
    cells: Vec<Value>,
    wrong: Vec<String>,
}

impl Report {
    /// Prints tables, or a JSON object a line.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            ..Self::default()
        }
    }

    /// Begins a scenario.
    pub(crate) fn begin(&mut self, scenario: &'static str) {
        self.scenario = scenario;
    }

    /// A line of the table.
    pub(crate) fn figure(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// A sentence under the table.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// A cell of a scenario's own table, for the JSON lines.
    pub(crate) fn cell(&mut self, cell: Value) {
        self.cells.push(cell);
    }

    /// A line of a scenario's own table, at once: it takes minutes. The JSON lines have its cells.
    ///
    /// # Errors
    /// When stdout is gone.
    pub(crate) fn say(&mut self, text: String) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for mut cell in std::mem::take(&mut self.cells) {
            if self.json {
                cell["scenario"] = Value::from(self.scenario);
                writeln!(out, "{cell}")?;
            }
        }
        if !self.json {
            writeln!(out, "{text}")?;
        }
        out.flush()
    }

    /// What must not be: a lost event, books that do not balance.
    pub(crate) fn wrong(&mut self, text: impl Into<String>) {
        self.wrong.push(format!("{}: {}", self.scenario, text.into()));
    }

    /// Records it as wrong unless it holds.
    pub(crate) fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong(otherwise());
        }
    }

    /// The machine, before everything else.
    ///
    /// # Errors
    /// When stdout is gone.
    pub(crate) fn machine(&self, facts: &[(&'static str, String)]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            let mut line = json!({ "scenario": "machine" });
            for (name, value) in facts {
                line[*name] = Value::from(value.clone());
            }
            return writeln!(out, "{line}");
        }
        for (name, value) in facts {
            writeln!(out, "{name:<12} {value}")?;
        }
        Ok(())
    }

    /// Ends a scenario: prints it.
    ///
    /// # Errors
    /// When stdout is gone.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let figures = std::mem::take(&mut self.figures);
        let notes = std::mem::take(&mut self.notes);
        if self.json {
            for figure in &figures {
                writeln!(out, "{}", figure.json(self.scenario))?;
            }
            for note in &notes {
                writeln!(out, "{}", json!({ "scenario": self.scenario, "note": note }))?;
            }
            return out.flush();
        }
        writeln!(out, "\n{}", self.scenario)?;
        let rows: Vec<[String; 6]> = figures.iter().map(Figure::cells).collect();
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let mut line = String::from(" ");
            for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
                if width == 0 {
                    continue;
                }
                let fill = " ".repeat(width - cell.chars().count());
                line.push(' ');
                line.push_str(&if (1..3).contains(&at) {
                    fill.clone() + cell
                } else {
                    cell.clone() + &fill
                });
                line.push(' ');
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        for note in &notes {
            writeln!(out, "  - {note}")?;
        }
        out.flush()
    }

    /// Prints what went wrong, and says whether anything did.
    ///
    /// # Errors
    /// When stdout is gone.
    pub(crate) fn close(self) -> io::Result<bool> {
        let mut out = io::stdout().lock();
        for wrong in &self.wrong {
            if self.json {
                writeln!(out, "{}", json!({ "wrong": wrong }))?;
            } else {
                writeln!(out, "WRONG: {wrong}")?;
            }
        }
        Ok(!self.wrong.is_empty())
    }
}

/// Says on stderr why the run failed.
pub(crate) fn tell(error: &anyhow::Error) {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  caused by: {cause}"));
    }
    // Nobody to tell: fine.
    let _ = writeln!(io::stderr(), "{text}");
}

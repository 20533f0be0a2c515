//! The table, on the terminal and in docs/guarantees.md.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::trial::Outcome;
use crate::machine;

/// What the program writes is between these lines of the page.
const BEGIN: &str = "<!-- telemetryd-bench crash: begin -->";
const END: &str = "<!-- telemetryd-bench crash: end -->";

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    lost: u64,
    promised: u64,
    doubled: u64,
    away_ms: f64,
}

impl Cell {
    pub(super) fn of(outcome: &Outcome) -> Self {
        Self {
            lost: outcome.lost,
            promised: outcome.promised,
            doubled: outcome.doubled,
            away_ms: outcome.away(),
        }
    }

    fn text(&self) -> String {
        let lost = match self.lost {
            0 => "0".to_owned(),
            lost => format!("{lost} of {}", self.promised),
        };
        format!("{lost} / {} / {:.0} ms", self.doubled, self.away_ms.ceil())
    }
}

/// One row: three cells, or why there are none.
#[derive(Clone, Debug)]
pub(super) struct Line {
    name: &'static str,
    method: &'static str,
    cells: Vec<Cell>,
    lack: Option<&'static str>,
}

impl Line {
    pub(super) fn new(name: &'static str, method: &'static str, cells: Vec<Cell>) -> Self {
        Self {
            name,
            method,
            cells,
            lack: None,
        }
    }

    pub(super) fn without(name: &'static str, method: &'static str, lack: &'static str) -> Self {
        Self {
            name,
            method,
            cells: Vec::new(),
            lack: Some(lack),
        }
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let cells: Vec<String> = self
            .cells
            .iter()
            .map(|cell| format!("{:<28}", cell.text()))
            .collect();
        let lack = self.lack.map(|lack| format!("({lack})")).unwrap_or_default();
        format!("  {:<58} {}{lack}", self.name, cells.concat())
    }

    fn markdown(&self) -> String {
        let mut cells: Vec<String> = self.cells.iter().map(Cell::text).collect();
        cells.resize(3, self.lack.unwrap_or_default().to_owned());
        format!("| {} | {} | {} |\n", self.name, cells.join(" | "), self.method)
    }
}

/// Writes the table into a page, between its two marks.
///
/// # Errors
/// When the page has no marks, or cannot be read or written.
pub(super) fn write(page: &Path, lines: &[Line], directory: &Path) -> Result<()> {
    let shown = page.display();
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {shown}"))?;
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("{shown} has no {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{shown} has no {END}"))?;
    let mut table =
        String::from("\n| fault | `none` | `queued` | `synced` | how it is made |\n|---|---|---|---|---|\n");
    table.extend(lines.iter().map(Line::markdown));
    table.push('\n');
    for (name, value) in machine::facts(directory) {
        table.push_str(&format!("    {name:<12} {value}\n"));
    }
    table.push('\n');
    fs::write(page, format!("{before}{BEGIN}\n{table}{END}{after}"))
        .with_context(|| format!("cannot write {shown}"))
}

/// The names of the rows that a page has.
#[cfg(test)]
fn rows_of(page: &str) -> Vec<String> {
    let table = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let rows = table.map_or("", |(table, _)| table).lines().skip(3);
    rows.filter_map(|line| Some(line.strip_prefix("| ")?.split_once(" | ")?.0.to_owned()))
        .filter(|name| name != "fault")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{power, rows};
    use super::*;

    #[test]
    fn the_page_has_the_rows_of_the_program() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guarantees.md");
        let page = fs::read_to_string(page).expect("docs/guarantees.md");
        let replayed = power::ROWS.iter().map(|row| row.name);
        let played = rows::ROWS.iter().map(|row| row.name);
        let rows: Vec<&str> = replayed.chain(played).collect();
        assert_eq!(
            rows_of(&page),
            rows,
            "telemetryd-bench crash --write docs/guarantees.md writes them anew"
        );
    }

    #[test]
    fn a_table_is_written_between_the_marks_and_nothing_else_is_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let page = directory.path().join("page.md");
        fs::write(&page, format!("# A\n{BEGIN}\nold\n{END}\nB\n")).expect("a file");
        let line = Line::without("a fault", "somehow", "needs root");
        write(&page, &[line], directory.path()).expect("written");
        let text = fs::read_to_string(&page).expect("a file");
        assert!(text.starts_with("# A\n") && text.ends_with("\nB\n"), "{text}");
        assert!(!text.contains("old"), "{text}");
        assert_eq!(rows_of(&text), ["a fault"]);
    }
}

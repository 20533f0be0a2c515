//! `--all-users`: a machine-wide daemon answers each user about itself; root may ask for all (I13).

use clap::Args;
use serde_json::{Map, Value};

/// The option of commands that show what is somebody's.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Everybody {
    /// Of every user, where one daemon serves the machine (as root)
    #[arg(long)]
    pub(crate) all_users: bool,
}

impl Everybody {
    /// The request, for everybody if that was asked.
    pub(crate) fn ask(self, mut request: Value) -> Value {
        if self.all_users {
            request["all_users"] = true.into();
        }
        request
    }

    /// A column about whose a row is, before the others, if several users' are shown.
    pub(crate) fn column(
        self,
        mut columns: Vec<&'static str>,
        numbers: &[usize],
    ) -> (Vec<&'static str>, Vec<usize>) {
        if !self.all_users {
            return (columns, numbers.to_vec());
        }
        columns.insert(0, "uid");
        let numbers = numbers.iter().map(|at| at + 1);
        (columns, std::iter::once(0).chain(numbers).collect())
    }

    /// The cell of that column.
    pub(crate) fn cell(self, row: &Map<String, Value>, mut cells: Vec<String>) -> Vec<String> {
        if self.all_users {
            cells.insert(0, row.get("uid").map(Value::to_string).unwrap_or_default());
        }
        cells
    }
}

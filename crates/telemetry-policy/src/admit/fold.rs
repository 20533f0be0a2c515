//! Members whose names become one name: a manifest's `keys` with `else`.

use telemetry_protocol::json::walk::push_string;

use crate::manifest::property::Wild;

/// What several members became.
pub(super) struct Fold<'w> {
    /// Where the pattern stands in its table.
    pub(super) at: usize,
    pub(super) wild: &'w Wild,
    pub(super) into: &'w str,
    pub(super) value: Folded,
}

pub(super) enum Folded {
    Integer(i128),
    Number(f64),
    First(Vec<u8>),
}

impl Fold<'_> {
    pub(super) fn write(&self, from: usize, out: &mut Vec<u8>) {
        let name = format!("{}{}{}", self.wild.name.before, self.into, self.wild.name.after);
        if out.len() > from {
            out.push(b',');
        }
        push_string(out, &name);
        out.push(b':');
        match &self.value {
            Folded::Integer(sum) => out.extend_from_slice(sum.to_string().as_bytes()),
            Folded::Number(sum) if sum.is_finite() => out.extend_from_slice(sum.to_string().as_bytes()),
            Folded::Number(_) => out.extend_from_slice(b"null"),
            Folded::First(value) => out.extend_from_slice(value),
        }
    }
}

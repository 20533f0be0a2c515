//! `context`: the machine's facts by the daemon, the process's by the client, each only where the manifest lets it
//! be known. What the client says has its types too: a context is no way around a manifest (I4).

use std::sync::LazyLock;

use telemetry_protocol::json::walk::{self, push_string};

use super::values::{Place, Values};
use crate::manifest::property::{Kind, Property, Table, Text};
use crate::manifest::terms::{FACTS, Facts};

/// Facts about the machine, taken once, as they stand in a context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFacts {
    parts: Vec<(&'static str, Box<[u8]>)>,
}

impl MachineFacts {
    /// From the names of the operating system (`linux`), its version (`6.18`), its distribution (`debian`), the
    /// architecture (`x86_64`) and the number of processors; what is not known is left out.
    #[must_use]
    pub fn new(
        os: &str,
        version: Option<&str>,
        distribution: Option<&str>,
        arch: &str,
        cpu: Option<usize>,
    ) -> Self {
        let mut system = b"\"os\":{\"name\":".to_vec();
        push_string(&mut system, os);
        for (key, value) in [("version", version), ("id", distribution)] {
            if let Some(value) = value {
                system.extend_from_slice(format!(",\"{key}\":").as_bytes());
                push_string(&mut system, value);
            }
        }
        system.push(b'}');
        let mut processor = b"\"arch\":".to_vec();
        push_string(&mut processor, arch);
        let mut parts = vec![("os", system.into()), ("arch", processor.into())];
        if let Some(cpu) = cpu {
            parts.push(("cpu", format!("\"cpu\":{cpu}").into_bytes().into()));
        }
        Self { parts }
    }

    fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|(known, _)| *known == name)
    }
}

/// Characters of a name or a version in a context.
const SHORT: usize = 64;
/// Environments that one process can be in at once.
const ENVIRONMENTS: usize = 32;

/// What each fact of a client's process may be.
static PROCESS: LazyLock<Table> = LazyLock::new(|| {
    let plain = |kind| Property {
        kind,
        drop: false,
        about: None,
    };
    let short = || {
        plain(Kind::String(Text {
            max: SHORT,
            ..Text::default()
        }))
    };
    let object = |names: &[&str]| {
        let mut table = Table::default();
        for name in names {
            table.list(name, short());
        }
        plain(Kind::Object(table))
    };
    let mut table = Table::default();
    table.list("os", object(&["name", "version", "id"]));
    table.list("arch", short());
    table.list("cpu", plain(Kind::Integer));
    table.list("runtime", object(&["name", "version", "implementation"]));
    table.list("library", object(&["name", "version"]));
    table.list("venv", plain(Kind::Boolean));
    table.list("conda", plain(Kind::Boolean));
    let (items, max_items) = (Box::new(short()), ENVIRONMENTS);
    table.list("exec_info", plain(Kind::Array { items, max_items }));
    table.list("ci.flag", plain(Kind::Boolean));
    table.list("ci.name", short());
    table.list("ci.object", object(&["name"]));
    table
});

/// Whether the client's process is in continuous integration: `ci` is true, a name, or an object.
pub(super) fn in_ci(raw: Option<&str>) -> bool {
    // By the key's text, however it is escaped: it is stored as what it says.
    raw.into_iter()
        .flat_map(walk::members)
        .any(|(key, value)| key.get() == "ci" && !matches!(value, "false" | "null" | "\"\""))
}

/// Writes `,"context":{…}`, or nothing where nothing may be known. `any`: facts that are not in the list pass by the
/// value rules.
pub(super) fn write(
    values: &mut Values<'_>,
    client: Option<&str>,
    machine: &MachineFacts,
    (facts, any): (Facts, bool),
    out: &mut Vec<u8>,
) {
    let mark = out.len();
    out.extend_from_slice(b",\"context\":{");
    let from = out.len();
    for (_, part) in machine.parts.iter().filter(|(name, _)| facts.has(name)) {
        if out.len() > from {
            out.push(b',');
        }
        out.extend_from_slice(part);
    }
    let top = Place::top("context");
    for (key, value) in client.into_iter().flat_map(walk::members) {
        let name = key.get();
        if FACTS.contains(&&*name) {
            // What the daemon knows itself it does not ask for.
            if !facts.has(&name) || machine.has(&name) {
                continue;
            }
            let kind = match (&*name, value.as_bytes().first()) {
                ("ci", Some(b'"')) => "ci.name",
                ("ci", Some(b'{')) => "ci.object",
                ("ci", _) => "ci.flag",
                _ => &*name,
            };
            values.listed((&PROCESS, kind), (key.raw(), value), top.below(&name), from, out);
        } else if any {
            values.free_member((key, value), top, from, out);
        } else {
            values.unlisted(top.below(&name));
        }
    }
    if out.len() == from {
        out.truncate(mark);
    } else {
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::in_ci;

    #[test]
    fn continuous_integration_is_seen_however_its_key_is_escaped() {
        for context in [
            r#"{"ci":true}"#,
            r#"{"\u0063i":true}"#,
            r#"{"os":{},"c\u0069":{"name":"x"}}"#,
            r#"{"ci":false,"\u0063\u0069":"github"}"#,
        ] {
            assert!(in_ci(Some(context)), "{context}");
        }
        for context in [
            r"{}",
            r#"{"ci":false}"#,
            r#"{"\u0063i":null}"#,
            r#"{"os":{"ci":true}}"#,
        ] {
            assert!(!in_ci(Some(context)), "{context}");
        }
        assert!(!in_ci(None));
    }
}

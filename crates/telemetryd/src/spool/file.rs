//! The files of a spool: what their names say, and whether their content agrees (docs/spool.md).

use std::fmt;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use serde_json::json;
use telemetry_policy::Manifest;
use telemetry_protocol::event::Event;
use telemetry_protocol::json;
use telemetry_protocol::limits::{MAX_DEPTH, is_tool_name};
use uuid::Uuid;

/// What a file is, by its name. In the order in which they are taken: a manifest before the events that it is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// `<tool>.toml`: what the tool brings and no daemon has yet.
    Manifest {
        /// Whose.
        tool: String,
    },
    /// `<uuid>.<tool>.ndjson`: one event.
    Event {
        /// The event's id.
        id: Uuid,
        /// Whose.
        tool: String,
    },
    /// `<tool>.dropped`, `<tool>.expired`: how many were removed unsent.
    Count {
        /// Whose.
        tool: String,
        /// Too old, and not for want of room.
        expired: bool,
    },
}

impl Name {
    /// `None` for what is nobody's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let tool = |tool: &str| is_tool_name(tool).then(|| tool.to_owned());
        if let Some(event) = name.strip_suffix(".ndjson") {
            let (id, rest) = event.split_at_checked(36)?;
            let id = Uuid::try_parse(id)
                .ok()
                .filter(|uuid| uuid.get_version_num() == 7 && uuid.to_string() == id)?;
            return Some(Self::Event {
                id,
                tool: tool(rest.strip_prefix('.')?)?,
            });
        }
        let (stem, end) = name.rsplit_once('.')?;
        match end {
            "toml" => Some(Self::Manifest { tool: tool(stem)? }),
            "dropped" | "expired" => Some(Self::Count {
                tool: tool(stem)?,
                expired: end == "expired",
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest { tool } => write!(out, "{tool}.toml"),
            Self::Event { id, tool } => write!(out, "{id}.{tool}.ndjson"),
            Self::Count { tool, expired: true } => write!(out, "{tool}.expired"),
            Self::Count { tool, expired: false } => write!(out, "{tool}.dropped"),
        }
    }
}

/// What is said for a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// This line, its end included.
    Line(Vec<u8>),
    /// Nothing: it is not there any more.
    Gone,
}

/// It is not what its name says; why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad(pub(super) &'static str);

/// The line that a file stands for, at most `most` bytes long.
///
/// # Errors
/// Whatever it is, it is not what a client leaves, and nobody will ever make an event of it.
pub(super) fn read(directory: &Path, name: &Name, uid: u32, most: usize) -> Result<Waiting, Bad> {
    // Neither a link is followed nor a pipe waited for.
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(directory.join(name.to_string()));
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Waiting::Gone),
        Err(_) => return Err(Bad("it cannot be opened")),
    };
    let found = file.metadata().map_err(|_| Bad("it cannot be looked at"))?;
    if !found.is_file() || found.uid() != uid {
        return Err(Bad("it is not a file of this user's"));
    }
    let mut bytes = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(2);
    file.take(bound)
        .read_to_end(&mut bytes)
        .map_err(|_| Bad("it cannot be read"))?;
    said(name, bytes, most)
}

/// What these bytes in a file of this name stand for.
fn said(name: &Name, bytes: Vec<u8>, most: usize) -> Result<Waiting, Bad> {
    match name {
        Name::Event { id, tool } => event(bytes, *id, tool, most),
        Name::Manifest { tool } => manifest(&bytes, tool, most),
        Name::Count { .. } => Err(Bad("it is no event")),
    }
}

/// The line, its end included, that a file of this name with these bytes stands for; `most` bounds it, in bytes.
///
/// # Errors
/// Why it stands for none.
pub fn line_of(name: &str, bytes: Vec<u8>, most: usize) -> Result<Vec<u8>, &'static str> {
    let name = Name::parse(name).ok_or("its name is nobody's")?;
    match said(&name, bytes, most) {
        Ok(Waiting::Line(line)) => Ok(line),
        Ok(Waiting::Gone) => Err("it is gone"),
        Err(Bad(why)) => Err(why),
    }
}

fn event(line: Vec<u8>, id: Uuid, tool: &str, most: usize) -> Result<Waiting, Bad> {
    let text = line.strip_suffix(b"\n").ok_or(Bad("it is cut off"))?;
    if text.len() > most || text.contains(&b'\n') {
        return Err(Bad("it is not one line"));
    }
    let mut members = Vec::new();
    let object = json::scan(text, MAX_DEPTH, &mut members).map_err(|_| Bad("it is not JSON"))?;
    // An answer for each is what the spool goes by; and a file is an event, never a request.
    if object.get("ack").is_some() || object.get("op").is_some() {
        return Err(Bad("it says more than an event"));
    }
    let event = Event::parse(&object).map_err(|_| Bad("it is not an event"))?;
    if event.tool != tool || event.id != Some(id) {
        return Err(Bad("it is not the event that its name says"));
    }
    Ok(Waiting::Line(line))
}

fn manifest(bytes: &[u8], tool: &str, most: usize) -> Result<Waiting, Bad> {
    let text = std::str::from_utf8(bytes).map_err(|_| Bad("it is not UTF-8"))?;
    let manifest = Manifest::parse(text).map_err(|_| Bad("it is not a manifest"))?;
    if manifest.name != tool {
        return Err(Bad("it is not the manifest of the tool that its name says"));
    }
    let line = format!("{}\n", json!({ "op": "register", "manifest": text }));
    match line.len() <= most {
        true => Ok(Waiting::Line(line.into_bytes())),
        false => Err(Bad("it is too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019aa6c2-7a41-7c3e-9f61-6a2c0d6b3a10";

    fn event_name(tool: &str) -> Name {
        Name::parse(&format!("{ID}.{tool}.ndjson")).unwrap()
    }

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_nobodys() {
        for name in [
            "kedro.toml".to_owned(),
            "kedro.dropped".to_owned(),
            "my.tool-1.expired".to_owned(),
            format!("{ID}.my.tool-1.ndjson"),
        ] {
            assert_eq!(Name::parse(&name).unwrap().to_string(), name);
        }
        for name in [
            "",
            "wedged",
            ".019aa6c2-7a41-7c3e-9f61-6a2c0d6b3a10.tmp",
            "019AA6C2-7A41-7C3E-9F61-6A2C0D6B3A10.kedro.ndjson",
            "019aa6c2-7a41-4c3e-9f61-6a2c0d6b3a10.kedro.ndjson",
            "019aa6c2-7a41-7c3e-9f61-6a2c0d6b3a10.ndjson",
            "019aa6c2-7a41-7c3e-9f61-6a2c0d6b3a10.KEDRO.ndjson",
            "short.ndjson",
            ".kedro.toml",
            "kedro.txt",
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }

    #[test]
    fn manifests_come_first_and_events_in_the_order_of_time() {
        let later = "019aa6c2-7a42-7000-8000-000000000000.a.ndjson";
        let mut names: Vec<Name> = [later, &format!("{ID}.z.ndjson"), "z.toml", "a.dropped"]
            .iter()
            .map(|name| Name::parse(name).unwrap())
            .collect();
        names.sort();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["z.toml", &format!("{ID}.z.ndjson"), later, "a.dropped"]);
    }

    #[test]
    fn a_file_is_one_event_line_that_its_name_agrees_with_or_it_is_bad() {
        let home = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let name = event_name("kedro");
        let path = home.path().join(name.to_string());
        let good = format!("{{\"tool\":\"kedro\",\"event\":\"ran\",\"id\":\"{ID}\",\"time\":1}}\n");
        let said = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(home.path(), &name, uid, 1000)
        };
        assert_eq!(said(&good), Ok(Waiting::Line(good.clone().into_bytes())));
        for bad in [
            String::new(),
            good.trim_end().to_owned(),
            format!("{good}{good}"),
            good.replace("kedro", "dlt"),
            good.replace("3a10", "3a11"),
            good.replace(",\"time\":1", ",\"ack\":\"none\""),
            good.replace(",\"time\":1", ",\"op\":\"stop\""),
            good.replace("ran", &"x".repeat(1000)),
            "{\"op\":\"stop\"}\n".to_owned(),
            "nonsense\n".to_owned(),
        ] {
            assert!(said(&bad).is_err(), "{bad}");
        }
        said(&good).unwrap();
        assert!(
            read(home.path(), &name, uid + 1, 1000).is_err(),
            "somebody else's"
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(home.path(), &name, uid, 1000), Ok(Waiting::Gone));
        std::os::unix::fs::symlink(home.path().join("elsewhere"), &path).unwrap();
        assert!(read(home.path(), &name, uid, 1000).is_err(), "a link");
    }

    #[test]
    fn a_manifest_is_of_the_tool_that_its_name_says() {
        let home = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let name = Name::parse("kedro.toml").unwrap();
        let said = |text: &str| {
            std::fs::write(home.path().join("kedro.toml"), text).unwrap();
            read(home.path(), &name, uid, 1000)
        };
        let own = said("name = \"kedro\"\nevents = \"any\"\n");
        assert!(matches!(own, Ok(Waiting::Line(_))), "{own:?}");
        for bad in [
            "name = \"dlt\"\nevents = \"any\"\n",
            "name = \"kedro\"\neventz = \"any\"\n",
            "",
        ] {
            assert!(said(bad).is_err(), "{bad}");
        }
    }
}

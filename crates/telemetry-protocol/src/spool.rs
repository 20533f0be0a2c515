//! The names in a spool, where a client leaves events while no daemon answers (`docs/spool.md`): whose a file is can be
//! told without reading it.

use crate::limits::is_tool_name;

/// The directory, in a user's state directory.
pub const DIRECTORY: &str = "spool";

/// The tool of an event's file; `None` for what is nobody's.
#[must_use]
pub fn tool_of_event(name: &str) -> Option<&str> {
    let (id, rest) = name.split_once('.')?;
    let tool = rest.strip_suffix(".ndjson")?;
    (uuid::Uuid::try_parse(id).is_ok() && is_tool_name(tool)).then_some(tool)
}

/// The tool of a file that counts what was removed unsent.
#[must_use]
pub fn tool_of_count(name: &str) -> Option<&str> {
    let tool = name
        .strip_suffix(".dropped")
        .or_else(|| name.strip_suffix(".expired"))?;
    is_tool_name(tool).then_some(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_tells_whose_it_is() {
        let event = "019aa6c2-7a41-7c3e-9f61-6a2c0d6b3a10.my.tool.ndjson";
        assert_eq!(tool_of_event(event), Some("my.tool"));
        assert_eq!(tool_of_count("my.tool.dropped"), Some("my.tool"));
        for nobodys in [
            "wedged",
            ".019aa6c2-7a41-7c3e-9f61-6a2c0d6b3a10.tmp",
            "x.kedro.ndjson",
            "README",
        ] {
            assert_eq!(
                (tool_of_event(nobodys), tool_of_count(nobodys)),
                (None, None),
                "{nobodys}"
            );
        }
    }
}

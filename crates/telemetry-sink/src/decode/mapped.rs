//! Encoding `mapped`: one event, whose body is anybody's. What is in it is shown as it is, as `properties`; its name is
//! looked for where the known forms have one.

use serde_json::{Value, json};

use super::Undecodable;
use super::vendor::content;
use crate::received::{Content, Encoding};

/// Where a body may have its event's name.
const NAMES: [&str; 4] = ["event", "action", "name", "type"];

/// Reads one object.
pub(super) fn decode(whole: Value) -> Result<Content, Undecodable> {
    if !whole.is_object() {
        return Err(Undecodable::Shape {
            place: "the body".to_owned(),
            wanted: "an event is an object",
        });
    }
    let name = NAMES.iter().find_map(|name| whole.get(name)?.as_str());
    let event = json!({ "event": name, "properties": whole });
    Ok(content(Encoding::Mapped, vec![event]))
}

//! What Evidently's command line sent (versions 0.1.21 to 0.3): `environment`, `evidently`, `usage`, and no name.

use telemetry_protocol::json;

use super::{Body, Facts, Line, Writer, Wrong, object};

/// What its event is called: the one command that sends.
const NAME: &str = "calculate";

/// Whether a body looks like it.
#[must_use]
pub fn is_one(body: &Body<'_>) -> bool {
    let has = |key: &str| body.get(key).is_some_and(|raw| raw.starts_with('{'));
    has("environment") && has("evidently") && has("usage")
}

/// Its one event. Of the parts of a report only their names are taken: below them stand options of the user's.
///
/// # Errors
/// Which key is wrong.
pub fn lines(body: &Body<'_>, tool: &str) -> Result<Vec<Line>, Wrong> {
    let mut line = Writer::new(tool);
    line.text("event", NAME);
    if let Some(usage) = body.inner("usage") {
        let members: Vec<(String, String)> = usage.members().map(|(key, raw)| named(&key, raw)).collect();
        let members = members.iter().map(|(key, raw)| (key.as_str(), raw.as_str()));
        line.raw("properties", &object(members));
    }
    let mut facts = Facts::default();
    if let Some(python) = body.inner("environment").and_then(|about| about.inner("python")) {
        let text = |key: &str| python.get(key).and_then(json::string);
        if let Some(version) = text("version") {
            facts.python(&version, text("interpreter").as_deref());
        }
        for name in ["conda", "venv"] {
            if let Some(flag) = python.get(name).filter(|raw| matches!(*raw, "true" | "false")) {
                facts.add(name, flag.to_owned());
            }
        }
    }
    line.maybe("context", facts.within(None).as_deref());
    if let Some(about) = body.inner("evidently") {
        line.maybe("version", about.string("version")?);
    }
    Ok(vec![line.done(String::new())])
}

/// `parts` and `tabs` as the names that they hold; everything else as it is.
fn named(key: &str, raw: &str) -> (String, String) {
    let names = match key {
        "parts" | "tabs" if raw.starts_with('{') => Body::scan(raw.as_bytes()).ok(),
        _ => None,
    };
    let raw = match names {
        Some(names) => {
            let names: Vec<String> = names.members().map(|(name, _)| name.into_owned()).collect();
            serde_json::Value::from(names).to_string()
        }
        None => raw.to_owned(),
    };
    (key.to_owned(), raw)
}

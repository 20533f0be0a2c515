//! Destinations that manifests bring: read by the same table as `[destinations.NAME]`, and put beside those of the
//! config. (What a manifest may not say of one was refused when it was read.)

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use telemetry_delivery::Destination;
use telemetry_policy::Registered;
use telemetry_policy::manifest::destination::Inline;
use telemetry_protocol::place::Mode;
use tokio::sync::watch;

use super::problem::Problems;
use super::{Checked, check, file, inspect};

/// What the destination is called while it is checked: names of tools are no names of destinations.
const HERE: &str = "destination";

/// Reads the destination of a manifest; `name` is what it is called from then on.
///
/// # Errors
/// What is wrong with it, for people.
pub fn inline(name: &str, inline: &Inline) -> Result<Destination, Vec<String>> {
    let tree = BTreeMap::from([("destinations", BTreeMap::from([(HERE, &inline.keys)]))]);
    let text = toml::to_string(&tree).map_err(|error| vec![error.to_string()])?;
    let mut problems = Problems::default();
    let layer = file::File::parse(Path::new(HERE), &text, &mut problems);
    inspect::inspect(&layer, &mut problems);
    let (mut checked, _) = check::check(Mode::User, &layer, &mut problems);
    let said = |problem: &super::Problem| {
        let key = problem.key.as_deref().unwrap_or_default();
        let key = key.strip_prefix("destinations.").unwrap_or(key);
        let mut text = format!("{key}: {}", problem.message);
        for (word, more) in [(", allowed is ", &problem.allowed), ("; ", &problem.hint)] {
            if let Some(more) = more {
                text.push_str(word);
                text.push_str(more);
            }
        }
        text
    };
    match checked.destinations.remove(HERE) {
        Some(destination) if problems.is_empty() => Ok(Destination {
            name: Arc::from(name),
            ..destination
        }),
        _ => Err(problems.iter().map(said).collect()),
    }
}

/// The settings with the destinations of these manifests beside their own.
#[must_use]
pub fn with_inline(checked: &Checked, manifests: &BTreeMap<String, Registered>) -> Checked {
    let mut all = checked.clone();
    for manifest in manifests.values().map(|registered| &registered.manifest) {
        if let (Some(brought), Some(name)) = (&manifest.inline, &manifest.destination)
            && let Ok(destination) = inline(name, brought)
        {
            all.destinations
                .insert(Arc::clone(&destination.name), destination);
        }
    }
    all
}

/// Hands new settings on, if they are others.
pub fn replace(settings: &watch::Sender<Arc<Checked>>, new: Checked) {
    settings.send_if_modified(|settings| {
        let changed = **settings != new;
        if changed {
            *settings = Arc::new(new);
        }
        changed
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_policy::Manifest;

    fn read(destination: &str) -> Result<Destination, Vec<String>> {
        let text = format!(
            "name = \"t\"\nevents = \"any\"\n[destination]\nurl = \"https://x.example.org/v1\"\n{destination}"
        );
        let manifest = Manifest::parse(&text).unwrap();
        inline(
            manifest.destination.as_deref().unwrap(),
            &manifest.inline.unwrap(),
        )
    }

    #[test]
    fn a_manifests_destination_is_one_like_any_other() {
        let found = read(
            "encoding = \"segment\"\nauth = { segment_write_key = \"abc\" }\nbatch = { max_events = 7 }",
        )
        .unwrap();
        assert_eq!(
            (&*found.name, found.url.as_str(), found.batch.max_events),
            ("tool:t", "https://x.example.org/v1", 7)
        );
    }

    #[test]
    fn its_values_are_held_to_the_same_bounds() {
        let wrong = read("timeout = \"5 years\"").unwrap_err();
        assert!(
            wrong[0].starts_with("destination.timeout: ") && wrong[0].contains("allowed is"),
            "{wrong:?}"
        );
        assert!(read("encoding = \"jsonn\"").unwrap_err()[0].contains("did you mean \"json\"?"));
    }
}

//! A manifest in words that a user understands: what it collects, about whom, where it goes, how to turn it off. What
//! `tools show` prints and the page that `tools docs` writes are made of the same sentences.

use telemetry_protocol::consent::ToolDefault;

use crate::manifest::events::{Event, Events, Properties};
use crate::manifest::property::{Kind, Property, Rule, Table};
use crate::manifest::terms::{Ci, Project, User};
use crate::manifest::{Manifest, Notice};
use crate::opt_out::When;

/// A heading and what stands below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A sentence, or a name and what is said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A sentence.
    Says(String),
    /// A name of the tool's own.
    Names {
        /// The name.
        name: String,
        /// What it is.
        what: String,
        /// Deeper than the name before it.
        below: bool,
    },
}

/// All sections, in the order of a reader's questions.
#[must_use]
pub fn sections(manifest: &Manifest) -> Vec<Section> {
    let section = |title: &str, lines: Vec<Line>| Section {
        title: title.to_owned(),
        lines,
    };
    let mut all = vec![
        section("What is collected", events(&manifest.terms.events)),
        section("Who it is about", identity(manifest)),
        section(
            "What is known of the machine and the process",
            vec![context(manifest)],
        ),
        section("Where it goes", vec![Line::Says(destination(manifest))]),
        section("When it is on, and how to turn it off", switches(manifest)),
    ];
    let privacy = privacy(manifest);
    if !privacy.is_empty() {
        all.push(section("Who answers for it", privacy));
    }
    all
}

fn events(events: &Events) -> Vec<Line> {
    if *events == Events::Any {
        return vec![Line::Says(
            "every event and every property that the tool sends; secrets, paths, addresses and names are taken out of \
             them by general rules"
                .to_owned(),
        )];
    }
    let mut lines = Vec::new();
    for (name, event) in events.iter() {
        let about = event.about.as_deref().unwrap_or("an event");
        lines.push(names(name, about.to_owned(), false));
        lines.extend(properties(event));
    }
    if lines.is_empty() {
        lines.push(Line::Says("nothing: it lists no event".to_owned()));
    }
    lines.push(Line::Says(
        "Nothing else. What is not listed here is removed before it is written to the disk.".to_owned(),
    ));
    lines
}

fn properties(event: &Event) -> Vec<Line> {
    match &event.properties {
        Properties::Any => vec![names(
            "*".to_owned(),
            "every property, by general rules".to_owned(),
            true,
        )],
        Properties::Listed(table) => table
            .iter()
            .filter(|(_, property)| !property.drop)
            .map(|(name, property)| {
                let keys = table.wild().iter().find(|wild| wild.name.written() == name);
                let mut what = kind(property);
                if let Some(keys) = keys.and_then(|wild| wild.keys.as_ref()) {
                    if !keys.prefix.is_empty() {
                        what.push_str(&format!(", for names that begin with {}", quoted(&keys.prefix)));
                    }
                    if let Some(otherwise) = &keys.otherwise {
                        what.push_str(&format!("; every other name becomes {otherwise:?}"));
                    }
                }
                if let Some(about) = &property.about {
                    what = format!("{about} ({what})");
                }
                names(name, what, true)
            })
            .collect(),
    }
}

/// What a property may be.
#[must_use]
pub fn kind(property: &Property) -> String {
    match &property.kind {
        Kind::String(text) if !text.only.is_empty() => {
            let otherwise = text
                .otherwise
                .as_deref()
                .map(|word| format!(", anything else becomes {word:?}"));
            format!("one of {}{}", quoted(&text.only), otherwise.unwrap_or_default())
        }
        Kind::String(text) => match text.rule {
            Rule::Hash => "a text of which only a keyed hash is kept".to_owned(),
            Rule::MaskCommand => "a command line whose values are masked".to_owned(),
            Rule::None => format!("a text of at most {} characters", text.max),
        },
        Kind::Integer => "a whole number".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::Boolean => "yes or no".to_owned(),
        Kind::Array { items, max_items } => format!("a list of at most {max_items}, each {}", kind(items)),
        Kind::Object(table) => format!("an object of {}", fields(table)),
    }
}

fn fields(table: &Table) -> String {
    let fields: Vec<String> = table
        .iter()
        .filter(|(_, property)| !property.drop)
        .map(|(name, property)| format!("{name}: {}", kind(property)))
        .collect();
    fields.join(", ")
}

fn identity(manifest: &Manifest) -> Vec<Line> {
    let user = match manifest.terms.identity.user {
        User::Random => {
            "a random id, made on this machine for this tool alone; not derived from your name, the machine or its \
             addresses; none in continuous integration"
        }
        User::FromTool => {
            "the random id that the tool itself keeps for you, where it has one; otherwise one made on this machine for \
             this tool alone; none in continuous integration"
        }
        User::None => "nobody: no id of yours is sent",
    };
    let project = match manifest.terms.identity.project {
        Project::Hashed => "a keyed hash of the tool's name for your project; nobody can look the name up",
        Project::FromTool => {
            "a hash of the random id that the tool keeps for your project, the same for all who work on it; of a name \
             only a keyed hash"
        }
        Project::None => "no id of your project is sent",
    };
    vec![
        names("you".to_owned(), user.to_owned(), false),
        names("your project".to_owned(), project.to_owned(), false),
    ]
}

fn context(manifest: &Manifest) -> Line {
    let words = manifest.terms.context.iter().map(|name| match name {
        "os" => "the operating system and its version",
        "arch" => "the processor's architecture",
        "cpu" => "the number of processors",
        "ci" => "whether it runs in continuous integration",
        "runtime" => "the language's name and version",
        "library" => "the name and version of the library that sends",
        "exec_info" => "what it runs in (Docker, Kubernetes, a notebook…)",
        "venv" => "whether it runs in a virtual environment",
        _ => "whether it runs in a conda environment",
    });
    let words: Vec<&str> = words.collect();
    Line::Says(match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join(", "),
    })
}

fn destination(manifest: &Manifest) -> String {
    match (&manifest.inline, &manifest.destination) {
        (Some(inline), _) => {
            let url = inline.url.split(['?', '#']).next().unwrap_or_default();
            format!("to {url}, unless the config of this machine says otherwise")
        }
        (None, Some(name)) => format!("to the destination {name:?} of the config of this machine"),
        (None, None) => "to the destination that the config of this machine names for all tools".to_owned(),
    }
}

fn switches(manifest: &Manifest) -> Vec<Line> {
    let says = |text: &str| Line::Says(text.to_owned());
    let mut lines = vec![match manifest.consent {
        ToolDefault::OptOut => says("It is on unless you turn it off."),
        ToolDefault::OptIn | ToolDefault::Unregistered => says("It is off until you turn it on."),
    }];
    match manifest.notice {
        Notice::Required => lines.push(says("Nothing is collected before you were shown its notice.")),
        Notice::ByTool => lines.push(says("The tool tells you by itself.")),
        Notice::None => {}
    }
    if manifest.terms.ci == Ci::Skip {
        lines.push(says("Nothing is collected in continuous integration."));
    }
    let share = manifest.terms.sample.share();
    if share < 1.0 {
        lines.push(Line::Says(format!(
            "Of all events {} in 100 are kept, chosen by chance.",
            share * 100.0
        )));
    }
    if let Some(most) = manifest.terms.max_per_day {
        lines.push(Line::Says(format!("At most {most} events a day are taken.")));
    }
    let off = |name: String, what: &str| names(name, what.to_owned(), false);
    lines.push(off(
        format!("telemetryctl opt-out --tool {}", manifest.name),
        "turns it off for you",
    ));
    lines.push(off("DO_NOT_TRACK".to_owned(), "set to anything turns it off"));
    for variable in &manifest.opt_outs.variables {
        let what = match &variable.when {
            When::Present => "set to anything turns it off".to_owned(),
            When::Unless(words) => format!("set to anything but {} turns it off", words.join(", ")),
            When::Equals(word) => format!("set to {word} turns it off"),
        };
        lines.push(names(variable.name.clone(), what, false));
    }
    for file in manifest
        .opt_outs
        .project_files
        .iter()
        .chain(&manifest.opt_outs.user_files)
    {
        let what = format!("with {} = false turns it off", file.key.join("."));
        lines.push(names(file.path.clone(), what, false));
    }
    lines
}

fn privacy(manifest: &Manifest) -> Vec<Line> {
    let privacy = &manifest.privacy;
    let all = [
        ("controller", &privacy.controller),
        ("purpose", &privacy.purpose),
        ("retention", &privacy.retention),
        ("contact", &privacy.contact),
        ("policy", &privacy.policy_url),
        ("more about it", &manifest.homepage),
    ];
    let known = all
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.as_ref()?)));
    known
        .map(|(name, text)| names(name.to_owned(), text.clone(), false))
        .collect()
}

fn names(name: String, what: String, below: bool) -> Line {
    Line::Names { name, what, below }
}

fn quoted(words: &[Box<str>]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_told_in_words() {
        let text = "name = \"t\"\nconsent = \"opt-out\"\nnotice_required = true\nsample = 0.25\ncontext = [\"os\"]\n\
            opt_out_env = [\"T_OFF\"]\nprivacy = { contact = \"privacy@example.org\" }\n\
            [events.run]\nabout = \"A run\"\nproperties.level = { type = \"string\", enum = [\"a\"], else = \"b\" }\n\
            properties.name = { type = \"string\", hash = true, about = \"of the pipeline\" }\n\
            properties.gone = { type = \"string\", drop = true }";
        let told = format!("{:?}", sections(&Manifest::parse(text).unwrap()));
        for part in [
            "A run",
            "one of \\\\\\\"a\\\\\\\", anything else becomes",
            "of the pipeline (a text of which only a keyed hash is kept)",
            "the operating system and its version",
            "It is on unless you turn it off.",
            "Nothing is collected before you were shown its notice.",
            "25 in 100",
            "T_OFF",
            "privacy@example.org",
            "removed before it is written to the disk",
        ] {
            let plain = part.replace("\\\\\\\"", "\\\"");
            assert!(told.contains(&plain), "{plain} in {told}");
        }
        assert!(!told.contains("gone"));
    }
}

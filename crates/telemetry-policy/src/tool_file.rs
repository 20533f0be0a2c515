//! A tool's own file in which somebody may have answered: Kedro's `.telemetry`, dlt's `config.toml`, a table of
//! `pyproject.toml`. Of YAML the subset that matters is read, a mapping of plain scalars; anything more, and
//! whatever else cannot be read as a yes or a no, denies (CONSENT.md: Kedro reads it as yes).

use toml::de::{DeTable, DeValue};

use crate::opt_out::{Format, ToolFile};
use crate::toml_lines::{Document, Mistake, kind};

/// An answer, and the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) yes: bool,
    pub(crate) line: u32,
    /// As it stands there, for people.
    pub(crate) shown: String,
}

/// What the text of `file` answers; `None` where it is in order and does not have the key.
///
/// # Errors
/// Why it cannot be read as a yes or a no: that denies.
pub(crate) fn read(file: &ToolFile, text: &str) -> Result<Option<Answer>, Mistake> {
    match file.format {
        Format::Yaml => yaml(text, file.key.first().map_or("", String::as_str)),
        Format::Toml => {
            let document = Document::parse(text)?;
            toml(&document, document.table.get_ref(), &file.key)
        }
    }
}

/// The text of `file` after somebody answered, the rest of it kept.
///
/// # Errors
/// When the text cannot be read, or has something else in the answer's place: nobody's file is overwritten because it
/// has a mistake in it.
pub fn edited(file: &ToolFile, text: &str, yes: bool) -> Result<String, String> {
    let edited = match file.format {
        Format::Yaml => yaml_edited(text, file.key.first().map_or("", String::as_str), yes),
        Format::Toml => toml_edited(text, &file.key, yes)?,
    };
    match read(file, &edited) {
        Ok(Some(answer)) if answer.yes == yes => Ok(edited),
        Ok(_) => Err(format!("it would not say {yes} afterwards")),
        Err(mistake) => Err(mistake.to_string()),
    }
}

fn yaml_edited(text: &str, name: &str, yes: bool) -> String {
    let answer = format!("{name}: {yes}");
    let mut found = false;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let ours = line
            .split_once(':')
            .is_some_and(|(key, _)| key.trim_end() == name);
        found |= ours;
        lines.push(if ours { answer.clone() } else { line.to_owned() });
    }
    if !found {
        lines.push(answer);
    }
    lines.join("\n") + "\n"
}

fn toml_edited(text: &str, way: &[String], yes: bool) -> Result<String, String> {
    let mut document: toml_edit::DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| format!("not TOML: {}", e.message()))?;
    let Some((name, above)) = way.split_last() else {
        return Err("the manifest names no key".to_owned());
    };
    let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
    for key in above {
        table = table
            .entry(key)
            .or_insert_with(toml_edit::table)
            .as_table_like_mut()
            .ok_or_else(|| format!("{key}: not a table"))?;
    }
    table.insert(name, toml_edit::value(yes));
    Ok(document.to_string())
}

fn toml(document: &Document<'_>, table: &DeTable<'_>, way: &[String]) -> Result<Option<Answer>, Mistake> {
    let Some((name, rest)) = way.split_first() else {
        return Ok(None);
    };
    let mistake = |line, message: String| Err(Mistake { line, message });
    for (key, value) in table {
        let line = document.line(key);
        let written = key.get_ref().as_ref();
        if written != name && written.eq_ignore_ascii_case(name) {
            return mistake(line, format!("{written}: in another case than {name}"));
        }
        if written != name {
            continue;
        }
        return match value.get_ref() {
            DeValue::Boolean(yes) if rest.is_empty() => Ok(Some(Answer {
                yes: *yes,
                line,
                shown: format!("{name} = {yes}"),
            })),
            DeValue::Table(below) if !rest.is_empty() => toml(document, below, rest),
            other => {
                let expected = if rest.is_empty() {
                    "true or false"
                } else {
                    "a table"
                };
                mistake(
                    line,
                    format!("{name}: expected {expected}, found {}", kind(other)),
                )
            }
        };
    }
    Ok(None)
}

/// The booleans of YAML 1.1, three spellings each (yaml.org/type/bool.html; its `y` and `n` no loader takes).
fn boolean(word: &str) -> Option<bool> {
    match word {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn yaml(text: &str, name: &str) -> Result<Option<Answer>, Mistake> {
    let mut answer = None;
    let mut seen: Vec<&str> = Vec::new();
    for (line, text) in (1_u32..).zip(text.split('\n')) {
        let mistake = |message: &str| {
            let message = message.to_owned();
            Err(Mistake { line, message })
        };
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.chars().any(char::is_control) {
            return mistake("not a mapping of plain scalars: a tab or a control character");
        }
        let bare = without_comment(text);
        if bare.trim().is_empty() {
            continue;
        }
        if bare.starts_with(' ') {
            return mistake("not a mapping of plain scalars: an indented line");
        }
        let (key, value) = match bare.split_once(": ") {
            Some((key, value)) => (key.trim_end(), value.trim()),
            None => match bare.trim_end().strip_suffix(':') {
                Some(key) => (key.trim_end(), ""),
                None => return mistake("not a mapping: a line without a key and a colon"),
            },
        };
        // What stands in place of the answer is told below, in words about the answer.
        if !is_plain(key) || !(key == name || value.is_empty() || is_plain(value)) {
            return mistake("not a mapping of plain scalars");
        }
        if seen.contains(&key) {
            return mistake("a key that stands there twice");
        }
        seen.push(key);
        if key != name && key.eq_ignore_ascii_case(name) {
            return mistake(&format!("{key}: in another case than {name}"));
        }
        if key == name {
            let Some(yes) = boolean(value) else {
                return mistake(&format!(
                    "{name}: expected true or false without quotes, found something else"
                ));
            };
            answer = Some(Answer {
                yes,
                line,
                shown: format!("{name}: {value}"),
            });
        }
    }
    if seen.is_empty() {
        let message = "empty: not a mapping".to_owned();
        return Err(Mistake { line: 1, message });
    }
    Ok(answer)
}

/// A comment begins with a `#` that stands first or after a space.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.find(" #")
        .map_or(line, |at| line.get(..at).unwrap_or_default())
}

/// A plain scalar on one line (YAML 1.1, 9.1.3, and nothing beyond what every loader agrees on).
fn is_plain(word: &str) -> bool {
    let indicator = |c: char| "-?:,[]{}#&*!|>'\"%@`".contains(c);
    // A minus sign before a number is no indicator.
    let number = word
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    !word.is_empty()
        && (number || !word.starts_with(indicator))
        && word != "<<"
        && !word.starts_with("...")
        && !word.contains(": ")
        && !word.ends_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml_says(text: &str) -> Result<Option<bool>, u32> {
        yaml(text, "consent")
            .map(|a| a.map(|a| a.yes))
            .map_err(|m| m.line)
    }

    #[test]
    fn the_booleans_of_yaml_are_read_in_three_spellings_each() {
        for (yes, words) in [
            (true, "true True TRUE yes Yes YES on On ON"),
            (false, "false False FALSE no No NO off Off OFF"),
        ] {
            for word in words.split(' ') {
                assert_eq!(
                    yaml_says(&format!("# c\n\nconsent: {word}  # why\r\n")),
                    Ok(Some(yes)),
                    "{word}"
                );
            }
        }
        assert_eq!(yaml_says("project_id: 3f\nconsent:   false"), Ok(Some(false)));
        assert_eq!(yaml_says("project_id: 3f\nratio: -1\nempty:\n"), Ok(None));
    }

    #[test]
    fn anything_more_than_a_mapping_of_plain_scalars_denies_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("# only a comment\n", 1),
            ("consent: \"false\"", 1),
            ("consent: 'true'", 1),
            ("consent: 0", 1),
            ("consent: null", 1),
            ("consent:", 1),
            ("consent: tRue", 1),
            ("consent: y", 1),
            ("a: b\nConsent: true", 2),
            ("consent:true", 1),
            ("consent true", 1),
            ("- consent: true", 1),
            ("{consent: true}", 1),
            ("--- \nconsent: true", 1),
            ("%YAML 1.1\n", 1),
            ("a: b\n  consent: true", 2),
            ("a:\n  b: c\nconsent: true", 2),
            ("\tconsent: true", 1),
            ("consent: true: false", 1),
            ("consent: [true]", 1),
            ("consent: !!bool true", 1),
            ("consent: &a true", 1),
            ("consent: >\n  true", 1),
            ("consent: true\nconsent: false", 2),
            ("\"consent\": true", 1),
            ("? consent", 1),
            ("consent: true\nfree text", 2),
        ] {
            assert_eq!(yaml_says(text), Err(line), "{text}");
        }
    }

    #[test]
    fn an_answer_is_written_and_the_rest_of_the_file_stays() {
        let file = |format, key: &[&str]| ToolFile {
            path: "x".into(),
            format,
            key: key.iter().map(|k| (*k).to_owned()).collect(),
        };
        let kedro = file(Format::Yaml, &["consent"]);
        for (before, after) in [
            ("", "consent: false\n"),
            ("consent: true\n", "consent: false\n"),
            (
                "# mine\nconsent:   yes # why\nid: 3",
                "# mine\nconsent: false\nid: 3\n",
            ),
            ("consent: \"false\"\n", "consent: false\n"),
        ] {
            assert_eq!(edited(&kedro, before, false).as_deref(), Ok(after), "{before:?}");
        }
        for bad in ["a:\n  b: c\n", "Consent: true\n", "no mapping\n"] {
            assert!(edited(&kedro, bad, false).is_err(), "{bad:?}");
        }
        let dlt = file(Format::Toml, &["runtime", "dlthub_telemetry"]);
        for (before, after) in [
            ("", "[runtime]\ndlthub_telemetry = true\n"),
            (
                "# mine\n[runtime]\nlog = \"x\"\ndlthub_telemetry = false\n",
                "# mine\n[runtime]\nlog = \"x\"\ndlthub_telemetry = true\n",
            ),
        ] {
            assert_eq!(edited(&dlt, before, true).as_deref(), Ok(after), "{before:?}");
        }
        for bad in ["runtime = 3\n", "[runtime\n"] {
            assert!(edited(&dlt, bad, true).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_of_toml_is_found_on_its_way_and_in_no_other_case() {
        let file = ToolFile {
            path: ".dlt/config.toml".into(),
            format: Format::Toml,
            key: vec!["runtime".into(), "dlthub_telemetry".into()],
        };
        let says = |text: &str| {
            read(&file, text)
                .map(|a| a.map(|a| (a.yes, a.line)))
                .map_err(|m| m.line)
        };
        assert_eq!(
            says("[runtime]\nlog_level = \"x\"\ndlthub_telemetry = false\n"),
            Ok(Some((false, 3)))
        );
        assert_eq!(says("runtime.dlthub_telemetry = true"), Ok(Some((true, 1))));
        for silent in ["", "[runtime]\n", "[normalize]\ndlthub_telemetry = 3\n"] {
            assert_eq!(says(silent), Ok(None), "{silent}");
        }
        for (text, line) in [
            ("[runtime]\ndlthub_telemetry = \"false\"", 2),
            ("[runtime]\ndlthub_telemetry = 0", 2),
            ("[runtime]\nDltHub_telemetry = true", 2),
            ("[Runtime]\ndlthub_telemetry = true", 1),
            ("runtime = true", 1),
            ("[runtime\n", 1),
        ] {
            assert_eq!(says(text), Err(line), "{text}");
        }
    }
}

//! What a person agreed to, and a manifest that lets more through than that: then the person is asked again (CONSENT.md,
//! "A manifest that widens"). A pure comparison; who keeps what was agreed to is told in [`crate::policy::Parts`].
//!
//! A new thing that a manifest can let through is one line in [`widens`], and a case in the test below.

use telemetry_protocol::consent::ToolDefault;

use crate::manifest::{Manifest, Notice};
use crate::scope::changes;

/// What `new` lets through that `old` did not, in words; empty where it lets through the same or less.
#[must_use]
pub fn widens(old: &Manifest, new: &Manifest) -> Vec<String> {
    let mut wider = Vec::new();
    let mut found = |is_wider: bool, what: &str| {
        if is_wider {
            wider.push(what.to_owned());
        }
    };
    found(
        old.consent == ToolDefault::OptIn && new.consent == ToolDefault::OptOut,
        "it is on unless denied now; it was off until allowed",
    );
    found(
        old.destination != new.destination,
        "it sends to another destination",
    );
    found(
        old.notice == Notice::Required && new.notice == Notice::None,
        "it tells nobody any more what it collects",
    );
    found(letters(old) > letters(new), "its notice got shorter");
    found(
        origin(old) != origin(new),
        "it brings another destination of its own",
    );
    let scope = changes(old, new).into_iter().filter(|change| change.wider);
    wider.extend(scope.map(|change| change.what));
    wider
}

/// Scheme, host and port of the destination that a manifest brings.
fn origin(manifest: &Manifest) -> Option<&str> {
    let url = manifest.inline.as_ref()?.url.as_str();
    url.split('/').nth(2)
}

/// How much the notice says.
fn letters(manifest: &Manifest) -> usize {
    let text = manifest.notice_text.as_deref().unwrap_or_default();
    text.chars().filter(|letter| !letter.is_whitespace()).count()
}

/// Whether a person has to be asked or told before a manifest that got wider counts. A tool that is on unless denied and
/// shows its own notice has its own new one.
#[must_use]
pub fn asks_again(new: &Manifest) -> bool {
    new.notice != Notice::ByTool || new.consent != ToolDefault::OptOut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(more: &str) -> Manifest {
        let text = format!("name = \"t\"\nevents = \"any\"\n{more}\n");
        Manifest::parse(&text).unwrap()
    }

    #[test]
    fn what_lets_more_through_is_wider_and_what_lets_less_through_is_not() {
        for (old, new) in [
            ("", "consent = \"opt-out\""),
            ("destination = \"a\"", "destination = \"b\""),
            ("destination = \"a\"", ""),
            ("notice_required = true", ""),
            ("notice = \"We count commands.\"", "notice = \"We count.\""),
            ("notice = \"We count.\"", ""),
            (
                "destination = { url = \"https://a.example.org/x\" }",
                "destination = { url = \"https://b.example.org/x\" }",
            ),
            ("identity = { user = \"none\" }", ""),
        ] {
            let (old, new) = (manifest(old), manifest(new));
            assert_eq!(widens(&old, &new).len(), 1, "{} to {}", old.text, new.text);
            assert_eq!(widens(&new, &new), Vec::<String>::new());
        }
        for (old, new) in [
            ("consent = \"opt-out\"", "consent = \"opt-in\""),
            ("", "notice_required = true"),
            ("", "notice_required = \"tool\""),
            ("notice = \"We count.\"", "notice = \"We count commands.\""),
            ("notice = \"We  count.\"", "notice = \"We count.\""),
            ("", "about = \"x\"\nopt_out_env = [\"T_OFF\"]"),
        ] {
            assert_eq!(
                widens(&manifest(old), &manifest(new)),
                Vec::<String>::new(),
                "{old} to {new}"
            );
        }
    }

    #[test]
    fn a_tool_that_is_on_and_shows_its_own_notice_asks_by_itself() {
        assert!(!asks_again(&manifest(
            "consent = \"opt-out\"\nnotice_required = \"tool\""
        )));
        for asked in ["", "consent = \"opt-out\"", "notice_required = \"tool\""] {
            assert!(asks_again(&manifest(asked)), "{asked}");
        }
    }
}

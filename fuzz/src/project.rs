//! A project's file in which a tool was answered (Kedro's `.telemetry`, a table of `pyproject.toml`): it says yes, no
//! or nothing; what cannot be read says no; and an answer that is written into it is read again (I3).

use std::path::Path;
use std::sync::LazyLock;

use telemetry_policy::gather::{Found, Look};
use telemetry_policy::{Manifest, own_files, tool_file};
use telemetry_protocol::consent::Verdict;

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let text = "name = \"kedro\"\nevents = \"any\"\nproject_files = [\n\
        { path = \".telemetry\", format = \"yaml\", key = \"consent\" },\n\
        { path = \"pyproject.toml\", format = \"toml\", key = \"tool.kedro.consent\" },\n]\n";
    Manifest::parse(text).expect("a manifest")
});

/// Sees one file, in the project.
struct Eyes<'t> {
    name: &'t str,
    text: &'t str,
}

impl Look for Eyes<'_> {
    fn look(&self, path: &Path) -> Found {
        match path.parent() == Some(Path::new("/w")) && path.ends_with(self.name) {
            true => Found::File(self.text.to_owned()),
            false => Found::Absent,
        }
    }

    fn owner(&self, _: &Path) -> Option<u32> {
        Some(1000)
    }

    fn device(&self, _: &Path) -> Option<u64> {
        Some(1)
    }
}

/// The file's bytes, as of each form.
pub fn hold(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let opt_outs = &MANIFEST.opt_outs;
    for file in &opt_outs.project_files {
        let says = |text: &str| -> Vec<Option<Verdict>> {
            let eyes = Eyes {
                name: &file.path,
                text,
            };
            let facts = own_files::project(opt_outs, Path::new("/w/src"), None, &eyes);
            facts.into_iter().map(|fact| fact.verdict).collect()
        };
        let said = says(&text);
        assert!(said.len() <= 1, "one file has one word: {said:?}");
        for yes in [true, false] {
            if let Ok(edited) = tool_file::edited(file, &text, yes) {
                let wanted = if yes { Verdict::Allow } else { Verdict::Deny };
                assert_eq!(says(&edited), [Some(wanted)], "{edited:?}");
            }
        }
    }
}

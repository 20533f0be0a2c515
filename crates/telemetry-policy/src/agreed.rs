//! What a person was told and agreed to, as it is kept in the state directory: the marker `noticed/TOOL` (a notice was
//! shown) and the file `agreed/TOOL` (a tool was allowed, or its events taken). Both hold the manifest as it was then, so
//! that one that gets wider asks again; an empty marker is about whatever manifest there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use telemetry_protocol::limits::is_tool_name;

use crate::gather::{Found, Look};
use crate::manifest::Manifest;

/// What one person was told and agreed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Tools whose notice was shown.
    pub noticed: BTreeSet<String>,
    /// The manifests as they were then; `None`: what stands there cannot be read, so that nobody knows.
    pub manifests: BTreeMap<String, Option<Manifest>>,
}

impl Agreed {
    /// Reads the two directories. A name that is no tool's is passed over.
    pub fn read(noticed: &Path, agreed: &Path, eyes: &dyn Look) -> Self {
        let mut all = Self::default();
        for (directory, shown) in [(noticed, true), (agreed, false)] {
            let Found::Directory(names) = eyes.look(directory) else {
                continue;
            };
            for name in names.into_iter().filter(|name| is_tool_name(name)) {
                let manifest = match eyes.look(&directory.join(&name)) {
                    Found::Absent => continue,
                    Found::File(text) if shown && text.trim().is_empty() => {
                        all.noticed.insert(name);
                        continue;
                    }
                    Found::File(text) => Manifest::parse(&text).ok(),
                    Found::Directory(_) | Found::Unreadable(_) => None,
                };
                if shown {
                    all.noticed.insert(name.clone());
                }
                all.manifests.insert(name, manifest);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Map(BTreeMap<&'static str, Found>);

    impl Look for Map {
        fn look(&self, path: &Path) -> Found {
            let path = path.to_str().unwrap_or_default();
            self.0.get(path).cloned().unwrap_or(Found::Absent)
        }

        fn owner(&self, _: &Path) -> Option<u32> {
            None
        }

        fn device(&self, _: &Path) -> Option<u64> {
            None
        }
    }

    #[test]
    fn a_marker_says_that_a_notice_was_shown_and_of_which_manifest() {
        let names = |names: &[&str]| Found::Directory(names.iter().map(|n| (*n).to_owned()).collect());
        let text = "name = \"b\"\nevents = \"any\"\n";
        let eyes = Map(BTreeMap::from([
            ("/n", names(&["a", "b", ".b.12"])),
            ("/n/a", Found::File(String::new())),
            ("/n/b", Found::File(text.into())),
            ("/g", names(&["c"])),
            ("/g/c", Found::File("name = ".into())),
        ]));
        let agreed = Agreed::read(Path::new("/n"), Path::new("/g"), &eyes);
        assert_eq!(agreed.noticed.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(agreed.manifests.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(agreed.manifests["b"].as_ref().map(|m| m.name.as_str()), Some("b"));
        assert_eq!(agreed.manifests["c"], None, "nobody knows what was agreed to");
        let none = Agreed::read(Path::new("/x"), Path::new("/y"), &eyes);
        assert_eq!(none, Agreed::default());
    }
}

//! The daemon's eyes on consent files: what cannot be read is told apart from what is not there.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use telemetry_policy::gather::{Found, Look};

/// Files larger than this are not a person's word.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Eyes;

impl Look for Eyes {
    fn look(&self, path: &Path) -> Found {
        match std::fs::symlink_metadata(path) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Found::Absent;
            }
            Err(e) => return Found::Unreadable(e.to_string()),
            Ok(_) => {}
        }
        let metadata = match std::fs::metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Found::Unreadable("is a dangling link".to_owned());
            }
            Err(e) => return Found::Unreadable(e.to_string()),
            Ok(metadata) => metadata,
        };
        if metadata.is_dir() {
            return match std::fs::read_dir(path) {
                Err(e) => Found::Unreadable(e.to_string()),
                Ok(entries) => {
                    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
                    match names.collect::<std::io::Result<Vec<String>>>() {
                        Ok(mut names) => {
                            names.sort();
                            Found::Directory(names)
                        }
                        Err(e) => Found::Unreadable(e.to_string()),
                    }
                }
            };
        }
        if !metadata.is_file() {
            return Found::Unreadable("is neither a file nor a directory".to_owned());
        }
        if metadata.len() > MAX_BYTES {
            return Found::Unreadable(format!("is larger than {MAX_BYTES} bytes"));
        }
        // What it became since is told by the file that was opened.
        match crate::files::text(path) {
            Ok(text) => Found::File(text),
            Err(e) => Found::Unreadable(e.to_string()),
        }
    }

    fn owner(&self, path: &Path) -> Option<u32> {
        std::fs::metadata(path).ok().map(|found| found.uid())
    }

    fn device(&self, path: &Path) -> Option<u64> {
        std::fs::metadata(path).ok().map(|found| found.dev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_cannot_be_read_is_never_absent() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        std::fs::write(at("file"), "text").unwrap();
        std::fs::write(at("latin1"), b"caf\xe9").unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        std::fs::write(at("dir/kedro"), "").unwrap();
        assert_eq!(Eyes.look(&at("absent")), Found::Absent);
        assert_eq!(Eyes.look(&at("file")), Found::File("text".into()));
        assert_eq!(Eyes.look(&at("dir")), Found::Directory(vec!["kedro".into()]));
        assert!(matches!(Eyes.look(&at("dangling")), Found::Unreadable(_)));
        assert!(matches!(Eyes.look(&at("latin1")), Found::Unreadable(_)));
    }
}

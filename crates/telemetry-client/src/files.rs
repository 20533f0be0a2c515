//! Eyes on the real file system, lent to [`telemetry_policy::gather`]. A look never blocks (I10): a pipe
//! or a device in place of a file is not opened for reading, and a file is read to a bound (I6).

use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use telemetry_policy::gather::{Found, Look};

use crate::notice::{AGREED, NOTICED};

/// The most that is read of a file about consent or of a manifest. The largest known manifest has 12 KiB.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// `std::fs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Look for RealFiles {
    fn look(&self, path: &Path) -> Found {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => names(path),
            Ok(found) if found.is_file() => text(path),
            Ok(_) => Found::Unreadable("is neither a file nor a directory".to_owned()),
            Err(error) if nothing_there(&error) => match std::fs::symlink_metadata(path) {
                Ok(_) => Found::Unreadable("is a link that leads nowhere".to_owned()),
                Err(error) if nothing_there(&error) => Found::Absent,
                Err(error) => Found::Unreadable(reason(&error)),
            },
            Err(error) => Found::Unreadable(reason(&error)),
        }
    }

    fn owner(&self, path: &Path) -> Option<u32> {
        std::fs::metadata(path).ok().map(|found| found.uid())
    }

    fn device(&self, path: &Path) -> Option<u64> {
        std::fs::metadata(path).ok().map(|found| found.dev())
    }
}

/// The same files, as far as they are about one tool: what other tools brought and were agreed to is not read through,
/// which is most of what a look costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilesOf<'t> {
    /// The tool.
    pub(crate) tool: &'t str,
}

impl Look for FilesOf<'_> {
    fn look(&self, path: &Path) -> Found {
        let named = |path: Option<&Path>, names: &[&str]| {
            path.and_then(Path::file_name)
                .is_some_and(|name| names.iter().any(|known| name == *known))
        };
        match RealFiles.look(path) {
            // A manifest says whose it is.
            Found::File(text) if named(path.parent(), &["tools.d"]) && !text.contains(self.tool) => {
                Found::Absent
            }
            Found::Directory(mut names) if named(Some(path), &[NOTICED, AGREED]) => {
                names.retain(|name| name == self.tool);
                Found::Directory(names)
            }
            found => found,
        }
    }

    fn owner(&self, path: &Path) -> Option<u32> {
        RealFiles.owner(path)
    }

    fn device(&self, path: &Path) -> Option<u64> {
        RealFiles.device(path)
    }
}

/// `ENOTDIR` too: where a parent is a file, there is nothing at the path.
fn nothing_there(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn names(path: &Path) -> Found {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            // A name that is not UTF-8 names no tool; it is kept, for what it is may deny.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    };
    read().map_or_else(|error| Found::Unreadable(reason(&error)), Found::Directory)
}

fn text(path: &Path) -> Found {
    let read = || -> io::Result<Found> {
        // Between the look and the opening the file can have become a pipe: non-blocking, and asked again.
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(Found::Unreadable("is not a file any more".to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Ok(Found::Unreadable(format!(
                "is larger than {MAX_FILE_BYTES} bytes"
            )));
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => Found::File(text),
            Err(_) => Found::Unreadable("is not UTF-8".to_owned()),
        })
    };
    match read() {
        Ok(found) => found,
        Err(error) if nothing_there(&error) => Found::Absent,
        Err(error) => Found::Unreadable(reason(&error)),
    }
}

/// The reason without the number that `io::Error` prints.
fn reason(error: &io::Error) -> String {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::LOOP) => "is a link to itself".to_owned(),
        _ => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_about_other_tools_is_not_read_through() {
        let home = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("tools.d/dlt.toml", "name = \"dlt\"");
        put("tools.d/any.toml", "name = \"kedro\"");
        put("noticed/dlt", "x");
        put("noticed/kedro", "x");
        put("consent.toml", "[tools]\n");
        let eyes = FilesOf { tool: "kedro" };
        let look = |name: &str| eyes.look(&home.path().join(name));
        assert_eq!(look("tools.d/dlt.toml"), Found::Absent);
        assert_eq!(
            look("tools.d/any.toml"),
            Found::File("name = \"kedro\"".to_owned())
        );
        assert_eq!(look("noticed"), Found::Directory(vec!["kedro".to_owned()]));
        assert_eq!(look("consent.toml"), Found::File("[tools]\n".to_owned()));
    }

    #[test]
    fn what_is_there_is_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        std::fs::write(at("dir/b"), "").unwrap();
        std::fs::write(at("dir/a"), "").unwrap();
        std::fs::write(at("bytes"), [0xff, 0xfe]).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        symlink(at("file"), at("link")).unwrap();
        let look = |name: &str| RealFiles.look(&at(name));
        assert_eq!(look("file"), Found::File("text".into()));
        assert_eq!(look("link"), Found::File("text".into()));
        assert_eq!(look("dir"), Found::Directory(vec!["a".into(), "b".into()]));
        assert_eq!(look("absent"), Found::Absent);
        assert_eq!(look("file/below"), Found::Absent);
        assert_eq!(
            look("dangling"),
            Found::Unreadable("is a link that leads nowhere".into())
        );
        assert_eq!(look("loop"), Found::Unreadable("is a link to itself".into()));
        assert_eq!(look("bytes"), Found::Unreadable("is not UTF-8".into()));
    }

    #[test]
    fn a_pipe_in_place_of_a_file_is_unreadable_and_does_not_block() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert_eq!(
            RealFiles.look(&path),
            Found::Unreadable("is neither a file nor a directory".into())
        );
    }

    #[test]
    fn a_file_is_read_to_a_bound() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("large");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(MAX_FILE_BYTES + 1)
            .unwrap();
        assert!(matches!(RealFiles.look(&path), Found::Unreadable(why) if why.contains("larger")));
    }
}

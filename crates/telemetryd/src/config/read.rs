//! Config files on disk: which there are, in order, and their text. A file that others could have written
//! is refused: it says where a person's data goes.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::origin::Origin;
use super::problem::{Problem, Problems};

/// Bytes of one file. The sample, with every key and its sentence, has 8 KiB.
const MAX_BYTES: u64 = 1024 * 1024;
/// Files of one `config.d`.
const MAX_FILES: usize = 256;

/// The files of `directory` that exist: `config.toml`, then `config.d/*.toml` in the order of their names.
/// Names that begin with a dot are what editors leave behind.
pub(super) fn files(directory: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let first = directory.join("config.toml");
    match std::fs::symlink_metadata(&first) {
        Err(error) if absent(&error) => {}
        // Whatever else is wrong with it is said when it is read.
        _ => files.push(first),
    }
    let below = directory.join("config.d");
    let mut more = match list(&below) {
        Ok(more) => more,
        Err(error) if absent(&error) => Vec::new(),
        Err(error) => {
            problems.add(Problem::new(&whole(&below), "cannot list the directory").cause(reason(&error)));
            Vec::new()
        }
    };
    more.sort();
    if more.len() > MAX_FILES {
        problems.add(Problem::new(
            &whole(&below),
            format!("found {} files, allowed are {MAX_FILES}", more.len()),
        ));
        more.truncate(MAX_FILES);
    }
    files.extend(more);
    files
}

fn list(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The text of a config file, or a problem that says why there is none. The file may be owned by root or
/// by `uid`, and must not be writable to everybody.
pub(super) fn text(path: &Path, uid: u32, problems: &mut Problems) -> Option<String> {
    if path == Path::new("/dev/null") {
        return Some(String::new());
    }
    match open(path, uid) {
        Ok(text) => Some(text),
        Err(problem) => {
            problems.add(*problem);
            None
        }
    }
}

fn open(path: &Path, uid: u32) -> Result<String, Box<Problem>> {
    let place = whole(path);
    let failed = |error: std::io::Error| {
        let problem = Problem::new(&place, "cannot read the file").cause(reason(&error));
        Box::new(match error.kind() {
            ErrorKind::PermissionDenied => problem
                .hint("make it readable, and name secrets by bearer_file instead of writing them into it"),
            _ => problem,
        })
    };
    let refused = |message: String, hint: &str| Err(Box::new(Problem::new(&place, message).hint(hint)));
    // Without NONBLOCK, opening a FIFO waits for whoever may write to it.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return refused(
            "cannot read the file: it is not a regular file".to_owned(),
            "name a regular file",
        );
    }
    if meta.uid() != 0 && meta.uid() != uid {
        let message = format!(
            "the file belongs to uid {}, allowed are root and uid {uid}",
            meta.uid()
        );
        return refused(
            message,
            &format!("run 'chown {uid} {}' if you trust it", path.display()),
        );
    }
    if meta.mode() & 0o002 != 0 {
        let message = format!(
            "everybody may write to the file (mode {:04o})",
            meta.mode() & 0o7777
        );
        return refused(
            message,
            &format!("run 'chmod o-w {}' if you trust it", path.display()),
        );
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return refused(
            "the file is larger than 1MiB".to_owned(),
            "a config of all keys has 8KiB",
        );
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        let place = Origin::File {
            path: Arc::from(path),
            line,
        };
        Box::new(Problem::new(&place, "not valid TOML: the file is not UTF-8"))
    })
}

fn whole(path: &Path) -> Origin {
    Origin::File {
        path: Arc::from(path),
        line: 0,
    }
}

fn absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The operating system's words, without the number that Rust adds.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.to_lowercase()
}

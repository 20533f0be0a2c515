//! How a failure of SQLite or of the file system becomes a [`QueueError`]: by what the caller can do about it.

use std::io;

use rusqlite::ffi;

use crate::types::{ErrorKind, QueueError};

/// What a failure asks of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No room on the disk.
    Full,
    /// The file is damaged: set it aside and salvage.
    Corrupt,
    /// No permission.
    Denied,
    /// Anything else; it may pass.
    Other,
}

/// Tells failures apart.
pub(crate) fn classify(error: &rusqlite::Error) -> Class {
    use rusqlite::Error as E;
    if matches!(
        error,
        E::InvalidColumnType(..) | E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..)
    ) {
        // Not what the schema says: a page that is torn and looks whole.
        return Class::Corrupt;
    }
    let Some(code) = error.sqlite_error() else {
        return Class::Other;
    };
    // The WAL's index is a file, too, and SQLite has a code of its own for when that finds no room.
    if code.extended_code == ffi::SQLITE_IOERR_SHMSIZE {
        return Class::Full;
    }
    match code.extended_code & 0xff {
        ffi::SQLITE_FULL => Class::Full,
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Class::Corrupt,
        ffi::SQLITE_PERM | ffi::SQLITE_AUTH | ffi::SQLITE_READONLY | ffi::SQLITE_CANTOPEN => Class::Denied,
        _ => Class::Other,
    }
}

/// The same where a failure cannot come from the statement: at the start, when a table that cannot be found or a row
/// that is missing means that the page that held it is damaged.
pub(crate) fn classify_at_start(error: &rusqlite::Error) -> Class {
    match (classify(error), error) {
        (Class::Other, rusqlite::Error::QueryReturnedNoRows | rusqlite::Error::SqlInputError { .. }) => {
            Class::Corrupt
        }
        (Class::Other, error) => match error.sqlite_error().map(|code| code.extended_code & 0xff) {
            Some(ffi::SQLITE_ERROR | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_MISMATCH) => Class::Corrupt,
            _ => Class::Other,
        },
        (class, _) => class,
    }
}

/// The error of a damaged segment: to the writer it is what a damaged page is.
pub(crate) fn damaged() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        ffi::Error::new(ffi::SQLITE_CORRUPT),
        Some("a segment's checksum does not hold".to_owned()),
    )
}

impl QueueError {
    pub(crate) fn closed() -> Self {
        Self {
            kind: ErrorKind::Closed,
            attempt: "the queue has been closed".to_owned(),
            source: None,
        }
    }

    pub(crate) fn sqlite(attempt: impl Into<String>, error: rusqlite::Error) -> Self {
        let kind = match classify(&error) {
            Class::Full => ErrorKind::DiskFull,
            Class::Denied => ErrorKind::Denied,
            Class::Corrupt | Class::Other => ErrorKind::Io,
        };
        Self {
            kind,
            attempt: attempt.into(),
            source: Some(Box::new(error)),
        }
    }

    pub(crate) fn io(attempt: impl Into<String>, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        };
        Self {
            kind,
            attempt: attempt.into(),
            source: Some(Box::new(error)),
        }
    }

    pub(crate) fn denied(attempt: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Denied,
            attempt: attempt.into(),
            source: None,
        }
    }
}

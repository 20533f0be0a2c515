//! The file `queue.db`: looked at, opened with its pragmas, migrated; set aside where it is corrupt.
//!
//! Starting always succeeds, but for what only a person can put right: another owner of the files, a newer schema.
//! I5: what a corrupt file held is salvaged or booked as lost.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind as IoKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::error::{Class, classify_at_start};
use crate::reserve::Reserve;
use crate::schema;
use crate::types::{ErrorKind, Id, Moment, OpenReport, QueueError};

mod aside;
mod pragmas;

use pragmas::configure;
pub(crate) use pragmas::{PAGE, checkpoint, fit_cache};

/// The file's name within its directory.
const NAME: &str = "queue.db";

/// Boots that are remembered: rows of older ones have another boot's number, which is all that is asked of it.
const BOOTS: i64 = 16;

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) file: PathBuf,
    pub(crate) boot_id: Id,
    pub(crate) probe: Option<fn(&'static str)>,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// This boot's number.
    pub(crate) boot: u32,
    pub(crate) report: OpenReport,
}

/// Why a file could not be opened.
enum Fault {
    /// It is damaged or not ours: set it aside.
    Corrupt(String),
    Other(QueueError),
}

impl Place {
    pub(crate) fn new(directory: &Path, boot_id: Id, probe: Option<fn(&'static str)>) -> Self {
        Self {
            directory: directory.to_owned(),
            file: directory.join(NAME),
            boot_id,
            probe,
        }
    }

    /// Makes the directory where it is missing; it must be ours, and becomes private.
    pub(crate) fn prepare(&self) -> Result<(), QueueError> {
        let path = &self.directory;
        let shown = path.display();
        match fs::metadata(path) {
            Err(error) if error.kind() == IoKind::NotFound => {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(path)
                    .map_err(|error| QueueError::io(format!("cannot make the directory {shown}"), error))?;
            }
            Err(error) => return Err(QueueError::io(format!("cannot look at {shown}"), error)),
            Ok(found) if !found.is_dir() => {
                return Err(QueueError::denied(format!("{shown} is not a directory")));
            }
            Ok(found) => self.make_private(path, &found, 0o700)?,
        }
        Ok(())
    }

    /// Refuses what belongs to another user, and takes permissions away from others.
    fn make_private(&self, path: &Path, found: &fs::Metadata, mode: u32) -> Result<(), QueueError> {
        let (owner, us) = (found.uid(), rustix::process::geteuid().as_raw());
        if owner != us {
            return Err(QueueError::denied(format!(
                "{} belongs to uid {owner}, not to uid {us}",
                path.display()
            )));
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(mode))
                .map_err(|error| QueueError::io(format!("cannot make {} private", path.display()), error))?;
        }
        Ok(())
    }

    /// Opens the file, a new one where there is none or the old one is corrupt; what is set aside and not salvaged
    /// yet is salvaged into it.
    pub(crate) fn open(&self, at: Moment) -> Result<Opened, QueueError> {
        let mut report = OpenReport::default();
        let mut set_aside = 0;
        let (mut connection, mut boot) = loop {
            match self.open_file(&mut report) {
                Ok(opened) => break opened,
                // Even starting writes a little: on a full disk that is what the reserve is for.
                Err(Fault::Other(error))
                    if error.kind == ErrorKind::DiskFull && Reserve::new(&self.directory).release() => {}
                Err(Fault::Corrupt(why)) if set_aside < 2 => {
                    set_aside += 1;
                    report.set_aside = Some(self.set_aside(at, &why)?);
                    report.unclean = true;
                }
                Err(Fault::Corrupt(why)) => {
                    return Err(QueueError {
                        kind: ErrorKind::Io,
                        attempt: why,
                        source: None,
                    });
                }
                Err(Fault::Other(error)) => return Err(error),
            }
        };
        self.salvage_all(&mut connection, &mut report);
        if report.set_aside.is_some() {
            // Salvage brings the old file's boots along: this one's number is behind theirs, or is one of them.
            boot = self
                .sign(&connection, &mut report)
                .map_err(|error| QueueError::sqlite(format!("cannot open {}", self.file.display()), error))?;
        }
        self.erase_corrupt(Some(at));
        Ok(Opened {
            connection,
            boot,
            report,
        })
    }

    fn open_file(&self, report: &mut OpenReport) -> Result<(Connection, u32), Fault> {
        self.look()?;
        let result = (|| {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            if fs::metadata(&self.file).is_ok_and(|file| file.len() == 0) {
                self.make(flags)?;
            }
            let mut connection = Connection::open_with_flags(&self.file, flags)?;
            configure(&connection, false)?;
            let version = self.bring_up_to_date(&mut connection)?;
            // Without fsync at each commit: what is committed survives the process's death, not a power cut.
            // Raised to FULL for a transaction that holds a `synced` event.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            Ok((connection, version))
        })();
        let sqlite = |error: rusqlite::Error| match classify_at_start(&error) {
            Class::Corrupt => Fault::Corrupt(error.to_string()),
            _ => Fault::Other(QueueError::sqlite(
                format!("cannot open {}", self.file.display()),
                error,
            )),
        };
        let (connection, version) = result.map_err(sqlite)?;
        match version {
            Version::Newer(version) => Err(Fault::Other(self.newer(version))),
            Version::Garbled => Err(Fault::Corrupt(
                "its tables are not what they were made as".to_owned(),
            )),
            Version::Foreign(id) => Err(Fault::Corrupt(format!("application_id is {id:#010x}"))),
            Version::Ours => {
                let boot = self.sign(&connection, report).map_err(sqlite)?;
                Ok((connection, boot))
            }
        }
    }

    /// Makes the tables in an empty file, with one fsync instead of one a step: before it there is nothing to lose, and
    /// the file is empty or torn, and set aside.
    ///
    /// By a connection of its own, which is closed before the file is opened to be synced: whoever closes a file lets go
    /// of all locks that its process has on it (POSIX, fcntl), SQLite's too. Another program that only looks at the
    /// file would then, when it is done, remove the WAL that we go on writing to.
    fn make(&self, flags: OpenFlags) -> rusqlite::Result<()> {
        let mut connection = Connection::open_with_flags(&self.file, flags)?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        configure(&connection, true)?;
        self.bring_up_to_date(&mut connection)?;
        connection.close().map_err(|(_, error)| error)?;
        let synced = fs::File::open(&self.file).and_then(|file| file.sync_all());
        synced.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }

    fn newer(&self, version: i64) -> QueueError {
        let attempt = format!(
            "{} has schema version {version}, this program knows {}: it was written by a newer telemetryd",
            self.file.display(),
            schema::VERSION
        );
        QueueError {
            kind: ErrorKind::NewerSchema,
            attempt,
            source: None,
        }
    }

    /// Looks at the file's first bytes before SQLite does, and makes an empty one where there is none.
    fn look(&self) -> Result<(), Fault> {
        let other = |what: &str, error| {
            Fault::Other(QueueError::io(format!("{what} {}", self.file.display()), error))
        };
        let found = match fs::symlink_metadata(&self.file) {
            Err(error) if error.kind() == IoKind::NotFound => {
                self.adopt_wal();
                let _ = fs::remove_file(self.beside("-shm"));
                let made = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&self.file);
                return made.map(|_| ()).map_err(|error| other("cannot make", error));
            }
            found => found.map_err(|error| other("cannot look at", error))?,
        };
        if !found.is_file() {
            return Err(Fault::Other(QueueError::denied(format!(
                "{} is not a file",
                self.file.display()
            ))));
        }
        self.make_private(&self.file, &found, 0o600)
            .map_err(Fault::Other)?;
        if found.len() == 0 {
            let _ = fs::remove_file(self.beside("-wal"));
            return Ok(());
        }
        let mut header = [0; 100];
        let mut file = fs::File::open(&self.file).map_err(|error| other("cannot read", error))?;
        match file.read_exact(&mut header) {
            Err(error) if error.kind() == IoKind::UnexpectedEof => {
                return Err(Fault::Corrupt("it is shorter than a header".to_owned()));
            }
            read => read.map_err(|error| other("cannot read", error))?,
        }
        if !header.starts_with(b"SQLite format 3\0") {
            return Err(Fault::Corrupt("its header is not SQLite's".to_owned()));
        }
        // The "file format write version" (SQLite's file format, 1.3.3): over 2, SQLite only reads the file.
        if header[18] > 2 {
            return Err(Fault::Corrupt(
                "its header says that it may not be written".to_owned(),
            ));
        }
        let word =
            |at: usize| i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        // user_version and application_id (https://sqlite.org/fileformat2.html, 1.3).
        let version = i64::from(word(60));
        if word(68) == schema::APPLICATION_ID && version > schema::VERSION {
            return Err(Fault::Other(self.newer(version)));
        }
        Ok(())
    }

    fn bring_up_to_date(&self, connection: &mut Connection) -> rusqlite::Result<Version> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (id, version) = (pragma("application_id")?, pragma("user_version")?);
        if id == i64::from(schema::APPLICATION_ID) && version > schema::VERSION {
            return Ok(Version::Newer(version));
        }
        // No program has written that; the migrations have no answer to it, and starting must go on.
        if id == i64::from(schema::APPLICATION_ID) && version < 0 {
            return Ok(Version::Garbled);
        }
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if id != i64::from(schema::APPLICATION_ID) && (id != 0 || version != 0 || tables > 0) {
            return Ok(Version::Foreign(id));
        }
        if version < schema::VERSION {
            connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
            self.probe("migrate");
            schema::migrate(connection).map_err(|error| match error {
                rusqlite_migration::Error::RusqliteError { err, .. } => err,
                other => rusqlite::Error::ToSqlConversionFailure(Box::new(other)),
            })?;
            self.probe("migrated");
            // The header says from now on whose file it is, without its WAL.
            checkpoint(connection, "TRUNCATE")?;
        }
        if schema::fingerprint(connection)? != schema::FINGERPRINT {
            return Ok(Version::Garbled);
        }
        Ok(Version::Ours)
    }

    /// Finds this boot's number, and marks the file as in use.
    fn sign(&self, connection: &Connection, report: &mut OpenReport) -> rusqlite::Result<u32> {
        let clean: i64 = connection.query_row("SELECT clean FROM meta", [], |row| row.get(0))?;
        report.unclean |= clean == 0;
        let known = connection
            .query_row("SELECT n FROM boot WHERE id = ?1", [self.boot_id], |row| {
                row.get(0)
            })
            .optional()?;
        let boot = match known {
            Some(boot) => boot,
            None => connection.query_row(
                "INSERT INTO boot (n, id) VALUES ((SELECT coalesce(max(n), 0) + 1 FROM boot), ?1) RETURNING n",
                [self.boot_id],
                |row| row.get(0),
            )?,
        };
        connection.execute(
            "DELETE FROM boot WHERE n <= (SELECT max(n) FROM boot) - ?1",
            [BOOTS],
        )?;
        if clean != 0 {
            connection.execute("UPDATE meta SET clean = 0", [])?;
        }
        Ok(boot)
    }

    /// A second connection, which only reads.
    pub(crate) fn reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        connection.pragma_update(None, "cache_size", -1024)?;
        Ok(connection)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("{NAME}{suffix}"))
    }

    fn probe(&self, point: &'static str) {
        if let Some(probe) = self.probe {
            probe(point);
        }
    }
}

/// Whose file it is.
enum Version {
    Ours,
    Newer(i64),
    Foreign(i64),
    /// Ours, but the description of its tables is damaged.
    Garbled,
}

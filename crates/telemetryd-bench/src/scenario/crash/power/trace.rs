//! What strace wrote down, as operations: what was done to the files of the state directory, what clients were told,
//! what the endpoint has confirmed.
//!
//! Written by `strace -f -yy -xx`: descriptors carry their path or peer, every byte of a string is `\xHH`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use uuid::Uuid;

/// The calls that are recorded. Of `mmap` only what maps a file to write it matters: there must be none but the
/// shared-memory file's, which SQLite makes anew at each start.
pub(super) const CALLS: &str = "openat,open,creat,mkdir,mkdirat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,\
                                truncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
                                link,linkat,symlink,symlinkat,copy_file_range,sendfile,mmap,sendto,sendmsg,recvfrom,\
                                recvmsg,read,readv";

/// One operation, paths relative to the state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Create(PathBuf),
    Directory(PathBuf),
    Write {
        path: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        length: usize,
    },
    /// Room at the end of the file, as zeros.
    Allocate {
        path: PathBuf,
        end: usize,
    },
    Sync(PathBuf),
    FailedSync(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink(PathBuf),
    /// A client was told that its event is accepted.
    Accepted(Uuid),
    /// The endpoint's good answer was read: these events have arrived.
    Delivered(Vec<Uuid>),
}

/// Reads a whole record.
///
/// # Errors
/// When it holds what the replay does not know how to repeat.
pub(super) fn read(text: &str, state: &Path) -> Result<Vec<Op>> {
    let mut reader = Reader {
        state,
        ops: Vec::new(),
        positions: HashMap::new(),
        sent: HashMap::new(),
    };
    // By thread: the first half of a call that another thread's calls came between.
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(first) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, first);
        } else if let Some(resumed) = call.strip_prefix("<... ") {
            let rest = resumed.split_once("resumed>").context("no second half")?.1;
            let first = unfinished.remove(thread).context("no first half")?;
            reader
                .call(&format!("{first}{rest}"))
                .with_context(|| shown(line))?;
        } else {
            reader.call(call).with_context(|| shown(line))?;
        }
    }
    Ok(reader.ops)
}

fn shown(line: &str) -> String {
    format!("in {}", line.chars().take(300).collect::<String>())
}

struct Reader<'r> {
    state: &'r Path,
    ops: Vec<Op>,
    /// Where the next `write` of a descriptor goes.
    positions: HashMap<u32, usize>,
    /// Events in what was sent over a descriptor to the endpoint and is not answered yet.
    sent: HashMap<u32, Vec<Uuid>>,
}

impl Reader<'_> {
    fn call(&mut self, call: &str) -> Result<()> {
        let Some((name, rest)) = call.split_once('(') else {
            return Ok(());
        };
        let Some((args, result)) = rest.rsplit_once(" = ") else {
            return Ok(());
        };
        // -1 and an error's name; else a number, perhaps with a path.
        let value: Option<u64> = result
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .and_then(|number| number.parse().ok());
        let args = args.trim_end().strip_suffix(')').unwrap_or(args);
        match name {
            "open" | "openat" | "creat" => self.open(args, result, value),
            "write" | "pwrite64" | "writev" | "sendto" | "sendmsg" => self.write(name, args, value),
            "read" | "recvfrom" | "readv" | "recvmsg" => self.heard(args, value),
            "fsync" | "fdatasync" => self.sync(args, value),
            "ftruncate" => self.truncate(args, value),
            "fallocate" => self.allocate(args, value),
            "rename" | "renameat" | "renameat2" => self.rename(args, value),
            "unlink" | "unlinkat" => self.unlink(args, value),
            "mkdir" | "mkdirat" => {
                let made = value.and_then(|_| self.inside(strings(args).first()?));
                self.ops.extend(made.map(Op::Directory));
                Ok(())
            }
            "mmap" => {
                let maps = args.contains("MAP_SHARED") && args.contains("PROT_WRITE");
                let file = descriptor(args.split(", ").nth(4).unwrap_or_default());
                let file = file.and_then(|(_, path)| self.inside(&path));
                let shared = file.filter(|file| maps && !is_shared_memory(file));
                ensure!(shared.is_none(), "{shared:?} is mapped and written");
                Ok(())
            }
            _ => {
                let ours = strings(args).iter().any(|path| self.inside(path).is_some())
                    || descriptor(args).is_some_and(|(_, path)| self.inside(&path).is_some());
                ensure!(!ours || value.is_none(), "{name} is not known to the replay");
                Ok(())
            }
        }
    }

    /// The part of a path below the state directory; of files that do not outlive a start, nothing.
    fn inside(&self, path: &[u8]) -> Option<PathBuf> {
        let path = Path::new(std::str::from_utf8(path).ok()?);
        let inner = path.strip_prefix(self.state).ok()?;
        (!is_shared_memory(inner)).then(|| inner.to_owned())
    }

    fn open(&mut self, args: &str, result: &str, value: Option<u64>) -> Result<()> {
        let (Some(_), Some((number, path))) = (value, descriptor(result)) else {
            return Ok(());
        };
        let Some(path) = self.inside(&path) else {
            return Ok(());
        };
        self.positions.insert(number, 0);
        ensure!(!args.contains("O_APPEND"), "appending is not known to the replay");
        if args.contains("O_CREAT") {
            self.ops.push(Op::Create(path.clone()));
        }
        if args.contains("O_TRUNC") {
            self.ops.push(Op::Truncate { path, length: 0 });
        }
        Ok(())
    }

    fn write(&mut self, name: &str, args: &str, value: Option<u64>) -> Result<()> {
        let (Some(written), Some((number, path))) = (value, descriptor(args)) else {
            return Ok(());
        };
        let written = usize::try_from(written)?;
        let mut bytes = strings(after_descriptor(args)).concat();
        bytes.truncate(written);
        if let Some(path) = self.inside(&path) {
            ensure!(bytes.len() == written, "only {} bytes were recorded", bytes.len());
            let at = match name {
                "pwrite64" => last_number(args)?,
                "write" | "writev" => {
                    let position = self.positions.entry(number).or_default();
                    *position += written;
                    *position - written
                }
                _ => bail!("{name} to a file"),
            };
            self.ops.push(Op::Write { path, at, bytes });
            return Ok(());
        }
        let to = String::from_utf8_lossy(&path);
        let text = String::from_utf8_lossy(&bytes);
        if to.starts_with("UNIX") {
            self.ops.extend(accepted(&text).map(Op::Accepted));
        } else if to.starts_with("TCP") {
            self.sent.entry(number).or_default().extend(ids(&text));
        }
        Ok(())
    }

    /// An answer of the endpoint ends what was sent before it.
    fn heard(&mut self, args: &str, value: Option<u64>) -> Result<()> {
        let (Some(_), Some((number, peer))) = (value, descriptor(args)) else {
            return Ok(());
        };
        if peer.starts_with(b"TCP") {
            let bytes = strings(after_descriptor(args)).concat();
            if bytes.starts_with(b"HTTP/1.1 2") {
                let sent = self.sent.remove(&number).unwrap_or_default();
                self.ops.push(Op::Delivered(sent));
            }
        }
        Ok(())
    }

    fn sync(&mut self, args: &str, value: Option<u64>) -> Result<()> {
        let path = descriptor(args).and_then(|(_, path)| self.inside(&path));
        self.ops.extend(path.map(|path| match value {
            Some(_) => Op::Sync(path),
            None => Op::FailedSync(path),
        }));
        Ok(())
    }

    fn truncate(&mut self, args: &str, value: Option<u64>) -> Result<()> {
        let path = descriptor(args).and_then(|(_, path)| self.inside(&path));
        if let (Some(_), Some(path)) = (value, path) {
            let length = last_number(args)?;
            self.ops.push(Op::Truncate { path, length });
        }
        Ok(())
    }

    fn allocate(&mut self, args: &str, value: Option<u64>) -> Result<()> {
        let path = descriptor(args).and_then(|(_, path)| self.inside(&path));
        if let (Some(_), Some(path)) = (value, path) {
            let numbers: Vec<usize> = after_descriptor(args)
                .split(", ")
                .filter_map(|word| word.parse().ok())
                .collect();
            let [0, at, length] = numbers[..] else {
                bail!("this way of allocating is not known to the replay");
            };
            self.ops.push(Op::Allocate {
                path,
                end: at + length,
            });
        }
        Ok(())
    }

    fn rename(&mut self, args: &str, value: Option<u64>) -> Result<()> {
        let paths = strings(args);
        let (Some(_), [from, to]) = (value, &paths[..]) else {
            return Ok(());
        };
        match (self.inside(from), self.inside(to)) {
            (Some(from), Some(to)) => self.ops.push(Op::Rename { from, to }),
            (None, None) => {}
            _ => bail!("a file comes into the directory or leaves it"),
        }
        Ok(())
    }

    fn unlink(&mut self, args: &str, value: Option<u64>) -> Result<()> {
        let path = value.and_then(|_| self.inside(strings(args).first()?));
        self.ops.extend(path.map(Op::Unlink));
        Ok(())
    }
}

fn is_shared_memory(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with("-shm"))
}

/// The descriptor that a text begins with, and its path or peer.
fn descriptor(text: &str) -> Option<(u32, Vec<u8>)> {
    let (number, rest) = text.split_once('<')?;
    let number = number.trim().parse().ok()?;
    let end = if rest.starts_with("\\x") {
        rest.find('>')?
    } else {
        rest.find("]>")
            .map_or_else(|| rest.find('>'), |at| Some(at + 1))?
    };
    let inner = rest.get(..end)?;
    Some(match inner.starts_with("\\x") {
        true => (number, unescaped(inner)),
        false => (number, inner.as_bytes().to_vec()),
    })
}

/// What comes after the descriptor that a text begins with.
fn after_descriptor(text: &str) -> &str {
    let Some(at) = text.find(">, ") else {
        return text;
    };
    text.get(at + 3..).unwrap_or_default()
}

/// The strings in quotation marks, decoded.
fn strings(text: &str) -> Vec<Vec<u8>> {
    text.split('"').skip(1).step_by(2).map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    text.split("\\x")
        .filter_map(|pair| u8::from_str_radix(pair.get(..2)?, 16).ok())
        .collect()
}

fn last_number(args: &str) -> Result<usize> {
    let last = args.rsplit(", ").next().unwrap_or_default();
    last.parse().with_context(|| format!("no number in {last:?}"))
}

/// The events that answers accept.
fn accepted(text: &str) -> impl Iterator<Item = Uuid> {
    text.lines()
        .filter(|line| {
            ["queued", "synced", "duplicate"]
                .iter()
                .any(|status| line.contains(&format!("\"status\":\"{status}\"")))
        })
        .flat_map(ids)
        .collect::<Vec<_>>()
        .into_iter()
}

/// The ids of events in a text.
fn ids(text: &str) -> Vec<Uuid> {
    text.split("\"id\":\"")
        .skip(1)
        .filter_map(|rest| Uuid::try_parse(rest.get(..36)?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_answers_and_deliveries_are_read_from_a_record() {
        let hex = |text: &str| {
            text.bytes()
                .map(|byte| format!("\\x{byte:02x}"))
                .collect::<String>()
        };
        let id = Uuid::from_u128(7);
        let file = hex("/s/a");
        let record = [
            format!("1 openat(AT_FDCWD, \"{file}\", O_RDWR|O_CREAT, 0600) = 7<{file}>"),
            format!("1 pwrite64(7<{file}>, \"{}\", 2, 4096) = 2", hex("ab")),
            format!("2 pwrite64(7<{file}>, \"{}\", 1, 9 <unfinished ...>", hex("c")),
            "1 getpid() = 1".to_owned(),
            "2 <... pwrite64 resumed>)  = 1".to_owned(),
            format!("1 fsync(7<{file}>) = -1 EIO (Input/output error)"),
            format!(
                "1 sendto(9<UNIX-STREAM:[1->2,\"{}\"]>, \"{}\", 77, 0, NULL, 0) = 77",
                hex("/x"),
                hex(&format!(
                    "{{\"ok\":true,\"status\":\"synced\",\"id\":\"{id}\"}}\n"
                ))
            ),
            format!(
                "1 write(8<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"{}\", 47) = 47",
                hex(&format!("{{\"id\":\"{id}\"}}"))
            ),
            format!(
                "1 recvfrom(8<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"{}\", 99, 0, NULL, NULL) = 15",
                hex("HTTP/1.1 200 OK")
            ),
        ];
        let path = PathBuf::from("a");
        let write = |at, bytes: &[u8]| Op::Write {
            path: path.clone(),
            at,
            bytes: bytes.to_vec(),
        };
        assert_eq!(
            read(&record.join("\n"), Path::new("/s")).expect("a record"),
            [
                Op::Create(path.clone()),
                write(4096, b"ab"),
                write(9, b"c"),
                Op::FailedSync(path.clone()),
                Op::Accepted(id),
                Op::Delivered(vec![id]),
            ]
        );
    }

    #[test]
    fn a_file_that_is_mapped_and_written_is_refused() {
        let record =
            "1 mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 9<\\x2f\\x73\\x2f\\x61>, 0) = 0x7f00";
        assert!(read(record, Path::new("/s")).is_err());
    }
}

//! A disk that forgets: what is certain to be on it, what is perhaps, and the directories that a power cut could leave.
//!
//! The bytes of a file are certain once it was synced; before, any part of them may be there, by sectors of 512 bytes,
//! in any order. Names (made, renamed, removed) are certain once their directory was synced; before, the first few of
//! them may be, in order, as file systems with a journal keep them. After a sync that failed, what it should have
//! brought to the disk is taken for gone: the kernel reports such an error once and forgets it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::trace::Op;

/// The least that a disk writes at once.
const SECTOR: usize = 512;

/// What is done to a file's bytes.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A file: by number, since its name may change.
#[derive(Clone, Debug, Default)]
struct File {
    certain: Vec<u8>,
    perhaps: Vec<Change>,
}

/// What is done to names.
#[derive(Clone, Debug)]
enum Naming {
    Made(PathBuf, usize),
    Moved(PathBuf, PathBuf),
    Gone(PathBuf),
}

/// How much of what is not certain a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Nothing.
    Nothing,
    /// Everything: the cut came when the disk was done.
    Everything,
    /// Any sectors.
    Sectors,
    /// Any writes, each whole.
    Writes,
    /// The first writes, and some sectors of the next.
    Beginning,
}

impl Leaves {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Everything,
        Self::Sectors,
        Self::Writes,
        Self::Beginning,
    ];
}

/// The disk, at a moment of a record.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: Vec<File>,
    /// Names as the running system sees them.
    seen: BTreeMap<PathBuf, usize>,
    /// Names that are certain.
    certain: BTreeMap<PathBuf, usize>,
    perhaps: Vec<Naming>,
    directories: Vec<PathBuf>,
}

/// A directory: paths and contents.
pub(super) type Image = BTreeMap<PathBuf, Vec<u8>>;

impl Disk {
    /// With these files, all certain.
    pub(super) fn holding(image: Image) -> Self {
        let mut disk = Self::default();
        for (path, bytes) in image {
            disk.certain.insert(path, disk.files.len());
            disk.files.push(File {
                certain: bytes,
                perhaps: Vec::new(),
            });
        }
        disk.seen = disk.certain.clone();
        disk
    }

    /// The directories that were made.
    pub(super) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Whether anything is not certain.
    pub(super) fn has_doubts(&self) -> bool {
        !self.perhaps.is_empty()
            || self
                .seen
                .values()
                .any(|file| !self.files[*file].perhaps.is_empty())
    }

    /// Does what the record says.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(path) => {
                if !self.seen.contains_key(path) {
                    let number = self.files.len();
                    self.files.push(File::default());
                    self.seen.insert(path.clone(), number);
                    self.perhaps.push(Naming::Made(path.clone(), number));
                }
            }
            Op::Directory(path) => self.directories.push(path.clone()),
            Op::Write { path, at, bytes } => self.change(
                path,
                Change::Write {
                    at: *at,
                    bytes: bytes.clone(),
                },
            ),
            Op::Truncate { path, length } => self.change(path, Change::Length(*length)),
            Op::Allocate { path, end } => {
                let longer = self.length(path) < *end;
                if longer {
                    self.change(path, Change::Length(*end));
                }
            }
            Op::Sync(path) => self.sync(path),
            Op::FailedSync(path) => {
                if let Some(file) = self.seen.get(path) {
                    self.files[*file].perhaps.clear();
                }
            }
            Op::Rename { from, to } => {
                if let Some(number) = self.seen.remove(from) {
                    self.seen.insert(to.clone(), number);
                    self.perhaps.push(Naming::Moved(from.clone(), to.clone()));
                }
            }
            Op::Unlink(path) => {
                if self.seen.remove(path).is_some() {
                    self.perhaps.push(Naming::Gone(path.clone()));
                }
            }
            Op::Accepted(_) | Op::Delivered(_) => {}
        }
    }

    fn length(&self, path: &Path) -> usize {
        let Some(file) = self.seen.get(path).map(|number| &self.files[*number]) else {
            return 0;
        };
        let mut length = file.certain.len();
        for change in &file.perhaps {
            length = match change {
                Change::Write { at, bytes } => length.max(at + bytes.len()),
                Change::Length(length) => *length,
            };
        }
        length
    }

    fn change(&mut self, path: &Path, change: Change) {
        // A file that was removed and is still written by who has it open is nobody's any more.
        if let Some(number) = self.seen.get(path) {
            self.files[*number].perhaps.push(change);
        }
    }

    fn sync(&mut self, path: &Path) {
        if let Some(number) = self.seen.get(path) {
            let file = &mut self.files[*number];
            for change in std::mem::take(&mut file.perhaps) {
                make(&mut file.certain, &change);
            }
            return;
        }
        // A directory: what was done to its names, and with it what was done to names before.
        let inside = |name: &Path| name.parent() == Some(path);
        let last = self.perhaps.iter().rposition(|naming| match naming {
            Naming::Made(name, _) | Naming::Gone(name) => inside(name),
            Naming::Moved(from, to) => inside(from) || inside(to),
        });
        if let Some(last) = last {
            for naming in self.perhaps.drain(..=last) {
                name(&mut self.certain, &naming);
            }
        }
    }

    /// A directory that a power cut at this moment could leave.
    pub(super) fn after_a_cut(&self, leaves: Leaves, random: &mut Rng) -> Image {
        let mut names = self.certain.clone();
        let kept = match leaves {
            Leaves::Nothing => 0,
            Leaves::Everything => self.perhaps.len(),
            _ => random.usize(0..=self.perhaps.len()),
        };
        for naming in &self.perhaps[..kept] {
            name(&mut names, naming);
        }
        names
            .into_iter()
            .map(|(path, number)| (path, self.files[number].after_a_cut(leaves, random)))
            .collect()
    }
}

impl File {
    fn after_a_cut(&self, leaves: Leaves, random: &mut Rng) -> Vec<u8> {
        let mut bytes = self.certain.clone();
        let first = random.usize(0..=self.perhaps.len());
        for (number, change) in self.perhaps.iter().enumerate() {
            let whole = match leaves {
                Leaves::Nothing => false,
                Leaves::Everything => true,
                Leaves::Writes => random.bool(),
                Leaves::Sectors => false,
                Leaves::Beginning => number < first,
            };
            let torn = leaves == Leaves::Sectors || leaves == Leaves::Beginning && number == first;
            match change {
                _ if whole => make(&mut bytes, change),
                Change::Write { at, bytes: written } if torn => tear(&mut bytes, *at, written, random),
                Change::Length(_) if torn && random.bool() => make(&mut bytes, change),
                _ => {}
            }
        }
        bytes
    }
}

fn make(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes: written } => put(bytes, *at, written),
        Change::Length(length) => bytes.resize(*length, 0),
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    let end = at + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(written);
}

/// Some sectors of a write.
fn tear(bytes: &mut Vec<u8>, at: usize, written: &[u8], random: &mut Rng) {
    let mut from = 0;
    while from < written.len() {
        // Up to the next sector of the file.
        let until = (SECTOR - (at + from) % SECTOR).min(written.len() - from) + from;
        if random.bool() {
            put(bytes, at + from, &written[from..until]);
        }
        from = until;
    }
}

fn name(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    match naming {
        Naming::Made(path, number) => {
            names.insert(path.clone(), *number);
        }
        Naming::Moved(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
        Naming::Gone(path) => {
            names.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(bytes: &[u8]) -> Op {
        Op::Write {
            path: "f".into(),
            at: 0,
            bytes: bytes.to_vec(),
        }
    }

    fn left(disk: &Disk, leaves: Leaves) -> Image {
        disk.after_a_cut(leaves, &mut Rng::with_seed(1))
    }

    #[test]
    fn what_was_synced_with_its_name_is_left_and_what_was_not_is_perhaps() {
        let mut disk = Disk::default();
        for op in [Op::Create("f".into()), write(b"one"), Op::Sync("f".into())] {
            disk.apply(&op);
        }
        assert!(left(&disk, Leaves::Nothing).is_empty(), "the name is not certain");
        disk.apply(&Op::Sync("".into()));
        disk.apply(&write(b"two"));
        assert_eq!(left(&disk, Leaves::Nothing)[Path::new("f")], b"one");
        assert_eq!(left(&disk, Leaves::Everything)[Path::new("f")], b"two");
        disk.apply(&Op::Sync("f".into()));
        assert_eq!(left(&disk, Leaves::Nothing)[Path::new("f")], b"two");
        assert!(!disk.has_doubts());
    }

    #[test]
    fn what_a_failed_sync_should_have_written_is_not_written_by_the_next() {
        let mut disk = Disk::holding([("f".into(), b"old".to_vec())].into());
        for op in [write(b"new"), Op::FailedSync("f".into()), Op::Sync("f".into())] {
            disk.apply(&op);
        }
        assert_eq!(left(&disk, Leaves::Everything)[Path::new("f")], b"old");
    }
}

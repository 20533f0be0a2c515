//! A watch on the files of consent: a withdrawal is noticed although nobody asks (CONSENT.md, "Epochs").
//!
//! The kernel says when something in a directory changes; then the files are looked at as for an event. Nothing is
//! polled, and nobody is woken while nothing changes (I11).
//!
//! It makes withdrawals quick, and looks cheap: who takes an event asks the watch, in one system call, whether anything
//! has happened since the last look. That is only asked of a watch over everything that a look would see: network file
//! systems do not notify, what a link points to is not where the link is, and a file that has another name (a hard link, a
//! mount) may be edited by that one, of which its directory here hears nothing. Who sends looks for himself, once a batch,
//! and asks the watch until its first byte.
//!
//! Where there is no inotify (macOS), a change is seen when somebody asks.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::person::Files;
use super::stamp::manifest_paths;
use crate::config::{Mode, Places};

#[cfg(target_os = "linux")]
pub(super) use self::inotify::Watch;
#[cfg(not(target_os = "linux"))]
pub(super) use self::nothing::Watch;

/// After a change, files are left alone for so long: one look serves a storm of changes, and a withdrawal is still
/// obeyed well within two seconds.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// A file, there or not: whatever happens in its directory.
    File(PathBuf),
    /// A directory, there or not: whatever happens in it, and that it comes and goes.
    Directory(PathBuf),
}

/// Everything whose change may change a policy, with the tools' own user-wide files. What a machine-wide daemon keeps of
/// its users only it changes itself.
pub(super) fn watched(places: &Places, user_files: &[PathBuf]) -> Vec<Watched> {
    let word = (places.mode == Mode::User).then(|| Watched::File(Files::of(places, 0).consent));
    let machine = places.machine.iter().flat_map(|directory| {
        [
            Watched::File(directory.join("opt-out")),
            Watched::Directory(directory.join("opt-out.d")),
            Watched::Directory(directory.join("policy.d")),
        ]
    });
    let manifests = manifest_paths(places).map(Watched::Directory);
    let own = user_files.iter().cloned().map(Watched::File);
    word.into_iter()
        .chain(own)
        .chain(machine)
        .chain(manifests)
        .collect()
}

/// Looks whenever one of these may have changed, what is not there yet included. What `these` are may follow from
/// the look. `armed` is handed each watch after its look. Returns where nothing can be watched.
///
/// # Errors
/// The system has no more watches, or none of this kind.
pub(super) async fn each_change(
    these: impl Fn() -> Vec<Watched>,
    look: impl Fn(),
    armed: impl Fn(Arc<Watch>),
) -> io::Result<()> {
    loop {
        // First the watch and then the look: nothing that changes falls between them.
        let before = these();
        let watch = Arc::new(Watch::over(&before)?);
        look();
        if these() != before {
            continue;
        }
        armed(Arc::clone(&watch));
        watch.fired().await?;
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(target_os = "linux")]
mod inotify {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statfs, statx};
    use rustix::io::Errno;
    use tokio::io::unix::AsyncFd;

    use super::Watched;

    /// One use of inotify: it is made anew after each change, so that it is always over what is there. Nothing is ever
    /// read from it: once something has happened, that is how it stays.
    #[derive(Debug)]
    pub(in crate::consent) struct Watch {
        inotify: AsyncFd<OwnedFd>,
        /// It tells of everything that a look would see.
        complete: bool,
    }

    impl Watch {
        pub(super) fn over(these: &[Watched]) -> io::Result<Self> {
            Self::over_while(these, |_| {})
        }

        /// The same; `looked` is told of each directory that was looked for, there or not.
        pub(super) fn over_while(these: &[Watched], mut looked: impl FnMut(&Path)) -> io::Result<Self> {
            let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            // First what is there, and then whether that is all: a link that comes in between is a change.
            let complete = {
                watch_all(these, &mut |directory, what| {
                    let there = add(&inotify, directory, what);
                    looked(directory);
                    there
                })?;
                these.iter().all(tells_everything)
            };
            #[expect(
                deprecated,
                reason = "its successor is unsafe for types that change their descriptor; an OwnedFd never does"
            )]
            let inotify = AsyncFd::new(inotify)?;
            Ok(Self { inotify, complete })
        }

        /// Waits until something has changed.
        pub(super) async fn fired(&self) -> io::Result<()> {
            self.inotify.readable().await.map(drop)
        }

        /// Nothing that a look would see has happened since the watch was made: the kernel is asked, in this call.
        pub(in crate::consent) fn is_quiet(&self) -> bool {
            let mut asked = [PollFd::new(self.inotify.get_ref(), PollFlags::IN)];
            self.complete && poll(&mut asked, Some(&Timespec::default())) == Ok(0)
        }
    }

    fn watch_all(
        these: &[Watched],
        add: &mut impl FnMut(&Path, WatchFlags) -> io::Result<bool>,
    ) -> io::Result<()> {
        for watched in these {
            match watched {
                Watched::File(path) => {
                    watch_from(path.parent(), add)?;
                    // A link's target may be edited where it really is.
                    if path.is_symlink()
                        && let Ok(target) = path.canonicalize()
                    {
                        watch_from(target.parent(), add)?;
                    }
                }
                Watched::Directory(path) => watch_from(Some(path), add)?,
            }
        }
        Ok(())
    }

    /// File systems on which whatever happens goes through this machine's kernel (statfs(2) has their numbers); of an
    /// overlay, what happens through it.
    const LOCAL: [u32; 9] = [
        0x0000_ef53, // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0x0102_1994, // tmpfs
        0x8584_58f6, // ramfs
        0x2fc1_2fc1, // zfs
        0xf2f5_2010, // f2fs
        0xca45_1a4e, // bcachefs
        0x794c_7630, // overlayfs
    ];

    /// Whether the watch tells of all that happens to this.
    fn tells_everything(watched: &Watched) -> bool {
        let (Watched::File(path) | Watched::Directory(path)) = watched;
        let is_link = |path: &Path| path.is_symlink();
        // (Not whether one has a second name: an image's manifests have it all, in a store where nothing is edited.)
        let holds_links = |directory: &Path| {
            std::fs::read_dir(directory).is_ok_and(|entries| {
                let mut entries = entries.flatten().map(|entry| entry.path());
                entries.any(|entry| is_link(&entry) || is_mounted(&entry))
            })
        };
        if is_link(path) || matches!(watched, Watched::Directory(_)) && holds_links(path) {
            return false;
        }
        if matches!(watched, Watched::File(_)) && (has_other_names(path) || is_mounted(path)) {
            return false;
        }
        let there = path.ancestors().find(|above| above.exists());
        there.is_some_and(|there| {
            there.canonicalize().is_ok_and(|real| real == there)
                && statfs(there)
                    .is_ok_and(|s| u32::try_from(s.f_type).is_ok_and(|kind| LOCAL.contains(&kind)))
        })
    }

    /// Whether it is a file with more than one name.
    fn has_other_names(path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.nlink() > 1)
    }

    /// Whether it is a file that is mounted there, as containers are given one. (Before Linux 5.8 none is told.)
    fn is_mounted(path: &Path) -> bool {
        statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE).is_ok_and(|found| {
            found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
                && !FileType::from_raw_mode(found.stx_mode.into()).is_dir()
        })
    }

    /// What changes the content of a directory, or of a file in it.
    const CONTENT: WatchFlags = WatchFlags::CREATE
        .union(WatchFlags::DELETE)
        .union(WatchFlags::MOVE)
        .union(WatchFlags::MODIFY)
        .union(WatchFlags::ATTRIB)
        .union(GOES);

    /// What makes a directory appear in another.
    const APPEARS: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO).union(GOES);

    const GOES: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);

    /// The directory and, where it is not there or is replaced as a whole, those above it.
    fn watch_from(
        directory: Option<&Path>,
        add: &mut impl FnMut(&Path, WatchFlags) -> io::Result<bool>,
    ) -> io::Result<()> {
        let way: Vec<&Path> = directory.map_or_else(Vec::new, |directory| directory.ancestors().collect());
        // As often as one may have come since it was looked for.
        for _ in &way {
            let mut what = CONTENT;
            let mut missing = None;
            for one in &way {
                let there = add(one, what)?;
                if what == APPEARS && there {
                    // Further above, only what takes this away.
                    what = GOES;
                } else if what != GOES {
                    missing = (!there).then_some(one);
                    what = APPEARS;
                }
            }
            // One that came before the one above it was watched has told nobody: it is looked for again.
            let came = missing.map_or(Ok(false), |missing| add(missing, GOES))?;
            if !came {
                break;
            }
        }
        Ok(())
    }

    /// Whether there is a directory to be watched now.
    fn add(inotify: &OwnedFd, directory: &Path, what: WatchFlags) -> io::Result<bool> {
        match add_watch(
            inotify,
            directory,
            what | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD,
        ) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod nothing {
    use std::io;

    use super::Watched;

    /// Nothing can be watched here.
    #[derive(Debug)]
    pub(in crate::consent) struct Watch;

    impl Watch {
        pub(super) fn over(_: &[Watched]) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn fired(&self) -> io::Result<()> {
            Ok(())
        }

        pub(in crate::consent) fn is_quiet(&self) -> bool {
            false
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;

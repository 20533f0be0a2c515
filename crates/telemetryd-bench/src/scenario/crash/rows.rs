//! The rows of the matrix: the fault, how it is made, and what it may cost whom. The page and the program have this one
//! list.

use anyhow::Result;

use super::faults::{disk, endpoint, files, process, time};
use super::trial::Trial;
use crate::lines::Ack;

/// Where the state directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// In the directory that the program was given.
    Plain,
    /// On a file system of 24 MiB in memory.
    Small,
    /// On an ext4 of its own.
    Own,
}

/// What a row needs of the machine or of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A daemon that was built with kill points.
    Points,
    /// strace.
    Strace,
    /// Root, `mount`, and for an ext4 `mkfs.ext4`, a loop device and Python.
    Mounts,
}

/// A fault.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// How it is made, in words.
    pub(super) method: &'static str,
    /// The levels that may lose events by what they promise.
    pub(super) may_lose: &'static [Ack],
    pub(super) disk: Disk,
    pub(super) needs: &'static [Need],
    /// More settings of the destination.
    pub(super) more: &'static str,
    /// Whether it begins before the first start, with a daemon's first files.
    pub(super) first: bool,
    /// Whether the daemon must have booked what is lost.
    pub(super) booked: bool,
    /// Committed transactions may go with the fault, and with them which events are a batch.
    pub(super) forgets: bool,
    /// How often it is played for each level.
    pub(super) times: u32,
    pub(super) play: fn(&mut Trial<'_>) -> Result<()>,
}

/// Nobody was promised this.
const NONE: &[Ack] = &[Ack::None];

/// What was not synced may go.
const UNSYNCED: &[Ack] = &[Ack::None, Ack::Queued];

/// What was there is damaged or taken away, whoever had promised it.
const ANY: &[Ack] = &[Ack::None, Ack::Queued, Ack::Synced];

/// Soon again.
const SOON: &str = "retry.max = \"200ms\"\n";

const PLAIN: Row = Row {
    name: "",
    method: "",
    may_lose: &[],
    disk: Disk::Plain,
    needs: &[],
    more: SOON,
    first: false,
    booked: false,
    forgets: false,
    times: 3,
    play: |_| Ok(()),
};

/// All of them, in the order of the page; power cuts by replay stand before them.
pub(super) const ROWS: [Row; 27] = [
    Row {
        name: "`kill -9` before a commit",
        method: "the daemon kills itself in the transaction (build with kill points)",
        may_lose: NONE,
        needs: &[Need::Points],
        times: 10,
        play: process::before_commit,
        ..PLAIN
    },
    Row {
        name: "`kill -9` after a commit, before the answer",
        method: "the same, between the commit and the answers of its events",
        may_lose: NONE,
        needs: &[Need::Points],
        times: 10,
        play: process::after_commit,
        ..PLAIN
    },
    Row {
        name: "`kill -9` after a batch was sent, before it is settled",
        method: "the same, when the endpoint has answered and the rows are still there",
        may_lose: NONE,
        needs: &[Need::Points],
        times: 10,
        play: process::after_send,
        ..PLAIN
    },
    Row {
        name: "`kill -9` while the file is made",
        method: "the same, in the first start: before the tables are made, and after",
        may_lose: NONE,
        needs: &[Need::Points],
        first: true,
        play: process::making,
        ..PLAIN
    },
    Row {
        name: "`kill -9` while a damaged file is salvaged",
        method: "events wait, the header is overwritten, the next daemon kills itself in the salvage",
        may_lose: NONE,
        needs: &[Need::Points],
        play: process::salvaging,
        ..PLAIN
    },
    Row {
        name: "`kill -9` at a random moment",
        method: "from outside, up to 50 ms after the last",
        may_lose: NONE,
        times: 20,
        play: process::anytime,
        ..PLAIN
    },
    Row {
        name: "SIGTERM in a batch",
        method: "while the endpoint takes 100 ms for each request; started again when it has ended",
        may_lose: NONE,
        play: process::term,
        ..PLAIN
    },
    Row {
        name: "power cut under ext4",
        method: "an ext4 of its own is shut down without its journal being flushed (EXT4_IOC_SHUTDOWN) while the daemon is stopped, then mounted again",
        may_lose: UNSYNCED,
        disk: Disk::Own,
        needs: &[Need::Mounts],
        times: 10,
        play: disk::power_cut,
        ..PLAIN
    },
    Row {
        name: "full disk",
        method: "a small file system is filled up until events are refused; back: from when there is room again",
        may_lose: NONE,
        disk: Disk::Small,
        needs: &[Need::Mounts],
        play: disk::full,
        ..PLAIN
    },
    Row {
        name: "I/O error on write",
        method: "strace lets each write to the files fail with EIO; back: from when they succeed again",
        may_lose: NONE,
        needs: &[Need::Strace],
        play: disk::writes_fail,
        ..PLAIN
    },
    Row {
        name: "I/O error on fsync",
        method: "the same with fsync and fdatasync",
        may_lose: NONE,
        needs: &[Need::Strace],
        play: disk::syncs_fail,
        ..PLAIN
    },
    Row {
        name: "I/O error on read",
        method: "the same with reads, for half a second",
        may_lose: NONE,
        needs: &[Need::Strace],
        play: disk::reads_fail,
        ..PLAIN
    },
    Row {
        name: "I/O error on read, at the start",
        method: "a daemon starts whose reads of its files fail; back: from the start of the next",
        may_lose: NONE,
        needs: &[Need::Strace],
        play: disk::reads_fail_at_start,
        ..PLAIN
    },
    Row {
        name: "file system turns read-only",
        method: "the kernel finds an error in an ext4 of the daemon's own (trigger_fs_error, errors=remount-ro); back: from when it is mounted again. See below for `synced`",
        // An fsync that is under way at that moment is answered with success and has not happened.
        may_lose: ANY,
        disk: Disk::Own,
        needs: &[Need::Mounts],
        play: disk::read_only,
        ..PLAIN
    },
    Row {
        name: "torn page",
        method: "events wait, the daemon ends, half of a page that holds them is overwritten",
        may_lose: ANY,
        booked: true,
        forgets: true,
        play: files::torn_page,
        ..PLAIN
    },
    Row {
        name: "truncated WAL",
        method: "events wait, `kill -9`, the WAL is cut at a random length",
        may_lose: ANY,
        forgets: true,
        play: files::truncated_wal,
        ..PLAIN
    },
    Row {
        name: "clock set back by a year",
        method: "the daemon's wall clock is moved while it runs, kept through a restart, and put right",
        may_lose: NONE,
        needs: &[Need::Points],
        play: time::back,
        ..PLAIN
    },
    Row {
        name: "clock set forward by a year",
        method: "the same",
        may_lose: NONE,
        needs: &[Need::Points],
        play: time::forward,
        ..PLAIN
    },
    Row {
        name: "suspend",
        method: "the process is stopped, both clocks go on by 8 hours, the process goes on",
        needs: &[Need::Points],
        play: time::suspend,
        ..PLAIN
    },
    Row {
        name: "state directory deleted",
        method: "`rm -r` under the running daemon, which sees it, sends what it can, and ends; started again",
        may_lose: ANY,
        play: files::deleted,
        ..PLAIN
    },
    Row {
        name: "second daemon",
        method: "started on the same directory, which it must refuse",
        play: process::second,
        ..PLAIN
    },
    Row {
        name: "socket deleted",
        method: "the file is unlinked under the running daemon, which sees it and makes another; back: a new connection is answered; those that are open go on",
        may_lose: NONE,
        play: process::no_socket,
        ..PLAIN
    },
    Row {
        name: "endpoint takes it and says 500",
        method: "every third request, for half a second",
        play: endpoint::takes_and_fails,
        ..PLAIN
    },
    Row {
        name: "endpoint says 500 and takes nothing",
        method: "each request, for half a second; back: from when it takes them again",
        play: endpoint::fails,
        ..PLAIN
    },
    Row {
        name: "captive portal says 200",
        method: "each request is answered with a page of HTML, for half a second",
        play: endpoint::captive,
        ..PLAIN
    },
    Row {
        name: "endpoint says 200 and drops",
        method: "for half a second, with `confirm = \"status\"`, the default: the answer is believed",
        may_lose: ANY,
        play: endpoint::drops,
        ..PLAIN
    },
    Row {
        name: "endpoint says 200 and drops, `confirm = \"batch_id\"`",
        method: "the same, before a daemon that wants the batch's id back",
        more: "retry.max = \"200ms\"\nconfirm = \"batch_id\"\n",
        play: endpoint::drops,
        ..PLAIN
    },
];

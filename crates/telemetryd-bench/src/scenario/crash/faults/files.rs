//! What happens to the files between two daemons or under one: a page is torn, the WAL cut, everything deleted.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::trial::Trial;

/// Events that wait when a file is damaged.
const WAITING: u64 = 1000;

/// Bytes of a page: PAGE of the queue's pragmas.
const PAGE: u64 = 16_384;

pub(in super::super) fn torn_page(trial: &mut Trial<'_>) -> Result<()> {
    trial.hold(WAITING)?;
    trial.term()?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(trial.home.queue_file())?;
    let pages = file.metadata()?.len() / PAGE;
    // One that holds something in its second half.
    let mut page = vec![0; usize::try_from(PAGE)?];
    let torn = (0..100).find_map(|_| {
        let number = trial.random.u64(1..pages.max(2));
        file.seek(SeekFrom::Start(number * PAGE)).ok()?;
        file.read_exact(&mut page).ok()?;
        let half = page.len() / 2;
        page[half..].iter().any(|byte| *byte != 0).then_some(number)
    });
    let torn = torn.context("no page holds anything")?;
    file.seek(SeekFrom::Start(torn * PAGE + PAGE / 2))?;
    let garbage: Vec<u8> = (0..PAGE / 2).map(|_| trial.random.u8(..)).collect();
    file.write_all(&garbage)?;
    drop(file);
    trial.mark();
    trial.start()?;
    trial.release()
}

pub(in super::super) fn truncated_wal(trial: &mut Trial<'_>) -> Result<()> {
    trial.hold(WAITING)?;
    trial.kill();
    let path = trial.home.at("state/queue.db-wal");
    let file = OpenOptions::new().write(true).open(&path)?;
    let length = file.metadata()?.len();
    ensure!(length > 0, "there is no WAL to cut");
    file.set_len(trial.random.u64(0..length))?;
    drop(file);
    trial.mark();
    trial.start()?;
    trial.release()
}

pub(in super::super) fn deleted(trial: &mut Trial<'_>) -> Result<()> {
    // The daemon may put a file there in between: rm is run again, as a person would.
    let state = trial.home.at("state");
    trial.until("the directory is deleted", |_| fs::remove_dir_all(&state).is_ok())?;
    trial.mark();
    // It sees it, and ends.
    let ended = trial.daemon()?.ended(Duration::from_secs(20));
    ensure!(ended.is_some(), "the daemon works on without its files");
    trial.start()
}

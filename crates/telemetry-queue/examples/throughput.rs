//! How fast the queue is, beside what SQLite alone does in the same run: appends alone; appends while batches are
//! delivered; a million queued and drained; bytes on the disk; how long opening takes.
//!
//! `cargo run --release -p telemetry-queue --example throughput [-- DIRECTORY]`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use telemetry_queue::{
    Append, ClaimLimits, Filter, Id, Lane, Limits, Moment, NewEvent, Options, Outcome, Queue, RowState,
};

const EVENT: usize = 350;
const CLAIM: ClaimLimits = ClaimLimits {
    max_events: 500,
    max_bytes: 256 * 1024,
    per_batch: 200,
    per_event: 150,
};

fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let directory = tempfile::tempdir_in(base).unwrap();
    let directory = directory.path();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for round in 0..3 {
        let (insert, delete) = bare(&directory.join(format!("bare-{round}.db")), 300_000);
        println!("bare insert at 1,000 a transaction {insert:.0}/s, select and delete at 500 {delete:.0}/s");
        if round == 0 {
            runtime.block_on(million(&directory.join("m"), delete));
            runtime.block_on(many_tools(&directory.join("t")));
        }
        let rate = runtime.block_on(appends(&directory.join(format!("a{round}")), 300_000));
        println!(
            "  appends alone                    {rate:.0}/s  {:.2} of the bare insert",
            rate / insert
        );
        let rate = runtime.block_on(both(&directory.join(format!("b{round}")), 300_000));
        println!(
            "  appended and delivered           {rate:.0}/s  {:.2} of the bare insert",
            rate / insert
        );
        let rate = runtime.block_on(pipelined(&directory.join(format!("p{round}")), 300_000));
        println!(
            "  the same in groups of 32          {rate:.0}/s  {:.2} of the bare insert",
            rate / insert
        );
        runtime.block_on(singles(&directory.join(format!("s{round}"))));
    }
    println!("most resident memory: {}", status("VmHWM"));
}

/// One row an event, as an ordinary queue would.
fn bare(path: &Path, events: u64) -> (f64, f64) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE event (seq INTEGER PRIMARY KEY, id BLOB, uid INTEGER, tool TEXT, destination TEXT, at INTEGER, payload BLOB);",
        )
        .unwrap();
    let payload = vec![b'x'; EVENT];
    let cpu = thread_cpu("throughput");
    let start = Instant::now();
    for group in 0..events / 1_000 {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut insert = connection
            .prepare_cached("INSERT INTO event VALUES (?1, ?2, 1000, 'tool', 'default', 1, ?3)")
            .unwrap();
        for n in 0..1_000 {
            let seq = group * 1_000 + n;
            insert.execute((seq.cast_signed(), id(seq), &payload)).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    let insert = events as f64 / start.elapsed().as_secs_f64();
    println!(
        "(bare insert: {:.2} µs of CPU an event)",
        (thread_cpu("throughput") - cpu) * 1e6 / events as f64
    );
    let start = Instant::now();
    let mut bytes = 0;
    for group in 0..events / 500 {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut select = connection
            .prepare_cached("SELECT seq, payload FROM event ORDER BY seq LIMIT 500")
            .unwrap();
        let mut rows = select.query([]).unwrap();
        let mut last = 0_i64;
        while let Some(row) = rows.next().unwrap() {
            last = row.get(0).unwrap();
            bytes += row.get::<_, Vec<u8>>(1).unwrap().len();
        }
        connection
            .prepare_cached("DELETE FROM event WHERE seq <= ?1")
            .unwrap()
            .execute([last])
            .unwrap();
        connection.execute_batch("COMMIT").unwrap();
        let _ = group;
    }
    assert_eq!(bytes as u64, events * EVENT as u64);
    (insert, events as f64 / start.elapsed().as_secs_f64())
}

fn id(n: u64) -> Id {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id[8..].copy_from_slice(&n.to_le_bytes());
    id
}

fn options(directory: &Path) -> Options {
    let limits = Limits {
        max_bytes: 1 << 32,
        max_bytes_per_tool: 1 << 32,
        max_age_ms: 30 * 86_400_000,
        parked_max_age_ms: 30 * 86_400_000,
        sent_max_age_ms: 7 * 86_400_000,
        sent_max_bytes: 4 << 20,
        sent_bodies: true,
    };
    Options {
        directory: directory.to_owned(),
        boot_id: [1; 16],
        limits,
        probe: None,
    }
}

const AT: Moment = Moment {
    wall_ms: 1_800_000_000_000,
    boot_ms: 1_000_000,
};

fn group(lane: &Arc<Lane>, first: u64, count: u64) -> Append {
    let mut append = Append {
        at: AT,
        ..Append::default()
    };
    append.arena = vec![b'x'; EVENT * count as usize];
    append.events = (0..count)
        .map(|n| NewEvent {
            lane: Arc::clone(lane),
            id: id(first + n),
            project: None,
            epoch: 1,
            payload: n as usize * EVENT..(n as usize + 1) * EVENT,
        })
        .collect();
    append
}

fn lane() -> Arc<Lane> {
    Arc::new(Lane {
        uid: 1000,
        destination: "default".into(),
        tool: "tool".into(),
    })
}

async fn appends(directory: &Path, events: u64) -> f64 {
    let (queue, owner, _) = telemetry_queue::open(options(directory), AT).unwrap();
    let groups: Vec<Append> = (0..events / 1_000)
        .map(|n| group(&lane(), n * 1_000, 1_000))
        .collect();
    let written = io("wchar");
    let start = Instant::now();
    let mut answers = Vec::new();
    for append in groups {
        answers.push(queue.send_append(append).await.unwrap());
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    let rate = events as f64 / start.elapsed().as_secs_f64();
    println!(
        "  ({} bytes written an event appended)",
        (io("wchar") - written) / events
    );
    owner.close().unwrap();
    rate
}

async fn deliver(queue: &Queue, events: u64) {
    let (destination, mut done) = (lane().destination.clone(), 0);
    let mut batch = None;
    while done < events {
        let claimed = match batch.take() {
            Some(claimed) => claimed,
            None => match queue.claim(&destination, CLAIM, AT).await.unwrap() {
                Some(claimed) => claimed,
                None => {
                    tokio::task::yield_now().await;
                    continue;
                }
            },
        };
        done += claimed.events.len() as u64;
        let outcome = Outcome::Delivered {
            status: 200,
            meta: "{}".to_owned(),
        };
        batch = queue
            .settle_and_claim(claimed.id, outcome, None, CLAIM, AT)
            .await
            .unwrap()
            .1;
    }
}

async fn both(directory: &Path, events: u64) -> f64 {
    let (queue, owner, _) = telemetry_queue::open(options(directory), AT).unwrap();
    let groups: Vec<Append> = (0..events / 1_000)
        .map(|n| group(&lane(), n * 1_000, 1_000))
        .collect();
    let (cpu, written) = (thread_cpu("queue-writer"), io("wchar"));
    let start = Instant::now();
    let append = async {
        for append in groups {
            queue.append(append).await.unwrap();
        }
    };
    tokio::join!(append, deliver(&queue, events));
    let rate = events as f64 / start.elapsed().as_secs_f64();
    let written = (io("wchar") - written) / events;
    let cpu = (thread_cpu("queue-writer") - cpu) * 1e6 / events as f64;
    println!("  (writer's CPU: {cpu:.2} µs an event; {written} bytes written an event)");
    owner.close().unwrap();
    rate
}

/// Four producers with eight groups of 32 in flight each, as connections would, while batches are delivered.
async fn pipelined(directory: &Path, events: u64) -> f64 {
    let (queue, owner, _) = telemetry_queue::open(options(directory), AT).unwrap();
    let groups: Vec<Append> = (0..events / 32).map(|n| group(&lane(), n * 32, 32)).collect();
    let (cpu, written) = (thread_cpu("queue-writer"), io("wchar"));
    let start = Instant::now();
    let append = async {
        let mut flight = VecDeque::new();
        for append in groups {
            flight.push_back(queue.send_append(append).await.unwrap());
            if flight.len() >= 32 {
                flight.pop_front().unwrap().await.unwrap().unwrap();
            }
        }
        for answer in flight {
            answer.await.unwrap().unwrap();
        }
    };
    tokio::join!(append, deliver(&queue, events / 32 * 32));
    let rate = events as f64 / start.elapsed().as_secs_f64();
    let written = (io("wchar") - written) / events;
    let cpu = (thread_cpu("queue-writer") - cpu) * 1e6 / events as f64;
    println!("  (writer's CPU: {cpu:.2} µs an event; {written} bytes written an event)");
    owner.close().unwrap();
    rate
}

/// One event at a time.
async fn singles(directory: &Path) {
    let (queue, owner, _) = telemetry_queue::open(options(directory), AT).unwrap();
    for synced in [false, true] {
        let mut times = Vec::new();
        for n in 0..2_000 {
            let append = Append {
                synced,
                ..group(&lane(), n + if synced { 1 << 32 } else { 0 }, 1)
            };
            let start = Instant::now();
            queue.append(append).await.unwrap();
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "  one event at a time, synced {synced}: p50 {:.0} µs, p99 {:.0} µs",
            times[1_000], times[1_980]
        );
    }
    owner.close().unwrap();
}

async fn million(directory: &Path, delete: f64) {
    let (queue, owner, _) = telemetry_queue::open(options(directory), AT).unwrap();
    let start = Instant::now();
    for n in 0..1_000 {
        queue.append(group(&lane(), n * 1_000, 1_000)).await.unwrap();
    }
    println!(
        "a million appended in {:.2} s, resident {}",
        start.elapsed().as_secs_f64(),
        status("VmRSS")
    );
    println!(
        "  {} bytes on the disk an event",
        queue.bytes_on_disk() / 1_000_000
    );
    owner.close().unwrap();
    let start = Instant::now();
    let (queue, owner, _) = telemetry_queue::open(options(directory), AT).unwrap();
    println!("  opened in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    queue.append(group(&lane(), 2_000_000, 1)).await.unwrap();
    println!(
        "  first append after {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let start = Instant::now();
    deliver(&queue, 1_000_001).await;
    let rate = 1_000_000.0 / start.elapsed().as_secs_f64();
    println!(
        "  drained at {rate:.0}/s, {:.2} of the bare one, resident {}",
        rate / delete,
        status("VmRSS")
    );
    let left = queue
        .rows(Filter::default(), &[RowState::Waiting], None, 10)
        .await
        .unwrap();
    assert!(left.rows.is_empty());
    owner.close().unwrap();
    println!(
        "  {} bytes on the disk after it",
        directory.join("queue.db").metadata().unwrap().len()
    );
    let start = Instant::now();
    let (_, owner, _) = telemetry_queue::open(options(&directory.with_extension("new")), AT).unwrap();
    println!(
        "  a new one opened in {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    owner.close().unwrap();
}

/// Sixty-four tools whose events come mixed: how well their segments fill the file.
async fn many_tools(directory: &Path) {
    let (queue, owner, _) = telemetry_queue::open(options(directory), AT).unwrap();
    let tools: Vec<Arc<Lane>> = (0..64)
        .map(|n| {
            Arc::new(Lane {
                uid: 1000,
                destination: "default".into(),
                tool: format!("tool{n}").into(),
            })
        })
        .collect();
    let start = Instant::now();
    for n in 0..200 {
        let mut append = group(&tools[0], n * 1_000, 1_000);
        for (event, tool) in append.events.iter_mut().zip(tools.iter().cycle()) {
            event.lane = Arc::clone(tool);
        }
        queue.append(append).await.unwrap();
    }
    let rate = 200_000.0 / start.elapsed().as_secs_f64();
    queue.checkpoint().await.unwrap();
    println!(
        "sixty-four tools: {rate:.0}/s, {} bytes on the disk an event",
        queue.bytes_on_disk() / 200_000
    );
    let start = Instant::now();
    deliver(&queue, 200_000).await;
    println!("  drained at {:.0}/s", 200_000.0 / start.elapsed().as_secs_f64());
    owner.close().unwrap();
}

fn status(key: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with(key))
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .collect()
}

/// A line of what the process has read and written.
fn io(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.starts_with(key))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// CPU seconds of a thread.
fn thread_cpu(thread: &str) -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0.0;
    };
    for task in tasks.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.trim() == thread {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanos: f64 = stat
                .split_whitespace()
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0.0);
            return nanos / 1e9;
        }
    }
    0.0
}

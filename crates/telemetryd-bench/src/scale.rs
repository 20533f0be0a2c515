//! How much is measured: the run whose figures are published, and the smoke run.

use std::time::Duration;

/// Numbers of everything. Rounds are odd, so that the median is one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Rows of a bare insert or a bare select-and-delete.
    pub(crate) rows: u64,
    /// Events of one round of `throughput`.
    pub(crate) events: u64,
    /// Rounds of `limits` and `throughput`.
    pub(crate) rounds: usize,
    /// Short-lived clients of each kind in one round of `latency`.
    pub(crate) clients: usize,
    /// Rounds of `latency`.
    pub(crate) latency_rounds: usize,
    /// Visits of the quiet user in one round of `neighbours`.
    pub(crate) visits: usize,
    /// Clients in a row, none of whose events may be lost.
    pub(crate) in_a_row: usize,
    /// Clients that are connected at once.
    pub(crate) at_once: usize,
    /// How long a command of `black-hole` waits that posts by itself: Kedro's timeout.
    pub(crate) patience: Duration,
    /// How long `idle` looks.
    pub(crate) idle: Duration,
    /// Queued events of `drain` and `start`.
    pub(crate) queued: u64,
    /// Rounds of `drain`.
    pub(crate) drain_rounds: usize,
    /// Starts with an empty queue, and with a full one.
    pub(crate) starts: (usize, usize),
    /// kill -9, so many times.
    pub(crate) kills: u32,
    /// Machines of a fleet.
    pub(crate) machines: u32,
    /// Fleets of each kind, each with a seed of its own.
    pub(crate) fleets: usize,
    /// How often a fault of `crash` is made for each level, at most.
    pub(crate) faults: u32,
    /// Events of a life that `crash` records and replays.
    pub(crate) recorded: usize,
    /// How long `soak` goes on.
    pub(crate) soak: Duration,
    /// Queued events of `growth`, rising.
    pub(crate) queues: [u64; 3],
    /// Connections of `growth`.
    pub(crate) connections: [u64; 3],
    /// Tools of `growth`.
    pub(crate) tools: [u64; 3],
}

impl Scale {
    /// What is published.
    pub(crate) const FULL: Self = Self {
        rows: 400_000,
        events: 400_000,
        rounds: 5,
        clients: 1000,
        latency_rounds: 3,
        visits: 500,
        in_a_row: 3000,
        at_once: 2000,
        patience: Duration::from_secs(10),
        idle: Duration::from_secs(20),
        queued: 1_000_000,
        drain_rounds: 3,
        starts: (20, 10),
        kills: 500,
        machines: 10_000,
        fleets: 5,
        faults: u32::MAX,
        recorded: 800,
        soak: Duration::from_secs(600),
        queues: [1000, 100_000, 10_000_000],
        connections: [1, 10, 1000],
        tools: [1, 10, 60],
    };

    /// Everything once.
    pub(crate) const QUICK: Self = Self {
        rows: 5000,
        events: 8000,
        rounds: 1,
        clients: 50,
        latency_rounds: 1,
        visits: 20,
        in_a_row: 100,
        at_once: 100,
        patience: Duration::from_millis(100),
        idle: Duration::from_secs(1),
        queued: 10_000,
        drain_rounds: 1,
        starts: (2, 2),
        kills: 6,
        machines: 300,
        fleets: 1,
        faults: 1,
        recorded: 100,
        soak: Duration::from_secs(6),
        queues: [100, 1000, 10_000],
        connections: [1, 4, 50],
        tools: [1, 10, 60],
    };
}

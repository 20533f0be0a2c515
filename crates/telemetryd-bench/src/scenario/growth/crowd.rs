//! Many connections in one thread: each has events in flight, and writes new ones as its answers come. One thread for
//! one connection and for a thousand: what is compared is the daemon.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};

use crate::client::Answers;
use crate::clock;
use crate::lines::{Ack, Lines};

/// The connections.
pub(super) struct Crowd {
    members: Vec<Member>,
    /// Of each tool.
    lines: Vec<Lines>,
    next: usize,
}

struct Member {
    stream: UnixStream,
    answers: Answers,
    in_flight: u64,
}

impl Crowd {
    /// Connects so many times; its events are of these tools in turn.
    ///
    /// # Errors
    /// When one cannot connect.
    pub(super) fn connect(socket: &Path, connections: u64, tools: &[String]) -> Result<Self> {
        let connect = |number: u64| -> Result<Member> {
            let stream =
                UnixStream::connect(socket).with_context(|| format!("client {number} cannot connect"))?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            Ok(Member {
                stream,
                answers: Answers::new(Ack::Queued),
                in_flight: 0,
            })
        };
        Ok(Self {
            members: (0..connections).map(connect).collect::<Result<_>>()?,
            lines: tools.iter().map(|tool| Lines::of(tool, Ack::Queued)).collect(),
            next: 0,
        })
    }

    /// Sends so many events with at most `window` unanswered on each connection, and waits for every answer.
    ///
    /// # Errors
    /// When an event is refused, or a connection breaks.
    pub(super) fn send(&mut self, events: u64, window: u64) -> Result<()> {
        let (mut sent, mut answered) = (0, 0);
        let mut text = Vec::new();
        let mut ready: Vec<usize> = (0..self.members.len()).collect();
        while answered < events {
            for at in ready {
                let member = &mut self.members[at];
                if member.in_flight > 0 {
                    let count = member.answers.read(&mut member.stream)?;
                    member.in_flight -= count;
                    answered += count;
                }
                let count = (window - member.in_flight).min(events - sent);
                text.clear();
                for _ in 0..count {
                    self.lines[self.next].push(&mut text);
                    self.next = (self.next + 1) % self.lines.len();
                }
                member.stream.write_all(&text).context("cannot write events")?;
                member.in_flight += count;
                sent += count;
            }
            ready = if answered < events {
                self.ready()?
            } else {
                Vec::new()
            };
        }
        Ok(())
    }

    /// Those with answers to be read.
    fn ready(&self) -> Result<Vec<usize>> {
        let wanted = self
            .members
            .iter()
            .map(|member| PollFd::new(&member.stream, PollFlags::IN));
        let mut wanted: Vec<PollFd<'_>> = wanted.collect();
        poll(&mut wanted, None)?;
        let ready = wanted.iter().enumerate();
        Ok(ready
            .filter_map(|(at, polled)| (!polled.revents().is_empty()).then_some(at))
            .collect())
    }

    /// One event after another, on each connection in turn: how long until each was answered, in microseconds.
    ///
    /// # Errors
    /// When an event is refused, or a connection breaks.
    pub(super) fn one_by_one(&mut self, events: usize) -> Result<Vec<f64>> {
        let count = self.members.len();
        let mut text = Vec::new();
        let mut times = Vec::with_capacity(events);
        for at in 0..events {
            let member = &mut self.members[at % count];
            text.clear();
            self.lines[0].push(&mut text);
            let begun = clock::now();
            member.stream.write_all(&text)?;
            while member.answers.read(&mut member.stream)? == 0 {}
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(times)
    }
}

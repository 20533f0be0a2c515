//! Cutting batches, and what is decided once all pieces of one were tried.
//!
//! A batch that the endpoint refused is halved until the refused events stand alone. As long as nothing of it was
//! delivered and all refusals carry one status, refused events of a batch of [`WHOLE`] or more only wait: if in
//! the end all of them were refused alike, it is the destination that is wrong, not the events.

use std::ops::ControlFlow;

use super::Store;
use super::batches::{ORDER_STEP, new_id};
use super::load::stored;
use super::segments::frame_cost;
use super::state::{Batch, Member, Root, oldest};
use crate::segment::Stamp;
use crate::types::{Losses, Settled};

/// From this many events on, as it was first claimed, a batch that is refused as a whole holds the destination
/// (DELIVERY.md, "what the answer means").
const WHOLE: u32 = 8;

impl Store {
    /// Too large for the endpoint: halves, or a single event is parked.
    pub(crate) fn split(&mut self, n: u64, status: u16, answer: &[u8]) -> rusqlite::Result<Settled> {
        let Some(batch) = self.state.batches.get(&n) else {
            return Ok(Settled::default());
        };
        if batch.events > 1 {
            return self.halve(n).map(|()| Settled::default());
        }
        let root = batch.root;
        let mut parked = self.park(n, status, answer)?;
        if let Some(of) = self.state.roots.get_mut(&root) {
            of.mixed = true;
            parked += self.park_refused(root)?;
        }
        let decided = self.piece_gone(root)?;
        Ok(Settled {
            parked: parked + decided.parked,
            ..decided
        })
    }

    /// Refused: halves, or a single event whose fate its root decides.
    pub(crate) fn bisect(&mut self, n: u64, status: u16, answer: &[u8]) -> rusqlite::Result<Settled> {
        let Some(batch) = self.state.batches.get(&n) else {
            return Ok(Settled::default());
        };
        if batch.events > 1 {
            return self.halve(n).map(|()| Settled::default());
        }
        let (root, root_events, events) = (batch.root, batch.root_events, batch.events);
        let status = status.max(1);
        if root_events < WHOLE {
            let parked = self.park(n, status, answer)?;
            self.piece_gone(root)?;
            return Ok(Settled {
                parked,
                refuses_everything: false,
            });
        }
        let of = self.state.roots.entry(root).or_insert_with(|| Root {
            events,
            open: 1,
            ..Root::default()
        });
        of.mixed |= of.status != 0 && of.status != status;
        of.status = status;
        of.refused += events;
        of.waiting.push(n);
        self.state.release(n);
        if let Some(batch) = self.state.batches.get_mut(&n) {
            batch.refused = status;
            self.state.destinations[batch.destination]
                .batches
                .remove(&batch.order);
        }
        self.execute(
            "UPDATE batch SET refused = ?2, answer = ?3 WHERE n = ?1",
            (stored(n), status, answer),
        )?;
        self.write_root(root)?;
        let parked = match self.state.roots.get(&root) {
            Some(of) if of.mixed || of.delivered > 0 => self.park_refused(root)?,
            _ => 0,
        };
        let decided = self.piece_gone(root)?;
        Ok(Settled {
            parked: parked + decided.parked,
            ..decided
        })
    }

    /// A piece of a root was delivered: what was refused of it so far is the events' fault. Returns rows parked.
    pub(crate) fn piece_delivered(&mut self, root: u64, events: u64) -> rusqlite::Result<u32> {
        let Some(of) = self.state.roots.get_mut(&root) else {
            return Ok(0);
        };
        of.delivered += events;
        let parked = self.park_refused(root)?;
        self.piece_gone(root)?;
        Ok(parked)
    }

    /// One piece less can be claimed. With the last the root is decided.
    pub(crate) fn piece_gone(&mut self, root: u64) -> rusqlite::Result<Settled> {
        let Some(of) = self.state.roots.get_mut(&root) else {
            return Ok(Settled::default());
        };
        of.open = of.open.saturating_sub(1);
        if of.open > 0 {
            self.write_root(root)?;
            return Ok(Settled::default());
        }
        let Some(of) = self.state.roots.remove(&root) else {
            return Ok(Settled::default());
        };
        self.execute("DELETE FROM root WHERE n = ?1", [stored(root)])?;
        // Delivered or mixed ones were parked when that became known: whoever still waits was refused alike. Where
        // some of the root were purged, evicted or expired meanwhile, it takes as many to accuse the destination.
        if of.refused >= of.events.max(u64::from(WHOLE)) {
            for n in of.waiting {
                self.dissolve(n)?;
            }
            return Ok(Settled {
                parked: 0,
                refuses_everything: true,
            });
        }
        let parked = self.park_all(of.waiting)?;
        Ok(Settled {
            parked,
            refuses_everything: false,
        })
    }

    /// Parks the refused events of a root that waited. Returns how many.
    fn park_refused(&mut self, root: u64) -> rusqlite::Result<u32> {
        let waiting = self
            .state
            .roots
            .get_mut(&root)
            .map(|of| std::mem::take(&mut of.waiting));
        self.park_all(waiting.unwrap_or_default())
    }

    fn park_all(&mut self, refused: Vec<u64>) -> rusqlite::Result<u32> {
        let mut parked = 0;
        for n in refused {
            let (status, answer): (u16, Option<Vec<u8>>) = self
                .connection
                .prepare_cached("SELECT refused, answer FROM batch WHERE n = ?1")?
                .query_row([stored(n)], |row| Ok((super::load::small(row, 0)?, row.get(1)?)))?;
            parked += self.park(n, status, &answer.unwrap_or_default())?;
        }
        Ok(parked)
    }

    pub(crate) fn write_root(&mut self, n: u64) -> rusqlite::Result<()> {
        let Some(root) = self.state.roots.get(&n) else {
            return Ok(());
        };
        self.execute(
            "INSERT OR REPLACE INTO root (n, events, refused, delivered, status, mixed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                stored(n),
                stored(root.events),
                stored(root.refused),
                stored(root.delivered),
                root.status,
                root.mixed,
            ),
        )?;
        Ok(())
    }

    /// Cuts a batch into two with ids of their own, which go before new claims.
    fn halve(&mut self, n: u64) -> rusqlite::Result<()> {
        let Some(batch) = self.remove_batch(n, true)? else {
            return Ok(());
        };
        let half = batch.events / 2;
        let (left, right) = self.cut_members(&batch.members, half)?;
        let place = &self.state.destinations[batch.destination];
        let after = place
            .batches
            .range(batch.order..)
            .next()
            .map_or(batch.order + ORDER_STEP, |next| *next.0);
        let of = self.state.roots.entry(batch.root).or_insert_with(|| Root {
            events: batch.events,
            open: 1,
            ..Root::default()
        });
        of.open += 1;
        self.write_root(batch.root)?;
        let left_oldest = self.oldest_of(&left)?.unwrap_or(batch.oldest);
        let right_oldest = self.oldest_of(&right)?.unwrap_or(batch.oldest);
        let middle = batch.order + (after - batch.order) / 2;
        let piece = |n, members: Vec<Member>, order, losses, oldest| Batch {
            n,
            id: new_id(),
            order,
            attempts: 0,
            losses,
            events: members.iter().map(|member| member.events).sum(),
            bytes: members.iter().map(|member| member.bytes).sum(),
            members,
            oldest,
            lease: None,
            unheard: false,
            ..batch.clone()
        };
        let left = piece(
            self.take_batch_number(),
            left,
            batch.order,
            batch.losses,
            left_oldest,
        );
        let right = piece(
            self.take_batch_number(),
            right,
            middle,
            Losses::default(),
            right_oldest,
        );
        self.add_batch(left)?;
        self.add_batch(right)
    }

    /// When the oldest event of some members was received, of each lane the first: by this a batch expires, and one
    /// that would lose no event must not (I8).
    pub(crate) fn oldest_of(&self, members: &[Member]) -> rusqlite::Result<Option<Stamp>> {
        let mut found = None;
        let mut last = None;
        for member in members
            .iter()
            .filter(|member| last.replace(member.lane) != Some(member.lane))
        {
            let number = self.state.lanes[member.lane].number;
            self.each_event(number, member.first, member.last, |_, stamp| {
                found = oldest(found, Some(stamp));
                ControlFlow::Break(())
            })?;
        }
        Ok(found)
    }

    /// The first `count` events of members, and the others.
    fn cut_members(&self, members: &[Member], count: u64) -> rusqlite::Result<(Vec<Member>, Vec<Member>)> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let mut wanted = count;
        for &member in members {
            if member.events <= wanted {
                wanted -= member.events;
                left.push(member);
                continue;
            }
            if wanted == 0 {
                right.push(member);
                continue;
            }
            let (mut head, mut tail) = (member, member);
            (head.events, head.bytes) = (0, 0);
            self.each_event(
                self.state.lanes[member.lane].number,
                member.first,
                member.last,
                |frame, _| {
                    if head.events == wanted {
                        tail.first = frame.seq;
                        return ControlFlow::Break(());
                    }
                    head.events += 1;
                    head.bytes += frame_cost(frame);
                    head.last = frame.seq;
                    ControlFlow::Continue(())
                },
            )?;
            tail.events = member.events - head.events;
            tail.bytes = member.bytes.saturating_sub(head.bytes);
            wanted = 0;
            left.push(head);
            right.push(tail);
        }
        Ok((left, right))
    }
}

//! Which event ids a lane holds, in memory, so that SQLite needs no index on them (an index on random ids costs a
//! quarter of the insert rate).
//!
//! An ordered linear-probing table of 8-byte entries: 32 bits of a keyed hash of the id, and the event's sequence
//! number less a base. A hit is only a candidate: the caller reads the id at that sequence number and compares.
//! Where no event is there any more the entry was stale; so nothing has to be removed when events leave, and
//! nothing has to be undone when a transaction is rolled back (sequence numbers are never used twice).
//!
//! Since a slot's place grows with the hash and entries of a cluster are kept in order, the table is one sorted
//! list with gaps: a look-up ends at the first larger entry, and the table grows in place by one pass.
//!
//! I6: between 9.4 and 11.8 bytes an event (8 bytes at a load of 0.68 to 0.85).

use std::hash::{BuildHasher, RandomState};

use crate::types::Id;

/// The least number of slots.
const LEAST: usize = 64;

/// 32 bits of a keyed hash of an id; never 0. The key is of this process, so that nobody can craft ids that
/// collide.
pub(crate) fn tag(key: &RandomState, id: &Id) -> u32 {
    let hash = key.hash_one(u128::from_le_bytes(*id));
    u32::try_from(hash >> 32).unwrap_or_default().max(1)
}

/// The ids of one lane.
#[derive(Debug, Default)]
pub(crate) struct IdTable {
    /// 0 is an empty slot; otherwise tag << 32 | sequence number − base.
    slots: Vec<u64>,
    /// Slots that are the home of a tag; those behind them only take what overflows.
    homes: usize,
    len: usize,
    base: u64,
}

impl IdTable {
    /// The sequence numbers under which an id with this tag may be.
    pub(crate) fn candidates(&self, tag: u32) -> impl Iterator<Item = u64> + '_ {
        let start = if self.homes == 0 {
            self.slots.len()
        } else {
            home(tag, self.homes)
        };
        self.slots[start..]
            .iter()
            .take_while(move |&&slot| slot != 0 && tag_of(slot) <= tag)
            .filter(move |&&slot| tag_of(slot) == tag)
            .map(|&slot| self.base + (slot & 0xffff_ffff))
    }

    /// Whether the next [`insert`](Self::insert) may have to make room first, for which it needs to know where
    /// the lane's live events begin.
    pub(crate) fn is_full(&self) -> bool {
        self.len * 100 >= self.homes * 85
    }

    /// Entries, stale ones among them.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes in memory.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * 8
    }

    /// Adds an id. Makes room where it must; call [`make_room`](Self::make_room) before where the table
    /// [is full](Self::is_full), so that stale entries go first.
    pub(crate) fn insert(&mut self, tag: u32, seq: u64) {
        if self.is_full() {
            self.make_room(self.base);
        }
        if seq.saturating_sub(self.base) > u64::from(u32::MAX) {
            // Nothing lives that long: two thousand million events of the lane came after it.
            self.make_room(seq - (1 << 31));
        }
        let mut entry = (u64::from(tag) << 32) | (seq.saturating_sub(self.base) & 0xffff_ffff);
        let mut at = home(tag, self.homes);
        while at < self.slots.len() && self.slots[at] != 0 && self.slots[at] < entry {
            at += 1;
        }
        loop {
            if at == self.slots.len() {
                self.slots.push(0);
            }
            let displaced = std::mem::replace(&mut self.slots[at], entry);
            if displaced == 0 {
                break;
            }
            entry = displaced;
            at += 1;
        }
        self.len += 1;
    }

    /// Drops the entries below `first_live`, then grows or shrinks so that a sixth of the slots is free.
    pub(crate) fn make_room(&mut self, first_live: u64) {
        let shift = first_live.saturating_sub(self.base);
        let mut kept = 0;
        for at in 0..self.slots.len() {
            let slot = std::mem::take(&mut self.slots[at]);
            if slot != 0 && (slot & 0xffff_ffff) >= shift {
                self.slots[kept] = slot - shift;
                kept += 1;
            }
        }
        self.base = self.base.max(first_live);
        self.len = kept;
        let mut homes = self.homes.max(LEAST);
        if kept * 100 >= homes * 68 {
            homes = (homes + homes / 4).max(kept * 100 / 68);
        } else if kept * 3 < homes {
            homes = (kept * 3 / 2).max(LEAST);
        }
        self.spread(homes);
    }

    /// Lays the entries, which stand in order at the front, out over this many homes.
    fn spread(&mut self, homes: usize) {
        let size = homes + homes / 128 + LEAST;
        if size > self.slots.len() {
            self.slots.reserve_exact(size - self.slots.len());
        }
        self.slots.resize(size, 0);
        self.slots.shrink_to_fit();
        self.homes = homes;
        // To the back first: then every entry is read no later than its place is written to.
        self.slots.copy_within(..self.len, size - self.len);
        self.slots[..(size - self.len).min(self.len)].fill(0);
        let mut read = size - self.len;
        let mut next = 0;
        while read < self.slots.len() {
            let place = next.max(home(tag_of(self.slots[read]), homes));
            if place > read {
                // The last clusters need more room behind the homes than was put there.
                let left = self.slots.len() - read;
                let extra = (place - read).max(LEAST);
                self.slots.resize(self.slots.len() + extra, 0);
                self.slots.copy_within(read..read + left, read + extra);
                self.slots[read..(read + extra).min(read + left)].fill(0);
                read += extra;
                continue;
            }
            let slot = std::mem::take(&mut self.slots[read]);
            self.slots[place] = slot;
            next = place + 1;
            read += 1;
        }
    }
}

fn tag_of(slot: u64) -> u32 {
    u32::try_from(slot >> 32).unwrap_or_default()
}

fn home(tag: u32, homes: usize) -> usize {
    usize::try_from((u64::from(tag) * homes as u64) >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn found(table: &IdTable, tag: u32, seq: u64) -> bool {
        table.candidates(tag).any(|candidate| candidate == seq)
    }

    #[test]
    fn a_million_ids_take_less_than_twelve_bytes_each_and_are_all_found() {
        let key = RandomState::new();
        let mut table = IdTable::default();
        let mut most = 0;
        let tags: Vec<u32> = (0_u128..1_000_000).map(|n| tag(&key, &n.to_le_bytes())).collect();
        for (seq, &tag) in (1..).zip(&tags) {
            table.insert(tag, seq);
            if seq > 10_000 {
                most = most.max(table.bytes() * 10 / usize::try_from(seq).unwrap());
            }
        }
        assert!(most < 121, "{most} tenths of a byte an event");
        assert!((1..).zip(&tags).all(|(seq, &tag)| found(&table, tag, seq)));
        table.make_room(999_001);
        assert_eq!(table.len(), 1_000);
        assert!(table.bytes() < 32_000);
        assert!(
            (1..)
                .zip(&tags)
                .skip(999_000)
                .all(|(seq, &tag)| found(&table, tag, seq))
        );
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            tags in proptest::collection::vec(prop_oneof![1..20_u32, (u32::MAX - 3)..=u32::MAX, 1..=u32::MAX], 1..700),
            drop_at in 0..700_usize,
        ) {
            let mut table = IdTable::default();
            let mut model: HashMap<u64, u32> = HashMap::new();
            for (n, &tag) in tags.iter().enumerate() {
                let seq = n as u64 + 1_000;
                table.insert(tag, seq);
                model.insert(seq, tag);
                if n == drop_at {
                    let live = 1_000 + n as u64 / 2;
                    table.make_room(live);
                    model.retain(|&seq, _| seq >= live);
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for (&seq, &tag) in &model {
                prop_assert!(found(&table, tag, seq));
                prop_assert!(table.candidates(tag).all(|seq| model.get(&seq) == Some(&tag)));
            }
        }
    }
}

//! Forgetting: the sent log's metadata, which every other purge leaves.

use super::Store;
use super::load::{count, small, stored};
use super::purge::Selection;

impl Store {
    /// Forgets the sent log's metadata of some lanes, whose bodies are erased already.
    pub(crate) fn forget_sent(&mut self, selection: &Selection) -> rusqlite::Result<()> {
        for &lane in &selection.lanes {
            let number = self.state.lanes[lane].number;
            let mut gone = Vec::new();
            {
                let mut select = self
                    .connection
                    .prepare_cached("SELECT batch, events, bytes FROM member WHERE lane = ?1")?;
                let mut rows = select.query([number])?;
                while let Some(row) = rows.next()? {
                    let n = count(row, 0)?;
                    if !self.state.batches.contains_key(&n) {
                        let events = small::<u64>(row, 1)?;
                        gone.push((
                            n,
                            events,
                            count(row, 2)?.saturating_sub(crate::segment::cost(0) * events),
                        ));
                    }
                }
            }
            for (n, events, bytes) in gone {
                self.execute(
                    "DELETE FROM member WHERE batch = ?1 AND lane = ?2",
                    (stored(n), number),
                )?;
                self.execute(
                    "UPDATE sent SET events = max(0, events - ?2), bytes = max(0, bytes - ?3) WHERE n = ?1",
                    [stored(n), stored(events), stored(bytes)],
                )?;
                let left: bool = self
                    .connection
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM member WHERE batch = ?1)")?
                    .query_row([stored(n)], |row| row.get(0))?;
                if !left {
                    self.execute("DELETE FROM sent WHERE n = ?1", [stored(n)])?;
                    let at = self.state.sent.iter().position(|entry| entry.n == n);
                    if let Some(entry) = at.and_then(|at| self.state.sent.remove(at)) {
                        self.state.less_sent(entry.uid, entry.kept);
                    }
                }
            }
            self.state.lanes[lane].logged = 0;
        }
        Ok(())
    }
}

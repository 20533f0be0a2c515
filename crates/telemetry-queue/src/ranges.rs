//! Sets of sequence numbers as sorted, disjoint ranges (both ends included).
//!
//! A lane's waiting events are nearly always one range: what follows the last claim.

/// A set of sequence numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The ranges, ascending.
    pub(crate) fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Empties the set.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the number is in the set.
    pub(crate) fn contains(&self, seq: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < seq);
        self.0.get(at).is_some_and(|range| range.0 <= seq)
    }

    /// Adds a range, which may overlap others.
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        if let Some(end) = self.0.last_mut()
            && end.0 <= first
            && first <= end.1.saturating_add(1)
        {
            end.1 = end.1.max(last);
            return;
        }
        let from = self.0.partition_point(|range| range.1.saturating_add(1) < first);
        let to = self.0.partition_point(|range| range.0 <= last.saturating_add(1));
        let merged = self.0[from..to].iter().fold((first, last), |all, range| {
            (all.0.min(range.0), all.1.max(range.1))
        });
        self.0.splice(from..to, [merged]);
    }

    /// Removes a range, whether all of it is in the set or not.
    pub(crate) fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let from = self.0.partition_point(|range| range.1 < first);
        let to = self.0.partition_point(|range| range.0 <= last);
        if from >= to {
            return;
        }
        let left = (self.0[from].0, first.saturating_sub(1));
        let right = (last.saturating_add(1), self.0[to - 1].1);
        let rest = [left, right]
            .into_iter()
            .filter(|range| range.0 <= range.1 && range.0 > 0);
        let rest: Vec<_> = rest.filter(|range| range.1 < first || range.0 > last).collect();
        self.0.splice(from..to, rest);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_its_numbers_make(
            steps in proptest::collection::vec((any::<bool>(), 1..60_u64, 0..12_u64), 1..60)
        ) {
            let mut ranges = Ranges::default();
            let mut model = BTreeSet::new();
            for (add, first, length) in steps {
                let last = first + length;
                if add {
                    ranges.insert(first, last);
                    model.extend(first..=last);
                } else {
                    ranges.remove(first, last);
                    model.retain(|seq| !(first..=last).contains(seq));
                }
                let listed: Vec<u64> = ranges.as_slice().iter().flat_map(|range| range.0..=range.1).collect();
                prop_assert_eq!(&listed, &model.iter().copied().collect::<Vec<_>>());
                prop_assert!(ranges.as_slice().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                prop_assert!((1..80).all(|seq| ranges.contains(seq) == model.contains(&seq)));
            }
        }
    }
}

//! How often was each of many things counted in one time slice?
//!
//! A window has hundreds of slices with thousands of things in each, so what a slice takes decides
//! how much memory the window takes. The few slices that are being counted into are hash tables;
//! once a slice is quiet it becomes a sorted list, twelve bytes a thing and nothing in between. What
//! comes late is counted in the list, or beside it until the next time.
//!
//! Where numbers follow on one another, as those of whole requests do, the newest slices are plain lists of
//! counts: one more is one look into memory, and there is nothing to hash. A list reaches up to the highest number, so
//! what comes late for an older slice is counted beside it: one late request must not take a list.

use hashbrown::HashMap;

/// So many of the newest slices are counted into quickly; exporters bring nearly all spans of a
/// second within the next five.
pub(crate) const COUNTED_INTO: u64 = 8;

/// Counts by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    // Only looked up, or added up: its order is not the same twice.
    counting: HashMap<u64, u32>,
    /// Sorted, each once.
    settled: Vec<(u64, u32)>,
    /// How often anything was counted or taken back.
    changes: u64,
}

impl Tally {
    /// Counts one more.
    #[inline]
    pub(crate) fn add(&mut self, key: u64) {
        self.add_many(key, 1);
    }

    /// Counts so many more; four billion are as many as there can be.
    #[inline]
    pub(crate) fn add_many(&mut self, key: u64, more: u64) {
        self.changes += 1;
        let count = self.counting.entry(key).or_default();
        *count = count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    }

    /// Takes one back, if there is one. Whether there was.
    pub(crate) fn remove(&mut self, key: u64) -> bool {
        self.changes += 1;
        if let Some(count) = self.counting.get_mut(&key)
            && *count > 0
        {
            *count -= 1;
            if *count == 0 {
                self.counting.remove(&key);
            }
        } else if let Ok(at) = self.settled.binary_search_by_key(&key, |(key, _)| *key) {
            self.settled[at].1 -= 1;
            if self.settled[at].1 == 0 {
                self.settled.remove(at);
            }
        } else {
            return false;
        }
        true
    }

    /// Every key with a count, in no order; a key may come twice, and its counts add up.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let counting = self.counting.iter().map(|(key, count)| (*key, *count));
        counting.chain(self.settled.iter().copied())
    }

    /// What isn't settled: all that can change until the next time that it is.
    pub(crate) const fn counting(&self) -> &HashMap<u64, u32> {
        &self.counting
    }

    /// What is settled, sorted.
    pub(crate) fn settled(&self) -> &[(u64, u32)] {
        &self.settled
    }

    /// Another number whenever something was counted or taken back.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Gives up the room for counting quickly.
    pub(crate) fn settle(&mut self) {
        if !self.counting.is_empty() {
            let counting = std::mem::take(&mut self.counting);
            self.merge(counting.into_iter().collect());
        } else if self.counting.capacity() > 0 {
            self.counting = HashMap::new();
        }
    }

    /// Adds all that others counted.
    pub(crate) fn take_in(&mut self, others: impl IntoIterator<Item = Self>) {
        let mut all: Vec<(u64, u32)> = Vec::new();
        for other in others {
            all.extend(other.iter());
        }
        self.merge(all);
    }

    fn merge(&mut self, mut more: Vec<(u64, u32)>) {
        more.extend(std::mem::take(&mut self.settled));
        more.sort_unstable_by_key(|(key, _)| *key);
        more.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(later.1);
            }
            same
        });
        more.shrink_to_fit();
        self.settled = more;
    }

    /// Gives every key a new one, or drops it.
    pub(crate) fn renumber(&mut self, new: impl Fn(u64) -> Option<u64>) {
        let all = self.iter();
        let kept = all.filter_map(|(key, count)| Some((new(key)?, count)));
        let kept = kept.collect();
        *self = Self::default();
        self.merge(kept);
    }
}

/// The same for numbers that follow on one another.
#[derive(Clone, Debug, Default)]
pub(crate) struct DenseTally {
    counting: Vec<u32>,
    rest: Tally,
}

impl DenseTally {
    /// Counts one more.
    #[inline]
    pub(crate) fn add(&mut self, number: u32) {
        let at = number as usize;
        if at >= self.counting.len() {
            self.counting.resize(at + 1, 0);
        }
        self.counting[at] = self.counting[at].saturating_add(1);
    }

    /// Counts one more in a slice that hardly anything comes for any more.
    pub(crate) fn add_late(&mut self, number: u32) {
        self.rest.add(number.into());
    }

    /// So many numbers have room to be counted quickly.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.counting.capacity()
    }

    /// Takes one back, if there is one. Whether there was.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        match self.counting.get_mut(number as usize) {
            Some(count) if *count > 0 => *count -= 1,
            _ => return self.rest.remove(number.into()),
        }
        true
    }

    /// Every number with a count, in no order; one may come twice, and its counts add up.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let counting = (0..).zip(&self.counting);
        let counting = counting.filter(|(_, count)| **count > 0);
        let counting = counting.map(|(number, count)| (number, *count));
        counting.chain(self.rest.iter())
    }

    /// Gives up the room for counting quickly.
    pub(crate) fn settle(&mut self) {
        for (number, count) in (0..).zip(std::mem::take(&mut self.counting)) {
            if count > 0 {
                self.rest.add_many(number, count.into());
            }
        }
        self.rest.settle();
    }

    /// Gives every number a new one, or drops it.
    pub(crate) fn renumber(&mut self, new: impl Fn(u64) -> Option<u64>) {
        self.settle();
        self.rest.renumber(new);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn sum(tally: &Tally) -> BTreeMap<u64, u32> {
        sum_of(tally.iter())
    }

    fn sum_of(counts: impl Iterator<Item = (u64, u32)>) -> BTreeMap<u64, u32> {
        let mut sum = BTreeMap::new();
        for (key, count) in counts {
            *sum.entry(key).or_default() += count;
        }
        sum
    }

    proptest! {
        /// Whenever it is settled, it counts as a plain map does.
        #[test]
        fn it_counts(steps in prop::collection::vec((0u8..4, 0u64..9), 0..200)) {
            let (mut tally, mut plain) = (Tally::default(), BTreeMap::<u64, u32>::new());
            let mut dense = DenseTally::default();
            for (step, key) in steps {
                match step {
                    0 => dense.add(key as u32),
                    1 => dense.add_late(key as u32),
                    2 => {
                        let is_any = plain.get(&key).is_some_and(|count| *count > 0);
                        prop_assert_eq!(dense.remove(key as u32), is_any);
                    }
                    _ => dense.settle(),
                }
                match step {
                    0 | 1 => {
                        tally.add(key);
                        *plain.entry(key).or_default() += 1;
                    }
                    2 => {
                        tally.remove(key);
                        if let Some(count) = plain.get_mut(&key) {
                            *count -= 1;
                        }
                        plain.retain(|_, count| *count > 0);
                    }
                    _ => tally.settle(),
                }
                prop_assert_eq!(&sum(&tally), &plain);
                prop_assert_eq!(&sum_of(dense.iter()), &plain);
            }
            let mut twice = tally.clone();
            twice.take_in([tally.clone()]);
            prop_assert_eq!(sum(&twice), plain.iter().map(|(key, count)| (*key, 2 * count)).collect());
            tally.renumber(|key| (key != 3).then_some(key + 1));
            dense.renumber(|key| (key != 3).then_some(key + 1));
            plain.remove(&3);
            prop_assert_eq!(sum(&tally), sum_of(dense.iter()));
            prop_assert_eq!(sum(&tally), plain.into_iter().map(|(key, count)| (key + 1, count)).collect());
        }
    }
}

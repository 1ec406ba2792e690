//! Which traces are due?
//!
//! A calendar: entries lie in a box for each sixtieth of a second. Adding one costs no more when
//! there are a million, which a heap can't say, and boxes are emptied one after the other. Within a
//! box traces come in the order they were added. The exact deadline is looked at when its box is
//! opened, so nothing is let go early.

use std::collections::BTreeMap;

use rekindle_model::UnixNanos;

/// A box is two to this many nanoseconds: 17 ms.
const BOX_BITS: u32 = 24;

/// Emptied boxes whose memory is kept for the next ones: a quarter of a second's.
const SPARE: usize = 16;

/// A trace that is to be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) deadline: UnixNanos,
    /// As of its buffer.
    pub(super) number: u32,
    pub(super) place: u32,
}

/// Traces by the time at which they are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    boxes: BTreeMap<u64, Vec<Due>>,
    spare: Vec<Vec<Due>>,
    len: usize,
}

impl Deadlines {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Made where it will lie, as the steps in [`super::chunks`] are.
    #[inline(always)]
    pub(super) fn add(&mut self, due: Due) {
        self.len += 1;
        self.box_of(due.deadline).push(due);
    }

    fn box_of(&mut self, deadline: UnixNanos) -> &mut Vec<Due> {
        let spare = &mut self.spare;
        let entries = self.boxes.entry(deadline.0 >> BOX_BITS);
        entries.or_insert_with(|| spare.pop().unwrap_or_default())
    }

    /// Takes out all that are due, and adds them to `due`.
    pub(super) fn take(&mut self, now: UnixNanos, due: &mut Vec<Due>) {
        let current = now.0 >> BOX_BITS;
        while let Some(entry) = self.boxes.first_entry() {
            if *entry.key() > current {
                break;
            }
            let last = *entry.key() == current;
            let mut entries = entry.remove();
            self.len -= entries.len();
            due.extend(entries.iter().filter(|it| it.deadline <= now));
            if last {
                entries.retain(|it| it.deadline > now);
                if !entries.is_empty() {
                    self.len += entries.len();
                    self.boxes.insert(current, entries);
                }
                break;
            }
            if self.spare.len() < SPARE {
                entries.clear();
                self.spare.push(entries);
            }
        }
    }

    /// A time before which none is due.
    pub(super) fn first(&self) -> Option<UnixNanos> {
        let (key, _) = self.boxes.first_key_value()?;
        Some(UnixNanos(key << BOX_BITS))
    }

    /// Keeps those for which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Due) -> bool) {
        self.len = 0;
        let len = &mut self.len;
        self.boxes.retain(|_, entries| {
            entries.retain(&mut keep);
            *len += entries.len();
            !entries.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each is taken out once: not before its deadline, and by the first look after it.
        #[test]
        fn none_is_early_or_late_or_lost(
            deadlines in prop::collection::vec(0u64..500_000_000, 0..50),
            mut looks in prop::collection::vec(0u64..600_000_000, 1..20),
        ) {
            looks.sort_unstable();
            let mut calendar = Deadlines::default();
            for (number, deadline) in (0..).zip(&deadlines) {
                calendar.add(Due { deadline: UnixNanos(*deadline), number, place: 0 });
            }
            let (mut left, mut taken) = (deadlines.len(), Vec::new());
            for look in looks {
                let first = calendar.first().map_or(u64::MAX, |it| it.0);
                let not_before = deadlines.iter().filter(|it| **it >= first).count();
                prop_assert!(not_before >= calendar.len());
                taken.clear();
                calendar.take(UnixNanos(look), &mut taken);
                left -= taken.len();
                prop_assert!(taken.iter().all(|it| it.deadline.0 <= look));
                let due = deadlines.iter().filter(|it| **it <= look).count();
                prop_assert_eq!(deadlines.len() - left, due);
                prop_assert_eq!(calendar.len(), left);
            }
        }
    }
}

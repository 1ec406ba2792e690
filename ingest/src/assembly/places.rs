//! Where is the trace of this id?
//!
//! A table of numbers that lies in one piece, and in it where an id has to be looked for follows from the id alone. So
//! many can be asked for at once: reading a place decides nothing, and the processor waits for all of them at the same time.
//! A table in groups, with marks beside what they stand for, waits twice, and decides in between.
//!
//! Open addressing with linear probing, where what goes is closed up by what belongs there (Knuth, *The Art of Computer
//! Programming* vol. 3, 6.4, algorithms L and R). At most half of it is used: then a look-up reads two or three places of
//! eight bytes, which mostly are of one cache line.

/// The place of nothing.
const NONE: u32 = u32::MAX;

/// So large at least: eight kilobytes.
const LEAST_BITS: u32 = 10;

/// Where a trace is, by half of its id's hash.
#[derive(Clone, Copy, Debug)]
struct Found {
    half: u32,
    place: u32,
}

const NOTHING: Found = Found {
    half: 0,
    place: NONE,
};

/// Places by halves of hashes, several of which may be the same.
#[derive(Debug)]
pub(super) struct Places {
    /// A power of two of them.
    slots: Vec<Found>,
    bits: u32,
    len: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self::of_size(LEAST_BITS)
    }
}

impl Places {
    fn of_size(bits: u32) -> Self {
        Self {
            slots: vec![NOTHING; 1 << bits],
            bits,
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Where a half is looked for first. Its bits are those of a hash that nobody outside can foresee.
    #[inline]
    const fn home(&self, half: u32) -> usize {
        (half >> (u32::BITS - self.bits)) as usize
    }

    #[inline]
    const fn behind(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// What lies where this half is looked for first: who asks waits for its memory.
    #[inline]
    pub(super) fn look_ahead(&self, half: u32) -> u32 {
        self.slots[self.home(half)].place
    }

    /// The first place of this half for which `is_it` says so.
    #[inline]
    pub(super) fn find(&self, half: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.slot(half, is_it).map(|slot| self.slots[slot].place)
    }

    #[inline]
    fn slot(&self, half: u32, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let mut slot = self.home(half);
        loop {
            let found = self.slots[slot];
            if found.place == NONE {
                return None;
            }
            if found.half == half && is_it(found.place) {
                return Some(slot);
            }
            slot = self.behind(slot);
        }
    }

    /// Adds a place that isn't there.
    pub(super) fn insert(&mut self, half: u32, place: u32) {
        if 2 * (self.len + 1) > self.slots.len() {
            self.grow();
        }
        self.len += 1;
        self.put(Found { half, place });
    }

    fn put(&mut self, found: Found) {
        let mut slot = self.home(found.half);
        while self.slots[slot].place != NONE {
            slot = self.behind(slot);
        }
        self.slots[slot] = found;
    }

    #[cold]
    fn grow(&mut self) {
        let larger = Self::of_size(self.bits + 1);
        let smaller = std::mem::replace(self, larger);
        self.len = smaller.len;
        let used = smaller.slots.into_iter().filter(|it| it.place != NONE);
        used.for_each(|found| self.put(found));
    }

    /// Takes a place out, if it is there.
    pub(super) fn remove(&mut self, half: u32, place: u32) {
        let Some(mut gap) = self.slot(half, |it| it == place) else {
            return;
        };
        self.len -= 1;
        let mut slot = gap;
        loop {
            slot = self.behind(slot);
            let found = self.slots[slot];
            if found.place == NONE {
                break;
            }
            // Who is looked for from the gap or from before it must not be behind an empty slot.
            let mask = self.slots.len() - 1;
            let from_home = slot.wrapping_sub(self.home(found.half)) & mask;
            if from_home >= slot.wrapping_sub(gap) & mask {
                self.slots[gap] = found;
                gap = slot;
            }
        }
        self.slots[gap] = NOTHING;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes and goes, also where many halves are looked for in one place, and across the table's end.
        #[test]
        fn what_is_there_is_found_and_nothing_else(
            deeds in prop::collection::vec((any::<bool>(), 0u32..8, 0u32..4), 0..400),
        ) {
            let mut places = Places::of_size(3);
            let mut expected: Vec<(u32, u32)> = Vec::new();
            for (comes, half, place) in deeds {
                // All of them fall onto the last slots.
                let half = u32::MAX - (half << 28);
                let known = expected.iter().position(|it| *it == (half, place));
                match (comes, known) {
                    (true, None) => {
                        places.insert(half, place);
                        expected.push((half, place));
                    }
                    (false, Some(at)) => {
                        places.remove(half, place);
                        expected.swap_remove(at);
                    }
                    (false, None) => places.remove(half, place),
                    (true, Some(_)) => {}
                }
                prop_assert_eq!(places.len(), expected.len());
                prop_assert!(2 * places.len() <= places.slots.len());
                for (half, place) in &expected {
                    prop_assert_eq!(places.find(*half, |it| it == *place), Some(*place));
                }
                prop_assert_eq!(places.find(half, |it| it == 9), None);
                let used = places.slots.iter().filter(|it| it.place != NONE);
                prop_assert_eq!(used.count(), expected.len());
            }
        }
    }
}

//! Was this trace let go already?
//!
//! A span of a trace that was released must be called late, not begin the trace anew. Ids are
//! remembered in two sets: when the younger is full it becomes the older, and the oldest ids are
//! forgotten at once. So each id is remembered for at least one set's length, in bounded memory,
//! without a queue beside the set.
//!
//! Each trace that begins is looked for, and hardly any is there. So beside each set are eight bits per
//! id, which stay in the processor's cache, and the sets don't.

use hashbrown::HashSet;
use rekindle_model::TraceId;

/// Ids per set: at a thousand requests a second, four minutes at least. Some 5 MiB when full.
const IDS_PER_SET: usize = 1 << 18;

/// Bits per id: one id in eight at most finds its bit set by another.
const BITS_PER_ID: usize = 8;

/// Ids of one age.
struct Ids {
    ids: HashSet<TraceId>,
    /// An id whose bit isn't set is not among them. A power of two of words.
    bits: Box<[u64]>,
}

impl Ids {
    fn with_room_for(ids: usize) -> Self {
        let words = (ids * BITS_PER_ID).div_ceil(64).next_power_of_two();
        Self {
            ids: HashSet::new(),
            bits: vec![0; words].into(),
        }
    }

    /// The word and the bit of this id.
    #[inline]
    fn bit(&self, id: TraceId) -> (usize, u64) {
        let id = id.get();
        // Half of an id may be the same in all: some tracers fill 8 of the 16 bytes.
        let bits = (id as u64) ^ (id >> 64) as u64;
        (
            (bits >> 6) as usize & (self.bits.len() - 1),
            1 << (bits & 63),
        )
    }

    #[inline]
    fn contains(&self, id: TraceId) -> bool {
        let (word, bit) = self.bit(id);
        self.bits[word] & bit != 0 && self.ids.contains(&id)
    }

    fn insert(&mut self, id: TraceId) {
        let (word, bit) = self.bit(id);
        self.bits[word] |= bit;
        self.ids.insert(id);
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.bits.fill(0);
    }
}

/// The traces released last.
pub(super) struct Released {
    younger: Ids,
    older: Ids,
    per_set: usize,
}

impl Released {
    pub(super) fn new() -> Self {
        Self::with_room_for(IDS_PER_SET)
    }

    fn with_room_for(per_set: usize) -> Self {
        Self {
            younger: Ids::with_room_for(per_set),
            older: Ids::with_room_for(per_set),
            per_set,
        }
    }

    #[inline]
    pub(super) fn contains(&self, id: TraceId) -> bool {
        self.younger.contains(id) || self.older.contains(id)
    }

    /// Waits for what is needed to say whether a trace was released: who asks for several before the first answer waits
    /// for them at the same time.
    #[inline]
    pub(super) fn look_ahead(&self, id: TraceId) {
        let words = [&self.younger, &self.older].map(|ids| ids.bits[ids.bit(id).0]);
        std::hint::black_box(words);
    }

    /// The same for remembering it.
    #[inline]
    pub(super) fn look_ahead_to_insert(&self, id: TraceId) {
        self.look_ahead(id);
        std::hint::black_box(self.younger.ids.contains(&id));
    }

    pub(super) fn insert(&mut self, id: TraceId) {
        if self.younger.ids.len() >= self.per_set {
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ids_are_remembered_and_no_more() {
        let id = |number: u128| TraceId::from_bytes(number.to_be_bytes()).expect("not zero");
        let mut released = Released::with_room_for(100);
        for number in 1..=1000 {
            released.insert(id(number));
            for recent in number.saturating_sub(99).max(1)..=number {
                assert!(released.contains(id(recent)));
            }
        }
        assert!(!released.contains(id(700)));
        assert!(released.younger.ids.len() + released.older.ids.len() <= 200);
    }
}

//! Was this trace let go already?
//!
//! A span of a trace that was released must be called late, not begin the trace anew. Ids are
//! remembered in two sets: when the younger is full it becomes the older, and the oldest ids are
//! forgotten at once. So each id is remembered for at least one set's length, in bounded memory,
//! without a queue beside the set.

use hashbrown::HashSet;
use rekindle_model::TraceId;

/// Ids per set: at a thousand requests a second, four minutes at least. Some 5 MiB when full.
const IDS_PER_SET: usize = 1 << 18;

/// The traces released last.
pub(super) struct Released {
    younger: HashSet<TraceId>,
    older: HashSet<TraceId>,
    per_set: usize,
}

impl Released {
    pub(super) fn new() -> Self {
        Self::with_room_for(IDS_PER_SET)
    }

    fn with_room_for(per_set: usize) -> Self {
        Self {
            younger: HashSet::new(),
            older: HashSet::new(),
            per_set,
        }
    }

    pub(super) fn contains(&self, id: TraceId) -> bool {
        self.younger.contains(&id) || self.older.contains(&id)
    }

    pub(super) fn insert(&mut self, id: TraceId) {
        if self.younger.len() >= self.per_set {
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
        assert!(released.younger.len() + released.older.len() <= 200);
    }
}

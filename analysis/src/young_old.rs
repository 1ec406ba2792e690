//! A table that forgets what isn't asked for any more, in bounded memory.
//!
//! There are two. When the younger is full it becomes the older, whose entries are gone at once; what
//! is asked for again moves back to the younger. So a stream of things that never come again pushes
//! out its own kind, and not what comes all the time.

use std::borrow::Borrow;
use std::hash::Hash;

use hashbrown::HashMap;

#[derive(Debug)]
pub(crate) struct YoungOld<K, V> {
    // Only looked up, never iterated.
    younger: HashMap<K, V>,
    older: HashMap<K, V>,
    /// Entries of each at most.
    max: usize,
    /// How often the younger has become the older.
    changes: u64,
}

impl<K: Hash + Eq, V> YoungOld<K, V> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            younger: HashMap::new(),
            older: HashMap::new(),
            max,
            changes: 0,
        }
    }

    /// Does something with the value of this key, if there is one.
    #[inline]
    pub(crate) fn with<Q: Hash + Eq + ?Sized, R>(
        &mut self,
        key: &Q,
        act: impl FnOnce(&mut V) -> R,
    ) -> Option<R>
    where
        K: Borrow<Q>,
    {
        if let Some(value) = self.younger.get_mut(key) {
            return Some(act(value));
        }
        let (key, mut value) = self.older.remove_entry(key)?;
        let answer = act(&mut value);
        self.insert(key, value);
        Some(answer)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.younger.len() >= self.max {
            std::mem::swap(&mut self.younger, &mut self.older);
            // Its room is kept: a stream of things that never come again changes tables all the time.
            self.younger.clear();
            self.changes += 1;
        }
        self.younger.insert(key, value);
    }

    /// How often what wasn't asked for has been forgotten since it was cleared.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.max);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.younger.len() + self.older.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays() {
        let mut table = YoungOld::new(10);
        table.insert(0, "stays");
        for passing in 1..1000 {
            table.insert(passing, "goes");
            assert_eq!(table.with(&0, |it| *it), Some("stays"));
            assert!(table.len() <= 21);
        }
        assert_eq!(table.with(&7, |it| *it), None);
        table.clear();
        assert_eq!(table.with(&0, |it| *it), None);
    }
}

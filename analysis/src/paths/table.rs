//! Where is a path remembered, and how is it found without waiting?
//!
//! The paths of a busy system take more memory than the processor has at hand, so finding one is mostly waiting for
//! memory: for the table, then for the path's steps and its reading. So many are looked for at once, one step for all
//! of them after the other: then the processor waits for several at a time. Its look-ups leave nothing but what
//! is in the caches; whoever looks again finds it there.
//!
//! What isn't asked for any more is forgotten as in [`crate::young_old`].

use std::hint::black_box;
use std::sync::atomic::Ordering;

use hashbrown::HashTable;

use super::{Path, Steps};

/// So many are looked for at once: more than a processor can wait for at a time, and few enough that the first is
/// still there when the last has come.
const AT_ONCE: usize = 32;

#[derive(Debug)]
struct Known {
    hash: u64,
    steps: Box<Steps>,
    path: Path,
}

impl Known {
    fn is(&self, hash: u64, steps: &Steps) -> bool {
        self.hash == hash && *self.steps == *steps
    }
}

/// The paths that are remembered.
#[derive(Debug)]
pub(super) struct PathTable {
    younger: HashTable<Known>,
    older: HashTable<Known>,
    /// Of each age at most.
    max: usize,
}

impl PathTable {
    pub(super) fn new(max: usize) -> Self {
        Self {
            younger: HashTable::new(),
            older: HashTable::new(),
            max,
        }
    }

    /// Waits for what is needed to find the paths of these hashes.
    pub(super) fn look_ahead(&self, hashes: &[u64]) {
        let mut found: [Option<&Known>; AT_ONCE] = [None; AT_ONCE];
        for hashes in hashes.chunks(AT_ONCE) {
            for (place, hash) in found.iter_mut().zip(hashes) {
                *place = self.younger.find(*hash, |known| known.hash == *hash);
            }
            let found = || found.iter().take(hashes.len()).flatten();
            for known in found() {
                let [first, last] = [known.steps.first(), known.steps.last()];
                black_box((first.copied(), last.copied()));
                if let Path::Request { first, .. } = &known.path {
                    black_box(first.held_at.load(Ordering::Relaxed));
                    black_box((first.works.len(), first.trail.reached.len()));
                }
            }
            for known in found() {
                if let Path::Request { first, .. } = &known.path {
                    let trail = &first.trail;
                    black_box((trail.usual.first().copied(), trail.reached.first().copied()));
                }
            }
        }
    }

    /// The path of these steps, of which this is the hash.
    pub(super) fn get(&mut self, hash: u64, steps: &Steps) -> Option<&mut Path> {
        let is_it = |known: &Known| known.is(hash, steps);
        let place = match self.younger.find_bucket_index(hash, is_it) {
            Some(place) => place,
            None => {
                let entry = self.older.find_entry(hash, is_it).ok()?;
                let (known, _) = entry.remove();
                self.add(known);
                self.younger.find_bucket_index(hash, is_it)?
            }
        };
        let known = self.younger.get_bucket_mut(place);
        known.map(|known| &mut known.path)
    }

    /// Remembers a path; one of the same steps is replaced.
    pub(super) fn insert(&mut self, hash: u64, steps: &Steps, path: Path) {
        if let Some(known) = self.get(hash, steps) {
            *known = path;
            return;
        }
        self.add(Known {
            hash,
            steps: steps.into(),
            path,
        });
    }

    fn add(&mut self, known: Known) {
        if self.younger.len() >= self.max {
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger
            .insert_unique(known.hash, known, |other| other.hash);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LeftOut;

    #[test]
    fn what_is_asked_for_stays_and_no_more_than_so_many() {
        let mut table = PathTable::new(10);
        let why = |path: Option<&mut Path>| match path {
            Some(Path::LeftOut(why)) => Some(*why),
            _ => None,
        };
        table.insert(7, &[0], Path::LeftOut(LeftOut::Background));
        for other in 1..1000u64 {
            // All have one hash.
            table.insert(7, &[other], Path::LeftOut(LeftOut::NoEntry));
            table.look_ahead(&[7, 8]);
            assert_eq!(why(table.get(7, &[0])), Some(LeftOut::Background));
            assert_eq!(why(table.get(7, &[other])), Some(LeftOut::NoEntry));
            assert!(table.younger.len() + table.older.len() <= 20);
        }
        table.insert(7, &[0], Path::LeftOut(LeftOut::NoEntry));
        assert_eq!(why(table.get(7, &[0])), Some(LeftOut::NoEntry));
        assert!(table.get(7, &[1]).is_none());
        table.clear();
        assert!(table.get(7, &[0]).is_none());
    }
}

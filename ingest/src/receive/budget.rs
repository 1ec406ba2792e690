//! How much memory may requests under way take together?
//!
//! Each request is bounded, and so are connections, but their product is far more than a machine
//! has. So all bodies under way, and all batches that the engine hasn't taken yet, share one budget;
//! who finds it used up is told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may be held at a time.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    left: AtomicUsize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            left: AtomicUsize::new(bytes),
        })
    }

    /// All that there is, held or not.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A hold on nothing yet.
    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        Hold {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

/// Bytes of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Hold {
    /// Makes it so many bytes in all, if they are to be had; it never shrinks.
    #[must_use]
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        self.grow_by(bytes.saturating_sub(self.bytes))
    }

    /// Makes it so many bytes more, if they are to be had.
    #[must_use]
    pub(super) fn grow_by(&mut self, more: usize) -> bool {
        let taken = self
            .budget
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(more)
            })
            .is_ok();
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_gone_until_it_is_given_back() {
        let budget = Budget::new(100);
        let mut one = budget.hold();
        assert!(one.grow_to(60) && one.grow_to(10));
        let mut two = budget.hold();
        assert!(!two.grow_to(41) && two.grow_to(40) && !two.grow_by(1));
        drop(one);
        assert!(two.grow_to(100));
        drop(two);
        assert_eq!(budget.left.load(Ordering::Relaxed), 100);
    }
}
